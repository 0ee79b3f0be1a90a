"""Photos of a table: metadata that stop Pillow, and so an older ComfyUI, are left away, and the photo is taken."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from batch import photo_files
from batch.rows import BadRow
from PIL import Image, ImageOps

PHOTO = Path(__file__).resolve().parents[2] / "pictures" / "likeness_anna.png"


def photo() -> Image.Image:
    with Image.open(PHOTO) as opened:
        return opened.convert("RGB").resize((96, 64))


def png(name: bytes, content: bytes) -> bytes:
    file = io.BytesIO()
    photo().save(file, "PNG")
    data = file.getvalue()
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data[:33] + chunk + data[33:]


def jpeg(exif: bytes) -> bytes:
    file = io.BytesIO()
    photo().save(file, "JPEG", quality=95, subsampling=0, dpi=(72, 72))
    data = file.getvalue()
    return data[:2] + struct.pack(">BBH", 0xFF, 0xE1, len(exif) + 2) + exif + data[2:]


SPOILED = {
    "text.png": png(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 3_000_000)),
    "exif.png": png(b"eXIf", b"http://ns.adobe.com"),
    "exif.jpg": jpeg(b"Exif\0\0http://ns.adobe.com/xap/1.0/\0"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_metadata_that_are_none_fail_no_photo(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SPOILED[name])
    for _ in range(2):  # in two rows of a table
        photos: dict[str, bytes] = {}
        name_of_copy = photo_files.put(tmp_path / name, photos)
        assert name_of_copy.endswith(".png")
        with Image.open(io.BytesIO(photos[name_of_copy])) as opened:
            pixels = np.asarray(ImageOps.exif_transpose(opened)).astype(int)
        assert abs(pixels - np.asarray(photo()).astype(int)).max() <= (24 if name.endswith("jpg") else 0)


def test_a_photo_that_can_be_read_is_sent_as_it_is(tmp_path: Path) -> None:
    photos: dict[str, bytes] = {}
    name_of_copy = photo_files.put(PHOTO, photos)
    assert photos == {name_of_copy: PHOTO.read_bytes()}


def test_a_damaged_photo_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(jpeg(b"Exif\0\0")[:1500])
    with pytest.raises(BadRow, match=r"cut\.jpg cannot be read as a picture: "):
        photo_files.put(tmp_path / "cut.jpg", {})
