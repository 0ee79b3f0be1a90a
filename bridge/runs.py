"""One sampling run of a MODEL: it knows what each row of a forward carries, and makes a `Batch` of it for the forward.

All of that happens before the UNet is called. torch.compile, which compiles the UNet and what stands in its layers,
sees the Batch alone: tensors that lie ready, and what is done with them.
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
from .areas import WHOLE_LATENT
from .carried import Carried, CarriedCond, Chunk, ConditioningLost
from .remarks import Start, tell_of_start
from .schedule import ScheduleRange, SigmaRange
from .unet import Options, dtype_of, pixels_of

_WRAPPERS = comfy.patcher_extension.WrappersMP


def patched(model: ModelPatcher, *run_classes: type[Run]) -> ModelPatcher:
    """A clone of the MODEL that begins a run of each of these classes whenever it samples.

    A MODEL that begins all of them already, behind another node of Likeness, is returned as it is.
    """
    wrappers_by_key = model.wrappers.get(_WRAPPERS.OUTER_SAMPLE, {})
    missing = [run_class for run_class in run_classes if run_class.key not in wrappers_by_key]
    if not missing:
        return model
    clone = model.clone()
    for run_class in missing:
        clone.add_wrapper_with_key(_WRAPPERS.OUTER_SAMPLE, run_class.key, partial(_sample, run_class))
    return clone


def _sample(run_class: type[Run], executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
    """The wrapper at OUTER_SAMPLE: a run of this class begins, the MODEL samples, and the run ends.

    The guider's options and conditioning are copies that belong to this run.
    """
    guider: CFGGuider = executor.class_obj
    start = Start.of_call(args, kwargs)
    run = run_class(guider, start.latent_image)
    tell_of_start(run.everything(guider), guider, start)
    for entry in entries(guider, run.key):
        conds = entry["model_conds"]
        entry["model_conds"] = {**conds, run.key: CarriedCond(conds[run.key].cond, run)}
    options = guider.model_options["transformer_options"]
    options[run.key] = run
    # Behind the wrappers of other packs: what these hand on is what the UNet gets.
    add_wrapper = comfy.patcher_extension.add_wrapper_with_key
    add_wrapper(_WRAPPERS.CALC_COND_BATCH, run.key, run.evaluate, options)
    add_wrapper(_WRAPPERS.APPLY_MODEL, run.key, run.apply, options)
    add_wrapper(_WRAPPERS.DIFFUSION_MODEL, run.key, run.forward, options)
    try:
        return executor(*args, **kwargs)
    finally:
        run.ended()


def entries(guider: CFGGuider, key: str) -> list[dict[str, Any]]:
    """The entries of a guider's conditioning that carry something under `key`."""
    carrying: list[dict[str, Any]] = []
    for side in guider.conds.values():
        carrying.extend(entry for entry in side if key in entry["model_conds"])
    return carrying


class ForwardInput(NamedTuple):
    """What one forward is given.

    model: the host's. x: (B, C, h, w), or (B, C, T, h, w) of a video model. sigmas: (B,). context: the text, (B, T,
    width). options: the host's transformer_options. references: latents of reference pictures, like x.
    """

    model: BaseModel
    x: Tensor
    sigmas: Tensor
    context: Tensor
    options: Options
    references: Sequence[Tensor] = ()

    def like(self) -> Tensor:
        """An empty tensor on the device and in the dtype of the UNet, to give to Tensor.to."""
        return torch.empty(0, device=self.x.device, dtype=dtype_of(self.model))


@dataclass(frozen=True, eq=False)
class Sent:
    """A batch on its way from `Run.apply` to `Run.forward`, through the wrappers of other packs.

    rows: the tensor that it was made of, which travels beside it. Where `forward` gets that very tensor, no pack has
    changed the rows. forward_input: that the batch was made for.
    """

    batch: Batch
    rows: Tensor
    forward_input: ForwardInput


