"""A cast as reference pictures, for models that take several and are told in words who is who; each read by region."""

from __future__ import annotations

from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import dit, notes, schema
from ...bridge.conditioning import Canvas, Conditioning, sigmas_of
from ...bridge.dit import require_dits
from ...bridge.runs import patched
from ...core import previews
from ...core.people import require_places
from ...core.places import drawing, regions
from ..sockets import CastOrIdentitySocket
from . import bound
from .bound import BoundReferences, BoundReferencesRun, check_tokens
from .encoding import REFERENCES, PeopleReferences, encoded, family_of, latents_of, referring, seen_of
from .pictures import SENTENCES, captioned, references, remarks, with_sentences

NAME = "Cast as References"


class CastReferences(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessCastReferences",
            category=schema.IN_METHODS,
            inputs=[
                io.Clip.Input("clip"),
                io.Vae.Input("vae"),
                CastOrIdentitySocket.Input("cast"),
                io.String.Input("prompt", multiline=True, dynamic_prompts=True, default=""),
                io.String.Input("negative_prompt", multiline=True, dynamic_prompts=True, default=""),
                io.Image.Input("pictures", optional=True),
                io.Combo.Input("sentences", options=list(SENTENCES)),
                io.Int.Input("size", default=512, min=128, max=2048, step=16),
                schema.advanced(io.Int.Input("photos_per_person", default=1, min=1, max=10)),
                schema.advanced(io.Boolean.Input("pose_picture", default=False)),
            ],
            outputs=[io.Conditioning.Output("positive"), io.Conditioning.Output("negative"), io.String.Output("text")],
            is_experimental=True,
        )

    @classmethod
    def execute(
        cls,
        clip: CLIP,
        vae: VAE,
        cast: Any,  # a Cast or an Identity
        prompt: str,
        negative_prompt: str,
        pictures: Tensor | None = None,
        *,
        sentences: str,
        size: int,
        photos_per_person: int,
        pose_picture: bool,
    ) -> io.NodeOutput:
        require_dits(NAME)
        family, everybody = family_of(clip), regions.as_cast(cast)
        found = references(regions.present(everybody), photos_per_person, size, pictures, pose_picture, NAME)
        whose = tuple(one.person for one in found for _ in one.pictures)
        notes.tell(notes.node_of(cls), "\n".join(remarks(everybody)))
        record = PeopleReferences(everybody, tuple(latents_of(vae, family, found)), whose)
        text, seen = with_sentences(prompt, found, family.word, sentences), seen_of(family, found)
        positive, negative = (
            referring(encoded(clip, family, words, seen), record, NAME) for words in (text, negative_prompt)
        )
        shown = None
        if found:
            portraits, captions = zip(*captioned(found, family.word), strict=True)
            shown = ui.PreviewImage(previews.contact_sheet(portraits, captions, lines=2), cls=cls)
        return io.NodeOutput(positive, negative, text, ui=shown)


BIND = "References by Region"
NOBODY, EVERYBODY = "nobody", "everybody"


class BindReferences(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        extent, margin, _feather = schema.region_inputs()
        return io.Schema(
            node_id="LikenessBindReferences",
            category=schema.IN_METHODS,
            inputs=[
                *schema.applied_inputs(),
                io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.05),
                *schema.range_inputs(),
                io.Combo.Input("outside", options=[NOBODY, EVERYBODY]),
                schema.advanced(extent),
                schema.advanced(margin),
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
        strength: float,
        start_percent: float,
        end_percent: float,
        outside: str,
        extent: regions.Extent,
        margin: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        dit.require_dits(BIND)
        if strength == 0:
            return io.NodeOutput(model, positive, negative)
        dit.family(model)
        records: list[PeopleReferences] = [o[REFERENCES] for _, o in (*positive, *negative) if REFERENCES in o]
        by_row = next((one.cast for one in records if one.cast.by_row), None)
        if mask is not None:
            regions.check_one_picture(by_row)
        notes.tell(notes.node_of(cls), ROWS if by_row else "")
        if by_row:
            return io.NodeOutput(model, positive, negative)
        window = sigmas_of(model, BIND, start_percent, end_percent)
        canvas = Canvas(BIND)
        shown = list[Tensor]()

        def said(record: PeopleReferences) -> BoundReferences:
            dit.check_latents(record.latents, model, BIND)
            people = regions.present(record.cast).people
            if mask is None:
                placed = require_places(record.cast, BIND)
                areas = regions.of_present(placed, people, None, extent, margin, 0)
            else:
                areas = regions.of_masks(mask, record.cast)
            names = tuple(regions.names(people))
            made = BoundReferences(object(), window, record, areas, names, strength, outside == EVERYBODY, canvas)
            height, width = areas.shape[1:]
            tokens = made.on_tokens(height, width)
            check_tokens(tokens, names, height, width)
            whole = tokens.float().repeat_interleave(dit.TOKEN, 1).repeat_interleave(dit.TOKEN, 2)[:, :height, :width]
            shown.append(drawing.read_regions(whole, people))
            return made

        sides = bound.bound((positive, negative), said, BIND)
        if not shown:
            return io.NodeOutput(model, positive, negative)
        return io.NodeOutput(patched(model, BoundReferencesRun), *sides, ui=ui.PreviewImage(shown[0][None], cls=cls))


ROWS = "Nothing to bind: with the cast of Crop Faces each person has a row of the batch, with their reference alone."

NODES = [CastReferences, BindReferences]
