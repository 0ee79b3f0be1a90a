"""What a first visitor does, in the host's own frontend and in the newest, with classic and with Vue nodes.

Real photos through the file chooser, Run, files dropped onto the page, and mistakes with the words that are shown; and
nothing in red in the console.
"""

import itertools
import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import pytest
import real_faces
import translations
from browser.box_editor import Point, Sides
from browser.canvas import Graph
from browser.fixtures import newest_often, own_often
from browser.node_on_page import NodeOnPage
from browser.visit import WINDOW, Visit, labels_asked_for
from pack.core.models import workflow_needs
from pack.nodes.extension import NODES
from PIL import Image
from shared import workflow

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = [node.GET_SCHEMA() for node in NODES]
WORKFLOW = ROOT / "workflows" / "start_two_people.json"


def node(kind: str, **inputs: Any) -> Graph:
    return {"class_type": kind, "inputs": inputs}


@pytest.fixture
def people(visit: Visit) -> Graph:
    """Yao on his photo in the one place of a layout."""
    image = visit.server.upload_image(real_faces.YAO)
    yao = {"name": "Yao", "which_face": "only", "on_no_face": "error"}
    size = {"width": 512, "height": 512}
    return {
        "models": node("LikenessLoadFaceEmbedder", pack="buffalo_sc", recognisers="all found", provider="CPU"),
        "photo": node("LoadImage", image=image),
        "yao": node("LikenessPerson", face_model=["models", 0], image=["photo", 0], **yao),
        "cast": node("LikenessCast", person_1=["yao", 0]),
        "layout": node("LikenessLayoutForAGroup", count=1, framing="half", rows=0, **size),
        "place": node("LikenessPlaceCast", cast=["cast", 0], layout=["layout", 0], order="as listed", custom_order=""),
        "shown": node("PreviewImage", images=["place", 1]),
    }


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


# Model files

TOLD = 2
"""Seconds within which a toast of missing files has come: it waits half a second, and for the host's answer."""


@pytest.mark.thorough
def test_missing_files_are_named_until_somebody_closes_that(visit: Visit) -> None:
    """All in one toast, with their size; of a workflow whose files are there nothing is said."""
    heading = "2 files are missing"
    names = "antelopev2, InstantID/ControlNetModel/diffusion_pytorch_model.safetensors"
    sentence = f"{names}. To download: 2.9 GB."
    sdxl = next(name for name in visit.server.get("/models/checkpoints") if "sdxl" in name)
    visit.close_dialogs()
    for name, count in (("start_outfit", 0), ("start_portrait", 1), ("start_person_in_photo", 1)):
        graph = workflow.load(WORKFLOW.with_stem(name))
        (checkpoint,) = (file.name for file in workflow_needs.loaded(graph) if file.key == "checkpoints")
        visit.open_file(json.loads(json.dumps(graph).replace(checkpoint, sdxl)))
        if not count:
            visit.page.wait_for_timeout(1000 * TOLD)
        visit.toasts.await_count(heading, count)
    visit.toasts.await_count(sentence)
    for closed in (False, True):
        visit.canvas.note_change()
        visit.canvas.undo()
        visit.page.wait_for_timeout(1000 * TOLD)
        visit.toasts.await_count(heading, 0 if closed else 1)
        visit.toasts.close()
    visit.close_dialogs()
    visit.click_run()
    visit.toasts.await_count(heading)
    visit.await_text(sentence)
    visit.close_dialogs()


OF_OTHER_PACKS = [
    ("ApplyInstantID", "coming_from_comfyui_instantid.md"),
    ("ApplyInstantIDAdvanced", "coming_from_comfyui_instantid.md"),
    ("IPAdapterFaceID", "coming_from_ipadapter_plus.md"),
    ("ApplyPulid", "coming_from_ipadapter_plus.md#pulid"),
    ("ApplyPulidFlux", "coming_from_ipadapter_plus.md#pulid"),
    ("PulidEvaClipLoader", "coming_from_ipadapter_plus.md#pulid"),
    ("Other", ""),
]
"""A node of another pack, and the page that the message names."""


