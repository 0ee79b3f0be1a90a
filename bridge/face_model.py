"""Face packs and recognisers from the model folders, loaded once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import LikenessError, ModelMissing, UnsupportedCheckpoint
from ..core.faces import alignment, analysis, arcface, insight, ir_se50, onnx_network, scrfd
from ..core.faces.analysis import Aligner, Recogniser
from ..core.faces.ladder import Detection, Detector, find_faces
from ..core.faces.pictures import Picture, to_picture
from ..core.geometry import shorter_side
from ..core.models import formats, packs
from ..core.models.files import WEIGHTS, Stamp, stamp
from ..core.models.onnx_file import Kind, inspect, read
from ..core.people import Faces
from ..core.text import logger
from . import folders, load

ALL = "all found"
NONE_FOUND = "none found"
NO_DETECTOR = "none (faces from landmarks)"

AUTO, TORCH, INSIGHTFACE = BACKENDS = ("auto", "torch", "insightface (onnxruntime)")
"""What runs ONNX files. auto is insightface where it is installed, so that earlier workflows give the same picture."""

_ONNX_KEY = "insightface"
_TORCH_KEYS = ("facexlib", "insightface")
# Where a file's keys stand, whether it is a safetensors file or either kind of pickle.
_HEAD = 1 << 20


class DetectorMissing(LikenessError):
    """A face model that only recognises, where faces are to be found."""

    def __init__(self) -> None:
        super().__init__(
            "The face model has no detector, so no face can be found in a picture: pack in Load Face Model is none.",
            "Choose a pack there, or link face_landmarks from Detect Face Landmarks (MediaPipe): Identity takes them, "
            "and Faces from Landmarks in the place of Detect Faces.",
        )


class Hosted:
    """A network in the host's hands, called like a function."""

    def __init__(self, patcher: Any) -> None:
        self.patcher = patcher

    def __call__(self, pixels: Tensor) -> Any:
        with torch.inference_mode():
            return self.patcher.model(load.on_device(self.patcher, pixels))


@dataclass(frozen=True, eq=False)
class FaceModel:
    """What travels on LIKENESS_FACE_MODEL."""

    detector: Detector
    recognisers: tuple[Recogniser, ...]
    align: Aligner

    def get_models(self) -> list[Any]:
        """The ModelPatchers in it, for the host's memory accounting."""
        networks = [getattr(part, "network", None) for part in (self.detector, *self.recognisers)]
        return [network.patcher for network in networks if isinstance(network, Hosted)]

    @property
    def ids(self) -> list[str]:
        """Of the recognisers."""
        return [recogniser.id for recogniser in self.recognisers]

    def only(self, ids: Sequence[str]) -> FaceModel:
        """The same with these of its recognisers, in this order."""
        known = dict(zip(self.ids, self.recognisers, strict=True))
        return replace(self, recognisers=tuple(known[name] for name in ids))


def faces_in(face_model: FaceModel, image: Tensor, min_size: int = 0) -> Faces:
    """All faces of one picture (H, W, C) from left to right, with embeddings: none is a result, too.

    min_size: shorter side of the smallest box, in pixels.
    """
    picture = to_picture(image)
    found = find_faces(face_model.detector, picture).faces
    kept = [face for face in analysis.arrange(found, analysis.NUMBERED) if shorter_side(face.box) >= min_size]
    faces = (
        analysis.recognise(face_model.recognisers, face_model.align, picture, kept, "a face of the picture")
        if kept
        else ()
    )
    return Faces(faces, width=picture.shape[1], height=picture.shape[0])


class IRSE50Recogniser:
    """facexlib's ArcFace. Its embeddings have length 1: the published network ends in a normalisation."""

    id = packs.IR_SE50
    crop_size = ir_se50.CROP

    def __init__(self, network: Hosted) -> None:
        self.network = network

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        return self.network(ir_se50.prepare(torch.from_numpy(np.stack(crops)))).float().cpu()


def pack_names() -> list[str]:
    """Face packs for a menu, and last that of people who find faces with the host's own landmarks."""
    return [*(packs.packs(_onnx_files()) or [NONE_FOUND]), NO_DETECTOR]


