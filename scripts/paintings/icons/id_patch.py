"""Icons of the templates of ID-Patch."""

from __future__ import annotations

from . import colours, people, scenes, skeletons, start, things
from .pen import Box, Frame, Line, Pen, Spot
from .people import BEARDED, BLOND, EIGHT, MAN, Arms
from .scenes import Standing

PAIR = (MAN, BEARDED)


def two_people(pen: Pen) -> None:
    start.two_people(pen)


def places_by_dragging(pen: Pen) -> None:
    """Two photos and two boxes under the mouse: people as tall as their boxes."""
    things.photos(pen, things.grid(Box(34, 100, 122, 256), 1, 2, 20), PAIR)
    things.tile(pen, Box(34, 372, 230, 214), "#555861")
    small = Box(56, 446, 66, 118)
    large = Box(150, 396, 84, 168)
    for number, box in ((1, small), (2, large)):
        things.person_box(pen, box, number)
        for corner in (box.at(0, 0), box.at(1, 0), box.at(0, 1), box.at(1, 1)):
            pen.box(Box(corner.x - 5, corner.y - 5, 10, 10), colours.WHITE)
    things.pointer(pen, Spot(228, 506))
    things.right_arrow(pen, 286, 320, 54)
    picture = Box(364, 84, 242, 472)
    with scenes.picture(pen, picture):
        places = [Standing(MAN, Spot(424, 530), 52, number=1), Standing(BEARDED, Spot(526, 530), 70, number=2)]
        scenes.stand(pen, places)


def prompt_per_person(pen: Pen) -> None:
    """Two photos, and words about each of the two people."""
    things.photos(pen, things.grid(Box(36, 158, 164, 360), 1, 2, 28), PAIR)
    things.right_arrow(pen, 222, 338)
    box = Box(298, 138, 306, 446)
    with scenes.picture(pen, box):
        scenes.pair(pen, box, PAIR, 68)
    for number, across in ((1, 0.29), (2, 0.71)):
        middle = box.at(across, 0).x
        bubble = Box(middle - 68 + (number - 1.5) * 24, 56, 136, 66)
        things.bubble(pen, bubble, Spot(middle, 190), colours.of_number(number))


def several_scenes(pen: Pen) -> None:
    """Two photos and a list of scenes: the same two people in each."""
    things.photos(pen, things.grid(Box(40, 100, 254, 116), 2, 1, 22), PAIR)
    things.words(pen, Spot(344, 116), (196, 234, 170, 216))
    things.down_arrow(pen, 320, 228, 34)
    boxes = things.grid(Box(40, 278, 560, 318), 2, 2, 16)
    backdrops = (scenes.SUNSET, scenes.SNOW, scenes.PARLOUR, scenes.NIGHT)
    details = (_sun, _snow, _window, _lights)
    for box, backdrop, detail in zip(boxes, backdrops, details, strict=True):
        with scenes.picture(pen, box, backdrop):
            detail(pen, box)
            middle = Box(box.left + 45, box.top, box.width - 90, box.height)
            scenes.busts(pen, middle, PAIR, 58, 0.36)


def _sun(pen: Pen, box: Box) -> None:
    pen.oval(box.at(0.12, 0.24), 19, 19, "#fde593")


def _snow(pen: Pen, box: Box) -> None:
    for across, down in ((0.06, 0.2), (0.14, 0.52), (0.2, 0.12), (0.1, 0.8), (0.5, 0.14), (0.52, 0.48), (0.8, 0.1),
                         (0.88, 0.34), (0.95, 0.62), (0.86, 0.8), (0.95, 0.14), (0.04, 0.5)):  # fmt: skip
        pen.oval(box.at(across, down), 4, 4, "#ffffff")


def _window(pen: Pen, box: Box) -> None:
    window = Box(box.left + 14, box.top + 20, 40, 54)
    pen.box(window, "#b7dbec", Line("#ffffff", 4))
    pen.line([window.at(0.5, 0), window.at(0.5, 1)], Line("#ffffff", 3))


def _lights(pen: Pen, box: Box) -> None:
    for across, down in ((0.05, 0.14), (0.05, 0.4), (0.12, 0.28), (0.18, 0.12), (0.48, 0.12), (0.52, 0.3), (0.82, 0.2),
                         (0.9, 0.12), (0.88, 0.42), (0.95, 0.3)):  # fmt: skip
        spot = box.at(across, down)
        pen.box(Box(spot.x - 4, spot.y - 5, 8, 10), "#f2d479")


