"""Text that is heard in parts of the picture only: words about one person, or the ID tokens of ID-Patch.

Nothing is computed twice: every pixel's cross-attention reads the common text and, of the rest, what belongs to the
people near it, in one softmax. Where everybody is heard everywhere that is plain cross-attention over all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import comfy.utils
import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor

from ..core.attention import EVERYBODY, NOBODY, Block, hearing_bias
from .carried import ALWAYS, Carried, CarriedCond, cut_regions, put
from .conditioning import ID_TOKENS, Canvas, Conditioning, Entry
from .cross_attention import CrossAttentionBatch, CrossAttentionRun, Place, as_many
from .runs import Given, entries
from .unet import Grid, Options, Replacement, attend_with, check_tokens, grid_of, with_patch

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider


@dataclass(frozen=True, eq=False)
class RegionalText(Carried):
    """What one node adds to, or says of, one side of the conditioning.

    regions: (people, H, W) of the whole picture; how strongly each person's text is heard there: 0 not at all, 1 as
    the text that everybody hears, 2 as if it were there twice.
    counts: tokens per person. canvas: what the regions are parts of.
    tokens: (B, sum of counts, width) float32 CPU, read by the UNet behind the text; or None where they stand in it.
    start: where they stand. length: of the text of their entry, once a run has begun.
    """

    key = "likeness_regional_text"
    regions: Tensor
    counts: tuple[int, ...]
    canvas: Canvas
    tokens: Tensor | None = None
    start: int = 0
    length: int = 0

    @property
    def heard(self) -> bool:
        return bool(self.counts)

    @property
    def placed(self) -> bool:
        return True

    @property
    def acts(self) -> Tensor:
        """Where in the picture."""
        return self.regions

    @property
    def added(self) -> int:
        """Tokens behind the text."""
        return 0 if self.tokens is None else self.tokens.shape[1]

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> RegionalText:
        return replace(self, regions=cut_regions(self.regions, area, latent))

    def alike(self, other: Any) -> bool:
        return True  # what one row has too few is filled with tokens that nobody hears

    def repeats(self, text: int) -> int:
        """How often an entry's text stands in one of this many tokens: the host repeats texts until all of a batch are
        equally long."""
        return text // self.length

    def inside(self, text: int) -> Tensor:
        """Which tokens of a text of this many are its own, in order."""
        own = torch.arange(self.start, self.start + sum(self.counts))
        return torch.cat([own + repeat * self.length for repeat in range(self.repeats(text))])

    def owners(self, first: int) -> Tensor:
        """(sum of counts,): per token the person's number from `first` on."""
        return torch.arange(first, first + len(self.counts)).repeat_interleave(
            torch.tensor(self.counts, dtype=torch.long)
        )


def spoken(tokens: Sequence[Tensor], regions: Tensor, canvas: Canvas) -> RegionalText:
    """One text per person, (1, T, width) each, read behind the common one."""
    counts = tuple(one.shape[1] for one in tokens)
    return RegionalText(object(), ALWAYS, regions, counts, canvas, torch.cat(tuple(tokens), dim=1))


def silent(text: RegionalText) -> RegionalText:
    """For the other side: nothing is said there, but the host may compute both in one batch."""
    assert text.tokens is not None
    return replace(text, regions=text.regions[:0], counts=(), tokens=text.tokens[:, :0])


def standing_in(sides: Sequence[Conditioning], regions: Tensor, canvas: Canvas) -> list[Conditioning]:
    """Both sides of Apply ID-Patch, the ID tokens in their texts heard in regions only; an entry without stays."""
    source = object()

    def bound(entry: Entry) -> Entry:
        if (named := entry[1].get(ID_TOKENS)) is None:
            return entry
        counts = (named.each,) * named.people
        return put([entry], RegionalText(source, ALWAYS, regions, counts, canvas, None, named.start))[0]

    return [[bound(entry) for entry in side] for side in sides]


