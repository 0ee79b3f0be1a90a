"""StoryMaker: face, hair, clothes and body of a person as 20 tokens, read together with those of a background.

Source: "StoryMaker: Towards Holistic Consistent Characters in Text-to-image Generation" (arXiv 2409.12576) and the
released ip_adapter/ip_adapter_faceid.py and pipeline_sdxl_storymaker.py (pipeline Apache-2.0).

As published all people and the background lie in one softmax, `together`; a loss over masks has taught each pixel to
look at its own person. By region that is made sure of, `apart`: one softmax over the background and one person, who
keeps their number in the row, as if the others were masked. Where a region is soft, or several overlap, what these say
is mixed by their shares; where nobody stands, the background speaks alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor, nn

from ...core.attention import region_weights
from ...core.errors import BadCast, LikenessError, counted, listed
from ...core.geometry import bounds
from ...core.identities import combine, portraits
from ...core.models.packs import BUFFALO
from ...core.models.tensors import State, below
from ...core.parts.parts import BadPart, Part, Parts, make_part
from ...core.people import EMBEDDING, Person
from ...core.pictures import as_masks
from ...core.previews import as_picture
from ...core.projections.faces import FacePlusProjection
from ...core.projections.layers import AdapterLayers
from ...core.projections.resampler import Resampler

METHOD = "StoryMaker"
RECOGNISER = BUFFALO
"""The released weights were trained on insightface's buffalo_l, embeddings of length 1."""
SIDE = 224
"""Of a body's picture in pixels, as CLIP sees it."""
_BLUR = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
"""OpenCV's Gaussian of 5 pixels."""


class TooManyPeople(LikenessError):
    """More people in the whole picture than the file has numbers for."""

    def __init__(self, people: Sequence[str], most: int) -> None:
        super().__init__(
            f"StoryMaker tells at most {most} people apart in the whole picture, and these are {len(people)}: "
            f"{listed(people)}.",
            "Give everybody a place with Place Cast, or connect one mask per person: by region there may be more.",
        )


class BodiesMissing(BadCast):
    """Another number of pictures of bodies than there are people."""

    def __init__(self, people: int, what: str) -> None:
        super().__init__(
            f"{what} came for {counted(people, 'person', 'people')}: everybody needs one, in the cast's order.",
            "Chain one Part node per person and connect it to bodies; or give one photo of all of them, and a mask of "
            "each in body_masks.",
        )


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
    def nobody(self) -> Seen:
        """For the negative: zeros in place of an embedding and of what CLIP sees."""
        return Seen(torch.zeros_like(self.embedding), torch.zeros_like(self.face), torch.zeros_like(self.body))


class Projection(FacePlusProjection):
    """A person to tokens. state: "proj.*", "norm.*" and "perceiver_resampler.*" of FaceID Plus for the face,
    "resample.*" for the body, "pos_embed" per number of a person, "bg_embed", "proj_out.*", "norm_out.*"."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__(state, ops=ops, **factory)
        self.resample = Resampler(below("resample.", state), ops=ops, **factory)
        self.pos_embed = nn.Parameter(torch.empty(state["pos_embed"].shape, **factory))
        self.bg_embed = nn.Parameter(torch.empty(state["bg_embed"].shape, **factory))
        self.proj_out = ops.Linear(self.width, self.width, **factory)
        self.norm_out = ops.LayerNorm(self.width, **factory)

    @property
    def states(self) -> int:
        """Width of the hidden states it reads: 1280, those of CLIP ViT-H."""
        return self.resample.embedding

    def person(self, seen: Seen, number: int) -> Tensor:
        """(1, 20, width), of the person of this number in the picture, from 0."""
        face = self.forward(seen.embedding, seen.face)
        # A bare parameter is outside the host's cast-on-use layers, hence the explicit cast.
        place = self.pos_embed[number % len(self.pos_embed)].to(face)
        tokens = torch.cat([face, self.resample(seen.body) * seen.dressed], dim=1) + place
        return self.norm_out(self.proj_out(tokens)) + tokens


class StoryMakerNet(nn.Module):
    """One mask.bin without its LoRA.

    state: "image_proj_model.*" as in Projection, and "ip_adapter.<odd n>.to_{k,v}_ip.weight".
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.image_proj_model = Projection(below("image_proj_model.", state), ops=ops, **factory)
        self.ip_adapter = AdapterLayers(below("ip_adapter.", state), ops=ops, **factory)

    @property
    def most(self) -> int:
        """People that the whole picture tells apart."""
        return len(self.image_proj_model.pos_embed)

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


