"""Workflows and help pages as people meet them: opened from the gallery as a graph, whole, readable and in view; and
in the panel beside it.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import old_groups_made
import pytest
import sent_texts
import templates
from browser.canvas import DrawnNode, Graph
from browser.fixtures import ALL, NEWEST, NEWEST_WITH_CLASSIC, OWN, OWN_WITH_VUE, in_frontends, once_of_each, own_often
from browser.visit import WINDOW, Visit
from pack.nodes.extension import NODES
from shared import workflow

pytestmark = pytest.mark.browser
SCHEMAS = [node.GET_SCHEMA() for node in NODES]
STARTS = [path for path in templates.FILES if path.stem in templates.STARTS]
SCREEN, LAPTOP = (1920, 1080), (1366, 768)
SMALLEST = 0.75
"""The scale at which templates open: a line of a note is 10 px high there."""


@pytest.fixture(scope="module")
def gallery(visit: Visit) -> Iterator[Visit]:
    """A large window in which nothing is open from before."""
    visit.resize(*SCREEN)
    visit.set("Comfy.Workflow.Persist", False)
    visit.open()
    yield visit
    visit.resize(*WINDOW)
    visit.set("Comfy.Workflow.Persist", True)
    visit.needs_opening = True


def comparable(prompt: Graph, object_info: Graph) -> Graph:
    """Class and inputs by node id, of what leads to an output: frontend 1.27 sends the inside of bypassed boxes along.

    Ids are numbers in one frontend and strings in the other; PreviewAny of frontend 1.27 sends its own text box along.
    """

    def inputs(node: Graph) -> Graph:
        input_names = set()
        for section in object_info[node["class_type"]]["input"].values():
            input_names |= section.keys()
        return {
            name: [*map(str, value)] if isinstance(value, list) else value
            for name, value in node["inputs"].items()
            if name in input_names
        }

    nodes = {str(number): {**node, "inputs": inputs(node), "_meta": None} for number, node in prompt.items()}
    runs = [number for number, node in nodes.items() if object_info[node["class_type"]]["output_node"]]
    for number in runs:
        links = [value for value in nodes[number]["inputs"].values() if isinstance(value, list)]
        runs += {source for source, *_ in links if source in nodes} - {*runs}
    return {number: nodes[number] for number in runs}


def links(graph: Graph) -> list[list[str]]:
    """Number, from which output of which node, to which input of which node, type.

    Inputs by name: where they stand is the schema's business, and the editor sorts those of older files.
    """
    names = {entry["link"]: entry["name"] for node in graph["nodes"] for entry in node.get("inputs", ())}
    return sorted([*map(str, link[:4]), names[link[0]], str(link[5])] for link in graph["links"])


BARS = (60, 40)
"""The bars of the frontend, on the left and above, px."""


def is_within(window: tuple[int, int], nodes: Iterable[DrawnNode]) -> None:
    """Fails where a node is not whole in the window, or lies below the bars."""
    for node in nodes:
        assert node.left >= BARS[0], node.title
        assert node.top >= BARS[1], node.title
        assert node.right <= window[0], node.title
        assert node.bottom <= window[1], node.title


@in_frontends(OWN, NEWEST, often=[OWN])
@pytest.mark.parametrize("path", templates.each(on_older=["start_two_people"]))
def test_opens_whole_readable_and_in_view(gallery: Visit, path: Path) -> None:
    """And what the editor sends is what the scripts send. After a run no picture lies on another node."""
    opens_whole(gallery, path)


@in_frontends(OWN_WITH_VUE, NEWEST, NEWEST_WITH_CLASSIC)
@pytest.mark.parametrize("path", templates.each(STARTS, often=["start_two_people"], on_older=[]))
def test_one_to_start_with_opens_whole_in_every_frontend(gallery: Visit, path: Path) -> None:
    opens_whole(gallery, path)


@pytest.mark.thorough
@in_frontends(*ALL)
@pytest.mark.parametrize("path", templates.each(STARTS))
def test_one_to_start_with_opens_whole_on_a_laptop(gallery: Visit, path: Path) -> None:
    """Of the others the note does: tests/contract/test_workflow_files.py."""
    templates.skip_unless_known(path, gallery.server.object_info())
    try:
        gallery.resize(*LAPTOP)
        gallery.open_file(workflow.load(path))
        view = gallery.canvas.view()
        assert view.scale >= SMALLEST
        assert not view.is_without_text
        is_within(LAPTOP, view.nodes)
    finally:
        gallery.resize(*SCREEN)


def opens_whole(gallery: Visit, path: Path) -> None:
    templates.skip_unless_known(path, gallery.server.object_info())
    graph = workflow.load(path)
    object_info = gallery.server.object_info()
    gallery.red()
    file = gallery.open_file(graph)
    saved = file.saved
    # The frontend of 0.3.64 asks for the sizes of missing models, in vain where there is no network.
    assert [text for text in gallery.red() if not re.search("Error fetching file size|Failed to load", text)] == []
    assert {str(n["id"]): n["type"] for n in saved["nodes"]} == {str(n["id"]): n["type"] for n in graph["nodes"]}
    assert links(saved) == links(graph)
    assert [group["title"] for group in saved["groups"]] == [group["title"] for group in graph["groups"]]
    assert comparable(file.prompt, object_info) == comparable(workflow.to_prompt(graph, object_info), object_info)

    assert not gallery.is_app()
    view = gallery.canvas.view()
    assert view.scale == graph["extra"]["ds"]["scale"] >= SMALLEST
    assert not view.is_without_text
    assert view.unknown_types == []
    is_within(SCREEN, view.nodes)
    overlap_nowhere(view.nodes)
    if not gallery.vue:
        assert gallery.canvas.out_of_groups() == []
        assert gallery.canvas.cut_texts() == []
    gallery.canvas.show_pictures([kind for kind in object_info if shows_picture(kind, object_info)])
    overlap_nowhere(gallery.canvas.view().nodes)


def overlap_nowhere(nodes: Iterable[DrawnNode]) -> None:
    for node, next_node in itertools.combinations(nodes, 2):
        assert not node.overlaps(next_node), (node.title, next_node.title)


@pytest.mark.both_hosts
def test_an_empty_field_of_a_box_shows_its_example(gallery: Visit) -> None:
    """As the node inside of the box does."""
    (path,) = (path for path in STARTS if path.stem == "start_two_people")
    gallery.open_file(workflow.load(path))
    fields = "[...document.querySelectorAll('textarea')].map(field => field.placeholder)"
    gallery.await_true(
        lambda: "adult, girl 6 waving, woman 150 cm" in gallery.page.evaluate(fields), message="The example is shown."
    )
    gallery.red()  # the models that are missing


SHOWING = {"SaveImage", "PreviewImage", "LikenessSavePerson", "LikenessPeopleAsReferences"}
"""Besides those of ours that have a picture among their outputs."""


def shows_picture(kind: str, object_info: Graph) -> bool:
    """Whether nodes of this class show a picture after a run."""
    has_picture = "IMAGE" in object_info[kind]["output"] and kind != "LikenessResizePhoto"
    return kind in SHOWING or (kind.startswith("Likeness") and has_picture)


@once_of_each
def test_what_is_opened_from_a_file_stays_as_it_was_saved(gallery: Visit) -> None:
    graph = workflow.load(templates.ROOT / "workflows" / "start_two_people.json")
    gallery.page.evaluate("graph => app.loadGraphData(graph, true, true).then(() => true)", graph)
    gallery.canvas.settle()
    assert gallery.canvas.view().scale == graph["extra"]["ds"]["scale"]


@pytest.mark.both_hosts
@own_often
def test_the_editor_sends_the_same_where_a_node_is_switched_off(gallery: Visit) -> None:
    """Each node of a workflow in turn, and boxes; with a Primitive and a Reroute before some."""
    if gallery.server.host.version < (0, 33):
        pytest.skip("the editor of this ComfyUI sends what is in a muted box, or behind a muted Reroute, all the same")
    gallery.open_file(workflow.load(templates.ROOT / "workflows" / "photo_maker_two_people.json"))
    graph = gallery.canvas.add_primitive_and_reroute()
    object_info = gallery.server.object_info()
    nodes = [node for node in graph["nodes"] if node["type"] not in workflow.NOTES]
    for node, mode in itertools.product(nodes, (2, 4)):
        prompt = gallery.canvas.prompt_with_mode(node["id"], mode)
        node["mode"] = mode
        expected = comparable(workflow.to_prompt(graph, object_info), object_info)
        assert comparable(prompt, object_info) == expected, (node["type"], mode)
        node["mode"] = 0


@in_frontends(NEWEST)
def test_a_group_of_an_older_editor_is_sent_as_the_editor_sends_it(gallery: Visit) -> None:
    """Its own values, not those from when it was made; newer editors give its nodes other numbers. Frontend 1.49.6
    opens it with the sampler's name in the place of its denoise."""
    graph = old_groups_made.workflow()
    sent = gallery.open_file(graph).prompt
    ours = workflow.to_prompt(graph, gallery.server.object_info())
    assert old_groups_made.as_tree(ours, "8") == old_groups_made.as_tree(sent, "8")
    assert old_groups_made.as_tree(ours, "6") == old_groups_made.as_tree(sent, "6")


