"""Every method once: what its own nodes hand to the sampler for so many people, to be counted or timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import comfy.samplers
import people_made
import photo_maker_made
import tiny_sdxl
import torch
import torch.nn.functional as functional
from pack.bridge.carried import ALWAYS
from pack.bridge.runs import patched
from pack.bridge.self_attention.run import SharingRun
from pack.bridge.self_attention.shared_parts import SharedParts, share_with
from pack.bridge.unet import grids, transformers
from pack.core.attention import Block
from pack.core.parts.bank import PartWeights, keep, token_mask
from pack.core.people import PlacedCast, RowCast, Slot
from pack.core.places import bodies

from bench.measure import COUNTED, TINY, LiveBytes, counting, finished, interleaved, report
from bench.networks import SD15, SDXL, Autoencoder, Clip, Networks, clip_vision, for_counting, normal, run

RANGE = {"start_percent": 0.0, "end_percent": 1.0}


class Applied(NamedTuple):
    """What the sampler is connected to. rows: of the batch."""

    model: Any
    positive: Any
    negative: Any
    rows: int = 1


Apply = Callable[[Networks, int], Applied]


def placed(on: Networks, people: int) -> PlacedCast:
    """A cast, half length beside each other, however small."""
    width, height = on.size
    size, found = min(width / people, height) / 8, list[Slot]()
    for number in range(people):
        x, y = width / people * (number + 0.5), height / 3
        eyes, mouth = ((x - size / 2, y - size / 2), (x + size / 2, y - size / 2)), y + size / 2
        points = (*eyes, (x, y), (x - size / 2, mouth), (x + size / 2, mouth))
        box = (x - size, y - size, x + size, y + size)
        found.append(Slot((x, y), box, points, bodies.body_around(points, "half")))
    persons = (people_made.person(number, slot=slot) for number, slot in enumerate(found, 1))
    return PlacedCast(tuple(persons), width, height)


def unpatched(on: Networks, _people: int) -> Applied:
    return Applied(on.model, **on.sides())


def control_net(on: Networks, _people: int) -> Applied:
    """As the host's Apply ControlNet puts it in."""
    hint = torch.rand(1, 3, *on.size[::-1], generator=torch.Generator().manual_seed(3))
    said = {"control": on.net.copy().set_cond_hint(hint, 0.8, (0.0, 1.0)), "control_apply_to_uncond": False}
    positive, negative = ([[text, {**options, **said}] for text, options in side] for side in on.sides().values())
    return Applied(on.model, positive, negative)


def id_patch(on: Networks, people: int, cast: Any = None, start: float = 0.0) -> Applied:
    """start: from which part of the schedule on its tokens are read."""
    given = {"control_net": on.net, "id_patch": on.loaded("id_patch"), "id_start_percent": start}
    cast = cast or placed(on, people)
    return Applied(on.model, *run("LikenessApplyIDPatch", **on.sides(), **given, cast=cast)[:2])


def id_tokens_by_region(on: Networks, people: int) -> Applied:
    cast = placed(on, people)
    model, positive, negative, _ = id_patch(on, people, cast)
    return _applied("LikenessBindIDTokens", model=model, positive=positive, negative=negative, cast=cast)


def instant_id(on: Networks, people: int) -> Applied:
    cast = placed(on, people)
    given = {"control_net": on.net, "instant_id": on.loaded("instant_id"), "cast": cast}
    return _of(
        on, "LikenessApplyInstantID", image=run("LikenessPoseImage", cast=cast, draw="face keypoints")[0], **given
    )


def ip_adapter(kind: str) -> Apply:
    """kind: of FILES."""

    def apply(on: Networks, people: int) -> Applied:
        given = {"ip_adapter": on.loaded(kind), "cast": placed(on, people), "lora_weight": 0.0}
        return _of(on, "LikenessApplyIPAdapter", clip_vision=_eye(), **given)

    return apply


def story_maker(on: Networks, people: int) -> Applied:
    given = {"story_maker": on.loaded("story_maker"), "cast": placed(on, people), "lora_weight": 0.0}
    bodies = {"bodies": torch.rand(people, 64, 64, 3), "body_masks": torch.ones(people, 64, 64)}
    return _of(on, "LikenessApplyStoryMaker", clip_vision=_eye(), **bodies, **given)


def photo_maker(on: Networks, people: int) -> Applied:
    cast, clip = placed(on, people), photo_maker_made.clip()
    words = {"text": ", ".join(["a person img"] * people), "trigger": "img", "lora_weight": 0.0, "start_percent": 0.0}
    given = {"photo_maker": on.loaded("photo_maker"), "negative": on.sides()["negative"], "cast": cast, **words}
    return _applied("LikenessApplyPhotoMaker", model=on.model, clip=clip, **given)


