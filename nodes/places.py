"""Places: where people stand on a canvas, and who stands where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge.host import notes
from ..bridge.host.schema import advanced, body_input, face_sizes_input, optional, out_of_sight
from ..core import taking_part
from ..core.cast import (
    Cast,
    Faces,
    Layout,
    Member,
    Person,
    PlacedCast,
    Unarranged,
    all_places_of,
    person_without_photo,
    require_places,
    require_together,
)
from ..core.checks.errors import BadLayout, listed
from ..core.checks.text import list_of
from ..core.pictures import geometry
from ..core.places import (
    arranging,
    canvas,
    expressions,
    extra_places,
    from_boxes,
    group,
    layouts,
    people_text,
    place_previews,
    placing,
    regions,
)
from ..core.places.actions import ACTIONS, GROUP_PHOTO
from ..core.places.expressions import BadExpression
from ..core.places.from_boxes import EXAMPLE, Marked
from ..core.places.hands import with_hands
from ..core.places.region_settings import EXTENTS, FACE_BOXES, REGIONS, Extent, RegionSettings
from ..core.places.regions import ALL_PEOPLE, RegionShape
from .categories import IN_PLACES
from .sockets import (
    BoxesOrLayoutSocket,
    CastOrLayoutSocket,
    CastSocket,
    FaceLandmarksSocket,
    FacesSocket,
    LayoutSocket,
    PoseKeypointSocket,
)

LAYOUT = "Layout from Picture"
DRAWN = "drawn"
"""Of `boxes_from` in old prompts: boxes that were drawn on the node count before its text."""


def _canvas_inputs(least: int = 64) -> list[io.Input]:
    """The inputs for the size of the canvas in pixels.

    least: 0 where a node takes 0 for the size of the picture that is linked.
    """
    return [
        io.Int.Input("width", default=1024, min=least, max=geometry.LARGEST, step=8),
        io.Int.Input("height", default=1024, min=least, max=geometry.LARGEST, step=8),
    ]


def _more_places_inputs() -> list[io.Input]:
    """The inputs for more places, see _MorePlaces."""
    side = io.Combo.Input("more_where", options=list(extra_places.SIDES), default=extra_places.SIDES[0], optional=True)
    body = io.Combo.Input("more_body", options=list(layouts.BODIES), default=layouts.BODIES[0], optional=True)
    return [
        io.Int.Input("more_places", default=0, min=0, max=8, optional=True),
        advanced(side),
        advanced(io.Int.Input("more_x", default=0, min=0, max=geometry.LARGEST, optional=True)),
        advanced(io.Int.Input("more_y", default=0, min=0, max=geometry.LARGEST, optional=True)),
        advanced(io.Int.Input("more_face_size", default=0, min=0, max=geometry.LARGEST, optional=True)),
        advanced(body),
    ]


@dataclass(frozen=True)
class _MorePlaces:
    """The values of _more_places_inputs(): places for people who are not in the picture that the layout is made of.

    more_places: how many. more_where, more_face_size, more_body: as in extra_places.add. more_x, more_y: the nose of
    the first one.
    """

    more_places: int = 0
    more_where: str = extra_places.SIDES[0]
    more_x: int = 0
    more_y: int = 0
    more_face_size: int = 0
    more_body: str = layouts.BODIES[0]

    def added_to(self, layout: Layout) -> Layout:
        """The layout with these places behind its own."""
        nose = (float(self.more_x), float(self.more_y))
        return extra_places.add(layout, self.more_where, nose, self.more_face_size, self.more_body, self.more_places)


def _layout_outputs(layout: str = "layout") -> list[io.Output]:
    """The outputs of a node that makes a layout: the layout and its preview.

    layout: the id of the first output. Some hosts refuse the id of one of the node's inputs.
    """
    return [LayoutSocket.Output(layout), io.Image.Output("preview")]


def _layout_output(cls: type[io.ComfyNode], layout: Layout, preview: Tensor) -> io.NodeOutput:
    """The values for _layout_outputs(). preview: (1, H, W, 3), which the node also shows in the editor."""
    return io.NodeOutput(layout, preview, ui=ui.PreviewImage(preview, cls=cls))


class LayoutFromPicture(io.ComfyNode):
    """A place for each face, pose or mask of a picture, and more places for people who are not in it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLayoutFromPicture",
            category=IN_PLACES,
            inputs=[
                FacesSocket.Input("faces", optional=True),
                *_canvas_inputs(least=0),
                io.Combo.Input("fit", options=list(geometry.FITS)),
                body_input(),
                PoseKeypointSocket.Input("poses", optional=True),
                io.Mask.Input("masks", optional=True),
                *_more_places_inputs(),
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
        image: Tensor | None = None,
        **more_places: Any,
    ) -> io.NodeOutput:
        sources = {"faces": faces, "poses": poses, "masks": masks}
        connected = [name for name, source in sources.items() if source is not None]
        if len(connected) != 1:
            advice = "Connect faces (Detect Faces), poses (DWPose, SDPose) or masks, and only one of them."
            raise BadLayout(f"{LAYOUT} makes a layout of one thing; connected: {listed(connected) or 'none'}.", advice)
        # `connected` has exactly one name, so one branch below gets its source. Only poses have notes.
        layout_notes: Sequence[str] = ()
        if faces is not None and not faces.width:
            layout = _in_the_middle(width, height, body)
        elif faces is not None:
            layout = layouts.from_faces(faces, width, height, fit, body)
        elif masks is not None:
            layout = layouts.from_masks(masks, width, height, body)
        else:
            layout_of_poses = layouts.from_poses(poses, width, height, fit)
            layout = layout_of_poses.layout
            layout_notes = layout_of_poses.notes
        layout = _MorePlaces(**more_places).added_to(layout)
        photo = None if image is None else image[0]  # (H, W, C): the first picture of the batch
        preview = place_previews.numbered_layout(layout, notes=layout_notes, background=photo, fit=fit)[None]
        return _layout_output(cls, layout, preview)


