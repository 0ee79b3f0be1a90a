"""The host's own nodes that patch a MODEL, called as a graph would call them, and its way without any VRAM."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management
import pytest

LAYERS = {"double_layers": "0", "single_layers": "0", "start_percent": 0.0, "end_percent": 1.0}
TILES = {"tile_size": 32, "swap_size": 2}
NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "PAG": ("nodes_pag.PerturbedAttentionGuidance", {"scale": 3.0}),
    "SAG": ("nodes_sag.SelfAttentionGuidance", {"scale": 3.0, "blur_sigma": 2.0}),
    "SLG": ("nodes_slg.SkipLayerGuidanceDiT", {**LAYERS, "scale": 3.0}),
    "SLG, negative only": ("nodes_slg.SkipLayerGuidanceDiTSimple", LAYERS),
    "HyperTile": ("nodes_hypertile.HyperTile", {**TILES, "max_depth": 1, "scale_depth": False}),
    "ToMe": ("nodes_tomesd.TomePatchModel", {"ratio": 0.3}),
    "FreeU": ("nodes_freelunch.FreeU_V2", {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}),
}


def patch(name: str, model: Any) -> Any:
    """The MODEL that the node makes of this one."""
    module_and_class, inputs = NODES[name]
    module, _, kind = module_and_class.partition(".")
    node = getattr(importlib.import_module(f"comfy_extras.{module}"), kind)
    return (node.execute if hasattr(node, "execute") else node().patch)(model, **inputs)[0]


@contextmanager
def novram() -> Iterator[None]:
    """--novram's path: every weight stays where it is and is cast layer by layer."""
    management = comfy.model_management
    management.unload_all_models()
    with pytest.MonkeyPatch.context() as forced:
        forced.setattr(management, "is_device_cpu", lambda device: False)
        forced.setattr(management, "vram_state", management.VRAMState.NO_VRAM)
        yield
    management.unload_all_models()
