"""Keys and shapes of FLUX.1 dev, FLUX.2 klein 4B and Qwen-Image-Edit 2511, with their text encoders and autoencoders.

In the layouts that ComfyUI reads. It tells them by their keys, and here they are as narrow as its own networks can be
made: what it reads from a file is small in the file, and for what it knows by heart small_networks.py says the same
numbers.
"""

from __future__ import annotations

from .shapes import Shapes, layer, under

HEAD, HEADS = 128, 2
WIDTH = HEAD * HEADS
"""Of every denoiser, and its heads are as wide as published."""
TEXT, INNER = 64, 128
"""Widths of the text encoders and of their feed-forward."""
VISION = 64
VAE = 32
"""Channels of the first level of the autoencoders, in the place of 128; FLUX.2's latents stay 128 wide, Qwen's 16."""


def flux() -> Shapes:
    """FLUX.1 dev, of two blocks of either kind."""
    yield from layer("img_in", WIDTH, 64)
    yield from layer("txt_in", WIDTH, TEXT)
    for name, width in (("time_in", 256), ("guidance_in", 256), ("vector_in", 768)):
        yield from layer(f"{name}.in_layer", WIDTH, width)
        yield from layer(f"{name}.out_layer", WIDTH, WIDTH)
    for number in range(2):
        for stream in ("img", "txt"):
            block = f"double_blocks.{number}.{stream}"
            yield from layer(f"{block}_mod.lin", 6 * WIDTH, WIDTH)
            yield from _norms(f"{block}_attn.norm")
            yield from layer(f"{block}_attn.qkv", 3 * WIDTH, WIDTH)
            yield from layer(f"{block}_attn.proj", WIDTH, WIDTH)
            yield from layer(f"{block}_mlp.0", 4 * WIDTH, WIDTH)
            yield from layer(f"{block}_mlp.2", WIDTH, 4 * WIDTH)
        block = f"single_blocks.{number}"
        yield from layer(f"{block}.modulation.lin", 3 * WIDTH, WIDTH)
        yield from _norms(f"{block}.norm")
        yield from layer(f"{block}.linear1", 7 * WIDTH, WIDTH)
        yield from layer(f"{block}.linear2", WIDTH, 5 * WIDTH)
    yield from layer("final_layer.linear", 64, WIDTH)
    yield from layer("final_layer.adaLN_modulation.1", 2 * WIDTH, WIDTH)


def infuse_net() -> Shapes:
    """InfiniteYou's ControlNet of FLUX.1 dev as diffusers names it, told by the published number of blocks."""
    for name, width in (("x_embedder", 64), ("controlnet_x_embedder", 64), ("context_embedder", TEXT)):
        yield from layer(name, WIDTH, width)
    for name, width in (("timestep", 256), ("guidance", 256), ("text", 768)):
        yield from layer(f"time_text_embed.{name}_embedder.linear_1", WIDTH, width)
        yield from layer(f"time_text_embed.{name}_embedder.linear_2", WIDTH, WIDTH)
    for number in range(4):
        block = f"transformer_blocks.{number}"
        yield from _joint_attention(f"{block}.attn")
        for norm, feed_forward in (("norm1", "ff"), ("norm1_context", "ff_context")):
            yield from layer(f"{block}.{norm}.linear", 6 * WIDTH, WIDTH)
            yield from layer(f"{block}.{feed_forward}.net.0.proj", 4 * WIDTH, WIDTH)
            yield from layer(f"{block}.{feed_forward}.net.2", WIDTH, 4 * WIDTH)
        yield from layer(f"controlnet_blocks.{number}", WIDTH, WIDTH)
    for number in range(10):
        block = f"single_transformer_blocks.{number}"
        for name in ("to_q", "to_k", "to_v"):
            yield from layer(f"{block}.attn.{name}", WIDTH, WIDTH)
        for name in ("norm_q", "norm_k"):
            yield f"{block}.attn.{name}.weight", (HEAD,)
        yield from layer(f"{block}.norm.linear", 3 * WIDTH, WIDTH)
        yield from layer(f"{block}.proj_mlp", 4 * WIDTH, WIDTH)
        yield from layer(f"{block}.proj_out", WIDTH, 5 * WIDTH)
        yield from layer(f"controlnet_single_blocks.{number}", WIDTH, WIDTH)


