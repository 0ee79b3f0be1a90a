"""In an editor of another language every field, node and word of a list that a message of ours names has the label
behind it that this editor shows; in English every message stays as it is."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import real_faces
import translations
from browser.canvas import Graph
from browser.visit import Visit

pytestmark = pytest.mark.xdist_group("browser")

NODES = translations.read("zh")
OPTIONS = translations.table("zh", translations.OPTIONS)
BUTTONS = translations.table("zh", translations.BUTTONS)
LABELS = translations.table("zh")


def labelled(name: str, label: str) -> str:
    return f"{name} ({label})"


def title(node_id: str, english: str) -> str:
    return labelled(english, re.sub(r" *[(（].*", "", NODES[f"{node_id}/display_name"]))


def field(node_id: str, input_id: str, english: str = "") -> str:
    return labelled(english or input_id, NODES[f"{node_id}/inputs/{input_id}/name"])


def option(word: str) -> str:
    return labelled(word, OPTIONS[word])


PERSON, PLACE_CAST = "LikenessPerson", "LikenessPlaceCast"
INSTANT_ID, GROUP = "LikenessApplyInstantID", "LikenessLayoutForAGroup"

ORDER = f"order ({NODES[f'{PLACE_CAST}/inputs/order/name']}, {LABELS['Who is where']})"
MESSAGES = {
    "a label and an id of one field": (
        PERSON,
        "Set Which face (which_face) to the number of the face.",
        f"Set {field(PERSON, 'which_face', 'Which face')} to the number of the face.",
    ),
    "words that are offered": (
        PERSON,
        "on_no_face is 'stop', which this node does not know. Choose one of: error, skip.",
        f"{field(PERSON, 'on_no_face')} is 'stop', which this node does not know. "
        f"Choose one of: {option('error')}, {option('skip')}.",
    ),
    "a field, its label on a box, and a word of its list": (
        PLACE_CAST,
        "Add people or places, or set order (Who is where) to custom and write custom_order.",
        f"Add people or places, or set {ORDER} to {option('custom')} and write {field(PLACE_CAST, 'custom_order')}.",
    ),
    "an input of another node": (
        "LikenessCast",
        "The cast input of Place Cast is empty; make it with Cast, from Person or Load Person.",
        f"The {field(PLACE_CAST, 'cast')} input of {title(PLACE_CAST, 'Place Cast')} is empty; make it with "
        f"{title('LikenessCast', 'Cast')}, from {title(PERSON, 'Person')} or "
        f"{title('LikenessLoadPerson', 'Load Person')}.",
    ),
    "two fields of one word": (
        GROUP,
        "Set width and height to 512x512, or use body = full or half.",
        f"Set {field(GROUP, 'width')} and {field(GROUP, 'height')} to 512x512, or use "
        f"{field('LikenessLayoutFromPicture', 'body')} = {option('full')} or {option('half')}.",
    ),
    "a place of a method": (
        INSTANT_ID,
        "acts_in at face boxes needs the face of Anna.",
        f"{field(INSTANT_ID, 'acts_in')} at {option('face boxes')} needs the face of Anna.",
    ),
    "a button of the editor": (
        PERSON,
        "In Person, drawn under Show advanced inputs.",
        f"In {title(PERSON, 'Person')}, drawn under "
        f"{labelled('Show advanced inputs', BUTTONS['Show advanced inputs'])}.",
    ),
    "words that are no names": (
        PERSON,
        "Person 2 of the cast has a photo whose width is small. A place in the layout is left empty.",
        f"{field('LikenessCast', 'person_2', 'Person 2')} of the cast has a photo whose width is small. "
        "A place in the layout is left empty.",
    ),
}


def node(kind: str, **inputs: Any) -> Graph:
    return {"class_type": kind, "inputs": inputs}


@pytest.fixture
def two_in_one_photo(visit: Visit) -> Graph:
    """A Person whose photo shows two people."""
    pair = visit.server.upload_image(real_faces.TEAM)
    return {
        "models": node("LikenessLoadFaceEmbedder", pack="buffalo_sc", recognisers="all found", provider="CPU"),
        "photo": node("LoadImage", image=pair),
        "person": node(
            PERSON, face_model=["models", 0], image=["photo", 0], name="Yao", which_face="only", on_no_face="error"
        ),
        "shown": node("PreviewImage", images=["person", 1]),
    }


@pytest.fixture
def in_chinese(visit: Visit) -> Iterator[Visit]:
    visit.open("zh")
    yield visit
    visit.open()


def after_event(visit: Visit, event: str, detail: Any, name: str) -> str:
    """One entry of what the host tells a page, as those read it who listen for as long as the editor does."""
    return visit.page.evaluate(
        """([event, detail, name]) => {
            let heard;
            const listen = told => { heard = told.detail[name]; };
            app.api.addEventListener(event, listen);
            app.api.dispatchCustomEvent(event, detail);
            app.api.removeEventListener(event, listen);
            return heard;
        }""",
        [event, detail, name],
    )


def run_error(kind: str, message: str) -> Graph:
    """As the host tells it."""
    return {
        "node_id": "9", "node_type": kind, "exception_type": "likeness.BadInput", "exception_message": message,
        "traceback": [], "prompt_id": "1",
    }  # fmt: skip


@pytest.mark.both_hosts
@pytest.mark.thorough_with("newest")
def test_errors_and_notes_name_what_a_chinese_editor_shows(in_chinese: Visit) -> None:
    visit = in_chinese
    visit.load({"cast": node("LikenessCast"), "image": node("EmptyImage", width=64, height=64, batch_size=1, color=0)})
    cast = visit.canvas.node_of("LikenessCast")
    for topic, (kind, message, expected) in MESSAGES.items():
        text_shown = after_event(visit, "execution_error", run_error(kind, message), "exception_message")
        assert text_shown == expected, topic
        # A note that is shown again is not labelled again.
        again = after_event(visit, "execution_error", run_error(kind, text_shown), "exception_message")
        assert again == expected, topic
    note = {"nodeId": str(cast.id), "text": "Raise weight_1 in Cast."}
    text_shown = after_event(visit, "progress_text", note, "text")
    labelled_note = f"Raise {field('LikenessCast', 'weight_1')} in {title('LikenessCast', 'Cast')}."
    assert text_shown == labelled_note
    assert cast.note() == labelled_note
    message_of_other = after_event(
        visit, "execution_error", run_error("LoadImage", "Set which_face in Person."), "exception_message"
    )
    assert message_of_other == "Set which_face in Person.", "a message of another node is not ours to change"
    visit.close_dialogs()


@pytest.mark.both_hosts
@pytest.mark.thorough_with("newest")
def test_a_run_that_fails_names_the_fields_in_chinese(in_chinese: Visit, two_in_one_photo: Graph) -> None:
    """In the host's own words of it as well: its list of errors, or its dialog."""
    visit = in_chinese
    visit.load(two_in_one_photo)
    assert visit.run()["status"]["status_str"] == "error"
    expected = f"Set {field(PERSON, 'which_face', 'Which face')} to the number of the face that is meant"
    visit.await_text(expected)
    assert "Which face (which_face)" not in visit.text()
    load_image = visit.page.evaluate("LiteGraph.registered_node_types.LoadImage.title")
    message = run_error(PERSON, "Use Load Image.")
    assert after_event(visit, "execution_error", message, "exception_message") == f"Use Load Image ({load_image})."
    visit.close_dialogs()


