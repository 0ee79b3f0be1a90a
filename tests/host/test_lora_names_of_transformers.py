"""Names of layers in LoRA files of every trainer, by family of transformers: each finds the layer that is meant."""

import marks
import pytest
import torch
import transformer_loras as on_transformers
from figures import relative
from pack.bridge.loras.layer_names import layers_of_transformer, more_names
from pack.bridge.loras.lora_files import NotForOnePerson, read_lora_file
from pack.bridge.networks.model_family import transformer_of
from safetensors.torch import save_file
from tiny import lora_made, tiny_dits
from tiny.tiny_dits import ANIMA, CHROMA, FLUX, FLUX_2, IDEOGRAM_4, KREA_2, MAGE_FLOW, QWEN, Z_IMAGE

pytestmark = marks.transformers

NAMES = {
    FLUX: [
        # kohya
        ("lora_unet_double_blocks_0_img_attn_qkv", "double_blocks.0.img_attn.qkv", None),
        ("lora_unet_double_blocks_1_txt_mod_lin", "double_blocks.1.txt_mod.lin", None),
        ("lora_unet_single_blocks_1_modulation_lin", "single_blocks.1.modulation.lin", None),
        ("lora_unet_final_layer_linear", "final_layer.linear", None),
        # ai-toolkit and diffusers
        ("transformer.transformer_blocks.0.attn.to_q", "double_blocks.0.img_attn.qkv", (0, 64)),
        ("transformer.transformer_blocks.0.attn.add_v_proj", "double_blocks.0.txt_attn.qkv", (128, 192)),
        ("transformer.transformer_blocks.0.norm1.linear", "double_blocks.0.img_mod.lin", None),
        ("transformer.transformer_blocks.1.norm1_context.linear", "double_blocks.1.txt_mod.lin", None),
        ("transformer.single_transformer_blocks.0.norm.linear", "single_blocks.0.modulation.lin", None),
        ("transformer.single_transformer_blocks.0.attn.to_k", "single_blocks.0.linear1", (64, 128)),
        ("transformer.x_embedder", "img_in", None),
        ("transformer.context_embedder", "txt_in", None),
        ("transformer.proj_out", "final_layer.linear", None),
        # PEFT
        ("base_model.model.transformer_blocks.0.attn.to_v", "double_blocks.0.img_attn.qkv", (128, 192)),
        ("base_model.model.transformer.transformer_blocks.0.ff.net.2", "double_blocks.0.img_mlp.2", None),
        # DiffSynth and others
        ("transformer_blocks.1.attn.to_out.0", "double_blocks.1.img_attn.proj", None),
        ("unet.transformer_blocks.0.attn.to_q", "double_blocks.0.img_attn.qkv", (0, 64)),
        ("diffusion_model.single_blocks.1.linear1_qkv", "single_blocks.1.linear1", (0, 192)),
        ("model.diffusion_model.single_blocks.1.linear2", "single_blocks.1.linear2", None),
        ("double_blocks.0.img_mlp.0", "double_blocks.0.img_mlp.0", None),
        # OneTrainer and LyCORIS
        ("lora_transformer_transformer_blocks_0_attn_to_k", "double_blocks.0.img_attn.qkv", (64, 128)),
        ("lora_transformer_single_transformer_blocks_1_proj_out", "single_blocks.1.linear2", None),
        ("lycoris_transformer_blocks_0_ff_net_0_proj", "double_blocks.0.img_mlp.0", None),
    ],
    FLUX_2: [
        ("lora_unet_double_blocks_0_img_attn_qkv", "double_blocks.0.img_attn.qkv", None),
        ("diffusion_model.double_stream_modulation_img.lin", "double_stream_modulation_img.lin", None),
        ("transformer.double_stream_modulation_img.linear", "double_stream_modulation_img.lin", None),
        ("base_model.model.double_stream_modulation_txt.linear", "double_stream_modulation_txt.lin", None),
        ("single_stream_modulation.linear", "single_stream_modulation.lin", None),
        ("lora_unet_single_stream_modulation_lin", "single_stream_modulation.lin", None),
        ("transformer.transformer_blocks.0.attn.to_q", "double_blocks.0.img_attn.qkv", (0, 64)),
        ("transformer.transformer_blocks.1.attn.add_q_proj", "double_blocks.1.txt_attn.qkv", (0, 64)),
        ("transformer.transformer_blocks.0.ff.linear_in", "double_blocks.0.img_mlp.0", None),
        ("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", "single_blocks.0.linear1", None),
        ("transformer.single_transformer_blocks.1.attn.to_out", "single_blocks.1.linear2", None),
        ("transformer.single_transformer_blocks.0.proj_mlp", "single_blocks.0.linear1", (192, 448)),
        ("lora_transformer_transformer_blocks_0_attn_to_k", "double_blocks.0.img_attn.qkv", (64, 128)),
    ],
    QWEN: [
        # musubi
        ("lora_unet_transformer_blocks_0_attn_to_q", "transformer_blocks.0.attn.to_q", None),
        ("lora_unet_transformer_blocks_1_img_mod_1", "transformer_blocks.1.img_mod.1", None),
        # ai-toolkit
        ("diffusion_model.transformer_blocks.0.img_mod.1", "transformer_blocks.0.img_mod.1", None),
        ("transformer.transformer_blocks.0.txt_mod.1", "transformer_blocks.0.txt_mod.1", None),
        # DiffSynth and diffusers
        ("transformer_blocks.0.attn.to_out.0", "transformer_blocks.0.attn.to_out.0", None),
        ("transformer_blocks.1.txt_mlp.net.0.proj", "transformer_blocks.1.txt_mlp.net.0.proj", None),
        ("base_model.model.transformer_blocks.0.attn.add_k_proj", "transformer_blocks.0.attn.add_k_proj", None),
        ("lora_transformer_transformer_blocks_0_attn_to_v", "transformer_blocks.0.attn.to_v", None),
        ("lycoris_transformer_blocks_0_attn_to_q", "transformer_blocks.0.attn.to_q", None),
    ],
    Z_IMAGE: [
        # ai-toolkit
        ("diffusion_model.layers.0.attention.to_q", "layers.0.attention.qkv", (0, 256)),
        ("diffusion_model.layers.1.attention.to_out.0", "layers.1.attention.out", None),
        ("diffusion_model.layers.0.adaLN_modulation.0", "layers.0.adaLN_modulation.0", None),
        ("diffusion_model.context_refiner.0.attention.to_v", "context_refiner.0.attention.qkv", (512, 768)),
        # musubi
        ("lora_unet_layers_0_attention_to_q", "layers.0.attention.qkv", (0, 256)),
        ("lora_unet_layers_2_attention_to_k", "layers.2.attention.qkv", (256, 512)),
        ("lora_unet_layers_0_attention_to_out_0", "layers.0.attention.out", None),
        ("lora_unet_layers_0_attention_qkv", "layers.0.attention.qkv", None),
        ("lora_unet_noise_refiner_1_feed_forward_w2", "noise_refiner.1.feed_forward.w2", None),
        # diffusers, PEFT and others
        ("transformer.layers.0.attention.to_q", "layers.0.attention.qkv", (0, 256)),
        ("layers.0.feed_forward.w1", "layers.0.feed_forward.w1", None),
        ("base_model.model.layers.0.attention.to_v", "layers.0.attention.qkv", (512, 768)),
        ("transformer.all_final_layer.2-1.linear", "final_layer.linear", None),
        ("transformer.all_x_embedder.2-1", "x_embedder", None),
        ("lora_transformer_layers_0_adaLN_modulation_0", "layers.0.adaLN_modulation.0", None),
        ("lycoris_layers_0_attention_to_q", "layers.0.attention.qkv", (0, 256)),
    ],
    KREA_2: [
        ("diffusion_model.blocks.0.attn.wq", "blocks.0.attn.wq", None),
        ("diffusion_model.transformer_blocks.0.attn.to_gate", "blocks.0.attn.gate", None),
        ("transformer.transformer_blocks.0.attn.to_q", "blocks.0.attn.wq", None),
        ("transformer.text_fusion.refiner_blocks.0.attn.to_q", "txtfusion.refiner_blocks.0.attn.wq", None),
        ("transformer.text_fusion.projector", "txtfusion.projector", None),
        ("diffusion_model.tproj.1", "tproj.1", None),
        ("transformer.time_mod_proj", "tproj.1", None),
        ("lora_unet_blocks_0_attn_wq", "blocks.0.attn.wq", None),
        ("lora_unet_transformer_blocks_0_attn_to_q", "blocks.0.attn.wq", None),
        ("base_model.model.transformer_blocks.1.ff.down", "blocks.1.mlp.down", None),
        ("lycoris_transformer_blocks_2_attn_to_out_0", "blocks.2.attn.wo", None),
        ("transformer.txt_in.linear_2", "txtmlp.3", None),
    ],
    MAGE_FLOW: [
        # musubi
        ("lora_unet_transformer_blocks_0_attn_to_q", "transformer_blocks.0.attn.to_q", None),
        ("lora_unet_transformer_blocks_1_img_mod_1", "transformer_blocks.1.img_mod.1", None),
        # ai-toolkit, diffusers, PEFT and others
        ("diffusion_model.transformer_blocks.0.img_mod.1", "transformer_blocks.0.img_mod.1", None),
        ("transformer.transformer_blocks.1.txt_mlp.net.0.proj", "transformer_blocks.1.txt_mlp.net.0.proj", None),
        ("transformer_blocks.0.attn.to_out.0", "transformer_blocks.0.attn.to_out.0", None),
        ("base_model.model.transformer_blocks.0.attn.add_k_proj", "transformer_blocks.0.attn.add_k_proj", None),
        ("lycoris_transformer_blocks_0_attn_to_q", "transformer_blocks.0.attn.to_q", None),
    ],
    CHROMA: [
        # musubi and kohya
        ("lora_unet_double_blocks_0_img_attn_qkv", "double_blocks.0.img_attn.qkv", None),
        ("lora_unet_single_blocks_1_linear2", "single_blocks.1.linear2", None),
        # ai-toolkit, diffusers, OneTrainer and others
        ("diffusion_model.double_blocks.1.txt_mlp.2", "double_blocks.1.txt_mlp.2", None),
        ("transformer.transformer_blocks.0.attn.to_q", "double_blocks.0.img_attn.qkv", (0, 64)),
        ("transformer.single_transformer_blocks.0.attn.to_k", "single_blocks.0.linear1", (64, 128)),
        ("lora_transformer_single_transformer_blocks_1_proj_out", "single_blocks.1.linear2", None),
        ("lycoris_transformer_blocks_0_ff_net_0_proj", "double_blocks.0.img_mlp.0", None),
    ],
    IDEOGRAM_4: [
        ("diffusion_model.layers.0.attention.qkv", "layers.0.attention.qkv", None),
        ("lora_unet_layers_1_feed_forward_w2", "layers.1.feed_forward.w2", None),
        ("transformer.layers.1.adaln_modulation", "layers.1.adaln_modulation", None),
        ("base_model.model.llm_cond_proj", "llm_cond_proj", None),
        # OneTrainer
        ("lora_transformer_layers_0_attention_o", "layers.0.attention.o", None),
    ],
    ANIMA: [
        # kohya
        ("lora_unet_blocks_0_self_attn_q_proj", "blocks.0.self_attn.q_proj", None),
        ("lora_unet_blocks_1_cross_attn_output_proj", "blocks.1.cross_attn.output_proj", None),
        ("lora_unet_blocks_0_mlp_layer1", "blocks.0.mlp.layer1", None),
        # diffusion-pipe and others
        ("diffusion_model.blocks.1.cross_attn.k_proj", "blocks.1.cross_attn.k_proj", None),
        ("transformer.blocks.0.self_attn.v_proj", "blocks.0.self_attn.v_proj", None),
    ],
}
"""By family: a name in a file, the layer here, and which of its outputs it is, where it is not all of them."""
KOHYA = ("lora_down.weight", "lora_up.weight")
ENDINGS = (
    ("lora_A.weight", "lora_B.weight"),
    KOHYA,
    ("lora.down.weight", "lora.up.weight"),
    ("lora_A.default.weight", "lora_B.default.weight"),
)
"""PEFT's, kohya's and diffusers' names of the two matrices; DiffSynth puts the name of an adapter in the middle."""
ROWS = [(family, *row) for family, rows in NAMES.items() for row in rows]
DOTTED = [name for _, name, *_ in ROWS if "." in name]


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


