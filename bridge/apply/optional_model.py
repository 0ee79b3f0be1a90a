"""What nodes do whose MODEL is optional: without one, nobody is limited to a region."""

from collections.abc import Sequence

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import ui
from comfy_execution.graph_utils import ExecutionBlocker

from ...core.checks.errors import listed

BY_ROW = "Nothing is limited to regions: with the cast of Crop Faces each person has a row of the batch."
"""The note of a node that limits people to regions only where a MODEL is connected, for a cast by row."""


def without_model(model: ModelPatcher | None, set_inputs: Sequence[str], tokens_in_words: str) -> list[str]:
    """The lines of a note that names the inputs for regions that have no effect without a MODEL.

    It is for nodes that limit people to regions only where a MODEL is connected. [] where a MODEL is connected, or
    where no such input is set. set_inputs: the ids of the inputs for regions that are set. tokens_in_words: what a
    MODEL reads by region, such as "ID tokens".
    """
    if model is not None or not set_inputs:
        return []
    return [
        f"No effect without model: {listed(set_inputs)}. Connect model, and model_out to the sampler, to read "
        f"{tokens_in_words} by region."
    ]


def model_out(model: ModelPatcher | None, node_name: str) -> ModelPatcher | ExecutionBlocker:
    """The output model_out of a node whose MODEL is optional: the MODEL, or a blocker where none is connected.

    ComfyUI shows the blocker's sentence where a sampler is linked to that output.
    """
    if model is not None:
        return model
    return ExecutionBlocker(
        f"{node_name} has no MODEL for its model_out. Connect the MODEL to model of {node_name}, or connect the "
        "sampler to the node that loads the MODEL."
    )


def joined_previews(previews: Sequence[ui.PreviewImage]) -> ui.PreviewImage | None:
    """One preview of the pictures of all previews: the first preview, to which the others' pictures are added in place.

    None for no previews. previews: of what the node puts in, and, with a MODEL, of the regions.
    """
    if not previews:
        return None
    joined_preview = previews[0]
    for preview in previews[1:]:
        joined_preview.values = [*joined_preview.values, *preview.values]
    return joined_preview
