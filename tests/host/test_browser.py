"""What a first visitor does, in the host's own frontend and in the newest, with classic and with Vue nodes.

Real photos through the file chooser, Run, files dropped onto the page, mistakes with the words that are shown, and
every help page; and nothing in red in the console.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import figures
import pytest
import real_faces
import translations
from pack.core.models import needs
from pack.nodes.extension import NODES
from rig import workflow
from visits import WINDOW, Graph, Visit, asked_for, once_of_each, toasts

pytestmark = pytest.mark.xdist_group("browser")
ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = [node.GET_SCHEMA() for node in NODES]
WORKFLOW = ROOT / "workflows" / "id_patch_two_people.json"


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


@pytest.fixture
def large_visit(visit: Visit) -> Iterator[Visit]:
    """In a window of 1920x1080."""
    visit.page.resize(1920, 1080)
    yield visit
    visit.page.resize(*WINDOW)


@pytest.mark.parametrize("each", [16, pytest.param(1, marks=[pytest.mark.thorough, once_of_each])])
@pytest.mark.thorough_with("newest")
def test_help_pages_open_without_an_error(large_visit: Visit, each: int) -> None:
    """By the button over a selected node. In a git clone frontends miss `<NodeId>/en.md` and then take the page.

    each: every so many of them; all are there with their pictures. Tables, code and paths are not cut by the panel, as
    wide as it opens at 1920x1080.
    """
    visit = large_visit
    page, info = visit.page, "document.querySelector('[data-testid=info-button]')"
    for document in (ROOT / "web" / "docs").rglob("*.*"):
        visit.server.read(f"/extensions/{visit.server.pack_name}/{document.relative_to(ROOT / 'web').as_posix()}")
    ids = [schema.node_id for schema in SCHEMAS][::each]
    visit.load({kind: node(kind) for kind in ids})
    for number, kind in enumerate(ids, 1):
        page.evaluate(f"app.canvas.deselectAll(); app.canvas.selectNode(app.graph.getNodeById({number}), false)")
        page.evaluate("app.canvas.fitViewToSelectionAnimated?.(); app.canvas.setDirty(true, true)")
        page.wait(f"!!{info}")
        page.evaluate(f"{info}.click()")
        first = (ROOT / "web" / "docs" / f"{kind}.md").read_text("utf-8").split("\n\n")[1]
        visit.await_text(re.split(r"[`*\[]", " ".join(first.split()))[0][:40].strip())
        if visit.server.host.version >= (0, 33):
            # The panel of 0.3.64 opens 310 px wide, that of 0.33 346 px; tables are made for the latter.
            assert page.ask("cutInHelp") == [], kind
    assert [line for line in visit.red() if not re.search(r"404 .*/docs/Likeness\w+/en\.md", line)] == []


@pytest.mark.both_hosts
def test_a_photo_of_ones_own_runs_and_its_picture_brings_the_graph_back(
    visit: Visit, people: Graph, tmp_path: Path
) -> None:
    visit.load(people)
    chosen = "app.graph._nodes.find(node => node.type == 'LoadImage').widgets"
    page, photo = visit.page, tmp_path / f"{uuid.uuid4().hex}.png"
    photo.write_bytes(real_faces.ASTRONAUT.read_bytes())
    page.choose_file(f"void {chosen}.find(widget => widget.name == 'upload').callback()", photo)
    page.wait(f"{chosen}[0].value == {json.dumps(photo.name)}")
    run = visit.run()
    assert run["status"]["status_str"] == "success"
    (picture,) = run["outputs"][str(len(people))]["images"]
    visit.drop(visit.server.file(picture), page.evaluate("app.graph._nodes.length"))
    assert page.evaluate(f"{chosen}[0].value") == photo.name
    assert visit.red() == []


# The editor's extension

NODES = {"light": "#f5f5f5", "dark": "#353535"}
"""The palettes, and what their nodes are drawn on; the last is the one of a new user."""


def slots(visit: Visit, act: str = "settled", *given: Any) -> str:
    """Of this page's cast as they are seen, linked ones with a star, once this was done."""
    visit.page.ask(act, *given)
    visit.page.ask("settled")
    return visit.page.ask("slots")


