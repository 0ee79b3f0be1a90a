"""What the picture reads of people behind the blocks of a transformer.

Blocks have one slot each for a function of others: ours goes around whoever stands there. Behind the blocks rows of the
picture read image tokens of people: all that is read of a person is made when the node runs, so no weights of an
adapter are in memory while sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.model_management
import torch
from torch import Tensor, nn

from ...core.attention.block_tokens import read_tokens
from ...core.attention.cross_attention import on_tokens
from ...core.attention.spans import Tokens
from ..host.shared_network import model_of
from ..host.unet import Options, dtype_of, with_replacements
from ..networks.model_family import cells_per_token, network_of, tokens_of
from ..sampling.carried import ConditioningLost, PerChunk
from ..sampling.forward import Batch, ForwardShape
from ..sampling.runs import Kind, Run, when_acting
from ..sampling.watch import DueCalls
from .unet_tokens import UNetImageTokens

TransformerBlock = tuple[str, int]
"""("double_block" | "single_block", number): the host's address of a block."""


def _blocks_of(network: Any) -> list[TransformerBlock]:
    """Every block of a network of FLUX.1 or Chroma, in the order in which they run."""
    double_blocks = [("double_block", number) for number in range(len(network.double_blocks))]
    return double_blocks + [("single_block", number) for number in range(len(network.single_blocks))]


Read = tuple[Tensor, ...]
"""What is read of people behind one block: the fields of a BlockTokens, or () where nobody is read."""


class BlockImageTokens(UNetImageTokens):
    """What one apply node adds to one side of the conditioning. layers: a Read per block; the values are times the
    people's weights.

    Each person is read by themselves, times the part of a token that lies in their region. Rows of all entries are
    computed together, as the host computes them without people.
    """

    key = "likeness_block_image_tokens"

    def can_join_batch(self, other: Any) -> bool:
        return True

    def begin(self, run: Run) -> None:
        """Put the layers on the device, before the host looks how much of the MODEL there is room for.

        Where people have rows, each picture has layers of its own. Else all have the same, which are put there once.
        """
        for picture_number in range(run.pictures):
            layers_on_device(run).of(self.for_picture(picture_number))  # which remembers them


class LayersOnDevice:
    """What image tokens have for the blocks, put on devices once in a run.

    blocks: all of the MODEL's network.
    """

    def __init__(self, run: Run) -> None:
        model = model_of(run.model)
        self.blocks = _blocks_of(network_of(model))
        self._device = run.device
        self._dtype = dtype_of(model)
        self._placed: dict[tuple[tuple[Read, ...], torch.device], list[Read]] = {}
        """What `of` has given, by its own layers (the same tensors) and the device."""

    def of(self, image_tokens: BlockImageTokens, device: torch.device | None = None) -> list[Read]:
        """The layers of a BlockImageTokens on a device, in the dtype of the MODEL. They are put there once in a run.

        Before they are put there, the host is asked to make room for all of them.
        device: None for that of the MODEL; another one where the host's MultiGPU CFG Split samples on several cards.
        """
        target = self._device if device is None or self._is_of_model(device) else device
        layers: Any = image_tokens.layers
        key = layers, target
        if key not in self._placed:
            value_count = sum(tensor.numel() for layer in layers for tensor in layer)
            comfy.model_management.free_memory(value_count * self._dtype.itemsize, target)
            on_device: list[Read] = []
            for layer in layers:
                on_device.append(tuple(tensor.to(target, self._dtype) for tensor in layer))
            self._placed[key] = on_device
        return self._placed[key]

    def _is_of_model(self, device: torch.device) -> bool:
        """Whether a device is the MODEL's, whose name may be "cuda" where that of the device is "cuda:0"."""
        of_model: torch.device = self._device
        return device.type == of_model.type and of_model.index in (None, device.index)


def layers_on_device(run: Run) -> LayersOnDevice:
    """Those of a run, made once in it."""
    return run.kept(LayersOnDevice, lambda: LayersOnDevice(run))


def _new_batch(run: Run, acting: tuple[PerChunk[BlockImageTokens], ...], forward_shape: ForwardShape) -> BlocksBatch:
    return BlocksBatch(layers_on_device(run), acting, forward_shape)


BLOCK_IMAGE_TOKENS = Kind(BlockImageTokens.key, when_acting(_new_batch))
"""Image tokens of people behind the blocks of a transformer."""


@dataclass(frozen=True, eq=False)
class _Reader:
    """Tokens of the picture that read one person behind the blocks.

    rows: of the batch. tokens: (n,), their numbers in the picture. person: the number of whom they read. layers: what
    is read of all people, per block. shares: (n, 1), how much of each token lies in the person's region.
    """

    rows: slice
    tokens: Tensor
    person: int
    layers: list[Read]
    shares: Tensor

    def added(self, picture: Tensor, tokens: Tensor, number: int) -> Tensor:
        """What these tokens read of the person behind the block of this number: (rows, n, width).

        picture: what the block gives for a whole batch, (B, tokens, width). tokens: (n,), the numbers of this reader's
        tokens in it; other than `self.tokens` where a text stands in front of the picture.
        """
        read = read_tokens(picture[self.rows, tokens], *[tensor[self.person] for tensor in self.layers[number]])
        return read * self.shares.to(read)


