"""What of a workflow's models is there, what is wrong, and the commands that put it right, for a shell or PowerShell.

Looks at names, lengths and headers; writes nothing.
"""

import contextlib
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePath

from ..errors import UnsupportedCheckpoint
from ..methods import Format
from ..names import among, ending, folded, spelled
from ..text import plain
from . import formats, onnx_file, packs
from .files import WEIGHTS, dead_link, files_below, no_model
from .formats import CONTROLNET, recognised
from .manifest import STANDIN, File, Model, human, models, together
from .needs import SINGLE
from .onnx_file import Kind
from .tensors import shapes
from .torchscript import is_archive

OK, NOTE = "ok", "note"
FOUND, MISSING, MISPLACED, WRONG = "found", "missing", "in the wrong place", "the wrong kind"
DAMAGED = "damaged"
RENAMED = "under another name"
"""It is there, and a menu of the host has to be set to its name."""
RESPELLED = "in another spelling"
"""It is there, and the host refuses how its name is written: with another separator, accents or capitals."""
GOOD = (OK, NOTE, FOUND)

_NAMED = 6
"""As many as a note under a node has room for."""


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis: what, in which state, and why or what to do.

    fetch: the model to be downloaded. place: where a model belongs of which there is nothing. needed_for: a method or a
    workflow, "" for what is of no model. name: that of the model in a loader's menu.
    """

    what: str
    state: str
    detail: str
    fetch: Model | None = None
    place: Path | None = None
    needed_for: str = ""
    name: str = ""

    @property
    def section(self) -> str:
        if self.state in GOOD:
            return "In place"
        about = f" for {self.needed_for}" if self.needed_for else ""
        return f"{'Missing' if self.state == MISSING else 'To fix'}{about}"

    @property
    def where(self) -> str:
        """Where the download belongs, and under which name."""
        if not self.fetch or not self.place:
            return ""
        if self.fetch.archive:
            return f"unpacked into {self.place}"
        if len(self.fetch.fetched) > 1:
            return f"all of its files into {self.place}"
        return f"into {self.place.parent} as {self.place.name}"

    def shown(self) -> dict[str, str]:
        """The line as the editor shows it; an address is of the manifest."""
        detail = " ".join(f"Or {one}." for one in self.fetch.alternatives) if self.fetch and self.place else self.detail
        url, size = (self.fetch.url, self.fetch.size_text) if self.fetch else ("", "")
        return {"what": self.what, "state": self.state, "url": url, "size": size, "where": self.where, "detail": detail}


@dataclass(frozen=True)
class Diagnosis:
    """What was found about `subject`, what is missing first, and the commands that fetch it."""

    subject: str
    findings: tuple[Finding, ...]
    commands: tuple[str, ...]

    @property
    def lacking(self) -> tuple[Model, ...]:
        return tuple(finding.fetch for finding in self.findings if finding.fetch)

    @property
    def good(self) -> bool:
        return all(finding.state in GOOD for finding in self.findings)

    @property
    def summary(self) -> str:
        """The result in one line: what has to be done, and the bytes to fetch."""
        bad = [finding.what for finding in self.findings if finding.state not in GOOD]
        if not bad:
            return f"Everything that {self.subject} needs is there."
        fetch = f" To download: {together(self.lacking)}." if self.lacking else ""
        what = "; ".join(bad) if len(bad) <= _NAMED else f"{len(bad)} files"
        return f"To fix for {self.subject}: {what}.{fetch}"

    @property
    def sections(self) -> dict[str, list[Finding]]:
        titles = dict.fromkeys(finding.section for finding in self.findings)
        return {title: [finding for finding in self.findings if finding.section == title] for title in titles}

    def text(self) -> str:
        width, wide = (max(len(getattr(one, name)) for one in self.findings) for name in ("what", "state"))
        lines: list[str] = []
        for title, findings in self.sections.items():
            rows = (f"{one.what:{width}}  {one.state:{wide}}  {plain(one.detail)}" for one in findings)
            lines += [f"{title}:", *rows, ""]
        mend = ["", "To fix it:", *self.commands] if self.commands else []
        return "\n".join([*lines, self.summary, *mend])

    def shown(self) -> dict[str, object]:
        sections = [{"title": name, "findings": [one.shown() for one in rows]} for name, rows in self.sections.items()]
        return {"summary": self.summary, "sections": sections, "commands": self.commands}


MOST = 10_000
"""Files that are looked at below a folder, the nearest first: a link may lead to a whole disk."""


class Folders(dict[str, Sequence[str]]):
    """Model key -> the folders searched for it, the first being where a download goes; "" -> those that hold them all.
    What lies in them is looked up once."""

    def __init__(self, known: Mapping[str, Sequence[str]]) -> None:
        super().__init__(known)
        self._found: dict[str, list[tuple[str, str]]] = {}

    def listed(self, root: str) -> Iterator[tuple[str, Path]]:
        """Relative name and path of the nearest files below a folder."""
        if root not in self._found:
            self._found[root] = files_below(root, MOST + 1)
        return ((name, Path(path)) for name, path in self._found[root][:MOST])

    def everything(self) -> Iterator[Path]:
        """Every file in any of the folders, once."""
        roots = {os.path.realpath(root): root for root in chain.from_iterable(self.values())}
        inner = {root for root in roots for other in roots if root != other and root.startswith(other + os.sep)}
        return (path for real, root in roots.items() if real not in inner for _, path in self.listed(root))

    def crowded(self) -> list[str]:
        return [root for root, files in self._found.items() if len(files) > MOST]


def examine(model: Model, folders: Folders) -> Finding:
    """Whether a model is there, and if not, whether something like it is."""
    if model.format == "face-pack":
        return _pack(model, folders) or _missing(model, folders)
    places = {file: _place(file, model, folders) for file in model.files}
    lost = [file for file, path in places.items() if path is None]
    for path in (place for place in places.values() if place):
        if trouble := _trouble(path, model if len(model.files) == 1 else None):
            return Finding(model.title, *trouble, fetch=model if model.page and trouble[0] == DAMAGED else None)
    if not lost:
        return Finding(model.title, FOUND, _where(model, places[model.files[0]], folders))
    if len(lost) < len(model.files):
        names = ", ".join(file.names[0] for file in lost)
        return Finding(model.title, MISSING, f"Not complete: {names}. All of it is at {model.page}.", model)
    if not model.page:
        # Of a file of the user's own nothing but its name tells which one is meant.
        return _missing(model, folders)
    for name, path in renamed(model, folders):
        # Our own loaders take a file under any name in their folder.
        if formats.known(model.format).ours and len(model.files) == 1:
            return Finding(model.title, FOUND, str(path))
        return Finding(model.title, RENAMED if model.chosen else FOUND, f"{path}: choose {name} in its loader.")
    for path in moved(model, folders):
        return Finding(model.title, MISPLACED, move(path, target(model, folders)))
    return _missing(model, folders)


def _trouble(path: Path, model: Model | None) -> tuple[str, str] | None:
    """State and detail of a file that is not what it should be; without a model: of one that is not whole."""
    try:
        what = no_model(path)
    except OSError as error:
        return DAMAGED, f"{path} cannot be read ({error.strerror}): look at its permissions."
    if what:
        return DAMAGED, f"{path} is {what}. Download it again."
    if ending(path.name) == ".json":
        return None
    if model and model.name.endswith(".torchscript"):
        return None if is_archive(path) else (DAMAGED, f"{path} is no whole TorchScript archive. Download it again.")
    try:
        state = shapes(path)
    except ValueError as error:
        return DAMAGED, f"{path} is {error}. Download it again."
    if not state:
        return DAMAGED, f"{path} holds no tensors. Download it again."
    return model and _wrong_kind(path, model, formats.identify(state), formats.family(state))


def _wrong_kind(path: Path, model: Model, found: Format | None, made_for: str | None) -> tuple[str, str] | None:
    if not model.format:
        return None
    expected = formats.known(model.format)
    if found is None and expected.ours:
        return WRONG, f"{path} is an unknown file, not {expected.title}."
    if found and found is not expected:
        return WRONG, f"{path} is {found.title}; {expected.title} is needed. {found.belongs}"
    if model.format != CONTROLNET:
        return None
    if made_for and made_for != model.family:
        return WRONG, f"{path} is a ControlNet for {made_for}; one for {model.family} is needed."
    length = path.stat().st_size
    # ControlNets of our methods that only their lengths tell from this one.
    others = (one for one in models() if one.format == model.format and one.nodes and one.id != model.id and model.size)
    twins = () if model.files[0].resembles(length) else (one for one in others if one.files[0].resembles(length))
    for twin in twins:
        size = human(length)
        return WRONG, f"{path} is, by its length ({size}), the {twin.title}; {model.title} has {model.size_text}."
    return None


def _place(file: File, model: Model, folders: Folders) -> Path | None:
    """Where a file lies under one of its names, or under one that is the same in another spelling."""
    roots = [root for key in (model.key, *model.further) for root in folders.get(key, ())]
    for root in roots:
        for name in file.names:
            for path in _paths(Path(root), name, model):
                if os.path.isfile(path):  # also of names that no file can have
                    return path
    for root in roots:
        there = dict(folders.listed(root))
        for name in file.names:
            entry = among(name, there)
            if entry and os.path.isfile(there[entry]):
                return there[entry]
    return None


def _paths(root: Path, name: str, model: Model) -> Iterator[Path]:
    """Where a file of this name may lie below a folder searched.

    Of a model of several files the folder searched may be its own, as its loader takes it, too.
    """
    yield root / name
    folder, _, inside = name.partition("/")
    if len(model.files) > 1 and inside and root.name.lower() == folder.lower():
        yield root / inside


def _dead_link(model: Model, folders: Folders) -> str:
    """What to say where a file of the model is a link to nowhere, "" where none is."""
    for root in folders.get(model.key, ()):
        for name in (name for file in model.files for name in file.names):
            path = os.path.join(root, name)
            leads_to = dead_link(path)
            if leads_to is not None:
                return f"{path} is a link to {leads_to}, and there is no file: its disk may not be connected."
    return ""


def _where(model: Model, path: Path | None, folders: Folders) -> str:
    """The path of a model that is there, and what has to be known of its name: a loader of the host's offers it under
    the name that it has on the disk."""
    ours = model.format and formats.known(model.format).ours
    roots = [Path(root) for root in folders.get(model.key, ()) if path and path.is_relative_to(root)]
    if ours or not roots or not path:
        return str(path)
    name = path.relative_to(roots[0]).as_posix()
    written = [PurePath(other).as_posix() for file in model.files for other in file.names]
    if spelled(name) in [spelled(other) for other in written]:
        return str(path)
    if folded(name) in [folded(other) for other in written]:
        return f"{path}: {name} is the same name in other capitals."
    return f"{path}: choose {name} in its loader."


def _missing(model: Model, folders: Folders) -> Finding:
    others = f" Or {', or '.join(model.alternatives)}." if model.alternatives else ""
    place = target(model, folders)
    if dead := _dead_link(model, folders):
        return Finding(model.title, MISSING, dead, model if model.page else None, place=place)
    if not model.page:
        what = "a face pack" if model.format == "face-pack" else "a file"
        return Finding(model.title, MISSING, f"{place} is not there; choose {what} that is.")
    return Finding(model.title, MISSING, f"{place} is not there ({model.size_text}).{others}", model, place=place)


# --- Face packs


def _pack(model: Model, folders: Folders) -> Finding | None:
    """Whether detector and recogniser of a face pack are there, in any of the layouts in which people have them;
    None where there is nothing of the pack."""
    found: list[tuple[str, Path]] = []
    for root in folders.get(model.key, ()):
        for name, path in folders.listed(root):
            if ending(name) == ".onnx" and os.path.isfile(path):
                found.append((packs.name_in(root, name), path))
    known = list(dict.fromkeys(packs.pack_of(name) for name, _ in found))
    # As Load Face Embedder finds it, which takes every spelling of a name.
    pack = packs.chosen(among(model.name, known) or model.name, known, folders.get(model.key, ()))
    here = [path for name, path in found if packs.pack_of(name) == pack]
    other = _with_detector(found) if not here and len(model.files) == 1 else None
    if other and not model.chosen:
        choose = f"If the workflow has a Load Face Embedder, choose {packs.pack_of(other[0])} in it."
        return Finding(model.title, FOUND, f"Only a detector is needed, and {other[1].parent} has one. {choose}")
    if not here:
        misplaced = _misplaced_pack(model, folders)
        if misplaced or not other:
            return misplaced
        instead = f"choose the face pack {packs.pack_of(other[0])}, which is there"
        return _missing(replace(model, alternatives=(instead,)), folders)
    try:
        kinds = {onnx_file.inspect(str(path)).kind.name.lower() for path in here}
    except UnsupportedCheckpoint as error:
        return Finding(model.title, DAMAGED, f"{error.problem} {error.advice}", model)
    lost = [file.part for file in model.files if file.part not in kinds]
    folder = here[0].parent
    if lost:
        return Finding(model.title, MISSING, f"{folder} has no {' and no '.join(lost)}.", model)
    nested = folder.parent.name.lower() == folder.name.lower()
    twice = ": nested twice, which Likeness reads and other packs may not." if nested else ""
    return Finding(model.title, FOUND, f"{folder}{twice}")


def _with_detector(files: Iterable[tuple[str, Path]]) -> tuple[str, Path] | None:
    """Name and path of the first of these files that finds faces."""
    for name, path in files:
        with contextlib.suppress(UnsupportedCheckpoint):
            if onnx_file.inspect(str(path)).kind is Kind.DETECTOR:
                return name, path
    return None


def _misplaced_pack(model: Model, folders: Folders) -> Finding | None:
    names, into = {folded(PurePath(file.names[0]).name) for file in model.files}, target(model, folders)
    for path in folders.everything():
        if not os.path.isfile(path):
            continue  # a link that leads nowhere
        if folded(path.name) == f"{folded(model.name)}.zip":
            return Finding(model.title, MISPLACED, f"{path} is not unpacked: unpack it into {into}.")
        if folded(path.name) in names and folded(path.parent.name) == folded(model.name):
            return Finding(model.title, MISPLACED, move(path.parent, into))
    return None


def move(source: Path, into: Path) -> str:
    """What to do with a file or folder that is not where it belongs. Nothing is moved into itself."""
    inside = os.path.realpath(into).startswith(os.path.join(os.path.realpath(source), ""))
    if inside or os.path.realpath(into) == os.path.realpath(source):
        around = source.parent
        return f"{source} is it, but it is searched one folder too deep: name {around} in extra_model_paths.yaml."
    return f"{source} is it: move it to {into}."


def home(model: Model, folders: Folders) -> Path:
    return Path((folders.get(model.key) or (os.path.join("models", model.key),))[0])


def target(model: Model, folders: Folders) -> Path:
    """Where a model belongs: its file, or the folder of its files."""
    if model.format == "face-pack":
        return packs.folder_for(model.name, folders.get(model.key) or [str(home(model, folders))])
    return home(model, folders) / model.name


def elsewhere(model: Model, known: Mapping[str, Sequence[str]]) -> Path | None:
    """A model of one file that is not in its place: under another name, else in the folder of something else."""
    folders = Folders(known)
    return next(chain((path for _, path in renamed(model, folders)), moved(model, folders)), None)


def renamed(model: Model, folders: Folders) -> Iterator[tuple[str, Path]]:
    """Name for the loader and path of the same thing under another name in its folders."""
    files = (file for root in folders.get(model.key, ()) for file in folders.listed(root))
    return ((name, path) for name, path in files if _is(path, model))


def moved(model: Model, folders: Folders) -> Iterator[Path]:
    """The file under its own name in the folder of something else."""
    name = folded(PurePath(model.files[0].names[0]).name)
    return (path for path in folders.everything() if folded(path.name) == name and _is(path, model))


def _is(path: Path, model: Model) -> bool:
    """Whether a file of any name is certainly this model, or does as well."""
    # The demo's miniature has the shapes of the real files, and only its names tell.
    standin = any(part.startswith(STANDIN) for part in (path.name, path.parent.name))
    if ending(path.name) not in (*WEIGHTS, ".ckpt") or not model.format or standin:
        return False
    known, family = recognised(path)
    if known is None or known.id != model.format:
        return False
    # Of files that we load some differ in their numbers alone, as IP-Adapter Plus and Plus Face do.
    alone = not known.ours or all(one.format != model.format or one.id == model.id for one in models())
    if not alone and folded(path.stem) != folded(PurePath(model.name).stem):
        return False
    # Only lengths tell one ControlNet of a family from another, and many have that of a plain one.
    return model.format != CONTROLNET or (
        bool(model.nodes) and family in (None, model.family) and bool(model.files[0].fits(path.stat().st_size))
    )


def report(
    subject: str,
    wanted: Iterable[Model],
    known: Mapping[str, Sequence[str]],
    around: Iterable[Finding] = (),
    between: Callable[[], object] = lambda: None,
    users: Callable[[Model], str] = lambda _: "",
) -> Diagnosis:
    """Examine `wanted` models. known: as `Folders`; around: what is known of the host; between: called before each
    model, what it raises ends the report; users: what needs a model, see `needs.users`."""
    found, folders = list(around), Folders(known)
    for model in _once(wanted):
        between()
        found.append(replace(examine(model, folders), needed_for=users(model), name=model.name))
    nearest = f"It holds more than {MOST} files, and only the nearest of them were looked at."
    found += [Finding(folder, NOTE, nearest) for folder in folders.crowded()]
    # What is missing first, and of that what a method needs; then what is to be mended, then what is in place.
    found.sort(key=lambda one: (one.state in GOOD, one.state != MISSING, one.needed_for == SINGLE))
    fetch = [fetching(one.fetch, folders, resume=one.state != DAMAGED) for one in found if one.fetch]
    return Diagnosis(subject, tuple(found), tuple(command for commands in fetch for command in commands))


def absent(wanted: Iterable[Model], known: Mapping[str, Sequence[str]]) -> list[Model]:
    """Those of which nothing is in its place."""
    folders = Folders(known)
    return [model for model in _once(wanted) if examine(model, folders).state in (MISSING, MISPLACED)]


def to_fix(wanted: Iterable[Model], known: Mapping[str, Sequence[str]]) -> list[Finding]:
    """What a run of a workflow with these models would be refused for: all that `report` has to fix, in its order."""
    return [finding for finding in report("", wanted, known).findings if finding.state not in GOOD]


def _once(wanted: Iterable[Model]) -> Iterable[Model]:
    """Every model once, with as much of it as anybody needs, and chosen where anybody has chosen it."""
    kept: dict[tuple[str, str], Model] = {}
    for model in wanted:
        known = kept.setdefault((model.key, model.name), model)
        most = model if len(model.files) > len(known.files) else known
        kept[model.key, model.name] = replace(most, chosen=model.chosen or known.chosen)
    return kept.values()


def host(name: str) -> Finding:
    return Finding(name.split()[0], OK, f"{name}, Python {platform.python_version()} on {platform.system()}")


def fetching(model: Model, folders: Folders, system: str = os.name, resume: bool = True) -> tuple[str, ...]:
    """The commands. resume: go on with what is there, instead of beginning anew."""
    folder, (file, *others) = home(model, folders), model.fetched
    if others:
        hf = f'hf download {model.repository} --local-dir "{folder / model.name}" --include'
        return tuple(f'{hf} "{_pattern(model, one)}"' for one in model.fetched)
    target, curl = folder / file.names[0], "curl.exe" if system == "nt" else "curl"
    if model.archive:
        # Beside the folder that it is unpacked into.
        place = packs.folder_for(model.name, folders.get(model.key) or [str(folder)])
        target = place.with_name(f"{place.name}.zip")
    options = "-fL -C -" if resume else "-fL"
    fetch = f'{curl} {options} --create-dirs -o "{target}" {model.url_of(file, file.names[0])}'
    call = "& " if system == "nt" else ""  # without which PowerShell takes a quoted path for a text
    unpack = f'{call}"{sys.executable}" -m zipfile -e "{target}" "{target.with_suffix("")}"'
    return (fetch, unpack) if model.archive else (fetch,)


def _pattern(model: Model, file: File) -> str:
    name = file.names[0].removeprefix(f"{model.name}/")
    return f"{name.split('.')[0]}.*" if len(file.names) > 1 else name
