"""Who of a cast takes part, and the region of everybody: from masks, face boxes or skeletons.

Regions are a tensor (people, H, W), float32, 0..1, a row for everybody of weight above 0, in the order of the cast.
person_region.py is of one person, shapes.py of boxes and limbs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..attention import region_weights
from ..errors import counted, gathered
from ..geometry import bounds, longer_side
from ..people import UNNAMED, Cast, Identity, Person, PlacedCast, is_a, require_places
from ..pictures import as_masks
from .person_region import BadRegion, RegionShape, region_of_person, region_of_slot, require_box
from .shapes import box_distance, soft_edge

REGIONS, FACE_BOXES = "regions", "face boxes"
"""Where a method that reads faces acts: in all of a person's region, or inside their face box alone."""


# Who takes part


def as_cast(cast_or_identity: Cast | Identity) -> Cast:
    """What is linked to a node as a cast: a single person is a cast of one."""
    if is_a(cast_or_identity, Cast):
        return cast_or_identity
    return Cast((Person(cast_or_identity),))


def present(cast: Cast) -> Cast:
    """The cast without the people of weight 0."""
    return replace(cast, people=tuple(person for person in cast.people if person.weight > 0))


def for_photos(cast: Cast) -> Cast:
    """The cast for a method that reads photos: people who have LoRAs and no photo get weight 0.

    LoRA per Person draws these people. They are new objects in the cast; all others are the same objects as before. The
    cast is returned unchanged where nobody else is present, and where everybody has a row of the batch.
    """
    people: list[Person] = []
    for person in cast.people:
        if person.identity.by_lora_alone:
            person = replace(person, weight=0.0)
        people.append(person)
    with_photos = replace(cast, people=tuple(people))
    if cast.by_row or not present(with_photos).people:
        return cast
    return with_photos


def left_out(cast: Cast, photos: bool = True) -> list[str]:
    """Lines that name the people of weight 0 and the people whom `for_photos` leaves out.

    photos: whether the method reads photos; otherwise `for_photos` is not asked.
    """
    weightless = [person for person in cast.people if person.weight <= 0]
    lines = gathered("Weight 0, left out", names(weightless))
    if photos:
        lines += by_lora(cast)
    return lines


def by_lora(cast: Cast) -> list[str]:
    """A line that names whom for_photos leaves out; none where it leaves out nobody."""
    people: list[Person] = []
    # for_photos puts a new object of weight 0 in the place of a person whom it leaves out.
    for before, after in zip(cast.people, for_photos(cast).people, strict=True):
        if after is not before and before.weight > 0:
            people.append(before)
    return gathered("A LoRA and no photo, left to LoRA per Person", names(people))


def names(people: Sequence[Person]) -> list[str]:
    """The names of people, in their order."""
    return [person.identity.name for person in people]


def names_apart(people: Sequence[Person], cast: Cast) -> list[str]:
    """For some people of a cast, in its order, names by which several nodes know that they have the same person.

    No two people of a cast have the same one, whatever they are called. They are no numbers in the cast, because one
    node may be given everybody and another one a single person.
    """
    people_before: Counter[str] = Counter()  # of each name
    members: list[tuple[Person, str]] = []
    for member in cast.people:
        name = member.identity.name
        if member.identity.by_lora_alone and name == UNNAMED:
            # Several nodes may have one of these each. Their crops stay the same object, whatever is added to them.
            name = f"{name} {id(member.identity.crops)}"
        number = people_before[name]
        people_before[name] += 1
        # A name has no line break, so this is nobody else's.
        members.append((member, f"{name}\n{number}" if number else name))
    left = iter(members)
    # By the object, as in rows_of.
    return [next(name for member, name in left if member is person) for person in people]


def rows_of(people: Sequence[Person], cast: Cast) -> list[bool]:
    """For each person present in a cast, whether they are one of `people`: a mask for the rows of regions.

    Regions (people, H, W) have a row for each person present. A person is one of `people` as the same object, because
    two people may be equal and `for_photos` makes new objects.
    """
    mask: list[bool] = []
    for member in present(cast).people:
        mask.append(any(person is member for person in people))
    return mask


def check_one_picture(cast: Cast | None, advice: str = "Disconnect the mask.") -> None:
    """Raise BadRegion for the cast of Crop Faces: its people have a picture each, and a region belongs to one
    picture."""
    if cast and cast.by_row:
        why = "each person has a picture of their own, from Crop Faces"
        raise BadRegion(", ".join(names(cast.people)), why, advice)


