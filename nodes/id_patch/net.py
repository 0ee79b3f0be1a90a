"""ID-Patch: a face embedding becomes a small patch in the ControlNet image and 16 tokens in the prompt.

Source: "ID-Patch: Robust ID Association for Group Photo Personalization" (CVPR 2025) and its released
modules/inferencer.py (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import BadPatches, NotPlaced, gathered, rows_missing
from ...core.geometry import PATCH, Rect, off_canvas, patch_rect
from ...core.identities import combine
from ...core.models.packs import IR_SE50
from ...core.models.tensors import State, below
from ...core.people import EMBEDDING, Person, PlacedCast, Point, RowCast, is_a
from ...core.places import placing
from ...core.projections.resampler import Resampler

RECOGNISER = IR_SE50
"""The released weights were trained on facexlib's ArcFace embeddings."""
METHOD = "ID-Patch"


class FaceIDMLP(nn.Module):
    """IP-Adapter FaceID's projection: Linear, GELU, Linear, then one LayerNorm per token.

    (B, 1, embedding) -> (B, tokens, width), with the sizes of `state`; its weights are not loaded.
    KeyError names the key that is missing.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        hidden, self.embedding = state["proj.0.weight"].shape
        out, self.width = state["proj.2.weight"].shape[0], state["norm.weight"].shape[0]
        self.tokens = out // self.width
        self.proj = nn.Sequential(
            ops.Linear(self.embedding, hidden, **factory), nn.GELU(), ops.Linear(hidden, out, **factory)
        )
        self.norm = ops.LayerNorm(self.width, **factory)

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.norm(self.proj(embeddings).reshape(len(embeddings), self.tokens, self.width))


def _projection(state: State, ops: Any, **factory: Any) -> Resampler | FaceIDMLP:
    kind = FaceIDMLP if "norm.weight" in state else Resampler
    return kind(state, ops=ops, **factory)


class IDPatchNet(nn.Module):
    """Both projections of one id-patch file.

    state: keys "patch_proj.*" and "prompt_proj.*", each a Resampler or a FaceIDMLP, told apart by their keys.
    Raises ValueError when patch_proj does not make three planes of PATCH x PATCH pixels, or when one of them reads
    something else than face embeddings.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.patch_proj = _projection(below("patch_proj.", state), ops, **factory)
        self.prompt_proj = _projection(below("prompt_proj.", state), ops, **factory)
        made = (self.patch_proj.tokens, self.patch_proj.width)
        if made != (3, PATCH**2):
            planes = f"three colour planes of {PATCH}x{PATCH} px"
            raise ValueError(f"patch_proj makes {made[0]} tokens of {made[1]} values, not {planes}")
        read = (self.patch_proj.embedding, self.prompt_proj.embedding)
        if read != (EMBEDDING, EMBEDDING):
            raise ValueError(f"the projections read {read[0]} and {read[1]} numbers, face embeddings have {EMBEDDING}")

    @property
    def takes_sequences(self) -> bool:
        """Whether several photos of one person can go in together; the MLP reads one embedding only."""
        return isinstance(self.patch_proj, Resampler) and isinstance(self.prompt_proj, Resampler)

    def tokens(self, embeddings: Tensor) -> Tensor:
        """(1, n, 512) -> (1, tokens, context width): what is appended to the prompt."""
        return self.prompt_proj(embeddings)

    def patch(self, embeddings: Tensor) -> Tensor:
        """(1, n, 512) -> (3, PATCH, PATCH): three tokens become three colour planes, signed and unbounded."""
        return self.patch_proj(embeddings)[0].unflatten(-1, (PATCH, PATCH))

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Raises RuntimeError where sizes do not fit each other."""
        self.tokens(zeros(1, 1, EMBEDDING))
        self.patch(zeros(1, 1, EMBEDDING))


@dataclass(frozen=True)
class Presence:
    """Who takes part (weight above 0, centre on the canvas) and, for the report, who does not."""

    people: tuple[Person, ...]
    off_canvas: tuple[str, ...]
    weightless: tuple[str, ...]


def presence(cast: PlacedCast) -> Presence:
    """Drop people of weight 0 and people whose centre is off the canvas, tokens and patch alike.

    The released code leaves the tokens of an off-canvas person in the prompt, where they leak into the others.
    Every person must have a slot.
    """

    def off(person: Person) -> bool:
        return off_canvas(center_of(person), cast.width, cast.height)

    return Presence(
        people=tuple(p for p in cast.people if p.weight > 0 and not off(p)),
        off_canvas=tuple(p.identity.name for p in cast.people if off(p)),
        weightless=tuple(p.identity.name for p in cast.people if p.weight <= 0),
    )


def left_out(present: Presence) -> list[str]:
    """Who does not take part, a line for each reason."""
    return [
        *gathered("Off the canvas, left out", present.off_canvas),
        *gathered("Weight 0, left out", present.weightless),
    ]


def troubles(cast: PlacedCast) -> list[str]:
    """Who is left out of a placed cast, and whose patches run into each other or over the border, a line for
    each kind."""
    present = presence(cast)
    people = [(person.identity.name, center_of(person)) for person in present.people]
    meeting = [] if is_a(cast, RowCast) else placing.overlaps(people)
    return [*left_out(present), *meeting, *_over_the_border(people, cast.width, cast.height)]


def _over_the_border(people: Sequence[tuple[str, Point]], width: int, height: int) -> list[str]:
    cut: list[str] = []
    for name, center in people:
        x0, y0, x1, y1 = patch_rect(center)
        wide, high = min(x1, width) - max(x0, 0), min(y1, height) - max(y0, 0)
        if min(wide, high) < PATCH:
            cut.append(f"{name} to {wide}x{high}")
    return gathered("ID patches cut by the border", cut, f" px of {PATCH}x{PATCH}; less likeness")


_OVERSHOOT = 0.25
"""How far a control picture may leave 0..1, as bicubic resizing does at hard edges."""
_FAINT = 0.5
"""Patches of people with a smaller weight may stay within 0..1 and are not looked for."""


def check_rows(image: Tensor, people: Sequence[Person], node: str) -> None:
    """The same for people who have a row of the batch each; BadCast where rows and people differ."""
    if len(image) != len(people):
        raise rows_missing(node, len(people), "the image", len(image))
    for row, person in zip(image, people, strict=True):
        check_patches(row[None], [person], node)


def check_patches(image: Tensor, people: Sequence[Person], node: str) -> None:
    """Raise BadPatches for a picture within 0..1, as a preview is, and for one made from another cast.

    image: condition image (B, H, W, 3). people: who is present; their patches and no others must be in it.
    """
    beyond = (image - 0.5).abs().amax(dim=(0, 3)) - 0.5  # H W
    if not (beyond > 0).any() and any(person.weight >= _FAINT for person in people):
        raise BadPatches(
            f"The image given to {node} holds no ID patches: all its values lie between 0 and 1, those of the patches "
            "do not.",
            "Connect the image output of ID-Patch Condition Image (not its preview), with no other node between.",
        )
    if (beyond > _OVERSHOOT).any():
        for why in (*_missing(beyond, people), *_strangers(beyond, people)):
            raise BadPatches(
                f"The image given to {node} was made from another cast: {why}.",
                "Give ID-Patch Condition Image and this node the same cast, and put no other node between them.",
            )


def _missing(beyond: Tensor, people: Sequence[Person]) -> Iterator[str]:
    """Who has no patch, judged where nobody else's is."""
    places = [_cut(patch_rect(center_of(person)), *beyond.shape) for person in people]
    covered = torch.zeros_like(beyond)
    for place in places:
        covered[place] += 1
    for person, place in zip(people, places, strict=True):
        alone = beyond[place][covered[place] == 1]
        if person.weight >= _FAINT and len(alone) > PATCH and not (alone > 0).any():
            x, y = center_of(person)
            yield f"there is no ID patch of {person.identity.name} at ({x:.0f}, {y:.0f})"


