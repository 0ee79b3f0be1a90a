"""Where people's references are read: the regions of a node, and a MODEL and prompts that keep to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from ...bridge.host.schedule import WHOLE_SCHEDULE, ScheduleRange
from ...bridge.networks.model_family import TOKEN
from ...bridge.references.by_region import REFERENCES_BY_REGION, RegionalReferences, check_tokens
from ...bridge.references.record import PeopleReferences
from ...bridge.sampling.carried import carry
from ...bridge.sampling.conditioning import SamplerInputs
from ...bridge.sampling.node_of_run import Canvas, NodeOfRun
from ...bridge.sampling.on_model import with_kinds
from ...core import taking_part
from ...core.attention.cross_attention import on_tokens
from ...core.attention.reads import belongs
from ...core.cast import Member, require_places
from ...core.places import place_previews, regions
from ...core.taking_part import TakingPart
from . import NAME
from .pictures import Reference

NOBODY_OUTSIDE = "nobody"
EVERYBODY_OUTSIDE = "everybody"
"""The options of the input `outside`: whose references are read outside of all regions."""


@dataclass(frozen=True, eq=False)
class RegionLimit:
    """How references are limited to regions, as it is set on the node.

    region_strength: 0..1, at 0 nothing is limited. start_percent, end_percent: 0..1, the part of the schedule in which
    the limit acts. outside: NOBODY_OUTSIDE or EVERYBODY_OUTSIDE, whose references are read outside of all regions.
    mask: (people, H, W) 0..1, the regions instead of the places' own.
    """

    region_strength: float
    start_percent: float
    end_percent: float
    outside: str
    mask: Tensor | None = None


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
        of_people = self.tokens[: len(self.people)].float()  # (people, rows, columns)
        pixels = of_people.repeat_interleave(TOKEN, dim=1).repeat_interleave(TOKEN, dim=2)
        # At odd sides the last tokens reach beyond the picture.
        return place_previews.read_regions(pixels[:, :height, :width], self.people)


def are_limited(taking: TakingPart, settings: RegionLimit) -> bool:
    """Whether references are limited to regions: with a strength above 0, and people of weight above 0 in one picture.

    Where each has a picture, they are with a mask, which is then refused. taking: the people of weight above 0.
    """
    if settings.region_strength == 0 or not taking.people:
        return False
    return settings.mask is not None or not taking.cast.by_row


def regions_of_references(
    taking: TakingPart, settings: RegionLimit, sources: Sequence[Reference]
) -> ReferenceRegions | None:
    """The regions in which each person's references are read.

    None where nothing is limited to regions, see are_limited.
    taking: the people of weight above 0. sources: the references, of which parts may have regions of their own.
    Raises BadRange. Raises NotPlaced for people without places and masks. Raises BadRegion for a region that covers no
    token, and as `regions.regions_of_bodies` does.
    """
    everybody, present = taking.cast, taking.people
    if not are_limited(taking, settings):
        return None
    schedule = ScheduleRange(settings.start_percent, settings.end_percent).checked(NAME)
    if settings.mask is None:
        require_places(everybody, NAME)
    # A token belongs to a person or does not, so regions have hard edges.
    shape = replace(regions.shape_of_bodies(everybody), feather=0)
    of_people = regions.regions_of_bodies(taking, settings.mask, shape)  # (people, H, W)
    height, width = of_people.shape[1:]
    all_regions = [of_people]
    names = taking_part.names(present)
    for source in sources:
        if source.target is not None:
            all_regions.append(functional.interpolate(source.target[None, None], (height, width), mode="area")[0])
            names.append(source.captions[0])
    joined_regions = torch.cat(all_regions)  # (regions, H, W)
    tokens = belongs(on_tokens(joined_regions, height, width, TOKEN))
    check_tokens(tokens, names, height, width)
    return ReferenceRegions(present, names, joined_regions, tokens, schedule, settings)


def read_by_region(
    given: SamplerInputs, record: PeopleReferences, read_regions: ReferenceRegions | None, node_id: str | None
) -> SamplerInputs:
    """A MODEL and conditioning with which each person's references are read in that person's region, by their weight.

    given: with a MODEL. record: the references of both conditionings. read_regions: None where nothing is limited to
    regions: then the whole picture reads them, by people's weights.
    """
    node = NodeOfRun(NAME, node_id)
    regional = RegionalReferences(
        source=object(),
        schedule=WHOLE_SCHEDULE,
        regions=None,
        record=record,
        names=tuple(taking_part.names(record.present)),
        strength=0.0,
        everybody_outside=False,
        by_row=record.cast.by_row,
        canvas=Canvas(node),
    )
    if read_regions is not None:
        regional = replace(
            regional,
            schedule=read_regions.schedule,
            regions=read_regions.regions,
            canvas=Canvas.of_regions(node, read_regions.regions),
            names=tuple(read_regions.names),
            strength=read_regions.settings.region_strength,
            everybody_outside=read_regions.settings.outside == EVERYBODY_OUTSIDE,
        )
    assert given.model is not None
    model = with_kinds(given.model, REFERENCES_BY_REGION)
    return SamplerInputs(model, carry(given.positive, regional), carry(given.negative, regional))
