"""Names of layers in LoRA files of every trainer, by family of transformers: each finds the layer that is meant."""

import marks
import pytest
import torch
import transformer_loras as on_transformers
from families import RECORDS
from figures import relative
from pack.bridge.loras.layer_names import layers_of_transformer, more_names
from pack.bridge.loras.lora_files import NotForOnePerson, read_lora_file
from pack.bridge.networks.model_family import transformer_of
from safetensors.torch import save_file
from tiny import lora_made, tiny_dits
from tiny.tiny_dits import FLUX, FLUX_2, Z_IMAGE

pytestmark = marks.transformers

KOHYA = ("lora_down.weight", "lora_up.weight")
ENDINGS = (
    ("lora_A.weight", "lora_B.weight"),
    KOHYA,
    ("lora.down.weight", "lora.up.weight"),
    ("lora_A.default.weight", "lora_B.default.weight"),
)
"""PEFT's, kohya's and diffusers' names of the two matrices; DiffSynth puts the name of an adapter in the middle."""
NAMES = [(family, known) for family, record in RECORDS.items() for known in record.names]
DOTTED = [known.name for _, known in NAMES if "." in known.name]


def read(family, state):
    """What the node reads of such a file."""
    setting = on_transformers.setting_of(family)
    name = f"names {family}.safetensors".lower()
    save_file(state, lora_made.folder() / name)
    described = transformer_of(setting.model, "LoRA per Person")
    layers = layers_of_transformer(setting.model, described)
    return read_lora_file(name, setting.model, setting.clip, layers, by_region=True)


def matrices(family, layer, rows):
    """down (3, in) and up (out, 3) for a layer, or for some of its outputs."""
    module = on_transformers.setting_of(family).model.model.diffusion_model.get_submodule(layer)
    out_width = module.out_features if rows is None else rows[1] - rows[0]
    generator = torch.Generator().manual_seed(5)
    down = torch.randn(3, module.in_features, generator=generator)
    up = torch.randn(out_width, 3, generator=generator)
    return down, up


@pytest.mark.parametrize(("family", "known"), NAMES, ids=lambda value: getattr(value, "name", value))
def test_a_name_of_a_trainer_finds_its_layer(family, known):
    """Dotted names with each of the endings in turn."""
    name, layer, rows = known.name, known.layer, known.rows
    down, up = matrices(family, layer, rows)
    ending_down, ending_up = ENDINGS[DOTTED.index(name) % len(ENDINGS)] if name in DOTTED else KOHYA
    file = read(family, {f"{name}.{ending_down}": down, f"{name}.{ending_up}": up})
    (section,) = file.sections
    assert section.layer == layer
    assert section.rows == (None if rows is None else slice(*rows))
    assert section.reorder is None
    pair_of_matrices = section.lora.low_rank((len(up), down.shape[1]))
    assert relative(pair_of_matrices.up @ pair_of_matrices.down, up @ down) <= 1e-6


def test_the_mlp_of_flux_2_is_as_wide_as_the_network_has_it():
    """Three times two, where it is four times in FLUX.1."""
    model = tiny_dits.model(FLUX_2, mlp_ratio=3.0)
    names = more_names(model, transformer_of(model, "LoRA per Person"))
    layer = "diffusion_model.single_blocks.1.linear1.weight"
    assert names["transformer.single_transformer_blocks.1.proj_mlp"] == (layer, (0, 3 * 64, 6 * 64))


@pytest.mark.parametrize("family", [FLUX, FLUX_2])
def test_scale_and_shift_of_the_last_layer_are_put_into_the_order_of_the_network(family):
    """diffusers has the scale first, and the network here the shift: against the host's own Load LoRA."""
    setting = on_transformers.setting_of(family)
    layer = setting.model.model.diffusion_model.final_layer.adaLN_modulation[1]
    shapes = {"transformer.norm_out.linear": (layer.out_features, layer.in_features)}
    file = on_transformers.saved(f"{family} last.safetensors".lower(), on_transformers.tensors(shapes, 41, prefix=""))
    everywhere, nowhere = on_transformers.EVERYWHERE, on_transformers.NOWHERE
    hidden = setting.hidden()
    people = on_transformers.cast(file, setting.files[1])
    applied = on_transformers.put_on(setting, people, torch.cat([everywhere, nowhere]), model=hidden)
    side = setting.own_text(on_transformers.WORDS[0])
    blurred = setting.text("blurred")
    picture = setting.sample(applied)
    expected = setting.sample((setting.merged(file), side, blurred))
    assert relative(picture, expected) <= on_transformers.TOLERANCE
    plain = setting.sample((setting.model, side, blurred))
    assert relative(picture, plain) > 100 * on_transformers.TOLERANCE


