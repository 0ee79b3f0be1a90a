"""Cross-attention that reads more than the text: what injections and regional text have in common.

The attention is put around whatever stands in each layer when a forward starts. So other packs never meet ours, and
the order of the nodes does not matter.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from comfy.samplers import CFGGuider
from torch import Tensor

from ..core.attention import Block
from .conditioning import check_canvases
from .runs import Batch, Given, Run, modules_of, rows_made
from .unet import Grid, Options, Replacement, grids, layers_of, replaced, standing, transformers, unet_of, with_patches

Patch = Callable[[Tensor, Tensor, Tensor, Options], tuple[Tensor, Tensor, Tensor]]
"""The host's attn2 patch: (n, context, value, extra_options) -> the same, from which q, k and v are projected."""
WHOSE = "likeness_rows"
"""In the extra_options of a layer in which others have made rows, or less of a text: (rows,), of which of ours each was
made."""


class Place(NamedTuple):
    """Where a batch is read. rows: of the pictures; grids: of the layers; device, dtype: of their queries."""

    rows: int
    grids: frozenset[Grid]
    device: torch.device
    dtype: torch.dtype

    def put(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)


class CrossAttentionBatch(Batch):
    """What every layer reads in one forward."""

    layers: Sequence[Block]
    _sound: tuple[int, int] | None = None

    def around(self, options: Options) -> Options:
        ours = {
            block: partial(self.attended, layer, standing(options, "attn2", block))
            for layer, block in enumerate(self.layers)
            if self.acts(layer)
        }
        others = options.get("patches", {}).get("attn2_patch", ())
        options = replaced(options, "attn2", ours)
        return with_patches(options, "attn2_patch", [partial(self.behind, tuple(others))]) if others else options

    def acts(self, layer: int) -> bool:
        """Whether it does anything in this layer; else whatever stands there is left alone."""
        return True

    def behind(
        self, others: Sequence[Patch], n: Tensor, context: Tensor, value: Tensor, extra_options: Options
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The attn2 patches of others, one after the other.

        Attention couple, say, makes a row per region in there. Which of ours each was made of is asked of the patch
        itself: it is given the rows' numbers in the place of the rows. Raises ConditioningLost where no answer comes.
        """
        for other in others:
            known = extra_options.get(WHOSE)
            made = other(n, context, value, extra_options)
            if extra_options.get(WHOSE) is not known:
                pass  # another batch of ours, which stands in front, has said so
            elif len(made[0]) != len(n):
                numbers = torch.arange(len(n), device=n.device, dtype=torch.float32)[:, None, None].expand(n.shape)
                answer = other(numbers, context[:, :1], value[:, :1], dict(extra_options))[0][:, 0, 0].long()
                self._check(other, n, made[0], answer)
                extra_options[WHOSE] = answer if known is None else known[answer]
            elif made[1].shape[1] < context.shape[1] and known is None:
                extra_options[WHOSE] = torch.arange(len(n), device=n.device)
            n, context, value = made
        return n, context, value

    def _check(self, other: Patch, n: Tensor, made: Tensor, answer: Tensor) -> None:
        """Once for all layers and steps, because asking a GPU makes everybody wait."""
        if (len(n), len(made)) == self._sound:
            return
        if not torch.equal(n[answer.clamp(0, len(n) - 1)], made):
            raise rows_made(len(made), len(n), other)
        self._sound = len(n), len(made)

    def whose(self, before: Replacement | None, q: Tensor, extra_options: Options) -> Tensor | None:
        """Per row of a layer which of ours it is; None where they are ours. Raises ConditioningLost."""
        found = extra_options.get(WHOSE)
        if len(q) != (self.rows if found is None else len(found)):
            raise rows_made(len(q), self.rows, before)
        return found

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """The attn2 of one layer. before: what stands there, of another node."""
        raise NotImplementedError


class CrossAttentionRun(Run):
    """One sampling run. What is made for a batch serves every step, and is gone with the run."""

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self.layers = layers_of(unet_of(guider.model_patcher))
        self._ready: dict[Hashable, CrossAttentionBatch] = {}
        check_canvases(self.everything(guider), latent)

    def acting(self, chunks: tuple[tuple[Any, ...], ...], given: Given) -> tuple[tuple[Any, ...], ...]:
        """What each node has put into the chunks, of the nodes that are switched on at this step."""
        together = zip(*chunks, strict=True)
        return tuple(each for each in together if each[0].active and self.is_on(each[0], given.sigmas))

    def ready(self, what: Hashable, given: Given, make: Callable[[Place], CrossAttentionBatch]) -> CrossAttentionBatch:
        """The batch for `what`, one for all steps of the run that see it at the same place of one network.

        The host's MultiGPU CFG Split samples with several networks, each in a thread of its own: what a batch remembers
        is of one."""
        place = place_of(self.layers, given)
        key = what, place, given.model
        if key not in self._ready:
            self._ready[key] = make(place)
        return self._ready[key]


def place_of(layers: Sequence[Block], given: Given) -> Place:
    every, like = grids(given.model.diffusion_model, *given.x.shape[-2:]), given.like()
    found = frozenset(every[name, number] for name, number, _ in layers)
    return Place(len(given.x), found, like.device, like.dtype)


def deaf_layers(given: Given) -> frozenset[Block]:
    """Layers in which what others have put in place of attention does not read the text that it is given.

    One layer of each kind of function is asked, with two texts.
    """
    unet = given.model.diffusion_model
    every, kinds, deaf = grids(unet, *given.x.shape[-2:]), dict[str, bool](), list[Block]()
    for name, number, index, module in transformers(unet):
        block = name, number, index
        if (before := standing(given.options, "attn2", block)) is None:
            continue
        kind = f"{modules_of([before])} {getattr(before, '__qualname__', type(before).__qualname__)}"
        if kind not in kinds:
            kinds[kind] = not _reads(before, module, block, every[name, number], given)
        if kinds[kind]:
            deaf.append(block)
    return frozenset(deaf)


def _reads(before: Replacement, module: Any, block: Block, grid: Grid, given: Given) -> bool:
    rows, width = len(given.x), module.attn2.to_q.out_features
    extra_options = {
        **{key: value for key, value in given.options.items() if not key.startswith("patches")},
        "n_heads": module.n_heads, "dim_head": module.d_head, "attn_precision": module.attn_precision,
        "block": block[:2], "block_index": block[2], "transformer_index": 0, "original_shape": list(given.x.shape),
        "activations_shape": [rows, width, *grid],
    }  # fmt: skip
    numbers = torch.linspace(-1, 1, given.context.shape[1] * width).to(given.like()).view(1, -1, width)
    text = numbers.expand(rows, -1, -1)
    q = text[:, :1].expand(-1, grid[0] * grid[1], -1)
    try:
        return not torch.equal(*(before(q, each, each, extra_options) for each in (text, -text)))
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError):  # it needs more than a layer's own
        return True


def rows_of(x: Tensor, whose: Tensor | None, dim: int) -> Tensor:
    """Of what our rows read, what those of a layer read."""
    return x if whose is None else x.index_select(dim, whose)


def as_many(x: Tensor, rows: int, dim: int) -> Tensor:
    """Every row of x repeated until there are so many."""
    return x if x.shape[dim] == rows else x.repeat_interleave(rows // x.shape[dim], dim=dim)