def _in_the_middle(width: int, height: int, body: str) -> Layout:
    """The place of one person, for Detect Faces without a picture: somebody who is kept has no photo. body: as in
    layouts.from_faces."""
    layout = group.layout(1, "bust" if body == "none" else body, 0, width, height)
    slots = [replace(slot, pose=None) if body == "none" else slot for slot in layout.slots]
    return replace(layout, slots=tuple(slots))


class ExpressionFromPhoto(io.ComfyNode):
    """The expressions and gazes of photos on the faces of a layout, one after the other from a place on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessExpressionFromPhoto",
            category=IN_PLACES,
            inputs=[
                LayoutSocket.Input("layout"),
                FaceLandmarksSocket.Input("face_landmarks", optional=True),
                PoseKeypointSocket.Input("poses", optional=True),
                io.Int.Input("place", default=1, min=1, max=from_boxes.MOST),
                io.Boolean.Input("mirror", default=False),
                io.Boolean.Input("hands", default=False, optional=True),
            ],
            outputs=_layout_outputs("layout_out"),
        )

    @classmethod
    def execute(
        cls,
        layout: Layout,
        place: int,
        mirror: bool,
        face_landmarks: Mapping[str, Any] | None = None,
        poses: object = None,
        hands: bool = False,
    ) -> io.NodeOutput:
        sources = {"face_landmarks": face_landmarks, "poses": poses}
        connected = [name for name, source in sources.items() if source is not None]
        if len(connected) != 1:
            advice = "Connect face_landmarks (Detect Face Landmarks) or poses (DWPose, SDPose), and only one of them."
            why = f"Expression from Photo reads one thing; connected: {listed(connected) or 'none'}."
            raise BadExpression(why, advice)
        people = [] if poses is None else expressions.of_poses(poses)
        if face_landmarks is None:
            faces = [person.face_points or () for person in people]
        else:
            faces = expressions.of_meshes(face_landmarks)
        expressive = expressions.with_expressions(layout, faces, place, mirror)
        lines = list(expressive.notes)
        if hands and not people:
            lines.append("Hands come with poses, face landmarks have none")
        elif hands:
            expressive = with_hands(expressive.layout, people, place, mirror)
            lines += expressive.notes
        notes.tell("\n".join(lines))
        preview = place_previews.numbered_layout(expressive.layout, notes=lines[: place_previews.MOST_LINES])[None]
        return _layout_output(cls, expressive.layout, preview)


class LayoutFromBoxes(io.ComfyNode):
    """A place for each box: boxes written as text, or linked."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLayoutFromBoxes",
            category=IN_PLACES,
            inputs=[
                BoxesOrLayoutSocket.Input("bboxes", optional=True),
                io.Image.Input("background", optional=True),
                *_canvas_inputs(),
                io.Combo.Input("fit", options=list(geometry.FITS)),
                io.Combo.Input("boxes_show", options=list(from_boxes.SHOWS)),
                body_input(),
                out_of_sight(io.Combo.Input("boxes_from", options=[DRAWN, "text"])),
                io.String.Input("text", default="", multiline=True, placeholder=EXAMPLE),
            ],
            outputs=[*_layout_outputs(), io.String.Output("names")],
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
    ) -> io.NodeOutput:
        canvas = (width, height)
        photo = None
        photo_size = None  # (width, height) in pixels
        if background is not None:
            photo = background[0]  # (H, W, C)
            photo_size = (photo.shape[1], photo.shape[0])
        linked_boxes = from_boxes.start(bboxes, photo_size, canvas, fit, boxes_show)  # on the canvas
        drawn_boxes = cls._drawn_before() if boxes_from == DRAWN else ()
        own_boxes = drawn_boxes or from_boxes.written(text)
        boxed_layout = from_boxes.layout(linked_boxes, own_boxes, canvas, boxes_show, body)
        names = [named_box.name for named_box in boxed_layout.boxes]
        rectangles = [named_box.box for named_box in boxed_layout.boxes]
        lines = boxed_layout.notes[: place_previews.MOST_LINES]
        preview = place_previews.numbered_layout(
            boxed_layout.layout, names, lines, background=photo, fit=fit, boxes=rectangles
        )[None]
        notes.tell("\n".join(boxed_layout.notes))
        # Where no box has a name the text is empty, and not a row of commas.
        names_text = list_of(names) if any(names) else ""
        return io.NodeOutput(boxed_layout.layout, preview, names_text, ui=ui.PreviewImage(preview, cls=cls))

    @classmethod
    def _drawn_before(cls) -> tuple[Marked, ...]:
        """The boxes of an old prompt of the API, from when they were drawn on the node.

        In old files web/old_files.js writes them into the text.
        """
        graph = cls.hidden and cls.hidden.dynprompt  # None outside of a graph
        if not graph:
            return ()
        boxes = graph.get_node(cls.hidden.unique_id)["inputs"].get("boxes")
        # The host takes lists out of such a mapping for inputs that the node still has.
        return from_boxes.read(boxes.get("__value__", boxes) if isinstance(boxes, Mapping) else boxes or [])


