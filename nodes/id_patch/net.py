"""ID-Patch: a face embedding becomes a small patch in the ControlNet image and 16 tokens in the prompt.

Source: "ID-Patch: Robust ID Association for Group Photo Personalization" (CVPR 2025) and its released
modules/inferencer.py (Apache-2.0).

The second half of the module makes the condition image: it says which people take part, adds each person's patch to the
ControlNet image, and checks whether an image holds the patches of these people.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...core.attention.projections import EmbeddingProjection, Resampler
from ...core.cast import EMBEDDING, Member, PlacedCast, Point, rows_missing
from ...core.checks.errors import LikenessError, gathered
from ...core.models.tensors import State, below
from ...core.pictures.geometry import PATCH, Rect, off_canvas, on_canvas, patch_rect, with_patches
from ...core.places import placing
from ...core.taking_part import TakingPart, with_photos


class BadPatches(LikenessError):
    """A picture that is not the condition image of this cast, where that image is needed."""


def _projection(state: State, ops: Any, **factory: Any) -> Resampler | EmbeddingProjection:
    """The projection whose weights these are. Only an EmbeddingProjection (an MLP with a norm) has a "norm.weight".

    state: the weights of this projection, without prefix. ops, factory: as in IDPatchNet.
    """
    if "norm.weight" in state:
        return EmbeddingProjection(state, ops=ops, **factory)
    return Resampler(state, ops=ops, **factory)


class IDPatchNet(nn.Module):
    """Both projections of one id-patch file: `prompt_proj` makes tokens of a face, `patch_proj` a patch.

    state: keys "patch_proj.*" and "prompt_proj.*", each a Resampler or an EmbeddingProjection, which their
    keys tell apart. It gives the sizes; its weights are loaded by the caller.
    ops: the host's layers (Linear, LayerNorm ...), which cast their weights where they are used; torch.nn has the same
    names. factory: device and dtype of the layers, as torch's constructors take them.
    width: of one token, the text width of the models this file is made for. takes_sequences: whether several photos of
    one person can go in together; the MLP reads one embedding only.
    Raises ValueError when patch_proj does not make three planes of PATCH x PATCH pixels, or when one of them reads
    something else than face embeddings.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.patch_proj = _projection(below("patch_proj.", state), ops, **factory)
        self.prompt_proj = _projection(below("prompt_proj.", state), ops, **factory)
        # A patch is made as three tokens, one for each colour plane, of PATCH * PATCH values each.
        tokens = self.patch_proj.tokens
        values = self.patch_proj.width  # of one token
        if (tokens, values) != (3, PATCH**2):
            planes = f"three colour planes of {PATCH}x{PATCH} px"
            raise ValueError(f"patch_proj makes {tokens} tokens of {values} values, not {planes}")
        # How many numbers an embedding has that a projection reads.
        read_by_patch = self.patch_proj.embedding
        read_by_prompt = self.prompt_proj.embedding
        if (read_by_patch, read_by_prompt) != (EMBEDDING, EMBEDDING):
            raise ValueError(
                f"the projections read {read_by_patch} and {read_by_prompt} numbers, face embeddings have {EMBEDDING}"
            )
        self.width = self.prompt_proj.width
        self.takes_sequences = isinstance(self.patch_proj, Resampler) and isinstance(self.prompt_proj, Resampler)

    def tokens(self, embeddings: Tensor) -> Tensor:
        """The ID tokens of one person, (1, 16, width), which are appended to the prompt.

        embeddings: (1, n, 512), of n photos; n is 1 where takes_sequences is False.
        """
        return self.prompt_proj(embeddings)

    def patch(self, embeddings: Tensor) -> Tensor:
        """The ID patch of one person, (3, PATCH, PATCH), signed and unbounded.

        Its three colour planes are three tokens of the projection. embeddings: as in `tokens`.
        """
        # (1, 3, PATCH * PATCH) -> (3, PATCH, PATCH)
        return self.patch_proj(embeddings)[0].unflatten(-1, (PATCH, PATCH))

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        self.tokens(zeros(1, 1, EMBEDDING))
        self.patch(zeros(1, 1, EMBEDDING))


@dataclass(frozen=True)
class Participant:
    """A person whom ID-Patch draws, and where on the canvas.

    center: the middle of the face in pixels, where the patch is put. rect: the square of the patch, before it is cut at
    the border of the canvas.
    """

    member: Member
    center: Point
    rect: Rect

    @property
    def name(self) -> str:
        return self.member.name


