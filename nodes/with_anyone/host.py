"""WithAnyone on the host: the loaded file, people as the blocks of FLUX.1 read them, and the run in which they do.

All that is read of a person is made when the node runs, so no weights of the adapter are in memory while sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...bridge import dit, load
from ...bridge.adapters import Hearing
from ...bridge.carried import ConditioningLost
from ...bridge.conditioning import check_canvases
from ...bridge.injections import Injection
from ...bridge.runs import Batch, Given, Run
from ...bridge.unet import Options, dtype_of
from ...core.errors import WrongBaseModel
from ...core.models import manifest
from ...core.people import Person
from . import net as with_anyone
from .net import Face, by_people, inside, of_faces, read

if TYPE_CHECKING:
    from comfy.samplers import CFGGuider

FILE = load.Published(with_anyone.METHOD, "WithAnyone adapter", manifest.model("with-anyone"))


@dataclass(frozen=True)
class WithAnyone:
    """A loaded withanyone.safetensors. `patcher` holds a core.with_anyone.WithAnyoneNet; the host finds it by this
    name."""

    patcher: ModelPatcher

    @property
    def net(self) -> with_anyone.WithAnyoneNet:
        return self.patcher.model


def load_with_anyone(path: str) -> WithAnyone:
    """Read withanyone.safetensors; of its two branches the one of faces is kept.

    Raises UnsupportedCheckpoint, naming what the file is instead.
    """
    return WithAnyone(FILE.build(path, with_anyone.WithAnyoneNet, of_faces(FILE.read(path))))


def check_layout(net: with_anyone.WithAnyoneNet, model: ModelPatcher) -> None:
    """Raise WrongBaseModel unless every attention of the file finds a block of its width."""
    dit.family(model, (dit.FLUX,))
    found = len(dit.blocks_of(model)), dit.network_of(model.model).hidden_size
    ours = len(net.ipa_arc), net.width
    if found != ours:
        theirs, needed = (f"a Flux of {blocks} blocks of width {width}" for blocks, width in (found, ours))
        raise WrongBaseModel("The MODEL", theirs, needed, "Use FLUX.1 dev, or a fine-tune that has kept its blocks.")


class Faces(Injection):
    """What one apply node adds to one side of the conditioning. layers: per block a Face of everybody, weights in it.

    The negative has none: its rows are computed beside those with people, as the host does without both.
    """

    key = "likeness_with_anyone"

    def alike(self, other: Any) -> bool:
        return self.sigmas == other.sigmas


@torch.no_grad()
def make_faces(
    loaded: WithAnyone, people: Sequence[Person], photos: str, weight: float, where: Hearing, dtype: torch.dtype
) -> tuple[Injection, Injection]:
    """For the positive and the negative. photos: as in core.with_anyone.embedding. dtype: in which the MODEL computes.

    Raises RecogniserMissing.
    """
    embeddings = torch.cat([with_anyone.embedding(person, photos) for person in people])
    scales = torch.tensor([weight * person.weight for person in people]).reshape(-1, 1, 1, 1)

    def kept(face: Face) -> Face:
        return Face(*(x.to("cpu", dtype) for x in face._replace(told=face.told * scales.to(face.told))))

    layers = tuple(map(kept, loaded.net.faces(load.on_device(loaded.patcher, embeddings))))
    made = where.injection(object(), embeddings[:, None], layers, kind=Faces)
    return made, replace(made, layers=())


class FacesRun(Run):
    """One sampling run of a MODEL that reads faces."""

    key = Faces.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        model: Any = guider.model_patcher
        self.blocks, self._dtype = dit.blocks_of(model), dtype_of(model.model)
        self._placed: dict[int, tuple[Any, list[Face]]] = {}
        self._ready: dict[Any, FacesBatch] = {}
        carried = self.everything(guider)
        check_canvases(carried, latent)
        # Before the host looks how much of the MODEL there is room for.
        for one in carried:
            for _, piece in _by_row(one, range(len(latent))):
                self.placed(piece)

    def placed(self, one: Injection) -> list[Face]:
        """What is read of its people, per block, where the MODEL computes."""
        if id(one.layers) not in self._placed:
            faces: Any = one.layers
            needed = sum(x.numel() for face in faces for x in face) * self._dtype.itemsize
            comfy.model_management.free_memory(needed, self._device)
            there = [Face(*(x.to(self._device, self._dtype) for x in face)) for face in faces]
            self._placed[id(one.layers)] = one.layers, there  # held: an id is that of a living object
        return self._placed[id(one.layers)][1]

    def batch(self, chunks: tuple[tuple[Injection, ...], ...], given: Given) -> FacesBatch | None:
        """Of the faces that are switched on at this step."""
        together = zip(*chunks, strict=True)
        on = tuple(each for each in together if any(one.heard for one in each) and each[0].is_on(given.sigmas))
        if not on:
            return None
        what = on, tuple(given.x.shape[-2:]), len(given.x)
        if what not in self._ready:
            self._ready[what] = FacesBatch(self, on, given)
        return self._ready[what]


def _by_row(one: Injection, rows: range) -> list[tuple[slice, Injection]]:
    """Which of these rows of a batch read what: each its own, all the same, or nobody."""
    if one.by_row:
        return [(slice(row, row + 1), one.of(n)) for n, row in enumerate(rows) if one.heard]
    return [(slice(rows.start, rows.stop), one)] * one.heard


class Group(NamedTuple):
    """Rows of a picture that read the same people. rows: of the batch; at: (n,), of the picture; faces: per block."""

    rows: slice
    at: Tensor
    who: tuple[int, ...]
    faces: list[Face]


class FacesBatch(Batch):
    """What comes out of each block, plus what the picture's rows in somebody's region read of them."""

    def __init__(self, run: FacesRun, on: Sequence[tuple[Injection, ...]], given: Given) -> None:
        self.blocks, self.rows = run.blocks, len(given.x)
        self._length, self._groups = math.prod(dit.grid_of(given.model, given.x)), list[Group]()
        for each in on:
            several = self.rows // len(each)
            for first, one in zip(range(0, self.rows, several), each, strict=True):
                for rows, piece in _by_row(one, range(first, first + several)):
                    self._add(rows, piece.acts, run.placed(piece), given.x)

    def _add(self, rows: slice, regions: Tensor | None, faces: list[Face], x: Tensor) -> None:
        hearing = inside(torch.ones(1, 1, 1) if regions is None else regions, (x.shape[-2], x.shape[-1]))
        self._groups += [Group(rows, at.to(x.device), who, faces) for who, at in by_people(hearing)]

    def around(self, options: Options) -> Options:
        functions = {block: partial(self._added, number) for number, block in enumerate(self.blocks)}
        return dit.around_blocks(options, functions)

    def _added(self, number: int, args: Options, block: Callable[[Options], Options]) -> Options:
        out = block(args)
        before: Tensor = out["img"]
        # In a single block the text stands in front; references are behind the picture in all.
        text = args["transformer_options"]["img_slice"][0] if self.blocks[number][0] == "single_block" else 0
        if before.shape[1] < text + self._length:
            found = before.shape[1] - text
            raise ConditioningLost("unknown", f"leaves {found} of the picture's {self._length} tokens")
        img = before.clone()
        for rows, at, who, faces in self._groups:
            img[rows, at + text] += read(before[rows, at + text], faces[number], who)
        return {**out, "img": img}
