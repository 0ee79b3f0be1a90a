"""One IP-Adapter file as a network: its variant, its tokens, and the layers of a UNet in which they act.

The tensors of a file say which variant it is; where these leave it open, its hash does, or the user.
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

_MOST_TOKENS = 4096
"""The most tokens of one person: for SDXL their keys and values already take gigabytes."""


class FullProjection(nn.Module):
    """A layer that makes tokens of CLIP's hidden states, (B, n, embedding) -> (B, n, width): one of each state.

    state: gives the sizes. For the negative it reads the states of a picture that is zero after normalisation.
    Source: ip_adapter.py: MLPProjModel.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        hidden, self.embedding = state["proj.0.weight"].shape
        self.width = len(state["proj.2.weight"])
        self.proj = nn.Sequential(
            ops.Linear(self.embedding, hidden, **factory),
            nn.GELU(),
            ops.Linear(hidden, self.width, **factory),
            ops.LayerNorm(self.width, **factory),
        )

    def forward(self, states: Tensor) -> Tensor:
        return self.proj(states)


def _projection_class(state: State) -> type[nn.Module]:
    """The class of a file's projection, which makes its tokens. state: of the projection; its keys tell the class."""
    if "latents" in state:
        return Resampler
    if "proj.3.weight" in state:
        return FullProjection
    if "perceiver_resampler.proj_in.weight" in state:
        return FacePlusProjection
    return EmbeddingProjection


class IPAdapterNet(nn.Module):
    """The network of one file: its projection, and a key and value projection for each cross-attention layer.

    state: "image_proj.*" and "ip_adapter.<odd n>.to_{k,v}_ip.weight", n counting as diffusers counts attentions.
    width: of one token, the text width of the models this file is made for. clip_width: of CLIP's hidden states, or of
    its image embedding, whichever the file reads.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        projection = below("image_proj.", state)
        projection_class = _projection_class(projection)
        # One of the published files has its projection in twice as many bits as its layers.
        projection_dtype = next(iter(projection.values())).dtype
        self.image_proj = projection_class(projection, ops=ops, **{**factory, "dtype": projection_dtype})
        self.ip_adapter = AdapterLayers(below("ip_adapter.", state), ops=ops, **factory)
        self.variant = variant(state)
        self.width = self.ip_adapter.width
        # In FaceID Plus the resampler reads CLIP, and the layer around it the embedding.
        clip_reader: Any = getattr(self.image_proj, "perceiver_resampler", self.image_proj)
        self.clip_width: int = clip_reader.embedding

    def tokens(self, embeddings: Tensor | None, clip_features: Tensor | None, shortcut: float | None) -> Tensor:
        """The tokens of n photos of one person, (1, tokens, width).

        embeddings: (n, 512), of the faces. clip_features: (n, clip_width), or (n, states, clip_width). Each is None
        where the file does not read it. shortcut: how much of what FaceID Plus finds in the hidden states is
        added to the tokens, as in its version 2; None where it replaces them. FaceID portrait unnorm makes one set of
        tokens of all photos. Other files make a set of each photo, and the sets stand one after the other.
        """
        if embeddings is None:
            tokens = self.image_proj(clip_features)
        elif clip_features is not None:
            tokens = self.image_proj(embeddings, clip_features, shortcut)
        elif isinstance(self.image_proj, Resampler):
            tokens = self.image_proj(embeddings[None])  # (1, n, 512) -> (1, tokens, width)
        else:
            tokens = self.image_proj(embeddings)  # (n, 512) -> (n, tokens, width)
        return tokens.flatten(0, 1)[None]

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Run every layer once on zeros. Raises RuntimeError where sizes do not fit each other."""
        embeddings = zeros(1, EMBEDDING) if self.variant.embedding else None
        clip_features: Tensor | None = None
        if self.variant.clip == "states":
            clip_features = zeros((1, 1, self.clip_width))
        elif self.variant.clip:
            clip_features = zeros((1, self.clip_width))
        self.ip_adapter.keys_and_values(self.tokens(embeddings, clip_features, 1.0))


