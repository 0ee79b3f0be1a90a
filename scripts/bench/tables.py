"""What a step costs, counted at real shapes: every method for 1 to 12 people, and what is used elsewhere.

`python scripts/bench.py people people_elsewhere operations share_parts_operations memory` prints the figures of
docs/speed.md: operations beside the unpatched step, and memory beside the weights. fp16, CFG.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import comfy.sd1_clip
import comfy.sdxl_clip
import torch

from bench import networks
from bench.elsewhere import ELSEWHERE, PASS
from bench.measure import COUNTED, TINY, LiveBytes, report
from bench.methods import METHODS, Counted, counted, of_family, second_pass, share_parts, unpatched
from bench.networks import SD15, SDXL, Family, Networks, for_counting

PEOPLE = (2,) if TINY else (1, 2, 4, 8, 12)
RUN = 30
"""Steps."""
WAYS = {"every_step": 1, "every_2nd_step": 2, "every_3rd_step": 3, "every_6th_step": 6, "once": RUN}
"""For how many steps Share Parts Attention sees the parts once."""
GOAL = ("every_2nd_step_cropped", "every_3rd_step_cropped")
PAIRS = (
    (SDXL, "id_patch", 8, "control_net", 0, 1.05),
    (SDXL, "instant_id", 1, "control_net", 0, 1.01),
    (SDXL, "instant_id", 4, "instant_id", 1, 1.05),
    *(
        (family, method, *people, target)
        for family in (SDXL, SD15)
        for method, target in (("ip_adapter_faceid", 1.02), ("ip_adapter_full_face", 1.1))
        for people in ((1, "unpatched", 0), (4, method, 1))
    ),
)
"""Family, method and people, beside which method with how many, and the largest ratio wanted."""


@cache
def _networks(family: Family) -> Networks:
    return for_counting(family)


@cache
def _plain(family: Family) -> Counted:
    return counted(_networks(family), unpatched(_networks(family), 0))


def ours() -> None:
    for family in (SDXL, SD15):
        for name, method in of_family(family.name).items():
            for people in (number for number in PEOPLE if number <= max(method.most, PEOPLE[0])):
                found, more = method.counted_on(_networks(family), people), PASS if name == "second_pass" else 0
                ratio = found.tflop / _plain(family).tflop
                _line("people", family, name, people, found, 1 + more * ratio if more else ratio, method.counted)


def theirs() -> None:
    for family in (SDXL, SD15):
        on, plain = _networks(family), _plain(family)
        for name, other in ELSEWHERE.items():
            for people in PEOPLE if family.name in other.families else ():
                found = plain if other.apply is unpatched else counted(on, other.apply(on, people))
                ratio = other.picture(found.tflop / plain.tflop, people)
                _line("people_elsewhere", family, name, people, found, ratio, None)


def _line(table: str, family: Family, name: str, people: int, found: Counted, ratio: float, target: Any) -> None:
    """ratio: of a step of the picture, to the unpatched one."""
    plain = _plain(family)
    report(
        f"{table}_{family.name}_{name}_{people}", ratio * plain.tflop, plain.tflop, "TFLOP", target, COUNTED,
        people=people, method=name, family=family.name, call_tflop=round(found.tflop, 6),
        peak_mib=round(found.peak), kept_mib=round(found.kept), plain_peak_mib=round(plain.peak),
    )  # fmt: skip


def operations() -> None:
    for family, method, people, peer, others, target in PAIRS:
        on = _networks(family)
        found, beside = METHODS[method].counted_on(on, people).tflop, METHODS[peer].counted_on(on, others).tflop
        name = f"operations_{family.name}_{method}_{people}_vs_{peer}_{others}"
        report(name, found, beside, "TFLOP", target, COUNTED)


def faces_at_half_size() -> None:
    """A step of six faces at half the side, a row each, beside a step of the whole picture with all six."""
    on = _networks(SDXL)
    small = on.at(on.size[0] // 2, on.size[1] // 2)
    found, whole = counted(small, second_pass(0.5)(on, 6)).tflop, METHODS["id_patch"].counted_on(on, 6).tflop
    more = {"ratio_of_20_steps_to_50": round(20 * found / (50 * whole), 4)}
    report("second_pass_step_operations_6_faces_at_512", found, whole, "TFLOP", 1.5, COUNTED, **more)


def cheaper_parts() -> None:
    """The mean over a run: the parts in the positive of every step, and what is recorded of them."""
    for family in (SDXL, SD15):
        on, plain = _networks(family), _plain(family).tflop
        for count in PEOPLE if TINY else (1, 2, 4, 6):
            for crop in (False, True):
                seen, unseen = (counted(on, share_parts(crop, every)(on, count)).tflop for every in (1, RUN))
                for way, steps in WAYS.items():
                    cost = unseen + (seen - unseen) * math.ceil(RUN / steps) / RUN
                    name = f"{way}_cropped" if crop else way
                    wanted = 1.35 if (family, count) == (SDXL, 4) and name in GOAL else 5.0
                    told = f"share_parts_{family.name}_operations_{count}_{name}"
                    report(told, cost, plain, "TFLOP", wanted, COUNTED)


# --- What a card holds


def _mebibytes(network: Any) -> float:
    """Of its weights."""
    return sum(each.nbytes for each in (*network.parameters(), *network.buffers())) / 2**20


def memory() -> None:
    """Weights, and what is alive at the peak beside them: of a step of a larger picture, and of decoding."""
    with torch.device("meta"):
        autoencoder = networks.autoencoder().half()
        texts = (comfy.sdxl_clip.SDXLClipModel, comfy.sd1_clip.SD1ClipModel)
        encoders = [kind(device="meta", dtype=torch.float16) for kind in texts]
    for family, encoder in zip((SDXL, SD15), encoders, strict=True):
        on, sizes = _networks(family), (family.size, (3 * family.size[0] // 2, 3 * family.size[1] // 2))
        held = {"unet": on.model.model.diffusion_model, "control_net": on.net.control_model, "text": encoder}
        for name, network in held.items():
            _memory(f"{family.name}_{name}", weights=_mebibytes(network))
        for width, height in sizes:
            name = f"{width}x{height}"
            _memory(f"decode_{name}", weights=_mebibytes(autoencoder), beside=_decoding(autoencoder, width, height))
        wide = on.at(*sizes[1])
        for method in ("unpatched", "control_net" if family is SD15 else "id_patch"):
            found = counted(wide, METHODS[method].apply(wide, PEOPLE[-1]))
            _memory(f"{family.name}_{sizes[1][0]}x{sizes[1][1]}_{method}", beside=found.peak, people=PEOPLE[-1])
    _memory("decode_tiles_of_512", weights=_mebibytes(autoencoder), beside=_decoding(autoencoder, 256, 1024))


def _decoding(autoencoder: Any, width: int, height: int) -> float:
    """MiB alive at the peak beside the weights."""
    with LiveBytes("meta") as alive, torch.inference_mode():
        autoencoder.decode(torch.zeros(1, 4, height // 8, width // 8, dtype=torch.float16, device="meta"))
    return alive.peak / 2**20


def _memory(what: str, **figures: float) -> None:
    line = {"name": f"memory_{what}", "unit": "MiB", "device": COUNTED}
    print(json.dumps({**line, **{name: round(value) for name, value in figures.items()}}), flush=True)


CASES: dict[str, Callable[[], None]] = {
    "people": ours,
    "people_elsewhere": theirs,
    "operations": operations,
    "second_pass_operations": faces_at_half_size,
    "share_parts_operations": cheaper_parts,
    "memory": memory,
}
NEED_GPU: set[str] = set()
