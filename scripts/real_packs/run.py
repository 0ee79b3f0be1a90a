"""Run the packs that our pages name beside ours: loaded before and after ours, and in both orders in a graph.

    python scripts/real_packs/run.py > real_packs.jsonl
    python scripts/real_packs/run.py --pack ComfyUI-ppm --order theirs-first

Needs a ComfyUI with some of these packs in custom_nodes (see scripts/test.py for where it is looked for). Their own
code runs with ours on a small SDXL and SD1.5 with random weights. What is not installed is said and left out. Each pack
is run in a process of its own, once loaded before ours and once after, and each takes a minute or more.

It ends with 0 where everything held, with 2 where something did not, and with 1 where it could not run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# In the place of this folder.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).absolute().parents[1]))

import environment
from shared.pack import entered

from real_packs.names import NAMES, ORDERS, OURS, OURS_FIRST, THEIRS_FIRST

Line = dict[str, Any]
"""A result as it is printed: the fields of graphs.Result, with `pack`, `commit` and `order` of loading."""
NOBODY = "none"
"""In the place of a pack: what ours give without any."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument(
        "--pack", action="append", choices=(*NAMES, NOBODY), help="only this one; may be said again (default: all)"
    )
    parser.add_argument(
        "--order", choices=ORDERS, help="load one pack before or after ours, and print its results as JSON"
    )
    options = parser.parse_args()
    packs = options.pack or list(NAMES)
    entered("real_packs/run.py", options.python)
    if options.order:
        if len(packs) != 1:
            raise environment.SetupError("--order runs one pack: name it with --pack.")
        return run_here(packs[0], options.order)
    return run_all(packs)


def run_here(pack: str, order: str) -> int:
    """Load one pack and ours in this order, and print a line of JSON for everything that was looked at."""
    import comfy.cli_args

    from real_packs import installed

    comfy.cli_args.args.use_pytorch_cross_attention = True  # the fastest of a CPU
    folder = None if pack == NOBODY else installed.folder_of(pack)
    if folder and order == THEIRS_FIRST:
        installed.load(folder)
    # Only here: it imports our nodes.
    from real_packs import graphs

    if folder and order == OURS_FIRST:
        installed.load(folder)
    commit = installed.commit_of(folder) if folder else ""
    results: list[graphs.Result] = []
    if folder:
        results.append(graphs.same_node_ids(installed.node_ids()))
    for name in OURS:
        emit({"ours": name, "digest": graphs.digest(graphs.ours_alone(name))})
    if folder:
        from real_packs import packs

        (chosen,) = (known for known in packs.PACKS if known.name == pack)
        for title, check in chosen.checks.items():
            environment.say(f"{pack}, {order}: {title}")
            results += graphs.run(check, title)
        results += graphs.run(graphs.as_before, graphs.ONCE_MORE)
    for result in results:
        emit({"pack": pack, "commit": commit, "order": order, **vars(result)})
    return 0 if all(result.held for result in results) else 2


def emit(line: Line) -> None:
    print(json.dumps(line), flush=True)


def run_all(packs: Sequence[str]) -> int:
    """Each pack in both orders, each in a process of its own."""
    from real_packs import installed

    folders = installed.folders([pack for pack in packs if pack != NOBODY])
    commits = {pack: installed.commit_of(folder) for pack, folder in folders.items()}
    if not commits:
        raise environment.SetupError("None of these packs is in custom_nodes. There is nothing to run beside ours.")
    environment.say("Drawing with ours alone.")
    alone = digests(child(NOBODY, OURS_FIRST))
    results: list[Line] = []
    for number, (pack, commit) in enumerate(commits.items(), 1):
        for order in ORDERS:
            environment.say(f"Pack {number} of {len(commits)}: {pack}, {order}.")
            for line in results_of(pack, commit, order, alone):
                emit(line)
                results.append(line)
    failed = [line for line in results if not line["held"]]
    for line in failed:
        environment.say(f"Did not hold: {line['pack']}, {line['order']}, {line['method']}, {line['check']}")
    environment.say(f"Done: {len(commits)} packs, {len(results)} results, {len(failed)} did not hold.")
    return 2 if failed else 0


def results_of(pack: str, commit: str, order: str, alone: Mapping[str, str]) -> list[Line]:
    """One pack in one order, in a process of its own. alone: the digests of what ours give without any pack."""
    lines = child(pack, order)
    results = [line for line in lines if "check" in line]
    if not results:
        results = [result(pack, commit, order, "it runs", False, "the process ended without a result")]
    differing = sorted(name for name, value in digests(lines).items() if value != alone.get(name))
    figure = f"others with {', '.join(differing)}" if differing else "the same to the bit"
    check = "the eight methods without its nodes, compared with a ComfyUI without the pack"
    return [*results, result(pack, commit, order, check, not differing, figure)]


def result(pack: str, commit: str, order: str, check: str, held: bool, figure: str) -> Line:
    """A line as run_here prints it, of what is seen from outside of that process alone."""
    line = {"pack": pack, "commit": commit, "order": order, "check": check, "held": held, "method": ""}
    return {**line, "amounts": {}, "figure": figure, "detail": ""}


def child(pack: str, order: str) -> list[Line]:
    """What this script prints for one pack in one order. What the pack prints beside that is left out."""
    command = [sys.executable, str(Path(__file__).resolve()), "--pack", pack, "--order", order]
    command += ["--python", sys.executable]
    variables = {**os.environ, "PYTHONUTF8": "1"}
    answer = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", errors="replace", env=variables)
    lines: list[Line] = []
    for text in answer.stdout.splitlines():
        if text.startswith("{"):
            lines.append(json.loads(text))
    return lines


def digests(lines: Iterable[Line]) -> dict[str, str]:
    return {line["ours"]: line["digest"] for line in lines if "digest" in line}


if __name__ == "__main__":
    environment.run(main)
