"""What a workflow needs and what of it is there. Looks at names, lengths and headers; writes nothing, calls nobody."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

from . import manifest
from .checkpoints import KNOWN, Known, family, identify, shapes
from .errors import UnsupportedCheckpoint
from .faces import onnx_file, packs
from .faces.onnx_file import Kind
from .files import no_model, walk
from .manifest import File, Model, human
from .text import NAME, plain

OK, NOTE = "ok", "note"
FOUND, MISSING, MISPLACED, WRONG, DAMAGED, CLASH = (
    "found", "missing", "in the wrong place", "the wrong kind", "damaged", "clash",
)  # fmt: skip
GOOD = (OK, NOTE, FOUND)

Folders = Mapping[str, Sequence[str]]
"""Model key -> the folders searched for it, the first being where a download goes."""


@dataclass(frozen=True)
class Finding:
    """One line of the report: what, in which state, and why or what to do. fetch: the model to be downloaded."""

    what: str
    state: str
    detail: str
    fetch: Model | None = None


@dataclass(frozen=True)
class Report:
    """What was found about `subject`, and the commands that mend it."""

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
        fetch = f" To fetch: {manifest.together(self.lacking)}." if self.lacking else ""
        return f"To be mended for {self.subject}: {'; '.join(bad)}.{fetch}"

    def text(self) -> str:
        width, wide = (max(len(text) for text in column) for column in zip(*map(_start, self.findings), strict=True))
        lines = [
            f"{what:{width}}  {state:{wide}}  {plain(finding.detail)}"
            for finding in self.findings
            for what, state in [_start(finding)]
        ]
        mend = ["", "To mend it:", *self.commands] if self.commands else []
        return "\n".join([*lines, "", self.summary, *mend])


def _start(finding: Finding) -> tuple[str, str]:
    return finding.what, finding.state


def machine(torch_version: str, device: str, free: int | None) -> Finding:
    """free: bytes of the device's memory, None where that cannot be asked."""
    memory = f", {human(free)} of its memory free" if free else ""
    return Finding("torch", OK, f"{torch_version} on {device}{memory}")


def host(name: str) -> Finding:
    return Finding(name.split()[0], OK, f"{name}, Python {platform.python_version()} on {platform.system()}")


def report(subject: str, wanted: Iterable[Model], folders: Folders, around: Iterable[Finding] = ()) -> Report:
    """Examine `wanted` models; around: what is known of the host and its packages."""
    walked = Walked()
    findings = (*around, *(examine(model, folders, walked) for model in _once(wanted)))
    fetch = [commands(one.fetch, folders, resume=one.state != DAMAGED) for one in findings if one.fetch]
    mend = (finding.detail.split(MEND)[1] for finding in findings if finding.state == CLASH)
    return Report(subject, findings, (*mend, *chain.from_iterable(fetch)))


# --- Models


# What the host's loaders read: key, and whether the family of the workflow is asked of it.
_LOADERS = {
    "CheckpointLoaderSimple": "checkpoints", "ControlNetLoader": "controlnet", "CLIPVisionLoader": "clip_vision",
    "VAELoader": "vae", "LoadMediaPipeFaceLandmarker": "detection",
}  # fmt: skip
_FORMATS = {("checkpoints", "SDXL"): "sdxl", ("checkpoints", "SD1.5"): "sd15", ("controlnet", "SDXL"): "controlnet"}


def wanted(graph: Mapping[str, Any]) -> tuple[Model, ...]:
    """The models of a workflow: published ones, and what the host's loaders have chosen beside them."""
    needed, names = manifest.needed(graph), {model.name for model in manifest.models()}
    families = [model.family for model in needed if model.family and model.key not in _LOADERS.values()]
    loaded = dict.fromkeys((_LOADERS[kind], name) for kind, name in manifest.choices(graph) if kind in _LOADERS)
    keys = [key for key, _ in loaded]
    chosen = tuple(
        # Which of several is for our nodes only their links would tell: a second checkpoint may be of any family.
        _own(key, name, families[0] if families and keys.count(key) == 1 else "")
        for key, name in loaded
        if name not in names
    )
    # A file of the user's own choice stands for the published one that only our nodes ask for.
    replaced = {model.key for model in chosen}
    texts = {text for _, text in manifest.choices(graph)}
    ours = (model for model in needed if model.name in texts or model.key not in replaced)
    recognisers = _recognisers(graph)
    return (*(_without_recogniser(model, recognisers) for model in ours), *chosen)