class Batch:
    """What the rows of one forward read, ready on the device. rows: the number of rows."""

    rows: int

    def around(self, options: Options) -> Options:
        """transformer_options with this batch's attention around whatever stands in the layers."""
        raise NotImplementedError

    def prepared(self) -> AbstractContextManager[None]:
        """A context that is open during a whole forward, outside of what torch.compile sees.

        A batch that needs something to stand in the network puts it there when the context opens, and takes it out when
        it closes, whatever is raised.
        """
        return nullcontext()

    def inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the network behind the latents, as this batch needs them. args: (timestep, text, ...)."""
        return args, kwargs

    def passed(self) -> None:
        """Called when the network has been called with `around`, or has raised."""

    def done(self) -> None:
        """Called when the forward has run."""


class Run:
    """One sampling run of a MODEL that reads what conditioning carries under `key`.

    Which row carries what stands in a tensor with one line per row. The host and other packs treat it like every other
    condition: where a pack takes rows apart, repeats or reorders them, it does the same to these lines. An example, of
    a positive prompt with people and a negative one, with two pictures:

        row of the batch     0          1          2          3
        entry                positive   positive   negative   negative
        line: chunk, picture 0, 0       0, 1       1, 0       1, 1

    Only this tensor travels, because the host would copy a dictionary at every step.
    """

    key: ClassVar[str]

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        self.latent: tuple[int, ...] = tuple(latent.shape[-2:])
        """(height, width) of what is denoised, in latent pixels."""
        self._device = guider.model_patcher.load_device
        self._model_sampling = guider.model_patcher.get_model_object("model_sampling")
        self._sigma_ranges: dict[ScheduleRange, SigmaRange] = {}
        self._numbers: dict[Chunk, int] = {}
        """The number of each chunk, in the lines of rows."""
        self._chunks: dict[int, Chunk] = {}
        """The chunk of each number."""
        self._rows: dict[tuple[tuple[Chunk, ...], int], Tensor] = {}
        """The rows of each batch: of its chunks, and of how many pictures each."""
        self._whole_batches: dict[Hashable, tuple[Chunk, ...]] = {}
        """The chunks of a batch that nobody has cut, by the id of its rows (kept in `_rows`) and by their lines."""
        self._numbering = threading.Lock()
        self._rows_sent = False
        """Whether the host was given rows with people."""
        self._rows_arrived = False
        """Whether any rows have come to the MODEL."""
        self._around: str = ""
        """Where the code lives that other packs have put around the MODEL, for messages."""
        self.schedule: Tensor | None = None
        """Every sigma of the run, once it has begun."""

    def __deepcopy__(self, memo: object) -> Run:
        return self

    def everything(self, guider: CFGGuider) -> list[Any]:
        """All that the conditioning of this run carries under `key`, of all entries."""
        carried: list[Any] = []
        for entry in entries(guider, self.key):
            carried.extend(entry["model_conds"][self.key].cond)
        return carried

    def is_on(self, carried: Carried, sigmas: Tensor) -> bool:
        """Whether `carried` works at these sigmas, (B,), by the schedule of the MODEL that samples.

        What works in the whole schedule is on without a look at the sigmas: to read a number from a GPU makes the CPU
        wait for it.
        """
        if carried.schedule.is_whole:
            return True
        if carried.schedule not in self._sigma_ranges:
            self._sigma_ranges[carried.schedule] = carried.schedule.in_sigmas(self._model_sampling)
        return self._sigma_ranges[carried.schedule].contains(float(sigmas[0]))

    def rows(self, chunks: tuple[Chunk, ...], pictures: int) -> Tensor:
        """The lines of a batch, (rows, 2): per row the number of its chunk, and the number of the picture in it.

        It is the same tensor for the same batch, on the device already. By that `read` knows it, without reading
        numbers from a GPU. pictures: how many rows each chunk has.
        """
        if _active(chunks):
            self._rows_sent = True
        key = chunks, pictures
        # MultiGPU CFG Split asks from several threads at once: no two chunks may get one number.
        with self._numbering:
            if key not in self._rows:
                self._rows[key] = self._numbered(chunks, pictures)
            return self._rows[key]

    def _numbered(self, chunks: tuple[Chunk, ...], pictures: int) -> Tensor:
        """New rows of a batch, on the device: (rows, 2)."""
        lines: list[tuple[int, int]] = []
        for chunk in chunks:
            number = self._numbers.setdefault(chunk, len(self._numbers))
            self._chunks[number] = chunk
            lines.extend((number, picture) for picture in range(pictures))
        rows = torch.tensor(lines, device=self._device)
        self._whole_batches[id(rows)] = chunks
        self._whole_batches[tuple(lines)] = chunks
        return rows

    def read(self, rows: Tensor) -> tuple[Chunk, ...]:
        """The chunks of a batch by its lines, (rows, 2); all have equally many rows.

        They are the host's chunks, or one chunk per row where another pack has cut the batch.
        """
        chunks = self._whole_batches.get(id(rows))
        if chunks is not None:
            return chunks
        lines = tuple(map(tuple, rows.tolist()))
        chunks = self._whole_batches.get(lines)
        if chunks:
            return chunks
        return tuple(self._chunk_of_row(number, int(picture)) for number, picture in lines)

    def _chunk_of_row(self, number: int, picture: int) -> Chunk:
        """What a single row carries. number: of its chunk. picture: the number of its picture in the chunk."""
        carried, size = self._chunks[number]
        return Chunk(tuple(item.of(picture) for item in carried), size)

    def evaluate(
        self,
        executor: WrapperExecutor,
        model: BaseModel,
        conds: Any,
        x_in: Tensor,
        timestep: Tensor,
        model_options: dict[str, Any],
    ) -> list[Tensor]:
        """The wrapper at CALC_COND_BATCH, around all forwards of one step."""
        self.latent = tuple(x_in.shape[-2:])
        self._around = _around(model_options)
        options = model_options["transformer_options"]
        options[WHOLE_LATENT] = self.latent
        self.schedule = options.get("sample_sigmas")
        out = executor(model, conds, x_in, timestep, model_options)
        if self._rows_sent and not self._rows_arrived:
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
        """The wrapper at APPLY_MODEL: it makes the Batch of a forward, outside of what torch.compile sees.

        The arguments are the host's; `rows` are among kwargs, where the host has put them under `key`.
        """
        positional = x, t, c_concat, c_crossattn, *args
        rows: Tensor | None = kwargs.pop(self.key, None)
        if rows is None:
            return executor(*positional, **kwargs)
        assert c_crossattn is not None  # the conditioning of every UNet with cross-attention
        # Behind the text stand control and transformer_options, where they are not named.
        options = args[1] if len(args) > 1 else kwargs.get("transformer_options", {})
        forward_input = ForwardInput(executor.class_obj, x, t, c_crossattn, options, kwargs.get("ref_latents", ()))
        batch = self._read(rows, forward_input)
        if batch is None:
            self._rows_arrived = True
            return executor(*positional, **kwargs)
        beside = {self.key: rows, f"{self.key}_batch": Sent(batch, rows, forward_input)}
        with batch.prepared():
            out = executor(*positional, **kwargs, **beside)
        batch.done()
        return out

    def _read(self, rows: Tensor, forward_input: ForwardInput) -> Batch | None:
        """The batch for rows of a forward, (rows, 2) as in `rows`; None where they carry nothing that is read."""
        chunks = self.read(rows)
        if not _active(chunks):
            return None
        self._check(forward_input, len(rows), chunks)
        return self.batch(tuple(chunk.carried for chunk in chunks), forward_input)

    def forward(self, executor: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The wrapper at DIFFUSION_MODEL: the UNet is called with the batch in its transformer_options.

        The batch is made anew where another pack has moved rows or cut tiles after it was made. The arguments between
        the text and transformer_options differ between UNets and transformers.
        """
        sent: Sent | None = kwargs.pop(f"{self.key}_batch", None)
        rows: Tensor | None = kwargs.pop(self.key, None)
        if sent is None or rows is None:
            return executor(x, *args, **kwargs)
        self._rows_arrived = True
        if rows is sent.rows and x.shape[-2:] == sent.forward_input.x.shape[-2:]:
            self._check_rows(x, sent.batch.rows)
            return read_by(sent.batch, executor, x, *args, **kwargs)
        text = args[1] if len(args) > 1 else kwargs.get("context")
        context = sent.forward_input.context if text is None else text
        batch = self._read(rows, sent.forward_input._replace(x=x, context=context))
        if batch is None:
            return executor(x, *args, **kwargs)
        with batch.prepared():
            out = read_by(batch, executor, x, *args, **kwargs)
        batch.done()
        return out

    def batch(self, chunks: tuple[tuple[Any, ...], ...], forward_input: ForwardInput) -> Batch | None:
        """What each chunk carries, ready to be read in this forward; None where nothing of it is switched on."""
        raise NotImplementedError

    def ended(self) -> None:
        """Called when the run has ended, in whatever way: nothing of it is left on the MODEL."""

    def _check_rows(self, x: Tensor, rows: int) -> None:
        """Raise ConditioningLost unless the latents x have as many rows as the conditioning."""
        if len(x) != rows:
            carried = counted(rows, "row")
            raise ConditioningLost(self._around, f"hands over conditions of {carried} with {len(x)} of the pictures")

    def _check(self, forward_input: ForwardInput, rows: int, chunks: Sequence[Chunk]) -> None:
        """Raise ConditioningLost where another pack has changed the rows, or shows the MODEL a part of the picture.

        Then it is unknown which row, or which part of a region, is meant. rows: of the conditioning.
        """
        self._check_rows(forward_input.x, rows)
        latent_of_forward = tuple(forward_input.x.shape[-2:])
        side = pixels_of(forward_input.model)
        for chunk in chunks:
            whole_latent = chunk.size or self.latent
            has_places = any(item.placed for item in chunk.carried)
            if whole_latent != latent_of_forward and has_places:
                height, width = (side * cells for cells in latent_of_forward)
                whole_height, whole_width = (side * cells for cells in whole_latent)
                pixels = f"{width}x{height} of {whole_width}x{whole_height} px"
                raise ConditioningLost(self._around, f"shows it {pixels}, but regions or a pose belong to the whole")


