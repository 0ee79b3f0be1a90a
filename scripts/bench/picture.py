"""A picture of eight people from the cast to pixels: ID-Patch as the paper times it, 50 steps at 1024 px."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any

import comfy.sd
import comfy.taesd.taesd
import environment

from bench import methods, networks, sdxl
from bench.measure import TINY, accelerator, named, peak_gib, report

PEOPLE, STEPS, ROUNDS = (8, 2, 1) if TINY else (8, 50, 3)
ALLOWED = 4.0
"""Seconds on an H200; the paper: about 10 on its card."""


def eight_people() -> None:
    """Faces to patches and tokens, 50 steps with CFG, decoding. Texts are encoded and files loaded before."""
    on, vae = methods.networks(), autoencoder()
    took: list[tuple[float, ...]] = []

    def one() -> None:
        moments = [time.perf_counter()]
        applied = methods.apply_id_patch(on, PEOPLE, start=0.2)
        moments.append(time.perf_counter())
        latent = methods.sampled(on, applied, STEPS)
        moments.append(time.perf_counter())
        check(vae.decode(latent / latent.std()))
        moments.append(time.perf_counter())
        took.append(tuple(after - before for before, after in itertools.pairwise(moments)))

    for _ in range(1 + ROUNDS):
        one()
    first, *counted = took
    memory = peak_gib(one)
    apply, sample, decode = (round(statistics.median(each), 4) for each in zip(*counted, strict=True))
    more = {"apply_s": apply, "sample_s": sample, "decode_s": decode, "first_s": round(sum(first), 2)}
    seconds = statistics.median(map(sum, counted))
    name = f"id_patch_picture_{PEOPLE}_people_{STEPS}_steps_{sdxl.SIDE}_px"
    report(name, seconds, ALLOWED, "s", 1.0, named(accelerator()), peak_gib=round(memory, 2), **more)


def autoencoder() -> Any:
    """SDXL's, with random weights; tiny: TAESD."""
    made = comfy.taesd.taesd.TAESD() if TINY else networks.autoencoder()
    networks.spread(made)
    return comfy.sd.VAE(sd=made.state_dict())


def check(pixels: Any) -> None:
    """Raise SetupError for what is no picture."""
    side = sdxl.SIDE
    if tuple(pixels.shape) != (1, side, side, 3) or not pixels.isfinite().all() or not pixels.std() > 0:
        found = f"{tuple(pixels.shape)}, from {pixels.min()} to {pixels.max()}"
        raise environment.SetupError(f"What was decoded is no picture of {side} px: {found}.")