class LayoutForAGroup(io.ComfyNode):
    """Places for a group photo without a photo. With a cast there is a place for each person, else `count` places."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLayoutForAGroup",
            category=IN_PLACES,
            inputs=[
                io.Int.Input("count", default=2, min=1, max=12),
                io.Combo.Input("framing", options=list(group.FRAMINGS), default="half"),
                io.Int.Input("rows", default=0, min=0, max=group.MOST_ROWS),
                *_canvas_inputs(),
                CastSocket.Input("cast", optional=True),
                io.Combo.Input("action", options=list(ACTIONS), default=GROUP_PHOTO, optional=True),
                io.String.Input("people", default="", multiline=True, placeholder=people_text.EXAMPLE, optional=True),
            ],
            outputs=[*_layout_outputs(), io.String.Output("prompts")],
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
        people: str = "",
    ) -> io.NodeOutput:
        require_together(cast, "Layout for a Group")
        # The text counts people as the cast does: everybody in the list, also those who are absent and have no place.
        of_list = people_text.read(people, count, cast)
        described = tuple(of_list[number - 1] for number in cast.numbers) if cast else of_list
        place_count = len(described)
        layout = group.layout(place_count, framing, rows, width, height, action, described)
        layout_notes = group.notes(place_count, framing, rows, width, height, action, described)
        if cast:
            notes.tell("\n".join(cast.not_read_of_absent([person != people_text.Described() for person in of_list])))
        preview = place_previews.numbered_layout(layout, notes=layout_notes)[None]
        return io.NodeOutput(layout, preview, people_text.prompts(of_list), ui=ui.PreviewImage(preview, cls=cls))


def _feather_input() -> io.Int.Input:
    return io.Int.Input("feather", default=32, min=0, max=512)


def _region_settings_inputs() -> list[io.Input]:
    """The inputs for RegionSettings."""
    inputs: list[io.WidgetInput] = [
        io.Combo.Input("extent", options=list(EXTENTS)),
        io.Float.Input("region_margin", default=1.0, min=0.0, max=8.0, step=0.05),
        _feather_input(),
        io.Combo.Input("acts_in", options=[REGIONS, FACE_BOXES]),
    ]
    return [advanced(optional(widget)) for widget in inputs]


def _of_places(count: int) -> Cast:
    """A person without a photo for each place, for words about people whom nobody has pictures of."""
    numbers = range(1, count + 1)
    return Cast(tuple(Member(person_without_photo(f"person {number}"), number=number) for number in numbers))


def _shown(cls: type[io.ComfyNode], placed_cast: PlacedCast) -> tuple[Tensor, dict[str, Any]]:
    """The picture of who stands where, (1, H, W, 3), and what the editor gets of it: that picture and the canvas."""
    begin = canvas.as_drawn(placed_cast)
    layout = placed_cast.layout or placed_cast.occupied
    at_place = {member.place: member.person for member in placed_cast.people}
    people = [at_place.get(place) for place in range(1, len(layout.slots) + 1)]
    names = ["" if person is None else person.name for person in people]
    # For the preview, (112, 112, 3) of each place; None also for a person without photos.
    faces = [None if person is None else next(iter(person.crops), None) for person in people]
    lines = begin.troubles[: place_previews.MOST_LINES]
    preview = place_previews.numbered_layout(layout, names, lines, faces)[None]
    shown = ui.PreviewImage(preview, cls=cls).as_dict()
    pictures = [_picture(cls, member.person) for member in begin.cast.people]
    shown["likeness_places"] = [canvas.data(begin, pictures)]
    return preview, shown


def _picture(cls: type[io.ComfyNode], person: Person) -> Mapping[str, Any] | None:
    """Where the host serves a picture of a person's face; None for a person without a photo."""
    if person.has_no_photo or not len(person.crops):
        return None
    return ui.PreviewImage(person.crops[:1], cls=cls).as_dict()["images"][0]


