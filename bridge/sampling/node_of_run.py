"""A node of the graph as a run knows it: errors about the run's latent name it, and notes are shown under it."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.cast import rows_missing


@dataclass(frozen=True, eq=False)
class NodeOfRun:
    """A node in a run: errors about the run's latent name it, and notes of the run are shown under it.

    node_name: the name of the node, for messages.
    node_id: of the node in the graph, under which a run shows its notes; None outside of a graph.
    row_count: how many people have a row of the batch each, or 0 where all people are in every row.
    """

    node_name: str
    node_id: str | None = None
    row_count: int = 0

    def check_rows(self, row_count: int) -> None:
        """Raise BadCast where people have a row each, and the latent has another number of rows than people."""
        if self.row_count and row_count != self.row_count:
            raise rows_missing(self.node_name, self.row_count, "the latent", row_count)


@dataclass(frozen=True)
class Pictures:
    """The pose pictures of a node: one for all rows of the batch, or several that follow each other over the rows.

    name: what one of them is, such as "keypoint picture". owner: the node, under which notes about them are shown.
    """

    name: str
    owner: NodeOfRun
