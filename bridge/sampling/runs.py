"""One sampling run of a MODEL: it knows what each row of a forward carries, and makes a `Batch` of it for the forward.

All of that happens before the UNet is called. torch.compile, which compiles the UNet and what stands in its layers,
sees the Batch alone: tensors that lie ready, and what is done with them.

The steps of one forward, in the order in which the host calls them:

    PREPARE_SAMPLING    Run.wrap_prepare_sampling tells the host of the memory that the run adds, once for all forwards
    conditioning        CarriedCond.concat asks Run.row_table for the table of the forward's rows, see row_tables.py
    CALC_COND_BATCH     Run.wrap_calc_cond_batch notes the size of the latent; the host batches the entries
    APPLY_MODEL         Run.wrap_apply_model reads the table and makes the Batch, outside of torch.compile:
                            row_tables.chunks_of    the table -> what each chunk carries
                            _checked_batch          checks rows and sizes of the chunks, and calls
                            acting                  which nodes are on at this step
                            kept                    the Batch of forwards like this one, from new_batch of the subclass
                        and sends both on, the table and `Sent`
    DIFFUSION_MODEL     Run.wrap_diffusion_model calls the UNet with Batch.options_with_attention. It makes the Batch
                        anew only where the table that arrives is not the one that was sent: another pack has moved rows

Each kind of thing that is carried has a run and a table of its own, though a forward may have several. Nodes patch the
MODEL one after the other and know nothing of each other, so a common run would have to be found and joined in a clone
that others hold too. Whether two entries may be one batch is answered for each kind by itself. And what the kinds share
is here already: a subclass has little more than new_batch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Generic

import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor
from comfy.samplers import CFGGuider
from torch import Tensor

from ...core.checks.errors import LikenessError, counted
from ...core.checks.memory import tensors_on_cpu
from ..host.schedule import ScheduleRange, SigmaRange
from ..host.shared_network import model_of, network_within
from ..host.unet import pixels_of
from .areas import LatentSize, in_pixels, latent_size, row_window
from .canvas_check import check_canvases
from .conditioning import NeverCopied, RunEntry
from .forward import Batch, ForwardInput, ForwardShape, Network, Sent, argument, call_network, forget_past
from .model_conds import CarriedT, Chunk, ConditioningLost, PerChunk, entries_with
from .refusals import Refusals
from .row_tables import RowTables
from .watch import Watch


class Run(NeverCopied, Generic[CarriedT]):
    """One sampling run of a MODEL that reads what conditioning carries under `key`.

    Which row carries what stands in a row table, see row_tables.py.
    """

    key: ClassVar[str]

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        """latent: (B, C, h, w). Raises BadCast, BadSize or BadRegion where something carried does not fit it."""
        self.latent: LatentSize = latent_size(latent)
        """(height, width) of what is denoised, in latent pixels."""
        self.cell = pixels_of(model_of(guider.model_patcher))
        """The side of a latent pixel, in pixels."""
        self._device = guider.model_patcher.load_device
        self._model_sampling = guider.model_patcher.get_model_object("model_sampling")
        self._sigma_ranges: dict[ScheduleRange, SigmaRange] = {}
        self._batches: dict[tuple[Network, Any], Batch] = {}
        self._making = threading.RLock()
        """Held while a batch is made, for which the host may be asked for memory: MultiGPU CFG Split asks from several
        threads at once, and the host counts what is loaded for all of them. It guards no dictionary: each thread has a
        network and a card of its own, and by these is kept what a run keeps."""
        self.everything = [carried for entry in entries_with(guider, self.key) for carried in self.carried_by(entry)]
        """All that the conditioning of this run carries under `key`, of all entries."""
        self._check_latent(latent)
        self.row_tables = RowTables(self._device)
        self.watch = Watch()
        self._refusals = Refusals()
        self.schedule: Tensor | None = None
        """(steps + 1,): every sigma of the run, once it has begun."""
        self._times_called = 0
        """How often a sampler has called the MODEL, at least once a step."""

    def _check_latent(self, latent: Tensor) -> None:
        """Raise BadCast, BadSize or BadRegion where something carried does not fit what is denoised, (B, C, h, w)."""
        check_canvases(self.everything, latent, self.cell)
        height, width = self.latent
        for carried in self.everything:
            carried.check_size((self.cell * width, self.cell * height))

    @classmethod
    def carried_by(cls, entry: RunEntry) -> tuple[CarriedT, ...]:
        """What an entry carries under `key`, a Carried for each node."""
        return entry["model_conds"][cls.key].cond

    def is_on(self, carried: CarriedT, sigmas: Tensor) -> bool:
        """Whether `carried` works at these sigmas, (B,), by the schedule of the MODEL that samples.

        What works in the whole schedule is on without a look at the sigmas: to read a number from a GPU makes the CPU
        wait for it.
        """
        if carried.schedule.is_whole:
            return True
        if carried.schedule not in self._sigma_ranges:
            self._sigma_ranges[carried.schedule] = carried.schedule.in_sigmas(self._model_sampling)
        return self._sigma_ranges[carried.schedule].contains(float(sigmas[0]))

    def acting(self, of_nodes: Sequence[PerChunk[CarriedT]], sigmas: Tensor) -> tuple[PerChunk[CarriedT], ...]:
        """What the nodes that act at these sigmas, (B,), have put into the chunks of a forward."""
        acting: list[PerChunk[CarriedT]] = []
        for of_node in of_nodes:
            # A chunk that reads nobody, such as the negative side's, has a Carried that is not active. The first active
            # one answers for all: in one batch they have the same schedule, see CarriedCond.can_concat.
            active = next((carried for carried in of_node if carried.active), None)
            if active is not None and self.is_on(active, sigmas):
                acting.append(of_node)
        return tuple(acting)

    def row_table(self, chunks: tuple[Chunk, ...], picture_count: int) -> Tensor:
        """The row table of a batch, (rows, 2), for the host. It is remembered whether the host got rows with people.

        picture_count: how many pictures each chunk has.
        """
        if _anything_is_read(chunks):
            self.watch.rows_sent = True
        return self.row_tables.of_batch(chunks, picture_count)

    def wrap_prepare_sampling(
        self, executor: WrapperExecutor, model: ModelPatcher, noise_shape: Sequence[int], *args: Any, **kwargs: Any
    ) -> Any:
        """The wrapper at PREPARE_SAMPLING, where the host estimates the memory of a forward by a shape, and loads the
        MODEL."""
        return executor(model, self.shape_for_memory(model, noise_shape), *args, **kwargs)

    def shape_for_memory(self, model: ModelPatcher, noise_shape: Sequence[int]) -> Sequence[int]:
        """The shape of a latent that takes as much memory as this one, (B, C, ..., h, w), with what the run adds."""
        return noise_shape

    def wrap_calc_cond_batch(
        self,
        executor: WrapperExecutor,
        model: BaseModel,
        conds: Any,
        x_in: Tensor,
        timestep: Tensor,
        model_options: dict[str, Any],
    ) -> list[Tensor]:
        """The wrapper at CALC_COND_BATCH, around all forwards of one step. The arguments are the host's.

        Raises the refusal that was put off in the step, and ConditioningLost where rows with people were sent, and the
        network was called without them.
        """
        self._begin_step(x_in, model_options)
        step = partial(executor, model, conds, x_in, timestep, model_options)
        with self.watch.step(model, model_options):
            return self._refusals.raised_after(step, model_options)

    def _begin_step(self, x_in: Tensor, model_options: dict[str, Any]) -> None:
        """Note what is known of a step before its forwards: sizes, window and schedule.

        x_in: what is denoised, (B, C, h, w).
        """
        self.latent = latent_size(x_in)
        options = model_options["transformer_options"]
        window = row_window(options)
        self.row_tables.window = () if window is None else window.rows
        self.schedule = options.get("sample_sigmas")
        self._times_called += 1

    def _put_off(self, refusal: LikenessError, forward_input: ForwardInput, x: Tensor) -> Tensor:
        """What the forward gives instead of x after a refusal, see Refusals. It names the code of others here."""
        if isinstance(refusal, ConditioningLost):
            refusal = self.watch.named(refusal, forward_input.model, forward_input.options)
        return self._refusals.put_off(refusal, x)

    @contextmanager
    def _in_network(self, batch: Batch, forward_input: ForwardInput) -> Iterator[None]:
        """A context around one forward, in which what the batch needs stands in the network.

        Raises ConditioningLost where the network passes over any of it.
        """
        # A schedule has one sigma more than steps, and a step calls the MODEL at least once.
        is_last = self.schedule is not None and self._times_called >= len(self.schedule) - 1
        network = forward_input.model.diffusion_model
        if batch.calls.put_in is None:
            batch.calls.put_in = batch.put_in(self.watch.modules_in(network_within(network)))
        with batch.prepared(), self.watch.forward(batch.calls, batch.calls.put_in, network, is_last=is_last):
            yield

    def wrap_apply_model(
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

        The arguments are the host's; the row table is among kwargs, where the host has put it under `key`. A
        LikenessError is put off: zeros are returned, and it is raised at the end of the step.
        """
        positional = x, t, c_concat, c_crossattn, *args
        row_table: Tensor | None = kwargs.pop(self.key, None)
        if row_table is None:
            return executor(*positional, **kwargs)
        if self._refusals.is_waiting:
            return torch.zeros_like(x)
        assert c_crossattn is not None  # the conditioning of every UNet with cross-attention
        options = argument(args, 1, kwargs, "transformer_options", {})  # args: control, transformer_options
        forward_input = ForwardInput(
            executor.class_obj,
            x,
            t,
            c_crossattn,
            options,
            references=kwargs.get("ref_latents", ()),
        )
        try:
            return self._apply_model(executor, row_table, forward_input, positional, kwargs)
        except LikenessError as refusal:
            return self._put_off(refusal, forward_input, x)

    def _apply_model(
        self,
        executor: WrapperExecutor,
        row_table: Tensor,
        forward_input: ForwardInput,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Tensor:
        """What the MODEL gives with the batch of these rows. The arguments are as in `wrap_apply_model`."""
        batch = self._checked_batch(row_table, forward_input)
        if batch is None:
            self.watch.rows_arrived = True  # no batch is sent on that could report it
            return executor(*args, **kwargs)
        # The host gives what it does not know to the UNet, and so to wrap_diffusion_model.
        for_unet = {self.key: row_table, f"{self.key}_batch": Sent(batch, row_table, forward_input)}
        with self._in_network(batch, forward_input):
            return executor(*args, **kwargs, **for_unet)

    def _checked_batch(self, row_table: Tensor, forward_input: ForwardInput) -> Batch | None:
        """The batch for the rows of a forward, by their row table, (rows, 2).

        None where the rows carry nothing to read, and where nothing of what they carry is on at this step. Raises
        ConditioningLost where rows or sizes do not fit.
        """
        chunks = self.row_tables.chunks_of(row_table)
        if not _anything_is_read(chunks):
            return None
        self._check_row_count(forward_input.x, len(row_table))
        self._check_sizes(forward_input, chunks)
        with tensors_on_cpu():  # also where another pack has set another default device
            # A chunk has something of each node. Turned around: for each node what it has put into the chunks.
            of_nodes = tuple(zip(*(chunk.carried for chunk in chunks), strict=True))
            return self.batch_for_forward(of_nodes, forward_input)

    def wrap_diffusion_model(self, executor: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The wrapper at DIFFUSION_MODEL: the UNet is called with the batch in its transformer_options.

        The batch is made anew where another pack has moved rows or cut tiles after it was made. A LikenessError is put
        off as in `wrap_apply_model`. The arguments between the text and transformer_options differ between UNets and
        transformers.
        """
        sent: Sent | None = kwargs.pop(f"{self.key}_batch", None)
        row_table: Tensor | None = kwargs.pop(self.key, None)
        if sent is None or row_table is None:
            return executor(x, *args, **kwargs)
        self.watch.rows_arrived = True
        try:
            return self._call_network(executor, sent, row_table, x, args, kwargs)
        except LikenessError as refusal:
            channels = sent.forward_input.x.shape[1]  # x may have others behind those of the latent
            return self._put_off(refusal, sent.forward_input, x[:, :channels])

    def _call_network(
        self,
        executor: WrapperExecutor,
        sent: Sent,
        row_table: Tensor,
        x: Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Tensor:
        """What the network gives with the batch that was sent, or with a new one. The other arguments are as in
        `wrap_diffusion_model`."""
        if sent.arrives_unchanged(row_table, x):
            # wrap_apply_model holds `prepared` of this batch open.
            self._check_row_count(x, sent.batch.row_count)
            return call_network(sent.batch, executor, x, *args, **kwargs)
        context = argument(args, 1, kwargs, "context")  # args: timestep, text
        if context is None:
            context = sent.forward_input.context
        forward_input = sent.forward_input._replace(x=x, context=context)
        batch = self._checked_batch(row_table, forward_input)
        if batch is None:
            return executor(x, *args, **kwargs)
        with self._in_network(batch, forward_input):
            return call_network(batch, executor, x, *args, **kwargs)

    def batch_for_forward(self, of_nodes: tuple[PerChunk[CarriedT], ...], forward_input: ForwardInput) -> Batch | None:
        """The batch of one forward; None where nothing of what its chunks carry is on at this step."""
        acting = self.acting(of_nodes, forward_input.sigmas)
        return self.kept(acting, forward_input) if acting else None

    def kept(self, acting: Any, forward_input: ForwardInput) -> Batch:
        """The batch that `new_batch` makes of these. It is made once, and kept until the run ends, or until the hooks
        of its network have other strengths.

        Its key is all that `new_batch` is given, and the network as it is, so forwards with one key would all get the
        same batch.
        """
        made_of = acting, forward_input.shape
        key = forward_input.network, made_of
        with self._making:
            if key not in self._batches:
                forget_past(self._batches, forward_input.network)
                self._batches[key] = self.new_batch(*made_of)
            return self._batches[key]

    def new_batch(self, acting: Any, forward_shape: ForwardShape) -> Batch:
        """The batch of all forwards of this shape in which the same acts.

        acting: hashable; what `acting` gives, unless a subclass gives `kept` something else. Beside these two it is
        made of what is the same in all of the run. A batch that depends on transformer_options reads them in its
        `options_with_attention`, in each forward.
        """
        raise NotImplementedError

    def after_run(self) -> None:
        """Called when the run has ended, in whatever way: nothing of it is left on the MODEL."""

    def _check_row_count(self, x: Tensor, row_count: int) -> None:
        """Raise ConditioningLost where x, (B, ...), has another number of rows than its row table."""
        if len(x) != row_count:
            rows_in_words = counted(row_count, "row")
            why = f"hands over conditions of {rows_in_words} with {len(x)} of the pictures"
            raise ConditioningLost("", why)

    def _check_sizes(self, forward_input: ForwardInput, chunks: Sequence[Chunk]) -> None:
        """Raise ConditioningLost where another pack shows the MODEL a part of the picture.

        Then it is unknown which part of a region is meant.
        """
        size = latent_size(forward_input.x)
        for chunk in chunks:
            whole_size = chunk.size or self.latent  # the entry's own area, or all that is denoised
            has_places = any(item.by_place for item in chunk.carried)
            if whole_size != size and has_places:
                cell = pixels_of(forward_input.model)
                shown, whole = in_pixels(size, cell), in_pixels(whole_size, cell)  # (width, height) each
                pixels = f"{shown[0]}x{shown[1]} of {whole[0]}x{whole[1]} px"
                why = f"shows it {pixels}, but regions or a pose belong to the whole"
                raise ConditioningLost("", why)


def _anything_is_read(chunks: Sequence[Chunk]) -> bool:
    return any(carried.active for chunk in chunks for carried in chunk.carried)
