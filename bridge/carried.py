"""The conditioning carries who, the model carries how: the way from an apply node to the rows of a UNet's batch.

An apply node puts something `Carried` into CONDITIONING, as a COND of its own. The host batches, masks and schedules
it like any other condition, so every row brings its own people or parts. On the MODEL stands one wrapper, which begins
a `Run`: it learns who is in which row of each forward. What is then done with them is the business of its subclasses.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import comfy.conds
import comfy.patcher_extension
import torch
from torch import Tensor

from ..core.errors import ConditioningLost, ModelNotPatched, counted
from .conditioning import Conditioning

if TYPE_CHECKING:
    from typing_extensions import Self

ALWAYS = (999999999.9, 0.0)
"""The host's sigmas for 0 % and 100 % of the schedule."""
_WRAPPERS = comfy.patcher_extension.WrappersMP


@dataclass(frozen=True, eq=False)
class Carried:
    """What one apply node puts on one side (positive or negative) of the conditioning. Immutable.

    source: the same object on both sides. sigmas: (start, end), first and last sigma at which it works.
    """

    source: object
    sigmas: tuple[float, float]
    _pieces: dict[Hashable, Any] = field(default_factory=dict, init=False)

    def __deepcopy__(self, memo: Any) -> Self:
        return self  # shared by every clone on purpose

    @property
    def heard(self) -> bool:
        """Whether the UNet reads anything of it."""
        raise NotImplementedError

    @property
    def placed(self) -> bool:
        """Whether it matters which part of the picture the UNet is given."""
        raise NotImplementedError

    def alike(self, other: Any) -> bool:
        """Whether rows with these two can be computed in one batch."""
        raise NotImplementedError

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> Self:
        """The part of it that lies in an area (height, width, y, x) of a latent (height, width)."""
        raise NotImplementedError

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

    def is_on(self, sigmas: Tensor) -> bool:
        """Whether it works at these sigmas. The whole schedule does: asking a GPU for a number makes everybody wait."""
        start, end = self.sigmas
        return (start >= ALWAYS[0] and end <= ALWAYS[1]) or start >= float(sigmas[0]) >= end


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


class CarriedCond(comfy.conds.CONDRegular):
    """A COND whose value is a tuple of Carried; joined, it becomes the rows of a Run.

    run: the sampling run that reads it, or None where the MODEL does not.
    """

    def __init__(
        self, cond: tuple[Any, ...], run: Run | None = None, pictures: int = 1, area: tuple[int, int] | None = None
    ) -> None:
        super().__init__(cond)
        self.run, self.pictures, self.area = run, pictures, area

    def process_cond(self, batch_size: int, area: Any = None, **_: Any) -> CarriedCond:
        if area is None or self.run is None:
            return CarriedCond(self.cond, self.run, batch_size)
        cropped = tuple(one.cropped(area, self.run.latent) for one in self.cond)
        return CarriedCond(cropped, self.run, batch_size, (area[0], area[1]))

    def can_concat(self, other: CarriedCond) -> bool:
        return len(self.cond) == len(other.cond) and all(a.alike(b) for a, b in zip(self.cond, other.cond, strict=True))

    def concat(self, others: Sequence[CarriedCond]) -> Tensor:
        # The host asks for this right before each forward, and would hand it to a UNet that ignores it.
        if self.run is None:
            raise ModelNotPatched
        return self.run.rows(tuple(Chunk(cond.cond, cond.area) for cond in (self, *others)), self.pictures)

    def size(self) -> list[int]:
        return [1]


def put(conditioning: Conditioning, what: Carried, key: str) -> Conditioning:
    """Every entry with one more Carried under `key`."""
    return [[text, _with(options, what, key)] for text, options in conditioning]


def _with(options: dict[str, Any], what: Carried, key: str) -> dict[str, Any]:
    conds = options.get("model_conds", {})
    before = conds[key].cond if key in conds else ()
    return {**options, "model_conds": {**conds, key: CarriedCond((*before, what))}}


