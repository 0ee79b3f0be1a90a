"""Text that is heard in parts of the picture only: words about one person, or the ID tokens of ID-Patch.

Nothing is computed twice: every pixel's cross-attention reads the common text and, of the rest, what belongs to the
people near it, in one softmax. Where everybody is heard everywhere that is plain cross-attention over all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.utils
import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor

from ..core.attention import EVERYBODY, NOBODY, hearing_bias
from ..core.errors import TokensMoved
from .carried import ALWAYS, Carried, CarriedCond, Run, cut_regions, entries, install, put
from .conditioning import ID_TOKENS, Canvas, Conditioning, Entry
from .unet import attend_with, attention_layers, replaced, standing

KEY = "likeness_regional_text"


@dataclass(frozen=True, eq=False)
class RegionalText(Carried):
    """What one node adds to, or says of, one side of the conditioning.

    regions: (people, H, W) of the whole picture; how strongly each person's text is heard there: 0 not at all, 1 as
    the text that everybody hears, 2 as if it were there twice.
    counts: tokens per person. canvas: what the regions are parts of.
    tokens: (B, sum of counts, width) float32 CPU, read by the UNet behind the text; or None where they stand in it.
    start: where they stand. length: of the text of their entry, once a run has begun.
    """

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
        return say([entry], RegionalText(source, ALWAYS, regions, counts, canvas, None, named.start))[0]

    return [[bound(entry) for entry in side] for side in sides]


def say(conditioning: Conditioning, text: RegionalText) -> Conditioning:
    """Every entry with one more text."""
    return put(conditioning, text, KEY)


def patched(model: Any) -> Any:
    """A clone of the MODEL that hears by region; a MODEL that does already is returned as it is."""
    return install(model, KEY, RegionalTextRun)


class RegionalTextRun(Run):
    """One sampling run: what is worked out for a batch is kept until its end."""

    key = KEY

    def __init__(self, guider: Any, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self._layers = [(name, number, index) for name, number, index, _ in attention_layers(guider.model_patcher)]
        self._readings: dict[tuple[Any, ...], Reading] = {}
        for entry in entries(guider, KEY):
            conds, length = entry["model_conds"], entry["cross_attn"].shape[1]
            known = tuple(replace(text, length=length) for text in conds[KEY].cond)
            entry["model_conds"] = {**conds, KEY: CarriedCond(known)}
        pixels = (8 * latent.shape[-1], 8 * latent.shape[-2])
        for canvas, size in {one.canvas: one.regions.shape[:0:-1] for one in self.everything(guider)}.items():
            canvas.check((size[0], size[1]), pixels)

    def denoise(self, chunks: tuple[tuple[Any, ...], ...], executor: Any, *args: Any, **kwargs: Any) -> Any:
        *others, options = args
        key = chunks, args[2].shape[1]
        if key not in self._readings:
            self._readings[key] = Reading(*key)
        reading = self._readings[key]
        ours = {block: RegionalAttention(reading, standing(options, "attn2", block)) for block in self._layers}
        options = replaced(options, "attn2", ours)
        if reading.added:
            patches = options.get("patches", {})
            # Behind those of others: our tokens are the last.
            options["patches"] = {**patches, "attn2_patch": [*patches.get("attn2_patch", ()), reading.lengthened]}
        return executor(*others, options, **kwargs)


class Reading:
    """What the rows of one batch read. chunks: what each carries; context: tokens of their text."""

    def __init__(self, chunks: tuple[tuple[RegionalText, ...], ...], context: int) -> None:
        self.chunks, self._context = chunks, context
        self.added = max(sum(text.added for text in chunk) for chunk in chunks)
        self._biases: dict[tuple[Any, ...], Tensor] = {}
        self._tokens: dict[tuple[Any, ...], Tensor] = {}

    def lengthened(self, n: Tensor, context: Tensor, value: Tensor, extra_options: dict[str, Any]) -> Any:
        """The host's attn2 patch: the text and what is said of single people, not projected yet."""
        tokens = self._behind(context)
        longer = torch.cat([context, tokens], dim=1)
        return n, longer, longer if value is context else torch.cat([value, tokens], dim=1)

    def _behind(self, context: Tensor) -> Tensor:
        """(rows, added, width) beside the text."""
        key = len(context), context.dtype, context.device
        if key not in self._tokens:
            rows = len(context) // len(self.chunks)
            self._tokens[key] = torch.cat([self._of(chunk, rows, context) for chunk in self.chunks])
        return self._tokens[key]

    def _of(self, chunk: tuple[RegionalText, ...], rows: int, context: Tensor) -> Tensor:
        found = [comfy.utils.repeat_to_batch_size(text.tokens, rows) for text in chunk if text.tokens is not None]
        said = torch.cat([context.new_zeros(rows, 0, context.shape[-1]), *(one.to(context) for one in found)], dim=1)
        return functional.pad(said, (0, 0, 0, self.added - said.shape[1]))

    def bias(self, grid: tuple[int, int], text: int, q: Tensor) -> Tensor:
        """(B, N, text + added), added to the logits of a layer of this grid (height, width) that is given so many
        tokens of text."""
        key = grid, text, len(q), q.dtype, q.device
        if key not in self._biases:
            each = torch.stack([self._bias(chunk, grid, text) for chunk in self.chunks])
            self._biases[key] = each.to(q).repeat_interleave(len(q) // len(self.chunks), dim=0)
        return self._biases[key]

    def _bias(self, chunk: tuple[RegionalText, ...], grid: tuple[int, int], text: int) -> Tensor:
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


@dataclass(frozen=True)
class RegionalAttention:
    """The attn2 of one layer in one forward. before: what stands there, of another node."""

    reading: Reading
    before: Callable[..., Tensor] | None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        height, width = (int(side) for side in extra_options["activations_shape"][-2:])
        if q.shape[1] != height * width:
            raise TokensMoved(q.shape[1], width, height)
        text = k.shape[1] - self.reading.added
        # On a CPU the host's choices write out all logits.
        kernel = attention_pytorch if q.device.type == "cpu" else None
        bias = self.reading.bias((height, width), text, q)
        heard = attend_with(extra_options, kernel, bias)(q, k, v)
        if self.before is None:
            return heard
        # Theirs adds to plain attention to the text, which is taken out of it again.
        plain = k[:, :text], v[:, :text]
        return self.before(q, *plain, extra_options) + heard - attend_with(extra_options)(q, *plain)
