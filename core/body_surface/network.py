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

from ..models.tensors import State, below
from .iuv import PARTS, Bodies

_VISION: Any = vision
"""torchvision publishes no types."""
_STEM = "backbone.bottom_up.stem.conv1.weight"
"""The weight of the first layer. Where a file has further words before this name, it has them before all names."""
_SURFACE = "roi_heads.densepose_head.body_conv_fcn"
"""The beginning of the names of the surface head's convolutions; their numbers follow, from 1."""
_MEAN = (103.530, 116.280, 123.675)
"""The means of blue, green and red, 0 to 255, over the photos that the network was trained with. They are subtracted
from a photo; it is not divided by a standard deviation."""
_SCORE = 0.8
"""A box with at least this score is a body: min_score of apply_net.py."""
_MOST_BODIES = 100
_MOST_PROPOSALS = 1000
"""The most proposals of each level of the pyramid before overlapping ones are left out, and of all levels
afterwards."""
_STRIDES = (4, 8, 16, 32, 64)
"""Pixels of the photo between two places of a level of the pyramid, p2 to p6."""
_ANCHOR_STRIDES = 8
"""Side of the square boxes that a level starts from, in its strides: 32 pixels on p2 to 512 on p6."""
_RATIOS = (0.5, 1.0, 2.0)
"""Height over width of the boxes that a level starts from; all three have the area of the square one."""
_LARGEST_STEP = math.log(1000 / 16)
"""The logarithm of how many times larger a box may become."""
_PROPOSAL_OVERLAP = 0.7
_BODY_OVERLAP = 0.5
"""The largest overlap of two boxes that both stay, as intersection over union."""
_MIDDLE_WEIGHT, _SIZE_WEIGHT = 10.0, 5.0
"""The factors by which the box head was trained to multiply what it says, see `moved`."""
_BOX_SIDE = 7
_SURFACE_SIDE = 28
"""Sides of the square of features that is cut out for a box: for the box head, and for the surface head."""
_WIDEST = 4096
"""The most channels of a layer; the published networks have 2,048. The features of a wider one fill the memory."""


def own_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of `DensePose` by the names of its layers, as float32, from those of an exported network.

    tensors: what the file holds. The exported network may be wrapped in another module, so that all names begin with
    the same words, and it may hold further weights, which are left out. Normalisations with fixed statistics become
    part of the convolution before them. Raises ValueError, saying what is missing.
    """
    prefixes = [name.removesuffix(_STEM) for name in tensors if name.endswith(_STEM)]
    if not prefixes:
        raise ValueError(f"it has no {_STEM}")
    prefix = min(prefixes, key=len)  # of several networks in one file the least wrapped one
    weights = below(prefix, tensors)
    _check_widths(weights)
    folded = _with_folded_normalisations(weights)
    with torch.device("meta"):  # only the names are needed, no memory
        names = list(DensePose(folded).state_dict())
    for name in names:
        if name not in folded:
            raise ValueError(f"it has no {name}")
    return {name: folded[name].float().contiguous() for name in names}


def _check_widths(weights: State) -> None:
    """Raise ValueError for a convolution with more channels than such a network has."""
    for name, tensor in weights.items():
        if tensor.ndim == 4 and tensor.is_floating_point() and tensor.shape[0] > _WIDEST:
            raise ValueError(f"{name[:100]} has {tensor.shape[0]} channels where such a network has {_WIDEST} at most")


_NORM_EPSILON = 1e-5
"""Added to variances, as detectron2's FrozenBatchNorm2d does."""


def _with_folded_normalisations(weights: State) -> dict[str, Tensor]:
    """The weights with each convolution and the frozen batch normalisation after it as one convolution with a bias.

    In a file the normalisation is a part of its convolution ("layer.weight", "layer.norm.weight"). One without fixed
    statistics (group normalisation, of the surface head) cannot be folded: it stays a layer of NormalisedConvolution,
    where the convolution is called "layer.conv".
    """
    folded = dict(weights)
    for name in weights:
        if not name.endswith(".norm.weight"):
            continue
        layer = name.removesuffix(".norm.weight")
        if f"{layer}.norm.running_var" in weights:
            folded[f"{layer}.weight"], folded[f"{layer}.bias"] = _folded(layer, weights)
        elif f"{layer}.weight" in weights:
            folded[f"{layer}.conv.weight"] = weights[f"{layer}.weight"]
    return folded


