"""What people as reference pictures cost a DiT, open to all and bound to their regions: counted, and timed on a GPU.

One forward of one row, which is a step without CFG; with CFG a step is two. Counted on meta tensors at real shapes from
what conditioning carries on; a picture of 1024 px, everybody with one reference, side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import comfy.ldm.flux.controlnet
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import tiny_dits
import torch
from pack.bridge import dit
from pack.bridge.carried import ALWAYS
from pack.bridge.conditioning import Canvas
from pack.bridge.dit import TOKEN, around_attention, blocks_of
from pack.bridge.runs import Given
from pack.core.people import Cast
from pack.nodes.infinite_you import net as infinite_you
from pack.nodes.references.encoding import LATENTS, REFERENCES, PeopleReferences
from pack.nodes.references.nodes import BoundReferences, BoundReferencesRun, bound
from pack.nodes.with_anyone import net as with_anyone

from bench import networks
from bench.measure import (
    COUNTED,
    TINY,
    LiveBytes,
    accelerator,
    clocked,
    interleaved,
    named,
    peak_gib,
    report,
    teraflops,
)

FLUX1 = tiny_dits.CONFIGS[dit.FLUX][1] | {
    "vec_in_dim": 768, "context_in_dim": 4096, "hidden_size": 3072, "mlp_ratio": 4.0, "num_heads": 24, "depth": 19,
    "depth_single_blocks": 38, "axes_dim": [16, 56, 56],
}  # fmt: skip
KLEIN = tiny_dits.CONFIGS[dit.FLUX_2][1] | {
    "context_in_dim": 7680, "hidden_size": 3072, "mlp_ratio": 3.0, "num_heads": 24, "depth": 5,
    "depth_single_blocks": 20, "axes_dim": [32, 32, 32, 32],
}  # fmt: skip
WIDE = {"context_in_dim": 15360, "hidden_size": 6144, "num_heads": 48, "depth": 8, "depth_single_blocks": 48}
QWEN = {"image_model": "qwen_image", "in_channels": 64, "num_layers": 60, "default_ref_method": "index_timestep_zero"}


@dataclass(frozen=True)
class Family:
    """A DiT and what it is given.

    of: as bridge.dit names it. shape: what the host is told of it. text: width of a token, how many the words are, and
    how many each picture adds to them.
    """

    name: str
    of: str
    shape: dict[str, Any]
    text: tuple[int, int, int]

    def network(self, device: Any, dtype: Any) -> Any:
        """The host's model; on a real device with random weights."""
        host = getattr(comfy.supported_models, tiny_dits.CONFIGS[self.of][0])
        return networks.unet(host, self.shape, device, dtype)

    def latent(self, width: int, height: int, dtype: Any, device: Any) -> Any:
        """Of a picture of this size in pixels."""
        return tiny_dits.latent(self.of, width, height).to(device, dtype)

    def words(self, pictures: int, dtype: Any, device: Any) -> Any:
        """A text beside so many pictures."""
        width, words, each = self.text
        return torch.randn(1, words + pictures * each, width, dtype=dtype, device=device)

    @property
    def tiny(self) -> Family:
        shape = {**tiny_dits.CONFIGS[self.of][1]}
        return replace(self, shape=shape, text=(tiny_dits.TEXT, *self.text[1:]))


FAMILIES = (
    # The host fills the text of FLUX.2 up to 512 tokens.
    Family("klein_4b", dit.FLUX_2, KLEIN, (7680, 512, 0)),
    Family("flux2_dev", dit.FLUX_2, {**KLEIN, **WIDE, "guidance_embed": True}, (15360, 512, 0)),
    # Its encoder sees each picture at 384 x 384 px: 14 x 14 tokens, and those that name and frame them.
    Family("qwen_2511", dit.QWEN, QWEN, (3584, 100, 204)),
)
DEV = Family("flux_dev", dit.FLUX, FLUX1, (4096, 256, 0))
"""FLUX.1 dev, whose text the host fills up to 256 tokens. It takes no references."""
PEOPLE = (2,) if TINY else (1, 2, 3, 4)
SIDE, SIZES = (256, (64,)) if TINY else (1024, (512, 1024))
"""Pixels of the picture, and of a portrait."""
CANVAS = Canvas("bench.py")
DTYPE = torch.bfloat16
ID_TOKENS, HEADS = 8, 24
"""Of a person of InfiniteYou and WithAnyone; heads of WithAnyone, in every block."""


