"""Who stands where, found by a network's attention to what belongs to each person: the formulas.

One layer at one step says it, of one row of the batch:

    scores   how much each cell of the picture reads of each person's tokens
    hidden   what self-attention, or the picture's part of joint attention, gives for each cell

Where bodies are known, a body belongs to the person whose scores are highest in it, one to one. Where nothing is known,
a person's core is the cells that read this person most and the others least, and a cell is the person's by both: how
much it reads them, and how like their core it is. Attention to words knows who at once, and only roughly where.

P: people. N: cells of the layer, h * w. H: heads. T: tokens. C: channels.
Source of scores, cores and owners: FreeFuse (arXiv 2510.23515, github.com/yaoliliu/FreeFuse, Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..checks.errors import LikenessError, joined
from ..persons.matching import assigned

_JOINT_SCALE = 1 / 1000
"""Of the logits of joint attention, instead of d ** -0.5: nearly flat, so that scores are nearly means of logits."""
_CORE = 0.1
"""The share of the cells that are a person's core."""
_ALIKE_IN_BODIES, _ALIKE_IN_CELLS = 0.9, 0.7
"""The largest correlation of the maps of two people who are told apart, where bodies are known and where they are not.
On the toy model, 60 groups of two to four with people more and less alike: below it 0.99 of the bodies and 0.87 of the
cells are given to the right person, in all groups 0.89 and 0.79."""
_FLAT = 1e-5
"""Scores that vary less than this, in parts of their mean, are rounding errors."""
_SOMEBODY = 0.3
"""How far above its mean, in spreads, a map has to be where somebody stands."""
_NEIGHBOURS = 3.0
"""How much the cells around count for a cell, in spreads of a map."""
_SPECK = 0.25
"""Pieces of a person's cells that are smaller than this part of the largest are left out."""
_LEAST, _MOST = 0.02, 0.9
"""Of the picture, what one of several people has at least and at most."""


class PlacesNotFound(LikenessError):
    """Nobody is placed, because the model does not say who stands where."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"Find Places has placed nobody: {why}.",
            "Describe each person in words that a picture can show and that fit nobody else (hair, clothes, age), "
            "raise look_at, or give the places by hand (Place Cast).",
        )


def scores_of_cross_attention(weights: Tensor, tokens: Sequence[Sequence[int]]) -> Tensor:
    """How much each cell reads of each person's tokens: (P, N), the mean over heads and the person's tokens.

    weights: (H, N, T), after the softmax over the text. tokens: the indices of each person's tokens in it.
    """
    # (H, N, tokens of the person) -> (N,) for each person
    return torch.stack([weights[:, :, list(person_tokens)].mean((0, 2)) for person_tokens in tokens])


def scores_of_joint_attention(queries: Tensor, keys: Tensor, tokens: Sequence[Sequence[int]]) -> Tensor:
    """How much each cell reads of each person's tokens: (P, N), the mean over heads and the person's tokens.

    The softmax is over the cells of the picture, for each token and head by itself.
    queries: (H, N, d) of the picture. keys: (H, T, d). Both as attention multiplies them, after RoPE. tokens: the
    indices of each person's tokens among the T.
    """
    scores: list[Tensor] = []
    for person_tokens in tokens:
        logits = queries @ keys[:, list(person_tokens)].mT * _JOINT_SCALE  # (H, N, tokens of the person)
        scores.append(logits.softmax(1).mean((0, 2)))
    return torch.stack(scores)


def contrasted(scores: Tensor) -> Tensor:
    """P times a person's own score, minus the scores of all others: (P, N). scores: (P, N)."""
    # (P + 1) * own - (own + others)
    return (len(scores) + 1) * scores - scores.sum(0)


def likeness_to_cores(contrasts: Tensor, hidden: Tensor) -> Tensor:
    """How like each person's core each cell is: (P, N). contrasts: (P, N). hidden: (N, C).

    A person's core are the cells with the largest contrasts, _CORE of all cells. The likeness of a cell is its mean
    product with the cells of the core, which equals the product with their mean.
    """
    count = max(1, int(contrasts.shape[1] * _CORE))
    cores = contrasts.topk(count).indices  # (P, count)
    core_means = hidden[cores].mean(1)  # (P, count, C) -> (P, C)
    return core_means @ hidden.T


def evened(maps: Tensor) -> Tensor:
    """The maps (P, N), each brought to mean 0 and spread 1, so that nobody has larger numbers than others."""
    return (maps - maps.mean(1, keepdim=True)) / maps.std(1, keepdim=True).clamp(min=1e-12)


