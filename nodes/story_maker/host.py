"""StoryMaker on the host: the loaded file, and people turned into injections for both sides of the conditioning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...bridge import clip_vision, load, lora
from ...bridge.adapters import Hearing, keys_and_values
from ...bridge.injections import Injection
from ...core.models import manifest
from ...core.models.tensors import State
from ...core.people import Person
from . import net as story_maker
from .net import Body, Seen, TooManyPeople, apart, together, with_background

if TYPE_CHECKING:
    from comfy.clip_vision import ClipVisionModel

FILE = load.Published(story_maker.METHOD, "StoryMaker adapter", manifest.model("story-maker"))


@dataclass(frozen=True)
class StoryMaker:
    """A loaded mask.bin. `patcher` holds a core.story_maker.StoryMakerNet; the host finds it by this name.

    lora: by number of the attention layer, as the file has it.
    """

    patcher: ModelPatcher
    lora: State

    @property
    def net(self) -> story_maker.StoryMakerNet:
        return self.patcher.model

    @property
    def width(self) -> int:
        """Of one token: the text width of the models this file is made for."""
        return self.net.ip_adapter.width


def load_story_maker(path: str) -> StoryMaker:
    """Read mask.bin or a safetensors conversion of it.

    Raises UnsupportedCheckpoint, naming what the file is instead.
    """
    state = FILE.read(path)
    return StoryMaker(FILE.build(path, story_maker.StoryMakerNet, state), lora.of_adapter(state))


def seen(
    loaded: StoryMaker, vision: ClipVisionModel, people: Sequence[Person], photos: str, bodies: Sequence[Body]
) -> list[Seen]:
    """What the networks are given of everybody. Raises WrongEncoder, PortraitsMissing, RecogniserMissing."""
    found: list[Seen] = []
    for person, body in zip(people, bodies, strict=True):
        embedding = story_maker.embedding(person, photos)
        pictures = torch.cat([story_maker.faces(person), body.picture[None]])
        states = clip_vision.states(vision, pictures, loaded.net.image_proj_model.states)
        found.append(Seen(embedding, states[:-1].mean(0, keepdim=True), states[-1:], body.weight))
    return found


def make_injections(
    loaded: StoryMaker, people: Sequence[Person], each: Sequence[Seen], weight: float, hearing: Hearing
) -> tuple[Injection, Injection]:
    """For the positive and the negative. each: what is seen of these people.

    With hearing.regions everybody in their own, else all of them in the whole picture, or in a row each. Raises
    TooManyPeople.
    """
    net, source, regions, by_row = loaded.net, object(), hearing.regions, hearing.by_row
    whole = regions is None and not by_row
    if whole and len(people) > net.most:
        raise TooManyPeople([person.identity.name for person in people], net.most)
    where = hearing if regions is None else replace(hearing, regions=with_background(regions))

    def joined(background: Tensor, tokens: Tensor) -> Tensor:
        if whole:
            return together(background, tokens)
        return apart(background, tokens)[1:] if by_row else apart(background, tokens)

    background = net.background().cpu()
    loud = torch.tensor([person.weight for person in people])[:, None].expand(-1, background.shape[1])
    scales = joined(torch.ones_like(loud[:1]), loud) * weight

    def injection(each: Sequence[Seen]) -> Injection:
        tokens = joined(background, net.tokens([_moved(one, loaded.patcher) for one in each], by_row).cpu())
        return where.injection(source, tokens, keys_and_values(loaded.patcher, net.ip_adapter, tokens, scales))

    return injection(each), injection([one.nobody for one in each])


def _moved(one: Seen, patcher: ModelPatcher) -> Seen:
    embedding, face, body = (load.on_device(patcher, x) for x in (one.embedding, one.face, one.body))
    return Seen(embedding, face, body, one.dressed)
