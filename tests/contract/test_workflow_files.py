"""The workflow files as data: consistent graphs that the frontend can resolve, install for and open without a gap."""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import figures
import pytest
import translations
from pack.core.models import manifest
from PIL import Image
from rig import published, workflow

ROOT = Path(__file__).resolve().parents[2]
AT_MOST_TWELVE = {
    "id_patch_absent_friend",
    "id_patch_prompt_per_person",
    "id_patch_second_pass_eight_people",
    "parts2whole_with_pose",
    "parts_try_on",
}
"""Templates of many nodes, all but a few of which are inside of boxes."""
SAMPLERS = {"KSampler", "SamplerCustomAdvanced"}
BEFORE, BEHIND = -10, -20
"""What the ends of a subgraph's links at its own inputs and outputs are numbered with."""

Graph = dict[str, Any]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class Link(NamedTuple):
    number: int
    source: int
    output: int
    target: int
    slot: int
    kind: str


class File:
    """A template or a blueprint."""

    def __init__(self, path: Path) -> None:
        self.path, self.stem, self.graph = path, path.stem, workflow.load(path)
        self.nodes: list[Graph] = self.graph["nodes"]
        self.groups: list[Graph] = self.graph.get("groups", [])
        self.inside = workflow.subgraphs(self.graph)
        self.real = [node for node in workflow.nodes_in(self.graph) if node["type"] not in workflow.NOTES]
        self.boxed = [(node, self.inside[node["type"]]) for node in self.nodes if node["type"] in self.inside]

    @cached_property
    def levels(self) -> list[tuple[dict[int, Graph], list[Link]]]:
        """Nodes by number and links: of the graph, and of what is inside of each subgraph with its ends as nodes."""
        found = [({node["id"]: node for node in self.nodes}, [Link(*link) for link in self.graph["links"]])]
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        for inside in self.inside.values():
            before = {"outputs": [{**slot, "links": slot["linkIds"]} for slot in inside["inputs"]], "inputs": []}
            behind = {"inputs": [{**slot, "link": slot["linkIds"][0]} for slot in inside["outputs"]]}
            nodes = {node["id"]: node for node in inside["nodes"]} | {BEFORE: before, BEHIND: behind}
            found.append((nodes, [Link(*(link[name] for name in names)) for link in inside["links"]]))
        return found


TEMPLATES = [File(path) for path in sorted((ROOT / "workflows").glob("*.json"))]
BLUEPRINTS = {path.stem: File(path) for path in sorted((ROOT / "subgraphs").glob("*.json"))}
Check = Callable[[File], Iterable[object]]


def over(files: Iterable[File]) -> Callable[[Check], Callable[[], None]]:
    """Makes a test of a function that gives what is wrong in one file: it names every file, and all that is wrong."""

    def checked_by(check: Check) -> Callable[[], None]:
        def test() -> None:
            assert {file.stem: wrong for file in files if (wrong := [*check(file)])} == {}

        test.__doc__ = check.__doc__
        return test

    return checked_by


every = over(TEMPLATES)
every_file = over([*TEMPLATES, *BLUEPRINTS.values()])


# Pictures


@every
def test_each_has_a_small_picture_with_room_for_the_gallerys_badge(file: File) -> Iterator[object]:
    """<name>.jpg beside <name>.json; the badge is in its upper left corner."""
    picture = file.path.with_suffix(".jpg")
    if not 0 < picture.stat().st_size < 200_000:
        yield "large"
    with Image.open(picture) as opened:
        corner = opened.convert("L").crop((0, 0, round(0.47 * opened.width), round(0.13 * opened.height)))
    dark, light = corner.getextrema()
    if light - dark >= 25:
        yield "not plain"


# Graphs


