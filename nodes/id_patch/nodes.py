"""ID-Patch: load the projections, draw the condition image, apply both to the conditioning."""

from collections.abc import Callable, Hashable, Sequence
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
from ...bridge.conditioning import ID_TOKENS, Canvas, Conditioning, ControlAttachment, IDTokens
from ...bridge.cross_attention import WHOSE, deaf_layers, place_of
from ...bridge.load import FileLoader, Loaded, Published
from ...bridge.presence import NamedRange, NetReport, announced, of_people
from ...bridge.regional_text import RegionalText, RegionalTextBatch, RegionalTextRun, everywhere, repeats, standing_in
from ...bridge.remarks import Pictures
from ...bridge.runs import Given, patched, read_by
from ...bridge.schedule import WHOLE_SCHEDULE, ScheduleRange
from ...bridge.unet import Options, Replacement, attend_with, layers_of, text_width
from ...core import geometry
from ...core.errors import BadCast, BadPatches, counted
from ...core.identities import embeddings
from ...core.methods import method
from ...core.people import Cast, Person, places_of, require_places
from ...core.pictures import as_drawing, as_rgb
from ...core.places import control_images, regions
from ..categories import IN_ID_PATCH
from ..sockets import CastSocket, adapter_socket
from .net import IDPatchNet, check_patches, condition, presence

METHOD = method("id_patch")
IMAGE, APPLY, BIND = "ID-Patch Condition Image", "Apply ID-Patch", "ID Tokens by Region"

NO_TOKENS = (
    "Nothing is bound, as there are no ID tokens in the conditioning: connect positive and negative of Apply ID-Patch. "
    "At strength 0 it adds none."
)
NO_IDENTITIES = (
    "No identities applied: all weights are 0 or off-canvas. The skeletons still guide; for the prompt alone bypass "
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
            ],
            outputs=[io.Conditioning.Output("positive_out"), io.Conditioning.Output("negative_out")],
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
    ) -> io.NodeOutput:
        if strength == 0:
            return io.NodeOutput(positive, negative)
        conditioning.check_control_net(control_net, id_patch.width, APPLY)
        cast = require_places(cast, APPLY)
        present = presence(cast)
        people, by_row, said, shown = present.people, cast.by_row, present.left_out(), None
        if image is None:
            drawn = control_images.skeletons(places_of(cast, None, APPLY), by_row)
            hint = condition(drawn, id_patch.patches(people, photos), present, APPLY)
            said, shown = present.doubts(), ui.PreviewImage(hint.clamp(0, 1), cls=cls)
        else:
            advice = "Make the image with ID-Patch Condition Image from the same cast, or connect none."
            geometry.check_canvas(f"The image given to {APPLY}", image, cast, advice)
            # Our node draws numbers for the network, beyond 0..1 as well: no colours to be seen through.
            hint = as_rgb(image[..., :3])
            check_patches(hint, present, APPLY)
        if people:
            tokens = id_patch.tokens(people, photos)
            no_faces = id_patch.unconditional_tokens(len(people))
            in_row = 1 if by_row else len(people)
            if by_row:
                tokens, no_faces = (side[0].unflatten(0, (len(people), -1)) for side in (tokens, no_faces))
            positive = conditioning.append_tokens(positive, tokens, in_row, id_start_percent, APPLY)
            negative = conditioning.append_tokens(negative, no_faces, in_row, id_start_percent, APPLY)
        canvas = Canvas(APPLY, len(people) if by_row else 0, notes.node_of(cls))
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
            report=_report(people, notes.node_of(cls), percents, id_start_percent),
            pictures=Pictures("condition picture", canvas),
            trained=canvas,
        )
        notes.tell(notes.node_of(cls), "\n".join([*said, *([] if people else [NO_IDENTITIES])]))
        return io.NodeOutput(*attachment.to_both(positive, negative), ui=shown)


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


class BindIDTokens(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessBindIDTokens",
            category=IN_ID_PATCH,
            inputs=[
                *schema.applied_inputs(),
                CastSocket.Input("cast"),
                *map(schema.advanced, schema.region_inputs()),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=schema.applied_outputs(),
        )

    @classmethod
    def execute(
        cls, model: ModelPatcher, positive: Conditioning, negative: Conditioning, cast: Cast, **region: Any
    ) -> io.NodeOutput:
        cast = require_places(cast, BIND)
        people, node = presence(cast).people, notes.node_of(cls)
        named = {entry[1][ID_TOKENS] for entry in (*positive, *negative) if ID_TOKENS in entry[1]}
        notes.tell(node, "" if named else NO_TOKENS)
        if not named:
            return io.NodeOutput(model, positive, negative)
        if wrong := next((one.people for one in named if one.people != len(people)), None):
            bound, seen = (counted(number, "person", "people") for number in (wrong, len(people)))
            why = f"The conditioning holds the ID tokens of {bound}, the cast has {seen} above weight 0 on the canvas."
            raise BadPatches(why, "Give Apply ID-Patch and this node the same cast.")
        conditioning.check_conditioning([*positive, *negative], text_width(model), BIND)
        scope = scopes.of_bodies(cast, BIND, WHOLE_SCHEDULE, people, alone=False, node_id=node, **region)
        assert scope.regions is not None
        both = standing_in([positive, negative], scope.regions, scope.canvas)
        announcement = of_people(regions.names(people), BIND, node)
        outputs = announced(announcement, patched(model, RegionalTextRun), *both)
        return io.NodeOutput(*outputs, ui=scope.preview(cls))


_KEY = "likeness_id_tokens_read"


class _EverywhereBatch(RegionalTextBatch):
    """ID tokens that everybody reads. Where a layer reads them in the text, it is left as it is."""

    def needed(self, options: Options) -> bool:
        return bool(self._deaf or options.get("patches", {}).get("attn2_patch"))

    def attended(
        self, layer: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        if WHOSE in extra_options or self.layers[layer] in self._deaf:
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
        place = place_of(layers, given)
        return _EverywhereBatch(layers, chunks, given.context.shape[1], place, deaf_layers(given))

    def _text(self, inside: IDTokens | None, context: Tensor) -> RegionalText:
        once = context.shape[1] // int(repeats(context[:1]))
        return everywhere(inside, context[:, :once])


LOADER = FileLoader(FILE, lambda path: IDPatch(FILE.build(path, IDPatchNet, FILE.read(path))))
NODES = [IDPatchConditionImage, ApplyIDPatch, BindIDTokens]
