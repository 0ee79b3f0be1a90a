"""Which pixels read the text with whose LoRAs, and how much of what a pixel reads comes from each such reading.

Keys and values of a text are made once with each person's LoRAs, and once without any. A pixel reads those of the
person in whose region it lies, or those without any. At soft edges it reads several, each with its share, and the
shares of a pixel are 1 in all.

Where several nodes have a person in one pixel, the pixel reads with the LoRAs of all these people. There is a reading
for every choice of one person, or nobody, of each node. The share of a reading in a pixel is the product of the shares
of the people chosen. Most choices have a share of 0 in every pixel, and the others have only a few pixels. So attention
is computed for each reading in its own pixels alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product

import torch
from torch import Tensor

from ..networks.layers import QueryShape

_ROUNDING_ERROR = 1e-6
"""A smaller share of a pixel is a rounding error: the shares of a pixel are 1 in all, to float32 precision."""


@dataclass(frozen=True, eq=False)
class PersonShare:
    """How much of what the pixels read comes from one person of a node.

    person_index: among the people of the node, from 0; None for nobody. share: (rows or 1, pixels), 0..1; None for 1
    everywhere.
    """

    person_index: int | None
    share: Tensor | None


@dataclass(frozen=True, eq=False)
class TextReading:
    """Pixels that read the text with the same LoRAs.

    people: for each node the index of the person, None for nobody. pixels: (n,), their numbers; None for all. share:
    (rows or 1, n, 1), how much of what these pixels read comes from this reading; None for all of it. share_of_all: the
    same for all pixels, (rows or 1, pixels, 1), for an attention that cannot be asked for some of them.
    """

    people: tuple[int | None, ...]
    pixels: Tensor | None
    share: Tensor | None
    share_of_all: Tensor | None


def shares_of_node(shares: Tensor | None, people: Sequence[int]) -> list[PersonShare]:
    """The PersonShares of one node in a layer: one for each person who has LoRAs there, and last one for nobody.

    shares: of all people of one node, (rows or 1, pixels, people), at most 1 in all for each pixel. None where the node
    has one person, who is everywhere: then all is read with that person's LoRAs.
    people: the indices of those who have LoRAs in this layer; empty where nobody has, so that all is read without any.
    """
    if shares is None:
        if not people:
            return [PersonShare(person_index=None, share=None)]
        return [PersonShare(person, share=None) for person in people]  # one, without a share for nobody
    of_people = [PersonShare(person, shares[..., person]) for person in people]
    of_nobody = 1 - shares[..., list(people)].sum(dim=-1)
    return [*of_people, PersonShare(None, of_nobody)]


def make_readings(by_node: Sequence[Sequence[PersonShare]], query_shape: QueryShape) -> list[TextReading]:
    """The TextReadings of a layer, on the device of its queries: one for every choice of people that any pixel reads.

    by_node: for each node, the shares of its people, as `shares_of_node` gives them.
    """
    readings_with_pixels: list[TextReading] = []
    for choice in product(*by_node):  # one person, or nobody, of each node
        reading = _reading_of_choice(choice, query_shape)
        if reading is not None:
            readings_with_pixels.append(reading)
    return readings_with_pixels


def _reading_of_choice(choice: Sequence[PersonShare], query_shape: QueryShape) -> TextReading | None:
    """The reading with the LoRAs of these people; None where no pixel has a share of it.

    choice: one PersonShare of each node, whose product is the share of the reading.
    """
    people = tuple(person_share.person_index for person_share in choice)
    shares = [person_share.share for person_share in choice if person_share.share is not None]
    if not shares:  # 1 everywhere
        return TextReading(people, pixels=None, share=None, share_of_all=None)
    share = reduce(torch.mul, shares)  # (rows or 1, pixels)
    own_pixels = (share > _ROUNDING_ERROR).any(dim=0).nonzero()[:, 0]  # (n,)
    if not len(own_pixels):
        return None
    own_share = share[:, own_pixels]  # (rows or 1, n)
    # None spares work in every layer: nothing is picked out of all pixels, nothing is multiplied by 1.
    has_all_pixels = len(own_pixels) == share.shape[1]
    is_all_of_it = bool((own_share == 1).all())
    return TextReading(
        people,
        pixels=None if has_all_pixels else own_pixels.to(query_shape.device),
        share=None if is_all_of_it else query_shape.like_queries(own_share[..., None]),
        share_of_all=query_shape.like_queries(share[..., None]),
    )


def add_reading(out: Tensor | None, of_reading: Tensor, reading: TextReading, pixel_count: int) -> Tensor:
    """The sum of all readings so far, (B, pixels, C), with one more reading added, times its share.

    out: the sum of the readings before this one, which may be changed in place; None for the first reading. of_reading:
    what the n pixels of this reading have read, (B, n, C). pixel_count: how many pixels the layer has.
    """
    if reading.share is not None:
        of_reading = of_reading * reading.share
    if reading.pixels is None:
        return of_reading if out is None else out + of_reading
    if out is None:
        out = of_reading.new_zeros(len(of_reading), pixel_count, of_reading.shape[-1])
    return out.index_add_(1, reading.pixels, of_reading)
