"""Notes of a ControlNet about its runs, for a node without a MODEL: whose people are missing, what works at no step."""

from __future__ import annotations

from typing import Any

import torch
from comfy.model_base import BaseModel
from torch import Tensor

from ..host import notes
from ..host.schedule import is_unfinished, steps_of
from ..host.unet import Options
from .missing_people import TOPIC, ApplyNode, NamedRange, ranges_without_step
from .rows import AttachedEntry, AttachedRows, Side, sample_of


class NetReport:
    """The notes that a ControlNet collects in a run and shows under its node at the end, for a node without a MODEL.

    apply_node: of the node. control, tokens: when the net and the ID tokens work; None for what there is none of.
    One object is shared by all copies of a net. `end_run` is not called for a cancelled run: the next one begins anew.
    """

    def __init__(self, apply_node: ApplyNode, control: NamedRange | None, tokens: NamedRange | None) -> None:
        self._apply_node = apply_node
        self._ranges = [named_range for named_range in (control, tokens) if named_range is not None]
        self._model_sampling: Any = None
        self._schedule: Tensor | None = None
        self._sides = set[Side]()  # on which the net was seen in this run
        self._sentences: list[str] = []
        self._checked_entries = set[int]()  # ids of the entries whose tokens were checked in this run

    def begin_run(self, model: BaseModel) -> None:
        """Keep the run's model_sampling. Called before a run, once for every prompt that has the net.

        So it forgets no notes: `_begin_schedule` does, in the first forward.
        """
        self._model_sampling = model.model_sampling

    def see_forward(self, rows: AttachedRows, context: Tensor, options: Options) -> None:
        """Called in every forward: note which sides have the net, and whether their texts still hold the ID tokens.

        The first forward of a run begins the notes anew. context: the text that the rows read, (B, T, width). options:
        the transformer_options of the forward.
        """
        schedule: Tensor | None = options.get("sample_sigmas")  # (steps + 1,), all sigmas of the run
        # The host gives all forwards of a run the same tensor. Another tensor is that of the first forward of a new
        # run.
        if schedule is not self._schedule:
            self._begin_schedule(schedule)
        for entry, side, entry_context in rows.by_entry(context, options):
            self._sides.add(side)
            is_zeroed_copy = side is not entry.side  # it was zeroed out on purpose
            # Each entry is checked once in a run. The run holds all entries, so no id can become that of another one.
            if not is_zeroed_copy and id(entry) not in self._checked_entries:
                self._checked_entries.add(id(entry))
                self._check_tokens(entry, entry_context)

    def _begin_schedule(self, schedule: Tensor | None) -> None:
        """Forget the notes of the run before, and note in which ranges no step of this schedule, (steps + 1,), lies."""
        self._forget()
        self._schedule = schedule
        # A run that ends with noise left goes on in another sampler, whose steps may lie in a range.
        if schedule is not None and not is_unfinished(schedule):
            self._sentences += ranges_without_step(
                self._apply_node.node_name, self._ranges, steps_of(schedule), self._model_sampling
            )

    def _check_tokens(self, entry: AttachedEntry, context: Tensor) -> None:
        """Note where the text that rows of an entry read, (B, T, width), no longer holds the node's ID tokens."""
        if _holds_tokens(entry, context):
            return
        if entry.side is Side.POSITIVE:
            self._sentences.append(self._apply_node.tokens_changed())
        elif context.any():  # not zeroed out on purpose
            self._sentences.append(self._apply_node.not_in_negative())

    def end_run(self) -> None:
        """Called at the end of a run, by every copy of the net: the first call writes the notes, and forgets them."""
        if not self._sides:  # no forward since they were forgotten: another copy has written them
            return
        if Side.POSITIVE not in self._sides:
            missing_from = "not in the positive prompt of this sampler"
            self._sentences.append(self._apply_node.lost(missing_from, "its negative prompt"))
        sentences = dict.fromkeys(self._sentences)
        notes.tell_of_run(self._apply_node.node_id, TOPIC, "\n".join(sentences))
        self._forget()

    def _forget(self) -> None:
        self._schedule = None
        self._sides = set()
        self._sentences = []
        self._checked_entries = set()


def _holds_tokens(entry: AttachedEntry, context: Tensor) -> bool:
    """Whether the text that rows of an entry read, (B, T, width), still holds the ID tokens of the entry.

    True for an entry without ID tokens. Of all tokens a sample is compared.
    """
    if entry.tokens is None or entry.sample is None:
        return True
    sample = sample_of(context, entry.tokens)
    if sample.shape != entry.sample.shape:
        return False
    return torch.allclose(sample, entry.sample.to(sample), rtol=1e-3, atol=1e-5)
