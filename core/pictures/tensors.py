"""IMAGE, MASK and LATENT as the host hands them over, and the drawn examples, known again as Load Image gives them.

IMAGE: (B, H, W, C), 0..1, any float type, grey, colour or with alpha. MASK: (B, H, W), or (H, W) from older nodes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from ..checks.errors import BadSize, counted, gathered

SHORTER_SIDE, LONGER_SIDE, MULTIPLE_OF = 1024, 1280, 64
"""The sizes to which infer.py of InstantID brings a photo before it looks for the face, in pixels; see
`resized_photo`."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Mean and deviation of the colours of CLIP's training pictures, RGB, by which it normalises what it sees."""


def as_rgb(image: Tensor) -> Tensor:
    """A picture in RGB, (..., H, W, 3) float32 on the CPU, on white where it is transparent.

    image: (..., H, W, 1|3|4), 0..1, of any float type.
    """
    return _opaque(image, background=1.0)


_STRIP = 16
"""Rows of a picture that are converted at once: they stay in the cache of a CPU, while a photo of 24 million pixels in
whole takes 300 MB for each step."""


def eight_bits(image: Tensor) -> npt.NDArray[np.uint8]:
    """One picture as `as_rgb` gives it, in 8 bits: (H, W, 3).

    image: (H, W, 1|3|4), 0..1, of any float type.
    """
    pixels = np.empty((*image.shape[:2], 3), np.uint8)
    for start in range(0, len(image), _STRIP):
        # In numpy: waking torch's threads for each strip costs more than they save.
        numbers = as_rgb(image[start : start + _STRIP]).numpy() * np.float32(255)
        np.rint(numbers, out=numbers)
        pixels[start : start + _STRIP] = numbers.clip(0, 255, out=numbers)
    return pixels


def as_drawing(image: Tensor) -> Tensor:
    """A picture as `as_rgb` gives it, for what is drawn on black, such as skeletons, keypoints and DensePose: black
    where it is transparent."""
    return _opaque(image, background=0.0)


def _opaque(image: Tensor, background: float) -> Tensor:
    """A picture (..., H, W, 1|3|4) in RGB without transparency, (..., H, W, 3) float32 on the CPU.

    background: the grey behind it, 0..1, seen where the picture is transparent.
    """
    image = image.detach().float().cpu()
    if image.shape[-1] == 1:
        return image.expand(*image.shape[:-1], 3)
    if image.shape[-1] == 3:
        return image
    alpha = image[..., 3:].clamp(0, 1)  # (..., H, W, 1)
    return image[..., :3] * alpha + background * (1 - alpha)


def as_masks(masks: Tensor) -> Tensor:
    """A MASK of any type and shape (..., H, W) -> (B, H, W) float32 0..1 on the CPU; NaN becomes 0."""
    batch = masks[None] if masks.ndim == 2 else masks.flatten(0, -3)  # (H, W) or (..., H, W) -> (B, H, W)
    return batch.float().nan_to_num().clamp(0, 1).cpu()


def joined_masks(masks: Tensor) -> Tensor:
    """Masks (n, H, W) as one, (H, W): their sum, at most 1.

    Masks that share a soft border add up to 1 there. Their maximum would fall to a half on it.
    """
    return masks.sum(0).clamp(max=1)


def without_row(name: str, number: int, row_count: int) -> str:
    """A note where a batch of pictures does not fit the rows of a latent; "" where each picture serves as many rows.

    Of more pictures than rows the host uses the first ones. Fewer pictures than rows it uses in turn.
    name: what the note calls one picture, such as "keypoint picture". number: how many pictures. row_count: how many
    rows the latent has.
    """
    if number == 1 or row_count % number == 0:
        return ""
    counts = f"{counted(number, name)} are given, and the latent has {counted(row_count, 'row')}"
    if number > row_count:
        return (
            f"{counts}: {_pictures_are(row_count + 1, number)} not used. Rebatch Latents cuts a batch so, and every "
            "piece gets the first pictures. Leave it out, or sample each piece with an apply node that is given its "
            "own pictures."
        )
    return (
        f"{counts}: they are used in turn, so {_pictures_are(1, row_count % number)} used once more than the others. "
        "Give one picture for all rows, or one for each."
    )


