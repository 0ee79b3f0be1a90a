"""The toy model as files of the real shapes: every channel five times, which changes nothing of what it computes.

Rows of a weight (its outputs) are repeated, its columns (inputs) repeated and divided; the statistics of GroupNorm and
LayerNorm stay the same. Text of width 2048 is 64 numbers, each 32 times.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from shared import adapters
from shared.shapes import Shapes, of
from shared.standins import FILES, TEXT, WIDTH, Files, copy_face_pack, nested, save
from torch import Tensor

from core.models.manifest import STANDIN
from core.models.tensors import below

from . import recogniser, stored, words
from .export_encoder import widened_encoder
from .unet import WIDTH as SMALL

State = dict[str, Tensor]
Rule = Callable[[Tensor, tuple[int, ...]], Tensor]
Rules = Sequence[tuple[str, Rule]]
PREFIX = STANDIN
_LAYERS = adapters.UNet(TEXT, (WIDTH,) * 16)
_TEXT_TIMES = TEXT // SMALL
_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_WORDS = "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight"
_CLIP_WIDTH = 768
SDXL_SCALE = 0.13025
"""Of SDXL's latents."""


def files(root: Path) -> Files:
    names = {name: row["file"].replace("standin", PREFIX) for name, row in FILES.items()}
    return Files(root, {**names, "checkpoint": f"checkpoints/{PREFIX}.ckpt"})


_VOCABULARY = 49408
_STEP = 64
"""Numbers between the rows of a table of words, which lie over each other: 6 MB instead of 76, since only a few words
are anything."""


def table_of_words(rows: Mapping[int, Tensor], width: int) -> Tensor:
    """CLIP's table, (49408, width), of rows (64 or fewer,) by the words' numbers."""
    numbers = torch.zeros(_VOCABULARY * _STEP + width)
    for number, row in rows.items():
        numbers[number * _STEP :][:width] = row.repeat_interleave(width // len(row))
    return numbers.half().as_strided((_VOCABULARY, width), (_STEP, 1))


def write(to: Files, sized: Callable[[Shapes], Shapes] = iter) -> None:
    """SDXL's family and the recognisers. sized: the real shapes -> those of the checkpoint and the ControlNet."""
    state = stored.load().state_dict()
    for part, path in (("unet", to.checkpoint), ("sharing", to.sharing), ("story", to.story)):
        save(path, checkpoint(state, part, sized(of("sdxl")), dict(sized(of("taesd")))))
    save(to.control_net, in_half(widened(below("control.", state), sized(of("controlnet")))))
    save(to.id_patch, id_patch(state))
    save(to.recogniser, recogniser.state())
    save(to.identity_net, in_half(widened(below("instant_id.identity.", state), sized(of("controlnet")))))
    save(to.instant_id, instant_id(below("instant_id.", state), sized(adapters.layers(_LAYERS))))
    # A pack of its own, which is preferred to the real recogniser where it is chosen.
    copy_face_pack(to.antelope.parent, ("det_500m.onnx",))
    to.antelope.write_bytes(recogniser.onnx_file())


# --- The three files


def checkpoint(state: State, part: str, at: Shapes, vae: Mapping[str, tuple[int, ...]]) -> State:
    """A UNet, text encoders of zeros and TAESD in the VAE's place. part: which UNet, `unet`, `sharing` or `story`, for
    which alone some words of a prompt say something."""
    shapes = dict(at)
    weights = _zeros(shapes)
    unet = {key.removeprefix(_UNET): shape for key, shape in shapes.items() if key.startswith(_UNET)}
    for key, weight in widened(below(f"{part}.", state), iter(unet.items())).items():
        weights[_UNET + key] = weight
    for key, weight in autoencoder(state, vae, SDXL_SCALE).items():
        weights[_VAE + key] = weight
    half = in_half(weights)
    if part == "story":
        of_clip = _CLIP_WIDTH // _TEXT_TIMES  # CLIP-L gives the first numbers of a token, CLIP-G the others
        half[_WORDS] = table_of_words(
            {number: words.token(word)[:of_clip] for word, number in words.WORDS.items()}, _CLIP_WIDTH
        )
    half["v_pred"] = torch.tensor([])  # by this key the host knows a model that predicts velocities
    return half


def autoencoder(state: State, shapes: Mapping[str, tuple[int, ...]], scale: float) -> State:
    """TAESD. scale: of the model's latents, by which the host divides first what its decoder is given."""
    weights = _zeros(shapes) | {"vae_scale": torch.tensor(scale)}
    decoder = "taesd_decoder."
    encoder = "taesd_encoder."
    for key, weight in below("decoder.", state).items():
        weights[decoder + key] = padded(weight, shapes[decoder + key])
    encoder_shapes = {key.removeprefix(encoder): shape for key, shape in shapes.items() if key.startswith(encoder)}
    for key, weight in widened_encoder(below("encoder.", state), encoder_shapes).items():
        weights[encoder + key] = weight
    return weights


def _zeros(shapes: Mapping[str, tuple[int, ...]]) -> State:
    """One number expanded, which torch stores once."""
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}


