"""Makes a picture for every row of a CSV file, by any workflow, on one GPU or on many machines.

    python scripts/batch.py jobs.csv --workflow id_patch_two_people

with a file such as

    name,First person,Second person,Prompt,Seed
    terrace,anna.jpg,ben.jpg,"two friends on a terrace, soft light",1
    beach,anna.jpg,ben.jpg,two friends at the beach,2

Columns are the inputs of the workflow's app by their labels (write a wrong one, and it lists them), or "Node
title.input" of any other; the cell of a photo is its file, or the name of a saved person.

Exit status: 0 where all rows are made, 1 where one failed (failed.csv says why) or where something has to be mended
first, 2 for wrong options, 130 after Ctrl-C. docs/many_pictures.md says the rest.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

# ComfyUI portable's Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).absolute().parent))

import environment
from environment import Host, SetupError, say

if TYPE_CHECKING:
    from batch.output import DoneRow, Output
    from batch.rows import FixedInput, Row, Table
    from batch.run import Run
    from batch.workers import Crew, WorkerSource

MODULES = ("numpy", "PIL", "safetensors", "aiohttp", "tqdm")


def main() -> int:
    options = arguments()
    hosts = environment.find_hosts()
    if not hosts:
        raise SetupError("batch.py needs a ComfyUI: set COMFYUI_PATH, or run python scripts/demo.py first.")
    python = environment.python_for(hosts, options.python, MODULES)
    environment.enter(python)
    from batch import rows
    from batch.output import Output
    from batch.workers import Crew
    from rig import workflow_files

    host = hosts[0]
    table = rows.with_inputs(rows.read(options.jobs), fixed_inputs(options.set))
    workflow = workflow_files.named(options.workflow)
    # What is wrong with it is told before a ComfyUI starts.
    workflow_files.read(workflow)
    photos = options.photos or options.jobs.parent
    if not photos.is_dir():
        raise SetupError(f"There is no folder {photos}: name the one that the photos are in.")
    output = Output(options.output or options.jobs.with_suffix(""))
    say(f"Starting {host} ({host.path}) in a folder of its own.")
    with Crew(worker_source(options, host, python), host, options.row_limit) as workers:
        return make_all(options, workers, table, workflow, photos, output, host)


def make_all(
    options: argparse.Namespace,
    workers: Crew,
    table: Table,
    workflow: Path,
    photos: Path,
    output: Output,
    host: Host,
) -> int:
    """Make the pictures of a table by workers that are starting; the exit status."""
    from batch.inputs import Template
    from batch.rows import rows
    from batch.run import Run
    from batch.saved_people import FaceBank
    from batch.scores import Scores
    from batch.shared_people import SharedPeople
    from batch.worker import temporary_folder
    from rig import host_folders

    object_info = workers.object_info()
    bank_folders = [Path(folder) for folder in host_folders.of_host(host)["likeness_faces"]]
    if options.models:
        bank_folders.append(options.models / "likeness_faces")
    face_bank = FaceBank(bank_folders)
    template = Template(workflow, object_info, table.columns, photos, host.path / "input", face_bank)
    scores = None
    if options.measure or options.keep or options.clip_vision:
        scores = Scores(output.folder, options.clip_vision)
    with temporary_folder() as folder:
        people = SharedPeople(object_info, Path(folder))
        run = Run(workers, object_info, template, output, people, options.keep or 1, scores)
        try:
            return make(list(rows(table, template.is_photo)), output, run, workers.count)
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
    parser.add_argument("--set", type=fixed_input, action="append", default=[], metavar="INPUT=VALUE", help=every)
    parser.add_argument("--output", type=Path, help="the folder of the pictures; else one beside the CSV with its name")
    parser.add_argument("--photos", type=Path, help="the folder that photos are in; else the CSV's")
    parser.add_argument("--models", type=Path, help="a models folder besides ComfyUI's own")
    workers = "how many ComfyUIs; else as many as there are GPUs, or one"
    parser.add_argument("--workers", type=positive, help=workers)
    address = "run on Ray: a cluster's address, auto, or local for Ray on this machine; each machine has its ComfyUI"
    parser.add_argument("--address", help=address)
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


def fixed_input(text: str) -> tuple[str, str]:
    """The column and the value of --set."""
    column, _, value = text.partition("=")
    column = column.strip()
    value = value.strip()
    if not column or not value:
        raise argparse.ArgumentTypeError(f"{text} is not INPUT=VALUE, such as Steps=30")
    return column, value


def fixed_inputs(pairs: Sequence[tuple[str, str]]) -> list[FixedInput]:
    from batch.rows import FixedInput

    return [FixedInput(column, value) for column, value in pairs]


def best_of(text: str) -> int:
    number = text.removeprefix("best-of:")
    if not text.startswith("best-of:") or not number.isdecimal() or not 1 < int(number) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not best-of:2 to best-of:100")
    return int(number)


def positive(text: str) -> int:
    if not text.isdecimal() or len(text) >= 10 or not int(text):
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a whole number from 1 to 999999999")
    return int(text)


def worker_source(options: argparse.Namespace, host: Host, python: Path) -> WorkerSource:
    """Where the workers run: on Ray where an address is given, else on this machine. Raises SetupError."""
    models = [options.models.absolute()] if options.models else []
    if options.address:
        from batch.ray_workers import RayWorkers

        return RayWorkers(options.address, options.workers, [str(folder) for folder in models])
    import torch
    from batch.local_workers import LocalWorkers, visible_gpus

    gpus = visible_gpus(torch.cuda.device_count())
    return LocalWorkers(host, python, models, options.workers or max(1, len(gpus)), gpus)


def make(rows: list[Row], output: Output, run: Run, workers: int) -> int:
    """Make the pictures of all rows; 1 where a row failed. workers: how many there are."""
    from batch.estimate import Pace
    from batch.run import bar
    from batch.sums import Sums

    started = time.monotonic()
    to_do = run.prepare(rows)
    refused = output.failed
    if to_do:
        say_what_comes(rows, to_do, output, workers)
        run.make_people()
    pace = Pace()
    finished_rows = bar(run.results(to_do), len(rows), "Rows", done=len(rows) - len(to_do))
    for number, finished in enumerate(finished_rows, 1):
        done_row = output.done_row(finished.row.name)
        if done_row is not None and not finished.problem:
            pace.add(done_row.size)
        estimate = pace.first_estimate(len(to_do) - number, free_bytes(output.folder))
        if estimate:
            estimate.require_room(output.folder)
            say(f"By the first rows: {estimate.sentence()}")
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


def say_what_comes(rows: Sequence[Row], to_do: Sequence[Row], output: Output, workers: int) -> None:
    """Before the first row: how many there are, and what they will take, by those of earlier runs into this folder.

    Raises SetupError where they have no room on the disk.
    """
    from batch.estimate import FIRST_ROWS, by_earlier_rows

    from core.errors import counted
    from core.models.manifest import human

    free = free_bytes(output.folder)
    names_to_do = {row.name for row in to_do}
    earlier: list[DoneRow] = []
    for row in rows:
        done_row = output.done_row(row.name)
        if row.name not in names_to_do and done_row is not None:
            earlier.append(done_row)
    text = f"{counted(len(to_do), 'row')} to make; {len(rows) - len(to_do) - output.failed} done earlier, "
    text += f"{output.failed} refused."
    estimate = by_earlier_rows(earlier, len(to_do), workers, free)
    if estimate is None:
        text += f" {human(free)} are free."
        if len(to_do) > FIRST_ROWS:
            text += f" The first rows, {FIRST_ROWS} at most, tell what the others take."
        say(text)
        return
    estimate.require_room(output.folder)
    say(f"{text} By the earlier rows: {estimate.sentence()}")


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder."""
    return shutil.disk_usage(folder).free


if __name__ == "__main__":
    environment.run(main)
