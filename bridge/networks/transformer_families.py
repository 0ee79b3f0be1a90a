"""What the rest of the pack needs to know of the host's network of a family of diffusion transformers.

The families are in the folder families.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

POST_INPUT = '"post_input"'
"""Stands in the source of a network that calls post_input patches."""
APPLY_CONTROL_NET = "Apply ControlNet"


class Stream(Enum):
    """Which tokens a layer is given."""

    TEXT = "text"
    PICTURE = "the picture and its references"
    ONE_PICTURE = "each reference in a call of its own, and then the picture"
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

    @property
    def blocks(self) -> str:
        """Where the blocks of which "{}" is the number stand: "blocks" of "blocks.{}.attn"; "" for a single layer."""
        return self.layer.partition(".{}")[0] if "{}" in self.layer else ""


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
    part.
    """

    layer: str
    stream: Stream
    parts: int
    norms: tuple[ScaledNorm, ...]
    gated: tuple[GatedLayer, ...] = ()
    tanh: bool = False

    def block_of(self, layer: str) -> str | None:
        """The number of the block in which the layer of this name stands, "" where this layer stands in no block.

        None where the name is not that of a layer of this modulation.
        """
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
    most: Mapping[str, int]
    """Name of the models -> how many pictures their makers recommend at most."""
    pictures_first: bool = False
    """Whether they were trained with a picture of no person, such as a room, before the pictures of people."""

    # --- What the text encoder is given
    tokenizers: Mapping[str, str]
    """The host's classes of their tokenizer, each with another name of the models, or "". Models of other families that
    read the same text encoder, with another template, have another class."""
    word: str = "image {}"
    """What prompts for the family call a picture, "{}" for its number."""
    sees: bool = False
    """Whether the text encoder is shown the pictures, too."""
    longest_shown: int = 0
    """The most pixels of the longer side of a picture that it is shown; 0 where each picture is brought to an area."""
    shown_area: int = 384 * 384
    """This area, in pixels."""
    trained_sizes: tuple[int, int] | None = None
    """From and to which side of a picture that it is shown the model was trained, where its makers say so."""
    shown_as_encoded: bool = False
    """Whether it is shown the pictures at the size at which they become latents."""
    numbers_pictures: bool = False
    """Whether its tokenizer itself puts the pictures before the text, with numbers where the family has any."""
    mark: str = "{name}: {picture}"
    """What stands before the text for each picture that it is shown. name: `word` with the number of the picture.
    picture: where it is seen."""
    plain_template: bool = False
    """Whether these stand in the template of a text without pictures."""
    empty_text: str = ""
    """What its node in the host encodes in the place of an empty prompt."""

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
    bridge/references/centred.py; otherwise they are brought to an area and stand in its corner."""
    only_smaller: bool = False
    """Whether pictures are made smaller where they are larger than an area, and never larger."""
    isolated: bool = False
    """Whether references read references alone, neither text nor picture."""
    method: str = ""
    """What the conditioning has to name, so that the network reads references at all; "" where nothing."""


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
    # behind the picture; core.attention.spans has the whole order.
    blocks: tuple[str, ...]
    """Where the blocks stand whose attention is over text and picture together, or which have a text_reader."""
    text_reader: str = ""
    """The module of each block in whose attention the picture reads the text, where both are no one sequence; "" where
    they are."""
    inputs_method: str = ""
    """The network's method that is given all that the blocks read, by the names of a post_input patch, where the
    network calls none; "" where it calls them, and where own_captions or a text_reader makes them needless."""
    picture_layer: str = "img_in"
    """The layer that the latents come to first."""
    patch: str = "patch_size"
    """The network's attribute that says how many cells of a latent a token is wide; "" where a token is a cell."""
    prefix: bool = False
    """Whether text and references are a causal prefix, which stands in front of the picture and does not read it, see
    bridge/networks/prefixes.py."""
    telling_block: int | None = None
    """The block, counted over all, whose attention tells best where people stand; None where none is known. Source:
    FreeFuse."""

    # --- What a second text needs, to be read as if it were the only one
    text_layers: tuple[str, ...]
    """The layers that a text comes to first. Its width is the product of the widths of their inputs."""
    counted_axes: tuple[int, ...] = ()
    """The axes of a text's positions that count its tokens; each text starts where the first one starts. Empty where
    all tokens of texts have one position."""
    left_padded_to: int = 0
    """How many tokens each text has at least, filled up with zeros in front."""
    refiners: str = ""
    """Where the blocks stand in which all tokens of a text read each other before they meet the picture. They are given
    neither picture nor time. The module in which they stand is given the text, unless own_captions."""
    own_captions: bool = False
    """Whether the network itself pads each text with tokens of its own and counts its positions up to the picture (its
    method embed_cap), so that each text is given to it alone."""
    mask_place: int | None = None
    """The number of the network's argument, counted from the timestep as 0 on, that is a mask of the text alone,
    (B, T); None where it has none, and where refiners make it needless."""
    joint_mask: bool = False
    """Whether it takes a mask of text and picture together."""

    # --- Reference pictures
    references: ReferencePictures | None = None
    """How its models are given them; None where they take none."""
    other_trainings: Mapping[str, ReferencePictures] = field(default_factory=dict[str, ReferencePictures])
    """The same for LoRAs that were trained in another way than the host's nodes do it, by the name of the training."""

    # --- LoRAs of single people, and ControlNets
    streams: tuple[LayerStream, ...]
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
    def is_known_to_host(self) -> bool:
        """Whether this ComfyUI has the network: as it starts, it imports all that it has."""
        return self.module in sys.modules

    @property
    def calls_post_input(self) -> bool:
        """Whether the network calls post_input patches with its text and its picture."""
        return not self.own_captions and not self.text_reader and not self.inputs_method and not self.prefix
