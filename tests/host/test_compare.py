"""compare.py --miniature and --pictures: what it draws, and that its judge can fail."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import compare
import numpy as np
import pytest
import real_faces
import torch
from comparison import cartoons, parts, worlds
from comparison import people as people_source
from comparison.benchmark_run import BENCHMARKS
from comparison.cartoon_methods import CARTOON_METHODS, HALVES, Method, Picture, World, drawn, meaning, of_photos
from comparison.colour_judging import CARTOON_COLUMNS, UNREAD, ColourJudge, people_figures
from comparison.columns import COLUMNS, figures
from comparison.judged import Judged
from comparison.rows import Pictured
from environment import ROOT
from miniature import avatars, measure, places, stored
from miniature.net import Miniature
from pack.core.models.packs import IR_SE50
from pack.core.people import Identity, Person, PlacedCast
from PIL import Image
from torch import Tensor


@pytest.fixture(scope="module", params=[pytest.param("toy", marks=pytest.mark.thorough)])
def world() -> Iterator[World]:
    """Figures of a toy, which no other command reads: the tests of them come with --all."""
    with worlds.miniature(3) as there:
        yield there


def colours_of(world: World, *pictures: Picture) -> dict[str, float]:
    """The columns of docs/dev/miniature_methods.md that say something of these pictures."""
    found = figures([world.judge(picture) for picture in pictures], CARTOON_COLUMNS)
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("name", ["ID-Patch", "InstantID by region"])
def test_people_in_the_wrong_places_are_found_to_be_there(world: World, name: str) -> None:
    """And those in the right ones too."""
    people = [of_photos(person, 1) for person in world.people[:2]]
    picture = drawn(world, CARTOON_METHODS[name], world.cast(people), 1)
    assert colours_of(world, picture)["association"] == 1
    swapped = colours_of(world, meaning(picture, people[::-1]))
    assert swapped["association"] == 0 and swapped["leakage"] > 0.5 > swapped["own"], swapped


def test_every_question_has_a_line_for_every_setting(world: World, tmp_path: Path) -> None:
    """Faces one by one are redrawn by each method, and nothing but these; a sheet and a table are written."""
    chosen = {name: CARTOON_METHODS[name] for name in ("ID-Patch", "faces one by one, InstantID")}
    columns = {"1": [Pictured([0], 1, 1)], "2": [Pictured([0, 1], 1, 1)]}
    rows = cartoons.drawn_in(world, chosen, columns, tmp_path / "seeds", apart=True)
    assert [(row.title, row.people) for row in rows] == [(name, people) for name in chosen for people in (1, 2)]
    cartoons.write("seeds", rows, tmp_path, False)
    assert (tmp_path / "seeds.md").read_text("utf-8").count("\n") == 6 and (tmp_path / "seeds.jpg").is_file()
    names = {f"{name}, {people}, 1.png" for name in chosen for people in (1, 2)}
    assert {path.name for path in (tmp_path / "seeds").iterdir()} == names


def test_a_question_is_written_between_its_own_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "likeness.md"
    marks = [
        "before\n<!-- crowd: written by scripts/compare.py -->\nold crowd\n<!-- end of crowd -->\n",
        "between\n<!-- seeds: written by scripts/compare.py -->\nold seeds\n<!-- end of seeds -->\nafter\n",
    ]
    file.write_text("".join(marks), "utf-8")
    monkeypatch.setattr(cartoons, "PAGE", file)
    cartoons.into_page("crowd", "| a table |\n", Image.new("RGB", (9, 7)))
    crowd = "\n| a table |\n\n![Crowd, drawn](likeness_crowd.jpg)\n\n"
    assert file.read_text("utf-8") == "".join(marks).replace("old crowd\n", crowd)
    with Image.open(tmp_path / "likeness_crowd.jpg") as written:
        assert written.size == (9, 7)


# Made-up pictures whose content is known


def cartoon(cast: PlacedCast, shown: Tensor, by_face: bool = False) -> Picture:
    """What a method would draw that shows these looks (P, 11) in the places."""
    slots = [person.slot for person in cast.people if person.slot]
    size = (cast.width, cast.height)
    standing = places.of_slots(slots)
    if by_face:
        standing = places.by_face(standing, size)
    pixels, _ = avatars.picture(standing, shown, size)  # (3, H, W)
    return Picture(pixels.permute(1, 2, 0), cast, by_face)


@cache
def small() -> Miniature:
    return stored.load()


def looks_of(people: Sequence[Identity]) -> Tensor:
    """(P, 11), by all photos of each."""
    rows = torch.stack([person.embeddings[IR_SE50].mean(0) for person in people])
    return small().looks(torch.nn.functional.normalize(rows))


@pytest.mark.parametrize("by_face", [False, True], ids=["by skeletons", "by faces"])
@pytest.mark.parametrize("people", [2, 3, 4, 8])
def test_the_judge_says_how_much_of_the_others_was_mixed_in(world: World, people: int, by_face: bool) -> None:
    """A fifth of all others in every place, in cartoons that the avatar's own code draws."""
    everybody = list(worlds.drawn_people(8))
    pictures: list[Picture] = []
    for first in range(8):
        who = [everybody[(first + place) % 8] for place in range(people)]
        meant = looks_of(who)
        others = (meant.sum(0, keepdim=True) - meant) / (people - 1)
        shown = meant.clone()
        shown[:, :9] = 0.8 * meant[:, :9] + 0.2 * others[:, :9]  # hair is as long as it was, so areas are the same
        pictures.append(cartoon(world.cast(who), shown, by_face))
    found = colours_of(replace(world, judge=ColourJudge(small(), everybody).judged), *pictures)
    assert found["association"] == 1
    assert found["own"] == pytest.approx(0.8, abs=0.02) and found["leakage"] == pytest.approx(0.2, abs=0.02)


