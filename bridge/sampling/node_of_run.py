"""A node of the graph as a run knows it: errors about the run's latent name it, and notes are shown under it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...core.cast import rows_missing
from ...core.pictures import geometry
from .areas import in_pixels, latent_size


@dataclass(frozen=True, eq=False)
class NodeOfRun:
    """A node in a run: errors about the run's latent name it, and notes of the run are shown under it.

    node_name: the name of the node, for messages.
    node_id: of the node in the graph, under which a run shows its notes; None outside of a graph.
    row_count: how many people have a row of the batch each, or 0 where all people are in every row.
    """

    node_name: str
    node_id: str | None
    row_count: int = 0


@dataclass(frozen=True)
class Canvas:
    """The canvas of a node's people. size: (width, height) in pixels; None where no place depends on it."""

    node: NodeOfRun
    size: tuple[int, int] | None = None

    @classmethod
    def of_regions(cls, node: NodeOfRun, regions: Tensor | None) -> Canvas:
        """The canvas that regions, (people, H, W), are parts of; None for no regions."""
        return cls(node, None if regions is None else (regions.shape[2], regions.shape[1]))

    def check(self, latent: Tensor, cell: int) -> None:
        """Hold the canvas against the latent that a run denoises, (B, C, h, w), with latent pixels of `cell` pixels.

        Raises BadCast where people have a row each, and the latent has another number of rows than people; BadSize
        where it has another shape (ratio of width to height).
        """
        name = self.node.node_name
        if self.node.row_count and len(latent) != self.node.row_count:
            raise rows_missing(name, self.node.row_count, "the latent", len(latent))
        if self.size is not None:
            geometry.check_shape(f"the canvas of {name}", self.size, in_pixels(latent_size(latent), cell), cell)


@dataclass(frozen=True)
class Pictures:
    """The pose pictures of a node: one for all rows of the batch, or several that follow each other over the rows.

    name: what one of them is, such as "keypoint picture". count: how many there are. owner: the node, under which notes
    about them are shown.
    """

    name: str
    count: int
    owner: NodeOfRun
