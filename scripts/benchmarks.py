"""Published benchmarks of several people: their pictures by our methods, measured as they measure.

    python scripts/benchmarks.py multi-human MultiHuman-Testbench --check
    python scripts/benchmarks.py multi-human MultiHuman-Testbench

The first command says what was read and which files are missing, the second draws and measures. Benchmarks: multi-id
(MultiID-Bench, 1 to 4 people), multi-human (MultiHuman-Testbench, 1 to 5), identities-collapse (When Identities
Collapse, 2 to 10). Their data are not with the pack: docs/dev/measuring.md says where each is from.

OUT has index.html, a page with our figures beside the published ones, table.csv, report.json, which is the one to send,
and the pictures. The same command again draws only what is missing. --rehearse needs no folder and no files: it makes
up both.

Exit status: 0 where all is drawn and measured, 1 where something failed or has to be mended first, 2 for wrong
options, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import environment
from rig.pack import entered

NAMES = ("multi-id", "multi-human", "identities-collapse")
MODULES = ("tqdm", "scipy")


def main() -> int:
    parser, arguments = parsed()
    if arguments.rehearse and (arguments.folder or arguments.models or arguments.workers or arguments.address):
        parser.error("--rehearse makes up its folder and its files, and draws in this process.")
    if not arguments.rehearse and arguments.folder is None:
        parser.error("Name the folder of the benchmark, or add --rehearse.")
    if arguments.for_authors and arguments.benchmark != "multi-id":
        parser.error("--for-authors is for multi-id. Those of multi-human read the pictures as they lie.")
    if arguments.folder is not None and not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is no folder.")
    entered("benchmarks.py", arguments.python, MODULES)
    from benchmarks import command

    return command.run(arguments)


def parsed() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    first, *text = (__doc__ or "").split("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog="\n".join(text), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", choices=NAMES)
    parser.add_argument("folder", type=Path, nargs="?", help="the published folder of the benchmark")
    methods = 'whose pictures, by the names of docs/likeness.md, or "all"; default: ID-Patch'
    parser.add_argument("--methods", nargs="+", default=["ID-Patch"], metavar="METHOD", help=methods)
    parser.add_argument("--models", type=Path, help="a models folder besides ComfyUI's own")
    parser.add_argument("--out", type=Path, help="the folder of the results; default: output/benchmarks/BENCHMARK")
    places = "where people stand: as the benchmark gives it, or in a group layout of ours"
    parser.add_argument("--places", choices=("given", "group"), default="given", help=places)
    size = "width and height; a picture has as many pixels, in the benchmark's proportions. Default: each template's"
    parser.add_argument("--size", type=positive, nargs=2, metavar=("WIDTH", "HEIGHT"), help=size)
    parser.add_argument("--steps", type=positive, help="without it those of the templates")
    limit = "only the first N pictures of each kind: whether it runs, not a figure of the benchmark"
    parser.add_argument("--limit", type=positive, metavar="N", help=limit)
    parser.add_argument("--workers", type=positive, help="draw by so many ComfyUIs beside each other")
    address = "draw on Ray: a cluster's address, auto, or local for Ray on this machine"
    parser.add_argument("--address", help=address)
    authors = "arrange the pictures of multi-id as its authors' code reads them too"
    parser.add_argument("--for-authors", action="store_true", help=authors)
    parser.add_argument("--check", action="store_true", help="draw nothing: what was read, and which files are missing")
    parser.add_argument("--rehearse", action="store_true", help="a made-up folder, drawn by the miniature")
    parser.add_argument("--python", help="a Python that has everything already")
    return parser, parser.parse_args()


def positive(text: str) -> int:
    if not text.isdecimal() or len(text) >= 10 or not int(text):
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from 1 to 999999999")
    return int(text)


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    environment.run(main)
