"""Face packs and recognisers from the model folders, loaded once."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor, nn

from ..core.errors import BadSetup, LikenessError, ModelMissing, UnsupportedCheckpoint
from ..core.faces import model
from ..core.faces.analysis import Detection, Detector, Recogniser
from ..core.faces.model import Files
from ..core.faces.pictures import Picture
from ..core.models import formats, packs
from ..core.models.files import WEIGHTS, Stamp, by_name, stamp
from ..core.models.onnx_file import Kind, inspect
from ..core.models.tensors import State
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
    if pack != NO_DETECTOR and pack not in packs.packs(files.onnx):
        return _missing("A face pack" if pack == NONE_FOUND else f"The face pack {pack}", pack)
    if recognisers == NO_RECOGNISER:
        return None
    found = files.recognisers(pack)
    if recognisers != ALL and recognisers not in found:
        return _missing(f"The face recogniser {recognisers}", recognisers)
    return None if found else _no_recogniser(pack)


def _no_recogniser(pack: str) -> ModelMissing:
    """Names the one that comes with a detector, where one is wanted."""
    return _missing("A face recogniser", packs.IR_SE50 if pack == NO_DETECTOR else packs.ANTELOPE)


def load_face_model(pack: str, recognisers: str, node: str | None = None) -> FaceModel:
    """Load the detector of `pack`, if it is one, and one recogniser, all of them or none.

    A damaged file that was not asked for by its name is left out, and said under the node while another does its work.
    node: its id. Raises ModelMissing, and UnsupportedCheckpoint for damaged or unfit files.
    """
    if error := refusal(pack, recognisers):
        raise error
    files = _files()
    left_out: list[UnsupportedCheckpoint] = []
    detector = _no_detector if pack == NO_DETECTOR else _first_detector(files, pack, left_out)
    usable = _usable(files, pack, recognisers, left_out)
    # One file may have been looked at as either.
    for text in dict.fromkeys(map(str, left_out)):
        notes.tell(node, f"Left out, as others can be used: {text}")
    return FaceModel(detector, usable)


def _first_detector(files: Files, pack: str, left_out: list[UnsupportedCheckpoint]) -> Detector:
    """The largest of a pack that can be used. What cannot be used is added to left_out, but raised if it is all."""
    chosen = files.detectors(pack)
    left_out += chosen.left_out
    failed: list[UnsupportedCheckpoint] = []
    for path in chosen.paths:
        try:
            detector = _detector(*stamp(path))
        except UnsupportedCheckpoint as error:
            failed.append(error)
        else:
            left_out += failed
            return detector
    raise failed[0]


def _usable(files: Files, pack: str, recognisers: str, left_out: list[UnsupportedCheckpoint]) -> tuple[Recogniser, ...]:
    """The recogniser of this id, or all that can be used. Others are added to left_out, but raised if they are all."""
    if recognisers == NO_RECOGNISER:
        return ()
    paths = files.recognisers(pack)
    if recognisers != ALL:
        return (_asked_for(recognisers, paths[recognisers]),)
    usable: list[Recogniser] = []
    damaged: list[UnsupportedCheckpoint] = []
    for identifier, path in paths.items():
        try:
            if _kind(identifier, path) is Kind.RECOGNISER:
                usable.append(_opened(identifier, *stamp(path)))
        except UnsupportedCheckpoint as error:
            damaged.append(error)
    if not usable:
        raise damaged[0] if damaged else _no_recogniser(pack)
    left_out += damaged
    return tuple(usable)


def default_face_model(detects: bool = True, node: str | None = None) -> FaceModel:
    """What a new Load Face Model loads, for nodes with none connected. detects: with a detector. node: its id.

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
        "The face model has no detector, so no face can be found in a picture: pack in Load Face Model is none.",
        "Choose a pack there, or link face_landmarks from Detect Face Landmarks (MediaPipe): Identity and "
        "Detect Faces take them.",
    )


def _files() -> Files:
    onnx = by_name(folders.folders("insightface"), (".onnx",))
    return Files(onnx, by_name(folders.folders("facexlib", "insightface"), WEIGHTS))


def _missing(what: str, key: str) -> ModelMissing:
    """Of all folders searched it names the one that the README names: choosing is no work for somebody new."""
    published = packs.published(key)
    below, files = packs.folder_and_names(published)
    folder = os.path.join(folders.folders(published.key)[0], *below)
    return ModelMissing(what, files, [folder], published.url, published.size_text)


def _kind(identifier: str, path: str) -> Kind:
    """What a file is. Raises UnsupportedCheckpoint."""
    return Kind.RECOGNISER if identifier == packs.IR_SE50 else inspect(path).kind


def _asked_for(identifier: str, path: str) -> Recogniser:
    """Raises UnsupportedCheckpoint for a file that is something else."""
    kind = _kind(identifier, path)
    if kind is not Kind.RECOGNISER:
        raise UnsupportedCheckpoint(path, kind.value, Kind.RECOGNISER.value, "Choose another recogniser.")
    return _opened(identifier, *stamp(path))


@lru_cache(maxsize=4)
def _detector(path: str, size: int, changed: int) -> Detector:
    return model.open_detector(path, Hosted)


@lru_cache(maxsize=8)
def _opened(identifier: str, path: str, size: int, changed: int) -> Recogniser:
    if identifier != packs.IR_SE50:
        return model.open_recogniser(identifier, path, Hosted)
    advice = f"The right file is at {packs.published(packs.IR_SE50).url}."
    state = load.read_state_dict(path, formats.known(packs.IR_SE50).title, advice)
    formats.require(state, packs.IR_SE50, path, advice)
    return model.IRSE50Recogniser(state, path, Hosted)
