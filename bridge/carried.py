"""The conditioning carries who, the model carries how: the way from an apply node to the rows of a UNet's batch.

An apply node puts something `Carried` into CONDITIONING, as a COND of its own. The host batches, masks and schedules
it like any other condition, so every row brings its own people or parts. On the MODEL stands one wrapper, which begins
a `Run`: it learns who is in which row of each forward. What is then done with them is the business of its subclasses.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Protocol

import comfy.conds
from torch import Tensor
from typing_extensions import Self

from ..core.errors import BadSetup, LikenessError
from .areas import area_of
from .canvas import Canvas
from .conditioning import Conditioning
from .schedule import ScheduleRange


class ConditioningLost(LikenessError):
    """Another pack's function around the MODEL, `module` is where it lives, that does not hand on what ours carries."""

    def __init__(self, module: str, why: str) -> None:
        super().__init__(
            f"A node of another pack on this MODEL (its code: {module}) {why}. So the people, styles or parts that "
            "Likeness has put into the conditioning would be lost.",
            "Bypass that node, or give it a sampler of its own, without the Likeness node.",
        )


@dataclass(frozen=True, eq=False)
class Carried:
    """What one apply node puts on one side (positive or negative) of the conditioning. Immutable.

    key: under which conditioning holds it. source: the same object on both sides. schedule: the part of the schedule in
    which it works; the run makes sigmas of it. trained: the node, where what it adds was trained with SDXL's own
    latents; else None.
    """

    key: ClassVar[str]
    source: object
    schedule: ScheduleRange
    _pieces: dict[Hashable, Any] = field(default_factory=dict, init=False)
    trained: Canvas | None = field(default=None, kw_only=True)

    def __deepcopy__(self, memo: object) -> Self:
        return self  # shared by every clone on purpose

    @property
    def active(self) -> bool:
        """Whether the UNet reads anything of it."""
        return True

    @property
    def acts(self) -> Tensor | None:
        """Where in the picture, (people, H, W), or None: everywhere. Its `regions`, where it has any."""
        return getattr(self, "regions", None)

    @property
    def placed(self) -> bool:
        """Whether it matters which part of the picture the UNet is given."""
        return self.acts is not None

    def alike(self, other: Any) -> bool:
        """Whether rows with these two can be computed in one batch: those of both sides of one node."""
        return self.source is other.source

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> Self:
        """The part of it that lies in an area (height, width, y, x) of a latent (height, width)."""
        return self if self.acts is None else replace(self, regions=cut_regions(self.acts, area, latent))

    def cropped(self, area: Sequence[int], latent: Sequence[int]) -> Self:
        """For an entry with an area: the UNet sees only that part."""
        return self.piece((*area, *latent), lambda: self.cut(area, latent)) if self.placed else self

    def of(self, picture: int) -> Self:
        """For one picture of a batch."""
        return self

    def piece(self, which: Hashable, make: Callable[[], Self]) -> Self:
        """Remembered, because what is worked out for it is found by it at the next step."""
        if which not in self._pieces:
            self._pieces[which] = make()
        return self._pieces[which]


def cut_regions(regions: Tensor, area: Sequence[int], latent: Sequence[int]) -> Tensor:
    """Regions (people, H, W) of the whole picture in an area (height, width, y, x) of a latent (height, width)."""
    height, width, y, x = area
    high, wide = regions.shape[1:]
    return regions[:, _part(y, height, high, latent[0]), _part(x, width, wide, latent[1])]


def _part(start: int, length: int, pixels: int, cells: int) -> slice:
    """The pixels that belong to `length` cells of a latent from `start` on: all that they touch."""
    return slice(start * pixels // cells, -(-(start + length) * pixels // cells))


class Chunk(NamedTuple):
    """What the rows of one conditioning entry carry; size: (height, width) in latent pixels where it has an area."""

    carried: tuple[Any, ...]
    size: tuple[int, int] | None = None


class Reader(Protocol):
    """A sampling run, see runs.Run, as far as conditioning knows it."""

    latent: tuple[int, ...]

    def rows(self, chunks: tuple[Chunk, ...], pictures: int) -> Tensor: ...


class CarriedCond(comfy.conds.CONDRegular):
    """A COND whose value is a tuple of Carried; joined, it becomes the rows of a run.

    run: the sampling run that reads it, or None where the MODEL does not.
    """

    def __init__(
        self, cond: tuple[Any, ...], run: Reader | None = None, pictures: int = 1, area: tuple[int, int] | None = None
    ) -> None:
        super().__init__(cond)
        self.run, self.pictures, self.area = run, pictures, area

    def process_cond(self, batch_size: int, area: Any = None, **_: Any) -> "CarriedCond":
        if area is None or self.run is None:
            return CarriedCond(self.cond, self.run, batch_size)
        place = area_of(area)
        cropped = tuple(one.cropped(place, self.run.latent) for one in self.cond)
        return CarriedCond(cropped, self.run, batch_size, place[:2])

    def can_concat(self, other: "CarriedCond") -> bool:
        return len(self.cond) == len(other.cond) and all(a.alike(b) for a, b in zip(self.cond, other.cond, strict=True))

    def concat(self, others: "Sequence[CarriedCond]") -> Tensor:
        # The host asks for this right before each forward, and would hand it to a UNet that ignores it.
        if self.run is None:
            raise BadSetup(
                "The sampler's MODEL does not come from the node that made its conditioning, so people or parts would "
                "be lost.",
                "Connect the model output of the last node of Likeness before the sampler that has one; other model "
                "nodes may stand between. A sampler of another MODEL, such as the SDXL refiner, needs prompts that its "
                "own CLIP has encoded and that go through no node of Likeness.",
            )
        return self.run.rows(tuple(Chunk(cond.cond, cond.area) for cond in (self, *others)), self.pictures)

    def size(self) -> list[int]:
        return [1]


def put(conditioning: Conditioning, what: Carried) -> Conditioning:
    """Every entry with one more Carried."""
    entries: Conditioning = []
    for text, options in conditioning:
        conds = options.get("model_conds", {})
        before = conds[what.key].cond if what.key in conds else ()
        conds = {**conds, what.key: CarriedCond((*before, what))}
        entries.append([text, {**options, "model_conds": conds}])
    return entries


def chunks_of(cond: Mapping[str, Any], options: Mapping[str, Any], key: str) -> list[tuple[Any, ...]]:
    """What each chunk of a batch carries under `key`, for a ControlNet that the host asks before the UNet."""
    if key not in cond:
        return []
    if key not in options:
        raise ConditioningLost("unknown", "asks the ControlNet with transformer_options of its own")
    return [chunk.carried for chunk in options[key].read(cond[key])]
