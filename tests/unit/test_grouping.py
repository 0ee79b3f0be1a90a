"""Faces sorted into people: average linkage, names of files, and what people write to correct it."""

import time

import pytest
import torch
from pack.core.cast import Face
from pack.core.checks.errors import BadCast
from pack.core.grouping import sorting
from pack.core.grouping.clusters import similarities
from pack.core.grouping.corrections import apply_corrections
from pack.core.grouping.file_names import name_of
from pack.core.grouping.naming import names_of_faces
from pack.core.grouping.photo_faces import PhotoFace

FILES = ["anna_1.jpg", "anna 2.png", "IMG_2031.jpg", "ben.jpg", "party.jpg", "cup.png"]
"""The fifth photo shows Anna and Ben, the last nobody."""
PEOPLE = [0, 0, 1, 1, 0, 1]
AABBAB = ["Anna", "Anna", "Ben", "Ben", "Anna", "Ben"]


def face(person: int, alike: float = 0.9) -> Face:
    """Of one of four people; two faces of one person have the cosine alike^2, others 0."""
    row = torch.zeros(512)
    row[person] = alike
    row[100 + int(torch.randint(400, ()))] = (1 - alike**2) ** 0.5
    return Face((0, 0, 200, 200), ((0.0, 0.0),) * 5, 0.9, torch.zeros(112, 112, 3), {"made": row})


@pytest.fixture
def photo_faces() -> list[PhotoFace]:
    torch.manual_seed(1)
    alone = [PhotoFace(n, 0, FILES[n - 1], face(PEOPLE[n - 1])) for n in range(1, 5)]
    return [*alone, *(PhotoFace(5, part, FILES[4], face(PEOPLE[3 + part])) for part in (1, 2))]


def names_of(photo_faces: list[PhotoFace], text: str = "", names: str = "", by_face: bool = True) -> list[str]:
    chosen_names = [name.strip() for name in names.split(",")]
    return list(sorting.sort_faces(photo_faces, FILES, by_face, 0.4, chosen_names, text).names)


def test_every_recogniser_counts_alike() -> None:
    """Two faces with the cosines 0.8 and 0.2 by two recognisers of different lengths."""
    first = torch.zeros(512)
    second = torch.zeros(512)
    first[0] = 3.0
    second[0] = 0.8
    second[1] = 0.6
    third = torch.zeros(512)
    fourth = torch.zeros(512)
    third[0] = 0.5
    fourth[0] = 0.2
    fourth[1] = (1 - 0.2**2) ** 0.5
    points = ((0.0, 0.0),) * 5
    faces = []
    for embeddings in ({"one": first, "two": third}, {"one": second, "two": fourth}):
        faces.append(Face((0, 0, 200, 200), points, 0.9, torch.zeros(112, 112, 3), embeddings))
    assert similarities(faces)[0, 1] == pytest.approx(0.5, abs=1e-6)


def test_names_of_files_are_names_of_people_or_nothing() -> None:
    for file, name in {
        "anna_1.jpg": "Anna", "anna-maria (3).webp": "Anna Maria", "McDonald2.jpg": "McDonald", "丽.png": "丽",
        "IMG_2031.jpg": "", "20230101_1234.jpg": "", "P1010234.JPG": "", "3f2a9cde.jpg": "", "照片1.jpg": "", "...": "",
        "WhatsApp Image 2023-01-01 at 10.20.30.jpeg": "", "anna/me.jpg": "Anna", "Dr. No/1.jpg": "Dr No",
        "2023/anna_1.jpg": "Anna", "photos/1.jpg": "",
    }.items():  # fmt: skip
        assert name_of(file) == name


def test_groups_are_named_by_their_files_by_hand_or_by_number(photo_faces: list[PhotoFace]) -> None:
    assert names_of(photo_faces) == AABBAB
    assert names_of(photo_faces, names="Eve") == ["Eve", "Eve", "Ben", "Ben", "Eve", "Ben"]
    assert names_of(photo_faces, names="-") == ["-", "-", "Ben", "Ben", "-", "Ben"]
    assert names_of(photo_faces, names="Eve, eve") == ["Eve"] * 6, "one name is one person, however it is spelled"
    spread = names_of_faces(photo_faces, [[0, 4], [1], [2, 3, 5]], [])
    assert spread == ["person 1", "person 2", "Ben", "Ben", "person 1", "Ben"], "half of a name's photos say nothing"
    in_folders = [PhotoFace(n, 0, f"anna/{n}.jpg", face(0)) for n in (1, 2, 3)]
    in_folders += [PhotoFace(n, 0, f"party/{name}.jpg", face(1)) for n, name in ((4, "ben 1"), (5, "eve 1"))]
    assert names_of_faces(in_folders, [[0, 1], [2], [3], [4]], []) == ["Anna", "Anna", "person 2", "Ben", "Eve"]