def _pictures_are(first: int, last: int) -> str:
    """The beginning of a sentence: "pictures 2 to 5 are", "picture 2 is"."""
    return f"picture {first} is" if first == last else f"pictures {first} to {last} are"


def resized_photo(image: Tensor, longer_side: int, multiple_of: int) -> Tensor:
    """Photos in the size that resize_img of InstantID's infer.py gives them: (B, H, W, C) 0..1 -> (B, h, w, 3).

    The longer side becomes `longer_side`, then both sides are rounded down to multiples of `multiple_of`. In both steps
    the photo is resized, never cropped, bilinear with Pillow's filter, as infer.py does. Raises BadSize for a strip
    whose shorter side would be below `multiple_of`.
    """
    size = (image.shape[2], image.shape[1])
    # As in infer.py the sides are rounded twice: with a shorter side of SHORTER_SIDE, then with the longer side wanted.
    rounded = [round(SHORTER_SIDE / min(size) * side) for side in size]
    scaled = [round(longer_side / max(rounded) * side) for side in rounded]
    fitted = [side // multiple_of * multiple_of for side in scaled]
    if not all(fitted):
        expected = f"{scaled[0]}x{scaled[1]} px is what its sides become, and both must reach {multiple_of} px"
        raise BadSize("The photo", size, expected, "Cut the photo to a shape nearer to a square.")
    pixels = as_rgb(image).movedim(-1, 1)  # (B, 3, H, W)
    for width, height in (scaled, fitted):
        pixels = functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    return pixels.movedim(1, -1)  # (B, h, w, 3)


def rows(latent: Mapping[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """A LATENT with some rows of another one, each with its own mask and its own row of the noise.

    latent: "samples" and perhaps "noise_mask" and "batch_index"; all its other keys are in the result as they are.
    numbers: of the rows, from 0, in the order in which the result has them.
    """
    samples = latent["samples"]  # (rows, channels, h, w)
    row_numbers = list(numbers)
    chosen = {**latent, "samples": samples[row_numbers]}
    mask = latent.get("noise_mask")
    if mask is not None and len(mask) > 1:  # one mask is for all rows, and stays
        # The host uses masks in turn where there are fewer than rows.
        chosen["noise_mask"] = mask[[number % len(mask) for number in row_numbers]]
    # Of each row of the latent the row in the noise that a seed makes; without numbers, that of its own number.
    noise_rows: Any = latent.get("batch_index")
    if noise_rows is None or not len(noise_rows):
        noise_rows = range(len(samples))
    chosen["batch_index"] = [int(noise_rows[number]) for number in row_numbers]
    return chosen


_BITS = torch.tensor([(byte >> bit) & 1 for byte in b"Likeness" for bit in range(8)])  # of each the lowest first
_MARK = _BITS[:, None].expand(-1, 3)  # (pixels, 3)
"""The mark of the pack's drawn examples: the lowest bits of the first 64 pixels of the first row, alike in all three
colours. Nobody sees it, and it is gone when the picture is resized or drawn on."""


def is_example(picture: Tensor) -> bool:
    """Whether a picture of an IMAGE, (H, W, C) float 0..1, is one of the pack's drawn examples, unchanged."""
    # A narrower picture has fewer pixels, and so is not equal to _MARK.
    first_pixels = (picture[0, : len(_MARK), :3].float().cpu() * 255).round().long()  # (64, 3), 0..255
    return torch.equal(first_pixels % 2, _MARK)


def reminder(named_pictures: Iterable[tuple[str, Tensor]]) -> list[str]:
    """One line that names the pictures that are drawn examples; [] where none is.

    named_pictures: a name, such as the person's, and a picture (H, W, C).
    """
    names = [name for name, picture in named_pictures if is_example(picture)]
    return gathered("Still drawn examples", names, ": choose your own pictures")