def _recognisers(graph: Mapping[str, Any]) -> set[str]:
    """Ids of those that a workflow cannot do without: InstantID's, and what Load Face Model names behind the pack."""
    nodes = list(manifest.nodes(graph))
    named = {texts[1] for kind, texts in nodes if kind == "LikenessLoadFaceModel" and len(texts) > 1}
    return named | {"antelopev2" for kind, _ in nodes if kind == "LikenessLoadInstantID"}


def _without_recogniser(model: Model, needed: set[str]) -> Model:
    """A face pack as a detector only, as which any other pack does as well, unless its recogniser is `needed`."""
    kept = (
        file
        for file in model.files
        if file.part != "recogniser" or packs.recogniser_id(file.names[0], file.size or 0) in needed
    )
    return replace(model, files=tuple(kept))


def _once(wanted: Iterable[Model]) -> Iterable[Model]:
    """Every model once, with as much of it as anybody needs."""
    kept: dict[tuple[str, str], Model] = {}
    for model in wanted:
        known = kept.setdefault((model.key, model.name), model)
        if len(model.files) > len(known.files):
            kept[model.key, model.name] = model
    return kept.values()


def _own(key: str, name: str, made_for: str) -> Model:
    """A file that a loader names, in the folder of its key as the host has it: no name leads out of there."""
    form, title = _FORMATS.get((key, made_for), ""), plain(name, NAME) or "a file without a name"
    name = os.path.relpath(os.path.join("/", name), "/")
    return Model("", title, key, name, form, made_for, "", None, (File((name,), None, None),), (), "", (), ())


class Walked(dict[str, "tuple[tuple[str, Path], ...]"]):
    """Folder -> relative name and path of every file below it, walked when it is first asked for."""

    def __missing__(self, root: str) -> tuple[tuple[str, Path], ...]:
        self[root] = tuple(_files(root))
        return self[root]


def examine(model: Model, folders: Folders, walked: Walked) -> Finding:
    """Whether a model is there, and if not, whether something like it is."""
    if model.format == "face-pack":
        return _pack(model, folders, walked)
    places = {file: _place(file, model, folders) for file in model.files}
    lost = [file for file, path in places.items() if path is None]
    for path in filter(None, places.values()):
        if trouble := _trouble(path, model if len(model.files) == 1 else None):
            return Finding(model.title, *trouble, fetch=_fetchable(model) if trouble[0] == DAMAGED else None)
    if not lost:
        return Finding(model.title, FOUND, str(places[model.files[0]]))
    if len(model.files) == 1:
        return _alike(model, folders, walked) or _misplaced(model, folders, walked) or _missing(model, folders)
    if len(lost) < len(model.files):
        names = ", ".join(file.names[0] for file in lost)
        return Finding(model.title, MISSING, f"Not complete: {names}. All of it is at {model.page}.", model)
    return _alike(model, folders, walked) or _missing(model, folders)


def _fetchable(model: Model) -> Model | None:
    return model if model.page else None


def _place(file: File, model: Model, folders: Folders) -> Path | None:
    paths = (Path(root) / name for root in folders.get(model.key, ()) for name in file.names)
    return next((path for path in paths if os.path.isfile(path)), None)  # also of names that no file can have


def _trouble(path: Path, model: Model | None) -> tuple[str, str] | None:
    """State and detail of a file that is not what it should be; without a model: of one that is not whole."""
    try:
        what = no_model(path)
    except OSError as error:
        return DAMAGED, f"{path} cannot be read ({error.strerror}): look at its permissions."
    if what:
        return DAMAGED, f"{path} is {what}. Download it again."
    if path.suffix == ".json":
        return None
    try:
        state = shapes(path)
    except ValueError as error:
        return DAMAGED, f"{path} is {error}. Download it again."
    if not state:
        return DAMAGED, f"{path} holds no tensors. Download it again."
    return model and _wrong_kind(path, model, identify(state), family(state))


_OURS = ("id-patch", "arcface-ir-se50", "instant-id", "parts2whole")
"""Formats of our own loaders, all of whose keys are known."""


def _wrong_kind(path: Path, model: Model, found: Known | None, made_for: str | None) -> tuple[str, str] | None:
    if not model.format:
        return None
    expected = next(known for known in KNOWN if known.id == model.format)
    if found is None and model.format in _OURS:
        return WRONG, f"{path} is an unknown file, not {expected.title}."
    if found and found.id != model.format:
        return WRONG, f"{path} is {found.title}; {expected.title} is needed. {found.belongs}"
    if model.format != "controlnet":
        return None
    if made_for and made_for != model.family:
        return WRONG, f"{path} is a ControlNet for {made_for}; one for {model.family} is needed."
    other = None if _has_length(path, model) else next((one for one in _twins(model) if _has_length(path, one)), None)
    if other:
        size = human(path.stat().st_size)
        return WRONG, f"{path} is, by its length ({size}), the {other.title}; {model.title} has {model.size_text}."
    return None


