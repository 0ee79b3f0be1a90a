"""A probe of what a network reads of people: the run, and what it does in the one forward in which it probes.

It changes nothing. Its batch is put around all others, so it sees the queries and keys of each attention as they are
when everything else has been done to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...core.attention.spans import TokenKind, Tokens, placed_spans
from ...core.attention.tracing import untraced
from ...core.checks.errors import BadSetup
from ...core.places.found import contrasted, scores_of_cross_attention, scores_of_joint_attention, smoothness
from ..host.unet import Grid, Options, Replacement, grid_of, with_patch
from ..networks.attention import around_attention
from ..networks.file_attention import Attention, attend_whole_with
from ..networks.forward_tokens import tokens_of_shape
from ..networks.layers import CrossAttentionBatch, attention_of_other_pack, query_shape_of
from ..networks.model_family import cells_per_token, taken_family, transformer_family
from ..networks.row_tracking import SOURCE_ROWS
from ..parts.sharing_run import step_of
from ..references.record import LATENTS, REFERENCES, PeopleReferences
from ..sampling.areas import will_have_area
from ..sampling.carried import Carried, PerChunk, carried_in
from ..sampling.conditioning import ID_TOKENS, IDTokens, RunEntry
from ..sampling.forward import Batch, ForwardInput, ForwardShape
from ..sampling.runs import Kind, Run
from ..sampling.watch import DueCalls
from ..words.unet.words import UnetWords

_SDXL_LAYERS = 70
_OF_SDXL = ("output", 0, 3)
"""The layer in which FreeFuse looks at SDXL, which has so many layers."""


_OF_REFERENCES = 128
"""As many tokens of a person's references are enough, spread over all of them."""


class Seen(NamedTuple):
    """What one layer has seen of one picture.

    scores: (people, N), how strongly each cell of the layer's grid reads each person. hidden: (N, C), of each cell.
    size: of the grid, (h, w), N = h * w. cell: the side of a cell, in latent pixels.
    """

    scores: Tensor
    hidden: Tensor
    size: Grid
    cell: int


