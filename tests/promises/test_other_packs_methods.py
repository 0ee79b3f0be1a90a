"""Beside another method on one MODEL: the same picture whoever stands first, and both act."""

from __future__ import annotations

from typing import Any

from attack_graphs import DEFAULTS, MODELS, sampler, value
from figures import relative
from promised import Row, latents

ANOTHER = {
    "sdxl()": ("LikenessApplyInstantID", "LikenessApplyIPAdapter"),
    "sd15()": ("LikenessSharePartsAttention", "LikenessPersonPrompts"),
    "flux()": ("LikenessApplyWithAnyone", "LikenessApplyInfiniteYou"),
}
"""By MODEL: methods that another one stands beside, the first that is not itself."""


def only(row: Row) -> bool:
    """Tokens that are bound to regions are Apply ID-Patch's, and change next to nothing in two steps."""
    return row.kind != "LikenessBindIDTokens"


def chained(*order: Row, **given: Any) -> dict[str, Any]:
    """MODEL and both sides behind nodes that stand one behind the other."""
    for row in order:
        applied = row.node(**{name: one for name, one in given.items() if name in row.inputs})
        given |= {name: applied[n] for n, name in enumerate(row.outputs) if name in given}
    return given


def test_beside_another_method_in_either_order(row: Row) -> None:
    model = DEFAULTS[row.kind].get("model") or value(MODELS[row.kind])
    other = next((one for one in ANOTHER.get(model.inputs["expression"], ()) if one != row.kind), None)
    if other is None:
        return
    another, given = Row(None, other), row.node().inputs
    plain = {"model": model, **{name: given.get(name) or DEFAULTS[other][name] for name in ("positive", "negative")}}
    last, first = (chained(*order, **plain) for order in ((row, another), (another, row)))
    if "positive" not in row.inputs:  # it reads the prompt itself: the other comes behind it, but for the MODEL
        first |= {name: last[name] for name in ("positive", "negative")}
    both, *others = (latents(sampler(**one)) for one in (last, first, chained(row, **plain), chained(another, **plain)))
    assert relative(others[0], both) <= 2e-5
    assert min(relative(one, both) for one in others[1:]) > 1e-4
