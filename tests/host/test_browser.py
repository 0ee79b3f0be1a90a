"""What a first visitor does, in the host's own frontend and in the newest, with classic and with Vue nodes.

Real photos through the file chooser, Run, files dropped onto the page, notes and mistakes with the words that are
shown; and nothing in red in the console.
"""

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import pytest
import real_faces
from browser.canvas import Graph, node
from browser.fixtures import newest_often, own_often
from browser.node_on_page import NodeOnPage
from browser.visit import Visit
from pack.nodes.extension import NODES

pytestmark = pytest.mark.browser
SCHEMAS = [kind.GET_SCHEMA() for kind in NODES]


@pytest.mark.both_hosts
def test_a_photo_of_ones_own_runs_and_its_picture_brings_the_graph_back(
    visit: Visit, people: Graph, tmp_path: Path
) -> None:
    visit.load(people)
    photo = tmp_path / f"{uuid.uuid4().hex}.png"
    photo.write_bytes(real_faces.ASTRONAUT.read_bytes())
    load_image = visit.canvas.node_of("LoadImage")
    with visit.page.expect_file_chooser() as chooser:
        load_image.press_button("upload")
    chooser.value.set_files(photo)
    visit.await_true(lambda: load_image.value("image") == photo.name)
    run = visit.run()
    assert run["status"]["status_str"] == "success"
    (picture,) = run["outputs"][str(len(people))]["images"]
    visit.drop(visit.server.file(picture), len(visit.canvas.kinds()))
    assert visit.canvas.node_of("LoadImage").value("image") == photo.name
    assert visit.red() == []


# The editor's extension

PALETTES = {"light": "#f5f5f5", "dark": "#353535"}
"""The palettes, and what their nodes are drawn on; the last is the one of a new user."""


@pytest.mark.both_hosts
def test_a_cast_shows_its_people_and_one_place_more(visit: Visit, people: Graph) -> None:
    visit.red()  # what mistakes before this one have left
    visit.load(people)
    cast = visit.cast
    try:
        assert cast.slots() == "cast person_1* person_2"
        cast.link("person_2")
        assert cast.slots() == "cast person_1* person_2* person_3"
        cast.link("person_6")
        assert cast.slots() == "cast person_1* person_2* person_3 person_6*"
        cast.unlink("person_1")
        assert cast.slots() == "cast person_1 person_2* person_6*"
        visit.canvas.note_change()
        visit.canvas.undo()
        assert cast.slots() == "cast person_1* person_2"
        cast.link("person_6")
        assert cast.slots() == "cast person_1* person_2 person_6*"
        cast.copy()
        assert cast.slots() == "cast person_1"
        first = visit.canvas.node(list(people).index("cast") + 1)
        names = ["cast", *(f"person_{number}" for number in range(1, 9))]
        assert first.input_names()[:9] == names, "pasting takes nobody away"
        cast.go_into_new_subgraph()
        assert cast.slots() == "cast person_1* person_2 person_6*"
        cast.unlink_all()
        assert cast.slots() == "cast person_1"
    finally:
        visit.canvas.leave_subgraph()
    photos = {"photo_1": ["photo", 0], "photo_4": ["photo", 0]}
    visit.load({**people, "cast": node("LikenessCastFromPhotos", names="", which_face="only", **photos)})
    assert cast.slots() == "face_model photo_1* photo_2 photo_4*"
    cast.choose("person_2", "Anna")
    assert cast.slots() == "face_model photo_1* photo_2 photo_3 photo_4*"
    assert cast.menus() == "person_1 person_2 person_3 person_4"
    assert [node["inputs"].get("person_2") for node in visit.canvas.prompt().values()].count("Anna") == 1
    cast.choose("person_2", "the photo")
    assert cast.menus() == "person_1 person_2 person_4"
    assert visit.red() == []


@dataclass(frozen=True)
class Kept:
    """What the editor sends, what it saves, and the links of the latter by the names of their inputs."""

    prompt: Graph
    file: Graph
    links: dict[tuple[str, str], tuple[int, int]]


