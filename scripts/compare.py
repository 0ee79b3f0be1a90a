"""Pictures of people measured, most of them drawn by the methods of this pack: a page, tables and a report.

    python scripts/compare.py --people my_people --quick seeds
    python scripts/compare.py --people my_people --prompt "photo of people in a park"
    python scripts/compare.py --outfits my_outfits
    python scripts/compare.py --pictures my_pictures --made-with InstantID

--people draws people from photos, one of each or a folder of each, by every method whose files are in the ComfyUI that
is found. Questions: crowd (1 to 12 people), seeds (the same people by every method and seed), ablations (methods
without one of their parts, and with several photos). --outfits dresses a person from pictures, by Parts2Whole and
Share Parts Attention. --pictures measures pictures of any model. docs/likeness.md says what lies in each of these
folders and what comes out: OUT/index.html, a page to look at, tables, and report.json.

The same command again draws only what is missing. Exit status: 1 where something has to be mended first,
2 for wrong options, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import environment
from shared.arguments import path_of, positive
from shared.host_folders import entered

QUESTIONS = ("crowd", "seeds", "ablations")
"""Of --people."""
SOURCES = ("people", "outfits", "pictures")
MODULES = ("tqdm", "scipy", "jinja2")
SMALLEST, LARGEST = 64, 8192
"""Side of a picture, as the nodes of a layout take it."""
PROMPT_OF_OUTFITS = "photo of a person standing, full body, plain light grey studio background, high quality photo"
PROMPT = "photo of people side by side on a summer terrace, half-length, smiling at the camera, soft daylight"


def main() -> int:
    options = parsed()
    entered("compare.py", options.python, MODULES)
    from comparison import command

    return command.run(options)


def parsed() -> argparse.Namespace:
    """What the command line asks for; `source` names one of SOURCES. Ends with 2 for what does not fit."""
    parser = _parser()
    of_sources = _add_options_of_some_sources(parser)
    options = parser.parse_args()
    options.source = next(name for name in SOURCES if getattr(options, name))
    for name, sources in of_sources.items():
        if options.source not in sources and getattr(options, name) != parser.get_default(name):
            asked = "A question" if name == "question" else f"--{name.replace('_', '-')}"
            parser.error(f"{asked} is for {_listed(sources)}.")
    if unknown := sorted({*options.question} - {*QUESTIONS}):
        parser.error(f"No such question: {', '.join(unknown)}. There are {', '.join(QUESTIONS)}.")
    options.question = options.question or QUESTIONS
    options.prompt = options.prompt or (PROMPT_OF_OUTFITS if options.outfits else PROMPT)
    folder: Path | None = options.people or options.outfits or options.pictures
    if options.size and not all(SMALLEST <= side <= LARGEST for side in options.size):
        parser.error(f"--size takes sides from {SMALLEST} to {LARGEST}.")
    if folder and not folder.is_dir():
        parser.error(f"{folder} is no folder.")
    return options


def _listed(sources: Sequence[str]) -> str:
    return " and ".join(f"--{source}" for source in sources)


def _parser() -> argparse.ArgumentParser:
    """With the sources and what all of them take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    people = "a folder of photos: one of each person, or a folder of each"
    source.add_argument("--people", type=path_of, metavar="FOLDER", help=people)
    outfits = "a folder of folders with pictures of clothes and the like"
    source.add_argument("--outfits", type=path_of, metavar="FOLDER", help=outfits)
    source.add_argument("--pictures", type=path_of, metavar="FOLDER", help="a folder with people/ and pictures/")
    out = "the folder of the results; default: one in output, of --pictures FOLDER/measured"
    parser.add_argument("--out", type=path_of, help=out)
    parser.add_argument("--python", help="a Python that has everything already")
    return parser


def _add_options_of_some_sources(parser: argparse.ArgumentParser) -> dict[str, Sequence[str]]:
    """Add the options that not every source takes. Returns which do, by the option's name in the Namespace: argparse
    itself takes each with all of them, and `parsed` refuses it."""
    of_sources: dict[str, Sequence[str]] = {}

    def add(option: str, sources: str, words: str, **settings: Any) -> None:
        """sources: their names, with spaces between them. words: the help. settings: of add_argument."""
        name_in_namespace = option.strip("-").replace("-", "_")
        of_sources[name_in_namespace] = sources.split()
        parser.add_argument(option, help=f"with {_listed(sources.split())}: {words}", **settings)

    methods = 'by the names of docs/likeness.md, such as "ID-Patch", or "all"; default: all'
    add("--methods", "people", methods, nargs="+", metavar="METHOD")
    add("--models", "people outfits pictures", "a models folder besides ComfyUI's own", type=path_of)
    add("--prompt", "people outfits", "the text of every picture")
    of_templates = "those of each template where not named"
    add("--size", "people outfits", of_templates, type=positive, nargs=2, metavar=("WIDTH", "HEIGHT"))
    add("--steps", "people outfits", of_templates, type=positive)
    quick = "few pictures, in seeds of two people: whether it runs"
    add("--quick", "people outfits", quick, action="store_true")
    made_with = "their method, as Measure Likeness calls it"
    add("--made-with", "pictures", made_with, metavar="METHOD", default="unknown")
    add("question", "people", "one or more of the questions above; default: all", nargs="*", default=[])
    return of_sources


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    environment.run(main)
