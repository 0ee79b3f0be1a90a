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

from ..cast import CROP, EMBEDDING, CanvasSize, Face, Faces
from ..checks.errors import UnsupportedCheckpoint
from ..models import formats, packs
from ..models.files import stamp
from ..models.manifest import is_standin
from ..models.onnx_file import Graph, Kind, Program, inspect, read
from ..models.tensors import State
from ..pictures.geometry import shorter_side
from ..pictures.tensors import eight_bits
from . import analysis, ir_se50, onnx_session, scrfd
from .analysis import Recogniser
from .finding import Detector, find_faces
from .onnx_network import Held, Holder, opened
from .pictures import Picture

# How many bytes at the beginning of a file are searched for a key of IR-SE50: the names of tensors stand there in
# safetensors files and in both kinds of torch's pickles.
_HEAD = 1 << 20


@dataclass(frozen=True)
class FaceModel:
    """A detector, which finds faces, and recognisers, which tell whose they are. Two of the same networks are equal."""

    detector: Detector
    recognisers: tuple[Recogniser, ...]

    @property
    def ids(self) -> list[str]:
        """The ids of the recognisers, in their order."""
        return [recogniser.id for recogniser in self.recognisers]

    def only(self, ids: Sequence[str]) -> Self:
        """The face model with some of its recognisers alone, in the order of these ids."""
        by_id = {recogniser.id: recogniser for recogniser in self.recognisers}
        return replace(self, recognisers=tuple(by_id[identifier] for identifier in ids))


def faces_in(face_model: FaceModel, image: Tensor, min_size: int = 0) -> Faces:
    """All faces of one picture (H, W, C) from left to right, with embeddings; a picture without faces is no error.

    min_size: shorter side of the smallest box, in pixels.
    """
    picture = eight_bits(image)
    detections = find_faces(face_model.detector, picture)
    in_order = analysis.arrange(detections, analysis.NUMBERED)
    large = [detection for detection in in_order if shorter_side(detection.box) >= min_size]
    faces: tuple[Face, ...] = ()
    if large:
        faces = analysis.recognise(face_model.recognisers, picture, large, "a face of the picture")
    return Faces(faces, width=picture.shape[1], height=picture.shape[0])


def unsure_in(pictures: Sequence[Faces]) -> str:
    """A note that names faces that may not be upright, and says where small faces may not have been seen.

    "" where there is nothing to say. pictures: the faces of each picture.
    """
    numbered_faces: list[tuple[str, Face]] = []
    for number, faces in enumerate(pictures, 1):
        picture_name = f"picture {number}" if len(pictures) > 1 else ""
        numbered_faces += analysis.numbered(faces.faces, picture_name)
    return "\n".join(analysis.unsure_faces(numbered_faces))


# --- Which files


@dataclass(frozen=True)
class Files:
    """The files in the folders of face models: name relative to the folder -> full path.

    onnx: the ONNX files, which face packs consist of. others: files of weights with any other ending; the recogniser
    IR-SE50 is published as such a file.
    """

    onnx: Mapping[str, str]
    others: Mapping[str, str]

    def recognisers(self, pack: str) -> dict[str, str]:
        """Recogniser id -> path, of all packs and of IR-SE50.

        Where several files have one id, a file of `pack` comes first and the demo's stand-in last.
        """
        paths: dict[str, str] = {}
        # False sorts before True, and setdefault below keeps the first path of an id.
        pack_first = sorted(self.onnx, key=lambda name: (packs.pack_of(name) != pack, is_standin(name)))
        for name in pack_first:
            path = self.onnx[name]
            if packs.maybe_recogniser(name):
                identifier = packs.recogniser_id(name, os.path.getsize(path))
                paths.setdefault(identifier, path)
        standin_last = sorted(self.others.values(), key=is_standin)
        ir_se50 = next((path for path in standin_last if _is_ir_se50(*stamp(path))), None)
        if ir_se50:
            paths[packs.IR_SE50] = ir_se50
        return paths

    def detectors(self, pack: str) -> "Detectors":
        """The detectors with keypoints in a pack, the largest file first: of several it is the best.

        Files that cannot be read are left out, and their errors are kept in the result. Raises UnsupportedCheckpoint
        where no detector is left: the error of the first file that cannot be read, else one that says what the first
        file is instead.
        """
        kinds: dict[str, Kind] = {}  # path -> what the file is, of files that can be read
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
            path, kind = next(iter(kinds.items()))  # a pack has at least one file, and here all could be read
            url = packs.published_model(packs.ANTELOPE).url
            advice = f"Choose another one in Face pack (pack) of Load Face Embedder; {packs.ANTELOPE} is at {url}."
            raise UnsupportedCheckpoint(path, kind.value, Kind.DETECTOR.value, advice)
        return Detectors(tuple(sorted(paths, key=os.path.getsize, reverse=True)), tuple(left_out))


@dataclass(frozen=True)
class Detectors:
    """The detectors of a pack.

    paths: their files, at least one. left_out: why other files of the pack cannot be read.
    """

    paths: tuple[str, ...]
    left_out: tuple[UnsupportedCheckpoint, ...]


@lru_cache(maxsize=256)
def _is_ir_se50(path: str, size: int, changed: int) -> bool:
    """Whether a file is IR-SE50, by its name or by a key of its tensors.

    The name alone is enough: so a damaged file stays in the menu, and is refused with a reason when it is loaded.
    size, changed: the rest of the file's stamp. They are not used here; a changed file has others, so that the cached
    answer is not taken.
    """
    if "arcface_ir_se50" in os.path.basename(path).lower():
        return True
    try:
        with open(path, "rb") as file:
            return formats.IR_SE50_KEY.encode() in file.read(_HEAD)
    except OSError:  # one file that may not be read must not take the node out of the menu
        return False