def test_the_judge_finds_looks_in_the_places_of_others_and_parts_in_their_columns(world: World) -> None:
    who = world.people[:2]
    meant = looks_of(who)
    cast = world.cast(who)
    right = colours_of(world, cartoon(cast, meant))
    assert list(right) == ["association", "leakage", "own", "R2 hair", "R2 shirt", "R2 skin"]
    assert right["association"] == 1 and right["own"] == pytest.approx(1, abs=0.02) and abs(right["leakage"]) < 0.02
    exchanged = colours_of(world, cartoon(cast, meant[[1, 0]]))
    assert exchanged["association"] == 0 and exchanged["leakage"] > 0.95 and abs(exchanged["own"]) < 0.05
    for part, channels in (("hair", slice(0, 3)), ("skin", slice(3, 6)), ("shirt", slice(6, 9))):
        assert right[f"R2 {part}"] > 0.99
        shown = meant.clone()
        shown[:, channels] = meant[:, channels].flip(0)
        found = colours_of(world, cartoon(cast, shown))
        wrong = {name for name in ("R2 hair", "R2 shirt", "R2 skin") if found[name] < 0}
        assert wrong == {f"R2 {part}"}


@pytest.mark.parametrize("by_face", [False, True], ids=["by skeletons", "by faces"])
def test_bodies_are_looked_for_where_the_method_was_told_of_them(world: World, by_face: bool) -> None:
    """Skeletons that lean 60 px to the right, below faces that stand where they stood: a method that knows faces alone
    has drawn an upright body."""
    who = world.people[:2]
    cast = world.cast(who)
    leaning: list[Person] = []
    for person in cast.people:
        assert person.slot and person.slot.pose
        pose = tuple((x + 60, y, seen) for x, y, seen in person.slot.pose)
        leaning.append(replace(person, slot=replace(person.slot, pose=pose)))
    found = colours_of(world, cartoon(replace(cast, people=tuple(leaning)), looks_of(who), by_face))
    assert found["R2 shirt"] > 0.98, found


def test_of_a_person_alone_there_is_no_association_and_no_leakage(world: World) -> None:
    person = world.people[:1]
    found = colours_of(world, cartoon(world.cast(person), looks_of(person)))
    assert not {"association", "leakage", "own"} & found.keys()


# The columns of compare.py --people, read from colours


