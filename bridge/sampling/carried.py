"""The conditioning carries who, the model carries how: the way from an apply node to the rows of a forward.

An apply node puts something `Carried` into CONDITIONING, where one COND holds what all nodes have put in. The host
batches, masks and schedules it like any other condition, so every row brings its own people or parts. On the MODEL
stands one wrapper, which begins a `Run`: it learns who is in which row of each forward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import comfy.conds
import torch
from comfy.model_base import BaseModel
from comfy.samplers import CFGGuider
from torch import Tensor
from typing_extensions import Self

from ...core.checks.errors import LikenessError, ModelNotPatched
from ..host.schedule import ScheduleRange
from .areas import area_of
from .conditioning import Conditioning, NeverCopied, RunEntry, SamplerInputs, is_zeroed
from .node_of_run import Canvas, NodeOfRun, Pictures


class ConditioningLost(LikenessError):
    """Another pack's function around the MODEL does not hand on what the conditioning carries of ours.

    module: where the code of others around the MODEL lives, "" where none is seen, or where it is not known yet: a run
    then looks for it. why: what is done, in words that follow its name.
    """

    def __init__(self, module: str, why: str) -> None:
        self.module = module
        self.why = why
        if module:
            subject = f"A node of another pack on this MODEL (its code: {module})"
            advice = "Bypass that node, or give it a sampler of its own, without the Likeness node."
        else:
            subject = "ComfyUI or a node on this MODEL"
            advice = (
                "Bypass the other nodes on the MODEL one by one to see which it is, and leave that one out. Without "
                "others, load a file of the model with bf16 or fp8 weights, because kernels for int8 do not call "
                "layers, or update Likeness."
            )
        super().__init__(
            f"{subject} {why}. So the people or parts that Likeness has put into the conditioning would be lost.",
            advice,
        )


@dataclass(frozen=True, eq=False)
class Carried(NeverCopied):
    """What one apply node puts on one side (positive or negative) of the conditioning. Immutable.

    key: of its kind, see runs.Kind. is_for_nets: whether ControlNets of ours read it, and no MODEL.
    source: the same object on both sides of one node.
    schedule: the part of the schedule in which it works; the run makes sigmas of it.
    canvas: that of its node, of which its regions are parts and which a run compares with the latent; None where there
    is nothing to compare.
    words_note_node: the node which has encoded `words`, for notes of a run; None for no note.
    poses: the pose pictures that it has from the user, or None.
    of_negative: what its node puts on the negative side, where that is something else; see read_as_negative.
    """

    key: ClassVar[str]
    is_for_nets: ClassVar[bool] = False
    source: object
    schedule: ScheduleRange
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False)  # see made_once
    canvas: Canvas | None = field(default=None, kw_only=True)
    words_note_node: NodeOfRun | None = field(default=None, kw_only=True)
    poses: Pictures | None = field(default=None, kw_only=True)
    of_negative: Self | None = field(default=None, kw_only=True)

    @property
    def active(self) -> bool:
        """Whether the UNet reads anything of it."""
        return True

    @property
    def by_row(self) -> bool:
        """Whether each row of the batch reads another person; a run makes one Carried for each (for_picture)."""
        return False

    @property
    def acting_regions(self) -> Tensor | None:
        """Where this acts in the picture, (people, H, W); None for everywhere."""
        return None

    @property
    def words(self) -> Sequence[Tensor]:
        """What is read beside the prompt and encoded as the prompt is, (1, T, width) each."""
        return ()

    def beside_changed_text(self, factor: float | None) -> Self:
        """This beside a text that another node has changed since, as Conditioning (Multiply) and (Average) do.

        factor: by which the text was multiplied; None where it was changed in another way.
        """
        return self

    @property
    def by_place(self) -> bool:
        """Whether it matters which part of the picture the UNet is given."""
        return self.acting_regions is not None

    def in_entry(self, entry: RunEntry) -> Self:
        """This with what is known of its entry once a run has begun. entry: of the run."""
        return self

    def begin(self, run: Any) -> None:
        """Called when a sampling has begun that reads this, before the host loads the MODEL. run: a runs.Run.

        Raises BadSize or BadRegion where this does not fit the picture. Its canvas has been held against it before.
        """

    def cells_added(self, model: BaseModel, text_tokens: int) -> int:
        """How many cells (latent pixels) have as many tokens as this adds to every row, for the host's estimate of
        memory. model: the host's. text_tokens: of the text of its entry."""
        return 0

    def can_join_batch(self, other: Any) -> bool:
        """Whether rows that carry this and rows that carry `other`, of the same schedule, can be computed in one batch.

        By default they can where both come from one node, as its positive and its negative side do.
        """
        return self.source is other.source

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> Self:
        """A copy for one area of the latent; this object itself where it acts everywhere.

        area: (height, width, y, x), and latent: (height, width), both in latent pixels.
        """
        return self

    def cropped(self, area: Sequence[int], latent: Sequence[int]) -> Self:
        """What a conditioning entry with this area reads: what `cut` gives, made once for each area and latent.

        This object itself where no place matters. area, latent: as in `cut`.
        """
        if not self.by_place:
            return self
        return self.made_once(("area", *area, *latent), lambda: self.cut(area, latent))

    @property
    def different_pictures(self) -> int:
        """How many pictures of a batch read different things, before they repeat; 0 where all read the same."""
        return 0

    def of_picture(self, number: int) -> Self:
        """A copy with what one of the `different_pictures` reads. number: from 0."""
        raise NotImplementedError

    def for_picture(self, picture_number: int) -> Self:
        """What a picture of a batch reads: what `of_picture` gives, made once; this object where all read the same.

        picture_number: in the chunk, from 0.
        """
        if not self.different_pictures:
            return self
        number = picture_number % self.different_pictures
        return self.made_once(("picture", number), lambda: self.of_picture(number))

    def made_once(self, key: Hashable, make: Callable[[], Self]) -> Self:
        """What `make` gives, a changed copy of this object: made the first time, and the same object from then on.

        Runs keep what they have worked out for something carried under that very object (`eq=False`: it is compared by
        its identity). A new equal object at every step would be worked out anew at every step. It lives as long as what
        it is a copy of, so not by run.kept. key: what tells the changed copies of this object apart.
        """
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


