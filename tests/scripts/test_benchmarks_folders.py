"""Folders of the benchmarks: what is read of one in the published format, and what is said of another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comparison import identities_collapse, made_up, multi_human, multi_id
from comparison.benchmarks import Benchmark, FolderError
from comparison.prompts import IN_A_ROW
from pack.core.places import from_boxes, layouts

MULTI_ID, MULTI_HUMAN, COLLAPSE = multi_id.BENCHMARK, multi_human.BENCHMARK, identities_collapse.BENCHMARK
BENCHMARKS = (MULTI_ID, MULTI_HUMAN, COLLAPSE)


@pytest.fixture(params=BENCHMARKS, ids=lambda benchmark: benchmark.key)
def benchmark(request: pytest.FixtureRequest) -> Benchmark:
    return request.param


@pytest.fixture
def folder(tmp_path: Path, benchmark: Benchmark) -> Path:
    path = tmp_path / "published"
    made_up.FOLDERS[benchmark.key](path)
    return path


def edited(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_every_picture_has_its_people_and_files(folder: Path, benchmark: Benchmark) -> None:
    cases = benchmark.read(folder, True)
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert case.prompt and all(photo.is_file() and folder in photo.parents for photo in case.photos)
        assert case.groups and set(case.groups) <= set(benchmark.groups)
        assert "/" not in case.name
    for case in benchmark.read(folder, False):
        assert case.places_on((512, 512)) == IN_A_ROW


def test_published_figures_stand_in_groups_and_columns_of_the_benchmark(benchmark: Benchmark) -> None:
    names = {column.name for column in benchmark.columns}
    for published in benchmark.published:
        assert published.source.startswith("arXiv ") and published.figures
        for group, column in published.figures:
            assert group in benchmark.groups and column in names


def test_multi_id_has_references_a_photo_and_boxes(tmp_path: Path) -> None:
    made_up.multi_id(tmp_path)
    cases = multi_id.read(tmp_path, True)
    assert [case.name for case in cases] == ["p1_0001", "p1_0002", "p2_0001", "p3_num_3_0001", "p3_num_4_0002"]
    assert [len(case.photos) for case in cases] == [1, 1, 2, 3, 4]
    assert [case.groups for case in cases] == [("1",), ("1",), ("2",), ("3-4",), ("3-4",)]
    four = cases[-1]
    assert four.truth == tmp_path / "p3/num_4/0002.jpg" and four.shape == (1024, 256)
    assert four.photos[3] == tmp_path / "p3/refs/person_4/0002_4.jpg"


def test_boxes_of_multi_id_are_places_in_the_order_of_the_people(tmp_path: Path) -> None:
    """Boxes in pixels of the photo, from right to left, on a canvas of half the size; the photo was cut out."""
    made_up.multi_id(tmp_path)
    boxes = {"crop": [10, 20, 522, 276], "bboxes": [[310, 80, 470, 240], [50, 80, 210, 240]]}
    (tmp_path / "p2/untar/0001.json").write_text(json.dumps(boxes))
    (case,) = (case for case in multi_id.read(tmp_path, True) if case.groups == ("2",))
    places = case.places_on((256, 128))
    assert places.order == "as listed" and places.inputs["boxes_show"] == "face"
    marked = from_boxes.written(places.inputs["text"])
    assert [one.box for one in marked] == [(150, 30, 230, 110), (20, 30, 100, 110)]


@pytest.mark.parametrize(
    "content",
    [
        "[" * 200_000,
        '{"bboxes": [[NaN, 2, 3, 4], [1, 2, 3, 4]]}',
        '{"bboxes": null}',
        '{"bboxes": [[1, 2, 3, 4]]}',
        "{",
        "[]",
        '{"bboxes": [[1], [2]]}',
        '{"bboxes": [[200, 220, 40, 60], [1, 2, 3, 4]]}',
        '{"bboxes": [[9000, 60, 9200, 220], [1, 2, 3, 4]]}',
        '{"bboxes": [[-500, -500, -400, -400], [1, 2, 3, 4]]}',
        '{"bboxes": [[40, 60, 40, 60], [1, 2, 3, 4]]}',
    ],
    ids=range(11),
)
def test_multi_id_without_its_boxes_gets_a_group_layout(tmp_path: Path, content: str) -> None:
    made_up.multi_id(tmp_path)
    (tmp_path / "p2/untar/0001.json").write_text(content)
    (case,) = (case for case in multi_id.read(tmp_path, True) if case.groups == ("2",))
    assert case.places is None


def test_a_part_of_multi_id_is_read_alone(tmp_path: Path) -> None:
    made_up.multi_id(tmp_path)
    (tmp_path / "p1.json").unlink()
    (tmp_path / "p3.json").unlink()
    assert [case.groups for case in multi_id.read(tmp_path, True)] == [("2",)]


def test_multi_human_has_a_skeleton_for_each_person(tmp_path: Path) -> None:
    """The noses of the layout stand where the published joints are, on any canvas."""
    made_up.multi_human(tmp_path)
    cases = multi_human.read(tmp_path, True)
    assert [case.name for case in cases] == ["0", "1", "2", "3", "4"]
    assert cases[2].groups == ("all", "simple", "3 people") and cases[0].groups == ("all", "simple", "1 person")
    places = cases[2].places_on((600, 304))
    layout = layouts.from_poses(places.inputs["poses"], 600, 304, places.inputs["fit"]).layout
    assert [slot.center[0] for slot in layout.slots] == pytest.approx([100, 300, 500], abs=1)
    assert [slot.center[1] for slot in layout.slots] == pytest.approx([45.6, 45.6, 45.6], abs=1)
    assert all(slot.pose for slot in layout.slots)


def test_complex_prompts_of_multi_human_are_those_after_the_simple_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up.multi_human(tmp_path)
    monkeypatch.setattr(multi_human, "SIMPLE", 3)
    kinds = [case.groups[1] for case in multi_human.read(tmp_path, True)]
    assert kinds == ["simple", "simple", "simple", "complex", "complex"]


def test_a_pose_of_another_number_of_people_is_not_taken(tmp_path: Path) -> None:
    made_up.multi_human(tmp_path)

    def exchanged(poses: dict[str, Any]) -> None:
        poses["2"] = [poses["3"]]  # a list of it is a pose too
        del poses["4"]
        poses["5"] = {"bodies": {"candidate": [[0.5, 0.5]], "subset": [[float("inf")] * 18] * 5}}
        assert multi_human.frame_of({"bodies": {"candidate": [[0.5, 0.5]], "subset": [[0] * 18] * 6}}) is None

    edited(tmp_path / multi_human.POSES, exchanged)
    places = [case.places is not None for case in multi_human.read(tmp_path, True)]
    assert places == [True, False, True, False, False]


def test_joints_that_are_not_seen_stay_so() -> None:
    pose = made_up.pose_of(1)
    pose["bodies"]["subset"][0][4] = -1
    frame = multi_human.frame_of([pose])
    assert frame is not None
    joints = frame["people"][0]["pose_keypoints_2d"]
    assert len(joints) == 54 and joints[12:15] == [0.0, 0.0, 0.0] and joints[2] == 1.0


def test_collapse_counts_by_people_and_by_scene(tmp_path: Path) -> None:
    made_up.identities_collapse(tmp_path)
    cases = identities_collapse.read(tmp_path, True)
    assert [case.groups for case in cases] == [
        ("2 people", "neutral"), ("4 people", "occlusion"), ("10 people", "interaction"),
    ]  # fmt: skip


# --- What is no such folder


INDEX = {"multi-id": "p1.json", "multi-human": "data/multihuman_metadata.json", "identities-collapse": "prompts.json"}
ADVICE = {"multi-id": "hf2bench.py", "multi-human": "download_faces.py", "identities-collapse": "Make prompts"}
PEOPLE = {"multi-id": "image_paths", "multi-human": "people", "identities-collapse": "subjects"}


def refused(benchmark: Benchmark, folder: Path) -> str:
    with pytest.raises(FolderError) as error:
        benchmark.cases(folder, True)
    text = str(error.value)
    assert text.startswith(f"{folder} is not the folder of {benchmark.title}: ")
    return text


def test_an_empty_folder_says_what_was_looked_for_and_what_to_do(tmp_path: Path, benchmark: Benchmark) -> None:
    text = refused(benchmark, tmp_path)
    assert INDEX[benchmark.key] in text
    advice = {
        "multi-id": "python hf2bench.py",
        "multi-human": "download_faces.py",
        "identities-collapse": "Make prompts",
    }
    assert advice[benchmark.key] in text


@pytest.mark.parametrize("content", ["{", '"text"', "\x00", "[" * 200_000, "[1]", "[null]"])
def test_an_index_that_is_none_is_refused(folder: Path, benchmark: Benchmark, content: str) -> None:
    (folder / INDEX[benchmark.key]).write_text(content)
    assert INDEX[benchmark.key] in refused(benchmark, folder)


def test_lists_without_an_entry_are_refused(folder: Path, benchmark: Benchmark) -> None:
    for path in (folder / INDEX[benchmark.key], *folder.glob("p*.json")):
        path.write_text("[]")
    assert "its lists are empty. Get it anew" in refused(benchmark, folder)


def test_an_entry_without_its_people_is_named(folder: Path, benchmark: Benchmark) -> None:
    edited(folder / INDEX[benchmark.key], lambda entries: entries[-1].pop(PEOPLE[benchmark.key]))
    assert f"lacks {PEOPLE[benchmark.key]}" in refused(benchmark, folder)


OUTSIDE = "lies outside of the folder"
HOSTILE: dict[str, tuple[Any, str]] = {
    "nobody": ([], "has 0 people"),
    "a text": ("a.jpg", "no list"),
    "numbers": ([1, 2], "by something else than a text"),
    "an absolute name": (["/etc/passwd"] * 2, OUTSIDE),
    "a name above": (["../../../a.jpg"] * 2, OUTSIDE),
    "a long name": (["x" * 5000] * 2, "which is not there"),
    "letters of no name": (["a\0"] * 2, "which is not there"),
    "a folder": (["."] * 2, "which is not there"),
}
"""People of an entry, and what is said of them."""


@pytest.mark.parametrize("people", HOSTILE)
def test_names_that_no_entry_may_have_are_refused(folder: Path, benchmark: Benchmark, people: str) -> None:
    value, words = HOSTILE[people]
    edited(folder / INDEX[benchmark.key], lambda entries: entries[-1].update({PEOPLE[benchmark.key]: value}))
    assert words in refused(benchmark, folder)


@pytest.mark.parametrize("name", ["../x.jpg", "../../p2/untar/0001.jpg", "0001.json"])
def test_a_photo_to_be_like_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    made_up.multi_id(tmp_path)
    (tmp_path / "p1/x.jpg").write_bytes(b"<html>")
    edited(tmp_path / "p1.json", lambda entries: entries[0].update(ori_img_path=name))
    assert "entry 1 of p1.json names" in refused(MULTI_ID, tmp_path)


@pytest.mark.parametrize("name", ["0001.jpg", "0001.png", "a/b.jpg", "A_B.jpg"])
def test_two_pictures_of_one_name_are_refused(tmp_path: Path, name: str) -> None:
    made_up.multi_id(tmp_path)
    root = tmp_path / "p1/untar"
    other = "a_b.jpg" if "b" in name.lower() else "0001.jpg"
    for file in (name, other):
        made_up.portrait(root / file, "anna")

    def named(entries: list[dict[str, Any]]) -> None:
        entries[0]["ori_img_path"] = name
        entries[1]["ori_img_path"] = other

    edited(tmp_path / "p1.json", named)
    assert f"p1/untar/{name} and p1/untar/{other} would be one picture" in refused(MULTI_ID, tmp_path)


def test_a_picture_is_called_as_every_disk_takes_it(tmp_path: Path) -> None:
    made_up.multi_id(tmp_path)
    name = 'a\n\t:*?"<>|\udcff b.jpg'
    made_up.portrait(tmp_path / "p1/untar" / name, "anna")
    edited(tmp_path / "p1.json", lambda entries: entries[0].update(ori_img_path=name))
    assert MULTI_ID.cases(tmp_path, True)[0].name == f"p1_a{'_' * 10} b"


def test_a_folder_may_be_named_by_a_way_round(folder: Path, benchmark: Benchmark) -> None:
    cases = benchmark.cases(folder / ".." / folder.name, True)
    assert [case.photos for case in cases] == [case.photos for case in benchmark.cases(folder, True)]


def test_a_photo_that_is_not_there_is_named(folder: Path, benchmark: Benchmark) -> None:
    photo = benchmark.read(folder, True)[0].photos[0]
    photo.unlink()
    text = refused(benchmark, folder)
    assert photo.relative_to(folder).as_posix() in text and "which is not there" in text


def test_multi_human_without_poses_says_how_to_go_on_without_them(tmp_path: Path) -> None:
    made_up.multi_human(tmp_path)
    (tmp_path / multi_human.POSES).unlink()
    assert "--places group" in refused(MULTI_HUMAN, tmp_path)
    assert all(case.places is None for case in multi_human.read(tmp_path, False))


def test_an_unknown_scene_is_named(tmp_path: Path) -> None:
    made_up.identities_collapse(tmp_path)
    edited(tmp_path / "prompts.json", lambda entries: entries[0].update(scene="beach"))
    assert "'beach'" in refused(COLLAPSE, tmp_path)