def with_anyone(width: int = WIDTH, blocks: int = 4, heads: int = 2, branch: str = "arc") -> Shapes:
    """Of withanyone.safetensors what reads face embeddings, for that FLUX.1; its other branch is called "sig"."""
    tokens, inner = f"arcface_in_{branch}", 64 * heads
    yield from layer(f"{tokens}.0", 4 * width, 512)
    yield from layer(f"{tokens}.2", 4 * width)
    yield from layer(f"{tokens}.3", 8 * width, 4 * width)
    for number in range(blocks):
        block = f"ipa_{branch}.{number}"
        yield from layer(f"{block}.norm1", width)
        yield from layer(f"{block}.norm2", width)
        yield f"{block}.to_q.weight", (inner, width)
        yield f"{block}.to_kv.weight", (2 * inner, width)
        yield f"{block}.to_out.weight", (width, inner)


def flux2() -> Shapes:
    """FLUX.2 klein, of two blocks of either kind: no biases, and one modulation for all blocks."""
    yield "img_in.weight", (WIDTH, 128)
    yield "txt_in.weight", (WIDTH, 3 * TEXT)
    yield "time_in.in_layer.weight", (WIDTH, 256)
    yield "time_in.out_layer.weight", (WIDTH, WIDTH)
    for stream in ("img", "txt"):
        yield f"double_stream_modulation_{stream}.lin.weight", (6 * WIDTH, WIDTH)
    yield "single_stream_modulation.lin.weight", (3 * WIDTH, WIDTH)
    for number in range(2):
        for stream in ("img", "txt"):
            block = f"double_blocks.{number}.{stream}"
            yield from _norms(f"{block}_attn.norm")
            yield f"{block}_attn.qkv.weight", (3 * WIDTH, WIDTH)
            yield f"{block}_attn.proj.weight", (WIDTH, WIDTH)
            yield f"{block}_mlp.0.weight", (6 * WIDTH, WIDTH)
            yield f"{block}_mlp.2.weight", (WIDTH, 3 * WIDTH)
        block = f"single_blocks.{number}"
        yield from _norms(f"{block}.norm")
        yield f"{block}.linear1.weight", (9 * WIDTH, WIDTH)
        yield f"{block}.linear2.weight", (WIDTH, 4 * WIDTH)
    yield "final_layer.linear.weight", (128, WIDTH)
    yield "final_layer.adaLN_modulation.1.weight", (2 * WIDTH, WIDTH)


def _norms(key: str) -> Shapes:
    for side in ("query", "key"):
        yield f"{key}.{side}_norm.scale", (HEAD,)


def qwen_image_edit() -> Shapes:
    """Qwen-Image-Edit 2511, of two blocks."""
    yield "__index_timestep_zero__", (0,)  # by which it is told from 2509
    yield from layer("img_in", WIDTH, 64)
    yield "txt_norm.weight", (TEXT,)
    yield from layer("txt_in", WIDTH, TEXT)
    yield from layer("time_text_embed.timestep_embedder.linear_1", WIDTH, 256)
    yield from layer("time_text_embed.timestep_embedder.linear_2", WIDTH, WIDTH)
    for number in range(2):
        block = f"transformer_blocks.{number}"
        yield from _joint_attention(f"{block}.attn")
        for stream in ("img", "txt"):
            yield from layer(f"{block}.{stream}_mod.1", 6 * WIDTH, WIDTH)
            yield from layer(f"{block}.{stream}_mlp.net.0.proj", 4 * WIDTH, WIDTH)
            yield from layer(f"{block}.{stream}_mlp.net.2", WIDTH, 4 * WIDTH)
    yield from layer("norm_out.linear", 2 * WIDTH, WIDTH)
    yield from layer("proj_out", 64, WIDTH)


def _joint_attention(key: str) -> Shapes:
    """As diffusers names it."""
    for name in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out"):
        yield from layer(f"{key}.{name}", WIDTH, WIDTH)
    for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
        yield f"{key}.{name}.weight", (HEAD,)


