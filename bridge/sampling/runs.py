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
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Generic, NamedTuple

import comfy.patcher_extension
import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor
from comfy.samplers import CFGGuider
from torch import Tensor, nn

from ...core.checks.errors import LikenessError, counted
from ...core.checks.memory import tensors_on_cpu
from ..host import notes
from ..host.schedule import ScheduleRange, SigmaRange
from ..host.shared_network import model_of, network_within
from ..host.unet import Options, dtype_of, modules_of_unet, pixels_of
from .areas import WHOLE_LATENT, row_window
from .calls import Calls, KnownCalls, Lost, Site, code_of_others, is_ours, modules_of, watched
from .canvas_check import NodeOfRun, check_canvases
from .conditioning import NeverCopied, RunEntry, named_as_one
from .current_forward import current
from .model_conds import (
    Carried,
    CarriedCond,
    CarriedT,
    Chunk,
    ConditioningLost,
    LayersPassedOver,
    OfNode,
    read_as_negative,
)
from .refusals import Refusals
from .row_tables import RowTables
from .run_notes import WORDS, Start, notes_on_words, tell_of_start

_WRAPPERS = comfy.patcher_extension.WrappersMP
_KEY = "likeness"
"""The key of our wrapper at OUTER_SAMPLE among the wrappers of a MODEL."""


@dataclass(frozen=True, eq=False)
class OnModel(NeverCopied):
    """What nodes of ours have put on a MODEL, for whenever it samples.

    runs: the classes of the runs that begin then. notes: what writes notes then, for an apply node each.
    """

    runs: tuple[type[Run[Any]], ...] = ()
    notes: tuple[Callable[[CFGGuider, Start], None], ...] = ()


def _on_model(model: ModelPatcher) -> OnModel:
    """What nodes of ours have put on a MODEL: the first argument of the partial that `put_on` has left there."""
    wrappers = model.get_wrappers(_WRAPPERS.OUTER_SAMPLE, _KEY)
    return wrappers[0].args[0] if wrappers else OnModel()


def put_on(model: ModelPatcher, more: OnModel) -> ModelPatcher:
    """A clone of the MODEL with these beside what nodes of ours have put on it before."""
    before = _on_model(model)
    both = OnModel((*before.runs, *more.runs), (*before.notes, *more.notes))
    clone = model.clone()
    # In the place of the wrapper that stands there, so that the order among those of other packs stays.
    clone.wrappers.setdefault(_WRAPPERS.OUTER_SAMPLE, {})[_KEY] = [partial(_sample, both)]
    return clone


def with_runs(model: ModelPatcher, *run_classes: type[Run[Any]]) -> ModelPatcher:
    """A clone of the MODEL that begins a run of each of these classes whenever it samples.

    A MODEL that begins all of them already, because another node of Likeness has made it so, is returned as it is.
    """
    keys_before = [run_class.key for run_class in _on_model(model).runs]
    missing = tuple(run_class for run_class in run_classes if run_class.key not in keys_before)
    return put_on(model, OnModel(runs=missing)) if missing else model


