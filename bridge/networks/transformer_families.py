"""Each family of diffusion transformers: what of its network in the host the rest of the pack needs to know.

docs/dev/add_a_family.md says how to add one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from ...core import families


class Stream(Enum):
    """Which tokens a layer is given."""

    TEXT = "text"
    PICTURE = "the picture and its references"
    BOTH = "text, and the picture behind it"
    TEXT_AS_ROWS = "each token of the text as a row of the batch, or of a fourth dimension"
    PROMPT = "a prompt of the conditioning, before any forward"


@dataclass(frozen=True)
class LayerStream:
    """Layers that are given the same tokens.

    names: a pattern of their names in the network. modulates: whether such a layer is given one row for all tokens, (B,
    1, C), and the blocks take what it gives also for every token, (B, tokens, C).
    """

    names: str
    stream: Stream
    modulates: bool = False

    def has(self, layer: str) -> bool:
        return re.fullmatch(self.names, layer) is not None


@dataclass(frozen=True)
class LayerName:
    """A name in LoRA files for a layer, where the host knows none or takes it for another layer.

    in_files: the name, as diffusers has it. layer: the layer of the host's network. "{}" in both stands for the number
    of a block. behind_qkv: whether it is only the part of the layer behind q, k and v, each as wide as its input.
    """

    in_files: str
    layer: str
    behind_qkv: bool = False


@dataclass(frozen=True)
class ScaledNorm:
    """A norm, after which the network calculates x * (1 + scale) + shift.

    name: of the norm, "{}" for the number of its block. scale, shift: which parts of a modulation these are; shift None
    for a network that has none.
    """

    name: str
    scale: int
    shift: int | None = None


@dataclass(frozen=True)
class GatedLayer:
    """A layer whose result the network multiplies by a gate.

    name: of the layer, "{}" for the number of its block. gate: which part of the modulation the gate is.
    """

    name: str
    gate: int


@dataclass(frozen=True)
class Modulation:
    """A layer that is given the time alone and gives scales, shifts and gates, in a network that takes one of each for
    all tokens. modulation.py says how each token gets its own there all the same.

    layer: its name, "{}" for the number of a block. stream: which tokens are modulated. parts: how many vectors of
    equal width the layer gives. norms, gated: where the network uses them. tanh: whether a gate is the tanh of its
    part. zero_time: whether reference pictures may be modulated by the time 0, in rows behind those of the picture.
    """

    layer: str
    stream: Stream
    parts: int
    norms: tuple[ScaledNorm, ...]
    gated: tuple[GatedLayer, ...] = ()
    tanh: bool = False
    zero_time: bool = False

    def block_of(self, layer: str) -> str | None:
        """The number of the block of such a layer, "" for a layer that stands in no block; None for another layer."""
        pattern = re.escape(self.layer).replace(re.escape("{}"), r"(\d+)")
        match = re.fullmatch(pattern, layer)
        if match is None:
            return None
        return "".join(match.groups())


@dataclass(frozen=True, kw_only=True)
class ReferencePictures:
    """How models of a family are given reference pictures, as the host's own nodes do it."""

    # --- Its files, for messages
    model: str
    """What such models are called."""
    text_encoder: str
    """Its files and the type with which it is loaded."""
    vae: str
    """The name of the file."""
    most: Mapping[str, int] = field(default_factory=dict[str, int])
    """Name of the models -> how many pictures their makers recommend at most."""

    # --- What the text encoder is given
    tokenizers: Mapping[str, str]
    """The host's classes of their tokenizer, each with another name of the models, or "". Models of other families that
    read the same text encoder, with another template, have another class."""
    word: str = "image"
    """What prompts for the family call a picture."""
    sees: bool = False
    """Whether the text encoder is shown the pictures, too."""
    longest_shown: int = 0
    """The most pixels of the longer side of a picture that it is shown; 0 where each picture is brought to the size
    that the host's nodes take."""
    has_frame_texts: bool = False
    """Whether its template puts texts before each picture and behind the prompt, see
    bridge/references/as_trained.py."""
    numbers_pictures: bool = False
    """Whether its tokenizer itself puts the pictures and their numbers before the text."""
    bare_marks: bool = False
    """Whether pictures that it is shown stand before the text without their numbers, in the template of a text without
    pictures."""
    empty_negative: str = ""
    """What its node in the host encodes in the place of an empty negative prompt."""

    # --- The pictures as latents
    latent: tuple[int, ...]
    """Their shape without batch, height and width: (channels,), or (channels, frames) of a VAE for videos."""
    cell: int = 8
    """The side of a latent pixel, in pixels."""
    step: int = 8
    """Sides of pictures are rounded to multiples of so many pixels."""
    scaling: str = "area"
    """How its node in the host scales pictures, by the name that comfy.utils.common_upscale has for it."""
    fitted: bool = False
    """Whether references are fitted into the picture that is drawn and stand in its middle, see
    bridge/references/as_trained.py; otherwise they are brought to an area and stand in its corner."""
    method: str = ""
    """What the conditioning has to name, so that the network reads references at all; "" where nothing."""