@dataclass(frozen=True)
class Participants:
    """The people of a placed cast who take part: all that a node of ID-Patch asks of its cast, found out once.

    taking: the people of weight above 0 who have a photo and whose centre lies on the canvas. members: the same people,
    with the squares of their patches. warnings: lines that name whose patches overlap and whose are cut by the border.
    """

    cast: PlacedCast
    taking: TakingPart
    members: tuple[Participant, ...]
    warnings: tuple[str, ...]

    @property
    def people(self) -> tuple[Member, ...]:
        return self.taking.people


def participants_of(cast: PlacedCast) -> Participants:
    """The participants of a cast.

    Those whom `with_photos` leaves out, and people whose centre is off the canvas, do not take part: they have neither
    tokens nor a patch. (The released code leaves the tokens of an off-canvas person in the prompt, where they leak into
    the others.) Every person of the cast must have a slot.
    """
    with_photo = with_photos(cast)
    names_off_canvas: list[str] = []
    participants: list[Participant] = []
    acts: list[bool] = []
    for member, has_photo, slot in zip(cast.people, with_photo.acts, cast.slots, strict=True):
        rect = patch_rect(slot.center)
        takes_part = has_photo and not off_canvas(rect, cast.width, cast.height)
        acts.append(takes_part)
        if takes_part:
            participants.append(Participant(member, slot.center, rect))
        elif has_photo:
            names_off_canvas.append(member.name)
    left_out = [*gathered("Off the canvas, left out", names_off_canvas), *with_photo.left_out]
    taking = TakingPart(cast, tuple(acts), tuple(left_out))
    return Participants(cast, taking, tuple(participants), tuple(_warnings(participants, cast)))


def _warnings(participants: Sequence[Participant], cast: PlacedCast) -> list[str]:
    """Lines that name whose patches overlap, and whose the border cuts."""
    cut_patches = _cut_by_the_border(participants, cast)
    if cast.by_row:  # each has a picture of their own, in which no patch meets another one
        return cut_patches
    squares = [(participant.name, participant.rect) for participant in participants]
    return [*placing.overlaps("ID patches overlap, faces may mix", squares), *cut_patches]


def _cut_by_the_border(members: Sequence[Participant], canvas: PlacedCast) -> list[str]:
    """A line that names whose patches the border of the canvas cuts, with the visible size of each; [] for nobody."""
    cut_patches: list[str] = []
    for member in members:
        rows, columns = on_canvas(member.rect, canvas.height, canvas.width)  # slices, of the part that is visible
        height = rows.stop - rows.start
        width = columns.stop - columns.start
        if width < PATCH or height < PATCH:
            cut_patches.append(f"{member.name} to {width}x{height}")
    whole_size = f" px of {PATCH}x{PATCH}; less likeness"
    return gathered("ID patches cut by the border", cut_patches, whole_size)


_OVERSHOOT = 0.25
"""How far a picture without patches may leave 0..1: bicubic resizing overshoots at hard edges. What leaves it further
is a patch."""
_FAINT = 0.5
"""The weight below which a person's patch is not looked for: times such a weight it may stay within 0..1."""


_LEAST_UNCOVERED = PATCH
"""How many pixels of a patch other patches must leave uncovered, for the patch to be looked for: more than the pixels
of one column. Of fewer pixels it may happen that none leaves 0..1, although the patch is there."""


def check_patches(image: Tensor, participants: Participants, node_name: str) -> None:
    """Raise BadPatches for a condition image that was not made from these people.

    Also raises BadCast where people have a row of the batch each and the image has another number of rows.
    image: (B, H, W, 3), of the size of the canvas. node_name: of the node that was given the image, for messages.
    """
    for picture, in_picture in _pictures(image, participants, node_name):
        _check_picture(picture, participants.members[in_picture], node_name)


def _pictures(image: Tensor, participants: Participants, node_name: str) -> list[tuple[Tensor, slice]]:
    """Pictures (B, H, W, 3), and which of the participants stand in each.

    Usually that is the whole image with all participants. Where people have a row of the batch each, it is each row as
    (1, H, W, 3) with one participant, in their order.
    Raises BadCast, naming the node, for another number of rows than participants.
    """
    if not participants.cast.by_row:
        return [(image, slice(None))]
    count = len(participants.members)
    if len(image) != count:
        raise rows_missing(node_name, count, "the image", len(image))
    return [(image[number : number + 1], slice(number, number + 1)) for number in range(count)]


