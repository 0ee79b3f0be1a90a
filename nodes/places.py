"""Places: where people stand on a canvas, and who stands where."""

from collections.abc import Sequence
from dataclasses import replace

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge import notes
from ..bridge.schema import advanced, boxes_editor, region_inputs
from ..core import geometry
from ..core.errors import BadLayout, listed
from ..core.people import Cast, Faces, Layout, require_places, require_together
from ..core.places import drawing, extra_places, from_boxes, group, layouts, person_region, placing, regions
from ..core.places.actions import ACTIONS, GROUP_PHOTO
from ..core.places.from_boxes import EXAMPLE, for_editor
from ..core.places.person_region import ALL_PEOPLE, Extent, RegionShape
from .categories import IN_PLACES
from .sockets import BoxesOrLayoutSocket, CastSocket, FacesSocket, LayoutSocket, PoseKeypointSocket

LAYOUT = "Layout from Picture"
_LINES = 3  # lines in a picture, so that the people stay in sight; the note under the node has them all


def _canvas(default: int, least: int = 64) -> list[io.Input]:
    return [
        io.Int.Input("width", default=default, min=least, max=geometry.LARGEST, step=8),
        io.Int.Input("height", default=default, min=least, max=geometry.LARGEST, step=8),
    ]


_BODIES = ("half", "bust", "full", "none")


def _body() -> io.Input:
    return io.Combo.Input("body", options=list(_BODIES))


def _more_places() -> list[io.Input]:
    """Inputs of places for people who are not in the picture. At 0 places the others have no effect."""
    where = io.Combo.Input("more_where", options=list(extra_places.SIDES), default=extra_places.SIDES[0], optional=True)
    body = io.Combo.Input("more_body", options=list(_BODIES), default=_BODIES[0], optional=True)
    return [
        io.Int.Input("more_places", default=0, min=0, max=8, optional=True),
        advanced(where),
        advanced(io.Int.Input("more_x", default=0, min=0, max=geometry.LARGEST, optional=True)),
        advanced(io.Int.Input("more_y", default=0, min=0, max=geometry.LARGEST, optional=True)),
        advanced(io.Int.Input("more_face_size", default=0, min=0, max=geometry.LARGEST, optional=True)),
        advanced(body),
    ]


def _layout_outputs() -> list[io.Output]:
    return [LayoutSocket.Output("layout"), io.Image.Output("preview")]


def _shown(cls: type[io.ComfyNode], layout: Layout, guessed: Sequence[str] = ()) -> io.NodeOutput:
    preview = drawing.numbered_layout(layout, notes=guessed)[None]
    return io.NodeOutput(layout, preview, ui=ui.PreviewImage(preview, cls=cls))


class LayoutFromPicture(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLayoutFromPicture",
            category=IN_PLACES,
            inputs=[
                FacesSocket.Input("faces", optional=True),
                *_canvas(1024, least=0),
                io.Combo.Input("fit", options=list(geometry.FITS)),
                _body(),
                PoseKeypointSocket.Input("poses", optional=True),
                io.Mask.Input("masks", optional=True),
                *_more_places(),
                io.Image.Input("image", optional=True),
            ],
            outputs=_layout_outputs(),
        )

    @classmethod
    def execute(
        cls,
        faces: Faces | None,
        width: int,
        height: int,
        fit: str,
        body: str,
        poses: object = None,
        masks: Tensor | None = None,
        more_places: int = 0,
        more_where: str = extra_places.SIDES[0],
        more_x: int = 0,
        more_y: int = 0,
        more_face_size: int = 0,
        more_body: str = _BODIES[0],
        image: Tensor | None = None,
    ) -> io.NodeOutput:
        sources = {"faces": faces, "poses": poses, "masks": masks}
        connected = [name for name, source in sources.items() if source is not None]
        if len(connected) != 1:
            advice = "Connect faces (Detect Faces), poses (DWPose, SDPose) or masks, and only one of them."
            raise BadLayout(f"{LAYOUT} makes a layout of one thing; connected: {listed(connected) or 'none'}.", advice)
        guessed: Sequence[str] = ()
        if faces is not None:
            layout = layouts.from_faces(faces, width, height, fit, body)
        elif masks is not None:
            layout = layouts.from_masks(masks, width, height, body)
        else:
            posed = layouts.from_poses(poses, width, height, fit)
            layout = posed.layout
            guessed = posed.notes
        if more_places > 0:
            nose = (float(more_x), float(more_y))
            layout = extra_places.add(layout, more_where, nose, more_face_size, more_body, more_places)
        photo = None if image is None else image[0]
        preview = drawing.numbered_layout(layout, notes=guessed, background=photo, fit=fit)[None]
        return io.NodeOutput(layout, preview, ui=ui.PreviewImage(preview, cls=cls))


