"""PhotoMaker's network: a person's photos become tokens, which are fused with the class word (man, woman) in the text.

Source: "PhotoMaker: Customizing Realistic Human Photos via Stacked ID Embedding" (arXiv 2312.04461) and its released
photomaker/model.py and model_v2.py (Apache-2.0). Module and parameter names are those of the authors' files but for
v2's projection, which has those of FaceID Plus here; every size is read from the tensors. Where the class words stand
in a text is in class_words.py.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...core.attention.projections import FacePlusProjection
from ...core.cast import EMBEDDING
from ...core.models.tensors import State, below

HEAD_DIM = 128
"""The width of a head in v2's perceiver, fixed in the published file."""
CLIP_SIDE = 224
"""Side in pixels of the photos that the CLIP vision transformer reads."""


def _mlp(state: State, ops: Any, **factory: Any) -> nn.Sequential:
    """Norm, then two linear layers with GELU between them, under the names that they have in the authors' file."""
    hidden, width = state["fc1.weight"].shape
    out = state["fc2.weight"].shape[0]
    layers = OrderedDict[str, nn.Module]()
    layers["layernorm"] = ops.LayerNorm(width, **factory)
    layers["fc1"] = ops.Linear(width, hidden, **factory)
    layers["act_fn"] = nn.GELU()
    layers["fc2"] = ops.Linear(hidden, out, **factory)
    return nn.Sequential(layers)


class Fuse(nn.Module):
    """The layers that fuse the copies of a class word with the tokens of a person's photos, one copy with one token."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.mlp1 = _mlp(below("mlp1.", state), ops, **factory)
        self.mlp2 = _mlp(below("mlp2.", state), ops, **factory)
        self.layer_norm = ops.LayerNorm(len(state["layer_norm.weight"]), **factory)

    def forward(self, words: Tensor, tokens: Tensor) -> Tensor:
        """The copies of a class word with the person in them, (n, width).

        words: (n, width), the class word n times, as the text encoders give it. tokens: (n, width), from
        `PhotoMakerNet.tokens`.
        """
        stacked = torch.cat([words, tokens], dim=-1)  # (n, 2 * width)
        fused = self.mlp1(stacked) + words
        return self.layer_norm(self.mlp2(fused) + fused)


class PhotoMakerNet(nn.Module):
    """The ID encoder of v1, or of v2 where the file has the perceiver of v2.

    state: the file's tensors, which give all sizes. vision: a function that makes the CLIP vision transformer, called
    as vision(state, ops=..., **factory); the transformer returns (last states, ..., pooled). ops: the module that has
    Linear and LayerNorm. width: of one token, that of both text encoders together, 2048 for SDXL.
    """

    def __init__(self, state: State, vision: Any, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.vision_model = vision(below("vision_model.", state), ops=ops, **factory)
        width_l, vision_width = state["visual_projection.weight"].shape
        width_g, vision_width_g = state["visual_projection_2.weight"].shape
        self.visual_projection = ops.Linear(vision_width, width_l, bias=False, **factory)
        self.visual_projection_2 = ops.Linear(vision_width_g, width_g, bias=False, **factory)
        self.fuse_module = Fuse(below("fuse_module.", state), ops=ops, **factory)
        self.qformer_perceiver: FacePlusProjection | None = None
        v2_state = below("qformer_perceiver.", state)
        if v2_state:
            self.qformer_perceiver = FacePlusProjection(v2_state, ops=ops, head_dim=HEAD_DIM, **factory)
        self.width = width_l + width_g

    def tokens(self, pixels: Tensor, faces: Tensor | None) -> Tensor:
        """The tokens of each photo: (n, 1, width) of v1, (n, 2, width) of v2.

        pixels: (n, 3, CLIP_SIDE, CLIP_SIDE), as CLIP normalises them. faces: (n, EMBEDDING), the embeddings of the
        faces in the same photos, which v2 alone reads.
        """
        last_states, *_, pooled = self.vision_model(pixels)  # (n, states, vision_width), (n, vision_width)
        if self.qformer_perceiver is not None:
            return self.qformer_perceiver(faces, last_states)
        # One projection for each text encoder: the tokens of SDXL's two encoders stand side by side, too.
        projected = [self.visual_projection(pooled), self.visual_projection_2(pooled)]
        return torch.cat(projected, dim=-1)[:, None]  # (n, width) -> (n, 1, width)

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Run the layers in shapes alone. zeros: as bridge.host.load gives them."""
        faces: Tensor | None = None
        if self.qformer_perceiver is not None:
            faces = zeros(1, EMBEDDING)
        pixels = zeros(1, 3, CLIP_SIDE, CLIP_SIDE)
        tokens = self.tokens(pixels, faces).flatten(0, 1)  # (n, width)
        words = zeros(tokens.shape)
        self.fuse_module(words, tokens)
