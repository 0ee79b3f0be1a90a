"""Words about single people, encoded and put into the conditioning of a UNet or of a transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ..apply.scope import Scope
from ..host.encode import PeopleWords, words_by_schedule
from ..host.schedule import WHOLE_SCHEDULE
from ..networks.model_family import ModelText, text_of_model
from ..networks.transformer_families import TransformerFamily
from ..sampling.conditioning import Conditioning, SamplerInputs, check_conditioning, within
from ..sampling.missing_people import NamedRange
from ..sampling.model_conds import carry
from ..sampling.runs import Run
from . import person_texts, regional_text
from .person_texts import PersonTexts
from .regional_text import RegionalText
from .transformer_words import PersonTextsRun
from .unet_words import RegionalTextRun


def text_read(given: SamplerInputs, node_name: str) -> ModelText:
    """The text that a MODEL reads. given: with a MODEL. Raises WrongBaseModel for prompts of another width."""
    assert given.model is not None
    text = text_of_model(given.model, node_name)
    check_conditioning([*given.positive, *given.negative], text.width, node_name)
    return text


def applied(
    scope: Scope,
    text: ModelText,
    clips: Sequence[CLIP],
    words: Sequence[str],
    strength: float,
    given: SamplerInputs,
    names: Sequence[str],
    *,
    runs: Sequence[type[Run[Any]]] = (),
    ranges: Sequence[NamedRange] = (),
    in_negative: bool = False,
) -> io.NodeOutput:
    """The outputs of a node that lets people's words be read where each of them is.

    names: of the people on both sides of the conditioning. runs: of what these carry already; words of people stand
    inside of it in every layer, so they are read with it, too. ranges, in_negative: as in ApplyNode. The other
    arguments are those of `_carry_words`.
    """
    made = _carry_words(scope, text, clips, words, strength, given)
    run = _kind_of(text.transformer).run
    return scope.outputs(made, [run, *runs], names, ranges, in_negative=in_negative)


def _carry_words(
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
    kind = _kind_of(text.transformer)
    clips_of_words = [clips[number] for number in numbers]
    parts = words_by_schedule(clips_of_words, [all_words[number] for number in numbers], text.width, kind.advice)
    source = object()  # both sides and all parts are from one node, so they have one source
    regions = torch.ones(len(scope.people), 1, 1, dtype=torch.float32) if scope.regions is None else scope.regions
    strengths = regions[numbers] * strength  # (people with words, H, W), how strongly each pixel reads the words
    carried_of_parts = [kind.carried(source, scope, numbers, strengths, part) for part in parts]
    no_words = kind.without_people(carried_of_parts[0])  # the host gives one part at least
    positive: Conditioning = []
    for part, carried in zip(parts, carried_of_parts, strict=True):
        positive += carry(within(given.positive, part.schedule), replace(carried, of_negative=no_words))
    return SamplerInputs(given.model, positive, carry(given.negative, no_words))


def _regional_text(
    source: object, scope: Scope, numbers: Sequence[int], strengths: Tensor, words: PeopleWords
) -> RegionalText:
    """What the positive of a UNet carries of people.

    source: of the node. numbers: of the people in the scope. strengths: (people, H, W) of these. words: theirs; by row
    there are none for a person without words.
    """
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


def _person_texts(
    source: object, scope: Scope, numbers: Sequence[int], strengths: Tensor, words: PeopleWords
) -> PersonTexts:
    """What the positive of a transformer carries of people. The arguments are those of `_regional_text`."""
    names_apart = scope.taking.names_apart
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


@dataclass(frozen=True)
class _Kind:
    """How a kind of network reads words of people.

    run: of a sampling. carried: what the positive carries. without_people: the same for the negative, which has no
    words. advice: about a CLIP of another family.
    """

    run: type[Run[Any]]
    carried: Callable[[object, Scope, Sequence[int], Tensor, PeopleWords], Any]
    without_people: Callable[[Any], Any]
    advice: str


def _kind_of(transformer: TransformerFamily | None) -> _Kind:
    """That of a MODEL's network: a transformer, or None for a UNet."""
    if transformer is None:
        advice = "Use the CLIP of the model's own checkpoint."
        return _Kind(RegionalTextRun, _regional_text, regional_text.without_people, advice)
    advice = f"Use the text encoder of {transformer.name}."
    return _Kind(PersonTextsRun, _person_texts, person_texts.without_people, advice)
