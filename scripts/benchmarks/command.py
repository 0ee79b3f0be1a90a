"""The command: what is asked for, the run, and what is left of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import environment
import folder_paths
from comparison import rehearsal
from comparison.records import DrawnMethod, methods_named
from comparison.session import ComparisonSettings, Session
from comparison.worlds import REFUSED
from environment import SetupError, say
from rig import whole

from . import authors, identities_collapse, made_up, multi_human, multi_id, page
from .kept import Result
from .pictures import CrewDrawer, Drawer, HostDrawer, made_by_workers
from .records import Benchmark, Unmeasured
from .run import NOT_DRAWN, Run, Settings
from .table import published_rows, rows_of
from .watching import Watcher

BENCHMARKS = {one.key: one for one in (multi_id.BENCHMARK, multi_human.BENCHMARK, identities_collapse.BENCHMARK)}
_WITHOUT_FILE = {
    "text alignment": ("CLIP-T",),
    "collapse": (*(f"SCR@{below}" for below in identities_collapse.THRESHOLDS), "DINOv2"),
    "SCR@0.4": (),  # compare.py's own column of this name needs the same file as "collapse", which has all of them here
}
"""What a session cannot measure where a file is missing -> the metrics of benchmarks that need this."""


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; the exit status. Raises SetupError."""
    methods = methods_named(arguments.methods)
    try:
        with opened(arguments) as benchmark_run:
            _say_what_was_read(benchmark_run)
            if arguments.check:
                return _checked(benchmark_run, methods)
            return _made(benchmark_run, methods, arguments.rehearse, arguments.for_authors)
    except REFUSED as problem:
        raise SetupError(str(problem)) from problem


@contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[Run]:
    """The run that is asked for: the folder is read, the judges are loaded, and whoever draws has begun to start.

    Raises SetupError, and one of REFUSED.
    """
    benchmark = BENCHMARKS[arguments.benchmark]
    with ExitStack() as stack:
        settings = _settings(arguments, benchmark, stack)
        # What is wrong with the folder is said before anything is loaded.
        cases = benchmark.cases(settings.folder, settings.places)
        if arguments.models:
            _add_models(arguments.models)
        settings.out.mkdir(parents=True, exist_ok=True)
        session = Session(ComparisonSettings(settings.folder, settings.out, ""), [])
        watcher = Watcher(session.face_model, session.judge.vision, session.judge.text, session.judge_files())
        drawer = stack.enter_context(_drawer(arguments, session, settings))
        yield Run(benchmark, settings, cases, session, watcher, drawer)


def _settings(arguments: argparse.Namespace, benchmark: Benchmark, stack: ExitStack) -> Settings:
    """What is asked for; in a rehearsal with the miniature's files, which stay while the stack is open."""
    size = tuple(arguments.size) if arguments.size else None
    out = (arguments.out or environment.ROOT / "output" / "benchmarks" / benchmark.key).resolve()
    if not arguments.rehearse:
        folder = arguments.folder.resolve()
        return Settings(folder, out, arguments.places, size, arguments.steps, arguments.limit)
    made = Path(stack.enter_context(TemporaryDirectory()))
    stack.enter_context(rehearsal.miniature_in(made))
    folder = made / benchmark.key
    made_up.FOLDERS[benchmark.key](folder)
    say(f"A rehearsal: a made-up folder of {benchmark.title}, and the miniature. The figures say nothing.")
    steps = arguments.steps or rehearsal.STEPS
    largest = rehearsal.LARGE if benchmark.key == identities_collapse.BENCHMARK.key else rehearsal.SIZE
    return Settings(folder, out, arguments.places, size or largest, steps, arguments.limit)


def _add_models(folder: Path) -> None:
    """A models folder besides ComfyUI's own: one sub-folder for each kind of file. Raises SetupError."""
    if not folder.is_dir():
        raise SetupError(f"--models {folder} is no folder.")
    for kind in sorted(folder.iterdir()):
        if kind.is_dir():
            folder_paths.add_model_folder_path(kind.name, str(kind.resolve()))


