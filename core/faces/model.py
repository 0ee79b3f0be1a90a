"""A detector and recognisers: which of the files at hand they are, and what runs them. Knows no host."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from ..errors import UnsupportedCheckpoint
from ..geometry import shorter_side
from ..models import formats, packs
from ..models.files import stamp
from ..models.onnx_file import Kind, Program, inspect, read
from ..models.tensors import State
from ..people import EMBEDDING, Face, Faces
from . import analysis, ir_se50, onnx_session, scrfd
from .analysis import Recogniser
from .finding import Detector, find_faces
from .onnx_network import Held, Holder, opened
from .pictures import Picture, to_picture

# Where a file's keys stand, whether it is a safetensors file or either kind of pickle.
_HEAD = 1 << 20


@dataclass(frozen=True)
class FaceModel:
    """What finds faces and tells whose they are. Two of the same networks are equal."""

    detector: Detector
    recognisers: tuple[Recogniser, ...]

    @property
    def ids(self) -> list[str]:
        """Of the recognisers."""
        return [recogniser.id for recogniser in self.recognisers]

    def only(self, ids: Sequence[str]) -> Self:
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
    faces = analysis.recognise(face_model.recognisers, picture, kept, "a face of the picture") if kept else ()
    return Faces(faces, width=picture.shape[1], height=picture.shape[0])


def unsure_in(pictures: Sequence[Faces]) -> str:
    """A note of the faces of which it is not sure which way up they are, or "". pictures: the faces in each."""
    seen: list[tuple[str, Face]] = []
    for number, found in enumerate(pictures, 1):
        picture = f"picture {number}" if len(pictures) > 1 else ""
        seen += analysis.numbered(found.faces, picture)
    return "\n".join(analysis.unsure_faces(seen))


# --- Which files


@dataclass(frozen=True)
class Files:
    """What lies in the folders of face models: names relative to them -> full paths.

    onnx: those of face packs. others: where IR-SE50 may be among, of any ending of weights.
    """

    onnx: Mapping[str, str]
    others: Mapping[str, str]

    def recognisers(self, pack: str) -> dict[str, str]:
        """Recogniser id -> path. Where an id occurs several times, the file in `pack` is taken."""
        found: dict[str, str] = {}
        for name, path in sorted(self.onnx.items(), key=lambda file: packs.pack_of(file[0]) != pack):
            if packs.maybe_recogniser(name):
                found.setdefault(packs.recogniser_id(name, os.path.getsize(path)), path)
        if path := next((path for path in self.others.values() if _has_ir_se50_key(*stamp(path))), None):
            found[packs.IR_SE50] = path
        return found

    def detectors(self, pack: str) -> "Detectors":
        """The detectors with keypoints in a pack, the largest first: that is the best of several.

        Raises UnsupportedCheckpoint where there is none.
        """
        kinds: dict[str, Kind] = {}
        left_out: list[UnsupportedCheckpoint] = []
        for name in packs.packs(self.onnx)[pack]:
            path = self.onnx[name]
            try:
                kinds[path] = inspect(path).kind
            except UnsupportedCheckpoint as error:
                left_out.append(error)
        paths = [path for path, kind in kinds.items() if kind is Kind.DETECTOR]
        if not paths and left_out:
            raise left_out[0]
        if not paths:
            path, kind = next(iter(kinds.items()))
            url = packs.published(packs.ANTELOPE).url
            advice = f"Choose another pack in Load Face Embedder; {packs.ANTELOPE} is at {url}."
            raise UnsupportedCheckpoint(path, kind.value, Kind.DETECTOR.value, advice)
        return Detectors(tuple(sorted(paths, key=os.path.getsize, reverse=True)), tuple(left_out))


@dataclass(frozen=True)
class Detectors:
    """paths: of a pack's detectors, at least one. left_out: why files beside them cannot be read."""

    paths: tuple[str, ...]
    left_out: tuple[UnsupportedCheckpoint, ...] = ()


@lru_cache(maxsize=256)
def _has_ir_se50_key(path: str, size: int, changed: int) -> bool:
    """By its name, or by its keys: a damaged file is to be explained, not to be overlooked."""
    if "arcface_ir_se50" in os.path.basename(path).lower():
        return True
    try:
        with open(path, "rb") as file:
            return formats.IR_SE50_KEY.encode() in file.read(_HEAD)
    except OSError:  # one file that may not be read must not take the node out of the menu
        return False


