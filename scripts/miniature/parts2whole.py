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

from core.parts.bank import token_mask
from core.projections import AdapterLayers

from .garments import LABELS
from .unet import SD15, WIDTH, Beside, UNet, hint_block

BETAS = (0.00085, 0.0024)
"""Linear from the first to the last of a thousand."""
SLOTS, TEXT = 6, 77
LOUD = 8.0
"""Of a word, against the nothing of all others."""


class Pictures(NamedTuple):
    """Flat pictures of parts (P, 3, H, W), masks (P, H, W), and the numbers of their labels (P,)."""

    pixels: Tensor
    masks: Tensor
    labels: Tensor


class Parts2Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unet, self.reference, self.pose_guider = UNet(SD15), UNet(SD15), hint_block()
        *_, last, _ = self.reference.layers()
        last.ends = True
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
    of = [f"{2 * number + 1}.to_{side}_ip.weight" for number in range(len(unet.layers())) for side in "kv"]
    return AdapterLayers({key: torch.empty(WIDTH, WIDTH, device="meta") for key in of}, ops=nn)


def words() -> Tensor:
    """(labels, 77, 64): each label as one word that only it has. They are orthogonal, and of mean 0 and deviation 1, so
    that a LayerNorm leaves them as they are."""
    numbers, bits = torch.arange(1, len(LABELS) + 1)[:, None, None], torch.arange(6)
    signs = ((torch.arange(WIDTH)[:, None] & numbers) >> bits & 1).sum(-1) % 2 * -2 + 1
    return functional.pad(LOUD * signs[:, None].float(), (0, 0, 1, TEXT - 2))


def looked_at(pictures: Pictures, counts: Sequence[int]) -> Tensor:
    """(B, 6, 64): of every part the mean colour in the square in the middle of its picture, and a 1."""
    high, wide = pictures.pixels.shape[2:]
    top = (high - wide) // 2
    means = (pictures.pixels[:, :, top : top + wide] - 0.5).mean((2, 3))
    tokens = torch.cat([means, torch.ones_like(means[:, :1])], 1)
    rows = [functional.pad(each, (0, WIDTH - 4, 0, SLOTS - len(each))) for each in tokens.split(list(counts))]
    return torch.stack(rows)


def _beside(states: Tensor, masks: Tensor, counts: Sequence[int]) -> Beside:
    """states: (P, tokens, 64). Tokens outside of the masks are keys and values of 0, which only count: a few zeros are
    as heavy as all of them."""
    weights = torch.stack([token_mask(mask, states.shape[1]) for mask in masks.cpu()]).to(states)
    people = zip(states.split(list(counts)), weights.split(list(counts)), strict=True)
    kept = [(rows * mask[..., None])[mask > 0] for rows, mask in people]
    padded = functional.pad(pad_sequence(kept, batch_first=True), (0, 0, 0, 1))
    lengths, places = states.new_tensor([len(rows) for rows in kept])[:, None], torch.arange(padded.shape[1])
    dropped = states.new_tensor(counts)[:, None] * states.shape[1] - lengths
    heavy = (dropped.clamp(min=1e-9) / (padded.shape[1] - lengths)).log()
    return padded, torch.where(places.to(lengths) < lengths, 0.0, heavy)


def noise_levels() -> Tensor:
    """(1000,): the share of the picture that is left at each step, squared."""
    return torch.cumprod(1 - torch.linspace(*BETAS, 1000, dtype=torch.float64), 0)