@contextmanager
def _drawer(arguments: argparse.Namespace, session: Session, settings: Settings) -> Iterator[Drawer]:
    """Whoever draws: this process, or workers where their number or an address is given."""
    if arguments.check or not (arguments.workers or arguments.address):
        yield HostDrawer(session.host)
        return
    from batch.workers import Crew

    host = environment.find_hosts()[0]
    models = [arguments.models.resolve()] if arguments.models else []
    if arguments.address:
        from batch.ray_workers import RayWorkers

        source: Any = RayWorkers(arguments.address, arguments.workers, [str(path) for path in models])
    else:
        import torch
        from batch.local_workers import LocalWorkers, visible_gpus

        gpus = visible_gpus(torch.cuda.device_count())
        source = LocalWorkers(host, Path(sys.executable), models, arguments.workers, gpus)
    with Crew(source, host) as crew:
        yield CrewDrawer(crew, settings.folder, made_by_workers(session.host, arguments.address is not None))


def _say_what_was_read(run: Run) -> None:
    made_up = sum(case.places is None for case in run.all_cases)
    text = f"{run.benchmark.title}: {len(run.all_cases)} pictures in {run.settings.folder}"
    if len(run.cases) < len(run.all_cases):
        text += f", of which {len(run.cases)} are taken"
    if made_up:
        text += f"; {made_up} of all have no places there and get a group layout"
    say(f"{text}.")


def _checked(run: Run, methods: Sequence[DrawnMethod]) -> int:
    """Say for each method whether it can be drawn; 1 where one cannot."""
    status = 0
    for method in methods:
        try:
            run.graph_of(method, run.cases[0])
        except NOT_DRAWN as refusal:
            say(f"{method.title}: {refusal}")
            status = 1
        else:
            say(f"{method.title}: all files are there.")
    return status


def _made(run: Run, methods: Sequence[DrawnMethod], is_rehearsal: bool, for_authors: bool) -> int:
    """Draw and measure by each method, and write what comes of it after each; 1 where anything is missing.

    for_authors: arrange the pictures for the authors' code too.
    """
    results: list[Result] = []
    for method in methods:
        try:
            results.append(run.result(method))
        except KeyboardInterrupt:
            advice = "A rehearsal begins anew each time." if is_rehearsal else "Run the same again to go on."
            say(f"Stopped. What is drawn stays in {run.settings.out}. {advice}")
            raise
        _write(run, results, is_rehearsal)
        if for_authors:
            count = authors.arranged(run.cases, results[-1], run.settings.out)
            folder = run.settings.out / authors.FOLDER
            say(f"{count} pictures are in {folder}, with photos of the benchmark: do not pass it on.")
    for result in results:
        for failure in result.failures:
            say(f"{result.method.title}, {failure.case}: {failure.why}")
    out = run.settings.out
    say(f"Done: look at {out / 'index.html'}. {out / 'report.json'} is the one to send; it holds no photo and no path.")
    return int(any(result.note or result.failures for result in results))


def _write(run: Run, results: Sequence[Result], is_rehearsal: bool) -> None:
    """The page, the table and the report of the methods so far."""
    benchmark = run.benchmark
    recognisers = run.session.face_model.ids
    rows = published_rows(benchmark)
    for result in results:
        rows += rows_of(benchmark, run.cases, result, recognisers)
    about = _about(run, is_rehearsal)
    unmeasured = [*benchmark.unmeasured]
    for unread in run.session.unread:
        for metric in benchmark.metrics:
            if metric.name in _WITHOUT_FILE[unread.column]:
                unmeasured.append(Unmeasured(metric.name, unread.why))
    out = run.settings.out
    whole.write(out / "report.json", page.report(benchmark, rows, results, about, unmeasured).encode())
    whole.write(out / "table.csv", page.as_csv(benchmark, rows))
    whole.write(out / "index.html", page.as_html(benchmark, rows, results, about, unmeasured, out).encode())


def _about(run: Run, is_rehearsal: bool) -> dict[str, Any]:
    """What is said of the whole run, without names and paths."""
    about = run.session.about()
    for name in ("prompt", "people", "photos of each"):
        del about[name]
    about |= {
        "size": run.settings.size,
        "steps": run.settings.steps,
        "seed": run.benchmark.seed,
        "pictures": len(run.cases),
        "pictures of the benchmark": len(run.all_cases),
        "places": run.settings.places,
        "pictures with made-up places": sum(case.places is None for case in run.cases),
    }
    if len(run.cases) < len(run.all_cases):
        about["part"] = "not all pictures of the benchmark: its published figures are of all"
    if is_rehearsal:
        about["rehearsal"] = rehearsal.SAYS_NOTHING
    return about
