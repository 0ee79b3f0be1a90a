"""A cast as reference pictures, for models that take several and are told in words who is who; each read by region.

By region a picture token in somebody's region reads text, picture and that person's references, one outside nobody's or
everybody's; a reference reads text, picture and those of its own person; text reads no person. What belongs to nobody
(a room, a pose) is read by all.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.samplers import CFGGuider
from comfy.sd import CLIP, VAE
from comfy_api.latest import io, ui
from torch import Tensor
from typing_extensions import Self

from ...bridge import notes, schema
from ...bridge.carried import Carried, CarriedCond, ConditioningLost, put
from ...bridge.conditioning import Canvas, Conditioning
from ...bridge.presence import NamedRange, announced, of_people
from ...bridge.runs import Batch, Given, Run, entries, patched
from ...bridge.schedule import schedule_range
from ...bridge.transformers import networks
from ...bridge.transformers.attention import with_reading
from ...bridge.transformers.networks import TOKEN, tokens_of
from ...bridge.unet import Options, pixels_of, with_patch
from ...core import previews
from ...core.errors import BadSetup, LikenessError, counted
from ...core.people import require_places
from ...core.places import drawing, regions
from ...core.places.regions import BadRegion
from ...core.token_groups import Split
from ..categories import IN_ALSO
from ..sockets import CastOrPersonSocket
from .encoding import REFERENCES, PeopleReferences, encoded, family_of, latents_of, referring, seen_of, whose
from .net import Plan, Tokens, groups, on_tokens
from .pictures import SENTENCES, captioned, references, remarks, with_sentences

NAME = "People as References"


class PeopleAsReferences(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessPeopleAsReferences",
            category=IN_ALSO,
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
            ],
            outputs=[io.Conditioning.Output("positive"), io.Conditioning.Output("negative"), io.String.Output("text")],
            is_experimental=True,
        )

    @classmethod
    def execute(
        cls,
        clip: CLIP,
        vae: VAE,
        cast: Any,  # a Cast or an Identity
        prompt: str,
        negative_prompt: str,
        pictures: Tensor | None = None,
        *,
        sentences: str,
        size: int,
        photos_per_person: int,
        pose_picture: bool,
    ) -> io.NodeOutput:
        networks.require_dits(NAME)
        family, everybody = family_of(clip), regions.as_cast(cast)
        found = references(regions.present(everybody), photos_per_person, size, pictures, pose_picture, NAME)
        of_whom = tuple(one.person for one in found for _ in one.pictures)
        notes.tell(notes.node_of(cls), "\n".join(remarks(everybody)))
        record = PeopleReferences(everybody, tuple(latents_of(vae, family, found)), of_whom)
        text, seen = with_sentences(prompt, found, family.word, sentences), seen_of(family, found)
        sides = [encoded(clip, family, words, seen) for words in (text, negative_prompt)]
        positive, negative = (referring(side, record, NAME) for side in sides)
        shown = None
        if found:
            portraits, captions = zip(*captioned(found, family.word), strict=True)
            shown = ui.PreviewImage(previews.contact_sheet(portraits, captions, lines=2), cls=cls)
        return io.NodeOutput(positive, negative, text, ui=shown)


_PLAN = "likeness_bound_references_plan"
"""Of transformer_options inside of a forward: the Plan for its tokens."""


class TokensChanged(LikenessError):
    """A node of another pack that adds tokens to a picture and its references, or takes some away."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"Another node on this MODEL has made {found} tokens of the {known} that this picture and its references "
            "have, so their people are unknown.",
            "Take that node out, or References by Region.",
        )