@newest_often
def test_a_workflow_of_another_pack_is_told_which_page_helps(visit: Visit) -> None:
    """For as long as the pack is not installed and nobody has closed it."""
    visit.close_dialogs()
    for boxed, (kind, page) in itertools.product((False, True), OF_OTHER_PACKS):
        visit.open_file(holding(kind, boxed))
        visit.toasts.await_count("are not installed", 1 if page else 0)
        if not page:
            continue
        toast = visit.toasts.with_words("are not installed")
        toast.unfold()
        assert toast.link_under_the_mouse().address.endswith(f"/main/docs/{page}")
        file, _, part = page.partition("#")
        text = (ROOT / "docs" / file).read_text("utf-8").lower()
        assert not part or f"\n## {part}\n" in text
    # Only here: a pack whose message somebody has closed is not told of again.
    visit.close_dialogs()


IN_A_BOX = "b4cd86c0-7b80-5f9c-9131-16be92605862"


def holding(kind: str, boxed: bool) -> Graph:
    """A workflow with one node of this kind, inside of a subgraph where it is boxed."""
    old = {"id": 1, "type": kind, "pos": [400, 0], "size": [200, 80]}
    graph: Graph = {"nodes": [old], "links": [], "version": 0.4}
    if boxed:
        inside = {
            "id": IN_A_BOX, "version": 1, "revision": 0, "config": {}, "name": "Face", "widgets": [], "groups": [],
            "state": {"lastGroupId": 0, "lastNodeId": 1, "lastLinkId": 0, "lastRerouteId": 0},
            "inputNode": {"id": -10, "bounding": [-200, 0, 120, 80]},
            "outputNode": {"id": -20, "bounding": [900, 0, 120, 80]},
            "inputs": [], "outputs": [], "nodes": [old], "links": [],
        }  # fmt: skip
        graph |= {"nodes": [{**old, "type": IN_A_BOX}], "definitions": {"subgraphs": [inside]}}
    return graph


def test_a_toast_lies_over_nothing_that_is_worked_on(visit: Visit) -> None:
    """At 1366x768: one line when a workflow is opened, and the mouse reaches what lies below it, as it does below an
    error."""
    visit.resize(1366, 768)
    try:
        visit.close_dialogs()
        visit.open_file(workflow.load(WORKFLOW.with_stem("id_patch_places_by_dragging")))
        visit.toasts.await_count("missing")
        toast = visit.toasts.first()
        width, height = toast.size()
        assert height < 50
        assert width < 320
        assert toast.lets_the_mouse_through()
        toast.unfold()
        visit.await_text("To download")
        assert toast.lets_the_mouse_through(), "unfolded as well"
        tab = visit.tab()
        toast.press("Links and folders")
        (link,) = visit.page.locator("dialog[open] a[target=_blank]").all_text_contents()
        assert "/ID-Patch/" in link, "the only file that is missing here"
        assert visit.tab() == tab
    finally:
        visit.close_dialogs()
        visit.resize(*WINDOW)


@pytest.mark.both_hosts
@own_often
def test_the_doctor_shows_links_and_copies_them(visit: Visit) -> None:
    """And what is saved and sent stays the same."""
    visit.load({"doctor": node("LikenessCheckModelFiles", workflow="start_portrait")})
    before = sent_and_saved_by_doctor(visit)
    visit.run()
    links_on_the_page = visit.page.locator("td a[target=_blank][rel~=noopener]")
    visit.await_true(lambda: links_on_the_page.count() > 1)
    links = addresses(visit, "td a[target=_blank][rel~=noopener]")
    assert next(link for link in links if link.endswith("/antelopev2.zip")).startswith("https://github.com/")
    visit.await_text("Missing for InstantID")
    copied = copy_addresses(visit)
    assert copied.split("\n") == list(dict.fromkeys(links))
    assert sent_and_saved_by_doctor(visit) == before
    assert before == [{"workflow": "start_portrait"}, ["start_portrait"]]
    title = translations.main_file("en")["templateWorkflows"]["template"]["likeness"]["start_portrait"]
    assert visit.canvas.node(1).option_label("workflow") == title
    assert visit.red() == []


