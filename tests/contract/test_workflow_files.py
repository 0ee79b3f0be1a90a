"""The workflow files as data: consistent graphs that the frontend can resolve, install for and open without a gap."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import translations
from pack.core.workflow_files import nodes_in, subgraphs
from PIL import Image
from rig import workflow

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "workflows").glob("*.json"))
DOWNLOADABLE = ("https://huggingface.co/", "https://civitai.com/")
FOLDERS = {
    "checkpoints", "controlnet", "clip_vision", "vae", "id_patch", "instantid", "parts2whole", "detection",
    "diffusion_models", "geometry_estimation", "densepose", "ipadapter", "photomaker", "storymaker",
    "text_encoders",
}  # fmt: skip
# Drawn before links kept off the pictures; a new file is not to be added.
UNTIDY = {
    "id_patch_second_pass_six_people",
    "parts_id_patch_two_outfits",
}
# Links of photos that stand two deep before one box, and so run behind the second.
TWO_DEEP = {
    "id_patch_five_people_template": 1,
    "id_patch_six_people_group_layout": 3,
}
SAMPLERS = {"KSampler", "SamplerCustomAdvanced"}
PICTURES = {"LoadImage", "SaveImage", "PreviewImage"}
# What lies on a canvas of 1920x1080, left, top, right, bottom: "4 errors found" while files are missing, and the map.
COVERED = (1494, 0, 1920, 216), (1660, 818, 1920, 1080)
# Six people in two passes, where nothing is in a box.
LARGE = {"5b1f3c1e-6a5d-4f0e-9f0d-2c8d1f5e7a61"}

Graph = dict[str, Any]


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def graph(request: pytest.FixtureRequest) -> Graph:
    return json.loads(request.param.read_text("utf-8"))


@pytest.fixture
def tidy(request: pytest.FixtureRequest, graph: Graph) -> None:
    if request.node.callspec.id in UNTIDY:
        pytest.skip("still to be redrawn")


def real_nodes(graph: Graph) -> Iterator[Graph]:
    """Also those inside of subgraphs."""
    return (node for node in workflow.nodes_in(graph) if node["type"] not in workflow.NOTES)


def box(node: Graph) -> tuple[float, float, float, float]:
    """left, top, right, bottom as drawn: the title bar is 30 px above `pos`, and all there is of a collapsed node."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - 30, x + width, y + (0 if node["flags"].get("collapsed") else height)


def overlap(a: Graph, b: Graph, below: float = 0) -> bool:
    """Whether two nodes cover each other. below: room that the first takes under it."""
    (al, at, ar, ab), (bl, bt, br, bb) = box(a), box(b)
    return al < br and bl < ar and at < bb and bt < ab + below


def test_the_workflows_are_there() -> None:
    assert {path.stem for path in FILES} >= {
        "id_patch_two_people",
        "id_patch_five_people_template",
        "id_patch_six_people_group_layout",
        "id_patch_with_canny_control",
        "id_patch_without_face_pack",
        "instant_id_few_steps",
        "instant_id_four_people",
        "instant_id_interpolation",
        "instant_id_novel_view",
        "instant_id_portrait",
        "instant_id_stylised",
        "instant_id_two_stage_group",
        "instant_id_with_canny_control",
    }


def test_each_has_a_small_picture() -> None:
    """The host shows <name>.jpg beside <name>.json."""
    sizes = {path.stem: path.with_suffix(".jpg").stat().st_size for path in FILES}
    assert all(0 < size < 200_000 for size in sizes.values()), sizes


def test_small_pictures_leave_room_for_the_gallerys_badge() -> None:
    """In its upper left corner."""
    for path in FILES:
        with Image.open(path.with_suffix(".jpg")) as opened:
            corner = opened.convert("L").crop((0, 0, round(0.47 * opened.width), round(0.13 * opened.height)))
        dark, light = corner.getextrema()
        assert light - dark < 25, path.stem