class Forward:
    """One of a DiT with so many people, each with a reference of `size` px; `runs`: what reads them."""

    def __init__(self, family: Family, model: Any, people: int, size: int, is_bound: bool = False) -> None:
        device = next(model.diffusion_model.parameters()).device
        self._model, fresh = model, partial(family.latent, dtype=DTYPE, device=device)
        self._patcher = comfy.model_patcher.ModelPatcher(model, device, device)
        self._x, self._references = fresh(SIDE, SIDE), [fresh(size, size) for _ in range(people)]
        self._text = family.words(people, DTYPE, device)
        # Which tokens hear what is worked out, so on no meta tensor.
        self._where = torch.zeros_like(self._x, device="cpu") if device.type == "meta" else self._x
        self.runs: list[BoundReferencesRun] = []
        if is_bound:
            record = PeopleReferences(Cast(()), tuple(self._references), tuple(range(people)))
            said = [self._text, {LATENTS: self._references, REFERENCES: record}]
            ((entry,),) = bound([[said]], by_region, "bench.py")
            self._entry = entry[1]
            guider = SimpleNamespace(model_patcher=self._patcher, conds={"positive": [self._entry]})
            self.runs.append(BoundReferencesRun(guider, self._x))

    def __call__(self, options: dict[str, Any] | None = None) -> Any:
        """options: transformer_options of others."""
        options, time = options or {}, torch.full((1,), 0.5, dtype=DTYPE, device=self._x.device)
        with torch.inference_mode():
            for run in self.runs:
                given = Given(self._model, self._where, time, self._text, options, self._references)
                batch = run.batch((self._entry["model_conds"][run.key].cond,), given)
                options = batch.around(options) if batch else options
            rest = {"ref_latents": self._references or None, "transformer_options": options}
            return self._model.diffusion_model(self._x, time, self._text, **rest)

    def asked(self) -> list[tuple[int, int]]:
        """(queries, keys) of every call of the attention kernel in one layer."""
        calls: list[tuple[int, int]] = []

        def note(attend: Callable[..., Any], q: Any, k: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append((q.shape[2], k.shape[2]))
            return attend(q, k, *args, **kwargs)

        self(around_attention({}, note))
        return calls[: len(calls) // len(blocks_of(self._patcher))]


def side_by_side(people: int) -> Any:
    """Regions (people, SIDE, SIDE) with a hard edge between them."""
    found = torch.zeros(people, SIDE, SIDE)
    for who, columns in enumerate(torch.arange(SIDE).chunk(people)):
        found[who, :, columns] = 1
    return found


def counted(make: Callable[[], Forward]) -> tuple[float, float]:
    """Of a forward after the first: operations in 1e12, and MiB alive at the peak beside the weights."""
    with LiveBytes("meta") as memory:
        forward = make()
        if forward.runs:
            forward()
        memory.peak = memory.live

    def again() -> None:
        with memory:
            forward()

    tflop = teraflops(again)
    return tflop, memory.peak / 2**20


def by_region(record: PeopleReferences) -> BoundReferences:
    """Everybody has a strip of the picture."""
    people = len(record.people)
    regions, names = side_by_side(people), tuple(map(str, range(people)))
    return BoundReferences(object(), ALWAYS, record, regions, names, 1.0, False, CANVAS)


def table() -> None:
    """ours: bound, peer: open to all. keys: of a token of the text, and of one in somebody's region or reference."""
    for family in families():
        model = family.network("meta", DTYPE)
        for size in SIZES:
            for people in PEOPLE:
                free, tied = (partial(Forward, family, model, people, size, each) for each in (False, True))
                (peer, peer_peak), (ours, peak) = counted(free), counted(tied)
                ((tokens, _),), asked = free().asked(), tied().asked()
                keys = sorted({read for _, read in asked})
                report(
                    f"references_{family.name}_{people}_of_{size}", ours, peer, "TFLOP", 1.0, COUNTED,
                    people=people, size=size, family=family.name, tokens=tokens, keys=keys,
                    mask_mib=round(tokens**2 * DTYPE.itemsize / 2**20), peak_mib=round(peak),
                    peer_peak_mib=round(peer_peak),
                )  # fmt: skip


def families() -> list[Family]:
    return [family.tiny for family in FAMILIES] if TINY else list(FAMILIES)


def timed(name: str) -> None:
    """On a GPU: bound beside open to all."""
    (family,) = (one for one in families() if one.name == name)
    model = family.network(accelerator(), DTYPE)
    for people, size in dict.fromkeys([*((people, SIZES[0]) for people in PEOPLE), (PEOPLE[-1], SIZES[-1])]):
        free, tied = (Forward(family, model, people, size, each) for each in (False, True))
        ours, peer = interleaved(clocked(tied), clocked(free), 2)
        memory = {"peak_gib": peak_gib(tied), "peer_peak_gib": peak_gib(free)}
        told = f"references_{name}_{people}_of_{size}_vs_unbound"
        report(told, ours, peer, "s a forward", 1.05, named(accelerator()), people=people, size=size, **memory)


@torch.inference_mode()
def flux() -> None:
    """What people cost FLUX.1 dev, which takes no references, beside it alone: with InfiniteYou a pass of InfuseNet for
    each; with WithAnyone everybody's tokens behind every block, where each row of the picture is somebody's."""
    family, fresh = DEV.tiny if TINY else DEV, partial(torch.zeros, dtype=DTYPE, device="meta")
    shape, width, text = family.shape, family.shape["hidden_size"], family.words(0, DTYPE, "meta")
    x = family.latent(SIDE, SIDE, DTYPE, "meta")
    net = comfy.ldm.flux.controlnet.ControlNetFlux(
        latent_input=True, control_latent_channels=x.shape[1], dtype=DTYPE, device="meta",
        operations=comfy.ops.disable_weight_init,
        **{**shape, "depth": infinite_you.BLOCKS[0], "depth_single_blocks": infinite_you.BLOCKS[1]},
    )  # fmt: skip
    given = {"x": x, "guidance": fresh(1), "y": fresh(1, shape["vec_in_dim"])}
    model = family.network("meta", DTYPE).diffusion_model
    alone = teraflops(partial(model, **given, timestep=fresh(1), context=text))
    each = teraflops(partial(net, **given, timesteps=fresh(1), context=text[:, :ID_TOKENS], hint=x))
    blocks = shape["depth"] + shape["depth_single_blocks"]
    for people in PEOPLE:
        report("infinite_you_operations", alone + people * each, alone, "TFLOP", None, COUNTED, people=people)
        face = with_anyone.Face(*(fresh(people, HEADS, ID_TOKENS, *more) for more in ((width,), (), (width,))))
        rows = fresh(1, (SIDE // TOKEN) ** 2 // people, width)
        read = people * blocks * teraflops(partial(with_anyone.read, rows, face, (0,)))
        report("with_anyone_operations", alone + read, alone, "TFLOP", 1.02, COUNTED, people=people)
