"""Notes that a sampling run writes under an apply node, about what may be wrong and is no reason to stop.

Each note has a topic. A run replaces the note of an earlier run about the same topic, see notes.tell_of_run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ...core.pictures import tensors
from ..host import notes
from .carried import Carried
from .conditioning import factor_between

PICTURES = "pictures"
"""The topic of notes about pose pictures: their number does not fit that of the rows."""
WORDS = "words"
"""The topic of notes about words of people that are not as strong as the prompt, or not changed with it."""


@dataclass(frozen=True)
class SamplingCall:
    """What a sampler begins with, under the host's names.

    noise, latent_image: (B, C, h, w) or (B, C, T, h, w).
    sigmas: (steps + 1,).
    """

    noise: Tensor
    latent_image: Tensor
    sigmas: Tensor

    @classmethod
    def of_call(cls, args: Sequence[Any], options: Mapping[str, Any]) -> SamplingCall:
        """The start of a sampling, from the arguments of comfy.samplers.CFGGuider.outer_sample.

        args: the arguments by position. options: the arguments by name; some packs give all of them so.
        """
        names = ("noise", "latent_image", "sampler", "sigmas")
        arguments = {**dict(zip(names, args, strict=False)), **options}
        return cls(arguments["noise"], arguments["latent_image"], arguments["sigmas"])

    @cached_property
    def has_noise(self) -> bool:
        """Whether the sampler begins with noise of its own. Every apply node of a sampling asks for it."""
        return bool(self.noise.any())


_MUCH_STRONGER = 2.0
"""Texts of one encoder differ by less: a prompt of so many times the strength has been multiplied."""


def note_on_words(item: Carried, before: Tensor, now: Tensor) -> str:
    """The note that words of people no longer fit the prompt; "" where they fit, and where there are none.

    They do not fit where another node has multiplied the prompt a lot before the words were put beside it, or has since
    changed it in another way than by a factor.
    item: has the words. before: the prompt beside which they were put, (B, T, width). now: the same prompt.
    """
    if item.words_note_node is None or not item.words:
        return ""
    times = _strength(before) / _strength(torch.cat(list(item.words), dim=1))
    if factor_between(before, now) is not None and 1 / _MUCH_STRONGER < times < _MUCH_STRONGER:
        return ""
    name = item.words_note_node.node_name
    return (
        f"{name}: another node has changed the prompt and not the words of people, or not alike. Put Conditioning "
        f"(Average) in front of {name}, and (Multiply) behind it, where it multiplies both."
    )


def _strength(text: Tensor) -> float:
    """The median length of the tokens of a text, (B, T, width), that are not 0; 1 where all are."""
    lengths = text.float().norm(dim=-1).flatten()
    lengths = lengths[lengths > 0]
    return float(lengths.median()) if len(lengths) else 1.0


def tell_of_pictures(carried: Sequence[Carried], row_count: int) -> None:
    """Write a note under each node with pose pictures unless the rows divide evenly among these, see `without_row` in
    core/pictures/tensors.py. Where there is nothing to say, the note of an earlier run is taken away.

    Not under a node whose people have a row of the batch each, as with the cast of Crop Faces: it checks that itself.
    carried: all that a sampling's conditioning carries. row_count: of its latent.
    """
    for pictures in dict.fromkeys(item.poses for item in carried):
        if pictures is not None and not pictures.owner.row_count:
            sentence = tensors.without_row(pictures.name, pictures.count, row_count)
            text = f"{pictures.owner.node_name}: {sentence}" if sentence else ""
            notes.tell_of_run(pictures.owner.node_id, PICTURES, text)