# The MODEL


def install(model: Any, key: str, begin: Callable[[Any, Tensor], Run]) -> Any:
    """A clone of the MODEL that reads what is under `key`; a MODEL that does already is returned as it is.

    begin: (guider, latent) at the start of every run -> the run.
    """
    if key in model.wrappers.get(_WRAPPERS.OUTER_SAMPLE, {}):
        return model
    clone = model.clone()
    clone.add_wrapper_with_key(_WRAPPERS.OUTER_SAMPLE, key, partial(_sample, begin))
    return clone


def _sample(begin: Callable[[Any, Tensor], Run], executor: Any, *args: Any, **kwargs: Any) -> Any:
    """OUTER_SAMPLE: the guider's options and conditioning are this run's own copies."""
    guider, latent = executor.class_obj, args[1] if len(args) > 1 else kwargs["latent_image"]
    run = begin(guider, latent)
    for entry in entries(guider, run.key):
        conds = entry["model_conds"]
        entry["model_conds"] = {**conds, run.key: CarriedCond(conds[run.key].cond, run)}
    options = guider.model_options["transformer_options"]
    options[run.key] = run
    # Behind all others: what they hand on is what the UNet is given.
    comfy.patcher_extension.add_wrapper_with_key(_WRAPPERS.CALC_COND_BATCH, run.key, run.evaluate, options)
    comfy.patcher_extension.add_wrapper_with_key(_WRAPPERS.DIFFUSION_MODEL, run.key, run.forward, options)
    return executor(*args, **kwargs)


def entries(guider: Any, key: str) -> list[dict[str, Any]]:
    """The entries of a guider's conditioning that carry something under `key`."""
    return [entry for side in guider.conds.values() for entry in side if key in entry["model_conds"]]