@dataclass(frozen=True)
class BlockInputs:
    """The method of a network that is given all that its blocks read, where the network calls no post_input patches.

    method: its name. text, picture, positions: the names of its arguments that are the tokens of the text, (B, T, ...),
    those of the picture, (B, N, ...), and their positions, (B, T or T + N, axes). It is a text of None that the network
    reads none. picture_behind_text: whether the picture stands behind T tokens that are nothing, (B, T + N, ...).
    """

    method: str
    text: str
    picture: str
    positions: str
    picture_behind_text: bool = False


@dataclass(frozen=True, kw_only=True)
class HostNetwork:
    """Which networks of the host are of a family: those of which all of this is so.

    A network that differs anywhere is a relative: it may place its tokens elsewhere, and is not described by this.
    """

    network: str
    """The class of the network, "module.Class". One that is derived from it is another."""
    model: str
    """The class in comfy.model_base that the host puts around it. One that is derived from it is another."""
    image_model: str
    """What the host calls it where it recognises a file."""
    latent: tuple[int, int]
    """The channels of its latents, and how many axes follow them: 2, or 3 with frames."""
    sizes: str
    """The settings, of those with which the host makes the network, that may have any value, separated by spaces."""
    required: Mapping[str, object] = field(default_factory=dict[str, object])
    """Settings with their value; True stands for any but None, False and 0. Every other setting is off, at one of
    these: it would be a part of the network that is not known here."""


@dataclass(frozen=True, kw_only=True)
class TransformerFamily:
    """What is known of a family."""

    # --- Which networks are of it
    name: str
    """The name of the family in core.families, which has the widths of its texts; of a relative, its own."""
    made: HostNetwork
    least_host: str = "0.33"
    """The ComfyUI from which on all of this is so."""
    code: tuple[str, ...]
    """Strings in the source of the host's module while it is so, see model_family.require_known_code."""

    # --- Where text and picture meet. In this attention the text stands in front, the picture behind it, references
    # behind the picture; core.token_layout has the whole order.
    blocks: tuple[str, ...]
    """Where the blocks stand whose attention is over text and picture together, or which have a text_reader."""
    picture_last: bool = False
    """Whether the picture stands behind all others."""
    text_reader: str = ""
    """The module of each block in whose attention the picture reads the text, where both are no one sequence; "" where
    they are."""
    block_inputs: BlockInputs | None = None
    """Where all tokens are seen before the blocks; None where the network calls post_input patches with text and
    picture."""
    picture_layer: str = "img_in"
    """The layer that the latents come to first."""
    patch: str | int = "patch_size"
    """How many cells of a latent a token is wide, or the attribute that says so."""

    # --- What a second text needs, to be read as if it were the only one
    text_layers: tuple[str, ...]
    """The layers that a text comes to first. Its width is the product of the widths of their inputs."""
    counted_axes: tuple[int, ...] = ()
    """The axes of a text's positions that count its tokens; each text starts where the first one starts. Empty where
    all tokens of texts have one position."""
    left_padded_to: int = 0
    """How many tokens each text has at least, filled up with zeros in front."""
    refiners: str = ""
    """Where the blocks stand in which all tokens of a text read each other before they meet the picture; they are run
    for each text alone."""
    own_captions: bool = False
    """Whether the network itself pads each text with tokens of its own and counts its positions up to the picture (its
    method embed_cap), so that each text is given to it alone."""
    mask_place: int | None = None
    """The number of the network's argument, counted from the timestep as 0 on, that is a mask of the text alone,
    (B, T); None where it has none."""
    number_place: int | None = None
    """The number of the network's argument, counted as for mask_place, that says how many tokens the text has; None
    where it has none."""
    joint_mask: bool = False
    """Whether it takes a mask of text and picture together."""

    # --- Reference pictures
    references: ReferencePictures | None = None
    """How its models are given them; None where they take none."""
    looks_refiners: str = ""
    """Where the blocks stand in which everything that a vision encoder has seen of references and the picture reads
    each other."""

    # --- LoRAs of single people, and ControlNets
    streams: tuple[LayerStream, ...] = ()
    """Which layers have a place in text or picture, so that a LoRA in them can be one person's."""
    modulations: tuple[Modulation, ...] = ()
    """Which layers of the time are followed to the tokens that they change, for the same reason."""
    layer_names: tuple[LayerName, ...] = ()
    """What files call layers for which the host has no name or that of another layer."""
    control_net: str = ""
    """The host's node for a ControlNet that may act beside the words and LoRAs of people; "" where the host has none
    for this family."""

    @property
    def module(self) -> str:
        return self.made.network.rpartition(".")[0]

    @property
    def calls_post_input(self) -> bool:
        """Whether the network calls post_input patches with its text and its picture."""
        return not self.own_captions and not self.text_reader and self.block_inputs is None


