"""DensePose's network: finds people in a photo, and which part of the body every pixel of them shows.

A Mask R-CNN with a ResNet as backbone (R_50_FPN_DL_s1x and R_101_FPN_DL_s1x): feature pyramid, proposals, boxes, and a
DeepLab head for the surface. The names of its layers are those of the weights; sizes are taken from the weights.

Sources: facebookresearch/detectron2, projects/DensePose/configs/densepose_rcnn_R_50_FPN_DL_s1x.yaml and
Base-DensePose-RCNN-FPN.yaml for the settings, projects/DensePose/apply_net.py for the score from which on a body
counts; arXiv 1703.06870 (Mask R-CNN), 1612.03144 (feature pyramids), 1706.05587 (DeepLabV3).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import ops as vision  # pyright: ignore[reportMissingTypeStubs]

from ..models.tensors import State
from .iuv import PARTS

_VISION: Any = vision
"""torchvision publishes no types."""
_STEM = "backbone.bottom_up.stem.conv1.weight"
"""The first layer: what stands before this name stands before all names in a file."""
_SURFACE = "roi_heads.densepose_head.body_conv_fcn"
_MEAN = (103.530, 116.280, 123.675)
"""Of blue, green and red, of 255, in the photos that the network was trained with; their spread is not divided by."""
_SCORE = 0.8
"""From which on a box is a body: min_score of apply_net.py."""
_MOST_BODIES = 100
_MOST_PROPOSALS = 1000
"""Of each level of the pyramid before overlapping ones are left out, and of all levels afterwards."""
_ANCHORS = (32.0, 64.0, 128.0, 256.0, 512.0)
"""Sides in pixels of the boxes that a level of the pyramid starts from, p2 to p6."""
_STRIDES = (4, 8, 16, 32, 64)
"""Pixels between two places of a level."""
_SHAPES = (0.5, 1.0, 2.0)
"""Height over width of these boxes."""
_LARGEST_STEP = math.log(1000 / 16)
"""The logarithm of how many times larger a box may become."""
_WIDEST = 4096
"""Channels of a layer; the published networks have 2,048. Wider ones fill the memory with what they give."""


class Found(NamedTuple):
    """N bodies, the surest first, as `iuv.read_bodies` reads them. boxes: (N, 4) x0, y0, x1, y1 in pixels. inside:
    (N, 2, h, w), none or body. parts, u, v: (N, 25, h, w)."""

    boxes: Tensor
    inside: Tensor
    parts: Tensor
    u: Tensor
    v: Tensor


def own_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of this network among those of an exported one, under its own names, as float32.

    Whoever exported it may have wrapped it, so all names may begin with the same words; it may hold more beside it.
    Normalisations of the backbone, which are fixed, become part of the convolution before them. Raises ValueError,
    saying what is missing.
    """
    prefixes = [name.removesuffix(_STEM) for name in tensors if name.endswith(_STEM)]
    if not prefixes:
        raise ValueError(f"it has no {_STEM}")
    prefix = min(prefixes, key=len)
    named = {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
    for name, tensor in named.items():
        if tensor.is_floating_point() and tensor.ndim and tensor.shape[0] > _WIDEST and tensor.ndim == 4:
            raise ValueError(f"{name[:100]} has {tensor.shape[0]} channels where such a network has {_WIDEST} at most")
    folded = _without_normalisations(named)
    with torch.device("meta"):
        wanted = DensePose(folded).state_dict()
    missing = [name for name in wanted if name not in folded]
    if missing:
        raise ValueError(f"it has no {missing[0]}")
    return {name: folded[name].float().contiguous() for name in wanted}


def _without_normalisations(named: State) -> dict[str, Tensor]:
    """Each convolution with the frozen batch normalisation behind it as one convolution with a bias."""
    folded = dict(named)
    for name in named:
        layer = name.removesuffix(".norm.weight")
        # A normalisation that is not fixed stays a layer beside its convolution, whose weights get a name of their own.
        if layer != name and f"{layer}.norm.running_var" not in named and f"{layer}.weight" in named:
            folded[f"{layer}.conv.weight"] = named[f"{layer}.weight"]
    for name, variance in named.items():
        if not name.endswith(".norm.running_var"):
            continue
        layer = name.removesuffix(".norm.running_var")
        weight, mean = named[f"{layer}.weight"], named[f"{layer}.norm.running_mean"]
        gain, shift = named[f"{layer}.norm.weight"], named[f"{layer}.norm.bias"]
        scale = gain.double() / (variance.double() + 1e-5).sqrt()
        # (out, in, h, w) times (out, 1, 1, 1)
        folded[f"{layer}.weight"] = (weight.double() * scale.reshape(-1, 1, 1, 1)).float()
        folded[f"{layer}.bias"] = (shift.double() - mean.double() * scale).float()
    return folded


def _channels(state: State, layer: str) -> int:
    """Of what a layer gives. Raises ValueError where it is not there."""
    name = f"{layer}.weight"
    if name not in state:
        raise ValueError(f"it has no {name}")
    return state[name].shape[0]


def _count(state: State, pattern: str, start: int = 0) -> int:
    """How many layers in a row there are. pattern: the name of their weights with {} for the number, from start on."""
    count = 0
    while pattern.format(start + count) in state:
        count += 1
    return count


class Bottleneck(nn.Module):
    """A residual block: 1x1, 3x3 and 1x1, and a 1x1 beside them where the number of channels changes."""

    def __init__(self, ops: Any, inputs: int, middle: int, outputs: int, stride: int, **where: Any) -> None:
        super().__init__()
        # The first convolution has the stride, as in the weights of MSRA that the training began with.
        self.conv1 = ops.Conv2d(inputs, middle, 1, stride, **where)
        self.conv2 = ops.Conv2d(middle, middle, 3, padding=1, **where)
        self.conv3 = ops.Conv2d(middle, outputs, 1, **where)
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = ops.Conv2d(inputs, outputs, 1, stride, **where)

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.shortcut is None else self.shortcut(x)
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        return functional.relu(self.conv3(x) + beside)


class Stem(nn.Module):
    def __init__(self, ops: Any, outputs: int, **where: Any) -> None:
        super().__init__()
        self.conv1 = ops.Conv2d(3, outputs, 7, 2, 3, **where)

    def forward(self, x: Tensor) -> Tensor:
        """(1, 3, H, W) -> (1, C, H/4, W/4)."""
        return functional.max_pool2d(functional.relu(self.conv1(x)), 3, 2, 1)


class ResNet(nn.Module):
    """The backbone: what it sees of a photo at four sizes."""

    def __init__(self, state: State, ops: Any, **where: Any) -> None:
        super().__init__()
        channels = _channels(state, "backbone.bottom_up.stem.conv1")
        self.stem = Stem(ops, channels, **where)
        self.widths: list[int] = []
        for stage in (2, 3, 4, 5):
            name = f"backbone.bottom_up.res{stage}"
            middle, outputs = _channels(state, f"{name}.0.conv1"), _channels(state, f"{name}.0.conv3")
            blocks: list[nn.Module] = []
            for block in range(_count(state, name + ".{}.conv1.weight")):
                stride = 2 if stage > 2 and block == 0 else 1
                blocks.append(Bottleneck(ops, channels, middle, outputs, stride, **where))
                channels = outputs
            self.add_module(f"res{stage}", nn.Sequential(*blocks))
            self.widths.append(outputs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(1, 3, H, W) -> (1, C, H/4, W/4), H/8, H/16 and H/32."""
        x = self.stem(x)
        levels: list[Tensor] = []
        for stage in (2, 3, 4, 5):
            x = self.get_submodule(f"res{stage}")(x)
            levels.append(x)
        return levels


class Pyramid(nn.Module):
    """Every size of the backbone with what the coarser ones see, in the same number of channels."""

    def __init__(self, state: State, ops: Any, **where: Any) -> None:
        super().__init__()
        self.bottom_up = ResNet(state, ops, **where)
        self.width = _channels(state, "backbone.fpn_lateral2")
        for stage, channels in zip((2, 3, 4, 5), self.bottom_up.widths, strict=True):
            self.add_module(f"fpn_lateral{stage}", ops.Conv2d(channels, self.width, 1, **where))
            self.add_module(f"fpn_output{stage}", ops.Conv2d(self.width, self.width, 3, padding=1, **where))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(1, 3, H, W) -> (1, C, H/4, W/4), H/8, H/16, H/32 and H/64: the levels p2 to p6."""
        features = self.bottom_up(x)
        levels: list[Tensor] = []
        coarser = None
        for stage in (5, 4, 3, 2):
            level = self.get_submodule(f"fpn_lateral{stage}")(features[stage - 2])
            if coarser is not None:
                level = level + functional.interpolate(coarser, scale_factor=2.0, mode="nearest")
            coarser = level
            levels.insert(0, self.get_submodule(f"fpn_output{stage}")(level))
        # p6: every second place of p5.
        levels.append(functional.max_pool2d(levels[-1], 1, 2))
        return levels


class ProposalHead(nn.Module):
    """How likely there is a body in each box that a level starts from, and how the box is to be moved."""

    def __init__(self, width: int, ops: Any, **where: Any) -> None:
        super().__init__()
        self.conv = ops.Conv2d(width, width, 3, padding=1, **where)
        self.objectness_logits = ops.Conv2d(width, len(_SHAPES), 1, **where)
        self.anchor_deltas = ops.Conv2d(width, 4 * len(_SHAPES), 1, **where)

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """(1, C, h, w) -> scores (h * w * 3,) and moves (h * w * 3, 4)."""
        x = functional.relu(self.conv(level))
        scores = self.objectness_logits(x)[0].movedim(0, -1).flatten()
        moves = self.anchor_deltas(x)[0].movedim(0, -1).reshape(-1, 4)
        return scores, moves


class Proposals(nn.Module):
    """Boxes where something may be."""

    def __init__(self, width: int, ops: Any, **where: Any) -> None:
        super().__init__()
        self.rpn_head = ProposalHead(width, ops, **where)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """The levels of the pyramid -> (N, 4), the likeliest first. size: (width, height) of the photo in pixels."""
        boxes, scores, numbers = list[Tensor](), list[Tensor](), list[Tensor]()
        for number, level in enumerate(levels):
            likely, moves = self.rpn_head(level)
            best = likely.topk(min(len(likely), _MOST_PROPOSALS))
            starts = _starting_boxes(level.shape[2], level.shape[3], _ANCHORS[number], _STRIDES[number]).to(
                level.device
            )
            boxes.append(moved(starts[best.indices], moves[best.indices].float(), (1, 1, 1, 1)))
            scores.append(best.values.float())
            numbers.append(torch.full_like(best.indices, number))
        every = _clipped(torch.cat(boxes), size)
        score, level_of = torch.cat(scores), torch.cat(numbers)
        usable = every.isfinite().all(1) & score.isfinite() & _of_some_size(every)
        every, score, level_of = every[usable], score[usable], level_of[usable]
        return every[_separate(every, score, level_of, 0.7)[:_MOST_PROPOSALS]]


def _starting_boxes(height: int, width: int, side: float, stride: int) -> Tensor:
    """(height * width * 3, 4): three boxes around every place of a level, in the order of the layers' channels."""
    shapes: list[list[float]] = []
    for shape in _SHAPES:
        wide = math.sqrt(side * side / shape)
        high = shape * wide
        shapes.append([-wide / 2, -high / 2, wide / 2, high / 2])
    y, x = torch.meshgrid(torch.arange(height) * stride, torch.arange(width) * stride, indexing="ij")
    # (h, w, 1, 4) + (3, 4)
    return (torch.stack([x, y, x, y], -1)[:, :, None] + torch.tensor(shapes)).reshape(-1, 4)


def moved(boxes: Tensor, moves: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Boxes (N, 4) by moves (N, 4): x and y in parts of the box, the logarithms of how much wider and higher it is,
    each times its weight."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    x, y = boxes[:, 0] + width / 2, boxes[:, 1] + height / 2
    right, down, wider, higher = (moves[:, n] / weight for n, weight in enumerate(weights))
    x, y = right * width + x, down * height + y
    width = wider.clamp(max=_LARGEST_STEP).exp() * width
    height = higher.clamp(max=_LARGEST_STEP).exp() * height
    return torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)


def _clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    width, height = size
    return torch.stack([boxes[:, n].clamp(0, (width, height)[n % 2]) for n in range(4)], 1)


def _of_some_size(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def _separate(boxes: Tensor, scores: Tensor, groups: Tensor, most: float) -> Tensor:
    """The numbers of boxes, the best first, of which no two of a group overlap by more than `most`."""
    numbers: Tensor = _VISION.batched_nms(boxes, scores, groups, most)
    return numbers


def _cut_out(level: Tensor, boxes: Tensor, side: int, stride: int) -> Tensor:
    """What a level (1, C, h, w) shows in boxes (N, 4) in pixels of the photo, (N, C, side, side)."""
    boxes = boxes.to(level.dtype)
    cut: Tensor = _VISION.roi_align(level, [boxes], side, 1 / stride, sampling_ratio=2, aligned=False)
    return cut


class BoxHead(nn.Module):
    def __init__(self, state: State, width: int, ops: Any, **where: Any) -> None:
        super().__init__()
        middle, self.width = _channels(state, "roi_heads.box_head.fc1"), _channels(state, "roi_heads.box_head.fc2")
        self.fc1 = ops.Linear(width * 49, middle, **where)
        self.fc2 = ops.Linear(middle, self.width, **where)

    def forward(self, cut: Tensor) -> Tensor:
        """(N, C, 7, 7) -> (N, D)."""
        return functional.relu(self.fc2(functional.relu(self.fc1(cut.flatten(1)))))


class BoxPredictor(nn.Module):
    def __init__(self, width: int, ops: Any, **where: Any) -> None:
        super().__init__()
        self.cls_score = ops.Linear(width, 2, **where)
        self.bbox_pred = ops.Linear(width, 4, **where)

    def forward(self, x: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, D) and their boxes (N, 4) -> the boxes of bodies (M, 4), the surest first."""
        scores = self.cls_score(x).float().softmax(1)[:, 0]
        boxes = moved(boxes, self.bbox_pred(x).float(), (10, 10, 5, 5))
        usable = boxes.isfinite().all(1) & (scores > _SCORE)
        boxes, scores = _clipped(boxes[usable], size), scores[usable]
        best = _separate(boxes, scores, torch.zeros_like(scores), 0.5)[:_MOST_BODIES]
        boxes = boxes[best]
        return boxes[_of_some_size(boxes)]


class Decoder(nn.Module):
    """The levels p2 to p5 as one, at the size of p2."""

    def __init__(self, state: State, width: int, ops: Any, **where: Any) -> None:
        super().__init__()
        inside = _channels(state, "roi_heads.decoder.p2.0")
        for level, convolutions in (("p2", 1), ("p3", 1), ("p4", 2), ("p5", 3)):
            layers = nn.Sequential()
            for number in range(convolutions):
                # An enlargement follows each; it has a number of its own in the names of weights.
                inputs = width if number == 0 else inside
                layers.add_module(str(2 * number), ops.Conv2d(inputs, inside, 3, padding=1, **where))
            self.add_module(level, layers)
        self.predictor = ops.Conv2d(inside, width, 1, **where)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """(1, C, H/4, W/4) and so on -> (1, C, H/4, W/4)."""
        total = None
        for number, level in enumerate(levels):
            for layer in self.get_submodule(f"p{number + 2}").children():
                level = functional.relu(layer(level))
                if number > 0:
                    level = functional.interpolate(level, scale_factor=2.0, mode="bilinear", align_corners=False)
            total = level if total is None else total + level
        return self.predictor(total)


class Pooled(nn.Sequential):
    """The mean of the whole box, at every place of it."""

    def forward(self, input: Tensor) -> Tensor:  # torch's name
        whole: Any = input
        for layer in self:
            whole = layer(whole)
        return functional.interpolate(whole, input.shape[2:], mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    """Five views of a box: of each place, of three surroundings, and of the whole."""

    def __init__(self, width: int, ops: Any, **where: Any) -> None:
        super().__init__()

        def normalised() -> list[nn.Module]:
            return [ops.GroupNorm(32, width, **where), nn.ReLU()]

        views: list[nn.Module] = [nn.Sequential(ops.Conv2d(width, width, 1, bias=False, **where), *normalised())]
        for reach in (6, 12, 56):
            view = ops.Conv2d(width, width, 3, padding=reach, dilation=reach, bias=False, **where)
            views.append(nn.Sequential(view, *normalised()))
        whole = ops.Conv2d(width, width, 1, bias=False, **where)
        views.append(Pooled(nn.AdaptiveAvgPool2d(1), whole, *normalised()))
        self.convs = nn.ModuleList(views)
        self.project = nn.Sequential(ops.Conv2d(5 * width, width, 1, bias=False, **where), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([view(x) for view in self.convs], 1))


class NormalisedConvolution(nn.Module):
    def __init__(self, inputs: int, outputs: int, ops: Any, **where: Any) -> None:
        super().__init__()
        self.conv = ops.Conv2d(inputs, outputs, 3, padding=1, bias=False, **where)
        self.norm = ops.GroupNorm(32, outputs, **where)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x)))


class SurfaceHead(nn.Module):
    def __init__(self, state: State, width: int, ops: Any, **where: Any) -> None:
        super().__init__()
        self.ASPP = ASPP(width, ops, **where)
        self.width = _channels(state, f"{_SURFACE}1.conv")
        self.layers: list[str] = []
        for number in range(1, 1 + _count(state, _SURFACE + "{}.conv.weight", 1)):
            inputs = width if number == 1 else self.width
            self.layers.append(f"body_conv_fcn{number}")
            self.add_module(self.layers[-1], NormalisedConvolution(inputs, self.width, ops, **where))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, 28, 28) -> (N, D, 28, 28)."""
        x = self.ASPP(x)
        for name in self.layers:
            x = self.get_submodule(name)(x)
        return x


class SurfacePredictor(nn.Module):
    """The charts, each enlarged twice to twice its size: learnt, then bilinear."""

    def __init__(self, width: int, ops: Any, **where: Any) -> None:
        super().__init__()
        for name, channels in (("ann_index", 2), ("index_uv", PARTS + 1), ("u", PARTS + 1), ("v", PARTS + 1)):
            self.add_module(f"{name}_lowres", ops.ConvTranspose2d(width, channels, 4, 2, 1, **where))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, D, 28, 28) -> inside (N, 2, 112, 112), parts, U and V (N, 25, 112, 112)."""
        charts: list[Tensor] = []
        for name in ("ann_index", "index_uv", "u", "v"):
            chart = self.get_submodule(f"{name}_lowres")(x)
            charts.append(functional.interpolate(chart, scale_factor=2.0, mode="bilinear", align_corners=False))
        return charts


class Heads(nn.Module):
    """What looks at boxes."""

    def __init__(self, state: State, width: int, ops: Any, **where: Any) -> None:
        super().__init__()
        self.box_head = BoxHead(state, width, ops, **where)
        self.box_predictor = BoxPredictor(self.box_head.width, ops, **where)
        self.decoder = Decoder(state, width, ops, **where)
        self.densepose_head = SurfaceHead(state, width, ops, **where)
        self.densepose_predictor = SurfacePredictor(self.densepose_head.width, ops, **where)

    def forward(self, levels: Sequence[Tensor], boxes: Tensor, size: tuple[int, int]) -> Found:
        cut = levels[0].new_zeros(len(boxes), levels[0].shape[1], 7, 7)
        level_of = _levels_of(boxes)
        for number, level in enumerate(levels[:4]):
            chosen = level_of == number
            cut[chosen] = _cut_out(level, boxes[chosen], 7, _STRIDES[number])
        bodies = self.box_predictor(self.box_head(cut), boxes, size)
        decoded = self.decoder(levels[:4])
        charts = self.densepose_predictor(self.densepose_head(_cut_out(decoded, bodies, 28, _STRIDES[0])))
        return Found(bodies, *charts)


def _levels_of(boxes: Tensor) -> Tensor:
    """(N, 4) -> (N,) 0 to 3: boxes of 224 x 224 pixels are cut out of p4, of twice the size out of p5."""
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    return (4 + (sides / 224 + 1e-8).log2()).floor().clamp(2, 5).long() - 2


class DensePose(nn.Module):
    """state: the weights, as `own_weights` gives them: from their shapes come the sizes of the layers."""

    def __init__(self, state: State, ops: Any = nn, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        self.backbone = Pyramid(state, ops, **where)
        self.proposal_generator = Proposals(self.backbone.width, ops, **where)
        self.roi_heads = Heads(state, self.backbone.width, ops, **where)

    def forward(self, photo: Tensor) -> Found:
        """The bodies in a photo (3, H, W) of red, green and blue, 0 to 255; sides are multiples of 32."""
        mean = torch.tensor(_MEAN, device=photo.device).reshape(3, 1, 1)
        pixels = photo.float().flip(0) - mean
        levels = self.backbone(pixels[None])
        size = (photo.shape[2], photo.shape[1])
        return self.roi_heads(levels, self.proposal_generator(levels, size), size)