def qwen3_4b() -> Shapes:
    """FLUX.2 klein's text encoder, which reads the 10th, 19th and 28th of its layers, and Z-Image's."""
    yield "model.embed_tokens.weight", (151936, TEXT)
    for number in range(36):
        block = f"model.layers.{number}"
        yield from _qwen_layer(block, heads=2, key_heads=1)
        for side in "qk":
            yield f"{block}.self_attn.{side}_norm.weight", (HEAD,)
    yield "model.norm.weight", (TEXT,)


def qwen_vl() -> Shapes:
    """Qwen2.5-VL 7B: with biases, four heads of keys, by which a host tells it, and an eye."""
    yield "model.embed_tokens.weight", (152064, TEXT)
    for number in range(28):
        block = f"model.layers.{number}"
        yield from _qwen_layer(block, heads=4, key_heads=4)
        for side in "qkv":
            yield f"{block}.self_attn.{side}_proj.bias", (4 * HEAD,)
    yield "model.norm.weight", (TEXT,)
    yield "visual.patch_embed.proj.weight", (VISION, 3, 2, 14, 14)
    for number in range(2):
        block = f"visual.blocks.{number}"
        for norm in ("norm1", "norm2"):
            yield f"{block}.{norm}.weight", (VISION,)
        yield from layer(f"{block}.attn.qkv", 3 * VISION, VISION)
        yield from layer(f"{block}.attn.proj", VISION, VISION)
        for name, shape in (("gate", (INNER, VISION)), ("up", (INNER, VISION)), ("down", (VISION, INNER))):
            yield from layer(f"{block}.mlp.{name}_proj", *shape)
    yield "visual.merger.ln_q.weight", (VISION,)
    yield from layer("visual.merger.mlp.0", 4 * VISION, 4 * VISION)
    yield from layer("visual.merger.mlp.2", TEXT, 4 * VISION)


def _qwen_layer(block: str, heads: int, key_heads: int) -> Shapes:
    for side, count in (("q", heads), ("k", key_heads), ("v", key_heads)):
        yield f"{block}.self_attn.{side}_proj.weight", (count * HEAD, TEXT)
    yield f"{block}.self_attn.o_proj.weight", (TEXT, heads * HEAD)
    for name, shape in (("gate", (INNER, TEXT)), ("up", (INNER, TEXT)), ("down", (TEXT, INNER))):
        yield f"{block}.mlp.{name}_proj.weight", shape
    for norm in ("input_layernorm", "post_attention_layernorm"):
        yield f"{block}.{norm}.weight", (TEXT,)


def t5() -> Shapes:
    """T5 XXL's encoder."""
    yield "shared.weight", (32128, TEXT)
    yield "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", (32, 1)
    for number in range(3):
        block = f"encoder.block.{number}.layer"
        for side in "qkvo":
            yield f"{block}.0.SelfAttention.{side}.weight", (TEXT, TEXT)
        for name, shape in (("wi_0", (INNER, TEXT)), ("wi_1", (INNER, TEXT)), ("wo", (TEXT, INNER))):
            yield f"{block}.1.DenseReluDense.{name}.weight", shape
        for part in range(2):
            yield f"{block}.{part}.layer_norm.weight", (TEXT,)
    yield "encoder.final_layer_norm.weight", (TEXT,)
    # Of all that T5 XXL has after these, what a host tells it by.
    yield "encoder.block.23.layer.1.DenseReluDense.wi_1.weight", (10240, TEXT)


def flux_vae() -> Shapes:
    """ae.safetensors: latents of 16 channels."""
    return _kl_vae(16)


def flux2_vae() -> Shapes:
    """Of 32 channels, four pixels of which are one of 128, by which a host tells it."""
    yield from _kl_vae(32)
    yield from layer("quant_conv", 64, 64, 1, 1)
    yield from layer("post_quant_conv", 32, 32, 1, 1)
    yield "bn.running_mean", (128,)
    yield "bn.running_var", (128,)
    yield "bn.num_batches_tracked", ()


def _kl_vae(channels: int) -> Shapes:
    levels = (VAE, 2 * VAE, 4 * VAE, 4 * VAE)
    inside = VAE
    yield from layer("encoder.conv_in", VAE, 3, 3, 3)
    for number, width in enumerate(levels):
        for block in range(2):
            yield from _kl_block(f"encoder.down.{number}.block.{block}", inside, width)
            inside = width
        if number < 3:
            yield from layer(f"encoder.down.{number}.downsample.conv", width, width, 3, 3)
    yield from _kl_ends("encoder", inside, 2 * channels)
    yield from layer("decoder.conv_in", inside, channels, 3, 3)
    for number, width in reversed([*enumerate(levels)]):
        for block in range(3):
            yield from _kl_block(f"decoder.up.{number}.block.{block}", inside, width)
            inside = width
        if number:
            yield from layer(f"decoder.up.{number}.upsample.conv", width, width, 3, 3)
    yield from _kl_ends("decoder", inside, 3)


