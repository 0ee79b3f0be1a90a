"""How much of every rank of people's LoRAs counts in each token of a transformer, or in each row of its batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...core.checks.errors import BadSetup
from ..networks.transformer_families import LayerStream, Stream
from ..sampling.current_forward import current
from ..sampling.forward import ForwardShape
from ..sampling.model_conds import ConditioningLost
from .layer_hooks import Forward
from .people_layers import PeopleLayer
from .token_weights import PeopleOnPicture, TokenWeights

ZERO_TIME = "index_timestep_zero"
"""The host's name of a method by which reference pictures are modulated by the time 0, and not by that of the step."""


def zero_time_unknown() -> BadSetup:
    """The error for LoRAs of people that modulate, where references are modulated by the time 0."""
    return BadSetup(
        f"Reference pictures with the method {ZERO_TIME} are modulated in another way than the picture, and LoRAs of "
        "single people that change this are not known there.",
        "Set FluxKontextMultiReferenceLatentMethod to another method, or use LoRAs without modulation layers.",
    )


class RankWeights:
    """The weights of ranks in the forwards of one batch, made once for all layers and steps.

    tokens: how much of each person's LoRAs the tokens of these forwards have.
    """

    def __init__(self, tokens: TokenWeights, forward_shape: ForwardShape) -> None:
        self._tokens = tokens
        self._row_count = forward_shape.row_count
        self._like = forward_shape.empty_like_network()
        self._weights: dict[Any, Tensor] = {}

    def _kept(self, forward: Forward) -> dict[Any, Tensor]:
        """The dictionary in which weights are kept, by their key: usually one for all forwards of the batch.

        While torch.compile compiles, it is one for this forward alone. The compiled graph then works the weights out
        itself. Of weights from outside torch.compile would see others at each step and in each run, and compile anew.
        """
        return forward.weights if torch.compiler.is_compiling() else self._weights

    def of_rows(
        self,
        forward: Forward,
        person_of_row: tuple[int, ...],
        person_of_rank: tuple[int, ...],
        stream: LayerStream | None,
        x: Tensor,
    ) -> Tensor:
        """Which ranks count in each row of x, 1 for those of the row's person and else 0: (rows of x, 1, ..., ranks).

        The result has as many dimensions as x. It is made once for each key, see `_kept`.
        person_of_row: the number of the person of each row of the batch. person_of_rank: that of each rank.
        stream: which tokens the layer is given. x: what it is given, (rows of x, ..., C). Raises ConditioningLost
        unless x has a whole number of rows for each row that the network is called for.
        """
        people = _people_of_called_rows(person_of_row)
        times, rest = divmod(len(x), len(people))
        if rest:
            raise ConditioningLost("", f"makes {len(x)} rows of {len(people)} in a layer")
        tokens_are_rows = stream is not None and stream.stream is Stream.TEXT_AS_ROWS
        key = people, person_of_rank, times, tokens_are_rows, x.dim()
        weights_by_key = self._kept(forward)
        if key not in weights_by_key:
            # Tokens that are rows: all of one row of the batch, then those of the next. Else the whole batch may stand
            # there once more, at the time 0, for reference pictures.
            of_batch = torch.tensor(people)
            of_x = of_batch.repeat_interleave(times) if tokens_are_rows else of_batch.repeat(times)
            is_own = of_x[:, None] == torch.tensor(person_of_rank)  # (rows of x, ranks)
            ones = [1] * (x.dim() - 2)
            weights_by_key[key] = is_own.view(len(x), *ones, -1).to(self._like)  # (rows of x, 1, ..., ranks)
        return weights_by_key[key]

    def of_layer(
        self,
        forward: Forward,
        people: PeopleOnPicture,
        loras: PeopleLayer,
        stream: LayerStream | None,
        x: Tensor,
    ) -> Tensor:
        """How much of each rank every token of x has, in a shape that multiplies x: (1, tokens, ranks) for most layers.

        people: where those of a node are. loras: of the node in this layer. stream: which tokens the layer is given,
        not None here. x: what it is given. The shape of x tells which dimension the tokens are in. Raises BadSetup for
        a layer that modulates references by the time 0.
        """
        assert stream is not None  # such a layer is refused by the node
        weights_of = partial(  # how many tokens -> (1, tokens, ranks)
            self.of_ranks, forward, people, loras.person_of_rank, loras.person_of_rank_tensor, stream.stream
        )
        if stream.stream is Stream.TEXT_AS_ROWS:
            return self._of_text_as_rows(weights_of, x)
        if stream.modulates:
            # x is (B, 1, C), one row for all tokens, and gets a row for each. A second row in x would be that of
            # references at the time 0.
            if x.dim() != 3 or x.shape[1] != 1:
                raise zero_time_unknown()
            return weights_of(self._tokens.tokens(stream.stream))
        tokens = x.shape[1:-1]  # of x, (B, tokens, C), or where they stand in a grid (B, frames, h, w, C)
        return weights_of(math.prod(tokens)).view(1, *tokens, -1)

    def _of_text_as_rows(self, weights_of: Callable[[int], Tensor], x: Tensor) -> Tensor:
        """The weights of `of_layer` in Krea 2's layers that join what several layers of the text encoder gave a token.

        weights_of: gives the weights of so many tokens, (1, tokens, ranks).
        """
        if x.dim() == 4:  # (B, T, C, layers of the text encoder)
            return weights_of(x.shape[1])[:, :, None]  # (1, T, 1, ranks)
        weights = weights_of(len(x) // self._row_count)  # of x: (B * T, layers of the text encoder, C)
        return weights[0][:, None].repeat(self._row_count, 1, 1)  # (B * T, 1, ranks)

    def of_people(self, forward: Forward, people: PeopleOnPicture, loras: PeopleLayer, stream: Stream) -> Tensor:
        """How much of each person's LoRAs every token has: (1, tokens, people of the layer).

        people, loras: as in `of_layer`. stream: which tokens the layer acts on in the blocks.
        """
        # As if each person were one rank.
        tokens = self._tokens.tokens(stream)
        return self.of_ranks(forward, people, loras.people, loras.people_tensor, stream, tokens)

    def of_ranks(
        self,
        forward: Forward,
        people: PeopleOnPicture,
        person_of_rank: tuple[int, ...],
        person_of_rank_tensor: Tensor,
        stream: Stream,
        token_count: int,
    ) -> Tensor:
        """How much of each rank every token has: (1, tokens, ranks), made once for all layers and steps.

        people: where those of a node are. person_of_rank: per rank the number of the person, also as a tensor. stream:
        which tokens the layer is given. token_count: how many these are.
        """
        # All that TokenWeights.of_people reads of this forward to tell whose the tokens are is a part of the key.
        of_texts = self._tokens.text_tokens(), current.texts
        key = people.node_number, person_of_rank, stream, token_count, of_texts, current.references
        weights_by_key = self._kept(forward)
        if key not in weights_by_key:
            weights = self._tokens.of_people(people, stream, token_count)  # (people, tokens)
            weights_by_key[key] = weights[person_of_rank_tensor].T[None].to(self._like)  # (1, tokens, ranks)
        return weights_by_key[key]


def _people_of_called_rows(person_of_row: tuple[int, ...]) -> tuple[int, ...]:
    """The person of each row that the network is called for now: of all rows of the batch, or of some alone."""
    texts = current.texts
    if texts is None or texts.rows is None:
        return person_of_row
    return tuple(person_of_row[row] for row in texts.rows)