class RegionalTextRun(CrossAttentionRun):
    """One sampling run of a MODEL that hears by region."""

    key = RegionalText.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        for entry in entries(guider, self.key):
            conds, length = entry["model_conds"], entry["cross_attn"].shape[1]
            known = tuple(replace(text, length=length) for text in conds[self.key].cond)
            entry["model_conds"] = {**conds, self.key: CarriedCond(known)}
        super().__init__(guider, latent)

    def batch(self, chunks: tuple[tuple[RegionalText, ...], ...], given: Given) -> CrossAttentionBatch:
        what = chunks, given.context.shape[1]
        return self.ready(what, given, lambda place: RegionalTextBatch(self.layers, *what, place))


class RegionalTextBatch(CrossAttentionBatch):
    """Attention to the text and, behind it, to what is said of single people, by region.

    chunks: what each carries; context: tokens of their text.
    """

    def __init__(
        self, layers: Sequence[Block], chunks: tuple[tuple[RegionalText, ...], ...], context: int, place: Place
    ) -> None:
        self.layers, self.rows = layers, place.rows
        self._chunks, self._context, self._place = chunks, context, place
        self.added = max(sum(text.added for text in chunk) for chunk in chunks)
        width = max((text.tokens.shape[-1] for chunk in chunks for text in chunk if text.tokens is not None), default=0)
        self._tokens = place.put(torch.cat([self._behind(chunk, width) for chunk in chunks]))
        self._biases = {grid: self._bias(grid, context) for grid in place.grids}

    def around(self, options: Options) -> Options:
        # Behind the patches of others: our tokens are the last.
        ours = super().around(options)
        return with_patch(ours, "attn2_patch", self.lengthened) if self.added else ours

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        grid = grid_of(extra_options)
        check_tokens(q, grid)
        text = k.shape[1] - self.added
        # On a CPU the host's choices write out all logits.
        kernel = attention_pytorch if q.device.type == "cpu" else None
        heard = attend_with(extra_options, kernel, self.bias(grid, text, q))(q, k, v)
        if before is None:
            return heard
        # Theirs adds to plain attention to the text, which is taken out of it again.
        plain = k[:, :text], v[:, :text]
        return before(q, *plain, extra_options) + heard - attend_with(extra_options)(q, *plain)

    def lengthened(
        self, n: Tensor, context: Tensor, value: Tensor, extra_options: Options
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The host's attn2 patch: the text and what is said of single people, not projected yet."""
        tokens = as_many(self._tokens.to(context), len(context), dim=0)
        longer = torch.cat([context, tokens], dim=1)
        return n, longer, longer if value is context else torch.cat([value, tokens], dim=1)

    def _behind(self, chunk: tuple[RegionalText, ...], width: int) -> Tensor:
        """(rows of a chunk, added, width), read behind its text."""
        rows = self.rows // len(self._chunks)
        found = [comfy.utils.repeat_to_batch_size(text.tokens, rows) for text in chunk if text.tokens is not None]
        said = torch.cat([torch.zeros(rows, 0, width), *found], dim=1)
        return functional.pad(said, (0, 0, 0, self.added - said.shape[1]))

    def bias(self, grid: Grid, text: int, q: Tensor) -> Tensor:
        """(B, N, text + added), added to the logits of a layer of this grid that is given so many tokens of text."""
        known = text == self._context and grid in self._biases
        bias = self._biases[grid] if known else self._bias(grid, text)
        return as_many(bias.to(q), len(q), dim=0)

    def _bias(self, grid: Grid, text: int) -> Tensor:
        each = torch.stack([self._of(chunk, grid, text) for chunk in self._chunks])
        return as_many(self._place.put(each), self.rows, dim=0)

    def _of(self, chunk: tuple[RegionalText, ...], grid: Grid, text: int) -> Tensor:
        owners, behind, people = torch.full((text,), EVERYBODY), list[Tensor](), 0
        for one in chunk:
            whose = one.owners(people)
            if one.tokens is None:
                inside = one.inside(self._context)
                owners[inside] = whose.repeat(len(inside) // len(whose))
            else:
                behind.append(whose)
            people += len(one.counts)
        owners = torch.cat([owners, *behind])
        owners = functional.pad(owners, (0, text + self.added - len(owners)), value=NOBODY)
        # Words behind a text that stands there twice are as loud as it when they count twice.
        regions = [x.regions if x.tokens is None else x.regions * x.repeats(self._context) for x in chunk]
        return hearing_bias(regions, owners, grid)