def kept(visit: Visit) -> Kept:
    file = visit.canvas.saved()
    names: dict[int, tuple[str, str]] = {}
    for entry in file["nodes"]:
        for slot in entry["inputs"]:
            names[slot["link"]] = (entry["type"], slot["name"])
    links: dict[tuple[str, str], tuple[int, int]] = {}
    for number, source, output, *_ in file["links"]:
        links[names[number]] = (source, output)
    return Kept(visit.canvas.prompt(), file, links)


def opened_without(visit: Visit, extensions: list[str], file: Graph) -> Kept:
    """What a page without these extensions sends and saves of a file."""
    visit.set("Comfy.Extension.Disabled", extensions)
    visit.open()
    visit.page.evaluate("graph => app.loadGraphData(graph).then(() => true)", file)
    visit.canvas.settle()
    return kept(visit)


@pytest.mark.both_hosts
@own_often
def test_what_is_saved_and_sent_is_the_same_without_the_extension(visit: Visit, people: Graph) -> None:
    people["cast"]["inputs"] = {"person_2": ["yao", 0], "person_7": ["yao", 0], "weight_7": 0.5}
    visit.load(people)
    begun = kept(visit)
    (cast,) = (entry for entry in begun.file["nodes"] if entry["type"] == "LikenessCast")
    names = [slot["name"] for slot in cast["inputs"] if "widget" not in slot]
    assert names == ["cast", *(f"person_{number}" for number in range(1, 9))]
    try:
        without = opened_without(visit, ["likeness.editor"], begun.file)
        all_slots = "cast person_1 person_2* person_3 person_4 person_5 person_6 person_7* person_8"
        assert visit.cast.slots() == all_slots
    finally:
        visit.set("Comfy.Extension.Disabled", [])
    again = opened_without(visit, [], without.file)
    assert visit.cast.slots() == "cast person_1 person_2* person_7*"
    for file in (without, again):
        assert file.prompt == begun.prompt
        assert file.links == begun.links


