"""Model files recognised by their tensors, never by their names: one ordered table, first match wins.

A loader asks for one entry; anything else is named for what it is, so that a file in the wrong place explains itself.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from .errors import UnsupportedCheckpoint, counted
from .files import no_model
from .text import in_one_line, plain

State = Mapping[str, Tensor]

FAMILIES = {768: "SD1.5", 1024: "SD2", 2048: "SDXL"}
"""By the width of the text that a model's cross-attention reads."""


@dataclass(frozen=True)
class Known:
    """A published format. `matches` reads keys and shapes only."""

    id: str
    title: str
    matches: Callable[[State], bool]
    belongs: str = "Choose another file."
    """Where this file is used instead, as advice."""


def _has(*keys: str) -> Callable[[State], bool]:
    return lambda state: all(key in state for key in keys)


def _under(*prefixes: str) -> Callable[[State], bool]:
    return lambda state: all(any(key.startswith(prefix) for key in state) for prefix in prefixes)


def _ending(suffix: str) -> Callable[[State], bool]:
    return lambda state: any(key.endswith(suffix) for key in state)


def _ip_adapter(width: int) -> Callable[[State], bool]:
    """An IP-Adapter for UNets whose text context has this width."""
    return lambda state: any(key.endswith("to_k_ip.weight") and t.shape[-1:] == (width,) for key, t in state.items())


def _instant_id(state: State) -> bool:
    latents, inputs = state.get("image_proj.latents"), state.get("image_proj.proj_in.weight")
    if latents is None or inputs is None or not _ip_adapter(2048)(state):
        return False
    return latents.shape[1:2] == (16,) and inputs.shape[1:2] == (512,)


def _face_id(state: State) -> bool:
    """Any IP-Adapter that reads a 512-number face embedding through an MLP."""
    first = state.get("image_proj.proj.0.weight")
    return first is not None and first.shape[1:2] == (512,) and _ending("to_k_ip.weight")(state)


def _unet_context(width: int) -> Callable[[State], bool]:
    """A full checkpoint or UNet in the host's own layout with this text width."""
    needle = "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
    return lambda state: any(key.endswith(needle) and t.shape[-1:] == (width,) for key, t in state.items())


_CONTROLNET = "It is a ControlNet: put it into models/controlnet and load it with Load ControlNet Model."
_IP_ADAPTER = "It belongs to an IP-Adapter node, in models/ipadapter."
_LORA = "Put it into models/loras and load it with Load LoRA."
_PULID = "It belongs to a PuLID node, in models/pulid."
_CHECKPOINT = "It is a whole model: put it into models/checkpoints and load it with Load Checkpoint."

KNOWN: tuple[Known, ...] = (
    Known("id-patch", "ID-Patch projections (id-patch.bin)", _under("patch_proj.", "prompt_proj.")),
    Known(
        "arcface-ir-se50",
        "the ArcFace recogniser of facexlib (IR-SE50)",
        _has("input_layer.0.weight", "output_layer.3.weight"),
        "Put it into models/facexlib; Load Face Model finds it there.",
    ),
    Known(
        "mediapipe-face",
        "MediaPipe's face landmarks",
        _has("mesh.head_landmarks.weight", "canonical_vertices"),
        "Put it into models/detection and load it with Load Face Detection Model (MediaPipe).",
    ),
    Known("instant-id", "an InstantID adapter (ip-adapter.bin)", _instant_id, "It belongs in models/instantid."),
    Known(
        "parts2whole", "Parts2Whole in one file", _under("denoiser.", "reference_unet."), "It is for Load Parts2Whole."
    ),
    Known("pulid", "a PuLID adapter", _under("pulid_ca."), _PULID),
    Known("pulid", "a PuLID adapter", _under("id_adapter_attn_layers."), _PULID),
    Known("face-id", "an IP-Adapter FaceID adapter", _face_id, _IP_ADAPTER),
    Known("ip-adapter-sdxl", "an SDXL IP-Adapter", _ip_adapter(2048), _IP_ADAPTER),
    Known("ip-adapter-sd15", "an SD1.5 IP-Adapter", _ip_adapter(768), _IP_ADAPTER),
    Known("ip-adapter", "an IP-Adapter", _ending("to_k_ip.weight"), _IP_ADAPTER),
    Known("controlnet", "a ControlNet (diffusers)", _has("controlnet_cond_embedding.conv_in.weight"), _CONTROLNET),
    Known("controlnet", "a ControlNet (cldm)", _ending("zero_convs.0.0.weight"), _CONTROLNET),
    Known("lora", "a LoRA", _ending("lora_down.weight"), _LORA),
    Known("lora", "a LoRA", _ending("lora_A.weight"), _LORA),
    Known("sdxl", "an SDXL model", _unet_context(2048), _CHECKPOINT),
    Known("sd15", "an SD1.5 model", _unet_context(768), _CHECKPOINT),
    Known("unet", "a diffusion model", _under("model.diffusion_model."), _CHECKPOINT),
    Known("unet", "a diffusers UNet", _has("conv_in.weight", "time_embedding.linear_1.weight"), _CHECKPOINT),
    Known("clip-vision", "a CLIP vision encoder", _under("vision_model."), "It belongs in models/clip_vision."),
    Known("vae", "a VAE", _under("encoder.", "decoder."), "It belongs in models/vae."),
)


