"""What a GPU is wanted for at SDXL's real size, sampled by the host: every method beside the same without it.

In half precision, compiled; and a picture of eight people from the cast to pixels.
"""

from __future__ import annotations

import itertools
import statistics
import time
from functools import partial

import comfy.sd
import comfy.taesd.taesd
import environment
import torch
from comfy_extras.nodes_torch_compile import TorchCompileModel

from bench import networks
from bench.measure import TINY, accelerator, interleaved, named, peak_gib, report
from bench.methods import METHODS, Applied, id_patch, sampled, seconds_of_a_step
from bench.networks import Networks, for_timing

STEPS = 1 if TINY else 4
"""That are timed, behind the first."""
ROUNDS = 4
PEOPLE = 4
BACKEND = "eager" if TINY else "inductor"
"""Of torch.compile."""


def _seconds(on: Networks, applied: Applied) -> float:
    return seconds_of_a_step(on, applied, STEPS)


def steps() -> None:
    """All of them; those whose cost grows with the people, with 1, 2, 4 and 8."""
    on = for_timing()
    for name, method in METHODS.items():
        for people in method.people[-1:] if TINY else method.people:
            run, other = (partial(_seconds, on, METHODS[each].apply(on, people)) for each in (name, method.peer))
            ours, theirs = interleaved(run, other, ROUNDS)
            memory = {"peak_gib": peak_gib(run), "peer_peak_gib": peak_gib(other)}
            line = f"step_{name}_{people}_vs_{method.peer}"
            report(line, ours, theirs, "s a step", method.timed, named(accelerator()), people=people, **memory)


def compiled(method: str) -> None:
    """A step of four people (or parts) by the host's TorchCompileModel, and not compiled; `recompiled`: graphs that
    other people and seeds cost. Raises SetupError where the compiled one makes no picture."""
    on, counters = for_timing(), torch._dynamo.utils.counters
    plain = METHODS[method].apply(on, PEOPLE)
    applied = plain._replace(model=TorchCompileModel.execute(plain.model, BACKEND).args[0])
    torch._dynamo.reset()
    counters.clear()
    wanted, began = sampled(on, plain, STEPS + 1).float(), time.perf_counter()
    found = sampled(on, applied, STEPS + 1).float()
    seconds, graphs = time.perf_counter() - began, counters["stats"]["unique_graphs"]
    if not found.isfinite().all():
        raise environment.SetupError("The picture has numbers that are infinite or none.")
    sampled(on, METHODS[method].apply(on, PEOPLE)._replace(model=applied.model), STEPS + 1)
    ours, peer = interleaved(partial(_seconds, on, applied), partial(_seconds, on, plain), ROUNDS)
    more = {
        "compiling_s": round(seconds, 1),
        "graphs": graphs,
        "recompiled": counters["stats"]["unique_graphs"] - graphs,
        "breaks": sum(counters["graph_break"].values()),
        "relative_difference": float((found - wanted).norm() / wanted.norm()),
    }
    report(f"compiled_{method}_float16_vs_uncompiled", ours, peer, "s a step", None, named(accelerator()), **more)


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
        pixels = vae.decode(latent / latent.std())
        moments.append(time.perf_counter())
        took.append(tuple(after - before for before, after in itertools.pairwise(moments)))
        if tuple(pixels.shape) != (1, *on.size[::-1], 3) or not pixels.isfinite().all() or not pixels.std() > 0:
            raise environment.SetupError(f"What was decoded is no picture of {on.size} px: {tuple(pixels.shape)}.")

    for _ in range(1 + rounds):
        one()
    first, *others = took
    apply, sample, decode = (round(statistics.median(each), 4) for each in zip(*others, strict=True))
    more = {"apply_s": apply, "sample_s": sample, "decode_s": decode, "first_s": round(sum(first), 2)}
    seconds, memory = statistics.median(map(sum, others)), peak_gib(one)
    name = f"id_patch_picture_{people}_people_{count}_steps_{on.size[0]}_px"
    report(name, seconds, 4.0, "s", 1.0, named(accelerator()), peak_gib=memory, **more)
