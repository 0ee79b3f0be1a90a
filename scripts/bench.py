"""What people cost: a step with every method beside one without us, counted. One JSON line per figure.

    python scripts/bench.py --table counted.md > counted.jsonl
    python scripts/bench.py --only instant_id --only id_patch > two.jsonl
    python scripts/bench.py --gpu --pictures 4 --table timed.md > timed.jsonl
    python scripts/bench.py --gpu --transformers --table transformers.md > transformers.jsonl

Needs a ComfyUI (see scripts/test.py for where it is looked for). Floating-point operations are counted on tensors that
are shapes alone, real ones, so the figures are exact on any machine. It counts every method on SDXL and SD1.5, and then
on every transformer (FLUX, Qwen-Image, Z-Image ...), which takes more than an hour, most of it for SDXL. With --gpu
steps are timed on the graphics card, with memory at the peak: those of the most used methods on SDXL, or with
--transformers those on the transformers that fit its memory. That takes four minutes at most.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import environment
from shared.arguments import path_of, positive
from shared.host_folders import entered

ON_CARD = ("id_patch", "instant_id", "ip_adapter_plus", "prompt_per_person", "lora_per_person")
"""What is timed on SDXL where nothing else is said: each kind of cost once."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument("--table", type=path_of, help="a file for the figures as tables, in Markdown")
    parser.add_argument("--only", action="append", help="a method as its figures name it; may be said again")
    parser.add_argument("--gpu", action="store_true", help="time on the graphics card instead of counting")
    parser.add_argument("--pictures", type=positive, help="with --gpu: how many are sampled at once (default: 1)")
    parser.add_argument("--transformers", action="store_true", help="transformers alone")
    options = parser.parse_args()
    if options.pictures and not options.gpu:
        parser.error("--pictures is for --gpu.")
    if options.table and not options.table.parent.is_dir():
        parser.error(f"There is no folder {options.table.parent} for --table: make it, or name another.")
    entered("bench.py", options.python, ("diffusers",))
    import comfy.cli_args

    comfy.cli_args.args.use_pytorch_cross_attention = True  # the kernel the operation counter knows
    if options.gpu and comfy.cli_args.args.cpu:
        raise environment.SetupError("--gpu needs a graphics card with CUDA. Without it bench.py counts.")
    # Only here: they need the host, the pack and torch.
    from bench import figures, people_in_pictures, transformers, unets

    on_transformers = transformers.ON_TRANSFORMERS | people_in_pictures.FACES | people_in_pictures.IN_REFERENCES
    ways = on_transformers | unets.ON_UNETS
    unknown = [name for name in options.only or () if name not in ways]
    if unknown:
        raise environment.SetupError(f"No method is called {unknown[0]}. --only takes: {', '.join(ways)}.")
    lines: list[dict[str, Any]] = []
    for line in timed(options) if options.gpu else counted(options):
        print(json.dumps(line), flush=True)
        lines.append(line)
    if {line["method"] for line in lines} <= {figures.NOBODY}:
        raise environment.SetupError(f"Nothing of that is there. --only takes: {', '.join(ways)}.")
    environment.say("Done: each figure is a line of JSON on the standard output.")
    if options.table:
        tables = figures.tables(lines, {name: way.title for name, way in ways.items()})
        options.table.write_text(f"{tables}\nBy Likeness at {_commit()}.\n", "utf-8")
        environment.say(f"The tables are in {options.table}.")
    return 0


def _commit() -> str:
    """The first seven letters of the commit of this pack, or "no commit known" where git does not say one."""
    command = ["git", "-C", str(environment.ROOT), "rev-parse", "--short=7", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    except OSError:
        return "no commit known"
    # A folder without a repository of its own may lie in somebody else's.
    if answer.returncode or not (environment.ROOT / ".git").exists():
        return "no commit known"
    return answer.stdout.strip()


def chosen(options: argparse.Namespace, ways: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are asked for."""
    return {name: way for name, way in ways.items() if not options.only or name in options.only}


def counted(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Figures on UNets and on transformers."""
    from bench import figures, people_in_pictures, transformers, unets
    from tiny import tiny_dits

    families = () if options.transformers else (unets.SDXL, unets.SD15)
    for family in families:
        ways = chosen(options, unets.ON_UNETS)
        of_family = {name: way for name, way in ways.items() if family.name in way.families}
        yield from figures.count(unets.for_counting(family), of_family, (1, 2, 4, 8, 12))
    if not tiny_dits.KNOWN:
        environment.say("Not counted, because ComfyUI is older than 0.33: transformers.")
        return
    for transformer in transformers.PUBLISHED:
        ways = chosen(options, people_in_pictures.ways_of(transformer))
        yield from figures.count(transformers.for_counting(transformer), ways, (1, 2, 4, 8))


def timed(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Figures on SDXL or on transformers. Raises SetupError where the ComfyUI knows none of them."""
    from functools import partial

    import torch
    from bench import figures, transformers, unets
    from tiny import tiny_dits

    numbers = (1, 2, 4) if options.transformers else (1, 2, 4, 8)
    timing = figures.Timing(numbers, options.pictures or 1)
    if not options.transformers:
        names = options.only or ON_CARD
        ways = {name: way for name, way in unets.ON_UNETS.items() if name in names}
        make = partial(unets.for_timing, unets.SDXL, torch.float16)
        yield from figures.measure({unets.SDXL.title: make}, ways, timing)
        return
    if not tiny_dits.KNOWN:
        raise environment.SetupError("This ComfyUI is older than 0.33 and knows none of these transformers. Update it.")
    networks: dict[str, Any] = {}
    for transformer in transformers.PUBLISHED:
        networks[transformer.name] = partial(transformers.for_timing, transformer)
    yield from figures.measure(networks, chosen(options, transformers.ON_TRANSFORMERS), timing)


if __name__ == "__main__":
    environment.run(main)
