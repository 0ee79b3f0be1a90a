"""References in the middle of the picture, where the network counts the rows and columns of each from its corner.

Krea 2 Identity Edit was trained so: a reference that is fitted into the picture, and does not fill it, stands in its
middle. Where it lacks an odd number of rows or columns, its tokens stand half a token beside those of the picture.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from comfy.samplers import CFGGuider
from torch import Tensor

from ..host.unet import Options, with_patch
from ..networks.model_family import cells_per_token
from ..sampling.model_conds import Carried
from ..sampling.runs import Batch, ForwardInput, Run
from .by_region import TokensChanged


@dataclass(frozen=True, eq=False)
class Centred(Carried):
    """A mark on both sides of the conditioning, by which a CentredRun recognises a prompt with such references."""

    key = "likeness_centred_references"


class CentredRun(Run):
    """One sampling run of a MODEL in which references stand in the middle of the picture."""

    key = Centred.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self._batches: dict[Hashable, CentredBatch] = {}

    def batch_for_forward(
        self, chunks: tuple[tuple[Centred, ...], ...], forward_input: ForwardInput
    ) -> "CentredBatch | None":
        """The batch of one forward; None for one without references. chunks: not used, each carries the mark alone."""
        if not forward_input.references:
            return None
        latents = forward_input.x, *forward_input.references
        key = tuple(latent.shape for latent in latents), forward_input.x.device
        if key not in self._batches:
            self._batches[key] = CentredBatch(forward_input)
        return self._batches[key]


class CentredBatch(Batch):
    """The forwards of one size: positions of references are moved to the middle of the picture."""

    def __init__(self, forward_input: ForwardInput) -> None:
        self.row_count = len(forward_input.x)
        patch = cells_per_token(forward_input.model)
        rows, columns = _grid(forward_input.x, patch)
        self._picture = rows * columns
        offsets = [torch.zeros(self._picture, 3)]  # of the axes of a position: frame, row and column
        for reference in forward_input.references:
            own_rows, own_columns = _grid(reference, patch)
            offset = torch.tensor([0.0, max(0, rows - own_rows) / 2, max(0, columns - own_columns) / 2])
            offsets.append(offset.expand(own_rows * own_columns, 3))
        self._offsets = torch.cat(offsets).to(forward_input.x.device)  # (tokens of the picture and its references, 3)

    def options_with_attention(self, options: Options) -> Options:
        """transformer_options with a patch that moves positions."""
        return with_patch(options, "post_input", self.with_positions)

    def with_positions(self, inputs: Options) -> Options:
        """A post_input patch of the host: it moves the positions of references, `img_ids` (B, tokens, 3).

        Raises TokensChanged where another node has changed the number of tokens.
        """
        positions: Tensor = inputs["img_ids"]
        if positions.shape[1] == self._picture:  # the network reads no references
            return inputs
        if positions.shape[1] != len(self._offsets):
            raise TokensChanged(positions.shape[1], len(self._offsets))
        return {**inputs, "img_ids": positions + self._offsets}


def _grid(latent: Tensor, patch: int) -> tuple[int, int]:
    """How many rows and columns of tokens a latent has, (B, C, ..., h, w). patch: cells to a side of a token."""
    height, width = latent.shape[-2:]
    return -(-height // patch), -(-width // patch)
