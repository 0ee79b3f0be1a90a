"""Apply IP-Adapter in the real host, on SD1.5: photos, its LoRA, and what it refuses."""

from functools import partial

import comfy.lora
import instant_id_run
import pytest
import tiny_sd15
import torch
from figures import relative
from pack.bridge.host.unet import layers_of, unet_of
from pack.bridge.loras import adapter_files
from pack.core.cast import Cast
from pack.core.checks.errors import BadCast, UnsupportedCheckpoint, WrongBaseModel
from pack.core.models.tensors import flatten
from pack.nodes.ip_adapter import net
from peers import adapter_for, apply, read
from sample_values import text
from tiny.people_made import a_member

WIDTH, HEIGHT = 136, 104  # odd multiples of 8
ALMOST = 1e-5  # of the largest value: what float32 makes of another order


TEXTS = text(1, 768), text(2, 768)


@pytest.fixture(scope="module")
def model():
    return tiny_sd15.host_model(tiny_sd15.diffusers_unet(151, cross_attention_dim=768))


@pytest.fixture(scope="module")
def kinds(model):
    """FaceID, and of it the kind for portraits, for this model."""
    return {kind: read("ip_adapter", adapter_for(model, kind)) for kind in ("face-id", "face-id-portrait")}


@pytest.fixture
def applied(model, kinds):
    """applied(cast, kind, before=(model, positive, negative), ...) -> (model, positive, negative)."""

    def put(cast, kind="face-id", before=None, **changed):
        inputs = dict(zip(("model", "positive", "negative"), before or (model, *TEXTS), strict=True))
        return apply("LikenessApplyIPAdapter", **inputs, ip_adapter=kinds[kind], cast=cast, **changed)

    return put


sample = partial(instant_id_run.sample, cfg=4.0, size=(WIDTH, HEIGHT))


def one(seed=1, weight=1.0):
    return Cast((a_member(seed, weight=weight),))


def by_hand(model, file, strength):
    """Load LoRA with a LoRA of one attention, under names of the host's own."""
    (name,) = {key.split("_lora.")[0] for key in file if key.startswith("0.to_q_lora.")}
    block, number, index = layers_of(unet_of(model))[0]
    weight = f"diffusion_model.{block}_blocks.{number}.1.transformer_blocks.{index}.attn1.to_q.weight"
    state = {key.replace(name, "mine"): tensor.clone() for key, tensor in file.items() if key.startswith(name)}
    clone = model.clone()
    clone.add_patches(comfy.lora.load_lora(state, {"mine": weight}), strength)
    return clone


@pytest.mark.both_hosts
def test_the_lora_has_no_range_and_is_off_with_everything_else(applied, model):
    plain = sample(model, *TEXTS)
    for cast, changed in ((one(), {"weight": 0.0}), (one(weight=0.0), {})):
        model_out, *sides = applied(cast, **changed)
        assert model_out is model
        assert torch.equal(sample(model_out, *sides), plain)
    lora_alone = applied(one(), end_percent=0.0)
    assert not torch.equal(sample(*lora_alone), plain)
    assert torch.equal(sample(*applied(one(), end_percent=0.0, lora_weight=0.0)), plain)


def test_numbers_of_photos_need_not_be_equal(applied, monkeypatch):
    """Each of several, with the other's photos repeated, as of runs with one number each; else it is said."""
    few, many = a_member(1, photos=2), a_member(2, photos=3)
    left, right = torch.zeros(2, HEIGHT, WIDTH)
    left[:, : WIDTH // 2], right[:, WIDTH // 2 :] = 1, 1
    together = applied(Cast((few, many)), "face-id-portrait", mask=torch.stack([left, right]))
    apart = applied(Cast((few,)), "face-id-portrait", mask=left[None])
    apart = applied(Cast((many,)), "face-id-portrait", before=apart, mask=right[None])
    assert relative(sample(*together), sample(*apart)) <= ALMOST
    monkeypatch.setattr(net, "_MOST_TOKENS", 64)
    with pytest.raises(BadCast, match="32, 48 tokens need 96 each"):
        applied(Cast((few, many)), "face-id-portrait", mask=torch.stack([left, right]))


def test_the_same_lora_is_used_once(applied, model, kinds, caplog):
    """Loaded by hand, saved in other bits, or by a node of the same kind before."""
    by_node = applied(one())
    again = applied(one(2), before=by_node)
    assert "has the LoRA of this file already, at 1: not added" in caplog.text
    assert again[0].patches == by_node[0].patches
    halved = by_hand(model, {key: tensor.half() for key, tensor in kinds["face-id"].lora.items()}, 0.6)
    model_out, *_ = applied(one(), before=(halved, *TEXTS))
    assert model_out.patches == halved.patches
    assert "already, at 0.6" in caplog.text


@pytest.mark.parametrize(
    ("there", "same"),
    [(None, False), (torch.tensor([1.0]), False), (torch.tensor([1.008, 8e-7]), True), (torch.tensor([1.02, 0]), False),
     (torch.tensor([1.0, 2e-5]), False)],
)  # fmt: skip
def test_a_lora_in_other_bits_is_the_same_and_no_other(there, same):
    assert adapter_files._same_numbers(there, torch.tensor([1.0, 0.0])) == same


def test_the_whole_lora_is_where_it_belongs(model, kinds):
    """Added, then taken away again, nothing is left: one weight for each pair of matrices, of its own shape."""
    with_lora = adapter_files.with_lora(model, kinds["face-id"].lora, 0.7)
    layers = layers_of(unet_of(model))
    assert len(with_lora.patches) == 8 * len(layers)
    assert len(kinds["face-id"].lora) == 2 * len(with_lora.patches)
    shapes = {key: model.model.state_dict()[key].shape for key in with_lora.patches}
    for key, ((strength, patch, *_),) in with_lora.patches.items():
        up, down = patch.weights[:2]
        assert strength == 0.7
        assert (up @ down).shape == shapes[key]


def test_a_lora_that_fits_nowhere_and_a_compiled_model(model, kinds):
    """The host says nothing of layers that it leaves out, and torch.compile gives them other names."""
    wide = {**kinds["face-id"].lora, "0.to_k_lora.down.weight": torch.ones(4, 7)}
    elsewhere = {f"900.to_q_lora.{side}.weight": torch.ones(4, 4) for side in ("up", "down")}
    for file, fit in (wide, 127), (elsewhere, 0):
        with pytest.raises(WrongBaseModel, match=f"layers, of which {fit} fit"):
            adapter_files.with_lora(model, file, 1.0)
    compiled = model.clone()
    compiled.add_object_patch("diffusion_model", torch.compile(model.get_model_object("diffusion_model")))
    patches = [adapter_files.with_lora(network, kinds["face-id"].lora, 1.0).patches for network in (model, compiled)]
    assert patches[0].keys() == patches[1].keys()


DAMAGES = {
    "a number": {"image_proj.norm.weight": torch.tensor(1.0)},
    "layers without end": {"image_proj.perceiver_resampler.layers.10000000.0.norm1.weight": torch.ones(1)},
    "another width": {f"ip_adapter.1.to_{side}_ip.weight": torch.ones(32, 700) for side in "kv"},
    "LoRA": {"ip_adapter.0.to_q_lora.up.weight": torch.ones(32, 5)},
    "heads": {"image_proj.perceiver_resampler.layers.0.0.to_q.weight": torch.ones(96, 768)},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(model, damage):
    with pytest.raises(UnsupportedCheckpoint, match="an incomplete or damaged IP-Adapter file"):
        read("ip_adapter", {**flatten(adapter_for(model, "face-id-plus")), **DAMAGES[damage]})
