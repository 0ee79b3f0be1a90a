"""Every method that the toy model draws cartoons by, through the pack's own nodes and the host's sampler."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from bench.methods import run
from miniature.in_host import host_nodes
from pack.core.people import Cast, Identity, Person, PlacedCast
from torch import Tensor

from .judged import Judged

DENOISE = 0.8
"""Of the pass over a face."""
Applied = tuple[Any, Any, Any]
"""A model, and both sides."""


@dataclass
class Stopwatch:
    """What sampling has taken so far."""

    seconds: float = 0.0
    steps: int = 0


@dataclass(frozen=True)
class Models:
    """What a method is drawn with. weight: of InstantID's two halves. stopwatch: of all samplings with them."""

    applied: Applied
    vae: Any
    control_net: Any
    adapter: Any
    steps: int
    cfg: float
    weight: float = 0.8
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def sampled(self, applied: Applied, size: tuple[int, int], seed: int, latent: Any = None) -> Tensor:
        """(B, H, W, 3). latent: what is there before."""
        denoise = DENOISE if latent else 1
        latent = latent or {"samples": torch.zeros(1, 4, size[1] // 8, size[0] // 8)}
        model, *sides = applied
        settings = (seed, self.steps, self.cfg, "euler", "normal")
        begin = time.perf_counter()
        (sampled,) = host_nodes.common_ksampler(model, *settings, *sides, latent, denoise=denoise)
        self.stopwatch.seconds += time.perf_counter() - begin
        self.stopwatch.steps += self.steps
        return self.vae.decode(sampled["samples"])


@dataclass(frozen=True)
class World:
    """People, what they are drawn with and what judges the pictures. size: of so many people's picture. crop: side of a
    face that is drawn again. judge: of a picture in which somebody is meant."""

    id_patch: Models
    instant_id: Models
    face_model: Any
    people: Sequence[Identity]
    size: Callable[[int], tuple[int, int]]
    crop: int
    judge: Callable[[Picture], Judged]

    def cast(self, people: Sequence[Identity]) -> PlacedCast:
        """As Layout for a Group and Place Cast make it."""
        width, height = self.size(len(people))
        (layout, *_) = run("LikenessLayoutForAGroup", count=len(people), framing="half", width=width, height=height)
        return run("LikenessPlaceCast", cast=Cast(tuple(map(Person, people))), layout=layout)[0]


class Picture(NamedTuple):
    """pixels (H, W, 3). cast: with those who should stand there. by_keypoints: whether it was told of faces alone.
    seconds, step_seconds: of all of it, and of its samplings by step; None where they are not known."""

    pixels: Tensor
    cast: PlacedCast
    by_keypoints: bool = False
    seconds: float | None = None
    step_seconds: float | None = None


class Method(NamedTuple):
    """draw: the picture (H, W, 3) of a cast by a seed. by_keypoints: whether it is told of faces alone."""

    draw: Callable[[World, PlacedCast, int], Tensor]
    by_keypoints: bool = False


def drawn(world: World, method: Method, cast: PlacedCast, seed: int) -> Picture:
    watches = (world.id_patch.stopwatch, world.instant_id.stopwatch)
    sampled_before = sum(watch.seconds for watch in watches)
    steps_before = sum(watch.steps for watch in watches)
    begin = time.perf_counter()
    with torch.no_grad():
        pixels = method.draw(world, cast, seed)
    seconds = time.perf_counter() - begin
    steps = sum(watch.steps for watch in watches) - steps_before
    step_seconds = None
    if steps:
        step_seconds = (sum(watch.seconds for watch in watches) - sampled_before) / steps
    return Picture(pixels, cast, method.by_keypoints, seconds, step_seconds)


def meaning(picture: Picture, people: Sequence[Identity]) -> Picture:
    """The same picture, judged as one of these people, in the order of the cast's places."""
    named = zip(picture.cast.people, people, strict=True)
    cast = replace(picture.cast, people=tuple(replace(person, identity=identity) for person, identity in named))
    return picture._replace(cast=cast)


def _size(cast: PlacedCast) -> tuple[int, int]:
    return cast.width, cast.height


def of_photos(person: Identity, count: int) -> Identity:
    """By the first of their photos."""
    embeddings = {name: rows[:count] for name, rows in person.embeddings.items()}
    return Identity(person.name, embeddings, person.crops[:count])


# --- The methods


def id_patch(world: World, cast: PlacedCast, seed: int) -> Tensor:
    models = world.id_patch
    return models.sampled(with_id_patch(models, cast), _size(cast), seed)[0]


def with_id_patch(models: Models, cast: PlacedCast) -> Applied:
    model, positive, negative = models.applied
    skeleton = run("LikenessDrawSkeletons", cast=cast, draw="skeletons")[0]
    image = run("LikenessIDPatchConditionImage", id_patch=models.adapter, cast=cast, image=skeleton)[0]
    positive, negative, *_ = run(
        "LikenessApplyIDPatch", positive=positive, negative=negative, control_net=models.control_net,
        id_patch=models.adapter, cast=cast, image=image,
    )  # fmt: skip
    return model, positive, negative


def instant_id(world: World, cast: PlacedCast, seed: int, adapter: float = 1.0, control: float = 1.0) -> Tensor:
    """By region. adapter, control: of the usual weight of each half."""
    models = world.instant_id
    return models.sampled(with_instant_id(models, cast, adapter, control), _size(cast), seed)[0]


def with_instant_id(models: Models, cast: PlacedCast, adapter: float = 1.0, control: float = 1.0) -> Applied:
    return _instant_id(models, models.applied, cast, cast, adapter, control)


def chained(world: World, cast: PlacedCast, seed: int) -> Tensor:
    """An InstantID for each person behind the other's, as without regions: all of them read the whole picture."""
    applied = world.instant_id.applied
    for person in cast.people:
        applied = _instant_id(world.instant_id, applied, person.identity, replace(cast, people=(person,)))
    return world.instant_id.sampled(applied, _size(cast), seed)[0]


def _instant_id(
    models: Models, applied: Applied, cast: Any, placed: PlacedCast, adapter: float = 1.0, control: float = 1.0
) -> Applied:
    """cast: a cast, or the identity of one person. placed: whose keypoints are drawn."""
    model, positive, negative = applied
    image = run("LikenessDrawSkeletons", cast=placed, draw="face keypoints")[0]
    return run(
        "LikenessApplyInstantID", model=model, positive=positive, negative=negative, instant_id=models.adapter,
        control_net=models.control_net, cast=cast, image=image, adapter_weight=adapter * models.weight,
        control_strength=control * models.weight, feather=round(32 / 1152 * placed.width),  # as in the templates
    )  # fmt: skip


def one_by_one(world: World, cast: PlacedCast, seed: int, by: str = "id_patch") -> Tensor:
    """A group by its skeletons alone; then every face is cut out, drawn by a method and pasted back."""
    group, models = world.id_patch, {"id_patch": world.id_patch, "instant_id": world.instant_id}[by]
    model, *sides = group.applied
    skeleton = run("LikenessDrawSkeletons", cast=cast, draw="skeletons")[0]
    posed = host_nodes.ControlNetApplyAdvanced().apply_controlnet(*sides, group.control_net, skeleton, 0.8, 0.0, 1.0)
    pixels = group.sampled((model, *posed), _size(cast), seed)
    crops = run(
        "LikenessCropFaces", face_model=world.face_model, images=pixels, cast=cast, vae=models.vae, who="everybody",
        size=world.crop,
    )  # fmt: skip
    _, _, rows, crop_places, _, _, _, latents = crops
    applied = {"id_patch": with_id_patch, "instant_id": with_instant_id}[by](models, rows)
    faces = models.sampled(applied, (world.crop, world.crop), seed, latents)
    return run("LikenessPasteFaces", images=pixels, where=crop_places, sampled=faces)[0][0]


CARTOON_METHODS = {
    "ID-Patch": Method(id_patch),
    "InstantID by region": Method(instant_id, True),
    "InstantIDs chained": Method(chained, True),
    "faces one by one, ID-Patch": Method(one_by_one),
    "faces one by one, InstantID": Method(partial(one_by_one, by="instant_id")),
}
HALVES = {
    "both, 1 photo": Method(instant_id, True),
    "IdentityNet alone": Method(partial(instant_id, adapter=0.0), True),
    "adapter alone": Method(partial(instant_id, control=0.0), True),
}