_EVERYWHERE = torch.ones(1, 1, 1, dtype=torch.float32, device="cpu")
"""The region of one person who has none, (people, H, W)."""


def _readers(
    image_tokens: BlockImageTokens, rows: slice, layers: list[Read], forward_shape: ForwardShape
) -> list[_Reader]:
    """One _Reader for each person of `image_tokens`, in these rows. layers: of these, on the device."""
    shares = _EVERYWHERE if image_tokens.shares is None else image_tokens.shares
    height, width = forward_shape.latent[-2:]
    side = cells_per_token(forward_shape.model)
    # (people, rows, columns of tokens) -> (people, tokens)
    shares_of_people = on_tokens(shares, height, width, side).flatten(1)
    readers: list[_Reader] = []
    for person, by_token in enumerate(shares_of_people):
        tokens = by_token.nonzero()[:, 0]  # (n,)
        own_shares = by_token[tokens, None].to(forward_shape.device)  # (n, 1)
        readers.append(_Reader(rows, tokens.to(forward_shape.device), person, layers, own_shares))
    return readers


_Replacement = Callable[[Options, Options], Options]
"""What another node has put in the place of a block."""


class BlocksBatch(Batch):
    """What comes out of each block, plus what the picture's tokens in somebody's region read of them."""

    def __init__(
        self, on_device: LayersOnDevice, acting: Sequence[PerChunk[BlockImageTokens]], forward_shape: ForwardShape
    ) -> None:
        """acting: for each node what it has put into each chunk of the batch; all chunks have as many rows."""
        super().__init__()
        self.blocks = on_device.blocks
        self.row_count = forward_shape.row_count
        self._length = tokens_of(forward_shape.model, forward_shape.latent)  # how many tokens the picture has
        self._readers: list[_Reader] = []
        for by_chunk in acting:
            rows_of_chunk = self.row_count // len(by_chunk)
            for chunk_number, image_tokens in enumerate(by_chunk):
                first_row = chunk_number * rows_of_chunk
                rows = slice(first_row, first_row + rows_of_chunk)
                layers = on_device.of(image_tokens, forward_shape.device)
                self._readers += _readers(image_tokens, rows, layers, forward_shape)

    def due_calls(self, modules: Mapping[str, nn.Module]) -> DueCalls:
        """The modules of the blocks behind which anybody is read. modules: of the network, by name."""
        read_behind = [block for number, block in enumerate(self.blocks) if self._is_read_behind(number)]
        # ("double_block", 3) is the module "double_blocks.3".
        return {(kind, number): modules[f"{kind}s.{number}"] for kind, number in read_behind}

    def _is_read_behind(self, number: int) -> bool:
        """Whether anybody is read behind a block, by its number among all blocks."""
        return any(reader.layers[number] for reader in self._readers)

    def options_for_network(self, options: Options, tokens: Tokens) -> Options:
        """transformer_options with our function in the place of each block behind which people are read.

        It calls what another node has put there, or else the block.
        """
        others = options.get("patches_replace", {}).get("dit", {})
        ours: dict[TransformerBlock, _Replacement] = {}
        for number, block in enumerate(self.blocks):
            if self._is_read_behind(number):
                ours[block] = partial(self._block_output, number, others.get(block))
        return with_replacements(options, "dit", ours)

    def _block_output(self, number: int, replacement: _Replacement | None, args: Options, extra: Options) -> Options:
        """What the host calls instead of a block: it runs the block, and adds what the picture reads of people.

        number: of the block, among all blocks. replacement: what another node has put in its place, or None.
        args: img, (B, tokens, width), which in a single block of Flux begins with the text; txt, vec, pe and
        transformer_options. extra: the block itself, as original_block. Raises ConditioningLost where another node has
        taken tokens of the picture away.
        """
        self.calls.count(self.blocks[number])
        out = replacement(args, extra) if replacement else extra["original_block"](args)
        block_img: Tensor = out["img"]  # what the block gives, before people are added
        # In a single block the text stands in front; references are behind the picture in all.
        is_single = self.blocks[number][0] == "single_block"
        text_length = args["transformer_options"]["img_slice"][0] if is_single else 0
        if block_img.shape[1] < text_length + self._length:
            remaining = block_img.shape[1] - text_length
            raise ConditioningLost("", f"leaves {remaining} of the picture's {self._length} tokens")
        img = block_img.clone()
        for reader in self._readers:
            if reader.layers[number]:
                in_block = reader.tokens + text_length  # (n,), the numbers of these tokens in the block
                # Readers attend from `block_img`, so what other readers have added to `img` plays no part.
                img[reader.rows, in_block] += reader.added(block_img, in_block, number)
        return {**out, "img": img}