def id_patch(state: State) -> dict[str, State]:
    """Both projections, the tokens as wide as the text."""
    return {"patch_proj": below("patch_proj.", state), "prompt_proj": _as_text(below("prompt_proj.", state))}


def instant_id(state: State, layers: Shapes) -> dict[str, State]:
    """What reads a face, and its keys and values in every cross-attention layer."""
    projection = {f"image_proj.{key}": weight for key, weight in _as_text(below("image_proj.", state)).items()}
    return nested(in_half(projection | widened(state, layers)))


def _as_text(projection: State) -> State:
    """Its tokens as wide as the text."""
    for key in ("proj_out.weight", "proj_out.bias", "norm_out.weight", "norm_out.bias"):
        projection[key] = projection[key].repeat_interleave(_TEXT_TIMES, 0)
    return projection


# --- Widening


def widened(small: State, shapes: Shapes, rules: Rules = ()) -> State:
    """The same network at these shapes; what the small one lacks (label_emb) is zero.

    rules: (part of a key, its rule), tried before _RULES. A key without a rule is `repeated`.
    """
    large: State = {}
    for key, shape in shapes:
        if key in small:
            large[key] = _rule_for(key, rules)(small[key], shape)
        else:
            large[key] = torch.zeros(()).expand(shape)
    return large


def _rule_for(key: str, rules: Rules) -> Rule:
    for part, rule in (*rules, *_RULES):
        if part in key:
            return rule
    return repeated


def repeated(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A layer between channels: rows repeated, and columns repeated and divided where there are more of them."""
    weight = weight.repeat_interleave(shape[0] // weight.shape[0], 0)
    if len(shape) < 2:
        return weight
    times = shape[1] // weight.shape[1]
    wide = weight.repeat_interleave(times, 1) / times
    # A linear layer may stand for a convolution of one pixel.
    while wide.ndim < len(shape):
        wide = wide[..., None]
    return wide


def _queries(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Whole heads are copied: 64 rows are one head at every width."""
    times = shape[1] // weight.shape[1]
    return weight.repeat_interleave(times, 1).repeat(shape[0] // weight.shape[0], 1) / times


def _from_heads(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    times = shape[1] // weight.shape[1]
    return weight.repeat_interleave(shape[0] // weight.shape[0], 0).repeat(1, times) / times


def time(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Of the large model's frequencies every fifth is one of the small one's."""
    large = torch.zeros(weight.shape[0], shape[1])
    large[:, :: shape[1] // weight.shape[1]] = weight
    return large.repeat_interleave(shape[0] // weight.shape[0], 0)


def padded(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Further channels are zero."""
    large = torch.zeros(shape)
    large[tuple(slice(side) for side in weight.shape)] = weight
    return large


def hint_out(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """From a padded layer to the model's channels."""
    return padded(weight.repeat_interleave(shape[0] // weight.shape[0], 0), shape)


_RULES = (
    ("time_embed.0.weight", time),
    ("_ip.weight", _queries),
    (".to_q.", _queries),
    (".to_k.", _queries),
    (".to_v.", _queries),
    (".to_out.0.weight", _from_heads),
    ("input_hint_block.14.", hint_out),
    ("input_hint_block.", padded),
)


def in_half(state: State) -> State:
    """fp16; zeros that are one number expanded stay so, and torch stores them once."""
    zero = torch.zeros((), dtype=torch.float16)
    half: State = {}
    for key, weight in state.items():
        is_one_number = weight.ndim > 0 and not any(weight.stride())
        half[key] = zero.expand(weight.shape) if is_one_number else weight.half().contiguous()
    return half
