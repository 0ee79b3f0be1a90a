"""The toy model's networks in the host, and pictures by them through the pack's nodes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import comfy.clip_model
import comfy.clip_vision
import comfy.controlnet
import comfy.sd
import comfy.supported_models
import comfy.utils
import torch
from pack.core.cast import Cast, Layout, Member, Person, PlacedCast, Slot
from pack.core.parts.parts import Parts, make_part
from pack.core.places import bodies
from pack.nodes.control_images import DrawSkeletons
from pack.nodes.parts2whole.files import load_parts2whole
from pack.nodes.parts2whole.nodes import ApplyParts2Whole, EncodeParts
from pack.nodes.places import LayoutForAGroup, PlaceCast
from pack.nodes.share_parts.nodes import ONCE, SharePartsAttention
from safetensors.torch import load_file
from shared.standins import Files
from tiny import small_networks
from torch import Tensor
from toy import export_parts2whole, garments, net, places
from toy.parts2whole import Pictures

host_nodes: Any = importlib.import_module("nodes")
"""ComfyUI's own nodes. Our folder of this name is `pack.nodes` here."""


_NOSE, _HEAD = (64.0, 45.0), 38.0
UPRIGHT = Layout(*garments.SIZE, (Slot(_NOSE, pose=bodies.body_around(bodies.face_keypoints(_NOSE, _HEAD), "full")),))
"""Where somebody stands, and how."""
PLAIN = net.Settings(steps=4, cfg=1.0, strength=1.0, id_start=0.0)


class Host(NamedTuple):
    model: Any
    empty: Any
    """What every prompt is: its text encoders are zeros."""
    vae: Any
    control_net: Any = None
    adapter: Any = None
    clip: Any = None


def drawn_people(name: str) -> Tensor:
    """Drawn people as the toy model's recogniser sees them, (people, 512).

    name: "unseen" for 40 whom it was not trained on, "apart" for six whose hair and skin are easily told apart.
    """
    return load_file(Path(__file__).parents[1] / "golden" / "toy_people.safetensors")[name]


def opened(
    files: Files, control_net: str, load: Callable[[str], Any], adapter: str, checkpoint: str = "checkpoint"
) -> Host:
    """control_net, adapter, checkpoint: names of files; load: what loads the adapter."""
    host, _ = _loaded(getattr(files, checkpoint))
    net_of_it = comfy.controlnet.load_controlnet(str(getattr(files, control_net)))
    return host._replace(control_net=net_of_it, adapter=load(str(getattr(files, adapter))))


def _loaded(checkpoint: Path) -> tuple[Host, Any]:
    """With its CLIP."""
    model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(str(checkpoint))
    (empty,) = host_nodes.CLIPTextEncode().encode(clip, "")
    return Host(model, empty, vae, clip=clip), clip


def standing(
    people: Iterable[Person], size: tuple[int, int] = places.SMALL, order: str = ""
) -> tuple[PlacedCast, Layout]:
    """As Layout for a Group and Place Cast make them."""
    people = list(people)
    cast = Cast(tuple(map(Member, people)))
    layout = LayoutForAGroup.execute(len(people), framing="half", rows=0, width=size[0], height=size[1]).args[0]
    return PlaceCast.execute(layout, "custom" if order else "left to right", order, cast).args[0], layout


@torch.no_grad()
def sample(host: Host, sides: Any, layout: Layout, settings: net.Settings = PLAIN) -> Tensor:
    """(H, W, 3)."""
    latent = {"samples": torch.zeros(1, 4, layout.height // 8, layout.width // 8)}
    options = (settings.seed, settings.steps, settings.cfg, "euler", "normal", *sides, latent)
    (made,) = host_nodes.common_ksampler(host.model, *options)
    return host.vae.decode(made["samples"])[0]


class Wardrobe(NamedTuple):
    host: Host
    clip: Any
    networks: Any = None
    clip_vision: Any = None


def dressing(files: Files) -> Wardrobe:
    """Its files, written and loaded; of CLIP the layers that do something."""
    export_parts2whole.write(files)
    with ExitStack() as patches:
        patches.enter_context(patch.object(comfy.supported_models, "models", small_networks.families()))
        for network in (comfy.clip_model.CLIPTextModel, comfy.clip_model.CLIPVisionModelProjection):
            patches.enter_context(patch.object(network, "__init__", network.__init__))
            small_networks.end_early(network)
        _, clip, *_ = comfy.sd.load_checkpoint_guess_config(str(files.sd15))
        (empty,) = host_nodes.CLIPTextEncode().encode(clip, "")
        vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(files.vae)))
        model, networks = load_parts2whole(str(files.parts2whole))
        clip_vision = comfy.clip_vision.load(str(files.clip_vision))
        return Wardrobe(Host(model, empty, vae), clip, networks, clip_vision)


def worn(with_: Wardrobe, pictures: Pictures) -> Tensor:
    """(H, W, 3): by the nodes of Parts2Whole."""
    seeing, empty = (with_.clip, with_.clip_vision, with_.host.vae), with_.host.empty
    features = EncodeParts.execute(with_.networks, *seeing, *garments.SIZE, parts=_parts(pictures)).args[0]
    surface = DrawSkeletons.execute(UPRIGHT, draw="body surface").args[0]
    model, *sides = ApplyParts2Whole.execute(with_.host.model, empty, empty, features, 1.0, 0.0, 1.0, surface).args
    return sample(with_.host._replace(model=model), sides, UPRIGHT)


def sharing(checkpoint: Path) -> Wardrobe:
    """Of the UNet that has learned to be its own reference."""
    return Wardrobe(*_loaded(checkpoint))


def shared(with_: Wardrobe, pictures: Pictures) -> Tensor:
    """(H, W, 3): by Share Parts Attention."""
    host = with_.host
    width, height = garments.SIZE
    model, *sides = SharePartsAttention.execute(
        host.model,
        host.empty,
        host.empty,
        with_.clip,
        host.vae,
        parts=_parts(pictures),
        width=width,
        height=height,
        strength=1.0,
        start_percent=0.0,
        end_percent=1.0,
        layers="all",
        reference=ONCE,
    ).args
    return sample(host._replace(model=model), sides, UPRIGHT)


def flat_pictures() -> Pictures:
    """Of three parts, of which one has no mask, and much lies beside the mask of another."""
    shown = garments.examples()
    names = ("hair", "shirt", "trousers")
    pixels = torch.stack([shown[name] for name in names])
    masks = (pixels.amin(1) < 0.99).float()
    masks[0] = 1
    pixels[1] = torch.where(masks[1] > 0, pixels[1], shown["pose"])
    return Pictures(pixels, masks, torch.tensor([garments.LABELS.index(garments.PARTS[name]) for name in names]))


def _parts(pictures: Pictures) -> Parts:
    return Parts(tuple(
        make_part(garments.LABELS[label], picture.movedim(0, -1)[None], mask[None], 1.0, None)
        for picture, mask, label in zip(*pictures, strict=True)
    ))  # fmt: skip