def sent_and_saved_by_doctor(visit: Visit) -> list[Any]:
    """Its inputs in the prompt, and its values in the file but for its note, which frontend 1.27.10 saves with it."""
    return visit.page.evaluate("""async () => {
        const {output, workflow} = await app.graphToPrompt();
        const values = workflow.nodes[0].widgets_values.filter(value => !/^Still to do/.test(value));
        return [output['1'].inputs, values];
    }""")


def addresses(visit: Visit, links: str) -> list[str]:
    """Where the links lead to that fit a selector."""
    return visit.page.locator(links).evaluate_all("links => links.map(link => link.href)")


def copy_addresses(visit: Visit) -> str:
    """What the button Copy addresses copies, on a page as without https."""
    visit.page.evaluate("""() => {
        Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true});
        window.copied = [];
        document.execCommand = () => window.copied.push(getSelection().toString() || document.activeElement.value);
    }""")
    visit.page.locator("button").filter(has_text=re.compile(r"^\s*Copy addresses\s*$")).dispatch_event("click")
    visit.await_true(lambda: visit.page.evaluate("window.copied.length === 1"))
    return visit.page.evaluate("window.copied[0]")


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
    """Under a subgraph too, whatever is run after its node, in its own tab alone, and not after a run by the API."""
    people["layout"]["inputs"]["framing"] = "full"
    people["blurred"] = node("ImageBlur", image=["place", 1], blur_radius=1, sigma=1.0)
    people["shown"]["inputs"]["images"] = ["blurred", 0]
    visit.load(people)
    visit.canvas.go_into_new_subgraph_of(visit.canvas.node_of("LikenessPlaceCast"))
    visit.canvas.leave_subgraph()

    def box() -> NodeOnPage:
        return visit.subgraph_nodes()[0]

    def run_with(changed: NodeOnPage, name: str, value: Any) -> str:
        changed.set_value(name, value)
        return visit.run()["status"]["status_str"]

    for sigma in (1.1, 1.2, 1.3):
        assert run_with(visit.canvas.node_of("ImageBlur"), "sigma", sigma) == "success"
        visit.await_true(lambda: box().note().startswith(SMALL), message="A note.")
        visit.page.wait_for_timeout(500)
        assert box().note().startswith(SMALL), "it stays when the run has ended"
    first, file = visit.tab(), visit.canvas.saved()
    visit.page.evaluate("file => app.loadGraphData(file, true, true, 'with the same ids').then(() => true)", file)
    visit.await_true(lambda: visit.tab() != first)
    visit.server.read("/prompt", json.dumps({"prompt": visit.canvas.prompt()}).encode())
    visit.await_true(lambda: not any(visit.server.get("/queue").values()))
    visit.page.wait_for_timeout(1000)
    assert box().note() == ""
    visit.show_tab(first)
    visit.await_true(lambda: box().note().startswith(SMALL), message="A note.")
    assert run_with(visit.canvas.node_of("LikenessPerson"), "which_face", "the tall one") == "error"
    visit.await_true(lambda: box().note() == "", message="No note of a node that the run has not reached.")


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