def columns_of(world: World, *pictures: Picture) -> dict[str, float]:
    """The columns that are read, of made-up pictures."""
    found = people_figures([world.judge(picture) for picture in pictures])
    return {name: value for name, value in found.items() if value is not None}


def test_columns_tell_right_exchanged_repeated_mixed_and_missing_people_apart(world: World) -> None:
    who = world.people[:2]
    meant = looks_of(who)
    cast = world.cast(who)
    right = columns_of(world, cartoon(cast, meant))
    assert right["association"] == 1 and right["resemblance"] > 0.9
    assert right["missing"] == right["swapped"] == right["dominance"] == right["blending"] == 0
    exchanged = columns_of(world, cartoon(cast, meant[[1, 0]]))
    assert exchanged["association"] == 0 and exchanged["swapped"] == 1 and exchanged["dominance"] == 0
    assert exchanged["leakage"] > 0.9 and exchanged["resemblance"] == pytest.approx(right["leakage"], abs=0.05)
    twice = columns_of(world, cartoon(cast, meant[[0, 0]]))
    assert twice["association"] == twice["swapped"] == twice["dominance"] == 0.5
    mixed = meant.clone()
    mixed[:, :9] = meant[:, :9].mean(0)
    assert columns_of(world, cartoon(cast, mixed))["blending"] == 1
    nobody = meant.clone()
    nobody[1, :9] = 1 - meant[1, :9].round()  # the colour that is farthest from each of theirs
    absent = columns_of(world, cartoon(cast, nobody))
    assert absent["missing"] == 0.5 and absent["association"] == 0.5 and absent["swapped"] == 0
    together = columns_of(world, cartoon(cast, meant), cartoon(cast, nobody))
    assert together["missing"] == 0.25 and together["association"] == 0.75


def test_a_similarity_is_one_of_the_same_look_and_none_of_a_usual_stranger(world: World) -> None:
    """Computed again from what is seen in the places of a picture by ID-Patch."""
    who = [of_photos(person, 1) for person in world.people]
    picture = drawn(world, CARTOON_METHODS["ID-Patch"], world.cast(who), 1)
    looks = world.judge(picture).looks
    assert looks is not None
    found, meant = looks.found.double().numpy(), looks.meant.double().numpy()

    def apart(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.sqrt(np.nanmean((first - second) ** 2)))

    usual = np.mean([apart(meant[0], meant[1]), apart(meant[0], meant[2]), apart(meant[1], meant[2])])
    alike = np.array([[1 - apart(one, other) / usual for other in meant] for one in found])
    columns = columns_of(world, picture)
    assert columns["resemblance"] == pytest.approx(np.diag(alike).mean(), abs=1e-4)
    np.fill_diagonal(alike, -np.inf)
    assert columns["leakage"] == pytest.approx(alike.max(1).mean(), abs=1e-4)
    assert 0 < 4 * columns["per step"] <= columns["seconds"], "four steps, and what is beside them"


def test_a_copy_of_the_photo_is_told_from_the_same_person(world: World) -> None:
    """Drawn as in the first photo, and as in another one that was not drawn from."""
    person = world.people[0]
    looks = small().looks(torch.nn.functional.normalize(person.embeddings[IR_SE50], dim=-1))  # of each photo
    cast = world.cast([of_photos(person, 1)])
    copy = columns_of(world, cartoon(cast, looks[:1]))["copy-paste"]
    other = columns_of(world, cartoon(cast, looks[3:4]))["copy-paste"]
    assert copy > 0.8
    assert other < copy - 0.5


