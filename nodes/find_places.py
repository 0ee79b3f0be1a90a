"""Find Places: the model itself says who stands where, by what it reads of each person in a few first steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge.apply.begin import begin_acting
from ..bridge.host import notes
from ..bridge.host.schema import advanced, applied_inputs, body_input
from ..bridge.places.finding import Sampling, SeenPeople, probed
from ..bridge.references.record import REFERENCES
from ..bridge.sampling.conditioning import ID_TOKENS, Conditioning, SamplerInputs
from ..bridge.words import attach
from ..core import taking_part
from ..core.cast import Cast, Layout, require_somebody, require_together
from ..core.checks.errors import BadCast, BadSetup, counted, joined
from ..core.checks.prompts import prompts_of_members
from ..core.pictures.geometry import check_shape
from ..core.places import found, layouts, place_previews, placing, regions
from ..core.places.arranging import Arranged
from ..core.taking_part import TakingPart
from .categories import IN_PLACES
from .sockets import CastSocket, LayoutSocket

NAME = "Find Places"


class FindPlaces(io.ComfyNode):
    """Places a cast by what a MODEL reads of each person: in the places of a layout, or where it draws them itself."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessFindPlaces",
            category=IN_PLACES,
            inputs=[
                *applied_inputs(),
                io.Clip.Input("clip"),
                CastSocket.Input("cast"),
                io.Latent.Input("latent_image"),
                io.Noise.Input("noise"),
                io.Sampler.Input("sampler"),
                io.Sigmas.Input("sigmas"),
                LayoutSocket.Input("layout", optional=True),
                io.String.Input("prompts", multiline=True, default=""),
                io.Float.Input("cfg", default=8.0, min=0.0, max=100.0, step=0.1, round=0.01),
                body_input(),
                advanced(io.Float.Input("look_at", default=0.25, min=0.0, max=0.9, step=0.01)),
            ],
            outputs=[
                CastSocket.Output("placed"),
                io.Mask.Output("masks"),
                io.Image.Output("preview"),
                io.String.Output("report"),
            ],
            is_experimental=True,
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        clip: CLIP,
        cast: Cast,
        latent_image: Mapping[str, Any],
        prompts: str,
        body: str,
        look_at: float,
        layout: Layout | None = None,
        **sampling: Any,
    ) -> io.NodeOutput:
        # sampling: the inputs that are fields of Sampling under the same names.
        require_together(cast, NAME)
        require_somebody(cast, NAME)
        taking = taking_part.present_in(cast)
        # From here on the people are those of weight above 0, and so are `words`.
        said = prompts_of_members(prompts, cast)
        words = [of_member for of_member, acts in zip(said.prompts, taking.acts, strict=True) if acts]
        people = taking_part.present(cast)
        if not people.people:
            raise BadCast(f"Everybody in the cast given to {NAME} has weight 0.", "Raise a weight in the Cast.")
        _check_sampling(model, positive, latent_image["samples"], sampling["sigmas"])
        if layout is not None and len(layout.slots) < len(people.people):
            raise BadCast(
                f"The cast has {counted(len(people.people), 'person', 'people')} and the layout has "
                f"{counted(len(layout.slots), 'place')}.",
                "Use a layout with a place for everybody, or set weights in the Cast to 0.",
            )
        given = SamplerInputs(model, positive, negative)
        _check_all_can_be_found(given, people, words)
        # Who has weight 0 is named by the lines about who stands where, too.
        named_once = replace(taking, left_out=tuple(said.notes))
        seen = seen_of_people(cls, given, clip, named_once, words, latent_image, Sampling(**sampling), look_at)
        where = _among_cells(seen, people, body) if layout is None else _among_bodies(seen, people, layout)
        return _placed(cls, people, where, seen)


def _check_sampling(model: ModelPatcher, positive: Conditioning, samples: Tensor, sigmas: Tensor) -> None:
    """Raise BadSetup unless exactly one picture is sampled, of a latent that the model draws.

    positive needs a text, and sigmas a step and finite values. samples: (B, C, h, w) or (B, C, T, h, w).
    """
    if not positive:
        raise BadSetup("The positive of Find Places has no text.", "Connect a CLIP Text Encode.")
    if len(sigmas) < 2 or not sigmas.isfinite().all():
        raise BadSetup(
            "The sigmas of Find Places have no step, or NaN or infinity.", "Connect a scheduler with steps above 0."
        )
    sides = model.model.latent_format.latent_dimensions  # 2: h, w; 3: T, h, w
    # A model of frames also takes (B, C, h, w): the host adds T. A model of pictures takes nothing else.
    if samples.dim() not in (4, 2 + sides) or not samples.numel():
        raise BadSetup(
            f"The latent of Find Places has the shape {tuple(samples.shape)}, which its model does not draw.",
            "Connect the empty latent of the model's family.",
        )
    frames = samples.shape[2] if samples.dim() == 5 else 1
    if frames != 1:
        raise BadSetup(
            f"The latent of Find Places has {frames} frames, and in each people would stand elsewhere.",
            "Set its length to 1.",
        )
    if len(samples) != 1:
        raise BadSetup(
            f"The latent of Find Places has {len(samples)} pictures, and in each people stand elsewhere.",
            "Put Rebatch Latents with batch_size 1 behind it: then each picture is a run with places of its own.",
        )


