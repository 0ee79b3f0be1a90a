"""One IP-Adapter file as a network: its variant, its tokens, and the layers of a UNet in which they act.

The tensors of a file say which variant it is; where these leave it open, its hash does.
Source: IP-Adapter (arXiv 2308.06721) and its released files (Apache-2.0).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ...core.attention.projections import AdapterLayers, EmbeddingProjection, FacePlusProjection, Resampler
from ...core.cast import EMBEDDING
from ...core.checks.errors import BadCast, listed
from ...core.models.formats import identify
from ...core.models.tensors import State, below, origin

_MOST_TOKENS = 4096
"""The most tokens of one person: for SDXL their keys and values already take gigabytes."""


class FullProjection(nn.Module):
    """The layers that make a token of each of CLIP's hidden states: (B, n, embedding) -> (B, n, width).

    state: gives the sizes. On the negative side it reads the hidden states of a picture that is zero after CLIP's
    normalisation.
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
        """The tokens of hidden states: (B, n, embedding) -> (B, n, width)."""
        return self.proj(states)


def _projection_class(state: State) -> type[nn.Module]:
    """The class of a file's projection, the network that makes the tokens. state: the tensors of the projection.

    Of the classes, each has a key that no other has; without any of them it is an EmbeddingProjection.
    """
    if "latents" in state:
        return Resampler
    if "proj.3.weight" in state:
        return FullProjection
    if "perceiver_resampler.proj_in.weight" in state:
        return FacePlusProjection
    return EmbeddingProjection


class IPAdapterNet(nn.Module):
    """The network of one file: its projection, and a key and value projection for each cross-attention layer.

    state: the file's tensors, under the keys "image_proj.*" and "ip_adapter.<n>.to_{k,v}_ip.weight". n counts all
    attention layers as diffusers does, self- and cross-attention in turns, so cross-attention has the odd numbers.
    width: of one token, the text width of the models this file is made for. clip_width: the width of CLIP's hidden
    states or of its image embedding, whichever the file reads.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        projection = below("image_proj.", state)
        projection_class = _projection_class(projection)
        # One of the published files has its projection in float32 and its layers in float16: each keeps its dtype.
        projection_dtype = next(iter(projection.values())).dtype
        self.image_proj = projection_class(projection, ops=ops, **{**factory, "dtype": projection_dtype})
        self.ip_adapter = AdapterLayers(below("ip_adapter.", state), ops=ops, **factory)
        self.variant = variant(state)
        self.width = self.ip_adapter.width
        # In FaceID Plus a resampler inside of the projection reads CLIP, in other files that read it the projection
        # itself. Files that read a face embedding alone have a clip_width, too, which nobody asks for.
        clip_reader: Any = getattr(self.image_proj, "perceiver_resampler", self.image_proj)
        self.clip_width: int = clip_reader.embedding

    def tokens(self, embeddings: Tensor | None, clip_features: Tensor | None, shortcut: float | None) -> Tensor:
        """The tokens of n photos of one person, (1, tokens, width).

        FaceID portrait unnorm makes one set of tokens of all photos. Other files make a set of each photo, and the sets
        stand one after the other.
        embeddings: (n, 512), of the faces. clip_features: image embeddings (n, clip_width), or hidden states
        (n, states, clip_width). Each of the two is None where the file does not read it; FaceID Plus alone reads both.
        shortcut: of FaceID Plus v2, how much of what it reads of the hidden states is added to the tokens of the
        embedding; None for v1, in which it takes their place. Other files ignore it.
        """
        if embeddings is None:
            tokens = self.image_proj(clip_features)
        elif clip_features is not None:  # FaceID Plus
            tokens = self.image_proj(embeddings, clip_features, shortcut)
        elif isinstance(self.image_proj, Resampler):  # FaceID portrait unnorm
            tokens = self.image_proj(embeddings[None])  # (1, n, 512) -> (1, tokens, width)
        else:
            tokens = self.image_proj(embeddings)  # (n, 512) -> (n, tokens, width)
        return tokens.flatten(0, 1)[None]  # (sets, tokens of a set, width) -> (1, all tokens, width)

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        embeddings = zeros(1, EMBEDDING) if self.variant.embedding else None
        clip_features: Tensor | None = None
        if self.variant.clip == "states":
            clip_features = zeros((1, 1, self.clip_width))
        elif self.variant.clip:
            clip_features = zeros((1, self.clip_width))
        self.ip_adapter.keys_and_values(self.tokens(embeddings, clip_features, shortcut=1.0))


def with_equal_counts(tokens_of_people: Sequence[Tensor]) -> Tensor:
    """Tokens of people, joined into one tensor: (1, n, width) of each person, n differing -> (people, tokens, width).

    The tokens of each person are repeated as a whole until everybody has the same number, which is the least common
    multiple of all n. The repetitions change nothing in the output: where every token stands k times in a softmax, each
    copy has a k-th of its weight. Raises BadCast where repeated tokens would be more than _MOST_TOKENS.
    """
    counts = [tokens.shape[1] for tokens in tokens_of_people]
    length = math.lcm(*counts)
    # Nobody is refused for many tokens of their own: a length that one person has anyway is always taken.
    if length > max(_MOST_TOKENS, *counts):
        raise BadCast(
            f"With every photo as tokens of its own, people of {listed(counts)} tokens need {length} each to count "
            f"equally; {_MOST_TOKENS} are the most.",
            "Give each person the same number of photos, or set Photos (photos) to mean.",
        )
    repeated: list[Tensor] = []
    for tokens, count in zip(tokens_of_people, counts, strict=True):
        repeated.append(tokens.repeat(1, length // count, 1))
    return torch.cat(repeated)


FACE = "face"
LOOSE = "head and shoulders"
"""The pictures of a photo that CLIP is shown: the aligned face, or the cut around it."""
MEAN = "mean"
SEQUENCE = "sequence"
_PLUS_V1_HASH = "252fb53e0d018489"
"""The first digits of the SHA-256 of ip-adapter-faceid-plus_sd15.bin, the only published file of version 1."""
_PLUS = "face-id-plus"
_READS_CLIP = "image_proj.perceiver_resampler.proj_in.weight"


@dataclass(frozen=True)
class Variant:
    """What a file reads, and how its authors used it.

    title: its name in messages. embedding: of the face, "normed" (of length 1), "raw" or "" where the file reads none.
    clip: what it reads of CLIP, hidden "states", image "embeds" or "" for nothing. photos: how several photos of one
    person are joined, as in core.persons.combine. cut: what CLIP is shown of a photo, FACE or LOOSE. shortcut:
    whether the hidden states are added once more behind the projection, as in Plus v2.
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


def versioned(file_variant: Variant, state: State, path: str) -> Variant:
    """The variant of a file, with the version of FaceID Plus.

    The tensors of its two versions for SD1.5 look alike. The one published file of version 1 is known by its hash,
    every other file is read as version 2. SDXL has version 2 alone.
    """
    # FaceID Plus is entered in _VARIANTS as version 2.
    if file_variant is not _VARIANTS[_PLUS]:
        return file_variant
    is_sdxl = len(state[_READS_CLIP]) == 2048  # the width of its resampler
    if not is_sdxl and origin(path).startswith(_PLUS_V1_HASH):
        return replace(file_variant, title="FaceID Plus v1", shortcut=False)
    return file_variant
