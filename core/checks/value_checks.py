"""Checks of what a node is given: links bring values that no widget would let through.

Numbers and what ComfyUI's own sockets carry. `title` is always how a message calls the value. A check returns nothing,
and raises where the value cannot be used.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from types import NoneType
from typing import Any, cast

import numpy as np
from torch import Tensor

from ..pictures.geometry import FAR
from .errors import BadInput, LikenessError, counted
from .limits import MASK_PIXELS, too_much

TRY_OTHER_WORDS = "With SAM3 Detect, use another word in its text, or a lower threshold."
"""What to do where a detector by words has not found what was meant."""
LANDMARKS = 468
"""The least number of points of a face mesh; meshes with irises have ten more."""
_MOST_LETTERS = 40  # of a text that a message quotes
_MOST_BITS = 99  # of a whole number that a message quotes: Python writes longer ones slowly or not at all


class BadPicture(LikenessError):
    """An IMAGE or MASK that is no picture."""

    def __init__(self, title: str, why: str, advice: str | None = None) -> None:
        usual = "Look at the node before it: it makes something else than Load Image does."
        super().__init__(f"{title} cannot be used: {why}.", advice or usual)


def unusable_latent(title: str) -> BadPicture:
    """The error about a picture of which the VAE makes NaN or infinity."""
    why = "the VAE makes NaN or infinity of it, and the result would be black"
    return BadPicture(title, why, "Start ComfyUI with --fp32-vae.")


def unusable_text(title: str) -> BadPicture:
    """The error about words of which CLIP makes NaN or infinity."""
    why = "CLIP makes NaN or infinity of it, and the picture would be black"
    usual = "Look at the weights in the prompt: (smile:1.2) is usual."
    return BadPicture(title, why, f"{usual} Where there are none, start ComfyUI with --fp32-text-enc.")


def number(title: str, value: Any, least: float, largest: float, integer: bool) -> float:
    """The value as int (`integer`) or float. Raises BadInput unless it is a finite number from `least` to `largest`."""
    converted = _converted(value, integer)
    if converted is None or not least <= converted <= largest:
        noun = "a whole number" if integer else "a number"
        limits = f"from {_limit(least)}"
        if math.isfinite(largest):
            limits += f" to {_limit(largest)}"
        raise BadInput(title, named(value), f"{noun} {limits}")
    return converted


def _converted(value: Any, integer: bool) -> float | None:
    """A value as int or float; None where it is no finite number, or no whole one where `integer`."""
    try:
        converted = int(value) if integer else float(value)
        # int(1.5) is 1, which is not 1.5, and NaN equals nothing.
        return converted if bool(converted == value) and math.isfinite(converted) else None
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of several numbers
        return None


def _limit(limit: float) -> str:
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def named(value: Any) -> str:
    """A value of a link in words, for a message: "the text 'a man'", "an object of type Tensor of shape (1, 8, 8)"."""
    if value is None:
        return "nothing (None)"
    if isinstance(value, str):
        text = value if len(value) <= _MOST_LETTERS else value[:_MOST_LETTERS] + "..."
        return f"the text {text!r}"
    if isinstance(value, Real):
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            return "a number of too many digits"
        return str(value)
    kind = f"an object of type {type(value).__name__}"
    if isinstance(value, Tensor):
        return f"{kind} of shape {tuple(value.shape)}"
    return kind


def picture(title: str, image: Tensor) -> None:
    """Raise BadPicture unless this is (B, H, W, 1|3|4) of a float type, with pixels, all of them finite."""
    if image.ndim != 4:
        raise BadPicture(title, f"its shape is {tuple(image.shape)} instead of (pictures, height, width, channels)")
    _has_pixels(title, image.shape[0], image.shape[1:3])
    if image.shape[3] not in (1, 3, 4):
        why = f"it has {image.shape[3]} channels instead of 1 (grey), 3 (colour) or 4 (colour and alpha)"
        raise BadPicture(title, why)
    if not image.is_floating_point() or image.element_size() == 1:  # torch does not compute with floats of 8 bits
        raise BadPicture(title, f"its values are of type {image.dtype} instead of float, 0 to 1")
    # Least and most are NaN where any value is: so no tensor of the size of the picture is made.
    least, largest = image.aminmax()
    if not (math.isfinite(least) and math.isfinite(largest)):
        wrong = int((~image.isfinite()).sum())
        verb = "is" if wrong == 1 else "are"
        why = f"{wrong} of its {image.numel()} values {verb} NaN or infinite"
        advice = "A node before it makes them, often a VAE or a model in half precision: --fp32-vae may help."
        raise BadPicture(title, why, advice)


def masks(title: str, mask: Tensor) -> None:
    """Raise BadPicture unless this is (B, H, W), (H, W) or (B, 1, H, W) with pixels and of real numbers."""
    has_channel = mask.ndim == 4 and mask.shape[1] == 1
    if mask.ndim not in (2, 3) and not has_channel:
        why = f"its shape is {tuple(mask.shape)} instead of (masks, height, width)"
        raise BadPicture(title, why, "Connect a MASK; Convert Image to Mask makes one of a picture.")
    count = len(mask) if mask.ndim > 2 else 1
    _has_pixels(title, count, mask.shape[-2:], empty=TRY_OTHER_WORDS)
    why = too_much(math.prod(mask.shape[-2:]), MASK_PIXELS, "pixel")
    if why:
        raise BadPicture(title, why, "Make it and its picture smaller before: no network reads so many.")
    if mask.is_complex():
        raise BadPicture(title, f"its values are of type {mask.dtype} instead of float, 0 to 1")


def _has_pixels(title: str, count: int, size: Sequence[int], empty: str = "Connect at least one.") -> None:
    """Raise BadPicture without pictures or pixels. size: (height, width). empty: what to do without pictures."""
    if not count:
        raise BadPicture(title, "it is an empty batch", empty)
    if not all(size):
        raise BadPicture(title, f"it has no pixels ({size[1]}x{size[0]} px)")


def latent(title: str, value: Mapping[str, Any]) -> None:
    """Raise BadPicture unless this is a LATENT with at least one row. Row numbers, if any, must suffice for all rows.

    Nodes that take rows out of a LATENT write these numbers under "batch_index", as a list or a tensor (rows,): the
    number says which row of a seed's noise the row gets. None and an empty list are no numbers, as in `pictures.rows`.
    """
    advice = "Connect the LATENT of a sampler."
    samples = value.get("samples")
    if not isinstance(samples, Tensor) or not samples.ndim or not len(samples):
        raise BadPicture(title, f"under 'samples' it has {named(samples)} instead of one row per picture", advice)
    numbers = cast("Any", value.get("batch_index"))
    if numbers is None:
        return
    rows = counted(len(samples), "latent")
    is_tensor_of_numbers = isinstance(numbers, Tensor) and numbers.ndim == 1
    if not isinstance(numbers, Sequence) and not is_tensor_of_numbers:
        raise BadPicture(title, f"under 'batch_index' it has {named(numbers)} for {rows}", advice)
    number_count = len(cast("Sequence[Any]", numbers))
    if 0 < number_count < len(samples):
        has = counted(number_count, "number")
        raise BadPicture(title, f"under 'batch_index' it has {has} for {rows}", advice)


_CONDITIONING = "CONDITIONING, as CLIP Text Encode makes it,"
_OPTIONS: Mapping[str, type[Any] | tuple[type[Any], ...]] = {
    "model_conds": Mapping,
    "pooled_output": (Tensor, NoneType),
    "mask": (Tensor, NoneType),
    **dict.fromkeys(("start_percent", "end_percent", "clip_start_percent", "clip_end_percent"), Real),
}
"""Options of CONDITIONING that our nodes read -> their kinds."""


def conditioning(title: str, value: Sequence[Any]) -> None:
    """Raise BadInput unless this is a list of entries [text (B, tokens, width), dictionary of options].

    Those options that our nodes read must be of the kinds that _OPTIONS lists.

    Raises BadPicture for a text with NaN or infinity.
    """
    for entry in value:
        if not _is_entry(entry):
            raise BadInput(title, "something else under this name", _CONDITIONING)
        text, options = entry
        for name, kinds in _OPTIONS.items():
            if name in options and not isinstance(options[name], kinds):
                raise BadInput(title, f"CONDITIONING with {named(options[name])} under {name!r}", _CONDITIONING)
        if not text.isfinite().all():
            raise unusable_text(title)


def _is_entry(entry: Any) -> bool:
    """Whether this is a pair of a text (B, tokens, width), with tokens, and a dictionary."""
    if not isinstance(entry, (list, tuple)) or len(cast("Sequence[Any]", entry)) != 2:
        return False
    text, options = cast("Sequence[Any]", entry)
    return isinstance(text, Tensor) and text.ndim == 3 and text.shape[1] > 0 and isinstance(options, Mapping)


def face_landmarks(title: str, value: Mapping[str, Any]) -> None:
    """Raise BadInput unless this is what the host's MediaPipeFaceLandmarker gives.

    value: "image_size", (height, width) of the pictures in pixels; "frames", a list of faces for each picture. A face
    is a dictionary of "landmarks_xy", (points, 2) in pixels, and "score", 0..1.
    """
    try:
        height, width = map(int, value["image_size"])
        is_whole = width > 0 and height > 0 and _are_meshes(value["frames"], width, height)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        is_whole = False  # something in it is of another kind
    if not is_whole:
        raise BadInput(title, "something else under this name", "the face_landmarks of Detect Face Landmarks")


def _are_meshes(frames: Any, width: int, height: int) -> bool:
    """Whether this is a list of lists of face meshes, one list for each picture. width, height: of the pictures, px.

    Raises as `_is_mesh` does, and TypeError for an entry that is no list.
    """
    if not isinstance(frames, (list, tuple)):
        return False
    return all(_is_mesh(face, width, height) for faces in cast("Sequence[Any]", frames) for face in faces)


def _is_mesh(face: Mapping[str, Any], width: int, height: int) -> bool:
    """Whether a face has enough points, finite, partly on the picture and not all in one pixel, and a score 0..1.

    Raises LookupError, TypeError or ValueError for something in it of another kind.
    """
    points = np.asarray(face["landmarks_xy"], dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < LANDMARKS:
        return False
    upper_left = points.min(0)
    lower_right = points.max(0)
    wide_enough = (lower_right - upper_left >= 1).all()
    on_picture = (lower_right >= 0).all() and (upper_left <= (width, height)).all()
    visible = bool(wide_enough and on_picture)  # False for NaN
    return visible and bool((np.abs(points) <= FAR).all()) and 0 <= float(face["score"]) <= 1
