"""The face parser of facexlib, BiSeNet: which pixels of a face are skin, hair, ears, clothes and so on.

Source: "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation" (arXiv 1808.00897) and
facexlib/parsing/bisenet.py and resnet.py (MIT), for the keys of parsing_bisenet.pth.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ...core.models.tensors import State

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
"""By which pictures are normalised, RGB."""
_GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a grey."""
_BESIDE_THE_FACE = (0, 7, 8, 9, 14, 15, 16, 18)
"""Classes that become white: background, both ears, earring, neck, necklace, clothes, hat. Hair (17) stays."""
_NORMS = {
    "conv1": "bn1", "conv2": "bn2", "conv": "bn", "conv_atten": "bn_atten", "downsample.0": "downsample.1",
}  # fmt: skip
"""By the end of a convolution's name that of the norm behind it, where the file has one."""
_NORM_EPSILON = 1e-5
_UNREAD = ("conv_out16.", "conv_out32.")
"""Beginnings of keys of layers that are for training alone."""
_DEPTH = 2
"""Blocks of each of the four levels."""


def folded_state(state: State) -> dict[str, Tensor]:
    """The tensors of FaceParserNet: the file's convolutions, each with the batch norm behind it folded in.

    A norm subtracts a mean, divides by a deviation, and multiplies and adds. All of that is linear, so one convolution
    can do both. Raises KeyError for a norm of which a tensor is missing.
    """
    folded: dict[str, Tensor] = {}
    for key, tensor in state.items():
        is_convolution = key.endswith(".weight") and tensor.ndim == 4
        if not is_convolution or key.startswith(_UNREAD):
            continue
        name = key.removesuffix(".weight")
        norm = _norm_behind(name, state)
        weight = tensor.float()  # (out, in, side, side)
        bias = torch.zeros(len(weight), dtype=torch.float32)
        if norm:
            mean = state[f"{norm}.running_mean"].float()  # (out,), as the other three
            variance = state[f"{norm}.running_var"].float()
            gain = state[f"{norm}.weight"].float()
            offset = state[f"{norm}.bias"].float()
            factor = gain / (variance + _NORM_EPSILON).sqrt()
            weight = weight * factor[:, None, None, None]
            bias = offset - mean * factor
        folded[f"layers.{_as_module(name)}.weight"] = weight
        folded[f"layers.{_as_module(name)}.bias"] = bias
    return folded


def _norm_behind(name: str, state: State) -> str:
    """The name of the norm behind a convolution, "" for none."""
    for convolution, norm in _NORMS.items():
        if name.endswith(f".{convolution}"):
            norm_name = name.removesuffix(convolution) + norm
            if f"{norm_name}.running_mean" in state:
                return norm_name
    return ""


def _as_module(name: str) -> str:
    """A name of the file as the name of a module, which has no dots."""
    return name.replace(".", "_")


