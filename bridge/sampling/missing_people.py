"""Notes of a sampling run about people that are missing from its prompts, and about ranges in which no step lies.

The core nodes Conditioning (Average) and Conditioning (Concat) keep the options of `conditioning_to` alone, so people
of `conditioning_from` are lost without a word. And a range of the schedule may hold no step of a run: img2img at a low
denoise, a few-step model. Neither can be seen when an apply node runs. A run sees both, and says them under that node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from comfy.samplers import CFGGuider
from torch import Tensor

from ..host import notes
from ..host.schedule import ScheduleRange, is_unfinished, steps_of
from .attached_entry import holds_id_tokens
from .conditioning import Conditioning, NeverCopied, RunEntry, SamplerInputs, is_zeroed
from .run_notes import SamplingCall

TOPIC = "presence"
"""The topic of the notes about a run, see notes.tell_of_run."""
_KEY = "likeness_presence"
"""The key of the NodeMarks among the options of a conditioning entry."""


@dataclass(frozen=True)
class NamedRange:
    """A range of the schedule that a user has set.

    what_acts: what works in it, such as "the adapter". inputs: the names of the inputs that set it.
    """

    what_acts: str
    schedule: ScheduleRange
    inputs: str = "start_percent and end_percent"

    def never_works(self, node_name: str) -> str:
        """The sentence about a run in which no step begins in this range."""
        return (
            f"{node_name}: the range of {self.what_acts} is {self.schedule}, and no step of this run begins there. "
            f"So it has little or no effect. Change {self.inputs}, or the steps and the denoise of the sampler."
        )


class Side(Enum):
    """Which of a sampler's prompts an apply node has given an entry to."""

    POSITIVE = "positive"
    NEGATIVE = "negative"


@dataclass(frozen=True, eq=False)
class NoteSubject(NeverCopied):
    """An apply node of the graph, and what it has put into the conditioning, in the words of notes.

    node_id: None outside of a graph. names: such as "Anna and Ben" or "the parts". ranges: those in which it works.
    in_negative: whether a negative prompt that does not come from the node gives another picture. has_id_tokens:
    whether ID tokens of it stand in the texts.
    """

    node_name: str
    node_id: str | None
    names: str
    ranges: tuple[NamedRange, ...]
    in_negative: bool
    has_id_tokens: bool

    def lost(self, side: Side) -> str:
        """The sentence about what the node has put into a prompt, and what does not come to the sampler with it."""
        name = self.node_name
        return (
            f"The {side.value} prompt of this sampler is not the {side.value} output of {name} or made of it, so what "
            f"the node has put there for {self.names} is missing or changed. Connect that output, or what comes of "
            "it. Conditioning (Average) and (Concat) keep only what conditioning_to carries, and (Average), (Multiply) "
            "and (Zero Out) change ID tokens: use Conditioning (Combine), or put such a node in front of "
            f"{name}. Blend Two People and weights mix people."
        )


@dataclass(frozen=True, eq=False)
class NodeMark(NeverCopied):
    """The mark of an apply node in the options of a conditioning entry: the node, and the side that it gave this to."""

    note_subject: NoteSubject
    side: Side


def marked(given: SamplerInputs, note_subject: NoteSubject) -> SamplerInputs:
    """The same MODEL, and prompts by whose marks a run knows that they come from this node."""
    positive = _marked_side(given.positive, note_subject, Side.POSITIVE)
    return SamplerInputs(given.model, positive, _marked_side(given.negative, note_subject, Side.NEGATIVE))


def _marked_side(conditioning: Conditioning, note_subject: NoteSubject, side: Side) -> Conditioning:
    """The conditioning with one more NodeMark in the options of every entry. The host's nodes hand the options on."""
    entries: Conditioning = []
    for text, options in conditioning:
        marks: tuple[NodeMark, ...] = options.get(_KEY, ())
        entries.append([text, {**options, _KEY: (*marks, NodeMark(note_subject, side))}])
    return entries


@dataclass(frozen=True, eq=False)
class NodeNotes(NeverCopied):
    """What an apply node leaves on a MODEL, or on its ControlNet where it has no MODEL, for the notes of its runs.

    context: the text, (B, T, width), of the first entry of the positive prompt as it leaves the node; None where the
    prompt has no entry, and on a ControlNet. By it a run recognises a prompt that holds this text and lacks the mark.
    """

    note_subject: NoteSubject
    context: Tensor | None = None

    def tell(self, guider: CFGGuider, call: SamplingCall) -> None:
        """Write under the node what of it is lost or does nothing in this sampling."""
        sentences = _PromptsAndSteps(guider, call).sentences(self)
        # Also where there are none: an empty text takes away what an earlier sampling has left under the node.
        notes.tell_of_run(self.note_subject.node_id, TOPIC, "\n".join(sentences))


