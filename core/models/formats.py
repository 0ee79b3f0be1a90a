"""What a file is, told by its tensors and never by its name: one ordered table, first match wins.

A loader asks for one entry; anything else is named for what it is, so that a file in the wrong place explains itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import UnsupportedCheckpoint, counted
from .files import Stamp, no_model, stamp
from .packs import IR_SE50
from .tensors import State, shapes

FAMILIES = {768: "SD1.5", 1024: "SD2", 2048: "SDXL"}
"""By the width of the text that a model's cross-attention reads."""

CONTROLNET = "controlnet"
IR_SE50_KEY = "body.23.res_layer.5.fc1.weight"
"""Squeezing and excitation in the last of its 24 blocks: recognisers of this kind with more blocks have none."""

Test = Callable[[State], bool]


@dataclass(frozen=True)
class Known:
    """A published format. `matches` reads keys, shapes and kinds of numbers only.

    belongs: where such a file is used instead, as advice. ours: one of our own loaders', all of whose keys are known.
    """

    id: str
    title: str
    matches: Test
    belongs: str = "Choose another file."
    ours: bool = False


def _has(*keys: str) -> Test:
    return lambda state: all(key in state for key in keys)


def _under(*prefixes: str) -> Test:
    return lambda state: all(any(key.startswith(prefix) for key in state) for prefix in prefixes)


def _ending(suffix: str) -> Test:
    return lambda state: any(key.endswith(suffix) for key in state)


def _any(*tests: Test) -> Test:
    return lambda state: any(test(state) for test in tests)


def _wide(suffix: str, width: int) -> Test:
    """A layer that reads this width; that of the UNet's text, say."""
    return lambda state: any(key.endswith(suffix) and t.shape[-1:] == (width,) for key, t in state.items())


_TO_K = "to_k_ip.weight"
_UNET_TO_K = "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"


def _resampler(state: State, queries: int) -> bool:
    """A Perceiver resampler that reads a face embedding of 512 numbers."""
    latents, inputs = state.get("image_proj.latents"), state.get("image_proj.proj_in.weight")
    if latents is None or inputs is None:
        return False
    return latents.shape[1:2] == (queries,) and inputs.shape[1:2] == (512,)


def _instant_id(state: State) -> bool:
    return _resampler(state, 16) and _wide(_TO_K, 2048)(state)


def _unnorm(state: State) -> bool:
    """IP-Adapter FaceID portrait unnorm has InstantID's keys and shapes, and reads another recogniser's embeddings. As
    published its layers are of 16 bits and its projection is of 32; InstantID's are all alike, saved anew or not."""
    if not _instant_id(state):
        return False
    layers = {tensor.dtype for key, tensor in state.items() if key.endswith(_TO_K)}
    return state["image_proj.latents"].dtype not in layers


def _face_id(state: State) -> bool:
    """Any IP-Adapter that reads a face embedding of 512 numbers through an MLP."""
    first = state.get("image_proj.proj.0.weight")
    return first is not None and first.shape[1:2] == (512,) and _ending(_TO_K)(state)


_IP_ADAPTER = "It belongs to an IP-Adapter node, in models/ipadapter."
_CHECKPOINT = "It is a whole model: put it into models/checkpoints and load it with Load Checkpoint."

_RECOGNISER = ("input_layer.0.weight", "output_layer.3.weight")

