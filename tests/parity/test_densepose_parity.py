"""DensePose's network beside another port of detectron2's, with the same small weights.

The golden numbers were not made by an installation of detectron2, but by a patched port of its layers. So they tell
that two readings of detectron2 agree, and nothing of what the published weights find in photos.
"""

from pathlib import Path

import densepose_made
import pytest
import torch
from pack.core.body_surface.network import DensePose, own_weights
from safetensors.torch import load_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "densepose.safetensors"
"""What the port finds as densepose_rcnn_R_50_FPN_DL_s1x and R_101, with min_score 0.8, in widths of `densepose_made`:
all boxes, and of the charts of three bodies every 14th pixel."""


@pytest.mark.parametrize("depth", [50, 101])
def test_bodies_and_their_surface_are_those_of_a_port_of_detectron2(depth: int) -> None:
    golden = load_file(GOLDEN)
    blocks = (3, 4, 6, 3) if depth == 50 else (3, 4, 23, 3)
    exported = {f"model.{name}": tensor for name, tensor in densepose_made.weights(2, 9, blocks).items()}
    state = own_weights(exported)
    network = DensePose(state).eval()
    network.load_state_dict(state, strict=True)
    photo = (torch.rand(3, 256, 384, generator=torch.Generator().manual_seed(4)) * 255).to(torch.uint8)
    with torch.inference_mode():
        bodies = network(photo)
    boxes = golden[f"{depth}.boxes"]
    assert bodies.boxes.shape == boxes.shape
    assert len(boxes) >= 10
    assert (bodies.boxes - boxes).abs().max() <= 5e-6 * boxes.abs().max()
    for name in ("inside", "parts", "u", "v"):
        expected = golden[f"{depth}.{name}"]
        chart = getattr(bodies, name)[:3, :, ::14, ::14]
        # Charts are steep where a box lies: eight normalised layers enlarge its rounding.
        assert (chart - expected).abs().max() <= 5e-5 * expected.abs().max(), name


def test_the_published_networks_have_the_size_of_the_published_files() -> None:
    """265 and 342 MB, code of the archives included."""
    bytes_of = {}
    for depth, blocks in ((50, (3, 4, 6, 3)), (101, (3, 4, 23, 3))):
        shapes = densepose_made.shapes(blocks, densepose_made.PUBLISHED)
        numbers = [torch.empty(shape, device="meta").numel() for shape in shapes.values()]
        bytes_of[depth] = 4 * sum(numbers)
    assert bytes_of == {50: 264_648_840, 101: 340_826_248}
