"""Words about single people in a transformer, each read in that person's part of the picture only.

Everybody's words are a text of their own behind the common one, with the positions that they would have alone. One
forward computes all of them; `core.person_texts` says who reads whom.

Where people have a row of the batch each, as after Crop Faces, the rows share one place behind the common text. In
every row the words of its person stand there, filled up to the longest with tokens that nobody reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.sd import CLIP
from torch import Tensor
from typing_extensions import Self

from ...core.inputs import unusable_text
from ...core.prompts import check_text
from ...core.text import plain
from ..canvas import Canvas
from ..carried import Carried
from ..encode import TEXT_WIDTH, check_family
from ..schedule import WHOLE_SCHEDULE
from .families import TransformerFamily


@dataclass(frozen=True, eq=False)
class PersonTexts(Carried):
    """What one node adds to one side of the conditioning.

    regions: (people, H, W), from 0, of the whole picture: where each person's words are read, and how often. With
    by_row (people, 1, 1). texts: (1, T, width) each, float32 on the CPU; T is 0 for a row without words. canvas: what
    the regions are parts of, or None for the whole picture. names: of the people. by_row: whether each person has a row
    of the batch instead of a region. row: the person of this row, where it is known.
    """

    key = "likeness_person_texts"
    regions: Tensor
    texts: tuple[Tensor, ...]
    names: tuple[str, ...] = ()
    by_row: bool = False
    row: int | None = None

    @property
    def active(self) -> bool:
        """Whether anybody has words."""
        return bool(self.texts)

    @property
    def acting_regions(self) -> Tensor | None:
        """Where the words are read, (people, H, W), or None: each person's in all of their own row."""
        return None if self.by_row else self.regions

    def can_join_batch(self, other: Any) -> bool:
        """Whether rows with these two can be computed in one batch: only rows in which the same words are read."""
        return self is other

    def for_picture(self, picture_number: int) -> Self:
        """The words for one picture of a batch: with by_row those of the person whose row it is, else all.

        Picture n shows person n, and the people again from the first on where there are more pictures.
        """
        if not self.by_row or self.row is not None or not self.texts:
            return self
        person = picture_number % len(self.texts)
        return self.made_once(person, lambda: replace(self, row=person))


def appended_texts(
    texts: Sequence[Tensor], regions: Tensor, canvas: Canvas | None, names: Sequence[str]
) -> PersonTexts:
    """Words about each person, (1, T, width) per person, read in the person's region (people, H, W)."""
    return PersonTexts(object(), WHOLE_SCHEDULE, regions, tuple(texts), tuple(names), canvas=canvas)


def texts_by_row(texts: Sequence[Tensor], strength: float, canvas: Canvas, names: Sequence[str]) -> PersonTexts:
    """Words of the person of every row of the batch, (1, T, width) per row, read in all of the row's picture."""
    everywhere = torch.full((len(texts), 1, 1), strength)
    return PersonTexts(object(), WHOLE_SCHEDULE, everywhere, tuple(texts), tuple(names), canvas=canvas, by_row=True)


def without_people(texts: PersonTexts) -> PersonTexts:
    """The PersonTexts for the other side of the conditioning, which has no words of people.

    With it there, the host may compute both sides in one batch.
    """
    return PersonTexts(texts.source, WHOLE_SCHEDULE, texts.regions[:0], (), canvas=texts.canvas, by_row=texts.by_row)


def words_of(clip: CLIP, words: str, width: int, family: TransformerFamily) -> Tensor:
    """Words as a prompt of their own, in the template of the text encoder: (1, T, width), float32 on the CPU.

    Raises WrongBaseModel for the text encoder of another family, and BadText for what is too much for it.
    """
    label = f"The text {plain(words, 60)!r}"
    check_text(label, words)
    text, _ = clip.encode_from_tokens(clip.tokenize(words), return_pooled=True)
    check_family("The clip input", TEXT_WIDTH, text.shape[-1], width, f"Use the text encoder of {family.name}.")
    text = text.float().cpu()
    if not text.isfinite().all():
        raise unusable_text(label)
    return text
