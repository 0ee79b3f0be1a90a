"""The canvas of each apply node's people, held against the latent that a run denoises."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .model_conds import Carried
from .node_of_run import NodeOfRun


def check_canvases(carried: Sequence[Carried], latent: Tensor, cell: int) -> None:
    """Hold each canvas against the latent that a run denoises.

    Raises BadCast where its rows of people are not the latent's, BadSize where its regions have another size.
    carried: all that the run's conditioning carries. latent: (B, C, h, w). cell: the side of a latent pixel, in pixels.
    """
    sizes = canvas_sizes(carried)
    for canvas in sizes:
        canvas.check_rows(len(latent))
    height, width = latent.shape[-2:]
    for canvas, size in sizes.items():
        if size is not None:  # None: there are no regions to fit
            canvas.check(size, (cell * width, cell * height), cell)


def canvas_sizes(carried: Sequence[Carried]) -> dict[NodeOfRun, tuple[int, int] | None]:
    """The canvases of all that a run's conditioning carries, with the size of each, (width, height) in pixels.

    The size is that of the regions on it; None where people have no regions.
    """
    sizes: dict[NodeOfRun, tuple[int, int] | None] = {}
    for item in carried:
        if item.canvas_node is not None:
            # (people, H, W). All that a node has put in has regions of one size, so any may write the entry.
            regions = item.acting_regions
            sizes[item.canvas_node] = None if regions is None else (regions.shape[2], regions.shape[1])
    return sizes
