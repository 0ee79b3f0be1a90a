"""People by their faces in FLUX.1 dev: what a step costs with PuLID, WithAnyone and InfiniteYou, counted.

In the host's network at its published size, on tensors that are shapes alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import comfy.controlnet
import comfy.latent_formats
import comfy.ops
import environment
import tiny_dits
import torch
from comfy.ldm.flux.controlnet import ControlNetFlux
from pack.nodes.infinite_you.net import BLOCKS
from pack.nodes.pulid.net import reads_behind
from rig import shapes
from rig.standins import Weights

from .methods import PULID_ENCODER, Applied, eyes_of_pulid, file_loaded, hollow, line, normal, run, shapes_alone
from .transformers import DTYPE, PUBLISHED, Network, Transformer, cast, counted, for_counting, plain, strips

PULID_TEXT = 2048
"""Width of a token of its published file, which has 16 heads."""
FLUX_DEV = next(transformer for transformer in PUBLISHED if transformer.family == tiny_dits.FLUX)


class Autoencoder:
    """In the place of FLUX.1's VAE: a latent of the size of a picture."""

    latent_channels, latent_dim = 16, 2

    def spacial_compression_encode(self) -> int:
        return 8

    def encode(self, pictures: Any) -> Any:
        return normal(9, len(pictures), self.latent_channels, pictures.shape[1] // 8, pictures.shape[2] // 8)


def pulid(network: Network, people: int) -> Applied:
    blocks = sum(reads_behind(network.settings["depth"], network.settings["depth_single_blocks"]))
    width, heads = network.settings["hidden_size"], PULID_TEXT // 128
    contents = shapes.of("pulid-flux", width=width, text=PULID_TEXT, blocks=blocks, heads=heads, **PULID_ENCODER)
    file = _file("pulid", contents)
    return _applied("LikenessApplyPuLIDFlux", network, people, pulid=file, **eyes_of_pulid())


def with_anyone(network: Network, people: int) -> Applied:
    width = network.settings["hidden_size"]
    blocks = network.settings["depth"] + network.settings["depth_single_blocks"]
    file = _file("with_anyone", shapes.of("withanyone", width=width, blocks=blocks, heads=max(1, width // 128)))
    return _applied("LikenessApplyWithAnyone", network, people, with_anyone=file)


def infinite_you(network: Network, people: int) -> Applied:
    contents = shapes.under(
        "image_proj", shapes.of("queries", tokens=8, width=64, inputs=512, text=network.transformer.text_width)
    )
    inputs = {"infinite_you": _file("infinite_you", contents), "control_net": infuse_net(network), "vae": Autoencoder()}
    return _applied("LikenessApplyInfiniteYou", network, people, **inputs)


def infuse_net(network: Network) -> comfy.controlnet.ControlNet:
    """A ControlNet as wide as the transformer, in shapes alone."""
    settings = {**network.settings, "depth": BLOCKS[0], "depth_single_blocks": BLOCKS[1]}
    net = ControlNetFlux(
        latent_input=True, control_latent_channels=16, **settings, dtype=DTYPE, device="meta",
        operations=comfy.ops.disable_weight_init,
    )  # fmt: skip
    hollow(net)
    shapes_alone(net)
    return comfy.controlnet.ControlNet(
        net, compression_ratio=1, latent_format=comfy.latent_formats.Flux(), load_device=torch.device("cpu"),
        extra_conds=["y", "guidance"],
    )  # fmt: skip


def _file(method: str, contents: shapes.Shapes) -> Any:
    return file_loaded(method, Weights(DTYPE).fill(contents))


def _applied(node: str, network: Network, people: int, **inputs: Any) -> Applied:
    """Everybody has a strip of the picture."""
    everybody = {"cast": cast(people, network.side), "mask": strips(people, network.side), "feather": 0}
    given = {**network.sides(), **everybody, "acts_in": "regions", "start_percent": 0.0, **inputs}
    if node == "LikenessApplyInfiniteYou":  # which attaches a ControlNet, and takes no MODEL
        return Applied(network.model, *run(node, **given))
    return Applied(*run(node, model=network.model, **given))


METHODS: dict[str, Callable[[Network, int], Applied]] = {
    "pulid": pulid,
    "with_anyone": with_anyone,
    "infinite_you": infinite_you,
}


def count(transformer: Transformer = FLUX_DEV, numbers: tuple[int, ...] = (1, 2, 4)) -> None:
    """Print what a step costs for so many people. Needs ComfyUI 0.33 or newer, as these methods do."""
    if not tiny_dits.KNOWN:
        environment.say("Not counted, because ComfyUI is older than 0.33: faces on FLUX.1.")
        return
    network = for_counting(transformer)
    without = counted(network, plain(network, 0))
    for name, method in METHODS.items():
        for people in numbers:
            step = counted(network, method(network, people))
            print(json.dumps(line(transformer.name, name, people, step.tflop, step, without)), flush=True)
