"""One sampling of a MODEL: what each row of a forward carries, and the batches that are made of it for the forward.

All of that happens before the network is called. torch.compile, which compiles the network and what stands in its
layers, sees the batches alone: tensors that lie ready, and what is done with them.

The steps of one forward, in the order in which the host calls them:

    PREPARE_SAMPLING    Run.wrap_prepare_sampling tells the host of the memory that people add, once for all forwards
    CALC_COND_BATCH     Run.wrap_calc_cond_batch notes the size of the latent; in it the host batches the entries
    conditioning        CarriedCond.concat asks Run.row_table for the table of the forward's rows, see row_tables.py
    APPLY_MODEL         Run.wrap_apply_model reads the table and makes the batches, outside of torch.compile:
                            row_tables.rows_of      the table -> what each chunk carries
                            _batches_of             checks rows and sizes, and asks each Kind for its Batch
                            acting                  which nodes are on at this step
                            kept_batch              the Batch of forwards like this one
                        and sends both on, the table and `Sent`
    DIFFUSION_MODEL     Run.wrap_diffusion_model calls the network with Batch.options_for_network. It makes batches
                        anew only where the table that arrives is not the one that was sent: another pack has moved rows
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor
from comfy.samplers import CFGGuider
from torch import Tensor

from ...core.attention.spans import NO_TOKENS, Tokens
from ...core.checks.errors import LikenessError, counted
from ...core.checks.memory import tensors_on_cpu
from ..host import notes
from ..host.schedule import ScheduleRange, SigmaRange
from ..host.shared_network import model_of, network_within
from ..host.unet import pixels_of
from .areas import LatentSize, in_pixels, latent_size, row_window
from .carried import (
    KEY,
    Carried,
    CarriedCond,
    CarriedT,
    Chunk,
    ConditioningLost,
    PerChunk,
    Rows,
    carry_instead,
    entries_with,
    read_as_negative,
)
from .code_of_others import is_from_ours
from .conditioning import NeverCopied, factor_between
from .deferred_errors import DeferredErrors
from .forward import (
    Batch,
    ForwardInput,
    ForwardShape,
    Network,
    argument,
    call_network,
    call_uncompiled,
)
from .kept import Kept
from .node_of_run import NodeOfRun
from .row_tables import RowTables
from .run_notes import WORDS, note_on_words
from .watch import Watch

T = TypeVar("T")
ByNode = tuple[PerChunk[Any], ...]
"""What each node has put into the chunks of a forward, of one kind."""


class Kind(NamedTuple):
    """One kind of thing that conditioning carries.

    key: of the Carried. batch: makes the Batch of a forward, called as batch(run, by_node, forward_input); None where
    nothing of what the nodes have put in is on at this step.
    """

    key: str
    batch: Callable[[Run, ByNode, ForwardInput], Batch | None]


def when_acting(
    new_batch: Callable[[Run, ByNode, ForwardShape], Batch | None],
) -> Callable[[Run, ByNode, ForwardInput], Batch | None]:
    """The `batch` of a kind that reads at each step what is on then, by `new_batch`, see Run.kept_batch."""

    def batch(run: Run, by_node: ByNode, forward_input: ForwardInput) -> Batch | None:
        acting = run.acting(by_node, forward_input.sigmas)
        return run.kept_batch(new_batch, acting, forward_input) if acting else None

    return batch


class Sent(NamedTuple):
    """What `wrap_apply_model` sends to `wrap_diffusion_model`, through wrappers of other packs. tokens: of the forward,
    as all batches know them."""

    batches: tuple[Batch, ...]
    tokens: Tokens
    forward_input: ForwardInput


class _Entry(NamedTuple):
    """What one entry carries, and how many tokens its text has."""

    carried: tuple[Carried, ...]
    text_tokens: int

    def cells_added(self, model: BaseModel) -> int:
        return sum(item.cells_added(model, self.text_tokens) for item in self.carried)


class Run(NeverCopied):
    """One sampling of a MODEL. It reads all kinds of what the conditioning carries.

    model: the MODEL. latent: (height, width) of what is denoised, in latent pixels. cell: the side of a latent pixel,
    in pixels. kinds: by key, those that it reads. schedule: (steps + 1,), every sigma, once it has begun. pictures: how
    many pictures are denoised. at_end: what is called when the sampling has ended.
    """

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        """The entries of the guider, which are copies for this sampling, get this run. latent: (B, C, h, w)."""
        self.model: Any = guider.model_patcher
        self.latent: LatentSize = latent_size(latent)
        self.cell = pixels_of(model_of(self.model))
        self.kinds: dict[str, Kind] = {}
        self.schedule: Tensor | None = None
        self.pictures = len(latent)
        self.at_end = ExitStack()
        self.device: torch.device = self.model.load_device
        self.replacements: Mapping[str, Any] = guider.model_options["transformer_options"].get("patches_replace", {})
        """What other nodes have put in place of attentions and blocks for the whole sampling, as in the host."""
        self.row_tables = RowTables(self.device)
        self.watch = Watch()
        self._model_sampling = self.model.get_model_object("model_sampling")
        self._sigma_ranges: dict[ScheduleRange, SigmaRange] = {}
        self.kept = Kept()
        self._deferred_errors = DeferredErrors()
        self._entries: list[_Entry] = []
        self._beside: list[ModelPatcher] = []
        """See `load_beside`."""
        self._times_called = 0
        """How often a sampler has called the MODEL, at least once a step."""
        read_as_negative(guider)
        _follow_texts(guider)

    def add_kinds(self, kinds: Iterable[Kind], guider: CFGGuider, latent: Tensor) -> list[Carried]:
        """From now on read these kinds too. Gives all that the conditioning carries of them.

        Raises BadCast or BadSize where the canvas of something carried does not fit the latent, (B, C, h, w), and what
        `in_entry` and `begin` of a Carried raise.
        """
        new = {kind.key: kind for kind in kinds if kind.key not in self.kinds}
        self.kinds.update(new)
        everything: list[Carried] = []
        self._entries = []
        for entry, cond in entries_with(guider):
            carried = tuple(item.in_entry(entry) if item.key in new else item for item in cond.cond)
            carry_instead(entry, CarriedCond(carried, run=self))
            text: Tensor | None = entry.get("cross_attn")
            self._entries.append(_Entry(carried, 0 if text is None else text.shape[1]))
            everything += [item for item in carried if item.key in new]
        for canvas in dict.fromkeys(item.canvas for item in everything):
            if canvas is not None:
                canvas.check(latent, self.cell)
        for item in everything:
            item.begin(self)
        return everything

    @property
    def devices(self) -> list[torch.device]:
        """Those on which the MODEL samples: several where the host's MultiGPU CFG Split does so."""
        others: list[ModelPatcher] = self.model.get_additional_models_with_key("multigpu")
        return [self.device, *(other.load_device for other in others)]

    def load_beside(self, patcher: ModelPatcher) -> None:
        """Let the host load this beside the MODEL. For `Carried.begin`: it is called before the host loads anything."""
        self._beside.append(patcher)

    def end(self) -> None:
        """The sampling has ended: what is left in networks is taken out, and what was made for it is freed."""
        self.at_end.close()
        self.kept.forget_all()

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

    def acting(self, by_node: Sequence[PerChunk[CarriedT]], sigmas: Tensor) -> tuple[PerChunk[CarriedT], ...]:
        """What the nodes that act at these sigmas, (B,), have put into the chunks of a forward."""
        acting: list[PerChunk[CarriedT]] = []
        for of_node in by_node:
            # A chunk that reads nobody, such as the negative side's, has a Carried that is not active. The first active
            # one answers for all: in one batch they have the same schedule, see CarriedCond.can_concat.
            active = next((carried for carried in of_node if carried.active), None)
            if active is not None and self.is_on(active, sigmas):
                acting.append(of_node)
        return tuple(acting)

    def kept_batch(
        self, new_batch: Callable[[Run, Any, ForwardShape], Batch | None], acting: Hashable, forward_input: ForwardInput
    ) -> Batch | None:
        """The batch that `new_batch` makes of what acts, in forwards of this shape. It is made once, and kept until the
        run ends, or until the hooks of its network have other strengths.

        Its key is all that `new_batch` is given, and the network as it is, so forwards with one key would all get the
        same batch. A batch that depends on transformer_options reads them in its `options_for_network`, in each
        forward.
        """
        made_of = acting, forward_input.shape
        key = new_batch, made_of
        return self.kept(key, lambda: new_batch(self, *made_of), network=forward_input.network)

    def row_table(self, chunks: tuple[Chunk, ...], picture_count: int) -> Tensor:
        """The row table of a batch, (rows, 2), for the host. It is remembered whether the host got rows with people.

        picture_count: how many pictures each chunk has.
        """
        if any(carried.active for chunk in chunks for carried in chunk.carried):
            self.watch.rows_sent = True
        return self.row_tables.of_batch(chunks, picture_count)

    def wrap_prepare_sampling(
        self,
        executor: WrapperExecutor,
        model: ModelPatcher,
        noise_shape: Sequence[int],
        conds: Mapping[str, Sequence[dict[str, Any]]],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """The wrapper at PREPARE_SAMPLING, where the host loads the MODEL, and estimates the memory of a forward by the
        shape of a latent, (B, C, h, w) or (B, C, frames, h, w).

        It is given the shape of a higher one, with enough rows for the tokens that people add to the text. What is to
        be loaded beside the MODEL it finds in an entry. conds: the entries of all sides, copies for this sampling.
        """
        if self._beside:
            entry = next(entry for side in conds.values() for entry in side)
            entry[_BESIDE] = [*entry.get(_BESIDE, ()), *dict.fromkeys(self._beside)]
        base_model = model_of(model)
        cells = max((entry.cells_added(base_model) for entry in self._entries), default=0)
        if cells and len(noise_shape) >= 4:
            *others, height, width = noise_shape
            frames = others[2] if len(others) > 2 else 1
            noise_shape = [*others, height + math.ceil(cells / (width * frames)), width]
        return executor(model, noise_shape, conds, *args, **kwargs)

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

        Raises the error that was put off in the step, and ConditioningLost where rows with people were sent, and the
        network was called without them.
        """
        self._begin_step(x_in, model_options["transformer_options"])
        step = partial(executor, model, conds, x_in, timestep, model_options)
        with self.watch.step(model, model_options):
            return self._deferred_errors.raised_after(step)

    def _begin_step(self, x_in: Tensor, options: dict[str, Any]) -> None:
        """Note what is known of a step before its forwards: sizes, window and schedule.

        x_in: what is denoised, (B, C, h, w): a sampler may enlarge it between two steps.
        """
        self.latent = latent_size(x_in)
        self.row_tables.window = row_window(options) or ()
        self.schedule = options.get("sample_sigmas")
        self._times_called += 1

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
        """The wrapper at APPLY_MODEL: it makes the batches of a forward, outside of what torch.compile sees.

        The arguments are the host's; the row table is among kwargs, where the host has put it under KEY. A
        LikenessError is put off: zeros are returned, and it is raised at the end of the step.
        """
        positional = x, t, c_concat, c_crossattn, *args
        row_table: Tensor | None = kwargs.pop(KEY, None)
        if row_table is None:
            return executor(*positional, **kwargs)
        if self._deferred_errors.is_waiting:
            return torch.zeros_like(x)
        assert c_crossattn is not None  # the conditioning of every network with cross-attention
        options = argument(args, 1, kwargs, "transformer_options", {})  # args: control, transformer_options
        references = kwargs.get("ref_latents", ())
        forward_input = ForwardInput(executor.class_obj, x, t, c_crossattn, options, row_table, references)
        try:
            batches = self._batches_of(forward_input)
            if not batches:
                self.watch.rows_arrived = True  # no batch is sent on that could report it
                return executor(*positional, **kwargs)
            # The host gives what it does not know to the network, and so to wrap_diffusion_model.
            sent = Sent(batches, self._tokens_of(batches, forward_input.network), forward_input)
            for_network = {KEY: row_table, _SENT: sent}
            with self._in_network(batches, forward_input):
                return executor(*positional, **kwargs, **for_network)
        except LikenessError as error:
            return self._put_off(error, forward_input, x)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # A pack's copy of a forward may hand on less to a layer than the host's own.
            less = f"without {error.args[0]}" if isinstance(error, KeyError) else f"not as ComfyUI does ({error})"
            lost = self.watch.named(
                ConditioningLost("", f"calls a layer {less}"), forward_input.model, forward_input.options
            )
            if not (lost.module and is_from_ours(error)):
                raise
            return self._put_off(lost, forward_input, x)

    def wrap_diffusion_model(self, executor: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The wrapper at DIFFUSION_MODEL: the network is called with the batches in its transformer_options.

        They are made anew where another pack has moved rows or cut tiles after they were made. A LikenessError is put
        off as in `wrap_apply_model`. The arguments between the text and transformer_options differ between UNets and
        transformers.
        """
        sent: Sent | None = kwargs.pop(_SENT, None)
        row_table: Tensor | None = kwargs.pop(KEY, None)
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
        """What the network gives with the batches that were sent, or with new ones. The other arguments are as in
        `wrap_diffusion_model`."""
        if sent.forward_input.is_as_before(row_table, x):
            # wrap_apply_model holds `prepared` of these batches open.
            _check_row_count(x, len(row_table))
            return _call(sent.batches, sent.tokens, executor, x, *args, **kwargs)
        context = argument(args, 1, kwargs, "context")  # args: timestep, text
        if context is None:
            context = sent.forward_input.context
        forward_input = sent.forward_input._replace(x=x, context=context, row_table=row_table)
        batches = self._batches_of(forward_input)
        with self._in_network(batches, forward_input):
            return _call(batches, self._tokens_of(batches, forward_input.network), executor, x, *args, **kwargs)

    def _batches_of(self, forward_input: ForwardInput) -> tuple[Batch, ...]:
        """The batches of a forward, in the order of the kinds; () where nothing of what its rows carry is on.

        Raises ConditioningLost where rows or sizes do not fit.
        """
        assert forward_input.row_table is not None
        rows = self.row_tables.rows_of(forward_input.row_table)
        read: list[tuple[Kind, list[tuple[Any, ...]]]] = []
        for kind in self.kinds.values():
            by_chunk = rows.of_kind(kind.key)
            if any(carried.active for of_chunk in by_chunk for carried in of_chunk):
                read.append((kind, by_chunk))
        if not read:
            return ()
        _check_row_count(forward_input.x, rows.count)
        batches: list[Batch | None] = []
        with tensors_on_cpu():  # also where another pack has set another default device
            for kind, by_chunk in read:
                self._check_sizes(forward_input, rows, kind.key)
                # A chunk has something of each node. Turned around: for each node what it has put into the chunks.
                batches.append(kind.batch(self, tuple(zip(*by_chunk, strict=True)), forward_input))
        return tuple(batch for batch in batches if batch is not None)

    def _tokens_of(self, batches: tuple[Batch, ...], network: Network) -> Tokens:
        """The tokens of a forward as all of its batches know them; none where none has to know them."""
        # The others may be of one step alone, as those of parts that are recorded anew, and are not kept by this.
        knowing = tuple(batch for batch in batches if batch.own_tokens.spans)

        def make() -> Tokens:
            tokens = NO_TOKENS
            for batch in knowing:
                tokens = batch.in_tokens(tokens)
            with tensors_on_cpu():
                for batch in knowing:
                    batch.get_ready(tokens)
            return tokens

        return self.kept(knowing, make, network=network)

    @contextmanager
    def _in_network(self, batches: Sequence[Batch], forward_input: ForwardInput) -> Iterator[None]:
        """A context around one forward, in which what the batches need stands in the network.

        Raises ConditioningLost where the network passes over any of it.
        """
        # A schedule has one sigma more than steps, and a step calls the MODEL at least once.
        is_last = self.schedule is not None and self._times_called >= len(self.schedule) - 1
        network = forward_input.model.diffusion_model
        with ExitStack() as stack:
            for batch in batches:
                if batch.calls.due_calls is None:
                    batch.calls.due_calls = batch.due_calls(self.watch.modules_in(network_within(network)))
                stack.enter_context(batch.prepared())
                stack.enter_context(self.watch.forward(batch.calls, batch.calls.due_calls, network, is_last=is_last))
            yield

    def _put_off(self, error: LikenessError, forward_input: ForwardInput, x: Tensor) -> Tensor:
        """What the forward gives instead of x after an error, see DeferredErrors. It names the code of others here."""
        if isinstance(error, ConditioningLost):
            error = self.watch.named(error, forward_input.model, forward_input.options)
        return self._deferred_errors.put_off(error, x)

    def _check_sizes(self, forward_input: ForwardInput, rows: Rows, kind: str) -> None:
        """Raise ConditioningLost where another pack shows the MODEL a part of the picture.

        Then it is unknown which part of a region is meant. kind: of what is carried, by its key.
        """
        size = latent_size(forward_input.x)
        for chunk in rows.chunks:
            whole_size = chunk.size or self.latent  # the entry's own area, or all that is denoised
            has_places = any(item.by_place for item in chunk.carried if item.key == kind)
            if whole_size != size and has_places:
                cell = pixels_of(forward_input.model)
                shown, whole = in_pixels(size, cell), in_pixels(whole_size, cell)  # (width, height) each
                pixels = f"{shown[0]}x{shown[1]} of {whole[0]}x{whole[1]} px"
                raise ConditioningLost("", f"shows it {pixels}, but regions or a pose belong to the whole")


_BESIDE = "additional_models"
"""Where the host looks in an entry for models that it loads beside the MODEL."""
_SENT = f"{KEY}_sent"
"""The key of a Sent among the arguments of a network, on its way through wrappers of others."""


def _call(
    batches: Sequence[Batch], tokens: Tokens, executor: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    """What the network gives with these batches, see call_network."""
    call = call_network if all(batch.may_be_compiled for batch in batches) else call_uncompiled
    return call(batches, tokens, executor, x, *args, **kwargs)


def _check_row_count(x: Tensor, row_count: int) -> None:
    """Raise ConditioningLost where x, (B, ...), has another number of rows than its row table."""
    if len(x) != row_count:
        why = f"hands over conditions of {counted(row_count, 'row')} with {len(x)} of the pictures"
        raise ConditioningLost("", why)


def _follow_texts(guider: CFGGuider) -> None:
    """Tell what each entry carries how another node has changed the entry's text since, by `beside_changed_text`.

    The entries are changed in place. Notes about words of people that no longer fit a text are written, too, see
    note_on_words.
    """
    notes_of_nodes: dict[NodeOfRun, str] = {}
    for entry, cond in entries_with(guider):
        text: Tensor | None = entry.get("cross_attn")
        if text is None:
            continue
        beside_text: list[Carried] = []
        for item, text_before in zip(cond.cond, cond.texts, strict=True):
            if item.words_note_node is not None:  # the first entry with a note counts
                before = notes_of_nodes.get(item.words_note_node, "")
                notes_of_nodes[item.words_note_node] = before or note_on_words(item, text_before, text)
            factor = factor_between(text_before, text)
            beside_text.append(item if factor == 1 else item.beside_changed_text(factor))
        carry_instead(entry, CarriedCond(tuple(beside_text)))
    for node, note in notes_of_nodes.items():
        notes.tell_of_run(node.node_id, WORDS, note)
