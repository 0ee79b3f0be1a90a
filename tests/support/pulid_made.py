"""PuLID's files at small sizes: adapters for SDXL and FLUX.1, EVA-CLIP, the face parser."""

from shared.shapes import of
from tiny.seeded import seeded
from torch import Tensor

SMALL = {"inside": 64, "states": 64, "seen": 544}
"""An encoder that reads an embedding of 512 numbers, and of `eva_file` 32 numbers and states of 64."""


def sdxl_file(widths: list[int], version: str = "former") -> dict[str, Tensor]:
    """For a UNet whose cross-attention layers have these widths, in diffusers' order, under the authors' names.

    version: "encoder" of v1, "former" of v1.1.
    """
    shapes = {f"id_adapter.{key}": shape for key, shape in of(f"pulid_{version}", **SMALL)}
    for number, width in enumerate(widths):
        for side in "kv":
            shapes[f"id_adapter_attn_layers.{2 * number + 1}.id_to_{side}.weight"] = (width, 2048)
    return seeded(shapes, 505)


def flux_file() -> dict[str, Tensor]:
    """For a FLUX.1 of width 64, of two double and two single blocks."""
    return seeded(dict(of("pulid-flux", width=64)), 506)


def eva_file() -> dict[str, Tensor]:
    return seeded(dict(of("eva-clip")), 507)


def parser_file() -> dict[str, Tensor]:
    """Its norms keep what goes through them as large as it is."""
    state = seeded(dict(of("face-parser")), 508)
    for key, tensor in state.items():
        if key.endswith("running_var") or (tensor.ndim == 1 and key.endswith("weight")):
            state[key] = 1 + tensor.abs()
    return state
