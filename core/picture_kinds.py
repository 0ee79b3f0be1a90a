"""The kind of a file that Pillow cannot read as a picture, or reads wrong, by its first bytes."""

import struct
from pathlib import Path

_HEAD = 4096
"""Bytes that are looked at: the first boxes of a JPEG 2000 file are shorter."""

AVIF = "an AVIF picture"
_BY_BEGINNING = (
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"#?RGBE", "a Radiance HDR picture"),
    (b"PF", "a PFM picture in colour"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"FUJIFILM", "a raw photo of a camera"),
    (b"\x1a\x45\xdf\xa3", "a video"),
    (b"II*\0", "a damaged TIFF, or a TIFF of another kind"),
    (b"MM\0*", "a damaged TIFF, or a TIFF of another kind"),
)
_BY_BRAND = (
    (("heic", "heix", "hevc", "heim", "heis", "mif1", "msf1", "heif"), "a HEIC photo, as iPhones save them"),
    (("avif", "avis"), AVIF),
    (("crx ",), "a raw photo of a camera"),
)
"""The brands of files that begin with the box `ftyp` of ISO 14496-12, and the kind of file that they stand for."""


def kind_of(path: str) -> str:
    """The kind of a file in words, such as "an AVIF picture"; "" where its first bytes do not tell. Raises OSError."""
    with Path(path).open("rb") as file:
        head = file.read(_HEAD)
    if head[4:8] == b"ftyp":
        brand = head[8:12].decode("latin-1")
        for brands, kind in _BY_BRAND:
            if brand in brands:
                return kind
        return "a video"
    for beginning, kind in _BY_BEGINNING:
        if head.startswith(beginning):
            return kind
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return ""


def bits_of_jpeg_2000(head: bytes) -> int:
    """The bits of the deepest component of a JPEG 2000 file, 0 where it does not say. head: its first bytes.

    They stand in the SIZ marker at the beginning of the codestream, ISO 15444-1, A.5.1.
    """
    start = head.find(b"\xff\x4f\xff\x51")
    if start < 0:
        return 0
    # After the two markers (SOC and SIZ, 4 bytes) come a length and a profile (2 bytes each) and eight sizes (4 each);
    # then the number of components (2) and three bytes for each, of which the first says how many bits it has.
    components_at = start + 40
    try:
        (count,) = struct.unpack_from(">H", head, components_at)
    except struct.error:
        return 0
    deepest = 0
    for number in range(count):
        place = components_at + 2 + 3 * number
        if place < len(head):
            # The upper bit says whether the numbers are signed.
            deepest = max(deepest, (head[place] & 0x7F) + 1)
    return deepest