def test_one_per_photo_joins_only_photos_of_one_name_that_look_alike(photo_faces: list[PhotoFace]) -> None:
    separate = ["person 2", "Ben", "person 4", "person 5"]
    assert names_of(photo_faces, by_face=False) == ["Anna", "Anna", *separate]
    unlike_faces = [photo_faces[0], PhotoFace(2, 0, FILES[1], face(3)), *photo_faces[2:]]
    assert names_of(unlike_faces, by_face=False)[:2] == ["person 1", "person 2"]


def test_two_faces_of_one_photo_are_never_one_person() -> None:
    """Twins, and a photo with its mirror image."""
    torch.manual_seed(2)
    twins = [PhotoFace(1, 1, "", face(0, 1)), PhotoFace(1, 2, "", face(0, 1)), PhotoFace(2, 0, "", face(0, 1))]
    sorted_faces = sorting.sort_faces(twins, ["", ""], True, 0.4, [], "")
    assert sorted_faces.names[0] != sorted_faces.names[1]
    assert sorted_faces.names[2] in sorted_faces.names[:2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2: Ben", "Anna Ben Ben Ben Anna Ben"), ("1, 2: Zoe; 5.1: -", "Zoe Zoe Ben Ben - Ben"),
        ("IMG_2031.jpg: Zoe\n\nben: -", "Anna Anna Zoe - Anna -"), ("5: -", "Anna Anna Ben Ben - -"),
        ("party.jpg.2: Zoe", "Anna Anna Ben Ben Anna Zoe"),
        ("\uff15\uff0e\uff12: \u201cZoe\u201d", "Anna Anna Ben Ben Anna Zoe"),
        ("'anna': \u300cZoe\u300d\uff0c '\u0662': Ben", "Zoe Ben Ben Ben Zoe Ben"),
        ("Anna: Zoe\nzoe: Eve", "Eve Eve Ben Ben Eve Ben"),
        ("2: Ben,\u200b", "Anna Ben Ben Ben Anna Ben"),
    ],
)  # fmt: skip
def test_corrections(photo_faces: list[PhotoFace], text: str, expected: str) -> None:
    assert names_of(photo_faces, text) == expected.split()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7: Ben", "'7: Ben' speaks of 7, but of 6 photos none has that number or name, and no person"),
        ("5: Ben", "photo 5 with 2 faces. Write 5.1, 5.2."), ("6: Ben", "photo 6, in which no face was found"),
        ("2", "'2' does not say who that is"), ("2: 1", "gives no name"), (": Ben", "does not say which photo that is"),
    ],
)  # fmt: skip
def test_corrections_that_say_nothing_are_refused(photo_faces: list[PhotoFace], text: str, message: str) -> None:
    with pytest.raises(BadCast) as caught:
        names_of(photo_faces, text)
    assert message in str(caught.value)


def test_thousands_of_corrections_of_hundreds_of_photos_take_no_time() -> None:
    """Each looked at the name of every photo anew."""
    files = [f"{number}.jpg" for number in range(500)]
    faces = [PhotoFace(number, 0, file, face(0)) for number, file in enumerate(files, 1)]
    began = time.process_time()
    corrected = apply_corrections(
        faces, files, files, "\n".join(f"{number}: Ben" for number in range(1, 501)) + "\n3: Al" * 4000
    )
    assert time.process_time() - began < 5
    assert corrected == ["Ben"] * 2 + ["Al"] + ["Ben"] * 497


def test_what_may_be_wrong_is_said_and_everything_reported(photo_faces: list[PhotoFace]) -> None:
    with_a_copy = [*photo_faces, PhotoFace(7, 0, "again.jpg", photo_faces[0].face)]
    sorted_faces = sorting.sort_faces(
        with_a_copy, [*FILES, "again.jpg"], True, 0.4, ["Anna", "Ben", "Eve"], "3: Anna\n5.2: -"
    )
    assert sorted_faces.unused_names == ["Eve"]
    assert list(sorted_faces.people) == ["Anna", "Ben"], "whoever is left out is nobody"
    unlike, copies = sorting.notes(sorted_faces.labelled)
    assert copies == "One photo twice: 1 anna_1.jpg and 7 again.jpg"
    assert unlike.startswith("Hardly like the others of their person: 3 IMG_2031.jpg (Anna, 0.0")
    lines = sorting.report(sorted_faces)
    assert lines[0] == "1 Anna: 5 photos"
    assert lines[6] == "2 Ben: 1 photo"
    assert lines[3].startswith("  photo 3 IMG_2031.jpg: 0.0")
    assert lines[3].endswith("; corrected, was Ben")
    assert "Left out by hand: photo 5.2 party.jpg" in lines
