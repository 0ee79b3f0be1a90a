"""What a file is, told by its tensors and never by its name: one ordered table, first match wins.

A loader asks for one entry; anything else is named for what it is, so that a file in the wrong place explains itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import UnsupportedCheckpoint, counted
from .files import Stamp, no_model, stamp
from .packs import IR_SE50
from .tensors import State, shapes

FAMILIES = {768: "SD1.5", 1024: "SD2", 2048: "SDXL"}
"""By the width of the text that a model's cross-attention reads."""
FLUX = "FLUX.1"

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


def _all(*tests: Test) -> Test:
    return lambda state: all(test(state) for test in tests)


def _shaped(key: str, *shape: int) -> Test:
    """-1: of any size."""

    def matches(state: State) -> bool:
        found = tuple(state[key].shape) if key in state else ()
        return len(found) == len(shape) and all(size in (-1, n) for n, size in zip(found, shape, strict=True))

    return matches


def _resampler(state: State, queries: int, prefix: str = "image_proj.") -> bool:
    """A Perceiver resampler that reads a face embedding of 512 numbers."""
    latents, inputs = state.get(f"{prefix}latents"), state.get(f"{prefix}proj_in.weight")
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


_IP_ADAPTER = "Put it into models/ipadapter and load it with Load IP-Adapter (Likeness)."
_OTHER_IP_ADAPTER = "It belongs to another IP-Adapter node, in models/ipadapter."


def _ip_adapters(text: int) -> Iterator[Known]:
    """Those for one family of models. Plus and plus-face have the same shapes, and so have the versions of FaceID Plus,
    those of its portrait, and light."""
    family, layers = FAMILIES[text], _wide(_TO_K, text)
    face = _shaped("image_proj.proj.0.weight", -1, 512)
    plus = _has("image_proj.perceiver_resampler.proj_in.weight")
    reads_states = _shaped("image_proj.proj_in.weight", -1, 1280)
    kinds: tuple[tuple[str, str, Test], ...] = (
        (
            "face-id-plus",
            f"an IP-Adapter FaceID Plus adapter for {family}",
            _all(face, _shaped("image_proj.perceiver_resampler.proj_in.weight", text, 1280)),
        ),
        (
            "face-id-portrait",
            f"an IP-Adapter FaceID portrait adapter for {family}",
            _all(face, _shaped("image_proj.proj.2.weight", 16 * text, -1)),
        ),
        ("face-id", f"an IP-Adapter FaceID adapter for {family}", lambda state: face(state) and not plus(state)),
        (
            "ip-adapter-plus",
            f"an {family} IP-Adapter (plus or plus-face)",
            _all(_shaped("image_proj.latents", 1, 16, -1), reads_states),
        ),
        (
            "ip-adapter-full",
            f"an {family} IP-Adapter (full-face)",
            _all(_shaped("image_proj.proj.0.weight", -1, 1280), _shaped("image_proj.proj.3.weight", text)),
        ),
        ("ip-adapter", f"an {family} IP-Adapter", _shaped("image_proj.proj.weight", 4 * text, 1024)),
        (
            "ip-adapter-bigg",
            f"an {family} IP-Adapter (for ViT-bigG)",
            _shaped("image_proj.proj.weight", 4 * text, 1280),
        ),
    )
    for name, title, test in kinds:
        yield Known(f"{name}-{family.lower().replace('.', '')}", title, _all(layers, test), _IP_ADAPTER, ours=True)


_FOR_SD15, _FOR_SDXL = (tuple(_ip_adapters(text)) for text in (768, 2048))
_PHOTO_MAKER = "Put it into models/photomaker and load it with Load PhotoMaker (Likeness)."
_VISION = "It belongs in models/clip_vision."
_CHECKPOINT = "It is a whole model: put it into models/checkpoints and load it with Load Checkpoint."
_DENOISER = "Put it into models/diffusion_models and load it with Load Diffusion Model."

_EYE = "vision_model.embeddings"
_RECOGNISER = ("input_layer.0.weight", "output_layer.3.weight")