def test_is_ui_format(graph: Graph) -> None:
    assert graph["version"] == 0.4
    assert graph["last_node_id"] >= max(node["id"] for node in graph["nodes"])
    assert graph["last_link_id"] >= max(link[0] for link in graph["links"])


def test_links_agree_at_both_ends(graph: Graph) -> None:
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert len(nodes) == len(graph["nodes"])
    for link, source, output, target, slot, kind in graph["links"]:
        assert link in nodes[source]["outputs"][output]["links"]
        assert nodes[target]["inputs"][slot]["link"] == link
        assert nodes[source]["outputs"][output]["type"] == kind
        assert nodes[target]["inputs"][slot]["type"] == "*" or kind in nodes[target]["inputs"][slot]["type"].split(",")
    ends = [entry["link"] for node in graph["nodes"] for entry in node["inputs"] if entry["link"] is not None]
    assert sorted(ends) == sorted(link[0] for link in graph["links"])


def test_links_agree_inside_of_subgraphs(graph: Graph) -> None:
    for node in graph["nodes"]:
        if not (inside := subgraphs(graph).get(node["type"])):
            continue
        nodes = {one["id"]: one for one in inside["nodes"]}
        before, behind = ([slot["linkIds"] for slot in inside[side]] for side in ("inputs", "outputs"))
        assert [slot["name"] for slot in inside["inputs"]] == [slot["name"] for slot in node["inputs"]]
        assert [slot["type"] for slot in inside["outputs"]] == [slot["type"] for slot in node["outputs"]]
        for link in inside["links"]:
            source, target, number = nodes.get(link["origin_id"]), nodes.get(link["target_id"]), link["id"]
            starts = source["outputs"][link["origin_slot"]]["links"] if source else before[link["origin_slot"]]
            assert number in starts
            ends = [target["inputs"][link["target_slot"]]["link"]] if target else behind[link["target_slot"]]
            assert number in ends


def test_a_box_shows_the_values_that_are_inside(graph: Graph) -> None:
    """In the order of the inputs. Frontend 1.27.10 takes those of the nodes inside, newer ones those of the box."""
    for node in graph["nodes"]:
        if not (inside := subgraphs(graph).get(node["type"])):
            continue
        widgets = [slot["name"] for slot in node["inputs"] if "widget" in slot]
        assert len(node["widgets_values"]) == len(widgets)
        previews = {name for _, name in node["properties"].get("proxyWidgets", [])}
        assert previews <= {"$$canvas-image-preview"}, "values named there are lost in frontend 1.49 and newer"
        for name, value in zip(widgets, node["widgets_values"], strict=True):
            slot = next(number for number, one in enumerate(inside["inputs"]) if one["name"] == name)
            fed = {
                link["target_id"]
                for link in inside["links"]
                if link["origin_id"] == -10 and link["origin_slot"] == slot
            }
            assert all(value in one["widgets_values"] for one in inside["nodes"] if one["id"] in fed)


@pytest.mark.parametrize("path", [path for path in FILES if path.stem.startswith("start_")], ids=lambda path: path.stem)
def test_a_workflow_to_start_with_is_a_blueprint_and_what_goes_in_and_out(path: Path) -> None:
    """Inside they are the same, but that three people have other words and names than two."""
    graph = workflow.load(path)
    (inside,) = subgraphs(graph).values()
    blueprint = workflow.load(ROOT / "subgraphs" / f"{inside['name']}.json")
    (twin,), (box_there,) = subgraphs(blueprint).values(), blueprint["nodes"]
    (box_here,) = (node for node in graph["nodes"] if node["type"] == inside["id"])
    same = json.dumps({**inside, "id": twin["id"]})
    for here, there in zip(box_here["widgets_values"], box_there["widgets_values"], strict=True):
        if here != there:
            assert path.stem == "start_group" and isinstance(here, str)
            same = same.replace(json.dumps(here), json.dumps(there))
    assert json.loads(same) == twin
    faces = [entry["link"] for node in inside["nodes"] for entry in node["inputs"] if entry["name"] == "which_face"]
    assert None not in faces, "a photo of two is an error whose cure is not on the box"
    assert len(graph["nodes"]) <= (7 if path.stem == "start_group" else 6)


