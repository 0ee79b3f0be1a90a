"""Apply InstantID in the real host: boxes, float8, and what is read once.

What it refuses and tells: tests/host/test_refused.py.
"""

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ops
import comfy.utils
import pytest
import tiny_sdxl
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock
from figures import relative
from instant_id_run import DEFAULTS, HEIGHT, HINT, WIDTH, a_member, apply, face, halves, one, sample, slot, text
from pack.bridge.host.schedule import SigmaRange
from pack.bridge.sampling.carried import ConditioningLost
from pack.core.cast import PlacedCast, RowCast
from pack.core.places.region_settings import FACE_BOXES, RegionSettings
from pack.nodes.instant_id.nodes import ApplyInstantID

CPU = torch.device("cpu")
FP8 = torch.float8_e4m3fn
BOXES = RegionSettings(acts_in=FACE_BOXES)


def boxed(*boxes):
    people = (a_member(str(n), face(n), slot(*box)) for n, box in enumerate(boxes, 1))
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


def test_everybody_of_a_cast_by_row_has_a_box_of_their_own(sdxl, instant_id):
    """And keypoints: every picture of a batch may have its own."""
    boxes = [(10, 10, 50, 60), (60, 30, 120, 90)]
    rows = RowCast(boxed(*boxes).people, WIDTH, HEIGHT, region_settings=BOXES)
    hints = torch.cat([HINT, HINT.flip(2)])
    output = ApplyInstantID.execute(sdxl[0], [text(1)], [text(2)], instant_id, sdxl[1], rows, hints, **DEFAULTS)
    assert len(output.ui["images"]) == 2, "a picture each is shown"
    together = sample(*output.args, batch=2)
    start = torch.randn(2, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(7)) * 14
    for row in range(2):
        alone = PlacedCast((rows.people[row],), WIDTH, HEIGHT, region_settings=BOXES)
        applied = apply(sdxl, instant_id, alone, hint=hints[row : row + 1])
        assert relative(together[row : row + 1], sample(*applied, start=start[row : row + 1])) <= 1e-5


def test_fp8_weights_of_identity_net(instant_id):
    """Stored as float8 and computed in float32: the same picture as with the same rounded weights in float32."""
    unet = tiny_sdxl.diffusers_unet()
    net = tiny_sdxl.diffusers_control_net(unet, 172)
    for parameter in net.parameters():
        parameter.data = parameter.data.to(FP8).float()
    model = tiny_sdxl.host_model(unet)
    rounded = tiny_sdxl.host_control_net(net)
    shape = {
        name: value
        for name, value in tiny_sdxl.HOST_CONFIG.items()
        if name not in ("out_channels", "transformer_depth_output")
    }
    control = comfy.cldm.cldm.ControlNet(
        **shape, num_heads=-1, num_head_channels=64, hint_channels=3, dtype=FP8, operations=comfy.ops.manual_cast
    )
    control.load_state_dict(rounded.control_model.state_dict())
    stored = comfy.controlnet.ControlNet(control.eval(), load_device=CPU, manual_cast_dtype=torch.float32)
    in_fp8 = sample(*apply((model, stored), instant_id, halves()), steps=2)
    expected = sample(*apply((model, rounded), instant_id, halves()), steps=2)
    assert relative(in_fp8, expected) <= 1e-4


@pytest.mark.parametrize("cast", [one(), halves()], ids=["one person", "two by region"])
def test_keypoints_and_tokens_are_read_once_per_run(sdxl, instant_id, cast):
    rows = {"keypoints": [], "tokens": []}
    net = sdxl[1].control_model
    keys = next(layer for name, layer in net.named_modules() if name.endswith("attn2.to_k"))
    hooks = [
        net.input_hint_block[0].register_forward_pre_hook(
            lambda _, arguments: rows["keypoints"].append(len(arguments[0]))
        ),
        keys.register_forward_pre_hook(lambda _, arguments: rows["tokens"].append(arguments[0].shape[1])),
    ]
    applied = apply(sdxl, instant_id, cast)
    for _ in range(2):
        sample(*applied, steps=3)
    for hook in hooks:
        hook.remove()
    everybody = 16 if len(cast.people) == 1 else 3 * 16
    assert rows == {"keypoints": [1, 1], "tokens": [everybody, 1, 1] * 2}


def test_a_net_of_which_one_block_drops_options_is_refused(sdxl, instant_id, monkeypatch):
    """As the copy of a block's code in another pack: the block would read one token of all."""
    blocks = [module for module in sdxl[1].control_model.modules() if isinstance(module, BasicTransformerBlock)]
    whole = blocks[-1].forward
    monkeypatch.setattr(blocks[-1], "forward", lambda x, context=None, transformer_options=None: whole(x, context))
    with pytest.raises(ConditioningLost, match=r"test_instant_id_apply\) passes over the attention of a ControlNet"):
        sample(*apply(sdxl, instant_id, halves()))


@pytest.mark.parametrize(("sigma", "is_on"), [(8.1, False), (8.0, True), (5.0, True), (2.0, True), (1.9, False)])
def test_a_range_has_both_of_its_ends(sigma: float, is_on: bool) -> None:
    """At which sigmas something of ours works: from the first to the last, both of them."""
    assert SigmaRange(8.0, 2.0).contains(sigma) is is_on