class Run:
    """One sampling run of a MODEL that reads what conditioning carries under `key`: who is in which row.

    In a batch that is a tensor with one line per row, like every other condition: where another pack's function around
    the MODEL takes rows apart, repeats or reorders them, ours go along.
    No dictionary, and no copies: the host copies those at every step.
    """

    key: ClassVar[str]

    def __init__(self, guider: Any, latent: Tensor) -> None:
        self.latent: tuple[int, ...] = tuple(latent.shape[-2:])
        """(height, width) of what is denoised, in latent pixels."""
        self._device = guider.model_patcher.load_device
        self._numbers = dict[Chunk, int]()
        self._chunks: dict[int, Chunk] = {}
        self._batches: dict[tuple[tuple[Chunk, ...], int], Tensor] = {}
        self._whole: dict[Hashable, tuple[Chunk, ...]] = {}
        self._asked = self._arrived = False
        self._around: str = ""

    def __deepcopy__(self, memo: Any) -> Run:
        return self

    def everything(self, guider: Any) -> list[Any]:
        """All that the conditioning of this run carries."""
        return [one for entry in entries(guider, self.key) for one in entry["model_conds"][self.key].cond]

    def rows(self, chunks: tuple[Chunk, ...], pictures: int) -> Tensor:
        """(rows, 2): per row the number of its chunk, and of the picture in it.

        The same tensor for the same batch, on the device already: `read` knows it by that, without asking a GPU.
        """
        self._asked |= _heard(chunks)
        batch = chunks, pictures
        if batch not in self._batches:
            numbers = [self._numbers.setdefault(chunk, len(self._numbers)) for chunk in chunks]
            self._chunks |= dict(zip(numbers, chunks, strict=True))
            lines = tuple((number, picture) for number in numbers for picture in range(pictures))
            kept = self._batches.setdefault(batch, torch.tensor(lines, device=self._device))
            self._whole[id(kept)] = self._whole[lines] = chunks
        return self._batches[batch]

    def read(self, rows: Tensor) -> tuple[Chunk, ...]:
        """The chunks of a batch, of equally many rows each: the host's, or one per row where others have cut it."""
        whole = self._whole.get(id(rows))
        if whole is None:
            lines = tuple(map(tuple, rows.tolist()))
            whole = self._whole.get(lines) or tuple(self._row(number, int(picture)) for number, picture in lines)
        return whole

    def _row(self, number: int, picture: int) -> Chunk:
        carried, size = self._chunks[number]
        return Chunk(tuple(one.of(picture) for one in carried), size)

    def evaluate(
        self, executor: Any, model: Any, conds: Any, x_in: Tensor, timestep: Tensor, model_options: dict[str, Any]
    ) -> Any:
        """CALC_COND_BATCH: all forwards of one step."""
        self.latent, self._around = tuple(x_in.shape[-2:]), _around(model_options)
        out = executor(model, conds, x_in, timestep, model_options)
        if self._asked and not self._arrived:
            why = "drops conditions that it does not know, or makes transformer_options of its own"
            raise ConditioningLost(self._around, why)
        return out

    def forward(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        """DIFFUSION_MODEL: from the batched conditioning to where the UNet reads it."""
        rows: Tensor | None = kwargs.pop(self.key, None)
        if rows is None:
            return executor(*args, **kwargs)
        self._arrived = True
        chunks = self.read(rows)
        if not _heard(chunks):
            return executor(*args, **kwargs)
        self._check(args[0], len(rows), chunks)
        return self.denoise(tuple(chunk.carried for chunk in chunks), executor, *args, **kwargs)

    def denoise(self, chunks: tuple[tuple[Any, ...], ...], executor: Any, *args: Any, **kwargs: Any) -> Any:
        """One forward, with what each chunk carries. args: x, timesteps, context, y, control, transformer_options."""
        raise NotImplementedError

    def _check(self, x: Tensor, rows: int, chunks: Sequence[Chunk]) -> None:
        """Raise ConditioningLost where nobody can tell which row or which part of the picture is meant."""
        if len(x) != rows:
            given = counted(rows, "row")
            raise ConditioningLost(self._around, f"hands over conditions of {given} with {len(x)} of the pictures")
        found = tuple(x.shape[-2:])
        for carried, size in chunks:
            whole = size or self.latent
            if whole != found and any(one.placed for one in carried):
                height, width = (8 * side for side in found)
                pixels = f"{width}x{height} of {8 * whole[1]}x{8 * whole[0]} px"
                raise ConditioningLost(self._around, f"shows it {pixels}, but regions or a pose belong to the whole")


def chunks_of(cond: Mapping[str, Any], options: Mapping[str, Any], key: str) -> list[tuple[Any, ...]]:
    """What each chunk of a batch carries under `key`, for a ControlNet that the host asks before the UNet."""
    if key not in cond:
        return []
    if key not in options:
        raise ConditioningLost("unknown", "asks the ControlNet with transformer_options of its own")
    return [chunk.carried for chunk in options[key].read(cond[key])]


def _heard(chunks: Sequence[Chunk]) -> bool:
    return any(one.heard for chunk in chunks for one in chunk.carried)


def _around(model_options: Mapping[str, Any]) -> str:
    """Where the code lives that other packs have put around the MODEL."""
    if "model_function_wrapper" in model_options:
        return _module_of(model_options["model_function_wrapper"])
    wrappers = model_options["transformer_options"]["wrappers"]
    kinds = (_WRAPPERS.CALC_COND_BATCH, _WRAPPERS.APPLY_MODEL, _WRAPPERS.DIFFUSION_MODEL)
    functions = [one for kind in kinds for several in wrappers.get(kind, {}).values() for one in several]
    others = [one for one in functions if not isinstance(getattr(one, "__self__", None), Run)]
    return ", ".join(dict.fromkeys(_module_of(one) for one in others)) or "unknown"


def _module_of(function: Any) -> str:
    function = function.func if isinstance(function, partial) else function
    return getattr(function, "__module__", None) or type(function).__module__
