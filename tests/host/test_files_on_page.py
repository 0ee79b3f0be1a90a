"""What the page says of model files and of packs that are not installed: in toasts, in an app, on Check Model Files."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import playwright.sync_api as playwright
import pytest
import translations
from browser.canvas import Graph, node
from browser.fixtures import newest_often, own_often
from browser.visit import WINDOW, Visit, labels_asked_for
from pack.core.models import workflow_needs
from shared import workflow
from shared.choices import as_prompt

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "workflows" / "start_two_people.json"
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
    opened = (("start_outfit", 0), ("start_portrait", 1), ("start_outfit", 0), ("start_person_in_photo", 1))
    for name, count in opened:
        graph = workflow.load(WORKFLOW.with_stem(name))
        (checkpoint,) = (file.name for file in workflow_needs.loaded(as_prompt(graph)) if file.key == "checkpoints")
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


@own_often
def test_a_comfyui_that_is_too_old_is_told_as_the_workflow_opens(visit: Visit) -> None:
    """Its own loader says of the file that it cannot detect its type."""
    visit.close_dialogs()
    visit.open_file(workflow.load(WORKFLOW.with_stem("references_qwen_2_1_three_people")))
    is_older = visit.server.host.version < (0, 36)
    visit.toasts.await_count("Qwen-Image 2.1 needs ComfyUI 0.36 or newer", 1 if is_older else 0)
    visit.close_dialogs()


OF_OTHER_PACKS = [
    ("ApplyInstantID", "coming_from_comfyui_instantid.md"),
    ("ApplyInstantIDAdvanced", "coming_from_comfyui_instantid.md"),
    ("IPAdapterFaceID", "coming_from_ipadapter_plus.md"),
    ("ApplyPulid", "coming_from_ipadapter_plus.md#pulid"),
    ("ApplyPulidFlux", "coming_from_ipadapter_plus.md#pulid"),
    ("PulidEvaClipLoader", "coming_from_ipadapter_plus.md#pulid"),
    ("IPAdapterUnifiedLoader: PLUS FACE (portraits)", "coming_from_ipadapter_plus.md#plus-face"),
    ("IPAdapterModelLoader: ip-adapter_sd15.safetensors", ""),
    ("ReActorFaceSwap", "coming_from_reactor.md"),
    ("Other", ""),
]
"""A node of another pack, with what is set on it, and the page that the message names."""


@newest_often
def test_a_workflow_of_another_pack_is_told_which_page_helps(visit: Visit) -> None:
    """For as long as the pack is not installed and nobody has closed it."""
    visit.close_dialogs()
    for boxed, (old, page) in itertools.product((False, True), OF_OTHER_PACKS):
        visit.open_file(holding(old, boxed))
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


def holding(node_and_value: str, boxed: bool) -> Graph:
    """A workflow with one node of OF_OTHER_PACKS, inside of a subgraph where it is boxed."""
    kind, _, value = node_and_value.partition(": ")
    old = {"id": 1, "type": kind, "pos": [400, 0], "size": [200, 80], "widgets_values": [value]}
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
    error. It says anew what has become of its files when R is pressed, and goes once other files are chosen."""
    visit.resize(1366, 768)
    try:
        visit.close_dialogs()
        graph = workflow.load(WORKFLOW.with_stem("people_cast_from_photos"))
        (checkpoint,) = (file.name for file in workflow_needs.loaded(as_prompt(graph)) if file.key == "checkpoints")
        sdxl = next(name for name in visit.server.get("/models/checkpoints") if "sdxl" in name)
        graph = json.loads(json.dumps(graph).replace(checkpoint, sdxl).replace("antelopev2", "buffalo_sc"))
        visit.open_file(graph)
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
        visit.page.locator("dialog[open]").evaluate("window => window.close()")
        menu = "control_net_name"
        (box,) = (one["id"] for one in graph["nodes"] if menu in [slot["name"] for slot in one["inputs"]])
        visit.page.route("**/likeness/missing", as_in_another_place)
        visit.page.evaluate("app.refreshComboInNodes().then(() => true)")
        visit.toasts.await_count("missing or not in order")
        visit.page.unroute("**/likeness/missing")
        visit.canvas.node(box).set_value(menu, visit.server.get("/models/controlnet")[0])
        visit.canvas.note_change()
        visit.toasts.await_count("missing", 0)
    finally:
        visit.close_dialogs()
        visit.resize(*WINDOW)


@newest_often
def test_files_are_looked_for_that_would_be_loaded(visit: Visit) -> None:
    """Not those of nodes that are off; and a node of ours that is gone is known by its type."""
    kinds = {"LoraLoader": 4, "CheckpointLoaderSimple": 0, "LikenessApplyOfOld": 0, "LikenessCast": 2}
    nodes = [
        {"id": number, "type": kind, "pos": [400 * number, 0], "size": [300, 100], "mode": mode}
        for number, (kind, mode) in enumerate(kinds.items())
    ]
    posted: list[Any] = []

    def keep(request: playwright.Request) -> None:
        if request.url.endswith("/likeness/missing"):
            posted.append(request.post_data_json)

    visit.page.on("request", keep)
    try:
        visit.open_file({"nodes": nodes, "links": [], "version": 0.4})
        visit.await_true(lambda: bool(posted))
    finally:
        visit.page.remove_listener("request", keep)
        visit.close_dialogs()
    assert [node["class_type"] for node in posted[0].values()] == ["CheckpointLoaderSimple", "LikenessApplyOfOld"]


def as_in_another_place(route: playwright.Route) -> None:
    """The host's answer, as if one of the files that are missing had come into another folder."""
    answer = route.fetch()
    route.fulfill(response=answer, json={**answer.json(), "all_missing": False})


@pytest.mark.both_hosts
@own_often
def test_the_check_shows_links_and_copies_them(visit: Visit) -> None:
    """And what is saved and sent stays the same."""
    visit.load({"check": node("LikenessCheckModelFiles", workflow="start_portrait")})
    before = sent_and_saved_by_check(visit)
    visit.run()
    links_on_the_page = visit.page.locator("td a[target=_blank][rel~=noopener]")
    visit.await_true(lambda: links_on_the_page.count() > 1)
    links = addresses(visit, "td a[target=_blank][rel~=noopener]")
    assert next(link for link in links if link.endswith("/antelopev2.zip")).startswith("https://github.com/")
    visit.await_text("Missing for InstantID")
    copied = copy_addresses(visit)
    assert copied.split("\n") == list(dict.fromkeys(links))
    assert sent_and_saved_by_check(visit) == before
    assert before == [{"workflow": "start_portrait"}, ["start_portrait"]]
    title = translations.main_file("en")["templateWorkflows"]["template"]["likeness"]["start_portrait"]
    assert visit.canvas.node(1).option_label("workflow") == title
    assert visit.red() == []


def sent_and_saved_by_check(visit: Visit) -> list[Any]:
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


@newest_often
def test_in_an_app_toasts_cover_nothing_and_the_check_shows_links(visit: Visit) -> None:
    """Neither photos nor ComfyUI's message are covered; its links are in a window, and no toast repeats it."""
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
