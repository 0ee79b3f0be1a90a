"""What a newcomer reads in a template: an error names the subgraph that hides its node and the field to set, and the
menu of Check Model Files calls templates by their titles."""

from collections.abc import Callable

import numpy as np
import pytest
import templates
import translations
from browser.canvas import Graph
from browser.fixtures import newest_often, own_often
from browser.visit import Visit
from marks import each
from pack.bridge.host import unet
from pack.bridge.people import face_model
from pack.core.checks.errors import (
    BadPhoto,
    BadSetup,
    FileOfOtherMethod,
    LikenessError,
    UnsupportedCheckpoint,
    WrongBaseModel,
)
from pack.core.faces import analysis, which
from pack.core.faces.finding import Detection
from pack.core.places import group, people_text
from shared import workflow

pytestmark = pytest.mark.browser
TITLES = translations.main_file("en")["templateWorkflows"]["template"]["likeness"]
INSIDE = "\u203a"
"""Between the titles of a subgraph and of a node in it."""
FOR_DRAWN_CHARACTERS = "ip_adapter_sd15_portrait", "ip_adapter_without_insightface"


KEYPOINTS = ((40.0, 50.0), (60.0, 50.0), (50.0, 60.0), (42.0, 70.0), (58.0, 70.0))
FACE = Detection((30.0, 30.0, 70.0, 80.0), KEYPOINTS, 0.9)
OTHER_FACE = FACE.moved(lambda point: (point[0] + 100, point[1]))


def template(stem: str) -> Graph:
    return workflow.load(templates.ROOT / "workflows" / f"{stem}.json")


def inside(graph: Graph, kind: str) -> tuple[str, str, str]:
    """Of the only node of a kind in a subgraph: its number as the host knows it, the title of the box, its own."""
    subgraphs = {subgraph["id"]: subgraph for subgraph in graph["definitions"]["subgraphs"]}
    for box in graph["nodes"]:
        for node in subgraphs.get(box["type"], {"nodes": []})["nodes"]:
            if node["type"] == kind:
                return f"{box['id']}:{node['id']}", box["title"], node.get("title", "")
    raise AssertionError(f"no {kind} in a subgraph")


def without_face(number: str, kind: str) -> Graph:
    """An error as the host tells it."""
    return {
        "node_id": number, "node_type": kind, "exception_type": "likeness.FaceNotFound",
        "exception_message": "No face found in the photo of person 1.", "traceback": [], "prompt_id": "1",
    }  # fmt: skip


@own_often
@pytest.mark.parametrize(
    "stem, kind",
    [
        ("start_two_people", "LikenessCastFromPhotos"),
        ("start_portrait", "LikenessCastFromPhotos"),
        ("start_person_in_photo", "LikenessCastFromPhotos"),
    ],
)
def test_a_photo_without_a_face_in_a_subgraph_names_it_and_where_boxes_are_drawn(
    visit: Visit, stem: str, kind: str
) -> None:
    """In templates of one person, and of two; the subgraph has no box."""
    if visit.server.host.version < (0, 33):
        pytest.skip("this frontend shows errors in a dialog")
    graph = template(stem)
    number, box, title = inside(graph, kind)
    visit.close_dialogs()
    visit.open_file(graph)
    visit.send("execution_error", without_face(number, kind))
    visit.toasts.await_count(f"{box} {INSIDE} {title}")
    toast = visit.toasts.with_words("No face found").text()
    portrait, two_people = (TITLES[stem] for stem in FOR_DRAWN_CHARACTERS)
    assert f"Boxes are drawn in the template “{portrait}”, for two people in “{two_people}”." in toast
    assert "Enter subgraph" not in toast
    visit.close_dialogs()


def several_faces() -> BadPhoto:
    """The error of a photo of which nobody has said whose face is meant."""
    with pytest.raises(BadPhoto) as raised:
        analysis.choose([FACE, OTHER_FACE], which.ONLY, "the photo of person 1")
    return raised.value


def of_another_method() -> FileOfOtherMethod:
    return FileOfOtherMethod("The id_patch input of Apply ID-Patch", "InstantID", "ID-Patch")


def without_detector() -> BadSetup:
    with pytest.raises(BadSetup) as raised:
        face_model._no_detector(np.zeros((8, 8, 3), np.uint8), 640)
    return raised.value


def odd_pixels() -> LikenessError:
    return refused(lambda: group.layout(2, "half", 0, 511, 384))


def no_person() -> LikenessError:
    return refused(lambda: people_text.read("woman 35, 150 cm\ngrl 6", 2))


def without_pack() -> LikenessError:
    return face_model._missing_error("The face pack antelopev2", "antelopev2")


def refused(call: Callable[[], object]) -> LikenessError:
    with pytest.raises(LikenessError) as raised:
        call()
    return raised.value


def of_sd15() -> WrongBaseModel:
    return WrongBaseModel("The MODEL", "SD1.5", "SDXL", unet.advice_between(768, 2048))


def of_sd15_net() -> WrongBaseModel:
    return WrongBaseModel("The control_net input", "SD1.5", "SDXL", "Choose one for SDXL.")


def of_text() -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint("a.bin", "text, not a model (26 bytes)", "ID-Patch", "Download it again.")


