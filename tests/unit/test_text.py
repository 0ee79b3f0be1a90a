"""Whatever people type or files bring becomes one line that every console, log and picture can take."""

from collections.abc import Callable

import pytest
import torch
import translations
from pack.core.cast import Cast, Member, Person, require_places
from pack.core.checks.errors import (
    BadChoice,
    BadPhoto,
    FaceNotFound,
    FileOfOtherMethod,
    LikenessError,
    ModelMissing,
    WrongBaseModel,
    counted,
    first_few,
    joined,
    listed,
)
from pack.core.checks.prompts import per_person
from pack.core.checks.text import names_in, plain
from pack.core.faces import analysis
from pack.core.faces.finding import Detection
from pack.core.faces.which import which_face
from pack.core.places import group, people_text, placing
from pack.core.places.actions import ACTIONS


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("  Änne\tvan  der 王小明 \n", "Änne van der 王小明"),
        ("Zoë 👩‍👩‍👧 مريم ‌می‌خواهم नेहा O'Neil <3 & co.", "Zoë 👩‍👩‍👧 مريم ‌می‌خواهم नेहा O'Neil <3 & co."),
        ("\x1b[2J\x1b]0;owned\x07Anna\x9b31m\x00", "[2J ]0;owned Anna 31m"),
        ("Anna\r\n[INFO] all\u2028is\u0085well", "Anna [INFO] all is well"),
        ("\u202eannA\u2066", "annA"), ("An\ud800na", "An na"), (None, ""), (5, "5"),
    ],
)  # fmt: skip
def test_letters_stay_and_what_steers_goes(typed: object, line: str) -> None:
    assert plain(typed) == line
    assert plain(line).encode() == line.encode()


def test_a_message_is_headed_by_the_pack_and_not_by_the_path_of_a_file() -> None:
    classes = [LikenessError, *LikenessError.__subclasses__()]
    assert {kind.__module__ for kind in classes} == {"likeness"}
    assert len(classes) > 10


def test_a_long_name_ends_in_dots_and_is_as_long_as_asked_for() -> None:
    assert plain("Maximiliane", 11) == "Maximiliane"
    assert plain("Maximiliane", 10) == "Maximil..."


@pytest.mark.parametrize(
    ("typed", "photos", "words"),
    [
        ("largest", 3, ["largest"] * 3), ("3,1", 2, ["3", "1"]), ("3,1", 3, ["3", "1", "only"]),
        (" 2\uff0c Largest,, 0", 4, ["2", "largest", "only", "only"]),
        ("\u0663\u060c \u0661; 2,", 4, ["3", "1", "2", "only"]),
        ("2 '\uff11' \u201clargest\u201d", 4, ["2", "1", "largest", "only"]),
    ],
)  # fmt: skip
def test_which_face_of_each_photo(typed: str, photos: int, words: list[str]) -> None:
    which = which_face(typed)
    which.check_photos(photos)
    assert [which.word_for_photo(number) for number in range(1, photos + 1)] == words


@pytest.mark.parametrize(
    "between", [", ", "\uff0c", "\uff64", "\u060c ", "\U0001144d", "; ", "\U0001da89", "\n", ",\r\n", ";\n\n "]
)
def test_whatever_people_write_between_names(between: str) -> None:
    assert names_in(f" \u200fAnna{between}Ben\u200e\n") == ["Anna", "Ben"]
    assert names_in(f"{between.strip() or ','}Ben,, Ida") == ["", "Ben", "", "Ida"]


def test_which_face_speaks_of_no_more_photos_than_there_are() -> None:
    which_face("2").check_photos(0)
    which_face("2,1,0,").check_photos(2)
    with pytest.raises(BadPhoto, match="'2,1,3', which speaks of 3 photos, and there are 2 photos"):
        which_face("2,1,3").check_photos(2)
    assert which_face("2,largest,0,7").without_photo({1, 3}) == ["the largest face of photo 2", "face 7 of photo 4"]
    for text in ("first", "1.5", "²", "9" * 5000):
        with pytest.raises(BadChoice, match=text[:50]):
            which_face(text)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [([], ""), (["Anna"], "Anna"), (["Anna", "Ben"], "Anna and Ben"), (["Anna", "Ben", "Ida"], "Anna, Ben and Ida")],
)
def test_names_in_a_sentence(names: list[str], sentence: str) -> None:
    assert joined(names) == sentence
    assert joined(names, "or") == sentence.replace(" and ", " or ")