def with_texts() -> Graph:
    """A file with a node for each text: it has it itself, from a Primitive, or in a box."""
    box = "e3096c66-b6bc-5e6a-a26e-e02a2cfb262e"
    slot: Graph = {"name": "text", "type": "STRING", "widget": {"name": "text"}}
    nodes: list[Graph] = []
    file_links: list[list[Any]] = []

    def add(kind: str, text: str, **more: Any) -> int:
        number = len(nodes) + 1
        node = {"id": number, "type": kind, "pos": [0, 200 * number], "size": [300, 150], "flags": {}, "mode": 0}
        node |= {"order": number, "inputs": [], "outputs": [], "properties": {}, "widgets_values": [text]}
        nodes.append({**node, **more})
        return number

    for text in (*sent_texts.PROMPTS, *sent_texts.CHOICES):
        add("CLIPTextEncode", text)
        add(box, text, inputs=[{**slot, "link": None}])
        link = len(file_links) + 1
        source = add("PrimitiveNode", text, outputs=[{**slot, "name": "STRING", "links": [link]}])
        target = add("CLIPTextEncode", "old // {a|b}", inputs=[{**slot, "link": link}])
        file_links.append([link, source, 0, target, 0, "STRING"])
    for text in sent_texts.FILES:
        add("SaveImage", text)
    inside = {"id": 1000, "type": "CLIPTextEncode", "pos": [0, 0], "size": [300, 150], "flags": {}, "order": 0}
    inside |= {"mode": 0, "inputs": [{**slot, "link": 1}], "outputs": [], "widgets_values": ["old // {a|b}"]}
    given = {"id": "6f0c8f8e-7a59-5c8e-9d0e-0f3c1b1a2b3c", "name": "text", "type": "STRING", "linkIds": [1]}
    link_inside = {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1000, "target_slot": 0, "type": "STRING"}
    subgraph = {
        **{"id": box, "version": 1, "revision": 0, "state": {}, "config": {}, "extra": {}, "name": "Box"},
        **{"inputs": [given], "outputs": [], "widgets": [], "nodes": [inside], "groups": [], "links": [link_inside]},
        "inputNode": {"id": -10, "bounding": [-200, 0, 100, 60]},
        "outputNode": {"id": -20, "bounding": [400, 0, 100, 60]},
    }
    graph: Graph = {"nodes": nodes, "links": file_links, "groups": [], "config": {}, "extra": {}, "version": 0.4}
    graph |= {"last_node_id": len(nodes), "last_link_id": len(file_links)}
    return {**graph, "definitions": {"subgraphs": [subgraph]}}


