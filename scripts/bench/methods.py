"""Every method once: what its own nodes hand to the sampler for so many people, to be counted or timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import comfy.samplers
import parts_made
import people_made
import tiny_encoders
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
from pack.core.people import PlacedCast, RowCast

from bench.measure import TINY, LiveBytes, counting, interleaved, report
from bench.networks import (
    FILES,
    OURS,
    SD15,
    SDXL,
    Autoencoder,
    Networks,
    for_counting,
    for_timing,
    normal,
    run,
)


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
    head, y = min(width / people, height) / 3, height / 3
    slots = [people_made.standing(width / people * (number + 0.5), y, head) for number in range(people)]
    return PlacedCast(tuple(people_made.person(n, slot=slot) for n, slot in enumerate(slots, 1)), width, height)


def connected(on: Networks, kind: str, file: str = "", **given: Any) -> Applied:
    """What one of our nodes gives that is connected to all that its inputs are named after. file: of FILES, by which
    a method is loaded."""
    there = {
        "model": on.model, **on.sides(), "control_net": on.net, "clip": _encoder(on.text), "vae": Autoencoder(),
        "clip_vision": parts_made.clip_vision(1024, 1280, 224), "lora_weight": 0.0, "start_percent": 0.0,
    }  # fmt: skip
    there |= {FILES[file][0]: on.loaded(file)} if file else {}
    schema = OURS[kind].define_schema()
    own = {one.id: there[one.id] for one in schema.inputs if one.id in there}
    outputs = zip((one.id.removesuffix("_out") for one in schema.outputs), run(kind, **{**own, **given}), strict=True)
    model, positive, negative = map({"model": on.model, **dict(outputs)}.__getitem__, ("model", "positive", "negative"))
    return Applied(model, positive, negative)


@cache
def _encoder(width: int) -> Any:
    """Of texts, with tokens as wide as this."""
    return tiny_encoders.sd1(width) if width == tiny_encoders.SD15 else tiny_encoders.sdxl()


def with_cast(kind: str, file: str = "", more: Callable[[PlacedCast], dict[str, Any]] | None = None) -> Apply:
    """By a node that takes a cast. more: what else is connected to it."""

    def apply(on: Networks, people: int) -> Applied:
        cast = placed(on, people)
        return connected(on, kind, file, cast=cast, **(more(cast) if more else {}))

    return apply


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
    return connected(on, "LikenessApplyIDPatch", "id-patch", cast=cast or placed(on, people), id_start_percent=start)


def id_tokens_by_region(on: Networks, people: int) -> Applied:
    cast = placed(on, people)
    applied = id_patch(on, people, cast)
    return connected(on, "LikenessBindIDTokens", positive=applied.positive, negative=applied.negative, cast=cast)


def style(on: Networks, people: int) -> Applied:
    """A style of their own each: a node per person."""
    cast, applied, image = placed(on, people), unpatched(on, people), torch.rand(1, 64, 64, 3)
    for who in range(1, people + 1):
        before = {"model": applied.model, "positive": applied.positive, "negative": applied.negative}
        given = {**before, "images": image, "cast": cast, "who": str(who), "end_percent": 1.0}
        applied = connected(on, "LikenessApplyStyle", "ip-adapter-plus_sdxl_vit-h", **given)
    return applied


def keypoints(cast: PlacedCast) -> dict[str, Any]:
    return {"image": run("LikenessPoseImage", cast=cast, draw="face keypoints")[0]}


def bodies(cast: PlacedCast) -> dict[str, Any]:
    people = len(cast.people)
    return {"bodies": torch.rand(people, 64, 64, 3), "body_masks": torch.ones(people, 64, 64)}


def words(cast: PlacedCast) -> dict[str, Any]:
    text = ", ".join(["a person img"] * len(cast.people))
    return {"text": text, "trigger": "img"}


def prompts(cast: PlacedCast) -> dict[str, Any]:
    """A text of the usual length for each."""
    return {"prompts": "\n".join(f"{who}: {'very ' * who}happy" for who in range(1, len(cast.people) + 1))}


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
        given = {"parts": parts, "width": width, "height": height, "crop_to_mask": crop, "renew_every": every}
        return connected(on, "LikenessSharePartsAttention", **given)

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


class Method(NamedTuple):
    """apply: by its nodes. families: of UNets that it is measured on. most: people, or parts, beyond which there are
    none. side: of its picture, in parts of the whole."""

    apply: Apply
    families: tuple[str, ...] = ("sdxl",)
    most: int = 12
    side: float = 1.0

    def counted_on(self, on: Networks, people: int) -> Counted:
        """One step of a picture of these networks' size. on: for_counting."""
        size = (round(self.side * side / 8) * 8 for side in on.size)
        return counted(on.at(*size), self.apply(on, people))

    def numbers(self, family: str, *people: int) -> list[int]:
        """Of these numbers of people those that it is measured with."""
        known = [2] if TINY else [number for number in people if number <= self.most]
        return known if family in self.families else []


