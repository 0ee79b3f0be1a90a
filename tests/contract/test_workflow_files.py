"""The workflow files as data: consistent graphs that the frontend can resolve, install for and open without a gap."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import authors_settings
import figures
import pytest
import translations
from pack.core.models import manifest
from PIL import Image
from shared import saved_workflow, workflow

ROOT = Path(__file__).resolve().parents[2]
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
        self.path = path
        self.stem = path.stem
        self.graph = workflow.load(path)
        self.nodes: list[Graph] = self.graph["nodes"]
        self.groups: list[Graph] = self.graph.get("groups", [])
        self.inside = workflow.subgraphs(self.graph)
        self.real = [node for node in workflow.nodes_in(self.graph) if node["type"] not in workflow.NOTES]
        self.boxed = [(node, self.inside[node["type"]]) for node in self.nodes if node["type"] in self.inside]

    @cached_property
    def levels(self) -> list[tuple[dict[int, Graph], list[Link]]]:
        """Nodes by number and links: of the graph, and of what is inside of each subgraph with its ends as nodes."""
        nodes_and_links = [({node["id"]: node for node in self.nodes}, [Link(*link) for link in self.graph["links"]])]
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        for inside in self.inside.values():
            before = {"outputs": [{**slot, "links": slot["linkIds"]} for slot in inside["inputs"]], "inputs": []}
            behind = {"inputs": [{**slot, "link": slot["linkIds"][0]} for slot in inside["outputs"]]}
            nodes = {node["id"]: node for node in inside["nodes"]} | {BEFORE: before, BEHIND: behind}
            links: list[Link] = []
            for link in inside["links"]:
                values = [link[name] for name in names]
                links.append(Link(*values))
            nodes_and_links.append((nodes, links))
        return nodes_and_links


TEMPLATES = [File(path) for path in sorted((ROOT / "workflows").glob("*.json"))]
BLUEPRINTS = {file.nodes[0]["title"]: file for file in map(File, sorted((ROOT / "subgraphs").glob("*.json")))}
"""By the title of their node. The search for nodes reads the first 30 letters of the file's name alone."""
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
    if not (ROOT / "docs" / "dev" / "icons" / f"{file.path.stem}.svg").is_file():
        yield "no SVG that it is made of"


# Graphs


@every_file
def test_numbers_are_there_once_and_none_above_the_last(file: File) -> Iterator[object]:
    """Frontend 1.58 gives the second link or group of a number another one, and says so in the log."""
    graph = file.graph
    inside = list(file.inside.values())
    links: list[int] = []
    groups: list[int] = []
    nodes: list[int] = []
    for _, links_of_level in file.levels:
        links += [link.number for link in links_of_level]
    for level in (graph, *inside):
        groups += [group["id"] for group in level.get("groups", [])]
        nodes += [node["id"] for node in level["nodes"]]
    yield from ({"twice among": numbers} for numbers in (links, groups, nodes) if len(set(numbers)) < len(numbers))
    last_and_numbers = [(graph["last_link_id"], links), (graph["last_node_id"], [node["id"] for node in file.nodes])]
    for subgraph in inside:
        last_and_numbers.append((subgraph["state"]["lastLinkId"], [link["id"] for link in subgraph["links"]]))
        last_and_numbers.append((subgraph["state"]["lastGroupId"], [group["id"] for group in subgraph["groups"]]))
    for last, numbers in last_and_numbers:
        if max(numbers, default=0) > last:
            yield f"the last number is said to be {last}, but there is {max(numbers)}"
    if graph["version"] != 0.4:
        yield graph["version"]


@every
def test_references_are_read_by_weight_in_every_pass(file: File) -> Iterator[object]:
    """Weights of people act on references only where the MODEL runs through People as References."""
    for nodes, links in file.levels:
        has_model = {link.target for link in links if link.kind == "MODEL"}
        for number, node in nodes.items():
            if node.get("type") == "LikenessPeopleAsReferences" and number not in has_model:
                yield node["title"]


