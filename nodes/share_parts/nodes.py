"""Share Parts Attention: parts on any SD1.5 or SDXL model, without training. The model is its own reference.

At every step the parts are noised to the step's sigma and run through the same UNet with their own text. The picture
then attends to the states of the parts in the same layers, under the same masks as in Parts2Whole. Source of the
idea: reference-only control (Mikubill/sd-webui-controlnet, discussion 1236) and Parts2Whole (arXiv 2404.15267),
section 3.3.
"""

from dataclasses import dataclass, replace
from typing import Any

import comfy.conds
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io
from torch import Tensor

from ...bridge.apply.begin import When, begin_acting
from ...bridge.host.encode import latent_of, text_of
from ...bridge.host.schema import applied_inputs, applied_outputs, range_inputs
from ...bridge.host.shared_network import model_of
from ...bridge.host.unet import coarsest_token_side, unet_of
from ...bridge.parts.recording import LAYERS, SelfReference, is_inpainting
from ...bridge.parts.shared_parts import SharedParts, share_with
from ...bridge.parts.sharing_run import SHARED_PARTS
from ...bridge.parts.worn import parts_and_looks
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs, check_texts_of_unet
from ...bridge.sampling.missing_people import NamedRange
from ...bridge.sampling.node_of_run import Canvas
from ...core.cast import Cast, Person
from ...core.parts.bank import PartWeights, window
from ...core.parts.parts import Parts
from ...core.parts.resizing import prepare, targets
from ...core.persons.looks import LOOKS_INPUT
from ...core.pictures import geometry
from ...core.pictures.geometry import Rect
from ...core.taking_part import NO_PEOPLE
from ..categories import IN_PARTS
from ..sockets import CastOrPersonSocket, PartsSocket

APPLY = "Share Parts Attention"
EVERY_STEP = "at every step"
ONCE = "once"
"""The options of the input `reference`: when the parts are recorded. With EVERY_STEP it is every renew_every steps."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is set on the node.

    width, height: of the new picture in pixels. layers: which layers of the UNet share, one of LAYERS. crop_to_mask:
    whether the MODEL is shown only what lies around the mask of a part.
    """

    width: int
    height: int
    strength: float
    start_percent: float
    end_percent: float
    layers: str
    reference: str
    renew_every: int = 1
    crop_to_mask: bool = False


