"""Workflows saved by earlier versions, which lack inputs that came later, give the same picture.

Their defaults: tests/host/test_documents.py.
"""

import torch
from comfy_api.latest._io import WidgetInput
from graphs import node
from method_rows import Row, applies_to, latents, picture


def came_later(row: Row) -> list[str]:
    """The optional widgets: whoever saved a workflow before has none of them."""
    return [name for name, entry in row.inputs.items() if entry.optional and isinstance(entry, WidgetInput)]


@applies_to(lambda row: bool(came_later(row)), "It has every input since its first version.")
def test_without_the_inputs_that_came_later_it_is_the_same_picture(row: Row) -> None:
    later = came_later(row)
    assert later
    applied = row.node(**{name: row.inputs[name].default for name in later})
    old = node(row.kind, **{name: link for name, link in applied.inputs.items() if name not in later})
    # The picture of the defaults is there already where they are what is left out.
    expected = latents(row.sampled(applied)) if applied.inputs != row.node().inputs else picture(row)
    assert torch.equal(latents(row.sampled(old)), expected)
