"""Files of pictures: whatever kind of pixels, and whatever stands around them."""

import io
import os
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn import photo
from pack.core.checks.errors import BadPhoto
from pack.core.faces.pictures import from_file
from pack.core.pictures import opening
from pack.core.pictures.files import has_several, read_picture
from PIL import Image, ImageCms, ImageFile, PngImagePlugin, TiffImagePlugin, features

ROOT = Path(__file__).resolve().parents[2]
ORIENTED = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
"""EXIF that says: turn it clockwise by 90 degrees."""
LONG_TEXT = zlib.compress(b"x" * 3_000_000)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def jpeg(marker: int, content: bytes) -> bytes:
    """The photo with one segment behind its first two bytes."""
    # With a density of its own: without one Pillow looks into EXIF already when it opens a file, and forgives.
    data = saved(photo(), "JPEG", quality=95, subsampling=0, dpi=(72, 72))
    segment = struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
    return data[:2] + segment + data[2:]


def chunk(name: bytes, content: bytes, checksum: int = 0) -> bytes:
    """Of a PNG. checksum: what is added to the right one."""
    sum_of_it = struct.pack(">I", zlib.crc32(name + content) ^ checksum)
    return struct.pack(">I", len(content)) + name + content + sum_of_it


def png(name: bytes, content: bytes, checksum: int = 0) -> bytes:
    """The photo with one chunk before its pixels."""
    data = saved(photo(), "PNG")
    return data[:33] + chunk(name, content, checksum) + data[33:]


def telephone(cut: int) -> bytes:
    """Two pictures in one JPEG (MPO), without the last bytes."""
    data = saved(photo(), "MPO", save_all=True, append_images=[photo().resize((40, 40))], quality=95, subsampling=0)
    return data[: len(data) - cut]


def cut(kind: str, count: int, **options: object) -> bytes:
    """The photo without the last bytes of its file."""
    data = saved(photo(), kind, **options)
    return data[: len(data) - count]


def png_of_pixels(change: Callable[[bytes], bytes], between: bytes = b"") -> bytes:
    """The photo with a change of its compressed pixels. between: a chunk in the middle of them."""
    data = saved(photo(), "PNG")
    length = int.from_bytes(data[33:37], "big")
    pixels = change(data[41 : 41 + length])
    return data[:33] + chunk(b"IDAT", pixels[:99]) + between + chunk(b"IDAT", pixels[99:]) + chunk(b"IEND", b"")


SHARP: dict[str, object] = {"quality": 95, "subsampling": 0}


def exif_with(tag: bytes) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + tag + b"\0\0\0\0"


def text_between_scans() -> bytes:
    """A progressive JPEG with a text before its second scan, in which the marks of an end and of a scan stand."""
    first, *others = saved(photo(), "JPEG", progressive=True, **SHARP).split(b"\xff\xda")
    return b"\xff\xda".join([first, others[0] + b"\xff\xfe\0\x07\xff\xd9\xff\xda\0", *others[1:]])


def bmp_of_empty_alpha() -> bytes:
    """Four colours a pixel, red, green, blue and alpha, which is 0 everywhere."""
    pixels = photo()
    pixels.putalpha(0)
    header = saved(pixels, "BMP")[:14] + struct.pack(
        "<IiiHHIIiiIIIIII", 108, 96, -64, 1, 32, 3, *[0] * 5, 255 << 16, 255 << 8, 255, 255 << 24
    )
    return header[:10] + struct.pack("<I", 122) + header[14:] + bytes(52) + pixels.tobytes("raw", "BGRA")