_POST_INPUT = '"post_input"'
_APPLY_CONTROL_NET = "Apply ControlNet"
_FLUX_STREAMS = (
    LayerStream(r"double_blocks\.\d+\.img_(attn\.(qkv|proj)|mlp\.\d+)|img_in|final_layer\.linear", Stream.PICTURE),
    LayerStream(r"double_blocks\.\d+\.txt_(attn\.(qkv|proj)|mlp\.\d+)|txt_in", Stream.TEXT),
    LayerStream(r"single_blocks\.\d+\.linear[12]", Stream.BOTH),
    LayerStream(r"double_blocks\.\d+\.img_mod\.lin|double_stream_modulation_img\.lin", Stream.PICTURE, modulates=True),
    LayerStream(r"final_layer\.adaLN_modulation\.1", Stream.PICTURE, modulates=True),
    LayerStream(r"double_blocks\.\d+\.txt_mod\.lin|double_stream_modulation_txt\.lin", Stream.TEXT, modulates=True),
    LayerStream(r"single_blocks\.\d+\.modulation\.lin|single_stream_modulation\.lin", Stream.BOTH, modulates=True),
)


_FLUX_SIZES = (
    "in_channels out_channels vec_in_dim context_in_dim hidden_size mlp_ratio num_heads depth depth_single_blocks "
    "axes_dim theta patch_size qkv_bias "
)
_FLUX_1 = HostNetwork(
    network="comfy.ldm.flux.model.Flux",
    model="Flux",
    image_model="flux",
    latent=(families.FLUX.latent, 2),
    sizes=_FLUX_SIZES + "guidance_embed",
)
FLUX = TransformerFamily(
    name=families.FLUX.name,
    made=_FLUX_1,
    blocks=("double_blocks", "single_blocks"),
    text_layers=("txt_in",),
    code=("reference_image_num_tokens", _POST_INPUT),
    joint_mask=True,
    streams=_FLUX_STREAMS,
    control_net=_APPLY_CONTROL_NET,
    references=ReferencePictures(
        model="FLUX.1 Kontext",
        text_encoder="clip_l and t5xxl with Load CLIP (Dual) and flux",
        tokenizers={"FluxTokenizer": ""},
        vae="ae",
        latent=(16,),
        most={"FLUX.1 Kontext": 1},
    ),
)
FLUX_2 = TransformerFamily(
    name=families.FLUX_2.name,
    made=replace(
        _FLUX_1,
        model="Flux2",
        image_model="flux2",
        latent=(families.FLUX_2.latent, 2),
        sizes=_FLUX_SIZES + "guidance_embed mlp_silu_act ops_bias default_ref_method ref_index_scale",
        required={"global_modulation": True, "txt_ids_dims": [3]},
    ),
    blocks=("double_blocks", "single_blocks"),
    text_layers=("txt_in",),
    code=("reference_image_num_tokens", _POST_INPUT, "txt_ids_dims"),
    counted_axes=(3,),
    left_padded_to=512,
    joint_mask=True,
    streams=_FLUX_STREAMS,
    layer_names=(
        LayerName("double_stream_modulation_img.linear", "double_stream_modulation_img.lin"),
        LayerName("double_stream_modulation_txt.linear", "double_stream_modulation_txt.lin"),
        LayerName("single_stream_modulation.linear", "single_stream_modulation.lin"),
        LayerName("time_guidance_embed.timestep_embedder.linear_1", "time_in.in_layer"),
        LayerName("time_guidance_embed.timestep_embedder.linear_2", "time_in.out_layer"),
        LayerName("time_guidance_embed.guidance_embedder.linear_1", "guidance_in.in_layer"),
        LayerName("time_guidance_embed.guidance_embedder.linear_2", "guidance_in.out_layer"),
        # Behind q, k and v all is the MLP's, which is wider than in FLUX.1.
        LayerName("single_transformer_blocks.{}.proj_mlp", "single_blocks.{}.linear1", behind_qkv=True),
    ),
    references=ReferencePictures(
        model="FLUX.2",
        text_encoder="qwen_3_4b, qwen_3_8b or mistral_3_small with flux2",
        tokenizers={
            "KleinTokenizer": "FLUX.2 klein",
            "KleinTokenizer8B": "FLUX.2 klein",
            "Flux2Tokenizer": "FLUX.2 dev",
        },
        vae="flux2-vae",
        latent=(128,),
        cell=16,
        step=16,
        most={"FLUX.2 klein": 4, "FLUX.2 dev": 6},
    ),
)
_QWEN_STREAMS = (
    LayerStream(
        r"transformer_blocks\.\d+\.(attn\.(to_[qkv]|to_out\.0)|img_mlp\.net\.(0\.proj|2))|img_in|proj_out",
        Stream.PICTURE,
    ),
    LayerStream(
        r"transformer_blocks\.\d+\.(attn\.(add_[qkv]_proj|to_add_out)|txt_mlp\.net\.(0\.proj|2))|txt_in",
        Stream.TEXT,
    ),
)