@every
def test_links_agree_at_both_ends(file: File) -> Iterator[object]:
    """Inside of subgraphs too, whose inputs and outputs are those of the box that stands for them."""
    for nodes, links in file.levels:
        for link in links:
            output = nodes[link.source]["outputs"][link.output]
            slot = nodes[link.target]["inputs"][link.slot]
            kinds = link.kind if slot["type"] == "*" else slot["type"]
            if link.number not in output["links"] or slot["link"] != link.number:
                yield link
            if output["type"] != link.kind or link.kind not in kinds.split(","):
                yield link, output["type"], kinds
        ends: set[int] = set()
        for node in nodes.values():
            ends |= {slot["link"] for slot in node.get("inputs", []) if slot["link"] is not None}
        yield from ends ^ {link.number for link in links}
    for box, inside in file.boxed:
        for side, name in (("inputs", "name"), ("outputs", "type")):
            if [slot[name] for slot in inside[side]] != [slot[name] for slot in box[side]]:
                yield side


PICTURES_OWN_POSES = {("instant_id_with_pose_canny_depth", "Pose")}
"""By file and box: what draws layouts as they are. *Pose* holds the bodies of the picture, as others hold its outlines
and its depth, which nobody moves either; the places are of the faces that were found in it."""


@every_file
def test_what_is_arranged_by_hand_is_what_is_drawn(file: File) -> Iterator[object]:
    """Where people are placed, a layout goes to one *Place Cast*, and everything else takes the placed cast."""
    if not any(node["type"] == "LikenessPlaceCast" for node in file.real):
        return
    titles = ["", *(inside["name"] for inside in file.inside.values())]
    for title, (nodes, links) in zip(titles, file.levels, strict=True):
        of_layouts = [link for link in links if link.kind == "LIKENESS_LAYOUT"]
        if (file.stem, title) in PICTURES_OWN_POSES:
            continue
        outputs = [(link.source, link.output) for link in of_layouts]
        yield from (f"layout of {source} goes to two" for source in set(outputs) if outputs.count(source) > 1)
        for link in of_layouts:
            target = nodes[link.target]
            makes_layouts = any(output["type"] == link.kind for output in target.get("outputs", []))
            is_place_cast = target.get("type") in ("LikenessPlaceCast", *file.inside)
            if link.target != BEHIND and not is_place_cast and not makes_layouts:
                yield title, target.get("title")


# Boxes


@every_file
def test_a_box_shows_the_values_that_are_inside_and_lets_no_skeleton_through(file: File) -> Iterator[object]:
    """In the order of the inputs, linked ones among them: without their place, the editor shows every value in another
    field. Frontend 1.27.10 takes those of the nodes inside, newer ones those of the box. A seed on it stays as it was
    typed, as its *control after generate* is not shown; and of a picture that comes in only for its size, a bypassed
    box would make the result."""
    for box, inside in file.boxed:
        # Values that are named there are lost in frontend 1.49 and newer.
        previews = [tuple(entry) for entry in box["properties"].get("proxyWidgets", [])]
        yield from {name for _, name in previews} - {"$$canvas-image-preview"}
        # The picture of a node that has made none yet is lost there as well, unless it stands here.
        exposed = box["properties"].get("previewExposures", [])
        yield from set(previews) - {(entry["sourceNodeId"], entry["sourcePreviewName"]) for entry in exposed}
        widgets = [slot["name"] for slot in box["inputs"] if "widget" in slot]
        slots = [slot["name"] for slot in inside["inputs"]]
        nodes = {node["id"]: node for node in inside["nodes"]}
        fed: list[list[Graph]] = [[] for _ in slots]
        of_widgets: set[str] = set()  # inputs that lead to a widget: on the box they are widgets too, linked or not
        for link in inside["links"]:
            if link["origin_id"] == BEFORE:
                target = nodes[link["target_id"]]
                fed[link["origin_slot"]].append(target)
                if "widget" in target["inputs"][link["target_slot"]]:
                    of_widgets.add(slots[link["origin_slot"]])
        yield from of_widgets ^ set(widgets)
        for name, value in zip(widgets, box["widgets_values"], strict=True):
            fed_nodes = fed[slots.index(name)]
            if not all(value in node["widgets_values"] for node in fed_nodes):
                yield name, value
            if name in ("seed", "noise_seed"):
                yield from (node["id"] for node in fed_nodes if "randomize" in node["widgets_values"])
        for entry, fed_nodes in zip(inside["inputs"], fed, strict=True):
            if entry["type"] == "IMAGE" and [node["type"] for node in fed_nodes] == ["GetImageSize"]:
                yield entry["name"]


