"""The passes of a ControlNet of FLUX.1 that reads tokens of people: what each is given, and the sum of all results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.attention.cross_attention import on_tokens, region_weights
from ...core.cast import Member
from ..sampling.areas import Area
from ..sampling.model_conds import cut_regions

Residuals = dict[str, Sequence[Tensor]]
"""What the host's network returns: for "input" (double blocks) and "output" (single blocks) a tensor (B, N, width) per
block."""
TOKEN_CELLS = 2
"""How many latent pixels of FLUX.1 a token is wide and high."""


@dataclass(frozen=True, eq=False)
class NetOfPeople:
    """Whom a ControlNet is for, and what it reads of them.

    name: of the net, for messages. people, regions, boxes, by_row: as in Scope. tokens: (people, T, width) float32 on
    the CPU. guidance: what the net is given, whatever guidance the MODEL has. advice: what to load, for errors.
    """

    name: str
    people: Sequence[Member]
    regions: Tensor | None
    boxes: Tensor | None
    by_row: bool
    tokens: Tensor
    guidance: float
    advice: str


@dataclass(frozen=True, eq=False)
class PersonPass:
    """What the net is given in one of its passes, for all B rows of a forward, on their device.

    hint: (B, C, h, w), the latent of the keypoint picture.
    tokens: (B, T, width), the face tokens that are read in place of a text.
    visible: (B, 1, h, w), 1 where the net sees the sampled latent and 0 elsewhere; None where it sees all of it.
    shares: (B, N, 1), what the residuals of each of the N picture tokens are multiplied with; (B, 1, 1) where one
    number holds for all tokens.
    """

    hint: Tensor
    tokens: Tensor
    visible: Tensor | None
    shares: Tensor


def passes_of(
    given: NetOfPeople,
    hints: Tensor,
    x: Tensor,
    latent: tuple[int, int],
    area: Area | None,
    people_of_rows: Sequence[int],
    dtype: torch.dtype,
) -> list[PersonPass]:
    """The passes for rows x, (B, C, h, w), which show the whole picture or an area of it.

    There is one pass for each person. Where each person has a row of the batch, there is a single pass for all.
    hints: (people or 1, C, h, w), of what the rows show. latent: (height, width) of the whole picture in latent pixels.
    area: that of the rows, None for the whole picture. people_of_rows: the number of the person in each row of an
    entry, read only where each person has a row. dtype: of the net.
    """
    height, width = x.shape[-2:]
    regions = _cut(given.regions, area, latent)
    # What the net sees of the picture is limited by the regions, also where it acts in the boxes of faces alone.
    visible = None if regions is None else _visible_pixels(regions, height, width)  # (people, 1, h, w)
    shares = _shares(given.people, regions, _cut(given.boxes, area, latent), height, width)  # (people, N or 1, 1)

    people_of_passes = [[number] for number in range(len(given.tokens))]  # one person in each pass
    if given.by_row:
        people_of_passes = [list(people_of_rows)]  # all people in one pass, each in their own rows
    passes: list[PersonPass] = []
    for people in people_of_passes:
        # The person of each row of x. Rows stand entry after entry, and each entry has one for each of `people`, or all
        # of its rows are of one person.
        of_rows = people * (len(x) // len(people))
        hint_of_rows = of_rows if len(hints) > 1 else [0] * len(of_rows)  # a single hint is the same for all people
        passes.append(
            PersonPass(
                hint=hints[hint_of_rows].to(x.device, dtype),
                tokens=given.tokens[of_rows].to(x.device, dtype),
                visible=None if visible is None else visible[of_rows].to(x.device, dtype),
                shares=shares[of_rows].to(x.device, dtype),
            )
        )
    return passes


def _cut(regions: Tensor | None, area: Area | None, latent: tuple[int, int]) -> Tensor | None:
    """The part of regions, (people, H, W), that lies in an area; all of them where there is none."""
    if regions is None or area is None:
        return regions
    return cut_regions(regions, area, latent)


def _shares(people: Sequence[Member], regions: Tensor | None, boxes: Tensor | None, height: int, width: int) -> Tensor:
    """What the residuals of each person are multiplied with in each token: (people, N, 1), or (people, 1, 1).

    It is the person's weight, times the part of the token in which the person acts. regions, boxes: (people, H, W) or
    None. Residuals act in the boxes if there are any, else in the regions, else everywhere: (people, 1, 1). height,
    width: of the latent, in latent pixels.
    """
    shares = torch.tensor([member.weight for member in people], dtype=torch.float32)[:, None, None]  # (people, 1, 1)
    acting = boxes
    if acting is None and regions is not None:
        acting = region_weights(regions)  # regions that overlap are scaled to a sum of at most 1
    if acting is None:
        return shares
    acting_on_tokens = on_tokens(acting, height, width, TOKEN_CELLS).flatten(1)  # (people, N)
    return shares * acting_on_tokens[..., None]


def _visible_pixels(people_regions: Tensor, height: int, width: int) -> Tensor:
    """Where the net sees the latent for each person: (people, 1, height, width), 1 in tokens that the region touches.

    people_regions: (people, H, W). height, width: of the latent, in latent pixels.
    """
    touched = on_tokens(people_regions, height, width, TOKEN_CELLS) > 0  # (people, rows, columns of tokens)
    # At odd sides of the latent the last tokens reach beyond it, so the pixels are cut in the end.
    rows = touched.float().repeat_interleave(TOKEN_CELLS, dim=1)
    pixels = rows.repeat_interleave(TOKEN_CELLS, dim=2)
    return pixels[:, None, :height, :width]


def summed(passes: Sequence[PersonPass], run: Callable[[PersonPass], Residuals]) -> Residuals:
    """The sum of the residuals of all passes, each times the shares of its pass.

    run: gives the residuals of one pass, in new tensors, which are changed in place here.
    """
    total: Residuals = {}
    for net_pass in passes:
        residuals = run(net_pass)
        # In place: blocks that share one tensor go on sharing it, and no copy is made. Over distinct tensors, so that
        # a shared one is multiplied once.
        for tensor in _distinct_tensors(residuals):
            tensor *= net_pass.shares
        if not total:  # the first pass
            total = residuals
        else:
            _add_to(total, residuals)
    return total


def _add_to(total: Residuals, residuals: Residuals) -> None:
    """Add the residuals of a pass to those of all before it, in place."""
    # Every pass shares its tensors among blocks in the same way, so the lists have the same order.
    for sum_of_blocks, tensor in zip(_distinct_tensors(total), _distinct_tensors(residuals), strict=True):
        sum_of_blocks += tensor


def in_all_rows(residuals: Residuals, rows: Sequence[int], row_count: int) -> Residuals:
    """Residuals of all row_count rows of a forward: those of some rows as they are, and zeros in the others.

    residuals: (n, N, width) each, of n rows. rows: the numbers of these n rows in the forward. Blocks that share a
    tensor in `residuals` share one in the result.
    """
    if len(rows) == row_count:
        return residuals
    in_all: dict[int, Tensor] = {}  # by the id of the tensor of some rows
    for tensor in _distinct_tensors(residuals):
        of_all_rows = tensor.new_zeros(row_count, *tensor.shape[1:])
        of_all_rows[list(rows)] = tensor
        in_all[id(tensor)] = of_all_rows
    return {kind: [in_all[id(tensor)] for tensor in tensors] for kind, tensors in residuals.items()}


def _distinct_tensors(residuals: Residuals) -> list[Tensor]:
    """The tensors of a network's residuals, each once, in the order in which they first occur.

    The host's network puts the same tensor into the lists of several blocks.
    """
    tensors: dict[int, Tensor] = {}
    for residuals_of_blocks in residuals.values():
        for tensor in residuals_of_blocks:
            tensors[id(tensor)] = tensor
    return list(tensors.values())