def test_what_colours_do_not_say_has_a_reason_and_no_figure(world: World, tmp_path: Path) -> None:
    """The page says why; everything else has a figure where there are two people."""
    who = [of_photos(person, 1) for person in world.people[:2]]
    picture = cartoon(world.cast(who), looks_of(who))
    found = people_figures([world.judge(picture)])
    unread = {reason.column for reason in UNREAD}
    untimed = {"seconds", "per step"}  # nobody has drawn a made-up picture
    assert {name for name, value in found.items() if value is None} == unread | untimed
    assert list(found) == [column.name for column in COLUMNS]
    methods = {"ID-Patch": CARTOON_METHODS["ID-Patch"]}
    (row,) = cartoons.drawn_in(world, methods, {"2": [Pictured([0, 1], 1, 1)]}, tmp_path / "crowd", apart=True)
    cartoons.write("crowd", [row], tmp_path, False)
    html = (tmp_path / "index.html").read_text("utf-8")
    for reason in UNREAD:
        assert f"<b>{reason.column}</b> is not measured: {reason.why}" in html
    (shown,) = row.shown
    assert shown.caption == "ID-Patch, seed 1: person 1, person 2" and shown.path.name == "ID-Patch, 2, 1.png"
    drawn_again = drawn(world, methods["ID-Patch"], world.cast([of_photos(one, 1) for one in world.people[:2]]), 1)
    with Image.open(shown.path) as opened:
        saved = torch.from_numpy(np.array(opened)).float() / 255
    assert (saved - drawn_again.pixels.clamp(0, 1)).abs().max() < 1.01 / 255
    assert row.row(CARTOON_COLUMNS).figures["association"] == row.row(COLUMNS).figures["association"] == 1


# Who is in which picture


class Drawn(NamedTuple):
    """strips: what `painted` says of a picture. meant: numbers of the people. photos: of each."""

    strips: list[float]
    meant: list[int]
    photos: list[int]


def painted(world: World, cast: PlacedCast, seed: int) -> Tensor:
    """(H, W, 3): a strip for each place from left to right, in red which of the world's people stands there, in green
    from how many photos, in blue the seed; all in tenths."""
    names = [person.name for person in world.people]
    strips: list[Tensor] = []
    for person in cast.people:
        photos = len(person.identity.embeddings[IR_SE50])
        strips.append(torch.tensor([names.index(person.identity.name), photos, seed]) / 10)
    across = torch.stack(strips).repeat_interleave(40, 0)  # (W, 3)
    return across[None].repeat(80, 1, 1)


def test_every_picture_is_of_the_people_photos_and_seed_that_are_asked_for(world: World, tmp_path: Path) -> None:
    """And is judged with the others of its row, under its own method and column."""
    judged: list[Drawn] = []

    def judge(picture: Picture) -> Judged:
        """Notes who was drawn, who is meant, and by how many photos each is judged."""
        strips = (10 * picture.pixels[0, 20::40]).round().flatten().tolist()
        meant = [names.index(person.identity.name) for person in picture.cast.people]
        photos = [len(person.identity.embeddings[IR_SE50]) for person in picture.cast.people]
        judged.append(Drawn(strips, meant, photos))
        return Judged(len(judged))

    names = [person.name for person in world.people]
    made_up = replace(world, judge=judge)
    methods = {"a": Method(painted), "b": Method(partial(painted))}
    columns = {"1": [Pictured([2], 1, 5)], "2": [Pictured([1, 0], 3, 6), Pictured([0, 2], 2, 7)]}
    rows = cartoons.drawn_in(made_up, methods, columns, tmp_path, apart=True)
    heads = [(row.title, row.people, [picture.people for picture in row.judged]) for row in rows]
    assert heads == [("a", 1, [1]), ("a", 2, [2, 3]), ("b", 1, [4]), ("b", 2, [5, 6])]
    expected = [
        Drawn([2, 1, 5], [2], [1]), Drawn([1, 3, 6, 0, 3, 6], [1, 0], [3, 3]), Drawn([0, 2, 7, 2, 2, 7], [0, 2], [2, 2])
    ]  # fmt: skip
    assert judged == expected * 2
    files = [shown.path.name for shown in rows[3].shown]
    assert files == ["b, 2, 1.png", "b, 2, 2.png"]
    with Image.open(tmp_path / files[0]) as opened:
        saved = torch.from_numpy(np.array(opened)).float() / 255
    drawn_first = painted(world, world.cast([of_photos(world.people[number], 3) for number in (1, 0)]), 6)
    assert (saved - drawn_first).abs().max() < 1.01 / 255

    judged.clear()
    rows = cartoons.drawn_in(made_up, methods, columns, tmp_path, by_all_photos=True)
    assert [len(row.judged) for row in rows] == [3, 3], "all columns together"
    every_photo = [[worlds.PHOTOS], [worlds.PHOTOS] * 2, [worlds.PHOTOS] * 2]
    assert [one.photos for one in judged] == every_photo * 2, "judged by all photos of everybody"


