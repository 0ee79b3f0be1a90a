"""IMAGE tensors to what the face networks read, and back."""

from __future__ import annotations

import os
import zlib

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import BadPhoto
from ..pictures import as_rgb
from ..text import in_one_line

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) BGR, as OpenCV and insightface read pictures."""

_PLACEHOLDER = 0x34580348
_LARGEST = 120_000_000
"""Pixels of a file that is read: cameras have 100 million, and a picture of a few kilobytes may claim billions."""
_UNKNOWN = "it is no picture of a kind that Pillow knows"
_SAVE_AGAIN = "Open it in another program and save it as JPEG or PNG."


def to_picture(image: Tensor) -> Picture:
    """One picture of an IMAGE, (H, W, 1, 3 or 4) float of any precision, 0..1, to 8-bit BGR.

    Transparent pixels become white, as viewers show them: their hidden colour is anything.
    """
    pixels = image.detach().float().cpu()
    if pixels.shape[-1] == 4:
        alpha = pixels[..., 3:]
        pixels = pixels[..., :3] * alpha + (1 - alpha)
    return np.ascontiguousarray((as_rgb(pixels) * 255).round().clamp(0, 255).to(torch.uint8).numpy()[..., ::-1])


def from_file(path: str) -> Picture:
    """The first picture of a file, upright as its EXIF says and on white where it is transparent, as 8-bit BGR.

    Raises BadPhoto, with the reason, for what is no picture, damaged or larger than any camera's.
    """
    name = os.path.basename(path)
    try:
        with open(path, "rb") as file:
            opened: Image.Image = Image.open(file)
            if opened.format == "EPS":  # a program, which Pillow would have Ghostscript run
                raise BadPhoto(f"{name} cannot be read: {_UNKNOWN}.", _SAVE_AGAIN)
            if opened.width * opened.height > _LARGEST:
                raise BadPhoto(
                    f"{name} has {opened.width}x{opened.height} px; {_LARGEST // 10**6} million are read at most.",
                    "Save it smaller.",
                )
            upright = _on_white(ImageOps.exif_transpose(opened))
    except BadPhoto:
        raise
    except Exception as error:  # whatever Pillow meets in a damaged file
        unknown = isinstance(error, UnidentifiedImageError)
        why = _UNKNOWN if unknown else in_one_line(error).rstrip(".")
        raise BadPhoto(f"{name} cannot be read: {why}.", _SAVE_AGAIN) from error
    return np.ascontiguousarray(np.asarray(upright)[..., ::-1])


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        return Image.fromarray((np.asarray(picture) / 257).clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def is_placeholder(picture: Picture) -> bool:
    """Whether this is example.png, the drawing that comes with ComfyUI: a new Load Image shows it."""
    return zlib.crc32(picture.tobytes()) == _PLACEHOLDER


def to_image(picture: Picture) -> Tensor:
    """8-bit BGR to (H, W, 3) float32 RGB 0..1."""
    # In numpy: for so few pixels waking torch's threads costs more than the recogniser does.
    return torch.from_numpy(picture[..., ::-1].astype(np.float32) / np.float32(255))  # pyright: ignore[reportUnknownMemberType]