def smoothness(maps: Tensor, size: tuple[int, int]) -> float:
    """How much neighbouring cells of maps (P, N) have like values: about 1 for smooth maps, about 0 for noise.

    It tells a layer that knows who stands where from the others, whose maps are noise. size: (h, w).
    """
    grids = evened(maps).view(len(maps), *size)
    beside = (grids[:, :, 1:] * grids[:, :, :-1]).mean()  # of each cell and the one to its left
    below = (grids[:, 1:] * grids[:, :-1]).mean()  # of each cell and the one above it
    # NaN, from maps of one row or column or from NaN in a map, counts as noise.
    return float((beside + below).nan_to_num() / 2)


def bodies_of_people(scores: Tensor, bodies: Tensor, names: Sequence[str]) -> list[int]:
    """For each person the number of their body: one to one, so that the sum of all scores is largest.

    scores: (P, N). bodies: (bodies, N) 0..1, at least as many as people. names: of the people. Raises PlacesNotFound
    where the model does not tell the people apart.
    """
    _check_not_flat(scores)
    maps = evened(contrasted(scores))
    _check_apart(maps, names, _ALIKE_IN_BODIES)
    in_bodies = maps @ bodies.T / bodies.sum(1).clamp(min=1e-6)  # (P, bodies), the mean of each map in each body
    numbers = assigned(in_bodies)
    # Nobody is None, because there are enough bodies; the test is for the type alone.
    return [number for number in numbers if number is not None]


def cells_of_people(scores: Tensor, hidden: Tensor, size: tuple[int, int], names: Sequence[str]) -> Tensor:
    """The cells in which each person stands: masks (P, h, w) of 0 and 1, none of which share a cell.

    scores: (P, N). hidden: (N, C). size: (h, w). names: of the people. Raises PlacesNotFound where the model does not
    tell the people apart, or somebody would have hardly anything or nearly all of the picture.
    """
    _check_not_flat(scores)
    contrasts = contrasted(scores)
    likeness = likeness_to_cores(contrasts, hidden)
    maps = evened(evened(contrasts) + evened(likeness))  # (P, N); evened first, so that both count equally
    _check_apart(maps, names, _ALIKE_IN_CELLS)
    nobody = torch.full_like(maps[0], _SOMEBODY)  # (N,)
    masks = masks_of(maps, size, nobody, Balance(_NEIGHBOURS))  # (P, N)
    masks = torch.stack([_without_specks(mask.view(size)) for mask in masks])
    for name, mask in zip(names, masks, strict=True):
        share = float(mask.mean())
        is_alone = len(names) == 1
        if share < _LEAST or (share > _MOST and not is_alone):
            raise PlacesNotFound(f"{name} would have {share:.0%} of the picture")
    return masks


def _without_specks(mask: Tensor) -> Tensor:
    """A mask (h, w) of 0 and 1 without the pieces that are smaller than _SPECK of its largest piece.

    A head is looked for at the top of a mask, and a speck would be taken for it.
    """
    import scipy.ndimage  # pyright: ignore[reportMissingTypeStubs]

    ndimage: Any = scipy.ndimage
    if not mask.any():
        return mask
    labels, _ = ndimage.label(mask.numpy())
    pieces = torch.as_tensor(labels, dtype=torch.long)  # (h, w): the number of each cell's piece, 0 outside of the mask
    sizes = torch.bincount(pieces.flatten())  # (pieces + 1,), in cells
    is_large = sizes >= float(sizes[1:].max()) * _SPECK
    is_large[0] = False  # what is outside of the mask is no piece
    return is_large[pieces].float()


def _check_not_flat(scores: Tensor) -> None:
    """Raise PlacesNotFound unless everybody's scores (P, N) differ from cell to cell by more than rounding errors."""
    spread = scores.std(1) / scores.mean(1)  # (P,)
    if not bool((spread > _FLAT).all()):  # NaN is not above _FLAT, so it raises, too
        raise PlacesNotFound("the model reads about everybody equally in the whole picture")


def _check_apart(maps: Tensor, names: Sequence[str], most: float) -> None:
    """Raise PlacesNotFound for people whose maps correlate more than `most`. maps: (P, N), as `evened` gives them."""
    # Of evened maps the mean product is the correlation.
    alike = maps @ maps.T / maps.shape[1] > most  # (P, P)
    is_like_another = alike.sum(1) > 1  # everybody is like themselves
    people = [name for name, is_like in zip(names, is_like_another, strict=True) if is_like]
    if people:
        raise PlacesNotFound(f"{joined(people)} look the same to the model so far")


