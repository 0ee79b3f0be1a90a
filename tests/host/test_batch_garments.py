"""Garments in batch.py's likeness.csv: measured by a worker's ComfyUI, each in its region, without people."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy.clip_vision
import numpy as np
import pytest
import torch
from batch.maker import score_lines
from batch.measured import reports_of, with_measure
from batch.output import Task
from batch.prompts import Job
from batch.rows import Row
from batch.seeds import best_try
from batch.worker import OwnWorker
from environment import Host
from PIL import Image
from prompts import node
from toy import export_parts2whole

FILE = "mean-colours.pth"
JACKET, HAT, GREY = (np.full((96, 96, 3), value, "uint8") for value in (30, 200, 128))
JACKET[:48], HAT[:, :32] = (200, 40, 40), (20, 90, 160)
LEFT = np.zeros((192, 192, 3), "uint8")
LEFT[:96, :96] = 255
SHOWN = np.concatenate([np.concatenate([JACKET, GREY], 1), np.concatenate([GREY, GREY], 1)])


@pytest.fixture
def worker(host: Host, tmp_path: Path) -> Iterator[OwnWorker]:
    """With a vision model that sees mean colours."""
    (tmp_path / "clip_vision").mkdir()
    torch.save(export_parts2whole.vision(), tmp_path / "clip_vision" / FILE)
    worker_of_the_host = OwnWorker("one", host, Path(sys.executable), [tmp_path])
    worker_of_the_host.start()
    yield worker_of_the_host
    worker_of_the_host.stop()


def part(name: str, place: str, **more: Any) -> dict[str, Any]:
    inputs = {
        "image": [name, 0],
        "label": "other",
        "other_label": f"a {name}",
        "weight": 1.0,
        "target_mask": [place, 0],
    }
    return node("LikenessPart", **inputs, **more)


@pytest.mark.thorough
def test_each_garment_is_measured_in_its_region(worker: OwnWorker, tmp_path: Path) -> None:
    """The picture shows the jacket in its place, and grey in that of the hat. How alike those two are the vision model
    itself says, so two scores or regions that are swapped are seen."""
    photos = {"jacket.png": JACKET, "hat.png": HAT, "left.png": LEFT, "right.png": LEFT[:, ::-1], "shown.png": SHOWN}
    prompt = {
        **{name: node("LoadImage", image=f"{name}.png") for name in ("jacket", "hat", "shown")},
        **{name: node("LoadImageMask", image=f"{name}.png", channel="red") for name in ("left", "right")},
        "first": part("jacket", "left"),
        "second": part("hat", "right", parts=["first", 0]),
        "made": node(
            "ImageCompositeMasked", destination=["shown", 0], source=["second", 1], x=0, y=96, resize_source=False
        ),
        "save": node("SaveImage", images=["made", 0], filename_prefix="x"),
    }
    measured = with_measure(prompt, worker.object_info(), FILE)
    files = {name: png(pixels) for name, pixels in photos.items()}
    outcome = worker.run(measured, files, tmp_path)
    assert not outcome.error
    assert len(outcome.files) == 1
    (report,) = reports_of(outcome)
    assert best_try([[report]], None) == 0
    job = Job(Row(2, "row", {}), prompt, {})
    lines = list(score_lines(Task(job.row, ""), ["row.png"], job, [report], is_kept=True, vision=FILE))
    vision = comfy.clip_vision.load(str(tmp_path / "clip_vision" / FILE))
    with torch.no_grad():
        embeddings = []
        for pixels in (HAT, GREY):
            output = vision.encode_image(torch.from_numpy(pixels)[None] / 255)
            embeddings.append(output["image_embeds"].float().cpu())
        alike = float(torch.cosine_similarity(*embeddings))
    shown = [(line["person"], line["state"], line["recogniser"]) for line in lines]
    assert shown == [("a jacket", "part", FILE), ("a hat", "part", FILE)]
    assert [line["similarity"] for line in lines] == pytest.approx([1.0, alike], abs=2e-4)
    assert alike < 0.99


def png(pixels: np.ndarray) -> bytes:
    Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
    return file.getvalue()
