"""Text alignment of Measure Likeness against transformers' CLIPModel with the same weights, and its tokenizer."""

import family_encoders
import torch
import transformers
from figures import relative
from pack.bridge.host import encode
from tiny import tiny_encoders

SIDE = 28
LONG = "Anna and Ben, (smiling:1.3), in a street of an old town at night " * 8
"""Longer than CLIP reads: the host cuts it, and leaves weights to the tokens that a sampler reads."""


@torch.no_grad()
def test_it_is_the_cosine_of_one_clip():
    clip = family_encoders.refiner()
    vision = tiny_encoders.clip_vision(64, 32, SIDE)
    text = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 3}
    eyes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    config = transformers.CLIPConfig(
        text_config={**text, "hidden_act": "gelu", "eos_token_id": 49407},
        vision_config={**eyes, "patch_size": 14, "image_size": SIDE},
        projection_dim=64,
    )
    joined_clip = transformers.CLIPModel(config).eval()
    halves = clip.cond_stage_model.clip_g.transformer.state_dict() | vision.model.state_dict()
    missing, unexpected = joined_clip.load_state_dict(halves, strict=False)
    assert not unexpected
    assert {key.rsplit(".", 1)[-1] for key in missing} <= {"logit_scale", "position_ids"}
    images = torch.randint(0, 256, (3, SIDE, SIDE, 3), generator=torch.Generator().manual_seed(8)) / 255
    mean, std = (torch.tensor(getattr(vision, f"image_{figure}")) for figure in ("mean", "std"))
    for prompt in ("a red coat", LONG):
        plain_prompt = prompt.replace("(smiling:1.3)", "smiling")
        tokenizer = clip.tokenizer.clip_l.tokenizer
        tokens = tokenizer(plain_prompt, truncation=True, max_length=77, return_tensors="pt")
        pixels = ((images - mean) / std).movedim(-1, 1)
        outputs = joined_clip(input_ids=tokens["input_ids"], pixel_values=pixels)
        expected = torch.cosine_similarity(outputs.text_embeds, outputs.image_embeds)
        alignment = torch.tensor(encode.text_alignment(clip, vision, prompt, images))
        assert (alignment - expected).abs().max() <= 1e-5
        assert relative(alignment, expected) <= 1e-4
        assert expected.std() > 1e-3