KNOWN: tuple[Known, ...] = (
    Known("id-patch", "ID-Patch projections (id-patch.bin)", _under("patch_proj.", "prompt_proj."), ours=True),
    Known(
        IR_SE50,
        "the ArcFace recogniser of facexlib (IR-SE50)",
        _has(*_RECOGNISER, IR_SE50_KEY),
        "Put it into models/facexlib; Load Face Model finds it there.",
        ours=True,
    ),
    Known("face-recogniser", "a face recogniser other than IR-SE50, such as UniPortrait's", _has(*_RECOGNISER)),
    Known(
        "mediapipe-face",
        "MediaPipe's face landmarks",
        _has("mesh.head_landmarks.weight", "canonical_vertices"),
        "Put it into models/detection and load it with Load Face Detection Model (MediaPipe).",
    ),
    Known("face-id-unnorm", "an IP-Adapter FaceID adapter (portrait unnorm)", _unnorm, _IP_ADAPTER),
    Known(
        "instant-id", "an InstantID adapter (ip-adapter.bin)", _instant_id, "It belongs in models/instantid.", ours=True
    ),
    Known(
        "parts2whole",
        "Parts2Whole in one file",
        _under("denoiser.", "reference_unet."),
        "It is for Load Parts2Whole.",
        ours=True,
    ),
    Known(
        "pulid",
        "a PuLID adapter",
        # For FLUX, for SDXL, and either as others save it.
        _any(
            _under("pulid_ca."),
            _under("id_adapter_attn_layers."),
            _under("image_proj.body."),
            _under("image_proj.id_embedding_mapping."),
        ),
        "It belongs to a PuLID node, in models/pulid.",
    ),
    Known("consistent-id", "a ConsistentID adapter", _under("FacialEncoder."), "It belongs to a ConsistentID node."),
    Known(
        "story-maker",
        "a StoryMaker adapter",
        _has("image_proj_model.pos_embed", "image_proj_model.bg_embed"),
        "It belongs to a StoryMaker node.",
    ),
    Known(
        "uni-portrait",
        "a UniPortrait adapter",
        _under("faceid_proj.", "faceid_adapter."),
        "It belongs to a UniPortrait node.",
    ),
    Known(
        "photo-maker",
        "a PhotoMaker adapter",
        _under("id_encoder.", "lora_weights."),
        "Put it into models/photomaker and load it with Load PhotoMaker Model.",
    ),
    Known("with-anyone", "a WithAnyone adapter", _under("ipa_arc."), "It belongs to a WithAnyone node."),
    Known("face-id", "an IP-Adapter FaceID adapter", _face_id, _IP_ADAPTER),
    Known("ip-adapter-sdxl", "an SDXL IP-Adapter", _wide(_TO_K, 2048), _IP_ADAPTER),
    Known("ip-adapter-sd15", "an SD1.5 IP-Adapter", _wide(_TO_K, 768), _IP_ADAPTER),
    Known("ip-adapter", "an IP-Adapter", _ending(_TO_K), _IP_ADAPTER),
    Known(
        "infinite-you",
        "InfiniteYou's projection",
        lambda state: _resampler(state, 8),
        "It belongs to an InfiniteYou node.",
    ),
    Known(
        CONTROLNET,
        "a ControlNet",
        # As diffusers saves it, and as its authors did.
        _any(_has("controlnet_cond_embedding.conv_in.weight"), _ending("zero_convs.0.0.weight")),
        "It is a ControlNet: put it into models/controlnet and load it with Load ControlNet Model.",
    ),
    Known(
        "lora",
        "a LoRA",
        _any(_ending("lora_down.weight"), _ending("lora_A.weight")),
        "Put it into models/loras and load it with Load LoRA.",
    ),
    Known("sdxl", "an SDXL model", _wide(_UNET_TO_K, 2048), _CHECKPOINT),
    Known("sd15", "an SD1.5 model", _wide(_UNET_TO_K, 768), _CHECKPOINT),
    Known("unet", "a diffusion model", _under("model.diffusion_model."), _CHECKPOINT),
    Known("diffusers-unet", "a diffusers UNet", _has("conv_in.weight", "time_embedding.linear_1.weight"), _CHECKPOINT),
    Known("clip-vision", "a CLIP vision encoder", _under("vision_model."), "It belongs in models/clip_vision."),
    Known("vae", "a VAE", _under("encoder.", "decoder."), "It belongs in models/vae."),
)
_BY_ID = {known.id: known for known in KNOWN}


def known(identifier: str) -> Known:
    """Raises KeyError."""
    return _BY_ID[identifier]


def identify(state: State) -> Known | None:
    """The first entry of the table that matches, or None."""
    return next((one for one in KNOWN if one.matches(state)), None)


def family(state: State) -> str | None:
    """The model family by the width of the text that cross-attention reads, None where there is none."""
    widths = (tensor.shape[-1] for key, tensor in state.items() if key.endswith("attn2.to_k.weight"))
    return FAMILIES.get(next(widths, 0))


def recognised(path: Path) -> tuple[Known | None, str | None]:
    """What a file is and of which family, None as far as nobody can say: it need not even be readable."""
    try:
        return _recognised(stamp(str(path)))
    except OSError:
        return None, None


@lru_cache(maxsize=1024)
def _recognised(file: Stamp) -> tuple[Known | None, str | None]:
    path = Path(file[0])
    if no_model(path):
        return None, None
    try:
        state = shapes(path)
    except ValueError:
        return None, None
    return identify(state), family(state)


def require(state: State, wanted: str, path: str, advice: str) -> None:
    """Make sure that `state`, read from `path`, is the format with the id `wanted`.

    Raises UnsupportedCheckpoint saying what the file is instead and, with `advice`, where the right one is found.
    """
    expected, found = known(wanted), identify(state)
    if found is not expected:
        name = found.title if found else f"an unknown file ({_first_keys(state)})"
        raise UnsupportedCheckpoint(path, name, expected.title, f"{found.belongs} {advice}" if found else advice)


def _first_keys(state: State) -> str:
    keys = sorted(state)
    named = ", ".join([*keys[:3], *["..."] * (len(keys) > 3)])
    return f"{counted(len(keys), 'tensor')}: {named}" if keys else "it holds no tensors"
