"""Every method's step at SDXL's real size, sampled by the host: beside the same without it, and in half precision."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import comfy.controlnet
import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import environment
import people_made
import tiny_sdxl
import torch
from pack.bridge import carried, regional_text
from pack.bridge.conditioning import Canvas, ControlAttachment, append_tokens
from pack.bridge.injections import Injection, InjectionsRun
from pack.bridge.regional_text import RegionalTextRun
from pack.bridge.runs import patched
from pack.bridge.self_attention.run import SharingRun
from pack.bridge.self_attention.shared_parts import SharedParts, share_with
from pack.bridge.unet import attention_layers
from pack.core.parts.bank import PartWeights
from pack.core.people import PlacedCast
from pack.nodes.id_patch.condition_image import condition, presence
from pack.nodes.id_patch.nodes import ApplyIDPatch, IDPatch, load_id_patch
from pack.nodes.instant_id.nodes import IdentityNet
from seeded import id_patch_file

from bench import parts, sdxl
from bench.instant_id import TOKENS, WIDTH
from bench.masks import garments, side_by_side
from bench.measure import TINY, accelerator, finished, interleaved, named, peak_gib, report

STEPS = 1 if TINY else 4
"""That are timed, behind the first, which puts what is carried on the device."""
CANVAS = Canvas(None, "bench.py", lambda _: "")
LONGEST = 77


class Applied(NamedTuple):
    """What a method's nodes hand to the sampler."""

    model: Any
    positive: Any
    negative: Any


@dataclass(frozen=True)
class Networks:
    """SDXL and a ControlNet in the host. side: of the picture, in px. device: where their weights wait."""

    model: Any
    net: Any
    dtype: Any
    side: int = sdxl.SIDE


def networks(dtype: Any = torch.float16, waiting: Any = None) -> Networks:
    """With random weights, always the same. waiting: where they are while they are not used, else on the GPU."""
    device = accelerator()
    unet, net = sdxl.unet(device, dtype), sdxl.control_net(device, dtype)
    where = {"load_device": device, "offload_device": waiting or device}
    if waiting is not None:
        unet.to(waiting)
    model = comfy.model_patcher.ModelPatcher(unet, **where)
    return Networks(model, comfy.controlnet.ControlNet(net, load_device=device), dtype)


def normal(seed: int, *shape: int) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def texts(tokens: int = LONGEST) -> list[Any]:
    """Positive and negative."""
    return [[[normal(n, 1, tokens, WIDTH), {"pooled_output": normal(n + 50, 1, 1280)}]] for n in (1, 2)]


def hint(on: Networks) -> Any:
    return torch.rand(1, on.side, on.side, 3, generator=torch.Generator().manual_seed(3))


def unpatched(on: Networks, _people: int) -> Applied:
    return Applied(on.model, *texts())


def control_net(on: Networks, _people: int) -> Applied:
    """As the host's Apply ControlNet puts it in."""
    net = on.net.copy().set_cond_hint(hint(on).movedim(-1, 1), 0.8, (0.0, 1.0))
    said = {"control": net, "control_apply_to_uncond": False}
    return Applied(on.model, *([[text, {**options, **said}] for text, options in side] for side in texts()))


@cache
def id_patch() -> IDPatch:
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "id-patch.bin")
        torch.save(id_patch_file("resampler"), path)
        return load_id_patch(path)


def cast(people: int, side: int) -> PlacedCast:
    """In two rows, everybody's nose in a place of its own."""
    wide = side / people
    return people_made.cast([(wide * (n + 0.5), side * (0.3 + 0.2 * (n % 2))) for n in range(people)], side, side)


