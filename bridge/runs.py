"""One sampling run of a MODEL: who is in which row of each forward, and what is ready for it.

All of that happens before the UNet is called. torch.compile, which compiles the UNet and what stands in its layers,
sees a `Batch` alone: tensors that lie ready, and what is done with them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import comfy.patcher_extension
import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor
from comfy.samplers import CFGGuider
from torch import Tensor

from ..core.errors import counted
from .carried import Carried, CarriedCond, Chunk, ConditioningLost
from .conditioning import WHOLE_LATENT
from .remarks import Start, tell_of_start
from .schedule import ScheduleRange, SigmaRange
from .unet import Options, dtype_of, pixels_of

_WRAPPERS = comfy.patcher_extension.WrappersMP


def patched(model: ModelPatcher, *runs: type[Run]) -> ModelPatcher:
    """A clone of the MODEL that begins these whenever it samples; a MODEL that does already is returned as it is."""
    new = [run for run in runs if run.key not in model.wrappers.get(_WRAPPERS.OUTER_SAMPLE, {})]
    if not new:
        return model
    clone = model.clone()
    for run in new:
        clone.add_wrapper_with_key(_WRAPPERS.OUTER_SAMPLE, run.key, partial(_sample, run))
    return clone


def _sample(begin: type[Run], executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
    """OUTER_SAMPLE: the guider's options and conditioning are this run's own copies."""
    guider, start = executor.class_obj, Start.of_call(args, kwargs)
    run = begin(guider, start.latent_image)
    tell_of_start(run.everything(guider), guider, start)
    for entry in entries(guider, run.key):
        conds = entry["model_conds"]
        entry["model_conds"] = {**conds, run.key: CarriedCond(conds[run.key].cond, run)}
    options = guider.model_options["transformer_options"]
    options[run.key] = run
    # Behind all others: what they hand on is what the UNet is given.
    for kind, ours in (
        (_WRAPPERS.CALC_COND_BATCH, run.evaluate),
        (_WRAPPERS.APPLY_MODEL, run.apply),
        (_WRAPPERS.DIFFUSION_MODEL, run.forward),
    ):
        comfy.patcher_extension.add_wrapper_with_key(kind, run.key, ours, options)
    try:
        return executor(*args, **kwargs)
    finally:
        run.ended()


def entries(guider: CFGGuider, key: str) -> list[dict[str, Any]]:
    """The entries of a guider's conditioning that carry something under `key`."""
    return [entry for side in guider.conds.values() for entry in side if key in entry["model_conds"]]


class Given(NamedTuple):
    """What one forward is given. model: the host's; x: (B, C, h, w), or (B, C, T, h, w); sigmas: (B,); context:
    (B, T, width); options: the host's transformer_options; references: latents of reference pictures, like x."""

    model: BaseModel
    x: Tensor
    sigmas: Tensor
    context: Tensor
    options: Options
    references: Sequence[Tensor] = ()

    def like(self) -> Tensor:
        """Nothing, in the place and the dtype in which the UNet computes."""
        return torch.empty(0, device=self.x.device, dtype=dtype_of(self.model))


@dataclass(frozen=True, eq=False)
class Sent:
    """A batch on its way through the functions that others have put around the UNet.

    rows: the tensor it was made of, which goes beside it; while that comes as the same, nobody has touched it.
    """

    batch: Batch
    rows: Tensor
    given: Given