def read_by(batch: Batch, executor: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Call the UNet with the batch in its transformer_options, which come last where they are not named."""
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
    """Whether the UNet reads anything of what these chunks carry."""
    for chunk in chunks:
        for item in chunk.carried:
            if item.active:
                return True
    return False


def _around(model_options: Mapping[str, Any]) -> str:
    """The modules of the functions that other packs have put around the MODEL, in words."""
    if "model_function_wrapper" in model_options:
        return modules_of([model_options["model_function_wrapper"]])
    wrappers = model_options["transformer_options"]["wrappers"]
    functions_of_others: list[Any] = []
    for kind in (_WRAPPERS.CALC_COND_BATCH, _WRAPPERS.APPLY_MODEL, _WRAPPERS.DIFFUSION_MODEL):
        for functions in wrappers.get(kind, {}).values():
            for function in functions:
                is_ours = isinstance(getattr(function, "__self__", None), Run)
                if not is_ours:
                    functions_of_others.append(function)
    return modules_of(functions_of_others)


def modules_of(functions: Sequence[Any]) -> str:
    """The names of the modules that functions live in, to tell the user."""
    names: dict[str, None] = {}
    for function in functions:
        if isinstance(function, partial):
            function = function.func
        module = getattr(function, "__module__", None) or type(function).__module__
        names[module] = None
    return ", ".join(names) or "unknown"


def rows_made(layer_rows: int, rows: int, function: Callable[..., object] | None) -> ConditioningLost:
    """The error where another pack makes rows inside a layer.

    layer_rows: how many the layer has. rows: how many the batch has. function: of that pack, None where it is unknown.
    """
    why = f"makes {layer_rows} rows of {rows} inside attention, without a record of which belong to whom"
    functions = [] if function is None else [function]
    return ConditioningLost(modules_of(functions), why)
