"""What people cost: a step with every method beside one without us, counted. One JSON line per figure.

    python scripts/bench.py --table counted.md > counted.jsonl
    python scripts/bench.py --pack ComfyUI_InstantID --pack ComfyUI_IPAdapter_plus --table packs.md > packs.jsonl
    python scripts/bench.py --gpu --table gpu.md > gpu.jsonl
    python scripts/bench.py --gpu --transformers --table transformers.md > transformers.jsonl
    python scripts/bench.py --seconds > timed.jsonl

Needs a ComfyUI (see scripts/test.py for where it is looked for). Floating-point operations are counted
on tensors that are shapes alone, real ones, so the figures are exact on any machine.
Beside the methods of Likeness it counts ComfyUI's own masks on conditioning, and what is installed in custom_nodes of
that ComfyUI: ComfyUI_InstantID, ComfyUI_IPAdapter_plus and ComfyUI-ppm. What is not there is said and left out.
With --gpu the most used methods are measured on the graphics card for 1, 2, 4 and 8 people, beside the same packs:
seconds per step, memory at the peak, and what a mask costs. It takes four minutes at most. With --gpu --transformers
the same is measured on the published transformers that fit into the card's memory (FLUX, Qwen-Image, Z-Image and
others), for 1, 2 and 4 people, beside ComfyUI's masks.
With --seconds every method of Likeness is timed there for 1, 4 and 12 people.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environment
from bench.names import PACKS
from rig.pack import entered


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument("--table", type=Path, help="a file for the tables of docs/dev/bench.md, in Markdown")
    parser.add_argument("--gpu", action="store_true", help="measure on the graphics card instead of counting")
    parser.add_argument("--pictures", type=int, default=1, help="with --gpu: how many are sampled at once (default: 1)")
    parser.add_argument(
        "--tiny", action="store_true", help="small networks on any device, to see whether everything runs"
    )
    parser.add_argument(
        "--transformers", action="store_true", help="with --gpu: measure the published transformers instead of SDXL"
    )
    parser.add_argument(
        "--pack", action="append", default=[], choices=PACKS,
        help="count this pack's rows alone, on SDXL and SD1.5; may be said again",
    )  # fmt: skip
    parser.add_argument("--seconds", action="store_true", help="time every method of Likeness on the graphics card")
    options = parser.parse_args()
    entered("bench.py", options.python, ("diffusers",))
    import comfy.cli_args

    comfy.cli_args.args.use_pytorch_cross_attention = True  # the kernel the operation counter knows
    if ((options.gpu and not options.tiny) or options.seconds) and comfy.cli_args.args.cpu:
        raise environment.SetupError(
            "--gpu and --seconds need a graphics card with CUDA. Without it bench.py counts, and --gpu --tiny shows "
            "whether everything runs."
        )
    # Only here: it needs the host, the pack and torch.
    from bench import faces_on_flux, methods, seconds, transformers

    if options.seconds:
        seconds.measure((methods.SDXL, methods.SD15))
        environment.say("Done: each figure is a line of JSON on the standard output.")
        return 0
    if options.transformers and not options.gpu:
        raise environment.SetupError(
            "--transformers belongs to --gpu. Without both, bench.py counts transformers after everything else."
        )
    if options.gpu and options.transformers:
        text = measured_on_transformers(options)
    elif options.gpu:
        text = measured(options)
    else:
        text = counted(options)
        if not (options.tiny or options.pack):
            transformers.count()
            faces_on_flux.count()
    environment.say("Done: each figure is a line of JSON on the standard output.")
    if options.table:
        options.table.write_text(text, "utf-8")
        environment.say(f"The tables are in {options.table}.")
    return 0


def counted(options: argparse.Namespace) -> str:
    """Print what is counted on UNets, and return the tables. Raises SetupError where there is nothing to count."""
    from bench import card, methods, others, tables

    families = (methods.SDXL, methods.SD15)
    numbers = [1, 2, 4, 8, 12]
    if options.tiny:
        families = tuple(card.tiny(family) for family in families)
        numbers = [1, 2]
    lines: list[dict[str, Any]] = []
    if not options.pack:
        lines += printed(methods.count(families, numbers))
    lines += printed(others.count(families, numbers, options.pack))
    if not lines:
        raise environment.SetupError("None of these packs is in custom_nodes. There is nothing to count.")
    return tables.people_tables(lines, {name: method.title for name, method in others.OTHERS.items()})


def measured(options: argparse.Namespace) -> str:
    """Print what is measured on the card, and return the tables."""
    import torch
    from bench import card, methods

    family, dtype, scale = methods.SDXL, torch.float16, 1
    if options.tiny:
        family, scale = card.tiny(family), 16
        if card.device().type == "cpu":
            dtype = torch.float32
    environment.say(f"Measuring on {card.device_name()}.")
    settings = card.Settings(family, dtype, options.pictures)
    lines = [*printed(card.measure(settings)), *printed(card.mask_costs(dtype, scale))]
    return card.table(lines)


def measured_on_transformers(options: argparse.Namespace) -> str:
    """Print what is measured on transformers on the card, and return the table. Raises SetupError where the ComfyUI
    knows none of them."""
    import tiny_dits
    import torch
    from bench import card, transformers_on_card

    if not tiny_dits.KNOWN:
        raise environment.SetupError("This ComfyUI is older than 0.33 and knows none of these transformers. Update it.")
    settings = transformers_on_card.Settings()
    if options.tiny:
        dtype = torch.float32 if card.device().type == "cpu" else torch.bfloat16
        settings = transformers_on_card.Settings(transformers_on_card.tiny(), dtype, side=64, numbers=(1, 2))
    environment.say(f"Measuring on {card.device_name()}.")
    return transformers_on_card.table(printed(transformers_on_card.measure(settings)))


def printed(lines: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same figures, each printed as it comes."""
    for line in lines:
        print(json.dumps(line), flush=True)
        yield line


if __name__ == "__main__":
    environment.run(main)