def _sample(on_model: OnModel, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
    """The wrapper at OUTER_SAMPLE: the runs begin, notes are written, the MODEL samples, and the runs end.

    The guider's options and conditioning are copies that belong to this sampling, so they are changed in place.
    """
    guider: CFGGuider = executor.class_obj
    start = Start.of_call(args, kwargs)
    for side in guider.conds.values():
        named_as_one(side)
    runs = [_begun(run_class, guider, start) for run_class in on_model.runs]
    tell_of_start([carried for run in runs for carried in run.everything], guider, start)
    for tell in on_model.notes:
        tell(guider, start)
    try:
        return executor(*args, **kwargs)
    finally:
        for run in runs:
            run.after_run()


def _begun(run_class: type[Run[Any]], guider: CFGGuider, start: Start) -> Run[Any]:
    """A new run, which the host calls from now on.

    The guider's entries and options are changed in place. What entries carry is brought up to date first, because the
    run looks at it when it is made. Then these entries get the run, and the options its wrappers.
    """
    read_as_negative(guider, run_class.key)
    _bring_up_to_date(entries_with(guider, run_class.key), run_class.key)
    run = run_class(guider, start.latent_image)
    for entry in entries_with(guider, run.key):
        conds = entry["model_conds"]
        entry["model_conds"] = {**conds, run.key: CarriedCond(conds[run.key].cond, run)}
    options = guider.model_options["transformer_options"]
    options[run.key] = run
    # The host calls these after the wrappers of other packs, so they see what the UNet is given in the end.
    add_wrapper = comfy.patcher_extension.add_wrapper_with_key
    add_wrapper(_WRAPPERS.PREPARE_SAMPLING, run.key, run.wrap_prepare_sampling, options)
    add_wrapper(_WRAPPERS.CALC_COND_BATCH, run.key, run.wrap_calc_cond_batch, options)
    add_wrapper(_WRAPPERS.APPLY_MODEL, run.key, run.wrap_apply_model, options)
    add_wrapper(_WRAPPERS.DIFFUSION_MODEL, run.key, run.wrap_diffusion_model, options)
    return run


def _bring_up_to_date(entries: Sequence[RunEntry], key: str) -> None:
    """Another node may have multiplied an entry's text since. Multiply what the entry carries under `key` alike.

    The entries are changed in place. Notes about words of people that no longer fit a text are written, too, see
    notes_on_words.
    """
    notes_of_nodes: dict[NodeOfRun, str] = {}
    for entry in entries:
        cond: CarriedCond = entry["model_conds"][key]
        text: Tensor | None = entry.get("cross_attn")
        if cond.text is None or text is None:
            continue
        for node, note in notes_on_words(cond.cond, cond.text, text).items():
            notes_of_nodes[node] = notes_of_nodes.get(node) or note  # that of the first entry that gives one, else ""
        entry["model_conds"] = {**entry["model_conds"], key: CarriedCond(cond.beside(text))}
    for node, note in notes_of_nodes.items():
        notes.tell_of_run(node.node_id, WORDS, note)


def entries_with(guider: CFGGuider, key: str) -> list[RunEntry]:
    """The entries of all sides that carry something under `key`."""
    return [entry for side in guider.conds.values() for entry in side if key in entry["model_conds"]]


def carry_instead(entry: RunEntry, key: str, carried: Sequence[Carried]) -> None:
    """Let an entry carry these under `key` from now on. The entry, which is of this sampling alone, is changed."""
    entry["model_conds"] = {**entry["model_conds"], key: CarriedCond(tuple(carried))}


class ForwardInput(NamedTuple):
    """What one forward is given.

    model: the host's.
    x: (B, C, h, w), or (B, C, T, h, w) of a video model.
    sigmas: (B,).
    context: the text, (B, T, width).
    options: the host's transformer_options.
    references: latents of reference pictures, in the shape of x each.
    reference_texts: of Z-Image, the texts beside the references, (B, T, width) each, and those after the prompt.
    reference_looks: of Z-Image, what a vision encoder has seen of the references, (B, h, w, C) each.
    """

    model: BaseModel
    x: Tensor
    sigmas: Tensor
    context: Tensor
    options: Options
    references: Sequence[Tensor] = ()
    reference_texts: Sequence[Tensor] = ()
    reference_looks: Sequence[Tensor] = ()

    def like(self) -> Tensor:
        """An empty tensor on the device and in the dtype of the UNet, to give to Tensor.to."""
        return torch.empty(0, device=self.x.device, dtype=dtype_of(self.model))

    @property
    def key(self) -> Hashable:
        """All that a Batch may be made of in a forward, as a key.

        What changes from step to step is no part of it: the sigmas, and the numbers in the tensors. The MODEL is,
        because the host's MultiGPU CFG Split samples with several, each in a thread of its own.
        """
        references = (self.references, self.reference_texts, self.reference_looks)
        shapes = tuple(tuple(tensor.shape for tensor in tensors) for tensors in references)
        return self.model, self.x.shape, self.x.device, self.context.shape[1], shapes


@dataclass(frozen=True, eq=False)
class Sent:
    """A batch on its way from `Run.wrap_apply_model` to `Run.wrap_diffusion_model`, through wrappers of other packs.

    row_table: the tensor that the batch was made of, which travels beside it. Where that very tensor arrives, no pack
    has changed the rows. forward_input: that the batch was made for.
    """

    batch: Batch
    row_table: Tensor
    forward_input: ForwardInput


class Batch:
    """What the rows of one forward read, ready on the device.

    row_count: the number of rows. calls: which of its sites in the network have been called.
    """

    row_count: int

    def __init__(self) -> None:
        self.calls = Calls()

    def sites(self, modules: Mapping[str, nn.Module]) -> Mapping[Site, nn.Module]:
        """What this batch puts into a network, and the part of the network in which each is called, see calls.py.

        modules: of the network, see Run.modules_in. A site that is a str is the name of a layer: something is added to
        what that layer gives.
        """
        raise NotImplementedError

    def options_with_attention(self, options: Options) -> Options:
        """transformer_options with this batch's attention around whatever stands in the layers.

        The network is called right after. Hooks of a batch in the network are given x alone. So a batch that has some
        puts here into `current` (current_forward.py) what they need to know of the forward.
        """
        raise NotImplementedError

    def prepared(self) -> AbstractContextManager[None]:
        """A context that is open during a whole forward, outside of what torch.compile sees.

        A batch that needs something to stand in the network puts it there when the context opens, and takes it out when
        it closes, whatever is raised.
        """
        return nullcontext()

    def network_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with which the network is called after the latents. A batch may change them; here they stay.

        args: by position, (timestep, text, ...). kwargs: by name; the text may be here too, as `context`.
        """
        return args, kwargs

    def after_network_call(self) -> None:
        """Called when the network has run with `options_with_attention`, or anything has raised."""


class Run(NeverCopied, Generic[CarriedT]):
    """One sampling run of a MODEL that reads what conditioning carries under `key`.

    Which row carries what stands in a row table, see row_tables.py.
    """

    key: ClassVar[str]

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        """latent: (B, C, h, w). Raises BadCast, BadSize or BadRegion where something carried does not fit it."""
        self.latent: tuple[int, ...] = tuple(latent.shape[-2:])
        """(height, width) of what is denoised, in latent pixels."""
        self.cell = pixels_of(model_of(guider.model_patcher))
        """The side of a latent pixel, in pixels."""
        self._device = guider.model_patcher.load_device
        self._model_sampling = guider.model_patcher.get_model_object("model_sampling")
        self._sigma_ranges: dict[ScheduleRange, SigmaRange] = {}
        self._batches: dict[Hashable, Batch] = {}
        self._making = threading.RLock()
        """Held while something is made that is kept: MultiGPU CFG Split asks from several threads at once."""
        self.everything = [carried for entry in entries_with(guider, self.key) for carried in self.carried_by(entry)]
        """All that the conditioning of this run carries under `key`, of all entries."""
        self._check_latent(latent)
        self.row_tables = RowTables(self._device)
        self._rows_sent = False
        """Whether the host was given rows with people."""
        self._rows_arrived = False
        """Whether any rows have come to the MODEL."""
        self._modules: dict[nn.Module, Mapping[str, nn.Module]] = {}
        """By network, see `modules_in`."""
        self._known_calls: dict[nn.Module, KnownCalls] = {}
        """By network."""
        self._refusals = Refusals()
        self._code_around_model: str = ""
        """The modules of the functions that other packs have put around the MODEL, for messages."""
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

    def acting(self, of_nodes: Sequence[OfNode[CarriedT]], sigmas: Tensor) -> tuple[OfNode[CarriedT], ...]:
        """What the nodes that act at these sigmas, (B,), have put into the chunks of a forward."""
        acting: list[OfNode[CarriedT]] = []
        for of_node in of_nodes:
            # A chunk that reads nobody, such as the negative side's, carries one that is not active. Any other can be
            # asked: all in one batch have the same schedule, see CarriedCond.can_concat.
            active = next((carried for carried in of_node if carried.active), None)
            if active is not None and self.is_on(active, sigmas):
                acting.append(of_node)
        return tuple(acting)

    def row_table(self, chunks: tuple[Chunk, ...], picture_count: int) -> Tensor:
        """The row table of a batch, (rows, 2), for the host. It is remembered whether the host got rows with people.

        picture_count: how many pictures each chunk has.
        """
        if _anything_is_read(chunks):
            self._rows_sent = True
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
        self._begin_step(model, x_in, model_options)
        with self._until_rows_arrive(model.diffusion_model) as called:
            out = self._refusals.raised_after(
                partial(executor, model, conds, x_in, timestep, model_options), model_options
            )
        if called:
            self._check_rows_arrived(model, model_options["transformer_options"])
        return out

    def _begin_step(self, model: BaseModel, x_in: Tensor, model_options: dict[str, Any]) -> None:
        """Note what is known of a step before its forwards: sizes, window, schedule, and the modules of the network.

        x_in: what is denoised, (B, C, h, w).
        """
        self.latent = tuple(x_in.shape[-2:])
        self._code_around_model = _modules_around(model_options)
        options = model_options["transformer_options"]
        options[WHOLE_LATENT] = self.latent
        window = row_window(options)
        self.row_tables.window = () if window is None else window.rows
        self.schedule = options.get("sample_sigmas")
        self._times_called += 1
        # Kept now: in the step, functions of other packs may put blocks of their own into the network.
        self.modules_in(network_within(model.diffusion_model))

    def _check_rows_arrived(self, model: BaseModel, options: Options) -> None:
        """Raise ConditioningLost where the host was given rows with people, and the network has run without them."""
        if self._rows_sent and not self._rows_arrived:
            # Code around the MODEL comes first here: rows get lost there, before they come to the network.
            why = "drops conditions that it does not know, or makes transformer_options of its own"
            raise ConditioningLost(self._code_around_model or self._code_of_others(model, options), why)

    def modules_in(self, network: nn.Module) -> Mapping[str, nn.Module]:
        """The modules of a network by the MODEL's names, as they stood when its first step began.

        Functions of other packs around the MODEL put blocks of their own into it for the time of a forward, and call
        these modules within.
        """
        if network not in self._modules:
            self._modules[network] = modules_of_unet(network)
        return self._modules[network]

    @contextmanager
    def _until_rows_arrive(self, network: nn.Module) -> Iterator[list[nn.Module]]:
        """A context around a step. Its list has the network once for each call; it is empty without a call.

        Every step is watched until rows have come to the MODEL, because a cache of another pack may leave out the first
        ones. In later steps the list stays empty. A compiled network, whose calls cannot be seen, counts as called.
        """
        called: list[nn.Module] = []
        if self._rows_arrived:
            yield called
            return
        if network_within(network) is not network:  # it is compiled
            called.append(network)
            yield called
            return
        hook = network.register_forward_pre_hook(lambda module, _: called.append(module))
        try:
            yield called
        finally:
            hook.remove()

    def _put_off(self, refusal: LikenessError, forward_input: ForwardInput, x: Tensor) -> Tensor:
        """What the forward gives instead of x after a refusal, see Refusals. It names the code of others here."""
        # A LayersPassedOver, a subclass, knows already who does it, see `_lost`.
        if type(refusal) is ConditioningLost and not refusal.module:
            refusal = ConditioningLost(self._code_of_others(forward_input.model, forward_input.options), refusal.why)
        return self._refusals.put_off(refusal, x)

    def _code_of_others(self, model: BaseModel, options: Options, parts: Sequence[nn.Module] = ()) -> str:
        """Modules of other packs' code that may have dropped or changed what we carry, for messages; "" for none seen.

        Those nearest to `parts` are named alone. Those around the MODEL are named where none is seen in the network.
        options: transformer_options. parts: of the network, where the loss was noticed; () where that is unknown.
        """
        return code_of_others(network_within(model.diffusion_model), parts, options) or self._code_around_model

    @contextmanager
    def _watched(self, batch: Batch, forward_input: ForwardInput) -> Iterator[None]:
        """A context around one forward of the network. Raises ConditioningLost where it does not call all sites."""
        calls = batch.calls
        network = network_within(forward_input.model.diffusion_model)
        known = self._known_calls.setdefault(network, KnownCalls())
        if calls.by_site is None:
            calls.by_site = batch.sites(self.modules_in(network))
        # In what may be the last forward all sites are asked for: no later one could clear up a doubt. A schedule has
        # one sigma more than steps, and a step calls the MODEL at least once.
        ask_all = self.schedule is not None and self._times_called >= len(self.schedule) - 1
        with watched(calls, calls.by_site, forward_input.model.diffusion_model, known, ask_all) as losses:
            yield
        if losses and not self._refusals.is_waiting:
            raise self._lost(losses[0], forward_input)

    def _lost(self, lost: Lost, forward_input: ForwardInput) -> ConditioningLost:
        """The error about sites that were not called: LayersPassedOver where all of them are layers."""
        module = self._code_of_others(forward_input.model, forward_input.options, lost.parts)
        layers = [site for site in lost.sites if isinstance(site, str)]  # see Batch.sites
        if len(layers) == len(lost.sites):
            return LayersPassedOver(module, layers, by_host=not module)  # no code of others: the host itself does it
        why = f"passes over {len(lost.sites)} of the {lost.asked} places in the network where people act"
        return ConditioningLost(module, f"{why}, as a copy of ComfyUI's code without transformer_options does")

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
        options = _options_of_apply_model(args, kwargs)
        forward_input = ForwardInput(
            executor.class_obj,
            x,
            t,
            c_crossattn,
            options,
            references=kwargs.get("ref_latents", ()),
            reference_texts=kwargs.get("ref_contexts", ()),
            reference_looks=kwargs.get("siglip_feats", ()),
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
            self._rows_arrived = True  # no batch is sent on that could report it
            return executor(*args, **kwargs)
        # The host gives what it does not know to the UNet, and so to wrap_diffusion_model.
        for_unet = {self.key: row_table, f"{self.key}_batch": Sent(batch, row_table, forward_input)}
        with batch.prepared(), self._watched(batch, forward_input):
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
        self._rows_arrived = True
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
        if row_table is sent.row_table and x.shape[-2:] == sent.forward_input.x.shape[-2:]:
            # Nothing has been changed on the way. wrap_apply_model holds `prepared` of this batch open.
            self._check_row_count(x, sent.batch.row_count)
            return call_network(sent.batch, executor, x, *args, **kwargs)
        context = _context_of_diffusion_model(args, kwargs)
        if context is None:
            context = sent.forward_input.context
        forward_input = sent.forward_input._replace(x=x, context=context)
        batch = self._checked_batch(row_table, forward_input)
        if batch is None:
            return executor(x, *args, **kwargs)
        with batch.prepared(), self._watched(batch, forward_input):
            return call_network(batch, executor, x, *args, **kwargs)

    def batch_for_forward(self, of_nodes: tuple[OfNode[CarriedT], ...], forward_input: ForwardInput) -> Batch | None:
        """The batch of one forward; None where nothing of what its chunks carry is on at this step."""
        acting = self.acting(of_nodes, forward_input.sigmas)
        return self.kept(acting, forward_input) if acting else None

    def kept(self, acting: Any, forward_input: ForwardInput) -> Batch:
        """The batch that `new_batch` makes of these arguments. It is made once, and kept until the run ends.

        Its key names all that `new_batch` makes it of. So forwards with one key would all get the same batch.
        """
        key = acting, forward_input.key
        with self._making:
            if key not in self._batches:
                self._batches[key] = self.new_batch(acting, forward_input)
            return self._batches[key]

    def new_batch(self, acting: Any, forward_input: ForwardInput) -> Batch:
        """The batch of all forwards like this one in which the same acts.

        acting: hashable; what `acting` gives, unless a subclass gives `kept` something else. Nothing else than these
        two arguments, and what is the same in all of the run, decides about the batch.
        """
        raise NotImplementedError

    def after_run(self) -> None:
        """Called when the run has ended, in whatever way: nothing of it is left on the MODEL."""

    def _check_row_count(self, x: Tensor, row_count: int) -> None:
        """Raise ConditioningLost where x, (B, ...), has another number of rows than its row table."""
        if len(x) != row_count:
            rows_in_words = counted(row_count, "row")
            why = f"hands over conditions of {rows_in_words} with {len(x)} of the pictures"
            raise ConditioningLost(self._code_around_model, why)

    def _check_sizes(self, forward_input: ForwardInput, chunks: Sequence[Chunk]) -> None:
        """Raise ConditioningLost where another pack shows the MODEL a part of the picture.

        Then it is unknown which part of a region is meant.
        """
        latent_of_forward = tuple(forward_input.x.shape[-2:])
        side = pixels_of(forward_input.model)  # of a latent pixel
        for chunk in chunks:
            whole_latent = chunk.size or self.latent  # the entry's own area, or all that is denoised
            has_places = any(item.by_place for item in chunk.carried)
            if whole_latent != latent_of_forward and has_places:
                height, width = (side * cells for cells in latent_of_forward)
                whole_height, whole_width = (side * cells for cells in whole_latent)
                pixels = f"{width}x{height} of {whole_width}x{whole_height} px"
                why = f"shows it {pixels}, but regions or a pose belong to the whole"
                raise ConditioningLost(self._code_around_model, why)


def _options_of_apply_model(args_behind_text: Sequence[Any], named: Mapping[str, Any]) -> Options:
    """The transformer_options in a call of the host's BaseModel.apply_model.

    args_behind_text: the arguments after the text, by position: control, transformer_options. named: those by name.
    """
    if len(args_behind_text) > 1:
        return args_behind_text[1]
    return named.get("transformer_options", {})


def _context_of_diffusion_model(args_behind_latents: Sequence[Any], named: Mapping[str, Any]) -> Tensor | None:
    """The text, (B, T, width), in a call of a UNet or a transformer; None where the call has none.

    args_behind_latents: the arguments after the latents, by position: timestep, text. named: those by name.
    """
    if len(args_behind_latents) > 1:
        return args_behind_latents[1]
    return named.get("context")


def call_network(batch: Batch, executor: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Call the network with the batch in its transformer_options, which come last where they are not named.

    The batch may put something into `current` for the call. Afterwards, also when anything has raised, `current` is as
    it was before: a network may be called inside of another one's forward. The call counts as begun (calls.is_begun).
    """
    batch.calls.is_begun = True
    args, kwargs = batch.network_arguments(args, kwargs)
    before = current.known()
    try:
        if "transformer_options" not in kwargs and args and isinstance(args[-1], dict):
            args = *args[:-1], batch.options_with_attention(args[-1])
        else:
            kwargs["transformer_options"] = batch.options_with_attention(kwargs.get("transformer_options", {}))
        return executor(x, *args, **kwargs)
    finally:
        current.know_again(before)
        batch.after_network_call()


def _anything_is_read(chunks: Sequence[Chunk]) -> bool:
    return any(carried.active for chunk in chunks for carried in chunk.carried)


def _modules_around(model_options: Mapping[str, Any]) -> str:
    """The modules of the functions that other packs have put around the MODEL, in words."""
    # It is given all conditions of a call and hands them on, so it is named alone.
    if "model_function_wrapper" in model_options:
        return modules_of([model_options["model_function_wrapper"]])
    wrappers = model_options["transformer_options"]["wrappers"]
    functions_of_others: list[Any] = []
    for kind in (_WRAPPERS.CALC_COND_BATCH, _WRAPPERS.APPLY_MODEL, _WRAPPERS.DIFFUSION_MODEL):
        for functions in wrappers.get(kind, {}).values():
            for function in functions:
                if not is_ours(function):
                    functions_of_others.append(function)
    return modules_of(functions_of_others)


def made_rows_error(
    layer_row_count: int, batch_row_count: int, function: Callable[..., object] | None
) -> ConditioningLost:
    """The error where another pack makes rows inside a layer. function: of that pack, None where it is unknown."""
    why = (
        f"makes {layer_row_count} rows of {batch_row_count} inside attention, without a record of which belong to whom"
    )
    functions = [] if function is None else [function]
    return ConditioningLost(modules_of(functions), why)


def attention_of_other_pack(
    replacement: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, extra_options: Mapping[str, Any]
) -> Tensor:
    """What another pack's function in place of attention gives: (B, N, C), a row for each row of the queries.

    q: (B, N, C). k, v: (B, T, C) each. The result is added to or put beside attention of ours, row by row, so row n of
    both must be one picture. Raises ConditioningLost, which names the pack, where the result has another number of
    rows. Two kinds of packs make other rows: one gives two results for each row and takes their mean in a patch after
    the layer, the other doubles the rows in a patch before attention and takes the mean in this function.
    """
    out = replacement(q, k, v, extra_options)
    if len(out) != len(q):
        raise made_rows_error(len(out), len(q), replacement)
    return out
