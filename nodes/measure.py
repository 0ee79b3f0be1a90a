"""Measure: who is shown, how alike and in whose place; and the best pictures of a batch by that."""

from __future__ import annotations

from typing import Any

import torch
from comfy.clip_vision import ClipVisionModel
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..bridge import notes
from ..bridge.encode import similarities
from ..bridge.face_model import FaceModel, default_face_model, default_stamp
from ..bridge.progress import stepwise
from ..bridge.schema import advanced, output, pixels_input, searchable, similarity_input
from ..core import measure, people
from ..core.errors import BadParts, BadPhoto, counted
from ..core.faces.model import faces_in
from ..core.latents import rows
from ..core.measure.drawing import who_is_who
from ..core.parts.parts import Parts
from ..core.pictures import as_rgb
from .sockets import CastSocket, FaceModelSocket, IdentitySocket, PartsSocket, ReportSocket

CATEGORY = "likeness/measure"


class Measure(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessMeasure",
            display_name="Measure Likeness",
            category=CATEGORY,
            description="Finds the faces of every picture, tells who is who, and measures how alike people are, "
            "whether they stand where they were put, and how much they look like each other.",
            inputs=[
                FaceModelSocket.Input(
                    "face_model",
                    optional=True,
                    tooltip="The one the identities were made with. A recogniser that the method was not trained with "
                    "judges better: load all found, as is done with nothing connected.",
                ),
                io.Image.Input("images", tooltip="One picture or a batch that should show the same people."),
                CastSocket.Input(
                    "cast",
                    optional=True,
                    tooltip="Who should be there. From Place Cast: everybody is looked for in their place. From Cast: "
                    "anywhere.",
                ),
                IdentitySocket.Input("identity", optional=True, tooltip="One person, instead of a cast."),
                io.Combo.Input(
                    "made_with",
                    options=list(measure.METHODS),
                    tooltip="The method that made the pictures. The recogniser it was trained with flatters it, so "
                    "another one judges where there is one.",
                ),
                advanced(
                    similarity_input(
                        "stranger_below",
                        measure.STRANGER,
                        "A face whose similarity to everybody is below this is a stranger's.",
                    )
                ),
                advanced(
                    pixels_input(
                        "min_size",
                        "Faces whose box is smaller than this (shorter side, in pixels) are not counted: "
                        "passers-by in the background.",
                    )
                ),
                PartsSocket.Input(
                    "parts", optional=True, tooltip="Garments to look for, each in the region of its target_mask."
                ),
                io.ClipVision.Input(
                    "clip_vision", optional=True, tooltip="CLIP or DINOv2, which says how alike parts and regions are."
                ),
            ],
            outputs=[
                output(ReportSocket, "report", "For Pick Best Likeness."),
                output(io.Image, "annotated", "The pictures with everybody's number and similarity."),
                output(io.String, "text", "Every picture and everybody in it, a line each."),
                output(io.Float, "resemblance", "Mean similarity of everybody to their own photos."),
                output(io.Float, "association", "Share of people standing where they were put."),
                output(
                    io.Float, "leakage", "Mean similarity of faces to the other person of the cast they are most like."
                ),
                output(io.Float, "margin", "By how much people are more like themselves than others."),
                output(io.Int, "missing", "People without a face, in all pictures."),
                output(io.Int, "extra", "Faces of nobody of the cast, in all pictures."),
                output(io.Int, "swapped", "Faces more like somebody else of the cast."),
            ],
            hidden=[io.Hidden.unique_id],
        )
        return searchable(
            schema,
            "similarity",
            "face compare",
            "resemblance",
            "evaluate",
            "score",
            "face distance",
            "leakage",
            "swapped",
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: object) -> str:
        return str(default_stamp(inputs))

    @classmethod
    def execute(
        cls,
        face_model: FaceModel | None,
        images: Tensor,
        made_with: str,
        stranger_below: float,
        min_size: int,
        cast: people.Cast | None = None,
        identity: people.Identity | None = None,
        parts: Parts | None = None,
        clip_vision: ClipVisionModel | None = None,
    ) -> io.NodeOutput:
        if (parts is None) != (clip_vision is None):
            missing = "parts" if parts is None else "clip_vision"
            raise BadParts(
                f"Measure Likeness cannot compare parts: {missing} is not connected.",
                "Connect parts and clip_vision (a CLIP or DINOv2 vision model, from Load CLIP Vision), or neither.",
            )
        wanted = measure.people_of(cast, identity)
        face_model = face_model or default_face_model()
        names = measure.judges(face_model.ids, wanted.people, made_with)
        judging = face_model.only(names)
        pictures = [faces_in(judging, image, min_size) for image in stepwise(images.unbind())]
        report = measure.measure(pictures, wanted, names, made_with, stranger_below)
        if parts and parts.present:
            alike = similarities(clip_vision, parts.present, as_rgb(images))
            report = measure.with_parts(report, [part.label for part in parts.present], alike)
        annotated = torch.stack([who_is_who(image, report, n) for n, image in enumerate(images)])
        notes.tell(notes.node_of(cls), "\n".join(measure.troubles(report)))
        numbers = measure.totals(report.judged)
        text = measure.describe(report)
        return io.NodeOutput(report, annotated, text, *numbers, ui=ui.PreviewImage(annotated, cls=cls))


