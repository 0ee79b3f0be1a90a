"""The toy's file and node: load it, apply it."""

from __future__ import annotations

from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ...bridge.apply.adapters import UNetAdapter
from ...bridge.apply.begin import AtFaces, When, begin
from ...bridge.host.load import FileLoader, Published
from ...bridge.host.schema import applied_inputs, applied_outputs, photos_input, range_inputs
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs
from ...bridge.sampling.missing_people import NamedRange
from ...core.families import SDXL
from ...core.methods import method
from ...core.persons.combining import embeddings
from ...core.taking_part import with_photos
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, adapter_socket
from .net import ToyNet

METHOD = method("toy_method")
APPLY = "Apply Toy"


class Toy(UNetAdapter[ToyNet]):
    """A loaded file."""

    method_title = METHOD.title


ToySocket = adapter_socket(Toy)
FILE = Published.of_method(METHOD, "toy adapter")


def load_toy(path: str) -> Toy:
    return Toy(FILE.build(path, ToyNet, FILE.read(path)))


class ApplyToy(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyToy",
            display_name=APPLY,
            category=IN_OTHER_METHODS,
            inputs=[
                *applied_inputs(),
                ToySocket.Input("toy"),
                CastOrPersonSocket.Input("cast"),
                io.Float.Input("weight", default=1.0, min=-1.0, max=3.0, step=0.01),
                *range_inputs(),
                photos_input(),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=applied_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        toy: Toy,
        cast: Any,
        *,
        weight: float,
        start_percent: float,
        end_percent: float,
        photos: str,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        when = When("The adapter", start_percent, end_percent)
        given = SamplerInputs(model, positive, negative)
        where = AtFaces(SDXL.token, mask)
        acting = begin(cls, APPLY, given, with_photos(cast), weight, where, when, fits=toy.check_fits)
        if acting is None:
            return io.NodeOutput(model, positive, negative)
        means: list[Tensor] = []
        for person in acting.people:
            face_embeddings = embeddings(person, METHOD, photos)  # (photos, 512)
            means.append(face_embeddings.mean(0, keepdim=True))
        tokens = toy.net.tokens(toy.on_device(torch.cat(means))).cpu()
        carried = toy.image_tokens(acting, (tokens, torch.zeros_like(tokens)), acting.weights(weight))
        return acting.applied(given, carried, [NamedRange("the adapter", acting.schedule)])


LOADER = FileLoader(FILE, load_toy)
NODES = [ApplyToy]
