"""Pictures for ControlNets: a layout drawn as skeletons, face keypoints or a body surface; photos at a usable size."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge.host import notes
from ..bridge.host.schema import advanced
from ..core import taking_part
from ..core.cast import Cast, Layout, PlacedCast, Slot, in_order_of_places, is_a, places_of, require_together
from ..core.pictures import geometry
from ..core.pictures.tensors import LONGER_SIDE, MULTIPLE_OF, resized_photo
from ..core.places import control_images, layouts, mannequin
from ..core.places.control_images import NoKeypoints, has_hands_or_face
from .categories import IN_INSTANT_ID, IN_PLACES
from .sockets import CastOrLayoutSocket

DRAW = "Draw Skeletons"
SKELETONS = "skeletons"
KEYPOINTS = "face keypoints"
SURFACE = "body surface"
DWPOSE = "DWPose bodies"
DWPOSE_WHOLE = "DWPose bodies, hands and faces"
DWPOSE_THICK = "DWPose bodies, thick limbs"
KINDS = (SKELETONS, KEYPOINTS, SURFACE, DWPOSE, DWPOSE_WHOLE, DWPOSE_THICK)
NO_HANDS_OR_FACES = (
    "Bodies alone: no place has hands or face points. They come from poses in Layout from Picture, and from Expression "
    "from Photo."
)
MANNEQUIN = "This is a mannequin, made of a skeleton: expect the pose to be followed roughly."


_SKELETONS: Mapping[str, Callable[..., Tensor]] = {
    SKELETONS: control_images.skeletons,
    DWPOSE: control_images.dwpose,
    DWPOSE_WHOLE: partial(control_images.dwpose, hands_and_faces=True),
    DWPOSE_THICK: partial(control_images.dwpose, thick=True),
}
"""What draws skeletons, by the choice of the input `draw`."""


class ResizePhoto(io.ComfyNode):
    """A photo scaled to a size that pictures can be generated at, nothing cropped, with its width and height."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessResizePhoto",
            category=IN_INSTANT_ID,
            inputs=[
                io.Image.Input("image"),
                io.Int.Input("longer_side", default=LONGER_SIDE, min=64, max=geometry.LARGEST, step=8),
                io.Int.Input("multiple_of", default=MULTIPLE_OF, min=8, max=512, step=8),
            ],
            outputs=[io.Image.Output("resized"), io.Int.Output("width"), io.Int.Output("height")],
        )

    @classmethod
    def execute(cls, image: Tensor, longer_side: int, multiple_of: int) -> io.NodeOutput:
        photo = resized_photo(image, longer_side, multiple_of)  # (B, height, width, C)
        longer = max(photo.shape[1:3])
        note = ""
        if longer != longer_side:
            rounded = f"both sides are rounded down to multiples of {multiple_of}"
            note = f"Longer side {longer} px, not {longer_side}: {rounded}"
        notes.tell(note)
        return io.NodeOutput(photo, photo.shape[2], photo.shape[1])


class DrawSkeletons(io.ComfyNode):
    """Pictures of places for a ControlNet: skeletons, face keypoints or a body surface, and a mask of each person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessDrawSkeletons",
            category=IN_PLACES,
            inputs=[
                CastOrLayoutSocket.Input("cast", optional=True),
                io.Combo.Input("draw", options=list(KINDS), default=SKELETONS, optional=True),
                advanced(io.Boolean.Input("free_places", default=False, optional=True)),
            ],
            outputs=[io.Image.Output("image"), io.Mask.Output("people_masks")],
        )

    @classmethod
    def execute(
        cls, cast: Cast | Layout | None = None, draw: str = SKELETONS, free_places: bool = False
    ) -> io.NodeOutput:
        people = cast if is_a(cast, Cast) else None  # None for a layout
        by_row = people is not None and people.by_row
        free = people.free if free_places and is_a(people, PlacedCast) and not by_row else ()
        if draw == SURFACE:
            require_together(people, DRAW)
            places = places_of(cast, DRAW)
            free_bodies = [slot for slot in free if slot.pose is not None]
            surface = mannequin.draw_layout(_with(places, behind=free_bodies))  # one picture with all people
            notes.tell(MANNEQUIN)
            drawn = _Drawn(surface.image[None], surface.people_masks[len(free_bodies) :])
        elif draw == KEYPOINTS:
            places = _layout_with_keypoints(cast)
            free_faces = [slot for slot in free if slot.keypoints is not None]
            drawn = _drawn(control_images.keypoints, places, _with(places, behind=free_faces), by_row)
        else:
            places = places_of(cast, DRAW)
            _check_skeletons(places, draw)
            places_in_order = places if people is None else places_of(in_order_of_places(people), DRAW)
            drawn = _drawn(_SKELETONS[draw], places, _with(places_in_order, behind=free), by_row)
        return io.NodeOutput(drawn.image, drawn.people_masks, ui=ui.PreviewImage(drawn.image, cls=cls))


def _with(places: Layout, behind: Sequence[Slot]) -> Layout:
    """The places with others before them, over which they are drawn."""
    return replace(places, slots=(*behind, *places.slots))


class _Drawn(NamedTuple):
    """What is drawn of places. image: (1 or people, H, W, 3). people_masks: (people, H, W), each person's alone."""

    image: Tensor
    people_masks: Tensor


def _drawn(draw_layout: Callable[..., Tensor], places: Layout, places_in_order: Layout, by_row: bool) -> _Drawn:
    """The picture of places, and a mask of each person.

    draw_layout: called with a layout and by_row, it returns (1, H, W, 3), or by row (people, H, W, 3).
    places: in the order of the cast, which is that of the masks. places_in_order: the same places, and free ones, as
    they are drawn over each other in one picture.
    by_row: whether each person has a row of the batch, as with the cast of Crop Faces; otherwise all are drawn in one
    picture.
    """
    pictures_of_people = draw_layout(places, by_row=True)  # (people, H, W, 3): each person alone, on black
    people_masks = pictures_of_people.amax(-1).gt(0).float()  # (people, H, W): 1 where something is drawn
    image = pictures_of_people if by_row else draw_layout(places_in_order, by_row=False)
    return _Drawn(image, people_masks)


def _check_skeletons(places: Layout, draw: str) -> None:
    """Raise BadLayout where nobody has anything that `draw`, one of _SKELETONS, draws: a skeleton, hands or a face.

    A note under the node says so where hands and faces are asked for, and no place has any.
    """
    if draw == DWPOSE_WHOLE and any(map(has_hands_or_face, places.slots)):
        return
    layouts.require_skeletons(places)
    if draw == DWPOSE_WHOLE:
        notes.tell(NO_HANDS_OR_FACES)


def _layout_with_keypoints(given: Cast | Layout | None) -> Layout:
    """The places whose face keypoints are drawn: those of the people of a cast, or all of a layout.

    People of weight 0 are left out, unless everybody has weight 0.
    Raises NoKeypoints where one of these places has no keypoints, and what places_of raises.
    """
    drawn = given
    # Where everybody has weight 0, Apply InstantID needs no picture, but the graph must still run: all are drawn.
    if is_a(given, Cast) and any(member.is_present for member in given.people):
        drawn = taking_part.present(given)
    places = places_of(drawn, DRAW)
    numbers_without = [str(number) for number, slot in enumerate(places.slots, 1) if slot.keypoints is None]
    if numbers_without:
        raise NoKeypoints(DRAW, numbers_without)
    return places


NODES = [ResizePhoto, DrawSkeletons]
