"""What a node is given, held to what it takes: links bring what no widget would let through."""

import math
import operator
import typing
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

from . import identities
from .errors import BadInput, BadLayout, BadSize, LikenessError, counted
from .geometry import FAR, check_size
from .models.tensors import ends
from .people import Box, Cast, Faces, Identity, Layout, PlacedCast, Point, Slot, is_a
from .text import in_one_line

_ROUNDING = 1e-3
"""How far a mask may leave 0 to 1, as resizing does."""
OTHER_WORDS = "With SAM3 Detect, use another word in its text, or a lower threshold."
"""What to do where a detector by words has not found what was meant."""
LANDMARKS = 468
"""The least points of a face mesh; ten more are those of the irises."""


class BadPicture(LikenessError):
    """An IMAGE or MASK that is no picture."""

    def __init__(self, what: str, why: str, advice: str | None = None) -> None:
        usual = "Look at the node before it: it makes something else than Load Image does."
        super().__init__(f"{what} cannot be used: {why}.", advice or usual)


def unusable_latent(what: str) -> BadPicture:
    """A picture of which the VAE makes NaN or infinity."""
    why = "the VAE makes NaN or infinity of it, and the result would be black"
    return BadPicture(what, why, "Start ComfyUI with --fp32-vae.")


def unusable_text(what: str) -> BadPicture:
    """Words of which CLIP makes NaN or infinity."""
    why = "CLIP makes NaN or infinity of it, and the picture would be black"
    usual = "Look at the weights in the prompt: (smile:1.2) is usual."
    return BadPicture(what, why, f"{usual} Where there are none, start ComfyUI with --fp32-text-enc.")


def number(what: str, value: Any, least: float, most: float, whole: bool) -> float:
    """The value as int (`whole`) or float. Raises BadInput unless it is a finite number from `least` to `most`."""
    try:
        found = int(value) if whole else float(value)
        fits = bool(found == value) and math.isfinite(found) and least <= found <= most  # NaN equals nothing
    except (TypeError, ValueError, OverflowError, RuntimeError):
        found, fits = 0, False
    if not fits:
        low, high = (f"{limit:g}" if isinstance(limit, float) else str(limit) for limit in (least, most))
        limits = f"from {low}" + f" to {high}" * math.isfinite(most)
        raise BadInput(what, named(value), f"a {'whole ' * whole}number {limits}")
    return found


def named(value: Any) -> str:
    """What somebody has linked, for a message."""
    if value is None:
        return "nothing (None)"
    if isinstance(value, str):
        return f"the text {value if len(value) < 40 else value[:40] + '...'!r}"
    if isinstance(value, Real):
        return "a number of too many digits" if isinstance(value, int) and value.bit_length() > 99 else str(value)
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
    return f"an object of type {type(value).__name__}{shape}"


def picture(what: str, image: Tensor) -> None:
    """Raise BadPicture unless this is (B, H, W, 1|3|4) of a float type, with pixels, all of them finite."""
    if image.ndim != 4:
        raise BadPicture(what, f"its shape is {tuple(image.shape)} instead of (pictures, height, width, channels)")
    _has_pixels(what, image.shape[0], image.shape[1:3])
    if image.shape[3] not in (1, 3, 4):
        why = f"it has {image.shape[3]} channels instead of 1 (grey), 3 (colour) or 4 (colour and alpha)"
        raise BadPicture(what, why)
    if not image.is_floating_point() or image.element_size() == 1:  # torch does not compute with floats of 8 bits
        raise BadPicture(what, f"its values are of type {image.dtype} instead of float, 0 to 1")
    if not all(math.isfinite(end) for end in image.aminmax()):
        wrong = int((~image.isfinite()).sum())
        why = f"{wrong} of its {image.numel()} values {'is' if wrong == 1 else 'are'} NaN or infinite"
        advice = "A node before it makes them, often a VAE or a model in half precision: --fp32-vae may help."
        raise BadPicture(what, why, advice)


