"""People as References: the pictures of people as reference latents, for models that take several of them.

A sentence for each person in the prompt tells the model who is who. With a MODEL connected each person's references are
read in that person's region alone (bridge/references/by_region.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as functional
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge.apply import optional_model
from ...bridge.host import notes, schema
from ...bridge.host.newer import require_host
from ...bridge.host.schedule import WHOLE_SCHEDULE, ScheduleRange
from ...bridge.networks.model_family import TOKEN
from ...bridge.references.as_trained import CentredBatch, FrameTextsBatch, as_trained
from ...bridge.references.by_region import RegionalReferences, RegionalReferencesRun, check_tokens
from ...bridge.references.record import LATENTS, PeopleReferences, ReferenceLatent
from ...bridge.sampling.canvas_check import NodeOfRun
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs, changed_in_turn
from ...bridge.sampling.missing_people import ApplyNode, NamedRange, apply_node_of_people, marked, model_with_notes
from ...bridge.sampling.model_conds import carry
from ...bridge.sampling.on_model import with_runs
from ...bridge.sampling.rows import Side
from ...core import taking_part
from ...core.attention.cross_attention import on_tokens
from ...core.attention.reference_groups import belongs
from ...core.cast import CanvasSize, Cast, Member, Person, PlacedCast, is_a, require_places
from ...core.checks.errors import BadSetup, joined, listed
from ...core.methods import method
from ...core.parts.parts import Parts
from ...core.pictures import previews
from ...core.places import place_previews, regions
from ...core.taking_part import TakingPart
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, PartsSocket
from . import NAME
from .encoding import (
    TRAININGS,
    EncoderFamily,
    check_count,
    check_model,
    encoded,
    family_as_set,
    kept_of,
    latents_of,
    pictures_for_encoder,
    shown_tokens,
    unlike_training,
    with_references,
)
from .parts import OwnedPart, owned_parts
from .pictures import (
    AS_TRAINED,
    ORDERS,
    PICTURES_FIRST,
    SENTENCES,
    Reference,
    captioned,
    references,
    unused_weights,
    with_portrait_masks,
    with_sentences,
)
from .ranges import INPUT, parts_of_schedule, ranges_of_people

METHOD = method("references")
NOBODY = "nobody"
EVERYBODY = "everybody"
"""The options of the input `outside`: whose references are read outside of all regions."""
NO_PARTS = "Parts are not used: with the cast of Crop Faces each person has a row of the batch."


@dataclass(frozen=True, eq=False)
class RegionLimit:
    """The values of _region_inputs(), which say how references are limited to regions.

    region_strength: 0..1, at 0 nothing is limited. start_percent, end_percent: 0..1, the part of the schedule in which
    the limit acts. outside: NOBODY or EVERYBODY, whose references are read outside of all regions. mask: (people, H,
    W) 0..1, the regions instead of the places' own.
    """

    region_strength: float
    start_percent: float
    end_percent: float
    outside: str
    mask: Tensor | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings(RegionLimit):
    """What is set on the node.

    sentences: where they stand in the prompt, one of SENTENCES. size: the side of a square of as many pixels as a
    portrait has. order: one of ORDERS. reference_boost: how many times the picture reads each token of people.
    encoder_size, training: as in family_as_set. portrait_masks: as in with_portrait_masks. reference_ranges: as in
    ranges_of_people.
    """

    prompt: str
    negative_prompt: str
    sentences: str
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
                io.String.Input("prompt", multiline=True, dynamic_prompts=True, default=""),
                io.String.Input("negative_prompt", multiline=True, dynamic_prompts=True, default=""),
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
        people_present = taking_part.present(taking.cast)  # a cast of those of weight above 0 alone
        owned = owned_parts(parts, taking, settings.mask)
        photos, size, poses = settings.photos_per_person, settings.size, settings.pose_picture
        pictures_first = settings.order == PICTURES_FIRST
        if settings.order == AS_TRAINED:
            pictures_first = family.pictures.pictures_first
        sources = references(people_present, photos, size, pictures, poses, owned, pictures_first)
        if settings.portrait_masks is not None:
            sources = with_portrait_masks(sources, settings.portrait_masks, taking)
        read_percents = (settings.references_start_percent, settings.references_end_percent)
        read_range = ScheduleRange(*read_percents).checked("The references of people")
        ranges = ranges_of_people(settings.reference_ranges, taking, read_range)
        if model is None and family.pictures.isolated:
            raise BadSetup(
                f"training is {settings.training!r}, and no MODEL is connected.", f"Connect model of {NAME}."
            )
        limits = Limits() if model is None else _limits(model, family, taking, owned, sources, settings)
        lines = unused_weights(taking, owned, model is not None or family.transformer is None)
        lines += unlike_training(family, sources, pictures_first, settings.encoder_size, model is not None)
        # Inputs that have no effect without a MODEL. With parts the mask has one: it says whose each part is.
        unused = [name for name in _inputs_set(values) if name != "mask" or not owned]
        if family.transformer is not None:
            lines += optional_model.without_model(model, unused, "references")
        elif unused:
            lines.append(f"No effect with {family.model}: {listed(unused)}")
        if settings.reference_boost != 1 and not any(source.of_people for source in sources):
            lines.append("reference_boost changes nothing: nobody has a reference")
        notes.tell("\n".join([*lines, *_unused_by_row(taking.cast, parts, model, settings)]))

        encoding = Encoding(clip, family, settings, taking, limits)
        latents = latents_of(vae, family, sources, _canvas(taking.cast, settings.size))
        apply_node = apply_node_of_people(
            taking_part.names(taking.people), NAME, notes.node_of(cls), _named_ranges(taking, ranges, limits)
        )
        made = encoding.in_turn(model, sources, latents, ranges, apply_node)
        text = with_sentences(settings.prompt, sources, family.pictures.word, settings.sentences)
        model_out = optional_model.model_out(made.model, NAME)
        previews_of_node = _previews(cls, sources, family, limits.regions)
        return io.NodeOutput(made.positive, made.negative, text, model_out, ui=previews_of_node)


@dataclass(frozen=True, eq=False)
class Limits:
    """How a MODEL reads people's references.

    The defaults are for a node without a MODEL: all references are read in the whole picture, as if all weights were 1.
    regions: in which the references of each person are read; None for the whole picture. by_weight: whether a person or
    a part has another weight than 1. boost: how many times the picture reads each token of people's references.
    """

    regions: "ReferenceRegions | None" = None
    by_weight: bool = False
    boost: float = 1.0


def _limits(
    model: ModelPatcher,
    family: EncoderFamily,
    taking: TakingPart,
    owned: Sequence[OwnedPart],
    sources: Sequence[Reference],
    settings: Settings,
) -> Limits:
    """How a MODEL reads the references.

    Where a run has to change how the MODEL reads them, the MODEL is checked, which raises as check_model. Raises as
    regions_of_references. taking: the people of weight above 0. owned: their parts.
    """
    if family.transformer is None:
        check_model(model, family)  # it raises, before anybody is asked for places
    read_regions = regions_of_references(taking.cast, taking.people, settings, sources)
    weights = [member.weight for member in taking.people] + [part.part.weight for part in owned]
    by_weight = any(weight != 1 for weight in weights)
    boost = settings.reference_boost
    is_masked = settings.portrait_masks is not None
    inputs_need_run = read_regions is not None or by_weight or boost != 1 or is_masked
    family_needs_run = family.pictures.fitted or family.pictures.isolated
    if inputs_need_run or family_needs_run:
        check_model(model, family)
    return Limits(read_regions, by_weight, boost)


def _unused_by_row(cast: Cast, parts: Parts | None, model: ModelPatcher | None, settings: Settings) -> list[str]:
    """The lines of the note under the node about what has no effect where each person has a row of the batch."""
    lines: list[str] = []
    if cast.by_row and parts is not None:
        lines.append(NO_PARTS)
    if cast.by_row and model is not None and settings.region_strength > 0:
        lines.append(optional_model.BY_ROW)
    return lines


def _region_inputs() -> list[io.Input]:
    """The inputs that say how a person's references are limited to a region. Without a MODEL they have no effect."""
    return [
        schema.optional(io.Float.Input("region_strength", default=1.0, min=0.0, max=1.0, step=0.05)),
        *[schema.optional(widget) for widget in schema.range_inputs()],
        schema.optional(io.Combo.Input("outside", options=[NOBODY, EVERYBODY])),
        io.Mask.Input("mask", optional=True),
    ]