@dataclass(frozen=True)
class Balance:
    """What counts for the owner of a cell besides the maps.

    neighbours: how much the shares of the cells around count, in the unit of the maps.
    rate: the first step of the pull towards equal areas, in ranges of the maps.
    gravity: of the pull to the middle of a person's cells, in the unit of the maps.
    wide: for that pull, how many times wider than high the picture counts.
    """

    neighbours: float
    rate: float = 0.0
    gravity: float = 0.0
    wide: float = 1.3


_ROUNDS = 15
_KEPT = 0.2
"""How much of a round's soft shares stays in the next one."""
_NEXT_STEP = 0.95
"""The step of the pull towards equal areas becomes smaller by this factor from round to round."""
_MOST_BIAS = 10
"""The most that this pull adds to a map or takes from it, in ranges of the maps."""


def masks_of(maps: Tensor, size: tuple[int, int], nobody: Tensor, balance: Balance) -> Tensor:
    """Masks (P, N) of 0 and 1, none of which share a cell. maps: (P, N). size: (h, w).

    nobody: (N,). A cell belongs to nobody where all maps are below this number of the cell.
    """
    somebody = maps.amax(0) >= nobody  # (N,)
    owners = _owners(maps, size, balance)  # (N,)
    return functional.one_hot(owners, len(maps)).T * somebody.float()


def _owners(maps: Tensor, size: tuple[int, int], balance: Balance) -> Tensor:
    """The index of the person who owns each cell, (N,): whose adjusted map is highest there after _ROUNDS rounds.

    Each round adjusts the maps (P, N) anew, in three ways:
    - balance.neighbours: a cell gains for a person by the person's shares of the cells around;
    - balance.gravity: a cell loses by its squared distance from the middle of the person's cells;
    - balance.rate: the whole map of a person is lowered where the person owns more than an equal part of the cells,
      and raised where less.
    """
    people, cells = maps.shape
    scale = max(float(maps.max() - maps.min()), 1e-4)  # the range of the maps
    bias = maps.new_zeros(people, 1)  # what is taken from the whole map of each person
    shares = _from_0_to_1(maps)  # (P, N), soft: how much of each cell is a person's
    adjusted = maps
    for number in range(_ROUNDS):
        unbiased = adjusted - bias  # `adjusted` holds the bias of the last round already: it is subtracted twice
        shares = (1 - _KEPT) * _from_0_to_1(unbiased) + _KEPT * shares
        counts = torch.bincount(unbiased.argmax(0), minlength=people)  # (P,), how many cells each owns so far
        step = balance.rate * scale * _NEXT_STEP**number
        bias = bias + (counts - cells / people).sign()[:, None] * step
        bias = bias.clamp(-_MOST_BIAS * scale, _MOST_BIAS * scale)
        away = _squared_distances(shares, size, balance.wide)
        adjusted = maps - bias + _means_around(shares, size) * balance.neighbours - away * balance.gravity
    return adjusted.argmax(0)


def _means_around(shares: Tensor, size: tuple[int, int]) -> Tensor:
    """For each cell and person the mean share of the eight cells around, 0 off the picture: (P, N), as `shares`."""
    people = len(shares)
    around = torch.full((people, 1, 3, 3), 1 / 8, dtype=torch.float32)
    around[:, :, 1, 1] = 0  # the cell itself
    grids = shares.view(1, people, *size)
    return functional.conv2d(grids, around, padding=1, groups=people).view(people, -1)  # groups: each person alone


def _squared_distances(shares: Tensor, size: tuple[int, int], wide: float) -> Tensor:
    """How far each cell is from the middle of each person's shares, squared: (P, N), as `shares`.

    The picture is 2 high, and 2 * `wide` wide.
    """
    height, width = size
    ys = torch.linspace(-1, 1, height, dtype=torch.float32).repeat_interleave(width)  # (N,)
    xs = torch.linspace(-1, 1, width, dtype=torch.float32).repeat(height) * wide
    sums = shares.sum(1, keepdim=True) + 1e-6  # (P, 1)
    middle_y = (shares * ys).sum(1, keepdim=True) / sums
    middle_x = (shares * xs).sum(1, keepdim=True) / sums
    return (ys - middle_y) ** 2 + (xs - middle_x) ** 2


def _from_0_to_1(maps: Tensor) -> Tensor:
    """Each map (P, N) stretched so that its least number is 0 and its largest 1."""
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    return (maps - low) / (high - low + 1e-8)
