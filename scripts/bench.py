"""What people cost: a step with every method beside one without us, counted. One JSON line per figure.

    python scripts/bench.py --table counted.md > counted.jsonl
    python scripts/bench.py --only instant_id --only id_patch > two.jsonl
    python scripts/bench.py --gpu --pictures 4 --table timed.md > timed.jsonl
    python scripts/bench.py --gpu --transformers --table transformers.md > transformers.jsonl

Needs a ComfyUI (see scripts/test.py for where it is looked for). Floating-point operations are counted on tensors that
are shapes alone, real ones, so the figures are exact on any machine. It counts every method on SDXL and SD1.5, and then
on every transformer (FLUX, Qwen-Image, Z-Image ...), which takes a quarter of an hour on two cores. With --gpu
steps are timed on the graphics card, with memory at the peak: those of the most used methods on SDXL, or with
--transformers those on the transformers that fit its memory. That takes four minutes at most.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
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
    """Figures on UNets and on transformers, by as many processes as there are cores."""
    import torch

    torch.set_num_threads(1)  # nothing is computed, and a process that forks may have no threads
    SHARES.extend(shares_of_work(options))
    plain_lines: set[str] = set()
    for line in chain.from_iterable(by_processes(figures_of, range(len(SHARES)))):
        # A network without people is counted in each of its shares.
        if line["people"] or line["name"] not in plain_lines:
            yield line
        if not line["people"]:
            plain_lines.add(line["name"])


def by_processes(function: Callable[[int], Any], numbers: Sequence[int]) -> Iterator[Any]:
    """What a function gives for each number; in forked processes, which have all that is loaded and made here, or in
    this one where there are none, as on Windows."""
    if "fork" not in multiprocessing.get_all_start_methods():
        yield from map(function, numbers)
        return
    with multiprocessing.get_context("fork").Pool() as pool:
        yield from pool.imap(function, numbers)


@dataclass(frozen=True)
class Share:
    """What a process counts at a time. make: the network, in shapes alone. ways: by name. numbers: of people."""

    make: Callable[[], Any]
    ways: Mapping[str, Any]
    numbers: Sequence[int]


SHARES: list[Share] = []
WAYS_OF_A_SHARE = 4
"""On a UNet: each share counts a step without people as well, in the time of a row."""


def shares_of_work(options: argparse.Namespace) -> Iterator[Share]:
    from bench import people_in_pictures, transformers, unets
    from tiny import tiny_dits

    for family in () if options.transformers else (unets.SDXL, unets.SD15):
        ways = chosen(options, unets.ON_UNETS)
        of_family = [(name, way) for name, way in ways.items() if family.name in way.families]
        for first in range(0, len(of_family), WAYS_OF_A_SHARE):
            some = dict(of_family[first : first + WAYS_OF_A_SHARE])
            yield Share(partial(unets.for_counting, family), some, (1, 2, 4, 8, 12))
    if not tiny_dits.KNOWN:
        environment.say("Not counted, because ComfyUI is older than 0.33: transformers.")
        return
    for transformer in transformers.PUBLISHED:
        ways = chosen(options, people_in_pictures.ways_of(transformer))
        if ways:
            yield Share(partial(transformers.for_counting, transformer), ways, (1, 2, 4, 8))


def figures_of(number: int) -> list[dict[str, Any]]:
    """Of the share of this number."""
    from bench import figures

    share = SHARES[number]
    return list(figures.count(share.make(), share.ways, share.numbers))


def timed(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Figures on SDXL or on transformers. Raises SetupError where the ComfyUI knows none of them."""
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