@every_file
def test_a_text_that_comes_to_a_box_is_one_line_on_it(file: File) -> Iterator[object]:
    """Of a text of several lines the editor shows an empty field, linked or not. Of a node Text it is one line."""
    for box, inside in file.boxed:
        kinds = {node["id"]: node["type"] for node in inside["nodes"]}
        for slot, entry in zip(box["inputs"], inside["inputs"], strict=True):
            if slot["type"] != "STRING" or "widget" not in slot or slot["link"] is None:
                continue
            for link in inside["links"]:
                if link["id"] in entry["linkIds"] and kinds[link["target_id"]] != "PrimitiveString":
                    yield slot["name"], kinds[link["target_id"]]


@over([*TEMPLATES, *BLUEPRINTS.values()])
def test_a_box_has_one_style_of_capitals(file: File) -> Iterator[object]:
    """What it shows of its sockets and values begins with a capital, as the nodes' own names do."""
    for box, inside in file.boxed:
        for node in (box, inside):
            for slot in (*node["inputs"], *node["outputs"]):
                label = slot.get("label") or slot["name"]
                if label[0].islower():
                    yield inside["name"], label


@over([*TEMPLATES, *BLUEPRINTS.values()])
def test_a_person_has_room_for_all_of_its_rows(file: File) -> Iterator[object]:
    """Classic nodes draw one more than Vue nodes, in place of the editor of boxes, over whatever is below."""
    for nodes, *_ in file.levels:
        for node in nodes.values():
            if (
                node.get("type") == "LikenessPerson"
                and node["size"][1] < 410
                and not node.get("flags", {}).get("collapsed")
            ):
                yield node.get("title"), node["size"]


@over([file for file in TEMPLATES if file.stem.startswith("start_")])
def test_a_workflow_to_start_with_is_a_blueprint_and_what_goes_in_and_out(file: File) -> Iterator[object]:
    """Inside they are the same."""
    ((box, inside),) = file.boxed
    ((box_there, twin),) = BLUEPRINTS[inside["name"]].boxed
    for value, value_of_blueprint in zip(box["widgets_values"], box_there["widgets_values"], strict=True):
        if value != value_of_blueprint:
            yield value
    if {**inside, "id": twin["id"]} != twin:
        yield f"other than {inside['name']}"
    links_of_faces: list[int | None] = []
    for node in inside["nodes"]:
        links_of_faces += [entry["link"] for entry in node["inputs"] if entry["name"] == "which_face"]
    if None in links_of_faces:
        yield "a photo of two is an error whose cure is not on the box"
    if len(file.nodes) > 6:
        yield len(file.nodes)


# Where nodes and models come from


def test_the_editor_takes_the_names_of_what_lies_in_folders() -> None:
    """In whose menus it puts names of another system, and of no other node of the host's."""
    script = (ROOT / "web" / "names.js").read_text("utf-8")
    nodes = [node for file in [*TEMPLATES, *BLUEPRINTS.values()] for node in file.real]
    in_folders = {node["type"] for node in nodes for model in offered_by(node) if "/" in model}
    loaders = {kind for kind in in_folders if not kind.startswith("Likeness")}
    assert loaders == set(re.findall(r'type === "(\w+)"', script))


def offered_by(node: dict[str, Any]) -> list[str]:
    """The names of the models from which the editor offers a download."""
    return [model["name"] for model in node.get("properties", {}).get("models", [])]


