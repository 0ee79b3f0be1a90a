"""What a LoRA adds to a layer, whatever its kind, as two matrices: y = W x + up down x.

A kind of LoRA is a class here: its fields are the tensors that a file has for one layer, and `low_rank` makes the two
matrices of them. To add a kind:

1. Write its class, with the field's name for it as `title` and the tensors in the order of the host's weight_adapter,
   and put it into `LORA_KINDS` under the name that the weight_adapter has for it.
2. bridge/loras/lora_files.py reads the file. `_host_patches` asks the host for its tensors, so a kind that the host's
   weight_adapter does not read needs a way of its own there. `_MAY_BE_INTEGERS` names tensors that may hold integers.
   The sentence of `_refuse_unfit_kinds` names the usable kinds. On transformers these have `up` and `down` alone.
3. The tooltip of the file in both locales/*/nodeDefs.json and the help page web/docs/LikenessLoRAPerPerson.md with its
   zh.md list the kinds.
4. tests/unit/test_low_rank.py has its tensors and their order, scripts/tiny/lora_dense.py its paper's formula: every
   kind is held to its dense difference. scripts/tiny/lora_made.py makes a file of it.

Sources: LoRA (arXiv 2106.09685), LyCORIS (arXiv 2309.14859: LoHa, LoKr, Tucker forms), GLoRA (arXiv 2306.07967).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from typing_extensions import Self


@dataclass(frozen=True)
class InFront:
    """What a LoRA adds in front of a layer, to its input: y = W (x + up down x). GLoRA does so. Its scale is in `up`.

    down: (rank, in). up: (in, rank). Of a layer in groups, behind `in_groups`, they are those of each group, one below
    the other: (groups * rank, in / groups) and (in, rank).
    """

    down: Tensor
    up: Tensor


@dataclass(frozen=True)
class LowRank:
    """The addition of one LoRA to one layer: y = W x + up down x. Its scale is in `up`.

    down: (rank, in), or (rank, in, h, w) for a convolution. up: (out, rank). in_front: what a kind adds in front of the
    layer, to what the layer is given; None for a kind that only adds to what the layer gives. GLoRA has it.
    """

    down: Tensor
    up: Tensor
    in_front: InFront | None = None

    @property
    def is_two_matrices_alone(self) -> bool:
        """Whether `up` and `down` are all that it adds.

        A layer that is given these two and nothing else cannot be given a LoRA of another kind, whatever that brings.
        """
        return self.in_front is None

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether the matrices have the sizes of a layer with weights of this shape, (out, in) or (out, in, h, w)."""
        out_width = shape[0]
        in_width = shape[1]
        rank = len(self.down)
        if self.up.shape != (out_width, rank) or self.down.shape[1:] != tuple(shape[1:]):
            return False
        if self.in_front is None:
            return True
        front_rank = len(self.in_front.down)
        return self.in_front.down.shape[1] == in_width and self.in_front.up.shape == (in_width, front_rank)


@dataclass(frozen=True)
class LoraKind(ABC):
    """The tensors of one kind of LoRA for one layer.

    title: how users know the kind, as pages and messages write it.
    not_additive: what the host's weight_adapter has read besides, in its order: the scale of DoRA, or another shape for
    the weights. They change the weights themselves, which no addition to what a layer gives can do.
    """

    title: ClassVar[str]
    not_additive: tuple[Any, ...] = field(default=(), kw_only=True)

    @classmethod
    def from_host(cls, weights: Sequence[Any]) -> Self:
        """The LoRA of one layer from what the host has read.

        weights: as the host's weight_adapter of this kind keeps them, None where the file has none. The fields of each
        kind stand in the same order; what comes after them is not additive.
        """
        own_count = len(fields(cls)) - 1  # without not_additive
        return cls(*weights[:own_count], not_additive=tuple(weights[own_count:]))

    @abstractmethod
    def low_rank(self, shape: Sequence[int]) -> LowRank:
        """The two matrices for a layer with weights of this shape, (out, in) or (out, in, h, w).

        Raises RuntimeError or ValueError where the tensors do not fit each other or the shape. Not every misfit is an
        error: `LowRank.fits` says whether the layer can be given the result.
        """

    @property
    def is_addition(self) -> bool:
        """Whether all that it does to a layer is to add to what the layer gives."""
        return all(value is None for value in self.not_additive)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """The LoRA with all tensors on a device, in a dtype where one is named; "meta" for their shapes alone."""
        moved: dict[str, Any] = {}
        for tensor_field in fields(self):
            value = getattr(self, tensor_field.name)
            if isinstance(value, Tensor):
                moved[tensor_field.name] = value.to(device, dtype or value.dtype)
        return replace(self, **moved)


