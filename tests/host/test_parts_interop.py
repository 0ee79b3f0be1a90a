"""Apply Parts2Whole from pictures to latents, beside the host's own model nodes, however the host stores weights."""

from itertools import product

import comfy.model_management
import comfy.supported_models
import parts_made
import pytest
import tiny_sd15
import torch
from comfy.ldm.modules.attention import optimized_attention
from figures import relative
from host_nodes import patch
from marks import each
from pack.bridge.host.schedule import WHOLE_SCHEDULE
from pack.bridge.parts.shared_parts import SharedParts
from pack.bridge.parts.sharing_run import step_of
from pack.bridge.sampling.carried import ConditioningLost
from pack.bridge.sampling.conditioning import SamplerInputs
from pack.bridge.sampling.node_of_run import NodeOfRun
from pack.core.checks import errors
from pack.core.parts.bank import PartWeights
from pack.core.parts.parts import Parts
from pack.nodes.parts2whole import nodes as parts2whole
from pack.nodes.share_parts.nodes import EVERY_STEP, ONCE
from parts_run import apply, denoiser, encode, reading, sample, text
from peers import apply as apply_node

CPU = torch.device("cpu")
FP8 = torch.float8_e4m3fn
WIDTH, HEIGHT = 128, 192
"""HyperTile has nothing to cut in a smaller picture."""


@pytest.fixture(scope="module")
def networks():
    return parts_made.made()


@pytest.fixture(scope="module")
def model(networks):
    return denoiser(networks)


@pytest.fixture(scope="module")
def features(networks):
    return encode(networks, parts_made.parts(3), WIDTH, HEIGHT)


def picture(*applied, batch=1, cfg=3.5):
    torch.manual_seed(0)  # HyperTile and ToMe draw from the global generator
    start = torch.randn(batch, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(7)) * 10
    return sample(*applied, steps=2, start=start, batch=batch, cfg=cfg)


def with_parts(model, features):
    return apply(model, features, pose=None)


def test_hypertile_cuts_the_pictures_own_keys_and_no_part(model, features):
    """Every tile sees all parts: with parts of next to no weight the picture is HyperTile's own."""
    tiled = patch("HyperTile", model)
    texts = SamplerInputs(None, [text(1)], [text(2)])
    faint = parts2whole.put_in(texts, features, 1e-9, WHOLE_SCHEDULE, None, NodeOfRun("test", None))
    without_parts = parts2whole.put_in(texts, features, 0.0, WHOLE_SCHEDULE, None, NodeOfRun("test", None))
    expected = picture(reading(tiled), without_parts.positive, without_parts.negative)
    assert relative(picture(reading(tiled), faint.positive, faint.negative), expected) <= 1e-5


@pytest.mark.parametrize("place", [("input", 1), ("input", 1, 0)])
def test_a_replacement_for_the_whole_run_acts_in_all_rows_as_it_does_without_parts(model, features, place):
    """It adds a number to what attention gives, which a patch behind the layer can add too."""
    layer = model.model.diffusion_model.input_blocks[1][1].transformer_blocks[0].attn1.to_out[0]
    change = 0.3 * layer.weight.detach().float().sum(dim=1)  # (C,), of the layer's output

    def replacement(q, k, v, extra_options):
        assert len(q) == len(extra_options["cond_or_uncond"])
        return optimized_attention(q, k, v, extra_options["n_heads"]) + 0.3

    def behind_the_layer(out, options):
        return out + change.to(out) if options["block"] == ("input", 1) else out

    def replaced(model):
        clone = model.clone()
        clone.set_model_attn1_replace(replacement, *place)
        return clone

    model_with_parts, *sides = with_parts(model, features)
    patched = model_with_parts.clone()
    patched.set_model_attn1_output_patch(behind_the_layer)
    expected = picture(patched, *sides)
    assert relative(expected, picture(model_with_parts, *sides)) > 1e-3
    before = picture(*with_parts(replaced(model), features))
    assert relative(before, expected) <= 1e-5
    assert torch.equal(before, picture(replaced(model_with_parts), *sides))


