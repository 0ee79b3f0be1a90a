"""StoryMaker: face, hair, clothes and body of a person as 20 tokens, read together with those of a background.

Source: "StoryMaker: Towards Holistic Consistent Characters in Text-to-image Generation" (arXiv 2409.12576) and the
released ip_adapter/ip_adapter_faceid.py and pipeline_sdxl_storymaker.py (pipeline Apache-2.0).

As published, every pixel has one softmax over the tokens of all people and of the background (`together`). A loss over
masks has taught the network to let each pixel read its own person. By region there is a softmax for each person, over
the tokens of this person and of the background (`apart`). It is the published softmax with the other people's tokens
masked. Where a region is soft, or several overlap, the results of these softmaxes are mixed by the shares of the
regions. Outside of all regions the background alone is read. In both forms a person has the same number in the picture,
which is part of the tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...core.attention.cross_attention import region_weights
from ...core.attention.projections import AdapterLayers, FacePlusProjection, Resampler
from ...core.cast import EMBEDDING
from ...core.models.tensors import State, below


@dataclass(frozen=True, eq=False)
class PersonFeatures:
    """What the network reads of one person.

    embedding: (1, 512), of the face, of length 1.
    face: (1, n, width of a state), CLIP's n hidden states of the aligned face: their mean over all photos.
    body: (1, n, width of a state), CLIP's n hidden states of the picture of the whole person.
    body_weight: what the tokens of the body are multiplied with. At 0 they are zeros, as they were for one picture in
    ten of the training.
    """

    embedding: Tensor
    face: Tensor
    body: Tensor
    body_weight: float = 1.0

    @property
    def unconditional(self) -> "PersonFeatures":
        """The features that the negative reads instead: zeros for the embedding and for the hidden states."""
        return PersonFeatures(
            torch.zeros_like(self.embedding), torch.zeros_like(self.face), torch.zeros_like(self.body)
        )


class Projection(FacePlusProjection):
    """The layers that make the tokens of a person.

    state: the tensors under "proj.*", "norm.*" and "perceiver_resampler.*", as in FaceID Plus, make tokens of the face;
    "resample.*" of the body. "pos_embed" has a vector for each number that a person may have in the picture, "bg_embed"
    the tokens of the background. "proj_out.*" and "norm_out.*" come last.
    states: the width of the hidden states that it reads, 1280 of CLIP ViT-H.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__(state, ops=ops, **factory)
        self.resample = Resampler(below("resample.", state), ops=ops, **factory)
        position_shape = state["pos_embed"].shape
        background_shape = state["bg_embed"].shape
        self.pos_embed = nn.Parameter(torch.empty(position_shape, **factory))
        self.bg_embed = nn.Parameter(torch.empty(background_shape, **factory))
        self.proj_out = ops.Linear(self.width, self.width, **factory)
        self.norm_out = ops.LayerNorm(self.width, **factory)
        self.states = self.resample.embedding

    def person(self, features: PersonFeatures, number: int) -> Tensor:
        """The tokens of a person, (1, 20, width): first those of the face, then those of the body.

        number: of the person in the picture, from 0. Numbers that the file does not have begin anew at its first.
        """
        face = self.forward(features.embedding, features.face)  # FaceID Plus
        body = self.resample(features.body) * features.body_weight
        # The host casts the weights of its own layers to the inputs, but no bare parameter: hence the explicit cast.
        position_number = number % len(self.pos_embed)
        position = self.pos_embed[position_number].to(face)
        tokens = torch.cat([face, body], dim=1) + position
        return self.norm_out(self.proj_out(tokens)) + tokens


class StoryMakerNet(nn.Module):
    """The network of one mask.bin, without its LoRA.

    state: the file's tensors. Those under "image_proj_model.*" are for Projection, those under
    "ip_adapter.<n>.to_{k,v}_ip.weight" for core.attention.projections.AdapterLayers.
    width: of one token, the text width of the models this file is made for.
    most_people: for how many people the file has numbers. So many can be told apart in the whole picture.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.image_proj_model = Projection(below("image_proj_model.", state), ops=ops, **factory)
        self.ip_adapter = AdapterLayers(below("ip_adapter.", state), ops=ops, **factory)
        self.width = self.ip_adapter.width
        self.most_people = len(self.image_proj_model.pos_embed)

    def tokens(self, people: Sequence[PersonFeatures], alone: bool) -> Tensor:
        """The tokens of people, (people, 20, width).

        alone: whether each person has a picture of their own; then each has the number of the first person. Otherwise
        their numbers are 0, 1, 2 and so on. By region there may be more people than the file has numbers, and two
        people may share a number: in one softmax there is only one person.
        """
        numbers = [0] * len(people) if alone else range(len(people))
        tokens: list[Tensor] = []
        for features, number in zip(people, numbers, strict=True):
            tokens.append(self.image_proj_model.person(features, number))
        return torch.cat(tokens)

    def background(self) -> Tensor:
        """The tokens of the background, (1, 20, width) float32, the same on the positive and the negative side."""
        return self.image_proj_model.bg_embed.detach().float()

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        states = zeros(1, 1, self.image_proj_model.states)
        person = PersonFeatures(zeros(1, EMBEDDING), states, states)
        tokens = self.tokens([person], alone=True)
        self.ip_adapter.keys_and_values(apart(self.background(), tokens))


def together(background: Tensor, people: Tensor) -> Tensor:
    """The tokens for one softmax over the background and all people, (1, 20 + 20 * people, ...).

    background: (1, 20, ...). people: (people, 20, ...).
    """
    return torch.cat([background, people]).flatten(0, 1)[None]


def apart(background: Tensor, people: Tensor) -> Tensor:
    """The tokens of one softmax for each row: (1 + people, 40, ...).

    The first row is for the softmax over the background alone. Each further row is for the softmax over the background
    and one person. background: (1, 20, ...). people: (people, 20, ...). In the first row the
    tokens of the background stand twice, so that all rows have 40 tokens. A softmax over tokens that all stand twice
    gives the same output as over one of each.
    """
    alone = torch.cat([background, background], dim=1)
    beside_people = torch.cat([background.expand_as(people), people], dim=1)
    return torch.cat([alone, beside_people])


def with_background(regions: Tensor) -> Tensor:
    """Regions (people, H, W), 0..1, as shares (1 + people, H, W) that add up to 1 in every pixel.

    The first share is that of the background: 1 less the shares of all people.
    """
    shares = region_weights(regions)
    background = 1 - shares.sum(dim=0, keepdim=True)
    return torch.cat([background, shares])
