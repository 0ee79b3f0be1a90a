"""Apply InstantID and the host's sampler on one tiny picture, 128x96 px: what host tests of InstantID share."""

import comfy.samplers
import torch
from pack.core.cast import Cast, Layout, Member, Person, PlacedCast, Slot
from pack.nodes.control_images import DrawSkeletons
from pack.nodes.instant_id.nodes import ApplyInstantID
from tiny import tiny_networks
from torch import Tensor

WIDTH, HEIGHT = 128, 96
KEYPOINTS = ((20.0, 30.0), (40.0, 30.0), (30.0, 40.0), (22.0, 50.0), (38.0, 50.0))
DEFAULTS = {
    "adapter_weight": 0.8, "control_strength": 0.8, "start_percent": 0.0, "end_percent": 1.0,
    "adapter_start_percent": 0.0, "adapter_end_percent": 1.0, "negative_noise": 0.0,
    "photos": "mean",
}  # fmt: skip


def a_member(name: str, embedding: Tensor, slot: Slot | None = None, weight: float = 1.0) -> Member:
    """embedding: (photos, 512)."""
    return Member(Person(name, {"antelopev2": embedding}, torch.zeros(len(embedding), 112, 112, 3)), weight, slot)


def text(seed, tokens=77, **options):
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(1, tokens, 2048, generator=generator)
    return [tensor, {"pooled_output": torch.randn(1, 1280, generator=generator), **options}]


def face(seed):
    return torch.randn(1, 512, generator=torch.Generator().manual_seed(seed)) * 1.5


def slot(x0, y0, x1, y1, mask=None):
    return Slot(((x0 + x1) / 2, (y0 + y1) / 2), (x0, y0, x1, y1), KEYPOINTS, mask=mask)


def one(seed=1, weight=1.0):
    return Cast((a_member(f"person {seed}", face(seed), weight=weight),))


def halves():
    """Two people, each owning one half of the canvas."""
    left = torch.zeros(HEIGHT, WIDTH)
    left[:, : WIDTH // 2] = 1
    people = [
        a_member("left", face(1), slot(10, 20, 50, 60, left)),
        a_member("right", face(2), slot(70, 20, 110, 60, 1 - left)),
    ]
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


HINT = DrawSkeletons.execute(cast=Layout(WIDTH, HEIGHT, (slot(10, 20, 50, 60),)), draw="face keypoints")[0]


def apply(host, instant_id, cast, positive=None, negative=None, model=None, hint=HINT, **changed):
    return ApplyInstantID.execute(
        model or host[0], positive or [text(1)], negative or [text(2)], instant_id, host[1], cast, hint,
        **{**DEFAULTS, **changed},
    ).args  # fmt: skip


def sample(model, positive, negative, steps=3, batch=1, cfg=5.0, size=(WIDTH, HEIGHT), start=None, **kwargs):
    if start is None:
        start = torch.randn(batch, 4, size[1] // 8, size[0] // 8, generator=torch.Generator().manual_seed(7)) * 14
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
    return tiny_networks.host_sample(model, start, sigmas, positive, negative, cfg, **kwargs)