def style(on: Networks, people: int) -> Applied:
    """A style of their own each: a node per person."""
    cast, applied = placed(on, people), unpatched(on, people)
    loaded, image = on.loaded("ip-adapter-plus_sdxl_vit-h"), torch.rand(1, 64, 64, 3)
    for who in range(1, people + 1):
        given = {"ip_adapter": loaded, "clip_vision": _eye(), "images": image, "cast": cast, "who": str(who), **RANGE}
        sides = {"positive": applied.positive, "negative": applied.negative}
        applied = _applied("LikenessApplyStyle", model=applied.model, **sides, **given)
    return applied


def prompts(on: Networks, people: int) -> Applied:
    """A text of the usual length for each."""
    lines = "\n".join(f"{who}: {'very ' * who}happy" for who in range(1, people + 1))
    return _of(on, "LikenessPersonPrompts", clip=Clip(on.text), cast=placed(on, people), prompts=lines)


def garment(on: Networks) -> Any:
    """(height, width): it covers a fifth of its picture, in a box around it that is a quarter."""
    width, height = on.size
    sides = [torch.linspace(-1, 1, side // 2) for side in (height, width)]
    y, x = torch.meshgrid(*sides, indexing="ij")
    mask = functional.pad((y**2 + x**2 < 1).float(), (0, width - width // 2, 0, height - height // 2))
    return mask.roll((height // 4, width // 4), (0, 1))


def share_parts(crop: bool = False, every: int = 1) -> Apply:
    def apply(on: Networks, count: int) -> Applied:
        (width, height), parts = on.size, None
        for number in range(count):
            picture = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(number))
            more = {} if parts is None else {"parts": parts}
            parts = run("LikenessPart", image=picture, mask=garment(on)[None], **more)[0]
        given = {"parts": parts, "clip": Clip(on.text), "vae": Autoencoder(), "renew_every": every}
        return _of(on, "LikenessSharePartsAttention", width=width, height=height, crop_to_mask=crop, **given)

    return apply


def parts2whole(on: Networks, count: int) -> Applied:
    """As Apply Parts puts what its reference UNet has seen, random here, without their image tokens."""
    unet, bank = on.model.model.diffusion_model, dict[Block, list[Any]]()
    at, mask = grids(unet, on.size[1] // 8, on.size[0] // 8), garment(on)
    for name, number, index, layer in transformers(unet):
        tokens, width = at[name, number][0] * at[name, number][1], layer.attn1.to_q.in_features
        bank[name, number, index] = [keep(normal(number, tokens, width), token_mask(mask, tokens))] * count
    weights, source = PartWeights([1.0] * count), object()
    sides = (SharedParts(source, ALWAYS, tokens, weights) for tokens in (bank, None))
    pairs = zip(on.sides().values(), sides, strict=True)
    return Applied(patched(on.model, SharingRun), *(share_with(text, one) for text, one in pairs))


def second_pass(part: float = 0.75) -> Apply:
    """A row per face, with ID-Patch. part: of the picture's side."""

    def apply(on: Networks, people: int) -> Applied:
        width, height = (round(part * side / 8) * 8 for side in on.size)
        one, rows = placed(on.at(width, height), 1).people[0], range(people)
        cast = RowCast(tuple(people_made.person(number, slot=one.slot) for number in rows), width, height)
        return id_patch(on.at(width, height), people, cast)._replace(rows=people)

    return apply


def _of(on: Networks, node: str, **given: Any) -> Applied:
    return _applied(node, model=on.model, **on.sides(), **given)


def _applied(node: str, **given: Any) -> Applied:
    return Applied(*run(node, **given)[:3])


_eye = cache(clip_vision)


def sampled(on: Networks, applied: Applied, steps: int, **more: Any) -> Any:
    """The latent after so many of the host's Euler steps with CFG. more: of the host's sampler."""
    width, height = on.size
    start = normal(7, applied.rows, 4, height // 8, width // 8) * 14
    sampling = applied.model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", steps)
    return tiny_sdxl.host_sample(applied.model, start, sigmas, applied.positive, applied.negative, **more)


@dataclass(frozen=True)
class Counted:
    """Of one step after the first. tflop: operations, 1e12. peak, kept: MiB beside the weights, the most at any moment
    and what stays from step to step."""

    tflop: float
    peak: float
    kept: float


def counted(on: Networks, applied: Applied, steps: int = 2) -> Counted:
    """Of the last of these steps. on: for_counting."""
    moments: list[tuple[int, int, int]] = []
    with LiveBytes("cpu") as memory, counting() as counter:

        def note(*_: Any) -> None:
            moments.append((counter.get_total_flops(), memory.peak, memory.live))
            memory.peak = memory.live

        sampled(on, applied, steps, callback=note)
    (before, _, kept), (after, peak, _) = moments[-2:]
    return Counted((after - before) / 1e12, peak / 2**20, kept / 2**20)


@dataclass(frozen=True)
class Method:
    """apply: by its nodes. families: of UNets that it is counted on. counted, timed: the largest cost wanted, of a step
    beside the plain one at the most people counted, and of one beside `peer` in seconds. most: people, or parts,
    beyond which there are none. side: of its picture, in parts of the whole."""

    apply: Apply
    counted: float | None = None
    timed: float | None = None
    people: tuple[int, ...] = ()
    peer: str = "unpatched"
    families: tuple[str, ...] = ("sdxl",)
    most: int = 12
    side: float = 1.0

    def counted_on(self, on: Networks, people: int) -> Counted:
        """One step of a picture of these networks' size. on: for_counting."""
        size = (round(self.side * side / 8) * 8 for side in on.size)
        return counted(on.at(*size), self.apply(on, people))


BOTH = ("sdxl", "sd15")
METHODS: dict[str, Method] = {
    "unpatched": Method(unpatched, families=()),
    "control_net": Method(control_net, people=(0,), families=BOTH, most=1),
    "id_patch": Method(id_patch, 1.55, 1.08, (1, 2, 4, 8), "control_net"),
    "id_tokens_by_region": Method(id_tokens_by_region, 1.55, 1.1, (2, 8), "control_net"),
    "instant_id": Method(instant_id, 1.5, 1.1, (1, 2, 4, 8), "control_net"),
    "ip_adapter_faceid": Method(ip_adapter("ip-adapter-faceid_sdxl"), 1.01, 1.05, (1, 2, 4, 8), families=BOTH),
    "ip_adapter_plus": Method(ip_adapter("ip-adapter-plus_sdxl_vit-h"), 1.02, families=BOTH),
    "ip_adapter_full_face": Method(ip_adapter("ip-adapter-full-face_sd15"), 1.3, 1.1, (1, 4), families=("sd15",)),
    "story_maker": Method(story_maker, 1.04, 1.1, (2, 4)),
    "photo_maker": Method(photo_maker, 1.01, 1.1, (2, 4)),
    "style_per_person": Method(style, 1.01, 1.05, (1, 2)),
    "prompt_per_person": Method(prompts, 1.16, 1.15, (2, 4, 8), families=BOTH),
    "share_parts": Method(share_parts(), 5.0, people=(1, 4), families=BOTH, most=8),
    "share_parts_cropped": Method(share_parts(crop=True), 2.0, most=8),
    "share_parts_every_2nd_step_cropped": Method(share_parts(True, 2), None, 1.35, (1, 4), families=()),
    "parts2whole": Method(parts2whole, 1.2, families=("sd15",), most=6),
    "second_pass": Method(second_pass(), side=0.75),
}
"""Every method by its name."""


def seconds_of_a_step(on: Networks, applied: Applied, steps: int) -> float:
    """Of one behind the first, which puts what is carried on the device: the mean of so many."""
    moments: list[float] = []
    ended = finished(lambda: None)

    def note(*_: Any) -> None:
        ended()
        moments.append(time.perf_counter())

    sampled(on, applied, steps + 1, callback=note)
    return (moments[-1] - moments[0]) / steps


def in_turns(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Medians of the seconds that they say; as measure.interleaved."""
    said: tuple[list[float], list[float]] = ([], [])
    interleaved(lambda: said[0].append(ours()), lambda: said[1].append(peer()), rounds)
    return statistics.median(said[0][1:]), statistics.median(said[1][1:])


STEPS = 20 / 30
"""Of a pass over a face, for each step of the picture."""


def table() -> None:
    """What a step of the picture costs for 1 to 12 people, passes over faces spread over its steps."""
    for family in (SDXL, SD15):
        on = for_counting(family)
        plain = counted(on, unpatched(on, 0))
        for name, method in METHODS.items():
            most = method.most if family.name in method.families else 0
            for people in (2,) if TINY and most else (number for number in (1, 2, 4, 8, 12) if number <= most):
                found = method.counted_on(on, people)
                step = plain.tflop + STEPS * found.tflop if name == "second_pass" else found.tflop
                report(
                    f"people_{family.name}_{name}_{people}", step, plain.tflop, "TFLOP", method.counted, COUNTED,
                    people=people, method=name, family=family.name, call_tflop=round(found.tflop, 6),
                    peak_mib=round(found.peak), kept_mib=round(found.kept), plain_peak_mib=round(plain.peak),
                )  # fmt: skip


CASES: dict[str, Callable[[], None]] = {"people": table}
NEED_GPU: set[str] = set()
