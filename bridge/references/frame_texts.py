"""Z-Image's frame texts in several rows of a batch.

Frame texts are the parts of Z-Image's template that stand before each reference picture and behind the prompt: marks
such as "<|vision_start|>". The host makes the positions of the frame text behind the prompt once for each row of the
batch, and the positions of the other texts once for all rows. Then it joins them, so a batch of several rows stops with
an error of torch. Where a MODEL is connected, a run here makes the positions of all texts once for all rows. Where none
is connected, the conditioning refuses a batch of several rows with a message.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.conds
from comfy.samplers import CFGGuider
from torch import Tensor, nn

from ...core.errors import BadSetup
from ..host.schedule import WHOLE_SCHEDULE
from ..host.unet import Options
from ..networks.model_family import network_of
from ..networks.token_layouts import StandIn
from ..sampling.conditioning import Conditioning, SamplerInputs
from ..sampling.model_conds import Carried, carry
from ..sampling.runs import Batch, ForwardInput, Run, patched


@dataclass(frozen=True, eq=False)
class FrameTexts(Carried):
    """A mark on both sides of the conditioning, by which a FrameTextsRun recognises a prompt with frame texts."""

    key = "likeness_frame_texts"


class FrameTextsRun(Run):
    """One sampling run of Z-Image with frame texts."""

    key = FrameTexts.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self._batches: dict[Any, FrameTextsBatch] = {}

    def batch_for_forward(
        self, chunks: tuple[tuple[FrameTexts, ...], ...], forward_input: ForwardInput
    ) -> "FrameTextsBatch":
        """The batch of one forward. Forwards with the same network and number of rows share one.

        chunks: not used, because all that is known of a prompt here is that it has frame texts.
        """
        key = forward_input.model, len(forward_input.x)
        if key not in self._batches:
            self._batches[key] = FrameTextsBatch(network_of(forward_input.model), len(forward_input.x))
        return self._batches[key]


class FrameTextsBatch(Batch):
    """The forwards of a run, in which the network makes the positions of every text once for all rows.

    network: Z-Image's. rows: of a forward.
    """

    def __init__(self, network: nn.Module, rows: int) -> None:
        self.row_count = rows
        # embed_cap is the method of the host's network that makes a text's tokens with their positions.
        self._positions = StandIn(network, "embed_cap", _with_one_row_of_positions)

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """While this context is open, the network makes the positions of every text once for all rows."""
        with self._positions.standing():
            yield

    def options_with_attention(self, options: Options) -> Options:
        """transformer_options as they are: no attention is changed."""
        return options


def _with_one_row_of_positions(embed: Callable[..., Any], cap_feats: Any = None, **options: Any) -> Any:
    """Z-Image's embed_cap, called with bsz=1 whatever the number of rows is: bsz says how often positions are made.

    embed: the host's method. cap_feats: (B, T, width) of a text. options: the host's other arguments, with bsz.
    """
    return embed(cap_feats, **{**options, "bsz": 1})


class OneRow(comfy.conds.CONDConstant):
    """A COND that makes its entry refuse a batch of several rows, because no MODEL is connected to the node.

    Its value, `cond`, is the node's name for the message.
    """

    def process_cond(self, batch_size: int, **_: Any) -> "OneRow":
        """The COND itself, for a batch of one row. Raises BadSetup for a batch of several rows."""
        if batch_size > 1:
            raise BadSetup(
                f"The latent has {batch_size} rows, and without a MODEL Z-Image reads the pictures of {self.cond} for "
                "one row only.",
                f"Connect the MODEL to model of {self.cond} and its output to the sampler, or set batch_size to 1.",
            )
        return self

    def can_concat(self, other: Any) -> bool:
        """Whether this entry can join another in one batch: no, because that would be a batch of several rows."""
        return False


_ONE_ROW = "likeness_one_row"
"""The key of a OneRow among the model_conds of an entry, which the host hands to sampling."""


def ready_for_rows(given: SamplerInputs, node: str) -> SamplerInputs:
    """A MODEL and conditioning with frame texts, made fit for batches of several rows.

    Without a MODEL the conditioning refuses such batches. node: the name of the node, for the message.
    """
    if given.model is None:
        return SamplerInputs(None, _in_one_row(given.positive, node), _in_one_row(given.negative, node))
    carried = FrameTexts(source=object(), schedule=WHOLE_SCHEDULE)
    model = patched(given.model, FrameTextsRun)
    return SamplerInputs(model, carry(given.positive, carried), carry(given.negative, carried))


def _in_one_row(conditioning: Conditioning, node: str) -> Conditioning:
    """The conditioning with entries that refuse a batch of several rows, see OneRow. node: the name of the node."""
    entries: Conditioning = []
    for text, options in conditioning:
        conds = {**options.get("model_conds", {}), _ONE_ROW: OneRow(node)}
        entries.append([text, {**options, "model_conds": conds}])
    return entries
