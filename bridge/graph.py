"""The graph that is running: how the user has connected a node."""

from __future__ import annotations

from typing import Any

from comfy_execution.graph_utils import is_link

from ..core.errors import ModelNotUsed

MODEL = 0
"""The number of the MODEL among the outputs of a node that patches it."""


def check_model_used(hidden: Any, name: str) -> None:
    """Raise ModelNotUsed where other outputs of the node go on and its MODEL goes nowhere.

    hidden: with unique_id and prompt, of the node that runs; None outside of a running graph. A node that another
    one has made during the run is not in the prompt, and who reads it is not known.
    """
    prompt = hidden.prompt if hidden else None
    if not prompt or hidden.unique_id not in prompt:
        return
    given = [value for node in prompt.values() for value in node["inputs"].values() if is_link(value)]
    read = {output for node, output in given if node == hidden.unique_id}
    if read and MODEL not in read:
        raise ModelNotUsed(name)
