"""compare.py --pictures on a folder of real photos; tests/host/test_compare.py runs the command."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import pytest
import real_faces
import torch
from comparison import own_pictures, photos
from environment import SetupError
from html_page import Page
from pack.core.cast import Member, Person
from pack.core.faces.model import FaceModel
from pack.core.measure import MeasuredPicture, Report, Sighting
from PIL import Image


def photographed(root: Path) -> Path:
    """Two people; one set with the team photo, one with two photos side by side, people in the wrong places."""
    files = {
        "people/Yao/yao.jpg": real_faces.YAO,
        "people/Eileen/eileen.png": real_faces.ASTRONAUT,
        "pictures/team/1 % of #2.jpg": real_faces.TEAM,
    }
    for name, source in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, root / name)
    pair = Image.new("RGB", (1024, 512))
    for n, path in enumerate((real_faces.ASTRONAUT, real_faces.YAO)):
        pair.paste(Image.open(path).convert("RGB").resize((512, 512)), (512 * n, 0))
    (root / "pictures" / "pair").mkdir()
    pair.save(root / "pictures" / "pair" / "1.png")
    placed = {"people": ["Yao", "Eileen"], "places": [[110, 65], [384, 65]], "size": [512, 256]}
    (root / "pictures" / "pair" / "1.json").write_text(json.dumps(placed), "utf-8")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return photographed(tmp_path)


@pytest.fixture(scope="module")
def face_model() -> FaceModel:
    return FaceModel(real_faces.detector(), (real_faces.recogniser(),))


class Measured(NamedTuple):
    """A folder of photos that was measured for InstantID, where the tables and the page are, and what was said."""

    folder: Path
    out: Path
    said: str

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.out / name).open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def page(self) -> Page:
        return Page((self.out / "index.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def run(face_model: FaceModel, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = photographed(tmp_path_factory.mktemp("photographed"))
    with contextlib.redirect_stderr(io.StringIO()) as said:
        own_pictures.measured(folder, folder / "measured", face_model, "InstantID")
    return Measured(folder, folder / "measured", said.getvalue())


def test_a_table_has_everybody_who_is_meant_or_found(run: Measured) -> None:
    lines = run.table("likeness.csv")
    team = [line for line in lines if line["set"] == "team"]
    (yao,) = [line for line in team if line["person"] == "Yao"]
    assert yao["state"] == "right"
    assert 0.5 < float(yao["similarity"]) < 0.8
    assert yao["recogniser"] == "w600k_mbf"
    assert [line["state"] for line in team if line["person"] == "Eileen"] == ["missing"]
    assert sum(line["state"] == "extra" for line in team) == 21
    pair = [(line["person"], line["state"], line["looks_like"]) for line in lines if line["set"] == "pair"]
    assert pair == [("Yao", "swapped", "Eileen"), ("Eileen", "swapped", "Yao")]


def test_another_table_has_the_figures_of_each_set(run: Measured) -> None:
    sets = {line["set"]: line for line in run.table("sets.csv")}
    figures = [sets["pair"][name] for name in ("recogniser", "pictures", "people", "missing", "swapped")]
    assert figures == ["w600k_mbf", "1", "2", "0.0000", "1.0000"]
    assert [sets["team"][name] for name in ("missing", "extra", "association")] == ["0.5000", "21.0000", "0.5000"]


def test_the_page_has_the_sets_and_who_looks_like_somebody_else(run: Measured) -> None:
    rows = run.page.rows
    assert ["pair", "w600k_mbf", "2", "1"] in [row[:4] for row in rows]
    people = [row for row in rows if row[-1].startswith("looks like")]
    assert [(row[0], row[-1]) for row in people] == [("1 Yao", "looks like Eileen"), ("2 Eileen", "looks like Yao")]
    assert ["Eileen", "-", "-", "-", "missing"] in rows


def test_the_pictures_of_the_page_are_copies(run: Measured) -> None:
    sources = run.page.sources
    assert sources == ["pictures/pair/1.png.jpg", "pictures/team/1%20%25%20of%20%232.jpg.jpg"]
    for source in sources:
        assert (run.out / unquote(source)).is_file()
    expected_colour = background_of(run.folder / "pictures" / "pair" / "1.png")
    assert background_of(run.out / unquote(sources[0])) == pytest.approx(expected_colour, abs=3)


def test_it_is_said_who_judges_how_far_it_is_and_where_the_page_is(run: Measured) -> None:
    assert "Measured by w600k_mbf, which InstantID was not trained with." in run.said
    assert "1 of 2, pair/1.png: resemblance" in run.said
    assert f"2 pictures measured. To look at: {run.out / 'index.html'}" in run.said


def background_of(path: Path) -> np.ndarray:
    """The mean colour of a corner beside faces and names."""
    with Image.open(path) as opened:
        corner = opened.convert("RGB").resize((768, 384)).crop((0, 0, 100, 60))
    return np.asarray(corner, float).mean((0, 1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"people": ["Eve"]}', "names Eve; there are photos of Yao, Eileen"),
        ('{"peeple": ["Yao"]}', "cannot be read: .*left out"),
        ('{"places": [[1, 2]]}', "has 1 place for 2 people"), ("[" * 100_000, "cannot be read"),
        ('{"places": [[1e400, 1], [1, 1]]}', "cannot be read"),
    ],
)  # fmt: skip
def test_what_stands_beside_a_picture(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text(text)
    nobody = Person("", {}, torch.zeros(0, 112, 112, 3))
    with pytest.raises(SetupError, match=rf"1\.json {words}"):
        own_pictures.cast_of(tmp_path / "1.png", {"Yao": nobody, "Eileen": nobody}, (1, 1))


PHOTO = Path("people/Yao/yao.jpg")
PICTURE = Path("pictures/team/1 % of #2.jpg")
ADDED = Path("pictures/pair/2.png")
HEIC = b"\0\0\0\x18ftypheic" + bytes(99)
Spoil = Callable[[Path], object]
REFUSED: list[tuple[str, Spoil]] = [
    ("There is nobody in .*people", lambda folder: shutil.rmtree(folder / "people")),
    (r"yao\.jpg cannot be read as a picture", lambda folder: os.truncate(folder / PHOTO, 5000)),
    (r"yao\.heic .*it is a HEIC photo", lambda folder: (folder / PHOTO).with_suffix(".heic").write_bytes(HEIC)),
    (r"1 % of #2\.jpg .*picture: .* Save it", lambda folder: os.truncate(folder / PICTURE, 5000)),
    ("cannot be read", lambda folder: (folder / PICTURE).with_suffix(".json").write_text("{")),
]
if os.name != "nt":
    REFUSED.append((r"2\.png .*no such file", lambda folder: os.mkfifo(folder / ADDED)))


@pytest.mark.parametrize(("words", "spoil"), REFUSED, ids=[words for words, _ in REFUSED])
def test_what_is_missing_is_said(words: str, spoil: Spoil, folder: Path, face_model: FaceModel) -> None:
    """Before hours are spent on the others."""
    spoil(folder)
    with pytest.raises(SetupError, match=words):
        own_pictures.measured(folder, folder / "measured", face_model, "unknown")
    assert not (folder / "measured").exists()


def test_the_size_of_a_picture_is_width_by_height(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "wide.png")
    assert photos.size_of(tmp_path / "wide.png") == (8, 4)


def test_of_several_faces_in_a_photo_the_largest_is_the_persons(tmp_path: Path, face_model: FaceModel) -> None:
    """A large face at the right, a small one at the left."""
    photo = Image.new("RGB", (900, 600))
    photo.paste(Image.open(real_faces.ASTRONAUT).convert("RGB").resize((250, 250)), (20, 100))
    photo.paste(Image.open(real_faces.YAO).convert("RGB").resize((580, 580)), (310, 10))
    path = tmp_path / "both.png"
    photo.save(path)
    assert photos.largest_face(path, face_model).box[0] > 310


def measured(similarities: tuple[float, ...], sides: tuple[float, ...], copied: float | None = None) -> MeasuredPicture:
    """A picture of people who are each most like themselves, with faces of these heights, a third of it wide."""
    boxes = tuple((0.0, 0.0, side / 3, side) for side in sides)
    sightings: list[Sighting] = []
    for number, similarity in enumerate(similarities):
        row = [0.1] * len(similarities)
        row[number] = similarity
        sightings.append(Sighting(number, number, tuple(row), copied))
    return MeasuredPicture(boxes, tuple(sightings))


def a_member(name: str) -> Member:
    """By one photo, which both recognisers know."""
    embeddings = {recogniser: torch.ones(1, 512) for recogniser in ("judge", "other")}
    return Member(Person(name, embeddings, torch.zeros(1, 112, 112, 3)))


def test_a_set_has_means_of_its_own_pictures_by_each_recogniser(tmp_path: Path) -> None:
    """Two pictures of the set a, one of b; two recognisers who disagree."""
    people = (a_member("Yao"), a_member("Eileen"))

    def result(group: str, by_judge: MeasuredPicture, by_other: MeasuredPicture) -> own_pictures.Result:
        return own_pictures.Result(
            group, "1.png", Report(people, ("judge", "other"), {"judge": (by_judge,), "other": (by_other,)})
        )

    sizes = (60.0, 90.0)
    results = [
        result("a", measured((0.6, 0.8), sizes, 0.25), measured((0.2, 0.4), sizes)),
        result("a", measured((0.4, 0.6), (30.0, 60.0), 0.35), measured((0.3, 0.1), sizes)),
        result("b", measured((0.9, 0.9), sizes), measured((0.5, 0.7), sizes)),
    ]
    rows = {(row.title, row.recogniser): row for row in own_pictures.rows_of(results, tmp_path)}
    resemblance = {key: row.figures["resemblance"] for key, row in rows.items()}
    expected = {("a", "judge"): 0.6, ("a", "other"): 0.25, ("b", "judge"): 0.9, ("b", "other"): 0.6}
    assert resemblance == pytest.approx(expected)
    assert (rows["a", "judge"].pictures, rows["a", "judge"].people) == (2, 4)
    assert rows["a", "judge"].figures["margin"] == pytest.approx(0.6 - 0.1)
    assert rows["a", "judge"].figures["face px"] == pytest.approx((60 + 90 + 30 + 60) / 4)
    assert rows["a", "judge"].figures["copy-paste"] == pytest.approx(0.3)
    assert rows["b", "judge"].figures["copy-paste"] is None


def test_people_of_a_mac_are_named_as_keyboards_write_them(tmp_path: Path) -> None:
    """The folder's name has its accents apart."""
    size = (64, 64)
    decomposed = "Jose\u0301"
    person = Person(decomposed, {}, torch.zeros(1, 112, 112, 3))
    (tmp_path / "1.json").write_text(json.dumps({"people": ["José"]}), "utf-8")
    cast = own_pictures.cast_of(tmp_path / "1.png", {decomposed: person, "Ben": person}, size)
    assert [member.person.name for member in cast.people] == [decomposed]
    (tmp_path / "1.json").write_text(json.dumps({"people": ["Zoë"]}), "utf-8")
    with pytest.raises(SetupError, match="names Zoë"):
        own_pictures.cast_of(tmp_path / "1.png", {decomposed: person}, size)


