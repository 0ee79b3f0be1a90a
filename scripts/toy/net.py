"""The whole toy model: both projections of a face embedding, UNet and ControlNet, the decoder, and a sampler."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from shared import shapes
from torch import Tensor, nn

from core.attention.projections import Resampler
from core.pictures.geometry import PATCH, patch_rect, with_patches

from . import parts2whole
from .autoencoder import Decoder, Encoder
from .looks import LENGTH, SIZE
from .parts2whole import Parts2Whole, Pictures
from .unet import WIDTH, ControlNet, UNet

TEXT = 77
"""Tokens of a prompt."""
TOKENS = 16
"""Tokens of one person."""
EMBEDDING = 512

_HAIR, _SKIN, _SHIRT, _STYLE, NOTHING = range(5)
_STEEP = 32.0


def bands() -> Tensor:
    """What each pixel of a patch says, (64, 64): _HAIR, _SKIN, _SHIRT, _STYLE or NOTHING.

    The fields are so large that each holds whole cells of 8 px, wherever the patch lies. Above is hair, below shirt and
    skin, clear of the skeleton's eyes and ears; between them nothing, with the style at both ends.
    """
    band = torch.full((PATCH, PATCH), _HAIR)
    band[20:32] = NOTHING
    band[32:46] = _SHIRT
    band[46:] = _SKIN
    band[20:32, :16] = _STYLE
    band[20:32, 48:] = _STYLE
    return band


def _resampler(tokens: int, width: int) -> Resampler:
    sizes = shapes.of("queries", tokens=tokens, width=64, inputs=EMBEDDING, text=width, depth=2)
    resampler = Resampler({key: torch.empty(shape, device="meta") for key, shape in sizes}, ops=nn)
    nn.init.normal_(resampler.latents, std=WIDTH**-0.5)  # the host's loader leaves what lies in memory
    return resampler


class InstantID(nn.Module):
    """What the method adds to a UNet: tokens of a face, their keys and values per layer, and IdentityNet."""

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.image_proj = _resampler(TOKENS, WIDTH)
        self.ip_adapter = parts2whole.keys_and_values(unet)
        self.identity = ControlNet()

    def tokens(self, embeddings: Tensor) -> Tensor:
        """(P, 512), as long as the recogniser gives them, -> (P, 16, 64)."""
        return self.image_proj(embeddings[:, None])

    def velocity(
        self, unet: UNet, x: Tensor, steps: Tensor, hint: Tensor, tokens: Tensor, strength: float = 1.0,
        weight: float = 1.0,
    ) -> Tensor:  # fmt: skip
        """As of the UNet. tokens: (B, 16, 64). strength: of IdentityNet; weight: of the adapter."""
        empty_prompt = x.new_zeros(len(x), TEXT, WIDTH)
        control = self.identity(x, steps, tokens, hint)
        pairs = [(keys, weight * values) for keys, values in self.ip_adapter.keys_and_values(tokens)]
        return unet(x, steps, empty_prompt, control, strength, pairs)


class ToyModel(nn.Module):
    """Parameters: patch_proj, prompt_proj, unet, control, decoder and, for training, encoder; of InstantID and of
    Parts2Whole their own; sharing, a UNet that is its own reference; story, one that is so beside `control`."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_proj = _resampler(3, PATCH * PATCH)
        self.prompt_proj = _resampler(TOKENS, WIDTH)
        self.unet = UNet()
        self.control = ControlNet()
        self.decoder = Decoder()
        self.encoder = Encoder()
        self.instant_id = InstantID(self.unet)
        self.parts2whole = Parts2Whole()
        self.sharing = UNet()
        self.story = UNet()
        _write_bands(self.patch_proj)

    def patches(self, embeddings: Tensor) -> Tensor:
        """(P, 512) -> (P, 3, 64, 64), about -1..1."""
        return self.patch_proj(embeddings[:, None]).unflatten(-1, (PATCH, PATCH))

    def looks(self, embeddings: Tensor) -> Tensor:
        """(P, 512) -> (P, 11): what the patches say, and so what a right picture shows."""
        colours = self.patches(embeddings) / 2 + 0.5  # (P, 3, 64, 64), 0..1
        band = bands()
        hair, skin, shirt, style = (colours[..., band == part].mean(-1) for part in (_HAIR, _SKIN, _SHIRT, _STYLE))
        return torch.cat([hair, skin, shirt, style[:, : SIZE - LENGTH]], dim=1)

    def tokens(self, embeddings: Tensor) -> Tensor:
        """(P, 512) -> (P, 16, 64)."""
        return self.prompt_proj(embeddings[:, None])

    def velocity(self, x: Tensor, steps: Tensor, hint: Tensor, context: Tensor, strength: float = 1.0) -> Tensor:
        return self.unet(x, steps, context, self.control(x, steps, context, hint), strength)


def written(parts: Sequence[Tensor]) -> Tensor:
    """A patch (3, 64, 64) that says these colours (3,) of hair, skin, shirt and style, -1..1."""
    return torch.stack([*parts, torch.zeros(3)])[bands()].permute(2, 0, 1)


