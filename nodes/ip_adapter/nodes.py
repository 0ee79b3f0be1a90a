"""IP-Adapter: load a file of any kind, apply it for one person or many."""

from __future__ import annotations

from typing import Any

from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import folders, notes
from ...bridge.adapters import check_layout, hearing
from ...bridge.carried import put
from ...bridge.conditioning import Conditioning, check_conditioning, sigmas_of
from ...bridge.injections import InjectionsRun
from ...bridge.lora import with_lora
from ...bridge.runs import patched
from ...bridge.schema import advanced, applied_outputs, heard_inputs, percent_input, photos_input, searchable
from ...core.identities import PHOTOS
from ...core.places import heard
from ...core.places.heard import REGIONS
from ..sockets import CastOrIdentitySocket
from . import style
from .files import BY_THE_FILE, CUTS, VERSIONS
from .host import FILE, METHOD, IPAdapter, IPAdapterSocket, Reading, load_ip_adapter, make_injections

CATEGORY = "likeness/ip-adapter"
APPLY = "Apply IP-Adapter (Likeness)"
AS_MADE = "as the file was made"
_COARSEST = {768: 64}
"""Side in pixels of what the coarsest layers take for one token, by the text width of the models; of others 32."""


class LoadIPAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessLoadIPAdapter",
            display_name="Load IP-Adapter (Likeness)",
            category=CATEGORY,
            description="Loads an IP-Adapter for SD1.5 or SDXL: FaceID, its Plus and portrait kinds, plain, plus, "
            "plus-face and full-face. Which of them a file is, its contents say.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folders.listed(FILE.key),
                    tooltip="A .bin as published, or a safetensors copy of it, from models/ipadapter.",
                ),
                advanced(
                    io.Combo.Input(
                        "plus_version",
                        options=list(VERSIONS),
                        default=BY_THE_FILE,
                        tooltip="FaceID Plus for SD1.5 alone: its two versions have the same tensors. by the file "
                        "knows the published v1 by its hash, and takes any other file for v2.",
                    )
                ),
            ],
            outputs=[IPAdapterSocket.Output("ip_adapter", display_name="ip_adapter")],
            hidden=[io.Hidden.unique_id],
        )
        return searchable(schema, "ip-adapter", "ipadapter", "faceid", "face id", "plus face", "identity", "人脸")

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool:
        return folders.found(FILE.path, file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None, plus_version: str | None) -> str:
        return f"{folders.fingerprint(FILE.path, file)} {plus_version}"

    @classmethod
    def execute(cls, file: str, plus_version: str) -> io.NodeOutput:
        return io.NodeOutput(load_ip_adapter(FILE.chosen(file, notes.node_of(cls)), plus_version))


class ApplyIPAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessApplyIPAdapter",
            display_name=APPLY,
            category=CATEGORY,
            description="IP-Adapter for one person, or for many in one pass, each in their own region. The tokens "
            "travel in both conditionings; the MODEL learns to read them, and a LoRA inside the file is put on it. Use "
            "the model output for the sampler.",
            inputs=[
                io.Model.Input("model", tooltip="An SD1.5 or SDXL model, as the file was made for."),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                IPAdapterSocket.Input("ip_adapter", tooltip="From Load IP-Adapter (Likeness)."),
                CastOrIdentitySocket.Input(
                    "cast", tooltip="One person (an identity or a cast, no place needed) or several with places."
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="From Load CLIP Vision, for the files that look at a picture: FaceID Plus, plain, plus, "
                    "plus-face and full-face. Which encoder a file needs is said where it is missing or another.",
                ),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=-1.0,
                    max=3.0,
                    step=0.01,
                    tooltip="How strongly the UNet reads the people. 0 switches all of it off, the LoRA too.",
                ),
                io.Float.Input(
                    "shortcut",
                    default=1.0,
                    min=0.0,
                    max=3.0,
                    step=0.01,
                    tooltip="FaceID Plus v2 alone: how much of what CLIP sees of the face is added to what the "
                    "embedding says. 0 is the embedding alone; above 1 the photo's hair, light and pose come along.",
                ),
                io.Float.Input(
                    "lora_weight",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.01,
                    tooltip="FaceID and FaceID Plus alone: the strength of the LoRA in the file. It acts in all of the "
                    "picture. 1 as published; other packs begin at 0.6, which leaves more of the checkpoint's style.",
                ),
                percent_input("start_percent", 0.0, "When it starts; 0.1 to 0.2 leaves more of the style."),
                percent_input("end_percent", 1.0, "When it stops."),
                photos_input(
                    "How several photos of one person are joined: average, average direction at the usual length, "
                    "all of them as a sequence, or the average of those that agree with each other. As the file was "
                    "made: average for FaceID and FaceID Plus, a sequence for all others.",
                    [AS_MADE, *PHOTOS],
                ),
                advanced(
                    io.Combo.Input(
                        "portrait",
                        options=[AS_MADE, *CUTS],
                        default=AS_MADE,
                        tooltip="What of each photo CLIP is given: the aligned face alone, as FaceID Plus was made, or "
                        "head and shoulders, as the others. face in BGR swaps red and blue, as the authors' example "
                        "for FaceID Plus does.",
                    )
                ),
                *heard_inputs(
                    "face boxes = it acts inside the face boxes of the places alone, and the prompt has the rest of "
                    "the picture: for styles, and for people seen from afar."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=applied_outputs(),
        )
        return searchable(
            schema, "ip-adapter", "ipadapter", "faceid", "face id", "plus face", "portrait", "same person",
            "character", "sd1.5 face", "换脸",
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        ip_adapter: IPAdapter,
        cast: Any,  # a Cast or an Identity
        clip_vision: ClipVisionModel | None = None,
        *,
        weight: float,
        shortcut: float,
        lora_weight: float,
        start_percent: float,
        end_percent: float,
        photos: str,
        portrait: str,
        region_margin: float,
        feather: float,
        mask: Tensor | None = None,
        acts_in: str = REGIONS,
    ) -> io.NodeOutput:
        cast = heard.as_cast(cast)
        people, node, made = heard.heard(cast).people, notes.node_of(cls), ip_adapter.variant
        told = heard.remarks(cast, mask, acts_in, _COARSEST.get(ip_adapter.width, 32))
        notes.tell(node, "\n".join([*heard.left_out(cast), *told]))
        if not people or weight == 0:
            return io.NodeOutput(model, positive, negative)
        window = sigmas_of(model, "The adapter", start_percent, end_percent)
        check_conditioning([*positive, *negative], ip_adapter.width, APPLY)
        check_layout(ip_adapter.net.ip_adapter.widths, model, METHOD)
        where = hearing(cast, APPLY, node, window, mask, region_margin, feather, acts_in)
        reading = Reading(
            made.photos if photos == AS_MADE else photos, made.cut if portrait == AS_MADE else portrait, shortcut
        )
        injections = make_injections(ip_adapter, people, clip_vision, reading, weight, where)
        sides = [put(*pair) for pair in zip((positive, negative), injections, strict=True)]
        shown = heard.drawn(where.acts, people, where.by_row)
        preview = None if shown is None else ui.PreviewImage(shown, cls=cls)
        reader = patched(with_lora(model, ip_adapter.lora, lora_weight, node), InjectionsRun)
        return io.NodeOutput(reader, *sides, ui=preview)


NODES = [LoadIPAdapter, ApplyIPAdapter, *style.NODES]
