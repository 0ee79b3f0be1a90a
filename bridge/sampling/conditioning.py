"""Changes to CONDITIONING, always on copies, and checks that the texts in it fit a model.

What an apply node puts into the conditioning for a run is in carried.py, a ControlNet in control_nets/.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from comfy.controlnet import ControlBase
from comfy.model_patcher import ModelPatcher
from comfy.utils import repeat_to_batch_size
from torch import Tensor
from typing_extensions import Self

from ...core.checks.errors import SAME_FAMILY, WrongBaseModel
from ..host.schedule import ScheduleRange
from ..host.unet import advice_between, check_text_width, family, text_width

Entry = list[Any]
"""[text (B, tokens, width), options]."""
Conditioning = list[Entry]
RunEntry = dict[str, Any]
"""An entry as guiders hold it in a run: its options, with its text under "cross_attn"."""


class NeverCopied:
    """One object for all copies of the MODEL or CONDITIONING it stands on: ComfyUI 0.3.64 copies deeply what stands on
    a MODEL with every clone."""

    def __deepcopy__(self, memo: object) -> Self:
        return self


@dataclass(frozen=True, eq=False)
class SamplerInputs:
    """What a sampler is given by a node: a MODEL, None where none is connected, and both sides of the conditioning."""

    model: ModelPatcher | None
    positive: Conditioning
    negative: Conditioning

    @property
    def texts(self) -> Conditioning:
        """The entries of both sides."""
        return [*self.positive, *self.negative]


ID_TOKENS = "likeness_id_tokens"
"""The key of an IDTokens among the options of an entry."""
CHANGES = "likeness_changes"
"""The key of an object among the options of entries that follow each other in the schedule: the same one in all that
were one entry."""


class IDTokens(NamedTuple):
    """Where the ID tokens of people stand in the text of an entry.

    start: the index of the first of them. people_count: how many people have tokens, one after the other.
    """

    start: int
    people_count: int
    tokens_per_person: int


_BEFORE_THE_PERCENTAGE = 5e-6
"""How far before a percentage of the schedule the boundary between two ranges lies.

The host's ranges are closed at both ends. If two ranges share a boundary, a step exactly on it reads both entries. If
there is a gap between them, a step in the gap reads neither. So both ranges share one boundary, on which no step lies.
A step exactly at the percentage reads the second entry, with the ID tokens, as in the released code (`i < T * (1 -
ratio)` is text only).