def _check_all_can_be_found(given: SamplerInputs, people: Cast, words: Sequence[str]) -> None:
    """Raise BadSetup where there is nothing by which somebody can be found. words: of each person, "" for none.

    It passes in two cases: everybody has words; or nobody has, and `positive` holds ID tokens or reference pictures, by
    which people are found. Reference pictures that count must be of the people who are placed.
    """
    names = taking_part.names(people.people)
    without_words = [name for name, said in zip(names, words, strict=True) if not said]
    has_tokens_or_pictures = any(ID_TOKENS in options or REFERENCES in options for _, options in given.positive)
    if without_words and (any(words) or not has_tokens_or_pictures):
        raise BadSetup(
            f"Find Places finds people by words about them, and no line of prompts is about {joined(without_words)}.",
            "Write a line for each person: a name or number, a colon, and what tells them from the others, such as "
            "1: a woman with red hair.",
        )
    if any(words):
        return
    for _, options in given.positive:
        if ID_TOKENS in options or REFERENCES not in options:
            continue  # no pictures by which people are found
        shown = joined(taking_part.names(options[REFERENCES].present))
        if shown != joined(names):
            raise BadSetup(
                f"The reference pictures of positive are of {shown}, and the cast of Find Places is {joined(names)}.",
                "Link the same cast to both nodes, or write a line for each person in Prompts (prompts).",
            )


def _check_fits(given: SamplerInputs, node_name: str) -> None:
    """Raise BadSetup for a MODEL that reads its text apart from the picture, and what text_read raises."""
    transformer = attach.text_read(given, node_name).transformer
    if transformer is not None and (transformer.text_reader or transformer.prefix):
        raise BadSetup(
            f"Find Places does not know {transformer.name}, which reads its text apart from the picture.",
            "Use Place Cast, or one of the models that the help page of Find Places lists.",
        )


def seen_of_people(
    node: type[io.ComfyNode],
    given: SamplerInputs,
    clip: CLIP,
    taking: TakingPart,
    words: Sequence[str],
    latent: Mapping[str, Any],
    sampling: Sampling,
    share: float,
) -> SeenPeople:
    """What the MODEL sees of people in the first steps, while the whole picture reads everybody's words, see look_at.

    words: of each person who takes part, "" for none. latent: of one picture. share: the part of the steps after which
    it looks. Raises what _check_fits raises, and BadSetup where nothing is seen.
    """
    everywhere = begin_acting(node, NAME, given, taking, where=None, fits=_check_fits)
    clips = [clip] * len(words)
    # The outputs of `applied` are model, positive and negative.
    outputs = attach.applied(everywhere, clips, words, 1.0, given, everywhere.note_subject())
    given_with_words = SamplerInputs(*outputs.args)
    return probed(given_with_words, latent, sampling, share, clip, words)


@dataclass(frozen=True, eq=False)
class _Where:
    """Who stands where. people_of_places: for each place the index of its person, None for one that stays free.
    bodies: the region of each place, (places, H, W)."""

    layout: Layout
    people_of_places: placing.PeopleOfPlaces
    bodies: Tensor


def _among_bodies(seen: SeenPeople, people: Cast, layout: Layout) -> _Where:
    """The people in the places of a layout, each where the model draws them; some places may stay free.

    Raises BadSize for a layout of another shape than the picture, BadLayout for a place without a body, and
    PlacesNotFound.
    """
    check_shape("the layout of Find Places", (layout.width, layout.height), seen.canvas)
    bodies = torch.stack([regions.body_of_place(layout, number) for number in range(1, len(layout.slots) + 1)])
    names = taking_part.names(people.people)
    # For each person the index of their place.
    place_of_people = found.bodies_of_people(seen.scores, seen.in_cells(bodies), names)
    person_at = {place: person for person, place in enumerate(place_of_people)}
    return _Where(layout, tuple(person_at.get(place) for place in range(len(layout.slots))), bodies)


def _among_cells(seen: SeenPeople, people: Cast, body: str) -> _Where:
    """The people where the MODEL draws them: a new layout with a place for each, in the order of the people.

    Raises PlacesNotFound. body: how much of a person is seen, as in layouts.from_masks.
    """
    names = taking_part.names(people.people)
    masks = seen.on_canvas(found.cells_of_people(seen.scores, seen.hidden, seen.size, names))
    layout = layouts.from_masks(masks, *seen.canvas, body)
    return _Where(layout, tuple(range(len(masks))), masks)


def _placed(node: type[io.ComfyNode], people: Cast, where: _Where, seen: SeenPeople) -> io.NodeOutput:
    """The outputs of the node. Also writes the note under it."""
    names_by_place = ["" if person is None else people.people[person].name for person in where.people_of_places]
    masks_by_person = [where.bodies[where.people_of_places.index(person)] for person in range(len(people.people))]
    # The order tells `troubles` whether people of a photo stay in free places. Here nobody does, as with CUSTOM.
    arranged = Arranged.untouched(where.layout)
    troubles = placing.troubles(people, arranged, where.people_of_places, placing.CUSTOM)
    notes.tell("\n".join(troubles))
    preview = place_previews.numbered_layout(
        where.layout, names_by_place, troubles[: place_previews.MOST_LINES], background=seen.picture, fit="stretch"
    )[None]
    placed = placing.place(people, where.layout, where.people_of_places)
    report = placing.report(people, where.layout, where.people_of_places, troubles)
    return io.NodeOutput(placed, torch.stack(masks_by_person), preview, report, ui=ui.PreviewImage(preview, cls=node))


NODES = [FindPlaces]
