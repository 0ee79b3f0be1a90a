"""Each family of diffusion transformers: what of its network in the host the rest of the pack needs to know.

To add a family that the host has: describe it here, put it into `TRANSFORMERS`, add a tiny network of it to
tests/support/tiny_networks.json, and run tests/host/test_prompts_on_transformers.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...core import families


@dataclass(frozen=True)
class TransformerFamily:
    """What is known of a family.

    name: as in core.families. network: the class of the network in the host, "module.Class". is_of: whether such a
    network is of this family and not of another that shares the class. blocks: where the blocks stand whose attention
    is over text and picture together. patch: the attribute that says how many cells of a latent a token is wide.
    text_width: of the text that a network reads, before anything is made of it.

    In this attention the text stands in front, the picture behind it, references behind the picture, with
    picture_last the picture behind all others.

    What a second text needs, to be read as if it were the only one:
    counted_axes: the axes of a text's positions that count its tokens; each text starts where the first one starts.
    Empty where all tokens of texts have one position. left_padded_to: how many tokens each text has at least, filled up
    with zeros in front. refiners: where the blocks stand in which all tokens of a text read each other before they meet
    the picture; they are run for each text alone. own_captions: whether the network itself pads each text with
    tokens of its own and counts its positions up to the picture (its method embed_cap), so that each text is given to
    it alone. mask_place: the number of the network's argument, counted from the timestep as 0 on, that is a mask of the
    text alone, (B, T); None where it has none. joint_mask: whether it takes a mask of text and picture together.

    least_host: the ComfyUI from which on this is so. code: strings in the source of the host's module while it is so.
    """

    name: str
    network: str
    is_of: Callable[[Any], bool]
    blocks: tuple[str, ...]
    text_width: Callable[[Any], int]
    code: tuple[str, ...]
    patch: str = "patch_size"
    picture_last: bool = False
    counted_axes: tuple[int, ...] = ()
    left_padded_to: int = 0
    refiners: str = ""
    own_captions: bool = False
    mask_place: int | None = None
    joint_mask: bool = False
    least_host: str = "0.33"

    @property
    def module(self) -> str:
        """The host's module of the network."""
        return self.network.rpartition(".")[0]


_POST_INPUT = '"post_input"'

FLUX = TransformerFamily(
    name=families.FLUX.name,
    network="comfy.ldm.flux.model.Flux",
    is_of=lambda network: not getattr(network.params, "global_modulation", False),
    blocks=("double_blocks", "single_blocks"),
    text_width=lambda network: network.params.context_in_dim,
    code=("reference_image_num_tokens", _POST_INPUT),
    joint_mask=True,
)
FLUX_2 = TransformerFamily(
    name=families.FLUX_2.name,
    network="comfy.ldm.flux.model.Flux",
    is_of=lambda network: bool(getattr(network.params, "global_modulation", False)),
    blocks=("double_blocks", "single_blocks"),
    text_width=lambda network: network.params.context_in_dim,
    code=("reference_image_num_tokens", _POST_INPUT, "txt_ids_dims"),
    counted_axes=(3,),
    left_padded_to=512,
    joint_mask=True,
)
QWEN = TransformerFamily(
    name=families.QWEN.name,
    network="comfy.ldm.qwen_image.model.QwenImageTransformer2DModel",
    is_of=lambda network: True,
    blocks=("transformer_blocks",),
    text_width=lambda network: network.txt_in.in_features,
    code=("reference_image_num_tokens", _POST_INPUT),
    counted_axes=(0, 1, 2),
    mask_place=2,
)
Z_IMAGE = TransformerFamily(
    name=families.Z_IMAGE.name,
    network="comfy.ldm.lumina.model.NextDiT",
    is_of=lambda network: getattr(network, "pad_tokens_multiple", None) is not None,
    blocks=("layers",),
    text_width=lambda network: network.cap_embedder[1].in_features,
    code=("self.embed_cap(cap_feats, offset=offset", "cap_mask = None", "for layer in self.context_refiner"),
    picture_last=True,
    refiners="context_refiner",
    own_captions=True,
)
KREA_2 = TransformerFamily(
    name=families.KREA_2.name,
    network="comfy.ldm.krea2.model.SingleStreamDiT",
    is_of=lambda network: True,
    blocks=("blocks",),
    text_width=lambda network: network.txtlayers * network.txtdim,
    code=("txtfusion", _POST_INPUT, "for block in self.refiner_blocks"),
    patch="patch",
    refiners="txtfusion.refiner_blocks",
)
TRANSFORMERS = FLUX, FLUX_2, QWEN, Z_IMAGE, KREA_2