@pytest.mark.both_hosts
@pytest.mark.thorough_with("newest")
def test_in_english_messages_stay_as_they_are(visit: Visit) -> None:
    for kind, message, _ in MESSAGES.values():
        assert after_event(visit, "execution_error", run_error(kind, message), "exception_message") == message
    visit.close_dialogs()


CHECK_FILES = "LikenessCheckModelFiles"
ENGLISH = "[a-z]+ (?:[a-z]+|[A-Z][A-Za-z]*) [a-z]+"
"""Three words in a row: names of files and models have fewer."""


@pytest.mark.both_hosts
@pytest.mark.thorough_with("newest")
def test_check_files_speaks_chinese(in_chinese: Visit) -> None:
    visit = in_chinese
    visit.load({"check": node(CHECK_FILES, workflow="start templates")})
    assert visit.run()["status"]["status_str"] == "success"
    sentences = translations.table("zh", translations.SENTENCES)
    visit.await_text(sentences["missing"])
    rows = visit.page.locator("details").all_inner_texts()
    headings = [row.splitlines()[0] for row in rows if row]
    assert any(heading.endswith("缺少的文件 (1)") or "缺少的文件 (" in heading for heading in headings), headings
    for text in ("Missing for", "To fix", "In place", "is not there", "size not stated", "into "):
        assert not any(text in row for row in rows), (text, rows)
    for text in visit.page.locator("details td > div, details summary").all_text_contents():
        without_files = re.sub(r"\S*[/.\\]\S*", "", text)
        assert not re.search(ENGLISH, without_files), text
    for report in (visit.text(), visit.canvas.node(1).note()):
        assert "入门模板 还需处理" in report
    visit.close_dialogs()
