"""What a step costs for 1 to 12 people: every method of the pack beside what is used elsewhere, counted.

One line per method, family and number of people: operations beside the unpatched step, and memory. `python
scripts/bench.py people` prints the table in docs/speed.md. Real shapes, fp16, CFG, positive and negative in one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.controlnet
import tiny_sd15
import tiny_sdxl
import torch
from pack.bridge.carried import ALWAYS
from pack.bridge.conditioning import Canvas, append_tokens
from pack.bridge.injections import Injection, InjectionsRun
from pack.bridge.regional_text import RegionalTextRun, silent, spoken, standing_at, standing_in
from pack.bridge.self_attention.run import SharingRun
from pack.bridge.self_attention.shared_parts import SharedParts
from pack.bridge.unet import attention_layers, grids, transformers
from pack.core.parts.bank import PartWeights, keep, token_mask
from pack.nodes.instant_id.nodes import IdentityNet
from pack.nodes.ip_adapter.styles import STYLE, heard_in
from pack.nodes.story_maker.net import with_background

from bench import parts, peers, sd15, sdxl
from bench.live import LiveBytes
from bench.masks import garments, side_by_side
from bench.measure import COUNTED, TINY, report, teraflops
from bench.step import DEVICE, DTYPE, Family, Step

TEXT, ID_TOKENS = 77, 16
"""Tokens of a text, and of a person in ID-Patch and InstantID."""
CANVAS = Canvas(None, "bench.py", str)


def _regions(family: Family, people: int) -> Any:
    return side_by_side(people, family.height, family.width)


def plain(family: Family, _people: int) -> Step:
    return Step(family)


def control_net(family: Family, _people: int, text: Any = None, **rest: Any) -> Step:
    hint = (family.height, family.width)

    def control(step: Step) -> Any:
        rows = torch.zeros(len(step.text), 3, *hint, dtype=DTYPE, device=DEVICE)
        return family.net(**step.given, hint=rows, context=step.text)

    return Step(family, text, control=control, **rest)


def _with_ids(family: Family, people: int) -> list[Any]:
    """Positive and negative as Apply ID-Patch makes them."""
    tokens = torch.zeros(1, people * ID_TOKENS, family.text, dtype=DTYPE, device=DEVICE)
    return [append_tokens([[family.tokens(TEXT), {}]], tokens, people, 0.0, "bench") for _ in range(2)]


def id_patch(family: Family, people: int) -> Step:
    return control_net(family, people, torch.cat([side[0][0] for side in _with_ids(family, people)]))


def id_patch_by_region(family: Family, people: int) -> Step:
    sides = standing_in(_with_ids(family, people), _regions(family, people), CANVAS)
    carried = [side[0][1]["model_conds"][RegionalTextRun.key].cond[0] for side in sides]
    text = torch.cat([side[0][0] for side in sides])
    return control_net(family, people, text, carried=[(RegionalTextRun, *carried)])


def _injection(family: Family, people: int, tokens: int, heard: list[bool] | None = None, where: Any = None) -> Any:
    layers = [
        (torch.zeros(people, tokens, width),) * 2 if on else None
        for width, on in zip(family.widths, heard or [True] * len(family.widths), strict=True)
    ]
    where = _regions(family, people) if where is None and people > 1 else where
    return Injection(object(), ALWAYS, torch.zeros(people, tokens, family.text), tuple(layers), where)


def _injected(family: Family, *injections: Any, **rest: Any) -> Step:
    return Step(family, carried=[(InjectionsRun, one, one) for one in injections], **rest)


def image_tokens(tokens: int) -> Callable[[Family, int], Step]:
    """IP-Adapter, with so many of a person."""
    return lambda family, people: _injected(family, _injection(family, people, tokens))


def instant_id(family: Family, people: int) -> Step:
    injection = _injection(family, people, ID_TOKENS)
    net = comfy.controlnet.ControlNet(family.net, load_device=torch.device(DEVICE))
    identity = IdentityNet(net, injection.source, torch.zeros(1, ID_TOKENS, family.text))
    identity.set_cond_hint(torch.zeros(1, 3, family.height, family.width), 0.8)
    identity.model_sampling_current = family.unet.model_sampling

    def control(step: Step) -> Any:
        run, given = step.runs[0], step.given
        cond = {"c_crossattn": step.text, "y": given["y"], run.key: step.carried_by(run)}
        return identity.get_control(given["x"], given["timesteps"], cond, 2, {run.key: run})

    return _injected(family, injection, control=control)


def story_maker(family: Family, people: int) -> Step:
    """Everybody's tokens beside the background's; where there are regions, nobody's too."""
    if people == 1:
        return image_tokens(40)(family, 1)
    return _injected(family, _injection(family, people + 1, 40, where=with_background(_regions(family, people))))