def _folded(layer: str, weights: State) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that also does what the frozen normalisation behind it does.

    norm(conv(x)) = gain * (weight x - mean) / sqrt(variance + epsilon) + shift. With scale = gain / sqrt(variance +
    epsilon) that is (scale * weight) x + (shift - mean * scale).
    """
    weight = weights[f"{layer}.weight"].double()  # (out, in, h, w)
    norm = {name: tensor.double() for name, tensor in below(f"{layer}.norm.", weights).items()}  # (out,) each
    scale = norm["weight"] / (norm["running_var"] + _NORM_EPSILON).sqrt()
    bias = norm["bias"] - norm["running_mean"] * scale
    return (weight * scale.reshape(-1, 1, 1, 1)).float(), bias.float()


def _channels(state: State, layer: str) -> int:
    """The number of channels that a layer gives. layer: its name in the weights. Raises ValueError where it is
    missing."""
    name = f"{layer}.weight"
    if name not in state:
        raise ValueError(f"it has no {name}")
    return state[name].shape[0]


def _count(state: State, pattern: str, start: int = 0) -> int:
    """The number of layers whose names have consecutive numbers.

    pattern: the name of their weights with {} for the number. start: the first number.
    """
    count = 0
    while pattern.format(start + count) in state:
        count += 1
    return count


class Bottleneck(nn.Module):
    """A residual block: 1x1, 3x3 and 1x1, and a 1x1 beside them where the number of channels changes."""

    def __init__(self, ops: Any, inputs: int, middle: int, outputs: int, stride: int, **factory: Any) -> None:
        super().__init__()
        # The first convolution has the stride, as in the weights of MSRA that the training began with.
        self.conv1 = ops.Conv2d(inputs, middle, 1, stride=stride, **factory)
        self.conv2 = ops.Conv2d(middle, middle, 3, padding=1, **factory)
        self.conv3 = ops.Conv2d(middle, outputs, 1, **factory)
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = ops.Conv2d(inputs, outputs, 1, stride=stride, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        return functional.relu(self.conv3(x) + shortcut)


class Stem(nn.Module):
    """The first layer of the backbone: a convolution and a pool, each with stride 2."""

    def __init__(self, ops: Any, outputs: int, **factory: Any) -> None:
        super().__init__()
        self.conv1 = ops.Conv2d(3, outputs, 7, stride=2, padding=3, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """What these layers give: (1, 3, H, W) -> (1, C, H/4, W/4)."""
        x = functional.relu(self.conv1(x))
        return functional.max_pool2d(x, 3, stride=2, padding=1)


class ResNet(nn.Module):
    """The backbone: features of a photo at four sizes. widths: channels at each size."""

    def __init__(self, state: State, ops: Any, **factory: Any) -> None:
        super().__init__()
        channels = _channels(state, "backbone.bottom_up.stem.conv1")
        self.stem = Stem(ops, channels, **factory)
        self.widths: list[int] = []
        for stage in (2, 3, 4, 5):
            name = f"backbone.bottom_up.res{stage}"
            middle = _channels(state, f"{name}.0.conv1")
            outputs = _channels(state, f"{name}.0.conv3")
            blocks: list[nn.Module] = []
            for block in range(_count(state, name + ".{}.conv1.weight")):
                stride = 2 if stage > 2 and block == 0 else 1
                blocks.append(Bottleneck(ops, channels, middle, outputs, stride, **factory))
                channels = outputs
            self.add_module(f"res{stage}", nn.Sequential(*blocks))
            self.widths.append(outputs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """What these layers give: (1, 3, H, W) -> (1, widths[n], H/s, W/s) for s = 4, 8, 16 and 32."""
        x = self.stem(x)
        levels: list[Tensor] = []
        for stage in (2, 3, 4, 5):
            x = self.get_submodule(f"res{stage}")(x)
            levels.append(x)
        return levels


class Pyramid(nn.Module):
    """The feature pyramid: to every size of the backbone the coarser sizes are added, all in `width` channels."""

    def __init__(self, state: State, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.bottom_up = ResNet(state, ops, **factory)
        self.width = _channels(state, "backbone.fpn_lateral2")
        for stage, channels in zip((2, 3, 4, 5), self.bottom_up.widths, strict=True):
            self.add_module(f"fpn_lateral{stage}", ops.Conv2d(channels, self.width, 1, **factory))
            self.add_module(f"fpn_output{stage}", ops.Conv2d(self.width, self.width, 3, padding=1, **factory))

    def forward(self, x: Tensor) -> list[Tensor]:
        """What these layers give: (1, 3, H, W) -> (1, C, H/s, W/s) for s = 4, 8, 16, 32 and 64: the levels p2 to p6."""
        features = self.bottom_up(x)  # four sizes, of the stages 2 to 5
        levels: list[Tensor] = []  # the coarsest first
        coarser = None
        for stage, feature in zip((5, 4, 3, 2), reversed(features), strict=True):
            level = self.get_submodule(f"fpn_lateral{stage}")(feature)
            if coarser is not None:
                level = level + functional.interpolate(coarser, scale_factor=2.0, mode="nearest")
            coarser = level
            levels.append(self.get_submodule(f"fpn_output{stage}")(level))
        p6 = functional.max_pool2d(levels[0], 1, stride=2)  # every second place of p5
        return [*reversed(levels), p6]


class ProposalHead(nn.Module):
    """The layers that give two things for each anchor box of a level: a score, how likely it holds a body, and a move,
    which brings the box onto the body."""

    def __init__(self, width: int, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.conv = ops.Conv2d(width, width, 3, padding=1, **factory)
        self.objectness_logits = ops.Conv2d(width, len(_RATIOS), 1, **factory)
        self.anchor_deltas = ops.Conv2d(width, 4 * len(_RATIOS), 1, **factory)

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """What these layers give for a level (1, C, h, w): of each anchor box, in the order of `_anchor_boxes`, a score
        (h * w * 3,) and a move (h * w * 3, 4), see `moved`."""
        x = functional.relu(self.conv(level))
        # (3, h, w) -> (h, w, 3) -> flat; the 12 channels of moves are four numbers of each of three boxes.
        scores = self.objectness_logits(x)[0].movedim(0, -1).flatten()
        moves = self.anchor_deltas(x)[0].movedim(0, -1).reshape(-1, 4)
        return scores, moves


class _Scored(NamedTuple):
    """Boxes (N, 4) in pixels of the photo, and how likely each holds a body (N,)."""

    boxes: Tensor
    scores: Tensor


class Proposals(nn.Module):
    """Finds the boxes in which there may be bodies."""

    def __init__(self, width: int, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.rpn_head = ProposalHead(width, ops, **factory)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """The levels of the pyramid -> boxes (N, 4) in pixels, the likeliest first.

        size: (width, height) of the photo in pixels.
        """
        of_levels = [self._of_level(level, stride) for level, stride in zip(levels, _STRIDES, strict=True)]
        boxes = _clipped(torch.cat([found.boxes for found in of_levels]), size)  # (all, 4)
        scores = torch.cat([found.scores for found in of_levels])  # (all,)
        # Boxes of different levels are in different groups, and so not compared.
        # (all,)
        level_of = torch.cat([torch.full_like(found.scores, number) for number, found in enumerate(of_levels)])
        usable = boxes.isfinite().all(1) & scores.isfinite() & _has_area(boxes)
        boxes = boxes[usable]
        separate = _separate(boxes, scores[usable], level_of[usable], _PROPOSAL_OVERLAP)
        return boxes[separate[:_MOST_PROPOSALS]]

    def _of_level(self, level: Tensor, stride: int) -> _Scored:
        """The likeliest boxes of one level, (1, C, h, w). stride: pixels between two of its places."""
        scores, moves = self.rpn_head(level)
        best = scores.topk(min(len(scores), _MOST_PROPOSALS))
        anchors = _anchor_boxes(level.shape[2], level.shape[3], stride).to(level.device)
        return _Scored(moved(anchors[best.indices], moves[best.indices].float()), best.values.float())


def _anchor_boxes(height: int, width: int, stride: int) -> Tensor:
    """The boxes that a level of the pyramid starts from, (height * width * 3, 4) in pixels of the photo.

    Around every place of the level stands a box of each of _RATIOS. The order is that of ProposalHead: row by row,
    place by place, then the ratios. height, width: of the level, in places. stride: pixels between two places.
    """
    half_sizes: list[list[float]] = []
    for ratio in _RATIOS:
        box_width = math.sqrt((_ANCHOR_STRIDES * stride) ** 2 / ratio)
        half_sizes.append([box_width / 2, ratio * box_width / 2])
    half = torch.tensor(half_sizes, dtype=torch.float32)  # (3, 2): of width and height
    rows = torch.arange(height, dtype=torch.float32) * stride
    columns = torch.arange(width, dtype=torch.float32) * stride
    middles = torch.cartesian_prod(rows, columns).flip(-1)[:, None]  # (places, 1, 2): x and y, row by row
    return torch.cat([middles - half, middles + half], -1).reshape(-1, 4)


def moved(boxes: Tensor, moves: Tensor, middle_weight: float = 1.0, size_weight: float = 1.0) -> Tensor:
    """Boxes (N, 4) moved and resized as a layer says, (N, 4).

    moves: (N, 4), for each box how far its middle goes right, in widths of the box, and down, in heights; then the
    logarithms of the factors by which width and height grow. middle_weight, size_weight: the factors by which the layer
    was trained to multiply the first two numbers, and the last two.
    Source: detectron2, modeling/box_regression.py, Box2BoxTransform.apply_deltas.
    """
    # (N, 2) each: x and y, or width and height.
    sizes = boxes[:, 2:] - boxes[:, :2]
    middles = boxes[:, :2] + sizes / 2
    new_middles = moves[:, :2] / middle_weight * sizes + middles
    growth = (moves[:, 2:] / size_weight).clamp(max=_LARGEST_STEP).exp()
    new_half_sizes = growth * sizes / 2
    return torch.cat([new_middles - new_half_sizes, new_middles + new_half_sizes], 1)


def _clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) cut to the photo. size: its (width, height)."""
    width, height = size
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack([x0.clamp(0, width), y0.clamp(0, height), x1.clamp(0, width), y1.clamp(0, height)], 1)


