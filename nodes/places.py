"""Places: where people stand on a canvas, and who stands where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge import detector_words, notes
from ..bridge.schema import boxes_editor, output, pixels_input, region_inputs, searchable
from ..core import geometry
from ..core.errors import BadLayout
from ..core.people import Cast, Faces, Layout, RowCast, is_a
from ..core.places import actions, adding, control_images, drawing, from_boxes, group, layouts, placing, regions
from ..core.places.boxes import EXAMPLE, for_editor
from .sockets import BoxesOrLayoutSocket, CastSocket, FacesSocket, LayoutSocket, PoseKeypointSocket

POSE_IMAGE = "Pose Image"
_TOLD = 3
"""Lines in a picture, so that the people stay in sight; the note under the node has them all."""


def _canvas(default: int, tooltip: str) -> list[io.Input]:
    low = 0 if default == 0 else 64
    return [
        io.Int.Input("width", default=default, min=low, max=geometry.LARGEST, step=8, tooltip=tooltip),
        io.Int.Input("height", default=default, min=low, max=geometry.LARGEST, step=8, tooltip=tooltip),
    ]


def _fit() -> io.Input:
    return io.Combo.Input(
        "fit",
        options=list(geometry.FITS),
        tooltip="When the shapes differ: crop = fill the canvas and cut evenly, pad = show everything and leave "
        "borders, stretch = distort.",
    )


def _body(tooltip: str) -> io.Input:
    return io.Combo.Input("body", options=["half", "bust", "full", "none"], tooltip=tooltip)


def _layout_outputs() -> list[io.Output]:
    return [
        output(LayoutSocket, "layout"),
        output(io.Image, "preview", "The places with their numbers."),
    ]


def _shown(cls: type[io.ComfyNode], layout: Layout, guessed: Sequence[str] = ()) -> io.NodeOutput:
    preview = drawing.numbered_layout(layout, notes=guessed)[None]
    return io.NodeOutput(layout, preview, ui=ui.PreviewImage(preview, cls=cls))


class LayoutFromFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLayoutFromFaces",
            display_name="Layout from Faces",
            category="likeness/places",
            description="Makes one place per face of a template photo, in the order of the faces, "
            "with a skeleton built around each face.",
            inputs=[
                FacesSocket.Input("faces", tooltip="From Detect Faces on the template photo."),
                *_canvas(1024, "Size of the picture to generate, a multiple of 8."),
                _fit(),
                _body(
                    "The released ID-Patch weights expect a skeleton: half = down to the hips, bust = head and "
                    "shoulders, full = down to the ankles, none = no skeleton."
                ),
            ],
            outputs=_layout_outputs(),
        )
        return searchable(schema, "template", "group photo", "face position", "placement", "ID-Patch")

    @classmethod
    def execute(cls, faces: Faces, width: int, height: int, fit: str, body: str) -> io.NodeOutput:
        return _shown(cls, layouts.from_faces(faces, width, height, fit, body))


class LayoutFromPoses(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLayoutFromPoses",
            display_name="Layout from Poses",
            category="likeness/places",
            description="Makes one place per person of an OpenPose, DWPose or SDPose result, skeleton included.",
            inputs=[
                PoseKeypointSocket.Input(
                    "poses", tooltip="POSE_KEYPOINT of one picture, from a DWPose or SDPose node."
                ),
                *_canvas(0, "Size of the picture to generate, a multiple of 8; 0 = the size of the pose's picture."),
                _fit(),
            ],
            outputs=_layout_outputs(),
        )
        return searchable(schema, "openpose", "dwpose", "sdpose", "skeleton", "POSE_KEYPOINT", "ID-Patch")

    @classmethod
    def execute(cls, poses: object, width: int, height: int, fit: str) -> io.NodeOutput:
        posed = layouts.from_poses(poses, width, height, fit)
        return _shown(cls, posed.layout, posed.notes)


class LayoutFromMasks(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLayoutFromMasks",
            display_name="Layout from Masks",
            category="likeness/places",
            description="Makes one place per mask: each mask is the region of one person, the face is put at its top.",
            inputs=[
                io.Mask.Input("masks", tooltip="A batch of masks, one per person, white where that person is."),
                *_canvas(0, "Size of the picture to generate, a multiple of 8; 0 = the size of the masks."),
                _body(
                    "How much of the person each region shows, from the crown down: bust = to the chest, "
                    "half = to the hips, full = to the feet. Size of face and skeleton follow from it. "
                    "none = no skeleton, the face sized as for bust.",
                ),
            ],
            outputs=_layout_outputs(),
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )
        return searchable(schema, "region", "regional", "area", "painted", "segmentation", "ID-Patch")

    @classmethod
    def execute(cls, masks: Tensor, width: int, height: int, body: str) -> io.NodeOutput:
        with detector_words.in_errors(cls, "masks", BadLayout):
            return _shown(cls, layouts.from_masks(masks, width, height, body))


class LayoutFromBoxes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLayoutFromBoxes",
            display_name="Layout from Boxes",
            category="likeness/places",
            description="Makes one place per box: drawn with the mouse on the node, found by a detector, or written. "
            "The places of another layout can be the start, to be moved with the mouse.",
            inputs=[
                BoxesOrLayoutSocket.Input(
                    "bboxes",
                    optional=True,
                    tooltip="Boxes of people or faces from a detector, or a layout whose places are moved. After a "
                    "run they stand in the editor to be dragged.",
                ),
                io.Image.Input(
                    "background",
                    optional=True,
                    tooltip="The picture that the boxes were found in or are drawn over. The editor shows it, and "
                    "takes width and height from it.",
                ),
                *_canvas(1024, "Size of the picture to generate, a multiple of 8."),
                _fit(),
                io.Combo.Input(
                    "boxes_show",
                    options=list(from_boxes.SHOWS),
                    tooltip="person = as much of everybody as body says, head at the top; face = the face alone, brow "
                    "to chin. Boxes that a detector labels otherwise are left out.",
                ),
                _body(
                    "How much of everybody is seen: half = down to the hips, bust = head and shoulders, full = down "
                    "to the ankles, none = no skeleton. The places of a linked layout keep their own skeletons."
                ),
                io.Combo.Input(
                    "boxes_from",
                    options=list(from_boxes.SOURCES),
                    tooltip="drawn = those drawn on the node; where there are none, those of the text, else those "
                    "linked. text = as if none were drawn: classic nodes neither show nor change them.",
                ),
                io.String.Input(
                    "text",
                    default="",
                    multiline=True,
                    placeholder=EXAMPLE,
                    tooltip="Boxes without a mouse, a line per person, in pixels of the picture to generate: name: x, "
                    "y, width, height. x and y are the upper left corner.",
                ),
                *boxes_editor(
                    "Draw a box around each person; drag it to move it, a corner to size it; Delete takes it away. "
                    "The description is the name."
                ),
            ],
            outputs=[
                *_layout_outputs(),
                output(io.String, "names", "Of the boxes, in their order, for People from Photos."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,  # to be run alone, so that what is linked stands in the editor
        )
        return searchable(
            schema, "drag", "draw", "bounding box", "bbox", "BOUNDING_BOX", "move people", "detector", "rt-detr",
            "sam3", "mediapipe", "ID-Patch", "拖动",
        )  # fmt: skip

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
        start = from_boxes.start(
            bboxes, None if photo is None else (photo.shape[1], photo.shape[0]), canvas, fit, boxes_show
        )
        drawn = boxes if boxes_from == "drawn" else None
        made = from_boxes.layout(start, drawn, last_incoming, text, canvas, boxes_show, body)
        names = [one.name for one in made.boxes]
        below = from_boxes.canvas_with(made.boxes, canvas, photo, fit)
        told = [*made.decided, *made.notes][:_TOLD]
        preview = drawing.numbered_layout(made.layout, names, told, background=below)[None]
        notes.tell(notes.node_of(cls), "\n".join(made.notes))
        shown = ui.PreviewImage(preview, cls=cls).as_dict()
        if start.boxes and not text.strip():
            shown["input_bboxes"] = for_editor(start.boxes)
        return io.NodeOutput(made.layout, preview, ", ".join(names) if any(names) else "", ui=shown)


class GroupLayout(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessGroupLayout",
            display_name="Group Layout",
            category="likeness/places",
            description="Makes places for a group photo without any photo: rows of people with skeletons, "
            "back rows higher and staggered.",
            inputs=[
                io.Int.Input(
                    "count", default=2, min=1, max=12, tooltip="How many people; not used where a cast is connected."
                ),
                io.Combo.Input(
                    "framing",
                    options=list(group.FRAMINGS),
                    default="half",
                    tooltip="How close the camera is: bust = head and chest, half = down to the hips, full = down to "
                    "the feet. With full, front rows sit or kneel.",
                ),
                io.Int.Input(
                    "rows", default=0, min=0, max=group.MOST_ROWS, tooltip="Rows of people; 0 = what gives large faces."
                ),
                *_canvas(1024, "Size of the picture to generate, a multiple of 8."),
                CastSocket.Input(
                    "cast", optional=True, tooltip="As many places as there are people in it; count is then not used."
                ),
                io.Combo.Input(
                    "action",
                    options=list(actions.ACTIONS),
                    default=actions.GROUP_PHOTO,
                    optional=True,
                    tooltip="What everybody does. group photo = arms down, with full front rows sit or kneel. Write "
                    "the same into the prompt. walking and kneeling show with framing = full only.",
                ),
            ],
            outputs=_layout_outputs(),
        )
        return searchable(
            schema, "group photo", "family photo", "team photo", "people", "arrange", "template", "ID-Patch", "合影",
            "pose", "action", "gesture", "sitting", "hug",
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        count: int,
        framing: str,
        rows: int,
        width: int,
        height: int,
        cast: Cast | None = None,
        action: str = actions.GROUP_PHOTO,
    ) -> io.NodeOutput:
        placing.require_together(cast, "Group Layout")
        wanted = (len(cast.people) if cast else count, framing, rows, width, height, action)
        return _shown(cls, group.layout(*wanted), group.notes(*wanted))


class AddPlace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessAddPlace",
            display_name="Add Place",
            category="likeness/places",
            description="Adds places to a layout, for people who are not in the photo: where there is room beside the "
            "others, with faces as large as theirs.",
            inputs=[
                LayoutSocket.Input("layout", tooltip="The places that are taken, from Layout from Faces or another."),
                io.Combo.Input(
                    "where",
                    options=list(adding.SIDES),
                    tooltip="free place = where the new person is seen best and stands with the others; left end, "
                    "right end = the same on that side of everybody; at x, y = as written below.",
                ),
                pixels_input(
                    "x", "For where = at x, y: where the nose is, in pixels from the left edge.", most=geometry.LARGEST
                ),
                pixels_input(
                    "y", "For where = at x, y: where the nose is, in pixels from the upper edge.", most=geometry.LARGEST
                ),
                pixels_input(
                    "face_size",
                    "Height of the face from brow to chin, in pixels; 0 = as large as the faces around.",
                    most=geometry.LARGEST,
                ),
                _body(
                    "How much of the new person is seen: half = down to the hips, bust = head and shoulders, full = "
                    "down to the ankles, none = no skeleton."
                ),
                io.Int.Input(
                    "count",
                    default=1,
                    min=1,
                    max=8,
                    optional=True,
                    tooltip="How many people come in. With where = at x, y the first stands there and the others in "
                    "free places.",
                ),
                io.Image.Input(
                    "image", optional=True, tooltip="The photo, to be seen under the places in the preview."
                ),
            ],
            outputs=[
                # Not "layout": ComfyUI 0.3.64 refuses the id of an input for an output.
                LayoutSocket.Output("extended_layout", display_name="layout"),
                output(io.Image, "preview", "All places; the last ones are new."),
            ],
            hidden=[io.Hidden.unique_id],
        )
        return searchable(
            schema, "absent friend", "add person", "missing person", "insert person", "inpaint", "group photo"
        )

    @classmethod
    def execute(
        cls,
        layout: Layout,
        where: str,
        x: int,
        y: int,
        face_size: int,
        body: str,
        count: int = 1,
        image: Tensor | None = None,
    ) -> io.NodeOutput:
        added = adding.add(layout, where, (float(x), float(y)), face_size, body, count)
        notes.tell(notes.node_of(cls), "\n".join(adding.troubles(added, count)))
        preview = drawing.numbered_layout(added, background=None if image is None else image[0])[None]
        return io.NodeOutput(added, preview, ui=ui.PreviewImage(preview, cls=cls))


class PoseImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessPoseImage",
            display_name=POSE_IMAGE,
            category="likeness/places",
            description="Draws the skeletons of a layout as ID-Patch and OpenPose ControlNets expect them. With the "
            "cast of Crop Faces, a picture per person.",
            inputs=[
                LayoutSocket.Input("layout", optional=True, tooltip="Places without people."),
                CastSocket.Input(
                    "cast", optional=True, tooltip="People with places, from Place Cast or Crop Faces, not a layout."
                ),
            ],
            outputs=[output(io.Image, "image", "Skeletons on black, the layout's size.")],
        )
        return searchable(schema, "openpose", "skeleton", "controlnet", "control image", "ID-Patch")

    @classmethod
    def execute(cls, layout: Layout | None = None, cast: Cast | None = None) -> io.NodeOutput:
        layout = layouts.require_skeletons(placing.places_of(cast, layout, POSE_IMAGE))
        image = control_images.skeletons(layout, by_row=is_a(cast, RowCast))
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))


class PlaceCast(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessPlaceCast",
            display_name="Place Cast",
            category="likeness/places",
            description="Gives every person of the cast a place, shows who stands where, and reports overlapping, "
            "off-canvas and small faces.",
            inputs=[
                CastSocket.Input("cast", tooltip="From Cast: the people, in their order."),
                LayoutSocket.Input("layout", tooltip="From one of the Layout nodes: the numbered places."),
                io.Combo.Input(
                    "order",
                    options=list(placing.ORDERS),
                    tooltip="left to right = first person to the leftmost place; as listed = person 1 to place 1; "
                    "match faces = to the most similar face of the template photo; custom = see custom_order; last "
                    "places = to the last ones, which Add Place has added, the others are left as they are; largest "
                    "faces = to those of the template photo, the others are left as they are.",
                ),
                io.String.Input(
                    "custom_order",
                    default="",
                    tooltip="For order = custom: per place, in the order of their numbers, the number of the person "
                    "who stands there. '2,1,3' swaps the first two; 0 leaves a place empty.",
                ),
            ],
            outputs=[
                # Not "cast": ComfyUI 0.3.64 refuses the id of an input for an output.
                CastSocket.Output("placed", display_name="cast"),
                output(io.Image, "preview", "The places with numbers, names and faces."),
                output(io.String, "report", "Who stands where, and what may go wrong."),
            ],
            hidden=[io.Hidden.unique_id],
        )
        return searchable(schema, "position", "assign", "who is where", "swap", "swap people", "ID-Patch")

    @classmethod
    def execute(cls, cast: Cast, layout: Layout, order: str, custom_order: str) -> io.NodeOutput:
        placing.require_together(cast, "Place Cast")
        places = placing.assign(cast, layout, order, custom_order)
        standing = [None if person is None else cast.people[person].identity for person in places]
        names = [one.name if one else "" for one in standing]
        faces = [one.crops[0] if one and len(one.crops) else None for one in standing]
        troubles = placing.troubles(cast, layout, places, order)
        preview = drawing.numbered_layout(layout, names, troubles[:_TOLD], faces)[None]
        placed = placing.place(cast, layout, places)
        report = placing.report(cast, layout, places, order)
        notes.tell(notes.node_of(cls), "\n".join(troubles))
        return io.NodeOutput(placed, preview, report, ui=ui.PreviewImage(preview, cls=cls))


class PersonRegion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessPersonRegion",
            display_name="Person Region",
            category="likeness/places",
            description="The part of the picture that belongs to one person of a placed cast, as a mask: for clothes "
            "(target_mask of Part), a prompt of their own, inpainting. It moves with the "
            "person when Place Cast swaps people.",
            inputs=[
                CastSocket.Input("cast", tooltip="People with places, from Place Cast."),
                io.Int.Input(
                    "person",
                    default=1,
                    min=regions.ALL_PEOPLE,
                    max=64,
                    tooltip="Which person, in the order of the cast; whom Place Cast left out is not counted. "
                    "0 = everybody.",
                ),
                *region_inputs(),
                LayoutSocket.Input(
                    "layout",
                    optional=True,
                    tooltip="For inpainting: the layout that Place Cast has. The people of its other places stay: "
                    "their heads are left out, and their bodies, as far as a skeleton tells where they are.",
                ),
                io.Image.Input(
                    "image", optional=True, tooltip="The photo, to be seen under the region in the preview."
                ),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="What a detector has found in a picture of the layout, one mask each: SAM3 Detect with "
                    "'person:4' or 'jacket:4' and individual_masks. The region is then those masks that lie in the "
                    "person's place; extent and margin say how large that is.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
            outputs=[
                output(io.Mask, "mask", "Of the size of the layout."),
                output(io.Image, "preview", "The region among the places."),
            ],
        )
        return searchable(
            schema, "mask", "regional prompt", "area", "target_mask", "clothes", "inpaint", "sam3", "segment anything"
        )

    @classmethod
    def execute(
        cls,
        cast: Cast,
        person: int,
        extent: regions.Extent,
        margin: float,
        feather: int,
        layout: Layout | None = None,
        image: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> io.NodeOutput:
        placing.require_together(cast, "Person Region")
        placed = placing.require_places(cast, "Person Region")
        staying = () if layout is None else regions.staying(placed, layout)
        if masks is None:
            region, told = regions.of_person(placed, person, extent, margin, feather, staying), []
        else:
            with detector_words.in_errors(cls, "masks", regions.BadRegion):
                found = regions.among(masks, placed, person, extent, margin, staying)
            region, told = found.region, regions.describe(found, masks)
        notes.tell(notes.node_of(cls), "\n".join(told))
        drawn = max(person, 1)  # in one colour, also where it is everybody's
        shown = [replace(slot, mask=region if n == drawn else None) for n, slot in enumerate(placed.slots, 1)]
        places = Layout(placed.width, placed.height, tuple(shown))
        photo = None if image is None else image[0]
        preview = drawing.numbered_layout(places, regions.names(cast.people), background=photo)[None]
        return io.NodeOutput(region[None], preview, ui=ui.PreviewImage(preview, cls=cls))


NODES = [
    LayoutFromFaces, LayoutFromPoses, LayoutFromMasks, LayoutFromBoxes, GroupLayout, AddPlace, PoseImage, PlaceCast,
    PersonRegion,
]  # fmt: skip
