"""The scope of an apply node: which people of a cast act, where in the picture, when, and in which rows of the batch.

For methods whose image tokens stand beside the text, it also checks whether they fit a MODEL, and makes their keys and
values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..core import taking_part
from ..core.errors import LikenessError, WrongBaseModel, listed
from ..core.methods import Method
from ..core.people import Cast, Identity, Person, PlacedCast, is_a, require_places
from ..core.places import face_regions, place_previews, regions
from ..core.places.region_settings import FACE_BOXES
from .host import notes, unet
from .host.load import Loaded
from .host.schedule import ScheduleRange
from .image_tokens.injections import Injection, InjectionsRun
from .sampling.canvas_check import Canvas
from .sampling.conditioning import Conditioning, check_conditioning
from .sampling.missing_people import NamedRange, apply_node_of_people, with_missing_notes
from .sampling.model_conds import InBoxes, carry_both
from .sampling.runs import Run, patched

BY_ROW = "Nothing is limited to regions: with the cast of Crop Faces each person has a row of the batch."
"""The note of a node that limits people to regions only where a MODEL is connected, for a cast by row."""


@dataclass(frozen=True)
class Scope(InBoxes):
    """Which people act where and when. It is the same on both sides of the conditioning.

    cast: everybody. people: those of the cast who act, of weight above 0. schedule: the part of the schedule in which
    they act. canvas: the canvas that the regions are parts of. regions, boxes: where they act in the picture, (people,
    H, W) each, or None, see Injection. placed: whether the regions lie on the canvas of a placed cast, so that a run
    compares their size with the latent; False for masks alone, which fit any picture.
    """

    cast: Cast
    people: Sequence[Person]
    schedule: ScheduleRange
    canvas: Canvas
    regions: Tensor | None = None
    boxes: Tensor | None = None
    placed: bool = False

    @property
    def by_row(self) -> bool:
        return self.cast.by_row

    @cached_property
    def names_apart(self) -> list[str]:
        return taking_part.names_apart(self.people, self.cast)

    @property
    def carried_canvas(self) -> Canvas | None:
        """The canvas that goes with what acts here, for a run to compare with the latent; None where there is none.

        Regions of a placed cast are parts of its canvas, and rows belong to its people. Masks alone fit any picture.
        """
        return self.canvas if self.placed or self.by_row else None

    def injection(
        self,
        source: object,
        tokens: Tensor,
        layers: tuple[tuple[Tensor, ...] | None, ...],
        kind: type[Injection] = Injection,
    ) -> Injection:
        """The Injection of one side of the conditioning.

        source: the same object for both sides. tokens, layers: what is read of the people, see Injection. kind: the
        class of the Injection.
        """
        return kind(
            source,
            self.schedule,
            tokens,
            layers,
            regions=self.regions,
            by_row=self.by_row,
            boxes=self.boxes,
            canvas=self.carried_canvas,
            latents_note_node=self.canvas,
        )

    def preview(self, cls: type[io.ComfyNode]) -> ui.PreviewImage | None:
        """The preview under the node: where each person acts. None where they act everywhere, or nobody acts."""
        if not self.people:
            return None
        picture = place_previews.acting(self.acting_regions, self.people, self.by_row)
        return None if picture is None else ui.PreviewImage(picture, cls=cls)

    def applied(
        self,
        model: ModelPatcher,
        sides: Sequence[Conditioning],
        carried: Sequence[Injection],
        preview: ui.PreviewImage | None,
        ranges: Sequence[NamedRange],
        run: type[Run[Any]] = InjectionsRun,
        subject: str = "",
    ) -> io.NodeOutput:
        """The outputs of an apply node: the MODEL, and both sides of the conditioning with what they carry.

        sides, carried: positive and negative. ranges: all ranges of the node, for the note of a run in which no step
        lies in one. run: the class of the run that reads what they carry. subject: what the node puts in, in words,
        such as "The style"; "" for a node that puts in people.
        """
        positive, negative = sides
        of_positive, of_negative = carried
        return self.outputs(
            patched(model, run),
            carry_both(positive, negative, of_positive, of_negative),
            [subject] if subject else taking_part.names(self.people),
            preview,
            ranges,
            in_negative=of_negative.active,
        )

    def outputs(
        self,
        model: ModelPatcher,
        sides: Sequence[Conditioning],
        names: Sequence[str],
        preview: ui.PreviewImage | None,
        ranges: Sequence[NamedRange] = (),
        in_negative: bool = False,
    ) -> io.NodeOutput:
        """The outputs of an apply node: a MODEL whose run says under the node who is missing from its prompts, and both
        sides of the conditioning.

        It is for nodes that give the MODEL its run and the sides what they carry themselves; `applied` does so for the
        others. sides: positive and negative. names: of the people on them. ranges, in_negative: as in ApplyNode.
        """
        apply_node = apply_node_of_people(names, self.canvas.node_name, self.canvas.node_id, ranges, in_negative)
        return io.NodeOutput(*with_missing_notes(apply_node, model, *sides), ui=preview)


def scope_everywhere(cast: Cast, canvas: Canvas, schedule: ScheduleRange) -> Scope:
    return Scope(cast, taking_part.present(cast).people, schedule, canvas)


def acting_cast(
    linked: Cast | Identity,
    strength: float,
    mask: Tensor | None,
    cell: int = 0,
    *,
    hard: bool = False,
    more: Sequence[str] = (),
    photos: bool = True,
) -> Cast | None:
    """The cast of an apply node; None where the node is switched off, or everybody is at weight 0.

    It also writes the notes under the node: who is left out, `more`, and which regions may not be meant.
    linked: what is linked to the node, a cast or a single person.
    strength: the weight or strength of the node, 0 where it is switched off.
    mask: the regions instead of the places' own, (people, h, w), or None.
    cell: the side in pixels of the coarsest token, below which a face box is small, see face_regions.notes; 0 for a
    method that acts on bodies. hard: as in face_regions.acts_in.
    more: further notes.
    photos: whether the node reads photos of people.
    """
    cast = taking_part.as_cast(linked)
    left_out = taking_part.left_out(cast, taking_part.for_photos(cast) if photos else cast)
    lines = [*left_out, *more, *face_regions.notes(cast, mask, face_regions.acts_in(cast, hard), cell)]
    notes.tell("\n".join(lines))
    if not strength or not taking_part.present(cast).people:
        return None
    return cast


def scope_of_faces(
    cast: Cast,
    canvas: Canvas,
    schedule: ScheduleRange,
    mask: Tensor | None,
    *,
    hard: bool = False,
    boxed: Cast | None = None,
) -> Scope:
    """The scope of people from photos: around each face box, or in the masks.

    canvas: with the node's name and id. mask: (people, h, w), or None. hard: as in face_regions.acts_in.
    boxed: the same cast with the face boxes to act in, where these are not its own.
    Raises what core.places.face_regions raises.
    """
    people = taking_part.present(taking_part.for_photos(cast)).people
    acts_in = face_regions.acts_in(cast, hard)
    shape = face_regions.shape_of_faces(cast, hard)
    # Of all of weight above 0
    person_regions = face_regions.regions_of_faces(cast, mask, shape, canvas.node_name, acts_in)
    boxes: Tensor | None = None
    if acts_in == FACE_BOXES:
        boxes = face_regions.regions_in_face_boxes(boxed or cast, person_regions, canvas.node_name)
    # A person known to a LoRA alone has a region, which takes pixels from the regions of others, but no tokens here. So
    # only the rows of people with photos are kept.
    rows = taking_part.rows_of(people, cast)
    if person_regions is not None:
        person_regions = person_regions[rows]  # (people, H, W)
    if boxes is not None:
        boxes = boxes[rows]
    return Scope(
        cast,
        people,
        schedule,
        _with_rows(canvas, cast, people),
        person_regions,
        boxes,
        placed=is_a(cast, PlacedCast) and (person_regions is not None or boxes is not None),
    )


def scope_of_bodies(
    cast: Cast,
    canvas: Canvas,
    schedule: ScheduleRange,
    mask: Tensor | None,
    people: Sequence[Person] | None = None,
    *,
    alone: bool = True,
    rows: bool = True,
) -> Scope:
    """The scope by the torso, limbs and face of each person, or by the masks.

    canvas: with the node's name and id. mask: (people, h, w), or None.
    people: those of the cast who act; None for all of weight above 0.
    alone: whether a person who is the only one in the cast, and has no mask, acts everywhere instead of in a region.
    rows: whether people of whom each has a row of the batch act everywhere in it; otherwise they are refused.
    Raises NotPlaced without places, and what core.places.regions raises.
    """
    present = taking_part.present(cast).people
    acting_people = present if people is None else people
    everywhere_in_picture = Scope(cast, acting_people, schedule, _with_rows(canvas, cast, acting_people))
    if mask is not None:
        regions.check_one_picture(cast)
    elif (alone and len(present) == 1) or (rows and cast.by_row):
        return everywhere_in_picture
    placed = is_a(cast, PlacedCast)
    if mask is not None and placed:
        require_places(cast, canvas.node_name)  # somebody who was listed after places were given has none
    shape = regions.shape_of_bodies(cast)
    person_regions = regions.regions_of_people(cast, acting_people, mask, shape, canvas.node_name)  # (people, H, W)
    if alone and len(person_regions) == 1 and bool((person_regions == 1).all()):
        # One person whose region is the whole picture acts as a person without a region does. The difference is in
        # layers that have no place in the picture, such as those of the time step: they can act only where there are
        # no regions.
        return everywhere_in_picture
    return replace(everywhere_in_picture, regions=person_regions, placed=placed)


def _with_rows(canvas: Canvas, cast: Cast, people: Sequence[Person]) -> Canvas:
    """The same canvas with a row of the batch for each of the people who act, where the cast has them by row."""
    return replace(canvas, row_count=len(people) if cast.by_row else 0)


def without_model(model: ModelPatcher | None, set_inputs: Sequence[str], tokens_in_words: str) -> list[str]:
    """A note that names the inputs for regions which are set and have no effect, because no MODEL is connected.

    It is for nodes that limit people to regions only where a MODEL is connected. There is no note where one is, or
    where no such input is set. set_inputs: ids of those that are. tokens_in_words: what is read by region, such as "ID
    tokens".
    """
    if model is not None or not set_inputs:
        return []
    return [
        f"No effect without model: {listed(set_inputs)}. Connect model, and model_out to the sampler, to read "
        f"{tokens_in_words} by region."
    ]


def optional_model(model: ModelPatcher | None, node_name: str) -> ModelPatcher | ExecutionBlocker:
    """The output model_out of a node whose MODEL is optional: the MODEL, or a blocker where none is connected.

    ComfyUI shows the blocker's sentence where a sampler is linked to that output.
    """
    if model is not None:
        return model
    return ExecutionBlocker(
        f"{node_name} has no MODEL for its model_out. Connect the MODEL to model of {node_name}, or connect the "
        "sampler to the node that loads the MODEL."
    )


def joined_previews(previews: Sequence[ui.PreviewImage]) -> ui.PreviewImage | None:
    if not previews:
        return None
    joined_preview = previews[0]
    for preview in previews[1:]:
        joined_preview.values = [*joined_preview.values, *preview.values]
    return joined_preview


class AdapterMismatch(LikenessError):
    """An adapter whose layers do not fit the MODEL's cross-attention layers."""