NASTY = '<script src="https://example.com/a.js">&"\'</script>'
"""A name that would be code on a page that does not escape it."""


@pytest.mark.parametrize("group", [NASTY.replace("/", ""), ""])
def test_the_page_shows_any_name_as_text_and_asks_no_network(group: str, tmp_path: Path) -> None:
    """Names of the folder, the set, the picture and the people; also bytes that are no letters."""
    people = (a_member(NASTY), a_member("Eileen"))
    box = (0.0, 0.0, 30.0, 40.0)
    swapped = MeasuredPicture((box, box), (Sighting(0, 0, (0.1, 0.5)), Sighting(1, 1, (0.6, 0.2))))
    name = f"{NASTY.replace('/', '')} 100% #1?\udcff.png"
    if group:
        name = f"{group}/{name}"
    result = own_pictures.Result(group, name, Report(people, ("judge",), {"judge": (swapped,)}))
    own_pictures.write([result], tmp_path, NASTY)
    page = Page((tmp_path / "index.html").read_text("utf-8"))
    assert "script" not in page.tags
    (source,) = page.sources
    assert unquote(source, errors="surrogateescape") == f"pictures/{name}.jpg"
    assert page.links == [source]
    for address in (source, *page.links):
        assert not re.match(r"[a-z]+:|//|/", address), "beside the page"
    assert f"Likeness: {NASTY}" in page.text
    assert (group or own_pictures.NO_SET) in page.text
    assert [NASTY, "0.100", "0.500", "40", "looks like Eileen"] in page.rows
    assert ["Eileen", "0.200", "0.600", "40", f"looks like {NASTY}"] in page.rows
    assert "@import" not in page.text
    assert "url(" not in page.text
