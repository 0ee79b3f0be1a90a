"""References read as two families were trained to read them, by a run of the prompts that carry a mark.

Krea 2 Identity Edit: a reference that is fitted into the picture, and does not fill it, stands in its middle. The
network counts the rows and columns of each from its corner. Where a reference lacks an odd number of rows or columns,
its tokens stand half a token beside those of the picture.

Z-Image: frame texts are the parts of its template that stand before each reference picture and behind the prompt: marks
such as "<|vision_start|>". The host makes the positions of the frame text behind the prompt once for each row of the
batch, and the positions of the other texts once for all rows. Then it joins them, so a batch of several rows stops with
an error of torch. Where a MODEL is connected, a run here makes the positions of all texts once for all rows. Where none
is connected, the conditioning refuses a batch of several rows with a message.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.conds
import torch
from torch import Tensor, nn

from ...core.checks.errors import BadSetup
from ..host.schedule import WHOLE_SCHEDULE
from ..host.unet import Options, with_patch
from ..networks.model_family import cells_per_token, network_of
from ..networks.patched_methods import PatchedMethod
from ..sampling.calls import Site
from ..sampling.conditioning import Conditioning, SamplerInputs
from ..sampling.forward import Batch, ForwardInput, ForwardShape
from ..sampling.model_conds import Carried, PerChunk, carry
from ..sampling.on_model import with_runs
from ..sampling.runs import Run
from .by_region import TokensChanged


@dataclass(frozen=True, eq=False)
class AsTrained(Carried):
    """A mark on both sides of the conditioning. batch: the class of a forward's batch, by which they are read."""

    key = "likeness_references_as_trained"
    batch: "type[CentredBatch | FrameTextsBatch]"


class AsTrainedRun(Run[AsTrained]):
    """One sampling run of a MODEL whose references are read as its family was trained to."""

    key = AsTrained.key

    def batch_for_forward(self, of_nodes: tuple[PerChunk[AsTrained], ...], forward_input: ForwardInput) -> Batch | None:
        """The batch of a forward; None for a forward without references."""
        return super().batch_for_forward(of_nodes, forward_input) if forward_input.references else None

    def new_batch(
        self, acting: tuple[PerChunk[AsTrained], ...], forward_shape: ForwardShape
    ) -> "CentredBatch | FrameTextsBatch":
        return acting[0][0].batch(forward_shape)


class CentredBatch(Batch):
    """The forwards of one size: positions of references are moved to the middle of the picture."""

    def __init__(self, forward_shape: ForwardShape) -> None:
        super().__init__()
        self.row_count = forward_shape.row_count
        patch = cells_per_token(forward_shape.model)
        rows, columns = _grid(forward_shape.latent, patch)
        self._picture = rows * columns
        # (tokens, 3) each, the picture's and then each reference's: what is added to frame, row and column.
        offsets = [torch.zeros(self._picture, 3, dtype=torch.float32)]
        for reference in forward_shape.references:
            own_rows, own_columns = _grid(reference, patch)
            missing_rows = max(0, rows - own_rows)
            missing_columns = max(0, columns - own_columns)
            offset = torch.tensor([0.0, missing_rows / 2, missing_columns / 2], dtype=torch.float32)
            offsets.append(offset.expand(own_rows * own_columns, 3))
        self._offsets = torch.cat(offsets).to(forward_shape.device)  # (tokens of the picture and its references, 3)

    def sites(self, modules: Mapping[str, nn.Module]) -> Mapping[Site, nn.Module]:
        return {CentredBatch: modules[""]}

    def options_with_attention(self, options: Options) -> Options:
        return with_patch(options, "post_input", self.with_positions)

    def with_positions(self, inputs: Options) -> Options:
        """A post_input patch of the host: it moves the positions of references among `img_ids`, (B, tokens, 3).

        inputs: what the blocks are given, which is returned as a copy. The call is counted. Raises TokensChanged where
        another node has changed the number of tokens.
        """
        self.calls.count(CentredBatch)
        positions: Tensor = inputs["img_ids"]
        if positions.shape[1] == self._picture:  # the network reads no references
            return inputs
        if positions.shape[1] != len(self._offsets):
            raise TokensChanged(positions.shape[1], len(self._offsets))
        return {**inputs, "img_ids": positions + self._offsets}


