"""DensePose networks as small as a few layers, in TorchScript archives as they are published, and charts of bodies.

What such a network finds is made up, but it is found by the real steps: features, proposals, boxes, surface. The code
in an archive writes a file when anybody runs it: `CODE_RAN` in the current folder.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

SIDE = 28
"""Of the charts that `charts` makes."""
CODE_RAN = "written_by_the_code_of_an_archive"
Widths = dict[str, int]
PUBLISHED: Widths = {
    "stem": 64, "res2": 256, "res3": 512, "res4": 1024, "res5": 2048, "pyramid": 256, "box": 1024, "decoder": 256,
    "head": 512,
}  # fmt: skip
WIDTHS: Widths = {"stem": 8, "res2": 16, "res3": 32, "res4": 64, "res5": 128, "pyramid": 64, "box": 24, "decoder": 16,
                  "head": 32}  # fmt: skip
"""Channels of the layers. The pyramid's are twice the 32 groups of its normalisation, for one number is no group."""


def charts(people: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of people whose body fills the middle of their box; U and V leave 0 to 1 here and there, as real ones do."""
    made = torch.Generator().manual_seed(seed)

    def smooth(channels: int, low: float, high: float) -> Tensor:
        coarse = torch.rand(people, channels, 5, 5, generator=made) * (high - low) + low
        return nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic")

    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    body = (0.8 - x**2 - y**2).expand(people, SIDE, SIDE)
    return torch.stack([-body, body], 1), smooth(25, 0, 9), smooth(25, -0.1, 1.1), smooth(25, -0.1, 1.1)


def shapes(blocks: Sequence[int] = (1, 1, 1, 1), widths: Widths = WIDTHS) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a network with so many blocks in its stages, in detectron2's names."""
    found: dict[str, tuple[int, ...]] = {}
    width, head, inside = widths["pyramid"], widths["head"], widths["decoder"]

    def convolution(name: str, outputs: int, inputs: int, kernel: int, norm: str = "bias") -> None:
        found[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        if norm == "frozen":
            for part in ("weight", "bias", "running_mean", "running_var"):
                found[f"{name}.norm.{part}"] = (outputs,)
        elif norm == "groups":
            found[f"{name}.norm.weight"] = found[f"{name}.norm.bias"] = (outputs,)
        elif norm == "bias":
            found[f"{name}.bias"] = (outputs,)

    convolution("backbone.bottom_up.stem.conv1", widths["stem"], 3, 7, "frozen")
    inputs = widths["stem"]
    for stage, count in zip((2, 3, 4, 5), blocks, strict=True):
        outputs, middle = widths[f"res{stage}"], widths[f"res{stage}"] // 4
        for number in range(count):
            block = f"backbone.bottom_up.res{stage}.{number}"
            if outputs != inputs:
                convolution(f"{block}.shortcut", outputs, inputs, 1, "frozen")
            convolution(f"{block}.conv1", middle, inputs, 1, "frozen")
            convolution(f"{block}.conv2", middle, middle, 3, "frozen")
            convolution(f"{block}.conv3", outputs, middle, 1, "frozen")
            inputs = outputs
        convolution(f"backbone.fpn_lateral{stage}", width, outputs, 1)
        convolution(f"backbone.fpn_output{stage}", width, width, 3)
    convolution("proposal_generator.rpn_head.conv", width, width, 3)
    convolution("proposal_generator.rpn_head.objectness_logits", 3, width, 1)
    convolution("proposal_generator.rpn_head.anchor_deltas", 12, width, 1)
    box = widths["box"]
    linear = {"box_head.fc1": (box, width * 49), "box_head.fc2": (box, box)}
    for name, shape in {**linear, "box_predictor.cls_score": (2, box), "box_predictor.bbox_pred": (4, box)}.items():
        found[f"roi_heads.{name}.weight"], found[f"roi_heads.{name}.bias"] = shape, shape[:1]
    for level, count in (("p2", 1), ("p3", 1), ("p4", 2), ("p5", 3)):
        for number in range(count):
            convolution(f"roi_heads.decoder.{level}.{2 * number}", inside, inside if number else width, 3)
    convolution("roi_heads.decoder.predictor", width, inside, 1)
    for number, kernel in enumerate((1, 3, 3, 3, 1)):
        place = 1 if number == 4 else 0  # behind the mean of the box
        name = f"roi_heads.densepose_head.ASPP.convs.{number}"
        convolution(f"{name}.{place}", width, width, kernel, "none")
        found[f"{name}.{place + 1}.weight"] = found[f"{name}.{place + 1}.bias"] = (width,)
    convolution("roi_heads.densepose_head.ASPP.project.0", width, 5 * width, 1, "none")
    for number in range(1, 9):
        convolution(
            f"roi_heads.densepose_head.body_conv_fcn{number}", head, width if number == 1 else head, 3, "groups"
        )
    for name, channels in (("ann_index", 2), ("index_uv", 25), ("u", 25), ("v", 25)):
        found[f"roi_heads.densepose_predictor.{name}_lowres.weight"] = (head, channels, 4, 4)
        found[f"roi_heads.densepose_predictor.{name}_lowres.bias"] = (channels,)
    return found


def weights(bodies: int = 1, seed: int = 0, blocks: Sequence[int] = (1, 1, 1, 1)) -> dict[str, Tensor]:
    """Random weights. bodies: 1 for a body that fills every photo, 2 for several beside each other, 0 for none."""
    made = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for name, shape in shapes(blocks).items():
        values = torch.randn(shape, generator=made)
        if name.endswith("running_var"):
            state[name] = values.abs() + 0.5
        elif len(shape) > 1:
            state[name] = values * (1.4 / math.sqrt(math.prod(shape[1:])))
        elif name.endswith("weight"):
            # Else what many blocks add up would grow without end.
            state[name] = (1 + 0.1 * values) * (0.2 if ".conv3." in name else 1.0)
        else:
            state[name] = 0.1 * values
    proposals, heads = "proposal_generator.rpn_head", "roi_heads.box_predictor"
    # Photos have numbers up to 150, so the features are large: boxes and scores come from the biases nearly alone.
    state[f"{proposals}.anchor_deltas.weight"] *= 1e-4
    state[f"{heads}.bbox_pred.weight"] *= 1e-3
    state[f"{heads}.cls_score.weight"] *= 1e-3
    state[f"{heads}.cls_score.bias"] = torch.tensor([-9.0, 9.0] if bodies == 0 else [4.0, -4.0])
    # Right, down, and the logarithms of how many times wider and higher than before a box becomes.
    larger = 4.0 if bodies == 1 else 0.5
    state[f"{proposals}.anchor_deltas.bias"] = torch.tensor([0.0, 0.0, larger, 1.0]).repeat(3)
    # The second time, five times as much of these.
    state[f"{heads}.bbox_pred.bias"] = torch.tensor([0.0, 0.0, 5 * larger, 5 * 4.0])
    surface = "roi_heads.densepose_predictor"
    state[f"{surface}.ann_index_lowres.bias"] = torch.tensor([-2.0, 2.0])
    state[f"{surface}.index_uv_lowres.bias"][0] = -9.0
    for chart in ("u", "v"):
        state[f"{surface}.{chart}_lowres.weight"] *= 0.1
        state[f"{surface}.{chart}_lowres.bias"] += 0.5
    return state


class Holder(nn.Module):
    """Modules and tensors by their names."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for name in dict.fromkeys(name.partition(".")[0] for name in state):
            if name in state:
                self.register_buffer(name, state[name])
                continue
            below = {key.partition(".")[2]: one for key, one in state.items() if key.startswith(f"{name}.")}
            self.add_module(name, Holder(below))


class Exported(nn.Module):
    """An exported network: its weights are those of the model within it."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.model = Holder(state)

    def forward(self, image: Tensor) -> Tensor:
        torch.save(image, "written_by_the_code_of_an_archive")  # CODE_RAN
        return image


def save(path: Path, bodies: int = 1, seed: int = 0) -> Path:
    """The network as a TorchScript file. bodies: see `weights`."""
    return archive(path, weights(bodies, seed))


def archive(path: Path, state: dict[str, Tensor]) -> Path:
    """These weights as a TorchScript file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.save(torch.jit.script(Exported(state)), str(path))
    return path