def test_the_halves_of_instant_id_are_those_that_they_are_called(world: World) -> None:
    """IdentityNet alone draws a figure with the person's look. The adapter alone has no keypoints, so nobody stands
    where they are."""
    person = of_photos(world.people[0], 1)
    cast = world.cast([person])
    meant = measure.colours_of(looks_of([person]))
    far: dict[str, float] = {}
    for name, method in HALVES.items():
        picture = drawn(world, method, cast, 1)
        right = cartoon(cast, looks_of([person]), by_face=True)
        size = (cast.width, cast.height)
        standing = places.by_face(places.of_slots([cast.people[0].slot]), size)
        areas = avatars.draw(standing, looks_of([person]), size)
        found = measure.found_in(measure.cells_of(picture.pixels), areas, 1)
        far[name] = float((found - meant).square().nanmean().sqrt())
        assert picture.by_keypoints and picture.pixels.shape == right.pixels.shape
    assert far["both, 1 photo"] < 0.1 and far["IdentityNet alone"] < 0.1 < 0.2 < far["adapter alone"], far


@pytest.mark.thorough
def test_what_lies_beside_a_part_shows_without_masks() -> None:
    """As many people as in the page's table: a regression over a few of them is mostly chance."""
    wardrobe = parts.wardrobe_of("Parts2Whole")
    ways = (parts.SETTINGS[name] for name in ("1 part", "1 part, without masks"))
    with_masks, without = (parts.dressed(wardrobe, way, 40).figures["beside"] for way in ways)
    assert abs(with_masks) < 0.02
    assert without > 0.1


def test_the_command_line_knows_all_questions_and_benchmarks() -> None:
    """It names them before anything is loaded that has them."""
    assert tuple(people_source.QUESTIONS) == compare.QUESTIONS["people"]
    assert tuple(cartoons.QUESTIONS) == compare.QUESTIONS["miniature"]
    assert tuple(BENCHMARKS) == compare.BENCHMARKS


@pytest.mark.thorough
def test_the_command_answers(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "compare.py"), "--miniature", "--quick", "--out", str(tmp_path)]
    subprocess.run([*command, "--python", sys.executable, "seeds"], check=True, timeout=600)
    rows = (tmp_path / "seeds.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + len(CARTOON_METHODS)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_folder_of_own_pictures_is_measured_and_can_be_stopped(tmp_path: Path) -> None:
    """The command, ended by Ctrl-C and called again."""
    files = {
        "people/Yao/yao.jpg": real_faces.YAO,
        "pictures/one/1.jpg": real_faces.YAO,
        "models/insightface/models/small/detector.onnx": real_faces.DETECTOR,
        "models/insightface/models/small/w600k_mbf.onnx": real_faces.RECOGNISER,
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, tmp_path / name)
    script = [sys.executable, str(ROOT / "scripts" / "compare.py"), "--pictures", str(tmp_path)]
    command = [*script, "--models", str(tmp_path / "models"), "--python", sys.executable]
    # A handler of ours is the default again in what is started, also where whoever started pytest has Ctrl-C ignored.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, handler)
    with process:
        assert process.stderr
        for line in process.stderr:
            if line == "[likeness] Yao: 1 photo\n":
                process.send_signal(signal.SIGINT)
                break
        assert "Stopped before the tables and the page were written" in process.communicate(timeout=60)[1]
    assert process.returncode == 130 and not (tmp_path / "measured" / "index.html").exists()
    subprocess.run(command, check=True, timeout=300)
    assert "w600k_mbf" in (tmp_path / "measured" / "sets.csv").read_text("utf-8")
    assert (tmp_path / "measured" / "index.html").is_file()