@newest_often
def test_in_an_app_toasts_cover_nothing_and_the_doctor_shows_links(visit: Visit) -> None:
    """Neither photos nor ComfyUI's message are covered; the doctor's links are in a window, and no toast repeats it."""
    graph = workflow.load(WORKFLOW.with_stem("start_two_people"))
    with visit.as_app(graph) as app:
        visit.toasts.await_count(re.compile("files? (is|are) missing"))
        app.await_photos_and_errors(2)
        assert visit.toasts.first().covers(app.photos_and_errors()) == 0
        app.await_labels(labels_asked_for(graph))
    with visit.as_app(workflow.load(WORKFLOW.with_stem("check_files"))) as app:
        app.run()
        try:
            links = visit.page.locator("dialog[open] a[target=_blank][href$='/antelopev2.zip']")
            links.first.wait_for()
            assert not any("To fix" in text for text in visit.toasts.texts())
        finally:
            visit.close_dialogs()
    assert visit.page.locator("dialog").count() == 0


TEMPLATES_AND_FILTERS = """async pack => {
    await app.api.getWorkflowTemplates();
    const all = await app.api.getCoreWorkflowTemplates('en');
    const others = all.filter(group => group.moduleName !== pack).flatMap(group => group.templates);
    const ours = all.find(group => group.moduleName === pack).templates;
    return [ours, ["models", "tags"].map(name => others.flatMap(template => template[name] ?? []))];
}"""
"""What the gallery has of a pack, and the models and tags of all others, by which it filters."""
TEMPLATES_OF_PACKS = """async () => {
    const host = await app.api.fetchApi("/workflow_templates");
    return [await app.api.getWorkflowTemplates(), await host.json()];
}"""
"""As the page has them, and as the host lists them."""
WITHOUT_A_TASK = {"Check files"}
"""Titles of templates that make no picture."""


@pytest.mark.both_hosts
@own_often
def test_the_gallery_shows_titles_in_their_order(visit: Visit) -> None:
    """Other packs' templates are as the host lists them."""
    titles = translations.main_file("en")["templateWorkflows"]["template"]["likeness"]
    expected_titles = [title for stem, title in titles.items() if (WORKFLOW.parent / f"{stem}.json").is_file()]
    pack = visit.server.pack_name
    templates, (models_of_host, tasks_of_host) = visit.page.evaluate(TEMPLATES_AND_FILTERS, pack)
    assert [template["title"] for template in templates] == expected_titles
    tasks = translations.main_file("en")["likenessTemplateTasks"]
    # The filters offer whatever a template has: in other words than the host's nobody would look for them. An older
    # host has fewer words.
    if visit.server.host.version >= (0, 33):
        for template in templates:
            assert {*template["models"]} <= {*models_of_host}, template["title"]
            assert template["title"] in WITHOUT_A_TASK or {*template["tags"]} & {*tasks_of_host}, template["title"]
        assert {*tasks} <= {*tasks_of_host}
    words = translations.main_file("en")["likenessTemplateWords"]
    assert [template["description"].split(" · ")[0] for template in templates] == list(words.values())
    others, listed = visit.page.evaluate(TEMPLATES_OF_PACKS)
    assert others == {name: files for name, files in listed.items() if name != pack}


@pytest.mark.both_hosts
@own_often
def test_a_template_of_the_gallery_has_its_picture_and_opens_in_a_tab_of_its_title(visit: Visit) -> None:
    title = translations.main_file("en")["templateWorkflows"]["template"]["likeness"][WORKFLOW.stem]
    graph = workflow.load(WORKFLOW)
    if visit.server.host.version >= (0, 33):
        visit.gallery.open()
        visit.gallery.search(title, title)
        with Image.open(WORKFLOW.with_suffix(".jpg")) as picture:
            assert visit.gallery.size_of_picture(title) == picture.size
        visit.gallery.choose(title)
    else:  # Its gallery has no search. This is what it does with a card.
        visit.page.evaluate(
            """async ([graph, name]) => {
                await app.api.getWorkflowTemplates();
                await app.api.getCoreWorkflowTemplates("en");
                await app.loadGraphData(graph, true, true, name);
            }""",
            [graph, WORKFLOW.stem],
        )
    visit.await_true(lambda: visit.tab() == f"workflows/{title}.json")
    visit.canvas.settle()
    assert sorted(visit.canvas.kinds()) == sorted(node["type"] for node in graph["nodes"])
    visit.close_dialogs()


