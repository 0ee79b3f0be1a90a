"""Measure: who is shown, how alike and in whose place; and the best pictures of a batch by that."""

from typing import Any

import torch
from comfy.clip_vision import ClipVisionModel
from comfy.sd import CLIP
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..bridge import notes
from ..bridge.encode import similarities, text_alignment
from ..bridge.face_model import FaceModel, FindsFaces, default_face_model
from ..bridge.notes import stepwise
from ..bridge.schema import advanced, pixels_input, similarity_input
from ..core import measure, people
from ..core.errors import BadParts, BadPhoto, BadSetup, counted, listed
from ..core.faces.model import faces_in, unsure_in
from ..core.parts.parts import Parts
from ..core.pictures import as_rgb, rows
from ..core.places.regions import by_lora
from ..core.prompts import check_text
from .categories import IN_MEASURE
from .sockets import CastSocket, FaceModelSocket, PartsSocket, PersonSocket, ReportSocket


class MeasureLikeness(FindsFaces, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessMeasureLikeness",
            category=IN_MEASURE,
            inputs=[
                FaceModelSocket.Input("face_model", optional=True),
                io.Image.Input("images"),
                CastSocket.Input("cast", optional=True),
                PersonSocket.Input("person", optional=True),
                io.Combo.Input("made_with", options=list(measure.TRAINED_WITH)),
                advanced(similarity_input("stranger_below", measure.STRANGER_BELOW)),
                advanced(pixels_input("min_size")),
                PartsSocket.Input("parts", optional=True),
                io.ClipVision.Input("clip_vision", optional=True),
                io.Clip.Input("clip", optional=True),
                io.String.Input("prompt", default="", multiline=True, optional=True),
            ],
            outputs=[
                ReportSocket.Output("report"),
                io.Image.Output("annotated"),
                io.String.Output("text"),
                io.Float.Output("resemblance"),
                io.Float.Output("association"),
                io.Float.Output("leakage"),
                io.Float.Output("margin"),
                io.Int.Output("missing"),
                io.Int.Output("extra"),
                io.Int.Output("swapped"),
                io.Float.Output("text_alignment"),
            ],
        )

    @classmethod
    def execute(
        cls,
        face_model: FaceModel | None,
        images: Tensor,
        made_with: str,
        stranger_below: float,
        min_size: int,
        cast: people.Cast | None = None,
        person: people.Identity | None = None,
        parts: Parts | None = None,
        clip_vision: ClipVisionModel | None = None,
        clip: CLIP | None = None,
        prompt: str = "",
    ) -> io.NodeOutput:
        reads_text = _check_compared(parts, clip_vision, clip, prompt)
        if cast is None and person is None and (parts is not None or reads_text):
            if not reads_text and parts and not parts.present:
                raise BadParts("There is nothing to compare: all parts have weight 0.", "Raise a weight in Part.")
            report = measure.report_without_people(len(images), made_with)
        else:
            searched_cast = measure.people_to_find(cast, person, measure.NODE)
            face_model = face_model or default_face_model(node=notes.node_of(cls))
            names = measure.judges(face_model.ids, searched_cast.people, made_with)
            judging = face_model.only(names)
            pictures = [faces_in(judging, image, min_size) for image in stepwise(images.unbind())]
            report = measure.measure(pictures, searched_cast, names, made_with, stranger_below)
            notes.tell(notes.node_of(cls), unsure_in(pictures))
        if parts and parts.present:
            alike = similarities(clip_vision, parts.present, as_rgb(images))
            report = measure.with_parts(report, alike, [part.label for part in parts.present])
        text_score: Any = ExecutionBlocker(NO_PROMPT)
        if reads_text:
            texts = text_alignment(clip, clip_vision, prompt, as_rgb(images))
            report = measure.with_text_alignment(report, texts)
            text_score = sum(texts) / len(texts)
        annotated = torch.stack([measure.annotate(image, report, number) for number, image in enumerate(images)])
        notes.tell(notes.node_of(cls), "\n".join([*(by_lora(cast) if cast else []), *measure.troubles(report)]))
        numbers = measure.totals(report.judged_pictures) if report.people else [ExecutionBlocker(NO_PEOPLE)] * 7
        text = measure.describe(report)
        return io.NodeOutput(report, annotated, text, *numbers, text_score, ui=ui.PreviewImage(annotated, cls=cls))