@pytest.mark.both_hosts
def test_a_cast_shows_its_people_and_one_place_more(visit: Visit, people: Graph) -> None:
    visit.red()  # what mistakes before this one have left
    visit.load(people)
    try:
        assert slots(visit) == "cast person_1* person_2"
        assert slots(visit, "link", "person_2") == "cast person_1* person_2* person_3"
        assert slots(visit, "link", "person_6") == "cast person_1* person_2* person_3 person_6*"
        assert slots(visit, "unlink", "person_1") == "cast person_1 person_2* person_6*"
        assert slots(visit, "undo") == "cast person_1* person_2"
        assert slots(visit, "link", "person_6") == "cast person_1* person_2 person_6*"
        assert slots(visit, "copy") == "cast person_1"
        inputs = visit.page.evaluate("app.graph._nodes.find(n => n.type == 'LikenessCast').inputs.map(one => one.name)")
        assert inputs[:9] == ["cast", *(f"person_{number}" for number in range(1, 9))], "pasting takes nobody away"
        assert slots(visit, "wrap") == "cast person_1* person_2 person_6*"
        assert slots(visit, "unlinkAll") == "cast person_1"
    finally:
        visit.page.evaluate("app.canvas.setGraph(app.graph)")
    photos = {"photo_1": ["photo", 0], "photo_4": ["photo", 0]}
    visit.load({**people, "cast": node("LikenessCastFromPhotos", names="", which_face="only", **photos)})
    assert slots(visit) == "face_model photo_1* photo_2 photo_4*"
    assert visit.red() == []


@pytest.mark.both_hosts
@pytest.mark.thorough_with("with Vue nodes")
def test_what_is_saved_and_sent_is_the_same_without_the_extension(visit: Visit, people: Graph) -> None:
    people["cast"]["inputs"] = {"person_2": ["yao", 0], "person_7": ["yao", 0], "weight_7": 0.5}

    def seen() -> tuple[Graph, Graph, Graph]:
        """The prompt, the file, and its links by the names of their inputs."""
        prompt, file = visit.page.ask("prompt"), visit.page.ask("saved")
        names = {one["link"]: (node["type"], one["name"]) for node in file["nodes"] for one in node["inputs"]}
        return prompt, file, {names[number]: (source, out) for number, source, out, *_ in file["links"]}

    def opened(graph: Graph, disabled: list[str]) -> tuple[Graph, Graph, Graph]:
        """As `seen`, of a page without these extensions."""
        visit.set("Comfy.Extension.Disabled", disabled)
        visit.open()
        visit.page.evaluate(f"app.loadGraphData({json.dumps(graph)}).then(visitor.settled)")
        return seen()

    visit.load(people)
    prompt, file, links = seen()
    (cast,) = (node for node in file["nodes"] if node["type"] == "LikenessCast")
    assert [one["name"] for one in cast["inputs"] if "widget" not in one] == [
        "cast", *(f"person_{number}" for number in range(1, 9))
    ]  # fmt: skip
    without = opened(file, ["likeness.editor"])
    assert slots(visit) == "cast person_1 person_2* person_3 person_4 person_5 person_6 person_7* person_8"
    again = opened(without[1], [])
    assert slots(visit) == "cast person_1 person_2* person_7*"
    assert without[::2] == again[::2] == (prompt, links)