@every_file
def test_numbers_are_there_once_and_none_above_the_last(file: File) -> Iterator[object]:
    """Frontend 1.58 gives the second link or group of a number another one, and says so in the log."""
    graph, inside = file.graph, list(file.inside.values())
    links = [link.number for _, links in file.levels for link in links]
    groups = [group["id"] for level in (graph, *inside) for group in level.get("groups", [])]
    nodes = [node["id"] for level in (graph, *inside) for node in level["nodes"]]
    yield from (numbers for numbers in (links, groups, nodes) if len(set(numbers)) < len(numbers))
    last = [(graph["last_link_id"], links), (graph["last_node_id"], [node["id"] for node in file.nodes])]
    last += [(one["state"]["lastLinkId"], [link["id"] for link in one["links"]]) for one in inside]
    last += [(one["state"]["lastGroupId"], [group["id"] for group in one["groups"]]) for one in inside]
    yield from (numbers for most, numbers in last if max(numbers, default=0) > most)
    if len(file.nodes) > (12 if file.stem in AT_MOST_TWELVE else 24) or graph["version"] != 0.4:
        yield f"{len(file.nodes)} boxes"


@every
def test_links_agree_at_both_ends(file: File) -> Iterator[object]:
    """Inside of subgraphs too, whose inputs and outputs are those of the box that stands for them."""
    for nodes, links in file.levels:
        for link in links:
            output, slot = nodes[link.source]["outputs"][link.output], nodes[link.target]["inputs"][link.slot]
            kinds = link.kind if slot["type"] == "*" else slot["type"]
            if link.number not in output["links"] or slot["link"] != link.number:
                yield link
            if output["type"] != link.kind or link.kind not in kinds.split(","):
                yield link, output["type"], kinds
        ends = [slot["link"] for node in nodes.values() for slot in node.get("inputs", []) if slot["link"] is not None]
        yield from {*ends} ^ {link.number for link in links}
    for box, inside in file.boxed:
        for side, name in (("inputs", "name"), ("outputs", "type")):
            if [slot[name] for slot in inside[side]] != [slot[name] for slot in box[side]]:
                yield side


# Boxes


@every_file
def test_a_box_shows_the_values_that_are_inside_and_lets_no_skeleton_through(file: File) -> Iterator[object]:
    """In the order of the inputs. Frontend 1.27.10 takes those of the nodes inside, newer ones those of the box. A seed
    on it stays as it was typed, as its *control after generate* is not shown; and of a picture that comes in only for
    its size, a bypassed box would make the result."""
    for box, inside in file.boxed:
        # Values that are named there are lost in frontend 1.49 and newer.
        previews = {name for _, name in box["properties"].get("proxyWidgets", [])}
        yield from previews - {"$$canvas-image-preview"}
        widgets = [slot["name"] for slot in box["inputs"] if "widget" in slot]
        slots, nodes = [slot["name"] for slot in inside["inputs"]], {node["id"]: node for node in inside["nodes"]}
        fed: list[list[Graph]] = [[] for _ in slots]
        for link in inside["links"]:
            if link["origin_id"] == BEFORE:
                fed[link["origin_slot"]].append(nodes[link["target_id"]])
        for name, value in zip(widgets, box["widgets_values"], strict=True):
            if not all(value in one["widgets_values"] for one in fed[slots.index(name)]):
                yield name, value
            if name in ("seed", "noise_seed"):
                yield from (one["id"] for one in fed[slots.index(name)] if "randomize" in one["widgets_values"])
        for entry, into in zip(inside["inputs"], fed, strict=True):
            if entry["type"] == "IMAGE" and [one["type"] for one in into] == ["GetImageSize"]:
                yield entry["name"]


@over([*TEMPLATES, *BLUEPRINTS.values()])
def test_a_box_has_one_style_of_capitals(file: File) -> Iterator[object]:
    """What it shows of its sockets and values begins with a capital, as the nodes' own names do."""
    for box, inside in file.boxed:
        for node in (box, inside):
            for slot in (*node["inputs"], *node["outputs"]):
                shown = slot.get("label") or slot["name"]
                if shown[0].islower():
                    yield inside["name"], shown