def _strangers(beyond: Tensor, people: Sequence[Person]) -> Iterator[str]:
    """Where a patch is that is nobody's. There is room around everybody: picture and layout may have been resized."""
    others = beyond > _OVERSHOOT
    for person in people:
        others[_cut(patch_rect(center_of(person), 2 * PATCH), *beyond.shape)] = False
    for y, x in others.nonzero()[:1]:
        yield f"there is an ID patch around ({x}, {y}), where nobody of this cast stands"


def _cut(rect: Rect, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a rectangle that are on the canvas."""
    x0, y0, x1, y1 = rect
    return slice(max(y0, 0), min(y1, height)), slice(max(x0, 0), min(x1, width))


def center_of(person: Person) -> Point:
    """The anchor of a placed person. Raises NotPlaced."""
    if person.slot is None:
        raise NotPlaced(METHOD, [person.identity.name])
    return person.slot.center


def embeddings(person: Person, photos: str) -> Tensor:
    """(1, n, 512) float32; `photos` as in identities.combine.

    Raises RecogniserMissing when the identity was not made with arcface-ir-se50.
    """
    return combine(person.identity, RECOGNISER, photos, method=METHOD)[None]


def condition(control: Tensor, patches: Sequence[Tensor], cast: PlacedCast, node: str) -> Tensor:
    """The condition image of a cast, signed: the patches of those who are present on `control`, (B, H, W, 3) 0..1.

    Raises BadCast, naming the node, where people have a row each and `control` has another number of rows.
    """
    centers = [center_of(person) for person in presence(cast).people]
    if is_a(cast, RowCast):
        return condition_rows(control, patches, centers, node)
    return condition_image(control, patches, centers)


def condition_rows(control: Tensor, patches: Sequence[Tensor], centers: Sequence[Point], node: str) -> Tensor:
    """`condition_image` with one patch in each row: control (1 or patches, H, W, 3).

    Raises BadCast, naming the node, for another number of rows.
    """
    if len(control) not in (1, len(patches)):
        raise rows_missing(node, len(patches), "the image", len(control))
    rows = control.expand(len(patches), -1, -1, -1)
    each = enumerate(zip(patches, centers, strict=True))
    return torch.cat([condition_image(rows[[n]], [patch], [center]) for n, (patch, center) in each])


def condition_image(control: Tensor, patches: Sequence[Tensor], centers: Sequence[Point]) -> Tensor:
    """Add each (3, PATCH, PATCH) patch to `control` around its centre; never clamped.

    control: (B, H, W, 3) float32, 0..1. centers: (x, y) px, float32 precision.
    Patches that cross the border are cut, patches that overlap add up. Returns (B, H, W, 3) float32, signed.
    """
    control = control.float()
    canvas = torch.zeros(control.shape[1:])  # H W 3
    height, width = canvas.shape[:2]
    touched: list[tuple[slice, slice]] = []
    for patch, center in zip(patches, centers, strict=True):
        x0, y0, _, _ = rect = patch_rect(center)
        rows, columns = _cut(rect, height, width)
        touched.append((rows, columns))
        seen = patch[:, rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
        canvas[rows, columns] += seen.permute(1, 2, 0)
    image = control.clone()
    # Only where a patch lies, from the untouched control: the same sum as control + canvas, in a fraction of the time.
    for rows, columns in touched:
        image[:, rows, columns] = control[:, rows, columns] + canvas[rows, columns]
    return image
