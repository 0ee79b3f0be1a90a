"""Decoupled cross-attention: image tokens beside the text, by region.

The attention kernel is an argument: attend(q, k, v) with (B, N, heads * d) tensors, (B, N, heads * d) out.
Source: IP-Adapter (arXiv 2308.06721), section 3.2.2; the regions are ours.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class TextRead(NamedTuple):
    """What a cross-attention layer has read of the text when people are added to it.

    text: what it has read, (B, N, C). query: the layer's queries, (B, N, C). heads: their number. attend: the layer's
    attention.
    """

    text: Tensor
    query: Tensor
    heads: int
    attend: Attend


PeopleRead = Callable[[TextRead, Tensor, Tensor, Tensor | None], Tensor]
"""What people add to a layer, (B, N, C): of keys, values and weights as in `decoupled`."""
Block = tuple[str, int, int]
"""("input" | "middle" | "output", number, index of the transformer): the host's address of an attention layer."""
UNetBlock = tuple[str, int]
"""The same without the transformer: the block of the UNet, whose layers have one grid of tokens."""


def block_of_unet(layer: Block) -> UNetBlock:
    return layer[:2]


OWNED_BY_ALL = -2
"""Owner of a token that is read everywhere: in `region_bias`, the last but one row of the table of logits."""
OWNED_BY_NOBODY = -1
"""Owner of a token that is read nowhere: the last row of that table."""
# As low as float16 goes: its exponential is exactly 0, and no kernel makes a NaN of it.
EXCLUDED = -60000.0


def decoupled(query: Tensor, keys: Tensor, values: Tensor, weights: Tensor | None, attend: Attend) -> Tensor:
    """What the image tokens add to cross-attention, before the output projection: (B, N, C).

    query: (B, N, C). keys, values: (groups, B, T, C). A group is the T image tokens of one person; the adapter's scale
    is in the values already. weights: (groups, B, N, 1), what the attention to each group is multiplied by at each
    pixel; None where there is one group, which all pixels read at full weight.
    A pixel in a single region of weight 1 gets exactly what that person alone would give it.
    """
    if weights is None:
        return attend(query, keys[0], values[0])
    out = attend(query, keys[0], values[0]) * weights[0]  # a new tensor, into which the other groups are added
    for key, value, weight in zip(keys[1:], values[1:], weights[1:], strict=True):
        out.addcmul_(weight, attend(query, key, value))
    return out


def beside_text(layer: TextRead, keys: Tensor, values: Tensor, weights: Tensor | None) -> Tensor:
    """What people add to a layer where that does not depend on what the text gives: `decoupled`."""
    return decoupled(layer.query, keys, values, weights, layer.attend)


def region_weights(regions: Tensor) -> Tensor:
    """Regions (groups, H, W), 0..1, as weights that add up to at most 1 per pixel.

    Where regions overlap, the people share the pixel in proportion. A pixel outside of all regions has weights of 0.
    """
    return regions / regions.sum(dim=0, keepdim=True).clamp(min=1.0)


# The rules by which a person's region, in pixels, becomes one of a layer's tokens:
#   on_grid            of UNets, by the nearest pixel: InstantID's own code resizes its masks so.
#   region_bias        of texts on UNets, by the mean: it multiplies the part of a token that lies in the region.
#   _in_boxes          of a ControlNet's residuals (sdxl_net), bilinear: InstantID's own pipeline masks them so.
#   on_tokens          of transformers, by the mean: a token is 16 pixels wide, and each person has a share of it.


def on_grid(weights: Tensor, height: int, width: int) -> Tensor:
    """Weights (groups, H, W) at a layer's token grid, (groups, height * width, 1).

    They are resized by the nearest pixel, as InstantID's own code resizes its masks.
    """
    grid = functional.interpolate(weights[:, None], size=(height, width), mode="nearest")  # (groups, 1, height, width)
    return grid.flatten(1)[..., None]  # (groups, height * width, 1)


def on_tokens(regions: Tensor, height: int, width: int, side: int) -> Tensor:
    """How much of each token of a picture lies in each region: (people, rows, columns of tokens).

    It is the mean of the region in the token. Where a token reaches beyond the edge, the values at the edge go on.
    regions: (people, H, W), from 0. height, width: of what is cut into tokens, in pixels or in latent pixels; regions
    of another size are resized to it. side: of a token, in the same unit.
    """
    pictures = regions[:, None].float()  # (people, 1, H, W)
    if regions.shape[1:] != (height, width):
        pictures = functional.interpolate(pictures, size=(height, width), mode="area")
    beyond = (0, -width % side, 0, -height % side)  # on the right and below, up to whole tokens
    padded = functional.pad(pictures, beyond, mode="replicate")
    return functional.avg_pool2d(padded, side)[:, 0]


def region_bias(regions: Sequence[Tensor], owners: Tensor, grid: tuple[int, int]) -> Tensor:
    """A bias for the logits of cross-attention, (pixels, tokens): a token is read in the region of its owner alone.

    regions: tensors (people, H, W), 0..1, one for each node; their people are counted through, from 0. Where a region
    is w, log(w) is added to the logits of its owner's tokens, which multiplies their share before the softmax is
    normalised by w. So w = 1 changes nothing, and w = 0 excludes the token.
    owners: (tokens,), per token the number of its person in all regions together, or OWNED_BY_ALL or OWNED_BY_NOBODY.
    grid: (height, width) of the layer.
    """
    pixels = grid[0] * grid[1]
    on_layer = [functional.interpolate(region[:, None].float(), size=grid, mode="area") for region in regions]
    shares = torch.cat(on_layer).flatten(1)  # (all people, pixels)
    of_people = shares.log().clamp(min=EXCLUDED)  # log(0) is -inf before the clamp
    of_everybody = torch.zeros(1, pixels, dtype=torch.float32)
    of_nobody = torch.full((1, pixels), EXCLUDED, dtype=torch.float32)
    # OWNED_BY_ALL (-2) and OWNED_BY_NOBODY (-1) are indices from the end: the last two rows.
    table = torch.cat([of_people, of_everybody, of_nobody])  # (all people + 2, pixels)
    return table[owners].T  # (tokens, pixels) -> (pixels, tokens)