def test_a_replacement_that_makes_rows_is_named(model, features):
    """Cut by our numbers of rows, its rows would be those of other chunks."""

    def twice(q, k, v, extra_options):
        out = optimized_attention(q, k, v, extra_options["n_heads"])
        return torch.cat([out, out])

    clone = model.clone()
    clone.set_model_attn1_replace(twice, "input", 1)
    clone.set_model_attn1_output_patch(lambda out, _: (out[: len(out) // 2] + out[len(out) // 2 :]) / 2)
    with pytest.raises(ConditioningLost, match=r"test_parts_interop\) makes \d rows of \d inside attention"):
        picture(*with_parts(clone, features))


def parts_alone(**fields):
    return SharedParts(**{"source": object(), "schedule": WHOLE_SCHEDULE, "bank": None, "weights": None, **fields})


def test_an_area_has_its_part_of_pose_and_targets():
    pose, targets = torch.rand(1, 1, 15, 11), torch.rand(1, 120, 88)
    cut = parts_alone(pose=pose, weights=PartWeights((1.0,), targets)).cropped((8, 6, 4, 2), (15, 11))
    assert torch.equal(cut.pose, pose[..., 4:12, 2:8])
    assert torch.equal(cut.weights.targets, targets[..., 32:96, 16:64])


def test_pictures_of_a_batch_have_the_poses_in_turn_and_one_pose_is_of_all():
    poses = torch.arange(3.0).reshape(3, 1, 1, 1)
    several, one = parts_alone(pose=poses), parts_alone(pose=poses[:1])
    assert [float(several.for_picture(number).pose) for number in range(4)] == [0, 1, 2, 0]
    assert one.for_picture(3) is one


def test_parts_are_of_places_where_they_have_a_pose_or_targets():
    pose, target = torch.ones(1, 1, 1, 1), torch.ones(1, 8, 8)
    both = ((None, None), (None, target), (pose, None), (pose, target))
    kinds = [parts_alone(pose=pose, weights=PartWeights((1.0,), targets)) for pose, targets in both]
    assert [parts.by_place for parts in kinds] == [False, True, True, True]


@pytest.mark.parametrize(("factor", "step"), [(1 + 3e-7, 1), (1.0, 1), (1 - 3e-7, 1), (1 + 1e-5, 0)])
def test_a_sigma_is_of_its_step_within_a_rounding_error(factor, step):
    assert step_of(torch.tensor([14.6, 5.0, 1.0, 0.0]), torch.tensor([5.0 * factor])) == step


def stored(networks, dtype, channels=4):
    """The weights rounded to float8, stored as `dtype`, computed in float32; more channels of input read nothing."""
    plain = denoiser(networks)
    config = comfy.supported_models.SD15(dict(tiny_sd15.HOST_CONFIG, in_channels=channels))
    config.unet_config |= {"num_heads": 4, "num_head_channels": -1}
    config.set_inference_dtype(dtype, torch.float32)
    model = config.get_model({})
    weights = {name: value.to(FP8).float() for name, value in plain.model.diffusion_model.state_dict().items()}
    first = "input_blocks.0.0.weight"
    weights[first] = torch.nn.functional.pad(weights[first], (0, 0, 0, 0, 0, channels - 4))
    model.diffusion_model.load_state_dict({name: value.to(dtype) for name, value in weights.items()})
    patcher = type(plain)(model, load_device=CPU, offload_device=CPU)
    patcher.add_object_patch("model_sampling", plain.get_model_object("model_sampling"))
    return patcher


REFERENCES = {
    EVERY_STEP: {"reference": EVERY_STEP},
    ONCE: {"reference": ONCE},
    "seldom, cropped": {"reference": EVERY_STEP, "renew_every": 2, "crop_to_mask": True},
}


def shared(model, reference, positive=None, negative=None, parts=None):
    sides = {"positive": positive or [text(1)], "negative": negative or [text(2)]}
    sides |= {"parts": parts or parts_made.parts(2)}
    size = {"width": WIDTH, "height": HEIGHT}
    return apply_node("LikenessSharePartsAttention", model=model, **sides, **size, **REFERENCES[reference])


@pytest.mark.parametrize(
    ("dtype", "reference"),
    each(product([FP8, torch.float16], REFERENCES), [(FP8, "seldom, cropped"), (torch.float16, "at every step")]),
    ids=str,
)
def test_fp8_and_fp16_weights_of_a_model_that_is_its_own_reference(networks, dtype, reference):
    in_few_bits = picture(*shared(stored(networks, dtype), reference))
    in_float32 = picture(*shared(stored(networks, torch.float32), reference))
    assert relative(in_few_bits, in_float32) <= 1e-4


@pytest.mark.parametrize("reference", REFERENCES)
def test_parts_in_another_order_are_the_same_picture(model, reference):
    parts = parts_made.parts(3).parts
    pictures = [picture(*shared(model, reference, parts=Parts(chain))) for chain in (parts, parts[::-1], parts[:2])]
    assert relative(pictures[1], pictures[0]) <= 1e-5
    assert relative(pictures[2], pictures[0]) > 1e-3


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_lora_before_or_after_a_model_that_is_its_own_reference(model, reference):
    """The model sees the parts with it either way."""
    key = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_v.weight"
    change = torch.randn(32, 32, generator=torch.Generator().manual_seed(3)) * 0.2

    def with_lora(model):
        clone = model.clone()
        clone.add_patches({key: ("diff", (change,))}, 1.0, 1.0)
        return clone

    before = picture(*shared(with_lora(model), reference))
    model_with_parts, *sides = shared(model, reference)
    assert torch.equal(picture(with_lora(model_with_parts), *sides), before)
    assert relative(picture(model_with_parts, *sides), before) > 1e-3


@pytest.mark.parametrize("reference", each(REFERENCES, ["seldom, cropped"]))
def test_an_inpainting_model_is_its_own_reference(networks, reference):
    """Its further channels read nothing here, so the picture is that of the plain model."""
    inpainting = stored(networks, torch.float32, channels=9)
    inpainting.model.concat_keys = ("mask", "masked_image")
    masked = {"concat_latent_image": torch.zeros(1, 4, HEIGHT // 8, WIDTH // 8)}
    masked["concat_mask"] = torch.ones(1, 1, HEIGHT, WIDTH)
    painted = picture(*shared(inpainting, reference, [text(1, **masked)], [text(2, **masked)]))
    assert relative(painted, picture(*shared(stored(networks, torch.float32), reference))) <= 1e-5
    with pytest.raises(errors.WrongBaseModel, match="4 more channels than a latent has"):
        shared(stored(networks, torch.float32, channels=8), reference)
