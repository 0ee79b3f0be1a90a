"""A node of the graph as a run knows it: errors about the run's latent name it, and notes are shown under it."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.cast import rows_missing
from ...core.pictures import tensors
from ..host import notes

PICTURES = "pictures"
"""The topic of notes about pose pictures: their number does not fit that of the rows."""


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

    name: what one of them is, such as "keypoint picture". owner: the canvas of the node, which names the node.
    """

    name: str
    owner: NodeOfRun

    def tell(self, picture_count: int, row_count: int) -> None:
        """Write a note unless the rows divide evenly among the pictures, see `without_row` in core/pictures/tensors.py.

        Where there is nothing to say, the note of an earlier run is taken away. row_count: of the latent.
        """
        sentence = tensors.without_row(self.name, picture_count, row_count)
        text = ""
        if sentence:
            text = f"{self.owner.node_name}: {sentence}"
        notes.tell_of_run(self.owner.node_id, PICTURES, text)
