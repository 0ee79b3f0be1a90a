"""WithAnyone: load the adapter, apply faces to FLUX.1 for one person or many."""

from __future__ import annotations

import math
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import dit, folders, notes
from ...bridge.adapters import hearing
from ...bridge.carried import put
from ...bridge.conditioning import Conditioning, check_conditioning, sigmas_of
from ...bridge.runs import patched
from ...bridge.schema import applied_outputs, heard_inputs, percent_input, photos_input, searchable
from ...bridge.unet import dtype_of
from ...core.identities import PHOTOS
from ...core.places import heard
from ...core.places.heard import FACE_BOXES
from ..sockets import CastOrIdentitySocket, socket
from .host import FILE, FacesRun, WithAnyone, check_layout, load_with_anyone, make_faces
from .net import METHOD

CATEGORY = "likeness/withanyone"
WithAnyoneSocket = socket("LIKENESS_WITH_ANYONE", WithAnyone)
LOAD, APPLY = "Load WithAnyone", "Apply WithAnyone"
LICENCE = (
    "Licence of the WithAnyone weights: non-commercial academic research alone, under the FLUX.1 [dev] Non-Commercial "
    "License; FLUX.1 dev and antelopev2 are non-commercial as well."
)


class LoadWithAnyone(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLoadWithAnyone",
            display_name=LOAD,
            category=CATEGORY,
            description="Loads WithAnyone's withanyone.safetensors: faces of several people for FLUX.1 dev. Of its two "
            "halves the one that reads face embeddings is used. The weights are for non-commercial research alone. "
            "Experimental. Needs ComfyUI 0.33 or newer.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folders.listed(FILE.key),
                    tooltip="withanyone.safetensors from models/withanyone. For non-commercial research alone.",
                )
            ],
            outputs=[WithAnyoneSocket.Output("with_anyone", display_name="with_anyone")],
            hidden=[io.Hidden.unique_id],
            is_experimental=True,
        )
        return searchable(schema, "withanyone", "with anyone", "flux face", "arcface", "identity", "人脸")

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.found(FILE.path, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> str:
        return folders.fingerprint(FILE.path, file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        dit.require_dits(LOAD)
        node = notes.node_of(cls)
        loaded = load_with_anyone(FILE.chosen(file, node))
        notes.tell(node, LICENCE, "licence")
        return io.NodeOutput(loaded)


class ApplyWithAnyone(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyWithAnyone",
            display_name=APPLY,
            category=CATEGORY,
            description="WithAnyone: puts the faces of one person or of several into the boxes of their places, in one "
            "pass of FLUX.1 dev. Describe age, hair, skin and clothes in the prompt: the face alone is read. Use the "
            "model output for the sampler. Experimental. Needs ComfyUI 0.33 or newer.",
            inputs=[
                io.Model.Input("model", tooltip="FLUX.1 dev, or a model that was made of it."),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input(
                    "negative", tooltip="It has no people: CFG above 1 leads away from a picture without them."
                ),
                WithAnyoneSocket.Input("with_anyone", tooltip=f"From {LOAD}."),
                CastOrIdentitySocket.Input(
                    "cast",
                    tooltip="A cast with places, which say where the faces come; identities made with antelopev2. "
                    "The authors show up to four people.",
                ),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=-1.0,
                    max=3.0,
                    step=0.01,
                    tooltip="How strongly the faces are read. 1 = as published, 0 = switched off.",
                ),
                percent_input("start_percent", 0.0, "When the faces come in."),
                percent_input("end_percent", 1.0, "When they go."),
                photos_input(
                    "How the embeddings of several photos of one person are joined.",
                    [way for way in PHOTOS if way != "sequence"],
                ),
                *heard_inputs(
                    "face boxes = everybody's face is read inside the face box of their place alone, as published; "
                    "regions = around it, or in the masks. Edges are hard, at steps of 16 px.",
                    hard=True,
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=applied_outputs(),
            is_experimental=True,
        )
        return searchable(
            schema, "withanyone", "with anyone", "flux face", "flux identity", "same person", "group photo",
            "two people flux", "换脸", "合影",
        )  # fmt: skip

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
        region_margin: float,
        mask: Tensor | None = None,
        acts_in: str = FACE_BOXES,
    ) -> io.NodeOutput:
        dit.require_dits(APPLY)
        cast = heard.as_cast(cast)
        people, node = heard.heard(cast).people, notes.node_of(cls)
        notes.tell(node, "\n".join([*heard.left_out(cast), *heard.remarks(cast, mask, acts_in, dit.TOKEN)]))
        if not people or weight == 0:
            return io.NodeOutput(model, positive, negative)
        window = sigmas_of(model, METHOD, start_percent, end_percent)
        check_layout(with_anyone.net, model)
        check_conditioning([*positive, *negative], dit.network_of(model.model).params.context_in_dim, APPLY)
        # Released: right and lower ends are divided by 16 as they are, and rounded up.
        where = hearing(cast, APPLY, node, window, mask, region_margin, 0, acts_in, far_corner=math.ceil)
        faces = make_faces(with_anyone, people, photos, weight, where, dtype_of(model.model))
        shown = heard.drawn(where.acts, people, where.by_row)
        preview = None if shown is None else ui.PreviewImage(shown, cls=cls)
        sides = [put(*pair) for pair in zip((positive, negative), faces, strict=True)]
        return io.NodeOutput(patched(model, FacesRun), *sides, ui=preview)


NODES = [LoadWithAnyone, ApplyWithAnyone]
