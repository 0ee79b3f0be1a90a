"""Face packs and recognisers from the model folders, loaded once."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import PurePath
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor, nn

from ..core.errors import (
    BadChoice,
    BadSetup,
    LikenessError,
    ModelMissing,
    RecogniserMissing,
    UnsupportedCheckpoint,
    listed,
)
from ..core.faces import model, onnx_session
from ..core.faces.analysis import Recogniser
from ..core.faces.finding import Detection, Detector
from ..core.faces.model import Files
from ..core.faces.pictures import Picture
from ..core.models import formats, packs
from ..core.models.files import WEIGHTS, Stamp, by_name, dead_link, listing, stamp
from ..core.models.manifest import Model
from ..core.models.onnx_file import Kind, inspect
from ..core.models.tensors import State
from ..core.names import among
from . import folders, load, notes

ALL = "all found"
NONE_FOUND = packs.NONE_FOUND
NO_DETECTOR = packs.NO_DETECTOR
NO_RECOGNISER = "none (pictures alone)"


class Hosted:
    """A network in the host's hands, called like a function."""

    def __init__(self, build: Callable[..., nn.Module], state: State) -> None:
        self.patcher = load.in_patcher(build, state)

    def __call__(self, pixels: Tensor) -> Any:
        with torch.inference_mode():
            return self.patcher.model(load.on_device(self.patcher, pixels))


class FaceModel(model.FaceModel):
    """What travels on LIKENESS_FACE_MODEL."""

    def get_models(self) -> list[ModelPatcher]:
        """Those in it, for the host's memory accounting."""
        networks = [getattr(part, "network", None) for part in (self.detector, *self.recognisers)]
        return [network.patcher for network in networks if isinstance(network, Hosted)]


def pack_names() -> list[str]:
    """Face packs for a menu, and last that of people who find faces with the host's own landmarks."""
    return [*(packs.packs(_files().onnx) or [NONE_FOUND]), NO_DETECTOR]


def recogniser_names() -> list[str]:
    """Recogniser ids for a menu. Those that a method asks for are always there: whoever chooses one that is not
    installed is told, before anything runs, where it comes from. Last what methods do with that look at pictures."""
    return [ALL, *sorted({*_files().recognisers(""), *packs.ASKED_FOR}), NO_RECOGNISER]


def files_stamp() -> tuple[Stamp, ...]:
    """Changes when a file that "all found" may mean is added, replaced or removed."""
    files = _files()
    return tuple(stamp(path) for path in sorted({*files.recognisers("").values(), *files.onnx.values()}))


def refusal(pack: str, recognisers: str) -> LikenessError | None:
    """Why this choice cannot be loaded, as far as file names tell."""
    files = _files()
    known = _chosen(pack, files)
    if known is None:
        return _no_pack(pack, files)
    if recognisers == NO_RECOGNISER:
        return None
    found = files.recognisers(known)
    if recognisers != ALL and among(recognisers, found) is None:
        return _missing(f"The face recogniser {recognisers}", recognisers, RecogniserMissing)
    return None if found else _no_recogniser(pack)


def _no_pack(pack: str, files: Files) -> LikenessError:
    there = list(packs.packs(files.onnx))
    if pack == packs.LOOSE and there:
        why = f"No .onnx file lies directly in {listed(_roots())}; in their folders lie the face packs {listed(there)}."
        return BadSetup(why, "Choose one of these in Load Face Embedder.")
    alike = packs.of_one_name(pack, there)
    if alike:
        why = f"There are {len(alike)} folders of the face pack {pack}: {listed(alike)}."
        return BadSetup(why, "Choose one of these in Load Face Embedder, or delete all but one.")
    return _missing("A face pack" if pack == NONE_FOUND else f"The face pack {pack}", pack)


def _no_recogniser(pack: str) -> LikenessError:
    """Names the one that comes with a detector, where one is wanted."""
    known = packs.IR_SE50 if pack == NO_DETECTOR else packs.ANTELOPE
    return _missing("A face recogniser", known, RecogniserMissing)


TORCH, ONNXRUNTIME = "torch", "onnxruntime"
BACKENDS = (TORCH, ONNXRUNTIME)
"""What runs the networks."""