@pytest.mark.parametrize(("family", "name", "layer", "rows"), ROWS, ids=lambda value: str(value).replace(" ", ""))
def test_a_name_of_a_trainer_finds_its_layer(family, name, layer, rows):
    """Dotted names with each of the endings in turn."""
    down, up = matrices(family, layer, rows)
    ending_down, ending_up = ENDINGS[DOTTED.index(name) % len(ENDINGS)] if name in DOTTED else KOHYA
    file = read(family, {f"{name}.{ending_down}": down, f"{name}.{ending_up}": up})
    (part,) = file.parts
    assert part.layer == layer
    assert part.rows == (None if rows is None else slice(*rows))
    assert part.reorder is None
    pair_of_matrices = part.lora.low_rank((len(up), down.shape[1]))
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


KIND_LAYERS = {
    FLUX: ("transformer.transformer_blocks.0.attn.to_k", "diffusion_model.double_blocks.1.img_mod.lin"),
    FLUX_2: ("transformer.transformer_blocks.0.attn.to_k", "diffusion_model.single_blocks.0.linear1"),
    QWEN: ("transformer.transformer_blocks.0.attn.to_k", "diffusion_model.transformer_blocks.1.img_mod.1"),
    Z_IMAGE: ("diffusion_model.layers.0.attention.to_k", "diffusion_model.layers.1.adaLN_modulation.0"),
    KREA_2: ("diffusion_model.blocks.0.attn.wk", "diffusion_model.tproj.1"),
    MAGE_FLOW: ("transformer.transformer_blocks.0.attn.to_k", "diffusion_model.transformer_blocks.1.img_mod.1"),
    CHROMA: ("transformer.transformer_blocks.0.attn.to_k", "diffusion_model.single_blocks.0.linear1"),
    IDEOGRAM_4: ("diffusion_model.layers.0.attention.qkv", "diffusion_model.layers.1.adaln_modulation"),
    ANIMA: ("diffusion_model.blocks.0.self_attn.q_proj", "diffusion_model.blocks.1.cross_attn.k_proj"),
}
"""A split or whole layer, and one that modulates or is fused."""
SIZES = {
    FLUX: ((64, 64), (384, 64)),
    FLUX_2: ((64, 64), (448, 64)),
    QWEN: ((64, 64), (384, 64)),
    Z_IMAGE: ((256, 256), (1024, 256)),
    KREA_2: ((32, 64), (384, 64)),
    MAGE_FLOW: ((64, 64), (384, 64)),
    CHROMA: ((64, 64), (320, 64)),
    IDEOGRAM_4: ((192, 64), (256, 16)),
    ANIMA: ((64, 64), (64, 16)),
}


@pytest.mark.parametrize("kind", marks.each(["loha", "lokr", "lokr whole"], ["lokr"]))
@pytest.mark.parametrize("family", marks.each(KIND_LAYERS, [FLUX_2]))
def test_loha_and_lokr_are_the_merged_network(family, kind):
    """In a part of a fused layer and in a modulation, too."""
    setting = on_transformers.setting_of(family)
    generator = torch.Generator().manual_seed(51)

    def small(*shape):
        return torch.randn(*shape, generator=generator) * 0.3

    state = {}
    for name, shape in zip(KIND_LAYERS[family], SIZES[family], strict=True):
        for ending, tensor in lora_made.of_kind(kind, shape, small).items():
            state[f"{name}.{ending}"] = tensor
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
    (part,) = file.parts
    assert torch.equal(part.lora.up, up * 2)
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
