"""One IP-Adapter file as a network: what it was made for, what it reads as tokens, their keys and values, and where.

What a file was made for is told by its tensors; where these leave it open by its hash, or by the user.
Source: IP-Adapter (arXiv 2308.06721) and its released files (Apache-2.0). Styles: InstantStyle (arXiv 2404.02733), for
SDXL infer_style.py: style in up_blocks.0.attentions.1 of diffusers, layout in down_blocks.2.attentions.1. For SD1.5
infer_style_sd15.py ("experimental, not obvious as SDXL"): style in up_blocks.1, layout in down_blocks.2 and mid_block.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ...core.attention import Block
from ...core.errors import BadCast, BadSetup, listed
from ...core.models.formats import identify
from ...core.models.tensors import State, below, origin
from ...core.people import EMBEDDING
from ...core.pictures import as_rgb
from ...core.projections import AdapterLayers, EmbeddingProjection, FacePlusProjection, Resampler

_MOST = 4096
"""Tokens per person: for SDXL their keys and values already take gigabytes."""


class FullProjection(nn.Module):
    """CLIP's hidden states (B, n, embedding) -> (B, n, width): as many tokens as states, with the sizes of `state`.

    Unconditional: the states of a picture that is zero after normalisation. Source: ip_adapter.py: MLPProjModel.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        inside, self.embedding = state["proj.0.weight"].shape
        self.width = len(state["proj.2.weight"])
        self.proj = nn.Sequential(
            ops.Linear(self.embedding, inside, **factory),
            nn.GELU(),
            ops.Linear(inside, self.width, **factory),
            ops.LayerNorm(self.width, **factory),
        )

    def forward(self, states: Tensor) -> Tensor:
        return self.proj(states)


def _projection(state: State) -> type[nn.Module]:
    """Of the part of a file that makes tokens, told by its keys."""
    if "latents" in state:
        return Resampler
    if "proj.3.weight" in state:
        return FullProjection
    return FacePlusProjection if "perceiver_resampler.proj_in.weight" in state else EmbeddingProjection


class IPAdapterNet(nn.Module):
    """state: "image_proj.*" and "ip_adapter.<odd n>.to_{k,v}_ip.weight", n counting as diffusers counts attentions.

    width: of one token, the text width of the models this file is made for. seen: of what it reads of CLIP.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        projection = below("image_proj.", state)
        # One of the files has its projection in twice as many bits as its layers.
        own = {**factory, "dtype": next(iter(projection.values())).dtype}
        self.image_proj = _projection(projection)(projection, ops=ops, **own)
        self.ip_adapter = AdapterLayers(below("ip_adapter.", state), ops=ops, **factory)
        self.variant, self.width = variant(state), self.ip_adapter.width
        reader: Any = getattr(self.image_proj, "perceiver_resampler", self.image_proj)
        self.seen: int = reader.embedding

    def tokens(self, embeddings: Tensor | None, seen: Tensor | None, shortcut: float | None) -> Tensor:
        """Of n photos of one person, (1, tokens, width).

        embeddings: (n, 512), seen: (n, ...) by CLIP; None for what the file does not read. shortcut: as in
        FacePlusProjection. Unnorm makes one set of tokens of all photos, others a set of each, one after the other.
        """
        if embeddings is None:
            each = self.image_proj(seen)
        elif seen is not None:
            each = self.image_proj(embeddings, seen, shortcut)
        else:
            each = self.image_proj(embeddings[None] if isinstance(self.image_proj, Resampler) else embeddings)
        return each.flatten(0, 1)[None]

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Raises RuntimeError where sizes do not fit each other."""
        face = zeros(1, EMBEDDING) if self.variant.embedding else None
        shape = (1, 1, self.seen) if self.variant.clip == "states" else (1, self.seen)
        seen = zeros(shape) if self.variant.clip else None
        self.ip_adapter.keys_and_values(self.tokens(face, seen, 1.0))


