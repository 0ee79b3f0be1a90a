"""ID-Patch: a face embedding becomes a small patch in the ControlNet image and 16 tokens in the prompt.

Source: "ID-Patch: Robust ID Association for Group Photo Personalization" (CVPR 2025) and its released
modules/inferencer.py (Apache-2.0).

The condition image: who takes part, everybody's patch in its place, and whether a picture holds them.
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
    """The projection whose weights these are: an MLP with a norm, or a Resampler. Arguments as IDPatchNet."""
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
        """What is appended to the prompt, (1, tokens, context width), of one person's embeddings (1, n, 512)."""
        return self.prompt_proj(embeddings)

    def patch(self, embeddings: Tensor) -> Tensor:
        """The ID patch of one person, (3, PATCH, PATCH), signed and unbounded, of embeddings (1, n, 512).

        Its three colour planes are three tokens of the projection.
        """
        return self.patch_proj(embeddings)[0].unflatten(-1, (PATCH, PATCH))

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Run every layer once on zeros. Raises RuntimeError where sizes do not fit each other."""
        self.tokens(zeros(1, 1, EMBEDDING))
        self.patch(zeros(1, 1, EMBEDDING))


@dataclass(frozen=True)
class Participants:
    """The people of a placed cast who take part, and those who do not.

    cast: everybody. people: those of weight above 0 who have a photo and whose centre lies on the canvas. off_canvas:
    names of those whose centre does not.
    """

    cast: PlacedCast
    people: tuple[Person, ...]
    off_canvas: tuple[str, ...]

    @property
    def centers(self) -> list[Point]:
        return [center_of(person) for person in self.people]

    def left_out(self) -> list[str]:
        """Who does not take part, a line for each reason."""
        return [*gathered("Off the canvas, left out", self.off_canvas), *left_out(self.cast)]

    def warnings(self) -> list[str]:
        """Who is left out, and whose patches run into each other or over the border, a line for each kind."""
        named_centers = [(person.identity.name, center_of(person)) for person in self.people]
        lines = self.left_out()
        if not self.cast.by_row:
            lines += placing.overlaps(named_centers)
        lines += _over_the_border(named_centers, self.cast.width, self.cast.height)
        return lines


def participants_of(cast: PlacedCast) -> Participants:
    """The participants of a cast: all but people of weight 0 or with LoRAs alone, and those with their centre off the
    canvas. Every person must have a slot.

    A person who is left out has neither tokens nor a patch. The released code leaves the tokens of an off-canvas person
    in the prompt, where they leak into the others.
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
    """A line on patches that are cut by the border of a canvas of this size, with what is left of each; [] for none.

    named_centers: of each person the name and the centre of the patch.
    """
    cut_patches: list[str] = []
    for name, center in named_centers:
        left, top, right, bottom = patch_rect(center)
        visible_width = min(right, width) - max(left, 0)
        visible_height = min(bottom, height) - max(top, 0)
        is_cut = min(visible_width, visible_height) < PATCH
        if is_cut:
            cut_patches.append(f"{name} to {visible_width}x{visible_height}")
    whole_size = f" px of {PATCH}x{PATCH}; less likeness"
    return gathered("ID patches cut by the border", cut_patches, whole_size)


_OVERSHOOT = 0.25
"""How far a control picture may leave 0..1, as bicubic resizing does at hard edges."""
_FAINT = 0.5
"""Patches of people with a smaller weight may stay within 0..1 and are not looked for."""


_LEAST_UNCOVERED = PATCH
"""Pixels, as many as one column of a patch has. Where other patches leave fewer of a patch uncovered, none of these few
may leave 0..1, so the patch is not looked for."""


def check_patches(image: Tensor, participants: Participants, node_name: str) -> None:
    """Raise BadPatches for a condition image, (B, H, W, 3), that is not of these people, who may have a row each;
    BadCast where rows and people differ. node_name: its name, for messages."""
    people = participants.people
    if not participants.cast.by_row:
        _check_picture(image, people, node_name)
        return
    if len(image) != len(people):
        raise rows_missing(node_name, len(people), "the image", len(image))
    for row, person in zip(image, people, strict=True):
        _check_picture(row[None], [person], node_name)


def _check_picture(image: Tensor, people: Sequence[Person], node_name: str) -> None:
    """Raise BadPatches for a picture within 0..1, as a preview is, and for one made from another cast.

    image: condition image (B, H, W, 3). people: the participants; their patches and no others must be in it.
    """
    distance_from_grey = (image - 0.5).abs().amax(dim=(0, 3))  # (H, W)
    excess = distance_from_grey - 0.5  # how far a pixel leaves 0..1
    if not (excess > 0).any() and any(person.weight >= _FAINT for person in people):
        raise BadPatches(
            f"The image given to {node_name} holds no ID patches: all its values lie between 0 and 1, those of the "
            "patches do not.",
            "Connect the image output of ID-Patch Condition Image (not its preview), with no other node between.",
        )
    if (excess > _OVERSHOOT).any():
        for why in (*_missing_patches(excess, people), *_foreign_patches(excess, people)):
            advice = "Give ID-Patch Condition Image and this node the same cast, and put no other node between them."
            raise BadPatches(f"The image given to {node_name} was made from another cast: {why}.", advice)


def _missing_patches(excess: Tensor, people: Sequence[Person]) -> Iterator[str]:
    """A sentence for each person whose patch is not in the picture.

    excess: (H, W), how far its pixels leave 0..1. Only those pixels of a patch count that no other patch covers.
    """
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

    excess: (H, W), how far its pixels leave 0..1. Around each person there is room of twice a patch, because picture
    and layout may have been resized.
    """
    foreign = excess > _OVERSHOOT
    for person in people:
        room = on_canvas(patch_rect(center_of(person), 2 * PATCH), *excess.shape)
        foreign[room] = False
    for y, x in foreign.nonzero()[:1]:
        yield f"there is an ID patch around ({x}, {y}), where no person of this cast stands"


def center_of(person: Person) -> Point:
    """The anchor of a placed person. Raises NotPlaced."""
    if person.slot is None:
        raise NotPlaced("ID-Patch", [person.identity.name])
    return person.slot.center


def condition_image(control: Tensor, patches: Sequence[Tensor], participants: Participants, node_name: str) -> Tensor:
    """The condition image, signed: the patches of the participants on `control`, (B, H, W, 3) 0..1.

    People with a row each have one patch in each, on `control` of one row or as many. Raises BadCast, naming the node,
    for another number of rows.
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
