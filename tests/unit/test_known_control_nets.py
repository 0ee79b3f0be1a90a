"""A ControlNet's file whose name or folder is that of another method is named; one whose name tells nothing is not."""

import pytest
from pack.core.models import net_names

ID_PATCH, INSTANT_ID = (f"LikenessApply{method}" for method in ("IDPatch", "InstantID"))
FILE = "ControlNetModel/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("applied", "chosen", "expected"),
    [
        (ID_PATCH, f"InstantID/{FILE}", "InstantID ControlNet (IdentityNet)"),
        (ID_PATCH, "instantid\\diffusion_pytorch_model.safetensors", "InstantID ControlNet (IdentityNet)"),
        (ID_PATCH, "standin-toy-identitynet.pth", "InstantID ControlNet (IdentityNet)"),
        (ID_PATCH, "SDXL/controlnet-canny-sdxl-1.0/model.safetensors", "Canny ControlNet"),
        (INSTANT_ID, f"ID-Patch/{FILE}", "ID-Patch ControlNet"),
        (INSTANT_ID, "id_patch_controlnet.safetensors", "ID-Patch ControlNet"),
        (ID_PATCH, f"ID-Patch/{FILE}", ""),
        (INSTANT_ID, f"InstantID/{FILE}", ""),
        (ID_PATCH, "diffusion_pytorch_model.safetensors", ""),
        (ID_PATCH, "InstantID and ID-Patch/idpatch.safetensors", ""),
    ],
)
@pytest.mark.parametrize("between", [False, True])
def test_a_net_of_another_method_is_named(applied: str, chosen: str, expected: str, between: bool) -> None:
    """between: with a node of another pack on the way, and all of it inside of a subgraph."""
    prompt = {
        "5:1": {"class_type": "ControlNetLoader", "inputs": {"control_net_name": chosen}},
        "5:2": {"class_type": "SetUnionControlNetType", "inputs": {"type": "auto", "control_net": ["5:1", 0]}},
        "5:3": {"class_type": applied, "inputs": {"control_net": ["5:2" if between else "5:1", 0]}},
    }
    text = net_names.other_net(prompt, "5:3", "control_net")
    assert (expected in text) if expected else not text


def test_without_a_prompt_nothing_is_said() -> None:
    assert net_names.other_net(None, None, "control_net") == ""
    assert net_names.other_net({"1": {"class_type": ID_PATCH, "inputs": {}}}, "1", "control_net") == ""
