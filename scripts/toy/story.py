"""A scene of a story by the small networks: ID-Patch, and Share Parts Attention of what people wore in another scene.

The nodes do the same with the widened networks: Look from Picture, Apply ID-Patch, Share Parts Attention (once, up
blocks).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from core.cast import PlacedCast
from core.parts.bank import PartWeights, key_bias, token_mask
from core.persons import looks
from core.pictures.previews import as_picture, font_for
from core.places.regions import region_of_person, shape_of_bodies

from . import net, words
from .net import Settings, ToyModel
from .unet import Beside, UNet

SCENES = ("at home, in clothes of their own", "in a rainy street", "in a museum", "on a bridge at dusk")
"""A line for each picture. The group's network draws the first one and reads no word; the story's the others, with the
wall that one word of each says."""
_LINE = 30
"""Pixels of a caption."""


@dataclass(frozen=True)
class Worn:
    """Something that somebody wears: where the first scene shows it, and where it is worn in the next, (H, W) each."""

    mask: Tensor
    target: Tensor


def worn_by(first: PlacedCast, then: PlacedCast, person: int, hair: bool) -> list[Worn]:
    """What Look from Picture takes of a person, by index, of the first scene. Raises LikenessError."""
    target = region_of_person(then, then.numbers[person], shape_of_bodies(then), ())
    masks = [looks.clothes_of_place(first, person)]
    if hair:
        masks.append(looks.hair_of_place(first, person))
    return [Worn(mask, target) for mask in masks]


def prompt_of(line: str) -> Tensor:
    """(77, 64): what the text encoder says of a line."""
    said = dict(enumerate(line.split(), 1))
    return words.prompt({place: word for place, word in said.items() if word in words.WORDS})


def sheet(pictures: Sequence[Tensor], lines: Sequence[str], columns: int = 2) -> Image.Image:
    """Pictures of one size (H, W, 3) in rows, each above its line."""
    height, width = pictures[0].shape[:2]
    rows = math.ceil(len(pictures) / columns)
    shown = Image.new("RGB", (columns * width, rows * (height + _LINE)), "white")
    pen = ImageDraw.Draw(shown)
    for number, (picture, line) in enumerate(zip(pictures, lines, strict=True)):
        x, y = number % columns * width, number // columns * (height + _LINE)
        shown.paste(as_picture(picture), (x, y))
        pen.text((x + width / 2, y + height + _LINE / 2), line, "black", font_for(line, _LINE * 2 // 3), anchor="mm")
    return shown


@torch.inference_mode()
def scene(
    model: ToyModel, hint: Tensor, prompt: Tensor, settings: Settings, first: Tensor | None = None,
    worn: Sequence[Worn] = (),
) -> Tensor:  # fmt: skip
    """Latents (1, 4, h, w) for a hint (1, 3, H, W) and a prompt (77, 64). first: pixels (H, W, 3) of the first scene,
    and what of it is worn."""
    unet = model.story
    unet.look_at([None] * len(unet.layers()))
    if first is not None and worn:
        unet.look_at(beside(unet, model.encoder(first.movedim(-1, 0)[None]), worn))

    def clean(x: Tensor, time: Tensor, sigma: Tensor) -> Tensor:
        scale = 1 / (sigma**2 + 1).sqrt()
        steps = time.expand(len(x))
        control = model.control(x * scale, steps, prompt[None], hint)
        velocity = unet(x * scale, steps, prompt[None], control, settings.strength)
        return x * scale**2 - velocity * sigma * scale

    return net.sampled(clean, hint, settings, net.noise_levels())


def beside(unet: UNet, first: Tensor, worn: Sequence[Worn]) -> list[Beside | None]:
    """What every layer on the way up reads of a scene, latents (1, 4, h, w) without noise."""
    layers = unet.layers()
    if not worn:
        return [None] * len(layers)
    unet.look_at([None] * len(layers))
    with torch.no_grad():  # what it sees of a picture serves as it is; what is learned is to read it
        unet(first, first.new_zeros(1), first.new_zeros(1, words.TEXT, net.WIDTH), only_seen=True)
    up = {id(layer) for layer in unet.up_layers()}
    targets = PartWeights([1.0] * len(worn), torch.stack([one.target for one in worn]))
    return [_of_layer(layer.seen, first.shape[2:], worn, targets) if id(layer) in up else None for layer in layers]


def _of_layer(seen: Tensor, latents: Sequence[int], worn: Sequence[Worn], targets: PartWeights) -> Beside:
    """seen: (1, tokens, 64)."""
    tokens = seen.shape[1]
    side = round((latents[0] * latents[1] / tokens) ** 0.5)
    grid = (latents[0] // side, latents[1] // side)
    kept: list[Tensor] = []
    counts: list[tuple[int, int]] = []
    for one in worn:
        weights = token_mask(one.mask, tokens)
        kept.append((seen[0] * weights[:, None])[weights > 0])
        counts.append((len(kept[-1]), tokens - len(kept[-1])))
    bias = key_bias(counts, tokens, targets, grid, torch.float32)
    assert bias is not None
    of_dropped = bias.shape[2] - tokens - sum(count for count, _ in counts)
    states = torch.cat([*kept, seen.new_zeros(of_dropped, seen.shape[2])])
    return states[None], bias[:, :, tokens:]
