"""What a step costs beside one without us: counted, or timed on a GPU. One JSON line per figure.

    python scripts/bench.py [--python PATH] [--tiny] [people] [references] [seconds]

Needs a ComfyUI (see scripts/test.py for where it is looked for). `people` and `references` count floating-point
operations on meta tensors at real shapes, so these figures are exact on any machine. `seconds` is timed, with random
weights of SDXL's size in half precision, and left out where there is no GPU. --tiny only shows that every case runs:
small networks, one round, on any machine.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys

import environment
from rig.pack import load_host, load_pack

CASES = ("people", "references", "seconds")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what a step costs, case by case.", allow_abbrev=False)
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument("--tiny", action="store_true", help="small networks, one round: whether every case runs")
    parser.add_argument("case", nargs="*", help=f"of {', '.join(CASES)}; all of them when none is named")
    given = parser.parse_args()
    if unknown := sorted({*given.case} - {*CASES}):
        raise environment.SetupError(f"No such case: {', '.join(unknown)}. There are: {', '.join(CASES)}.")
    hosts = environment.find_hosts()
    if not hosts:
        raise environment.SetupError("bench.py needs a ComfyUI: set COMFYUI_PATH, or run python scripts/demo.py first.")
    environment.enter(environment.python_for(hosts, given.python, ("diffusers",)))
    load_pack()
    load_host(str(hosts[0].path))
    import comfy.cli_args
    import torch

    comfy.cli_args.args.use_pytorch_cross_attention = True  # the kernel the operation counter knows
    logging.getLogger("likeness").setLevel(logging.ERROR)  # such people are small
    # The networks that the tests are run on.
    sys.path.append(str(environment.ROOT / "tests" / "support"))
    # Only here: they need the host, the pack and torch.
    from bench import methods, references

    runs = {"people": methods.count, "references": references.count, "seconds": methods.clock}
    for name in given.case or CASES:
        if name == "seconds" and not (given.tiny or torch.cuda.is_available()):
            environment.say("seconds: left out, there is no CUDA device here.")
        else:
            runs[name]()
    return 0


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    # As threads wait in anybody's ComfyUI, GNU's default; waiting as in the tests, small layers take twice the time.
    os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    environment.run(main)
