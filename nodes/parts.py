"""Parts of a person: a picture, a mask and a label each."""

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge.host import notes
from ..core.checks import errors
from ..core.checks.text import plain
from ..core.parts.part_notes import notes_on_part, pictures_of_garment, sheet
from ..core.parts.parts import LABELS, MOST_WEIGHT, Parts, make_part
from .categories import IN_PARTS
from .sockets import PartsSocket

OTHER = "other"


class PartNode(io.ComfyNode):
    """One more part of a person, appended to the parts that are linked."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPart",
            category=IN_PARTS,
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("label", options=[*LABELS, OTHER], default=LABELS[0]),
                io.String.Input("other_label", default=""),
                io.Float.Input("weight", default=1.0, min=0.0, max=MOST_WEIGHT, step=0.05),
                io.Mask.Input("mask", optional=True),
                io.Mask.Input("target_mask", optional=True),
                PartsSocket.Input("parts", optional=True),
            ],
            outputs=[PartsSocket.Output("parts_out"), io.Image.Output("preview")],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        label: str,
        other_label: str,
        weight: float,
        mask: Tensor | None = None,
        target_mask: Tensor | None = None,
        parts: Parts | None = None,
    ) -> io.NodeOutput:
        words = plain(other_label if label == OTHER else label)
        # The user can leave other_label empty; `label` itself is empty only in a prompt of another program.
        if not words:
            name = "other_label" if label == OTHER else "label"
            raise errors.BadChoice(name, words, [*LABELS, "or your own words, such as 'glasses'"])
        part = make_part(words, image, mask, weight, target=target_mask)
        parts_before = () if parts is None else parts.parts
        parts_out = Parts((*parts_before, part))
        notes.tell("\n".join([*notes_on_part(part, mask, target_mask), *pictures_of_garment(parts_out)]))
        preview = sheet(parts_out)
        return io.NodeOutput(parts_out, preview, ui=ui.PreviewImage(preview, cls=cls))


NODES = [PartNode]