def channels(colour: str) -> tuple[int, ...]:
    """Of a colour like #4b9a05 or #4b0."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    return tuple(bytes.fromhex(digits))


def test_every_kind_of_socket_has_a_colour_that_is_seen(visit: Visit) -> None:
    """On the nodes of both palettes, 3 : 1 as for other graphics (WCAG 2)."""
    ours = {one.io_type for schema in SCHEMAS for one in (*schema.inputs, *schema.outputs)}
    ours = {kind for kinds in ours for kind in kinds.split(",") if kind.startswith("LIKENESS_")}
    for palette, nodes in NODES.items():
        visit.page.evaluate(f"app.extensionManager.setting.set('Comfy.ColorPalette', '{palette}')")
        visit.page.wait(f"LiteGraph.NODE_DEFAULT_BGCOLOR.toLowerCase() == '{nodes}'")
        slots, links = visit.page.evaluate(
            "[app.canvas.default_connection_color_byType, app.canvas.constructor.link_type_colors]"
        )
        colours = {kind: slots[kind] for kind in ours}
        assert len(set(colours.values())) == len(ours) >= 11
        assert {kind: links[kind] for kind in ours} == colours
        assert [one for one in colours.values() if figures.contrast(channels(one), channels(nodes)) < 3] == []
        dot = "getComputedStyle(document.documentElement).getPropertyValue('--color-datatype-%s').trim()"
        assert {kind: visit.page.evaluate(dot % kind) for kind in ours} == colours


# Model files

TOLD = 2
"""Seconds within which a toast of missing files has come: it waits half a second, and for the host's answer."""


@pytest.mark.both_hosts
@pytest.mark.thorough_with("with Vue nodes")
def test_missing_files_are_named_once_at_opening_and_once_at_run(visit: Visit) -> None:
    """All in one toast, with their size, for 30 s. Of a workflow whose files are there nothing is said."""
    told = "2 files are missing"
    names = "antelopev2, InstantID/ControlNetModel/diffusion_pytorch_model.safetensors"
    said = f"{names}. To download: 2.9 GB. Links and folders: template Check files."
    sdxl = next(name for name in visit.server.get("/models/checkpoints") if "sdxl" in name)
    visit.page.ask("closeDialogs")
    visit.page.ask("hurried")
    try:
        for name, toasts in (("start_outfit", 0), ("instant_id_portrait", 1), ("instant_id_interpolation", 1)):
            graph = workflow.load(WORKFLOW.with_stem(name))
            (checkpoint,) = (file.name for file in needs.loaded(graph) if file.key == "checkpoints")
            visit.open_file(json.loads(json.dumps(graph).replace(checkpoint, sdxl)))
            time.sleep(0 if toasts else TOLD)
            visit.await_toasts(told, toasts)
        visit.await_toasts(said)
        visit.page.ask("undo")
        visit.await_toasts(told, 0)
        time.sleep(TOLD)
        visit.await_toasts(told, 0)
    finally:
        visit.page.evaluate("window.unhurried()")
    visit.page.ask("closeDialogs")
    visit.page.ask("run")
    visit.await_toasts(told)
    visit.await_text(said)
    visit.page.ask("closeDialogs")


def test_a_toast_lies_over_nothing_that_is_worked_on(visit: Visit) -> None:
    """At 1366x768: one line when a workflow is opened, and the mouse reaches what lies below it, as it does below an
    error."""
    visit.page.resize(1366, 768)
    try:
        visit.page.ask("closeDialogs")
        visit.open_file(workflow.load(WORKFLOW.with_stem("id_patch_places_by_dragging")))
        visit.page.wait("visitor.toasts().some(text => /missing/.test(text))", 30)
        width, height, below = visit.page.evaluate("visitor.toastAt()")
        assert height < 50 and width < 320 and below
        visit.page.evaluate("document.querySelector('.likeness-toast summary').click()")
        visit.await_text("To download")
        assert visit.page.evaluate("visitor.toastAt()[2]"), "unfolded as well"
    finally:
        visit.page.ask("closeDialogs")
        visit.page.resize(*WINDOW)