class InBoxes:
    """People who act in their boxes in the place of their regions, where there are boxes: (people, H, W) each."""

    regions: Tensor | None
    boxes: Tensor | None

    @property
    def acting_regions(self) -> Tensor | None:
        """Where people act in the picture, (people, H, W), as the preview shows it; None for everywhere."""
        return self.regions if self.boxes is None else self.boxes


CarriedT = TypeVar("CarriedT", bound=Carried)
PerChunk = tuple[CarriedT, ...]
"""What one node has put into each chunk of a forward; each chunk has equally many rows."""


@dataclass(frozen=True, eq=False)
class CarriedOfPeople(InBoxes, Carried):
    """What is carried of people, who act in regions or have a row of the batch each.

    A subclass names its fields that have something of one person after the other, so that a copy for some of the people
    has their part of each. per_person: these fields are tensors with the people in their first dimension, or tuples
    with an item for each person, or empty. per_person_in_layers: these are tuples with an item for each layer: a tuple
    of such tensors.

    regions, boxes: (people, H, W) of the whole picture, or None, see InBoxes. by_row: as in Carried; people then act in
    all of their pictures, or in the box that each has in theirs. row: the number of the person whose row this is; None
    for all rows.
    """

    per_person: ClassVar[tuple[str, ...]] = ()
    per_person_in_layers: ClassVar[tuple[str, ...]] = ()
    regions: Tensor | None
    boxes: Tensor | None = field(default=None, kw_only=True)
    by_row: bool = field(default=False, kw_only=True)  # pyright: ignore[reportIncompatibleMethodOverride]
    row: int | None = field(default=None, kw_only=True)

    @property
    def acting_regions(self) -> Tensor | None:
        return self.boxes if self.by_row else super().acting_regions

    @property
    def people_count(self) -> int:
        """How many people this has something of."""
        return len(getattr(self, self.per_person[0]))

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> Self:
        if self.acting_regions is None:
            return self
        regions = None if self.regions is None else cut_regions(self.regions, area, latent)
        boxes = None if self.boxes is None else cut_regions(self.boxes, area, latent)
        return replace(self, regions=regions, boxes=boxes)

    @property
    def different_pictures(self) -> int:
        """With by_row one for each person, unless this is what one of the rows reads."""
        return self.people_count if self.by_row and self.row is None else 0

    def of_picture(self, number: int) -> Self:
        """What is carried of one person, whose row of the batch it is. number: of the person, from 0."""
        return replace(self._of_people(slice(number, number + 1)), row=number)

    def _of_people(self, numbers: slice) -> Self:
        """A copy in which the fields of people have these people alone. A slice cuts tensors and tuples alike."""
        picked: dict[str, Any] = {}
        for name in ("regions", "boxes", *self.per_person):
            of_everybody = getattr(self, name)
            picked[name] = None if of_everybody is None else of_everybody[numbers]
        for name in self.per_person_in_layers:
            picked[name] = tuple(tuple(tensor[numbers] for tensor in layer) for layer in getattr(self, name))
        return replace(self, **picked)


