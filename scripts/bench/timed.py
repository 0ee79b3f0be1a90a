"""What a GPU is wanted for at SDXL's real size, sampled by the host: every method beside the same without it.

In half precision, compiled; and a picture of eight people from the cast to pixels.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import comfy.model_management
import comfy.sd
import comfy.taesd.taesd
import environment
import torch
from comfy_extras.nodes_torch_compile import TorchCompileModel

from bench import networks
from bench.measure import TINY, accelerator, named, peak_gib, report
from bench.methods import METHODS, Applied, id_patch, in_turns, sampled, seconds_of_a_step
from bench.networks import Networks, for_timing

STEPS = 1 if TINY else 4
"""That are timed, behind the first."""
ROUNDS = 4
PEOPLE = 4
BACKEND = "eager" if TINY else "inductor"
"""Of torch.compile."""


def _seconds(on: Networks, applied: Applied) -> float:
    return seconds_of_a_step(on, applied, STEPS)


def _latent(on: Networks, applied: Applied) -> Any:
    return sampled(on, applied, STEPS + 1)


def steps() -> None:
    """All of them; those whose cost grows with the people, with 1, 2, 4 and 8."""
    on = for_timing()
    for name, method in METHODS.items():
        for people in method.people[-1:] if TINY else method.people:
            _beside(on, f"step_{name}_{people}_vs_{method.peer}", name, method.peer, people, method.timed)


def _beside(on: Networks, name: str, method: str, peer: str, people: int, target: float | None) -> None:
    run, other = (partial(_seconds, on, METHODS[each].apply(on, people)) for each in (method, peer))
    ours, theirs = in_turns(run, other, ROUNDS)
    memory = {"peak_gib": round(peak_gib(run), 2), "peer_peak_gib": round(peak_gib(other), 2)}
    report(name, ours, theirs, "s a step", target, named(accelerator()), people=people, **memory)


def difference(ours: Any, reference: Any) -> float:
    """Of two latents, relative to the second. Raises SetupError where the first is no picture."""
    if not ours.isfinite().all():
        raise environment.SetupError("The picture has numbers that are infinite or none.")
    return float((ours.float() - reference).norm() / reference.norm())


def compiled(method: str, dtype: Any) -> None:
    """A step of four people (or parts) by the host's TorchCompileModel, and not compiled; `recompiled`: graphs that
    other people and seeds cost."""
    on = for_timing(dtype)
    plain = METHODS[method].apply(on, PEOPLE)
    applied = plain._replace(model=TorchCompileModel.execute(plain.model, BACKEND).args[0])
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    wanted, began = _latent(on, plain).float(), time.perf_counter()
    apart = difference(_latent(on, applied), wanted)
    seconds, graphs = time.perf_counter() - began, counters["stats"]["unique_graphs"]
    _latent(on, METHODS[method].apply(on, PEOPLE)._replace(model=applied.model))
    run, other = (partial(_seconds, on, each) for each in (applied, plain))
    ours, peer = in_turns(run, other, ROUNDS)
    more = {
        "compiling_s": round(seconds, 1),
        "graphs": graphs,
        "recompiled": counters["stats"]["unique_graphs"] - graphs,
        "breaks": sum(counters["graph_break"].values()),
        "relative_difference": apart,
    }
    name = f"compiled_{method}_{str(dtype).removeprefix('torch.')}_vs_uncompiled"
    report(name, ours, peer, "s a step", None, named(accelerator()), **more)


def eight_people() -> None:
    """ID-Patch as the paper times it, which says about 10 s: faces to patches and tokens, 50 steps with CFG at 1024 px,
    decoding. Texts are encoded and files loaded before."""
    people, count, rounds = (8, 2, 1) if TINY else (8, 50, 3)
    on, took = for_timing(), list[tuple[float, ...]]()
    made = comfy.taesd.taesd.TAESD() if TINY else networks.autoencoder()
    networks.spread(made)
    vae = comfy.sd.VAE(sd=made.state_dict())

    def one() -> None:
        moments = [time.perf_counter()]
        applied = id_patch(on, people, start=0.2)
        moments.append(time.perf_counter())
        latent = sampled(on, applied, count)
        moments.append(time.perf_counter())
        _check(vae.decode(latent / latent.std()), on.size)
        moments.append(time.perf_counter())
        took.append(tuple(after - before for before, after in itertools.pairwise(moments)))

    for _ in range(1 + rounds):
        one()
    first, *others = took
    apply, sample, decode = (round(statistics.median(each), 4) for each in zip(*others, strict=True))
    more = {"apply_s": apply, "sample_s": sample, "decode_s": decode, "first_s": round(sum(first), 2)}
    seconds, memory = statistics.median(map(sum, others)), round(peak_gib(one), 2)
    name = f"id_patch_picture_{people}_people_{count}_steps_{on.size[0]}_px"
    report(name, seconds, 4.0, "s", 1.0, named(accelerator()), peak_gib=memory, **more)


def _check(pixels: Any, size: tuple[int, int]) -> None:
    """Raise SetupError for what is no picture."""
    if tuple(pixels.shape) != (1, *size[::-1], 3) or not pixels.isfinite().all() or not pixels.std() > 0:
        found = f"{tuple(pixels.shape)}, from {pixels.min()} to {pixels.max()}"
        raise environment.SetupError(f"What was decoded is no picture of {size} px: {found}.")


CASES: dict[str, Callable[[], None]] = {
    "id_patch_picture": eight_people,
    "steps_of_every_method": steps,
    **{
        f"compiled_{method}_{str(dtype).removeprefix('torch.')}": partial(compiled, method, dtype)
        for method in ("instant_id", "unpatched", "share_parts", "prompt_per_person")
        for dtype in (torch.float16, torch.bfloat16)
    },
}
NEED_GPU = set(CASES)
