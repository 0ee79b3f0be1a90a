"""Pictures of people measured, most of them drawn by the methods of this pack: a page, tables and a report.

    python scripts/compare.py --people my_people --quick seeds --rehearse
    python scripts/compare.py --people my_people --prompt "photo of people in a park"
    python scripts/compare.py --outfits my_outfits
    python scripts/compare.py --pictures my_pictures --made-with InstantID
    python scripts/compare.py --benchmark multi-human MultiHuman-Testbench --check

--people draws people from photos, one of each or a folder of each, by every method whose files are in the ComfyUI that
is found. Questions: crowd (1 to 12 people), seeds (the same people by every method and seed), ablations (methods
without one of their parts, and with several photos). --outfits dresses a person from pictures, by Parts2Whole and Share
Parts Attention. --pictures measures pictures of any model. docs/likeness.md says what lies in each of these folders and
what comes out: OUT/index.html, a page to look at, tables, and report.json.

--benchmark draws a published one and measures it as it measures: multi-id (MultiID-Bench, 1 to 4 people), multi-human
(MultiHuman-Testbench, 1 to 5), identities-collapse (When Identities Collapse, 2 to 10). Their data are not with the
pack: docs/dev/measuring.md says where each is from. --check says what was read and which files are missing.

--miniature draws cartoons of drawn people by the toy model. Questions: crowd, halves (InstantID's, and several
photos), parts (Parts2Whole and Share Parts Attention), seeds. --write puts the figures into
docs/dev/miniature_methods.md.

--rehearse needs no file of a method: the toy model draws the same. Its figures say nothing.

The same command again draws only what is missing. Exit status: 1 where something has to be mended first or a picture of
a benchmark failed, 2 for wrong options, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import environment
from shared.arguments import positive
from shared.pack import entered

QUESTIONS = {"people": ("crowd", "seeds", "ablations"), "miniature": ("crowd", "halves", "parts", "seeds")}
SOURCES = ("people", "outfits", "pictures", "benchmark", "miniature")
BENCHMARKS = ("multi-id", "multi-human", "identities-collapse")
MODULES = ("tqdm", "scipy")
PROMPT_OF_OUTFITS = "photo of a person standing, full body, plain light grey studio background, high quality photo"
PROMPT = "photo of people side by side on a summer terrace, half-length, smiling at the camera, soft daylight"
OF_SOURCES = {
    "question": ("people", "miniature"),
    "quick": ("people", "outfits", "miniature"),
    "prompt": ("people", "outfits"),
    "size": ("people", "outfits", "benchmark"),
    "steps": ("people", "outfits", "benchmark"),
    "methods": ("people", "benchmark"),
    "rehearse": ("people", "benchmark"),
    "models": ("people", "outfits", "benchmark", "pictures"),
    "made_with": ("pictures",),
    "places": ("benchmark",),
    "limit": ("benchmark",),
    "workers": ("benchmark",),
    "address": ("benchmark",),
    "check": ("benchmark",),
    "write": ("miniature",),
}
"""By option the sources that it is for; the others are for all."""


def main() -> int:
    options = parsed()
    entered("compare.py", options.python, MODULES)
    from comparison import command

    return command.run(options)


def parsed() -> argparse.Namespace:
    """What the command line asks for; `source` names one of SOURCES. Ends with 2 for what does not fit."""
    parser = _parser()
    options = parser.parse_args()
    options.source = next(name for name in SOURCES if getattr(options, name))
    for name, sources in OF_SOURCES.items():
        if options.source not in sources and getattr(options, name) != parser.get_default(name):
            asked = "A question" if name == "question" else f"--{name.replace('_', '-')}"
            parser.error(f"{asked} is for {' and '.join(f'--{source}' for source in sources)}.")
    known = QUESTIONS.get(options.source, ())
    if unknown := sorted({*options.question} - {*known}):
        parser.error(f"No such question: {', '.join(unknown)}. There are {', '.join(known)}.")
    options.question = options.question or known
    options.prompt = options.prompt or (PROMPT_OF_OUTFITS if options.outfits else PROMPT)
    folder: Path | None = options.people or options.outfits or options.pictures
    if options.benchmark:
        name, *folders = options.benchmark
        if name not in BENCHMARKS:
            parser.error(f"No such benchmark: {name}. There are {', '.join(BENCHMARKS)}.")
        if options.rehearse and (folders or options.workers or options.address):
            parser.error("--rehearse makes up its folder and its files, and draws in this process.")
        if not options.rehearse and len(folders) != 1:
            parser.error("Name the benchmark and its folder, or add --rehearse.")
        folder = Path(folders[0]) if folders else None
    if options.rehearse and options.models:
        parser.error("--rehearse has files of its own: leave --models out.")
    if folder and not folder.is_dir():
        parser.error(f"{folder} is no folder.")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    people = "a folder of photos: one of each person, or a folder of each"
    source.add_argument("--people", type=Path, metavar="FOLDER", help=people)
    outfits = "a folder of folders with pictures of clothes and the like"
    source.add_argument("--outfits", type=Path, metavar="FOLDER", help=outfits)
    source.add_argument("--pictures", type=Path, metavar="FOLDER", help="a folder with people/ and pictures/")
    benchmark = f"a published one of {', '.join(BENCHMARKS)}, and its folder"
    source.add_argument("--benchmark", nargs="+", metavar=("NAME", "FOLDER"), help=benchmark)
    source.add_argument("--miniature", action="store_true", help="cartoons of drawn people, by the toy model")
    add("--out", type=Path, help="the folder of the results; default: one in output, of --pictures FOLDER/measured")
    add("--methods", nargs="+", metavar="METHOD",
        help='by the names of docs/likeness.md, such as "ID-Patch" "IP-Adapter", or "all"; default: all of them for '
        "--people, ID-Patch for --benchmark")  # fmt: skip
    add("--models", type=Path, help="a models folder besides ComfyUI's own")
    add("--prompt", help="with --people and --outfits")
    size = "width and height; without it those of each template. Of a benchmark: as many pixels, in its proportions"
    add("--size", type=positive, nargs=2, metavar=("WIDTH", "HEIGHT"), help=size)
    add("--steps", type=positive, help="without it those of the templates")
    add("--rehearse", action="store_true", help="the toy model draws, no file is needed")
    quick = "few pictures, with two people at most in seeds: whether it runs"
    add("--quick", action="store_true", help=quick)
    made_with = "with --pictures: their method, as Measure Likeness calls it"
    add("--made-with", metavar="METHOD", default="unknown", help=made_with)
    add("--check", action="store_true", help="with --benchmark: draw nothing, say what was read and what is missing")
    places = "with --benchmark, where people stand: as it gives it, or in a group layout of ours"
    add("--places", choices=("given", "group"), default="given", help=places)
    limit = "with --benchmark: only the first N pictures of each kind: whether it runs, not a figure of it"
    add("--limit", type=positive, metavar="N", help=limit)
    add("--workers", type=positive, help="with --benchmark: draw by so many ComfyUIs, by Ray where they are several")
    address = "with --benchmark: draw on Ray: a cluster's address, auto, or local for Ray on this machine"
    add("--address", help=address)
    add("--write", action="store_true", help="with --miniature: put figures into docs/")
    add("--python", help="a Python that has everything already")
    add("question", nargs="*", default=[], help="one or more of the questions above; all where none is named")
    return parser


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    environment.run(main)