def alike(each: Sequence[Tensor]) -> Tensor:
    """Tokens (1, n, width) of people with different n as (people, tokens, width).

    Attention weighs tokens against each other: all of one person repeated alike give exactly the same. Raises
    BadCast.
    """
    counts = [tokens.shape[1] for tokens in each]
    length = math.lcm(*counts)
    if length > max(_MOST, *counts):
        raise BadCast(
            f"With every photo as tokens of its own, people of {listed(counts)} tokens need {length} each to count "
            f"equally; {_MOST} are the most.",
            "Give each person the same number of photos, or set photos to mean.",
        )
    return torch.cat([tokens.repeat(1, length // count, 1) for tokens, count in zip(each, counts, strict=True)])


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
    if version == V1 or origin(path).startswith(_PLUS_V1):
        return replace(found, title="FaceID Plus v1", shortcut=False)
    return found


PAD, CROP = "pad", "crop"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""The colour that CLIP is given as zero."""
STYLE, LAYOUT, ALL = "style", "layout", "all"
BOTH = f"{STYLE} and {LAYOUT}"
CHOICES = (STYLE, LAYOUT, BOTH, ALL)

Address = tuple[str, int]
"""("input" | "middle" | "output", number): a block of the UNet, as the host counts."""


def _addresses(**numbers: Sequence[int]) -> frozenset[Address]:
    return frozenset((name, number) for name, each in numbers.items() for number in each)


_SDXL = _addresses(input=(4, 5, 7, 8), output=range(6), middle=(0,))
_SD15 = _addresses(input=(1, 2, 4, 5, 7, 8), output=range(3, 12), middle=(0,))
_HEARD: Mapping[frozenset[Address], Mapping[str, frozenset[Address]]] = {
    _SDXL: {STYLE: _addresses(output=(1,)), LAYOUT: _addresses(input=(8,))},
    _SD15: {STYLE: _addresses(output=(3, 4, 5)), LAYOUT: _addresses(input=(7, 8), middle=(0,))},
}
"""By which blocks of a UNet have cross-attention at all."""


def chosen_layers(blocks: Sequence[Block], choice: str) -> list[bool]:
    """For each cross-attention layer of a UNet whether `choice`, one of CHOICES, acts in it. Raises BadSetup.

    SDXL has 70 layers in diffusers' order: style 34 to 43, layout 14 to 23. SD1.5 has 16: 6 to 8; 4, 5 and 15.
    """
    if choice == ALL:
        return [True] * len(blocks)
    addresses = [(name, number) for name, number, _ in blocks]
    known = _HEARD.get(frozenset(addresses))
    if known is None:
        found = listed([f"{name} {number}" for name, number in dict.fromkeys(addresses)])
        raise BadSetup(
            f"layers is {choice!r}, but it is unknown which layers of this MODEL do that: its cross-attention lies in "
            f"the blocks {found}, as in neither SDXL nor SD1.5.",
            f"Set layers to {ALL!r}, or use a MODEL with the layout of SDXL itself or of SD1.5.",
        )
    meant = {address for kind in (STYLE, LAYOUT) if kind in choice for address in known[kind]}
    return [address in meant for address in addresses]


def fitted(images: Tensor, fit: str) -> Tensor:
    """Pictures (B, H, W, C) 0..1 -> (B, H, W, 3), square with `fit` PAD: bars of the mean colour, of which CLIP sees
    nothing. With CROP as they are: CLIP vision takes the square in the middle."""
    pictures = as_rgb(images)
    high, wide = pictures.shape[1:3]
    if fit == CROP or high == wide:
        return pictures
    side = max(high, wide)
    squares = torch.tensor(CLIP_MEAN).expand(len(pictures), side, side, 3).clone()
    top, left = (side - high) // 2, (side - wide) // 2
    squares[:, top : top + high, left : left + wide] = pictures
    return squares
