"""The authors' files at small sizes (shared/shapes.txt), with weights from seeds."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared import adapters
from shared.shapes import of
from tiny.seeded import Shapes, seeded
from torch import Tensor


def resampler_shapes(queries: int, out: int, width: int = 64, heads: int = 1) -> Shapes:
    return dict(of("queries", tokens=queries, text=out, width=width, inputs=512, hidden=64 * heads))


KINDS = {
    "resampler": resampler_shapes, "mlp": lambda tokens, width: dict(of("face_mlp", tokens=tokens, text=width))
}  # fmt: skip


def id_patch_file(kind: str) -> dict[str, dict[str, Tensor]]:
    """The contents of an id-patch.bin of this kind, with the golden files' sizes."""
    shapes = KINDS[kind]
    return {"patch_proj": seeded(shapes(3, 4096), 131), "prompt_proj": seeded(shapes(16, 2048), 132)}


def instant_id_file(layer_widths: list[int]) -> dict[str, Any]:
    """An ip-adapter.bin for a UNet whose cross-attention layers have these widths, in diffusers' order."""
    adapter = adapter_shapes(layer_widths, 2048)
    resampler = resampler_shapes(16, 2048, width=128, heads=2)
    return {"image_proj": seeded(resampler, 173), "ip_adapter": seeded(adapter, 174)}


def pulid_file(widths: list[int], version: str = "former") -> dict[str, Tensor]:
    """For a UNet whose cross-attention layers have these widths, in diffusers' order, under the authors' names.

    version: "encoder" of v1, "former" of v1.1. It reads an embedding of 512 numbers, and of EVA-CLIP's file below 32
    numbers and states of 64.
    """
    small = of(f"pulid_{version}", inside=64, states=64, seen=544)
    shapes = {f"id_adapter.{key}": shape for key, shape in small}
    for number, width in enumerate(widths):
        for side in "kv":
            shapes[f"id_adapter_attn_layers.{2 * number + 1}.id_to_{side}.weight"] = (width, 2048)
    return seeded(shapes, 505)


def pulid_flux_file() -> dict[str, Tensor]:
    """For a FLUX.1 of width 64, of two double and two single blocks."""
    return seeded(dict(of("pulid-flux", width=64)), 506)


def eva_file() -> dict[str, Tensor]:
    return seeded(dict(of("eva-clip")), 507)


def face_parser_file() -> dict[str, Tensor]:
    """Its norms keep what goes through them as large as it is."""
    state = seeded(dict(of("face-parser")), 508)
    for key, tensor in state.items():
        if key.endswith("running_var") or (tensor.ndim == 1 and key.endswith("weight")):
            state[key] = 1 + tensor.abs()
    return state


def parts(shapes: Iterable[tuple[str, tuple[int, ...]]]) -> Mapping[str, Shapes]:
    """By the first word of the keys, as such a file is nested."""
    shapes_by_part: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes:
        part, _, name = key.partition(".")
        shapes_by_part.setdefault(part, {})[name] = shape
    return shapes_by_part


def adapter_shapes(widths: list[int], text: int, rank: int = 0) -> Shapes:
    """For a UNet whose transformer blocks have these widths, in diffusers' order. rank: of the LoRA, 0 is none."""
    return parts(adapters.layers(adapters.UNet(text, tuple(widths)), rank > 0, rank))["ip_adapter"]


def ip_adapter_shapes(kind: str, widths: list[int], text: int) -> Mapping[str, Shapes]:
    """kind: a table of SIZES."""
    sizes = dict(SIZES[kind])
    if kind == "face-id-plus":
        sizes["forward"] = text // 8
    layers = adapter_shapes(widths, text, RANK if kind in WITH_LORA else 0)
    return {**parts(of(kind, text=text, **sizes)), "ip_adapter": layers}


def ip_adapter_file(kind: str, widths: list[int], text: int) -> dict[str, dict[str, Tensor]]:
    """An IP-Adapter of one of SIZES for a UNet whose attention layers have these widths, in diffusers' order."""
    shapes = ip_adapter_shapes(kind, widths, text)
    layers = seeded(shapes["ip_adapter"], 192)
    for key in layers:
        layers[key] *= 0.3 if "_lora.up" in key else 1  # a LoRA is small beside what it changes
    if kind == "face-id-unnorm":  # as published, by which alone it is told from InstantID's
        layers = {key: tensor.half() for key, tensor in layers.items()}
    return {"image_proj": seeded(shapes["image_proj"], 191), "ip_adapter": layers}


RANK, STATES, EMBEDS = 4, 1280, 1024
WITH_LORA = ("face-id", "face-id-plus")
SIZES: dict[str, dict[str, int]] = {
    "face-id": {"inner": 512}, "face-id-plus": {"depth": 1, "hidden": 64}, "face-id-portrait": {"inner": 512},
    "face-id-unnorm": {"width": 64}, "plain": {}, "plus": {"width": 64}, "full": {},
}  # fmt: skip
"""Of the tables of shared/shapes.txt, what is smaller than published."""