@pytest.mark.parametrize("kind", marks.each(["loha", "lokr", "lokr whole"], ["lokr"]))
@pytest.mark.parametrize("family", marks.each(RECORDS, [FLUX_2]))
def test_loha_and_lokr_are_the_merged_network(family, kind):
    """In a part of a fused layer and in a modulation, too."""
    setting = on_transformers.setting_of(family)
    generator = torch.Generator().manual_seed(51)

    def small(*shape):
        return torch.randn(*shape, generator=generator) * 0.3

    state = {}
    for known in RECORDS[family].names:
        if known.all_kinds:
            down, up = matrices(family, known.layer, known.rows)
            tensors = lora_made.of_kind(kind, (len(up), down.shape[1]), small)
            state.update({f"{known.name}.{ending}": tensor for ending, tensor in tensors.items()})
    assert state
    file = on_transformers.saved(f"{family} {kind}.safetensors".lower(), state)
    hidden = setting.hidden()
    mask = torch.cat([on_transformers.EVERYWHERE, on_transformers.NOWHERE])
    people = on_transformers.cast(file, setting.files[1])
    picture = setting.sample(on_transformers.put_on(setting, people, mask, model=hidden))
    side = setting.own_text(on_transformers.WORDS[0])
    blurred = setting.text("blurred")
    expected = setting.sample((setting.merged(file), side, blurred))
    assert relative(picture, expected) <= on_transformers.TOLERANCE
    plain = setting.sample((setting.model, side, blurred))
    assert relative(picture, plain) > 100 * on_transformers.TOLERANCE


@pytest.mark.parametrize("name", ["base_model.model.layers.0.attention.out", "lora_unet_layers_0_attention_out"])
def test_dora_is_refused_by_name(name):
    state = {f"{name}.lora_A.weight": torch.ones(3, 256), f"{name}.lora_B.weight": torch.ones(256, 3)}
    state |= {f"{name}.lora_magnitude_vector.weight": torch.ones(256)}  # PEFT's name of it
    with pytest.raises(NotForOnePerson, match=r"layers.0.attention.out.weight: lora with DoRA"):
        read(Z_IMAGE, state)


def test_of_a_layer_under_two_names_the_one_of_load_lora_is_read():
    down, up = matrices(Z_IMAGE, "layers.0.attention.out", None)
    names = "lora_transformer_layers_0_attention_out", "diffusion_model.layers.0.attention.out"
    state = {f"{name}.lora_up.weight": up * times for times, name in enumerate(names, 1)}
    state |= {f"{name}.lora_down.weight": down.clone() for name in names}
    file = read(Z_IMAGE, state)
    (section,) = file.sections
    assert torch.equal(section.lora.up, up * 2)
    assert file.note.endswith(f"as by Load LoRA: 1 layer that it has under two names, first {names[0]}.")


def test_norms_are_refused_by_name():
    generator = torch.Generator().manual_seed(61)
    state = {"lora_unet_layers_0_attention_norm1.w_norm": torch.randn(256, generator=generator)}
    with pytest.raises(NotForOnePerson, match=r"layers.0.attention_norm1.weight: a whole difference"):
        read(Z_IMAGE, state)
    state = {"diffusion_model.double_blocks.0.img_attn.norm.query_norm.diff": torch.randn(32, generator=generator)}
    with pytest.raises(NotForOnePerson, match=r"query_norm.weight: a whole difference"):
        read(FLUX, state)


def test_a_control_lora_is_refused_by_name():
    """FLUX.1's control LoRAs read a picture beside the noise: another shape for img_in."""
    state = {}
    for name, (out_width, in_width) in {"img_in": (64, 128), "double_blocks.0.img_attn.qkv": (192, 64)}.items():
        state[f"{name}.lora_A.weight"] = torch.ones(3, in_width)
        state[f"{name}.lora_B.weight"] = torch.ones(out_width, 3)
        state[f"{name}.lora_B.bias"] = torch.ones(out_width)
    state["single_blocks.0.norm.key_norm.scale"] = torch.ones(32)
    with pytest.raises(NotForOnePerson, match=r"img_in.weight: lora with DoRA or another shape"):
        read(FLUX, state)
