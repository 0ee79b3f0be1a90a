"""What an IP-Adapter file was made for, told by its tensors; where these leave it open by its hash, or by the user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...core.models.formats import identify
from ...core.models.tensors import State, origin

FACE, LOOSE, SWAPPED = CUTS = ("face", "head and shoulders", "face in BGR")
"""What of a photo CLIP is given: the aligned face, the cut around it, or the face with red and blue swapped, as the
authors' visualization_attnmap_faceid.ipynb gives a crop of cv2.imread to FaceID Plus."""
MEAN, SEQUENCE = "mean", "sequence"
BY_THE_FILE, V1, V2 = VERSIONS = ("by the file", "v1", "v2")
"""Of FaceID Plus, whose two versions for SD1.5 have the same keys and shapes."""
_PLUS_V1 = "252fb53e0d018489"
"""How the SHA-256 of ip-adapter-faceid-plus_sd15.bin begins."""
_PLUS = "face-id-plus"
_READS_CLIP = "image_proj.perceiver_resampler.proj_in.weight"


@dataclass(frozen=True)
class Variant:
    """What a file reads and how its authors used it.

    title: in words. embedding: "normed", "raw" or "" where it reads no embedding of a face. clip: "states", "embeds"
    or "". photos: how several photos of one person are joined, as in identities.combine. cut: of CUTS.
    shortcut: whether what CLIP sees is added (Plus v2) to what the embedding says.
    """

    title: str
    embedding: str = ""
    clip: str = ""
    photos: str = SEQUENCE
    cut: str = LOOSE
    shortcut: bool = False


_VARIANTS = {
    "face-id": Variant("FaceID", "normed", photos=MEAN),
    _PLUS: Variant("FaceID Plus v2", "normed", "states", MEAN, FACE, shortcut=True),
    "face-id-portrait": Variant("FaceID portrait", "normed"),
    "face-id-unnorm": Variant("FaceID portrait unnorm", "raw"),
    "ip-adapter": Variant("IP-Adapter", clip="embeds"),
    "ip-adapter-bigg": Variant("IP-Adapter", clip="embeds"),
    "ip-adapter-plus": Variant("IP-Adapter plus", clip="states"),
    "ip-adapter-full": Variant("IP-Adapter full-face", clip="states"),
}


def variant(state: State) -> Variant:
    """Raises KeyError for a file that is none of the method's formats."""
    known = identify(state)
    return _VARIANTS[known.id.removesuffix("-sd15").removesuffix("-sdxl") if known else ""]


def versioned(found: Variant, state: State, path: str, version: str) -> Variant:
    """The same of FaceID Plus in one of VERSIONS; other variants are returned as they are.

    SDXL has version 2 alone, so there and by the hash of the published file nothing is left open.
    """
    if found is not _VARIANTS[_PLUS] or version == V2 or len(state[_READS_CLIP]) == 2048:
        return found
    if version == V1 or origin(Path(path)).startswith(_PLUS_V1):
        return replace(found, title="FaceID Plus v1", shortcut=False)
    return found
