"""MultiHuman-Testbench: 1,800 prompts of 1 to 5 people with faces and poses (Qualcomm, arXiv 2506.20879).

Its folder is the authors' repository with the faces that their script loads: `data/multihuman_metadata.json`,
`data/faces/`, and `data/poses_metadata_final.json`, the joints of the pose pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from pack.core.errors import LikenessError
from pack.core.measure.figures import mean
from pack.core.models.packs import ANTELOPE
from pack.core.places import layouts

from .benchmarks import (
    Benchmark,
    Case,
    Entry,
    FolderError,
    Published,
    Size,
    entries_of,
    read_json,
)
from .columns import CLIP, Column, text_alignment
from .judged import Judged, pairs
from .prompts import Places
from .rows import Unread

TITLE = "MultiHuman-Testbench"
PROMPTS, POSES = "data/multihuman_metadata.json", "data/poses_metadata_final.json"
_ADVICE = (
    "Clone https://github.com/Qualcomm-AI-research/MultiHuman-Testbench, run python data_generation/download_faces.py "
    "in it, and name the clone."
)
SIDE = 1024
"""Pixels: of the authors' pictures and poses, which are squares."""
SIMPLE = 1500
"""So many prompts of simple actions come first; those of complex ones follow."""
MOST = 5
JOINTS = 18
"""Of a body in OpenPose's order."""
GROUPS = ("all", "simple", "complex", *(f"{people} people" if people > 1 else "1 person" for people in range(1, 6)))


def read(folder: Path, given_places: bool) -> list[Case]:
    """The pictures of a folder. given_places: by the poses of the folder. Raises FolderError."""
    entries = entries_of(TITLE, folder, PROMPTS, 0, _ADVICE)
    poses: Mapping[str, Any] = {}
    if given_places:
        advice = f"Take it from the repository, or add --places group, which makes the places up. {_ADVICE}"
        read_poses = read_json(TITLE, folder, POSES, advice)
        if not isinstance(read_poses, dict):
            raise FolderError(TITLE, folder, f"{POSES} holds no poses by name.", advice)
        poses = cast("Mapping[str, Any]", read_poses)
    return [_case(entry, poses) for entry in entries]


def _case(entry: Entry, poses: Mapping[str, Any]) -> Case:
    """A picture. The number of its entry is its name in the authors' code. Raises FolderError."""
    photos = entry.photos("people", entry.folder, 1, MOST)
    kind = "simple" if entry.number < SIMPLE else "complex"
    groups = ("all", kind, GROUPS[2 + len(photos)])
    frame = frame_of(poses.get(Path(entry.text("pose_image")).stem))
    places = partial(places_of, frame) if frame and _people_of(frame) == len(photos) else None
    return Case(str(entry.number), entry.text("prompt"), photos, groups, shape=(SIDE, SIDE), places=places)


def frame_of(pose: Any) -> dict[str, Any] | None:
    """A pose of the folder as a POSE_KEYPOINT; None for what is none, and for more people than a picture has.

    pose: what DWPose gives for a picture, or a list of it: "candidate" has points in parts of the picture, and "subset"
    for each person the number of each joint's point, -1 for a joint that is not seen.
    """
    if isinstance(pose, list):
        pose = next(iter(cast("list[Any]", pose)), None)
    try:
        points, subset = pose["bodies"]["candidate"], pose["bodies"]["subset"]
        if len(subset) > MOST:
            return None
        people: list[dict[str, Any]] = []
        for numbers in subset:
            joints: list[float] = []
            for number in numbers[:JOINTS]:
                seen = int(number) >= 0
                x, y = points[int(number)][:2] if seen else (0.0, 0.0)
                joints += [float(x), float(y), float(seen)]
            people.append({"pose_keypoints_2d": joints})
    except (KeyError, TypeError, IndexError, ValueError, OverflowError):
        return None
    return {"people": people, "canvas_width": SIDE, "canvas_height": SIDE}


def _people_of(frame: Mapping[str, Any]) -> int:
    """How many places a pose gives."""
    try:
        return len(layouts.from_poses(frame, SIDE, SIDE, "stretch").layout.slots)
    except LikenessError:
        return 0


def places_of(frame: Mapping[str, Any], canvas: Size) -> Places:
    """Everybody in a skeleton of the pose, from left to right, whatever the canvas."""
    return Places("LikenessLayoutFromPicture", {"poses": dict(frame), "fit": "stretch", "body": "half"})


# --- Columns


def count_accuracy(judged: Sequence[Judged]) -> float | None:
    """The share of pictures with as many faces as people, in percent."""
    return _percent([float(picture.faces == picture.people) for picture in judged])


def similarity(judged: Sequence[Judged]) -> float | None:
    """The mean over pictures of the mean over people of the cosine of their reference photo and the face that they are
    assigned to, 0 for a person without a face; in percent."""
    values: list[float] = []
    for picture in judged:
        for compared in picture.compared.values():
            values.append(sum(pair.cosine for pair in pairs(compared.references)) / picture.people)
    return _percent(values)


def _percent(values: Sequence[float]) -> float | None:
    value = mean(values)
    return None if value is None else 100 * value


_CODE = "MultiHuman-Testbench, arXiv 2506.20879, by its released code"
COLUMNS = (
    Column(
        "count", "The share of pictures with as many faces as people, in percent.",
        f"{_CODE}; RetinaFace counts there, the face pack's detector here", "100", count_accuracy, digits=1,
    ),
    Column(
        "identity",
        "The mean cosine of reference photos and the faces that they are assigned to (Hungarian method), 0 for a "
        "person without a face, in percent.",
        f"{_CODE}; crops are aligned here and are not there, and the assignment is exact", "100", similarity, digits=1,
    ),
    Column(
        "CLIP-T", "The cosine of CLIP's embeddings of the picture and the prompt, in the place of HPS.",
        "ours, by SDXL's CLIP-G and ViT-bigG", "", text_alignment, digits=3, judge=CLIP,
    ),
)  # fmt: skip
BENCHMARK = Benchmark(
    key="multi-human",
    title=TITLE,
    source="MultiHuman-Testbench, arXiv 2506.20879",
    data="https://github.com/Qualcomm-AI-research/MultiHuman-Testbench",
    read=read,
    groups=GROUPS,
    columns=COLUMNS,
    published=(
        Published(
            "Ar2Can, which makes its places itself", {("all", "identity"): 68.2, ("all", "count"): 90.2},
            "arXiv 2511.22690",
        ),
    ),
    unread=(
        Unread("HPS", "it needs the weights of HPS v2.1, which no template here has."),
        Unread("action", "Gemini 2.0 Flash answers questions there, and nothing here asks a server."),
    ),
    seed=878,
    judges=(ANTELOPE,),
)  # fmt: skip
