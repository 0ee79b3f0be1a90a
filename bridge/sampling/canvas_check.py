"""The canvas of each apply node's people, held against the latent that a run denoises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...core.pictures import geometry
from .areas import LatentSize, in_pixels, latent_size
from .carried import Carried
from .node_of_run import NodeOfRun


@dataclass(frozen=True, eq=False)
class Canvas:
    """The canvas of an apply node's people. size: (width, height) in pixels; None where no place depends on it."""

    node: NodeOfRun
    size: tuple[int, int] | None

    def check(self, latent: LatentSize, cell: int) -> None:
        """Raise BadSize for a latent of another shape (ratio of width to height).

        latent: the size of what is denoised, as a whole. cell: the side of a latent pixel, in pixels.
        """
        if self.size is not None:
            geometry.check_shape(f"the canvas of {self.node.node_name}", self.size, in_pixels(latent, cell), cell)


def check_canvases(carried: Sequence[Carried], latent: Tensor, cell: int) -> None:
    """Hold each canvas against the latent that a run denoises.

    Raises BadCast where its rows of people are not the latent's, BadSize where its regions have another shape.
    carried: all that the run's conditioning carries. latent: (B, C, h, w). cell: the side of a latent pixel, in pixels.
    """
    canvases = canvases_of(carried)
    for canvas in canvases:
        canvas.node.check_rows(len(latent))
    for canvas in canvases:
        canvas.check(latent_size(latent), cell)


def canvases_of(carried: Sequence[Carried]) -> list[Canvas]:
    """The canvas of each node of which a run's conditioning carries something. Its size is that of the regions on it.

    Where people have no regions, the canvas has no size.
    """
    canvases: dict[NodeOfRun, Canvas] = {}
    for item in carried:
        if item.canvas_node is not None:
            # (people, H, W). All that a node has put in has regions of one size, so any may write the entry.
            regions = item.acting_regions
            size = None if regions is None else (regions.shape[2], regions.shape[1])
            canvases[item.canvas_node] = Canvas(item.canvas_node, size)
    return list(canvases.values())
