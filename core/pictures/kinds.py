"""What a file is that Pillow cannot read as a picture, or reads wrong, by its first bytes and its tags."""

from typing import Any, cast

from PIL import Image
from PIL.ExifTags import Base as Tag

from ..models.files import IN_PLACE_OF_A_FILE, is_text

HEAD = 1 << 20
"""First bytes of a file that are looked at: profiles and texts may stand before the header of a JPEG 2000."""

_RAW = "a raw photo of a camera"
_BY_BEGINNING = (
    (b"\xff\xd8", "a damaged JPEG"),
    (b"\x89PNG", "a damaged PNG"),
    (b"GIF8", "a damaged GIF"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"#?RGBE", "a Radiance HDR picture"),
    (b"PF", "a PFM picture in colour"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"FUJIFILM", _RAW),
    (b"IIU\0", _RAW),
    (b"IIRO", _RAW),
    (b"IIRS", _RAW),
    (b"MMOR", _RAW),
    (b"FOVb", _RAW),
    (b"\x1a\x45\xdf\xa3", "a video"),
    (b"II*\0", "a damaged TIFF, or a TIFF of another kind"),
    (b"MM\0*", "a damaged TIFF, or a TIFF of another kind"),
)
_BY_BRAND = (
    (("heic", "heix", "hevc", "heim", "heis", "mif1", "msf1", "heif"), "a HEIC photo, as iPhones save them"),
    (("avif", "avis"), "a damaged AVIF picture, or this Pillow does not read AVIF"),
    (("crx ",), _RAW),
)
"""The brands of files that begin with the box `ftyp` of ISO 14496-12, and the kind of file that they stand for."""

_TEXT = "a text"
_NO_PICTURES = (
    *IN_PLACE_OF_A_FILE,
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"pk\3\4", "a zip, a document or a model"),
    (b"\0\0\1\0", "an icon"),
    (b"icns", "an icon"),
)
"""The beginning of a file in small letters, without spaces before it, and what it is that is no photo."""
NO_PICTURES = (_TEXT, *(kind for _, kind in _NO_PICTURES))


def kind_of(head: bytes) -> str:
    """The kind of a file in words, such as "a JPEG XL picture"; "" where it is not known. head: its first bytes."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()  # without the mark of UTF-8 and blanks
    kind = _kind_of_picture(head, start)
    # Pillow reads the kinds with "damaged" in their words, unless they are damaged.
    if kind:
        return kind if "damaged" in kind else f"{kind}, which Pillow does not read"
    for beginning, no_picture in _NO_PICTURES:
        if start.startswith(beginning):
            return no_picture
    return _TEXT if is_text(head[:512]) else ""


def _kind_of_picture(head: bytes, start: bytes) -> str:
    """The kind of a picture or a video; "" for anything else. start: `head` in small letters, without blanks."""
    if head[4:8] == b"ftyp":
        brand = head[8:12].decode("latin-1")
        return next((kind for brands, kind in _BY_BRAND if brand in brands), "a video")
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return "an SVG drawing"
    if head.startswith(b"RIFF"):
        return "a damaged WebP" if head[8:12] == b"WEBP" else "a video or a sound"
    return next((kind for beginning, kind in _BY_BEGINNING if head.startswith(beginning)), "")


def tag(picture: Image.Image, number: Tag) -> Any:
    """The value of a tag of a TIFF; None where it has none, and for other files.

    Of a tag with a value for each channel, such as its bits, the first value is returned: all channels have the same.
    """
    value: Any = getattr(picture, "tag_v2", {}).get(number)
    return value[0] if isinstance(cast("object", value), tuple) and value else value


def is_raw_photo(picture: Image.Image, head: bytes) -> bool:
    """Whether a picture is the raw photo of a camera. False for anything but a TIFF. head: the first bytes of the file.

    One of three signs is enough: the tag of Adobe's DNG, Canon's mark, or that the first picture of the file is a
    reduced one, as in files of Nikon and Sony.
    """
    if picture.format != "TIFF":
        return False
    is_reduced = bool((tag(picture, Tag.NewSubfileType) or 0) & 1)  # its lowest bit says so
    return tag(picture, Tag.DNGVersion) is not None or head[8:10] == b"CR" or is_reduced


def bits_of_jpeg_2000(head: bytes) -> int:
    """The bits of a colour in a JPEG 2000 file, 0 where it does not say. head: its first bytes.

    They stand in the SIZ marker at the beginning of the codestream, ISO 15444-1, A.5.1: 40 bytes behind the markers the
    number of components (2 bytes), then three bytes for each, of which the first says how many bits it has. Its upper
    bit says whether the numbers are signed.
    """
    start = head.find(b"\xff\x4f\xff\x51")
    if start < 0:
        return 0
    count = int.from_bytes(head[start + 40 : start + 42], "big")
    first_bytes = head[start + 42 : start + 42 + 3 * count : 3]  # of the components
    # Without the upper bit it is the number of bits less 1.
    return max(((first_byte & 0x7F) + 1 for first_byte in first_bytes), default=0)
