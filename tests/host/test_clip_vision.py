"""Another encoder than the one that a file was made with."""

import drawn
import family_encoders
import pytest
from pack.bridge.host import encode
from tiny import tiny_encoders

WIDTH = 32


def test_another_encoder_is_named_with_the_right_one():
    """DINOv2's layers may be as wide as CLIP's, and without its projection ViT-H's embeddings are as wide as bigG's."""
    clip, wide_clip = tiny_encoders.clip_vision(), tiny_encoders.clip_vision(1280)
    for vision, kind, width, message in (
        (clip, encode.STATES, 1280, r"width 32, embeddings of width 48\), .* width 1280. Connect .*ViT-H/14"),
        (clip, encode.EMBEDS, 1280, r"width 1280. Connect CLIP ViT-bigG/14 .*sdxl_models/image_encoder"),
        (clip, encode.STATES, 33, r"width 33. Connect the encoder that the file's page names"),
        (family_encoders.dinov2(), encode.STATES, WIDTH, r"no CLIP .Dinov2Model"),
        (wide_clip, encode.EMBEDS, 1280, r"embeddings of width 1280.*ViT-bigG"),
    ):
        with pytest.raises(encode.WrongEncoder, match=message):
            encode.encode_pictures(vision, drawn.picture(0, 28, 28), kind, width)
    with pytest.raises(encode.WrongEncoder, match=r"Connect CLIP ViT-L/14 .*models/clip_v"):
        encode.encode_grey(clip, 1024)
