"""Speed as ratios: ours and a peer in one run, interleaved, medians. One JSON line per case.

    python scripts/bench.py [--python PATH] [--tiny] [case ...]

Needs a ComfyUI (see scripts/test.py for where it is looked for). Cases that need a GPU are left out, and named,
where there is none. Floating-point operations are counted on meta tensors at SDXL's real shapes, so that figure is
exact on any machine. A case that fails is named, and the next one runs. --tiny only shows that every case runs: small
networks, one round, the GPU's cases on any machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback

import environment
from rig.pack import load_host, load_pack


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the pack beside a peer, case by case.", allow_abbrev=False)
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument("--tiny", action="store_true", help="small networks, one round: whether every case runs")
    parser.add_argument("case", nargs="*", help="all of them when none is named")
    given = parser.parse_args()
    hosts = environment.find_hosts()
    if not hosts:
        raise environment.SetupError("bench.py needs a ComfyUI: set COMFYUI_PATH, or run python scripts/demo.py first.")
    environment.enter(environment.python_for(hosts, given.python))
    load_pack()
    load_host(str(hosts[0].path))
    import comfy.cli_args

    comfy.cli_args.args.use_pytorch_cross_attention = True  # the kernel the operation counter knows
    return run(given.case)


def run(named: list[str]) -> int:
    """The cases of these names, all without one; 1 where one of them failed."""
    # Only here: all of these need the host, the pack and torch, and some the networks of the tests.
    sys.path.append(str(environment.ROOT / "tests" / "support"))
    import torch
    from bench import cards, faces, id_patch, instant_id, ip_adapter, parts, people
    from bench.measure import TINY

    methods = (id_patch, faces, instant_id, ip_adapter, parts, people, cards)
    cases = {name: case for method in methods for name, case in method.CASES.items()}
    need_gpu = {name for method in methods for name in method.NEED_GPU}
    if unknown := [name for name in named if name not in cases]:
        raise environment.SetupError(f"No such case: {', '.join(unknown)}. There are: {', '.join(cases)}.")
    failed = False
    for name in named or cases:
        if name in need_gpu and not (torch.cuda.is_available() or TINY):
            environment.say(f"{name}: left out, there is no CUDA device here.")
            continue
        try:
            cases[name]()
        except Exception as error:  # noqa: BLE001 - the other cases are to run
            traceback.print_exc()
            environment.say(f"{name}: failed, {type(error).__name__}: {error}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    # As threads wait in anybody's ComfyUI, GNU's default; waiting as in the tests, small layers take twice the time.
    os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    environment.run(main)