def masks(what: str, mask: Tensor) -> None:
    """Raise BadPicture unless this is (B, H, W), (H, W) or (B, 1, H, W) with pixels and of real numbers."""
    if mask.ndim not in (2, 3) and (mask.ndim != 4 or mask.shape[1] != 1):
        why = f"its shape is {tuple(mask.shape)} instead of (masks, height, width)"
        raise BadPicture(what, why, "Connect a MASK; Convert Image to Mask makes one of a picture.")
    _has_pixels(what, len(mask) if mask.ndim > 2 else 1, mask.shape[-2:], OTHER_WORDS)
    if mask.is_complex():
        raise BadPicture(what, f"its values are of type {mask.dtype} instead of float, 0 to 1")


def latent(what: str, given: Mapping[str, Any]) -> None:
    """Raise BadPicture unless this has a tensor of at least one latent under "samples"."""
    samples, index = given.get("samples"), typing.cast("Any", given.get("batch_index"))
    listed = isinstance(index, Sequence) or (isinstance(index, Tensor) and index.ndim == 1)
    numbers = len(typing.cast("Sequence[Any]", index)) if listed else 0
    if not isinstance(samples, Tensor) or not samples.ndim or not len(samples):
        why = f"under 'samples' it has {named(samples)} instead of one row per picture"
    elif (index is not None and not listed) or 0 < numbers < len(samples):
        found = counted(numbers, "number") if listed else named(index)
        why = f"under 'batch_index' it has {found} for {counted(len(samples), 'latent')}"
    else:
        return
    raise BadPicture(what, why, "Connect the LATENT of a sampler.")


def conditioning(what: str, given: Sequence[Any]) -> None:
    """Raise BadInput unless these are pairs of a text, (B, tokens, width), and a dictionary; BadPicture for NaN."""
    for entry in given:
        pair = typing.cast("Sequence[Any]", entry) if isinstance(entry, (list, tuple)) else ()
        text, options = pair if len(pair) == 2 else (None, None)
        if not isinstance(text, Tensor) or text.ndim != 3 or not text.shape[1] or not isinstance(options, Mapping):
            raise BadInput(what, "something else under this name", "CONDITIONING, as CLIP Text Encode makes it,")
        if not text.isfinite().all():
            raise unusable_text(what)


def _has_pixels(what: str, count: int, size: Sequence[int], empty: str = "Connect at least one.") -> None:
    if not count:
        raise BadPicture(what, "it is an empty batch", empty)
    if not all(size):
        raise BadPicture(what, f"it has no pixels ({size[1]}x{size[0]} px)")


def held(check: Callable[[str, Any], None], what: str, given: Any) -> None:
    """Check something that is of our kinds by its name or form. Raises what `check` raises, and BadInput for what is
    not whole: an object of another pack that has only the name of one of our classes."""
    try:
        check(what, given)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        found = f"an object of type {type(given).__name__} that is not whole ({in_one_line(error)})"
        raise BadInput(what, found, "what another node of Likeness makes") from error


def layout(what: str, given: Layout) -> None:
    """Raise BadSize for a canvas that is none, BadLayout for a place that is on no canvas."""
    check_size(what, *_whole(given))
    for number, slot in enumerate(given.slots, 1):
        _on_earth(f"{what} cannot be used: place {number}", slot, (given.width, given.height))


def cast(what: str, given: Cast) -> None:
    """Raise BadInput for a weight that is no number from 0 and for a row that shows nobody, BadSize and BadLayout as
    `layout` does."""
    canvas = _whole(given) if is_a(given, PlacedCast) else (0, 0)
    if len(given.numbers) != len(given.people):
        raise ValueError(f"numbers {given.numbers} for {counted(len(given.people), 'person', 'people')}")
    for person in given.people:
        identity(f"The identity of {person.identity.name}", person.identity)
        if not len(person.identity.crops):
            raise ValueError(f"no photo of {person.identity.name}")
        operator.index(person.place)
        number(f"The weight of {person.identity.name}", person.weight, 0, math.inf, whole=False)
        if person.slot is not None:
            _on_earth(f"{what} cannot be used: the place of {person.identity.name}", person.slot, canvas)
    if is_a(given, PlacedCast) or any(person.slot is not None for person in given.people):
        check_size("The cast's canvas", *canvas)
    shown = given.people and all(person.slot and person.weight for person in given.people)
    if given.by_row and not shown:
        raise BadInput(what, "a cast of rows of which one shows no person", "the cast of Crop Faces")