@dataclass(frozen=True)
class PlainLora(LoraKind):
    """The plain kind, also called LoCon for convolutions: W + alpha / rank * up down.

    up: (out, rank) or (out, rank, 1, 1). down: (rank, in) or (rank, in, h, w). mid: the core of the Tucker form, (rank,
    rank, h, w), whose `down` is (rank, in, 1, 1); None otherwise.
    """

    title: ClassVar[str] = "LoRA"
    up: Tensor
    down: Tensor
    alpha: float | None
    mid: Tensor | None

    def low_rank(self, shape: Sequence[int]) -> LowRank:
        """The file's own two matrices; of the Tucker form, the core times `down` is the second."""
        up = self.up.flatten(1)
        down = self.down
        if self.mid is not None:
            up, down = _without_core(up, self.mid, down.flatten(1))
        return _for_layer(up, down, _scale(self.alpha, len(self.down)), shape)


@dataclass(frozen=True)
class Loha(LoraKind):
    """The product, number by number, of two matrices: W + alpha / rank * (up_1 down_1) * (up_2 down_2).

    up_1: (out, rank). down_1: (rank, in * h * w). up_2, down_2: alike, of a rank of their own. core_1, core_2: of the
    Tucker form, (rank, rank, h, w), whose `up` are (rank, out) and `down` (rank, in); None otherwise.
    """

    title: ClassVar[str] = "LoHa"
    up_1: Tensor
    down_1: Tensor
    alpha: float | None
    up_2: Tensor
    down_2: Tensor
    core_1: Tensor | None
    core_2: Tensor | None

    def low_rank(self, shape: Sequence[int]) -> LowRank:
        """The two matrices of rank r * s that stand for the product, number by number, of matrices of rank r and s.

        (sum over r of up_1[o, r] down_1[r, i]) * (sum over s of up_2[o, s] down_2[s, i])
        = sum over r and s of (up_1[o, r] up_2[o, s]) * (down_1[r, i] down_2[s, i]).
        Where r * s is larger than a side of the product, the product itself is made instead, which takes less memory.
        As in the host, alpha is divided by r, the rank of the first pair.
        """
        has_cores = self.core_1 is not None
        up_1, down_1 = _factors(self.up_1, self.core_1, self.down_1)  # (out, r), (r, in * h * w)
        up_2, down_2 = _factors(self.up_2, _present(self.core_2) if has_cores else None, self.down_2)
        rank = len(down_1) * len(down_2)
        if rank > min(len(up_1), down_1.shape[1]):
            up, down = _two_matrices((up_1 @ down_1) * (up_2 @ down_2))
        else:
            up = torch.einsum("or,os->ors", up_1, up_2)  # (out, r, s)
            down = torch.einsum("ri,si->rsi", down_1, down_2).flatten(0, 1)  # (r * s, in * h * w)
        return _for_layer(up, down, _scale(self.alpha, len(self.down_1)), shape)


