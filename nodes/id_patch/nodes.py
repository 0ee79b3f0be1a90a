"""ID-Patch: load the projections, draw the condition image, apply both to the conditioning."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.patcher_extension
import torch
from comfy.controlnet import ControlBase
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import conditioning, notes, schema, scopes
from ...bridge.canvas import Canvas
from ...bridge.conditioning import ID_TOKENS, Conditioning, IDTokens
from ...bridge.control_nets.attachment import ControlAttachment
from ...bridge.cross_attention.layers import query_place
from ...bridge.cross_attention.other_attention import layers_ignoring_text
from ...bridge.cross_attention.regional_text import (
    RegionalText,
    id_tokens_by_region,
    id_tokens_read_everywhere,
    times_repeated,
)
from ...bridge.cross_attention.regional_text_run import RegionalTextBatch, RegionalTextRun
from ...bridge.cross_attention.row_tracking import SOURCE_ROWS
from ...bridge.load import FileLoader, Loaded, Published
from ...bridge.presence import NamedRange, NetReport, announced, of_people
from ...bridge.remarks import Pictures
from ...bridge.runs import Given, patched, read_by
from ...bridge.schedule import WHOLE_SCHEDULE, ScheduleRange
from ...bridge.unet import Options, Replacement, attend_with, layers_of, text_width
from ...core import geometry
from ...core.errors import BadCast, BadPatches, counted
from ...core.identities import embeddings
from ...core.methods import method
from ...core.people import Cast, Person, PlacedCast, places_of, require_places
from ...core.pictures import as_drawing, as_rgb
from ...core.places import control_images, regions
from ..categories import IN_ID_PATCH
from ..sockets import CastSocket, adapter_socket
from .net import IDPatchNet, Presence, check_patches, condition, presence

METHOD = method("id_patch")
IMAGE, APPLY = "ID-Patch Condition Image", "Apply ID-Patch"

NO_IDENTITIES = (
    "No people applied: all weights are 0 or off-canvas. The skeletons still guide; for the prompt alone bypass "
    "this node or set strength to 0."
)


class IDPatch(Loaded[IDPatchNet]):
    """A loaded id-patch file."""

    def tokens(self, people: tuple[Person, ...], photos: str) -> Tensor:
        """(1, people * tokens, width) float32 on the CPU, each person's tokens times the person's weight."""
        rows = [self._run(self.net.tokens, person, photos) * person.weight for person in people]
        return torch.cat(rows, dim=1)

    def unconditional_tokens(self, count: int) -> Tensor:
        """The tokens of an all-zero embedding, once per person: what the negative gets."""
        embedding = self.beside(torch.zeros(1, 1, self.net.prompt_proj.embedding))
        return self.net.tokens(embedding).cpu().repeat(1, count, 1)

    def patches(self, people: tuple[Person, ...], photos: str) -> list[Tensor]:
        """(3, PATCH, PATCH) float32 on the CPU per person, times the person's weight."""
        return [self._run(self.net.patch, person, photos) * person.weight for person in people]

    def _run(self, projection: Callable[[Tensor], Tensor], person: Person, photos: str) -> Tensor:
        rows = embeddings(person, METHOD, photos)
        if len(rows) > 1 and not self.net.takes_sequences:
            found = f"{person.identity.name} has {len(rows)} photos to be used as a sequence"
            advice = "Set photos to mean or normalised mean on both ID-Patch nodes."
            raise BadCast(f"{found}, but this file's projection reads one embedding.", advice)
        return projection(self.beside(rows[None])).cpu()


IDPatchSocket = adapter_socket(METHOD.title, IDPatch)
FILE = Published.of(METHOD, "ID-Patch file")


class IDPatchConditionImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessIDPatchConditionImage",
            category=IN_ID_PATCH,
            inputs=[
                IDPatchSocket.Input("id_patch"),
                CastSocket.Input("cast"),
                io.Image.Input("image", optional=True),
                schema.photos_input(),
            ],
            outputs=[io.Image.Output("condition"), io.Image.Output("preview"), io.String.Output("report")],
        )

    @classmethod
    def execute(cls, id_patch: IDPatch, cast: Cast, photos: str, image: Tensor | None = None) -> io.NodeOutput:
        cast = require_places(cast, IMAGE)
        present = presence(cast)
        if image is not None:
            advice = "Resize the image to the canvas, or give the layout node the size of the image."
            geometry.check_canvas("The image under the ID patches", image, cast, advice)
        control = torch.zeros(1, cast.height, cast.width, 3) if image is None else as_drawing(image)
        made = condition(control, id_patch.patches(present.people, photos), present, IMAGE)
        preview = made.clamp(0, 1)
        report = "\n".join(present.doubts())
        notes.tell(notes.node_of(cls), report)
        fine = f"{counted(len(present.people), 'person', 'people')}, every patch whole and on its own place."
        return io.NodeOutput(made, preview, report or fine, ui=ui.PreviewImage(preview, cls=cls))


class ApplyIDPatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyIDPatch",
            category=IN_ID_PATCH,
            inputs=[
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                io.ControlNet.Input("control_net"),
                IDPatchSocket.Input("id_patch"),
                CastSocket.Input("cast"),
                io.Image.Input("image", optional=True),
                io.Float.Input("strength", default=0.8, min=0.0, max=10.0, step=0.01),
                *schema.range_inputs(),
                schema.percent_input("id_start_percent", 0.2),
                schema.photos_input(),
                io.Vae.Input("vae", optional=True),
                io.Model.Input("model", optional=True),
                *_region_inputs(),
            ],
            outputs=[
                io.Conditioning.Output("positive_out"),
                io.Conditioning.Output("negative_out"),
                io.Model.Output("model_out"),
            ],
        )

    @classmethod
    def execute(
        cls,
        positive: Conditioning,
        negative: Conditioning,
        control_net: ControlBase,
        id_patch: IDPatch,
        cast: Cast,
        image: Tensor | None,
        strength: float,
        start_percent: float,
        end_percent: float,
        id_start_percent: float,
        photos: str,
        vae: VAE | None = None,
        model: ModelPatcher | None = None,
        **region: Any,
    ) -> io.NodeOutput:
        node_id = notes.node_of(cls)
        remarks = scopes.without_model(model, _region_inputs(), region, "ID tokens")
        if strength == 0:
            notes.tell(node_id, "\n".join(remarks))
            return io.NodeOutput(positive, negative, scopes.optional_model(model, APPLY))
        conditioning.check_control_net(control_net, id_patch.width, APPLY)
        cast = require_places(cast, APPLY)
        present = presence(cast)
        people = present.people
        previews: list[ui.PreviewImage] = []
        if image is None:
            drawn = control_images.skeletons(places_of(cast, None, APPLY), cast.by_row)
            hint = condition(drawn, id_patch.patches(people, photos), present, APPLY)
            remarks += present.doubts()
            previews.append(ui.PreviewImage(hint.clamp(0, 1), cls=cls))
        else:
            hint = _checked_hint(image, cast, present)
            remarks += present.left_out()
        sides = [positive, negative]
        if people:
            sides = _with_tokens(sides, id_patch, cast, people, photos, id_start_percent)
            if model is not None and cast.by_row:
                remarks.append(scopes.BY_ROW)
            elif model is not None:
                bound = _by_region(sides, model, cast, people, node_id, region)
                model, sides = bound.model, bound.sides
                preview = bound.scope.preview(cls)
                if preview is not None:
                    previews.append(preview)
        else:
            remarks.append(NO_IDENTITIES)
        canvas = Canvas(APPLY, len(people) if cast.by_row else 0, node_id)
        percents = (start_percent, end_percent)
        attachment = ControlAttachment(
            control_net,
            hint,
            strength,
            percents,
            vae,
            width=id_patch.width,
            canvas=canvas,
            reader=IDTokensReader,
            report=_report(people, node_id, percents, id_start_percent),
            pictures=Pictures("condition picture", canvas),
            trained=canvas,
        )
        notes.tell(node_id, "\n".join(remarks))
        return io.NodeOutput(
            *attachment.to_both(*sides), scopes.optional_model(model, APPLY), ui=scopes.joined_previews(previews)
        )


def _region_inputs() -> list[io.Input]:
    """The inputs that say which part of the picture reads a person's ID tokens. Without a MODEL they have no effect."""
    inputs: list[io.Input] = []
    for widget in schema.region_inputs():
        inputs.append(schema.advanced(schema.optional(widget)))
    inputs.append(io.Mask.Input("mask", optional=True))
    return inputs


def _checked_hint(image: Tensor, cast: PlacedCast, present: Presence) -> Tensor:
    """The ControlNet image that is connected, (B, H, W, 3). Raises BadSize, and BadPatches for another cast's."""
    advice = "Make the image with ID-Patch Condition Image from the same cast, or connect none."
    geometry.check_canvas(f"The image given to {APPLY}", image, cast, advice)
    # Our node draws numbers for the network, beyond 0..1 as well: no colours to be seen through.
    hint = as_rgb(image[..., :3])
    check_patches(hint, present, APPLY)
    return hint


def _with_tokens(
    sides: Sequence[Conditioning],
    id_patch: IDPatch,
    cast: Cast,
    people: tuple[Person, ...],
    photos: str,
    id_start_percent: float,
) -> list[Conditioning]:
    """Positive and negative with the ID tokens behind their texts, the negative with those of no face."""
    # (1, people * tokens, width)
    tokens = id_patch.tokens(people, photos)
    no_faces = id_patch.unconditional_tokens(len(people))
    in_row = len(people)
    if cast.by_row:
        # (1, people * tokens, width) -> (people, tokens, width): a row of the batch each
        tokens = tokens[0].unflatten(0, (len(people), -1))
        no_faces = no_faces[0].unflatten(0, (len(people), -1))
        in_row = 1
    positive, negative = sides
    return [
        conditioning.append_tokens(positive, tokens, in_row, id_start_percent, APPLY),
        conditioning.append_tokens(negative, no_faces, in_row, id_start_percent, APPLY),
    ]