@dataclass(frozen=True, eq=False)
class WordsOfPeople(CarriedOfPeople):
    """Words about people, each read where that person is.

    regions: how strongly each person's words are read there: 0 not at all, 1 as the prompt, which everybody reads, 2 as
    if they were there twice. With by_row it is (people, 1, 1). texts: of each person, (1, T, width) float32 on the CPU;
    T is 0 for a person without words.
    """

    per_person = ("texts",)
    regions: Tensor
    texts: tuple[Tensor, ...]

    @property
    def active(self) -> bool:
        return self.people_count > 0

    @property
    def people_count(self) -> int:
        return len(self.regions)

    @property
    def words(self) -> Sequence[Tensor]:
        return [text for text in self.texts if text.shape[1]]

    def beside_changed_text(self, factor: float | None) -> Self:
        """This with its words times the factor."""
        if factor is None or not self.words:
            return self
        key = "times", factor
        return self.made_once(key, lambda: replace(self, texts=tuple(text * factor for text in self.texts)))

    def without_people(self) -> Self:
        """This without anybody, for a side of the conditioning that has nobody.

        As both sides then carry something of one node, the host may compute them in one batch.
        """
        return replace(self._of_people(slice(0)), words_note_node=None)  # without words there is no note on them


CarriedOfPeopleT = TypeVar("CarriedOfPeopleT", bound=CarriedOfPeople)


def one_for_each_row(by_chunk: PerChunk[CarriedT], row_count: int) -> list[CarriedT]:
    """What each row of a batch reads of one node. row_count: rows of the batch."""
    rows_per_chunk = row_count // len(by_chunk)
    rows: list[CarriedT] = []
    for carried in by_chunk:
        rows += [carried] * rows_per_chunk
    return rows


def rows_of_nodes(
    acting: Sequence[PerChunk[CarriedOfPeopleT]],
    row_count: int,
    mixed: ConditioningLost,
    *,
    may_differ: bool,
) -> list[tuple[CarriedOfPeopleT, ...]]:
    """What the rows of a batch read of each node: a tuple with one object for all rows, or with one for each row.

    row_count: of the batch. may_differ: whether rows may read different things of one node also where people have no
    rows. mixed: raised where another pack has joined rows of different nodes, or rows that may not differ and do.
    """
    nodes: list[tuple[CarriedOfPeopleT, ...]] = []
    for by_chunk in acting:
        first = by_chunk[0]
        same_for_all_rows = all(carried is first for carried in by_chunk) and not first.by_row
        is_of_one_node = all(carried.source is first.source for carried in by_chunk)
        if same_for_all_rows:
            nodes.append((first,))
        elif is_of_one_node and (first.by_row or may_differ):
            nodes.append(tuple(one_for_each_row(by_chunk, row_count)))
        else:
            raise mixed
    return nodes


def cut_regions(regions: Tensor, area: Sequence[int], latent: Sequence[int]) -> Tensor:
    """The part of regions that lies in an area of the latent: (people, height of the part, width of the part).

    regions: (people, H, W), of the whole picture, at whatever size. area: (height, width, y, x), and latent: (height,
    width), both in latent pixels.
    """
    height, width, y, x = area
    latent_height, latent_width = latent
    rows = _pixels_of_cells(y, height, regions.shape[1], latent_height)
    columns = _pixels_of_cells(x, width, regions.shape[2], latent_width)
    return regions[:, rows, columns]


def _pixels_of_cells(start: int, length: int, pixel_count: int, cell_count: int) -> slice:
    """The pixels of one side of a region that `length` cells (latent pixels) touch, from the cell `start` on.

    pixel_count, cell_count: of the whole side. One cell is pixel_count / cell_count pixels long.
    """
    first = math.floor(start * pixel_count / cell_count)
    end = math.ceil((start + length) * pixel_count / cell_count)
    return slice(first, end)


class Chunk(NamedTuple):
    """What all rows of one chunk have in common; a chunk is the rows of one conditioning entry in a forward.

    How many rows these are stands in the row table alone. carried: what the entry carries, of all nodes. size: (height,
    width) in latent pixels of an entry with an area of its own, else None.
    """

    carried: tuple[Carried, ...]
    size: tuple[int, int] | None = None