def remarks(cast: Cast, mask: Tensor | None, acts_in: str, cell: int) -> list[str]:
    """Lines about regions that work but may not be meant: stretched masks, and face boxes too small for coarse layers.

    mask: (masks, h, w) or None. acts_in: REGIONS or FACE_BOXES. cell: the side in pixels of one token of the coarsest
    layers.
    """
    if not is_a(cast, PlacedCast):
        return []
    lines: list[str] = []
    if mask is not None and mask.shape[-2:] != (cast.height, cast.width):
        size = f"{mask.shape[-1]}x{mask.shape[-2]}"
        lines.append(f"Masks stretched: {size} px over the canvas, {cast.width}x{cast.height} px")
    if acts_in == FACE_BOXES:
        advice = f" px on the canvas; coarse layers need {cell}: larger faces, or acts_in = regions"
        lines += gathered("Face boxes small", _small_face_boxes(cast, cell), advice)
    return lines


def _small_face_boxes(cast: PlacedCast, least: int) -> list[str]:
    """Name and size of each person whose face box, cut to the canvas, has a side of less than `least` px."""
    small: list[str] = []
    for person in cast.people:
        if person.slot is None or person.slot.box is None:
            continue
        x0, y0, x1, y1 = person.slot.box
        width = min(cast.width, x1) - max(0, x0)
        height = min(cast.height, y1) - max(0, y0)
        if min(width, height) < least:
            small.append(f"{person.identity.name} {width:.0f}x{height:.0f}")
    return small


# Regions around faces


def face_regions(
    cast: Cast, mask: Tensor | None, shape: RegionShape, node_name: str, acts_in: str = REGIONS
) -> Tensor | None:
    """The regions in which the faces of the people present act, (people, H, W); None for the whole picture.

    With `mask`, the regions are its masks. Otherwise a region is the mask of the person's place, else the face box,
    widened as `shape` says. Where several of these reach, the nearest face decides, unless the method acts in face
    boxes alone: pixels that two boxes share then belong to both, as in the authors' code.
    None is returned where only one person is present and `mask` does not limit that person, and where everybody has a
    row of the batch.
    The people whom `for_photos` leaves out have a row too, because their number among the people present must stay.
    That row is zeros where their place has neither mask nor box.
    mask: (people, h, w), one for everybody in the cast, those of weight 0 included. shape: of extent "face". node_name:
    for messages. acts_in: REGIONS or FACE_BOXES.
    Raises, about people whom `for_photos` keeps, NotPlaced, and BadRegion for a place without box and mask, for a
    region off the canvas and for two equal regions. Raises BadRegion for masks where everybody has a row.
    """
    people = present(cast).people
    with_photo = _with_photo(cast)  # indices into `people`, and into the rows of the regions
    people_with_photo = tuple(people[index] for index in with_photo)
    if mask is not None:
        check_one_picture(cast)
        regions = _masks_of_present(mask, cast)
    elif len(people) == 1 or cast.by_row:
        return None
    else:
        cast_with_photo = require_places(replace(cast, people=people_with_photo), node_name)
        region_of_each: list[Tensor] = []
        for index, person in enumerate(people):
            needs_box = index in with_photo
            region_of_each.append(_face_region(person, cast_with_photo, needs_box, shape))
        regions = torch.stack(region_of_each)
        if acts_in == REGIONS:
            regions = _divided(regions, people, shape.feather)
    require_distinct(regions[with_photo], people_with_photo)
    if mask is not None and len(regions) == 1 and bool((regions == 1).all()):
        return None
    return regions


def _with_photo(cast: Cast) -> list[int]:
    """The indices, among the people present, of the people whom `for_photos` keeps: a method reads their photos."""
    # Those whom for_photos leaves out are other objects there, and so none of the people present.
    has_photo = rows_of(for_photos(cast).people, cast)
    return [index for index, is_kept in enumerate(has_photo) if is_kept]