@pytest.mark.both_hosts
@pytest.mark.thorough_with("newest")
def test_the_doctor_shows_links_and_copies_them(visit: Visit) -> None:
    """And what is saved and sent stays the same."""
    visit.load({"doctor": node("LikenessCheckModelFiles", workflow="instant_id_portrait")})
    # 1.27.10 saves the note with it.
    values = "made.workflow.nodes[0].widgets_values.filter(value => !/^Still to do/.test(value))"
    both = f"app.graphToPrompt().then(made => [made.output['1'].inputs, {values}])"
    before = visit.page.evaluate(both)
    visit.run()
    shown = "visitor.links('td a[target=_blank][rel~=noopener]')"
    visit.page.wait(f"{shown}.length > 1")
    links = visit.page.evaluate(shown)
    assert next(link for link in links if link.endswith("/antelopev2.zip")).startswith("https://github.com/")
    visit.await_text("Missing for InstantID")
    visit.page.ask("copyAddresses")
    visit.page.wait("window.copied.length == 1", 10)
    assert visit.page.evaluate("window.copied[0]").split("\n") == list(dict.fromkeys(links))
    assert visit.page.evaluate(both) == before == [{"workflow": "instant_id_portrait"}, ["instant_id_portrait"]]
    menu = "app.graph._nodes[0].widgets[0]"
    title = translations.main_file("en")["templateWorkflows"]["template"]["likeness"]["instant_id_portrait"]
    assert visit.page.evaluate(f"{menu}.options.getOptionLabel({menu}.value)") == title
    assert visit.red() == []


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
    # Within words it breaks only where one alone is longer than a line.
    held = "[...document.querySelectorAll('.break-all > span')].map(note => getComputedStyle(note).wordBreak)"
    assert {*visit.page.evaluate(held)} <= {"normal"}
    visit.page.ask("settled")
    assert visit.page.evaluate("window.harmed ?? 0") == 0


@pytest.mark.both_hosts
def test_a_page_opened_anew_shows_previews_and_notes_of_nodes_that_are_not_run_again(
    visit: Visit, people: Graph
) -> None:
    """And after a run that failed before a node, no note of an earlier run stands under it."""
    people["layout"]["inputs"]["framing"] = "full"
    place, yao, layout = (list(people).index(name) + 1 for name in ("place", "yao", "layout"))
    note = f"(app.graph.getNodeById({place}).widgets.find(one => one.name == '$$node-text-preview')?.value ?? '')"
    preview = f"app.nodeOutputs[{place}]?.images?.[0].filename"

    def run_with(number: int, name: str, value: str) -> str:
        widget = f"app.graph.getNodeById({number}).widgets.find(one => one.name == '{name}')"
        visit.page.evaluate(f"void ({widget}.value = '{value}')")
        return visit.run()["status"]["status_str"]

    def run_anew() -> None:
        visit.open()
        visit.load(people)
        assert not visit.page.evaluate(preview)
        assert visit.run()["status"]["status_str"] == "success"

    for _ in range(2):
        visit.repeat(run_anew, f"!!{preview} && {note}.startsWith('Faces small')")
    small = visit.page.evaluate(preview)
    assert run_with(layout, "framing", "bust") == "success"
    visit.page.wait(f"!{note}.trim() && {preview} != {json.dumps(small)}")
    assert run_with(layout, "framing", "full") == "success"
    visit.page.wait(f"{note}.startsWith('Faces small')")
    assert run_with(yao, "which_face", "the tall one") == "error"
    visit.page.wait(f"!{note}.trim()")


MARKUP = "<img src=x onerror=window.harmed=1>"