def _twins(model: Model) -> Iterator[Model]:
    """ControlNets that only their lengths tell from this one."""
    return (one for one in manifest.models() if one.format == model.format and one != model and one.size and model.size)


def _has_length(path: Path, model: Model) -> bool:
    """As far as the published size, which is rounded, can tell."""
    return bool(model.size) and abs(path.stat().st_size - (model.size or 0)) < 0.03 * (model.size or 0)


def found(model: Model, folders: Folders) -> Path | None:
    """A model of one file that is not where it belongs: under another name, else in the folder of something else."""
    walked = Walked()
    renamed = (path for _, path in _renamed(model, folders, walked))
    return next(chain(renamed, _moved(model, folders, walked)), None)


_FINDS_IT_ITSELF = ("id-patch", "instant-id", "arcface-ir-se50")
"""Formats whose loader takes a file under any name in its folder."""


def _alike(model: Model, folders: Folders, walked: Walked) -> Finding | None:
    for name, path in _renamed(model, folders, walked):
        choose = "" if model.format in _FINDS_IT_ITSELF else f": choose {name} in its loader."
        return Finding(model.title, FOUND, f"{path}{choose}")
    return None


def _misplaced(model: Model, folders: Folders, walked: Walked) -> Finding | None:
    for path in _moved(model, folders, walked):
        return Finding(model.title, MISPLACED, f"{path} is it: move it to {target(model, folders)}.")
    return None


def _renamed(model: Model, folders: Folders, walked: Walked) -> Iterator[tuple[str, Path]]:
    """Name for the loader and path of the same thing under another name in its folders."""
    for root in folders.get(model.key, ()):
        yield from ((name, path) for name, path in walked[root] if not _standin(path) and _is(path, model))


def _moved(model: Model, folders: Folders, walked: Walked) -> Iterator[Path]:
    """The file under its own name in the folder of something else."""
    name = PurePath(model.files[0].names[0]).name
    named = (path for path in _everything(folders, walked) if path.name == name)
    return (path for path in named if not _standin(path) and _is(path, model))


def _standin(path: Path) -> bool:
    """Whether the demo's miniature put it there: it has the shapes of the real file, and only its name tells."""
    return any(part.startswith("standin-miniature") for part in (path.name, path.parent.name))


def _is(path: Path, model: Model) -> bool:
    """Whether a file of any name is certainly this model, or does as well."""
    if path.suffix not in (".safetensors", ".sft", ".bin", ".pth", ".pt", ".ckpt") or not model.format:
        return False
    if model.format == "controlnet":
        return _has_length(path, model) and _trouble(path, model) is None
    known = _identified(path)
    return known is not None and known.id == model.format


def _identified(path: Path) -> Known | None:
    try:
        return None if no_model(path) else identify(shapes(path))
    except (OSError, ValueError):  # OSError: what lies in these folders need not be readable
        return None


def _files(root: str) -> Iterator[tuple[str, Path]]:
    """Relative name and path of every file below a folder."""
    for folder, _, names in walk(root):
        for name in sorted(names):
            path = Path(folder) / name
            if os.path.isfile(path):  # no link that leads nowhere, nothing that may not be looked at
                yield os.path.relpath(path, root), path


def _everything(folders: Folders, walked: Walked) -> Iterator[Path]:
    """Every file in any of the folders, once."""
    roots = dict.fromkeys(map(os.path.realpath, chain.from_iterable(folders.values())))
    inner = {root for root in roots for other in roots if root != other and root.startswith(other + os.sep)}
    return (path for root in roots if root not in inner for _, path in walked[root])


def _missing(model: Model, folders: Folders) -> Finding:
    others = f" Or {', or '.join(model.alternatives)}." if model.alternatives else ""
    where = f"{target(model, folders)} is not there"
    if not model.page:
        return Finding(model.title, MISSING, f"{where}; choose a file that is.")
    return Finding(model.title, MISSING, f"{where} ({model.size_text}).{others}", model)


def target(model: Model, folders: Folders) -> Path:
    """Where a model belongs."""
    searched = folders.get(model.key) or (os.path.join("models", model.key),)
    below = PurePath(model.files[0].names[0]).parent if model.format == "face-pack" else model.name
    return Path(searched[0]) / below


# --- Face packs