def _qwen_modulations(zero_time: bool) -> tuple[Modulation, ...]:
    """The modulations of a network of Qwen-Image's blocks. zero_time: as in Modulation, of the picture's stream."""
    modulations: list[Modulation] = []
    for stream, name, out in ((Stream.PICTURE, "img", "to_out.0"), (Stream.TEXT, "txt", "to_add_out")):
        block = f"transformer_blocks.{{}}.{name}"
        modulations.append(
            Modulation(
                f"{block}_mod.1",
                stream,
                parts=6,
                norms=(ScaledNorm(f"{block}_norm1", scale=1, shift=0), ScaledNorm(f"{block}_norm2", scale=4, shift=3)),
                gated=(
                    GatedLayer(f"transformer_blocks.{{}}.attn.{out}", gate=2),
                    GatedLayer(f"{block}_mlp.net.2", gate=5),
                ),
                zero_time=zero_time and stream is Stream.PICTURE,
            )
        )
    last = Modulation(
        "norm_out.linear", Stream.PICTURE, parts=2, norms=(ScaledNorm("norm_out.norm", scale=0, shift=1),)
    )
    return (*modulations, last)


QWEN = TransformerFamily(
    name=families.QWEN.name,
    made=HostNetwork(
        network="comfy.ldm.qwen_image.model.QwenImageTransformer2DModel",
        model="QwenImage",
        image_model="qwen_image",
        latent=(families.QWEN.latent, 3),
        sizes="patch_size in_channels out_channels num_layers attention_head_dim num_attention_heads "
        "joint_attention_dim pooled_projection_dim axes_dims_rope default_ref_method",
    ),
    blocks=("transformer_blocks",),
    text_layers=("txt_in",),
    code=("reference_image_num_tokens", _POST_INPUT),
    counted_axes=(0, 1, 2),
    mask_place=2,
    streams=_QWEN_STREAMS,
    modulations=_qwen_modulations(zero_time=True),
    control_net=_APPLY_CONTROL_NET,
    references=ReferencePictures(
        model="Qwen-Image-Edit",
        text_encoder="qwen_2.5_vl_7b with qwen_image",
        tokenizers={"QwenImageTokenizer": ""},
        vae="qwen_image_vae",
        latent=(16, 1),
        word="Picture",
        sees=True,
        most={"Qwen-Image-Edit": 3},
    ),
)