def test_every_node_says_where_it_comes_from(node_ids: set[str]) -> None:
    """By these properties the frontend offers the pack that a missing node needs, and the files it lacks; of these it
    ignores one whose name is not the widget's value, letter by letter."""
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version
    offered = [workflow.offered(model) for model in manifest.models()]
    for file in TEMPLATES:
        for node in file.real:
            properties = node["properties"]
            is_ours = node["type"].startswith("Likeness")
            assert (node["type"] in node_ids) == is_ours, file.stem
            assert properties["cnr_id"] == ("likeness" if is_ours else "comfy-core"), file.stem
            if is_ours:
                assert properties.get("ver") == version[1], file.stem
            for model in properties.get("models", []):
                assert model in offered, file.stem
                assert model["name"] in node["widgets_values"], file.stem


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
            makes_people = node["type"] in ("LikenessPerson", "LikenessCastFromPhotos")
            if makes_people and "1280 px" not in node["widgets_values"] and not linked & resized:
                yield node["id"]


# What it is sampled with


OTHER_SETTINGS = {
    ("LikenessApplyPuLID", "zero_tokens"): {-1},  # It stands for the authors' number by file and projection.
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


@every_file
def test_it_applies_a_method_with_the_settings_of_its_authors(file: File) -> Iterator[object]:
    """docs/dev/settings.md says where in their code each of them stands."""
    for node in file.real:
        kind = node["type"]
        for name, value in zip(saved_workflow.names_in_row(node), node["widgets_values"], strict=False):
            allowed = OTHER_SETTINGS.get((kind, name), authors_settings.values({kind}, name))
            if allowed and value not in allowed:
                yield kind, node["id"], name, value, allowed


@every_file
def test_it_samples_with_steps_and_guidance_of_the_authors(file: File) -> Iterator[object]:
    """Of any of its methods that are on; a second pass has a step count of its own."""
    kinds = switched_on(file)
    guidance = authors_settings.values(kinds, "CFG")
    steps = authors_settings.values(kinds, "steps")
    distilled = authors_settings.values(kinds, "guidance")
    for node in file.real:
        if node["type"] == "KSampler":
            values = dict(zip(saved_workflow.names_in_row(node), node["widgets_values"], strict=True))
            if guidance and values["cfg"] not in guidance:
                yield node["id"], "cfg", values["cfg"], guidance
            if steps and values["denoise"] > 0.9 and values["steps"] not in steps:
                yield node["id"], "steps", values["steps"], steps
        if node["type"] == "FluxGuidance" and distilled and node["widgets_values"][0] not in distilled:
            yield node["id"], "guidance", node["widgets_values"][0], distilled


# What is seen


BARS = 87
"""Pixels of the page down to which the frontend's bars reach: Graph and App at the left, Run at the right."""


def box(node: Graph) -> Box:
    """As drawn: the title bar is 30 px above `pos`, and all there is of a collapsed node."""
    x, y = node["pos"]
    width, height = node["size"]
    return x, y - 30, x + width, y + (0 if node["flags"].get("collapsed") else height)


@every
def test_nodes_stand_in_groups_and_not_on_each_other(file: File) -> Iterator[object]:
    """Ours with room for a note or a preview; Vue nodes are taller than the classic ones."""
    edges = {node["id"]: box(node) for node in file.nodes}
    for node in file.nodes:
        open_ = not node["flags"].get("collapsed")
        left, top, right, bottom = edges[node["id"]]
        has_preview = open_ and node["type"].startswith(("Likeness", *file.inside))
        low = bottom + 60 if has_preview else bottom
        for number, (x0, y0, x1, y1) in edges.items():
            if number != node["id"] and left < x1 and x0 < right and top < y1 and y0 < low:
                yield node["id"], number
        depths: list[float] = []
        for group in file.groups:
            x0, y0, width, height = group["bounding"]
            is_across = x0 <= left and right <= x0 + width
            is_down = y0 <= top and bottom <= y0 + height
            if is_across and is_down:
                depths.append(y0 + height)
        if len(depths) != 1 or low > depths[0]:
            yield node["id"]
        # The frontend gives a photo 220 px below two sockets, its name and the button: it would grow over the next.
        if open_ and node["type"] == "LoadImage" and node["size"][1] < 310:
            yield node["id"], node["size"]


@every
def test_opens_large_enough_to_read_with_note_and_first_node_in_view(file: File) -> Iterator[object]:
    """In the view that it has: below 8/14 the frontend draws no text. All of it on 1920x1080, and no title below the
    frontend's bars; on a laptop the whole note, and the title of the first node. The title of a group is in its colour,
    on a quarter of it over the canvas, in light and dark."""
    view = file.graph["extra"]["ds"]

    def sides(node: Graph) -> list[float]:
        return [(edge + view["offset"][n % 2]) * view["scale"] for n, edge in enumerate(box(node))]

    if view["scale"] < 0.75:
        yield view["scale"]
    for node in file.nodes:
        left, top, right, bottom = sides(node)
        if not (left > 60 and top > 90 and right < 1920 and bottom < 1080):
            yield node["id"], "is not in view on a screen"
    (note,) = (node for node in file.nodes if node["type"] == "MarkdownNote")
    if "**Change first**" not in note["widgets_values"][0]:
        yield "does not say what to change first"
    _, _, right, bottom = sides(note)
    if not (right < 1366 and bottom < 768):
        yield "the note is not in view on a laptop"
    x, y, width, height = next(group["bounding"] for group in file.groups if group["title"].startswith("1 "))
    in_group = [one for one in file.nodes if x <= one["pos"][0] < x + width and y <= one["pos"][1] < y + height]
    _, top, right, _ = sides(min(in_group, key=lambda node: node["pos"][1]))
    if not (right < 1366 and top + 30 * view["scale"] < 768):
        yield "the first node is not in view on a laptop"
    for group in file.groups:
        if (group["bounding"][1] + view["offset"][1]) * view["scale"] < BARS:
            yield f"the bars cover {group['title']}"
    for group, canvas in itertools.product(file.groups, (0x14, 0xD3)):
        colour = bytes.fromhex(group["color"].removeprefix("#"))
        if figures.contrast(colour, [0.75 * canvas + 0.25 * channel for channel in colour]) <= 2.2:
            yield f"{group['title']} on #{canvas:02x}"


LAPTOP = (1366, 768)
"""Pixels of the page."""


@every
def test_the_picture_stands_above_or_beside_who_stands_where(file: File) -> Iterator[object]:
    """And both are seen at once on a laptop, at the size at which the template opens: people are moved by what one sees
    in the picture. Of a story it is that of the first scene."""
    scale = file.graph["extra"]["ds"]["scale"]
    shown = [box(file.levels[0][0][number]) for number in file.graph["extra"]["linearData"]["outputs"]]
    for node in file.nodes:
        if node["type"] not in ("LikenessPlaceCast", "LikenessWhoStandsWhere"):
            continue
        left, top, right, bottom = box(node)
        on_one_screen = [
            picture
            for picture in shown
            if (max(right, picture[2]) - min(left, picture[0])) * scale <= LAPTOP[0]
            and (max(bottom, picture[3]) - min(top, picture[1])) * scale <= LAPTOP[1] - BARS
            and picture[1] < bottom
        ]
        if not on_one_screen:
            yield node["id"]


# Words


class Field(NamedTuple):
    """What a template asks for as an app (extra.linearData): an input of a node."""

    node: Graph
    slot: Graph
    descriptions: list[str]

    @property
    def label(self) -> str:
        return self.slot["label"]


CANVAS = "likeness_canvas"
"""What web/canvas.js adds to a node, and an app asks for too. It is no input: its text is in the field *Arrange*."""


def fields(file: File) -> list[Field]:
    nodes = file.levels[0][0]
    asked: list[Field] = []
    for number, name, *hints in file.graph["extra"]["linearData"]["inputs"]:
        if name == CANVAS:
            continue
        (slot,) = (entry for entry in nodes[number]["inputs"] if entry.get("widget", {}).get("name") == name)
        asked.append(Field(nodes[number], slot, [hint["description"] for hint in hints]))
    return asked


@every
def test_as_an_app_each_field_has_a_short_label(file: File) -> Iterator[object]:
    """The app leaves out an input that is linked, and shows one short line below a field."""
    for node, slot, descriptions in fields(file):
        longest_output = max(len(output["name"]) for output in node["outputs"])
        if slot["link"] is not None:
            yield f"{slot['name']} of {node['id']} is linked"
        if 8.4 * (len(slot["label"]) + longest_output) + 10 > node["size"][0]:
            yield f"{slot['label']} widens its node"
        yield from (text for text in descriptions if len(text) > 34)


@every
def test_as_an_app_it_asks_for_each_photo_once(file: File) -> Iterator[object]:
    asked = [(field.node["id"], field.slot["name"]) for field in fields(file)]
    photos = [field for field in fields(file) if field.node["type"] == "LoadImage"]
    if len({*asked}) < len(asked):
        yield "asks twice"
    if len(photos) != sum(node["type"] == "LoadImage" for node in file.nodes):
        yield "does not ask for every photo"


FIRST_ASKED = re.compile("LoadImage|Likeness(LoadPerson|SortPhotosIntoPeople|AddLoRAToPerson)")


@every
def test_as_an_app_it_asks_for_people_words_and_a_seed_and_shows_the_picture(file: File) -> Iterator[object]:
    """People are photos, LoRAs or words. A template that generates nothing has neither words nor a seed, and shows what
    its own nodes found."""
    outputs = file.graph["extra"]["linearData"]["outputs"]
    shown = {file.levels[0][0][number]["type"] for number in outputs}
    if not any(node["type"] in SAMPLERS for node in file.real):
        if shown not in ({"LikenessSavePerson"}, {"LikenessCheckModelFiles"}):
            yield shown
        return
    kinds = [field.node["type"] for field in fields(file)]
    labels = [field.label for field in fields(file)]
    if not FIRST_ASKED.fullmatch(kinds[0]) and labels[0] != "Words for each person":
        yield "people are not first"
    if "Prompt" not in labels and not {"CLIPTextEncode", "LikenessScenes"} & {*kinds}:
        yield "no words"
    if not any(label.startswith("Seed") for label in labels):
        yield "no seed"
    if shown - {"PreviewImage", "LikenessSheetOfScenes"} != {"SaveImage"} or len({*outputs}) < len(outputs):
        yield shown


@pytest.mark.parametrize("language", translations.TRANSLATED)
def test_every_text_of_a_graph_is_translated_and_no_other(language: str) -> None:
    """What web/labels.js finds in its tables, lines of notes too; a text that is gone leaves them."""
    table = translations.table(language)
    lines = translations.table(language, translations.NOTES)
    texts_of_graphs: set[str] = set()
    for file in (*TEMPLATES, *BLUEPRINTS.values()):
        texts_of_graphs.update(translations.of_graph(file.graph))
    notes = translations.notes_of_the_toy()
    for file in TEMPLATES:
        notes += translations.notes_of(file.graph)
    lines_of_notes = translations.lines_of_notes(notes)
    to_translate = {text for text in texts_of_graphs if not translations.is_proper_name(text)}
    # A record's title may be translated: References.
    missing = to_translate - table.keys() | lines_of_notes - lines.keys()
    gone = table.keys() - texts_of_graphs | lines.keys() - lines_of_notes
    wrong = sorted(missing | gone)
    assert wrong == [], "\n".join(wrong)  # all of them: without a message pytest cuts the list off
    assert sorted(translations.PROPER_NAMES - texts_of_graphs) == []
    assert [text for text in table.values() if re.search(r"[{}@|]", text)] == [], "messages give these a meaning"
    latin = {text for text in (*table.values(), *lines.values()) if not re.search(r"[\u4e00-\u9fff]", text)}
    assert [text for text in sorted(latin) if not translations.is_proper_name(text)] == []
    links = re.compile(r"\]\((\S+)\)")
    for english, translated in lines.items():
        assert links.findall(english) == links.findall(translated), english