@dataclass(frozen=True)
class ByRegion:
    """A MODEL that reads ID tokens by region, positive and negative for it, and where each person's region is."""

    model: ModelPatcher
    sides: list[Conditioning]
    scope: scopes.Scope


def _by_region(
    sides: Sequence[Conditioning],
    model: ModelPatcher,
    cast: Cast,
    people: tuple[Person, ...],
    node_id: str | None,
    region: Mapping[str, Any],
) -> ByRegion:
    """Each person's ID tokens read in that person's region alone.

    Raises BadPatches where texts hold the tokens of another Apply ID-Patch with another number of people,
    WrongBaseModel, and what scopes.of_bodies raises.
    """
    for _, options in (*sides[0], *sides[1]):
        tokens = options.get(ID_TOKENS)
        if tokens is not None and tokens.people != len(people):
            there = counted(tokens.people, "person", "people")
            seen = counted(len(people), "person", "people")
            why = f"The conditioning already holds the ID tokens of {there}, and this cast has {seen}."
            raise BadPatches(why, "Put all people into one Apply ID-Patch, or disconnect its model.")
    conditioning.check_conditioning([*sides[0], *sides[1]], text_width(model), APPLY)
    scope = scopes.of_bodies(cast, APPLY, WHOLE_SCHEDULE, people, alone=False, node_id=node_id, **region)
    assert scope.regions is not None
    both = id_tokens_by_region(sides, scope.regions, scope.canvas)
    announcement = of_people(regions.names(people), APPLY, node_id)
    patched_model, positive, negative = announced(announcement, patched(model, RegionalTextRun), *both)
    return ByRegion(patched_model, [positive, negative], scope)


def _report(
    people: Sequence[Person], node_id: str | None, percents: tuple[float, float], id_start_percent: float
) -> NetReport:
    """What the ControlNet says at the end of a run of these people."""
    names = regions.names(people)
    control = NamedRange("the ControlNet", ScheduleRange(*percents))
    tokens = None
    if people:
        tokens = NamedRange("the ID tokens", ScheduleRange(id_start_percent, 1.0), "id_start_percent")
    return NetReport(of_people(names or ["The places"], APPLY, node_id), control, tokens)


_KEY = "likeness_id_tokens_read"


class _EverywhereBatch(RegionalTextBatch):
    """ID tokens that everybody reads. Where a layer reads them in the text, it is left as it is."""

    def needed(self, options: Options) -> bool:
        return bool(self._ignoring or options.get("patches", {}).get("attn2_patch"))

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        if SOURCE_ROWS in extra_options or self.layers[layer] in self._ignoring:
            return super().attended(layer, before, q, k, v, extra_options)
        return before(q, k, v, extra_options) if before else attend_with(extra_options)(q, k, v)


class IDTokensReader:
    """What the ControlNet of Apply ID-Patch does in one sampling run, beside packs whose attention reads texts of its
    own, or makes rows with such texts.

    Apply ID-Patch leaves the MODEL alone: its tokens stand in the text, and where another pack reads another text in
    their place, nobody would read them. Its ControlNet sees what stands on the MODEL before each forward, and joins in.
    """

    def __init__(self, model: BaseModel) -> None:
        self._model = model
        self._ready: dict[Hashable, _EverywhereBatch] = {}

    def join(self, inside: Sequence[IDTokens | None], x: Tensor, cond: dict[str, Any], options: Options) -> None:
        """Where rows or texts of others are in the way, the UNet is run with the tokens behind these."""
        others = options.get("patches", {}).get("attn2_patch") or options.get("patches_replace", {}).get("attn2")
        if not others or not any(inside) or RegionalText.key in cond:  # else its own run reads them
            return
        context: Tensor = cond["c_crossattn"]
        key = tuple(options["uuids"]), x.shape, context.shape
        if key not in self._ready:
            self._ready[key] = self._batch(inside, Given(self._model, x, options["sigmas"], context, options))
        batch = self._ready[key]
        if batch.needed(options):
            kinds = comfy.patcher_extension.WrappersMP
            comfy.patcher_extension.add_wrapper_with_key(kinds.DIFFUSION_MODEL, _KEY, partial(read_by, batch), options)

    def _batch(self, inside: Sequence[IDTokens | None], given: Given) -> _EverywhereBatch:
        texts = [self._text(one, rows) for one, rows in zip(inside, given.context.chunk(len(inside)), strict=True)]
        chunks = tuple((text,) for text in texts)
        layers = layers_of(self._model.diffusion_model)
        place = query_place(layers, given)
        return _EverywhereBatch(layers, chunks, given.context.shape[1], place, layers_ignoring_text(given))

    def _text(self, inside: IDTokens | None, context: Tensor) -> RegionalText:
        once = context.shape[1] // int(times_repeated(context[:1]))
        return id_tokens_read_everywhere(inside, context[:, :once])


LOADER = FileLoader(FILE, lambda path: IDPatch(FILE.build(path, IDPatchNet, FILE.read(path))))
NODES = [IDPatchConditionImage, ApplyIDPatch]
