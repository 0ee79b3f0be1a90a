"""Words about single people, encoded and put into the conditioning of a UNet or of a transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from comfy.sd import CLIP

from ..apply_nodes import Scope
from ..host.encode import PeopleWords, words_by_schedule
from ..host.schedule import WHOLE_SCHEDULE
from ..networks.model_family import ModelText
from ..sampling.conditioning import Conditioning, SamplerInputs, within
from ..sampling.model_conds import carry
from .person_texts import PersonTexts
from .regional_text import RegionalText


def carry_words(
    scope: Scope,
    text: ModelText,
    clips: Sequence[CLIP],
    all_words: Sequence[str],
    strength: float,
    given: SamplerInputs,
) -> SamplerInputs:
    """The positive with the words of each person, read in their region or, by row, in their row of the batch.

    The negative says that it has none, so that the host may compute both in one batch. A CLIP that changes in the
    schedule gives an entry for each part of it, as it does of the prompt. Where nobody has words, both stay as they
    are. text: that the MODEL reads. clips: that each person's words are encoded with, all of which change alike in the
    schedule. all_words: of each person of the scope, "" for none. strength: how strongly they are read.
    Raises WrongBaseModel for the CLIP of another family, and BadText.
    """
    numbers = [number for number, words in enumerate(all_words) if words]
    if not numbers:
        return given
    if scope.by_row:
        numbers = list(range(len(all_words)))  # every row has its person
    parts = _encoded(text, [clips[number] for number in numbers], [all_words[n] for n in numbers])
    source = object()  # both sides and all parts are from one node, so they have one source
    carried_of_parts = [_carried(source, scope, text, numbers, part, strength) for part in parts]
    no_words = carried_of_parts[0].without_people()  # the host gives one part at least
    positive: Conditioning = []
    for part, carried in zip(parts, carried_of_parts, strict=True):
        positive += carry(within(given.positive, part.schedule), replace(carried, of_negative=no_words))
    return SamplerInputs(given.model, positive, carry(given.negative, no_words))


def _encoded(text: ModelText, clips: Sequence[CLIP], words: Sequence[str]) -> list[PeopleWords]:
    """The words of people for each part of the schedule. The arguments are those of carry_words, for these people."""
    advice = "Use the CLIP of the model's own checkpoint."
    if text.transformer is not None:
        advice = f"Use the text encoder of {text.transformer.name}."
    return words_by_schedule(clips, words, text.width, advice)


def _carried(
    source: object,
    scope: Scope,
    text: ModelText,
    numbers: Sequence[int],
    words: PeopleWords,
    strength: float,
) -> RegionalText | PersonTexts:
    """What the positive carries of people.

    source: of the node. numbers: of the people in the scope. words: theirs; by row there are none for a person without
    words. The other arguments are those of carry_words.
    """
    people_regions = (
        torch.ones(len(scope.people), 1, 1, dtype=torch.float32) if scope.regions is None else scope.regions
    )
    strengths = people_regions[list(numbers)] * strength  # how strongly each pixel reads the words
    if text.transformer is None:
        return RegionalText(
            source,
            WHOLE_SCHEDULE,
            strengths,
            counts=tuple(tokens.shape[1] for tokens in words.tokens),
            tokens=torch.cat(tuple(words.tokens), dim=1),  # (1, sum of counts, width)
            by_row=scope.by_row,
            canvas=scope.carried_canvas,
            words_note_node=scope.canvas,
        )
    names_apart = scope.names_apart
    return PersonTexts(
        source,
        WHOLE_SCHEDULE,
        strengths,
        texts=tuple(words.tokens),
        names=tuple(names_apart[number] for number in numbers),
        by_row=scope.by_row,
        t5=tuple(words.t5) if any(words.t5) else (),
        canvas=scope.carried_canvas,
        words_note_node=scope.canvas,
    )