@pytest.mark.both_hosts
def test_an_error_and_an_unseen_note_are_toasts(visit: Visit, people: Graph) -> None:
    """Cause and remedy, as text, once however often it comes; in an old frontend a dialog tells the error already.
    An address in it is a link without the full stop behind it, and nothing lies over it."""
    people["yao"]["_meta"] = {"title": MARKUP}
    number, shows_errors = str(list(people).index("yao") + 1), visit.server.host.version >= (0, 33)
    said = {"node_id": number, "node_type": "LikenessPerson", "exception_type": "likeness.FaceNotFound"}
    said |= {"exception_message": f"No face in {MARKUP}.\nTake another.\n", "traceback": [], "prompt_id": "1"}
    at = "document.querySelector('.likeness-toast a')"
    hit = f"((at) => document.elementFromPoint(at.x + at.width / 2, at.y + at.height / 2))({at}.getClientRects()[0])"

    def send(event: str, detail: Any) -> None:
        """What the host sends to a page, as the page's api tells it to everybody there."""
        event, detail = json.dumps(event), json.dumps(detail)
        visit.page.evaluate(f"void app.api.dispatchEvent(new CustomEvent({event}, {{detail: {detail}}}))")

    def note(text: str, collapsed: bool = True) -> None:
        visit.page.evaluate(f"void (app.graph.getNodeById({number}).flags.collapsed = {json.dumps(collapsed)})")
        send("progress_text", {"nodeId": number, "text": text})

    def send_twice() -> None:
        visit.load(people)
        for _ in range(2):
            if shows_errors:
                send("execution_error", said)
            note("Faces are small: &lt;b&gt;Yao&lt;/b&gt;")

    visit.page.ask("closeDialogs")
    visit.repeat(send_twice, toasts("Faces are small: <b>Yao</b>"))
    error = f"No face in {MARKUP}."
    visit.await_toasts(error, int(shows_errors))
    assert all("Take another." in text for text in visit.page.ask("toasts") if error in text)
    note(" ")
    visit.page.evaluate("void app.api.queuePrompt(0, {output: {}, workflow: {}}).catch(refused => refused)")
    visit.await_toasts("Faces are small", 0)
    visit.await_toasts("No face in", 0)
    note("Seen at the node", collapsed=False)
    visit.page.ask("settled")
    assert not any("Seen at the node" in text for text in visit.page.ask("toasts"))
    assert visit.page.evaluate("window.harmed ?? 0") == 0
    note("Download it from https://example.org/a_file.bin (9 MB).")
    visit.page.wait(f"!!{at}")
    assert visit.page.evaluate(f"[{hit}.href, {hit}.target]") == ["https://example.org/a_file.bin", "_blank"]
    visit.page.ask("closeDialogs")


def test_in_an_app_toasts_cover_nothing_and_the_doctor_shows_links(visit: Visit) -> None:
    """Neither photos nor ComfyUI's message are covered; the doctor's links are in a window, and no toast repeats it."""
    graph = workflow.load(WORKFLOW.with_stem("start_two_people"))
    with visit.as_app(graph):
        visit.page.wait("visitor.toasts().some(text => /files? (is|are) missing/.test(text))", 20)
        visit.page.wait("visitor.photos().length >= 2 && visitor.text().includes('Show errors in graph')", 20)
        assert visit.page.ask("covered") == 0
        visit.await_labels(asked_for(graph))
    links = "visitor.links('dialog[open] a[target=_blank]')"
    with visit.as_app(workflow.load(WORKFLOW.with_stem("check_files"))):
        visit.page.wait("visitor.runApp() ?? true")
        try:
            visit.page.wait(f"{links}.some(link => link.endsWith('/antelopev2.zip'))", 60)
            assert not [text for text in visit.page.ask("toasts") if "To fix" in text]
        finally:
            visit.page.evaluate("document.querySelectorAll('dialog[open]').forEach(window => window.close())")
    assert visit.page.evaluate("document.querySelectorAll('dialog').length") == 0


@pytest.mark.both_hosts
@pytest.mark.thorough_with("newest")
def test_the_gallery_shows_titles_in_their_order(visit: Visit) -> None:
    """And gives the files behind them, by title and by the names of old links."""
    titles = translations.main_file("en")["templateWorkflows"]["template"]["likeness"]
    shown = [title for stem, title in titles.items() if (WORKFLOW.parent / f"{stem}.json").is_file()]
    pack = visit.server.pack_name
    listed = "app.api.getWorkflowTemplates().then(() => app.api.getCoreWorkflowTemplates('en'))"
    ours = f"{listed}.then(all => all.find(one => one.moduleName === {json.dumps(pack)}).templates"
    assert visit.page.evaluate(f"{ours}.map(one => one.title))") == shown
    words = translations.main_file("en")["likenessTemplateWords"]
    assert visit.page.evaluate(f"{ours}.map(one => one.description.split(' · ')[0]))") == list(words.values())
    stem = WORKFLOW.stem
    for name in (stem, titles[stem]):
        address = json.dumps(f"/workflow_templates/{pack}/{name}")
        graph = visit.page.evaluate(f"fetch(app.api.apiURL({address} + '.json')).then(answer => answer.json())")
        assert graph == workflow.load(WORKFLOW)
        assert visit.page.evaluate(f"fetch(app.api.apiURL({address}) + '.jpg').then(answer => answer.ok)")