class FaceParserNet(nn.Module):
    """The network, in the sizes of a file's tensors."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        """state: of `folded_state`; gives the sizes."""
        super().__init__()
        self.layers = nn.ModuleDict()
        for key, tensor in state.items():
            _, name, kind = key.split(".")
            if kind == "weight":
                out, inside, side, _ = tensor.shape
                self.layers[name] = ops.Conv2d(inside, out, side, stride=_stride_of(name), padding=side // 2, **factory)

    def forward(self, pictures: Tensor) -> Tensor:
        """The logits of each class at each pixel, (n, 19, H, W). pictures: (n, 3, H, W), RGB 0..1."""
        eighth, context = self._details_and_context(pictures)
        # Details and context are fused, and each channel is raised by how much it matters in the whole picture.
        x = self._conv(torch.cat([eighth, context], dim=1), "ffm.convblk.conv").relu()
        gate = self._conv(x.mean(dim=(2, 3), keepdim=True), "ffm.conv1").relu()  # (n, C, 1, 1)
        gate = self._conv(gate, "ffm.conv2").sigmoid()
        x = self._conv(x * gate + x, "conv_out.conv.conv").relu()
        x = self._conv(x, "conv_out.conv_out")
        return functional.interpolate(x, pictures.shape[-2:], mode="bilinear", align_corners=True)

    def _details_and_context(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """What the pictures show in detail, and what around each point, (n, C, H / 8, W / 8) each."""
        eighth, sixteenth, last = self._levels(pictures)
        # What the whole picture shows, and then from coarse to fine what each level adds.
        whole = self._conv(last.mean(dim=(2, 3), keepdim=True), "cp.conv_avg.conv").relu()  # (n, C, 1, 1)
        context = self._refined(last, "cp.arm32") + whole
        context = self._conv(_enlarged(context, sixteenth), "cp.conv_head32.conv").relu()
        context = self._refined(sixteenth, "cp.arm16") + context
        return eighth, self._conv(_enlarged(context, eighth), "cp.conv_head16.conv").relu()

    def _levels(self, pictures: Tensor) -> list[Tensor]:
        """The last three levels of the ResNet, at 1/8, 1/16 and 1/32 of the picture's side."""
        mean = torch.tensor(_MEAN, dtype=torch.float32).to(pictures)[:, None, None]  # (3, 1, 1)
        deviation = torch.tensor(_DEVIATION, dtype=torch.float32).to(pictures)[:, None, None]
        x = self._conv((pictures - mean) / deviation, "cp.resnet.conv1").relu()
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        levels: list[Tensor] = []
        for level in (1, 2, 3, 4):
            for number in range(_DEPTH):
                x = self._residual(x, f"cp.resnet.layer{level}.{number}")
            levels.append(x)
        return levels[1:]

    def _conv(self, x: Tensor, name: str) -> Tensor:
        """What the convolution of this name in the file gives of x, (n, C, h, w)."""
        return self.layers[_as_module(name)](x)

    def _residual(self, x: Tensor, name: str) -> Tensor:
        """What a block gives: two convolutions, plus x, which is brought to their size where a level begins.

        x: (n, C, h, w).
        """
        out = self._conv(self._conv(x, f"{name}.conv1").relu(), f"{name}.conv2")
        if _as_module(f"{name}.downsample.0") in self.layers:
            x = self._conv(x, f"{name}.downsample.0")
        return (out + x).relu()

    def _refined(self, x: Tensor, name: str) -> Tensor:
        """What an attention refinement gives: a convolution, and then each channel times a number from 0 to 1.

        x: (n, C, h, w).
        """
        x = self._conv(x, f"{name}.conv.conv").relu()
        gate = self._conv(x.mean(dim=(2, 3), keepdim=True), f"{name}.conv_atten")  # (n, C, 1, 1)
        return x * gate.sigmoid()

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        self(zeros(1, 3, 64, 64))


def _stride_of(name: str) -> int:
    """The stride of a convolution by the name of its module.

    It is 2 for the very first convolution, and where a level other than the first begins.
    """
    begins_a_level = name.endswith(("_0_conv1", "_0_downsample_0")) and "_layer1_" not in name
    return 2 if begins_a_level or name == "cp_resnet_conv1" else 1


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    """x in the size of another tensor, by the nearest pixel."""
    return functional.interpolate(x, like.shape[-2:], mode="nearest")


def face_alone(pictures: Tensor, logits: Tensor) -> Tensor:
    """Pictures of faces as EVA-CLIP is shown them: face and hair in grey, all else white. (n, 3, H, W).

    pictures: (n, 3, H, W), RGB 0..1. logits: of FaceParserNet, (n, 19, H, W).
    """
    classes = logits.argmax(dim=1, keepdim=True)  # (n, 1, H, W)
    is_beside = torch.isin(classes, torch.tensor(_BESIDE_THE_FACE, device=classes.device))
    grey = (pictures * torch.tensor(_GREY, dtype=torch.float32).to(pictures)[:, None, None]).sum(dim=1, keepdim=True)
    return torch.where(is_beside, torch.ones_like(grey), grey).expand_as(pictures)