SAID_OF = [
    ("start_two_people", "LikenessCastFromPhotos", several_faces, "en", "“Group photo”: Which face."),
    ("start_portrait", "LikenessCastFromPhotos", several_faces, "en", "“Portrait of one person”: Which face."),
    ("start_two_people", "LikenessCastFromPhotos", several_faces, "zh", "“合影”: 用哪张脸."),
    ("start_two_people", "LikenessApplyIDPatch", of_another_method, "en", "“Group photo”: ID-Patch."),
    ("start_two_people", "LikenessCastFromPhotos", without_detector, "en", "“Group photo”: Face pack."),
    ("start_two_people", "LikenessLayoutForAGroup", odd_pixels, "en", "“Group photo”: Width, Height."),
    ("start_two_people", "LikenessLoadFaceEmbedder", without_pack, "en", "“Group photo”: Face pack."),
    ("start_two_people", "LikenessLayoutForAGroup", no_person, "en", "“Group photo”: People."),
    ("start_two_people", "LikenessLoadAdapter", of_another_method, "en", "“Group photo”: ID-Patch."),
    ("start_two_people", "LikenessLoadAdapter", of_text, "en", "“Group photo”: ID-Patch."),
    ("start_two_people", "LikenessApplyIDPatch", of_sd15_net, "en", "“Group photo”: ControlNet."),
    ("start_portrait", "LikenessApplyInstantID", of_sd15_net, "en", "“Portrait of one person”: ControlNet."),
    ("start_two_people", "LikenessLayoutForAGroup", odd_pixels, "zh", "“合影”: 宽度, 高度."),
    ("start_portrait", "LikenessApplyInstantID", of_sd15, "en", "“Portrait of one person”: Checkpoint."),
    ("start_person_in_photo", "LikenessApplyInstantID", of_sd15, "en", "“Face swap in a photo”: Checkpoint."),
]
"""A template, the node in it that fails, with what, the language of the page, and the field that people are told."""


@newest_often
@pytest.mark.parametrize(
    "stem, kind, error, language, advice", each(SAID_OF, [case for case in SAID_OF if "en" in case])
)
def test_an_error_names_the_field_of_the_subgraph_that_people_see(
    visit: Visit, stem: str, kind: str, error: Callable[[], LikenessError], language: str, advice: str
) -> None:
    """Of the node that has failed, or of one that it depends on, and not how the subgraph is opened."""
    if visit.server.host.version < (0, 33):
        pytest.skip("this frontend shows errors in a dialog")
    graph = template(stem)
    number, _, _ = inside(graph, kind)
    failed = {**without_face(number, kind), "exception_type": "likeness.BadInput", "exception_message": str(error())}
    try:
        if language != "en":
            visit.open(language)
        visit.close_dialogs()
        visit.open_file(graph)
        visit.send("execution_error", failed)
        lines = str(error()).splitlines()[0], f"Set it on the subgraph {advice}"
        message, way = lines if language == "en" else map(translations.message_in_chinese, lines)
        if language == "en":
            message = translations.with_labels(message, kind)
        toast = visit.toasts.with_words(way).text()
        assert message.replace("。 ", "。") in toast
        assert "Enter subgraph" not in toast
    finally:
        visit.close_dialogs()
        if language != "en":
            visit.open()


def test_a_menu_of_templates_shows_titles(visit: Visit) -> None:
    """Vue nodes ask once for the names of a menu."""
    stem = "start_portrait"
    visit.load({"check": {"class_type": "LikenessCheckModelFiles", "inputs": {"workflow": stem}}})
    assert visit.canvas.node(1).option_label("workflow") == TITLES[stem]
    if visit.vue:
        visit.await_text(TITLES[stem])


UNREADABLE = [
    ("ControlNetLoader", "control_net_name", "controlnet", "“Group photo”: ControlNet."),
    ("CheckpointLoaderSimple", "ckpt_name", "checkpoints", "“Group photo”: Checkpoint."),
]
"""Of *start_two_people*: a loader of the host, its menu, the folder that this lists, and the field that people read."""
LISTS_ANEW = "app.refreshComboInNodes().then(() => true)"


@newest_often
@pytest.mark.parametrize("kind, menu, folder, field", UNREADABLE)
def test_a_loader_of_the_host_that_fails_is_told_as_ours_are(
    visit: Visit, kind: str, menu: str, folder: str, field: str
) -> None:
    """What the file is, what to do, and the field of the subgraph."""
    if visit.server.host.version < (0, 33):
        pytest.skip("the box has other inputs there")
    graph = template("start_two_people")
    number, box, _ = inside(graph, kind)
    page_of_a_site = visit.server.base / "models" / folder / "half.safetensors"
    page_of_a_site.parent.mkdir(parents=True, exist_ok=True)
    page_of_a_site.write_bytes(b"<!DOCTYPE html><html>not found</html>")
    visit.page.route("**/api/prompt", lambda route: route.fulfill(json={"prompt_id": "1", "number": 1}))
    try:
        visit.close_dialogs()
        visit.open_file(graph)
        visit.page.evaluate(LISTS_ANEW)
        (outside,) = (one["id"] for one in graph["nodes"] if one.get("title") == box)
        visit.canvas.node(outside).set_value(menu, page_of_a_site.name)
        visit.click_run()
        failed = {**without_face(number, kind), "exception_type": "RuntimeError", "exception_message": "header"}
        visit.send("execution_error", failed)
        toast = visit.toasts.with_words("Set it on the subgraph").text()
        assert f"{page_of_a_site} is a web page (HTML) saved under a model's name (37 bytes)." in toast
        assert "Download it again." in toast
        assert f"Set it on the subgraph {field}" in toast
        assert box in toast
    finally:
        page_of_a_site.unlink()
        visit.page.evaluate(LISTS_ANEW)  # later tests choose what is there
        visit.page.unroute("**/api/prompt")
        visit.close_dialogs()
