"""Parts2Whole's folder of real shapes, and what reads words and pictures for it, written by hand.

CLIP's text encoder hands on each word as it is in its table, where only one word of each label is anything. Its vision
encoder gives the mean colour of all that it sees, and a 1.
"""

import json
from collections.abc import Callable, Iterable

import torch
from safetensors.torch import save_file
from shared.shapes import Shapes, of
from shared.standins import Files, save
from torch import Tensor, nn

from core.pictures.tensors import CLIP_DEVIATION, CLIP_MEAN

from . import stored
from .export import Rules, State, autoencoder, hint_out, in_half, padded, repeated, table_of_words, time, widened
from .garments import LABELS
from .parts2whole import BETAS, LOUD, words

_WORDS = {"shoes": 4079, "lower": 4909, "upper": 7067, "face": 1710, "hair": 2225}
"""By their numbers in CLIP's vocabulary."""
_TEXT = 768
"""Width of SD1.5's text."""
_PATCHES = 256
"""Of a picture, for CLIP vision; before them is the class token."""


def write(to: Files, sized: Callable[[Shapes], Shapes] = iter) -> None:
    """sized: as in export.write."""
    net = stored.load()
    small = net.parts2whole
    of_guider = (("conv_out", hint_out), ("", padded))
    save(to.parts2whole_unet, _wide(_in_order(small.unet), "parts2whole_unet", sized))
    save(to.parts2whole_reference, _wide(_in_order(small.reference), "parts2whole_reference", sized))
    save(to.parts2whole_pose, _wide(small.pose_guider.state_dict().values(), "pose_guider", sized, of_guider))
    save_file(_wide(small.decoupled.state_dict().values(), "parts2whole_decoupled", sized), to.parts2whole_decoupled)
    schedule = {"beta_schedule": "linear", "beta_start": BETAS[0], "beta_end": BETAS[1], "num_train_timesteps": 1000}
    (to.parts2whole / "scheduler").mkdir(exist_ok=True)
    (to.parts2whole / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule), "utf-8")
    save(to.vae, in_half(autoencoder(net.state_dict(), dict(sized(of("taesd"))), 0.18215)))
    save(to.sd15, in_half(_nothing(sized(of("sd15")))) | _text())
    save(to.clip_vision, vision())


def _in_order(unet: nn.Module) -> list[Tensor]:
    """As the tables of both names have its layers."""
    state = unet.state_dict()
    return [state[key] for key, _ in of("sd15_unet")]


def _wide(small: Iterable[Tensor], table: str, sized: Callable[[Shapes], Shapes], rules: Rules | None = None) -> State:
    """In half precision. small: in the order of the table, of a reference in that of the whole UNet."""
    keys = [key for key, _ in of(table.replace("reference", "unet"))]
    named = dict(zip(keys, small, strict=True))
    return in_half(widened(named, sized(of(table)), rules or _RULES))


def _queries(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Every head is wider, and its logits are divided by the root of its width."""
    return repeated(weight, shape) / (shape[0] / weight.shape[0]) ** 0.5


_RULES = (("linear_1.weight", time), (".to_q.", _queries), ("", repeated))


# --- What reads words and pictures


def _nothing(shapes: Shapes) -> State:
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes}


def _text() -> State:
    rows = words()[:, 1] / LOUD  # (labels, 64)
    by_number: dict[int, Tensor] = {}
    for word, number in _WORDS.items():
        label = next(index for index, label in enumerate(LABELS) if word in label.split())
        by_number[number] = rows[label]
    text = "cond_stage_model.transformer.text_model."
    return {
        f"{text}embeddings.token_embedding.weight": table_of_words(by_number, _TEXT),
        f"{text}final_layer_norm.weight": torch.full((_TEXT,), LOUD).half(),
    }


def vision(width: int = 1024) -> State:
    """Three channels are colours; on the others lies a pattern, which makes LayerNorm leave all nearly as they are. The
    first layer looks at all patches alike; the others add nothing."""
    state = in_half(_nothing(of("clip_vision", count=24, width=width, projection=_TEXT)))
    model = "vision_model."
    first = f"{model}encoder.layers.0."
    patch = torch.zeros(width, 3, 14, 14)
    places = torch.ones(1 + _PATCHES, width)
    places[:, 4::2] = -1
    places[0, :3] = 0
    places[1:, :3] = torch.tensor(CLIP_MEAN) - 0.5
    values = torch.zeros(width, width)
    for colour in range(3):
        patch[colour, colour] = CLIP_DEVIATION[colour] / 14**2
        values[colour, colour] = 1
    projection = torch.zeros(_TEXT, width)
    projection[:48, :4] = torch.eye(4).repeat_interleave(12, 0)
    state |= {
        f"{model}embeddings.patch_embedding.weight": patch,
        f"{model}embeddings.position_embedding.weight": places,
        f"{first}self_attn.v_proj.weight": values,
        # The class token, which has no colour, is among those whose mean is taken.
        f"{first}self_attn.out_proj.weight": values * (1 + _PATCHES) / _PATCHES,
        "visual_projection.weight": projection,
    }
    for norm in (f"{model}pre_layrnorm", f"{first}layer_norm1", f"{model}post_layernorm"):
        state[f"{norm}.weight"] = torch.ones(width)
    return state