def test_a_note_has_eight_names_and_says_how_many_more_there_are() -> None:
    names = [f"person {number}" for number in range(1, 13)]
    assert listed(first_few(names[:8])) == ", ".join(names[:8])
    assert listed(first_few(names)) == ", ".join([*names[:8], "4 more"])


def test_what_is_counted_is_in_the_right_number() -> None:
    phrases = [counted(number, "place") for number in (0, 1, 2)] + [counted(3, "person", "people")]
    assert phrases == ["0 places", "1 place", "2 places", "3 people"]


def raised(call: Callable[[], object]) -> LikenessError:
    with pytest.raises(LikenessError) as error:
        call()
    return error.value


FACE = Detection((30.0, 30.0, 70.0, 80.0), ((40.0, 50.0),) * 5, 0.9)
CAST = Cast((Member(Person("Anna", {}, torch.zeros(0, 112, 112, 3)), number=1),))
LAYOUT = group.layout(3, "bust", 0, 1024, 768)
MET: dict[str, Callable[[], object]] = {
    "two faces": lambda: analysis.choose([FACE, FACE], "only", "the photo of Anna"),
    "face 3 of two": lambda: analysis.choose([FACE, FACE], "3", "photo 2 of 3 of Anna"),
    "more numbers than photos": lambda: which_face("2,1,3").check_photos(2),
    "nobody has a place": lambda: require_places(CAST, "Place Cast"),
    "people and places": lambda: placing.assign(CAST, LAYOUT, "as listed", ""),
    "a custom order": lambda: placing.assign(CAST, LAYOUT, "custom", "1,0"),
    "too many rows": lambda: group.layout(2, "bust", 3, 1024, 768),
    "too small a canvas": lambda: group.layout(9, "full", 0, 256, 256),
    "a size of odd pixels": lambda: group.layout(2, "bust", 0, 511, 384),
    "a word that no person is": lambda: people_text.read("grl 6", 2),
    "two ages in one line": lambda: people_text.read("girl 6, 40", 2),
    "a line too many": lambda: people_text.read("girl\nboy\nman", 2),
    "a photo too few": lambda: people_text.read("girl\nboy\nman", 2, CAST),
    "a left of two rows": lambda: group.layout(6, "full", 2, 1024, 768, people=people_text.read("left: sits", 6)),
    "nobody in the middle": lambda: people_text.read("middle: sits", 2),
    **{
        text: lambda text=text: people_text.read(text, 2, CAST)
        for text in (
            "Cleo: sits",
            "man lying",
            "1,65",
            "boy 4 ft 8",
            "180",
            "tall man",
            "old: sits",
            "old boy",
            "1: taller than 1",
            "1: 6.5",
            "man 180 cm 190 cm",
            "left, right",
            "Anna: sits, right: taller than 1, 1,70 m",
        )
    },
    "a face that is no number": lambda: which_face("left"),
    "a line about nobody": lambda: per_person("Cleo: smiling", ["Anna", "Ben"], "the prompts"),
    "a line without a colon": lambda: per_person("smiling", ["Anna", "Ben"], "the prompts"),
}
"""What a newcomer meets first."""
TOLD = {
    "no face": FaceNotFound("the photo of Anna", 640, 480, boxable=True),
    "no face in the faces of Detect Faces": FaceNotFound("photo 2 of 3 of Anna", 640, 480, boxable=False),
    "a file": ModelMissing(
        "ID-Patch projections", ["id-patch.bin"], ["/models"], "https://x.org/a", "1 GB", "File (file)"
    ),
    "two files": ModelMissing(
        "Parts2Whole", ["a", "b"], ["/models", "/more"], "https://x.org/a", "1 GB", "File (file)"
    ),
    "no face pack": ModelMissing(
        "The face pack a", ["a.onnx"], ["/models"], "https://x.org/a", "1 GB", "Face pack (pack)"
    ),
    "a file of another method": FileOfOtherMethod("The id_patch input of Apply ID-Patch", "InstantID", "ID-Patch"),
    "another family": WrongBaseModel("The ControlNet given to Apply ID-Patch", "SD1.5", "SDXL"),
    "an unknown word": BadChoice("Which face (which_face)", "first", ["only", "largest"]),
}


@pytest.mark.parametrize("error", [*TOLD.values(), *MET.values()], ids=[*TOLD, *MET])
def test_what_a_newcomer_meets_is_said_in_chinese(error: LikenessError | Callable[[], object]) -> None:
    message = str(error if isinstance(error, LikenessError) else raised(error))
    chinese = translations.message_in_chinese(message)
    for action in ACTIONS:  # which one types
        chinese = chinese.replace(action, "")
    assert not translations.ENGLISH.search(chinese), message
