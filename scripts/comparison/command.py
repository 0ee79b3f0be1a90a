"""The command compare.py, in a host: what is asked for, the run of each source, and what is left of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import environment
import folder_paths
from environment import SetupError, say
from pack.core.errors import LikenessError
from pack.core.measure import TRAINED_WITH
from shared import host_folders

from . import cartoons, identities_collapse, made_up, outfits, own_pictures, people, rehearsal
from .benchmark_run import BENCHMARKS, Run
from .photos import people_in
from .session import Session, Settings, face_model_of, face_pack
from .template_methods import methods_named
from .workers import drawn_by_host, drawn_by_workers, made_by_workers

_OUTPUT = environment.ROOT / "output"


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for; the exit status. Raises SetupError."""
    try:
        if options.models:
            _add_models(options.models)
        return SOURCES[options.source](options)
    except LikenessError as problem:
        raise SetupError(str(problem)) from problem
    except OSError as problem:
        raise SetupError(environment.disk_problem(problem) or str(problem)) from problem


def _add_models(folder: Path) -> None:
    """A models folder besides ComfyUI's own: one sub-folder for each kind of file. Raises SetupError."""
    host_folders.require_folder(folder)
    for kind in sorted(folder.iterdir()):
        if kind.is_dir():
            folder_paths.add_model_folder_path(kind.name, str(kind.resolve()))


# --- The sources


def of_people(options: argparse.Namespace) -> int:
    """People of a folder, by the user's own files. Raises SetupError."""
    with ExitStack() as stack:
        out = _OUTPUT / ("rehearsal" if options.rehearse else "compare")
        settings = _settings(options, options.people, out, ["all"])
        everybody = people_in(settings.folder)
        settings = _rehearsed(options, settings, rehearsal.SIZE, stack)
        session = Session(settings, everybody)
        with _stops_in_words(session):
            people.answer(options.question, session)
    return _done(session)


def of_outfits(options: argparse.Namespace) -> int:
    """Clothes and other parts of a folder, by the user's own files. Raises SetupError."""
    settings = _settings(options, options.outfits, _OUTPUT / "outfits", ["all"])
    everything = outfits.outfits_in(settings.folder)
    session = Session(settings)
    with _stops_in_words(session):
        outfits.answer(session, everything)
    return _done(session)


def of_benchmark(options: argparse.Namespace) -> int:
    """A published benchmark; 1 where anything is missing. Raises SetupError."""
    with opened(options) as benchmark_run:
        benchmark_run.say_what_was_read()
        if options.check:
            return _checked(benchmark_run)
        with _stops_in_words(benchmark_run.session):
            results = benchmark_run.results()
    _done(benchmark_run.session)
    return int(any(result.note or result.failures for result in results))


def of_pictures(options: argparse.Namespace) -> int:
    """A folder of one's own pictures. Raises SetupError."""
    if options.made_with not in TRAINED_WITH:
        raise SetupError(f"No such method: {options.made_with}. There are {', '.join(TRAINED_WITH)}.")
    face_model = face_model_of(face_pack())
    out = (options.out or options.pictures / "measured").resolve()
    try:
        own_pictures.measured(options.pictures, out, face_model, options.made_with)
    except KeyboardInterrupt:
        say("Stopped before the tables and the page were written: run the same again.")
        raise
    return 0


def of_toy(options: argparse.Namespace) -> int:
    """Cartoons of the pack's drawn people. Raises SetupError."""
    with ExitStack() as stack:
        settings = _settings(options, environment.ROOT / "pictures", _OUTPUT / "toy", ["all"])
        settings = _by_the_toy(settings, rehearsal.SIZE, stack)
        settings = replace(settings, methods=cartoons.methods(), remark=cartoons.REMARK)
        session = Session(settings, cartoons.everybody())
        session.judge_of_people = cartoons.ColourJudge(session.judge.known)
        with _stops_in_words(session):
            people.answer(options.question, session)
    return _done(session)


SOURCES: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "people": of_people,
    "outfits": of_outfits,
    "benchmark": of_benchmark,
    "pictures": of_pictures,
    "toy": of_toy,
}


# --- What they share