def channels(colour: str) -> tuple[int, ...]:
    """Of a colour like #4b9a05 or #4b0."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    return tuple(bytes.fromhex(digits))


def our_sockets() -> set[str]:
    """Every type of socket that only nodes of the pack have."""
    kinds: set[str] = set()
    for schema in SCHEMAS:
        for slot in (*schema.inputs, *schema.outputs):
            kinds |= {kind for kind in slot.io_type.split(",") if kind.startswith("LIKENESS_")}
    return kinds


def show_palette(visit: Visit, name: str, background: str) -> None:
    """Wait until nodes are drawn on this colour."""
    visit.page.evaluate("name => app.extensionManager.setting.set('Comfy.ColorPalette', name)", name)
    background_of_nodes = "LiteGraph.NODE_DEFAULT_BGCOLOR.toLowerCase()"
    visit.await_true(lambda: visit.page.evaluate(background_of_nodes) == background, message=f"Nodes on {background}.")


def test_every_kind_of_socket_has_a_colour_that_is_seen(visit: Visit) -> None:
    """On the nodes of both palettes, 3 : 1 as for other graphics (WCAG 2)."""
    kinds_of_ours = our_sockets()
    for palette, background in PALETTES.items():
        show_palette(visit, palette, background)
        slots, links = visit.page.evaluate(
            "[app.canvas.default_connection_color_byType, app.canvas.constructor.link_type_colors]"
        )
        colours = {kind: slots[kind] for kind in kinds_of_ours}
        assert len(set(colours.values())) == len(kinds_of_ours) >= 11
        assert {kind: links[kind] for kind in kinds_of_ours} == colours
        for kind, colour in colours.items():
            assert figures.contrast(channels(colour), channels(background)) >= 3, kind
        in_vue = visit.page.evaluate(
            """kinds => kinds.map(kind =>
                getComputedStyle(document.documentElement).getPropertyValue(`--color-datatype-${kind}`).trim())""",
            list(kinds_of_ours),
        )
        assert dict(zip(kinds_of_ours, in_vue, strict=True)) == colours


LABEL = '<img src=x onerror="window.harmed = 1"> Anna & Ben <3 &amp; [[a|http://b.c]] __LNK0__ [b]www.d.e[/b]'


@pytest.mark.both_hosts
def test_a_note_shows_what_was_typed_and_runs_nothing(visit: Visit) -> None:
    """On the node, which frontends read as HTML or as text."""
    image = node("EmptyImage", width=64, height=64, batch_size=1, color=0)
    mask = node("SolidMask", width=32, height=64, value=1.0)
    part = node("LikenessPart", image=["image", 0], label="other", other_label=LABEL, weight=1.0, mask=["mask", 0])
    visit.load({"image": image, "mask": mask, "part": part, "shown": node("PreviewImage", images=["part", 1])})
    visit.run()
    visit.await_text(f"The mask of {LABEL!r} is 32x64 px")
    assert visit.page.evaluate("window.harmed ?? 0") == 0
    # A node that nobody sees says it in one line that unfolds.
    node_with_note = visit.canvas.node_of("LikenessPart")
    node_with_note.collapse(True)
    node_with_note.set_value("weight", 0.9)
    visit.run()
    visit.toasts.await_count("1 note on this run")
    assert f"The mask of {LABEL!r} is 32x64 px" in visit.toasts.with_words("1 note").text()
    assert visit.page.evaluate("window.harmed ?? 0") == 0
    visit.close_dialogs()


@pytest.mark.both_hosts
def test_a_node_that_nothing_reads_says_what_it_waits_for(visit: Visit, people: Graph) -> None:
    """Until a node that shows reads it. One that is given nothing says nothing."""
    waiting = "Nothing shows or saves what this node makes, so it was not run."
    part = node("LikenessPart", image=["photo", 0], label="other", other_label="a hat", weight=1.0)
    people["part"] = part
    people["parts"] = node("LikenessPart", image=["photo", 0], label="hair or headwear", weight=1.0, parts=["part", 0])
    people["model"] = node("LikenessLoadFaceEmbedder")
    visit.load(people)
    unread = [visit.canvas.node(list(people).index(name) + 1) for name in ("part", "parts")]
    assert visit.run()["status"]["status_str"] == "success"
    for one in unread:
        visit.await_true(lambda one=one: one.note().startswith(waiting), message="A note.")
    assert visit.text().count(waiting) == 2
    assert not any(waiting in text for text in visit.toasts.texts())
    people["seen"] = node("PreviewImage", images=["parts", 1])
    visit.load(people)
    assert visit.run()["status"]["status_str"] == "success"
    visit.await_true(lambda: waiting not in visit.text(), message="No note.")
    assert visit.red() == []


SMALL = "Faces small"
"""The first words of the note of a layout in which faces are small."""


@newest_often
def test_a_page_opened_anew_shows_previews_and_notes_of_nodes_that_are_not_run_again(
    visit: Visit, people: Graph
) -> None:
    """The host sends them again. One of ComfyUI 0.3.64 does not."""
    people["layout"]["inputs"]["framing"] = "full"
    place = visit.canvas.node(list(people).index("place") + 1)
    visit.load(people)
    assert visit.run()["status"]["status_str"] == "success"
    visit.open()
    visit.load(people)
    assert place.preview_file() is None
    assert visit.run()["status"]["status_str"] == "success"
    visit.await_true(place.preview_file, message="A preview.")
    visit.await_true(lambda: place.note().startswith(SMALL), message="A note.")


@pytest.mark.both_hosts
def test_notes_stand_where_their_run_is_from_for_as_long_as_they_are_true(visit: Visit, people: Graph) -> None:
    """Of a node in a subgraph too, whatever is run after its node, in its own tab alone, and not after a run by the
    API."""
    people["layout"]["inputs"]["framing"] = "full"
    people["blurred"] = node("ImageBlur", image=["place", 1], blur_radius=1, sigma=1.0)
    people["shown"]["inputs"]["images"] = ["blurred", 0]
    visit.load(people)
    visit.canvas.go_into_new_subgraph_of(visit.canvas.node_of("LikenessPlaceCast"))
    visit.canvas.leave_subgraph()

    def says_it() -> bool:
        return any(SMALL in text for text in visit.toasts.texts())

    def run_with(changed: NodeOnPage, name: str, value: Any) -> str:
        changed.set_value(name, value)
        return visit.run()["status"]["status_str"]

    for sigma in (1.1, 1.2, 1.3):
        assert run_with(visit.canvas.node_of("ImageBlur"), "sigma", sigma) == "success"
        visit.await_true(says_it, message="A note.")
        visit.page.wait_for_timeout(500)
        assert says_it(), "it stays when the run has ended"
    first, file = visit.tab(), visit.canvas.saved()
    visit.page.evaluate("file => app.loadGraphData(file, true, true, 'with the same ids').then(() => true)", file)
    visit.await_true(lambda: visit.tab() != first)
    visit.server.read("/prompt", json.dumps({"prompt": visit.canvas.prompt()}).encode())
    visit.await_true(lambda: not any(visit.server.get("/queue").values()))
    visit.page.wait_for_timeout(1000)
    assert not says_it()
    visit.show_tab(first)
    visit.await_true(says_it, message="A note.")
    assert run_with(visit.canvas.node_of("LikenessPerson"), "which_face", "the tall one") == "error"
    visit.await_true(lambda: not says_it(), message="No note of a node that the run has not reached.")


@pytest.mark.both_hosts
def test_an_error_stands_below_what_the_host_says_of_it(visit: Visit, people: Graph) -> None:
    """Also beside the list of errors that the host opens then."""
    if visit.server.host.version < (0, 33):
        pytest.skip("this frontend shows errors in a dialog")
    visit.resize(1366, 768)
    people["yao"]["inputs"]["which_face"] = "the tall one"
    visit.close_dialogs()
    visit.load(people)
    try:
        visit.click_run()
        visit.toasts.await_count("the tall one")
        toast = visit.toasts.with_words("the tall one")
        button = visit.details_of_errors()
        at = toast.box()
        assert 0 < at["y"] - (button["y"] + button["height"]) < 150
        assert at["x"] < button["x"] + button["width"] < at["x"] + at["width"] + 20
        visit.open_details_of_errors()
        visit.await_true(lambda: toast.box()["x"] < at["x"] - 100, message="It leaves room to the list.")
    finally:
        visit.resize(1280, 800)
        visit.close_dialogs()


MARKUP = "<img src=x onerror=window.harmed=1>"


@pytest.mark.both_hosts
def test_an_error_is_a_toast(visit: Visit, people: Graph) -> None:
    """Cause and remedy, as text, once however often it comes; in an old frontend a dialog tells the error already.
    An address in it is a link without the full stop behind it, and nothing lies over it."""
    if visit.server.host.version < (0, 33):
        pytest.skip("this frontend shows errors in a dialog")
    people["yao"]["_meta"] = {"title": MARKUP}
    address = "https://example.org/a_file.bin"
    failed = {
        "node_id": str(list(people).index("yao") + 1),
        "node_type": "LikenessPerson",
        "exception_type": "likeness.BadPhoto",
        "exception_message": f"No face in {MARKUP}.\nDownload it from {address}.\n",
        "traceback": [],
        "prompt_id": "1",
    }
    visit.close_dialogs()
    visit.load(people)
    for _ in range(2):
        visit.send("execution_error", failed)
    visit.toasts.await_count(f"No face in {MARKUP}.")
    link = visit.toasts.with_words("Download it from").link_under_the_mouse()
    assert link.address == address
    assert link.target == "_blank"
    assert visit.page.evaluate("window.harmed ?? 0") == 0
    visit.page.evaluate("void app.api.queuePrompt(0, {output: {}, workflow: {}}).catch(refused => refused)")
    visit.toasts.await_count("No face in", 0)
    visit.close_dialogs()