SOUGHT = {
    "try on": "parts_try_on", "try-on": "parts_try_on", "couple": "start_two_people", "family": "start_two_people",
    "consistent character": "lora_two_people", "cartoon": "lora_two_people",
    "faceswap": "start_person_in_photo", "face swap": "start_person_in_photo", "batch": "id_patch_several_scenes",
    "table": "check_files", "multi character": "start_two_people", "two characters": "start_two_people",
    "wife": "start_two_people", "人脸": "start_two_people", "换脸": "start_person_in_photo",
    "likeness": "start_two_people", "two people": "start_two_people", "friends": "start_two_people",
    "group": "start_two_people", "portrait": "start_portrait", "jacket": "start_outfit",
    "inpaint": "start_person_in_photo", "8gb": "ip_adapter_sd15_portrait",
    "flux": "references_klein_two_people", "selfie": "start_portrait", "wedding": "start_two_people",
    "photo of me": "start_portrait", "identity": "start_portrait", "headshot": "start_portrait",
    "hat": "parts_instant_id_and_outfit", "faceid": "ip_adapter_sd15_portrait", "reactor": "start_person_in_photo",
    "best of four": "references_klein_two_people", "four pictures": "start_portrait",
    "instantid": "start_portrait", "remove a person": "start_person_in_photo",
    "人物": "start_two_people", "角色一致": "start_portrait", "anima": "prompts_anima_two_people",
    "regional prompt": "prompts_anima_two_people", "hug": "start_two_people", "embrace": "start_two_people",
    "child": "start_two_people", "kids": "start_two_people", "age": "start_two_people", "tall": "start_two_people",
    "younger": "start_two_people", "height": "start_two_people", "multiple people": "start_two_people",
    "smiling": "references_qwen_looks", "emotion": "id_patch_prompt_per_person",
    "hairstyle": "id_patch_prompt_per_person", "composite": "id_patch_absent_friend",
    "add person to photo": "id_patch_absent_friend", "insert a person": "id_patch_absent_friend",
    "拥抱": "start_two_people", "孩子": "start_two_people", "身高": "start_two_people",
    "亲子": "start_two_people", "发型": "id_patch_prompt_per_person", "表情": "references_qwen_looks",
    "加一个人": "id_patch_absent_friend",
}  # fmt: skip
"""What people look for -> a template that does it."""
FIRST = {
    "couple", "two people", "friends", "family", "group", "portrait", "jacket", "inpaint", "face swap", "hug",
    "multiple people", "add person to photo", "加一个人", "拥抱",
}  # fmt: skip
"""For these the template is the first of ours."""


@pytest.mark.thorough
def test_the_gallery_finds_what_people_look_for(visit: Visit) -> None:
    """In an English gallery by Chinese words as well. None of our titles is cut off in a window of 1920x1080."""
    titles = translations.main_file("en")["templateWorkflows"]["template"]["likeness"]
    visit.resize(1920, 1080)
    try:
        visit.gallery.open()
        for words, stem in SOUGHT.items():
            hits = visit.gallery.search(words, titles[stem])
            found = [title for title in hits.titles if title in titles.values()]
            assert titles[stem] in found
            if words in FIRST:
                assert found[0] == titles[stem], f"{words!r}: it comes first of ours"
            assert not {*titles.values()} & {*hits.cut_off}, words
    finally:
        visit.gallery.close()
        visit.resize(*WINDOW)


@dataclass(frozen=True)
class Sent:
    """What leaves the editor of a file: the prompt without titles, and how often translations were asked for."""

    prompt: Graph
    translation_requests: int