def apply_id_patch(on: Networks, people: int, start: float = 0.0) -> Applied:
    """By the node. start: from which part of the schedule on tokens are read."""
    everybody = cast(people, on.side)
    patches = id_patch().patches(everybody.people, "mean")
    image = condition(torch.zeros(1, on.side, on.side, 3), patches, presence(everybody), "bench.py")
    given = on.net, id_patch(), everybody, image, 0.8, 0.0, 1.0, start, "mean"
    return Applied(on.model, *ApplyIDPatch.execute(*texts(), *given).args)


def id_tokens_by_region(on: Networks, people: int) -> Applied:
    model, *sides = apply_id_patch(on, people)
    sides = regional_text.standing_in(sides, side_by_side(people, on.side, on.side), CANVAS)
    return Applied(patched(model, RegionalTextRun), *sides)


def injected(on: Networks, people: int, tokens: int, layers: Callable[[int], bool] = lambda _: True) -> Any:
    """Both sides with people in regions of their own, of so many tokens each. layers: where they are heard."""
    widths, source = [width for *_, width in attention_layers(on.model)], object()
    regions = side_by_side(people, on.side, on.side) if people > 1 else None

    def injection(seed: int) -> Injection:
        def pair(layer: int, width: int) -> Any:
            return tuple(normal(seed + n + layer, people, tokens, width) for n in (0, 500)) if layers(layer) else None

        pairs = tuple(pair(layer, width) for layer, width in enumerate(widths))
        return Injection(source, carried.ALWAYS, normal(seed, people, tokens, WIDTH), pairs, regions)

    each = [injection(1000 * n) for n in (1, 2)]
    return each, [carried.put(side, one) for side, one in zip(texts(), each, strict=True)]


def adapter(tokens: int, layers: Callable[[int], bool] = lambda _: True) -> Callable[[Networks, int], Applied]:
    def apply(on: Networks, people: int) -> Applied:
        _, sides = injected(on, people, tokens, layers)
        return Applied(patched(on.model, InjectionsRun), *sides)

    return apply


def apply_instant_id(on: Networks, people: int) -> Applied:
    (positive, _), sides = injected(on, people, TOKENS)
    net = IdentityNet(on.net, positive.source, normal(5, 1, TOKENS, WIDTH))
    attachment = ControlAttachment(net, WIDTH, hint(on), 0.8, (0.0, 1.0))
    return Applied(patched(on.model, InjectionsRun), *map(attachment.to, sides))


def person_prompts(on: Networks, people: int) -> Applied:
    """A text of the usual length for each, read behind the common one."""
    each = [normal(100 + n, 1, LONGEST, WIDTH) for n in range(people)]
    said, (positive, negative) = regional_text.spoken(each, side_by_side(people, on.side, on.side), CANVAS), texts()
    sides = carried.put(positive, said), carried.put(negative, regional_text.silent(said))
    return Applied(patched(on.model, RegionalTextRun), *sides)


def photo_maker(on: Networks, people: int) -> Applied:
    """Two photos for each: their class words stand in the text, heard where the person is."""
    positive, negative = texts()
    for n, region in enumerate(side_by_side(people, on.side, on.side)):
        words = regional_text.standing_at(5 + 3 * n, 2, region, CANVAS)
        positive, negative = carried.put(positive, words), carried.put(negative, regional_text.silent(words))
    return Applied(patched(on.model, RegionalTextRun), positive, negative)


def share_parts(way: str) -> Callable[[Networks, int], Applied]:
    """way: of parts.WAYS."""

    def apply(on: Networks, count: int) -> Applied:
        masks = garments(count, on.side, on.side)
        live = parts.live(on.model.model, masks, parts.WAYS[way], normal(9, 1, LONGEST, WIDTH), normal(10, 1, 2816))
        given = {"bank": None, "source": object(), "sigmas": carried.ALWAYS, "weights": PartWeights([1.0] * count)}
        pairs = zip(texts(), (live, None), strict=True)
        return Applied(patched(on.model, SharingRun), *(share_with(t, SharedParts(live=r, **given)) for t, r in pairs))

    return apply