def _z_image_modulation(blocks: str, stream: Stream) -> Modulation:
    return Modulation(
        f"{blocks}.{{}}.adaLN_modulation.0",
        stream,
        parts=4,
        norms=(
            ScaledNorm(f"{blocks}.{{}}.attention_norm1", scale=0),
            ScaledNorm(f"{blocks}.{{}}.ffn_norm1", scale=2),
        ),
        gated=(
            GatedLayer(f"{blocks}.{{}}.attention_norm2", gate=1),
            GatedLayer(f"{blocks}.{{}}.ffn_norm2", gate=3),
        ),
        tanh=True,
    )


Z_IMAGE = TransformerFamily(
    name=families.Z_IMAGE.name,
    made=HostNetwork(
        network="comfy.ldm.lumina.model.NextDiT",
        model="Lumina2",
        image_model="lumina2",
        latent=(families.Z_IMAGE.latent, 2),
        sizes="patch_size in_channels dim n_layers n_refiner_layers n_heads n_kv_heads multiple_of ffn_dim_multiplier "
        "norm_eps qk_norm cap_feat_dim axes_dims axes_lens rope_theta time_scale siglip_feat_dim",
        required={"pad_tokens_multiple": True, "z_image_modulation": True},
    ),
    blocks=("layers",),
    text_layers=("cap_embedder.1",),
    code=(
        "self.embed_cap(cap_feats, offset=offset",
        "out = self.embed_all(x, cap_feats, main_siglip, offset=start_t",
        "cap_mask = None",
        "for layer in self.context_refiner",
        "embeds += (siglip_feats,)",
        "padded_full_embed = torch.cat(feats + (x,), dim=1)",
    ),
    picture_last=True,
    picture_layer="x_embedder",
    refiners="context_refiner",
    looks_refiners="siglip_refiner",
    streams=(
        LayerStream(r"noise_refiner\.\d+\.(attention|feed_forward)\.\w+|x_embedder", Stream.PICTURE),
        LayerStream(r"context_refiner\.\d+\.(attention|feed_forward)\.\w+|cap_embedder\.1", Stream.TEXT),
        LayerStream(r"layers\.\d+\.(attention|feed_forward)\.\w+|final_layer\.linear", Stream.BOTH),
    ),
    modulations=(
        _z_image_modulation("layers", Stream.BOTH),
        _z_image_modulation("noise_refiner", Stream.PICTURE),
        Modulation(
            "final_layer.adaLN_modulation.1",
            Stream.BOTH,
            parts=1,
            norms=(ScaledNorm("final_layer.norm_final", scale=0),),
        ),
    ),
    own_captions=True,
    mask_place=3,
    number_place=2,
    control_net="Apply Z-Image Fun ControlNet",
    references=ReferencePictures(
        model="Z-Image",
        text_encoder="qwen_3_4b with lumina2",
        tokenizers={"ZImageTokenizer": ""},
        vae="ae",
        latent=(16,),
        step=16,  # the host's network cuts references into tokens of 16 px without filling them up
        has_frame_texts=True,
    ),
)
KREA_2 = TransformerFamily(
    name=families.KREA_2.name,
    made=HostNetwork(
        network="comfy.ldm.krea2.model.SingleStreamDiT",
        model="Krea2",
        image_model="krea2",
        latent=(families.KREA_2.latent, 3),
        sizes="features tdim txtdim heads kvheads multiplier layers patch channels theta txtlayers txtheads txtkvheads "
        "default_ref_method",
    ),
    blocks=("blocks",),
    text_layers=("txtfusion.projector", "txtmlp.1"),  # a text holds what several layers of its encoder give
    code=("txtfusion", _POST_INPUT, "for block in self.refiner_blocks", "reference_image_num_tokens"),
    picture_layer="first",
    patch="patch",
    refiners="txtfusion.refiner_blocks",
    mask_place=2,
    streams=(
        LayerStream(r"first", Stream.PICTURE),
        LayerStream(r"txtfusion\.layerwise_blocks\.\d+\.(attn|mlp)\.\w+|txtfusion\.projector", Stream.TEXT_AS_ROWS),
        LayerStream(r"txtfusion\.refiner_blocks\.\d+\.(attn|mlp)\.\w+|txtmlp\.\d+", Stream.TEXT),
        LayerStream(r"blocks\.\d+\.(attn|mlp)\.\w+|last\.linear", Stream.BOTH),
        LayerStream(r"tproj\.1", Stream.BOTH, modulates=True),
    ),
    references=ReferencePictures(
        model="Krea 2",
        text_encoder="qwen3vl_4b with krea2",
        tokenizers={"Krea2Tokenizer": ""},
        vae="qwen_image_vae",
        latent=(16, 1),
        # As the LoRA Identity Edit was trained. Without a LoRA for references the network does nothing with them.
        sees=True,
        bare_marks=True,
        fitted=True,
        longest_shown=768,
        method="index",
        most={"Krea 2": 2},
    ),
)
MAGE_FLOW = TransformerFamily(
    name=families.MAGE_FLOW.name,
    made=HostNetwork(
        network="comfy.ldm.mage_flow.model.MageFlowTransformer2DModel",
        model="MageFlow",
        image_model="mage_flow",
        latent=(families.MAGE_FLOW.latent, 2),
        sizes="in_channels out_channels num_layers attention_head_dim num_attention_heads joint_attention_dim "
        "axes_dims_rope",
    ),
    blocks=("transformer_blocks",),
    text_layers=("txt_in",),
    code=(
        "reference_image_num_tokens",
        _POST_INPUT,
        # Every token of a text has the position 0, so counted_axes is empty.
        "txt_ids = torch.zeros((x.shape[0], context.shape[1], 3), device=x.device)",
        "QwenImageTransformerBlock(",
    ),
    mask_place=2,
    streams=_QWEN_STREAMS,
    modulations=_qwen_modulations(zero_time=False),
    references=ReferencePictures(
        model="Mage-Flow-Edit",
        text_encoder="qwen3vl_4b with mage",
        tokenizers={"MageFlowTokenizer": ""},
        vae="mage_flow_vae_bf16",
        latent=(128,),
        word="Image",
        sees=True,
        cell=16,
        step=16,
        numbers_pictures=True,
        scaling="bicubic",
        longest_shown=384,
        empty_negative=" ",
    ),
)
CHROMA = TransformerFamily(
    name=families.CHROMA.name,
    made=HostNetwork(
        network="comfy.ldm.chroma.model.Chroma",
        model="Chroma",
        image_model="chroma",
        latent=(families.CHROMA.latent, 2),
        sizes=_FLUX_SIZES + "in_dim out_dim hidden_dim n_layers",
    ),
    blocks=("double_blocks", "single_blocks"),
    text_layers=("txt_in",),
    code=(
        # Every token of a text has the position 0, so counted_axes is empty.
        "txt_ids = torch.zeros((bs, context.shape[1], 3), device=x.device, dtype=x.dtype)",
        "self.forward_orig(img, img_ids, context, txt_ids, timestep, guidance, control, transformer_options",
    ),
    block_inputs=BlockInputs("forward_orig", text="txt", picture="img", positions="txt_ids"),
    joint_mask=True,
    streams=_FLUX_STREAMS,  # without modulation: one layer of the time makes that of all blocks
)
IDEOGRAM_4 = TransformerFamily(
    name=families.IDEOGRAM_4.name,
    made=HostNetwork(
        network="comfy.ldm.ideogram4.model.Ideogram4Transformer2DModel",
        model="Ideogram4",
        image_model="ideogram4",
        latent=(families.IDEOGRAM_4.latent, 2),
        sizes="in_channels num_layers num_attention_heads attention_head_dim intermediate_size adaln_dim "
        "llm_features_dim rope_theta mrope_section norm_eps",
    ),
    blocks=("layers",),
    text_layers=("llm_cond_proj",),
    code=(
        "self._backbone(context_chunk, x_full, t_chunk, position_ids, attn_mask, indicator",
        "text_pos = torch.arange(L_text, device=device)",
        # The picture's positions begin here, however long the text is.
        "torch.stack([t_idx, h_idx, w_idx], dim=1) + IMAGE_POSITION_OFFSET",
    ),
    picture_layer="input_proj",
    patch=1,  # patch_size says how many pixels of the VAE are one cell
    block_inputs=BlockInputs(
        "_backbone", text="llm_features", picture="x", positions="position_ids", picture_behind_text=True
    ),
    counted_axes=(0, 1, 2),
    mask_place=2,
    streams=(
        LayerStream(
            r"input_proj|layers\.\d+\.(attention\.(qkv|o)|feed_forward\.w[123])|final_layer\.linear", Stream.BOTH
        ),
        LayerStream(r"llm_cond_proj", Stream.TEXT),
        LayerStream(r"(layers\.\d+|final_layer)\.adaln_modulation", Stream.BOTH, modulates=True),
    ),
)
ANIMA = TransformerFamily(
    name=families.ANIMA.name,
    made=HostNetwork(
        network="comfy.ldm.anima.model.Anima",
        model="Anima",
        image_model="anima",
        latent=(families.ANIMA.latent, 3),
        sizes="max_img_h max_img_w max_frames in_channels out_channels patch_spatial patch_temporal "
        "concat_padding_mask model_channels num_blocks num_heads mlp_ratio crossattn_emb_channels pos_emb_cls "
        "pos_emb_learnable pos_emb_interpolation min_fps max_fps use_adaln_lora adaln_lora_dim "
        "rope_h_extrapolation_ratio rope_w_extrapolation_ratio rope_t_extrapolation_ratio "
        "extra_h_extrapolation_ratio extra_w_extrapolation_ratio extra_t_extrapolation_ratio",
    ),
    blocks=("blocks",),
    text_layers=("blocks.0.cross_attn.k_proj",),
    code=("class Anima(MiniTrainDIT)", "def preprocess_text_embeds(self, text_embeds, text_ids, t5xxl_weights=None)"),
    picture_layer="x_embedder.proj.1",
    patch="patch_spatial",
    text_reader="cross_attn",
    streams=(
        LayerStream(
            r"x_embedder\.proj\.1|blocks\.\d+\.(self_attn\.(q|k|v|output)_proj|cross_attn\.(q|output)_proj|mlp\.layer[12])"
            r"|final_layer\.linear",
            Stream.PICTURE,
        ),
        LayerStream(r"blocks\.\d+\.cross_attn\.[kv]_proj", Stream.TEXT),
        LayerStream(r"llm_adapter\..+", Stream.PROMPT),
    ),
)
TRANSFORMERS = FLUX, FLUX_2, QWEN, Z_IMAGE, KREA_2, MAGE_FLOW, CHROMA, IDEOGRAM_4, ANIMA

# --- Relatives of which all of a description is so but how they are given reference pictures
QWEN_LAYERED = replace(
    QWEN,
    name="Qwen-Image-Layered",
    made=replace(QWEN.made, required={"use_additional_t_cond": True}),
    references=None,  # its VAE has an alpha channel, and its latents a frame for each layer
    control_net="",
)
Z_IMAGE_PIXELS = replace(
    Z_IMAGE,
    name="Z-Image in pixel space",
    made=replace(
        Z_IMAGE.made,
        network="comfy.ldm.lumina.model.NextDiTPixelSpace",
        model="ZImagePixelSpace",
        image_model="zimage_pixel",
        latent=(3, 2),
        sizes=f"{Z_IMAGE.made.sizes} decoder_hidden_size decoder_num_res_blocks decoder_max_freqs decoder_in_channels "
        "use_x0",
    ),
    references=None,  # its cells are pixels, and its tokens 16 or 32 of them wide
    control_net="",
)
RELATIVES = QWEN_LAYERED, Z_IMAGE_PIXELS