def test_a_seed_on_a_box_stays_as_it_was_typed() -> None:
    """The box does not show its *control after generate*."""
    for path in [*FILES, *(ROOT / "subgraphs").glob("*.json")]:
        inner = [node for inside in subgraphs(workflow.load(path)).values() for node in inside["nodes"]]
        names = ("seed", "noise_seed")
        promoted = [n for n in inner if any(e["name"] in names and e["link"] is not None for e in n["inputs"])]
        random = [node["id"] for node in promoted if "randomize" in node["widgets_values"]]
        assert not random, path.stem


def test_a_bypassed_box_lets_no_skeleton_through(graph: Graph) -> None:
    """What comes in as a picture comes out as one: only of its size it would be saved as the result."""
    for inside in subgraphs(graph).values():
        kinds = {node["id"]: node["type"] for node in inside["nodes"]}
        for slot, entry in enumerate(inside["inputs"]):
            fed = [link for link in inside["links"] if (link["origin_id"], link["origin_slot"]) == (-10, slot)]
            only_size = [kinds[link["target_id"]] for link in fed] == ["GetImageSize"]
            assert not only_size or entry["type"] != "IMAGE", inside["name"]


def test_no_number_of_a_link_or_group_twice() -> None:
    """Frontend 1.58 gives the second one another, and says so in the log. None is above the last one noted down."""
    for path in [*FILES, *(ROOT / "subgraphs").glob("*.json")]:
        graph = workflow.load(path)
        inside = list(subgraphs(graph).values())
        links = [link[0] for link in graph["links"]] + [link["id"] for one in inside for link in one["links"]]
        groups = [group["id"] for level in (graph, *inside) for group in level.get("groups", [])]
        assert (len(set(links)), len(set(groups))) == (len(links), len(groups)), path.stem
        assert graph["last_link_id"] >= max(links, default=0), path.stem
        for one in inside:
            assert one["state"]["lastLinkId"] >= max(link["id"] for link in one["links"]), path.stem
            assert one["state"]["lastGroupId"] >= max((group["id"] for group in one["groups"]), default=0), path.stem


def test_few_boxes_and_no_node_twice(graph: Graph) -> None:
    assert len(graph["nodes"]) <= (42 if graph["id"] in LARGE else 23)
    numbers = {node["id"] for node in nodes_in(graph)}
    assert len(numbers) == len(graph["nodes"]) + sum(len(inside["nodes"]) for inside in subgraphs(graph).values())


def test_every_node_says_where_it_comes_from(graph: Graph, node_ids: set[str]) -> None:
    """By these properties the frontend offers the pack that a missing node needs."""
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version
    for node in real_nodes(graph):
        ours = node["type"].startswith("Likeness")
        assert not ours or node["type"] in node_ids
        assert node["properties"]["cnr_id"] == ("likeness" if ours else "comfy-core")
        assert not ours or node["properties"]["ver"] == version.group(1)


def test_models_offered_are_the_ones_chosen(graph: Graph) -> None:
    """The frontend ignores an entry whose name is not the widget's value, letter by letter."""
    for node in real_nodes(graph):
        for model in node["properties"].get("models", []):
            assert model["name"] in node["widgets_values"]
            assert model["url"].startswith(DOWNLOADABLE)
            assert model["directory"] in FOLDERS