@dataclass(frozen=True, eq=False)
class BoundReferences(Carried):
    """What one node says of one record of references; the same object on both sides of the conditioning.

    record: which latents are whose. regions: (people, H, W), 0..1, of the whole picture, of present(cast).people.
    names: theirs. strength: 0..1. everybody: what picture tokens outside of all regions read of people, all or nothing.
    canvas: what the regions are parts of. owners: per reference latent of the entry the number of its person or None,
    once a run has begun.
    """

    key = "likeness_bound_references"
    record: PeopleReferences
    regions: Tensor
    names: tuple[str, ...]
    strength: float
    everybody: bool
    canvas: Canvas
    owners: tuple[int | None, ...] = ()

    def alike(self, other: Any) -> bool:
        return self is other

    def known(self, entry: Mapping[str, Any]) -> Self:
        """In an entry with these options. Raises BadSetup."""
        owners = whose({**entry, REFERENCES: self.record})
        bound, found = (sum(one is not None for one in each) for each in (self.record.people, owners))
        if missing := bound - found:
            raise BadSetup(
                f"Of {counted(bound, 'reference')} of people, {missing} {'is' if missing == 1 else 'are'} no longer in "
                "the conditioning: a node behind References by Region has replaced them, so their people are unknown.",
                "Put that node in front of People as References, or take it out.",
            )
        return self.piece(owners, lambda: replace(self, owners=owners))

    def on_tokens(self, height: int, width: int) -> Tensor:
        """(people, rows, columns) bool of a picture of this size in pixels."""
        return on_tokens(self.regions, height, width, TOKEN)

    def check(self, height: int, width: int) -> None:
        """For a picture of this size in pixels: raise BadSize for another shape, and BadRegion for somebody who has no
        token of it."""
        self.canvas.check((self.regions.shape[2], self.regions.shape[1]), (width, height))
        check_tokens(self.on_tokens(height, width), self.names, height, width)


def check_tokens(found: Tensor, names: Sequence[str], height: int, width: int) -> None:
    """Raise BadRegion for somebody without a token, of (people, rows, columns) bool."""
    for one, name in zip(found, names, strict=True):
        if not one.any():
            why = f"of a picture of {width}x{height} px it covers no token ({TOKEN}x{TOKEN} px) by half"
            raise BadRegion(name, why, "Raise margin, paint a larger mask, or use a larger picture.")


def bound(
    sides: Sequence[Conditioning], make: Callable[[PeopleReferences], BoundReferences], node: str
) -> list[Conditioning]:
    """Every entry that has people's references with what `make` says of them, the same for one record.

    Raises BadSetup where none comes from People as References; there everybody may have weight 0."""
    made = dict[int, BoundReferences]()

    def said(entry: list[Any]) -> list[Any]:
        record: PeopleReferences | None = entry[1].get(REFERENCES)
        if record is None or all(one is None for one in record.people):
            return entry
        if id(record) not in made:
            made[id(record)] = make(record)
        return put([entry], made[id(record)])[0]

    found = [[said(entry) for entry in side] for side in sides]
    if not any(REFERENCES in options for side in sides for _, options in side):
        why = f"{node} finds no references of the cast: neither positive nor negative comes from People as References."
        raise BadSetup(why, "Put People as References in front of it; other conditioning nodes may stand between.")
    return found


class BoundReferencesRun(Run):
    """One sampling run of a MODEL that reads references by region."""

    key = BoundReferences.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        for entry in entries(guider, self.key):
            conds = entry["model_conds"]
            known = tuple(one.known(entry) for one in conds[self.key].cond)
            entry["model_conds"] = {**conds, self.key: CarriedCond(known)}
        super().__init__(guider, latent)
        self._batches: dict[Hashable, BoundBatch] = {}
        pixels = pixels_of(guider.model_patcher.model)
        for one in self.everything(guider):
            one.check(*(pixels * side for side in self.latent))

    def batch(self, chunks: tuple[tuple[BoundReferences, ...], ...], given: Given) -> "BoundBatch | None":
        """Of several that are on at this step the last one counts."""
        on = [each for each in zip(*chunks, strict=True) if self.is_on(each[0], given.sigmas)]
        if not on or not given.references:
            return None
        last, *others = on[-1]
        if any(other is not last for other in others) or len(last.owners) != len(given.references):
            raise ConditioningLost(self._around, "joins rows whose references belong to different people")
        counts = tuple(tokens_of(given.model, one) for one in given.references)
        what = last, given.x.shape, counts, given.x.device
        if what not in self._batches:
            height, width = (pixels_of(given.model) * side for side in given.x.shape[-2:])
            regions = last.on_tokens(height, width).flatten(1)
            frames = tokens_of(given.model, given.x) // regions.shape[1]
            self._batches[what] = BoundBatch(last, regions.repeat(1, frames), counts, len(given.x), given.x.device)
        self._batches[what].plan(given.context.shape[1])  # ready before anything that torch.compile sees
        return self._batches[what]