def _masks_input() -> io.Mask.Input:
    """What of each portrait is read. Without a MODEL it has no effect."""
    return io.Mask.Input("portrait_masks", optional=True)


def _boost_input() -> io.Float.Input:
    """How many times the picture reads people's references. Without a MODEL it has no effect."""
    return schema.optional(io.Float.Input("reference_boost", default=1.0, min=0.0, max=10.0, step=0.05))


def _inputs_set(values: Mapping[str, Any]) -> list[str]:
    """The ids of those inputs that have no effect without a MODEL, and are set to something else than their default.

    values: id of an input -> its value.
    """
    names: list[str] = []
    for entry in [*_region_inputs(), _boost_input(), _masks_input()]:
        default = entry.default if isinstance(entry, io.WidgetInput) else None
        value = values.get(entry.id)
        # A mask has no default, so any mask counts. A tensor is compared with nothing: != gives no single bool.
        if value is not None and (default is None or value != default):
            names.append(entry.id)
    return names


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of the node, encoded with some references. record: of these references."""

    positive: Conditioning
    negative: Conditioning
    record: PeopleReferences


@dataclass(frozen=True, eq=False)
class Encoding:
    """How the node's prompts are encoded.

    family: of the text encoder. limits: how a MODEL reads people and parts.
    """

    clip: CLIP
    family: EncoderFamily
    settings: Settings
    taking: TakingPart
    limits: "Limits"

    def prompts(self, sources: Sequence[Reference], latents: Sequence[Tensor]) -> Prompts:
        """The prompts, encoded with these references, and the record of them.

        latents: one for each picture of the references. With limits.by_weight the record also says how many tokens of
        the text show each picture (`shown`), where the text encoder sees pictures of people.
        """
        family = self.family
        check_count(family, sources)
        kept_of_latents = kept_of(family, sources, _canvas(self.taking.cast, self.settings.size))
        record = _record(self.taking, sources, latents, kept_of_latents, self.limits.boost)
        record = replace(record, isolated=family.pictures.isolated)
        text = with_sentences(self.settings.prompt, sources, family.pictures.word, self.settings.sentences)
        encoder_pictures = pictures_for_encoder(family, sources)
        of_people = [source.of_people for source in sources for _ in source.pictures]  # of each picture
        if self.limits.by_weight and encoder_pictures and any(of_people):
            # How many pictures there are up to the last one of a person: the last True, counted from behind.
            up_to_last_person = len(of_people) - of_people[::-1].index(True)
            shown = shown_tokens(self.clip, family, encoder_pictures, up_to_last_person)
            pairs = zip(record.references, shown, strict=True)
            record = replace(record, references=tuple(replace(reference, shown=count) for reference, count in pairs))
        pictures_of_negative = encoder_pictures if family.pictures.negative_sees else []
        of_positive = (text or family.pictures.empty_prompt, encoder_pictures)
        of_negative = (self.settings.negative_prompt or family.pictures.empty_negative, pictures_of_negative)
        sides: list[Conditioning] = []
        for text_of_side, shown_pictures in (of_positive, of_negative):
            entries = encoded(self.clip, family, text_of_side, shown_pictures, record)
            sides.append(with_references(entries, record, family))
        return Prompts(sides[0], sides[1], record)

    def of_people(self, read: Collection[int], sources: Sequence[Reference], latents: Sequence[Tensor]) -> Prompts:
        """The prompts with the references of some people, and with those that show no person of the cast.

        read: the indices of these people; where each has a row of the batch, all of them or nobody. The other arguments
        are those of `prompts`.
        """
        kept: list[Reference] = []
        latents_kept: list[Tensor] = []
        latents_left = iter(latents)  # each source takes as many as it has pictures
        for source in sources:
            of_source = list(islice(latents_left, len(source.pictures)))
            if not source.of_people or source.person in read or (source.of_rows and read):
                kept.append(source)
                latents_kept += of_source
        return self.prompts(kept, latents_kept)

    def in_turn(
        self,
        model: ModelPatcher | None,
        sources: Sequence[Reference],
        latents: Sequence[Tensor],
        ranges: Sequence[ScheduleRange],
        apply_node: ApplyNode,
    ) -> SamplerInputs:
        """MODEL and prompts in which each person's references are read in their own range of the schedule.

        In each part of the schedule the prompts are those of the people who are read there. ranges: of each person. The
        other arguments are those of `prompts`.
        """
        given = SamplerInputs(model, [], [])
        positives: list[tuple[float, Conditioning]] = []
        negatives: list[tuple[float, Conditioning]] = []
        positive_of_people: Conditioning = []  # the last that a run reads; [] where there is none
        by_people_read: dict[frozenset[int], SamplerInputs] = {}  # by who is read, as in several parts the same may be
        for start, read in parts_of_schedule(ranges):
            if read not in by_people_read:
                prompts = self.of_people(read, sources, latents)
                given = SamplerInputs(given.model, prompts.positive, prompts.negative)
                regions_read = self.limits.regions if read else None
                # Otherwise the host reads the references as they are, and the MODEL needs no run for them.
                if given.model is not None and (regions_read is not None or not prompts.record.is_read_as_it_is):
                    given = read_by_region(given, prompts.record, regions_read, apply_node.node_id)
                    if read:
                        positive_of_people = marked(given.positive, apply_node, Side.POSITIVE)
                        negative_of_people = marked(given.negative, apply_node, Side.NEGATIVE)
                        given = SamplerInputs(given.model, positive_of_people, negative_of_people)
                given = by_people_read[read] = _as_network_reads(self.family, given)
            positives.append((start, by_people_read[read].positive))
            negatives.append((start, by_people_read[read].negative))
        made = SamplerInputs(given.model, changed_in_turn(positives), changed_in_turn(negatives))
        if made.model is not None and positive_of_people:
            return replace(made, model=model_with_notes(apply_node, made.model, positive_of_people))
        return made


def _named_ranges(taking: TakingPart, ranges: Sequence[ScheduleRange], limits: "Limits") -> list[NamedRange]:
    """The ranges that the user has set, for the notes of a run. ranges: of each person."""
    inputs = f"references_start_percent and references_end_percent, or {INPUT}"
    named: list[NamedRange] = []
    for schedule in dict.fromkeys(ranges):
        people = [member for member, of_member in zip(taking.people, ranges, strict=True) if of_member == schedule]
        of_people = "" if len(people) == len(ranges) else f" of {joined(taking_part.names(people))}"
        named.append(NamedRange(f"the references{of_people}", schedule, inputs))
    if limits.regions is not None:
        named.append(NamedRange("the limit to regions", limits.regions.schedule))
    return named


def _record(
    taking: TakingPart,
    sources: Sequence[Reference],
    latents: Sequence[Tensor],
    kept: Sequence[Tensor | None],
    boost_of_people: float,
) -> PeopleReferences:
    """The record of which latent shows which person. A reference may have several pictures, and so several latents.

    latents, kept: one of each picture of all references, in their order; kept: from kept_of(). boost_of_people: of
    references that show people.
    """
    of_latents: list[ReferenceLatent] = []
    latents_left = zip(latents, kept, strict=True)  # an iterator: each source takes as many as it has pictures
    for source in sources:
        strength = 1.0 if source.part is None else source.part.part.weight
        boost = boost_of_people if source.of_people else 1.0
        for latent, kept_of_latent in islice(latents_left, len(source.pictures)):
            of_latents.append(
                ReferenceLatent(
                    latent,
                    owner=source.person,
                    region=source.region,
                    strength=strength,
                    boost=boost,
                    kept=kept_of_latent,
                    of_rows=source.of_rows,
                )
            )
    return PeopleReferences(taking.cast, tuple(of_latents))


def _canvas(cast: Cast, size: int) -> CanvasSize:
    """The picture that is drawn: the canvas of the cast, or a square of `size` where the people have no places."""
    return (cast.width, cast.height) if is_a(cast, PlacedCast) else (size, size)


def _as_network_reads(family: EncoderFamily, given: SamplerInputs) -> SamplerInputs:
    """MODEL and prompts with what the network of a family needs to read reference pictures.

    Z-Image puts texts around reference pictures, and Krea 2's Identity Edit has references in the middle of the
    picture: for both, as_trained gives the MODEL a run. Without references nothing is changed.
    """
    has_references = any(options.get(LATENTS) for _, options in given.positive)
    if not has_references:
        return given
    if family.pictures.fitted:
        return as_trained(given, CentredBatch, NAME)
    if family.pictures.has_frame_texts:
        return as_trained(given, FrameTextsBatch, NAME)
    return given


@dataclass(frozen=True, eq=False)
class ReferenceRegions:
    """The regions in which each person's references are read, and when.

    people: those of weight above 0. regions: (regions, H, W), 0..1, of the whole picture: those of all people, and then
    those of parts that have a target, by the `region` of their references. names: of the regions. tokens: (regions,
    rows, columns) bool, which tokens of a picture of H x W pixels lie in each region. schedule: when references are
    limited to regions. settings: the inputs of the node.
    """

    people: Sequence[Member]
    names: Sequence[str]
    regions: Tensor
    tokens: Tensor
    schedule: ScheduleRange
    settings: RegionLimit

    def preview(self) -> Tensor:
        """A picture of the tokens that belong to each person, (H, W, 3), 0..1."""
        height, width = self.regions.shape[1:]
        of_people = self.tokens[: len(self.people)].float()
        rows = of_people.repeat_interleave(TOKEN, dim=1)  # (people, rows of pixels, columns of tokens)
        pixels = rows.repeat_interleave(TOKEN, dim=2)
        # At odd sides the last tokens reach beyond the picture.
        token_regions = pixels[:, :height, :width]  # (people, H, W)
        return place_previews.read_regions(token_regions, self.people)


def regions_of_references(
    everybody: Cast, present: Sequence[Member], settings: RegionLimit, sources: Sequence[Reference] = ()
) -> ReferenceRegions | None:
    """The regions in which each person's references are read.

    None where nothing is limited to regions: at a strength of 0, where no person has a weight above 0, and where each
    person has a row of the batch.
    everybody: the node's cast. present: those of it of weight above 0. sources: the references, of which parts may have
    regions of their own.
    Raises BadRange. Raises NotPlaced for people without places and masks. Raises BadRegion for a region that covers no
    token, for two that are the same, and for masks of people who have a picture of their own.
    """
    if settings.region_strength == 0 or not present:
        return None
    schedule = ScheduleRange(settings.start_percent, settings.end_percent).checked(NAME)
    if settings.mask is not None:
        regions.check_one_picture(everybody)
    if everybody.by_row:
        return None
    if settings.mask is None:
        require_places(everybody, NAME)
    # A token belongs to a person or does not, so regions have hard edges.
    shape = replace(regions.shape_of_bodies(everybody), feather=0)
    regions_of_present = regions.regions_of_people(everybody, present, settings.mask, shape)
    height, width = regions_of_present.shape[1:]
    names = taking_part.names(present)
    targets: list[Tensor] = []
    for source in sources:
        if source.target is not None:
            targets.append(functional.interpolate(source.target[None, None], (height, width), mode="area")[0])
            names.append(source.captions[0])
    all_regions = torch.cat([regions_of_present, *targets])  # (regions, H, W)
    tokens = belongs(on_tokens(all_regions, height, width, TOKEN))
    check_tokens(tokens, names, height, width)
    return ReferenceRegions(present, names, all_regions, tokens, schedule, settings)


def read_by_region(
    given: SamplerInputs, record: PeopleReferences, read_regions: ReferenceRegions | None, node_id: str | None
) -> SamplerInputs:
    """A MODEL and conditioning with which each person's references are read in that person's region, by their weight.

    given: with a MODEL. record: the references of both conditionings. read_regions: None where nothing is limited to
    regions.
    """
    names = taking_part.names(record.present)
    regional = RegionalReferences(
        source=object(),
        schedule=WHOLE_SCHEDULE if read_regions is None else read_regions.schedule,
        record=record,
        regions=None if read_regions is None else read_regions.regions,
        names=tuple(names if read_regions is None else read_regions.names),
        strength=0.0 if read_regions is None else read_regions.settings.region_strength,
        everybody_outside=read_regions is not None and read_regions.settings.outside == EVERYBODY,
        canvas_node=NodeOfRun(NAME, node_id),
    )
    assert given.model is not None
    model = with_runs(given.model, RegionalReferencesRun)
    return SamplerInputs(model, carry(given.positive, regional), carry(given.negative, regional))


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