@over([file for file in TEMPLATES if file.stem.startswith("start_")])
def test_a_workflow_to_start_with_is_a_blueprint_and_what_goes_in_and_out(file: File) -> Iterator[object]:
    """Inside they are the same, but that three people have other words and names than two."""
    ((box, inside),) = file.boxed
    ((box_there, twin),) = BLUEPRINTS[inside["name"]].boxed
    same = json.dumps({**inside, "id": twin["id"]})
    for here, there in zip(box["widgets_values"], box_there["widgets_values"], strict=True):
        if here != there:
            if file.stem != "start_group" or not isinstance(here, str):
                yield here
            same = same.replace(json.dumps(here), json.dumps(there))
    if json.loads(same) != twin:
        yield f"other than {inside['name']}"
    faces = [entry["link"] for node in inside["nodes"] for entry in node["inputs"] if entry["name"] == "which_face"]
    if None in faces:
        yield "a photo of two is an error whose cure is not on the box"
    if len(file.nodes) > (7 if file.stem == "start_group" else 6):
        yield len(file.nodes)


# Where nodes and models come from


def test_every_node_says_where_it_comes_from(node_ids: set[str]) -> None:
    """By these properties the frontend offers the pack that a missing node needs, and the files it lacks; of these it
    ignores one whose name is not the widget's value, letter by letter."""
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version
    offered = [workflow.offered(model) for model in manifest.models()]
    for stem, node in ((file.stem, node) for file in TEMPLATES for node in file.real):
        where, ours = node["properties"], node["type"].startswith("Likeness")
        if ours:
            assert node["type"] in node_ids and where.get("ver") == version[1], stem
        else:
            assert node["type"] not in node_ids, stem
        assert where["cnr_id"] == ("likeness" if ours else "comfy-core"), stem
        models = where.get("models", [])
        assert all(one in offered and one["name"] in node["widgets_values"] for one in models), stem


@every_file
def test_instant_id_recognises_faces_at_the_size_of_its_authors(file: File) -> Iterator[object]:
    """Through Resize Photo, or by photo_size."""
    uses_it = any(node["type"] == "LikenessApplyInstantID" for node in file.real)
    levels = (file.graph, *file.inside.values()) if uses_it else ()
    for level in levels:
        resizing = [node for node in level["nodes"] if node["type"] == "LikenessResizePhoto"]
        resized = {link for node in resizing for link in node["outputs"][0]["links"] or ()}
        for node in level["nodes"]:
            linked = {entry["link"] for entry in node["inputs"] if entry["type"] == "IMAGE"}
            made = node["type"] in ("LikenessPerson", "LikenessCastFromPhotos")
            if made and node["widgets_values"][-1] != "1280 px" and not linked & resized:
                yield node["id"]


# What it is sampled with


OTHER_SETTINGS = {
    ("LikenessStylePerPerson", "fit"): {"pad"},  # The authors crop; a drawing of a style has to be seen whole.
}
"""By node and input: what templates have instead of the value of the authors, and why."""


def switched_on(file: File) -> set[str]:
    """The kinds of nodes that run as the file opens: neither they nor the box they are in is bypassed."""
    kinds = set[str]()
    for node in file.nodes:
        if node.get("mode", 0) != 0:
            continue
        inside = file.inside.get(node["type"])
        for real in [node] if inside is None else inside["nodes"]:
            if real.get("mode", 0) == 0:
                kinds.add(real["type"])
    return kinds


def of_authors(kinds: set[str], setting: str) -> set[float | str]:
    """The values that the authors of the methods of these nodes have for a setting, as a widget has them."""
    values = set[float | str]()
    for method in published.methods():
        if not kinds & set(method.nodes):
            continue
        for what, value, _ in method.settings:
            if what == setting:
                first = value.partition(",")[0]
                values.add(float(first) if re.fullmatch(r"[0-9.]+", first) else first)
    return values