@dataclass(frozen=True)
class Lokr(LoraKind):
    """The Kronecker product of two matrices: W + alpha / rank * kron(first, second).

    Each of the two stands in the file whole (whole_1, whole_2) or as a product (up_1 down_1, up_2 down_2); what it
    does not stand as is None.
    whole_1: (out_1, in_1). up_1: (out_1, rank). down_1: (rank, in_1). The first matrix has no kernel.
    whole_2: (out_2, in_2), or with a convolution's kernel (out_2, in_2, h, w). up_2: (out_2, rank).
    down_2: (rank, in_2) or (rank, in_2, h, w).
    core_2: of the second in Tucker form, (rank, rank, h, w); up_2 is then (rank, out_2) and down_2 (rank, in_2).
    """

    title: ClassVar[str] = "LoKr"
    whole_1: Tensor | None
    whole_2: Tensor | None
    alpha: float | None
    up_1: Tensor | None
    down_1: Tensor | None
    up_2: Tensor | None
    down_2: Tensor | None
    core_2: Tensor | None

    def low_rank(self, shape: Sequence[int]) -> LowRank:
        """The two matrices of kron(up_1 down_1, up_2 down_2), which is kron(up_1, up_2) kron(down_1, down_2)."""
        up_1, down_1 = self._factors_of_first()
        up_2, down_2 = self._factors_of_second()
        # torch.kron fails for tensors that are not contiguous, as the transposed ones of the Tucker form are.
        up = torch.kron(up_1.contiguous(), up_2.contiguous())  # (out, rank_1 * rank_2)
        down = torch.kron(down_1.contiguous(), down_2.contiguous())  # (rank_1 * rank_2, in * h * w)
        rank_of_alpha = self._rank()
        # As the host does it: alpha is not used where both matrices are whole, since there is no rank to divide it by.
        scale = 1.0 if rank_of_alpha is None else _scale(self.alpha, rank_of_alpha)
        return _for_layer(up, down, scale, shape)

    def _factors_of_first(self) -> tuple[Tensor, Tensor]:
        """up (out_1, rank) and down (rank, in_1), whose product is the first matrix."""
        if self.whole_1 is not None:
            return _two_matrices(self.whole_1)
        return _least_rank(_present(self.up_1), _present(self.down_1))

    def _factors_of_second(self) -> tuple[Tensor, Tensor]:
        """up (out_2, rank) and down (rank, in_2 * h * w), whose product is the second matrix."""
        if self.whole_2 is not None:
            return _two_matrices(self.whole_2.flatten(1))
        return _least_rank(*_factors(_present(self.up_2), self.core_2, _present(self.down_2)))

    def _rank(self) -> int | None:
        """The rank by which alpha is divided: of the second matrix, or of the first where the second is whole.

        None where both are whole.
        """
        if self.whole_2 is None:
            return len(_present(self.down_2))
        if self.whole_1 is None:
            return len(_present(self.down_1))
        return None


@dataclass(frozen=True)
class Glora(LoraKind):
    """W + alpha / rank * (W a1 a2 + b1 b2): it adds to what a layer gives, and to what the layer is given.

    a1: (in, rank). a2: (rank, in). b1: (out, rank). b2: (rank, in) or (rank, in, h, w). The older form of a file has
    both products the other way round, W a2 a1 + b2 b1, of a2 (in, rank), a1 (rank, in), b2 (out, rank), b1 (rank, in).
    """

    title: ClassVar[str] = "GLoRA"
    a1: Tensor
    a2: Tensor
    b1: Tensor
    b2: Tensor
    alpha: float | None

    def low_rank(self, shape: Sequence[int]) -> LowRank:
        """b1 and b2 add to what the layer gives, a1 and a2 to what it is given."""
        a1, a2, b1, b2 = self.a1, self.a2, self.b1, self.b2
        if self._is_older(shape):
            a1, a2, b1, b2 = a2, a1, b2, b1
        scale = _scale(self.alpha, len(b2))
        in_front = InFront(down=a2.flatten(1), up=a1.flatten(1) * scale)
        return _for_layer(b1, b2, scale, shape, in_front)

    def _is_older(self, shape: Sequence[int]) -> bool:
        """Whether the file has the older form, by its sizes. shape: of the layer's weights.

        As the host does it: a file whose sizes fit both forms is read in the newer one, but for a square layer that is
        as wide as a2 has rows.
        """
        # In each form these four sizes are the rank, and so alike.
        fits_older = self.b2.shape[1:].numel() == len(self.b1) == len(self.a1) == self.a2.shape[1:].numel()
        fits_newer = len(self.b2) == self.b1.shape[1:].numel() == len(self.a2) == self.a1.shape[1:].numel()
        spans_square_layer = len(self.a2) == shape[0] == shape[1]
        return fits_older and (spans_square_layer or not fits_newer)


