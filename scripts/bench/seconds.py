"""Every method once on a graphics card: how long a step takes with so many people, and how much memory of the card.

In the host's networks at their real sizes, with random weights.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch

from . import methods
from .methods import Applied, Family, Networks

TIMED_STEPS = 7
"""The median is taken of those after the second: the first loads weights, and cuDNN looks for its kernels in both."""
WARM = 2
MIB = 2**20


@dataclass(frozen=True)
class Timed:
    """What a sampling took. first: seconds until the end of the first step. step: the median of the later ones. peak:
    MiB of the card at most, beside what lay there before. finite: whether the latent has only numbers."""

    first: float
    step: float
    peak: float
    finite: bool


def filled(network: torch.nn.Module) -> torch.nn.Module:
    """The network with random weights, small enough that fp16 does not overflow in it."""
    for name, weight in network.named_parameters():
        weight.requires_grad_(False)
        if weight.dim() > 1:
            weight.normal_(0.0, 0.5 / math.sqrt(weight[0].numel()))
        elif name.endswith("weight"):
            weight.fill_(1.0)
        else:
            weight.zero_()
    return network.eval()


def for_timing(family: Family, dtype: torch.dtype = torch.float16) -> Networks:
    """The family's UNet and ControlNet, loaded by the host to its own device."""
    device = comfy.model_management.get_torch_device()
    torch.manual_seed(0)
    model = family.config({**family.shape, "dtype": dtype}).get_model({}, device=device)
    filled(model.diffusion_model)
    settings = {
        name: setting
        for name, setting in family.shape.items()
        if name not in ("out_channels", "transformer_depth_output")
    }
    net = comfy.cldm.cldm.ControlNet(
        **settings,
        **family.heads,
        hint_channels=3,
        dtype=dtype,
        device=device,
        operations=comfy.ops.disable_weight_init,
    )
    filled(net)
    cpu = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=cpu)
    control_net = comfy.controlnet.ControlNet(net, load_device=device)
    return Networks(family, patcher, control_net, family.size)


def timed(networks: Networks, applied: Applied, steps: int = TIMED_STEPS) -> Timed:
    """How long the host's sampler takes for a step of two rows (CFG) with what a node gives."""
    moments: list[float] = []

    def note(*_: Any) -> None:
        torch.cuda.synchronize()
        moments.append(time.perf_counter())

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    start = time.perf_counter()
    latent = methods.sampled(networks, applied, steps, callback=note)
    peak = torch.cuda.max_memory_allocated() - before
    later = [end - begin for begin, end in itertools.pairwise(moments)][WARM - 1 :]
    return Timed(moments[0] - start, statistics.median(later), peak / MIB, bool(latent.isfinite().all()))


def line(networks: Networks, name: str, people: int, pictures: int, sampling: Timed, plain: Timed) -> None:
    """Print one figure as JSON. sampling: with a method. plain: the same networks without people."""
    figure = {
        "name": f"seconds_{networks.family.name}_{name}_{people}",
        "pictures": pictures,
        "ours": round(sampling.step, 5),
        "peer": round(plain.step, 5),
        "unit": "s",
        "ratio": round(sampling.step / plain.step, 3),
        "first_step": round(sampling.first, 3),
        "plain_first_step": round(plain.first, 3),
        "peak_mib": round(sampling.peak),
        "plain_peak_mib": round(plain.peak),
        "finite": sampling.finite,
    }
    print(json.dumps(figure), flush=True)


def measure(families: Sequence[Family], numbers: Sequence[int] = (1, 4, 12), batches: Sequence[int] = (4, 1)) -> None:
    """Print a figure for every method, number of people and number of pictures, beside the same networks without us.

    batches: how many pictures are sampled at once. One picture keeps a fast card waiting for Python, and then the time
    tells how many kernels there are, not how much they compute; four pictures keep it busy. The step without us is
    timed anew before every figure.
    """
    print(json.dumps({"name": "device", "value": torch.cuda.get_device_name(), "torch": torch.__version__}), flush=True)
    for family in families:
        networks = for_timing(family)
        nobody = methods.unpatched(networks, 0)
        for pictures in batches:
            timed(networks, _for_pictures(nobody, pictures))  # loads the weights, and finds the kernels
        for people in numbers:
            for name, method in methods.METHODS.items():
                if family.name in method.families and people <= method.most:
                    _measure_one(networks, name, people, batches)
        comfy.model_management.unload_all_models()


def _for_pictures(applied: Applied, pictures: int) -> Applied:
    """The same for so many pictures at once."""
    return applied._replace(rows=applied.rows * pictures)


def _measure_one(networks: Networks, name: str, people: int, batches: Sequence[int]) -> None:
    """A method that fails is named, and the next one is measured."""
    nobody = methods.unpatched(networks, 0)
    try:
        applied = methods.METHODS[name].apply(networks, people)
        for pictures in batches:
            if name == "second_pass" and pictures > 1:
                continue  # Crop Faces has a row for each person, not for each picture
            plain = timed(networks, _for_pictures(nobody, pictures))
            line(networks, name, people, pictures, timed(networks, _for_pictures(applied, pictures)), plain)
    except Exception as failure:  # noqa: BLE001 - a figure less is better than none
        print(
            json.dumps({"name": f"{networks.family.name}_{name}_{people}", "failed": repr(failure)[:400]}), flush=True
        )
