"""A network of the signature of the published DensePose files, written in a moment: what it finds is made up."""

from pathlib import Path

import torch
from torch import Tensor, nn

SIDE = 28
"""Of its charts."""


class Network(nn.Module):
    """Returns for every picture the bodies it was made with, as long as it is uint8 (3, H, W); boxes in parts of it."""

    boxes: Tensor
    inside: Tensor
    parts: Tensor
    u: Tensor
    v: Tensor

    def __init__(self, boxes: Tensor, charts: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        super().__init__()
        self.register_buffer("boxes", boxes)
        for name, chart in zip(("inside", "parts", "u", "v"), charts, strict=True):
            self.register_buffer(name, chart)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        if image.dim() != 3 or image.size(0) != 3 or image.dtype != torch.uint8:
            raise RuntimeError("a picture is needed")
        sides = torch.tensor([image.size(2), image.size(1), image.size(2), image.size(1)], device=image.device)
        return self.boxes * sides, self.inside, self.parts, self.u, self.v


def charts(people: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of people whose body fills the middle of their box; U and V leave 0 to 1 here and there, as real ones do."""
    made = torch.Generator().manual_seed(seed)

    def smooth(channels: int, low: float, high: float) -> Tensor:
        coarse = torch.rand(people, channels, 5, 5, generator=made) * (high - low) + low
        return nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic")

    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    body = (0.8 - x**2 - y**2).expand(people, SIDE, SIDE)
    return torch.stack([-body, body], 1), smooth(25, 0, 9), smooth(25, -0.1, 1.1), smooth(25, -0.1, 1.1)


def save(path: Path, boxes: list[list[float]], seed: int = 0) -> Path:
    """The network as a TorchScript file. boxes: x0, y0, x1, y1 in parts of the picture, the surest first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    network = Network(torch.tensor(boxes).reshape(-1, 4), charts(len(boxes), seed))
    torch.jit.save(torch.jit.script(network), str(path))
    return path
