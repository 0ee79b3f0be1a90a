"""Z-Image's text behind the prompt, in several rows of a batch.

The host gives such a text its positions once for each row, and joins them with those of the other texts, which it gives
once for all rows: more than one row stops with an error of torch. With a MODEL the positions are made once here, too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.conds
from comfy.model_patcher import ModelPatcher
from comfy.samplers import CFGGuider
from torch import Tensor, nn

from ...bridge.carried import Carried, carry
from ...bridge.conditioning import Conditioning
from ...bridge.runs import Batch, ForwardInput, Run, patched
from ...bridge.schedule import WHOLE_SCHEDULE
from ...bridge.transformers.layouts import StandIn
from ...bridge.transformers.networks import network_of
from ...bridge.unet import Options
from ...core.errors import BadSetup


@dataclass(frozen=True, eq=False)
class TextsBehind(Carried):
    """What both sides carry, so that the MODEL gets ready for it."""

    key = "likeness_texts_behind"


class TextsBehindRun(Run):
    """One sampling run of Z-Image with texts behind the prompt."""

    key = TextsBehind.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self._batches: dict[Any, TextsBehindBatch] = {}

    def batch_for_forward(
        self, chunks: tuple[tuple[TextsBehind, ...], ...], forward_input: ForwardInput
    ) -> "TextsBehindBatch":
        key = forward_input.model, len(forward_input.x)
        if key not in self._batches:
            self._batches[key] = TextsBehindBatch(network_of(forward_input.model), len(forward_input.x))
        return self._batches[key]


class TextsBehindBatch(Batch):
    """Positions of texts that are the same in all rows."""

    def __init__(self, network: nn.Module, rows: int) -> None:
        self.row_count = rows
        self._positions = StandIn(network, "embed_cap", _with_one_row_of_positions)

    @contextmanager
    def prepared(self) -> Iterator[None]:
        with self._positions.standing():
            yield

    def options_with_attention(self, options: Options) -> Options:
        return options


def _with_one_row_of_positions(embed: Callable[..., Any], cap_feats: Any = None, **given: Any) -> Any:
    return embed(cap_feats, **{**given, "bsz": 1})


class OneRow(comfy.conds.CONDConstant):
    """Without a MODEL: one row in each forward. Its value is the node's name."""

    def process_cond(self, batch_size: int, **_: Any) -> "OneRow":
        if batch_size > 1:
            raise BadSetup(
                f"The latent has {batch_size} rows, and without a MODEL Z-Image reads the pictures of {self.cond} for "
                "one row only.",
                f"Connect the MODEL to model of {self.cond} and its output to the sampler, or set batch_size to 1.",
            )
        return self

    def can_concat(self, other: Any) -> bool:
        """Positive and negative prompt are computed one after the other."""
        return False


_ONE_ROW = "likeness_one_row"
"""Among the model_conds of an entry: its OneRow."""


@dataclass(frozen=True, eq=False)
class WithTextsBehind:
    """A MODEL, or None, and the conditioning for it."""

    model: ModelPatcher | None
    positive: Conditioning
    negative: Conditioning


def with_texts_behind(
    model: ModelPatcher | None, positive: Conditioning, negative: Conditioning, node: str
) -> WithTextsBehind:
    """With a MODEL both for batches of any size, without one for batches of one row. node: the name of the node."""
    if model is None:
        return WithTextsBehind(None, _in_one_row(positive, node), _in_one_row(negative, node))
    carried = TextsBehind(source=object(), schedule=WHOLE_SCHEDULE)
    return WithTextsBehind(patched(model, TextsBehindRun), carry(positive, carried), carry(negative, carried))


def _in_one_row(conditioning: Conditioning, node: str) -> Conditioning:
    entries: Conditioning = []
    for text, options in conditioning:
        conds = {**options.get("model_conds", {}), _ONE_ROW: OneRow(node)}
        entries.append([text, {**options, "model_conds": conds}])
    return entries