@every_file
def test_it_applies_a_method_with_the_settings_of_its_authors(file: File) -> Iterator[object]:
    """docs/dev/authors_settings.json says where in their code each of them stands."""
    for node in file.real:
        kind = node["type"]
        for name, value in zip(workflow._names(node), node["widgets_values"], strict=False):
            allowed = OTHER_SETTINGS.get((kind, name), of_authors({kind}, name))
            if allowed and value not in allowed:
                yield kind, node["id"], name, value, allowed


@every_file
def test_it_samples_with_steps_and_guidance_of_the_authors(file: File) -> Iterator[object]:
    """Of any of its methods that are on; a second pass has a step count of its own."""
    kinds = switched_on(file)
    guidance, steps, distilled = (of_authors(kinds, name) for name in ("CFG", "steps", "guidance"))
    for node in file.real:
        if node["type"] == "KSampler":
            values = dict(zip(workflow._names(node), node["widgets_values"], strict=True))
            if guidance and values["cfg"] not in guidance:
                yield node["id"], "cfg", values["cfg"], guidance
            if steps and values["denoise"] > 0.9 and values["steps"] not in steps:
                yield node["id"], "steps", values["steps"], steps
        if node["type"] == "FluxGuidance" and distilled and node["widgets_values"][0] not in distilled:
            yield node["id"], "guidance", node["widgets_values"][0], distilled


# What is seen


