"""Parts2Whole's networks at 64 channels: the denoiser, the reference UNet that sees the parts, what reads the pose.

The denoiser predicts the noise, as the release does. A schedule that ends at a noise of twice the picture, not of 25
times, lets few steps and small networks do.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from core.attention.projections import AdapterLayers
from core.parts.bank import token_mask

from .garments import LABELS
from .unet import SD15, WIDTH, Beside, UNet, hint_block

BETAS = (0.00085, 0.0024)
"""Linear from the first to the last of a thousand."""
SLOTS = 6
"""Image tokens of a person; those without a part are zeros."""
TEXT = 77
"""Tokens of a prompt."""
LOUD = 8.0
"""How strong a word is; all others are zeros."""


class Pictures(NamedTuple):
    """Flat pictures of parts (P, 3, H, W), masks (P, H, W), and the numbers of their labels (P,)."""

    pixels: Tensor
    masks: Tensor
    labels: Tensor


class Parts2Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet(SD15)
        self.reference = UNet(SD15)
        self.pose_guider = hint_block()
        # Of the reference only what its layers see is read. The last one in the way up is the last that is run; behind
        # it, in the list, is the one in the middle.
        self.reference.layers()[-2].ends = True
        self.decoupled = keys_and_values(self.unet)

    def seen(self, latents: Tensor, pictures: Pictures, counts: Sequence[int]) -> list[Beside]:
        """As `seen_by`, of the reference."""
        return seen_by(self.reference, words()[pictures.labels].to(latents), latents, pictures, counts)

    def noise(self, x: Tensor, steps: Tensor, seen: Sequence[Beside], tokens: Tensor, pose: Tensor) -> Tensor:
        """(B, 4, h, w). tokens: (B, 6, 64) of `looked_at`; pose: (B, 3, H, W), a picture of body surfaces."""
        self.unet.look_at(seen)
        image = self.decoupled.keys_and_values(tokens)
        return self.unet(x, steps, x.new_zeros(len(x), 1, WIDTH), image=image, pose=self.pose_guider(pose))


def seen_by(unet: UNet, context: Tensor, latents: Tensor, pictures: Pictures, counts: Sequence[int]) -> list[Beside]:
    """What every layer reads of the parts. latents: (P, 4, h, w) of the pictures. counts: parts per person."""
    unet.look_at([None] * len(unet.layers()))
    unet(latents, latents.new_zeros(len(latents)), context)
    return [_beside(layer.seen, pictures.masks, counts) for layer in unet.layers()]


def keys_and_values(unet: UNet) -> AdapterLayers:
    """Of image tokens, for every cross-attention."""
    weights: dict[str, Tensor] = {}
    for number in range(len(unet.layers())):
        for side in ("k", "v"):
            weights[f"{2 * number + 1}.to_{side}_ip.weight"] = torch.empty(WIDTH, WIDTH, device="meta")
    return AdapterLayers(weights, ops=nn)


def words() -> Tensor:
    """(labels, 77, 64): each label as one word that only it has.

    The words are rows of a Hadamard matrix: orthogonal, and of mean 0 and deviation 1, so that a LayerNorm leaves them
    as they are. An element is -1 where row and column have an odd number of bits in common.
    """
    numbers = torch.arange(1, len(LABELS) + 1)[:, None, None]  # (labels, 1, 1)
    columns = torch.arange(WIDTH)[:, None]  # (64, 1)
    bits = torch.arange(6)
    common = (columns & numbers) >> bits & 1  # (labels, 64, 6)
    signs = common.sum(-1) % 2 * -2 + 1  # (labels, 64)
    return functional.pad(LOUD * signs[:, None].float(), (0, 0, 1, TEXT - 2))


def looked_at(pictures: Pictures, counts: Sequence[int]) -> Tensor:
    """(B, 6, 64): of every part the mean colour in the square in the middle of its picture, and a 1."""
    high, wide = pictures.pixels.shape[2:]
    top = (high - wide) // 2
    means = (pictures.pixels[:, :, top : top + wide] - 0.5).mean((2, 3))
    tokens = torch.cat([means, torch.ones_like(means[:, :1])], 1)
    people: list[Tensor] = []
    for parts in tokens.split(list(counts)):  # (parts, 4)
        people.append(functional.pad(parts, (0, WIDTH - 4, 0, SLOTS - len(parts))))
    return torch.stack(people)


def _beside(states: Tensor, masks: Tensor, counts: Sequence[int]) -> Beside:
    """What a layer reads of each person's parts. states: (P, tokens, 64).

    Tokens outside of the masks are keys and values of 0, which only count. A few zeros stand for all of them, and a
    bias makes them as heavy.
    """
    tokens = states.shape[1]
    weights = torch.stack([token_mask(mask, tokens) for mask in masks.cpu()]).to(states)  # (P, tokens)
    inside: list[Tensor] = []
    for rows, mask in zip(states.split(list(counts)), weights.split(list(counts)), strict=True):
        inside.append((rows * mask[..., None])[mask > 0])  # (tokens inside, 64)
    padded = functional.pad(pad_sequence(inside, batch_first=True), (0, 0, 0, 1))  # (people, longest + 1, 64)
    lengths = states.new_tensor([len(rows) for rows in inside])[:, None]
    zeros = padded.shape[1] - lengths
    outside = states.new_tensor(counts)[:, None] * tokens - lengths
    bias = (outside.clamp(min=1e-9) / zeros).log()
    places = torch.arange(padded.shape[1]).to(lengths)
    return padded, torch.where(places < lengths, 0.0, bias)


def noise_levels() -> Tensor:
    """(1000,): the share of the picture that is left at each step, squared."""
    return torch.cumprod(1 - torch.linspace(*BETAS, 1000, dtype=torch.float64), 0)
