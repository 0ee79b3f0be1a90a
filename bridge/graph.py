"""The graph that is running: how the user has connected a node."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from comfy_execution.graph_utils import is_link

from ..core.errors import ModelNotUsed

MODEL = 0
"""The number of the MODEL among the outputs of a node that patches it."""
PARTS_NODES = ("LikenessApplyParts", "LikenessSharePartsAttention")
"""A MODEL that one of these has patched serves the conditioning of all of them."""


def check_model_used(hidden: Any, name: str, alike: Collection[str] = PARTS_NODES) -> None:
    """Raise ModelNotUsed where the conditioning of a node goes on and no MODEL that can read it does.

    hidden: with unique_id and prompt, of the node that runs; None outside of a running graph. alike: classes of nodes
    whose MODEL will do. Checked when the node runs, so not when its outputs come from the cache; and not for a node
    that another one has made during the run, which is not in the prompt.
    """
    prompt = hidden.prompt if hidden else None
    if not prompt or hidden.unique_id not in prompt:
        return
    read = {tuple(value) for node in prompt.values() for value in node["inputs"].values() if is_link(value)}
    models = {(number, MODEL) for number, node in prompt.items() if node["class_type"] in alike}
    if not read & models and any(number == hidden.unique_id for number, _ in read):
        raise ModelNotUsed(name)
