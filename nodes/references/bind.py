"""References that are each heard in one person's part of the picture only."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import dit, notes
from ...bridge.conditioning import Canvas, Conditioning, sigmas_of
from ...bridge.runs import patched
from ...bridge.schema import (
    IN_METHODS,
    advanced,
    applied_outputs,
    described,
    percent_input,
    region_inputs,
    region_masks_input,
)
from ...core.people import require_places
from ...core.places import drawing, heard, regions
from . import bound
from .bound import BoundReferences, BoundReferencesRun, check_tokens
from .encoding import REFERENCES, PeopleReferences

NAME = "References by Region"
NOBODY, EVERYBODY = "nobody", "everybody"


class BindReferences(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        extent, margin, _feather = region_inputs()
        schema = io.Schema(
            node_id="LikenessBindReferences",
            display_name=NAME,
            category=IN_METHODS,
            inputs=[
                io.Model.Input("model"),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.05),
                percent_input("start_percent", 0.0),
                percent_input("end_percent", 1.0),
                io.Combo.Input("outside", options=[NOBODY, EVERYBODY]),
                advanced(extent),
                advanced(margin),
                region_masks_input(),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=applied_outputs(),
            is_experimental=True,
        )
        return described(
            schema, "regional reference", "bind references", "reference latent region", "qwen image edit", "flux 2",
            "klein", "attention mask", "identity bleeding", "mixed faces",
        )  # fmt: skip

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
        dit.require_dits(NAME)
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
        window = sigmas_of(model, NAME, start_percent, end_percent)
        canvas = Canvas(notes.node_of(cls), NAME, lambda _: "with their regions")
        shown = list[Tensor]()

        def said(record: PeopleReferences) -> BoundReferences:
            dit.check_latents(record.latents, model, NAME)
            people = heard.heard(record.cast).people
            if mask is None:
                placed = require_places(record.cast, NAME)
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

        sides = bound.bound((positive, negative), said, NAME)
        if not shown:
            return io.NodeOutput(model, positive, negative)
        return io.NodeOutput(patched(model, BoundReferencesRun), *sides, ui=ui.PreviewImage(shown[0][None], cls=cls))


ROWS = "Nothing to bind: with the cast of Crop Faces each person has a row of the batch, with their reference alone."

NODES = [BindReferences]