@torch.no_grad()
def reference_of(model: ModelPatcher, parts: Parts, clip: CLIP, vae: VAE, settings: Settings) -> SelfReference:
    """The parts of weight above 0, ready to be recorded by the MODEL itself while it samples.

    Raises BadPart. Raises WrongBaseModel where clip or vae belong to another model, and where the MODEL reads an
    unknown input beside the latent.
    """
    width, height = settings.width, settings.height
    present = parts.present
    prepared_parts = [prepare(part, width, height) for part in present]
    latents_of_parts = [latent_of(vae, prepared, model, _SAME_CHECKPOINT) for prepared in prepared_parts]
    latents = torch.cat(latents_of_parts)  # (parts, 4, h, w)
    is_inpainting(model, latents.shape[1])  # it raises here already, and not first when the sampler has begun
    masks = [prepared.mask for prepared in prepared_parts]  # (height, width) each
    cell = coarsest_token_side(unet_of(model))  # in latent pixels; windows are whole cells
    # In latent pixels. Without a crop it is the whole part.
    whole = (0, 0, width // 8, height // 8)
    windows = [window(mask, cell) if settings.crop_to_mask else whole for mask in masks]
    texts = [text_of(clip, part.label, model, _SAME_CHECKPOINT) for part in present]
    pairs = zip(texts, windows, strict=True)
    adm_of_parts = [_adm(model, text.pooled, (width, height), of_part) for text, of_part in pairs]
    # The parts are one batch, so their texts must have one length: the host's concat repeats shorter ones.
    first_context, *other_contexts = [comfy.conds.CONDCrossAttn(text.tokens) for text in texts]
    return SelfReference(
        latents=latents,
        contexts=first_context.concat(other_contexts),
        adm=None if adm_of_parts[0] is None else torch.cat(adm_of_parts),
        masks=masks,
        # One noise for all parts, the same in every run.
        noise=torch.randn(latents[:1].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32),
        layers=settings.layers,
        windows=windows,
        steps=settings.renew_every if settings.reference == EVERY_STEP else None,  # None: one serves the whole run
    )


def _adm(model: ModelPatcher, pooled: Tensor | None, size: tuple[int, int], part_window: Rect) -> Any:
    """What the MODEL reads beside the text, as one vector, (1, adm); None for models that read nothing else (SD1.5).

    SDXL reads the pooled text (1, width), the size of a picture, and which crop of it is shown, as it was told of its
    training pictures. Here the crop is the window of a part: part_window, in latent pixels. size: (width, height) of
    the part in pixels.
    """
    # From latent pixels to pixels.
    left, top, right, bottom = (8 * side for side in part_window)
    return model_of(model).encode_adm(
        pooled_output=pooled,
        width=size[0],
        height=size[1],
        crop_w=left,
        crop_h=top,
        target_width=right - left,
        target_height=bottom - top,
    )


_SAME_CHECKPOINT = "Connect the CLIP and the VAE of the checkpoint that the MODEL comes from."


class SharePartsAttention(io.ComfyNode):
    """Lets the self-attention of a MODEL read what the MODEL itself sees of parts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        side_in_pixels = {"min": 64, "max": geometry.LARGEST, "step": 8}
        return io.Schema(
            node_id="LikenessSharePartsAttention",
            category=IN_PARTS,
            inputs=[
                *applied_inputs(),
                PartsSocket.Input("parts", optional=True),
                io.Clip.Input("clip"),
                io.Vae.Input("vae"),
                io.Int.Input("width", default=1024, **side_in_pixels),
                io.Int.Input("height", default=1024, **side_in_pixels),
                io.Float.Input("strength", default=1.0, min=0.0, max=4.0, step=0.01),
                *range_inputs(),
                io.Combo.Input("layers", options=list(LAYERS)),
                io.Combo.Input("reference", options=[EVERY_STEP, ONCE]),
                io.Int.Input("renew_every", default=1, min=1, max=1000, optional=True),
                io.Boolean.Input("crop_to_mask", default=False, optional=True),
                CastOrPersonSocket.Input("cast", optional=True),
                io.String.Input(LOOKS_INPUT, default="", optional=True),
            ],
            outputs=applied_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        clip: CLIP,
        vae: VAE,
        parts: Parts | None = None,
        cast: Cast | Person | None = None,
        looks: str = "",
        **values: Any,
    ) -> io.NodeOutput:
        settings = Settings(**values)
        size = (settings.width, settings.height)
        parts = parts_and_looks(parts, cast, looks, APPLY, size)
        if settings.strength == 0 or not parts.present:
            return io.NodeOutput(model, positive, negative)
        given = SamplerInputs(model, positive, negative)
        when = When("The range of the parts", settings.start_percent, settings.end_percent)
        acting = begin_acting(cls, APPLY, given, NO_PEOPLE, None, when, fits=check_texts_of_unet)
        geometry.check_size("The picture", *size)
        self_reference = reference_of(model, parts, clip, vae, settings)
        # For the negative, which attends to itself alone.
        without_parts = SharedParts(
            source=object(),
            schedule=acting.schedule,
            bank=None,  # no parts were recorded before sampling
            # strength scales the parts' share of the attention.
            weights=PartWeights(
                [weight * settings.strength for weight in parts.weights], targets(parts.present, *size)
            ),
            size=size,
            canvas=Canvas(acting.node_of_run),
        )
        # For the positive. Unlike in Parts2Whole the parts are recorded while sampling (live), and not before.
        with_parts = replace(without_parts, live=self_reference)
        note_subject = acting.note_subject([NamedRange("the parts", acting.schedule)], ["the parts"])
        return acting.outputs(share_with(given, with_parts, without_parts), [SHARED_PARTS], note_subject)


NODES = [SharePartsAttention]