class LayoutFromBoxes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLayoutFromBoxes",
            category=IN_PLACES,
            inputs=[
                BoxesOrLayoutSocket.Input("bboxes", optional=True),
                io.Image.Input("background", optional=True),
                *_canvas(1024),
                io.Combo.Input("fit", options=list(geometry.FITS)),
                io.Combo.Input("boxes_show", options=list(from_boxes.SHOWS)),
                _body(),
                io.Combo.Input("boxes_from", options=list(from_boxes.SOURCES)),
                io.String.Input("text", default="", multiline=True, placeholder=EXAMPLE),
                *boxes_editor(),
            ],
            outputs=[*_layout_outputs(), io.String.Output("names")],
            is_output_node=True,  # to be run alone, so that what is linked stands in the editor
        )

    @classmethod
    def execute(
        cls,
        width: int,
        height: int,
        fit: str,
        boxes_show: str,
        body: str,
        boxes_from: str,
        text: str,
        bboxes: object = None,
        background: Tensor | None = None,
        boxes: Sequence[object] | None = None,
        last_incoming: Sequence[object] | None = None,
    ) -> io.NodeOutput:
        canvas, photo = (width, height), None if background is None else background[0]
        picture = None if photo is None else (photo.shape[1], photo.shape[0])
        start = from_boxes.start(bboxes, picture, canvas, fit, boxes_show)
        drawn = boxes if boxes_from == "drawn" else None
        made = from_boxes.layout(start, drawn, last_incoming, text, canvas, boxes_show, body)
        names = [one.name for one in made.boxes]
        lines = [*made.decided, *made.notes][:_LINES]
        boxes = [one.box for one in made.boxes]
        preview = drawing.numbered_layout(made.layout, names, lines, background=photo, fit=fit, boxes=boxes)[None]
        notes.tell(notes.node_of(cls), "\n".join(made.notes))
        shown = ui.PreviewImage(preview, cls=cls).as_dict()
        if start.boxes and not text.strip():
            shown["input_bboxes"] = for_editor(start.boxes)
        return io.NodeOutput(made.layout, preview, ", ".join(names) if any(names) else "", ui=shown)


class LayoutForAGroup(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLayoutForAGroup",
            category=IN_PLACES,
            inputs=[
                io.Int.Input("count", default=2, min=1, max=12),
                io.Combo.Input("framing", options=list(group.FRAMINGS), default="half"),
                io.Int.Input("rows", default=0, min=0, max=group.MOST_ROWS),
                *_canvas(1024),
                CastSocket.Input("cast", optional=True),
                io.Combo.Input("action", options=list(ACTIONS), default=GROUP_PHOTO, optional=True),
            ],
            outputs=_layout_outputs(),
        )

    @classmethod
    def execute(
        cls,
        count: int,
        framing: str,
        rows: int,
        width: int,
        height: int,
        cast: Cast | None = None,
        action: str = GROUP_PHOTO,
    ) -> io.NodeOutput:
        require_together(cast, "Layout for a Group")
        people = len(cast.people) if cast else count
        layout = group.layout(people, framing, rows, width, height, action)
        return _shown(cls, layout, group.notes(people, framing, rows, width, height, action))


class PlaceCast(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPlaceCast",
            category=IN_PLACES,
            inputs=[
                CastSocket.Input("cast"),
                LayoutSocket.Input("layout"),
                io.Combo.Input("order", options=list(placing.ORDERS)),
                io.String.Input("custom_order", default=""),
            ],
            # Not "cast": ComfyUI 0.3.64 refuses the id of an input for an output.
            outputs=[CastSocket.Output("placed"), io.Image.Output("preview"), io.String.Output("report")],
        )

    @classmethod
    def execute(cls, cast: Cast, layout: Layout, order: str, custom_order: str) -> io.NodeOutput:
        require_together(cast, "Place Cast")
        places = placing.assign(cast, layout, order, custom_order)
        standing = [None if person is None else cast.people[person].identity for person in places]
        names = [one.name if one else "" for one in standing]
        faces = [one.crops[0] if one and len(one.crops) else None for one in standing]
        troubles = placing.troubles(cast, layout, places, order)
        preview = drawing.numbered_layout(layout, names, troubles[:_LINES], faces)[None]
        placed = placing.place(cast, layout, places)
        report = placing.report(cast, layout, places, order)
        notes.tell(notes.node_of(cls), "\n".join(troubles))
        return io.NodeOutput(placed, preview, report, ui=ui.PreviewImage(preview, cls=cls))


class MaskOfAPersonsPlace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessMaskOfAPersonsPlace",
            category=IN_PLACES,
            inputs=[
                CastSocket.Input("cast"),
                io.Int.Input("person", default=1, min=ALL_PEOPLE, max=64),
                *region_inputs(),
                LayoutSocket.Input("layout", optional=True),
                io.Image.Input("image", optional=True),
                io.Mask.Input("masks", optional=True),
            ],
            outputs=[io.Mask.Output("mask"), io.Image.Output("preview")],
        )

    @classmethod
    def execute(
        cls,
        cast: Cast,
        person: int,
        extent: Extent,
        margin: float,
        feather: int,
        layout: Layout | None = None,
        image: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> io.NodeOutput:
        require_together(cast, "Mask of a Person's Place")
        placed = require_places(cast, "Mask of a Person's Place")
        staying = () if layout is None else person_region.free_slots(placed, layout)
        shape = RegionShape(extent, margin, feather)
        remarks: list[str] = []
        if masks is None:
            region = person_region.of_person(placed, person, shape, staying)
        else:
            detected = person_region.from_masks(masks, placed, person, shape, staying)
            region = detected.region
            remarks = detected.notes
        notes.tell(notes.node_of(cls), "\n".join(remarks))
        drawn = max(person, 1)  # in one colour, also where it is everybody's
        shown = [replace(slot, mask=region if n == drawn else None) for n, slot in enumerate(placed.slots, 1)]
        places = Layout(placed.width, placed.height, tuple(shown))
        photo = None if image is None else image[0]
        preview = drawing.numbered_layout(places, regions.names(cast.people), background=photo)[None]
        return io.NodeOutput(region[None], preview, ui=ui.PreviewImage(preview, cls=cls))


NODES = [LayoutFromPicture, LayoutFromBoxes, LayoutForAGroup, PlaceCast, MaskOfAPersonsPlace]