@pytest.mark.thorough
@pytest.mark.both_hosts
def test_nodes_and_templates_speak_chinese_where_the_frontend_does(visit: Visit) -> None:
    """Labels, hints and titles that stand in the file; what is sent stays the same, and so does all English."""
    table = translations.table("zh")
    graph = workflow.load(WORKFLOW.with_stem("pulid_two_people"))
    words = translations.of_graph(graph)

    def opened() -> tuple[Graph, Sent]:
        file = visit.open_file(graph)
        prompt = {number: {**entry, "_meta": None} for number, entry in file.prompt.items()}
        return file.saved, Sent(prompt, file.translation_requests)

    english, sent_in_english = opened()
    assert words <= translations.of_graph(english)
    assert sent_in_english.translation_requests == 0
    try:
        visit.open("zh")
        created = visit.page.evaluate(
            "(node => [node.title, node.inputs[0].localized_name])(LiteGraph.createNode('LikenessPlaceCast'))"
        )
        names = translations.read("zh")
        assert created == [names["LikenessPlaceCast/display_name"], names["LikenessPlaceCast/inputs/cast/name"]]
        chinese, sent_in_chinese = opened()
        assert sent_in_chinese == sent_in_english, "and its tables are read before any graph is opened"
        visit.toasts.await_count("个文件缺失或有问题")
        assert {table.get(text, text) for text in words} <= translations.of_graph(chinese)
        assert not translations.of_graph(chinese) & table.keys()
        lines = translations.lines_of_notes(translations.notes_of(chinese))
        assert not lines & translations.table("zh", translations.NOTES).keys()
        if visit.vue:
            see_on_vue_nodes(visit, table)
        if visit.server.host.version >= (0, 33):
            see_in_lists_blueprints_and_apps(visit, table, graph)
    finally:
        visit.open()


def see_on_vue_nodes(visit: Visit, table: dict[str, str]) -> None:
    """Titles and labels as the nodes show them."""
    for text in ("Read me first", "Photo of person 1", "Prompt", "Who is where", "Width", "How alike"):
        node = visit.page.locator("[data-node-id]").filter(has_text=table[text]).first
        node.wait_for(state="attached")


def see_in_lists_blueprints_and_apps(visit: Visit, table: dict[str, str], graph: Graph) -> None:
    """A word of a list with its English behind it; of a blueprint what it is made of, once it is put down; and labels
    and hints of an app."""
    layout = visit.canvas.node_of("LikenessLayoutForAGroup")
    words = translations.table("zh", translations.OPTIONS)
    assert layout.value("framing") == "half"
    assert layout.shown_value("framing") == f"{words['half']} half"
    visit.canvas.put_down_blueprint(workflow.load(next((ROOT / "subgraphs").glob("Group photo*.json"))))
    visit.await_true(lambda: visit.canvas.last_node().evaluate("node => node.title") == table["Group photo"])
    labels = {*visit.canvas.last_node().input_labels()}
    assert {table[text] for text in ("First person", "Width", "Checkpoint")} <= labels
    assert not labels & table.keys()
    with visit.as_app(graph) as app:
        app.await_labels([table.get(text, text) for text in labels_asked_for(graph)])
        for _, _, *entries in graph["extra"]["linearData"]["inputs"]:
            for entry in entries:
                visit.await_text(table[entry["description"]])


@pytest.mark.thorough
def test_the_mouse_on_a_setting_shows_its_tooltip_in_the_language_of_the_page(visit: Visit, people: Graph) -> None:
    """In English and in Chinese, of a menu and of a field of text."""
    try:
        for language in ("en", "zh"):
            if language != "en":
                visit.open(language)
            visit.load(people)
            texts = translations.read(language)
            place = visit.canvas.node_of("LikenessPlaceCast")
            place.show_at(500, 150)
            visit.canvas.settle()
            for name in ("order", "custom_order"):
                of_the_input = f"LikenessPlaceCast/inputs/{name}"
                place.rest_mouse_on(name, texts[f"{of_the_input}/name"])
                visit.await_tooltip(texts[f"{of_the_input}/tooltip"])
    finally:
        visit.open()


# Boxes that are dragged