def _settings(options: argparse.Namespace, folder: Path, out: Path, methods: Sequence[str]) -> Settings:
    """What is asked for. out, methods: where none is named. Raises SetupError for an unknown method."""
    settings = Settings(
        folder=folder.resolve(),
        out=(options.out or out).resolve(),
        prompt=options.prompt,
        size=tuple(options.size) if options.size else None,
        steps=options.steps,
        methods=tuple(methods_named(options.methods or methods)),
        quick=options.quick,
        given_places=options.places == "given",
    )
    settings.out.mkdir(parents=True, exist_ok=True)
    return settings


def _rehearsed(options: argparse.Namespace, settings: Settings, size: tuple[int, int], stack: ExitStack) -> Settings:
    """The same, in a rehearsal drawn by the toy model."""
    if not options.rehearse:
        return settings
    say(f"A rehearsal: {rehearsal.SAYS_NOTHING}.")
    return _by_the_toy(settings, size, stack)


def _by_the_toy(settings: Settings, size: tuple[int, int], stack: ExitStack) -> Settings:
    """The same with the toy model's files, which stay while the stack is open, its size and its steps where none are
    asked for, and what its figures are worth."""
    stack.enter_context(rehearsal.toy_in(Path(stack.enter_context(TemporaryDirectory()))))
    return replace(
        settings,
        size=settings.size or size,
        steps=settings.steps or rehearsal.STEPS,
        remark=rehearsal.SAYS_NOTHING,
    )


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Run]:
    """The run of a benchmark: the folder is read, the judges are loaded, and whoever draws has begun to start.

    Raises SetupError.
    """
    name, *folders = options.benchmark
    benchmark = BENCHMARKS[name]
    with ExitStack() as stack:
        if options.rehearse:
            folders = [Path(stack.enter_context(TemporaryDirectory())) / name]
            made_up.FOLDERS[name](folders[0])
        settings = _settings(options, Path(folders[0]), _OUTPUT / "benchmarks" / name, ["ID-Patch"])
        # What is wrong with the folder is said before anything is loaded.
        cases = benchmark.cases(settings.folder, settings.given_places)
        largest = rehearsal.LARGE if benchmark is identities_collapse.BENCHMARK else rehearsal.SIZE
        session = Session(_rehearsed(options, settings, largest, stack))
        if options.check or not (options.workers or options.address):
            draw, made_with = partial(drawn_by_host, session.host), session.host.made_with
        else:
            workers = stack.enter_context(_workers(options))
            draw = partial(drawn_by_workers, workers, settings.folder)
            made_with = made_by_workers(session.host, options.address not in (None, "local"))
        yield Run(benchmark, cases, session, draw, made_with)


def _workers(options: argparse.Namespace) -> Any:
    """One or more ComfyUIs on this machine, or those of Ray."""
    from batch.one_worker import OneWorker, WorkerSettings

    settings = WorkerSettings((str(options.models.resolve()),) if options.models else ())
    if options.address or options.workers > 1:
        from batch.ray_workers import HERE, RayWorkers

        host = environment.find_hosts()[0]
        return RayWorkers(options.address or HERE, options.workers, settings, str(host))
    return OneWorker(settings)


def _checked(benchmark_run: Run) -> int:
    """Say for each method whether it can be drawn; 1 where one cannot."""
    status = 0
    for method in benchmark_run.session.settings.methods:
        refusal = benchmark_run.refusal(method)
        say(f"{method.title}: {refusal or 'all files are there.'}")
        status = 1 if refusal else status
    return status


@contextmanager
def _stops_in_words(session: Session) -> Iterator[None]:
    """A run that is stopped says how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        advice = "Run the same command again to go on."
        if session.settings.remark:  # the toy model's files are made anew for each run
            advice = "A rehearsal begins anew each time."
        say(f"Stopped. {session.counts()} {advice}")
        raise


def _done(session: Session) -> int:
    """Say where to look; 1 where nothing is drawn."""
    page = session.settings.out / "index.html"
    if not session.drawn_count + session.taken_count:
        say(f"No picture is drawn; {page} says why.")
        return 1
    to_send = "" if session.settings.remark else f" {page.with_name('report.json')} is the one to send."
    say(f"{session.counts()} Done: look at {page}.{to_send}")
    return 0