class Rows:
    """What the rows of a forward carry.

    chunks: in the order of the rows; all have equally many rows. A chunk is all rows of an entry; or each row is one,
    where the forward has some rows of an entry alone, or another pack has moved rows. count: of the rows.
    """

    def __init__(self, chunks: Sequence[Chunk], pictures: Sequence[int], *, are_whole: bool) -> None:
        """pictures: of each row, the number of its picture in its entry. are_whole: whether a chunk is all rows of an
        entry, in their order; else each row is a chunk."""
        self.chunks = chunks
        self.count = len(pictures)
        self._pictures = pictures
        self._are_whole = are_whole
        self._by_kind: dict[str, list[tuple[Any, ...]]] = {}

    def of_kind(self, kind: str) -> list[tuple[Any, ...]]:
        """What each chunk carries of one kind, a Carried for each node. kind: the key of the Carried.

        Where people have rows, each row is given as a chunk. So all rows of a chunk are of the same people.
        """
        if kind not in self._by_kind:
            self._by_kind[kind] = self._new_of_kind(kind)
        return self._by_kind[kind]

    def _new_of_kind(self, kind: str) -> list[tuple[Any, ...]]:
        by_chunk = [tuple(item for item in chunk.carried if item.key == kind) for chunk in self.chunks]
        people_have_rows = any(item.by_row for of_chunk in by_chunk for item in of_chunk)
        if self._are_whole and not people_have_rows:
            return by_chunk
        rows_per_chunk = self.count // len(by_chunk)  # 1 where each row is a chunk already
        by_row: list[tuple[Any, ...]] = []
        for row, picture in enumerate(self._pictures):
            by_row.append(tuple(item.for_picture(picture) for item in by_chunk[row // rows_per_chunk]))
        return by_row


class RunOfRows(Protocol):
    """What a CarriedCond asks of the run of its entry, a runs.Run."""

    @property
    def latent(self) -> tuple[int, ...]:
        """(height, width) of what is denoised, in latent pixels."""
        ...

    @property
    def kinds(self) -> Collection[str]:
        """The keys of the kinds that it reads."""
        ...

    def row_table(self, chunks: tuple[Chunk, ...], picture_count: int) -> Tensor:
        """See runs.Run.row_table."""
        ...


class CarriedCond(comfy.conds.CONDRegular):
    """The COND of an entry: all that it carries. Joined with those of others, it becomes the row table of a run.

    cond: what each node has put in, ordered by kind, and within a kind by nodes.
    texts: for each of these the text of the entry, (B, T, width), when it was put beside it; () in a run.
    run: the sampling run that reads it, or None where the MODEL does not come from a node of ours.
    picture_count: pictures of the batch.
    area: (height, width) in latent pixels, of an entry with an area of its own; else None.
    """

    cond: tuple[Carried, ...]

    def __init__(
        self,
        cond: tuple[Carried, ...],
        texts: tuple[Tensor, ...] = (),
        run: RunOfRows | None = None,
        picture_count: int = 1,
        area: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(cond)
        self.texts = texts
        self.run = run
        self.picture_count = picture_count
        self.area = area

    def process_cond(self, batch_size: int, area: Any = None, **_: Any) -> CarriedCond:
        """The COND for one forward, as the host asks for it.

        batch_size: pictures of the batch. area: of the entry as the host has it, or None.
        """
        if area is None or self.run is None:
            return CarriedCond(self.cond, (), self.run, batch_size)
        area_of_entry = area_of(area)
        height, width = area_of_entry[:2]
        cropped = tuple(carried.cropped(area_of_entry, self.run.latent) for carried in self.cond)
        return CarriedCond(cropped, (), self.run, batch_size, area=(height, width))

    def can_concat(self, other: CarriedCond) -> bool:
        """Whether the host may compute rows of both in one batch: what each node has put into them is on at the same
        steps, and can be joined, see Carried.can_join_batch."""
        if len(self.cond) != len(other.cond):
            return False
        for carried, of_other in zip(self.cond, other.cond, strict=True):
            if (carried.key, carried.schedule) != (of_other.key, of_other.schedule):
                return False
            if not carried.can_join_batch(of_other):
                return False
        return True

    def concat(self, others: Sequence[CarriedCond]) -> Tensor:
        """The row table of this entry and of others, (rows, 2), see runs.Run.row_table. An empty tensor for entries of
        which another node has taken the nets out: nobody reads it.

        Raises ModelNotPatched where no run of ours reads what is carried.
        """
        # The host calls `concat` right before each forward. Without a run of ours it would hand what it gets to a UNet
        # that ignores it, and nobody would learn that the people are lost.
        kinds = () if self.run is None else self.run.kinds
        if not all(carried.is_for_nets or carried.key in kinds for carried in self.cond):
            raise ModelNotPatched(
                "The sampler's MODEL does not come from the node that made its conditioning, so people or parts would "
                "be lost.",
                "Connect the model output of the last node of Likeness before the sampler that has one; other model "
                "nodes may stand between. A sampler of another MODEL, such as the SDXL refiner, needs prompts that its "
                "own CLIP has encoded and that go through no node of Likeness.",
            )
        if self.run is None:
            return torch.empty(0, dtype=torch.int64)
        chunks = tuple(Chunk(cond.cond, cond.area) for cond in (self, *others))
        return self.run.row_table(chunks, self.picture_count)

    def size(self) -> list[int]:
        """The shape by which the host estimates the memory of this value, which takes next to none."""
        return [1]


KEY = "likeness"
"""The key of a CarriedCond among the model_conds of an entry, and of the Run among transformer_options."""


def _cond_of(entry: Mapping[str, Any]) -> CarriedCond | None:
    return entry.get("model_conds", {}).get(KEY)


def carried_in(entry: Mapping[str, Any], kind: str) -> tuple[Any, ...]:
    """What an entry carries of one kind, a Carried for each node. entry: its options. kind: the key of the Carried."""
    cond = _cond_of(entry)
    return () if cond is None else tuple(carried for carried in cond.cond if carried.key == kind)


def carry(conditioning: Conditioning, carried: Carried) -> Conditioning:
    """The conditioning with one more Carried in every entry, after those of its kind that the entry has.

    Nothing is changed in place.
    """
    entries: Conditioning = []
    for text, options in conditioning:
        before = _cond_of(options)
        pairs = [] if before is None else list(zip(before.cond, before.texts, strict=True))
        pairs = sorted([*pairs, (carried, text)], key=lambda pair: pair[0].key)  # it keeps the order within a kind
        cond = CarriedCond(tuple(item for item, _ in pairs), tuple(of_item for _, of_item in pairs))
        entries.append([text, {**options, "model_conds": {**options.get("model_conds", {}), KEY: cond}}])
    return entries


def carry_both(given: SamplerInputs, of_positive: CarriedT, of_negative: CarriedT) -> SamplerInputs:
    """The same MODEL, and both sides of the conditioning, each with what a node puts there.

    The positive also gets a reference to what the negative has, for `read_as_negative`.
    """
    positive = carry(given.positive, replace(of_positive, of_negative=of_negative))
    return SamplerInputs(given.model, positive, carry(given.negative, of_negative))


def entries_with(guider: CFGGuider) -> list[tuple[RunEntry, CarriedCond]]:
    """The entries of all sides that carry anything, and the COND that holds it."""
    entries: list[tuple[RunEntry, CarriedCond]] = []
    for side in guider.conds.values():
        for entry in side:
            cond = _cond_of(entry)
            if cond is not None:
                entries.append((entry, cond))
    return entries


def carry_instead(entry: RunEntry, cond: CarriedCond) -> None:
    """Let an entry have this COND from now on. The entry, which is of this sampling alone, is changed."""
    entry["model_conds"] = {**entry["model_conds"], KEY: cond}


def read_as_negative(guider: CFGGuider) -> None:
    """Find negative entries that are zeroed-out copies of the positive, and give them what the negative output has.

    Conditioning Zero Out makes such copies. It hands on all options, so the people of the positive would be in both
    prompts and cancel each other. The guider's entries, which are copies for this sampling, are changed in place.
    """
    for entry in guider.conds.get("negative") or ():
        cond = _cond_of(entry)
        if cond is not None and is_zeroed(entry):
            # An item without of_negative is the same on both sides, or the negative's own.
            carried = tuple(item.of_negative or item for item in cond.cond)
            carry_instead(entry, CarriedCond(carried, cond.texts))


def carried_by_chunk(cond: Mapping[str, Any], options: Mapping[str, Any], kind: str) -> list[tuple[Any, ...]]:
    """What each chunk of a batch carries of one kind, for a ControlNet, which the host calls before the UNet.

    cond: the conditions that the host gives to the ControlNet, with what CarriedCond.concat has given among them.
    options: the transformer_options, with the run among them. Empty where nothing of ours is in the batch. Raises
    ConditioningLost where the run is missing there.
    """
    row_table: Tensor | None = cond.get(KEY)
    if row_table is None:
        return []
    if KEY not in options or not len(row_table):
        raise ConditioningLost("", "asks the ControlNet with conditions or transformer_options of its own")
    return options[KEY].row_tables.rows_of(row_table).of_kind(kind)