def embedding(person: Person, photos: str) -> Tensor:
    """(1, 512) float32 of length 1; `photos` as in identities.combine.

    Raises RecogniserMissing when the identity was not made with buffalo_l.
    """
    return functional.normalize(combine(person.identity, RECOGNISER, photos, method=METHOD).float(), dim=-1)


def faces(person: Person) -> Tensor:
    """(photos, 224, 224, 3) float32 0..1. Raises PortraitsMissing."""
    return portraits(person.identity, METHOD).aligned.float() / 255


@dataclass(frozen=True, eq=False)
class Body:
    """What CLIP is shown of a whole person: (224, 224, 3) float32 0..1.

    weight: how much it counts, 0 where nothing was given. whole: without a mask, as the authors take clothes.
    """

    picture: Tensor
    weight: float
    whole: bool = False


def cut_out(people: Sequence[Person], given: Tensor | Parts | None, masks: Tensor | None) -> list[Body]:
    """Of those who are heard (weight above 0).

    given: a part per person, or an IMAGE batch with a picture each, or one photo of all with a mask each; masks: a MASK
    batch for pictures. Of a single person all masks count together.
    Raises BodiesMissing where the numbers differ; BadPart for a mask of which nothing is left.
    """
    parts = [None] * len(people) if given is None else _parts(people, given, masks)
    return [_body(part) for person, part in zip(people, parts, strict=True) if person.weight > 0]


def _parts(people: Sequence[Person], given: Tensor | Parts, masks: Tensor | None) -> Sequence[Part]:
    count = len(people)
    if not isinstance(given, Tensor):
        if len(given.parts) != count:
            raise BodiesMissing(count, counted(len(given.parts), "part"))
        return given.parts
    each = [None] * count if masks is None else _masks(as_masks(masks), count)
    pictures = given.expand(count, -1, -1, -1) if len(given) == 1 and masks is not None else given
    if len(pictures) != count:
        raise BodiesMissing(count, counted(len(pictures), "picture"))
    return [
        make_part(person.identity.name, picture[None], mask, float(person.weight > 0), None)
        for person, picture, mask in zip(people, pictures, each, strict=True)
    ]


def _masks(masks: Tensor, people: int) -> list[Tensor]:
    if people == 1:
        return [masks]
    if len(masks) != people:
        raise BodiesMissing(people, counted(len(masks), "mask"))
    return [mask[None] for mask in masks]


def _body(part: Part | None) -> Body:
    if part is None or part.weight <= 0:
        return Body(torch.ones(SIDE, SIDE, 3), 0.0)
    mask = part.alpha if part.mask is None else part.mask
    cut = part.picture if mask is None else _on_white(part, mask)
    squashed = as_picture(cut).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return Body(torch.as_tensor(np.array(squashed)).float() / 255, part.weight, mask is None)


def _on_white(part: Part, mask: Tensor) -> Tensor:
    """What lies in the bounds of the mask, whose edge is softened within these; in 8 bits, as OpenCV computes."""
    fitted = functional.interpolate(mask[None, None].float(), size=part.picture.shape[:2], mode="nearest")
    inside = (fitted * 255).round()
    if not inside.any():
        raise BadPart(part.label, "nothing is left of its mask", "Mask more of the person.")
    left, top, right, below_it = bounds(inside[0, 0])
    inside = inside[..., top:below_it, left:right]
    reach = (2, 2, 2, 2)
    padded = functional.pad(inside, reach, "reflect" if min(inside.shape[2:]) > 2 else "replicate")
    soft = functional.conv2d(padded, (_BLUR[:, None] * _BLUR)[None, None]).add(0.5).floor()[0, 0, :, :, None] / 255
    pixels = (part.picture[top:below_it, left:right].clamp(0, 1) * 255).round()
    return (255 * (1 - soft) + soft * pixels).floor() / 255