class Probe:
    """A probe of a network in one step: what the layer has seen that is known to tell who stands where, or the one
    whose maps are smoothest.

    share: of the steps, after which the probe is taken. predicted: the picture that the positive side predicts, a
    latent (B, C, h, w) of the model. None: nothing is seen yet.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.seen: Seen | None = None
        self.predicted: Tensor | None = None
        self.is_done = False
        self._smoothest = -1.0

    def take(self, seen: Seen, is_known: bool) -> None:
        """Keep what a layer has seen, if its maps are smoother than those of all layers before.

        is_known: whether this layer is known to tell who stands where. Then it is kept whatever the others see.
        """
        scores = seen.scores.float().cpu()
        smooth = 2.0 if is_known else smoothness(contrasted(scores), seen.size)  # 2: above every smoothness
        if smooth > self._smoothest:
            self._smoothest = smooth
            self.seen = seen._replace(scores=scores, hidden=seen.hidden.float().cpu())

    def wrap_calc_cond_batch(
        self, executor: Any, model: Any, conds: Sequence[Any], x_in: Tensor, *args: Any, **kwargs: Any
    ) -> list[Tensor]:
        """What the host predicts for each side, of one step. The arguments are the host's.

        After the probe the network is called no more: every later call of the run gets what was predicted then. So the
        run ends as any other, and host and other packs put away what they have made for it.
        """
        if self.predicted is not None:
            # Some samplers also show the network pictures of other sizes.
            same_size = self.predicted.shape == x_in.shape
            # One for each side: other packs may write into them.
            return [self.predicted.clone() if same_size else torch.zeros_like(x_in) for _ in conds]
        out = executor(model, conds, x_in, *args, **kwargs)
        if self.is_done:
            self.predicted = out[0].clone()  # the positive side is the first
        return out


@dataclass(frozen=True, eq=False)
class Sought(Carried):
    """Whom a probe seeks, in one side of the conditioning; the negative side seeks nobody.

    probe: takes what is seen. people_count: on the positive side. word_numbers: for each person, which tokens of their
    own text are words, counted from its end, 1 for the last. lengths: how many tokens these texts have. Both are empty
    where nobody has words.

    Known once a run has begun: text, how many tokens the entry's text has; before, those that other nodes put between
    it and the people's texts. Where nobody has words: id_tokens, where ID tokens of the people stand in the entry's
    text; owners, of each of its reference latents, the number of the person whom it shows, or None.
    """

    key = "likeness_sought"
    probe: Probe
    people_count: int
    word_numbers: tuple[tuple[int, ...], ...] = ()
    lengths: tuple[int, ...] = ()
    text: int = 0
    before: int = 0
    id_tokens: IDTokens | None = None
    owners: tuple[int | None, ...] = ()

    @property
    def active(self) -> bool:
        return self.people_count > 0

    @property
    def by_place(self) -> bool:
        return True  # the network has to be shown the whole picture

    def in_entry(self, entry: RunEntry) -> Sought:
        """This with what is known of its entry once a run has begun. Raises BadSetup for an entry with an area."""
        if not self.active:
            return self
        if will_have_area(entry):
            raise BadSetup(
                "Find Places reads the whole picture, and a prompt has an area of it alone.",
                "Take Conditioning (Set Area) out in front of Find Places, and set set_cond_area of Conditioning (Set "
                "Mask) to default.",
            )
        text: Tensor = entry["cross_attn"]  # (B, T, width)
        with_text = replace(self, text=text.shape[1])
        # People are told apart by their words, else by ID tokens, else by references.
        if self.word_numbers:
            return replace(with_text, before=_words_of_other_nodes(entry))
        id_tokens: IDTokens | None = entry.get(ID_TOKENS)
        if id_tokens is not None and id_tokens.people_count == self.people_count:
            return replace(with_text, id_tokens=id_tokens)
        return replace(with_text, owners=self._owners_of_references(entry))

    def _owners_of_references(self, entry: RunEntry) -> tuple[int | None, ...]:
        """For each of an entry's reference latents the number of the person whom it shows; None for nobody.

        () where the entry's references are of other people than are sought, or where somebody sought has none.
        """
        record: PeopleReferences | None = entry.get(REFERENCES)
        if record is None or len(record.present) != self.people_count:  # of other people than are sought
            return ()
        owners: list[int | None] = []
        for number in record.numbers_of(entry.get(LATENTS, ())):
            owners.append(None if number is None else record.references[number].owner)
        everybody_has_one = {*range(self.people_count)} <= {*owners}
        return tuple(owners) if everybody_has_one else ()

    @property
    def has_tokens(self) -> bool:
        """Whether anything in its entry belongs to people."""
        return bool(self.lengths or self.owners) or self.id_tokens is not None

    def in_unet_text(self, text: int) -> list[list[int]]:
        """The numbers of each person's tokens in what a UNet reads: a text, with the words of people behind it.

        text: how many tokens the text of the forward has, without these words.
        """
        tokens: list[list[int]] = [[] for _ in range(self.people_count)]
        if self.id_tokens is not None:
            count = self.id_tokens.tokens_per_person
            # The host may repeat the entry's text to the length of another entry's: each copy has the ID tokens.
            for copy_start in range(0, text, self.text):
                for person, of_person in enumerate(tokens):
                    first = copy_start + self.id_tokens.start + person * count
                    of_person.extend(range(first, first + count))
        # Behind the text stand the words of other nodes, and then those of the first person, the second, ...
        ends = list(accumulate(self.lengths, initial=text + self.before))[1:]
        return [of_person + words for of_person, words in zip(tokens, self._words(ends), strict=True)]

    def _words(self, ends: Sequence[int]) -> list[list[int]]:
        """The numbers of the tokens of each person's words; [] for all where nobody has words.

        ends: where the text of each person ends.
        """
        if not self.lengths:
            return [[] for _ in range(self.people_count)]
        return [[end - number for number in numbers] for end, numbers in zip(ends, self.word_numbers, strict=True)]

    def in_forward(self, tokens: Tokens, padded_to: int) -> list[list[int]]:
        """The numbers of each person's tokens among all tokens of a transformer.

        They are tokens of a person's references; where these do not tell people apart, those of the person's words.
        tokens: of the forward. padded_to: how many tokens a text has at least, filled up in front.
        """
        if self.owners:
            return self._references(tokens)
        texts = [placed.tokens for placed in placed_spans(tokens.spans) if placed.span.kind is TokenKind.WORDS]
        own_texts = texts[len(texts) - len(self.lengths) :]  # the last ones, behind those of other nodes
        # Behind a text's own tokens stand those with which a network fills it up.
        pairs = zip(own_texts, self.lengths, strict=True)
        return self._words([text.start + max(length, padded_to) for text, length in pairs])

    def _references(self, tokens: Tokens) -> list[list[int]]:
        """The numbers of some tokens of each person's references, about _OF_REFERENCES spread over all of them."""
        of_people: list[list[int]] = [[] for _ in range(self.people_count)]
        for placed in placed_spans(tokens.spans):
            owner = self.owners[placed.span.number] if placed.span.kind is TokenKind.REFERENCE else None
            if owner is not None:
                of_people[owner].extend(range(placed.tokens.start, placed.tokens.stop))
        return [of_person[:: len(of_person) // _OF_REFERENCES + 1] for of_person in of_people]


def _words_of_other_nodes(entry: RunEntry) -> int:
    """How many tokens of other nodes a UNet reads before the words of the people who are sought.

    0 for a transformer, whose tokens have the words of all nodes.
    """
    # The last one is of the people who are sought.
    return sum(of_node.appended_count for of_node in carried_in(entry, UnetWords.key)[:-1])


def _batch(run: Run, by_node: tuple[PerChunk[Sought], ...], forward_input: ForwardInput) -> Batch | None:
    """The batch that probes, in the first forward with the noise of the wanted step, or less.

    None once the probe was taken, where an entry that seeks people has no tokens of theirs, where steps cannot be
    counted, and before the wanted step.
    """
    sought = by_node[-1]
    probe = sought[0].probe
    can_tell_people = all(carried.has_tokens for carried in sought if carried.active)
    if probe.is_done or not can_tell_people or run.schedule is None:
        return None
    # Steps are counted by their noise: samplers call a network several times in a step.
    wanted_step = int(probe.share * (len(run.schedule) - 1))
    if step_of(run.schedule, forward_input.sigmas) < wanted_step:
        return None
    if transformer_family(forward_input.model) is None:
        return _UnetProbe(sought, forward_input.shape)
    return _JointProbe(sought, forward_input.shape)


PROBES = Kind(Sought.key, _batch)
"""Probes of a network: where people stand."""


def _rows_of(sought: Sequence[Sought], row_count: int) -> list[int]:
    """The rows of a forward that are probed: of each chunk that seeks people, the first. sought: of each chunk."""
    rows_per_chunk = row_count // len(sought)
    return [chunk * rows_per_chunk for chunk, carried in enumerate(sought) if carried.active]


class _UnetProbe(CrossAttentionBatch):
    """A probe of every cross-attention of a UNet in one forward. sought: of each chunk."""

    def __init__(self, sought: Sequence[Sought], forward_shape: ForwardShape) -> None:
        super().__init__(query_shape_of(forward_shape))
        self._probe = sought[0].probe
        self._rows = _rows_of(sought, self.row_count)
        self._latent_height = forward_shape.latent[-2]
        text = forward_shape.text_length  # without the words of people: attention adds them
        self._tokens = next(carried for carried in sought if carried.active).in_unet_text(text)
        self._hidden: Tensor | None = None

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        return with_patch(super().options_for_network(options, tokens), "attn1_output_patch", self._keep)

    def _keep(self, out: Tensor, extra_options: Options) -> Tensor:
        """The host's attn1 output patch, called right before the cross-attention of the same layer: it changes
        nothing."""
        self._hidden = out  # (B, N, C)
        return out

    def attention_output(
        self, layer_index: int, before: Replacement | None, q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """What the layer gives without this batch, after a probe of its queries and keys.

        before: the attention of another pack or batch that stood in the layer; None for the host's own. The other
        arguments are those of CrossAttentionBatch.
        """
        self._see(layer_index, q, k, extra_options)
        if before is None:
            return attend_whole_with(extra_options)(q, k, v)
        return attention_of_other_pack(before, q, k, v, extra_options)

    @untraced
    def _see(self, layer_index: int, q: Tensor, k: Tensor, extra_options: Options) -> None:
        """Let the probe take what this layer reads of people, as the mean of all rows probed.

        A layer that other packs have changed is passed over. q: (B, N, C). k: (B, T, C).
        """
        height, width = grid_of(extra_options)
        # Rows, tokens or cells of other packs: what they are is not known.
        if SOURCE_ROWS in extra_options or len(q) != self.row_count or q.shape[1] != height * width:
            return
        if max(map(max, self._tokens)) >= k.shape[1]:  # another pack has put a shorter text there
            return
        heads = extra_options["n_heads"]
        scores: list[Tensor] = []
        for row in self._rows:
            # (heads, N, d) and (heads, T, d)
            queries, keys = (x[row].unflatten(1, (heads, -1)).transpose(0, 1).float() for x in (q, k))
            weights = (queries @ keys.mT / queries.shape[-1] ** 0.5).softmax(-1)  # (heads, N, T)
            scores.append(scores_of_cross_attention(weights, self._tokens))
        cell = 1  # a UNet halves its grid from level to level, rounding up
        while height * cell < self._latent_height:
            cell *= 2
        assert self._hidden is not None  # self-attention comes first
        hidden = self._hidden[self._rows].float().mean(0)  # (N, C)
        is_known = self.layers[layer_index] == _OF_SDXL and len(self.layers) == _SDXL_LAYERS
        self._probe.take(Seen(torch.stack(scores).mean(0), hidden, (height, width), cell), is_known)

    def after_network_call(self) -> None:
        self._probe.is_done = self._probe.seen is not None


class _JointProbe(Batch):
    """A probe of every attention of a transformer over text and picture together, in one forward."""

    def __init__(self, sought: Sequence[Sought], forward_shape: ForwardShape) -> None:
        super().__init__()
        self.row_count = forward_shape.row_count
        self._sought = next(carried for carried in sought if carried.active)
        self._probe = self._sought.probe
        self._rows = _rows_of(sought, self.row_count)
        self._family = taken_family(forward_shape.model)
        self.own_tokens = tokens_of_shape(forward_shape)
        self._tokens = self.own_tokens  # of the forward that is on
        self._cell = cells_per_token(forward_shape.model)
        height, width = (-(-side // self._cell) for side in forward_shape.latent[-2:])
        self._size = height, width
        self._number = 0
        """The number of the next attention over all tokens, as TransformerFamily.telling_block counts blocks."""

    def due_calls(self, modules: Mapping[str, nn.Module]) -> DueCalls:
        return {}

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        self._tokens = tokens
        return around_attention(options, self._attend)

    def _attend(self, attend: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What an attention gives without this batch, and then a probe of it. Arguments as in `around_attention`."""
        out = attend(q, k, v, *args, **kwargs)
        heads = args[0] if args else kwargs["heads"]
        self._see(q, k, out, heads, kwargs)
        return out

    @untraced
    def _see(self, q: Tensor, k: Tensor, out: Tensor, heads: int, options: Mapping[str, Any]) -> None:
        """Let the probe take what this attention reads of people, as the mean of all rows probed.

        Other attentions than those over all tokens are passed over, and only these are counted. q, k, out: (B, heads,
        N, d), or (B, N, heads * d), as the options of the attention say.
        """
        if len(q) != self.row_count:
            return
        if not options.get("skip_reshape"):
            q, k = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k))  # (B, heads, N, d)
        if options.get("skip_output_reshape"):
            out = out.transpose(1, 2).flatten(2)  # (B, N, heads * d)
        tokens = self._tokens
        if q.shape[2] != tokens.count or k.shape[2] != tokens.count:
            return  # of a refiner, or with tokens of other packs: where they stand is not known
        is_known = self._number == self._family.telling_block
        self._number += 1
        picture = slice(tokens.text_count, tokens.text_count + math.prod(self._size))
        of_people = self._sought.in_forward(tokens, self._family.left_padded_to)
        scores: list[Tensor] = []
        for row in self._rows:
            # Several heads of queries may share one head of keys: (heads of queries, N, d).
            keys = k[row].repeat_interleave(q.shape[1] // k.shape[1], dim=0).float()
            scores.append(scores_of_joint_attention(q[row, :, picture].float(), keys, of_people))
        hidden = out[self._rows, picture].float().mean(0)  # (N, C)
        self._probe.take(Seen(torch.stack(scores).mean(0), hidden, self._size, self._cell), is_known)

    def after_network_call(self) -> None:
        self._probe.is_done = self._probe.seen is not None
