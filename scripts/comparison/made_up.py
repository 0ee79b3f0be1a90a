"""Made-up folders in the formats of the benchmarks, with the pack's drawn people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from shared import photos

from .identities_collapse import SCENES

_NAMES = (*photos.DRAWN, *photos.DRAWN[:2])
_OPENPOSE = (
    (0.0, 0.0), (0.0, 0.12), (-0.06, 0.12), (-0.08, 0.26), (-0.08, 0.4), (0.06, 0.12), (0.08, 0.26), (0.08, 0.4),
    (-0.04, 0.42), (-0.04, 0.6), (-0.04, 0.78), (0.04, 0.42), (0.04, 0.6), (0.04, 0.78), (-0.015, -0.015),
    (0.015, -0.015), (-0.035, -0.005), (0.035, -0.005),
)  # fmt: skip
"""Somebody who stands, in parts of the picture from the nose: 18 joints in OpenPose's order."""


def multi_id(folder: Path) -> None:
    """Two pictures of one person, and one each of two, three and four."""
    for part, root, counts in (("p1", "p1/untar", (1, 1)), ("p2", "p2/untar", (2,)), ("p3", "p3", (3, 4))):
        entries: list[dict[str, Any]] = []
        for number, people in enumerate(counts, 1):
            below = f"num_{people}/" if part == "p3" else ""
            truth = folder / root / f"{below}{number:04}.jpg"
            group_photo(truth, _NAMES[:people])
            boxes = [[40 + 256 * place, 60, 200 + 256 * place, 220] for place in range(people)]
            truth.with_suffix(".json").write_text(json.dumps({"caption_en": "friends", "bboxes": boxes}))
            names: list[str] = []
            for place in range(1, people + 1):
                name = f"{number:04}_{place}.jpg"
                if part == "p3":
                    name = f"refs/person_{place}/{name}"
                portrait(folder / root / name, _NAMES[place - 1])
                names.append(name)
            prompt = f"{people} friends on a terrace"
            entries.append({"prompt": prompt, "image_paths": names, "ori_img_path": f"{below}{number:04}.jpg"})
        (folder / f"{part}.json").write_text(json.dumps(entries))


def multi_human(folder: Path) -> None:
    """A picture each of one to five people."""
    entries: list[dict[str, Any]] = []
    poses: dict[str, Any] = {}
    for people in range(1, 6):
        names: list[str] = []
        for name in _NAMES[:people]:
            portrait(folder / f"data/faces/{name}.jpg", name)
            names.append(f"data/faces/{name}.jpg")
        poses[str(people)] = pose_of(people)
        entry = {"people": names, "prompt": f"{people} people", "pose_image": f"data/poses/{people}.png"}
        entries.append({**entry, "vlm_questions": [], "identifier": ["person"] * people})
    (folder / "data/multihuman_metadata.json").write_text(json.dumps(entries))
    (folder / "data/poses_metadata_final.json").write_text(json.dumps(poses))


def pose_of(people: int) -> dict[str, Any]:
    """So many people beside each other, as DWPose gives them."""
    points: list[list[float]] = []
    subset: list[list[int]] = []
    for number in range(people):
        nose = (number + 0.5) / people
        subset.append(list(range(len(points), len(points) + len(_OPENPOSE))))
        points += [[nose + x, 0.15 + y] for x, y in _OPENPOSE]
    return {"bodies": {"candidate": points, "subset": subset}, "faces": [], "hands": []}


def identities_collapse(folder: Path) -> None:
    """A picture each of two, four and ten people, of the three scenes."""
    entries: list[dict[str, Any]] = []
    for people, scene in zip((2, 4, 10), SCENES, strict=True):
        names: list[str] = []
        for place, name in enumerate(_NAMES[:people]):
            portrait(folder / f"photos/{place}.jpg", name)
            names.append(f"photos/{place}.jpg")
        entries.append({"prompt": f"{people} people", "scene": scene, "subjects": names})
    (folder / "prompts.json").write_text(json.dumps(entries))


def portrait(path: Path, name: str) -> None:
    """One of the pack's drawn people as a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(photos.drawn(name)[0]) as drawn:
        drawn.convert("RGB").resize((256, 256)).save(path, quality=92)


def group_photo(path: Path, names: Sequence[str]) -> None:
    """Drawn people beside each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Image.new("RGB", (256 * len(names), 256))
    for place, name in enumerate(names):
        with Image.open(photos.drawn(name)[0]) as drawn:
            made.paste(drawn.convert("RGB").resize((256, 256)), (256 * place, 0))
    made.save(path, quality=92)


FOLDERS: Mapping[str, Callable[[Path], None]] = {
    "multi-id": multi_id,
    "multi-human": multi_human,
    "identities-collapse": identities_collapse,
}
"""By key of the benchmark what makes a folder for it."""