def recogniser_names() -> list[str]:
    """Recogniser ids for a menu. Those that a method asks for are always there: whoever chooses one that is not
    installed is told, before anything runs, where it comes from."""
    return [ALL, *sorted({*_recogniser_paths(""), *packs.ASKED_FOR})]


def files_stamp() -> tuple[Stamp, ...]:
    """Changes when a file that "all found" may mean is added, replaced or removed."""
    return tuple(stamp(path) for path in sorted({*_recogniser_paths("").values(), *_onnx_files().values()}))


def refusal(pack: str, recognisers: str) -> LikenessError | None:
    """Why this choice cannot be loaded, as far as file names tell."""
    if pack != NO_DETECTOR and pack not in packs.packs(_onnx_files()):
        return _missing("A face pack" if pack == NONE_FOUND else f"The face pack {pack}", pack)
    found = _recogniser_paths(pack)
    if recognisers != ALL and recognisers not in found:
        return _missing(f"The face recogniser {recognisers}", recognisers)
    return None if found else _missing("A face recogniser", _first_recogniser(pack))


def _first_recogniser(pack: str) -> str:
    """What somebody without any recogniser gets: it comes with a detector, where one is wanted."""
    return packs.IR_SE50 if pack == NO_DETECTOR else "antelopev2"


def load_face_model(pack: str, recognisers: str, provider: str, backend: str) -> FaceModel:
    """Load the detector of `pack`, if it is one, and one recogniser, or all of them.

    Raises ModelMissing, UnsupportedCheckpoint for damaged or unfit files, MissingDependency.
    """
    if error := refusal(pack, recognisers):
        raise error
    providers = None if _in_torch(backend) else insight.providers_for(provider)
    detector, where = (
        (_no_detector, "nothing") if pack == NO_DETECTOR else _detector(*stamp(_detector_path(pack)), providers)
    )
    paths = _recogniser_paths(pack)
    wanted = paths if recognisers == ALL else {recognisers: paths[recognisers]}
    loaded = [_recogniser(identifier, path, providers, recognisers != ALL) for identifier, path in wanted.items()]
    usable = tuple(recogniser for recogniser in loaded if recogniser)
    if not usable:
        raise _missing("A face recogniser", _first_recogniser(pack))
    loaded_model = FaceModel(detector, usable, insight.align if providers else alignment.align)
    logger.info("Face model: %s on %s, recognisers %s", pack, where, ", ".join(loaded_model.ids))
    return loaded_model


def default_face_model(detects: bool = True) -> FaceModel:
    """What a new Load Face Model loads, for nodes with none connected. detects: with a detector.

    Raises as load_face_model.
    """
    return load_face_model(pack_names()[0] if detects else NO_DETECTOR, ALL, insight.PROVIDERS[0], AUTO)


def default_stamp(connected: Mapping[str, Any]) -> tuple[Stamp, ...]:
    """For the fingerprint of a node: what the default is made of, where no face_model is connected."""
    return () if "face_model" in connected else files_stamp()


def _no_detector(picture: Picture, size: int) -> Sequence[Detection]:
    raise DetectorMissing


def _in_torch(backend: str) -> bool:
    return backend == TORCH or (backend == AUTO and not insight.installed())


def _files(endings: tuple[str, ...], *keys: str) -> dict[str, str]:
    """Relative name -> full path of the files under these keys."""
    names = (name for name in folders.listed(*keys) if name.lower().endswith(endings))
    return {name: path for name in names if (path := folders.find(name, *keys))}


def _onnx_files() -> dict[str, str]:
    return _files((".onnx",), _ONNX_KEY)


def _recogniser_paths(pack: str) -> dict[str, str]:
    """Recogniser id -> path. Where an id occurs several times, the file in `pack` is taken."""
    files = sorted(_onnx_files().items(), key=lambda file: packs.pack_of(file[0]) != pack)
    found: dict[str, str] = {}
    for name, path in files:
        if packs.maybe_recogniser(name):
            found.setdefault(packs.recogniser_id(name, os.path.getsize(path)), path)
    if path := _ir_se50_path():
        found[packs.IR_SE50] = path
    return found


