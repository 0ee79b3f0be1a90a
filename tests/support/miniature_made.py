"""The miniature as files as wide as the small net, which computes the same, in a host that takes such a UNet; and
people who stand in its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import comfy.controlnet
import comfy.sd
import comfy.supported_models
import pytest
import small_networks
import torch
from miniature import export, net, places
from pack.core.people import Cast, Identity, Layout, Person, PlacedCast
from pack.nodes.places import GroupLayout, PlaceCast
from rig.standins import Files
from standins_made import narrow
from torch import Tensor

import nodes as host_nodes


@contextmanager
def files_in(folder: Path) -> Iterator[Files]:
    """While the host loads them."""
    files = export.files(folder)
    export.write(files, partial(narrow, vae=64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comfy.supported_models, "models", small_networks.families())
        yield files


PLAIN = net.Settings(steps=4, cfg=1.0, strength=1.0, id_start=0.0)


class Host(NamedTuple):
    model: Any
    empty: Any
    """What every prompt is: its text encoders are zeros."""
    vae: Any
    control_net: Any
    adapter: Any


def opened(files: Files, control_net: str, load: Callable[[str], Any], adapter: str) -> Host:
    """control_net, adapter: names of files; load: what loads the last."""
    model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(str(files.checkpoint))
    (empty,) = host_nodes.CLIPTextEncode().encode(clip, "")
    net_of_it = comfy.controlnet.load_controlnet(str(getattr(files, control_net)))
    return Host(model, empty, vae, net_of_it, load(str(getattr(files, adapter))))


def standing(
    people: Iterable[Identity], size: tuple[int, int] = places.SMALL, order: str = ""
) -> tuple[PlacedCast, Layout]:
    """As Group Layout and Place Cast make them."""
    people = list(people)
    cast = Cast(tuple(map(Person, people)))
    layout = GroupLayout.execute(len(people), framing="half", rows=0, width=size[0], height=size[1]).args[0]
    return PlaceCast.execute(cast, layout, "custom" if order else "left to right", order).args[0], layout


@torch.no_grad()
def sample(host: Host, sides: Any, layout: Layout, settings: net.Settings = PLAIN) -> Tensor:
    """(H, W, 3)."""
    latent = {"samples": torch.zeros(1, 4, layout.height // 8, layout.width // 8)}
    options = (settings.seed, settings.steps, settings.cfg, "euler", "normal", *sides, latent)
    (made,) = host_nodes.common_ksampler(host.model, *options)
    return host.vae.decode(made["samples"])[0]


def check_alike(pixels: Tensor, alone: Tensor) -> None:
    """alone: the same picture by the small net, (3, H, W)."""
    difference = (alone.permute(1, 2, 0).clamp(0, 1) - pixels).abs()
    assert difference.mean() < 1 / 255 and difference.quantile(0.99) < 2 / 255