# --- What runs them


def on_cpu(build: Callable[..., nn.Module], state: State) -> Held:
    """A Holder without a host."""
    network = build(ops=nn).eval().requires_grad_(False)
    network.load_state_dict(dict(state))
    return network


ONE_PERSON_FROM = "likeness.one_person_from"
"""The name of a number among a recogniser's weights: the cosine from which two photos are of one person to it.
Published files have none, and identities.ONE_PERSON is that of networks which were trained to tell people apart. One
that reads colours alone finds strangers as alike as those find photos of one person."""


def one_person_from(weights: State) -> float | None:
    """What a file says of itself under ONE_PERSON_FROM; None where it says nothing, or no cosine."""
    number = weights.get(ONE_PERSON_FROM)
    if number is None or number.numel() != 1:
        return None
    cosine = float(number)
    return cosine if 0 < cosine <= 1 else None


class IRSE50Recogniser:
    """facexlib's ArcFace. Its embeddings have length 1: the published network ends in a normalisation."""

    id = packs.IR_SE50
    crop_size = ir_se50.CROP

    def __init__(self, state: State, path: str, hold: Holder) -> None:
        """state: of the published file, `path`. Raises UnsupportedCheckpoint."""
        shape = (1, 3, self.crop_size, self.crop_size)
        self.network = opened(ir_se50.program(state, path), hold, shape, (EMBEDDING,))
        self.one_person_from = one_person_from(state)

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        pixels = 2 * (torch.as_tensor(np.stack(crops)).permute(0, 3, 1, 2).float() / 255) - 1
        return functional.normalize(_one_by_one(self.network, pixels), eps=0)


class ArcFace:
    """A recogniser from an ONNX file. Its embeddings are not normalised, as insightface returns them.

    scales: whether the network itself brings 0..255 to what it was trained with. one_person_from: as its file says.
    """

    def __init__(
        self, identifier: str, network: Held, crop_size: int, scales: bool, one_person_from: float | None = None
    ) -> None:
        self.id, self.network, self.crop_size, self._scales = identifier, network, crop_size, scales
        self.one_person_from = one_person_from

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        """(n, 512) float32 for n aligned crops of crop_size pixels."""
        pixels = torch.as_tensor(np.stack(crops)).flip(-1).permute(0, 3, 1, 2).float()
        return _one_by_one(self.network, pixels if self._scales else (pixels - 127.5) / 127.5)


def _one_by_one(network: Held, pixels: Tensor) -> Tensor:
    """Of each crop its embedding: some files fix the batch at 1."""
    return torch.cat([network(crop[None])[0].reshape(1, -1).cpu() for crop in pixels])


def open_detector(path: str, hold: Holder, provider: str | None = None) -> scrfd.Scrfd:
    """provider: of onnxruntime, which then runs the file instead of torch. Raises UnsupportedCheckpoint."""
    graph = inspect(path)
    picture = graph.inputs[0]  # in some files of one size only
    fixed = (picture[3], picture[2]) if len(picture) == 4 and picture[2] and picture[3] else None
    width, height = fixed or scrfd.SIZE
    wanted = scrfd.output_sizes(len(graph.outputs), width, height)
    shape = (1, 3, height, width)
    if provider is not None:
        return scrfd.Scrfd(onnx_session.opened(path, provider, shape, wanted), fixed)
    return scrfd.Scrfd(opened(read(path), hold, shape, wanted), fixed)


def open_recogniser(identifier: str, path: str, hold: Holder, provider: str | None = None) -> ArcFace:
    """As open_detector."""
    program, side = read(path), inspect(path).inputs[0][2]
    shape = (1, 3, side, side)
    if provider is not None:
        network: Held = onnx_session.opened(path, provider, shape, (EMBEDDING,))
    else:
        network = opened(program, hold, shape, (EMBEDDING,))
    return ArcFace(identifier, network, side, scales(program), one_person_from(program.weights))


def scales(program: Program) -> bool:
    """Whether a network begins with subtracting and multiplying, as those from MXNet do (insightface's own rule)."""
    return {"Sub", "Mul"} <= {node.operator for node in program.nodes[:8]}
