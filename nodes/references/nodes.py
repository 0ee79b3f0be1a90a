"""A cast as reference pictures: for models that take several and are told in words who is who."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy.sd import CLIP, VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import notes
from ...bridge.dit import require_dits
from ...bridge.schema import IN_METHODS, advanced, described
from ...core import previews
from ...core.places.heard import as_cast, heard
from ..sockets import CastOrIdentitySocket
from . import bind
from .encoding import PeopleReferences, encoded, family_of, latents_of, referring, seen_of, too_many
from .pictures import SENTENCES, captioned, references, remarks, with_sentences

NAME = "Cast as References"


class CastReferences(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessCastReferences",
            display_name=NAME,
            category=IN_METHODS,
            inputs=[
                io.Clip.Input("clip"),
                io.Vae.Input("vae"),
                CastOrIdentitySocket.Input("cast"),
                io.String.Input("prompt", multiline=True, dynamic_prompts=True, default=""),
                io.String.Input("negative_prompt", multiline=True, dynamic_prompts=True, default=""),
                io.Image.Input("pictures", optional=True),
                io.Combo.Input("sentences", options=list(SENTENCES)),
                io.Int.Input("size", default=512, min=128, max=2048, step=16),
                advanced(io.Int.Input("photos_per_person", default=1, min=1, max=10)),
                advanced(io.Boolean.Input("pose_picture", default=False)),
            ],
            outputs=[
                io.Conditioning.Output("positive", display_name="positive"),
                io.Conditioning.Output("negative", display_name="negative"),
                io.String.Output("text", display_name="text"),
            ],
            hidden=[io.Hidden.unique_id],
            is_experimental=True,
        )
        return described(
            schema, "reference latent", "qwen image edit", "flux 2", "klein", "kontext", "multi reference",
            "reference image", "text encode qwen", "edit model", "consistent character",
        )  # fmt: skip

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
        family, everybody = family_of(clip), as_cast(cast)
        found = references(heard(everybody), photos_per_person, size, pictures, pose_picture, NAME)
        whose = tuple(one.person for one in found for _ in one.pictures)
        notes.tell(notes.node_of(cls), "\n".join([*remarks(everybody), *too_many(family, len(whose))]))
        record = PeopleReferences(everybody, tuple(latents_of(vae, family, found)), whose)
        text, seen = with_sentences(prompt, found, family.word, sentences), seen_of(family, found)
        positive, negative = (
            referring(encoded(clip, family, words, seen), record, NAME) for words in (text, negative_prompt)
        )
        return io.NodeOutput(positive, negative, text, ui=_shown(cls, captioned(found, family.word)))


def _shown(cls: type[io.ComfyNode], captioned: Sequence[tuple[Tensor, str]]) -> ui.PreviewImage | None:
    pictures, captions = [picture for picture, _ in captioned], [caption for _, caption in captioned]
    return ui.PreviewImage(previews.contact_sheet(pictures, captions, lines=2), cls=cls) if pictures else None


NODES = [CastReferences, *bind.NODES]