def _check_picture(image: Tensor, members: Sequence[Participant], node_name: str) -> None:
    """Raise BadPatches for a picture that is not the condition image of these people.

    That is a picture without any patch, all values within 0..1, unless everybody's weight is below _FAINT; or one in
    which a patch of these people is missing, or a patch of nobody stands. The last two are looked for only in pictures
    that leave 0..1 by more than _OVERSHOOT.
    image: condition image (B, H, W, 3). members: the participants whose patches must be in it.
    """
    # Values in 0..1 are at most 0.5 away from 0.5. Where a pixel is further away, it leaves 0..1 by the rest.
    distance_from_grey = (image - 0.5).abs().amax(dim=(0, 3))  # (H, W), the largest of all channels and rows
    excess = distance_from_grey - 0.5  # (H, W), above 0 where a pixel leaves 0..1
    if not (excess > 0).any() and any(member.member.weight >= _FAINT for member in members):
        raise BadPatches(
            f"The image given to {node_name} holds no ID patches: all its values lie between 0 and 1, those of the "
            "patches do not.",
            "Connect the image output of ID-Patch Condition Image (not its preview), with no other node between.",
        )
    # Below _OVERSHOOT it may be faint patches or an ordinary picture that overshoots, so nothing is said.
    if (excess > _OVERSHOOT).any():
        # The first sentence that either gives becomes the error; without one nothing is raised.
        for why in (*_missing_patches(excess, members), *_foreign_patches(excess, members)):
            advice = "Give ID-Patch Condition Image and this node the same cast, and put no other node between them."
            raise BadPatches(f"The image given to {node_name} was made from another cast: {why}.", advice)


def _missing_patches(excess: Tensor, members: Sequence[Participant]) -> Iterator[str]:
    """Yield a sentence for each person whose patch is not in the picture.

    A patch is in the picture if one of its pixels leaves 0..1. Only pixels that no other patch covers count, because
    patches that overlap add up and may cancel each other. A patch is not looked for at a weight below _FAINT, nor where
    other patches cover nearly all of it.
    excess: (H, W), how far the pixels of the picture leave 0..1, above 0 where they do.
    """
    height, width = excess.shape
    patches = [on_canvas(member.rect, height, width) for member in members]  # rows and columns of each
    patches_at_pixel = torch.zeros_like(excess)
    for patch in patches:
        patches_at_pixel[patch] += 1
    for member, patch in zip(members, patches, strict=True):
        only_this_patch = patches_at_pixel[patch] == 1
        uncovered = excess[patch][only_this_patch]  # (pixels,)
        looked_for = member.member.weight >= _FAINT and len(uncovered) > _LEAST_UNCOVERED
        if looked_for and not (uncovered > 0).any():
            x, y = member.center
            yield f"there is no ID patch of {member.name} at ({x:.0f}, {y:.0f})"


def _foreign_patches(excess: Tensor, members: Sequence[Participant]) -> Iterator[str]:
    """Yield one sentence if the picture has a patch that belongs to none of the people.

    Nothing is foreign in a square of twice a patch's side around each person, because picture and layout may have been
    resized.
    excess: (H, W), how far the pixels of the picture leave 0..1, above 0 where they do.
    """
    height, width = excess.shape
    foreign = excess > _OVERSHOOT  # (H, W) bool; the squares of the people are taken out next
    for member in members:
        surroundings = patch_rect(member.center, 2 * PATCH)
        foreign[on_canvas(surroundings, height, width)] = False
    for y, x in foreign.nonzero()[:1]:  # the first such pixel, if any
        yield f"there is an ID patch around ({x}, {y}), where no person of this cast stands"


def condition_image(control: Tensor, patches: Sequence[Tensor], participants: Participants, node_name: str) -> Tensor:
    """The condition image (B, H, W, 3), signed and unbounded: a picture with the patches of the participants added.

    Where people have a row of the batch each, row n has the patch of participant n alone. `control` then has one row
    for all of them, or as many rows as participants; BadCast, naming the node, is raised for another number.
    control: the picture, (B, H, W, 3) 0..1. patches: (3, PATCH, PATCH) of each participant, in their order.
    """
    if participants.cast.by_row and len(control) == 1:
        control = control.expand(len(patches), -1, -1, -1)  # (people, H, W, 3)
    rows: list[Tensor] = []
    for picture, in_picture in _pictures(control, participants, node_name):
        rects = [member.rect for member in participants.members[in_picture]]
        rows.append(with_patches(picture, patches[in_picture], rects))
    return torch.cat(rows)