AS_IT_LIES = {
    "text between scans.jpg": text_between_scans(),
    "empty alpha.bmp": bmp_of_empty_alpha(),
    "no TIFF.jpg": jpeg(0xE1, b"Exif\0\0http://ns.adobe.com/xap/1.0/\0"),
    "empty.jpg": jpeg(0xE1, b"Exif\0\0"),
    "far.jpg": jpeg(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"),
    "orientation 0.jpg": jpeg(0xE1, exif_with(b"\x12\x01\x03\0\x01\0\0\0\0\0\0\0")),
    "orientation 99.jpg": jpeg(0xE1, exif_with(b"\x12\x01\x03\0\x01\0\0\0\x63\0\0\0")),
    "orientation text.jpg": jpeg(0xE1, exif_with(b"\x12\x01\x02\0\x02\0\0\0\x36\0\0\0")),
    "orientation bytes.jpg": jpeg(0xE1, exif_with(b"\x12\x01\x07\0\x01\0\0\0\x06\0\0\0")),
    "orientation fraction.jpg": jpeg(0xE1, exif_with(b"\x12\x01\x05\0\x01\0\0\0\x1a\0\0\0")),
    "orientation of XMP.jpg": jpeg(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="99999999999999999999"/>'),
    "pictures of junk.jpg": jpeg(0xE2, b"MPF\0junkjunkjunk"),
    "telephone.jpg": telephone(0),
    "telephone cut.jpg": telephone(400),
    "EXIF no TIFF.png": png(b"eXIf", b"http://ns"),
    "EXIF twice.png": png(b"eXIf", b"Exif\0\0Exif\0\0"),
    "EXIF no TIFF.webp": saved(photo(), "WEBP", lossless=True, exif=b"http://ns.adobe.com"),
    "profile.webp": saved(photo(), "WEBP", lossless=True, icc_profile=b"abc"),
    "XMP.webp": saved(photo(), "WEBP", lossless=True, xmp=b"\xff\xfe\0"),
    "no end.jpg": cut("JPEG", 2, **SHARP),
    "half an end.jpg": cut("JPEG", 1, **SHARP),
    "no end, restarts.jpg": cut("JPEG", 2, restart_marker_blocks=1, **SHARP),
    "zeros in place of its end.jpg": cut("JPEG", 2, **SHARP) + bytes(99),
    "another behind.jpg": 2 * saved(photo(), "JPEG", **SHARP),
    "short Adobe.jpg": jpeg(0xEE, b"Adobe"),
    "short JFIF.jpg": jpeg(0xE0, b"JFIF\0"),
    "short profile.jpg": jpeg(0xE2, b"ICC_PROFILE\0"),
    "bytes between.jpg": jpeg(0xFE, b"")[:2] + b"ab" + jpeg(0xFE, b"")[2:],
    "too long a text.png": png(b"zTXt", b"a\0\0" + LONG_TEXT),
    "too long a profile.png": png(b"iCCP", b"a\0\0" + LONG_TEXT * 2),
    "damaged text.png": png(b"tEXt", b"a\0b", checksum=1),
    "short gamma.png": png(b"gAMA", b""),
    "short transparency.png": png(b"tRNS", b"a"),
    "name of no chunk.png": png(b"a\xffbc", b"a"),
    "no end.png": cut("PNG", 12),
    "no sum of its pixels.png": cut("PNG", 20),
    "wrong sum of its pixels.png": png_of_pixels(lambda pixels: pixels[:-4] + b"abcd"),
    "a text in its pixels.png": png_of_pixels(bytes, chunk(b"tEXt", b"a\0b")),
    "more behind.webp": saved(photo(), "WEBP", lossless=True) + bytes(99),
    "more behind.bmp": saved(photo(), "BMP") + bytes(99),
}


def switch_pillow(monkeypatch: pytest.MonkeyPatch, cut_files: bool, most_pixels: int | None) -> None:
    """As another pack of ComfyUI may, for everything in the process."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", cut_files)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most_pixels)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 1)
    monkeypatch.setattr(TiffImagePlugin, "READ_LIBTIFF", cut_files)
    monkeypatch.setattr(Image, "OPEN", {})


SWITCHES = pytest.mark.parametrize(("cut_files", "most_pixels"), [(False, 10**7), (True, None)])


@pytest.mark.parametrize("name", AS_IT_LIES)
@SWITCHES
def test_what_stands_around_its_pixels_fails_no_photo(
    name: str, cut_files: bool, most_pixels: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = np.asarray(photo()).astype(int)
    switch_pillow(monkeypatch, cut_files, most_pixels)
    pixels = np.asarray(read_picture(name, AS_IT_LIES[name])).astype(int)
    tolerance = 24 if name.endswith(".jpg") else 0
    assert pixels.shape == (64, 96, 3)
    assert abs(pixels - expected).max() <= tolerance


TURNED = {
    "good.jpg": jpeg(0xE1, b"Exif\0\0" + ORIENTED),
    # Behind the orientation, a description that is a fraction instead of a text: Pillow cannot write it again.
    "strange description.jpg": jpeg(
        0xE1,
        b"Exif\0\0II*\0\x08\0\0\0\x02\0" + ORIENTED[10:22] + b"\x0e\x01\x05\0\x01\0\0\0\x01\0\0\0\0\0\0\0",
    ),
    "largest byte first.jpg": jpeg(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    "good.png": png(b"eXIf", ORIENTED),
    "good.webp": saved(photo(), "WEBP", lossless=True, exif=ORIENTED),
    "good.tif": saved(photo(), "TIFF", tiffinfo={0x0112: 6}),
}


@pytest.mark.parametrize("name", TURNED)
def test_a_photo_is_turned_as_the_camera_says(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(TURNED[name])
    pixels = np.asarray(read_picture(str(tmp_path / name))).astype(int)
    upright = np.rot90(np.asarray(photo()), -1).astype(int)
    assert pixels.shape == (96, 64, 3)
    assert abs(pixels - upright).max() <= (24 if name.endswith(".jpg") else 0)


PROGRESSIVE = saved(photo(), "JPEG", progressive=True, **SHARP)
RESTARTS = saved(photo(), "JPEG", restart_marker_blocks=1, **SHARP)
CUT = {
    "last pixels.jpg": cut("JPEG", 6, **SHARP),
    "half.jpg": saved(photo(), "JPEG", **SHARP)[:2500],
    "between two restarts.jpg": RESTARTS[: RESTARTS.index(b"\xff\xd3", 2500)],
    "end, progressive.jpg": PROGRESSIVE[:-2],
    "half, progressive.jpg": PROGRESSIVE[:2500],
    "last scan, progressive.jpg": PROGRESSIVE[: PROGRESSIVE.rindex(b"\xff\xda")],
    "damaged.png": png_of_pixels(lambda pixels: pixels[:60] + bytes(9) + pixels[69:]),
    "last line.png": png_of_pixels(lambda pixels: pixels[:-30]),
    "last pixel.bmp": cut("BMP", 3),
    "half.gif": cut("GIF", 99),
    "half.tif": saved(photo(), "TIFF")[: -96 * 3 * 32],
    # Pillow writes it in three strips.
    "strips.tif": saved(photo().resize((192, 256)), "TIFF")[: -192 * 3 * 99],
    "a byte.webp": cut("WEBP", 2, lossless=True),
}


@pytest.mark.parametrize("name", CUT)
@SWITCHES
def test_a_photo_that_is_cut_off_is_never_filled(
    name: str, cut_files: bool, most_pixels: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch_pillow(monkeypatch, cut_files, most_pixels)
    with pytest.raises(BadPhoto, match=f"^{name} cannot be read: it is cut off"):
        read_picture(name, CUT[name])


GREY = np.asarray(photo().convert("L"))
OF_12_BITS = (GREY.astype(np.uint16) << 4) + (GREY >> 4)
NUMBERS = {
    "16 bits.png": GREY.astype(np.uint16) * 257,
    "16 bits.tif": GREY.astype(np.uint16) * 257,
    "8 in 16 bits.png": GREY.astype(np.uint16),
    "12 in 16 bits.tif": OF_12_BITS,
    "8 in 32 bits.tif": GREY.astype(np.int32),
    "16 in 32 bits.tif": GREY.astype(np.int32) * 257,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_grey_of_more_than_8_bits(name: str, tmp_path: Path) -> None:
    Image.fromarray(NUMBERS[name]).save(tmp_path / name)
    pixels = from_file(str(tmp_path / name))
    assert pixels.shape == (64, 96, 3)
    assert (pixels == GREY[..., None]).all()


UNREADABLE = {
    "floats": (GREY.astype(np.float32) / 255, "its pixels are floats"),
    "32 bits": (GREY.astype(np.int32) * 2**23, "0 to 255 or 0 to 4095 or 0 to 65535 can be read"),
    "a mask": ((GREY > 128).astype(np.int32), "its pixels are whole numbers from 0 to 1; 0 to 255 or"),
    "labels": (GREY.astype(np.int32) * 1000, "its pixels are whole numbers from"),
    "signed": (GREY.astype(np.int32) - 128, "its pixels are whole numbers from -"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_numbers_without_a_known_white_are_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    """Black they would be, and the error would speak of a face."""
    values, why = UNREADABLE[name]
    Image.fromarray(values).save(tmp_path / f"{name}.tif")
    with pytest.raises(BadPhoto, match=rf"^{name}.tif cannot be read: .*({why})"):
        from_file(str(tmp_path / f"{name}.tif"))


def test_black_is_black(tmp_path: Path) -> None:
    for values in (np.zeros((8, 8), np.int32), np.zeros((8, 8), np.uint16)):
        Image.fromarray(values).save(tmp_path / "black.tif")
        assert not from_file(str(tmp_path / "black.tif")).any()


HIDDEN = np.arange(96) < 48
"""The columns that are transparent."""


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA"])
@pytest.mark.parametrize("color", [0, 255])
def test_transparent_pixels_are_white_whatever_their_color(mode: str, color: int, tmp_path: Path) -> None:
    pixels = np.array(photo().convert("L" if mode != "RGBA" else "RGB"))
    pixels[:, HIDDEN] = color
    alpha = Image.fromarray(np.broadcast_to(np.where(HIDDEN, 0, 255).astype(np.uint8), (64, 96)).copy())
    picture = Image.fromarray(pixels)
    picture.putalpha(alpha)
    if mode == "PA":
        picture = picture.convert("RGBA").quantize(256)
    picture.save(tmp_path / "a.png")
    pixels_read = from_file(str(tmp_path / "a.png"))
    assert (pixels_read[:, HIDDEN] == 255).all()
    assert abs(pixels_read[:, ~HIDDEN].mean() - pixels[:, ~HIDDEN].mean()) < 2


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA"])
def test_modes_that_few_files_have(mode: str) -> None:
    """DDS and TIFF have them: colours multiplied by alpha, and a palette with alpha beside it."""
    from pack.core.pictures.files import _on_white

    plain = photo().convert("L").convert("LA") if mode == "La" else photo().convert("RGBA")
    alpha = Image.new("L", plain.size, 255)
    alpha.paste(0, (0, 0, 48, 64))
    plain.putalpha(alpha)
    picture = plain.convert(mode) if mode != "PA" else plain.convert("P").convert("PA")
    pixels = np.asarray(_on_white(picture, "a", False))
    assert pixels.shape == (64, 96, 3)
    if mode != "PA":
        expected = np.asarray(plain.convert("RGB"))[:, ~HIDDEN].astype(int)
        assert (pixels[:, HIDDEN] == 255).all()
        assert abs(pixels[:, ~HIDDEN] - expected).max() <= 1


def test_the_transparent_grey_of_16_bits_is_white(tmp_path: Path) -> None:
    values = GREY.astype(np.uint16) * 257
    values[:, HIDDEN] = 7
    data = saved(Image.fromarray(values), "PNG")
    (tmp_path / "a.png").write_bytes(data[:33] + chunk(b"tRNS", struct.pack(">H", 7)) + data[33:])
    pixels = from_file(str(tmp_path / "a.png"))
    assert (pixels[:, HIDDEN] == 255).all()
    assert (pixels[:, ~HIDDEN] == GREY[:, ~HIDDEN, None]).all()


def png_of(
    pixels: bytes, width: int, height: int, bits: int, color_type: int, transparent: bytes | None = None
) -> bytes:
    """A PNG. pixels: compressed. color_type: 0 grey, 2 RGB, 4 and 6 these with alpha. transparent: a colour."""
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    before = b"" if transparent is None else chunk(b"tRNS", transparent)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def eight_rows(row: bytes, bits: int, color_type: int, transparent: bytes) -> bytes:
    """A PNG of 8 x 8 pixels with a colour that is transparent."""
    return png_of(zlib.compress((b"\0" + row) * 8), 8, 8, bits, color_type, transparent)


def test_the_transparent_color_of_16_bits_is_white(tmp_path: Path) -> None:
    """Pillow keeps 8 bits of every pixel, and 16 of the colour that is transparent."""
    visible = struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC)
    hidden = struct.pack(">HHH", 0x0A12, 0xC834, 0x1E56)
    (tmp_path / "a.png").write_bytes(eight_rows(visible * 4 + hidden * 4, 16, 2, hidden))
    pixels = np.asarray(read_picture(str(tmp_path / "a.png")))
    assert (pixels[:, :4] == (0x12, 0x56, 0x9A)).all()
    assert (pixels[:, 4:] == 255).all()


@pytest.mark.parametrize(("bits", "visible", "brightness", "hidden"), [(2, 2, 170, 1), (4, 5, 85, 3)])
def test_the_transparent_grey_of_few_bits_is_white(
    bits: int, visible: int, brightness: int, hidden: int, tmp_path: Path
) -> None:
    """Pillow spreads the greys over 0 to 255, but not the one that is transparent."""
    row = 0
    for grey in (visible, hidden) * 4:
        row = row << bits | grey
    data = eight_rows(row.to_bytes(bits, "big"), bits, 0, struct.pack(">H", hidden))
    (tmp_path / "a.png").write_bytes(data)
    pixels = np.asarray(read_picture(str(tmp_path / "a.png")))
    assert (pixels[:, ::2] == brightness).all()
    assert (pixels[:, 1::2] == 255).all()


# --- Colours of 16 bits, and kinds that few files have

DEEP = np.asarray(photo()).astype(np.uint16) * 257
DEEP[:8, :8] = 65_535
ALPHA = np.linspace(0, 65_535, 96).astype(np.uint16) * np.ones((64, 1), np.uint16)


def on_white(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """In 0 to 255, of colours and alpha in 0 to 65535."""
    share = alpha[..., None] / 65_535
    return 255 * (colors / 65_535 * share + 1 - share)


def exchanged(profile: bytes) -> bytes:
    """An ICC profile of sRGB whose red and blue are exchanged."""
    return profile.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")


def with_chain(profile: bytes) -> bytes:
    """An ICC profile with a chain of one step in floats, in the place of its copyright."""
    step = b"matf" + bytes(4) + struct.pack(">HH12f", 3, 3, *np.eye(3).ravel(), 0, 0, 0)
    chain = b"mpet" + bytes(4) + struct.pack(">HHIII", 3, 3, 1, 24, len(step)) + step
    before, after = profile.split(b"cprt", 1)
    body = before + b"D2B0" + struct.pack(">II", len(profile), len(chain)) + after[8:] + chain
    return struct.pack(">I", len(body)) + body[4:]


def linear_grey() -> bytes:
    """An ICC profile of grey whose numbers are amounts of light."""
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    curve, white = b"curv" + bytes(8), b"XYZ " + bytes(4) + d50
    tags = struct.pack(">I4s2I4s2I", 2, b"kTRC", 156, len(curve), b"wtpt", 168, len(white))
    head = b"lcms" + struct.pack(">I", 0x02100000) + b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28) + d50
    body = head.ljust(124, b"\0") + tags + curve + white
    return struct.pack(">I", 4 + len(body)) + body


def png_of_16_bits(pixels: np.ndarray, color_type: int) -> bytes:
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png_of(zlib.compress(rows), width, height, 16, color_type)


def tiff(pixels: np.ndarray, **tags: object) -> bytes:
    """A TIFF of numbers of any size, without compression, by hand. pixels: height, width, channels; in planes:
    channels, height, width. tags: number of the tag behind an underscore -> its value."""
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    is_planar = tags.get("_284") == 2
    channels = pixels.shape[0] if is_planar else pixels.shape[2]
    height, width = pixels.shape[1:] if is_planar else pixels.shape[:2]
    plane = len(data) // channels
    entries: dict[int, list[int]] = {
        256: [width], 257: [height], 258: [8 * pixels.itemsize] * channels, 259: [1], 277: [channels], 278: [height],
        273: [8 + plane * number for number in range(channels)] if is_planar else [8],
        279: [plane] * channels if is_planar else [len(data)],
    }  # fmt: skip
    entries |= {int(name[1:]): [value] for name, value in tags.items()}
    behind = 8 + len(data)
    table = b""
    values = b""
    for number, numbers in sorted(entries.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            place = behind + 2 + 12 * len(entries) + 4 + len(values)
            values += packed
            packed = struct.pack("<I", place)
        table += struct.pack("<HHI", number, 4, len(numbers)) + packed
    head = b"II*\0" + struct.pack("<I", behind)
    return head + data + struct.pack("<H", len(entries)) + table + b"\0\0\0\0" + values


PREMULTIPLIED = (DEEP * (ALPHA[..., None] / 65_535)).round().astype(np.uint16)
GREY_16 = DEEP[..., 1:2]
DEEP_FILES = {
    "colours.png": (png_of_16_bits(DEEP, 2), DEEP / 257),
    "colours and alpha.png": (png_of_16_bits(np.dstack([DEEP, ALPHA]), 6), on_white(DEEP, ALPHA)),
    "grey and alpha.png": (png_of_16_bits(np.dstack([GREY_16, ALPHA]), 4), on_white(GREY_16, ALPHA)),
    "colours.tif": (tiff(DEEP, _262=2), DEEP / 257),
    "colours and alpha.tif": (tiff(np.dstack([DEEP, ALPHA]), _262=2, _338=2), on_white(DEEP, ALPHA)),
    "multiplied by alpha.tif": (tiff(np.dstack([PREMULTIPLIED, ALPHA]), _262=2, _338=1), on_white(DEEP, ALPHA)),
    "0 is black.tif": (tiff(GREY_16, _262=1), GREY_16 / 257),
    "0 is white.tif": (tiff(65_535 - GREY_16, _262=0), GREY_16 / 257),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_colours_of_16_bits_are_read_to_one_of_255(name: str, tmp_path: Path) -> None:
    data, expected = DEEP_FILES[name]
    (tmp_path / name).write_bytes(data)
    pixels = np.asarray(read_picture(str(tmp_path / name))).astype(int)
    assert pixels.shape == (64, 96, 3)
    # Pillow divides colours by their alpha, of which little is left where they are nearly transparent.
    assert np.abs(pixels - np.round(expected)).max() <= (3 if "multiplied" in name else 1)


def test_colours_multiplied_by_alpha_in_8_bits(tmp_path: Path) -> None:
    alpha = (ALPHA >> 8).astype(np.uint8)
    colors = (np.asarray(photo()) * (alpha[..., None] / 255)).round().astype(np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff(np.dstack([colors, alpha]), _262=2, _338=1))
    pixels = np.asarray(read_picture(str(tmp_path / "a.tif"))).astype(int)
    assert np.abs(pixels - (colors.astype(int) + 255 - alpha[..., None])).max() <= 1


OF_8_BITS = np.dstack([PREMULTIPLIED >> 8, ALPHA >> 8]).astype(np.uint8)


REFUSED = {
    "library.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "a JPEG 2000 picture, which is not read here"),
    "library.j2k": (b"\xff\x4f\xff\x51" + bytes(99), "a JPEG 2000 picture, which is not read here"),
    "plain.ppm": (b"P3 1 1 255\n" + b"#\n" * 9 + b"1 1 1\n", "a text"),
    "multiplied.tif": (
        tiff(np.moveaxis(OF_8_BITS, 2, 0).copy(), _262=2, _284=2, _338=1),
        "a TIFF of 8 bits a colour in planes, or with colours multiplied by alpha",
    ),
    "planes.tif": (tiff(np.moveaxis(DEEP, 2, 0).copy(), _262=2, _284=2), "a TIFF of 16 bits a colour in planes"),
    "floats.tif": (tiff(np.asarray(photo()).astype(np.float32) / 255, _262=2, _339=3), "no picture of a kind that Pil"),
    "telephone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(999), "a HEIC photo, as iPhones save them"),
    "telephone.jpg": (b"\0\0\0\x18ftypmif1\0\0\0\0heicmif1" + bytes(999), "a HEIC photo, as iPhones save them"),
    "film.mov": (b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(999), "no picture of a kind that Pillow reads"),
    "new.jxl": (b"\xff\x0a" + bytes(999), "no picture of a kind that Pillow reads.*save it as JPEG or PNG"),
    "page.png": (b"<!DOCTYPE html><html/>", "a web page"),
    "nothing.png": (b"", "it is empty"),
    "reflex.tif": (tiff(DEEP, _262=2, _254=1), "a raw photo of a camera"),
    "reflex.jpg": (tiff(OF_8_BITS[..., :3], _262=2, _50706=1), "a raw photo of a camera"),
    "pointer.png": (b"version https://git-lfs.github.com/spec/v1\n", r"a Git LFS pointer.*\. Choose a picture\."),
    "error.jpg": (b'{"error": "not found"}', r"a text\. Choose a picture\."),
    "begun.jpg": (b"\xff\xd8", "it is cut off or damaged, or no picture of a kind that Pillow reads"),
    "packed.png": (b"PK\3\4" + bytes(99), "no picture of a kind that Pillow reads"),
    "icon.png": (saved(photo(), "ICO"), "no picture of a kind"),  # the first picture in it is the smallest
    "film.webp": (b"RIFF\x40\0\0\0AVI LIST" + bytes(99), "it is cut off or damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_named_for_what_it_is(name: str, tmp_path: Path) -> None:
    data, description = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadPhoto, match=rf"^{name} cannot be read: .*{description}"):
        read_picture(str(tmp_path / name))


@pytest.mark.parametrize("kept", [40, 0.5, 0.9])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("avif", {}), ("webp", {}), ("tif", {"compression": "tiff_lzw"})],
)
def test_a_file_that_was_cut_off_is_called_so(kind: str, options: dict[str, str], kept: float, tmp_path: Path) -> None:
    """Also where the header is there, and what tells Pillow the kind of the pixels is not."""
    if not features.check(kind.replace("tif", "libtiff")):
        pytest.skip("this Pillow is made without the library of the format")
    path = tmp_path / f"cut.{kind}"
    photo().save(path, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data) if kept < 1 else kept)])
    with pytest.raises(BadPhoto, match=rf"^cut\.{kind} cannot be read: it is cut off"):
        read_picture(str(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are of Unix")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(BadPhoto, match=r"^a\.png cannot be read: there is no such file\. Choose a picture\.$"):
        read_picture(str(tmp_path / "a.png"))


def scans(side: int, count: int) -> bytes:
    """A progressive JPEG of grey with so many scans behind the first one; each says of one block that it is empty."""
    tables = b"".join(
        struct.pack(">BBHB", 0xFF, 0xC4, 20, kind) + bytes([1] + [0] * 15) + bytes([symbol])
        for kind, symbol in ((0x00, 0), (0x10, 0))
    )
    frame = struct.pack(">BBHBHHBBBB", 0xFF, 0xC2, 11, 8, side, side, 1, 1, 0x11, 0)
    quantisation = b"\xff\xdb\0\x43\0" + b"\1" * 64
    first = b"\xff\xda\0\x08\1\1\0\0\0\0\x7f"
    return (
        b"\xff\xd8" + quantisation + frame + tables + first + b"\xff\xda\0\x08\1\1\0\1\x3f\0\x7f" * count + b"\xff\xd9"
    )


def rle(width: int, height: int) -> bytes:
    """A BMP packed by RLE of which each line is one pixel and an end of line."""
    packed = b"\1\7\0\0" * height + b"\0\1"
    offset = 14 + 40 + 1024
    header = struct.pack("<LllHHLLllLL", 40, width, height, 1, 8, 1, len(packed), 0, 0, 256, 256)
    return b"BM" + struct.pack("<LHHL", offset + len(packed), 0, 0, offset) + header + bytes(1024) + packed


def named_often(count: int) -> bytes:
    """A block of EXIF whose entries all name the same 256 KiB; the last of them is that it is turned."""
    size = 1 << 18
    entries = b"".join(struct.pack("<HHLL", 0x100 + number, 7, size, 26 + 12 * count) for number in range(count))
    turned = struct.pack("<HHLL", 0x0112, 3, 1, 6)
    return b"II*\0" + struct.pack("<LH", 8, count + 1) + turned + entries + bytes(4) + bytes(size)


AVIF = b"\0\0\0\x20ftypavif\0\0\0\0avifmif1"
EMPTY = b"".join(struct.pack("<HL", 0, 14 + 6 * number) for number in range(400_000))
"""Directories without entries, each of which says where the next one stands."""

HUGE = {
    "large.png": (png_of(b"", 15_000, 10_000, 16, 6), "15000x10000 px; 120 million are read at most"),
    "long.png": (png_of(b"", 2_000_000_000, 1, 8, 2), "2000000000x1 px; 120 million"),
    "scans.jpg": (scans(8, 501), "it is a JPEG of 502 scans; of so many pixels 500 are read at most"),
    "scans of many pixels.jpg": (scans(10_000, 121), "it is a JPEG of 122 scans; of so many pixels 120 are read"),
    "large.jpg": (scans(20_000, 0), "20000x20000 px; 250 million are read at most"),
    "segments.jpg": (b"\xff\xd8" + b"\xff\xdb\0\2" * 10**5, "it is damaged: it has more than 10000 segments"),
    "cut scans.jpg": (scans(10_000, 25)[:-2], "it is cut off: the mark of its end is missing"),
    "rle.bmp": (rle(8000, 6000), "8000x6000 px; 10 million are read at most"),
    "wide rle.bmp": (rle(9_000_000, 1), "9000000x1 px; 10 million are read at most"),
    "cut rle.bmp": (rle(4000, 2000)[:-6000], "it is cut off or damaged"),
    "blocks.avif": (AVIF + b"MM\0*" * 600_000, "its tags name the same bytes many times"),
    "directories.tif": (b"II*\0\x08\0\0\0" + EMPTY, "its tags name the same bytes many times"),
    "a piece.tif": (tiff(OF_8_BITS[..., :3], _262=2, _322=60_000, _323=60_000), "120 million are read at most"),
}


@pytest.mark.parametrize("name", HUGE)
def test_what_would_take_all_memory_or_hours_is_refused_before_it_is_decoded(name: str, tmp_path: Path) -> None:
    data, why = HUGE[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadPhoto, match=why):
        read_picture(str(tmp_path / name))


def in_segments(exif: bytes) -> bytes:
    """Segments of a JPEG with EXIF of any length."""
    pieces = [exif[start : start + 65_000] for start in range(0, len(exif), 65_000)]
    return b"".join(struct.pack(">HH", 0xFFE1, len(piece) + 8) + b"Exif\0\0" + piece for piece in pieces)


BOMB = named_often(4000)
OFTEN = {
    "a.jpg": lambda: saved(photo(), "JPEG", **SHARP)[:2] + in_segments(BOMB) + saved(photo(), "JPEG", **SHARP)[2:],
    "a.png": lambda: png(b"eXIf", BOMB),
    "packed.png": lambda: png(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n0\n" + BOMB.hex().encode())
    ),
    "a.webp": lambda: saved(photo(), "WEBP", lossless=True, exif=BOMB),
}


@pytest.mark.parametrize("name", OFTEN)
def test_bytes_that_are_named_often_are_not_kept_often(name: str) -> None:
    """Some versions of Pillow keep a copy for each tag: a gigabyte here. The turn is read alone."""
    data = OFTEN[name]()
    tracemalloc.start()
    picture = read_picture(name, data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert picture.size == (64, 96)
    assert peak < 30 * len(data) + 10**7


@pytest.mark.parametrize("name", [b"iCCP", b"zTXt"])
def test_what_unpacks_to_megabytes_is_unpacked_once(name: bytes) -> None:
    packed = b"Raw profile type exif\0\0" + zlib.compress(bytes(4_000_000), 9)
    began = time.process_time()
    read_picture("a.png", png(name, packed)[:33] + chunk(name, packed) * 2000 + png(b"tEXt", b"")[33:])
    assert time.process_time() - began < 3


@pytest.mark.parametrize("where", [b"", AVIF])
@pytest.mark.parametrize("count", [40, 4000])
def test_a_file_whose_directories_name_its_bytes_often_is_not_opened(where: bytes, count: int) -> None:
    with pytest.raises(BadPhoto, match="its tags name the same bytes many times"):
        read_picture("a.tif", where + named_often(count))
    with pytest.raises(BadPhoto) as refused:
        read_picture("a.tif", where + named_often(3))  # as some programs write it; no picture
    assert "many times" not in str(refused.value)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells how much memory a process has taken")
@pytest.mark.parametrize(
    ("bits", "color_type", "most"),
    [(8, 2, 25), (8, 6, 25), (16, 2, 25), (16, 4, 25), (16, 6, 25), (8, "a JPEG without its end", 14)],
)
def test_no_kind_of_pixels_takes_more_than_its_share_of_memory(
    bits: int, color_type: int | str, most: int, tmp_path: Path
) -> None:
    """A small file of many pixels, which all colours and alphas of 16 bits once took 149 bytes each for."""
    side = 2000
    if isinstance(color_type, int):
        row = bytes(1 + side * bits // 8 * {2: 3, 4: 2, 6: 4}[color_type])
        data = png_of(zlib.compress(row * side, 1), side, side, bits, color_type)
    else:
        data = saved(Image.new("RGB", (side, side)), "JPEG")[:-2]
    (tmp_path / "a.png").write_bytes(data)
    script = (
        "import re, sys; sys.path.insert(0, sys.argv[1])\n"
        "from core.pictures import opening; from core.pictures.files import read_picture\n"
        # Of this process alone: ru_maxrss begins with that of the one which has started it.
        "peak = lambda: int(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1])\n"
        "before = peak(); read_picture(sys.argv[2]); print((peak() - before) * 1024)"
    )
    command = [sys.executable, "-c", script, str(ROOT), str(tmp_path / "a.png")]
    taken = int(subprocess.run(command, check=True, capture_output=True).stdout)
    assert taken / side**2 < most


def test_a_wide_gamut_is_brought_to_srgb_and_a_broken_profile_is_none(tmp_path: Path) -> None:
    colors = np.dstack([np.full((8, 8), level, np.uint8) for level in (200, 100, 50)])
    wide = ImageCms.createProfile("sRGB")
    data = bytearray(ImageCms.ImageCmsProfile(wide).tobytes())
    named = "sRGB".encode("utf-16-be"), "wide".encode("utf-16-be")
    for profile, expected in (
        (exchanged(data), (50, 100, 200)),
        (exchanged(data).replace(*named), (50, 100, 200)),
        (with_chain(exchanged(data)), (50, 100, 200)),
        (b"abc", (200, 100, 50)),
        (bytes(data), (200, 100, 50)),
    ):
        Image.fromarray(colors).save(tmp_path / "a.png", icc_profile=profile)
        pixels = np.asarray(read_picture(str(tmp_path / "a.png")))
        assert np.abs(pixels[0, 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_is_brought_to_srgb_too(mode: str, tmp_path: Path) -> None:
    grey = Image.new("L", (8, 8), 55)
    picture = Image.fromarray(np.full((8, 8), 55 * 257, np.uint16)) if mode == "I;16" else grey.convert(mode)
    picture.save(tmp_path / "a.png", icc_profile=linear_grey())
    assert abs(int(np.asarray(read_picture(str(tmp_path / "a.png"))).mean()) - 128) <= 1  # 55 / 255 of white's light


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(BadPhoto, match=r"^a\.png cannot be read: it is a folder\. Choose a picture\.$"):
        read_picture(str(tmp_path / "a.png"))


def test_a_gif_may_fill_a_part_of_its_canvas() -> None:
    data = bytearray(saved(photo().quantize(16), "GIF", transparency=3))
    data[6:8] = struct.pack("<H", 200)  # the canvas is wider
    assert read_picture("a.gif", bytes(data)).size == (200, 64)


def test_comments_of_a_gif_are_passed_over() -> None:
    """Older versions of Pillow take minutes for those of a few megabytes."""
    data = saved(photo().quantize(16), "GIF", comment=b"a", save_all=True, append_images=[photo().quantize(8)])
    with_more = data[:-1] + b"\0!\xfe\1a\1b\0;"
    opened = opening.Source(io.BytesIO(with_more), with_more).opened()
    assert getattr(opened, "n_frames", 0) == 2
    assert "comment" not in opened.info
    opened.seek(1)
    assert np.array_equal(opened.convert("RGB"), photo().quantize(8).convert("RGB"))


@pytest.mark.parametrize("kind", ["webp", "png", "tif"])
def test_of_several_pictures_the_first_picture_is_read(kind: str, tmp_path: Path) -> None:
    pictures = [photo().convert("RGBA"), Image.new("RGBA", photo().size, "red")]
    options = {"lossless": True} if kind == "webp" else {}
    pictures[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=pictures[1:], **options)
    pictures[0].save(tmp_path / f"still.{kind}", **options)
    assert [has_several(str(tmp_path / f"{name}.{kind}")) for name in ("a", "still")] == [True, False]
    assert np.array_equal(read_picture(str(tmp_path / f"a.{kind}")), photo())