@in_frontends(OWN, NEWEST)
def test_the_editor_sends_the_same_texts(gallery: Visit, capsys: pytest.CaptureFixture[str]) -> None:
    """What it takes out of a text when it sends it, and what not."""
    graph = with_texts()
    sent = gallery.open_file(graph).prompt
    capsys.readouterr()
    ours = workflow.to_prompt(graph, gallery.server.object_info())
    assert capsys.readouterr().err.count("braces are sent as they are written") == 2 * len(sent_texts.CHOICES)
    assert sent.keys() == ours.keys()
    for number, node in ours.items():
        ((name, value),) = node["inputs"].items()
        of_editor = sent[number]["inputs"][name]
        if name == "filename_prefix":
            assert value == re.sub(r"^\d{4}/", "date/", of_editor)
        elif ":" in number or value not in sent_texts.CHOICES.values():
            assert value == of_editor, number


@pytest.fixture
def help_pages(gallery: Visit) -> Iterator[Visit]:
    """A panel keeps the width of the window in which the page was opened. It is closed again, because frontends
    remember that it is open, and it lies over what the next test looks at."""
    gallery.red()  # what the page has shown before
    yield gallery
    gallery.set("Comfy.RightSidePanel.IsOpen", False)
    gallery.needs_opening = True


@own_often
def test_help_pages_open_without_an_error(help_pages: Visit) -> None:
    """By the button over a selected node: every sixteenth. In a git clone frontends miss `<NodeId>/en.md` and then take
    the page."""
    open_help(help_pages, [schema.node_id for schema in SCHEMAS][::16])


@pytest.mark.thorough
@once_of_each
@pytest.mark.parametrize("locale", ["en", "zh"])
def test_all_help_pages_open_without_an_error(help_pages: Visit, locale: str) -> None:
    open_help(help_pages, [schema.node_id for schema in SCHEMAS], locale)


def open_help(visit: Visit, ids: list[str], locale: str = "en") -> None:
    """Fails where tables, code or paths are cut by the panel, as wide as it opens at 1920x1080."""
    if locale != "en":
        visit.open(locale)
    visit.load({kind: {"class_type": kind, "inputs": {}} for kind in ids})
    cut_off: dict[str, list[str]] = {}
    for number, kind in enumerate(ids, 1):
        visit.canvas.node(number).select()
        visit.help_panel.open()
        visit.await_text(begin_of_help(kind, locale))
        # The panel of 0.3.64 opens 310 px wide, that of 0.33 346 px; tables are made for the latter.
        if visit.server.host.version >= (0, 33) and (parts := visit.help_panel.cut_off()):
            cut_off[kind] = parts
    assert cut_off == {}
    assert [line for line in visit.red() if not re.search(r"404 .*/docs/Likeness\w+/en\.md", line)] == []


def begin_of_help(node_id: str, locale: str) -> str:
    """The first words of a help page that are not code, bold or a link."""
    page = f"{node_id}.md" if locale == "en" else f"{node_id}/{locale}.md"
    paragraph = (templates.ROOT / "web" / "docs" / page).read_text("utf-8").split("\n\n")[1]
    words = " ".join(paragraph.split())
    return re.split(r"[`*\[]", words)[0][:40].strip()