NO_PEOPLE = "Measure Likeness has compared no faces. Connect a cast or a person."
NO_PROMPT = "Measure Likeness has compared no prompt with the pictures. Connect clip and clip_vision, and write prompt."


def _check_compared(parts: Parts | None, vision: ClipVisionModel | None, clip: CLIP | None, prompt: str) -> bool:
    """Whether the prompt is compared. Raises BadSetup and BadParts where something is missing for it, or for parts, and
    BadText for a prompt that is too much for an encoder."""
    check_text("The prompt of Measure Likeness", prompt)
    compared = clip is not None or bool(prompt.strip())
    needed = {"clip": clip is not None, "clip_vision": vision is not None, "a text in prompt": bool(prompt.strip())}
    if compared and not all(needed.values()):
        lacking = [name for name, there in needed.items() if not there]
        missing = f"{listed(lacking)} {'is' if len(lacking) == 1 else 'are'} missing"
        advice = "Give all of clip, clip_vision and prompt, or neither clip nor prompt."
        raise BadSetup(f"Measure Likeness cannot compare pictures with the prompt: {missing}.", advice)
    if not compared and (parts is None) != (vision is None):
        missing = "parts" if parts is None else "clip_vision"
        advice = "Connect parts and clip_vision (a CLIP or DINOv2 vision model, from Load CLIP Vision), or neither."
        raise BadParts(f"Measure Likeness cannot compare parts: {missing} is not connected.", advice)
    return compared


class PickBestLikeness(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPickBestLikeness",
            category=IN_MEASURE,
            inputs=[
                ReportSocket.Input("report"),
                io.Image.Input("images"),
                io.Combo.Input("score", options=[*measure.SCORES]),
                io.Int.Input("keep", default=1, min=1, max=4096),
                io.Latent.Input("latents", optional=True),
            ],
            outputs=[
                io.Image.Output("best_images"),
                io.Latent.Output("best_latents"),
                io.Int.Output("best_index"),
                io.Float.Output("best_score"),
                io.String.Output("ranking"),
            ],
        )

    @classmethod
    def execute(
        cls, report: measure.Report, images: Tensor, score: str, keep: int, latents: dict[str, Any] | None = None
    ) -> io.NodeOutput:
        count = len(report.judged_pictures)
        for what, found in (("images", len(images)), ("latents", len(latents["samples"]) if latents else count)):
            if found != count:
                why = f"The report is about {counted(count, 'picture')}, and {what} has {found}."
                raise BadPhoto(why, "Connect the pictures that were measured, and the latents they were decoded from.")
        values, order = measure.scores(report, score), measure.ranking(report, score)
        best = values[order[0]]
        if best is None:
            why, how = (
                _NO_SCORE[score] if report.people or score in (measure.PARTS, measure.TEXT_ALIGNMENT) else _NO_FACES
            )
            raise BadPhoto(f"No picture has the score {score}: {why}.", f"{how}, or choose another score.")
        notes.tell(notes.node_of(cls), measure.no_person_found(report, score))
        kept = order[:keep]
        pictures = images[kept]
        chosen = rows(latents, kept) if latents else ExecutionBlocker(NO_LATENTS)
        ranking = "\n".join(measure.ranking_lines(report, score))
        return io.NodeOutput(pictures, chosen, order[0], best, ranking, ui=ui.PreviewImage(as_rgb(pictures), cls=cls))


_NO_SCORE = {
    "copy-paste": ("it compares a face with several photos", "Give Person two or more photos of a person"),
    measure.PARTS: ("no parts were compared", "Connect parts and clip_vision to Measure Likeness"),
    measure.TEXT_ALIGNMENT: (
        "no prompt was compared",
        "Connect clip and clip_vision to Measure Likeness, and write prompt",
    ),
}
_NO_FACES = "no faces were compared", "Connect a cast or a person to Measure Likeness"
NO_LATENTS = "Pick Best Likeness has no latents to choose from. Connect the sampler's LATENT to its latents input."

NODES = [MeasureLikeness, PickBestLikeness]