class PlaceCast(io.ComfyNode):
    """Gives each person of a cast a place of a layout; without a cast, each place gets a person without a photo.

    The outputs are the placed cast, a preview and a report.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPlaceCast",
            category=IN_PLACES,
            inputs=[
                CastSocket.Input("cast", optional=True),
                CastOrLayoutSocket.Input("layout"),
                io.Combo.Input("order", options=list(placing.ORDERS)),
                advanced(io.String.Input("custom_order", default="")),
                *_region_settings_inputs(),
                io.String.Input("arrange", default="", optional=True),
            ],
            # Not "cast": ComfyUI 0.3.64 refuses the id of an input for an output.
            outputs=[CastSocket.Output("placed"), io.Image.Output("preview"), io.String.Output("report")],
        )

    @classmethod
    def execute(
        cls,
        layout: Cast | Layout,
        order: str,
        custom_order: str,
        cast: Cast | None = None,
        arrange: str = "",
        **region_settings: Any,
    ) -> io.NodeOutput:
        layout = all_places_of(layout, "Place Cast")
        arranged = arranging.arrange(layout, arranging.read(arrange))
        people = _of_places(len(layout.slots)) if cast is None else cast
        require_together(people, "Place Cast")
        # For each place the index of its person in the cast; None where the place stays free.
        as_given = placing.assign(people, layout, order, custom_order)
        if cast is None and arranged.added:
            people = _of_places(len(layout.slots) + len(arranged.added))
            of_added = dict(zip(arranged.added, people.numbers[len(layout.slots) :], strict=True))
            arranged = replace(arranged, who={**of_added, **arranged.who})
        people_of_places = placing.rearranged(people, as_given, arranged)
        troubles = placing.troubles(people, arranged, people_of_places, order, custom_order)
        placed_cast = replace(
            placing.place(people, arranged.layout, people_of_places),
            region_settings=RegionSettings(**region_settings),
            unarranged=Unarranged(
                layout=layout,
                cast=people,
                numbers=placing.numbers_of(people, as_given),
                text=arrange,
                troubles=tuple(troubles),
                castless=cast is None,
            ),
        )
        preview, shown = _shown(cls, placed_cast)
        report = placing.report(people, arranged.layout, people_of_places, troubles)
        notes.tell("\n".join(troubles))
        return io.NodeOutput(placed_cast, preview, report, ui=shown)


class WhoStandsWhere(io.ComfyNode):
    """Shows who stands where in a placed cast. In the editor it is the canvas for the Place Cast that it comes from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessWhoStandsWhere",
            category=IN_PLACES,
            inputs=[CastSocket.Input("cast")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, cast: Cast) -> io.NodeOutput:
        require_together(cast, "Who Stands Where")
        placed_cast = require_places(cast, "Who Stands Where")
        _, shown = _shown(cls, placed_cast)
        notes.tell("\n".join(canvas.as_drawn(placed_cast).troubles))
        return io.NodeOutput(ui=shown)


