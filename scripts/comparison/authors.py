"""Pictures arranged as the evaluation code of MultiID-Bench reads them, for its authors' own figures.

That code takes a folder for each picture: out.jpg, the picture; ori.jpg, the photo that it should be like; ref_1.jpg to
ref_4.jpg, the reference photos; and meta.json with the prompt.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from pack.core.picture_files import read_picture
from PIL import Image
from shared import whole

from .benchmarks import Case

FOLDER = "for_authors"
"""Of the results. It holds photos of the benchmark, which are not ours to pass on."""
_QUALITY = 95


def arranged(cases: Sequence[Case], drawn: Collection[str], method: str, out: Path) -> int:
    """Arrange the pictures of a method, a folder for each group of the benchmark; how many there are.

    drawn: names of the cases that have a picture. method: its title.
    """
    count = 0
    for case in cases:
        if case.truth is None or case.name not in drawn:
            continue
        folder = out / FOLDER / method / case.groups[0] / case.name
        _as_jpeg(out / "pictures" / method / f"{case.name}.png", folder / "out.jpg")
        _as_jpeg(case.truth, folder / "ori.jpg")
        for number, photo in enumerate(case.photos, 1):
            _as_jpeg(photo, folder / f"ref_{number}.jpg")
        whole.write(folder / "meta.json", json.dumps({"prompt": case.prompt}).encode())
        count += 1
    return count


def _as_jpeg(source: Path, target: Path) -> None:
    """A picture under another name; one that is a JPEG stays the same byte for byte."""
    with Image.open(source) as opened:
        if opened.format == "JPEG":
            whole.write(target, source.read_bytes())
            return
    picture = read_picture(str(source))
    whole.written(target, lambda unfinished: picture.save(unfinished, "JPEG", quality=_QUALITY))