PICTURE = (1216, 832)
"""Width and height of the picture in which boxes are drawn."""
BOXED = {
    "width": PICTURE[0], "height": PICTURE[1], "fit": "crop", "boxes_show": "person", "body": "half",
    "boxes_from": "drawn",
}  # fmt: skip
BOXES, PERSON = "LikenessLayoutFromBoxes", "LikenessPerson"


def drag(visit: Visit, start: Point, end: Point) -> Sides:
    """With the mouse, between two points of the editor in shares of its sides: where they lie in the picture, px."""
    return visit.box_editor.drag(visit.canvas.node_of(BOXES), start, end, PICTURE)


def drawn(visit: Visit) -> list[list[int]]:
    """Left, top, width and height of the boxes, the same in the file and in the prompt."""
    saved = visit.box_editor.boxes_in_file()
    assert visit.box_editor.boxes_sent(BOXES) == saved
    return [sides_of(box) for box in saved]


def sides_of(box: dict[str, Any]) -> list[int]:
    return [box[side] for side in ("x", "y", "width", "height")]


def moved(box: list[int], stroke: Sides, within: float) -> Any:
    """A box that a stroke of the mouse has moved; compares equal within so many px."""
    x, y, width, height = box
    across = stroke.right - stroke.left
    down = stroke.bottom - stroke.top
    return pytest.approx([x + across, y + down, width, height], abs=within)


@pytest.mark.both_hosts
def test_without_vue_nodes_boxes_are_lines_of_text(visit: Visit) -> None:
    """With classic nodes and in older frontends."""
    if visit.vue:
        pytest.skip("these nodes have an editor for boxes: test_a_box_lands_where_it_was_dropped")
    visit.load({"boxes": node(BOXES, **BOXED, text="Anna: 60, 80, 300, 500")})
    assert visit.run()["status"]["status_str"] == "success"
    assert not visit.box_editor.is_shown()


@pytest.mark.both_hosts
def test_a_box_lands_where_it_was_dropped(visit: Visit) -> None:
    """Within a pixel of the canvas."""
    if not visit.vue:
        pytest.skip("these nodes have no editor for boxes")
    visit.red()
    boxes = node(BOXES, **BOXED, text="")
    visit.load({"boxes": boxes})
    visit.box_editor.await_shown()
    visit.box_editor.switch_grid_off()
    stroke = drag(visit, (0.1, 0.1), (0.4, 0.8))
    sides = [stroke.left, stroke.top, stroke.right - stroke.left, stroke.bottom - stroke.top]
    assert drawn(visit) == [pytest.approx(sides, abs=1)]
    (box,) = drawn(visit)
    assert visit.canvas.node_of(BOXES).value("text") == ", ".join(map(str, box)), "a new node's text follows as well"
    stroke = drag(visit, (0.2, 0.5), (0.3, 0.56))
    assert drawn(visit) == [moved(box, stroke, within=1)]
    file = visit.canvas.saved()
    before = drawn(visit)
    group = node("LikenessLayoutForAGroup", count=2, framing="half", rows=0, width=PICTURE[0], height=PICTURE[1])
    boxes["inputs"] |= {"bboxes": ["group", 0], "background": ["group", 1]}
    visit.load({"group": group, "boxes": boxes})
    visit.run()
    visit.await_true(lambda: len(visit.box_editor.boxes_in_file()) == 2)
    left, right = drawn(visit)
    middle = (right[0] + right[2] / 2) / PICTURE[0]
    stroke = drag(visit, (middle, 0.6), (middle - 0.05, 0.5))
    after = [left, moved(right, stroke, within=33)]  # the grid is new with each node
    assert drawn(visit) == after
    assert visit.run()["status"]["status_str"] == "success"
    assert drawn(visit) == after
    visit.page.evaluate("graph => app.loadGraphData(graph).then(() => true)", file)
    visit.await_true(lambda: len(visit.box_editor.boxes_in_file()) == 1)
    assert drawn(visit) == before
    assert visit.red() == []