def _write_bands(projection: Resampler) -> None:
    """Let the last layers write each token's first four numbers flat into the bands.

    The LayerNorm would change them; a large fixed pattern makes it nearly linear, and the bias takes the pattern away
    again. The field that says nothing takes up the mean.
    """
    band = bands().flatten()
    places = torch.arange(PATCH * PATCH)
    pattern = _STEEP * ((places // PATCH + places % PATCH) % 2 * 2 - 1).float()
    live = band != NOTHING
    weight = torch.zeros(PATCH * PATCH, WIDTH)
    weight[live, band[live]] = 1.0
    weight[~live] = -weight.sum(0) / (~live).sum()
    with torch.no_grad():
        projection.proj_out.weight.copy_(weight)
        projection.proj_out.bias.copy_(pattern)
        projection.norm_out.weight.copy_(live * (_STEEP**2 + 1) ** 0.5)
        projection.norm_out.bias.copy_(-pattern * live)


def hint(skeleton: Tensor, patches: Tensor, centers: Sequence[tuple[float, float]]) -> Tensor:
    """skeleton (H, W, 3) and a patch (3, 64, 64) around each centre, as the pack adds them: (1, 3, H, W), signed."""
    rects = [patch_rect(center) for center in centers]
    return with_patches(skeleton[None], list(patches), rects).permute(0, 3, 1, 2)


def context(tokens: Tensor | None, at_least: int = 0) -> Tensor:
    """(P, 16, 64) or nothing -> (1, 77 + 16 P, 64): the prompt says zeros. at_least: people, the missing ones zeros."""
    people = torch.zeros(0, WIDTH) if tokens is None else tokens.flatten(0, 1)
    empty = torch.zeros(TEXT + max(0, at_least * TOKENS - len(people)), WIDTH)
    return torch.cat([empty, people])[None]


def noise_levels() -> Tensor:
    """(1000,): the share of the picture that is left at each step, squared; Stable Diffusion's schedule."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0)


KSAMPLER: dict[str, Any] = {"cfg": 1.0, "sampler_name": "euler", "scheduler": "normal"}
"""Of the node, as the toy model was trained. CFG 1, because guidance away from nobody makes flat colours too strong."""


class Settings(NamedTuple):
    """Those of the nodes: KSampler, and strength and id_start_percent of Apply ID-Patch.

    The last two are the nodes' own defaults. One step is enough, because little is left to chance.
    """

    steps: int = 1
    cfg: float = KSAMPLER["cfg"]
    strength: float = 0.8
    id_start: float = 0.2
    seed: int = 1


Clean = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x, time, sigma) -> what the picture will be, as far as x tells."""


@torch.inference_mode()
def sample(net: ToyModel, hints: Tensor, people: Sequence[Tensor | None], settings: Settings) -> Tensor:
    """Latents (B, 4, h, w) for hints (B, 3, H, W) and everybody's tokens (P, 16, 64) per picture.

    The host's KSampler does the same with the widened networks.
    """
    most = max((len(tokens) for tokens in people if tokens is not None), default=0)
    nobody = net.tokens(torch.zeros(1, EMBEDDING))
    positive: list[Tensor] = []
    negative: list[Tensor] = []
    for tokens in people:
        positive.append(context(tokens, most))
        negative.append(context(None if tokens is None else nobody.expand(len(tokens), -1, -1), most))
    positive_context = torch.cat(positive)
    negative_context = torch.cat(negative)

    def guided(x: Tensor, time: Tensor, sigma: Tensor) -> Tensor:
        clean = partial(_clean, net, x, time, sigma, hints, settings.strength)
        if time > 999 * (1 - settings.id_start):  # without ID tokens both sides are the same
            return clean(torch.zeros_like(positive_context))
        with_people = clean(positive_context)
        if settings.cfg == 1:
            return with_people
        without_people = clean(negative_context)
        return without_people + settings.cfg * (with_people - without_people)

    return sampled(guided, hints, settings, noise_levels())


def sampled(clean: Clean, hints: Tensor, settings: Settings, kept: Tensor) -> Tensor:
    """By Euler's method, (B, 4, h, w) for hints (B, 3, H, W). kept: noise_levels of the model."""
    times, sigmas = _schedule(settings.steps, kept)
    random = torch.Generator().manual_seed(settings.seed)
    noise = torch.randn(len(hints), 4, *(side // 8 for side in hints.shape[2:]), generator=random)
    x = noise * (1 + sigmas[0] ** 2).sqrt()
    for time, sigma, following in zip(times, sigmas, sigmas[1:], strict=False):
        picture = clean(x, time, sigma)
        x = picture + (x - picture) / sigma * following
    return x


@torch.inference_mode()
def dressed(net: ToyModel, pictures: Pictures, counts: Sequence[int], poses: Tensor, settings: Settings) -> Tensor:
    """Latents (B, 4, h, w) of people in these poses (B, 3, H, W), who wear so many of the parts each."""
    seen = net.parts2whole.seen(net.encoder(pictures.pixels), pictures, counts)
    tokens = parts2whole.looked_at(pictures, counts)

    def clean(x: Tensor, time: Tensor, sigma: Tensor) -> Tensor:
        scaled = x / (sigma**2 + 1).sqrt()
        return x - sigma * net.parts2whole.noise(scaled, time.expand(len(x)), seen, tokens, poses)

    return sampled(clean, poses, settings, parts2whole.noise_levels())


def _clean(
    net: ToyModel, x: Tensor, time: Tensor, sigma: Tensor, hints: Tensor, strength: float, people: Tensor
) -> Tensor:
    """What the picture will be, as far as x tells. people: (B, tokens, 64), of `context`."""
    scale = 1 / (sigma**2 + 1).sqrt()
    velocity = net.velocity(x * scale, time.expand(len(x)), hints, people, strength)
    return x * scale**2 - velocity * sigma * scale


def _schedule(steps: int, kept: Tensor) -> tuple[Tensor, Tensor]:
    """(steps,) times from 999 to 0 and (steps + 1,) sigmas down to 0, as the host's scheduler `normal` has them."""
    times = torch.linspace(999, 0, steps)
    logs = ((1 - kept) / kept).sqrt().log().float()
    sigmas = torch.lerp(logs[times.floor().long()], logs[times.ceil().long()], times.frac()).exp()
    return times, torch.cat([sigmas, torch.zeros(1)])