def check_fits(
    loaded: Loaded[Any], method: Method, model: ModelPatcher, sides: Sequence[Conditioning], node_name: str
) -> None:
    """Raise AdapterMismatch unless every layer of a file finds a cross-attention layer of its width.

    Raises WrongBaseModel for texts of another width, or for a MODEL that reads texts of another width.
    """
    entries = [entry for side in sides for entry in side]
    check_conditioning(entries, loaded.width, node_name)
    layer_widths = list(loaded.net.ip_adapter.widths)
    model_layer_widths = unet.attention_widths(model)
    if layer_widths != model_layer_widths:
        model_name = type(model.model.model_config).__name__
        difference = _first_difference(layer_widths, model_layer_widths)
        advice = (
            "Use a MODEL with the own layout of the file's family (SD1.5 or SDXL, Turbo, Lightning, LCM and their "
            "fine-tunes), or an adapter that was trained for this one."
        )
        raise AdapterMismatch(
            f"This {method.title} file has {len(layer_widths)} cross-attention layers and does not fit the MODEL "
            f"({model_name}, {len(model_layer_widths)} layers): {difference}.",
            unet.advice_on(model, advice),
        )
    text_width = unet.text_width(model)
    if text_width != loaded.width:
        advice = unet.advice_between(text_width, loaded.width)
        kind = unet.kind_of(model.model, text_width)
        raise WrongBaseModel(f"The MODEL given to {node_name}", kind, unet.family(loaded.width), advice)


