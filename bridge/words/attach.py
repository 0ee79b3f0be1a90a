"""Words about single people, encoded and put into the conditioning of a UNet or of a transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ..apply.acting_people import ActingPeople
from ..host.encode import PeopleWords, words_by_schedule
from ..host.schedule import WHOLE_SCHEDULE
from ..networks.model_family import ModelText, text_of_model
from ..sampling.carried import carry
from ..sampling.conditioning import Conditioning, SamplerInputs, check_conditioning, within
from ..sampling.missing_people import NoteSubject
from ..sampling.runs import Kind
from .transformer.run import TRANSFORMER_WORDS
from .transformer.words import TransformerWords
from .unet.run import UNET_WORDS
from .unet.words import UnetWords


def text_read(given: SamplerInputs, node_name: str) -> ModelText:
    """The text that a MODEL reads. given: with a MODEL. Raises WrongBaseModel for prompts of another width."""
    assert given.model is not None
    text = text_of_model(given.model, node_name)
    check_conditioning(given.texts, text.width, node_name)
    return text


def applied(
    acting: ActingPeople,
    clips: Sequence[CLIP],
    all_words: Sequence[str],
    strength: float,
    given: SamplerInputs,
    note_subject: NoteSubject,
    *,
    kinds: Sequence[Kind] = (),
) -> io.NodeOutput:
    """The outputs of a node, with the words of each person read in their region or, by row, in their row of the batch.

    The negative carries words of nobody, so that the host may compute both sides in one batch. A CLIP that changes in
    the schedule gives an entry for each part of it, as it does of the prompt. Where nobody has words, both sides stay
    as they are.

    clips: one for each person's words; all change alike in the schedule. all_words: of each acting person, "" for
    none. strength: how strongly words are read. given: with a MODEL. note_subject: of the node. kinds: of what the
    prompts carry already.
    Raises WrongBaseModel for the CLIP of another family, and BadText.
    """
    assert given.model is not None
    text = text_of_model(given.model, note_subject.node_name)
    reader = _reader_of(text)
    all_kinds = [reader.kind, *kinds]
    if any(all_words):
        people = _people_with_words(acting, all_words, strength)
        clips_of_people = [clips[number] for number in people.numbers]
        words_of_people = [all_words[number] for number in people.numbers]
        parts = words_by_schedule(clips_of_people, words_of_people, text.width, reader.clip_advice)
        no_words = reader.carried(people, parts[0]).without_people()  # the host gives one part at least; any will do
        positive: Conditioning = []
        for part in parts:
            carried = replace(reader.carried(people, part), of_negative=no_words)
            positive += carry(within(given.positive, part.schedule), carried)
        given = SamplerInputs(given.model, positive, carry(given.negative, no_words))
    return acting.outputs(given, all_kinds, note_subject)


class _PeopleWithWords(NamedTuple):
    """The people whose words the prompts carry. The same object for both sides and all parts of the schedule.

    source: of the node, see Carried. numbers: of these people among those who act. strengths: (people, H, W), how
    strongly each pixel reads their words.
    """

    source: object
    acting: ActingPeople
    numbers: Sequence[int]
    strengths: Tensor


def _people_with_words(acting: ActingPeople, all_words: Sequence[str], strength: float) -> _PeopleWithWords:
    """The people with words; by row everybody, because every row has its person.

    all_words: of each person, "" for none. strength: of all.
    """
    numbers = [number for number, words in enumerate(all_words) if words or acting.by_row]
    regions = acting.regions
    if regions is None:  # everybody's is the whole picture
        regions = torch.ones(len(acting.people), 1, 1, dtype=torch.float32)  # one value for all pixels
    source = object()  # by it a run knows what both sides carry for one node
    return _PeopleWithWords(source, acting, numbers, regions[numbers] * strength)


class _Reader(NamedTuple):
    """How a MODEL reads words about single people.

    kind: of these words. carried: makes the Carried that holds them in one part of the schedule.
    clip_advice: which CLIP they need, for an error.
    """

    kind: Kind
    carried: Callable[[_PeopleWithWords, PeopleWords], UnetWords | TransformerWords]
    clip_advice: str


def _reader_of(text: ModelText) -> _Reader:
    if text.transformer is None:
        return _Reader(UNET_WORDS, _words_of_unet, "Use the CLIP of the model's own checkpoint.")
    advice = f"Use the text encoder of {text.transformer.name}."
    return _Reader(TRANSFORMER_WORDS, _words_of_transformer, advice)


def _words_of_unet(people: _PeopleWithWords, words: PeopleWords) -> UnetWords:
    """What the positive of a UNet carries of people. words: theirs; by row, a person may have 0 tokens."""
    return UnetWords(
        source=people.source,
        schedule=WHOLE_SCHEDULE,
        regions=people.strengths,
        texts=tuple(words.tokens),
        by_row=people.acting.by_row,
        canvas=people.acting.canvas,
        words_note_node=people.acting.node_of_run,
    )


def _words_of_transformer(people: _PeopleWithWords, words: PeopleWords) -> TransformerWords:
    """What the positive of a transformer carries of people. The arguments are those of `_words_of_unet`."""
    names_apart = people.acting.taking.names_apart
    return TransformerWords(
        source=people.source,
        schedule=WHOLE_SCHEDULE,
        regions=people.strengths,
        texts=tuple(words.tokens),
        names=tuple(names_apart[number] for number in people.numbers),
        by_row=people.acting.by_row,
        t5=tuple(words.t5) if any(words.t5) else (),
        canvas=people.acting.canvas,
        words_note_node=people.acting.node_of_run,
    )