SOUGHT = {
    "try on": "parts_try_on", "try-on": "parts_try_on", "couple": "start_two_people", "family": "start_group",
    "consistent character": "lora_two_people", "cartoon": "lora_two_people", "drawing": "style_two_people",
    "faceswap": "start_person_in_photo", "face swap": "start_person_in_photo", "batch": "id_patch_several_scenes",
    "table": "check_files", "multi character": "start_group", "two characters": "start_two_people",
    "wife": "start_two_people", "人脸": "start_two_people", "换脸": "start_person_in_photo",
    "likeness": "start_two_people",
}  # fmt: skip
"""What people look for -> a template that does it."""


def test_the_gallery_finds_what_people_look_for(visit: Visit) -> None:
    """In an English gallery by Chinese words as well. None of our titles is cut off in a window of 1920x1080."""
    titles = translations.main_file("en")["templateWorkflows"]["template"]["likeness"]
    visit.page.resize(1920, 1080)
    try:
        for words, stem in SOUGHT.items():
            found, cut = visit.page.ask("gallery", words)
            assert titles[stem] in found, (words, found)
            assert not {*titles.values()} & {*cut}, (words, cut)
    finally:
        visit.page.ask("closeGallery")
        visit.page.resize(*WINDOW)


@pytest.mark.both_hosts
@pytest.mark.thorough_with("newest")
def test_nodes_and_templates_speak_chinese_where_the_frontend_does(visit: Visit) -> None:
    """Labels, hints and titles that stand in the file; what is sent stays the same, and so does all English."""
    table, graph = translations.table("zh"), workflow.load(WORKFLOW)
    words = translations.of_graph(graph)

    def opened() -> tuple[Graph, Graph, int]:
        """Without the titles in the prompt."""
        saved, prompt, asked = visit.open_file(graph)
        return saved, {number: {**one, "_meta": None} for number, one in prompt.items()}, asked

    english, *sent = opened()
    assert words <= translations.of_graph(english) and sent[1] == 0
    try:
        visit.open("zh")
        created = "(node => [node.title, node.inputs[0].localized_name])(LiteGraph.createNode('LikenessPlaceCast'))"
        names = translations.read("zh")
        assert visit.page.evaluate(created) == [
            names[f"LikenessPlaceCast/{text}"] for text in ("display_name", "inputs/cast/name")
        ]
        chinese, *sent_too = opened()
        assert sent_too == sent, "and its tables are read before any graph is opened"
        assert {table.get(text, text) for text in words} <= translations.of_graph(chinese)
        assert not translations.of_graph(chinese) & table.keys()
        assert not translations.lines_of_notes(chinese) & translations.table("zh", translations.NOTES).keys()
        if visit.vue:
            shown = "[...document.querySelectorAll('[data-node-id]')].map(node => node.innerText).join(' ')"
            for text in ("Read me first", "Photo of Anna", "First person", "Who is where", "Width", "Strength"):
                visit.page.wait(f"{shown}.includes({json.dumps(table[text])})")
        if visit.server.host.version >= (0, 33):
            see_in_lists_blueprints_and_apps(visit, table, graph)
    finally:
        visit.open()


