"""Speed as ratios: ours and a peer in one run, interleaved, medians. One JSON line per case.

    python scripts/bench.py [--python PATH] [--tiny] [case ...]
    python scripts/bench.py --gpu [--out FOLDER] [--python PATH] [--tiny] [case ...]

Needs a ComfyUI (see scripts/test.py for where it is looked for). Cases that need a GPU are left out, and named,
where there is none. Floating-point operations are counted on meta tensors at SDXL's real shapes, so that figure is
exact on any machine. A case that fails is named, and the next one runs. --tiny only shows that every case runs: small
networks, one round, the GPU's cases on any machine. --gpu: every case that a GPU is wanted for at real size in half
precision, the most valuable first, results.json in FOLDER; stop it when you like, what is measured is there.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import environment
from rig.pack import load_host, load_pack


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the pack beside a peer, case by case.", allow_abbrev=False)
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument("--tiny", action="store_true", help="small networks, one round: whether every case runs")
    parser.add_argument("--gpu", action="store_true", help="all that a GPU is wanted for")
    parser.add_argument("--out", type=Path, default=environment.CACHE / "bench-gpu", help="with --gpu: for the results")
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
    logging.getLogger("likeness").setLevel(logging.ERROR)  # such people are small
    # The networks that the tests are run on.
    sys.path.append(str(environment.ROOT / "tests" / "support"))
    # Only here: it needs the host, the pack and torch.
    from bench import gpu

    return gpu.run(given.out if given.gpu else None, given.case)


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    # As threads wait in anybody's ComfyUI, GNU's default; waiting as in the tests, small layers take twice the time.
    os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    environment.run(main)