METHODS: dict[str, Callable[[Networks, int], Applied]] = {
    "unpatched": unpatched,
    "control_net": control_net,
    "id_patch": apply_id_patch,
    "id_tokens_by_region": id_tokens_by_region,
    "instant_id": apply_instant_id,
    "ip_adapter_face_id": adapter(4),
    "ip_adapter_full_face": adapter(257),
    "story_maker": adapter(40),  # 20 of the person, 20 of the background
    "style": adapter(16, lambda layer: 34 <= layer < 44 or (TINY and layer < 2)),
    "photo_maker": photo_maker,
    "person_prompts": person_prompts,
    "share_parts": share_parts("every_step"),
    "share_parts_every_2nd_step_cropped": share_parts("every_2nd_step_cropped"),
}
WITH_CONTROL_NET = ("id_patch", "id_tokens_by_region", "instant_id")
"""Beside a plain ControlNet; all others beside the model alone."""


def sampled(on: Networks, applied: Applied, steps: int = STEPS + 1, rows: int = 1, **more: Any) -> Any:
    """The latent, (rows, 4, h, w), after so many of the host's Euler steps with CFG. more: of the host's sampler."""
    start = normal(7, rows, 4, on.side // 8, on.side // 8) * 14
    sampling = applied.model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", steps)
    return tiny_sdxl.host_sample(applied.model, start, sigmas, applied.positive, applied.negative, **more)


def step_seconds(on: Networks, applied: Applied, rows: int = 1) -> float:
    """Of one step behind the first, the mean of STEPS."""
    moments: list[float] = []
    ended = finished(lambda: None)

    def note(*_: Any) -> None:
        ended()
        moments.append(time.perf_counter())

    sampled(on, applied, rows=rows, callback=note)
    return (moments[-1] - moments[0]) / STEPS


def in_turns(ours: Callable[[], float], peer: Callable[[], float], rounds: int = 4) -> tuple[float, float]:
    """Medians of the seconds that they say; as measure.interleaved."""
    said: tuple[list[float], list[float]] = ([], [])
    interleaved(lambda: said[0].append(ours()), lambda: said[1].append(peer()), rounds)
    return statistics.median(said[0][1:]), statistics.median(said[1][1:])


def peer_of(method: str) -> str:
    return "control_net" if method in WITH_CONTROL_NET else "unpatched"


def steps() -> None:
    """All of them; those whose cost grows with the people, with 1, 2, 4 and 8."""
    on = networks()
    for method, counts, target in (
        ("control_net", (0,), None),
        ("id_patch", (1, 2, 4, 8), 1.08),
        ("instant_id", (1, 2, 4, 8), 1.1),
        ("id_tokens_by_region", (2, 8), 1.1),
        ("person_prompts", (2, 4, 8), 1.15),
        ("ip_adapter_face_id", (1, 2, 4, 8), 1.05),
        ("share_parts", (1, 4), None),
        ("share_parts_every_2nd_step_cropped", (1, 4), 1.35),
        ("story_maker", (2, 4), 1.1),
        ("photo_maker", (2, 4), 1.1),
        ("style", (1, 2), 1.05),
        ("ip_adapter_full_face", (1, 4), 1.1),
    ):
        for people in counts[-1:] if TINY else counts:
            step(on, method, people, target)


def step(on: Networks, method: str, people: int, target: float | None) -> None:
    run, other = (partial(step_seconds, on, METHODS[each](on, people)) for each in (method, peer_of(method)))
    ours, peer = in_turns(run, other)
    memory = {"peak_gib": round(peak_gib(run), 2), "peer_peak_gib": round(peak_gib(other), 2)}
    name = f"step_{method}_{people}_vs_{peer_of(method)}"
    report(name, ours, peer, "s a step", target, named(accelerator()), people=people, **memory)


def second_pass() -> None:
    """A step of six faces at half the side, a row each, beside a step of the whole picture with all six."""
    faces, on = 6, networks()
    half = Networks(on.model, on.net, on.dtype, on.side // 2)
    model, *sides = control_net(half, 0)
    rows = normal(21, faces, 16, WIDTH)
    cut_out = Applied(model, *(append_tokens(side, rows, 1, 0.0, "bench.py") for side in sides))
    run = partial(step_seconds, half, cut_out, faces)
    ours, peer = in_turns(run, partial(step_seconds, on, apply_id_patch(on, faces)))
    device, memory = named(accelerator()), round(peak_gib(run), 2)
    report("second_pass_step_6_faces_at_half_size", ours, peer, "s a step", 1.5, device, peak_gib=memory)


def batches() -> None:
    """Per picture, four in a batch beside one."""
    on, many, device = networks(), 4, named(accelerator())
    for method in ("unpatched", "instant_id", "person_prompts"):
        applied = METHODS[method](on, 4)
        four, one = (partial(step_seconds, on, applied, rows) for rows in (many, 1))
        ours, peer = in_turns(four, one, 3)
        memory = {"peak_gib": round(peak_gib(four), 2), "peer_peak_gib": round(peak_gib(one), 2)}
        name = f"batch_of_4_vs_1_{method}_4_people"
        report(name, ours / many, peer, "s a step and picture", 1.05, device, **memory)


def difference(ours: Any, reference: Any) -> float:
    """Of two latents, relative to the second. Raises SetupError where the first is no picture."""
    if not ours.isfinite().all():
        raise environment.SetupError("The picture has numbers that are infinite or none.")
    return float((ours.float() - reference).norm() / reference.norm())


def half_precision() -> None:
    """How far the picture in half precision is from the one in float32; the peer is the model's own difference."""
    kinds = ("unpatched", "id_patch", "id_tokens_by_region", "instant_id", "person_prompts", "share_parts")
    exact = networks(torch.float32)
    wanted = {method: sampled(exact, METHODS[method](exact, 4)).float() for method in kinds}
    for dtype in (torch.float16, torch.bfloat16):
        on = networks(dtype)
        # Rounded, not drawn anew: another dtype draws other numbers.
        on.model.model.load_state_dict(exact.model.model.state_dict())
        on.net.control_model.load_state_dict(exact.net.control_model.state_dict())
        found = {method: difference(sampled(on, METHODS[method](on, 4)), wanted[method]) for method in kinds}
        for method in kinds[1:]:
            name = f"difference_{method}_4_{str(dtype).removeprefix('torch.')}"
            report(name, found[method], found["unpatched"], "relative", 2.0, named(accelerator()))


@contextmanager
def no_vram() -> Iterator[None]:
    """As with --novram, the most that --lowvram can come to: each layer's weights are fetched when they are needed."""
    management = comfy.model_management
    before = management.vram_state
    management.vram_state = management.VRAMState.NO_VRAM
    try:
        yield
    finally:
        management.vram_state = before


def offloaded() -> None:
    """A step of InstantID with weights that wait in the computer's memory; the picture must be the same."""
    people, on = 4, networks()
    applied = apply_instant_id(on, people)
    wanted, peer = sampled(on, applied).float(), step_seconds(on, applied)
    memory = peak_gib(partial(sampled, on, applied))
    del on, applied
    waiting = networks(waiting=torch.device("cpu"))
    with no_vram():
        applied = apply_instant_id(waiting, people)
        if not (apart := difference(sampled(waiting, applied), wanted)) < 1e-2:
            raise environment.SetupError(f"Offloaded weights give another picture: {apart:.1e} apart.")
        run = partial(step_seconds, waiting, applied)
        more = {"relative_difference": apart, "peak_gib": round(peak_gib(run), 2), "peer_peak_gib": round(memory, 2)}
        name = "step_instant_id_4_offloaded_vs_on_card"
        report(name, run(), peer, "s a step", None, named(accelerator()), **more)
