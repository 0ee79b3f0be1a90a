"""What CLIP vision sees, in the host: hidden states, embeddings, nothing, and another encoder than the file's."""

from __future__ import annotations

import comfy.model_management
import parts_made
import pytest
import torch
from pack.bridge import encode

WIDTH, PROJECTED, SIDE = 32, 48, 28


def pictures(count: int) -> torch.Tensor:
    return torch.cat([parts_made.picture(n, SIDE, SIDE) for n in range(count)])


def test_every_picture_is_seen_as_the_host_sees_it_alone():
    """Two batches and a rest."""
    vision, shown = parts_made.clip_vision(), pictures(2 * encode.BATCH + 1)
    states, embeds = encode.states(vision, shown, WIDTH), encode.embeds(vision, shown, PROJECTED)
    alone = [vision.encode_image(one[None]) for one in shown]
    assert states.shape == (len(shown), 5, WIDTH) and embeds.shape == (len(shown), PROJECTED)
    assert torch.allclose(states, torch.cat([one["penultimate_hidden_states"] for one in alone]), atol=1e-6)
    assert torch.allclose(embeds, torch.cat([one["image_embeds"] for one in alone]), atol=1e-6)
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        encode.states(vision, shown, WIDTH)


@pytest.mark.both_hosts
def test_nothing_is_the_mean_colour_and_not_black():
    vision = parts_made.clip_vision()
    nothing = encode.nothing(vision, WIDTH)
    black = encode.states(vision, torch.zeros(1, SIDE, SIDE, 3), WIDTH)
    grey = encode.states(vision, torch.tensor(vision.image_mean).expand(1, SIDE, SIDE, 3), WIDTH)
    # The host rounds the grey to steps of 1/255.
    assert (nothing - grey).abs().max() < 0.02 * (nothing - black).abs().max()


def test_another_encoder_is_named_with_the_right_one():
    """DINOv2's layers may be as wide as CLIP's, and without its projection ViT-H's embeddings are as wide as bigG's."""
    clip, other = parts_made.clip_vision(), parts_made.clip_vision(1280)
    for vision, ask, width, said in (
        (clip, encode.states, 1280, r"width 32, embeddings of width 48\), .* width 1280. Connect .*ViT-H/14"),
        (clip, encode.embeds, 1280, r"width 1280. Connect CLIP ViT-bigG/14 .*sdxl_models/image_encoder"),
        (clip, lambda one, _, width: encode.nothing(one, width), 1024, r"Connect CLIP ViT-L/14 .*models/clip_v"),
        (clip, encode.states, 33, r"width 33. Connect the encoder that the file's page names"),
        (parts_made.dinov2(), encode.states, WIDTH, r"no CLIP .Dinov2Model"),
        (other, encode.embeds, 1280, r"embeddings of width 1280.*ViT-bigG"),
    ):
        with pytest.raises(encode.WrongEncoder, match=said):
            ask(vision, pictures(1), width)
