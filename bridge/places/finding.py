"""People found in the first steps of a sampling: what is sampled for it, and what of that is probed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from comfy.patcher_extension import WrappersMP
from comfy.samplers import CFGGuider
from comfy.sd import CLIP
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from latent_preview import Latent2RGBPreviewer
from torch import Tensor

from ...core.attention.cross_attention import on_tokens
from ...core.cast import CanvasSize
from ...core.checks.errors import BadSetup
from ..host.schedule import WHOLE_SCHEDULE
from ..host.shared_network import model_of
from ..host.unet import Grid, pixels_of
from ..sampling.carried import carried_in, carry
from ..sampling.conditioning import Conditioning, SamplerInputs
from ..sampling.on_model import with_kinds
from ..words.transformer.words import TransformerWords
from ..words.unet.words import UnetWords
from .probe import PROBES, Probe, Sought


@dataclass(frozen=True, eq=False)
class Sampling:
    """How the host's SamplerCustomAdvanced samples, under its names. noise, sampler: the host's. sigmas: (steps + 1,).
    cfg: of its CFGGuider."""

    noise: Any
    sampler: Any
    sigmas: Tensor
    cfg: float


@dataclass(frozen=True)
class SeenPeople:
    """What a layer has seen of people, in the cells of its grid.

    scores: (people, N), how strongly each cell reads each person. hidden: (N, C), of each cell. size: of the grid, (h,
    w), N = h * w. side: of a cell, in pixels. canvas: (width, height) of the picture, in pixels. picture: what the
    model expects so far, (latent height, latent width, 3); None where the host cannot show latents of its kind.
    """

    scores: Tensor
    hidden: Tensor
    size: Grid
    side: int
    canvas: CanvasSize
    picture: Tensor | None

    def in_cells(self, regions: Tensor) -> Tensor:
        """How much of each cell lies in each region: (regions, N). regions: (regions, H, W)."""
        width, height = self.canvas
        return on_tokens(regions, height, width, self.side).flatten(1)

    def on_canvas(self, masks: Tensor) -> Tensor:
        """Masks of the cells (people, h, w) as masks of the picture, with straight edges: (people, H, W)."""
        width, height = self.canvas
        size = [cells * self.side for cells in self.size]
        # Cut to the canvas: where its sides are no multiple of a cell's, the last cells reach beyond it.
        return functional.interpolate(masks[:, None], size=size, mode="bilinear")[:, 0, :height, :width]


def probed(
    given: SamplerInputs,
    latent: Mapping[str, Any],
    sampling: Sampling,
    share: float,
    clip: CLIP,
    words: Sequence[str],
) -> SeenPeople:
    """Sample up to a share of the steps, and give what is seen then; the other steps are not computed, see Probe.

    given: with a MODEL. If people have words, these are the last that its positive carries. share: 0..1, of the steps.
    clip: the encoder of the words. words: of each person; "" for everybody where ID tokens or references tell people
    apart. Raises BadSetup where nothing is seen.
    """
    assert given.model is not None
    probe = Probe(share)
    # source: an object of this probe alone, which tells what it carries from that of other nodes.
    nobody = Sought(source=object(), schedule=WHOLE_SCHEDULE, probe=probe, people_count=0)
    sought = replace(nobody, people_count=len(words))
    if any(words):
        lengths = _lengths_of_words(given.positive)
        of_people = tuple(numbers_of_words(clip, said, length) for said, length in zip(words, lengths, strict=True))
        sought = replace(sought, word_numbers=of_people, lengths=lengths)
    model = with_kinds(given.model, PROBES)
    model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, PROBES.key, probe.wrap_calc_cond_batch)
    guider = CFGGuider(model)
    # Every chunk must carry a Sought, so the negative has one that seeks nobody.
    guider.set_conds(carry(given.positive, sought), carry(given.negative, nobody))
    guider.set_cfg(sampling.cfg)
    SamplerCustomAdvanced().sample(sampling.noise, guider, sampling.sampler, sampling.sigmas, latent)
    if probe.seen is None or probe.predicted is None:
        raise BadSetup(
            "Find Places has seen nothing of the people: at the step of look_at the model has read neither their "
            "words, nor ID tokens or reference pictures of as many people.",
            "Write a line for each person in Prompts (prompts), take nodes off the MODEL that change attention or skip "
            "steps, and give the prompt no timestep range that ends before.",
        )
    base_model = model_of(given.model)
    pixels = pixels_of(base_model)  # of a latent pixel's side
    height, width = (pixels * side for side in probe.predicted.shape[-2:])
    return SeenPeople(
        scores=probe.seen.scores,
        hidden=probe.seen.hidden,
        size=probe.seen.size,
        side=probe.seen.cell * pixels,
        canvas=(width, height),
        picture=shown(probe.predicted, base_model.latent_format),
    )


def _lengths_of_words(positive: Conditioning) -> tuple[int, ...]:
    """How many tokens each person's words have: those that the last node has put into the positive."""
    _, options = positive[0]  # all entries carry the same words
    words = carried_in(options, UnetWords.key) or carried_in(options, TransformerWords.key)
    return tuple(text.shape[1] for text in words[-1].texts)  # [-1]: of the last node


