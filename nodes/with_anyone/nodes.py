"""WithAnyone: load the adapter, apply faces to FLUX.1 for one person or many."""

import math
from dataclasses import replace

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ...bridge.apply.begin import AtFaces, When, begin
from ...bridge.apply.scope import Scope
from ...bridge.host import schema
from ...bridge.host.load import FileLoader, Loaded, Published
from ...bridge.host.shared_network import model_of
from ...bridge.host.unet import dtype_of
from ...bridge.image_tokens.blocks import BlockInjection, BlocksRun, check_blocks
from ...bridge.image_tokens.injections import Injection
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs
from ...bridge.sampling.missing_people import NamedRange
from ...core.cast import Cast, Member, Person
from ...core.families import FLUX
from ...core.methods import method
from ...core.persons import PHOTOS, embeddings
from ...core.taking_part import with_photos
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, adapter_socket
from .net import WithAnyoneNet, face_branch

METHOD = method("with_anyone")
APPLY = "Apply WithAnyone"


class WithAnyone(Loaded[WithAnyoneNet]):
    """A loaded withanyone.safetensors."""

    method_title = METHOD.title

    def check_fits(self, given: SamplerInputs, node_name: str) -> None:
        """Raise an error unless the file fits the MODEL and the texts, see check_blocks."""
        check_blocks(_reads_behind, len(self.net.ipa_arc), self.net.width, (FLUX.name,), given, node_name)


WithAnyoneSocket = adapter_socket(WithAnyone)
FILE = Published.of_method(METHOD, "WithAnyone adapter")


class ApplyWithAnyone(io.ComfyNode):
    """Lets the picture read face tokens after each block of FLUX.1, in the face boxes or regions of people."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyWithAnyone",
            category=IN_OTHER_METHODS,
            inputs=[
                *schema.applied_inputs(),
                WithAnyoneSocket.Input("with_anyone"),
                CastOrPersonSocket.Input("cast"),
                io.Float.Input("weight", default=1.0, min=-1.0, max=3.0, step=0.01),
                *schema.range_inputs(),
                schema.photos_input([choice for choice in PHOTOS if choice != "sequence"]),
                io.Mask.Input("mask", optional=True),
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
        cast: Cast | Person,
        *,
        weight: float,
        start_percent: float,
        end_percent: float,
        photos: str,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        # It acts in face boxes unless Place Cast says otherwise.
        where = AtFaces(FLUX.token, mask, hard=True, boxed=_with_whole_far_edges)
        when = When(METHOD.title, start_percent, end_percent)
        given = SamplerInputs(model, positive, negative)
        scope = begin(cls, APPLY, given, with_photos(cast), weight, where, when, fits=with_anyone.check_fits)
        if scope is None:
            return io.NodeOutput(model, positive, negative)
        faces = _injection(with_anyone, scope, photos, weight, dtype_of(model_of(model)))
        # The negative reads no faces. Its copy has the same source, by which a run knows that both are of one node.
        without_faces = replace(faces, layers=())
        return scope.applied(given, (faces, without_faces), [NamedRange("the faces", scope.schedule)], run=BlocksRun)


def _reads_behind(double_blocks: int, single_blocks: int) -> list[bool]:
    """Faces are read behind every block."""
    return [True] * (double_blocks + single_blocks)


def _with_whole_far_edges(cast: Cast) -> Cast:
    """The same cast with the right and lower edges of the face boxes rounded up to whole pixels.

    WithAnyone's release lets a face act in the tokens from int(x0) // 16 up to ceil(x1 / 16), and in y likewise. Core
    rounds all edges of a box down to whole pixels. A person then acts in each token of which at least one pixel lies in
    the box. For x0 and y0 these are the tokens of the release. An x1 of 512.3 would become 512, and the last token
    would be lost: here it becomes 513.
    """
    people: list[Member] = []
    for member in cast.people:
        if member.slot is not None and member.slot.box is not None:
            x0, y0, x1, y1 = member.slot.box
            box = (x0, y0, math.ceil(x1), math.ceil(y1))
            people.append(replace(member, slot=replace(member.slot, box=box)))
        else:
            people.append(member)
    return replace(cast, people=tuple(people))


def _injection(loaded: WithAnyone, scope: Scope, photos: str, weight: float, dtype: torch.dtype) -> Injection:
    """What the positive carries: for each block the keys and values of the tokens of all people who act.

    The values are times the weight of the node and times that of each person. photos: how several photos of a person
    are joined, as schema.photos_input. weight: of the node. dtype: in which the MODEL computes. Raises BadCast.
    """
    face_embeddings = torch.cat([embeddings(member, METHOD, photos) for member in scope.people])  # (people, 512)
    weights = scope.weights(weight)
    tokens_by_block = loaded.net.block_tokens(loaded.on_device(face_embeddings))
    layers = tuple(tokens.weighted(weights, dtype) for tokens in tokens_by_block)
    # No block reads `tokens`; an Injection counts its people by them. Any tensor with a row for each person will do.
    in_place_of_tokens = face_embeddings[:, None]  # (people, 1, 512)
    # By it a run knows that both sides are of one node: the negative carries a copy of this, without layers.
    source = object()
    return scope.injection(source, in_place_of_tokens, layers, kind=BlockInjection)


def load_with_anyone(path: str) -> WithAnyone:
    """Read the branch of faces of a withanyone.safetensors. Raises UnsupportedCheckpoint, BadSetup."""
    return WithAnyone(FILE.build(path, WithAnyoneNet, face_branch(FILE.read(path))))


LOADER = FileLoader(FILE, load_with_anyone)
NODES = [ApplyWithAnyone]