def test_instant_id_recognises_faces_at_the_size_of_its_authors() -> None:
    """Through Resize Photo, or by photo_size."""
    raw: list[tuple[str, int]] = []
    for path in [*FILES, *sorted((ROOT / "subgraphs").glob("*.json"))]:
        graph = json.loads(path.read_text("utf-8"))
        of_instant_id = any(node["type"] == "LikenessApplyInstantID" for node in nodes_in(graph))
        for level in [graph, *subgraphs(graph).values()] if of_instant_id else []:
            resizing = [node for node in level["nodes"] if node["type"] == "LikenessResizePhoto"]
            resized = {link for node in resizing for link in node["outputs"][0]["links"] or ()}
            for node in level["nodes"]:
                linked = {entry["link"] for entry in node["inputs"] if entry["type"] == "IMAGE"}
                made = node["type"] in ("LikenessIdentity", "LikenessPeopleFromPhotos")
                if made and node["widgets_values"][-1] != "1280 px" and not linked & resized:
                    raw.append((path.stem, node["id"]))
    assert not raw


def test_a_note_says_what_to_change_first(graph: Graph) -> None:
    notes = [node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote"]
    assert len(notes) == 1
    assert "**Change first**" in notes[0]


def test_nodes_stand_in_groups_and_not_on_each_other(graph: Graph) -> None:
    nodes = graph["nodes"]
    piled = [(a["id"], b["id"]) for i, a in enumerate(nodes) for b in nodes[i + 1 :] if overlap(a, b)]
    assert not piled
    homeless = [node["id"] for node in nodes if sum(_within(node, group) for group in graph["groups"]) != 1]
    assert not homeless


def test_photos_have_the_height_that_they_get(graph: Graph) -> None:
    """On the canvas the frontend gives a photo 220 px below two sockets, its name and the button: it would grow over
    what stands under it."""
    photos = [n for n in graph["nodes"] if n["type"] == "LoadImage" and not n["flags"].get("collapsed")]
    assert [node["id"] for node in photos if node["size"][1] < 310] == []


def _within(node: Graph, group: Graph, below: float = 0) -> bool:
    x, y, width, height = group["bounding"]
    left, top, right, bottom = box(node)
    return x <= left and y <= top and right <= x + width and bottom + below <= y + height


def test_our_nodes_have_room_to_grow(graph: Graph) -> None:
    """A note or a preview under the node; Vue nodes are taller than the classic ones."""
    kinds = ("Likeness", *subgraphs(graph))
    ours = [n for n in graph["nodes"] if n["type"].startswith(kinds) and not n["flags"].get("collapsed")]
    touching = [(a["id"], b["id"]) for a in ours for b in graph["nodes"] if a is not b and overlap(a, b, below=60)]
    assert not touching
    assert all(any(_within(node, group, below=60) for group in graph["groups"]) for node in ours)


def test_opens_large_enough_to_read(graph: Graph) -> None:
    """A template is fitted into 75 % of the window, here 1920x1080; below 8/14 the frontend draws no text."""
    edges = list(zip(*map(box, graph["nodes"]), strict=True))
    width, height = max(edges[2]) - min(edges[0]) + 20, max(edges[3]) - min(edges[1]) + 20
    assert min(0.75 * 1920 / width, 0.75 * 1080 / height) >= 8 / 14
    view = graph["extra"]["ds"]
    assert view["scale"] >= 0.6
    (note,) = (node for node in graph["nodes"] if node["type"] == "MarkdownNote")
    left, top, right, bottom = (
        (edge + view["offset"][side % 2]) * view["scale"] for side, edge in enumerate(box(note))
    )
    assert left > 60 and top > 90 and right < 1920 and bottom < 1080, "the note is not in view"


def test_nothing_is_under_the_errors_or_the_map(graph: Graph, tidy: None) -> None:
    left, top, right, bottom = (
        edge(side) for edge, side in zip((min, min, max, max), zip(*map(box, graph["nodes"]), strict=True), strict=True)
    )
    scale = min(0.75 * 1920 / (right - left + 20), 0.75 * 1080 / (bottom - top + 20))
    middle = (left + right) / 2, (top + bottom) / 2

    def under(x: float, y: float, end: float, low: float) -> bool:
        x, end = (960 + (side - middle[0]) * scale for side in (x, end))
        y, low = (540 + (side - middle[1]) * scale for side in (y, low))
        return any(x < far and near < end and y < deep and high < low for near, high, far, deep in COVERED)

    titles = [
        (group["title"], (x, y, x + width, y + 30))
        for group in graph["groups"]
        for x, y, width, _ in [group["bounding"]]
    ]
    shown = [*titles, *((node["id"], box(node)) for node in graph["nodes"])]
    assert not [name for name, sides in shown if under(*sides)]


def test_groups_begin_at_few_heights(graph: Graph, tidy: None) -> None:
    """Rows, and none a little lower than its neighbour."""
    tops = sorted({group["bounding"][1] for group in graph["groups"]})
    assert len(tops) <= 3
    assert all(low - high >= 100 for high, low in itertools.pairwise(tops)), tops


def test_groups_are_readable_in_light_and_dark(graph: Graph) -> None:
    """A title in the colour of its group, on a quarter of it over the canvas."""
    for group in graph["groups"]:
        colour = tuple(bytes.fromhex(group["color"].removeprefix("#")))
        assert len(colour) == 3
        for canvas in (0x14, 0xD3):
            filled = tuple(0.75 * canvas + 0.25 * channel for channel in colour)
            assert contrast(colour, filled) > 2.2, f"{group['title']} on #{canvas:02x}"


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """As WCAG 2 defines it."""

    def luminance(colour: Sequence[float]) -> float:
        linear = ((c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour)
        return sum(weight * channel for weight, channel in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_no_link_crosses_a_title(graph: Graph) -> None:
    nodes = {node["id"]: node for node in graph["nodes"]}
    for _, source, output, target, slot, _ in graph["links"]:
        line = drawn(port(nodes[source], output, right=True), port(nodes[target], slot, right=False))
        for group in graph["groups"]:
            x, y, *_ = group["bounding"]
            long = 13 * len(group["title"])
            over = [point for point in line if x < point[0] < x + long and y + 4 < point[1] < y + 34]
            assert not over, f"{group['title']}: the link from {source} to {target}"


def test_few_links_run_behind_nodes(graph: Graph) -> None:
    nodes = {node["id"]: node for node in graph["nodes"]}

    def covered(source: int, output: int, target: int, slot: int) -> bool:
        line = drawn(port(nodes[source], output, right=True), port(nodes[target], slot, right=False))
        boxes = [box(node) for number, node in nodes.items() if number not in (source, target)]
        return any(left + 3 < x < right - 3 and up + 3 < y < low - 3 for x, y in line for left, up, right, low in boxes)

    hidden = [link[0] for link in graph["links"] if covered(*link[1:5])]
    assert len(hidden) <= (0.7 if graph["id"] in LARGE else 0.34) * len(graph["links"]), hidden


def test_no_link_runs_behind_a_picture(graph: Graph, tidy: None, request: pytest.FixtureRequest) -> None:
    """A photo, a preview or the picture that comes out."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    pictures = {number: box(node) for number, node in nodes.items() if shows_a_picture(node)}
    hidden: list[tuple[int, int, list[int]]] = []
    for _, source, output, target, slot, _ in graph["links"]:
        line = drawn(port(nodes[source], output, right=True), port(nodes[target], slot, right=False))
        over = [
            number
            for number, (left, up, right, low) in pictures.items()
            if number not in (source, target) and any(left < x < right and up < y < low for x, y in line)
        ]
        hidden += [(source, target, over)] if over else []
    assert len(hidden) <= TWO_DEEP.get(request.node.callspec.id, 0), hidden


def shows_a_picture(node: Graph) -> bool:
    ours = node["type"].startswith("Likeness") and any(output["type"] == "IMAGE" for output in node["outputs"])
    return (ours or node["type"] in PICTURES) and not node["flags"].get("collapsed")


def port(node: Graph, slot: int, right: bool) -> tuple[float, float]:
    x, y = node["pos"]
    if node["flags"].get("collapsed"):
        return x + 110 * right, y - 15
    return x + node["size"][0] * right, y + 14 + 20 * slot


def drawn(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """The frontend's curve, in 60 points."""
    pull, (x, y), (right, end_y) = max(30, math.dist(start, end) / 4), start, end

    def at(t: float, *corners: float) -> float:
        return sum(
            c * k * t**i * (1 - t) ** (3 - i) for i, (c, k) in enumerate(zip(corners, (1, 3, 3, 1), strict=True))
        )

    steps = [step / 60 for step in range(61)]
    return [(at(t, x, x + pull, right - pull, right), at(t, y, y, end_y, end_y)) for t in steps]


def test_as_an_app_it_asks_in_words(graph: Graph) -> None:
    """extra.linearData: every picture or saved person, the prompt and the seed, each under a label of its own.

    A workflow that generates nothing has neither prompt nor seed, and shows what its own nodes found.
    """
    nodes = {node["id"]: node for node in graph["nodes"]}
    app, asked = graph["extra"]["linearData"], []
    for number, name, *hint in app["inputs"]:
        (slot,) = (entry for entry in nodes[number]["inputs"] if entry.get("widget", {}).get("name") == name)
        assert slot["link"] is None, f"{name} of {number} is linked, the app leaves it out"
        asked.append((nodes[number]["type"], slot["label"]))
        beside = max(len(output["name"]) for output in nodes[number]["outputs"])
        assert 8.4 * (len(slot["label"]) + beside) + 10 <= nodes[number]["size"][0], f"{slot['label']} widens its node"
        assert all(len(entry["description"]) <= 34 for entry in hint), "the app shows one short line"
    labels = [label for _, label in asked]
    assert len({(number, name) for number, name, *_ in app["inputs"]}) == len(labels)
    assert sum(kind == "LoadImage" for kind, _ in asked) == sum(n["type"] == "LoadImage" for n in nodes.values())
    shown = {nodes[number]["type"] for number in app["outputs"]}
    if not any(node["type"] in SAMPLERS for node in nodes_in(graph)):
        assert shown in ({"LikenessSaveIdentity"}, {"LikenessDoctor"})
        return
    assert asked[0][0] in ("LoadImage", "LikenessLoadIdentity", "LikenessCastFromPhotos")
    assert {"CLIPTextEncode", "LikenessScenes"} & dict(asked).keys() or "Prompt" in labels
    assert any(label.startswith("Seed") for label in labels)
    assert shown - {"PreviewImage"} == {"SaveImage"} and len(set(app["outputs"])) == len(app["outputs"])


@pytest.mark.parametrize("language", translations.TRANSLATED)
def test_every_text_of_a_graph_is_translated_and_no_other(language: str) -> None:
    """What web/labels.js finds in its table; a text that is gone leaves it too."""
    table, names = translations.table(language), translations.PROPER_NAMES
    files = [*FILES, *(ROOT / "subgraphs").glob("*.json")]
    shown = {text for path in files for text in translations.of_graph(json.loads(path.read_text("utf-8")))}
    # A group is numbered: 5 · ID-Patch.
    assert sorted(table.keys() ^ {text for text in shown if re.sub(r"^\d · ", "", text) not in names}) == []
    assert sorted(names - shown) == []
    assert [text for text in table.values() if re.search(r"[{}@|]", text)] == [], "messages give these a meaning"
    latin = {text for text in table.values() if not re.search(r"[\u4e00-\u9fff]", text)}
    assert sorted(latin - names) == []


@pytest.mark.parametrize("language", translations.TRANSLATED)
def test_every_line_of_a_note_is_translated_and_no_other(language: str) -> None:
    lines = translations.table(language, translations.NOTES)
    shown = {line for path in FILES for line in translations.lines_of_notes(json.loads(path.read_text("utf-8")))}
    assert sorted(lines.keys() ^ shown) == []
    assert [line for line in lines.values() if not re.search(r"[\u4e00-\u9fff]", line)] == []
    links = re.compile(r"\]\((\S+)\)")
    assert [line for line, own in lines.items() if links.findall(line) != links.findall(own)] == []