def _grid(latent: torch.Size, patch: int) -> tuple[int, int]:
    """How many rows and columns of tokens a latent of this shape has, (B, C, ..., h, w). patch: cells to a side of a
    token."""
    height, width = latent[-2:]
    return math.ceil(height / patch), math.ceil(width / patch)


class FrameTextsBatch(Batch):
    """The forwards of one size, in which the network makes the positions of every text once for all rows."""

    def __init__(self, forward_shape: ForwardShape) -> None:
        super().__init__()
        self.row_count = forward_shape.row_count
        # embed_cap is the method of the host's network that makes a text's tokens with their positions.
        self._positions = PatchedMethod(network_of(forward_shape.model), "embed_cap", _with_one_row_of_positions)

    def sites(self, modules: Mapping[str, nn.Module]) -> Mapping[Site, nn.Module]:
        return {self._positions: modules[""]}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        with self._positions.in_place(self.calls):
            yield

    def options_with_attention(self, options: Options) -> Options:
        return options


def _with_one_row_of_positions(embed: Callable[..., Any], cap_feats: Any = None, **options: Any) -> Any:
    """What Z-Image's embed_cap gives, with the positions of one row: called with bsz=1 for any number of rows.

    bsz says for how many rows positions are made. embed: the host's method. cap_feats: (B, T, width) of a text.
    options: the host's other arguments, with its own bsz.
    """
    return embed(cap_feats, **{**options, "bsz": 1})


class OneRow(comfy.conds.CONDConstant):
    """A COND that makes its entry refuse a batch of several rows, because no MODEL is connected to the node.

    Its value, `cond`, is the node's name for the message.
    """

    def process_cond(self, batch_size: int, **_: Any) -> "OneRow":
        """What the host asks of a COND before it samples: this one as it is. Raises BadSetup for several rows."""
        if batch_size > 1:
            raise BadSetup(
                f"The latent has {batch_size} rows, and without a MODEL Z-Image reads the pictures of {self.cond} for "
                "one row only.",
                f"Connect the MODEL to model of {self.cond} and its output to the sampler, or set batch_size to 1.",
            )
        return self

    def can_concat(self, other: Any) -> bool:
        return False


_ONE_ROW = "likeness_one_row"
"""The key of a OneRow among the model_conds of an entry, which the host hands to sampling."""


def as_trained(given: SamplerInputs, batch: type[CentredBatch | FrameTextsBatch], node: str) -> SamplerInputs:
    """A MODEL and conditioning whose references are read by batches of this class: a clone and copies, with a mark.

    Without a MODEL: for CentredBatch `given` itself; for FrameTextsBatch conditioning that refuses a batch of several
    rows. node: the name of the node, for the message.
    """
    if given.model is None:
        if batch is CentredBatch:
            return given
        return SamplerInputs(None, _in_one_row(given.positive, node), _in_one_row(given.negative, node))
    # source: an object of this mark alone, which tells it from those of other nodes.
    mark = AsTrained(source=object(), schedule=WHOLE_SCHEDULE, batch=batch)
    model = with_runs(given.model, AsTrainedRun)
    return SamplerInputs(model, carry(given.positive, mark), carry(given.negative, mark))


def _in_one_row(conditioning: Conditioning, node: str) -> Conditioning:
    """The conditioning with entries that refuse a batch of several rows, see OneRow. node: the name of the node."""
    entries: Conditioning = []
    for text, options in conditioning:
        conds = {**options.get("model_conds", {}), _ONE_ROW: OneRow(node)}
        entries.append([text, {**options, "model_conds": conds}])
    return entries