class Batch:
    """What the rows of one forward read, ready on the device. rows: how many there are."""

    rows: int

    def around(self, options: Options) -> Options:
        """transformer_options with this batch's attention around whatever stands in the layers."""
        raise NotImplementedError

    def prepared(self) -> AbstractContextManager[None]:
        """Around a whole forward, outside of what torch.compile sees: with what has to stand in the network meanwhile.
        Nothing of it is left there afterwards, whatever is raised."""
        return nullcontext()

    def inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the network is called with behind the latents, args: (timestep, text, ...), as this batch needs it."""
        return args, kwargs

    def passed(self) -> None:
        """Called when the network has been called with `around`, or has raised."""

    def done(self) -> None:
        """Called when the forward has run."""


class Run:
    """One sampling run of a MODEL that reads what conditioning carries under `key`: who is in which row.

    In a batch that is a tensor with one line per row, like every other condition: where another pack's function around
    the MODEL takes rows apart, repeats or reorders them, ours go along.
    No dictionary, and no copies: the host copies those at every step.
    """

    key: ClassVar[str]

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        self.latent: tuple[int, ...] = tuple(latent.shape[-2:])
        """(height, width) of what is denoised, in latent pixels."""
        self._device = guider.model_patcher.load_device
        self._model_sampling = guider.model_patcher.get_model_object("model_sampling")
        self._sigma_ranges = dict[ScheduleRange, SigmaRange]()
        self._numbers = dict[Chunk, int]()
        self._chunks: dict[int, Chunk] = {}
        self._rows: dict[tuple[tuple[Chunk, ...], int], Tensor] = {}
        self._whole: dict[Hashable, tuple[Chunk, ...]] = {}
        self._numbering = threading.Lock()
        self._asked = self._arrived = False
        self._around: str = ""
        self.schedule: Tensor | None = None
        """Every sigma of the run, once it has begun."""

    def __deepcopy__(self, memo: object) -> Run:
        return self

    def everything(self, guider: CFGGuider) -> list[Any]:
        """All that the conditioning of this run carries."""
        return [one for entry in entries(guider, self.key) for one in entry["model_conds"][self.key].cond]

    def is_on(self, carried: Carried, sigmas: Tensor) -> bool:
        """Whether something works at these sigmas, (B,), by the schedule of the MODEL that samples.

        For the whole schedule nobody is asked: to read a number of a GPU makes everybody wait.
        """
        if carried.schedule.is_whole:
            return True
        if carried.schedule not in self._sigma_ranges:
            self._sigma_ranges[carried.schedule] = carried.schedule.in_sigmas(self._model_sampling)
        return self._sigma_ranges[carried.schedule].contains(float(sigmas[0]))

    def rows(self, chunks: tuple[Chunk, ...], pictures: int) -> Tensor:
        """(rows, 2): per row the number of its chunk, and of the picture in it.

        The same tensor for the same batch, on the device already: `read` knows it by that, without asking a GPU.
        """
        if _active(chunks):
            self._asked = True
        batch = chunks, pictures
        # MultiGPU CFG Split asks from several threads at once: no two chunks may get one number.
        with self._numbering:
            if batch not in self._rows:
                numbers = [self._numbers.setdefault(chunk, len(self._numbers)) for chunk in chunks]
                self._chunks |= dict(zip(numbers, chunks, strict=True))
                lines = tuple((number, picture) for number in numbers for picture in range(pictures))
                kept = torch.tensor(lines, device=self._device)
                self._rows[batch] = kept
                self._whole[id(kept)] = self._whole[lines] = chunks
            return self._rows[batch]

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
        self,
        executor: WrapperExecutor,
        model: BaseModel,
        conds: Any,
        x_in: Tensor,
        timestep: Tensor,
        model_options: dict[str, Any],
    ) -> list[Tensor]:
        """CALC_COND_BATCH: all forwards of one step."""
        self.latent, self._around = tuple(x_in.shape[-2:]), _around(model_options)
        options = model_options["transformer_options"]
        options[WHOLE_LATENT] = self.latent
        self.schedule = options.get("sample_sigmas")
        out = executor(model, conds, x_in, timestep, model_options)
        if self._asked and not self._arrived:
            why = "drops conditions that it does not know, or makes transformer_options of its own"
            raise ConditioningLost(self._around, why)
        return out

    def apply(
        self,
        executor: WrapperExecutor,
        x: Tensor,
        t: Tensor,
        c_concat: Tensor | None = None,
        c_crossattn: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """APPLY_MODEL, before anything that torch.compile sees: from the batched conditioning to what is read of it."""
        given = x, t, c_concat, c_crossattn, *args
        rows: Tensor | None = kwargs.pop(self.key, None)
        if rows is None:
            return executor(*given, **kwargs)
        assert c_crossattn is not None  # the conditioning of every UNet with cross-attention
        options = args[1] if len(args) > 1 else kwargs.get("transformer_options", {})
        seen = Given(executor.class_obj, x, t, c_crossattn, options, kwargs.get("ref_latents", ()))
        batch = self._read(rows, seen)
        if batch is None:
            self._arrived = True
            return executor(*given, **kwargs)
        sent = Sent(batch, rows, seen)
        with batch.prepared():
            out = executor(*given, **kwargs, **{self.key: rows, f"{self.key}_batch": sent})
        batch.done()
        return out

    def _read(self, rows: Tensor, given: Given) -> Batch | None:
        chunks = self.read(rows)
        if not _active(chunks):
            return None
        self._check(given, len(rows), chunks)
        return self.batch(tuple(chunk.carried for chunk in chunks), given)

    def forward(self, executor: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """DIFFUSION_MODEL: the batch goes where the UNet reads it, made anew where others have moved rows or cut tiles
        after it was made.

        What stands between the text and transformer_options differs between UNets and transformers."""
        sent: Sent | None = kwargs.pop(f"{self.key}_batch", None)
        rows: Tensor | None = kwargs.pop(self.key, None)
        if sent is None or rows is None:
            return executor(x, *args, **kwargs)
        self._arrived = True
        if rows is sent.rows and x.shape[-2:] == sent.given.x.shape[-2:]:
            self._check_rows(x, sent.batch.rows)
            return read_by(sent.batch, executor, x, *args, **kwargs)
        text = args[1] if len(args) > 1 else kwargs.get("context")
        batch = self._read(rows, sent.given._replace(x=x, context=sent.given.context if text is None else text))
        if batch is None:
            return executor(x, *args, **kwargs)
        with batch.prepared():
            out = read_by(batch, executor, x, *args, **kwargs)
        batch.done()
        return out

    def batch(self, chunks: tuple[tuple[Any, ...], ...], given: Given) -> Batch | None:
        """What each chunk carries, ready to be read in this forward; None where nothing of it is switched on."""
        raise NotImplementedError

    def ended(self) -> None:
        """Called when the run has ended, in whatever way: nothing of it is left on the MODEL."""

    def _check_rows(self, x: Tensor, rows: int) -> None:
        if len(x) != rows:
            carried = counted(rows, "row")
            raise ConditioningLost(self._around, f"hands over conditions of {carried} with {len(x)} of the pictures")

    def _check(self, given: Given, rows: int, chunks: Sequence[Chunk]) -> None:
        """Raise ConditioningLost where nobody can tell which row or which part of the picture is meant."""
        self._check_rows(given.x, rows)
        found, side = tuple(given.x.shape[-2:]), pixels_of(given.model)
        for carried, size in chunks:
            whole = size or self.latent
            if whole != found and any(one.placed for one in carried):
                height, width = (side * cells for cells in found)
                pixels = f"{width}x{height} of {side * whole[1]}x{side * whole[0]} px"
                raise ConditioningLost(self._around, f"shows it {pixels}, but regions or a pose belong to the whole")


def read_by(batch: Batch, executor: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """DIFFUSION_MODEL: with the batch in transformer_options, which come last where they are not named."""
    args, kwargs = batch.inputs(args, kwargs)
    if "transformer_options" not in kwargs and args and isinstance(args[-1], dict):
        args = *args[:-1], batch.around(args[-1])
    else:
        kwargs["transformer_options"] = batch.around(kwargs.get("transformer_options", {}))
    try:
        return executor(x, *args, **kwargs)
    finally:
        batch.passed()


def _active(chunks: Sequence[Chunk]) -> bool:
    return any(one.active for chunk in chunks for one in chunk.carried)


def _around(model_options: Mapping[str, Any]) -> str:
    """Where the code lives that other packs have put around the MODEL."""
    if "model_function_wrapper" in model_options:
        return modules_of([model_options["model_function_wrapper"]])
    wrappers = model_options["transformer_options"]["wrappers"]
    kinds = (_WRAPPERS.CALC_COND_BATCH, _WRAPPERS.APPLY_MODEL, _WRAPPERS.DIFFUSION_MODEL)
    functions = [one for kind in kinds for several in wrappers.get(kind, {}).values() for one in several]
    return modules_of([one for one in functions if not isinstance(getattr(one, "__self__", None), Run)])


def modules_of(functions: Sequence[Any]) -> str:
    """Where they live, to tell the user."""
    whole = (one.func if isinstance(one, partial) else one for one in functions)
    names = (getattr(one, "__module__", None) or type(one).__module__ for one in whole)
    return ", ".join(dict.fromkeys(names)) or "unknown"


def rows_made(made: int, rows: int, function: Callable[..., object] | None) -> ConditioningLost:
    """By this function, or by nobody knows what, inside a layer."""
    why = f"makes {made} rows of {rows} inside attention, without a record of which belong to whom"
    return ConditioningLost(modules_of([function] if function else []), why)
