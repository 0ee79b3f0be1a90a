"""Makes a picture for every row of a CSV file, by any workflow, on one GPU or on many machines.

    python scripts/batch.py jobs.csv --workflow id_patch_two_people

with a file such as

    name,First person,Second person,Prompt,Seed
    terrace,anna.jpg,ben.jpg,"two friends on a terrace, soft light",1
    beach,anna.jpg,ben.jpg,two friends at the beach,2

Columns are the inputs of the workflow's app by their labels (write a wrong one, and it lists them), or "Node
title.input" of any other; the cell of a photo is its file. docs/many_pictures.md says the rest.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

# ComfyUI portable's Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).absolute().parent))

import environment
from environment import Host, SetupError, say

if TYPE_CHECKING:
    from batch.output import Output
    from batch.rows import Row
    from batch.run import Run
    from batch.workers import Crew

MODULES = ("numpy", "PIL", "safetensors", "aiohttp", "filelock", "tqdm")


def main() -> int:
    given = arguments()
    hosts = environment.find_hosts()
    if not hosts:
        raise SetupError("batch.py needs a ComfyUI: set COMFYUI_PATH, or run python scripts/demo.py first.")
    python = environment.python_for(hosts, given.python, MODULES)
    environment.enter(python)
    from batch import rows
    from batch.inputs import Template
    from batch.measured import Scores
    from batch.output import Output
    from batch.run import Run
    from rig import workflow_files

    table = rows.with_inputs(rows.read(given.jobs), given.set)
    workflow, photos = workflow_files.named(given.workflow), given.photos or given.jobs.parent
    workflow_files.read(workflow)  # what is wrong with it is told before a ComfyUI starts
    if not photos.is_dir():
        raise SetupError(f"There is no folder {photos}: name the one that the photos are in.")
    output = Output(given.output or given.jobs.with_suffix(""))
    say(f"Starting {hosts[0]} ({hosts[0].path}) in a folder of its own.")
    with crew(given, hosts[0], python) as workers:
        known = workers.object_info()
        template = Template(workflow, known, table.columns, photos, hosts[0].path / "input")
        measured = given.measure or given.keep or given.clip_vision
        scores = Scores(output.folder, given.clip_vision) if measured else None
        run = Run(workers, known, template, output, given.keep or 1, scores)
        try:
            return make(list(rows.rows(table, template.is_photo)), output, run)
        except KeyboardInterrupt:
            say(f"Stopped. What is done is in {output.folder}: run the same again to go on.")
            raise


def arguments() -> argparse.Namespace:
    first, *text = (__doc__ or "").split("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog="\n".join(text), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("jobs", type=Path, metavar="JOBS.csv", help="a picture a row; the first line names inputs")
    parser.add_argument("--workflow", required=True, help="a workflow's file, or a template's name in workflows/")
    every = "what an input is in every row, called as a column would be; as often as needed"
    parser.add_argument("--set", type=one_input, action="append", default=[], metavar="INPUT=VALUE", help=every)
    parser.add_argument("--output", type=Path, help="the folder of the pictures; else one beside the CSV with its name")
    parser.add_argument("--photos", type=Path, help="the folder that photos are in; else the CSV's")
    parser.add_argument("--models", type=Path, help="a models folder besides ComfyUI's own")
    parser.add_argument("--workers", type=positive, help="how many ComfyUIs; else as many as there are GPUs, or one")
    parser.add_argument("--address", help="a Ray cluster to run on, such as auto; each machine has its ComfyUI there")
    limit = "a ComfyUI that is longer at a row is ended, and the row tried once more; default: 3600"
    parser.add_argument("--row-limit", type=positive, default=3600, metavar="SECONDS", help=limit)
    measure = "write likeness.csv: who is shown in each picture, and how alike"
    parser.add_argument("--measure", action="store_true", help=measure)
    garments = "measure garments (Part) too, and people as --measure does; FILE is in models/clip_vision"
    parser.add_argument("--clip-vision", default="", metavar="FILE", help=garments)
    keep = "make each row with N seeds, the row's and those after it, and keep the picture with the best likeness"
    parser.add_argument("--keep", type=best_of, metavar="best-of:N", help=keep)
    parser.add_argument("--python", help="a Python that can run ComfyUI; nothing is installed into it")
    return parser.parse_args()


def one_input(text: str) -> tuple[str, str]:
    column, _, value = (part.strip() for part in text.partition("="))
    if not (column and value):
        raise argparse.ArgumentTypeError(f"{text} is not INPUT=VALUE, such as Steps=30")
    return column, value


def best_of(text: str) -> int:
    number = text.removeprefix("best-of:")
    if not (text.startswith("best-of:") and number.isdecimal() and 1 < int(number) <= 100):
        raise argparse.ArgumentTypeError(f"{text} is not best-of:2 to best-of:100")
    return int(number)


def positive(text: str) -> int:
    if not (text.isdecimal() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from 1 to 999999999")
    return int(text)


def crew(given: argparse.Namespace, host: Host, python: Path) -> Crew:
    import torch
    from batch import workers

    models = [given.models.absolute()] if given.models else []
    count = given.workers or (None if given.address else max(1, torch.cuda.device_count()))
    if count == 1 and not given.address:
        return workers.Crew(lambda: workers.here(host, python, models), count, host, given.row_limit)
    return workers.Crew(*workers.on_ray(given.address, count, list(map(str, models))), host, given.row_limit)


def make(rows: list[Row], output: Output, run: Run) -> int:
    """Make the pictures of all rows; 1 where a row failed."""
    from batch.sums import Sums
    from tqdm import tqdm

    started = time.monotonic()
    to_do = run.prepare(rows)
    refused = output.failed
    pace = 0.5 if sys.stderr.isatty() else 10
    for _ in tqdm(run.made(to_do), total=len(rows), initial=len(rows) - len(to_do), unit="row", mininterval=pace):
        pass
    sums = Sums(
        rows=len(rows),
        made=len(to_do) - (output.failed - refused),
        failed=output.failed,
        seconds=time.monotonic() - started,
    )
    if sums.failed:
        say(f"{output.folder / 'failed.csv'} says why rows failed.")
    say(sums.sentence(output.folder))
    return int(sums.failed > 0)


if __name__ == "__main__":
    environment.run(main)