def see_in_lists_blueprints_and_apps(visit: Visit, table: dict[str, str], graph: Graph) -> None:
    """A word of a list with its English behind it; of a blueprint what it is made of, once it is put down; and labels
    and hints of an app."""
    framing = "app.graph._nodes.find(node => node.type == 'LikenessLayoutForAGroup').widgets[1]"
    words = translations.table("zh", translations.OPTIONS)
    assert visit.page.evaluate(f"[{framing}.value, {framing}._displayValue]") == ["half", f"{words['half']} half"]
    visit.page.ask("putDown", workflow.load(ROOT / "subgraphs" / "Group photo.json"))
    box = "app.graph._nodes.at(-1)"
    visit.page.wait(f"{box}.title === {json.dumps(table['Group photo'])}")
    seen = set(visit.page.evaluate(f"{box}.inputs.map(({{label}}) => label)"))
    assert {table[text] for text in ("First person", "Width", "Checkpoint")} <= seen and not seen & table.keys()
    with visit.as_app(graph):
        visit.await_labels([table.get(text, text) for text in asked_for(graph)])
        for _, _, *shown in graph["extra"]["linearData"]["inputs"]:
            for entry in shown:
                visit.await_text(table[entry["description"]])


# Boxes that are dragged

BOXED = {
    "width": 1216, "height": 832, "fit": "crop", "boxes_show": "person", "body": "half", "boxes_from": "drawn",
}  # fmt: skip


def drag(visit: Visit, start: tuple[float, float], end: tuple[float, float]) -> list[float]:
    """With the mouse, between two points of the editor in shares of its sides: their x and y on the canvas, px."""
    left, top, *size = visit.page.ask("showEditor")
    points = [(round(left + x * size[0]), round(top + y * size[1])) for x, y in (start, end)]
    visit.page.drag(*points)
    canvas = (BOXED["width"], BOXED["height"])
    return [(at[n] - (left, top)[n]) / size[n] * canvas[n] for at in points for n in (0, 1)]


def drawn(visit: Visit) -> list[list[int]]:
    """Sides of the boxes, the same in the file and in the prompt."""
    saved = visit.page.ask("places")
    (sent,) = (node["inputs"] for node in visit.page.ask("prompt").values() if "Boxes" in node["class_type"])
    assert sent["boxes"]["__value__"] == saved
    return [[one[side] for side in ("x", "y", "width", "height")] for one in saved]


@pytest.mark.both_hosts
def test_without_vue_nodes_boxes_are_lines_of_text(visit: Visit) -> None:
    """With classic nodes and in older frontends."""
    if visit.vue:
        pytest.skip("these nodes have an editor for boxes: test_a_box_lands_where_it_was_dropped")
    visit.load({"boxes": node("LikenessLayoutFromBoxes", **BOXED, text="Anna: 60, 80, 300, 500")})
    assert visit.run()["status"]["status_str"] == "success"
    assert not visit.page.evaluate("!!visitor.editor()")


@pytest.mark.both_hosts
def test_a_box_lands_where_it_was_dropped(visit: Visit) -> None:
    """Within a pixel of the canvas."""
    if not visit.vue:
        pytest.skip("these nodes have no editor for boxes")
    visit.red()
    boxes = node("LikenessLayoutFromBoxes", **BOXED, text="")
    visit.load({"boxes": boxes})
    visit.page.wait("!!visitor.editor()")
    visit.page.evaluate("document.querySelector('[data-testid=bounding-boxes] button').click()")  # no grid
    x0, y0, x1, y1 = drag(visit, (0.1, 0.1), (0.4, 0.8))
    assert drawn(visit) == [pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=1)]
    ((x, y, wide, high),) = drawn(visit)
    x0, y0, x1, y1 = drag(visit, (0.2, 0.5), (0.3, 0.56))
    assert drawn(visit) == [pytest.approx([x + x1 - x0, y + y1 - y0, wide, high], abs=1)]
    file, before = visit.page.ask("saved"), drawn(visit)
    group = node("LikenessLayoutForAGroup", count=2, framing="half", rows=0, width=1216, height=832)
    boxes["inputs"] |= {"bboxes": ["group", 0], "background": ["group", 1]}
    visit.load({"group": group, "boxes": boxes})
    visit.run()
    visit.page.wait("visitor.places().length == 2")
    (left, (x, y, wide, high)) = drawn(visit)
    x0, y0, x1, y1 = drag(visit, ((x + wide / 2) / 1216, 0.6), ((x + wide / 2) / 1216 - 0.05, 0.5))
    moved = [left, pytest.approx([x + x1 - x0, y + y1 - y0, wide, high], abs=33)]  # the grid is new with each node
    assert drawn(visit) == moved
    assert visit.run()["status"]["status_str"] == "success"
    assert drawn(visit) == moved
    visit.page.evaluate(f"app.loadGraphData({json.dumps(file)})")
    visit.page.wait("visitor.places().length == 1")
    assert drawn(visit) == before
    assert visit.red() == []