def _divided(regions: Tensor, people: Sequence[Person], feather: float) -> Tensor:
    """Regions around faces, of which several may reach a pixel: it then belongs to the person whose face is nearest.

    All reach equally far, in sizes of their own faces, so what is cut from one region lies in another one.
    In a group, widened boxes reach over the faces of neighbours. Were pixels shared in proportion alone, a fifth of
    what is read at a face of eight people would be read of others. A region that is the mask of a place stays as it is,
    and takes nothing of the others.
    regions: (people, H, W), a row for each of the people. feather: the width in px of the soft border between two.
    """
    height, width = regions.shape[-2:]
    from_face: dict[int, Tensor] = {}  # by the index of the person: how far each pixel is from the face, in face sizes
    sizes: dict[int, float] = {}  # the longer side of the face box, px
    for index, person in enumerate(people):
        slot = person.slot
        if slot is not None and slot.box is not None and slot.mask is None:
            from_face[index] = box_distance(slot.box, width, height)
            sizes[index] = longer_side(slot.box)
    divided = regions.clone()
    for index, distance in from_face.items():
        if not regions[index].any():
            continue
        left, top, right, below = bounds(regions[index])
        window = slice(top, below), slice(left, right)
        kept = torch.ones_like(regions[index][window])
        for other, other_distance in from_face.items():
            # People who are far away, which most of a group are, are not compared.
            if other == index or not regions[other][window].any():
                continue
            size = (sizes[index] + sizes[other]) / 2
            share = _share_of_nearer(distance[window], other_distance[window], size, feather)
            kept = torch.minimum(kept, share)
        divided[index][window] *= kept
    return divided


def _share_of_nearer(distance: Tensor, other_distance: Tensor, size: float, feather: float) -> Tensor:
    """How much of what two regions reach the first one keeps, (H, W).

    It is 1 up to the border halfway between the two faces, and falls to 0 over the next half of `feather`. In the face
    itself it is 1, and in the other face 0, however near they are.

    distance, other_distance: how far each pixel is from the two faces, (H, W), in face sizes. size: of a face, px.
    """
    # With each pixel on the way from one face to the other, one distance grows and the other one shrinks.
    beyond_border = (distance - other_distance) * size / 2  # px
    share = soft_edge(beyond_border, feather / 2)
    share = torch.where((distance == 0) & (other_distance > 0), 1.0, share)
    return torch.where((other_distance == 0) & (distance > 0), 0.0, share)


def _face_region(person: Person, cast: PlacedCast, needs_box: bool, shape: RegionShape) -> Tensor:
    """The region in which a person's face acts, (H, W): the mask of their place, else what lies around the face box.

    needs_box: whether a place without both is an error (BadRegion) instead of zeros.
    """
    slot = person.slot
    if slot and slot.mask is not None:
        return slot.mask.float()
    if needs_box:
        slot = require_box(slot, person.identity.name)
    return region_of_slot(slot, cast, shape)


def regions_in_face_boxes(cast: Cast, areas: Tensor | None, node_name: str) -> Tensor:
    """The regions of the people present, each cut to the person's own face box: (people, H, W).

    The corners of a box are cut towards 0 to whole pixels, as in InstantID's infer_full.py, and to the canvas. Where
    the people share a picture, the regions add up to at most 1 at each pixel.
    areas: the regions before they are cut, as `face_regions` gives them: (people, H, W), or None for the whole picture.
    node_name: for messages.
    Raises, about people whom `for_photos` keeps, NotPlaced, and BadRegion for a place without box, a box off the
    canvas, a region that does not meet its box, and two equal regions.
    """
    people = present(cast).people
    with_photo = _with_photo(cast)  # indices into `people`, and into the rows of the regions
    people_with_photo = tuple(people[index] for index in with_photo)
    cast_with_photo = require_places(
        replace(cast, people=people_with_photo), f"{node_name} with acts_in at {FACE_BOXES}"
    )
    boxes = _box_masks(people, cast_with_photo.width, cast_with_photo.height)  # (people, H, W)
    regions = boxes if areas is None else boxes * areas
    for index, person in zip(with_photo, people_with_photo, strict=True):
        _check_box(person, cast_with_photo, boxes[index], regions[index])
    # Without areas there is one person, or a picture for each: nobody shares a region with somebody else.
    if areas is not None:
        require_distinct(regions[with_photo], people_with_photo)
    if cast.by_row:
        return regions
    return region_weights(regions)