LORA_KINDS: Mapping[str, type[LoraKind]] = {"lora": PlainLora, "loha": Loha, "lokr": Lokr, "glora": Glora}
"""The kinds of LoRA that add to the output of a layer, by the name that the host's weight_adapter has for them."""


def _scale(alpha: float | None, rank: int) -> float:
    if alpha is None:
        return 1.0
    return alpha / rank


def _without_core(up: Tensor, core: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """The two matrices (out, i) and (i, in, h, w) that the three of a Tucker form stand for; i is at most `out`.

    up: (out, i). core: (i, j, h, w). down: (j, in).
    """
    out_width, rank = up.shape
    if rank > out_width:  # `up` becomes a part of the core, and an identity takes its place
        core = torch.einsum("oi,ij...->oj...", up, core)
        up = _identity(out_width, up)
    return up, torch.einsum("ij...,jr->ir...", core, down)


def _factors(up: Tensor, core: Tensor | None, down: Tensor) -> tuple[Tensor, Tensor]:
    """up (out, rank) and down (rank, in * h * w) of tensors as LoHa and LoKr have them.

    Without a core they are (out, rank) and (rank, in, ...). In Tucker form `up` is (rank, out), `down` (rank, in), and
    the core, (rank, rank, h, w), has the kernel.
    """
    if core is not None:
        up, down = _without_core(up.T, core, down)
    return up, down.flatten(1)


def _two_matrices(whole: Tensor) -> tuple[Tensor, Tensor]:
    """Two matrices (out, rank) and (rank, in) whose product is a whole one, (out, in): one of them is an identity.

    The rank is the shorter side of the whole, so that both together have at most twice its numbers.
    """
    if len(whole) < whole.shape[1]:
        return _identity(len(whole), whole), whole
    return whole, _identity(whole.shape[1], whole)


def _least_rank(up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Two matrices with the same product as these, of a rank that is no larger than a side of the product.

    up: (out, rank). down: (rank, in). They are returned as they are where the rank is small enough already. Raises
    RuntimeError where a product is needed and they do not fit each other.
    """
    if len(down) > min(len(up), down.shape[1]):
        return _two_matrices(up @ down)
    return up, down


def _identity(side: int, like: Tensor) -> Tensor:
    return torch.eye(side, dtype=like.dtype, device=like.device)


def _present(tensor: Tensor | None) -> Tensor:
    """A tensor that a file must have. Raises ValueError where the file does not have it (None)."""
    if tensor is None:
        raise ValueError("a tensor is missing")
    return tensor


def _for_layer(
    up: Tensor, down: Tensor, scale: float, shape: Sequence[int], in_front: InFront | None = None
) -> LowRank:
    """The two matrices of a LoRA in the shapes that a layer needs.

    up: (out, rank, ...), multiplied by `scale` here. down: (rank, in * h * w), or the same numbers in several
    dimensions after the rank. shape: of the layer's weights, (out, in) or (out, in, h, w). in_front: what a kind adds
    in front of the layer, its scale included.
    """
    up, down = _least_rank(up.flatten(1), down.flatten(1))
    return LowRank(down.reshape(-1, *shape[1:]), up * scale, in_front)


def in_groups(low_rank: LowRank, groups: int) -> LowRank:
    """A LoRA for a convolution in groups, as torch's Conv2d has them: each group of outputs reads its group of inputs.

    low_rank: for the layer's weights, (out, in / groups, h, w), so `down` is (rank, in / groups, h, w). In the result
    every group has ranks of its own, those of the first group first: down (groups * rank, in / groups, h, w) is the
    same for all groups, and up (out, groups * rank) is 0 for the ranks of other groups. What is added in front is the
    same for each group of inputs.
    """
    if groups == 1:
        return low_rank
    down = torch.cat([low_rank.down] * groups)
    up: Tensor = cast("Any", torch).block_diag(*low_rank.up.chunk(groups))
    front = low_rank.in_front
    if front is not None:
        front = InFront(torch.cat([front.down] * groups), torch.cat([front.up] * groups))
    return LowRank(down, up, front)
