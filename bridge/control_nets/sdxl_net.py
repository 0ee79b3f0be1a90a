"""A ControlNet whose cross-attention reads people's image tokens instead of the text, alone or by region."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from comfy.controlnet import ControlNet
from comfy.ldm.modules.diffusionmodules.util import timestep_embedding
from torch import Tensor
from torch.nn.functional import interpolate

from ...core.attention.cross_attention import Block, decoupled, on_grid, region_weights
from ..host.unet import Grid, Options, Replacement, grid_of, layers_of
from ..image_tokens.unet_tokens import UNetImageTokens
from ..networks.file_attention import attend_with
from ..networks.row_tracking import repeat_rows
from ..sampling.carried import KEY, ConditioningLost, carried_by_chunk
from ..sampling.code_of_others import who_stands_around
from ..sampling.runs import Run
from .attached_net import AttachedNet, other_object


class ReadByNet(NamedTuple):
    """What the ControlNet computes with in all forwards of a run that have the same people.

    network: the network of the net, wrapped so that it reads by region.
    context: (B, tokens, width), what it reads: the tokens of one person after the other. Where people have regions,
    the tokens that are read outside of all regions follow last.
    """

    network: "TokenNetwork"
    context: Tensor


class TokenControlNet(AttachedNet):
    """A net that reads people's tokens instead of the text. Its network is then a TokenNetwork around the net's own.

    net: a plain ControlNet, one of which `other_network` says nothing. source: that of the UNetImageTokens whose
    tokens this net reads: those of its own apply node. outside: (1, T, width), the tokens that pixels outside of all
    regions read.
    """

    reads_text = False

    def __init__(self, net: ControlNet, source: object, outside: Tensor) -> None:
        super().__init__(net)
        self.source = source
        self.outside = outside

    def copy(self) -> "TokenControlNet":
        return TokenControlNet(self, self.source, self.outside)

    def _residuals(
        self, x_noisy: Tensor, t: Tensor, cond: dict[str, Any], batched_number: int, transformer_options: Options
    ) -> Any:
        """As in the base class. The net reads the tokens of the people that its own node (`source`) has put into these
        rows. Where the node has put in none, only the nets before this one act."""
        image_tokens: list[UNetImageTokens] = []  # of our own node, of each chunk
        for of_nodes in carried_by_chunk(cond, transformer_options, UNetImageTokens.key):
            image_tokens += [item for item in of_nodes if item.source is self.source]
        if not image_tokens:
            return self._chain_before()
        run: Run = transformer_options[KEY]
        # By the hint too: a TokenNetwork keeps what it makes of it. The nets of two chains, and of parts, have others.
        key = self.control_model, id(self.cond_hint_original), tuple(image_tokens), len(x_noisy)
        # Of the copy for this forward. The host reads the context instead of the text.
        self.control_model, context = run.kept(key, lambda: self._read_by_net(image_tokens, x_noisy))
        cond = {**cond, "crossattn_controlnet": context}
        return super()._residuals(x_noisy, t, cond, batched_number, transformer_options)

    def _read_by_net(self, image_tokens: Sequence[UNetImageTokens], x: Tensor) -> ReadByNet:
        """The network and the context for a forward.

        image_tokens: what the node has put into each chunk of the batch, at least one. x: the latents, (B, C, h, w).
        """
        first = image_tokens[0]  # its regions are those of all chunks, see UNetImageTokens.can_join_batch
        tokens = torch.stack([item.tokens for item in image_tokens])  # (chunks, people, T, width)
        if first.regions is not None:
            outside = self.outside.expand(len(tokens), 1, -1, -1)
            tokens = torch.cat([tokens, outside], dim=1)  # (chunks, people + 1, T, width)
        context = repeat_rows(tokens.flatten(1, 2), len(x), dim=0)  # (B, tokens of all, width)
        context = context.to(x.device, self.manual_cast_dtype or self.control_model.dtype)
        network = TokenNetwork(self.control_model, first.regions, _boxes_of(image_tokens, len(x)))
        return ReadByNet(network, context)


def _boxes_of(image_tokens: Sequence[UNetImageTokens], row_count: int) -> Tensor | None:
    """Where the residuals act in each row: in the face boxes of its people, (row_count, H, W). None for everywhere.

    image_tokens: of each chunk of the batch; all of them have boxes, or none has. The boxes of a chunk, (people, H, W),
    add up to at most 1 at each pixel.
    """
    of_chunks = [item.boxes.sum(dim=0) for item in image_tokens if item.boxes is not None]  # (H, W) each
    return repeat_rows(torch.stack(of_chunks), row_count, dim=0) if of_chunks else None


def other_network(net: Any) -> str:
    """What is connected instead of a ControlNet that a TokenControlNet can be made of, in words; "" for one."""
    # Only the host's network of a union ControlNet has this embedding, by which it is told the type of its hint.
    return other_object(net) or ("a union ControlNet" if net.control_model.control_add_embedding is not None else "")


class GroupKeysAndValues(NamedTuple):
    """Keys and values of one layer, (groups, B, T, C) each.

    A group is the tokens of one person, or those that are read outside of all regions.
    """

    keys: Tensor
    values: Tensor


class TokenNetwork:
    """The network of a ControlNet, which reads each person's tokens in that person's region.

    Keypoints and tokens are read once per run. `__call__` is the plain forward of the host's network
    (comfy/cldm/cldm.py) with an attn2 replacement in every block: the host's own forward gives its blocks no
    transformer_options, though the blocks take them. regions: (people, H, W). boxes: (B, H, W), where the residuals
    act. None: everywhere.
    """

    def __init__(self, network: Any, regions: Tensor | None, boxes: Tensor | None) -> None:
        self._network = network
        self.dtype = network.dtype
        self._boxes = boxes
        self._weights: Tensor | None = None
        """How much each pixel reads of each group of tokens, (people + 1, H, W), 1 in all for each pixel."""
        if regions is not None:
            weights = region_weights(regions)
            outside = 1 - weights.sum(dim=0, keepdim=True)
            self._weights = torch.cat([weights, outside])
        self._weights_by_grid: dict[Grid, Tensor] = {}
        """`_weights` on the grid of a layer, (people + 1, 1, N, 1)."""
        self._masks: dict[Grid, Tensor] = {}
        """The boxes on the grid of a residual, (B, 1, h, w)."""
        self._hint: Tensor | None = None
        """The hint of which `_keypoints` was made."""
        self._keypoints: Any = None
        self._layers: dict[Block, GroupKeysAndValues] = {}
        """The keys and values of the context in every layer; empty before the first forward has run."""

    def __call__(
        self, x: Tensor, hint: Tensor, timesteps: Tensor, context: Tensor, y: Tensor | None = None, **_: Any
    ) -> dict[str, list[Tensor]]:
        """The residuals of the ControlNet by the host's names, in the shapes that the host's network gives them.

        The host calls this instead of the network. x: latents, (B, C, h, w). hint: the keypoint picture, (B, 3, H, W).
        timesteps: (B,). context: of ReadByNet, (B, tokens, width). y: (B, adm), for SDXL. The first forward keeps the
        keys and values of every layer in `_layers`, and raises ConditioningLost where a layer has not called `_attend`.
        """
        network = self._network
        emb = self._embedding(timesteps, y, x.dtype)
        is_first_forward = not self._layers
        layers = dict(self._layers)  # a copy, to which `_attend` adds the layers of the first forward
        attend = partial(self._attend, layers)
        # A block makes keys and values of the context that it is given. Once those of the first forward are kept,
        # nobody reads the block's own. So it is then given one token, the least that it can be given.
        block_context = context if is_first_forward else context[:, :1]
        residuals: list[Tensor] = []
        for number, (block, zero_conv) in enumerate(zip(network.input_blocks, network.zero_convs, strict=True)):
            x = block(x, emb, block_context, _options_of_block("input", number, attend))  # (B, C, h, w) of this block
            if number == 0:
                x = x + self._keypoints_of(hint, emb, context)
            residuals.append(self._in_boxes(zero_conv(x, emb, context)))
        x = network.middle_block(x, emb, block_context, _options_of_block("middle", 0, attend))
        middle = self._in_boxes(network.middle_block_out(x, emb, context))
        if is_first_forward and len(layers) < len(layers_of(network)):
            raise ConditioningLost(who_stands_around(network, {}), "passes over the attention of a ControlNet")
        self._layers = layers  # complete by now: of a cancelled step nothing is kept
        return {"middle": [middle], "output": residuals}

    def _embedding(self, timesteps: Tensor, y: Tensor | None, dtype: torch.dtype) -> Tensor:
        """What every block reads beside x: (B, width), of the timesteps (B,) and, for SDXL, of y (B, adm)."""
        network = self._network
        waves = timestep_embedding(timesteps, network.model_channels, repeat_only=False)  # (B, model_channels)
        embedding = network.time_embed(waves.to(dtype))
        return embedding if network.num_classes is None else embedding + network.label_emb(y)

    def _keypoints_of(self, hint: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        """What the network's input_hint_block makes of the keypoint picture, (B, C, h, w). It is made once for a hint.

        emb, context: as every block is given them. input_hint_block takes them, and reads its first argument alone.
        """
        if self._hint is not hint:
            self._hint = hint
            self._keypoints = self._network.input_hint_block(hint, emb, context)
        return self._keypoints

    def _attend(
        self, layers: dict[Block, GroupKeysAndValues], q: Tensor, k: Tensor, v: Tensor, extra_options: Options
    ) -> Tensor:
        """The cross-attention of one layer, the host's attn2 replacement: what its queries q read, (B, N, C).

        layers: the keys and values by layer. In the first forward this layer is missing there, and k and v, of all
        tokens, are added to it. In later forwards k and v are of one token, and are not read.
        """
        kind, number = extra_options["block"]
        layer = kind, number, extra_options["block_index"]
        grid = grid_of(extra_options)
        if layer not in layers:
            groups = 1 if self._weights is None else len(self._weights)
            layers[layer] = GroupKeysAndValues(_by_group(k, groups), _by_group(v, groups))
        if self._weights is not None and grid not in self._weights_by_grid:
            self._weights_by_grid[grid] = on_grid(self._weights, *grid)[:, None].to(q)  # (groups, 1, N, 1)
        keys, values = layers[layer]
        # Without regions there are no weights: there is one group, and every pixel reads it.
        return decoupled(q, keys, values, self._weights_by_grid.get(grid), attend_with(extra_options))

    def _in_boxes(self, residual: Tensor) -> Tensor:
        """A residual, (B, C, h, w), that is 0 outside of the boxes."""
        if self._boxes is None:
            return residual
        grid = residual.shape[-2], residual.shape[-1]
        if grid not in self._masks:
            # As the released pipeline_stable_diffusion_xl_instantid_full.py, which divides the picture's sides by 8, 16
            # and 32. Where these are no whole numbers, the boxes are stretched to the size of the residual.
            self._masks[grid] = interpolate(self._boxes[:, None], size=grid, mode="bilinear").to(residual)
        return residual * self._masks[grid]


def _by_group(x: Tensor, groups: int) -> Tensor:
    """Tokens that stand group after group, (B, groups * T, C), with a dimension for the groups: (groups, B, T, C)."""
    return x.unflatten(1, (groups, -1)).transpose(0, 1)


def _options_of_block(name: str, number: int, attend: Replacement) -> Options:
    """transformer_options for one block of the ControlNet, with `attend` in place of its cross-attention."""
    block = name, number
    return {"block": block, "patches_replace": {"attn2": {block: attend}}}
