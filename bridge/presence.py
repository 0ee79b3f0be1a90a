"""Who is in a sampling run, and when: what apply nodes have put on a MODEL, held against what its prompts carry.

The core nodes Conditioning (Average) and Conditioning (Concat) keep the options of `conditioning_to` alone, so people
of `conditioning_from` are lost without a word. And a range of the schedule may hold no step of a run: img2img at a low
denoise, a few-step model. Neither can be seen when an apply node runs. A run sees both, and says them under that node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.patcher_extension
import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor
from comfy.samplers import CFGGuider
from torch import Tensor

from . import notes
from .conditioning import Conditioning
from .control_nets.rows import AttachedEntry, AttachedRows, Side, sample_of
from .remarks import Start
from .schedule import ScheduleRange, is_unfinished, percent_of, steps_of

TOPIC = "presence"
"""Of what is told of a run, see notes.tell_of_run."""
_KEY = "likeness_presence"
"""Of the MODEL's attachments, of its wrapper, and of the options of conditioning entries."""


@dataclass(frozen=True)
class NamedRange:
    """A range that a user has set. what: what works in it, such as "the adapter". inputs: where it is set."""

    what: str
    schedule: ScheduleRange
    inputs: str = "start_percent and end_percent"


@dataclass(frozen=True, eq=False)
class Presence:
    """What one apply node has put in, for the user's eye.

    node, node_id: its name, and its id in the graph or None. subject: who or what it puts in, such as "Anna and Ben".
    several: whether that is more than one. ranges: those in which it works.
    in_negative: whether a negative prompt that does not come from the node gives another picture.
    """

    node: str
    node_id: str | None
    subject: str
    several: bool
    ranges: tuple[NamedRange, ...] = ()
    in_negative: bool = False

    def __deepcopy__(self, memo: object) -> Presence:
        return self  # ComfyUI 0.3.64 copies what stands on a MODEL with every clone


@dataclass(frozen=True, eq=False)
class Mark:
    """In the options of a conditioning entry: that it comes from an apply node, from which side of it."""

    presence: Presence
    side: Side

    def __deepcopy__(self, memo: object) -> Mark:
        return self


def subject_of(names: Sequence[str]) -> str:
    """Names as they stand in a sentence: Anna, Ben and Christa."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def of_people(
    names: Sequence[str],
    node: str,
    node_id: str | None,
    ranges: Sequence[NamedRange] = (),
    in_negative: bool = False,
) -> Presence:
    """Of people with these names."""
    return Presence(node, node_id, subject_of(names), len(names) != 1, tuple(ranges), in_negative)


def announced(
    presence: Presence, model: ModelPatcher, positive: Conditioning, negative: Conditioning
) -> tuple[ModelPatcher, Conditioning, Conditioning]:
    """A clone of the MODEL that looks after what the node has put in whenever it samples, and both prompts marked."""
    marked_positive = marked(positive, presence, Side.POSITIVE)
    marked_negative = marked(negative, presence, Side.NEGATIVE)
    return on_model(presence, model, positive), marked_positive, marked_negative


def on_model(presence: Presence, model: ModelPatcher, positive: Conditioning) -> ModelPatcher:
    """A clone of the MODEL that looks after what the node has put in whenever it samples.

    positive: what the node gives on, of which the entries that have people are `marked`.
    """
    text = positive[0][0] if positive else None
    clone = model.clone()
    before: tuple[_Announcement, ...] = clone.get_attachment(_KEY) or ()
    clone.set_attachments(_KEY, (*before, _Announcement(presence, text)))
    if not before:  # one wrapper for all announcements of a MODEL
        kind = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
        clone.add_wrapper_with_key(kind, _KEY, _sample_with_remarks)
    return clone


def marked(conditioning: Conditioning, presence: Presence, side: Side) -> Conditioning:
    """Every entry with one mark more in its options, which the host's nodes hand on and a run finds again."""
    entries: Conditioning = []
    for text, options in conditioning:
        marks: tuple[Mark, ...] = options.get(_KEY, ())
        entries.append([text, {**options, _KEY: (*marks, Mark(presence, side))}])
    return entries


@dataclass(frozen=True, eq=False)
class _Announcement:
    """What an apply node has told the MODEL, among its attachments.

    text: (B, T, width) of the first entry of the positive prompt that the node has given on, or None without an entry.
    By it a run knows a prompt that holds this text but has lost the mark.
    """

    presence: Presence
    text: Tensor | None

    def __deepcopy__(self, memo: object) -> _Announcement:
        return self