def _box_masks(people: Sequence[Person], width: int, height: int) -> Tensor:
    """A mask of each person on a canvas of this size, (people, height, width): 1 in their face box, else 0.

    It is all 0 for a person without a box.
    """
    masks = torch.zeros(len(people), height, width)
    for index, person in enumerate(people):
        if person.slot and person.slot.box:
            # int() cuts towards 0; the slices end at the canvas by themselves.
            x0, y0, x1, y1 = (max(0, int(coordinate)) for coordinate in person.slot.box)
            masks[index, y0:y1, x0:x1] = 1
    return masks


def _check_box(person: Person, cast: PlacedCast, box_mask: Tensor, region: Tensor) -> None:
    """Raise BadRegion unless a person has a face box on the canvas, and a region that meets it.

    box_mask: 1 in the person's face box, else 0. region: of the person, cut to the face box. (H, W) each.
    """
    name = person.identity.name
    box = person.slot.box if person.slot else None
    if box is None:
        advice = "Use a layout whose places have faces, or set acts_in to regions."
        raise BadRegion(name, "its place has no face box, in which alone the face would act", advice)
    if not box_mask.any():
        corners = ", ".join(f"{coordinate:g}" for coordinate in box)
        why = f"its face box ({corners}) has no pixel on the canvas of {cast.width}x{cast.height} px"
        raise BadRegion(name, why, "Move or enlarge the place in the layout, or set acts_in to regions.")
    if not region.any():
        advice = "Paint the mask over the face, or set acts_in to regions."
        raise BadRegion(name, "it does not meet the face box of its place", advice)


# Regions by masks, and around bodies


def regions_of_people(cast: PlacedCast, people: Sequence[Person], masks: Tensor | None, shape: RegionShape) -> Tensor:
    """The regions of some of the people present in a cast, (people, H, W), by masks or by their places.

    people: those whose regions are returned, the same objects as in the cast and in its order.
    masks: (everybody of the cast, h, w), read by `regions_from_masks`; None for regions by `region_of_person`.
    shape: of the regions where there are no masks.
    Raises what these two functions raise, and BadRegion for two regions alike or where each person has a picture of
    their own.
    """
    check_one_picture(cast, "Leave this node out of the second pass.")
    if masks is not None:
        return regions_from_masks(masks, cast, people)
    regions: list[Tensor] = []
    for number, person in enumerate(cast.people, 1):
        if any(person is member for member in people):
            regions.append(region_of_person(cast, number, shape))
    return require_distinct(torch.stack(regions), people)


def regions_from_masks(masks: Tensor, cast: Cast, people: Sequence[Person] | None = None) -> Tensor:
    """The regions of people from a MASK batch, (people, H, W), of the size of the canvas if there is one.

    masks: (people of the cast, h, w), in the cast's order. people: the people present whose regions are returned; None
    for all people present. Raises BadRegion where there are not as many masks as people in the cast, and where one of
    the returned masks is empty or two of them are equal.
    """
    if people is None:
        people = present(cast).people
    regions = _masks_of_present(masks, cast)
    return require_distinct(regions[rows_of(people, cast)], people)


def _masks_of_present(masks: Tensor, cast: Cast) -> Tensor:
    """The masks of the people of weight above 0, (people, H, W), stretched over the canvas if there is one.

    masks: (people, h, w) of everybody in the cast. Raises BadRegion for another number of masks than people.
    """
    masks = as_masks(masks)
    if len(masks) != len(cast.people):
        verb = "is" if len(masks) == 1 else "are"
        people = counted(len(cast.people), "person", "people")
        why = f"there {verb} {counted(len(masks), 'mask')} for {people}"
        raise BadRegion(", ".join(names(cast.people)), why)
    size = (cast.height, cast.width) if is_a(cast, PlacedCast) else tuple(masks.shape[-2:])
    of_those_present = masks[[person.weight > 0 for person in cast.people]]
    return functional.interpolate(of_those_present[:, None], size=size, mode="nearest")[:, 0]


def require_distinct(regions: Tensor, people: Sequence[Person]) -> Tensor:
    """The regions (people, H, W) of these people. Raises BadRegion for an empty one or two alike."""
    people_names = names(people)
    for row, region in enumerate(regions):
        if not region.any():
            raise BadRegion(people_names[row], "the region is empty or lies off the canvas")
        for other in range(row):
            if torch.equal(region, regions[other]):
                pair = f"{people_names[other]} and {people_names[row]}"
                raise BadRegion(pair, "both have the same region, so they would blend")
    return regions
