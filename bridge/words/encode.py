"""Words about single people, encoded and put into the conditioning of a UNet or of a transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ..apply.scope import Scope
from ..host.encode import PeopleWords, words_by_schedule
from ..host.schedule import WHOLE_SCHEDULE
from ..networks.model_family import ModelText, text_of_model
from ..sampling.conditioning import Conditioning, SamplerInputs, check_conditioning, within
from ..sampling.missing_people import NamedRange
from ..sampling.model_conds import carry
from ..sampling.runs import Run
from .transformer.person_texts import TransformerWords
from .transformer.run import TransformerWordsRun
from .unet.person_texts import UnetWords
from .unet.run import UnetWordsRun


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
    all_words: Sequence[str],
    strength: float,
    given: SamplerInputs,
    *,
    runs: Sequence[type[Run[Any]]] = (),
    ranges: Sequence[NamedRange] = (),
    names: Sequence[str] = (),
    in_negative: bool = False,
) -> io.NodeOutput:
    """The outputs of a node, with the words of each person read in their region or, by row, in their row of the batch.

    The negative says that it has none, so that the host may compute both in one batch. A CLIP that changes in the
    schedule gives an entry for each part of it, as it does of the prompt. Where nobody has words, both stay as they
    are. text: that the MODEL reads. clips: that each person's words are encoded with, all of which change alike in the
    schedule. all_words: of each person of the scope, "" for none. strength: how strongly they are read. given: with a
    MODEL. runs: of what its prompts carry already. Words stand inside of that in every layer, so they are read with it.
    ranges, names, in_negative: as in Scope.outputs.
    Raises WrongBaseModel for the CLIP of another family, and BadText.
    """
    # The MODEL decides by which run they are read, what carries them, and which CLIP they need.
    run, carries, advice = UnetWordsRun, _texts_of_unet, "Use the CLIP of the model's own checkpoint."
    if text.transformer is not None:
        run, carries, advice = (
            TransformerWordsRun,
            _person_texts,
            f"Use the text encoder of {text.transformer.name}.",
        )
    numbers = [number for number, words in enumerate(all_words) if words]  # of the people with words
    if not numbers:
        return scope.outputs(given, [run, *runs], ranges, names, in_negative=in_negative)
    if scope.by_row:
        numbers = list(range(len(all_words)))  # every row has its person
    words_of_people = [all_words[number] for number in numbers]
    parts = words_by_schedule([clips[number] for number in numbers], words_of_people, text.width, advice)
    source = object()  # both sides and all parts are from one node, so they have one source
    regions = torch.ones(len(scope.people), 1, 1, dtype=torch.float32) if scope.regions is None else scope.regions
    strengths = regions[numbers] * strength  # (people with words, H, W), how strongly each pixel reads the words
    no_words = carries(source, scope, numbers, strengths, parts[0]).without_people()
    positive: Conditioning = []
    for part in parts:  # the host gives one part at least
        carried = replace(carries(source, scope, numbers, strengths, part), of_negative=no_words)
        positive += carry(within(given.positive, part.schedule), carried)
    made = SamplerInputs(given.model, positive, carry(given.negative, no_words))
    return scope.outputs(made, [run, *runs], ranges, names, in_negative=in_negative)


def _texts_of_unet(
    source: object, scope: Scope, numbers: Sequence[int], strengths: Tensor, words: PeopleWords
) -> UnetWords:
    """What the positive of a UNet carries of people.

    source: of the node. numbers: of the people in the scope. strengths: (people, H, W) of these. words: theirs; by row
    there are none for a person without words.
    """
    return UnetWords(
        source,
        WHOLE_SCHEDULE,
        strengths,
        counts=tuple(tokens.shape[1] for tokens in words.tokens),
        tokens=torch.cat(tuple(words.tokens), dim=1),  # (1, sum of counts, width)
        by_row=scope.by_row,
        canvas_node=scope.canvas_node,
        words_note_node=scope.node_of_run,
    )


def _person_texts(
    source: object, scope: Scope, numbers: Sequence[int], strengths: Tensor, words: PeopleWords
) -> TransformerWords:
    """What the positive of a transformer carries of people. The arguments are those of `_texts_of_unet`."""
    names_apart = scope.taking.names_apart
    return TransformerWords(
        source,
        WHOLE_SCHEDULE,
        strengths,
        texts=tuple(words.tokens),
        names=tuple(names_apart[number] for number in numbers),
        by_row=scope.by_row,
        t5=tuple(words.t5) if any(words.t5) else (),
        canvas_node=scope.canvas_node,
        words_note_node=scope.node_of_run,
    )