def box(node: Graph) -> Box:
    """As drawn: the title bar is 30 px above `pos`, and all there is of a collapsed node."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - 30, x + width, y + (0 if node["flags"].get("collapsed") else height)


@every
def test_nodes_stand_in_groups_and_not_on_each_other(file: File) -> Iterator[object]:
    """Ours with room for a note or a preview; Vue nodes are taller than the classic ones."""
    edges = {node["id"]: box(node) for node in file.nodes}
    for node in file.nodes:
        open_, (left, top, right, bottom) = not node["flags"].get("collapsed"), edges[node["id"]]
        low = bottom + 60 * (open_ and node["type"].startswith(("Likeness", *file.inside)))
        for number, (x0, y0, x1, y1) in edges.items():
            if number != node["id"] and left < x1 and x0 < right and top < y1 and y0 < low:
                yield node["id"], number
        around = [(x, y, x + width, y + height) for x, y, width, height in (group["bounding"] for group in file.groups)]
        depths = [y1 for x0, y0, x1, y1 in around if x0 <= left and y0 <= top and right <= x1 and bottom <= y1]
        if len(depths) != 1 or low > depths[0]:
            yield node["id"]
        # The frontend gives a photo 220 px below two sockets, its name and the button: it would grow over the next.
        if open_ and node["type"] == "LoadImage" and node["size"][1] < 310:
            yield node["id"], node["size"]


@every
def test_opens_large_enough_to_read_with_the_note_in_view(file: File) -> Iterator[object]:
    """Below 8/14 the frontend draws no text; a template is fitted into 75 % of the window, here 1920x1080. The title of
    a group is in its colour, on a quarter of it over the canvas, in light and dark."""
    view = file.graph["extra"]["ds"]
    left, top, right, bottom = zip(*map(box, file.nodes), strict=True)
    wide, high = max(right) - min(left) + 20, max(bottom) - min(top) + 20
    if min(0.75 * 1920 / wide, 0.75 * 1080 / high) < 8 / 14 or view["scale"] < 0.6:
        yield wide, high, view["scale"]
    (note,) = (node for node in file.nodes if node["type"] == "MarkdownNote")
    if "**Change first**" not in note["widgets_values"][0]:
        yield "does not say what to change first"
    left, top, right, bottom = ((edge + view["offset"][n % 2]) * view["scale"] for n, edge in enumerate(box(note)))
    if not (left > 60 and top > 90 and right < 1920 and bottom < 1080):
        yield "the note is not in view"
    for group, canvas in itertools.product(file.groups, (0x14, 0xD3)):
        colour = bytes.fromhex(group["color"].removeprefix("#"))
        if figures.contrast(colour, [0.75 * canvas + 0.25 * channel for channel in colour]) <= 2.2:
            yield f"{group['title']} on #{canvas:02x}"


# Words


@every
def test_as_an_app_it_asks_in_words(file: File) -> Iterator[object]:
    """extra.linearData: every picture or saved person, the prompt and the seed, each under a label of its own.

    A workflow that generates nothing has neither prompt nor seed, and shows what its own nodes found.
    """
    nodes, app = file.levels[0][0], file.graph["extra"]["linearData"]
    asked: list[tuple[str, str]] = []
    for number, name, *hint in app["inputs"]:
        (slot,) = (entry for entry in nodes[number]["inputs"] if entry.get("widget", {}).get("name") == name)
        asked.append((nodes[number]["type"], slot["label"]))
        beside = max(len(output["name"]) for output in nodes[number]["outputs"])
        if slot["link"] is not None:
            yield f"{name} of {number} is linked, the app leaves it out"
        if 8.4 * (len(slot["label"]) + beside) + 10 > nodes[number]["size"][0]:
            yield f"{slot['label']} widens its node"
        yield from (entry for entry in hint if len(entry["description"]) > 34)  # the app shows one short line
    kinds, labels = [kind for kind, _ in asked], [label for _, label in asked]
    if len({(number, name) for number, name, *_ in app["inputs"]}) != len(labels):
        yield "asks twice"
    if kinds.count("LoadImage") != sum(node["type"] == "LoadImage" for node in nodes.values()):
        yield "does not ask for every photo"
    shown = {nodes[number]["type"] for number in app["outputs"]}
    if not any(node["type"] in SAMPLERS for node in file.real):
        right = {"shown": shown in ({"LikenessSavePerson"}, {"LikenessCheckModelFiles"})}
    else:
        right = {
            "people first": kinds[0] == "LoadImage"
            or kinds[0].endswith(("LoadPerson", "SortPhotosIntoPeople", "AddLoRAToPerson")),
            "words": bool({"CLIPTextEncode", "LikenessScenes"} & {*kinds}) or "Prompt" in labels,
            "seed": any(label.startswith("Seed") for label in labels),
            "shown": shown - {"PreviewImage"} == {"SaveImage"} and len(set(app["outputs"])) == len(app["outputs"]),
        }
    yield from (name for name, so in right.items() if not so)


@pytest.mark.parametrize("language", translations.TRANSLATED)
def test_every_text_of_a_graph_is_translated_and_no_other(language: str) -> None:
    """What web/labels.js finds in its tables, lines of notes too; a text that is gone leaves them."""
    table, names = translations.table(language), translations.PROPER_NAMES
    shown = {text for file in (*TEMPLATES, *BLUEPRINTS.values()) for text in translations.of_graph(file.graph)}
    # A group is numbered: 5 · ID-Patch.
    assert sorted(table.keys() ^ {text for text in shown if re.sub(r"^\d · ", "", text) not in names}) == []
    assert sorted(names - shown) == []
    assert [text for text in table.values() if re.search(r"[{}@|]", text)] == [], "messages give these a meaning"
    lines = translations.table(language, translations.NOTES)
    assert sorted(lines.keys() ^ {line for file in TEMPLATES for line in translations.lines_of_notes(file.graph)}) == []
    latin = {text for text in (*table.values(), *lines.values()) if not re.search(r"[\u4e00-\u9fff]", text)}
    assert sorted(latin - names) == []
    links = re.compile(r"\]\((\S+)\)")
    assert [line for line, own in lines.items() if links.findall(line) != links.findall(own)] == []