# --- What runs them


def on_cpu(build: Callable[..., nn.Module], state: State) -> Held:
    """A network that stays on the CPU and needs no host. The function is a Holder, see onnx_network."""
    network = build(ops=nn).eval().requires_grad_(False)
    network.load_state_dict(dict(state))
    return network


ONE_PERSON_FROM = "likeness.one_person_from"
"""The key, among a recogniser's weights, of the cosine similarity at which two photos are of one person.

Published files have no such key: for their networks, which were trained to tell people apart, persons.ONE_PERSON is
that cosine. The toy model recogniser of the tests has it: it reads colours alone, so that its cosines of strangers are
as high as those that published networks find for photos of one person."""


def one_person_from(weights: State) -> float | None:
    """The number that a file has under ONE_PERSON_FROM; None where it has none, or one that is not in (0, 1]."""
    number = weights.get(ONE_PERSON_FROM)
    if number is None or number.numel() != 1:
        return None
    cosine = float(number)
    return cosine if 0 < cosine <= 1 else None


class IRSE50Recogniser:
    """facexlib's ArcFace. Its embeddings have length 1: the published network ends in a normalisation."""

    id = packs.IR_SE50
    crop_size = CROP

    def __init__(self, state: State, path: str, hold: Holder) -> None:
        """state: the tensors of the published file at `path`. hold: what keeps the network in memory. Raises
        UnsupportedCheckpoint."""
        shape = (1, 3, self.crop_size, self.crop_size)
        self.network = opened(ir_se50.program(state, path), hold, shape, (EMBEDDING,))
        self.one_person_from = one_person_from(state)

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        """The embeddings of n aligned crops, (crop_size, crop_size, 3) each: (n, 512) float32 of length 1."""
        # (n, side, side, 3) RGB 0..255 -> (n, 3, side, side) BGR -1..1, as facexlib's network was trained
        pixels = 2 * (torch.as_tensor(np.stack(crops)).flip(-1).permute(0, 3, 1, 2).float() / 255) - 1
        embeddings = _embed_one_by_one(self.network, pixels)
        return functional.normalize(embeddings, eps=0)  # facexlib divides by the length, however short it is


class ArcFace:
    """A recogniser from an ONNX file. Its embeddings are not normalised, as insightface returns them.

    identifier: its id. crop_size: side of the crops in pixels. scales: whether the network takes pixels of 0..255 and
    scales them itself; else they are scaled to -1..1 here. one_person_from: as of a Recogniser.
    """

    def __init__(
        self, identifier: str, network: Held, crop_size: int, scales: bool, one_person_from: float | None
    ) -> None:
        self.id = identifier
        self.network = network
        self.crop_size = crop_size
        self._scales = scales
        self.one_person_from = one_person_from

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        """The embeddings of n aligned crops, (crop_size, crop_size, 3) each: (n, 512) float32."""
        # (n, side, side, 3) -> (n, 3, side, side)
        pixels = torch.as_tensor(np.stack(crops)).permute(0, 3, 1, 2).float()
        if not self._scales:
            pixels = (pixels - 127.5) / 127.5
        return _embed_one_by_one(self.network, pixels)


def _embed_one_by_one(network: Held, pixels: Tensor) -> Tensor:
    """The embeddings of crops (n, 3, side, side), (n, 512), one crop a run: some files fix the batch at 1."""
    return torch.cat([network(crop[None])[0].reshape(1, -1).cpu() for crop in pixels])


def open_detector(path: str, hold: Holder, provider: str | None) -> scrfd.Scrfd:
    """The detector in an ONNX file.

    hold: what keeps its network. provider: of onnxruntime, which then runs the file instead of torch; None for torch.
    Raises UnsupportedCheckpoint, and with a provider NoOnnxRuntime.
    """
    graph = inspect(path)
    fixed_size = _fixed_size(graph)
    width, height = fixed_size or scrfd.SIZE
    output_sizes = scrfd.output_sizes(len(graph.outputs), width, height)
    picture_shape = (1, 3, height, width)
    if provider is not None:
        return scrfd.Scrfd(onnx_session.opened(path, provider, picture_shape, output_sizes), fixed_size)
    return scrfd.Scrfd(opened(read(path), hold, picture_shape, output_sizes), fixed_size)


def _fixed_size(graph: Graph) -> CanvasSize | None:
    """Width and height of the only pictures that a network takes, px; None where it takes any."""
    # (batch, channels, height, width), 0 for a size that the file leaves open; or no shape at all
    shape = graph.inputs[0]
    if len(shape) != 4 or 0 in shape[2:]:
        return None
    return shape[3], shape[2]


def open_recogniser(identifier: str, path: str, hold: Holder, provider: str | None) -> ArcFace:
    """The recogniser in an ONNX file. identifier: its id. hold, provider, errors: as of open_detector."""
    program = read(path)
    side = inspect(path).inputs[0][2]  # the height in (batch, channels, height, width); crops are square
    shape = (1, 3, side, side)
    if provider is not None:
        network: Held = onnx_session.opened(path, provider, shape, (EMBEDDING,))
    else:
        network = opened(program, hold, shape, (EMBEDDING,))
    return ArcFace(identifier, network, side, scales_pixels(program), one_person_from(program.weights))


def scales_pixels(program: Program) -> bool:
    """Whether a network itself brings pixels of 0..255 to the range that it was trained with.

    Such a network subtracts and multiplies before its first layers, as those that were exported from MXNet do.
    insightface decides by the same rule: both operators among the first 8 nodes.
    """
    operators = {node.operator for node in program.nodes[:8]}
    return {"Sub", "Mul"} <= operators