class MaskOfAPersonsPlace(io.ComfyNode):
    """The region of one person of a placed cast, or of all of them, as a MASK (1, H, W)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessMaskOfAPersonsPlace",
            category=IN_PLACES,
            inputs=[
                CastSocket.Input("cast"),
                io.Int.Input("person", default=1, min=ALL_PEOPLE, max=64),
                io.Combo.Input("extent", options=list(EXTENTS)),
                face_sizes_input("margin", 0.25),
                _feather_input(),
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
        image: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> io.NodeOutput:
        require_together(cast, "Mask of a Person's Place")
        placed_cast = require_places(cast, "Mask of a Person's Place")
        # In the free places of the layout stand people of the picture who are not of the cast. The region leaves them
        # out, so that they stay as they are.
        staying = regions.free_slots(placed_cast)
        shape = RegionShape(extent, margin, feather)
        lines: list[str] = []
        # `region` is (H, W) of the canvas, 0..1. `person` counts from 1; ALL_PEOPLE is 0.
        if masks is None:
            region = regions.region_of_person(placed_cast, person, shape, staying)
        else:
            region_of_masks = regions.from_masks(masks, placed_cast, person, shape, staying)
            region = region_of_masks.region
            lines = region_of_masks.notes
        notes.tell("\n".join(lines))
        # The region of all people is drawn in the colour of the first person, as if it were the mask of that place.
        numbers = placed_cast.numbers
        drawn_as = person or next(iter(numbers))
        slots = [
            replace(slot, mask=region if number == drawn_as else None)
            for number, slot in zip(numbers, placed_cast.slots, strict=True)
        ]
        layout_with_region = Layout(placed_cast.width, placed_cast.height, tuple(slots))
        photo = None if image is None else image[0]
        names = taking_part.names(cast.people)
        preview = place_previews.numbered_layout(layout_with_region, names, background=photo, numbers=numbers)[None]
        return io.NodeOutput(region[None], preview, ui=ui.PreviewImage(preview, cls=cls))


NODES = [
    LayoutFromPicture,
    LayoutFromBoxes,
    LayoutForAGroup,
    ExpressionFromPhoto,
    PlaceCast,
    WhoStandsWhere,
    MaskOfAPersonsPlace,
]
