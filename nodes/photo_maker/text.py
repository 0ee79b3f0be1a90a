"""The prompt with people in its class words, and in which part of the picture each of them is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from comfy.sd import CLIP
from torch import Tensor

from ...bridge.carried import put
from ...bridge.conditioning import Canvas, Conditioning, changed_at
from ...bridge.regional_text import silent, standing_at
from ...core.errors import WrongBaseModel, listed
from ...core.inputs import unusable_text
from ...core.people import Person
from ...core.text import plain
from . import words
from .file import PhotoMaker

SAME_CLIP = "Use the CLIP of an SDXL checkpoint."
_ENCODERS = {"g", "l"}


class Prompt(NamedTuple):
    """The plain words of a prompt, and the same with class words fused; where in the second those of everybody heard
    stand, and how many."""

    plain: Conditioning
    fused: Conditioning
    stand: tuple[tuple[int, int], ...]


def prompt(loaded: PhotoMaker, clip: CLIP, text: str, trigger: str, people: Sequence[Person]) -> Prompt:
    """Of `people`, whose class words stand in the text in their order, a trigger behind each.

    Those at weight 0 have plain words. Raises BadTrigger, TooManyPhotos, WrongBaseModel, BadPicture for weights that no
    text can have, and what `PhotoMaker.tokens` raises.
    """
    read, mark, nothing = (clip.tokenize(each, return_word_ids=True) for each in (text, trigger, ""))
    if read.keys() != _ENCODERS:
        found, wanted = (f"text encoders {listed(sorted(each))}" for each in (read, _ENCODERS))
        raise WrongBaseModel("The CLIP", f"another family ({found})", f"SDXL's ({wanted})", SAME_CLIP)
    found = words.find(read, mark, trigger, [person.identity.name for person in people])
    said = {n: loaded.tokens(person) for n, person in enumerate(people) if person.weight > 0}
    copies = [len(said[n]) if n in said else 1 for n in range(len(people))]
    single, _ = words.laid_out(found, [1] * len(people), nothing)
    copied, places = words.laid_out(found, copies, nothing)
    before, after = (clip.encode_from_tokens_scheduled(each) for each in (single, copied))
    if not all(x.isfinite().all() for context, options in before for x in (context, options["pooled_output"])):
        raise unusable_text(f"The text {plain(text, 60)!r}")
    for n, tokens in said.items():
        weight = people[n].weight
        after = [[loaded.fused(context, places[n], tokens, weight), options] for context, options in after]
    return Prompt(before, after, tuple((places[n], copies[n]) for n in said))


def by_region(
    said: Prompt, negative: Conditioning, start_percent: float, regions: Tensor | None, canvas: Canvas
) -> tuple[Conditioning, Conditioning]:
    """Positive and negative: the plain words, and from `start_percent` of the schedule on the fused ones.

    ControlNets read the plain words at every step, as in the released photomaker/pipeline_controlnet.py.

    regions: (people, H, W) where those who are heard are, or None: everywhere.
    """
    before, after = (_control_nets_read(said.plain, side) for side in (said.plain, said.fused))
    negative = _control_nets_read(negative, negative)
    for (place, count), region in zip(said.stand, () if regions is None else regions, strict=regions is not None):
        text = standing_at(place, count, region, canvas)
        before, after, negative = put(before, silent(text)), put(after, text), put(negative, silent(text))
    pairs = zip(before, after, strict=True)
    return [entry for pair in pairs for entry in changed_at(*pair, start_percent)], negative


def _control_nets_read(words: Conditioning, side: Conditioning) -> Conditioning:
    """A side whose ControlNets read these texts instead, except where another node has given them others."""
    pairs = zip(words, side, strict=True)
    return [[text, {"cross_attn_controlnet": read, **options}] for (read, _), (text, options) in pairs]