def _sample_with_remarks(executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
    """The wrapper (OUTER_SAMPLE): say what is lost or does nothing in this run, then sample."""
    guider: CFGGuider = executor.class_obj
    run = _PromptsAndSteps(guider, Start.of_call(args, kwargs))
    for announcement in guider.model_patcher.get_attachment(_KEY) or ():
        sentences = run.remarks(announcement)
        # Without sentences what an earlier run has told goes.
        notes.tell_of_run(announcement.presence.node_id, TOPIC, "\n".join(sentences))
    return executor(*args, **kwargs)


class _PromptsAndSteps:
    """Those of one run, held against what apply nodes have announced.

    Entries are here as guiders hold them: the options of an entry as a dict, its text under cross_attn.
    """

    def __init__(self, guider: CFGGuider, start: Start) -> None:
        self._entries: list[dict[str, Any]] = []
        # All that draws. People in the negative prompt alone are drawn by no guider. DualCFG has two other prompts.
        self._drawn: list[dict[str, Any]] = []
        for name, prompt in guider.conds.items():
            self._entries.extend(prompt)
            if name != "negative":
                self._drawn.extend(prompt)
        self._negative = list(guider.conds.get("negative") or ())
        self._steps = steps_of(start.sigmas)
        # Two samplers may share one schedule (KSampler Advanced, Split Sigmas), and the other one may meet a range. The
        # first ends with noise left, the second is given none.
        self._is_a_part = is_unfinished(start.sigmas) or not bool(start.noise.any())
        self._model_sampling = guider.model_patcher.get_model_object("model_sampling")
        # At a CFG of 1 the host does not compute the negative prompt.
        self._reads_negative = bool(self._negative) and getattr(guider, "cfg", None) != 1

    def remarks(self, announcement: _Announcement) -> list[str]:
        """Sentences for the node: that its people are lost; else of each range that no step meets, and of a negative
        prompt that is not the node's."""
        presence = announcement.presence
        carrying = _carrying(self._drawn, presence, Side.POSITIVE)
        if not carrying:
            return [_lost_from_all_prompts(presence)] if self._is_lost(announcement) else []
        sentences: list[str] = []
        for named in presence.ranges:
            if named.schedule.is_empty or self._is_a_part:
                continue
            if not self._meets_a_step(named, carrying):
                sentences.append(never_works(presence.node, named, self._steps, self._model_sampling))
        reads_it = presence.in_negative and self._reads_negative
        if reads_it and not _carrying(self._negative, presence, Side.NEGATIVE):
            sentences.append(_not_in_negative(presence))
        return sentences

    def _is_lost(self, announcement: _Announcement) -> bool:
        """Whether a prompt comes from nodes of ours, or holds this node's text (as of Concat), but not its people.

        Where nothing of ours is in any prompt, a first pass without people is meant.
        """
        if any(_KEY in entry for entry in self._entries):
            return True
        text = announcement.text
        return text is not None and any(_ends_with(entry, text) for entry in self._entries)

    def _meets_a_step(self, named: NamedRange, carrying: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a step lies in a range while one of these entries is read."""
        sigmas = named.schedule.in_sigmas(self._model_sampling)
        for entry in carrying:
            read = sigmas.overlap(_range_of(entry).in_sigmas(self._model_sampling))
            if any(read.contains(step) for step in self._steps):
                return True
        return False


def _carrying(entries: Sequence[Mapping[str, Any]], presence: Presence, side: Side) -> list[Mapping[str, Any]]:
    """Those of these entries that come from one side of the node."""
    carrying: list[Mapping[str, Any]] = []
    for entry in entries:
        marks: tuple[Mark, ...] = entry.get(_KEY, ())
        if any(mark.presence is presence and mark.side is side for mark in marks):
            carrying.append(entry)
    return carrying


def _range_of(entry: Mapping[str, Any]) -> ScheduleRange:
    """When the host reads a conditioning entry (comfy/samplers.py, calculate_start_end_timesteps).

    Of a scheduled CLIP and of Set Timesteps Range, so that it may start after its end, and is then never read.
    """
    start = max(entry.get("clip_start_percent", 0.0), entry.get("start_percent", 0.0))
    end = min(entry.get("clip_end_percent", 1.0), entry.get("end_percent", 1.0))
    return ScheduleRange(start, end)


def _ends_with(entry: Mapping[str, Any], text: Tensor) -> bool:
    """Whether the text of an entry, (B, tokens, width), is a longer one with `text` at its end."""
    whole: Tensor | None = entry.get("cross_attn")
    if whole is None or whole.dim() != 3:
        return False
    if whole.shape[1] <= text.shape[1] or whole.shape[2] != text.shape[2]:
        return False
    end = whole[:, -text.shape[1] :]
    return end.shape == text.shape and torch.equal(end, text.to(end))


def _lost_from_all_prompts(presence: Presence) -> str:
    """The sentence for a sampler whose MODEL comes from the node, while no prompt does."""
    return _lost(presence, "in no prompt of this sampler", "its MODEL")


def _lost_from_the_positive(presence: Presence) -> str:
    """The sentence for a sampler whose negative prompt comes from the node, while its positive prompt does not."""
    return _lost(presence, "not in the positive prompt of this sampler", "its negative prompt")


def _lost(presence: Presence, where: str, connected: str) -> str:
    """where: as it follows on is or are. connected: what of the sampler comes from the node all the same."""
    are = "are" if presence.several else "is"
    return (
        f"{presence.subject} {are} {where}, though {connected} comes from {presence.node}. Connect the positive output "
        f"of {presence.node}, or what comes of it. Conditioning (Average) and (Concat) keep only what conditioning_to "
        "carries: use Conditioning (Combine), or mix people with Blend Two People or their weights."
    )


def _not_in_negative(presence: Presence) -> str:
    return (
        f"The negative prompt of this sampler is not the negative output of {presence.node}, so the picture is another "
        "one. Connect that output, or what comes of it. Conditioning (Average) and (Concat) keep only what "
        "conditioning_to carries."
    )


def never_works(node: str, named: NamedRange, steps: Sequence[float], model_sampling: Any) -> str:
    """The sentence for a range in which no step of a run lies. steps: the sigma of each."""
    begins = [f"{percent_of(sigma, model_sampling):.0%}" for sigma in steps]
    if len(begins) > 1:
        where = f"its {len(begins)} steps begin from {begins[0]} to {begins[-1]}"
    elif begins:
        where = f"its one step begins at {begins[0]}"
    else:
        where = "it has no steps"
    return (
        f"{node}: the range of {named.what} is {named.schedule}, and no step of this run begins there ({where}). So it "
        f"has little or no effect. Change {named.inputs}, or the steps and the denoise of the sampler."
    )


class NetReport:
    """What a ControlNet notes of a run, and says under its node at the end of it: for a node that takes no MODEL.

    presence: of the node. control, tokens: when the net and the ID tokens work; None for what there is none of.
    Shared by all copies of a net. A run that was cancelled has no end: the next begins anew.
    """

    def __init__(self, presence: Presence, control: NamedRange | None, tokens: NamedRange | None) -> None:
        self._presence = presence
        self._ranges = [named for named in (control, tokens) if named is not None]
        self._model_sampling: Any = None
        self._schedule: Tensor | None = None
        self._sides = set[Side]()
        self._sentences: list[str] = []
        self._known = set[int]()

    def begun(self, model: BaseModel) -> None:
        """Called before a run, once for every prompt that has the net: so it forgets nothing."""
        self._model_sampling = model.model_sampling

    def forward(self, rows: AttachedRows, text: Tensor, schedule: Tensor | None) -> None:
        """text: (B, tokens, width) that the rows read. schedule: (steps + 1,), every sigma of the run."""
        if schedule is not self._schedule:  # one tensor for all forwards of a run: this is the first of another one
            self._forget()
            self._schedule = schedule
            # What ends with noise left goes on in another sampler, which may meet a range.
            if schedule is not None and not is_unfinished(schedule):
                self._sentences += self._ranges_without_step(steps_of(schedule))
        self._sides.update(entry.side for entry in rows.entries)
        # text.chunk: (B / chunks, tokens, width) for each entry, in their order
        for entry, read in zip(rows.entries, text.chunk(len(rows.entries)), strict=True):
            if id(entry) not in self._known:  # each is looked at once in a run, which keeps them all
                self._known.add(id(entry))
                if not _holds_tokens(entry, read):
                    self._sentences.append(_tokens_changed(self._presence))

    def ended(self) -> None:
        """Called at the end of a run, by every copy of the net: the first of them tells, and nothing is left then."""
        if not self._sides:
            return
        if Side.POSITIVE not in self._sides:
            self._sentences.append(_lost_from_the_positive(self._presence))
        sentences = dict.fromkeys(self._sentences)
        notes.tell_of_run(self._presence.node_id, TOPIC, "\n".join(sentences))
        self._forget()

    def _forget(self) -> None:
        self._schedule = None
        self._sides = set()
        self._sentences = []
        self._known = set()

    def _ranges_without_step(self, steps: Sequence[float]) -> list[str]:
        """A sentence for each range in which no step of the run lies. steps: the sigma of each."""
        sentences = list[str]()
        for named in self._ranges:
            sigmas = named.schedule.in_sigmas(self._model_sampling)
            if not named.schedule.is_empty and not any(sigmas.contains(step) for step in steps):
                sentences.append(never_works(self._presence.node, named, steps, self._model_sampling))
        return sentences


def _holds_tokens(entry: AttachedEntry, read: Tensor) -> bool:
    """Whether the text that rows of an entry read, (B, tokens, width), holds the ID tokens that its own text had."""
    if entry.tokens is None or entry.sample is None:
        return True
    now = sample_of(read, entry.tokens)
    return now.shape == entry.sample.shape and torch.allclose(now, entry.sample.to(now), rtol=1e-3, atol=1e-5)


def _tokens_changed(presence: Presence) -> str:
    return (
        f"The ID tokens of {presence.subject} are no longer in the prompt as {presence.node} has given them, so the "
        "likeness is weaker or that of another person. Conditioning (Average), Zero Out and Multiply change them: put "
        f"that node in front of {presence.node}."
    )