KNOWN: tuple[Known, ...] = (
    Known(
        "id-patch",
        "ID-Patch projections (id-patch.bin)",
        _under("patch_proj.", "prompt_proj."),
        "It belongs in models/id_patch.",
        ours=True,
    ),
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
    Known("face-id-unnorm", "an IP-Adapter FaceID adapter (portrait unnorm)", _unnorm, _IP_ADAPTER, ours=True),
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
        "Put it into models/storymaker and load it with Load StoryMaker.",
        ours=True,
    ),
    Known(
        "uni-portrait",
        "a UniPortrait adapter",
        _under("faceid_proj.", "faceid_adapter."),
        "It belongs to a UniPortrait node.",
    ),
    Known(
        "photo-maker-v2",
        "a PhotoMaker v2 adapter",
        _under("id_encoder.qformer_perceiver.", "lora_weights."),
        _PHOTO_MAKER,
        ours=True,
    ),
    Known("photo-maker", "a PhotoMaker adapter", _under("id_encoder.", "lora_weights."), _PHOTO_MAKER, ours=True),
    Known(
        "with-anyone",
        "a WithAnyone adapter",
        _has("arcface_in_arc.0.weight"),
        "Put it into models/withanyone and load it with Load WithAnyone.",
        ours=True,
    ),
    *_FOR_SD15,
    *_FOR_SDXL,
    Known("other-face-id", "an IP-Adapter FaceID adapter of another kind", _face_id, _OTHER_IP_ADAPTER),
    Known("other-sdxl", "an SDXL IP-Adapter of another kind", _wide(_TO_K, 2048), _OTHER_IP_ADAPTER),
    Known("other-sd15", "an SD1.5 IP-Adapter of another kind", _wide(_TO_K, 768), _OTHER_IP_ADAPTER),
    Known("other-ip-adapter", "an IP-Adapter for other models", _ending(_TO_K), _OTHER_IP_ADAPTER),
    Known(
        "infinite-you",
        "InfiniteYou's projection (image_proj_model.bin)",
        # The host hands over what is in a pickle's only dictionary without its name.
        lambda state: _resampler(state, 8) or _resampler(state, 8, prefix=""),
        "Put it into models/infiniteyou and load it with Load InfiniteYou.",
        ours=True,
    ),
    Known(
        CONTROLNET,
        "a ControlNet",
        # As diffusers saves it, and as its authors did; that of a transformer.
        _any(
            _has("controlnet_cond_embedding.conv_in.weight"),
            _ending("zero_convs.0.0.weight"),
            _has("controlnet_blocks.0.weight"),
        ),
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
    Known("flux2", "a FLUX.2 model", _has("double_stream_modulation_img.lin.weight"), _DENOISER),
    Known("flux", "a FLUX.1 model", _has("double_blocks.0.img_attn.qkv.weight", "img_in.weight"), _DENOISER),
    Known(
        "qwen-image",
        "a Qwen-Image model",
        _has("txt_norm.weight", "time_text_embed.timestep_embedder.linear_1.weight"),
        _DENOISER,
    ),
    Known(
        "text-encoder",
        "a text encoder",
        _any(_has("model.embed_tokens.weight"), _has("shared.weight", "encoder.final_layer_norm.weight")),
        "It belongs in models/text_encoders.",
    ),
    Known("diffusers-unet", "a diffusers UNet", _has("conv_in.weight", "time_embedding.linear_1.weight"), _CHECKPOINT),
    Known(
        "clip-vit-l",
        "the CLIP vision encoder ViT-L/14",
        _shaped(f"{_EYE}.position_embedding.weight", 257, 1024),
        _VISION,
    ),
    Known("clip-vit-h", "the CLIP vision encoder ViT-H/14", _shaped(f"{_EYE}.class_embedding", 1280), _VISION),
    Known("clip-vit-bigg", "the CLIP vision encoder ViT-bigG/14", _shaped(f"{_EYE}.class_embedding", 1664), _VISION),
    Known("clip-vision", "a CLIP vision encoder", _under("vision_model."), _VISION),
    Known("vae", "a VAE", _under("encoder.", "decoder."), "It belongs in models/vae."),
)
_BY_ID = {known.id: known for known in KNOWN}

IP_ADAPTERS = ("face-id-unnorm", *(known.id for known in (*_FOR_SD15, *_FOR_SDXL)))
"""What Load IP-Adapter reads."""
PHOTO_MAKERS = ("photo-maker", "photo-maker-v2")


def known(identifier: str) -> Known:
    """Raises KeyError."""
    return _BY_ID[identifier]


def identify(state: State) -> Known | None:
    """The first entry of the table that matches, or None."""
    return next((one for one in KNOWN if one.matches(state)), None)


def family(state: State) -> str | None:
    """The model family by the width of the text that cross-attention reads, None where there is none; of what has no
    such layers, a ControlNet for FLUX.1 is told."""
    if "controlnet_x_embedder.weight" in state and "context_embedder.weight" in state:
        return FLUX
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


def require(state: State, wanted: str | Sequence[str], path: str, advice: str, title: str | None = None) -> Known:
    """Make sure that `state`, read from `path`, is the format with the id `wanted`, or one of several, and return it.

    title: what all of several are called; that of the first without. Raises UnsupportedCheckpoint saying what the file
    is instead and, with `advice`, where the right one is found.
    """
    ids = (wanted,) if isinstance(wanted, str) else wanted
    found = identify(state)
    if found is None or found.id not in ids:
        name = found.title if found else f"an unknown file ({_first_keys(state)})"
        expected = title or known(ids[0]).title
        raise UnsupportedCheckpoint(path, name, expected, f"{found.belongs} {advice}" if found else advice)
    return found


def _first_keys(state: State) -> str:
    keys = sorted(state)
    named = ", ".join([*keys[:3], *["..."] * (len(keys) > 3)])
    return f"{counted(len(keys), 'tensor')}: {named}" if keys else "it holds no tensors"
