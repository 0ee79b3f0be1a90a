"""People drawn from photos by the methods of this pack, and measured: a page, tables and a report.

    python scripts/compare.py --people my_people --quick seeds
    python scripts/compare.py --people my_people --prompt "photo of people in a park"

--people is a folder of photos, one of each or a folder of each. They are drawn by every method whose files are in the
ComfyUI that is found. Questions: crowd (1 to 12 people), seeds (the same people by every method and seed), ablations
(methods without one of their parts, and with several photos). docs/likeness.md says what comes out: OUT/index.html, a
page to look at, tables, and report.json.

Exit status: 1 where something has to be mended first, 2 for wrong options, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os

import environment
from shared.arguments import path_of, positive
from shared.host_folders import entered

QUESTIONS = ("crowd", "seeds", "ablations")
MODULES = ("tqdm", "scipy", "jinja2")
SMALLEST, LARGEST = 64, 8192
"""Side of a picture, as the nodes of a layout take it."""
PROMPT = "photo of people side by side on a summer terrace, half-length, smiling at the camera, soft daylight"


def main() -> int:
    options = parsed()
    entered("compare.py", options.python, MODULES)
    from comparison import command

    return command.run(options)


def parsed() -> argparse.Namespace:
    """What the command line asks for. Ends with 2 for what does not fit."""
    parser = _parser()
    options = parser.parse_args()
    if unknown := sorted({*options.question} - {*QUESTIONS}):
        parser.error(f"No such question: {', '.join(unknown)}. There are {', '.join(QUESTIONS)}.")
    options.question = options.question or QUESTIONS
    if options.size and not all(SMALLEST <= side <= LARGEST for side in options.size):
        parser.error(f"--size takes sides from {SMALLEST} to {LARGEST}.")
    if not options.people.is_dir():
        parser.error(f"{options.people} is no folder.")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    people = "a folder of photos: one of each person, or a folder of each"
    parser.add_argument("--people", type=path_of, metavar="FOLDER", required=True, help=people)
    parser.add_argument("--out", type=path_of, help="the folder of the results; default: output/compare")
    methods = 'by the names of docs/likeness.md, such as "ID-Patch", or "all"; default: all'
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help=methods)
    parser.add_argument("--models", type=path_of, help="a models folder besides ComfyUI's own")
    parser.add_argument("--prompt", default=PROMPT, help="the text of every picture")
    of_templates = "those of each template where not named"
    parser.add_argument("--size", type=positive, nargs=2, metavar=("WIDTH", "HEIGHT"), help=of_templates)
    parser.add_argument("--steps", type=positive, help=of_templates)
    quick = "few pictures, in seeds of two people: whether it runs"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--python", help="a Python that has everything already")
    parser.add_argument("question", nargs="*", default=[], help="one or more of the questions above; default: all")
    return parser


if __name__ == "__main__":
    os.environ.setdefault("ORT_LOGGING_LEVEL", "3")
    os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    environment.run(main)