def backend_refusal(backend: str, provider: str) -> LikenessError | None:
    """Why this choice cannot be had in this Python; None where torch runs the networks, whatever the provider."""
    if backend not in BACKENDS:
        return BadChoice("backend", backend, BACKENDS)
    if provider not in onnx_session.PROVIDERS:
        return BadChoice("provider", provider, onnx_session.PROVIDERS)
    if backend != ONNXRUNTIME:
        return None
    try:
        onnx_session.resolved(provider)
    except onnx_session.NoOnnxRuntime as error:
        return error
    return None


def _provider(backend: str, provider: str) -> str | None:
    """The name of onnxruntime's provider that runs the networks, None for torch. Raises what backend_refusal says."""
    if error := backend_refusal(backend, provider):
        raise error
    return onnx_session.resolved(provider) if backend == ONNXRUNTIME else None


def load_face_model(
    pack: str, recognisers: str, node: str | None = None, backend: str = TORCH, provider: str = onnx_session.AUTO
) -> FaceModel:
    """Load the detector of `pack`, if it is one, and one recogniser, all of them or none.

    A damaged file that was not asked for by its name is left out, and said under the node while another does its work.
    node: its id. backend: one of BACKENDS. provider: one of onnx_session.PROVIDERS, for onnxruntime alone.
    IR-SE50 is no ONNX file, and torch runs it in any case.
    Raises ModelMissing, UnsupportedCheckpoint for damaged or unfit files, and NoOnnxRuntime.
    """
    if error := refusal(pack, recognisers):
        raise error
    runs_on = _provider(backend, provider)
    files = _files()
    pack = _chosen(pack, files) or pack
    recognisers = among(recognisers, files.recognisers(pack)) or recognisers
    left_out: list[UnsupportedCheckpoint] = []
    detector = _no_detector if pack == NO_DETECTOR else _first_detector(files, pack, runs_on, left_out)
    usable = _usable(files, pack, recognisers, runs_on, left_out)
    # One file may have been looked at as either.
    for text in dict.fromkeys(map(str, left_out)):
        notes.tell(node, f"Left out, as others can be used: {text}")
    return FaceModel(detector, usable)


def _first_detector(files: Files, pack: str, runs_on: str | None, left_out: list[UnsupportedCheckpoint]) -> Detector:
    """The largest of a pack that can be used. What cannot be used is added to left_out, but raised if it is all.

    runs_on: onnxruntime's provider, None for torch.
    """
    chosen = files.detectors(pack)
    left_out += chosen.left_out
    failed: list[UnsupportedCheckpoint] = []
    for path in chosen.paths:
        try:
            detector = _detector(*stamp(path), runs_on)
        except UnsupportedCheckpoint as error:
            failed.append(error)
        else:
            left_out += failed
            return detector
    raise failed[0]


def _usable(
    files: Files, pack: str, recognisers: str, runs_on: str | None, left_out: list[UnsupportedCheckpoint]
) -> tuple[Recogniser, ...]:
    """The recogniser of this id, or all that can be used. Others are added to left_out, but raised if they are all.

    runs_on: onnxruntime's provider, None for torch.
    """
    if recognisers == NO_RECOGNISER:
        return ()
    paths = files.recognisers(pack)
    if recognisers != ALL:
        return (_asked_for(recognisers, paths[recognisers], runs_on),)
    usable: list[Recogniser] = []
    damaged: list[UnsupportedCheckpoint] = []
    for identifier, path in paths.items():
        try:
            if _kind(identifier, path) is Kind.RECOGNISER:
                usable.append(_opened(identifier, *stamp(path), runs_on))
        except UnsupportedCheckpoint as error:
            damaged.append(error)
    if not usable:
        raise damaged[0] if damaged else _no_recogniser(pack)
    left_out += damaged
    return tuple(usable)


def default_face_model(detects: bool = True, node: str | None = None) -> FaceModel:
    """What a new Load Face Embedder loads, for nodes with none connected. detects: with a detector. node: its id.

    Raises as load_face_model.
    """
    return load_face_model(pack_names()[0] if detects else NO_DETECTOR, ALL, node)


