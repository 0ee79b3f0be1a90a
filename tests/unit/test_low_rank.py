"""What a LoRA adds, as two matrices, beside the dense difference of the papers' formulas, in float64."""

from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as functional
from pack.core.attention.low_rank import LORA_KINDS, LowRank, in_groups
from tiny import lora_dense
from torch import Tensor

LAYERS = {"linear": (12, 8), "square": (8, 8), "conv 1x1": (12, 8, 1, 1), "conv 3x3": (12, 8, 3, 3)}
KINDS = (
    "lora", "lora tucker", "loha", "loha tucker", "glora", "older glora",
    *(f"lokr {first} {second}" for first in ("whole", "product") for second in ("whole", "product", "tucker")),
)  # fmt: skip
FIELDS = {
    "lora": ("lora_up.weight", "lora_down.weight", "alpha", "lora_mid.weight"),
    "loha": ("hada_w1_a", "hada_w1_b", "alpha", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    "lokr": ("lokr_w1", "lokr_w2", "alpha", "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
    "glora": ("a1.weight", "a2.weight", "b1.weight", "b2.weight", "alpha"),
}
"""In the order in which the host's weight adapters keep them."""


def tensors_of(kind: str, shape: tuple[int, ...], r: Callable[..., Tensor]) -> dict[str, Tensor]:
    """As LyCORIS and the others save them; ranks that differ from each other where they may."""
    out, inputs, *kernel = shape
    ones = [1] * len(kernel)
    places = int(torch.tensor(kernel).prod()) if kernel else 1
    if kind == "lora":
        return {"lora_up.weight": r(out, 3, *ones), "lora_down.weight": r(3, inputs, *kernel)}
    if kind == "lora tucker":
        down = {"lora_down.weight": r(3, inputs, *ones), "lora_mid.weight": r(3, 3, *kernel)}
        return {"lora_up.weight": r(out, 3, *ones), **down}
    if kind == "loha":
        first = {"hada_w1_a": r(out, 3), "hada_w1_b": r(3, inputs * places)}
        return {**first, "hada_w2_a": r(out, 2), "hada_w2_b": r(2, inputs * places)}
    if kind == "loha tucker":
        first = {"hada_t1": r(3, 3, *kernel), "hada_w1_a": r(3, out), "hada_w1_b": r(3, inputs)}
        return {**first, "hada_t2": r(2, 2, *kernel), "hada_w2_a": r(2, out), "hada_w2_b": r(2, inputs)}
    if kind == "glora":
        a = {"a1.weight": r(inputs, 3, *ones), "a2.weight": r(3, inputs, *ones)}
        return {**a, "b1.weight": r(out, 3, *ones), "b2.weight": r(3, inputs, *kernel)}
    if kind == "older glora":
        a = {"a1.weight": r(3, inputs), "a2.weight": r(inputs, 3)}
        return {**a, "b1.weight": r(3, inputs), "b2.weight": r(out, 3)}
    _, first_form, second_form = kind.split()
    first = {"lokr_w1": r(4, 2)} if first_form == "whole" else {"lokr_w1_a": r(4, 1), "lokr_w1_b": r(1, 2)}
    if second_form == "whole":
        return {**first, "lokr_w2": r(out // 4, inputs // 2, *kernel)}
    if second_form == "product":
        return {**first, "lokr_w2_a": r(out // 4, 3), "lokr_w2_b": r(3, inputs // 2 * places)}
    return {**first, "lokr_t2": r(3, 3, *kernel), "lokr_w2_a": r(3, out // 4), "lokr_w2_b": r(3, inputs // 2)}


def read(kind: str, tensors: Mapping[str, Tensor], alpha: float | None) -> list[object]:
    values: dict[str, object] = {**tensors, "alpha": alpha}
    return [values.get(name) for name in FIELDS[kind.removeprefix("older ").split()[0]]]


CASES = [
    (kind, layer, alpha)
    for kind in KINDS
    for layer in LAYERS
    for alpha in (None, 2.0)
    # The cores of linear layers have no kernel; the older GLoRA has linear layers alone, and in a square one the newer
    # form is meant.
    if not (kind == "older glora" and layer != "linear")
]


@pytest.mark.parametrize(("kind", "layer", "alpha"), CASES)
def test_every_kind_in_every_layer_is_its_dense_difference(kind: str, layer: str, alpha: float | None) -> None:
    generator = torch.Generator().manual_seed(3)

    def r(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    shape = LAYERS[layer]
    weight = r(*shape)
    tensors = tensors_of(kind, shape, r)
    expected = lora_dense.difference(tensors, weight, alpha)
    lora = LORA_KINDS[kind.removeprefix("older ").split()[0]].from_host(read(kind, tensors, alpha))
    low_rank = lora.low_rank(shape)
    assert lora.is_addition
    assert low_rank.fits(shape)
    added = torch.einsum("or,ri...->oi...", low_rank.up, low_rank.down)
    if low_rank.in_front is not None:
        # W (up down) for every place of the kernel.
        front = low_rank.in_front.up @ low_rank.in_front.down
        added = added + torch.einsum("oi...,ij->oj...", weight, front)
    assert (added - expected).abs().max() <= 1e-12 * expected.abs().max()
    assert expected.abs().max() > 0.1
    assert lora.to("meta").low_rank(shape).fits(shape)  # as a file's sizes are checked


LARGE = {
    "lora": {"lora_up.weight": (24, 90), "lora_down.weight": (90, 40)},
    "lora tucker": {"lora_up.weight": (24, 90), "lora_down.weight": (2, 10, 1, 1), "lora_mid.weight": (90, 2, 2, 2)},
    "loha": {"hada_w1_a": (24, 30), "hada_w1_b": (30, 40), "hada_w2_a": (24, 30), "hada_w2_b": (30, 40)},
    "lokr row by column": {"lokr_w1": (1, 40), "lokr_w2": (24, 1)},
    "lokr column by row": {"lokr_w1": (24, 1), "lokr_w2": (1, 40)},
    "lokr of high rank": {"lokr_w1_a": (1, 50), "lokr_w1_b": (50, 1), "lokr_w2_a": (24, 50), "lokr_w2_b": (50, 40)},
}
"""Files whose own rank, or that of their factors, is larger than a side of the layer."""


@pytest.mark.parametrize("kind", LARGE)
def test_two_matrices_have_at_most_twice_the_numbers_of_the_dense_difference(kind: str) -> None:
    generator = torch.Generator().manual_seed(7)
    tensors: dict[str, Tensor] = {}
    for name, size in LARGE[kind].items():
        tensors[name] = torch.randn(size, generator=generator, dtype=torch.float64)
    shape = (24, 10, 2, 2) if "tucker" in kind else (24, 40)
    low_rank = LORA_KINDS[kind.split()[0]].from_host(read(kind, tensors, None)).low_rank(shape)
    assert low_rank.up.numel() + low_rank.down.numel() <= 2 * 24 * 40
    expected = lora_dense.difference(tensors, torch.zeros(shape), None)
    added = torch.einsum("or,ri...->oi...", low_rank.up, low_rank.down)
    assert (added - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr", "glora"])
def test_what_the_host_reads_besides_is_no_addition(kind: str) -> None:
    """The scale of DoRA, which stands behind all else."""
    values = [None] * len(FIELDS[kind])
    assert LORA_KINDS[kind].from_host(values).is_addition
    assert not LORA_KINDS[kind].from_host([*values, torch.ones(4, 1)]).is_addition


def test_matrices_that_a_layer_cannot_be_given_do_not_fit() -> None:
    """Neither with other widths nor, of GLoRA, with another width in front of the layer."""
    assert LowRank(torch.ones(3, 8), torch.ones(12, 3)).fits((12, 8))
    for wrong in ((12, 9), (13, 8), (12, 8, 1, 1)):
        assert not LowRank(torch.ones(3, 8), torch.ones(12, 3)).fits(wrong)
    matrices = {"a1.weight": torch.ones(9, 3), "a2.weight": torch.ones(3, 9)}
    matrices |= {"b1.weight": torch.ones(12, 3), "b2.weight": torch.ones(3, 8)}
    glora = LORA_KINDS["glora"].from_host(read("glora", matrices, None))
    assert not glora.low_rank((12, 8)).fits((12, 8))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_in_groups_it_is_the_convolution_with_the_dense_difference(groups: int) -> None:
    generator = torch.Generator().manual_seed(5)
    down = torch.randn(3, 8 // groups, 3, 3, generator=generator, dtype=torch.float64)
    up = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    x = torch.randn(2, 8, 6, 5, generator=generator, dtype=torch.float64)
    dense = torch.einsum("or,ri...->oi...", up, down)
    expected = functional.conv2d(x, dense, groups=groups)
    grouped = in_groups(LowRank(down, up), groups)
    hidden = functional.conv2d(x, grouped.down, groups=groups)  # (2, groups * 3, 4, 3)
    added = functional.conv2d(hidden, grouped.up[..., None, None])
    assert (added - expected).abs().max() <= 1e-12 * expected.abs().max()
