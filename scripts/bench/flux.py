"""What people cost FLUX.1 dev with WithAnyone and InfiniteYou: one forward of a picture of 1024 px, counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import comfy.ldm.flux.controlnet
import comfy.ops
import torch
from pack.bridge.dit import TOKEN
from pack.nodes.infinite_you.net import BLOCKS
from pack.nodes.with_anyone.net import Face, read

from bench.dits import DEV, Family
from bench.measure import COUNTED, TINY, report, teraflops
from bench.references import DTYPE, PEOPLE, SIDE

ID_TOKENS, HEADS = 8, 24
"""Of a person, in both; InfuseNet reads them in the place of the text. Heads: of WithAnyone, in every block."""


def given(family: Family, **rest: Any) -> dict[str, Any]:
    """Of FLUX.1 and its ControlNets, for one row."""
    one = torch.ones(1, dtype=DTYPE, device="meta")
    pooled = torch.zeros(1, family.shape["vec_in_dim"], dtype=DTYPE, device="meta")
    x = family.latent(SIDE, SIDE, DTYPE, "meta")
    return {"x": x, "guidance": one, "y": pooled, **rest}


def infuse_net(family: Family) -> Any:
    shape = {**family.shape, "depth": BLOCKS[0], "depth_single_blocks": BLOCKS[1]}
    return comfy.ldm.flux.controlnet.ControlNetFlux(
        latent_input=True, control_latent_channels=family.channels, dtype=DTYPE, device="meta",
        operations=comfy.ops.disable_weight_init, **shape,
    )  # fmt: skip


@torch.inference_mode()
def infinite_you() -> None:
    """A pass of InfuseNet for each person beside FLUX.1 alone."""
    family = DEV.tiny if TINY else DEV
    time, text = torch.ones(1, dtype=DTYPE, device="meta"), family.words(0, DTYPE, "meta")
    flux, net = family.network("meta", DTYPE).diffusion_model, infuse_net(family)
    alone = teraflops(partial(flux, **given(family, timestep=time, context=text)))
    inputs = given(family, timesteps=time, context=text[:, :ID_TOKENS])
    each = teraflops(partial(net, **inputs, hint=inputs["x"]))
    for people in PEOPLE:
        ours = alone + people * each
        report(f"infinite_you_operations_{people}", ours, alone, "TFLOP", None, COUNTED, people=people, each=each)


@torch.inference_mode()
def with_anyone() -> None:
    """Everybody's tokens behind every block, where each row of the picture is somebody's, beside FLUX.1 alone."""
    family = DEV.tiny if TINY else DEV
    time, text = torch.ones(1, dtype=DTYPE, device="meta"), family.words(0, DTYPE, "meta")
    flux, width = family.network("meta", DTYPE).diffusion_model, family.shape["hidden_size"]
    alone = teraflops(partial(flux, **given(family, timestep=time, context=text)))
    blocks = family.shape["depth"] + family.shape["depth_single_blocks"]
    for people in PEOPLE:
        sizes = ((people, HEADS, ID_TOKENS, *more) for more in ((width,), (), (width,)))
        face = Face(*(torch.zeros(size, dtype=DTYPE, device="meta") for size in sizes))
        rows = torch.zeros(1, (SIDE // TOKEN) ** 2 // people, width, dtype=DTYPE, device="meta")
        each = people * blocks * teraflops(partial(read, rows, face, (0,)))
        report(f"with_anyone_operations_{people}", alone + each, alone, "TFLOP", 1.02, COUNTED, people=people)


CASES: dict[str, Callable[[], None]] = {
    "with_anyone_operations": with_anyone,
    "infinite_you_operations": infinite_you,
}
NEED_GPU: set[str] = set()