class BoundBatch(Batch):
    """Attention in which queries read references by region.

    regions: (people, picture tokens) bool. counts: tokens of each reference.
    """

    def __init__(
        self, said: BoundReferences, regions: Tensor, counts: tuple[int, ...], rows: int, device: torch.device
    ) -> None:
        self.rows, self._said, self._regions, self._counts, self._device = rows, said, regions, counts, device
        self._plans: dict[int, Plan] = {}

    def plan(self, text: int) -> Plan:
        """For so many tokens of text."""
        if text not in self._plans:
            tokens = Tokens(text, self._regions.shape[1], self._counts)
            read = groups(tokens, self._regions, self._said.owners, self._said.everybody)
            self._plans[text] = Plan(tokens, read, self._device, self._said.strength)
        return self._plans[text]

    def around(self, options: Options) -> Options:
        return with_reading(with_patch(options, "post_input", self.seen), self)

    def seen(self, given: Options) -> Options:
        """The host's post_input patch, behind those of others: what the blocks are given."""
        plan, found = self.plan(given["txt"].shape[1]), given["img"].shape[1]
        references = sum(plan.tokens.references)
        if found not in (plan.tokens.picture, plan.tokens.picture + references):
            raise TokensChanged(found, plan.tokens.picture + references)
        given["transformer_options"][_PLAN] = plan
        return given

    def split(self, queries: int, keys: int, options: Options) -> Split | None:
        """An attention that is not over text, picture and references is not split."""
        plan: Plan | None = options.get(_PLAN)
        if plan is None:
            return None
        if queries in (plan.tokens.own, plan.tokens.all) and keys > plan.tokens.all:
            raise TokensChanged(keys, plan.tokens.all)
        return plan.of(queries, keys)


BIND = "References by Region"
NOBODY, EVERYBODY = "nobody", "everybody"


class BindReferences(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        extent, margin, _feather = schema.region_inputs()
        return io.Schema(
            node_id="LikenessBindReferences",
            category=IN_ALSO,
            inputs=[
                *schema.applied_inputs(),
                io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.05),
                *schema.range_inputs(),
                io.Combo.Input("outside", options=[NOBODY, EVERYBODY]),
                schema.advanced(extent),
                schema.advanced(margin),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=schema.applied_outputs(),
            is_experimental=True,
        )

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
        networks.require_dits(BIND)
        if strength == 0:
            return io.NodeOutput(model, positive, negative)
        networks.family(model)
        records: list[PeopleReferences] = [o[REFERENCES] for _, o in (*positive, *negative) if REFERENCES in o]
        by_row = next((one.cast for one in records if one.cast.by_row), None)
        if mask is not None:
            regions.check_one_picture(by_row)
        notes.tell(notes.node_of(cls), ROWS if by_row else "")
        if by_row:
            return io.NodeOutput(model, positive, negative)
        window = schedule_range(BIND, start_percent, end_percent)
        canvas = Canvas(BIND, node_id=notes.node_of(cls))
        shown = list[Tensor]()

        def said(record: PeopleReferences) -> BoundReferences:
            networks.check_latents(record.latents, model, BIND)
            people = regions.present(record.cast).people
            if mask is None:
                placed = require_places(record.cast, BIND)
                areas = regions.of_present(placed, people, None, extent, margin, 0)
            else:
                areas = regions.of_masks(mask, record.cast)
            names = tuple(regions.names(people))
            made = BoundReferences(object(), window, record, areas, names, strength, outside == EVERYBODY, canvas)
            height, width = areas.shape[1:]
            tokens = made.on_tokens(height, width)
            check_tokens(tokens, names, height, width)
            whole = tokens.float().repeat_interleave(TOKEN, 1).repeat_interleave(TOKEN, 2)[:, :height, :width]
            shown.append(drawing.read_regions(whole, people))
            return made

        sides = bound((positive, negative), said, BIND)
        if not shown:
            return io.NodeOutput(model, positive, negative)
        names = [name for record in records for name in regions.names(regions.present(record.cast).people)]
        ranges = [NamedRange("the references", window)]
        presence = of_people(list(dict.fromkeys(names)), BIND, notes.node_of(cls), ranges)
        outputs = announced(presence, patched(model, BoundReferencesRun), *sides)
        return io.NodeOutput(*outputs, ui=ui.PreviewImage(shown[0][None], cls=cls))


ROWS = "Nothing to bind: with the cast of Crop Faces each person has a row of the batch, with their reference alone."

NODES = [PeopleAsReferences, BindReferences]