def absent_friend(pen: Pen) -> None:
    """A photo of a third person, and one of two with a free place: the photo with all three."""
    things.photo(pen, Box(44, 104, 160, 164), BLOND, 3)
    before = Box(240, 92, 356, 184)
    with scenes.picture(pen, before, scenes.LAWN):
        scenes.busts(pen, before, (MAN, None, BEARDED), 74, 0.42)
    things.down_arrow(pen, before.middle.x, 288)
    after = Box(120, 342, 476, 246)
    with scenes.picture(pen, after, scenes.LAWN, Line(colours.GREEN, 4)):
        frames = scenes.busts(pen, after, (MAN, BLOND, BEARDED), 92, 0.42)
        place = Box(frames[1].origin.x - 80, after.top + 26, 160, 216)
        corners = [place.at(0, 0), place.at(1, 0), place.at(1, 1), place.at(0, 1), place.at(0, 0)]
        pen.line(corners, Line(colours.WHITE, 3, 8))
        things.badge(pen, place.at(0.5, 0), 3)


def second_pass_eight_people(pen: Pen) -> None:
    """Eight people whose faces are small; the faces in one batch; the eight with them."""
    before = Box(132, 92, 376, 164)
    with scenes.picture(pen, before):
        for number, frame in enumerate(_row(pen, before, made=False), 1):
            corner = frame.spot(-0.75, -0.75)
            side = 1.5 * frame.unit
            square = Box(corner.x, corner.y, side, side)
            pen.box(square, None, Line(colours.of_number(number), 2.5))
    things.down_arrow(pen, 320, 262, 32)
    for number, (look, box) in enumerate(zip(EIGHT, things.grid(Box(24, 310, 592, 68), 8, 1, 6), strict=True), 1):
        things.tile(pen, box)
        with pen.inside_box(box):
            people.bust(pen, look, Frame(box.at(0.5, 0.52), 40))
        pen.box(box, None, Line(colours.of_number(number), 3))
        things.badge(pen, Spot(box.left + 3, box.top + 1), number, 11)
    things.down_arrow(pen, 320, 384, 32)
    after = Box(92, 422, 456, 184)
    with scenes.picture(pen, after, rim=Line(colours.GREEN, 3)):
        _row(pen, after, made=True)


def _row(pen: Pen, box: Box, made: bool) -> list[Frame]:
    """Eight people with their arms around each other. made: whether they have their faces already."""
    unit = box.height * 0.152
    frames: list[Frame] = []
    places: list[Standing] = []
    for place, look in enumerate(EIGHT):
        arms = Arms("down" if place == 0 else "around", "down" if place == 7 else "around")
        feet = Spot(box.at((place + 0.8) / 8.6, 0).x, box.bottom - 12)
        person = Standing(look if made else people.faceless(look), feet, unit, arms)
        places.append(person)
        frames.append(person.frame)
    scenes.stand(pen, places)
    return frames


def with_pose_canny_depth(pen: Pen) -> None:
    """Two photos, and the joints, outlines and depth of a picture: both people as they are there."""
    things.photos(pen, things.grid(Box(34, 196, 106, 248), 1, 2, 24), PAIR)
    arms = (Arms(), Arms(right="up"))
    boxes = things.grid(Box(158, 92, 144, 464), 1, 3, 16)
    for place, box in enumerate(boxes):
        pen.box(box, "#08080a", None, things.RADIUS)
        with pen.inside_box(box, things.RADIUS):
            if place == 2:
                skeletons.depth_of_ground(pen, box)
            for across, held in zip((0.28, 0.66), arms, strict=True):
                frame = Frame(box.at(across, 0.19), box.height * 0.16)
                if place == 0:
                    skeletons.joints(pen, frame, held)
                elif place == 1:
                    skeletons.edges(pen, frame, held, "#08080a")
                else:
                    skeletons.silhouette(pen, frame, held, skeletons.NEAR)
        pen.box(box, None, things.EDGE, things.RADIUS)
    things.right_arrow(pen, 314, 320, 40)
    picture = Box(366, 106, 246, 428)
    with scenes.picture(pen, picture):
        places = [
            Standing(MAN, Spot(432, 506), 56, arms[0], 1),
            Standing(BEARDED, Spot(532, 506), 57, arms[1], 2),
        ]
        scenes.stand(pen, places)