class FindsFaces(io.ComfyNode):
    """A node that takes the default where no face_model is connected, and runs again when that changes."""

    @classmethod
    def fingerprint_inputs(cls, **inputs: object) -> str:
        return "" if "face_model" in inputs else str(files_stamp())


def _no_detector(picture: Picture, size: int) -> Sequence[Detection]:
    """Of a face model that only recognises."""
    raise BadSetup(
        "The face model has no detector, so no face can be found in a picture: pack in Load Face Embedder is none.",
        "Choose a pack there, or link face_landmarks from Detect Face Landmarks (MediaPipe): Person and "
        "Detect Faces take them.",
    )


def _files() -> Files:
    onnx: dict[str, str] = {}
    # Of several files of one name that in the first folder counts, so it comes last.
    for root in reversed(_roots()):
        for name, path in by_name([root], (".onnx",)).items():
            onnx[packs.name_in(root, name)] = path
    return Files(dict(sorted(onnx.items())), by_name(folders.folders("facexlib", "insightface"), WEIGHTS))


def _roots() -> list[str]:
    """The folders searched for face packs."""
    return folders.folders("insightface")


def _chosen(pack: str, files: Files) -> str | None:
    """The pack that is there under this name, in another spelling of it, or under the one it has now; None where none
    is."""
    if pack == NO_DETECTOR:
        return pack
    known = list(packs.packs(files.onnx))
    return packs.chosen(among(pack, known) or pack, known, _roots())


def _missing(what: str, key: str, error: type[ModelMissing] = ModelMissing) -> LikenessError:
    """Of all folders searched it names the one that the README names: choosing is no work for somebody new."""
    published = packs.published(key)
    dead_link = _dead_link(key, published)
    if dead_link is not None:
        return dead_link
    below, files = packs.folder_and_names(published)
    roots = folders.folders(published.key)
    if published.format == "face-pack":
        place = packs.folder_for(published.name, roots)
        names = [PurePath(name).name for name in files]
        is_root = str(place) in roots
        folder = str(place if is_root else place.parent)
        files = names if is_root else [f"{published.name}/{name}" for name in names]
    else:
        folder = os.path.join(roots[0], *below)
    return error(what, files, [folder], published.url, published.size_text)


def _dead_link(key: str, published: Model) -> folders.DeadLink | None:
    """Of a pack or recogniser id, whose files are called as the published ones or lie in the folder of that name."""
    names = {PurePath(name).name for file in published.files for name in file.names}
    for root in folders.folders("insightface", "facexlib"):
        for name, path in listing(root).files:
            leads_to = dead_link(path)
            if leads_to is not None and (PurePath(name).name in names or packs.pack_of(name) == key):
                return folders.DeadLink(path, leads_to)
    return None


def _kind(identifier: str, path: str) -> Kind:
    """What a file is. Raises UnsupportedCheckpoint."""
    return Kind.RECOGNISER if identifier == packs.IR_SE50 else inspect(path).kind


def _asked_for(identifier: str, path: str, runs_on: str | None) -> Recogniser:
    """Raises UnsupportedCheckpoint for a file that is something else."""
    kind = _kind(identifier, path)
    if kind is not Kind.RECOGNISER:
        raise UnsupportedCheckpoint(path, kind.value, Kind.RECOGNISER.value, "Choose another recogniser.")
    return _opened(identifier, *stamp(path), runs_on)


@lru_cache(maxsize=4)
def _detector(path: str, size: int, changed: int, runs_on: str | None) -> Detector:
    return model.open_detector(path, Hosted, runs_on)


@lru_cache(maxsize=8)
def _opened(identifier: str, path: str, size: int, changed: int, runs_on: str | None) -> Recogniser:
    if identifier != packs.IR_SE50:
        return model.open_recogniser(identifier, path, Hosted, runs_on)
    advice = f"The right file is at {packs.published(packs.IR_SE50).url}."
    state = load.read_state_dict(path, formats.known(packs.IR_SE50).title, advice)
    formats.require(state, packs.IR_SE50, path, advice)
    return model.IRSE50Recogniser(state, path, Hosted)