class PickBest(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LikenessPickBest",
            display_name="Pick Best Likeness",
            category=CATEGORY,
            description="Keeps the best pictures of a batch by one of the scores of Measure Likeness, and their "
            "latents, so that only these are upscaled or saved.",
            inputs=[
                ReportSocket.Input("report", tooltip="From Measure Likeness, of the same pictures."),
                io.Image.Input("images", tooltip="The pictures that were measured."),
                io.Combo.Input(
                    "score",
                    options=list(measure.SCORES),
                    tooltip="weakest person = the similarity of whoever is least alike, so everybody must be right; "
                    "resemblance = of all on average; association = people in their places; margin = more like "
                    "themselves than like others; leakage and copy-paste: the least first; parts = garments that are "
                    "most alike.",
                ),
                io.Int.Input(
                    "keep", default=1, min=1, max=4096, tooltip="How many of the best to keep, the best first."
                ),
                io.Latent.Input(
                    "latents", optional=True, tooltip="The latents of the same pictures, in the same order."
                ),
            ],
            outputs=[
                output(io.Image, "best_images"),
                output(io.Latent, "best_latents", "Of the same pictures; needs latents."),
                output(
                    io.Int, "best_index", "Of the best picture in the batch, from 0, as Get Image from Batch counts."
                ),
                output(io.Float, "best_score"),
                output(io.String, "ranking", "All pictures from best to worst, a line each."),
            ],
            hidden=[io.Hidden.unique_id],
        )
        return searchable(schema, "best of batch", "select", "filter", "choose", "sort", "rank", "cherry pick")

    @classmethod
    def execute(
        cls,
        report: measure.Report,
        images: Tensor,
        score: str,
        keep: int,
        latents: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        count = len(report.judged)
        for what, found in (("images", len(images)), ("latents", len(latents["samples"]) if latents else count)):
            if found != count:
                raise BadPhoto(
                    f"The report is about {counted(count, 'picture')}, and {what} has {found}.",
                    "Connect the pictures that were measured, and the latents they were decoded from.",
                )
        values, order = measure.scores(report, score), measure.ranking(report, score)
        best = values[order[0]]
        if best is None:
            raise _no_such_score(score)
        notes.tell(notes.node_of(cls), measure.nobody_seen(report, score))
        kept = order[:keep]
        pictures = images[kept]
        chosen = rows(latents, kept) if latents else ExecutionBlocker(NO_LATENTS)
        ranking = "\n".join(measure.ranked(report, score))
        return io.NodeOutput(pictures, chosen, order[0], best, ranking, ui=ui.PreviewImage(as_rgb(pictures), cls=cls))


def _no_such_score(score: str) -> BadPhoto:
    """A score that no picture of the batch has."""
    why = "it compares a face with several photos of the person"
    how = "Give Identity two or more photos of somebody"
    if score == "parts":
        why, how = "no parts were compared", "Connect parts and clip_vision to Measure Likeness"
    return BadPhoto(f"No picture has the score {score}: {why}.", f"{how}, or choose another score.")


NO_LATENTS = "Pick Best Likeness has no latents to choose from. Connect the sampler's LATENT to its latents input."

NODES = [Measure, PickBest]
