"""The command compare.py, in a host: what is asked for, and what is left of it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import environment
import folder_paths
from environment import SetupError, say
from pack.core.checks.errors import LikenessError
from shared import host_folders

from . import people
from .photos import people_in
from .session import Session, Settings
from .template_methods import ALL, methods_named

_OUTPUT = environment.ROOT / "output" / "compare"


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for; the exit status. Raises SetupError."""
    try:
        if options.models:
            _add_models(options.models)
        return _compared(_settings(options))
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


def _compared(settings: Settings) -> int:
    """Draw and measure, and say where to look; 1 where nothing is drawn. Raises SetupError."""
    session = Session(settings, people_in(settings.folder))
    try:
        people.answer(settings.questions, session)
    except KeyboardInterrupt:
        say(f"Stopped. {session.count()}")
        raise
    page = settings.out / "index.html"
    if not session.drawn_count:
        say(f"No picture is drawn; {page} says why.")
        return 1
    say(f"{session.count()} Done: look at {page}. {page.with_name('report.json')} is the one to send.")
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    """What is asked for. Raises SetupError for an unknown method."""
    return Settings(
        folder=options.people.resolve(),
        methods=tuple(methods_named(options.methods or [ALL])),
        out=_made(options.out or _OUTPUT),
        prompt=options.prompt,
        size=tuple(options.size) if options.size else None,
        steps=options.steps,
        quick=options.quick,
        questions=options.question,
    )


def _made(out: Path) -> Path:
    """The folder of the results, which is there then. Raises SetupError."""
    folder = Path(os.path.realpath(out))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SetupError(environment.unwritable(problem, folder)) from problem
    return folder