def identity(what: str, given: Identity) -> None:
    """Raise BadInput for what is no person or has no pictures, BadEmbedding for embeddings that cannot be used."""
    embedded = list(given.embeddings.values())
    if given.crops.ndim != 4 or any(rows.ndim != 2 or not rows.is_floating_point() for rows in embedded):
        shapes = [(tuple(rows.shape), rows.dtype) for rows in embedded]
        raise ValueError(f"embeddings of {shapes}, crops of shape {tuple(given.crops.shape)}")
    if why := identities.why_bad_crops(given.crops):
        raise ValueError(why)
    if given.portraits and (why := identities.why_bad_portraits(given.portraits, len(given.crops))):
        raise ValueError(why)
    identities.check(given)


def _whole(given: Layout | PlacedCast | Faces) -> tuple[int, int]:
    """Width and height. Raises TypeError unless both are whole numbers."""
    return operator.index(given.width), operator.index(given.height)


def faces(what: str, given: Faces) -> None:
    """Raise BadLayout for a face that is in no picture, BadSize for a picture that is none."""
    size = _whole(given)
    if min(size) < 1:
        raise BadSize(f"The picture of {what}", size, "it has no pixels", "Use Detect Faces.")
    for number, face in enumerate(given.faces, 1):
        _within_reach(f"{what} cannot be used: face {number}", face.keypoints, face.box)


def face_landmarks(what: str, given: Mapping[str, Any]) -> None:
    """Raise BadInput unless this is what MediaPipeFaceLandmarker gives: faces per picture, and the pictures' size."""
    height, width = map(int, given["image_size"])
    frames: Any = given["frames"]
    meshes = isinstance(frames, (list, tuple)) and all(
        _is_mesh(face, width, height) for faces in typing.cast("Sequence[Any]", frames) for face in faces
    )
    if not (meshes and width > 0 and height > 0):
        raise BadInput(what, "something else under this name", "the face_landmarks of Detect Face Landmarks")


def _is_mesh(face: Mapping[str, Any], width: int, height: int) -> bool:
    points = np.asarray(face["landmarks_xy"], dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < LANDMARKS:
        return False
    near, far = points.min(0), points.max(0)
    seen = bool((far - near >= 1).all() and (far >= 0).all() and (near <= (width, height)).all())  # NaN is not
    return seen and bool((np.abs(points) <= FAR).all()) and 0 <= float(face["score"]) <= 1


def _nowhere(which: str, why: str) -> BadLayout:
    """A place or a face that is on no canvas."""
    return BadLayout(f"{which} {why}.", "Make layouts with the Layout nodes, and faces with Detect Faces.")


def _on_earth(which: str, slot: Slot, canvas: tuple[int, int]) -> None:
    if slot.pose is not None and len(slot.pose) != 17:
        raise _nowhere(which, f"has a skeleton of {counted(len(slot.pose), 'joint')} instead of 17")
    if slot.mask is not None:
        if slot.mask.shape != canvas[::-1]:
            found = f"has a mask of shape {tuple(slot.mask.shape)} instead of one of the canvas"
            raise _nowhere(which, f"{found}, {canvas[0]}x{canvas[1]} px")
        low, high = ends(slot.mask)
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
            raise _nowhere(which, f"has a mask from {low:g} to {high:g} instead of 0 to 1")
    _within_reach(which, slot.keypoints, slot.box, [slot.center, *(joint[:2] for joint in slot.pose or ())])


def _within_reach(which: str, keypoints: Sequence[Point] | None, box: Box | None, others: Sequence[Point] = ()) -> None:
    if keypoints is not None and len(keypoints) != 5:
        raise _nowhere(which, f"has {counted(len(keypoints), 'face keypoint')} instead of 5")
    numbers = [*(box or ()), *(axis for point in (*others, *(keypoints or ())) for axis in point)]
    wrong = next((axis for axis in numbers if not abs(axis) <= FAR), None)  # NaN is not within anything
    if wrong is not None:
        raise _nowhere(which, f"has a coordinate that is on no canvas ({wrong:g})")
    if box is not None and (box[0] > box[2] or box[1] > box[3]):
        raise _nowhere(which, f"has a face box of negative size ({', '.join(f'{side:g}' for side in box)})")