What is rounded is the sigma of a step, in float32, and a node knows percentages alone, often of no MODEL. Where a
schedule is shifted s times, its first percent is a change of sigma of 1/s percent: up to 25 times, as FLUX is at
2048x2048, this is still three steps of float32. No steps of 1 to 100 lie so near to each other."""


def append_tokens(conditioning: Conditioning, tokens: Tensor, start: float) -> Conditioning:
    """Each entry split in two: unchanged before the percentage `start`, with tokens appended to its text from there on.

    tokens: (rows, people, n, width), the n tokens of each person; one row, or one for each row of the batch. They stand
    one person after the other. The text and the tokens are repeated to the same number of rows, as the host repeats the
    texts of a batch.
    Where another node limits an entry to a range of the schedule, that range holds too.
    """
    _, people_count, tokens_per_person, _ = tokens.shape
    in_line = tokens.flatten(1, 2)  # (rows, people * n, width)
    entries: Conditioning = []
    for text, options in conditioning:
        rows = max(len(text), len(in_line))
        text_of_rows = repeat_to_batch_size(text, rows)
        tokens_of_rows = repeat_to_batch_size(in_line.to(text), rows)
        joined_text = torch.cat([text_of_rows, tokens_of_rows], dim=1)  # (rows, T + people * n, width)
        id_tokens = IDTokens(text.shape[1], people_count, tokens_per_person)
        entries += changed_at([text, options], [joined_text, {**options, ID_TOKENS: id_tokens}], start)
    return entries


def changed_at(before: Entry, after: Entry, percent: float) -> list[Entry]:
    """`before` up to this percentage of the schedule and `after` from there on, both within the range of `before`.

    Only one of them is returned where that range lies wholly on one side of the percentage.
    """
    text_before, options_before = before
    text_after, options_after = after
    # An entry has two ranges, and the host reads it where both hold: start_percent to end_percent, which every node
    # that sets a range overwrites, and that of a CLIP schedule, which these nodes leave alone. So the second is set
    # here.
    start = options_before.get("clip_start_percent", 0.0)
    end = options_before.get("clip_end_percent", 1.0)
    boundary = percent - _BEFORE_THE_PERCENTAGE
    if percent >= end:  # the range ends before the change
        return [[text_before, options_before.copy()]]
    if boundary <= start:  # it begins after the change
        return [[text_after, options_after]]
    # The object under CHANGES tells both halves from all other entries. An entry that was split before keeps its own.
    changes = {CHANGES: options_before.get(CHANGES, object())}
    return [
        [text_before, {**options_before, **changes, "clip_start_percent": start, "clip_end_percent": boundary}],
        [text_after, {**options_after, **changes, "clip_start_percent": boundary, "clip_end_percent": end}],
    ]


JUST_BEHIND = 2 * _BEFORE_THE_PERCENTAGE
"""What is added to the end of a range that includes its end: `changed_at` puts the boundary that little behind it."""


def changed_in_turn(pieces: Sequence[tuple[float, Conditioning]]) -> Conditioning:
    """Entries of which each is read in a piece of the schedule, one after the other.

    pieces: where each begins (the first at 0) and what is read from there on, ascending. All of them hold the same
    prompts in the same order, with the same ranges of a CLIP schedule.
    """
    entries: Conditioning = []
    (_, first_conditioning), *later = pieces
    for number, first_entry in enumerate(first_conditioning):
        in_turn = [first_entry]
        for start, conditioning in later:
            last = in_turn.pop()  # it ends where the next one begins
            in_turn += changed_at(last, conditioning[number], start)
        entries += in_turn
    return entries


def named_as_one(entries: Iterable[RunEntry]) -> None:
    """Give all entries of a run that `changed_at` has made of one entry the uuid of the first of them, in place.

    The uuid is the host's name of an entry: EasyCache keeps what it has of an entry under the uuid, and stops when the
    uuid is gone. entries: of one side (positive or negative), in the order of the schedule.
    """
    # A node may have used a prompt twice, with a mask each: then every part of the schedule has two entries, and the
    # n-th entry of a part follows the n-th of the part before.
    first_uuids: dict[tuple[object, int], Any] = {}  # by CHANGES and n
    counts: Counter[tuple[object, float]] = Counter()  # of entries so far, by CHANGES and the start of the part
    for entry in entries:
        if CHANGES in entry and "uuid" in entry:
            part = entry[CHANGES], entry["clip_start_percent"]
            counts[part] += 1
            entry["uuid"] = first_uuids.setdefault((entry[CHANGES], counts[part]), entry["uuid"])


def within(conditioning: Conditioning, schedule: ScheduleRange) -> Conditioning:
    """The entries that are read in a part of the schedule, each limited to it; unchanged where it is the whole one."""
    if schedule.is_whole:
        return conditioning
    entries: Conditioning = []
    for text, options in conditioning:
        # The range of a CLIP schedule holds beside start_percent and end_percent, see changed_at.
        start = max(options.get("clip_start_percent", 0.0), schedule.start)
        end = min(options.get("clip_end_percent", 1.0), schedule.end)
        if start < end:
            entries.append([text, {**options, "clip_start_percent": start, "clip_end_percent": end}])
    return entries


def factor_between(before: Tensor, now: Tensor) -> float | None:
    """The factor by which another node has multiplied a text; 0 where it was zeroed out.

    None for a text that was changed in another way. before: (B, T, width). now: the same, perhaps with tokens behind
    the T. Of both the first row alone is compared.
    """
    if now is before:
        return 1.0
    if now.dim() != before.dim() or now.shape[-1] != before.shape[-1] or now.shape[1] < before.shape[1]:
        return None
    tokens = before.shape[1]
    row_now = now[0, :tokens].flatten()  # (T * width,)
    row_before = before[0].flatten().to(row_now)
    largest = row_before.abs().argmax()  # by the largest number the factor is known most exactly
    value_before = float(row_before[largest])
    if not value_before:  # all numbers are 0, whatever they have been multiplied by
        return 1.0 if torch.equal(row_now, row_before) else None
    factor = float(row_now[largest]) / value_before
    # Numbers are equal to a thousandth of themselves, and small ones to a hundred-thousandth of the largest.
    is_multiplied = torch.allclose(row_now, row_before * factor, rtol=1e-3, atol=1e-5 * abs(factor * value_before))
    return factor if is_multiplied else None


def is_zeroed(entry: RunEntry) -> bool:
    """Whether the text of an entry is 0 everywhere, as Conditioning Zero Out makes it; False without a text.

    As the negative prompt, FLUX and SD3 are often given such a copy of the positive.
    """
    text: Tensor | None = entry.get("cross_attn")
    return text is not None and not text.any()


def check_conditioning(
    conditioning: Conditioning, width: int, node_name: str, needed: str = "", advice: str = ""
) -> None:
    """Raise WrongBaseModel where a text has another width than the models that a node is made for.

    needed, advice: in words, where the width alone does not say which models are meant.
    """
    for text, _ in conditioning:
        actual_width = text.shape[-1]
        if actual_width != width:
            raise WrongBaseModel(
                f"The conditioning given to {node_name}",
                family(actual_width),
                needed or family(width),
                advice_between(actual_width, width, advice),
            )


def check_texts_of_unet(given: SamplerInputs, node_name: str) -> None:
    """Raise WrongBaseModel unless the MODEL has a UNet that reads texts of this width. given: with a MODEL."""
    assert given.model is not None
    check_conditioning(given.texts, text_width(given.model), node_name)


def check_control_net(control_net: ControlBase | None, width: int, node_name: str) -> None:
    """Raise WrongBaseModel where a net's cross-attention reads texts of another width, or the net is a transformer's.

    None, and other nets without cross-attention, pass.

    node_name: of the node that the net is given to.
    """
    network = getattr(control_net, "control_model", None)
    net_width = _text_width_of(network)
    if net_width is not None:
        check_text_width(f"The ControlNet given to {node_name}", net_width, width, SAME_FAMILY)
        return
    if hasattr(network, "controlnet_blocks"):  # of a transformer: FLUX.1's, Qwen-Image's
        raise WrongBaseModel(f"The ControlNet given to {node_name}", type(network).__name__, family(width))


def _text_width_of(network: Any) -> int | None:
    """The width of the text that a ControlNet's network reads; None for one without cross-attention."""
    if network is None:
        return None
    for name, module in network.named_modules():
        if name.endswith("attn2.to_k"):
            return module.in_features
    return None
