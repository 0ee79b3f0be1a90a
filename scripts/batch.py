"""Makes a picture for every row of a table, by any workflow, on one GPU or on many machines.

    python scripts/batch.py jobs.csv --workflow start_two_people

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
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

# ComfyUI portable's Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).absolute().parent))

import environment
from environment import Host, SetupError, say
from shared.arguments import path_of, path_or_url, positive

from core.checks.errors import counted

if TYPE_CHECKING:
    from batch.folders import Folder
    from batch.one_worker import DrivenWorkers
    from batch.output import Measuring, Output
    from batch.ray_workers import RayWorkers
    from batch.rows import Part, Table

MODULES = ("numpy", "PIL", "safetensors", "tqdm")


def main() -> int:
    options = arguments()
    hosts = environment.find_hosts() if options.server else environment.required_hosts("batch.py")
    environment.enter(environment.python_for(hosts, options.python, MODULES))
    from batch import rows
    from batch.folders import folder_of
    from batch.output import Output
    from batch.ray_workers import HERE
    from shared import host_folders, workflow_files

    host = hosts[0] if hosts else None
    if options.models:
        host_folders.require_folder(options.models)
    parent, name = os.path.split(options.jobs)
    table = rows.with_inputs(rows.read(folder_of(parent), name), options.set)
    # What is wrong with it is told before a ComfyUI starts.
    workflow_files.read(workflow_files.named(options.workflow))
    photos = folder_of(options.photos or parent)
    if not photos.is_there():
        raise SetupError(f"There is no folder {photos.address}: name the one that the photos are in.")
    folder = folder_of(options.output or os.path.splitext(options.jobs)[0])
    output = Output(folder, measuring_of(options), options.part, options.only, options.move_seeds)
    if options.server:
        say(f"The rows are made by {counted(len(options.server), 'server')}.")
    elif options.address and options.address != HERE:
        say(f"Starting workers on Ray ({options.address}), each with the ComfyUI of its machine.")
    elif host:
        say(f"Starting {host} ({host.path}) in a folder of its own.")
    try:
        with workers_of(options, host, output.folder) as workers:
            return make_all(options, workers, table, photos, output, host)
    except KeyboardInterrupt:
        say(f"Stopped. What is done is in {output.folder.address}: run the same again to go on.")
        raise
    finally:
        output.close()


def make_all(
    options: argparse.Namespace,
    workers: DrivenWorkers | RayWorkers,
    table: Table,
    photos: Folder,
    output: Output,
    host: Host | None,
) -> int:
    """Make the pictures of a table by workers that are starting; 1 where a row failed."""
    from batch import command
    from batch.inputs import Template
    from batch.maker import Maker
    from batch.page import Again
    from batch.run import Run, last_line
    from batch.saved_people import SavedPeople
    from shared import host_folders, workflow_files

    object_info = workers.object_info()
    people_folders = [Path(folder) for folder in host_folders.of_host(host)["likeness_faces"]] if host else []
    if options.models:
        people_folders.append(options.models / "likeness_faces")
    workflow = workflow_files.named(options.workflow)
    columns = [*table.columns, *table.fixed]
    inputs = host.path / "input" if host else None
    template = Template(workflow, object_info, columns, photos, inputs, SavedPeople(people_folders))
    measuring = measuring_of(options)
    moved_seeds = options.move_seeds or 0
    run = Run(table, template, object_info, output, workers, options.part, options.only)
    run.require_makeable(measuring, moved_seeds)
    survey = run.survey()
    run.say_what_comes(survey)
    started = time.monotonic()
    made = 0
    if survey.first:
        run.require_files(survey.first)
    output.begin(Again(command.typed(options), run.has_seeds))
    if survey.to_do or survey.repeated:
        with contextlib.closing(Maker(template, object_info, output.folder, measuring, moved_seeds)) as maker:
            made = run.make(maker, survey)
    if output.failed:
        others = f" {output.folder.place(output.failed_name)} has the others." if output.failed > 1 else ""
        say(f"{output.first_failure}{others}")
    seconds = time.monotonic() - started
    say(last_line(survey.rows, made, output.failed, seconds, output.folder.address))
    return int(output.failed > 0)


def measuring_of(options: argparse.Namespace) -> Measuring | None:
    from batch.output import Measuring

    if options.measure or options.keep or options.clip_vision:
        return Measuring(options.keep or 1, options.clip_vision, options.garment_share)
    return None


def arguments() -> argparse.Namespace:
    first, *text = (__doc__ or "").split("\n")
    parser = argparse.ArgumentParser(
        description=first, epilog="\n".join(text), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    table = "a picture a row: CSV, JSON lines (.jsonl) or Parquet; a path, or an address such as s3://bucket/jobs.csv"
    parser.add_argument("jobs", type=path_or_url, metavar="JOBS.csv", help=table)
    parser.add_argument("--workflow", required=True, help="a workflow's file, or a template's name in workflows/")
    every = "what an input is in every row, called as a column would be; as often as needed"
    parser.add_argument("--set", type=fixed_input, action="append", default=[], metavar="INPUT=VALUE", help=every)
    output = "the folder of the pictures, a path or an address; else one beside the table with its name"
    parser.add_argument("--output", type=path_or_url, help=output)
    photos = "the folder that photos are in, a path or an address; else the table's"
    parser.add_argument("--photos", type=path_or_url, help=photos)
    parser.add_argument("--models", type=path_of, help="a models folder besides ComfyUI's own")
    workers = "how many ComfyUIs, by Ray where they are several; with --address as many as it gets GPUs for, else one"
    parser.add_argument("--workers", type=positive, help=workers)
    address = "run on Ray: a cluster's address, auto, or local for this machine; each machine has its ComfyUI"
    parser.add_argument("--address", help=address)
    gpus = "of each worker on Ray; default: 1. 0.5 lets two share a GPU, 0 takes none"
    parser.add_argument("--gpus", type=gpus_each, metavar="NUMBER", help=gpus)
    server = "the URL of a ComfyUI that runs already, in the place of workers; as often as needed"
    parser.add_argument("--server", type=server_url, action="append", default=[], metavar="URL", help=server)
    part = "make the second of four parts alone: other machines make the others, into the same --output"
    parser.add_argument("--part", type=part_of, metavar="2/4", help=part)
    only = "make this row alone, called as in done.csv or failed.csv; as often as needed"
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help=only)
    move = "add N to the seeds of every row: another try of what is done already; 0 brings the first back"
    parser.add_argument("--move-seeds", type=whole_number, metavar="N", help=move)
    limit = "a ComfyUI that is longer at a row is ended, and the row tried once more; default: 3600"
    parser.add_argument("--row-limit", type=positive, metavar="SECONDS", help=limit)
    measure = "write likeness.csv: who is shown in each picture, and how alike"
    parser.add_argument("--measure", action="store_true", help=measure)
    garments = "measure garments (looks, Part) too, and people as --measure does; FILE is in models/clip_vision"
    parser.add_argument("--clip-vision", default="", metavar="FILE", help=garments)
    keep = "make each row with N seeds, the row's and those after it, and keep the picture with the best likeness"
    parser.add_argument("--keep", type=best_of, metavar="best-of:N", help=keep)
    share = "how much garments count for --keep: 0 nothing, 1 alone; default: 0.5 in rows with looks, else 0"
    parser.add_argument("--garment-share", type=share_of, metavar="SHARE", help=share)
    parser.add_argument("--python", help="a Python that can run ComfyUI; nothing is installed into it")
    options = parser.parse_args()
    if options.server and (options.address or options.workers or options.models or options.gpus is not None):
        parser.error("--server uses ComfyUIs as they run: leave --workers, --address, --gpus and --models out")
    if options.only and options.part:
        parser.error("--only finds its rows in the whole table: leave --part out")
    if options.garment_share is not None and not (options.keep and options.clip_vision):
        parser.error("--garment-share is for --keep with --clip-vision: add both, or leave it out")
    return options


def fixed_input(text: str) -> tuple[str, str]:
    """The column and the value of --set."""
    column, _, value = text.partition("=")
    column = column.strip()
    value = value.strip()
    if not column or not value:
        raise argparse.ArgumentTypeError(f"{text} is not INPUT=VALUE, such as Steps=30")
    return column, value


def server_url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return url
    except ValueError:  # a port that is no number
        pass
    raise argparse.ArgumentTypeError(f"{text} is no address of a ComfyUI, such as http://127.0.0.1:8188")


def part_of(text: str) -> Part:
    from batch.rows import Part

    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) < 10**6):
        raise argparse.ArgumentTypeError(f"{text} is no part, such as 1/4, 2/4, 3/4 or 4/4")
    return Part(int(number), int(count))


def whole_number(text: str) -> int:
    return 0 if text == "0" else positive(text)


def gpus_each(text: str) -> float:
    """A part of a GPU, or whole ones, as Ray counts them."""
    with contextlib.suppress(ValueError):
        gpus = float(text)
        if 0 <= gpus <= 1 or (gpus.is_integer() and gpus > 0):
            return gpus
    raise argparse.ArgumentTypeError(f"{text} is neither 0 to 1 nor a whole number of GPUs")


def share_of(text: str) -> float:
    with contextlib.suppress(ValueError):
        share = float(text)
        if 0 <= share <= 1:
            return share
    raise argparse.ArgumentTypeError(f"{text} is not 0 to 1")


def best_of(text: str) -> int:
    number = text.removeprefix("best-of:")
    if not text.startswith("best-of:") or not number.isdecimal() or not 1 < int(number) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not best-of:2 to best-of:100")
    return int(number)


def workers_of(options: argparse.Namespace, host: Host | None, output: Folder) -> DrivenWorkers | RayWorkers:
    """Servers where their URLs are given, several ComfyUIs on Ray where their number or an address is; else one. Raises
    SetupError."""
    from batch.one_worker import OneWorker, WorkerSettings

    models = (str(options.models.absolute()),) if options.models else ()
    settings = WorkerSettings(models, options.row_limit or WorkerSettings.limit)
    if options.server:
        from batch.servers import Servers

        return Servers(options.server, settings)
    if options.address or (options.workers or 1) > 1:
        from batch.ray_workers import HERE, RayWorkers

        place = f"{output.address}{options.part.ending if options.part else ''}"
        return RayWorkers(options.address or HERE, options.workers, settings, str(host), place, options.gpus)
    import torch

    gpus = torch.cuda.device_count()
    if gpus > 1:
        say(f"One ComfyUI makes the rows. This machine has {gpus} GPUs: --workers {gpus} uses them all, by Ray.")
    return OneWorker(settings)


if __name__ == "__main__":
    environment.run(main)