BOTH = ("sdxl", "sd15")
METHODS: dict[str, Method] = {
    "control_net": Method(control_net, BOTH, most=1),
    "id_patch": Method(id_patch),
    "id_tokens_by_region": Method(id_tokens_by_region),
    "instant_id": Method(with_cast("LikenessApplyInstantID", "instant-id", keypoints)),
    "ip_adapter_faceid": Method(with_cast("LikenessApplyIPAdapter", "ip-adapter-faceid_sdxl"), BOTH),
    "ip_adapter_plus": Method(with_cast("LikenessApplyIPAdapter", "ip-adapter-plus_sdxl_vit-h"), BOTH),
    "ip_adapter_full_face": Method(with_cast("LikenessApplyIPAdapter", "ip-adapter-full-face_sd15"), ("sd15",)),
    "story_maker": Method(with_cast("LikenessApplyStoryMaker", "mask", bodies)),
    "photo_maker": Method(with_cast("LikenessApplyPhotoMaker", "photomaker-v1", words)),
    "style_per_person": Method(style),
    "prompt_per_person": Method(with_cast("LikenessPersonPrompts", more=prompts), BOTH),
    "share_parts": Method(share_parts(), BOTH, most=8),
    "share_parts_cropped": Method(share_parts(crop=True), most=8),
    "share_parts_every_2nd_step_cropped": Method(share_parts(True, 2), families=()),
    "parts2whole": Method(parts2whole, ("sd15",), most=6),
    "second_pass": Method(second_pass(), side=0.75),
}
"""Every method by its name."""
STEPS = 20 / 30
"""Of a pass over a face, for each step of the picture."""


def count() -> None:
    """What a step of the picture costs for 1 to 12 people, passes over faces spread over its steps."""
    for family in (SDXL, SD15):
        on = for_counting(family)
        plain = counted(on, unpatched(on, 0))
        for name, method in METHODS.items():
            for people in method.numbers(family.name, 1, 2, 4, 8, 12):
                found = method.counted_on(on, people)
                step = plain.tflop + STEPS * found.tflop if name == "second_pass" else found.tflop
                report(
                    f"people_{family.name}_{name}_{people}", step, plain.tflop, "TFLOP", people=people, method=name,
                    family=family.name, call_tflop=round(found.tflop, 6), peak_mib=round(found.peak),
                    kept_mib=round(found.kept), plain_peak_mib=round(plain.peak),
                )  # fmt: skip


def clock() -> None:
    """A step with people beside one without anything, in turns."""
    on = for_timing()
    for name, method in METHODS.items():
        for people in method.numbers(SDXL.name, 1, 4):
            run, other = (partial(seconds_of_a_step, on, apply(on, people)) for apply in (method.apply, unpatched))
            report(f"seconds_{name}_{people}", *interleaved(run, other, 4), "s a step", people=people)


def seconds_of_a_step(on: Networks, applied: Applied, steps: int = 1 if TINY else 4) -> float:
    """Of one behind the first, which puts what is carried on the device: the mean of so many."""
    moments: list[float] = []

    def note(*_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        moments.append(time.perf_counter())

    sampled(on, applied, steps + 1, callback=note)
    return (moments[-1] - moments[0]) / steps
