"""People as References: the pictures of people as reference latents, for models that take several of them.

A sentence for each person in the prompt tells the model who is who. With a MODEL connected each person's references are
read in that person's region alone (bridge/references/by_region.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge.apply import optional_model
from ...bridge.apply.begin import When, begin_acting
from ...bridge.host import schema
from ...bridge.host.host_version import require_host
from ...bridge.host.schedule import ScheduleRange
from ...bridge.sampling.conditioning import SamplerInputs
from ...bridge.sampling.missing_people import NamedRange
from ...core import taking_part
from ...core.cast import CanvasSize, Cast, Person, PlacedCast, is_a
from ...core.checks.errors import BadSetup, joined
from ...core.methods import method
from ...core.parts.parts import Parts
from ...core.persons import looks
from ...core.pictures import previews
from ...core.taking_part import TakingPart
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, PartsSocket
from . import NAME
from .encoding import TRAININGS, EncoderFamily, check_model, encoded_pictures, family_as_set, unlike_training
from .limits import EVERYBODY_OUTSIDE, NOBODY_OUTSIDE, ReferenceRegions, RegionLimit, are_limited, regions_of_references
from .numbering import SENTENCES, captioned
from .parts import OwnedPart, owned_parts
from .pictures import (
    AS_TRAINED,
    ORDERS,
    PICTURES_FIRST,
    Reference,
    references,
    unused_weights,
    with_portrait_masks,
)
from .prompts import Encoding, Texts
from .ranges import INPUT, ranges_of_people

METHOD = method("references")
NO_PARTS = "Parts are not used: with the cast of Crop Faces each person has a row of the batch."


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings(RegionLimit, Texts):
    """What is set on the node.

    size: the side of a square of as many pixels as a portrait has. order: one of ORDERS. reference_boost: how many
    times the picture reads each token of people. encoder_size, training: as in family_as_set. portrait_masks: as in
    with_portrait_masks. reference_ranges: as in ranges_of_people. looks: as in core.persons.looks.worn.
    """

    size: int
    photos_per_person: int
    pose_picture: bool
    references_start_percent: float
    references_end_percent: float
    order: str
    reference_boost: float
    encoder_size: int
    training: str
    reference_ranges: str = ""
    portrait_masks: Tensor | None = None
    looks: str = ""

    def pictures_first(self, family: EncoderFamily) -> bool:
        """Whether `pictures` come before people."""
        if self.order == AS_TRAINED:
            return family.pictures.pictures_first
        return self.order == PICTURES_FIRST


class PeopleAsReferences(io.ComfyNode):
    """Encodes prompts with people's portraits as reference latents, and a sentence about each person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPeopleAsReferences",
            category=IN_OTHER_METHODS,
            inputs=[
                io.Clip.Input("clip"),
                io.Vae.Input("vae"),
                CastOrPersonSocket.Input("cast"),
                io.String.Input("prompt", multiline=True, default=""),
                io.String.Input("negative_prompt", multiline=True, default=""),
                io.Image.Input("pictures", optional=True),
                io.Combo.Input("sentences", options=list(SENTENCES)),
                io.Int.Input("size", default=512, min=128, max=2048, step=16),
                schema.advanced(io.Int.Input("photos_per_person", default=1, min=1, max=10)),
                schema.advanced(io.Boolean.Input("pose_picture", default=False)),
                io.Model.Input("model", optional=True),
                *_region_inputs(),
                *[schema.advanced(schema.optional(widget)) for widget in schema.range_inputs("references_")],
                schema.advanced(schema.optional(io.Combo.Input("order", options=list(ORDERS)))),
                schema.advanced(_boost_input()),
                schema.advanced(schema.optional(io.Int.Input("encoder_size", default=0, min=0, max=1024, step=64))),
                schema.advanced(schema.optional(io.Combo.Input("training", options=list(TRAININGS)))),
                PartsSocket.Input("parts", optional=True),
                _masks_input(),
                schema.advanced(schema.optional(io.String.Input(INPUT, default=""))),
                schema.optional(io.String.Input(looks.LOOKS_INPUT, default="")),
            ],
            outputs=[
                io.Conditioning.Output("positive"),
                io.Conditioning.Output("negative"),
                io.String.Output("text"),
                io.Model.Output("model_out"),
            ],
            is_experimental=True,
        )

    @classmethod
    def execute(
        cls,
        clip: CLIP,
        vae: VAE,
        cast: Cast | Person,
        pictures: Tensor | None = None,
        model: ModelPatcher | None = None,
        parts: Parts | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        require_host(METHOD.host, NAME)
        settings = Settings(**values)
        family = family_as_set(clip, settings.training, settings.encoder_size)
        taking = taking_part.present_in(cast)
        worn = looks.worn(settings.looks, taking, NAME, settings.mask, needs_places=False)
        owned = owned_parts(parts, taking, settings.mask, worn)
        sources = _sources(settings, family, taking, pictures, owned)
        given = _Given(model, parts, settings, family, taking, owned, sources)
        inputs = SamplerInputs(model, [], [])  # the node makes the prompts
        when = When("The references of people", settings.references_start_percent, settings.references_end_percent)
        lines = [*given.note_lines(), *worn.notes]
        acting = begin_acting(cls, NAME, inputs, taking, None, when, fits=given.check_fits, more=lines)
        ranges = ranges_of_people(settings.reference_ranges, taking, acting.schedule)
        regions = None if model is None else regions_of_references(taking, settings, sources)
        encoding = Encoding(
            clip=clip,
            family=family,
            texts=settings,
            cast=taking.cast,
            sources=sources,
            pictures=encoded_pictures(vae, family, sources, _canvas(taking.cast, settings.size), given.boost),
            model=model,
            regions=regions,
        )
        names = taking_part.names(taking.people)
        note_subject = acting.note_subject(_named_ranges(names, ranges, regions))
        made = encoding.in_turn(ranges, note_subject)
        model_out = optional_model.model_out(made.model, NAME)
        shown = _previews(cls, sources, family, regions)
        return io.NodeOutput(made.positive, made.negative, encoding.text(sources), model_out, ui=shown)


def _sources(
    settings: Settings,
    family: EncoderFamily,
    taking: TakingPart,
    pictures: Tensor | None,
    owned: Sequence[OwnedPart],
) -> list[Reference]:
    """The references of the people of weight above 0 and of their parts, of `pictures`, and of poses."""
    sources = references(
        taking_part.present(taking.cast),
        photos=settings.photos_per_person,
        size=settings.size,
        pictures=pictures,
        pose=settings.pose_picture,
        parts=owned,
        pictures_first=settings.pictures_first(family),
    )
    if settings.portrait_masks is None:
        return sources
    return with_portrait_masks(sources, settings.portrait_masks, taking)


@dataclass(frozen=True, eq=False)
class _Given:
    """What is linked to the node and set on it, and what follows of it.

    model: None where none is connected. family: of the text encoder. taking: the people of weight above 0. owned: their
    parts. sources: the references.
    """

    model: ModelPatcher | None
    parts: Parts | None
    settings: Settings
    family: EncoderFamily
    taking: TakingPart
    owned: Sequence[OwnedPart]
    sources: Sequence[Reference]

    @property
    def boost(self) -> float:
        return 1.0 if self.model is None else self.settings.reference_boost

    def check_fits(self, given: SamplerInputs, node_name: str) -> None:
        """Check the MODEL where a run has to change how it reads references, which raises as check_model.

        Raises BadSetup without a MODEL where the family needs one.
        """
        family, settings, taking = self.family, self.settings, self.taking
        if given.model is None:
            if family.pictures.isolated:
                why = f"Training (training) is {settings.training!r}, and no MODEL is connected."
                raise BadSetup(why, f"Connect model of {node_name}.")
            return
        weights = [member.weight for member in taking.people] + [part.part.weight for part in self.owned]
        is_changed = settings.reference_boost != 1 or settings.portrait_masks is not None
        weights += [strength for source in self.sources for strength in source.strengths]
        is_changed = is_changed or any(weight != 1 for weight in weights)
        needs_run = is_changed or are_limited(taking, settings)
        if needs_run or family.pictures.fitted or family.pictures.isolated:
            check_model(given.model, family)

    def note_lines(self) -> list[str]:
        """The lines of the note under the node: what has no effect, and what a family was not trained with."""
        settings, family, sources = self.settings, self.family, self.sources
        has_model = self.model is not None
        by_row = self.taking.cast.by_row
        lines = unused_weights(self.taking.cast, self.owned, has_model)
        lines += unlike_training(
            family, sources, settings.pictures_first(family), settings.encoder_size, has_model=has_model
        )
        # With parts the mask has an effect without a MODEL, too: it says whose each part is.
        unused = [name for name in _inputs_set(settings) if name != "mask" or not self.owned]
        lines += optional_model.without_model(self.model, unused, "references")
        if settings.reference_boost != 1 and not any(source.of_people for source in sources):
            lines.append("reference_boost changes nothing: nobody has a reference")
        if by_row and self.parts is not None:
            lines.append(NO_PARTS)
        if by_row and has_model and settings.region_strength > 0:
            lines.append(optional_model.BY_ROW)
        return lines


def _region_inputs() -> list[io.Input]:
    """The inputs that say how a person's references are limited to a region. Without a MODEL they have no effect."""
    return [
        schema.optional(io.Float.Input("region_strength", default=1.0, min=0.0, max=1.0, step=0.05)),
        *[schema.optional(widget) for widget in schema.range_inputs()],
        schema.optional(io.Combo.Input("outside", options=[NOBODY_OUTSIDE, EVERYBODY_OUTSIDE])),
        io.Mask.Input("mask", optional=True),
    ]


def _masks_input() -> io.Mask.Input:
    """What of each portrait is read. Without a MODEL it has no effect."""
    return io.Mask.Input("portrait_masks", optional=True)


def _boost_input() -> io.Float.Input:
    """How many times the picture reads people's references. Without a MODEL it has no effect."""
    return schema.optional(io.Float.Input("reference_boost", default=1.0, min=0.0, max=10.0, step=0.05))


def _inputs_set(settings: Settings) -> list[str]:
    """The ids of those inputs that have no effect without a MODEL, and are set to something else than their default."""
    names: list[str] = []
    for entry in [*_region_inputs(), _boost_input(), _masks_input()]:
        value = getattr(settings, entry.id)
        default = getattr(entry, "default", None)  # a mask has none, so any mask counts
        if isinstance(value, Tensor) or value not in (None, default):
            names.append(entry.id)
    return names


def _named_ranges(
    names: Sequence[str], ranges: Sequence[ScheduleRange], regions: ReferenceRegions | None
) -> list[NamedRange]:
    """The ranges that the user has set, for the notes of a run. names, ranges: of each person."""
    names_by_range: dict[ScheduleRange, list[str]] = {}
    for name, schedule in zip(names, ranges, strict=True):
        names_by_range.setdefault(schedule, []).append(name)
    inputs = f"references_start_percent and references_end_percent, or {INPUT}"
    named: list[NamedRange] = []
    for schedule, names_in_range in names_by_range.items():
        of_people = "" if len(names_by_range) == 1 else f" of {joined(names_in_range)}"
        named.append(NamedRange(f"the references{of_people}", schedule, inputs))
    if regions is not None:
        named.append(NamedRange("the limit to regions", regions.schedule))
    return named


def _canvas(cast: Cast, size: int) -> CanvasSize:
    """The picture that is drawn: the canvas of the cast, or a square of `size` where the people have no places."""
    return (cast.width, cast.height) if is_a(cast, PlacedCast) else (size, size)


def _previews(
    cls: type[io.ComfyNode], sources: Sequence[Reference], family: EncoderFamily, read_regions: ReferenceRegions | None
) -> ui.PreviewImage | None:
    """The previews of all reference pictures, with number, person and place under each, and of the regions."""
    previews_of_node: list[ui.PreviewImage] = []
    if sources:
        shown = captioned(sources, family.pictures.word)
        sheet = previews.contact_sheet([one.picture for one in shown], [one.caption for one in shown], lines=2)
        previews_of_node.append(ui.PreviewImage(sheet, cls=cls))
    if read_regions is not None:
        previews_of_node.append(ui.PreviewImage(read_regions.preview()[None], cls=cls))
    return optional_model.joined_previews(previews_of_node)


NODES = [PeopleAsReferences]