def photo_maker(family: Family, people: int) -> Step:
    """Two photos each, v1: two class words of the prompt are the person."""
    if people == 1:
        return plain(family, 1)
    each = [standing_at(3 * who + 2, 2, region, CANVAS) for who, region in enumerate(_regions(family, people))]
    return Step(family, carried=[(RegionalTextRun, one, silent(one)) for one in each])


def style(family: Family, people: int) -> Step:
    """A style of their own each: a node per person, plus files."""
    heard = heard_in([layer[:3] for layer in attention_layers(family.patcher)], STYLE)
    where = _regions(family, people)[:, None]
    return _injected(family, *(_injection(family, 1, 16, heard, one) for one in where))


def prompts(family: Family, people: int) -> Step:
    said = spoken([torch.zeros(1, TEXT, family.text)] * people, _regions(family, people), CANVAS)
    return Step(family, carried=[(RegionalTextRun, said, silent(said))])


def parts2whole(family: Family, count: int) -> Step:
    """Garments as in `masks.garments`, and their image tokens, of which there are always six."""
    masks = garments(count, family.height, family.width)
    at, bank = grids(family.unet.diffusion_model, family.height // 8, family.width // 8), {}
    for name, number, index, layer in transformers(family.unet.diffusion_model):
        tokens, width = at[name, number][0] * at[name, number][1], layer.attn1.to_q.in_features
        bank[name, number, index] = [keep(torch.zeros(tokens, width), token_mask(mask, tokens)) for mask in masks]
    weights, source = PartWeights([1.0] * count), object()
    sides = (SharedParts(source, ALWAYS, tokens, weights) for tokens in (bank, None))
    image = _injection(family, 1, 6)
    return Step(family, carried=[(SharingRun, *sides), (InjectionsRun, image, image)])


def share_parts(family: Family, count: int, crop: bool = False) -> Step:
    """Garments as in `masks.garments`, seen at every step, in every layer."""
    masks = garments(count, family.height, family.width)
    adm = torch.zeros(1, family.adm) if family.adm else None
    live = parts.live(family.unet, masks, (1, crop), torch.zeros(1, TEXT, family.text), adm)
    weights, source = PartWeights([1.0] * count), object()
    sides = (SharedParts(source, ALWAYS, None, weights, live=one) for one in (live, None))
    return Step(family, carried=[(SharingRun, *sides)])


def second_pass(family: Family, people: int) -> Step:
    """A row of 768 px per face, with ID-Patch."""
    small = family.at(*(3 * side // 4 for side in (family.width, family.height)))
    tokens = torch.zeros(people, ID_TOKENS, family.text, dtype=DTYPE, device=DEVICE)
    text = append_tokens([[family.tokens(TEXT), {}]], tokens, 1, 0.0, "bench")[0][0].repeat(2, 1, 1)
    return control_net(small, people, text)


@dataclass(frozen=True)
class Method:
    """step: one call of the UNet for so many people. target: the largest `ratio` wanted at the most people counted;
    None for what is not ours. most: people, or parts, beyond which there are none. picture: from what a call costs, in
    unpatched ones, and the people to what a step of the picture costs, in unpatched ones."""

    step: Callable[[Family, int], Step]
    target: float | None = None
    most: int = 12
    picture: Callable[[float, int], float] = lambda call, _people: call


PEOPLE = (2,) if TINY else (1, 2, 4, 8, 12)
PASS = 20 / 30
"""Steps of a pass over a face, for each step of the picture."""

SDXL: dict[str, Method] = {
    "id_patch": Method(id_patch, 1.55),
    "id_patch_by_region": Method(id_patch_by_region, 1.55),
    "instant_id": Method(instant_id, 1.5),
    "ip_adapter_faceid": Method(image_tokens(4), 1.01),
    "ip_adapter_plus": Method(image_tokens(16), 1.02),
    "story_maker": Method(story_maker, 1.04),
    "photo_maker": Method(photo_maker, 1.01),
    "style_per_person": Method(style, 1.01),
    "prompt_per_person": Method(prompts, 1.16),
    "share_parts": Method(share_parts, 5.0, most=8),
    "share_parts_cropped": Method(partial(share_parts, crop=True), 2.0, most=8),
    "second_pass": Method(second_pass, picture=lambda call, _: 1 + PASS * call),
}
SD15: dict[str, Method] = {
    **{name: SDXL[name] for name in ("ip_adapter_faceid", "ip_adapter_plus", "prompt_per_person", "share_parts")},
    "ip_adapter_full_face": Method(image_tokens(257), 1.3),
    "parts2whole": Method(parts2whole, 1.2, most=6),
}
ELSEWHERE: dict[str, Method] = {
    "control_net": Method(control_net, most=1),
    "chained_instant_ids": Method(peers.chained_instant_ids),
    "combined_instant_ids": Method(peers.combined_instant_ids, picture=lambda call, people: people * call),
    "masked_ip_adapters": Method(peers.masked_ip_adapters(16)),
    "regional_ip_adapters": Method(peers.masked_ip_adapters(16), picture=lambda call, people: (people + 1) * call),
    "attention_couple": Method(peers.attention_couple),
    "regional_prompts": Method(plain, picture=lambda call, people: (people + 2) / 2 * call),
    "crop_and_detail": Method(plain, picture=lambda call, people: 1 + PASS * people * call),
}
ELSEWHERE_15 = {name: method for name, method in ELSEWHERE.items() if "instant" not in name}


@dataclass(frozen=True)
class Counted:
    """Of one step after the first. tflop: operations, 1e12. peak, kept: MiB beside the weights, the most at any moment
    and what stays from step to step. networks: whose weights it needs."""

    tflop: float
    peak: float
    kept: float
    networks: tuple[Any, ...]


def counted(make: Callable[[], Any]) -> Counted:
    """make: a Step, or what has runs and networks and is called as one."""
    with LiveBytes(DEVICE) as memory:
        step = make()
        if step.runs:
            step()
        kept = memory.peak = memory.live

    def again() -> None:
        with memory:
            step()

    tflop = teraflops(again)
    return Counted(tflop, memory.peak / 2**20, kept / 2**20, step.networks)


def families(tiny: bool = TINY) -> tuple[Family, Family]:
    """SDXL and SD1.5."""
    shapes = (tiny_sdxl.HOST_CONFIG, tiny_sd15.HOST_CONFIG) if tiny else (sdxl.SHAPE, sd15.SHAPE)
    sizes = ((256, 256), (64, 128)) if tiny else ((1024, 1024), (512, 768))
    return _family("sdxl", sdxl, shapes[0], *sizes[0]), _family("sd15", sd15, shapes[1], *sizes[1])


def _family(name: str, of: Any, shape: dict[str, Any], width: int, height: int) -> Family:
    """of: the module that builds its networks."""
    unet, net = of.unet(DEVICE, DTYPE, shape), of.control_net(DEVICE, DTYPE, shape)
    return Family(name, unet, net, shape["context_dim"], width, height)


def table(prefix: str, *of_family: dict[str, Method]) -> None:
    for family, methods in zip(families(), of_family, strict=True):
        alone = counted(partial(plain, family, 0))
        for name, method in methods.items():
            for people in (number for number in PEOPLE if number <= max(method.most, PEOPLE[0])):
                found = alone if method.step is plain else counted(partial(method.step, family, people))
                ratio = method.picture(found.tflop / alone.tflop, people)
                report(
                    f"{prefix}_{family.name}_{name}_{people}", ratio * alone.tflop, alone.tflop, "TFLOP", method.target,
                    COUNTED, people=people, method=name, family=family.name, call_tflop=round(found.tflop, 6),
                    peak_mib=round(found.peak), kept_mib=round(found.kept), plain_peak_mib=round(alone.peak),
                )  # fmt: skip


CASES: dict[str, Callable[[], None]] = {
    "people": partial(table, "people", SDXL, SD15),
    "people_elsewhere": partial(table, "people_elsewhere", ELSEWHERE, ELSEWHERE_15),
}
NEED_GPU: set[str] = set()
