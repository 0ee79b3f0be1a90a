"""Icons of the templates of Parts2Whole and Share Parts Attention."""

from __future__ import annotations

from dataclasses import replace

from . import clothes, colours, people, scenes, skeletons, things
from .clothes import Outfit
from .pen import Box, Frame, Line, Pen, Spot
from .people import BEARDED, MAN, Look
from .scenes import Standing

SWEATER = "#c04347"
JACKET = "#456fc4"
SHIRT = "#e4e2d8"
GREY = "#6b6d7e"
SAND = "#c6a14f"
HAT = "#b48d47"


def try_on(pen: Pen) -> None:
    """A photo with the clothes that shall change marked, and two garments: the photo with them."""
    photo = Box(40, 92, 224, 300)
    there = Standing(
        people.dressed(MAN, top="#55896a", trousers="#55545f"), Spot(photo.middle.x, photo.bottom - 12), 54
    )
    with scenes.picture(pen, photo, scenes.ROOM):
        scenes.stand(pen, [there])
        _marked(pen, there.frame)
    boxes = things.grid(Box(40, 410, 224, 152), 2, 1, 16)
    for box in boxes:
        things.tile(pen, box, colours.PANEL)
    clothes.jacket_alone(pen, boxes[0], SWEATER, 40)
    clothes.trousers_alone(pen, boxes[1], SAND, 58)
    things.right_arrow(pen, 286, 320, 60)
    result = Box(370, 92, 230, 470)
    with scenes.picture(pen, result, scenes.ROOM):
        worn = Outfit(SHIRT, SAND, jacket=SWEATER)
        scenes.stand(pen, [Standing(replace(MAN, outfit=worn), Spot(result.middle.x, result.bottom - 30), 84)])


def _marked(pen: Pen, frame: Frame) -> None:
    """A line around everything that changes."""
    line = Line(colours.MAGENTA, 3.5)
    for side in (-1, 1):
        arm = frame.shape(clothes.SLEEVE_DOWN, side)
        pen.line([*arm, arm[0]], line)
    for outline in (clothes.TRUNK, clothes.TROUSERS):
        spots = frame.shape(outline)
        pen.line([*spots, spots[0]], line)


def instant_id_and_outfit(pen: Pen) -> None:
    """A face, a jacket and a hat: this person in them."""
    boxes = things.grid(Box(62, 92, 176, 484), 1, 3, 22)
    things.photo(pen, boxes[0], MAN, color=colours.PANEL)
    for box in boxes[1:]:
        things.tile(pen, box, colours.PANEL)
    clothes.jacket_alone(pen, boxes[1], JACKET, 58)
    clothes.hat_alone(pen, boxes[2], HAT, 104)
    things.right_arrow(pen, 268, 320, 66)
    worn = Outfit(SHIRT, GREY, jacket=JACKET, hat=HAT)
    scenes.stand(pen, [Standing(replace(MAN, outfit=worn), Spot(478, 562), 94)])


def id_patch_two_outfits(pen: Pen) -> None:
    """Two photos, and clothes for each: both people, each in their own."""
    jacket = "#96703f"
    sweater = "#456fc4"
    wearers = (
        replace(MAN, outfit=Outfit(SHIRT, GREY, jacket=jacket)),
        replace(BEARDED, outfit=Outfit(sweater, "#938060")),
    )
    for number, look in enumerate(wearers, 1):
        left = 40 + (number - 1) * 290
        color = colours.of_number(number)
        tiles = things.grid(Box(left, 102, 270, 118), 2, 1, 14)
        things.photo(pen, tiles[0], look, number, colours.PANEL)
        things.tile(pen, tiles[1], colours.PANEL)
        if look.outfit.jacket:
            clothes.jacket_alone(pen, tiles[1], look.outfit.jacket, 50)
        else:
            clothes.sweater_alone(pen, tiles[1], look.outfit.top, 50)
        place = Box(left, 236, 270, 352)
        pen.box(place, None, Line(color, 4), 4)
        scenes.stand(pen, [Standing(look, Spot(place.middle.x, place.bottom - 14), 64)])


def parts2whole_with_pose(pen: Pen) -> None:
    """A face, hair, trousers, a top and a pose: somebody of these, in the pose."""
    boxes = things.grid(Box(40, 92, 330, 456), 3, 2, 14)
    for box in boxes[:5]:
        things.tile(pen, box, colours.PANEL)
    face: Look = replace(MAN, style="none")
    people.head(pen, face, Frame(boxes[0].middle, 92))
    hair_alone(pen, boxes[1])
    clothes.trousers_alone(pen, boxes[3], GREY, 64)
    clothes.sweater_alone(pen, boxes[4], SWEATER, 40)
    pose = boxes[2]
    skeletons.body_surface(pen, Frame(pose.at(0.5, 0.16), 38))
    things.right_arrow(pen, boxes[5].left + 20, boxes[5].middle.y, 66)
    scenes.stand(pen, [Standing(MAN, Spot(498, 548), 90)])


def hair_alone(pen: Pen, box: Box) -> None:
    frame = Frame(Spot(box.middle.x, box.middle.y + 26), 92)
    pen.shape(people.scalp(MAN, frame), MAN.hair, clothes.rim_of(frame))