def unreadable(error: Exception, size: int) -> str:
    """What a file is that could not be read. torch's own text is left out where it advises to load unsafely."""
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted:
        return f"a pickle that wants to run code or holds more than tensors ({wanted[1]}), so it was not opened"
    why = "" if "weights_only" in str(error) else f"; {in_one_line(error)}"
    return f"damaged or cut off while downloading ({size} bytes{why})"


def is_safetensors(path: Path) -> bool:
    """By its first bytes, whatever its name says: the length of the header, then the header, which is JSON."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or a safely unpickled one, without a host; nested dictionaries flattened.

    Raises UnsupportedCheckpoint, saying what the file is instead, for one that is cut off or holds something else.
    """
    wanted = "a file of tensors", "Download it again."
    if what := no_model(path):
        raise UnsupportedCheckpoint(str(path), what, *wanted)
    try:
        if is_safetensors(path):
            return load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
        return flatten(state)
    except MemoryError:
        raise  # the file may be good
    except Exception as error:  # there is hardly an exception that torch.load does not raise on arbitrary bytes
        raise UnsupportedCheckpoint(str(path), unreadable(error, path.stat().st_size), *wanted) from error


def shapes(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name and shape only, on the meta device or mapped: gigabytes are not read.

    Raises ValueError, saying what the file is instead, for one that is cut off or holds something else.
    """
    try:
        if is_safetensors(path):
            return _header(path)
        # A pickle of before torch 1.6 cannot be mapped.
        state: Any = torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
        return flatten(state)
    except MemoryError:
        raise  # the file may be good
    except Exception as error:  # there is hardly an exception that torch.load does not raise on arbitrary bytes
        raise ValueError(unreadable(error, path.stat().st_size)) from error


def _header(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if path.stat().st_size < end:
        raise ValueError(f"{end} bytes announced")
    return {key: torch.empty(entry["shape"], device="meta") for key, entry in header.items()}


def family(state: State) -> str | None:
    """The model family by the width of the text that cross-attention reads, None where there is none."""
    widths = (tensor.shape[-1] for key, tensor in state.items() if key.endswith("attn2.to_k.weight"))
    return FAMILIES.get(next(widths, 0))


def flatten(state: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Nested dictionaries of tensors, as the authors pickle them, to one level with dotted keys.

    Keys are made plain: errors of torch's own quote them, and a pickle may hold any text.
    """
    flat: dict[str, Tensor] = {}
    for key, value in state.items():
        if isinstance(value, Tensor):
            flat[plain(f"{prefix}{key}")] = value
        elif isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))  # type: ignore[arg-type]
    return flat


def below(prefix: str, state: State) -> dict[str, Tensor]:
    """The entries whose keys start with `prefix`, without it."""
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def identify(state: State) -> Known | None:
    """The first entry of the table that matches, or None."""
    return next((known for known in KNOWN if known.matches(state)), None)


def require(state: State, wanted: str, path: str, advice: str) -> None:
    """Make sure that `state`, read from `path`, is the format with the id `wanted`.

    Raises UnsupportedCheckpoint saying what the file is instead and, with `advice`, where the right one is found.
    """
    expected = next(known for known in KNOWN if known.id == wanted)
    found = identify(state)
    if found is not expected:
        name = found.title if found else f"an unknown file ({_first_keys(state)})"
        raise UnsupportedCheckpoint(path, name, expected.title, f"{found.belongs} {advice}" if found else advice)


def _first_keys(state: State) -> str:
    keys = sorted(state)
    named = ", ".join([*keys[:3], *["..."] * (len(keys) > 3)])
    return f"{counted(len(keys), 'tensor')}: {named}" if keys else "it holds no tensors"