def test_a_box_drawn_in_identity_is_around_the_face_in_the_photo(visit: Visit, people: Graph) -> None:
    """The editor is folded away, has the photo of `image` behind it, and sends shares of a canvas of 1024x1024 px."""
    if not visit.vue:
        pytest.skip("these nodes have no editor for boxes")
    nodes_with_the_photo = {name: people[name] for name in ("models", "photo", "yao", "cast")}
    visit.load({**nodes_with_the_photo, "shown": node("PreviewImage", images=["cast", 1])})
    assert not visit.box_editor.is_shown()
    person = visit.canvas.node_of(PERSON)
    person.show_advanced_inputs()
    visit.box_editor.await_shown()
    visit.box_editor.switch_grid_off()
    visit.box_editor.drag(person, (0.25, 0.25), (0.75, 0.75), (1024, 1024))
    (box,) = visit.box_editor.boxes_sent(PERSON)
    width = visit.box_editor.bring_into_view(person)["width"]
    assert sides_of(box) == pytest.approx([256, 256, 512, 512], abs=2 * 1024 / width)
    assert visit.run()["status"]["status_str"] == "success"
    slots = person.evaluate("node => ['background', 'image'].map(name => node.findInputSlot(name))")
    assert slots[0] == slots[1] >= 0


def test_the_field_of_boxes_as_text_is_some_lines_high(visit: Visit) -> None:
    """With classic nodes, which give a field all the room that is left."""
    if visit.vue:
        pytest.skip("Vue nodes give a field its own height")
    visit.open_file(workflow.load(WORKFLOW.with_stem("id_patch_places_by_dragging")))
    visit.canvas.settle()
    assert visit.canvas.node_of(BOXES).field_height("text") < 150


def test_boxes_and_their_text_follow_each_other(visit: Visit) -> None:
    """What is drawn or written last counts."""
    if not visit.vue:
        pytest.skip("these nodes have no editor for boxes")
    visit.open_file(workflow.load(WORKFLOW.with_stem("id_patch_places_by_dragging")))
    boxes = visit.canvas.node_of(BOXES)
    begun = boxes.value("text").split("\n")
    drag(visit, (0.3, 0.5), (0.35, 0.55))
    first, second = boxes.value("text").split("\n")
    x, y, *_ = drawn(visit)[0]
    assert first.startswith(f"person 1: {x}, {y}, ")
    assert first != begun[0]
    assert second == begun[1]
    assert first in ",".join(visit.box_editor.texts_on_page())
    visit.box_editor.write(boxes.value("text"), "Ann\uff1a100,100\u300160 80\n\nBen: 400, 200, 300.5, 500\n1, 2, 3, 4")
    visit.await_true(lambda: len(visit.box_editor.boxes_in_file()) == 3)
    assert drawn(visit) == [[100, 100, 60, 80], [400, 200, 300.5, 500], [1, 2, 3, 4]]
    assert [box["metadata"]["desc"] for box in visit.box_editor.boxes_in_file()] == ["Ann", "Ben", ""]
    visit.box_editor.await_shown()
    stroke = drag(visit, (500 / PICTURE[0], 500 / PICTURE[1]), (0.3, 0.7))
    assert drawn(visit)[1] == moved([400, 200, 300.5, 500], stroke, within=33)
    assert boxes.value("text").startswith("Ann: 100, 100, 60, 80\nBen: ")
    visit.box_editor.write(boxes.value("text"), "Ann: 100, 100, 60\nBen: 400, 200, 300, 500")
    visit.canvas.settle()
    assert len(drawn(visit)) == 3
    drag(visit, (550 / PICTURE[0], 500 / PICTURE[1]), (0.4, 0.7))
    lines = boxes.value("text").split("\n")
    assert lines[0] == "Ann: 100, 100, 60, 80", "a line that was no box says the boxes again"
    assert len(lines) == 3
