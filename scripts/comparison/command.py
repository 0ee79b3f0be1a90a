"""The command compare.py, in a host: what is asked for, the run of each source, and what is left of it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import environment
import folder_paths
from environment import SetupError, say
from pack.core.checks.errors import LikenessError
from pack.core.measure import TRAINED_WITH
from shared import host_folders

from . import outfits, own_pictures, people
from .photos import people_in
from .session import Session, Settings, face_model_of, face_pack
from .template_methods import ALL, methods_named

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
    settings = _settings(options, options.people, _OUTPUT / "compare")
    session = Session(settings, people_in(settings.folder))
    with _stops_in_words(session):
        people.answer(options.question, session)
    return _done(session)


def of_outfits(options: argparse.Namespace) -> int:
    """Clothes and other parts of a folder, by the user's own files. Raises SetupError."""
    settings = _settings(options, options.outfits, _OUTPUT / "outfits")
    everything = outfits.outfits_in(settings.folder)
    session = Session(settings)
    with _stops_in_words(session):
        outfits.answer(session, everything)
    return _done(session)


def of_pictures(options: argparse.Namespace) -> int:
    """A folder of one's own pictures. Raises SetupError."""
    if options.made_with not in TRAINED_WITH:
        raise SetupError(f"No such method: {options.made_with}. There are {', '.join(TRAINED_WITH)}.")
    face_model = face_model_of(face_pack())
    out = _made(options.out or options.pictures / "measured")
    try:
        own_pictures.measured(options.pictures, out, face_model, options.made_with)
    except KeyboardInterrupt:
        say("Stopped before the tables and the page were written: run the same again.")
        raise
    return 0


SOURCES: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "people": of_people,
    "outfits": of_outfits,
    "pictures": of_pictures,
}


# --- What they share


def _settings(options: argparse.Namespace, folder: Path, out: Path) -> Settings:
    """What is asked for. out: where none is named. Raises SetupError for an unknown method."""
    return Settings(
        folder=folder.resolve(),
        methods=tuple(methods_named(options.methods or [ALL])),
        out=_made(options.out or out),
        prompt=options.prompt,
        size=tuple(options.size) if options.size else None,
        steps=options.steps,
        quick=options.quick,
    )


def _made(out: Path) -> Path:
    """The folder of the results, which is there then. Raises SetupError."""
    folder = Path(os.path.realpath(out))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SetupError(environment.unwritable(problem, folder)) from problem
    return folder


@contextmanager
def _stops_in_words(session: Session) -> Iterator[None]:
    """A run that is stopped says how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Stopped. {session.counts()} Run the same command again to go on.")
        raise


def _done(session: Session) -> int:
    """Say where to look; 1 where nothing is drawn."""
    page = session.settings.out / "index.html"
    if not session.drawn_count + session.taken_count:
        say(f"No picture is drawn; {page} says why.")
        return 1
    say(f"{session.counts()} Done: look at {page}. {page.with_name('report.json')} is the one to send.")
    return 0
