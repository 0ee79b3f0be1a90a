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

from ...core.errors import BadPatches, gathered
from ...core.geometry import PATCH, off_canvas, on_canvas, patch_rect, with_patches
from ...core.models.tensors import State, below
from ...core.people import EMBEDDING, NotPlaced, Person, PlacedCast, Point, rows_missing
from ...core.places import placing
from ...core.places.regions import for_photos, left_out
from ...core.projections import EmbeddingProjection, Resampler


def _projection(state: State, ops: Any, **factory: Any) -> Resampler | EmbeddingProjection:
    """The projection for these weights. Only an EmbeddingProjection (an MLP with a norm) has "norm.weight".

    The arguments are those of IDPatchNet.
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
        """Run every layer once, to see whether the sizes of the file's tensors fit each other. Raises RuntimeError.

        zeros: makes a tensor of zeros of a shape, as torch.zeros does, on the device of the network.
        """
        self.tokens(zeros(1, 1, EMBEDDING))
        self.patch(zeros(1, 1, EMBEDDING))


@dataclass(frozen=True)
class Participants:
    """The people of a placed cast who take part, and the names of those whom the canvas leaves out.

    cast: the whole cast. people: those of weight above 0 who have a photo and whose centre lies on the canvas.
    off_canvas: the names of the people whose centre does not lie on the canvas.
    """

    cast: PlacedCast
    people: tuple[Person, ...]
    off_canvas: tuple[str, ...]

    @property
    def centers(self) -> list[Point]:
        """The centres of the participants' patches, in pixels of the canvas."""
        return [center_of(person) for person in self.people]

    def left_out(self) -> list[str]:
        """Lines that name the people who do not take part: a line for each reason."""
        return [*gathered("Off the canvas, left out", self.off_canvas), *left_out(self.cast)]

    def warnings(self) -> list[str]:
        """The lines of left_out, and lines that name whose patches overlap and whose are cut by the border."""
        named_centers = [(person.identity.name, center_of(person)) for person in self.people]
        lines = self.left_out()
        # People with a row of the batch each have a picture each, in which no patch meets another.
        if not self.cast.by_row:
            lines += placing.overlaps(named_centers)
        lines += _over_the_border(named_centers, self.cast.width, self.cast.height)
        return lines


def participants_of(cast: PlacedCast) -> Participants:
    """The participants of a cast.

    People of weight 0, people with LoRAs alone, and people whose centre is off the canvas do not take part. Every
    person of the cast must have a slot. A person who is left out has neither tokens nor a patch. The released code
    leaves the tokens of an off-canvas person in the prompt, where they leak into the others.
    """

    def is_off_canvas(person: Person) -> bool:
        """Whether ID-Patch drops this person's face, see geometry.off_canvas."""
        return off_canvas(center_of(person), cast.width, cast.height)

    with_photos = for_photos(cast).people
    return Participants(
        cast,
        people=tuple(person for person in with_photos if person.weight > 0 and not is_off_canvas(person)),
        off_canvas=tuple(person.identity.name for person in cast.people if is_off_canvas(person)),
    )