def _pack(model: Model, folders: Folders, walked: Walked) -> Finding:
    """The detector and the recogniser of a pack, in any of the layouts in which people have it."""
    found = [
        (name, path) for root in folders.get(model.key, ()) for name, path in walked[root] if path.suffix == ".onnx"
    ]
    here = {path: name for name, path in found if packs.pack_of(name) == model.name}
    if not here and len(model.files) == 1 and (other := _detector(found)):
        name, path = other
        choose = f"choose {packs.pack_of(name)} in Load Face Model"
        return Finding(model.title, FOUND, f"Its detector only is needed, and {path.parent} serves as well: {choose}.")
    kinds: set[Kind] = set()
    for path in here:
        try:
            kinds.add(onnx_file.inspect(str(path)).kind)
        except UnsupportedCheckpoint as error:
            return Finding(model.title, DAMAGED, f"{error.problem} {error.advice}", model)
    lost = [file.part for file, kind in _needed_kinds(model) if kind not in kinds]
    if lost and here:
        return Finding(model.title, MISSING, f"{next(iter(here)).parent} has no {' and no '.join(lost)}.", model)
    if lost:
        return _misplaced_pack(model, folders, walked) or _missing(model, folders)
    folder = next(iter(here)).parent
    if folder.parent.name == folder.name:
        return Finding(model.title, FOUND, f"{folder}: nested twice, which Likeness reads and other packs may not.")
    return Finding(model.title, FOUND, str(folder))


def _detector(found: Iterable[tuple[str, Path]]) -> tuple[str, Path] | None:
    """A whole detector of any pack: its name and path."""
    for name, path in found:
        with contextlib.suppress(UnsupportedCheckpoint):
            if onnx_file.inspect(str(path)).kind is Kind.DETECTOR:
                return name, path
    return None


def _needed_kinds(model: Model) -> Iterator[tuple[File, Kind]]:
    kinds = {"detector": Kind.DETECTOR, "recogniser": Kind.RECOGNISER}
    return ((file, kinds[file.part]) for file in model.files)


def _misplaced_pack(model: Model, folders: Folders, walked: Walked) -> Finding | None:
    names = {PurePath(file.names[0]).name for file in model.files}
    for path in _everything(folders, walked):
        if path.name == f"{model.name}.zip":
            return Finding(model.title, MISPLACED, f"{path} is not unpacked: unpack it into {target(model, folders)}.")
        if path.name in names and path.parent.name == model.name:
            return Finding(model.title, MISPLACED, f"{path.parent} is it: move it to {target(model, folders)}.")
    return None


# --- Commands


def commands(model: Model, folders: Folders, system: str = os.name, resume: bool = True) -> tuple[str, ...]:
    """What to type to get a model where it belongs, in a Linux or macOS shell or in PowerShell.

    resume: go on with what is there, instead of beginning anew.
    """
    root = Path((folders.get(model.key) or (os.path.join("models", model.key),))[0])
    curl = ("curl.exe -fL" if system == "nt" else "curl -fL") + " -C -" * resume
    python = _run(sys.executable, system).replace("{", "{{").replace("}", "}}")
    return model.commands(root, curl, python + ' -m zipfile -e "{archive}" "{folder}"')


def _run(program: str, system: str) -> str:
    """PowerShell calls a program whose path is quoted by an ampersand only."""
    return f'& "{program}"' if system == "nt" else f'"{program}"'


# --- Packages


MEND = "Mend it with: "
_FLAVOURS = {
    # The one to keep of several first.
    "onnxruntime": (
        "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm", "onnxruntime",
    ),
    "cv2": (
        "opencv-contrib-python", "opencv-python", "opencv-contrib-python-headless", "opencv-python-headless",
    ),
}  # fmt: skip


def packages(installed: Mapping[str, str], python: str = sys.executable, system: str = os.name) -> tuple[Finding, ...]:
    """Which flavours of onnxruntime and OpenCV are installed: several of one write into the same folder, and the last
    one that was installed has overwritten parts of the others. installed: name -> version."""
    return tuple(map(partial(_flavours, installed, python, system), _FLAVOURS))


def _flavours(installed: Mapping[str, str], python: str, system: str, module: str) -> Finding:
    here = [name for name in _FLAVOURS[module] if name in installed]
    named = ", ".join(f"{name} {installed[name]}" for name in here)
    if len(here) < 2:
        return Finding(module, OK if here else NOTE, named or "not installed; the node that needs it says so.")
    keep = f"{here[0]}=={installed[here[0]]}"
    quoted, then = f"{_run(python, system)} -m pip", ";" if system == "nt" else " &&"
    mend = f'{quoted} uninstall -y {" ".join(here)}{then} {quoted} install --no-deps "{keep}"'
    return Finding(module, CLASH, f"{named} overwrite each other. {MEND}{mend}")