def _kl_ends(half: str, width: int, channels: int) -> Shapes:
    """width: where it ends; its middle is the widest."""
    middle = 4 * VAE
    for block in (1, 2):
        yield from _kl_block(f"{half}.mid.block_{block}", middle, middle)
    yield from layer(f"{half}.mid.attn_1.norm", middle)
    for name in ("q", "k", "v", "proj_out"):
        yield from layer(f"{half}.mid.attn_1.{name}", middle, middle, 1, 1)
    yield from layer(f"{half}.norm_out", width)
    yield from layer(f"{half}.conv_out", channels, width, 3, 3)


def _kl_block(key: str, inside: int, width: int) -> Shapes:
    yield from layer(f"{key}.norm1", inside)
    yield from layer(f"{key}.conv1", width, inside, 3, 3)
    yield from layer(f"{key}.norm2", width)
    yield from layer(f"{key}.conv2", width, width, 3, 3)
    if inside != width:
        yield from layer(f"{key}.nin_shortcut", width, inside, 1, 1)


def qwen_vae() -> Shapes:
    """Wan 2.1's, which knows videos: a host reads its width from the file."""
    yield from layer("conv1", 32, 32, 1, 1, 1)
    yield from layer("conv2", 16, 16, 1, 1, 1)
    yield from under("encoder", _wan_encoder())
    yield from under("decoder", _wan_decoder())


_WAN = 4


def _wan_encoder() -> Shapes:
    yield from layer("conv1", _WAN, 3, 3, 3, 3)
    inside, number = _WAN, 0
    for level, width in enumerate((_WAN, 2 * _WAN, 4 * _WAN, 4 * _WAN)):
        for _ in range(2):
            yield from _wan_block(f"downsamples.{number}", inside, width)
            inside, number = width, number + 1
        if level < 3:
            yield from layer(f"downsamples.{number}.resample.1", width, width, 3, 3)
            if level:
                yield from layer(f"downsamples.{number}.time_conv", width, width, 3, 1, 1)
            number += 1
    yield from _wan_ends(inside, 32)


def _wan_decoder() -> Shapes:
    yield from layer("conv1", 4 * _WAN, 16, 3, 3, 3)
    inside, number = 4 * _WAN, 0
    for level, width in enumerate((4 * _WAN, 4 * _WAN, 2 * _WAN, _WAN)):
        for _ in range(3):
            yield from _wan_block(f"upsamples.{number}", inside, width)
            inside, number = width, number + 1
        if level < 3:
            inside = width // 2
            yield from layer(f"upsamples.{number}.resample.1", inside, width, 3, 3)
            if level < 2:
                yield from layer(f"upsamples.{number}.time_conv", 2 * width, width, 3, 1, 1)
            number += 1
    yield from _wan_ends(_WAN, 3)


def _wan_ends(width: int, channels: int) -> Shapes:
    middle = 4 * _WAN
    for block in (0, 2):
        yield from _wan_block(f"middle.{block}", middle, middle)
    yield "middle.1.norm.gamma", (middle, 1, 1)
    yield from layer("middle.1.to_qkv", 3 * middle, middle, 1, 1)
    yield from layer("middle.1.proj", middle, middle, 1, 1)
    yield "head.0.gamma", (width, 1, 1, 1)
    yield from layer("head.2", channels, width, 3, 3, 3)


def _wan_block(key: str, inside: int, width: int) -> Shapes:
    yield f"{key}.residual.0.gamma", (inside, 1, 1, 1)
    yield from layer(f"{key}.residual.2", width, inside, 3, 3, 3)
    yield f"{key}.residual.3.gamma", (width, 1, 1, 1)
    yield from layer(f"{key}.residual.6", width, width, 3, 3, 3)
    if inside != width:
        yield from layer(f"{key}.shortcut", width, inside, 1, 1, 1)