def _ir_se50_path() -> str | None:
    paths = _files(WEIGHTS, *_TORCH_KEYS).values()
    return next((path for path in paths if _looks_like_ir_se50(*stamp(path))), None)


@lru_cache(maxsize=256)
def _looks_like_ir_se50(path: str, size: int, changed: int) -> bool:
    """By its name, or by its keys: a damaged file is to be explained, not to be overlooked."""
    if "arcface_ir_se50" in os.path.basename(path).lower():
        return True
    try:
        with open(path, "rb") as file:
            return formats.IR_SE50_KEY.encode() in file.read(_HEAD)
    except OSError:  # one file that may not be read must not take the node out of the menu
        return False


def _missing(what: str, key: str) -> ModelMissing:
    """Of all folders searched it names the one that the README names: choosing is no work for somebody new."""
    published = packs.published(key)
    below, files = packs.home(published)
    folder = os.path.join(folders.folders(published.key)[0], *below)
    return ModelMissing(what, files, [folder], published.url, published.size_text)


def _detector_path(pack: str) -> str:
    """The detector with keypoints in a pack; the largest of several."""
    files = _onnx_files()
    kinds = {files[name]: inspect(files[name]).kind for name in packs.packs(files)[pack]}
    detectors = [path for path, kind in kinds.items() if kind is Kind.DETECTOR]
    if not detectors:
        path, kind = next(iter(kinds.items()))
        url = packs.published("antelopev2").url
        advice = f"Choose another pack in Load Face Model; antelopev2 is at {url}."
        raise UnsupportedCheckpoint(path, kind.value, Kind.DETECTOR.value, advice)
    return max(detectors, key=os.path.getsize)


def _recogniser(identifier: str, path: str, providers: tuple[str, ...] | None, asked_for: bool) -> Recogniser | None:
    """None for a file that is something else, unless it was asked for by name."""
    if identifier == packs.IR_SE50:
        return _ir_se50(*stamp(path))
    kind = inspect(path).kind
    if kind is Kind.RECOGNISER:
        return _arcface(identifier, *stamp(path), providers)
    if asked_for:
        raise UnsupportedCheckpoint(path, kind.value, Kind.RECOGNISER.value, "Choose another recogniser.")
    return None


@lru_cache(maxsize=4)
def _detector(path: str, size: int, changed: int, providers: tuple[str, ...] | None) -> tuple[Detector, str]:
    """And what it runs on, for people. providers: onnxruntime's, or None for torch."""
    if providers:
        model = insight.open_model(path, providers)
        return insight.Scrfd(model), f"{insight.provider_of(model)} (onnxruntime)"
    graph = inspect(path)
    planned = onnx_network.plan(read(path))
    fixed = scrfd.fixed_size(graph.inputs[0])
    width, height = fixed or scrfd.SIZE
    onnx_network.check(planned, (1, 3, height, width), scrfd.output_sizes(len(graph.outputs), width, height))
    network = _hosted(planned)
    return scrfd.Scrfd(network, fixed), f"{network.patcher.load_device} (torch)"


@lru_cache(maxsize=8)
def _arcface(identifier: str, path: str, size: int, changed: int, providers: tuple[str, ...] | None) -> Recogniser:
    if providers:
        return insight.ArcFace(identifier, insight.open_model(path, providers))
    program, side = read(path), inspect(path).inputs[0][2]
    planned = onnx_network.plan(program)
    onnx_network.check(planned, (1, 3, side, side), (arcface.EMBEDDING,))
    return arcface.ArcFace(identifier, _hosted(planned), side, arcface.scales(program))


def _hosted(planned: onnx_network.Plan) -> Hosted:
    return Hosted(load.in_patcher(partial(onnx_network.Network, planned), planned.state))


@lru_cache(maxsize=2)
def _ir_se50(path: str, size: int, changed: int) -> IRSE50Recogniser:
    advice = f"The right file is at {packs.published(packs.IR_SE50).url}."
    state = load.read_state_dict(path, formats.known(packs.IR_SE50).title, advice)
    formats.require(state, packs.IR_SE50, path, advice)
    return IRSE50Recogniser(Hosted(load.in_patcher(ir_se50.IRSE50, ir_se50.fold(state, path))))
