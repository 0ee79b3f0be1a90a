"""StoryMaker: face, hair, clothes and body of a person as 20 tokens, read together with those of a background.

Source: "StoryMaker: Towards Holistic Consistent Characters in Text-to-image Generation" (arXiv 2409.12576) and the
released ip_adapter/ip_adapter_faceid.py and pipeline_sdxl_storymaker.py (pipeline Apache-2.0).

As published all people and the background lie in one softmax, `together`; a loss over masks has taught each pixel to
look at its own person. By region that is made sure of, `apart`: one softmax over the background and one person, who
keeps their number in the row, as if the others were masked. Where a region is soft, or several overlap, what these say
is mixed by their shares; where nobody stands, the background speaks alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...core.attention import region_weights
from ...core.models.tensors import State, below
from ...core.people import EMBEDDING
from ...core.projections import AdapterLayers, FacePlusProjection, Resampler


@dataclass(frozen=True, eq=False)
class Seen:
    """What the networks are given of one person.

    embedding: (1, 512), of length 1. face, body: (1, n, states), what CLIP saw of the aligned face, the mean of all
    photos, and of the whole person. dressed: how much the body counts; at 0 its half is zeros, as it was for one
    picture in ten of the training.
    """

    embedding: Tensor
    face: Tensor
    body: Tensor
    dressed: float = 1.0

    @property
    def unconditional(self) -> "Seen":
        """For the negative: zeros in place of an embedding and of what CLIP sees."""
        return Seen(torch.zeros_like(self.embedding), torch.zeros_like(self.face), torch.zeros_like(self.body))


class Projection(FacePlusProjection):
    """A person to tokens. state: "proj.*", "norm.*" and "perceiver_resampler.*" of FaceID Plus for the face,
    "resample.*" for the body, "pos_embed" per number of a person, "bg_embed", "proj_out.*", "norm_out.*". states: width
    of the hidden states it reads, 1280 of CLIP ViT-H."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__(state, ops=ops, **factory)
        self.resample = Resampler(below("resample.", state), ops=ops, **factory)
        self.pos_embed = nn.Parameter(torch.empty(state["pos_embed"].shape, **factory))
        self.bg_embed = nn.Parameter(torch.empty(state["bg_embed"].shape, **factory))
        self.proj_out = ops.Linear(self.width, self.width, **factory)
        self.norm_out = ops.LayerNorm(self.width, **factory)
        self.states = self.resample.embedding

    def person(self, seen: Seen, number: int) -> Tensor:
        """(1, 20, width), of the person of this number in the picture, from 0."""
        face = self.forward(seen.embedding, seen.face)
        # A bare parameter is outside the host's cast-on-use layers, hence the explicit cast.
        place = self.pos_embed[number % len(self.pos_embed)].to(face)
        tokens = torch.cat([face, self.resample(seen.body) * seen.dressed], dim=1) + place
        return self.norm_out(self.proj_out(tokens)) + tokens


class StoryMakerNet(nn.Module):
    """One mask.bin without its LoRA.

    state: "image_proj_model.*" as in Projection, and "ip_adapter.<odd n>.to_{k,v}_ip.weight". width: of one token, the
    text width of the models this file is made for. most: people that the whole picture tells apart.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.image_proj_model = Projection(below("image_proj_model.", state), ops=ops, **factory)
        self.ip_adapter = AdapterLayers(below("ip_adapter.", state), ops=ops, **factory)
        self.width, self.most = self.ip_adapter.width, len(self.image_proj_model.pos_embed)

    def tokens(self, people: Sequence[Seen], alone: bool) -> Tensor:
        """(people, 20, width). alone: everybody has a picture to themselves, and is its first person.

        By region there may be more people than numbers, which then begin anew: no pixel reads two people.
        """
        numbers = [0] * len(people) if alone else range(len(people))
        each = zip(people, numbers, strict=True)
        return torch.cat([self.image_proj_model.person(seen, number) for seen, number in each])

    def background(self) -> Tensor:
        """(1, 20, width), the same for positive and negative."""
        return self.image_proj_model.bg_embed.detach().float()

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Raises RuntimeError, IndexError or ZeroDivisionError where sizes do not fit each other."""
        states = zeros(1, 1, self.image_proj_model.states)
        tokens = self.tokens([Seen(zeros(1, EMBEDDING), states, states)], alone=True)
        self.ip_adapter.keys_and_values(apart(self.background(), tokens))


def together(background: Tensor, people: Tensor) -> Tensor:
    """(1, 20, ...) and (people, 20, ...) in one softmax: (1, 20 + 20 * people, ...)."""
    return torch.cat([background, people]).flatten(0, 1)[None]


def apart(background: Tensor, people: Tensor) -> Tensor:
    """(1, 20, ...) and (people, 20, ...), a softmax for nobody and for each: (1 + people, 40, ...).

    Nobody's is the background twice: tokens that all are there twice say what they say once.
    """
    alone = torch.cat([background, background], dim=1)
    return torch.cat([alone, torch.cat([background.expand_as(people), people], dim=1)])


def with_background(regions: Tensor) -> Tensor:
    """Regions (people, H, W), 0..1, as shares (1 + people, H, W) that add up to 1: nobody has what the others leave."""
    shares = region_weights(regions)
    return torch.cat([1 - shares.sum(dim=0, keepdim=True), shares])
