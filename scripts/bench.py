"""What people cost: a step with every method beside one without us, counted. One JSON line per figure.

    python scripts/bench.py > counted.jsonl
    python scripts/bench.py --seconds > timed.jsonl

Needs a ComfyUI (see scripts/test.py for where it is looked for). Floating-point operations are counted
on tensors that are shapes alone, real ones, so the figures are exact on any machine.
With --seconds the same is timed on the graphics card instead, at the real sizes with random weights.
"""

from __future__ import annotations

import argparse

import environment
from rig.pack import entered


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument("--seconds", action="store_true", help="time it on the graphics card instead of counting")
    given = parser.parse_args()
    entered("bench.py", given.python, ("diffusers",))
    import comfy.cli_args

    comfy.cli_args.args.use_pytorch_cross_attention = True  # the kernel the operation counter knows
    # Only here: it needs the host, the pack and torch.
    from bench import methods, seconds, transformers

    if not given.seconds:
        methods.count()
        transformers.count()
    elif comfy.cli_args.args.cpu:
        raise environment.SetupError("--seconds needs a graphics card with CUDA. Without it bench.py counts.")
    else:
        seconds.measure((methods.SDXL, methods.SD15))
    environment.say("Done: each figure is a line of JSON on the standard output.")
    return 0


if __name__ == "__main__":
    environment.run(main)