def _over_the_border(named_centers: Sequence[tuple[str, Point]], width: int, height: int) -> list[str]:
    """A line that names the patches which the border of a canvas of this size cuts; [] where it cuts none.

    The line says how large the visible part of each is. named_centers: the name of each person, and the centre of the
    person's patch in pixels.
    """
    cut_patches: list[str] = []
    for name, center in named_centers:
        left, top, right, bottom = patch_rect(center)
        visible_width = min(right, width) - max(left, 0)
        visible_height = min(bottom, height) - max(top, 0)
        is_cut = visible_width < PATCH or visible_height < PATCH
        if is_cut:
            cut_patches.append(f"{name} to {visible_width}x{visible_height}")
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

    image: (B, H, W, 3). Where people have a row of the batch each, the image must have as many rows as there are
    people, else BadCast is raised. node_name: the name of the node that was given the image, for messages.
    """
    people = participants.people
    if not participants.cast.by_row:
        _check_picture(image, people, node_name)
        return
    if len(image) != len(people):
        raise rows_missing(node_name, len(people), "the image", len(image))
    for row, person in zip(image, people, strict=True):
        _check_picture(row[None], [person], node_name)


def _check_picture(image: Tensor, people: Sequence[Person], node_name: str) -> None:
    """Raise BadPatches for a picture whose values all lie within 0..1, as a preview's do, and for a picture in which a
    patch of these people is missing or a patch of nobody stands.

    image: condition image (B, H, W, 3). people: the participants whose patches must be in it.
    """
    # Values in 0..1 are at most 0.5 away from 0.5. Where a pixel is further away, it leaves 0..1 by the rest.
    distance_from_grey = (image - 0.5).abs().amax(dim=(0, 3))  # (H, W), the largest of all channels and rows
    excess = distance_from_grey - 0.5  # (H, W), above 0 where a pixel leaves 0..1
    if not (excess > 0).any() and any(person.weight >= _FAINT for person in people):
        raise BadPatches(
            f"The image given to {node_name} holds no ID patches: all its values lie between 0 and 1, those of the "
            "patches do not.",
            "Connect the image output of ID-Patch Condition Image (not its preview), with no other node between.",
        )
    # Below that it is unknown whether patches are faint or an ordinary picture overshoots, so nothing is said.
    if (excess > _OVERSHOOT).any():
        # The first sentence of either kind becomes the error.
        for why in (*_missing_patches(excess, people), *_foreign_patches(excess, people)):
            advice = "Give ID-Patch Condition Image and this node the same cast, and put no other node between them."
            raise BadPatches(f"The image given to {node_name} was made from another cast: {why}.", advice)


def _missing_patches(excess: Tensor, people: Sequence[Person]) -> Iterator[str]:
    """A sentence for each person whose patch is not in the picture.

    excess: (H, W), how far the pixels of the picture leave 0..1. A patch is there where one of its pixels leaves 0..1.
    Only pixels that this patch alone covers count, because patches that overlap add up and may cancel each other.
    """
    # A window is the rows and columns of a patch that lie on the canvas, as two slices.
    windows = [on_canvas(patch_rect(center_of(person)), *excess.shape) for person in people]
    patches_at_pixel = torch.zeros_like(excess)
    for window in windows:
        patches_at_pixel[window] += 1
    for person, window in zip(people, windows, strict=True):
        only_this_patch = patches_at_pixel[window] == 1
        uncovered = excess[window][only_this_patch]
        looked_for = person.weight >= _FAINT and len(uncovered) > _LEAST_UNCOVERED
        if looked_for and not (uncovered > 0).any():
            x, y = center_of(person)
            yield f"there is no ID patch of {person.identity.name} at ({x:.0f}, {y:.0f})"


def _foreign_patches(excess: Tensor, people: Sequence[Person]) -> Iterator[str]:
    """A sentence where the picture has a patch that belongs to none of the people.

    excess: (H, W), how far the pixels of the picture leave 0..1. In a square of twice a patch's side around each person
    nothing counts as foreign, because picture and layout may have been resized.
    """
    foreign = excess > _OVERSHOOT
    for person in people:
        room = on_canvas(patch_rect(center_of(person), 2 * PATCH), *excess.shape)
        foreign[room] = False
    for y, x in foreign.nonzero()[:1]:  # one sentence, on the first such pixel
        yield f"there is an ID patch around ({x}, {y}), where no person of this cast stands"


def center_of(person: Person) -> Point:
    """The centre of a placed person's face in pixels of the canvas, where the patch is put. Raises NotPlaced."""
    if person.slot is None:
        raise NotPlaced("ID-Patch", [person.identity.name])
    return person.slot.center


def condition_image(control: Tensor, patches: Sequence[Tensor], participants: Participants, node_name: str) -> Tensor:
    """The condition image (B, H, W, 3), signed and unbounded: a picture with the patches of the participants added.

    control: the picture, (B, H, W, 3) 0..1. patches: (3, PATCH, PATCH) of each participant. Where people have a row of
    the batch each, the result has a row for each person, with the patch of that person alone; `control` has one row for
    all of them, or as many rows as people. Raises BadCast, naming the node, for another number of rows.
    """
    if not participants.cast.by_row:
        return with_patches(control, patches, participants.centers)
    if len(control) not in (1, len(patches)):
        raise rows_missing(node_name, len(patches), "the image", len(control))
    backgrounds = control.expand(len(patches), -1, -1, -1)  # (people, H, W, 3)
    rows: list[Tensor] = []
    for number, (patch, center) in enumerate(zip(patches, participants.centers, strict=True)):
        rows.append(with_patches(backgrounds[[number]], [patch], [center]))
    return torch.cat(rows)
