"""Apply InstantID beside the host's own model nodes, and in every way the host stores and moves weights."""

from __future__ import annotations

import copy

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_management
import comfy.ops
import comfy.supported_models
import pytest
import tiny_sdxl
import torch
from bench import networks as real
from held_to import difference
from host_nodes import NODES, patch
from instant_id_run import apply, halves, one, sample, text
from pack.bridge import unet
from pack.nodes.instant_id.nodes import IdentityNet, load_instant_id
from seeded import instant_id_file

CPU, FP8 = torch.device("cpu"), torch.float8_e4m3fn


@pytest.fixture(scope="module")
def networks():
    unet = tiny_sdxl.diffusers_unet()
    return unet, tiny_sdxl.diffusers_control_net(unet, 172)


@pytest.fixture(scope="module")
def host(networks):
    return tiny_sdxl.host_model(networks[0]), tiny_sdxl.host_control_net(networks[1])


@pytest.fixture(scope="module")
def instant_id(host, tmp_path_factory):
    path = tmp_path_factory.mktemp("instantid") / "ip-adapter.bin"
    torch.save(instant_id_file([width for *_, width in unet.attention_layers(host[0])]), path)
    return load_instant_id(str(path))


# The host's own nodes


WITHOUT_EFFECT = {"SLG", "SLG, negative only", "ToMe"}
"""On an SDXL model of this size."""


def picture(*applied, **kwargs):
    torch.manual_seed(0)  # HyperTile draws its tiles from the global generator
    return sample(*applied, steps=2, **kwargs)


@pytest.mark.parametrize("name", NODES)
def test_host_nodes_before_or_after_lose_nothing(host, instant_id, name):
    ours = apply(host, instant_id, one())
    alone = picture(*ours)
    before = picture(*apply(host, instant_id, one(), model=patch(name, host[0])))
    after = picture(patch(name, ours[0]), *ours[1:])
    assert torch.equal(before, after)
    assert (difference(before, alone) > 0.01) == (name not in WITHOUT_EFFECT), "theirs works"
    without = picture(patch(name, host[0]), [text(1)], [text(2)])
    assert difference(before, without) > 0.05, "ours works"
    assert torch.equal(picture(*ours), alone), "nothing of theirs is left"


@pytest.mark.parametrize("name", NODES)
def test_host_nodes_with_regions_a_batch_and_cfg_one(host, instant_id, name):
    model, *sides = apply(host, instant_id, halves())
    assert picture(patch(name, model), *sides, batch=2, cfg=1.0).isfinite().all()


@pytest.mark.parametrize("place", [("input", 4, 0), ("input", 4)])
def test_what_another_node_puts_in_our_place_is_kept_in_either_order(host, instant_id, place):
    def theirs(q, k, v, extra_options):
        return q * 0

    def taken(model):
        clone = model.clone()
        clone.set_model_attn2_replace(theirs, *place)
        return clone

    model, *sides = apply(host, instant_id, one())
    behind = picture(taken(model), *sides)
    assert torch.equal(behind, picture(*apply(host, instant_id, one(), model=taken(host[0]))))
    assert difference(behind, picture(taken(host[0]), [text(1)], [text(2)])) > 0.01
    assert difference(behind, picture(model, *sides)) > 0.01


def test_a_middle_block_called_1_is_asked_for_by_nobody(host):
    """As ComfyUI_InstantID's apply node calls it: 10 of SDXL's 70 layers, see docs/coming_from_comfyui_instantid.md."""

    def silenced(number):
        clone = host[0].clone()
        for index in range(10):
            clone.set_model_attn2_replace(lambda q, k, v, extra_options: q * 0, "middle", number, index)
        return picture(clone, [text(1)], [text(2)])

    plain = picture(host[0], [text(1)], [text(2)])
    assert torch.equal(silenced(1), plain)
    assert difference(silenced(0), plain) > 0.01
    sdxl = real.unet(real.SDXL.config, real.SDXL.shape, "meta", torch.float16)
    blocks = [name for name, *_ in unet.transformers(sdxl.diffusion_model)]
    assert (len(blocks), blocks.count("middle")) == (70, 10)


# How the host stores and moves weights


def fp8_host(networks):
    """Weights stored as float8, computed in float32."""
    config = comfy.supported_models.SDXL(dict(tiny_sdxl.HOST_CONFIG))
    config.set_inference_dtype(FP8, torch.float32)
    plain, net = tiny_sdxl.host_model(networks[0]), tiny_sdxl.host_control_net(networks[1])
    model = config.get_model({})
    model.diffusion_model.load_state_dict(plain.model.diffusion_model.state_dict())
    shape = {k: v for k, v in tiny_sdxl.HOST_CONFIG.items() if k not in ("out_channels", "transformer_depth_output")}
    control = comfy.cldm.cldm.ControlNet(
        **shape, num_heads=-1, num_head_channels=64, hint_channels=3, dtype=FP8, operations=comfy.ops.manual_cast
    )
    control.load_state_dict(net.control_model.state_dict())
    patcher = type(plain)(model, load_device=CPU, offload_device=CPU)
    return patcher, comfy.controlnet.ControlNet(control.eval(), load_device=CPU, manual_cast_dtype=torch.float32)


def rounded_host(networks):
    unet, net = (copy.deepcopy(network) for network in networks)
    for parameter in (*unet.parameters(), *net.parameters()):
        parameter.data = parameter.data.to(FP8).float()
    return tiny_sdxl.host_model(unet), tiny_sdxl.host_control_net(net)


@pytest.mark.parametrize("cast", [one(), halves()], ids=["one person", "two by region"])
def test_fp8_weights(networks, instant_id, cast):
    """The same picture as with the same rounded weights in float32."""
    stored, computed = (
        picture(*apply(host, instant_id, cast)) for host in (fp8_host(networks), rounded_host(networks))
    )
    assert difference(stored, computed) <= 1e-4


@pytest.mark.skipif(not hasattr(comfy.controlnet.ControlNet, "deepclone_multigpu"), reason="newer hosts only")
def test_the_copy_for_another_gpu_is_an_identity_net_too(host, instant_id):
    model, positive, negative = apply(host, instant_id, halves())
    expected = picture(model, positive, negative)
    net = positive[0][1]["control"]
    clone = net.deepclone_multigpu(CPU)
    assert isinstance(clone, IdentityNet) and clone.control_model is not net.control_model
    for side in (positive, negative):
        side[0][1]["control"] = clone
    assert torch.equal(picture(model, positive, negative), expected)


# Work done once per run, not once per step


@pytest.mark.parametrize("cast", [one(), halves()], ids=["one person", "two by region"])
def test_keypoints_and_tokens_are_read_once_per_run(host, instant_id, cast):
    rows = {"keypoints": [], "tokens": []}
    net = host[1].control_model
    keys = next(layer for name, layer in net.named_modules() if name.endswith("attn2.to_k"))
    hooks = [
        net.input_hint_block[0].register_forward_pre_hook(lambda _, given: rows["keypoints"].append(len(given[0]))),
        keys.register_forward_pre_hook(lambda _, given: rows["tokens"].append(given[0].shape[1])),
    ]
    applied = apply(host, instant_id, cast)
    for _ in range(2):
        sample(*applied, steps=3)
    for hook in hooks:
        hook.remove()
    everybody = 16 if len(cast.people) == 1 else 3 * 16
    assert rows == {"keypoints": [1, 1], "tokens": [everybody, 1, 1] * 2}
