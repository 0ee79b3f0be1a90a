"""References that stand in the middle of the picture, as Krea 2 Identity Edit was trained.

The network counts the rows and columns of each reference from its corner. Where a reference lacks an odd number of rows
or columns, its tokens stand half a token beside those of the picture.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core.attention.spans import Tokens
from ..host.schedule import WHOLE_SCHEDULE
from ..host.unet import Options, with_patch
from ..networks.model_family import cells_per_token
from ..sampling.carried import Carried, PerChunk, carry
from ..sampling.conditioning import SamplerInputs
from ..sampling.forward import Batch, ForwardShape
from ..sampling.on_model import with_kinds
from ..sampling.runs import Kind, Run, when_acting
from ..sampling.watch import DueCalls
from .by_region import TokensChanged


@dataclass(frozen=True, eq=False)
class CentredReferences(Carried):
    """A mark on both sides of the conditioning."""

    key = "likeness_centred_references"


def _new_batch(
    run: Run, acting: tuple[PerChunk[CentredReferences], ...], forward_shape: ForwardShape
) -> "CentredReferencesBatch | None":
    """The batch of a forward; None for a forward without references."""
    return CentredReferencesBatch(forward_shape) if forward_shape.references else None


CENTRED_REFERENCES = Kind(CentredReferences.key, when_acting(_new_batch))
"""References that stand in the middle of the picture."""


class CentredReferencesBatch(Batch):
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

    def due_calls(self, modules: Mapping[str, nn.Module]) -> DueCalls:
        return {CentredReferencesBatch: modules[""]}

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        return with_patch(options, "post_input", self.with_positions)

    def with_positions(self, inputs: Options) -> Options:
        """A post_input patch of the host: it moves the positions of references among `img_ids`, (B, tokens, 3).

        inputs: what the blocks are given, which is returned as a copy. The call is counted. Raises TokensChanged where
        another node has changed the number of tokens.
        """
        self.calls.count(CentredReferencesBatch)
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


def centred(given: SamplerInputs) -> SamplerInputs:
    """A MODEL and conditioning whose references stand in the middle of the picture: a clone and copies, with a mark.

    given: with a MODEL.
    """
    assert given.model is not None
    # source: an object of this mark alone, which tells it from those of other nodes.
    mark = CentredReferences(source=object(), schedule=WHOLE_SCHEDULE)
    model = with_kinds(given.model, CENTRED_REFERENCES)
    return SamplerInputs(model, carry(given.positive, mark), carry(given.negative, mark))