def shown(latent: Tensor, latent_format: Any) -> Tensor | None:
    """The first picture of a latent, (B, C, h, w) or (B, C, T, h, w), in the host's colours for it: (h, w, 3), 0..1.

    None where the host has no colours for latents of this format.
    """
    if latent_format.latent_rgb_factors is None:
        return None
    # As arrays, because the host makes tensors of them: of lists it makes tensors of torch's default type.
    factors = np.array(latent_format.latent_rgb_factors, np.float32)
    bias = latent_format.latent_rgb_factors_bias
    arguments: list[Any] = [factors, None if bias is None else np.array(bias, np.float32)]
    reshape = getattr(latent_format, "latent_rgb_factors_reshape", None)  # older hosts know of none
    if reshape is not None:
        arguments.append(reshape)
    picture = Latent2RGBPreviewer(*arguments).decode_latent_to_preview(latent.float().cpu())
    return torch.from_numpy(np.array(picture)).float() / 255


def numbers_of_words(clip: CLIP, words: str, count: int) -> tuple[int, ...]:
    """The numbers of the tokens of a text that are words: neither of the encoder's template nor filled up.

    Numbers are counted from the end, 1 for the last, because some encoders give no tokens for the beginning of their
    template. Where no token is seen to be a word, all numbers are given. count: how many tokens the encoder gives.
    """
    ids_by_encoder = _token_ids(clip, words)
    # Of the encoders of a model, the one whose tokens these are: with `count` tokens, else the one with the most.
    longest = max(ids_by_encoder, key=lambda encoder: len(ids_by_encoder[encoder]))
    name = next((name for name, ids in ids_by_encoder.items() if len(ids) == count), longest)
    ids, empty_ids = ids_by_encoder[name], _token_ids(clip, "")[name]
    # What both begin with is the template's; what then follows in the empty text comes behind the words.
    start = 0
    while start < min(len(ids), len(empty_ids)) and ids[start] == empty_ids[start]:
        start += 1
    ids_behind = {token_id for token_id in empty_ids[start:] if token_id is not None}
    numbers = [len(ids) - index for index in range(start, len(ids)) if ids[index] not in ids_behind]
    given = [number for number in numbers if number <= count]  # the encoder gives the last `count` tokens alone
    return tuple(given) or tuple(range(1, count + 1))


def _token_ids(clip: CLIP, text: str) -> dict[str, list[int | None]]:
    """The ids of the tokens of a text, by encoder; None for what has no id, such as an embedding."""
    ids_by_encoder: dict[str, list[int | None]] = {}
    for name, pieces in clip.tokenize(text).items():
        ids_or_embeddings = [token[0] for piece in pieces for token in piece]  # a token is (id, weight, ...)
        ids_by_encoder[name] = [item if isinstance(item, int) else None for item in ids_or_embeddings]
    return ids_by_encoder