def with_equal_counts(tokens_of_people: Sequence[Tensor]) -> Tensor:
    """Tokens (1, n, width) of each person, with a different n, as (people, tokens, width).

    A person with fewer tokens has all of them repeated. Attention weighs tokens against each other, so a person whose
    tokens all stand equally often gives exactly the same as before. Raises BadCast where that makes too many.
    """
    counts = [tokens.shape[1] for tokens in tokens_of_people]
    length = math.lcm(*counts)
    if length > max(_MOST_TOKENS, *counts):
        raise BadCast(
            f"With every photo as tokens of its own, people of {listed(counts)} tokens need {length} each to count "
            f"equally; {_MOST_TOKENS} are the most.",
            "Give each person the same number of photos, or set photos to mean.",
        )
    repeated: list[Tensor] = []
    for tokens, count in zip(tokens_of_people, counts, strict=True):
        repeated.append(tokens.repeat(1, length // count, 1))
    return torch.cat(repeated)


FACE = "face"
LOOSE = "head and shoulders"
SWAPPED = "face in BGR"
CUTS = (FACE, LOOSE, SWAPPED)
"""The pictures of a photo that CLIP may be shown: the aligned face, the cut around it, or the face with red and blue
swapped, as the authors' visualization_attnmap_faceid.ipynb gives a crop of cv2.imread to FaceID Plus."""
MEAN = "mean"
SEQUENCE = "sequence"
BY_THE_FILE = "by the file"
V1 = "v1"
V2 = "v2"
VERSIONS = (BY_THE_FILE, V1, V2)
"""The versions of FaceID Plus, whose two for SD1.5 have the same keys and shapes."""
_PLUS_V1_HASH = "252fb53e0d018489"
"""How the SHA-256 of ip-adapter-faceid-plus_sd15.bin begins."""
_PLUS = "face-id-plus"
_READS_CLIP = "image_proj.perceiver_resampler.proj_in.weight"


@dataclass(frozen=True)
class Variant:
    """What a file reads, and how its authors used it.

    title: its name in messages. embedding: of the face, "normed" (of length 1), "raw" or "" where the file reads none.
    clip: what it reads of CLIP, hidden "states", image "embeds" or "" for nothing. photos: how several photos of one
    person are joined, as in core.identities.combine. cut: what CLIP is shown of a photo, one of CUTS. shortcut: whether
    the hidden states are added once more behind the projection, as in Plus v2.
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
    """The variant of a file, by its tensors. Raises KeyError for a file that is none of the method's formats."""
    file_format = identify(state)
    name = ""
    if file_format is not None:
        name = file_format.id.removesuffix("-sd15").removesuffix("-sdxl")
    return _VARIANTS[name]


def versioned(file_variant: Variant, state: State, path: str, version: str) -> Variant:
    """The variant of a FaceID Plus file in one of VERSIONS; any other variant is returned as it is.

    SDXL has version 2 alone. For SD1.5 the file itself says only by its hash that it is version 1.
    """
    is_sdxl = file_variant is _VARIANTS[_PLUS] and len(state[_READS_CLIP]) == 2048
    if file_variant is not _VARIANTS[_PLUS] or version == V2 or is_sdxl:
        return file_variant
    if version == V1 or origin(path).startswith(_PLUS_V1_HASH):
        return replace(file_variant, title="FaceID Plus v1", shortcut=False)
    return file_variant


PAD = "pad"
CROP = "crop"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""The colour that CLIP is given as zero."""
STYLE = "style"
LAYOUT = "layout"
BOTH = f"{STYLE} and {LAYOUT}"
ALL = "all"
CHOICES = (STYLE, LAYOUT, BOTH, ALL)

BlockNumber = tuple[str, int]
"""("input" | "middle" | "output", number): a block of the UNet, as the host counts."""


def _block_numbers(**numbers_by_part: Sequence[int]) -> frozenset[BlockNumber]:
    """Blocks of a UNet: `input=(4, 5)` are the blocks ("input", 4) and ("input", 5)."""
    blocks: set[BlockNumber] = set()
    for part, numbers in numbers_by_part.items():
        for number in numbers:
            blocks.add((part, number))
    return frozenset(blocks)


_SDXL = _block_numbers(input=(4, 5, 7, 8), output=range(6), middle=(0,))
_SD15 = _block_numbers(input=(1, 2, 4, 5, 7, 8), output=range(3, 12), middle=(0,))
_BLOCKS_BY_CHOICE: Mapping[frozenset[BlockNumber], Mapping[str, frozenset[BlockNumber]]] = {
    _SDXL: {STYLE: _block_numbers(output=(1,)), LAYOUT: _block_numbers(input=(8,))},
    _SD15: {STYLE: _block_numbers(output=(3, 4, 5)), LAYOUT: _block_numbers(input=(7, 8), middle=(0,))},
}
"""All blocks of a UNet with cross-attention -> the blocks of them that make the style, and those that make the layout.
Which UNet it is, is told by these blocks."""


def chosen_layers(layers: Sequence[Block], choice: str) -> list[bool]:
    """For each cross-attention layer of a UNet whether `choice`, one of CHOICES, acts in it. Raises BadSetup.

    layers: the address of each. SDXL has 70 layers in diffusers' order: style 34 to 43, layout 14 to 23. SD1.5 has 16:
    6 to 8; 4, 5 and 15.
    """
    if choice == ALL:
        return [True] * len(layers)
    blocks = [(part, number) for part, number, _ in layers]
    blocks_by_choice = _BLOCKS_BY_CHOICE.get(frozenset(blocks))
    if blocks_by_choice is None:
        unet_blocks = listed([f"{part} {number}" for part, number in dict.fromkeys(blocks)])
        raise BadSetup(
            f"layers is {choice!r}, but it is unknown which layers of this MODEL do that: its cross-attention lies in "
            f"the blocks {unet_blocks}, as in neither SDXL nor SD1.5.",
            f"Set layers to {ALL!r}, or use a MODEL with the layout of SDXL itself or of SD1.5.",
        )
    chosen_blocks: set[BlockNumber] = set()
    for kind in (STYLE, LAYOUT):
        if kind in choice:  # BOTH names both
            chosen_blocks |= blocks_by_choice[kind]
    return [block in chosen_blocks for block in blocks]


def fitted(images: Tensor, fit: str) -> Tensor:
    """Pictures (B, H, W, C), 0..1, as CLIP vision is given them: (B, H, W, 3).

    With `fit` PAD they are square: the bars beside them have the mean colour, of which CLIP sees nothing. With CROP
    they stay as they are: CLIP vision takes the square in the middle.
    """
    pictures = as_rgb(images)
    height, width = pictures.shape[1:3]
    if fit == CROP or height == width:
        return pictures
    side = max(height, width)
    squares = torch.tensor(CLIP_MEAN).expand(len(pictures), side, side, 3).clone()
    top = (side - height) // 2
    left = (side - width) // 2
    squares[:, top : top + height, left : left + width] = pictures
    return squares