def _has_area(boxes: Tensor) -> Tensor:
    """(N,) bool: whether boxes (N, 4) are wider and higher than 0."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def _separate(boxes: Tensor, scores: Tensor, groups: Tensor, most_overlap: float) -> Tensor:
    """Indices of boxes, the best first, without those that overlap a better one of the same group.

    boxes: (N, 4). scores, groups: (N,). most_overlap: the largest overlap that stays, as intersection over union.
    """
    indices: Tensor = _VISION.batched_nms(boxes, scores, groups, most_overlap)
    return indices


def _cut_out(level: Tensor, boxes: Tensor, side: int, stride: int) -> Tensor:
    """The features in boxes, (N, C, side, side), of a level (1, C, h, w).

    boxes: (N, 4) in pixels of the photo. stride: pixels between two places of the level.
    """
    boxes = boxes.to(level.dtype)
    features: Tensor = _VISION.roi_align(level, [boxes], side, 1 / stride, sampling_ratio=2, aligned=False)
    return features


class BoxHead(nn.Module):
    """Describes each box by D numbers."""

    def __init__(self, state: State, width: int, ops: Any, **factory: Any) -> None:
        super().__init__()
        hidden = _channels(state, "roi_heads.box_head.fc1")
        self.width = _channels(state, "roi_heads.box_head.fc2")
        self.fc1 = ops.Linear(width * _BOX_SIDE**2, hidden, **factory)
        self.fc2 = ops.Linear(hidden, self.width, **factory)

    def forward(self, features: Tensor) -> Tensor:
        """What these layers give: (N, C, 7, 7) -> (N, D)."""
        x = functional.relu(self.fc1(features.flatten(1)))
        return functional.relu(self.fc2(x))


class BoxPredictor(nn.Module):
    """Says whether a box holds a body, and how the box is to be moved onto it."""

    def __init__(self, width: int, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.cls_score = ops.Linear(width, 2, **factory)
        self.bbox_pred = ops.Linear(width, 4, **factory)

    def forward(self, x: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """The boxes of bodies, (M, 4), the surest first: moved onto the bodies, cut to the photo, at most _MOST_BODIES.

        x: (N, D), what BoxHead gives of the boxes. boxes: (N, 4), the proposals. size: (width, height) of the photo.
        """
        probabilities = self.cls_score(x).float().softmax(1)  # (N, 2): a body, and nothing
        scores = probabilities[:, 0]
        boxes = moved(boxes, self.bbox_pred(x).float(), _MIDDLE_WEIGHT, _SIZE_WEIGHT)
        usable = boxes.isfinite().all(1) & (scores > _SCORE)
        boxes = _clipped(boxes[usable], size)
        scores = scores[usable]
        one_group = torch.zeros_like(scores)  # any two boxes are compared
        best = _separate(boxes, scores, one_group, most_overlap=_BODY_OVERLAP)[:_MOST_BODIES]
        boxes = boxes[best]
        return boxes[_has_area(boxes)]


class Decoder(nn.Module):
    """The levels p2 to p5 of the pyramid as one, at the size of p2: their sum, after convolutions.

    The levels from p3 on are enlarged by 2 after each of their convolutions.
    """

    def __init__(self, state: State, width: int, ops: Any, **factory: Any) -> None:
        super().__init__()
        hidden = _channels(state, "roi_heads.decoder.p2.0")
        # Name of a level -> names of its convolutions. After each comes an enlargement, by which p5, which is 8 times
        # smaller than p2, gets its size; p2 has a convolution alone. Here `forward` enlarges: in the published network
        # enlargements are layers, which have the odd numbers.
        convolutions = {"p2": ("0",), "p3": ("0",), "p4": ("0", "2"), "p5": ("0", "2", "4")}
        for level, names in convolutions.items():
            layers = nn.Sequential()
            for name in names:
                inputs = width if name == "0" else hidden
                layers.add_module(name, ops.Conv2d(inputs, hidden, 3, padding=1, **factory))
            self.add_module(level, layers)
        self.predictor = ops.Conv2d(hidden, width, 1, **factory)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """What these layers give: levels (1, C, H/s, W/s) for s = 4, 8, 16 and 32 -> (1, C, H/4, W/4)."""
        p2, *coarser = levels
        total = functional.relu(self.get_submodule("p2")(p2))
        for name, level in zip(("p3", "p4", "p5"), coarser, strict=True):
            x = level
            for layer in self.get_submodule(name).children():
                x = functional.relu(layer(x))
                x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            total = total + x
        return self.predictor(total)


class Pooled(nn.Sequential):
    """Layers of which the first gives the mean of a box, and the others go on with it. The result is repeated at every
    place of the box."""

    def forward(self, input: Tensor) -> Tensor:  # torch's name
        """What these layers give: (N, C, h, w) -> (N, C, h, w), the same in every place of a box."""
        mean: Any = input
        for layer in self:
            mean = layer(mean)
        return functional.interpolate(mean, input.shape[2:], mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    """Five views of a box: of each place, of its surroundings at three distances, and of the whole.

    Atrous spatial pyramid pooling, of DeepLabV3.
    """

    def __init__(self, width: int, ops: Any, **factory: Any) -> None:
        super().__init__()

        def normalisation() -> list[nn.Module]:
            """The layers after each convolution; 32 groups of channels, as published."""
            return [ops.GroupNorm(32, width, **factory), nn.ReLU()]

        of_place = ops.Conv2d(width, width, 1, bias=False, **factory)
        views: list[nn.Module] = [nn.Sequential(of_place, *normalisation())]
        for dilation in (6, 12, 56):  # places between the kernel's numbers, as published
            around = ops.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False, **factory)
            views.append(nn.Sequential(around, *normalisation()))
        of_whole = ops.Conv2d(width, width, 1, bias=False, **factory)
        views.append(Pooled(nn.AdaptiveAvgPool2d(1), of_whole, *normalisation()))
        self.convs = nn.ModuleList(views)
        self.project = nn.Sequential(ops.Conv2d(5 * width, width, 1, bias=False, **factory), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """What these layers give: (N, C, h, w) -> (N, C, h, w)."""
        views = [view(x) for view in self.convs]
        return self.project(torch.cat(views, 1))


class NormalisedConvolution(nn.Module):
    """A 3x3 convolution, a group normalisation and a rectifier: (N, inputs, h, w) -> (N, outputs, h, w)."""

    def __init__(self, inputs: int, outputs: int, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.conv = ops.Conv2d(inputs, outputs, 3, padding=1, bias=False, **factory)
        self.norm = ops.GroupNorm(32, outputs, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """What these layers give: (N, inputs, h, w) -> (N, outputs, h, w)."""
        return functional.relu(self.norm(self.conv(x)))


class SurfaceHead(nn.Module):
    """The DeepLab head: what is seen of the surface of a body in its box."""

    def __init__(self, state: State, width: int, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.ASPP = ASPP(width, ops, **factory)
        self.width = _channels(state, f"{_SURFACE}1.conv")
        self.layers: list[str] = []  # their names, in the order in which they are called after ASPP
        count = _count(state, _SURFACE + "{}.conv.weight", start=1)
        for number in range(1, 1 + count):
            name = f"body_conv_fcn{number}"
            inputs = width if number == 1 else self.width
            self.layers.append(name)
            self.add_module(name, NormalisedConvolution(inputs, self.width, ops, **factory))

    def forward(self, x: Tensor) -> Tensor:
        """What these layers give: (N, C, 28, 28) -> (N, D, 28, 28)."""
        x = self.ASPP(x)
        for name in self.layers:
            x = self.get_submodule(name)(x)
        return x


class SurfacePredictor(nn.Module):
    """The charts of a body: what is body, which part a pixel shows, and U and V on each part.

    Charts are enlarged to four times their side: by a learnt layer to twice, then bilinear to twice that.
    """

    def __init__(self, width: int, ops: Any, **factory: Any) -> None:
        super().__init__()
        for name, channels in (("ann_index", 2), ("index_uv", PARTS + 1), ("u", PARTS + 1), ("v", PARTS + 1)):
            layer = ops.ConvTranspose2d(width, channels, 4, stride=2, padding=1, **factory)
            self.add_module(f"{name}_lowres", layer)

    def forward(self, x: Tensor) -> list[Tensor]:
        """What these layers give: (N, D, 28, 28) -> inside (N, 2, 112, 112), parts, U and V (N, 25, 112, 112)."""
        charts: list[Tensor] = []
        for name in ("ann_index", "index_uv", "u", "v"):
            chart = self.get_submodule(f"{name}_lowres")(x)
            charts.append(functional.interpolate(chart, scale_factor=2.0, mode="bilinear", align_corners=False))
        return charts


class Heads(nn.Module):
    """The heads that make bodies of features and proposed boxes: one for boxes, and one for the surface in them."""

    def __init__(self, state: State, width: int, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.box_head = BoxHead(state, width, ops, **factory)
        self.box_predictor = BoxPredictor(self.box_head.width, ops, **factory)
        self.decoder = Decoder(state, width, ops, **factory)
        self.densepose_head = SurfaceHead(state, width, ops, **factory)
        self.densepose_predictor = SurfacePredictor(self.densepose_head.width, ops, **factory)

    def forward(self, levels: Sequence[Tensor], boxes: Tensor, size: tuple[int, int]) -> Bodies:
        """The bodies in proposed boxes (N, 4).

        levels: of the pyramid, p2 to p6. size: (width, height) of the photo in pixels.
        """
        channels = levels[0].shape[1]
        features = levels[0].new_zeros(len(boxes), channels, _BOX_SIDE, _BOX_SIDE)
        level_of = _levels_of(boxes)
        for number, level in enumerate(levels[:4]):  # p2 to p5; p6 only proposes boxes
            on_level = level_of == number
            features[on_level] = _cut_out(level, boxes[on_level], _BOX_SIDE, _STRIDES[number])
        body_boxes = self.box_predictor(self.box_head(features), boxes, size)
        decoded = self.decoder(levels[:4])
        surface_features = self.densepose_head(_cut_out(decoded, body_boxes, _SURFACE_SIDE, _STRIDES[0]))
        inside, parts, u, v = self.densepose_predictor(surface_features)
        return Bodies(body_boxes, inside, parts, u, v)


def _levels_of(boxes: Tensor) -> Tensor:
    """The level of the pyramid that each box is cut out of, (N, 4) -> (N,), 0 for p2 to 3 for p5.

    A box of 224 x 224 pixels is cut out of p4, one of twice that side out of p5 (arXiv 1612.03144, equation 1).
    """
    widths = boxes[:, 2] - boxes[:, 0]
    heights = boxes[:, 3] - boxes[:, 1]
    sides = (widths * heights).sqrt()
    # The sides of a level's boxes are twice those of the level before. 1e-8 as in detectron2: a box without area has a
    # logarithm, too.
    level = (4 + (sides / 224 + 1e-8).log2()).floor().clamp(2, 5)  # 2 for p2 to 5 for p5
    return level.long() - 2


class DensePose(nn.Module):
    """The whole network.

    state: the weights, as `own_weights` gives them: from their shapes come the sizes of the layers. ops: the classes of
    the layers, torch's own or the host's.
    """

    def __init__(self, state: State, ops: Any = nn, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.backbone = Pyramid(state, ops, **factory)
        self.proposal_generator = Proposals(self.backbone.width, ops, **factory)
        self.roi_heads = Heads(state, self.backbone.width, ops, **factory)

    def forward(self, photo: Tensor) -> Bodies:
        """The bodies in a photo (3, H, W) of red, green and blue, 0 to 255; sides are multiples of 32."""
        mean = torch.tensor(_MEAN, device=photo.device, dtype=torch.float32).reshape(3, 1, 1)
        pixels = photo.float().flip(0) - mean  # blue, green and red
        levels = self.backbone(pixels[None])
        size = (photo.shape[2], photo.shape[1])
        proposals = self.proposal_generator(levels, size)
        return self.roi_heads(levels, proposals, size)