def _first_difference(widths: Sequence[int], model_widths: Sequence[int]) -> str:
    for number, (width, model_width) in enumerate(zip(widths, model_widths, strict=False)):
        if width != model_width:
            return f"layer {number} has another width"
    return "another number of layers"


def keys_and_values(loaded: Loaded[Any], tokens: Tensor, scales: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    """Keys and values of tokens (people, T, width), (people, T, C) each, for every layer of the file.

    They are float32 on the CPU. scales: (people,) or (people, T), of the values.
    """
    scales_of_values = scales.reshape(len(scales), -1, 1)  # (people, 1 or T, 1)
    layers: list[tuple[Tensor, Tensor]] = []
    for keys, values in loaded.net.ip_adapter.keys_and_values(loaded.on_device(tokens)):
        layers.append((keys.cpu(), values.cpu() * scales_of_values))
    return tuple(layers)


def injections(loaded: Loaded[Any], scope: Scope, sides: Sequence[Tensor], scales: Tensor) -> list[Injection]:
    """The Injection of each side of the conditioning, positive and negative.

    sides: tokens (people, T, width) of each. scales: (people,) or (people, T), of the values; where all are 0
    the UNet reads nothing.
    """
    source = object()  # one for both sides: by it a run knows that they are of one node
    of_sides: list[Injection] = []
    for tokens in sides:
        layers: tuple[tuple[Tensor, Tensor], ...] = ()
        if scales.any():
            layers = keys_and_values(loaded, tokens, scales)
        of_sides.append(scope.injection(source, tokens, layers))
    return of_sides
