"""WithAnyone: load the adapter, apply faces to FLUX.1 for one person or many."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ...bridge import notes, schema, scopes
from ...bridge.conditioning import Conditioning, check_conditioning
from ...bridge.cross_attention.injections import Injection
from ...bridge.load import FileLoader, Loaded, Published
from ...bridge.schedule import schedule_range
from ...bridge.scopes import Scope
from ...bridge.transformers import networks
from ...bridge.transformers.blocks import BlockInjection, BlocksRun, Read, blocks_of
from ...bridge.unet import dtype_of
from ...core.errors import WrongBaseModel
from ...core.families import FLUX
from ...core.identities import PHOTOS, embeddings
from ...core.methods import method
from ...core.people import Cast, Person
from ..categories import IN_ALSO
from ..sockets import CastOrPersonSocket, adapter_socket
from .net import Face, WithAnyoneNet, of_faces, read

METHOD = method("with_anyone")
APPLY = "Apply WithAnyone"


class WithAnyone(Loaded[WithAnyoneNet]):
    """A loaded withanyone.safetensors."""


WithAnyoneSocket = adapter_socket(METHOD.title, WithAnyone)
FILE = Published.of(METHOD, "WithAnyone adapter")


class Faces(BlockInjection):
    """Of a Face of everybody per block."""

    def read(self, rows: Tensor, people: Read, who: Sequence[int]) -> Tensor:
        return read(rows, people, who)


class ApplyWithAnyone(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyWithAnyone",
            category=IN_ALSO,
            inputs=[
                *schema.applied_inputs(),
                WithAnyoneSocket.Input("with_anyone"),
                CastOrPersonSocket.Input("cast"),
                io.Float.Input("weight", default=1.0, min=-1.0, max=3.0, step=0.01),
                *schema.range_inputs(),
                schema.photos_input([way for way in PHOTOS if way != "sequence"]),
                *schema.scope_inputs(hard=True),
            ],
            outputs=schema.applied_outputs(),
            is_experimental=True,
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        with_anyone: WithAnyone,
        cast: Any,  # a Cast or an Identity
        *,
        weight: float,
        start_percent: float,
        end_percent: float,
        photos: str,
        **where: Any,
    ) -> io.NodeOutput:
        networks.require_dits(APPLY)
        cast = scopes.acting(cls, cast, weight, FLUX.token, **where)
        if cast is None:
            return io.NodeOutput(model, positive, negative)
        window = schedule_range(METHOD.title, start_percent, end_percent)
        _check_layout(with_anyone.net, model)
        check_conditioning([*positive, *negative], networks.network_of(model.model).params.context_in_dim, APPLY)
        scope = scopes.of_faces(cast, APPLY, window, _outwards(cast), node_id=notes.node_of(cls), **where)
        faces = _injection(with_anyone, scope, photos, weight, dtype_of(model.model))
        carried = (faces, replace(faces, layers=()))
        return scope.applied(cls, model, (positive, negative), carried, BlocksRun, what="the faces")


def _check_layout(net: WithAnyoneNet, model: ModelPatcher) -> None:
    """Raise WrongBaseModel unless every attention of the file finds a block of its width."""
    networks.family(model, (FLUX.name,))
    found = len(blocks_of(model)), networks.network_of(model.model).hidden_size
    ours = len(net.ipa_arc), net.width
    if found != ours:
        theirs, needed = (f"a Flux of {blocks} blocks of width {width}" for blocks, width in (found, ours))
        raise WrongBaseModel("The MODEL", theirs, needed, "Use FLUX.1 dev, or a fine-tune that has kept its blocks.")


def _outwards(cast: Cast) -> Cast:
    """With the right and lower ends of face boxes rounded up: released, these are divided by 16 as they are."""

    def outwards(person: Person) -> Person:
        if person.slot is None or person.slot.box is None:
            return person
        x0, y0, x1, y1 = person.slot.box
        return replace(person, slot=replace(person.slot, box=(x0, y0, math.ceil(x1), math.ceil(y1))))

    return replace(cast, people=tuple(map(outwards, cast.people)))


def _injection(loaded: WithAnyone, scope: Scope, photos: str, weight: float, dtype: torch.dtype) -> Injection:
    """Of everybody, for the positive. dtype: in which the MODEL computes. Raises BadCast."""
    people = scope.people
    each = torch.cat([embeddings(person, METHOD, photos) for person in people])
    scales = torch.tensor([weight * person.weight for person in people]).reshape(-1, 1, 1, 1)

    def kept(face: Face) -> Face:
        return Face(*(x.to("cpu", dtype) for x in face._replace(values=face.values * scales.to(face.values))))

    layers = tuple(map(kept, loaded.net.faces(loaded.beside(each))))
    return scope.injection(object(), each[:, None], layers, kind=Faces)


LOADER = FileLoader(
    FILE,
    # Of the file's two branches the one of faces is kept.
    lambda path: WithAnyone(FILE.build(path, WithAnyoneNet, of_faces(FILE.read(path)))),
    licence="Licence of the WithAnyone weights: non-commercial academic research alone, under the FLUX.1 [dev] "
    "Non-Commercial License; FLUX.1 dev and antelopev2 are non-commercial as well.",
    newer=True,
)
NODES = [ApplyWithAnyone]
