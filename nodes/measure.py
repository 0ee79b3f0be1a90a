"""Measure Likeness: who is in a picture, how alike and in whose place. Pick Best Likeness: the best of a batch.

Sheet of Scenes: the pictures of a story with what was measured of each.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from comfy.clip_vision import ClipVisionModel
from comfy.sd import CLIP
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..bridge.host import notes
from ..bridge.host.encode import similarities, text_alignment
from ..bridge.host.inputs import reads_of
from ..bridge.host.notes import stepwise
from ..bridge.host.schema import advanced, pixels_input, similarity_input
from ..bridge.people.face_model import FindsFaces, HostedFaceModel, default_face_model, installed_recognisers
from ..core.cast import Cast, Person
from ..core.checks.errors import BadParts, BadPhoto, BadSetup, counted, listed
from ..core.checks.prompts import check_text
from ..core.faces.model import faces_in, unsure_in
from ..core.measure import annotated_picture, comparison, figures, measuring, report_text, scene_sheet, unchanged
from ..core.measure.garments import LOOKS_NOT_COMPARED, NO_GARMENTS, NOTHING_TO_COMPARE, garments_of
from ..core.measure.report import Report
from ..core.parts.parts import Parts
from ..core.persons.looks import LOOKS_INPUT
from ..core.pictures.tensors import as_rgb, rows
from ..core.taking_part import by_lora
from .categories import IN_MEASURE
from .sockets import CastSocket, FaceModelSocket, PartsSocket, PersonSocket, socket

ReportSocket = socket("LIKENESS_REPORT", Report)


@dataclass(frozen=True)
class Settings:
    """What is set on Measure Likeness.

    made_with: one of comparison.TRAINED_WITH. looks: as in core.persons.looks.worn.
    """

    made_with: str
    stranger_below: float
    min_size: int
    prompt: str = ""
    looks: str = ""


class MeasureLikeness(FindsFaces, io.ComfyNode):
    """Measures who is who in pictures and how alike they are; also garments and the prompt, where they are linked."""

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
                io.Combo.Input("made_with", options=list(comparison.TRAINED_WITH)),
                advanced(similarity_input("stranger_below", measuring.STRANGER_BELOW)),
                advanced(pixels_input("min_size")),
                PartsSocket.Input("parts", optional=True),
                io.ClipVision.Input("clip_vision", optional=True),
                io.Clip.Input("clip", optional=True),
                io.String.Input("prompt", default="", multiline=True, optional=True),
                io.String.Input(LOOKS_INPUT, default="", optional=True),
                io.Image.Input("before", optional=True),
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
        face_model: HostedFaceModel | None,
        images: Tensor,
        cast: Cast | None = None,
        person: Person | None = None,
        parts: Parts | None = None,
        clip_vision: ClipVisionModel | None = None,
        clip: CLIP | None = None,
        before: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        settings = Settings(**values)
        check_text("The prompt of Measure Likeness", settings.prompt)
        compares_prompt = clip is not None or bool(settings.prompt.strip())
        has_nobody = cast is None and person is None
        if compares_prompt:
            # This also asks for the clip_vision that parts need.
            _check_prompt_inputs(clip_vision, clip, settings.prompt)
        else:
            _check_parts_inputs(parts, clip_vision, has_nobody)
        garments = NO_GARMENTS
        if clip_vision is not None:
            garments = garments_of(parts, comparison.everybody(cast, person), settings.looks)
        # With nothing at all to compare, people_to_find raises below.
        if has_nobody and (parts is not None or compares_prompt):
            report = _report_without_people(images, parts, compares_prompt, settings)
        else:
            report = _report_on_people(
                face_model, images, before, comparison.people_to_find(cast, person, measuring.NODE), settings
            )
        if clip_vision is not None and garments.labels:
            part_similarities = similarities(clip_vision, garments.pictures, as_rgb(images))
            report = measuring.with_parts(report, part_similarities, garments.labels, garments.of_looks)
        alignments: list[float] = []
        if compares_prompt:
            alignments = text_alignment(clip, clip_vision, settings.prompt, as_rgb(images))
            report = measuring.with_text_alignment(report, alignments)
        lines = [*(by_lora(cast) if cast else []), *garments.notes]
        if has_nobody and before is not None:
            lines.append(NOBODY_BEFORE)
        if clip_vision is None and settings.looks.strip():
            lines.append(LOOKS_NOT_COMPARED)
        if clip_vision is not None and not garments.labels and not compares_prompt:
            lines.append(NOTHING_TO_COMPARE)
        notes.tell("\n".join([*report_text.notes(report, installed_recognisers()), *lines]))
        return _outputs(cls, report, images, alignments)


def _outputs(cls: type[io.ComfyNode], report: Report, images: Tensor, alignments: Sequence[float]) -> io.NodeOutput:
    """The outputs of the node. One without a value stops the nodes that are linked to it, and the editor shows why.

    alignments: of each picture with the prompt, a cosine; none where they are not compared.
    """
    # The seven outputs from resemblance to swapped, which are the fields of Totals in their order.
    totals: Iterable[Any] = [ExecutionBlocker(NO_PEOPLE)] * 7
    if report.people:
        totals = figures.totals(report.judged_pictures)
    mean_alignment: Any = sum(alignments) / len(alignments) if alignments else ExecutionBlocker(NO_PROMPT)
    annotated = torch.stack([annotated_picture.annotate(image, report, number) for number, image in enumerate(images)])
    shown = ui.PreviewImage(annotated, cls=cls).as_dict()
    shown["likeness_report"] = [json.dumps(report.as_json())]  # for who runs the graph over HTTP
    return io.NodeOutput(report, annotated, report_text.describe(report), *totals, mean_alignment, ui=shown)


def _report_without_people(images: Tensor, parts: Parts | None, compares_prompt: bool, settings: Settings) -> Report:
    """A report on pictures that are compared with parts or the prompt alone. It needs no face model.

    Raises BadParts where only parts are connected, and all of them have weight 0.
    """
    if not compares_prompt and parts is not None and not parts.present:
        raise BadParts("There is nothing to compare: all parts have weight 0.", "Raise a weight in Part.")
    return measuring.report_without_people(len(images), settings.made_with)


def _report_on_people(
    face_model: HostedFaceModel | None,
    images: Tensor,
    before: Tensor | None,
    searched_cast: Cast,
    settings: Settings,
) -> Report:
    """Find the faces in the pictures, and report which face is whose of a cast.

    A note under the node names faces of which it is unsure which way is up, and faces that are still those of the
    pictures before. face_model: None for the default one, which is loaded then. images: (B, H, W, C). before: the same,
    or one for all; None where they are not compared. searched_cast: the people who are looked for. Raises BadPhoto for
    another number of pictures before.
    """
    if before is not None and len(before) not in (1, len(images)):
        why = f"Before (before) has {counted(len(before), 'picture')}, and Images (images) {len(images)}."
        raise BadPhoto(why, "Connect one picture, or one for each of Images, in their order.")
    face_model = face_model or default_face_model()
    judges = comparison.judges(face_model.ids, searched_cast.people, settings.made_with)
    judging_model = face_model.only(judges)  # recognisers that cannot judge are not run
    faces_of_pictures = [faces_in(judging_model, image, settings.min_size) for image in stepwise(images.unbind())]
    report = measuring.measure(faces_of_pictures, searched_cast, judges, settings.made_with, settings.stranger_below)
    if before is not None:
        faces_before = [faces_in(judging_model, image, settings.min_size) for image in before]
        notes.tell(unchanged.note(faces_of_pictures, faces_before, searched_cast, report.judge))
    notes.tell(unsure_in(faces_of_pictures))
    return report


NOBODY_BEFORE = "Before (before) is not looked at: no cast and no person is connected."
NO_PEOPLE = "Measure Likeness has compared no faces. Connect a cast or a person."
NO_PROMPT = "Measure Likeness has compared no prompt with the pictures. Connect clip and clip_vision, and write prompt."


def _check_prompt_inputs(vision: ClipVisionModel | None, clip: CLIP | None, prompt: str) -> None:
    """Raise BadSetup where something is missing to compare pictures with a prompt."""
    missing: list[str] = []
    if clip is None:
        missing.append("clip")
    if vision is None:
        missing.append("clip_vision")
    if not prompt.strip():
        missing.append("a text in Prompt (prompt)")
    if missing:
        are = "is" if len(missing) == 1 else "are"
        why = f"{listed(missing)} {are} missing"
        advice = "Give all of clip, clip_vision and prompt, or neither clip nor prompt."
        raise BadSetup(f"Measure Likeness cannot compare pictures with the prompt: {why}.", advice)


def _check_parts_inputs(parts: Parts | None, vision: ClipVisionModel | None, has_nobody: bool) -> None:
    """Raise BadParts where parts are connected without clip_vision, or that without parts and people, who may have
    looks."""
    lacks_vision = parts is not None and vision is None
    lacks_parts = vision is not None and parts is None and has_nobody
    if lacks_vision or lacks_parts:
        unconnected = "clip_vision" if lacks_vision else "parts"
        advice = "Connect parts and clip_vision (a CLIP or DINOv2 vision model, from Load CLIP Vision), or neither."
        raise BadParts(f"Measure Likeness cannot compare parts: {unconnected} is not connected.", advice)


class PickBestLikeness(io.ComfyNode):
    """Keeps the best pictures of a batch, and their latents, by a score of Measure Likeness."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPickBestLikeness",
            category=IN_MEASURE,
            inputs=[
                ReportSocket.Input("report", lazy=True),
                io.Image.Input("images"),
                io.Combo.Input("score", options=[*figures.SCORES]),
                io.Int.Input("keep", default=1, min=1, max=4096),
                io.Latent.Input("latents", optional=True),
            ],
            outputs=[
                io.Image.Output("best_images"),
                io.Latent.Output("best_latents"),
                io.Int.Output("best_index"),
                io.Float.Output("best_score"),
                io.String.Output("ranking"),
                ReportSocket.Output("best_report"),
            ],
        )

    @classmethod
    def check_lazy_status(cls, images: Tensor, report: Report | None = None, **_: object) -> list[str]:
        # The host asks which lazy inputs it has to compute. Of one picture nothing is chosen: it is shown at once, and
        # measured only where another node reads what was measured.
        needs_report = len(images) > 1 or reads_of(cls, ["best_score", "ranking", "best_report"])
        return ["report"] if report is None and needs_report else []

    @classmethod
    def execute(
        cls,
        report: Report | None,
        images: Tensor,
        score: str,
        keep: int,
        latents: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        if report is None:
            preview = ui.PreviewImage(as_rgb(images), cls=cls)
            unmeasured = [ExecutionBlocker(NOT_MEASURED)] * 3
            return io.NodeOutput(images, latents or ExecutionBlocker(NO_LATENTS), 0, *unmeasured, ui=preview)
        _check_counts(report, images, latents)
        values = report_text.scores(report, score)  # of each picture, None where it has no such score
        order = report_text.ranking(report, score)  # indices of the pictures, the best first
        best_index = order[0]
        best_value = values[best_index]
        if best_value is None:  # pictures without the score come last, so no picture has it
            no_value = figures.figure_named(score).why_no_value(bool(report.people))
            raise BadPhoto(
                f"No picture has the score {score}: {no_value.reason}.", f"{no_value.advice}, or choose another score."
            )
        missing = report_text.people_not_found(report, score)
        notes.tell(missing)
        if not missing:
            notes.tell(report_text.choice(report, score, keep))
        best = order[:keep]
        best_images = images[best]  # (keep or all, H, W, C), the best first
        best_latents = rows(latents, best) if latents else ExecutionBlocker(NO_LATENTS)
        ranking = "\n".join(report_text.ranking_lines(report, score))
        preview = ui.PreviewImage(as_rgb(best_images), cls=cls)
        best_report = report.of_pictures(best)
        return io.NodeOutput(best_images, best_latents, best_index, best_value, ranking, best_report, ui=preview)


def _check_counts(report: Report, images: Tensor, latents: dict[str, Any] | None, name: str = "images") -> None:
    """Raise BadPhoto where the number of pictures, or that of connected latents, is not that of the pictures measured.

    latents: None where none are connected; a LATENT of the host, whose "samples" are (B, C, h, w). name: of the input
    of the pictures.
    """
    expected = len(report.judged_pictures)
    counts = {name: len(images)}
    if latents:
        counts["latents"] = len(latents["samples"])
    for input_name, count in counts.items():
        if count != expected:
            why = f"The report is about {counted(expected, 'picture')}, and {input_name} has {count}."
            raise BadPhoto(why, "Connect the pictures that were measured, and the latents they were decoded from.")


class SheetOfScenes(io.ComfyNode):
    """One sheet of the pictures of a story: a row for each, beside it how like each face and each garment is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessSheetOfScenes",
            category=IN_MEASURE,
            inputs=[
                io.Image.Input("images"),
                ReportSocket.Input("report"),
                io.Image.Input("first_images", optional=True),
                ReportSocket.Input("first_report", optional=True),
            ],
            outputs=[io.Image.Output("sheet")],
            is_input_list=True,
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        images: Sequence[Tensor],
        report: Sequence[Report],
        first_images: Sequence[Tensor] = (),
        first_report: Sequence[Report] = (),
    ) -> io.NodeOutput:
        scenes = [*_scenes(first_images, first_report, "first_"), *_scenes(images, report, "")]
        sheet = scene_sheet.draw(scenes)
        return io.NodeOutput(sheet, ui=ui.PreviewImage(sheet, cls=cls))


def _scenes(images: Sequence[Tensor], reports: Sequence[Report], prefix: str) -> list[scene_sheet.Scene]:
    """The pictures of batches with what was measured of each.

    reports: one for each batch. prefix: of both inputs' ids. Raises BadPhoto where they are not of the same pictures.
    """
    if len(images) != len(reports):
        why = f"{prefix}images is a list of {len(images)}, and {prefix}report of {len(reports)}."
        raise BadPhoto(why, "Have both connected to one Pick Best Likeness: to best_images and best_report.")
    scenes: list[scene_sheet.Scene] = []
    for batch, report in zip(images, reports, strict=True):
        _check_counts(report, batch, None, f"{prefix}images")
        pairs = zip(batch, report.judged_pictures, strict=True)
        scenes += [scene_sheet.Scene(picture, report, measured) for picture, measured in pairs]
    return scenes


NOT_MEASURED = "Pick Best Likeness had one picture to choose from, so it was not measured."
NO_LATENTS = "Pick Best Likeness has no latents to choose from. Connect the sampler's LATENT to its latents input."

NODES = [MeasureLikeness, PickBestLikeness, SheetOfScenes]