def test_a_box_drawn_in_identity_is_around_the_face_in_the_photo(visit: Visit, people: Graph) -> None:
    """The editor is folded away, has the photo of `image` behind it, and sends shares of a canvas of 1024x1024 px."""
    if not visit.vue:
        pytest.skip("these nodes have no editor for boxes")
    visit.load({name: people[name] for name in ("models", "photo", "yao", "cast")} | {
        "shown": node("PreviewImage", images=["cast", 1])})  # fmt: skip
    assert not visit.page.evaluate("!!visitor.editor()")
    identity = "app.graph._nodes.find(node => node.type == 'LikenessPerson')"
    visit.page.evaluate(f"void ({identity}.showAdvanced = true)")
    visit.page.wait("!!visitor.editor()")
    visit.page.evaluate("document.querySelector('[data-testid=bounding-boxes] button').click()")  # no grid
    left, top, width, height = visit.page.ask("showEditor")
    at = [(round(left + x * width), round(top + y * height)) for x, y in ((0.25, 0.25), (0.75, 0.75))]
    visit.page.drag(*at)
    (sent,) = (one["inputs"] for one in visit.page.ask("prompt").values() if one["class_type"] == "LikenessPerson")
    (box,) = sent["boxes"]["__value__"]
    sides = [box[side] for side in ("x", "y", "width", "height")]
    assert sides == pytest.approx([256, 256, 512, 512], abs=2 * 1024 / width)
    assert visit.run()["status"]["status_str"] == "success"
    report = visit.page.evaluate(f"{identity}.findInputSlot('background') == {identity}.findInputSlot('image')")
    assert report is True


def test_the_field_of_boxes_as_text_is_some_lines_high(visit: Visit) -> None:
    """With classic nodes, which give a field all the room that is left."""
    if visit.vue:
        pytest.skip("Vue nodes give a field its own height")
    visit.open_file(workflow.load(WORKFLOW.with_stem("id_patch_places_by_dragging")))
    visit.page.ask("settled")
    assert visit.page.evaluate("visitor.layoutText().computedHeight") < 150


def test_boxes_as_text_follow_the_boxes(visit: Visit) -> None:
    """Where they said the same; a text of one's own stays."""
    if not visit.vue:
        pytest.skip("these nodes have no editor for boxes")
    visit.open_file(workflow.load(WORKFLOW.with_stem("id_patch_places_by_dragging")))
    begun = visit.page.evaluate("visitor.layoutText().value").split("\n")
    drag(visit, (0.3, 0.5), (0.35, 0.55))
    anna, ben = visit.page.evaluate("visitor.layoutText().value").split("\n")
    (x, y, *_), _ = drawn(visit)
    assert anna.startswith(f"Anna: {x}, {y}, ") and [anna != begun[0], ben] == [True, begun[1]]
    assert anna in visit.page.evaluate("[...document.querySelectorAll('textarea')].map(field => field.value).join()")
    visit.page.evaluate("void (visitor.layoutText().value = '60, 80, 300, 500')")
    drag(visit, (0.35, 0.55), (0.3, 0.5))
    assert visit.page.evaluate("visitor.layoutText().value") == "60, 80, 300, 500"
