"""Parts of a person: a picture, a mask and a label each."""

from __future__ import annotations

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge import detector_words, notes
from ..bridge.schema import searchable
from ..core import errors
from ..core.parts.drawing import sheet
from ..core.parts.parts import LABELS, BadPart, Parts, hints, make_part
from ..core.text import plain
from .sockets import PartsSocket

CATEGORY = "likeness/parts"
OTHER = "other"


class Part(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessPart",
            display_name="Part (clothes, face, hair)",
            category=CATEGORY,
            description="One part of a person: a face, a haircut, a jacket, shoes, from a photo of its own with a "
            "mask. Chain one node per part.",
            inputs=[
                io.Image.Input("image", tooltip="One picture that shows the part."),
                io.Combo.Input(
                    "label",
                    options=[*LABELS, OTHER],
                    default=LABELS[0],
                    tooltip="What the part is. Parts2Whole was trained with these six; other = other_label.",
                ),
                io.String.Input("other_label", default="", tooltip="Your own words, when label is other."),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="How much the picture looks at this part. 0 = as if it were not there.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White where the picture shows the part, as MaskEditor paints it or SAM3 Detect finds it; "
                    "several masks count together. Without one: the image's alpha, else all of it.",
                ),
                io.Mask.Input(
                    "target_mask",
                    optional=True,
                    tooltip="Where in the new picture this part may be looked at. Without one: everywhere.",
                ),
                PartsSocket.Input("parts", optional=True, tooltip="Parts to add this one to, from another Part node."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
            outputs=[
                PartsSocket.Output("parts_out", display_name="parts"),
                io.Image.Output("preview", display_name="preview"),
            ],
        )
        return searchable(schema, "parts2whole", "garment", "dress", "wardrobe", "outfit", "try on", "jacket", "换装")

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
        with detector_words.in_errors(cls, "mask", BadPart):
            part = make_part(_label(label, other_label), image, mask, weight, target_mask)
        notes.tell(notes.node_of(cls), "\n".join(hints(part, mask=mask, target_mask=target_mask)))
        everything = Parts((*(parts.parts if parts else ()), part))
        shown = sheet(everything)
        return io.NodeOutput(everything, shown, ui=ui.PreviewImage(shown, cls=cls))


def _label(label: str, other: str) -> str:
    words = plain(other if label == OTHER else label)
    if not words:
        name = "other_label" if label == OTHER else "label"
        raise errors.BadChoice(name, words, [*LABELS, "or your own words, such as 'glasses'"])
    return words


NODES = [Part]
