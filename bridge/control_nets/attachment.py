"""One ControlNet at the end of the chains of both prompts, beside the nets that other nodes have put there.

With the net comes a hook, by which each run with a prompt that has the net writes the notes about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from comfy.controlnet import ControlBase
from comfy.hooks import HookGroup
from comfy.sd import VAE
from comfy_api.latest import io
from torch import Tensor

from ...core.models import net_names
from ..host import notes
from ..host.schedule import WHOLE_SCHEDULE, ScheduleRange
from ..sampling.areas import will_have_area
from ..sampling.attached_entry import ATTACHED_ENTRIES, AttachedEntry
from ..sampling.carried import carry
from ..sampling.conditioning import ID_TOKENS, Conditioning, SamplerInputs
from ..sampling.missing_people import NodeNotes, NoteSubject, marked
from ..sampling.node_of_run import Canvas, NodeOfRun, Pictures
from ..sampling.on_model import OnModel, RunHook
from .attached_net import AttachedNet


@dataclass
class Attachment:
    """One ControlNet that is put at the end of the chain of every entry, of several conditionings.

    Entries that had the same net before share one copy: the host evaluates positive and negative in one batch only
    when they hold the same object. net: what is copied. hint: (B, H, W, 3), as large as the canvas, values may lie
    outside 0..1; its pictures follow each other over the rows. hint_name: what one of these is, such as "keypoint
    picture". node: that attaches the net. vae: for nets that read the hint as a latent; None for others. note_subject:
    the node for notes about its people; None where its MODEL writes them. _copies: the copy for each chain, by the last
    net of the chain.
    """

    net: AttachedNet
    hint: Tensor
    strength: float
    timestep_percent_range: tuple[float, float]
    hint_name: str
    node: NodeOfRun
    vae: VAE | None = None
    note_subject: NoteSubject | None = None
    _copies: dict[ControlBase | None, AttachedNet] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        schedule = ScheduleRange(*self.timestep_percent_range).checked("The ControlNet")
        self.timestep_percent_range = schedule.for_control_net
        notes_of_run = () if self.note_subject is None else (NodeNotes(self.note_subject).tell,)
        self._hooks = HookGroup()  # one hook for all copies: the host begins it once
        self._hooks.add(RunHook(OnModel((ATTACHED_ENTRIES,), notes_of_run)))

    def attach_to(self, conditioning: Conditioning) -> Conditioning:
        """The conditioning with the net at the end of each entry's chain, and an AttachedEntry in each.

        Where an Apply ControlNet (OLD) has asked for it, the host also hands the whole chain to other prompts. Their
        entries have no AttachedEntry, and so the net does nothing there.
        """
        canvas = Canvas(self.node, (self.hint.shape[2], self.hint.shape[1]))
        pictures = Pictures(self.hint_name, len(self.hint), self.node)
        block_count = len(self.net.control_model.zero_convs)
        entries: Conditioning = []
        for text, options in conditioning:
            options_with_net = {**options, "control": self._copy_after(options.get("control"))}
            tokens = options.get(ID_TOKENS)
            entry = AttachedEntry(object(), WHOLE_SCHEDULE, block_count, tokens, canvas=canvas, poses=pictures)
            entries += carry([[text, options_with_net]], entry)
        return entries

    def attach_to_both(self, given: SamplerInputs) -> SamplerInputs:
        """The same MODEL, and both prompts with the net at the end of each entry's chain.

        The negative prompt first gets the chains that Apply ControlNet (OLD) has put on the positive for both.
        """
        negative = with_nets_of_positive(given.positive, given.negative)
        attached = SamplerInputs(given.model, self.attach_to(given.positive), self.attach_to(negative))
        return attached if self.note_subject is None else marked(attached, self.note_subject)

    def _copy_after(self, previous: ControlBase | None) -> AttachedNet:
        """A copy of the net with the hint, put behind the chain of an entry. The same chain always gets the same copy.

        previous: the last net of that chain, or None for an entry without a chain.
        """
        if previous not in self._copies:
            copy = self.net.copy()
            copy.extra_hooks = HookGroup.combine_all_hooks([copy.extra_hooks, self._hooks])
            hint = self.hint.movedim(-1, 1)  # (B, 3, H, W)
            copy.set_cond_hint(hint, self.strength, self.timestep_percent_range, vae=self.vae)
            copy.set_previous_controlnet(previous)
            self._copies[previous] = copy
        return self._copies[previous]


def with_nets_of_positive(positive: Conditioning, negative: Conditioning) -> Conditioning:
    """The negative prompt with the chains that Apply ControlNet (OLD) has put on the positive alone.

    It does before the run what the host does when sampling begins (comfy/samplers.py, apply_empty_x_to_equal_area):
    our own net on the negative prompt will keep the host from it. The rules are the host's:
    - chains of positive entries that are marked with `control_apply_to_uncond` are handed on;
    - the first chain goes to the first negative entry, the second to the second, and so on, from the first entry again
      where there are more chains than entries;
    - where a negative entry has a net already, nothing is changed;
    - entries with an area take no part.
    """
    chains = [options["control"] for _, options in positive if _is_for_both(options)]
    whole = [index for index, (_, options) in enumerate(negative) if not will_have_area(options)]
    has_net = any(negative[index][1].get("control") is not None for index in whole)
    if has_net or not whole:
        return negative
    entries = list(negative)
    for index, chain in zip(cycle(whole), chains, strict=False):  # as many as there are chains
        text, options = entries[index]
        entries[index] = [text, {**options, "control": chain}]
    return entries


def _is_for_both(options: Mapping[str, Any]) -> bool:
    """Whether the chain of a positive entry is handed on to the negative prompt."""
    is_marked = options.get("control_apply_to_uncond", False)
    return bool(is_marked) and options.get("control") is not None and not will_have_area(options)


def other_net(cls: type[io.ComfyNode]) -> str:
    """A sentence for the user, where the file of a node's ControlNet is that of another method; else "".

    The net is known by the name and the folder of its file, in the prompt (graph) that runs.
    """
    if not cls.hidden:
        return ""
    return net_names.other_net(cls.hidden.prompt, notes.node_of(cls), "control_net")