class _PromptsAndSteps:
    """The prompts and steps of one run, which are compared with what apply nodes have put in."""

    def __init__(self, guider: CFGGuider, call: SamplingCall) -> None:
        self._guider = guider
        self._call = call
        self._negative: list[RunEntry] = list(guider.conds.get("negative") or ())
        # The entries whose people are drawn, of all other prompts: DualCFG has two of them, under names of their own.
        self._drawn: list[RunEntry] = []
        for name, prompt in guider.conds.items():
            if name != "negative":
                self._drawn.extend(prompt)

    def sentences(self, of_node: NodeNotes) -> list[str]:
        """The sentences to show under the node; [] where there is nothing to say.

        As many of these as are so: that the positive prompt has not what the node has put into it, that the negative
        has not, and that no step lies in a range of the node.
        """
        node = of_node.note_subject
        drawn = _given_out(self._drawn, node, Side.POSITIVE)
        if not drawn:
            return [node.lost(Side.POSITIVE)] if self._is_lost(of_node) else []
        sentences: list[str] = []
        if node.has_id_tokens and not all(holds_id_tokens(entry) for entry in drawn):
            sentences.append(node.lost(Side.POSITIVE))
        if self._is_negative_lost(node):
            sentences.append(node.lost(Side.NEGATIVE))
        if not self._may_share_schedule():
            sentences += self._ranges_without_step(node, drawn)
        return sentences

    def _is_lost(self, of_node: NodeNotes) -> bool:
        """Whether the people of an apply node have been lost on the way to this sampler, and not left out on purpose.

        Called where no prompt has them. They have been lost where any prompt comes from a node of ours, and where one
        ends with this node's text but has lost its mark, as Concat makes it. Where nothing of ours is in any prompt,
        the user means a first pass without people.
        """
        entries = self._drawn + self._negative
        if any(_KEY in entry for entry in entries):
            return True
        context = of_node.context
        return context is not None and any(_ends_with(entry, context) for entry in entries)

    def _is_negative_lost(self, node: NoteSubject) -> bool:
        """Whether the negative prompt lacks what the node has put into it, and the picture is another one for that.

        What is zeroed out is meant so, and so is a positive that is zeroed out for the negative.
        """
        own = _given_out(self._negative, node, Side.NEGATIVE)
        zeroed = [entry for entry in _given_out(self._negative, node, Side.POSITIVE) if is_zeroed(entry)]
        if not own and not zeroed:
            return self._needs_own_negative(node)
        return node.has_id_tokens and not all(holds_id_tokens(entry) for entry in own if not is_zeroed(entry))

    def _needs_own_negative(self, node: NoteSubject) -> bool:
        """Whether the picture is another one where the negative prompt does not come from the node.

        Not where the sampler computes none: at a CFG of 1 only where a node such as NAGuidance asks for it. Else it is
        computed in another forward than the positive. That matters where the node puts people there, and where another
        one may compare the rows of a batch in attention (NAGuidance), or keep something for each (Flux KV Cache).
        """
        options = self._guider.model_options
        is_computed = getattr(self._guider, "cfg", None) != 1 or options.get("disable_cfg1_optimization")
        patches = options["transformer_options"].get("patches", {})
        compares_rows = "attn1_output_patch" in patches or "post_input" in patches
        return bool(self._negative and is_computed and (node.in_negative or compares_rows))

    def _may_share_schedule(self) -> bool:
        """Whether two samplers may share one schedule (KSampler Advanced, Split Sigmas), of which this is one.

        Then a range without a step here may have a step of the other. The first of two samplers ends with noise left,
        and the second begins without noise of its own.
        """
        return is_unfinished(self._call.sigmas) or not self._call.has_noise

    def _ranges_without_step(self, node: NoteSubject, carrying: Sequence[RunEntry]) -> list[str]:
        """A sentence for each range of the node without a step. carrying: the entries that have its people.

        The host reads what the node has put in only where it reads the entry, so a step has to lie in both ranges.
        """
        model_sampling = self._guider.model_patcher.get_model_object("model_sampling")
        entries = [_range_of(entry).in_sigmas(model_sampling) for entry in carrying]
        steps = steps_of(self._call.sigmas)
        sentences: list[str] = []
        for named_range in node.ranges:
            sigmas = named_range.schedule.in_sigmas(model_sampling)
            of_both = [sigmas.overlap(entry) for entry in entries]
            works = any(both.contains(step) for both in of_both for step in steps)
            if not works and not named_range.schedule.is_empty:
                sentences.append(named_range.never_works(node.node_name))
        return sentences


def _given_out(entries: Sequence[RunEntry], note_subject: NoteSubject, side: Side) -> list[RunEntry]:
    """Those of the entries that the node gave out on this side, whichever prompt they are in now."""
    marked_entries: list[RunEntry] = []
    for entry in entries:
        marks: tuple[NodeMark, ...] = entry.get(_KEY, ())
        if any(mark.note_subject is note_subject and mark.side is side for mark in marks):
            marked_entries.append(entry)
    return marked_entries


def _range_of(entry: RunEntry) -> ScheduleRange:
    """When the host reads a conditioning entry (comfy/samplers.py, calculate_start_end_timesteps).

    An entry may have the range of a scheduled CLIP and that of Set Timesteps Range, and is read where both hold. If the
    two ranges do not meet, the result starts after its own end: the entry is never read.
    """
    start = max(entry.get("clip_start_percent", 0.0), entry.get("start_percent", 0.0))
    end = min(entry.get("clip_end_percent", 1.0), entry.get("end_percent", 1.0))
    return ScheduleRange(start, end)


def _ends_with(entry: RunEntry, context: Tensor) -> bool:
    """Whether the text of an entry, (B, tokens, width), is a longer one with `context`, (B, T, width), at its end."""
    entry_context: Tensor | None = entry.get("cross_attn")
    if entry_context is None or entry_context.dim() != 3:
        return False
    if entry_context.shape[1] <= context.shape[1] or entry_context.shape[2] != context.shape[2]:
        return False
    end = entry_context[:, -context.shape[1] :]
    return end.shape == context.shape and torch.equal(end, context.to(end))
