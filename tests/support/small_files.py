"""batch.py with workers that only write a small file: everything of it but ComfyUI.

    python tests/support/small_files.py jobs.csv out --workers 2

runs a table with the columns name and Seed; `--make 1000000` writes one first. An address such as s3://bucket/out will
do in the place of a path. What it took is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from batch import rows
from batch.folders import folder_of
from batch.inputs import Template
from batch.maker import Maker
from batch.one_worker import OneWorker, WorkerSettings
from batch.output import Output
from batch.prompts import Job
from batch.ray_workers import HERE, RayWorkers
from batch.run import Asking, Run
from batch.worker import Outcome, SavedFile
from environment import say

PROMPT = {
    "1": {"class_type": "Text", "inputs": {"seed": 0}, "_meta": {"title": "Text"}},
    "2": {"class_type": "Save", "inputs": {"images": ["1", 0]}, "_meta": {"title": "Save"}},
}
OBJECT_INFO = {
    "Text": {"input": {"required": {"seed": ["INT", {}]}}, "output": ["IMAGE"], "output_node": False},
    "Save": {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": True},
}
for name, entry in OBJECT_INFO.items():
    entry |= {"display_name": name, "python_module": "nodes"}


class SmallWorker:
    """A worker whose pictures are the seeds of their rows. seconds: that a row takes. deadly: a seed that ends it."""

    def __init__(self, name: str, seconds: float, deadly: int) -> None:
        self.name = name
        self._seconds = seconds
        self._deadly = deadly
        self._folder = tempfile.TemporaryDirectory(prefix="likeness-small-")
        self.folder = Path(self._folder.name)

    version = label = "small"
    takes_several = False

    def start(self) -> None:
        pass

    def object_info(self) -> dict[str, Any]:
        return OBJECT_INFO

    def is_back(self) -> bool:
        return True

    def run(self, prompt: dict[str, Any], files: dict[str, bytes], folder: Path) -> Outcome:
        seed = prompt["1"]["inputs"]["seed"]
        if seed == self._deadly:
            os._exit(1)
        if self._seconds:
            time.sleep(self._seconds)
        path = folder / "saved.txt"
        path.write_text(str(seed))
        return Outcome([SavedFile(".txt", path)], self._seconds)

    def stop(self) -> None:
        pass

    def clear(self) -> None:
        self._folder.cleanup()


class Settings(WorkerSettings):
    """seconds: that a row takes."""

    seconds = 0.0
    deadly = -1

    def worker(self, number: int) -> Any:
        return SmallWorker(self.name(number), self.seconds, self.deadly)


def memory() -> int:
    """What this process has in main memory, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("output")
    parser.add_argument("--make", type=int, help="write a table of so many rows first")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--address", help="of a cluster; without --workers it has one on each GPU")
    parser.add_argument("--seconds", type=float, default=0.0, help="that a row takes")
    parser.add_argument("--deadly", type=int, default=-1, help="the seed of a row that ends its worker")
    options = parser.parse_args()
    if options.make:
        with open(options.table, "w") as file:
            file.write("name,Seed\n")
            file.writelines(f"row{number},{number}\n" for number in range(options.make))
    began = time.monotonic()
    run_all(options, began)
    say(f"{time.monotonic() - began:.1f} s in all, {memory()} MB at the end")


def run_all(options: argparse.Namespace, began: float) -> None:
    settings = Settings()
    # As attributes of the object, which travel with it.
    object.__setattr__(settings, "seconds", options.seconds)
    object.__setattr__(settings, "deadly", options.deadly)
    parent, name = os.path.split(options.table)
    table = rows.read(folder_of(parent), name)
    output = Output(folder_of(options.output))
    say(f"joined after {time.monotonic() - began:.1f} s: {output.earlier.count} done, {memory()} MB")
    with tempfile.TemporaryDirectory() as temporary:
        workflow = Path(temporary) / "workflow.json"
        workflow.write_text(json.dumps(PROMPT))
        template = Template(workflow, OBJECT_INFO, ["name", "Text.seed"], folder_of(parent), Path(temporary) / "input")
    template.inputs["Seed"] = template.inputs.pop("Text.seed")
    workers = OneWorker(settings)
    if options.address or (options.workers or 1) > 1:
        workers = RayWorkers(options.address or HERE, options.workers, settings, "small", output.folder.address)
    try:
        with workers:
            run = Run(table, template, OBJECT_INFO, output, workers)
            survey = run.survey()
            run.say_what_comes(survey)
            # As batch.py has a worker look for the files of models.
            list(workers.results(Asking(), [Job(rows.Row(0, "", {}), PROMPT, {})]))
            output.begin()
            say(f"begins after {time.monotonic() - began:.1f} s, {memory()} MB")
            threading.Thread(target=watch, daemon=True).start()
            since = time.monotonic()
            made = run.make(Maker(template, OBJECT_INFO, output.folder), survey)
            seconds = time.monotonic() - since
            say(f"{made} rows in {seconds:.1f} s: {made / max(seconds, 1e-6):.0f} a second, {output.failed} failed")
    finally:
        output.close()


def watch() -> None:
    while True:
        time.sleep(30)
        say(f"{memory()} MB")


if __name__ == "__main__":
    main()
