"""What graphs of graphs.py are given: tiny real networks, people, pictures; and questions to their results."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.latent_formats
import comfy.model_management
import comfy.ops
import compiled
import family_encoders
import host_nodes
import other_packs
import parts_made
import parts_run
import photo_maker_made
import real_faces
import tiny_sd15
import tiny_sdxl
import tiny_vaes
import torch
from comfy.ldm.flux.controlnet import ControlNetFlux
from comfy.model_patcher import ModelPatcher
from families import RECORDS
from pack.bridge.host import unet
from pack.core.cast import (
    ALIGNED,
    FFHQ,
    LOOSE,
    Cast,
    Face,
    Faces,
    Layout,
    Lora,
    Member,
    Person,
    PlacedCast,
    Portraits,
    RowCast,
    Slot,
)
from pack.core.methods import method
from pack.core.parts.parts import Parts, make_part
from pack.core.persons import looks
from pack.core.places import bodies
from pack.core.places.region_settings import RegionSettings
from pack.nodes.adapters import LOADERS
from safetensors.torch import load_file
from seeded_files import (
    adapter_shapes,
    eva_file,
    face_parser_file,
    id_patch_file,
    instant_id_file,
    ip_adapter_file,
    pulid_file,
    pulid_flux_file,
)
from tiny import devices, lora_made, tiny_dits, tiny_encoders, tiny_networks
from tiny.seeded import fill, normal, seeded

WIDTH, HEIGHT = 128, 96
RECOGNISERS = ("arcface-ir-se50", "antelopev2", "w600k_mbf", "w600k_r50")
nan, inf = math.nan, math.inf


# Networks


@cache
def sdxl() -> Any:
    return tiny_sdxl.seeded_model()


def new_control_net(seed: int = 152) -> Any:
    """For `sdxl`."""
    return net_for(tiny_sdxl.HOST_CONFIG, num_heads=-1, num_head_channels=64, seed=seed)


control_net = cache(new_control_net)


@cache
def small() -> Any:
    """An SDXL of two layers, small enough to be compiled."""
    return compiled.model()


def net_for(shape: dict[str, Any], seed: int = 182, **changed: Any) -> Any:
    """A ControlNet for a UNet of this configuration."""
    shape = {key: value for key, value in shape.items() if key not in ("out_channels", "transformer_depth_output")}
    shape |= {"hint_channels": 3, "dtype": torch.float32, "operations": comfy.ops.disable_weight_init, **changed}
    net = comfy.cldm.cldm.ControlNet(**shape)
    return comfy.controlnet.ControlNet(fill(net, seed), load_device=devices.DEVICE)


@cache
def whole(model: Any) -> Any:
    """A MODEL behind the host's node for torch.compile, of one graph."""
    return compiled.whole(model)


FILES = {
    "id_patch": lambda widths: id_patch_file("resampler"),
    "id_patch_mlp": lambda widths: id_patch_file("mlp"),
    "instant_id": instant_id_file,
    "ip_adapter": lambda widths: ip_adapter_file("face-id-plus", widths, 2048),
    "ip_adapter_plus": lambda widths: ip_adapter_file("plus", widths, 2048),
    "photo_maker": lambda widths: photo_maker_made.file(1),
    "pulid": pulid_file,
    "pulid_v1": lambda widths: pulid_file(widths, "encoder"),
    "pulid_flux": lambda widths: pulid_flux_file(),
    "pulid_eva": lambda widths: eva_file(),
    "pulid_parser": lambda widths: face_parser_file(),
}
"""By the folder of a method: a file as a user has it, for a UNet of these widths. Of others see `by_record`. Further
files of a method have another name, which begins with that of the folder."""


def by_record(folder: str, widths: list[int]) -> dict[str, torch.Tensor]:
    """A file of a method of SDXL that is in no list: the tensors by which its record tells it, of random weights, and
    the adapter's layers for every cross-attention. What a record leaves open of a shape is as wide as a text."""
    (weights_format,) = method(folder).formats
    if any(name.startswith("*") or "..." in shape for name, shape in weights_format.detect["tensors"].items()):
        raise ValueError(f"the record of {folder} leaves tensors open: it needs a line in FILES of sample_values.py")
    shapes = {key: tuple(side or 2048 for side in shape) for key, shape in weights_format.detect["tensors"].items()}
    layers = {f"ip_adapter.{key}": shape for key, shape in adapter_shapes(widths, 2048).items()}
    return seeded({**shapes, **layers}, 196)


def file_of(kind: str, model: Any = None) -> Any:
    widths = unet.attention_widths(model or sdxl())
    return FILES[kind](widths) if kind in FILES else by_record(kind, widths)


def load(kind: str, path: str, **changed: Any) -> Any:
    """What its loader gives. changed: of its further inputs."""
    folder = next(folder for folder in LOADERS if kind.startswith(folder))
    return LOADERS[folder].load(path, **changed)


def read(kind: str, file: Any, **changed: Any) -> Any:
    """The same of a file with these tensors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{kind}.bin"
        torch.save(file, path)
        return load(kind, str(path), **changed)


@cache
def loaded(kind: str, model: Any = None) -> Any:
    """From such a file. model: that it is made for."""
    return read(kind, file_of(kind, model))


@cache
def sd15() -> Any:
    return tiny_sd15.host_model(tiny_sd15.diffusers_unet(111))


@cache
def flux() -> Any:
    return tiny_dits.model("FLUX.1")


@cache
def denoiser() -> Any:
    """Parts2Whole's MODEL."""
    return parts_run.denoiser(parts_made.made())


@cache
def dit() -> Any:
    return tiny_dits.model("FLUX.2")


def networks() -> Any:
    return parts_made.made().networks


clip, clip_vision, vit_h, vae = parts_made.clip, tiny_encoders.clip_vision, family_encoders.vit_h, tiny_encoders.vae
sdxl_clip, photo_maker = photo_maker_made.clip, photo_maker_made.loaded


@cache
def flux_net() -> Any:
    """A ControlNet of FLUX.1 that reads its picture as a latent, as the host loads InstantX's."""
    shape = {**tiny_dits.CONFIGS["FLUX.1"][1], "latent_input": True, "control_latent_channels": 16}
    network = ControlNetFlux(**shape, dtype=torch.float32, operations=comfy.ops.disable_weight_init)
    fill(network, 312).eval().requires_grad_(False)
    return comfy.controlnet.ControlNet(
        network, compression_ratio=1, latent_format=comfy.latent_formats.Flux(), load_device=devices.DEVICE,
        extra_conds=["y", "guidance"],
    )  # fmt: skip


@cache
def flux_vae() -> Any:
    return tiny_vaes.flux1()


@cache
def klein_clip() -> Any:
    return RECORDS["FLUX.2"].clip()


@cache
def flux2_vae() -> Any:
    return tiny_vaes.flux2()


def said(words: str) -> Any:
    """A text as SDXL's encoders read it."""
    return sdxl_clip().encode_from_tokens_scheduled(sdxl_clip().tokenize(words))


@cache
def klein() -> Any:
    """A MODEL of FLUX.2 that reads what the encoder of `klein_clip` gives."""
    return RECORDS["FLUX.2"].model()


def klein_said(words: str) -> Any:
    return klein_clip().encode_from_tokens_scheduled(klein_clip().tokenize(words))


@cache
def gentle(model: Any) -> Any:
    """The same MODEL with blocks that add half as much to what goes through them.

    Blocks of random weights can multiply the rounding of a lower precision until nothing else is left of the picture.
    """
    state = dict(_as_loaded(model).state_dict())
    for key in state:
        if "blocks" in key and state[key].ndim > 1:
            state[key] = state[key] * 0.5
    return _again(model, state, torch.float32)


@cache
def in_half(model: Any) -> Any:
    """The same MODEL, stored and computed in half precision."""
    return _again(model, _as_loaded(model).state_dict(), torch.bfloat16)


@cache
def in_fp8(model: Any, scaled: bool, read: bool = False) -> Any:
    """The same MODEL, all its weights in fp8, or the linear layers' with a scale each, as the host stores them. read:
    in float32 what these stand for."""
    network = _as_loaded(model)
    fp8 = torch.float8_e4m3fn
    linear = tuple(f"{name}." for name, module in network.named_modules() if isinstance(module, torch.nn.Linear))
    state = dict(network.state_dict())
    scales = dict[str, Any]()
    to_store = [key for key in state if not scaled or key.startswith(linear)]
    for key in to_store:
        scale = state[key].abs().max() / 448 if scaled and key.endswith("weight") else torch.tensor(1.0)
        state[key] = (state[key] / scale).to(fp8)
        if read:
            state[key] = state[key].float() * scale
        elif scaled and key.endswith("weight"):
            scales[key.removesuffix("weight") + "scale_weight"] = scale
    if not scales:
        return _again(model, state, torch.float32 if read else fp8, None if read else torch.float32)
    state |= scales | {"scaled_fp8": torch.zeros(2, dtype=fp8)}
    if not hasattr(comfy.utils, "convert_old_quants"):
        state.pop("scaled_fp8")
        return _again(model, state, torch.float32, torch.float32, scaled_fp8=fp8)
    state, _ = comfy.utils.convert_old_quants(state)
    quantised = comfy.utils.detect_layer_quantization(state, "")
    return _again(model, state, torch.float32, torch.float32, quant_config=quantised)


def _as_loaded(model: Any) -> torch.nn.Module:
    """Its network without what an earlier run has merged into the weights, such as PhotoMaker's LoRA: the host takes it
    out when it unloads."""
    comfy.model_management.unload_all_models()
    return model.model.diffusion_model


def _again(model: Any, state: dict[str, Any], stored: torch.dtype, cast: Any = None, **of_config: Any) -> Any:
    """A MODEL with these weights, made as the host's loader does. stored, cast: types of weights and of computing."""
    config = type(model.model.model_config)(dict(model.model.model_config.unet_config))
    config.unet_config = dict(model.model.model_config.unet_config)  # a family puts its own heads in
    config.set_inference_dtype(stored, cast)
    vars(config).update(of_config)
    with tiny_networks.small_adapter(config.unet_config):
        loaded_model = config.get_model({})
    assert loaded_model.diffusion_model.load_state_dict(state, strict=False).missing_keys == []
    patcher = ModelPatcher(loaded_model, load_device=model.load_device, offload_device=model.offload_device)
    patcher.object_patches = dict(model.object_patches)
    return patcher


def of_another_pack(model: Any) -> Any:
    """A MODEL with a network like Nunchaku's Qwen-Image: a subclass of the host's."""
    network = model.model.diffusion_model
    network.__class__ = type("TheirTransformer", (type(network),), {})
    return model


def theirs(model: Any, pack: str) -> Any:
    """What another pack makes of a MODEL: `their_layers` changes attention or a block, `host_node:` are ComfyUI's."""
    if pack.startswith("host_node:"):
        torch.manual_seed(0)  # some draw from the global generator
        return host_nodes.patch(pack.removeprefix("host_node:"), model)
    if hasattr(model.get_model_object("diffusion_model"), "input_blocks"):
        return other_packs.adapter_pack(model)
    clone = model.clone()

    def block(arguments: Any, extra: Any) -> Any:
        out = extra["original_block"](arguments)
        return {**out, "img": out["img"] * 1.2}

    clone.set_model_patch_replace(block, "dit", "double_block", 0)
    return clone


# People


def a_person(name: str = "Anna", rows: torch.Tensor | None = None, recognisers: Iterable[str] = RECOGNISERS) -> Person:
    """rows: (photos, 512)."""
    rows = normal(len(name), 1, 512) * 1.5 if rows is None else rows
    embeddings = {recogniser: rows.clone() for recogniser in recognisers}
    return Person(name, embeddings, torch.zeros(len(rows), 112, 112, 3), portraits(len(rows), seed=len(str(name))))


@cache
def portraits(photos: int = 1, kind: torch.dtype = torch.uint8, seed: int = 0) -> Portraits:
    pictures_by_size = (
        normal(side + seed, 1, side, side, 3).abs().clamp(0, 1) * 255 for side in (ALIGNED, LOOSE, FFHQ)
    )
    return Portraits(*(pictures.to(kind).repeat(photos, 1, 1, 1) for pictures in pictures_by_size))


def keypoints(x: float, y: float) -> tuple[tuple[float, float], ...]:
    return ((x - 6, y - 6), (x + 6, y - 6), (x, y), (x - 5, y + 6), (x + 5, y + 6))


def slot(x: float = 40.0, y: float = 40.0, **changed: Any) -> Slot:
    points = keypoints(x, y)
    place = Slot((x, y), (x - 14, y - 16, x + 14, y + 16), points, bodies.body_around(points, "half"))
    return replace(place, **changed)


def layout(*slots: Slot, width: int = WIDTH, height: int = HEIGHT) -> Layout:
    return Layout(width, height, slots or (slot(), slot(94.0)))


def cast(*people: Person, weights: Iterable[float] = (), places: Layout | None = None) -> PlacedCast:
    """A placed cast of Anna and Boris, or of whom is given."""
    people = people or (a_person("Anna"), a_person("Boris"))
    weights = list(weights) or [1.0] * len(people)
    places_given = places or layout(*layout().slots[: len(people)])
    members = [Member(*values) for values in zip(people, weights, places_given.slots, strict=True)]
    return PlacedCast(
        tuple(members), places_given.width, places_given.height, region_settings=RegionSettings(feather=8)
    )


def with_regions(people: Any, **changed: Any) -> Any:
    """The same with region settings of Place Cast changed; those without places have none."""
    if not isinstance(people, PlacedCast):
        return people
    return replace(people, region_settings=replace(people.region_settings, **changed))


def on_photo() -> PlacedCast:
    """Anna, in the middle of a photo."""
    height, width = (round(side / 8) * 8 for side in photo("YAO").shape[1:3])
    return cast(a_person(), places=layout(slot(width / 2, height / 2), width=width, height=height))


lora_made.folder()


@cache
def lora_of(name: str) -> Any:
    """A file for `small`, everybody's own."""
    return lora_made.file(small(), seed=sum(map(ord, name)))


def with_loras(people: Any = None, words: str = "up") -> Any:
    """A cast, or Anna and Boris, or one person: with a LoRA and its trigger words for whoever has none."""
    if isinstance(people, Person):
        return people if people.loras else replace(people, loras=(Lora(lora_of(people.name), 1.0, words),))
    people_given = people or cast()
    members = [replace(person, person=with_loras(person.person, words)) for person in people_given.people]
    return replace(people_given, people=tuple(members))


def dressed(people: Any = None, name: str = "red coat") -> Any:
    """A cast, or Anna and Boris, or one person: everybody with one more look of this name, as of a photo."""
    if isinstance(people, Person):
        picture = image(seed=sum(map(ord, people.name + name)))
        part = make_part("whole body clothes", picture, mask(3)[1:2], 1.0, None)
        return looks.with_look(people, looks.look_of_parts(name, Parts((part,))))
    people_given = people or cast()
    members = [replace(person, person=dressed(person.person, name)) for person in people_given.people]
    return replace(people_given, people=tuple(members))


def by_lora(name: str = "Boris") -> Person:
    """Somebody without a photo."""
    return Person(name, {}, torch.zeros(1, 112, 112, 3), loras=(Lora(lora_of("Anna"), 1.0, ""),))


def by_row(names: Iterable[str] = ("Anna", "Boris")) -> RowCast:
    """Anna and Boris, a row of the batch each, as Crop Faces gives them: of other weights and in other places."""
    people = tuple(map(a_person, names))
    weights = [1.0 - 0.3 * row for row in range(len(people))]
    places = layout(*(slot(64.0 - 6 * row, 60.0 + 4 * row) for row in range(len(people))), width=128, height=128)
    placed = cast(*people, weights=weights, places=places)
    return RowCast(placed.people, 128, 128, region_settings=placed.region_settings)


def unplaced(*people: Person) -> Cast:
    return Cast(tuple(Member(person) for person in people or (a_person("Anna"), a_person("Boris"))))


def with_one_unplaced() -> PlacedCast:
    """Boris was listed after places were given."""
    (anna, _) = cast().people
    return replace(cast(), people=(anna, *unplaced(a_person("Boris")).people))


def face(**changed: Any) -> Face:
    plain_face = Face((20.0, 20.0, 60.0, 60.0), keypoints(40.0, 40.0), 0.9, torch.zeros(112, 112, 3))
    return replace(plain_face, **changed)


def faces(*members: Face, width: int = WIDTH, height: int = HEIGHT) -> Faces:
    return Faces(members or (face(),), width, height)


def landmarks(**changed: Any) -> dict[str, Any]:
    """FACE_LANDMARKS of the photo of YAO: points as measured."""
    golden = Path(__file__).resolve().parents[1] / "golden" / "face_landmarks.safetensors"
    height, width = photo().shape[1:3]
    faces_in_the_photo = [{"landmarks_xy": load_file(golden)["yao"].numpy()[0], "score": 0.9}]
    return {"frames": [faces_in_the_photo], "image_size": (height, width), "connection_sets": {}, **changed}


def pose(numbers: Any = None, width: Any = WIDTH, height: Any = HEIGHT) -> list[dict[str, Any]]:
    """POSE_KEYPOINT of one standing person."""
    if numbers is None:
        joints = [(64, 20), (64, 30), (56, 30), (54, 45), (52, 60), (72, 30), (74, 45), (76, 60), (58, 60), (58, 75),
                  (58, 90), (70, 60), (70, 75), (70, 90), (62, 17), (66, 17), (60, 18), (68, 18)]  # fmt: skip
        numbers = []
        for x, y in joints:
            numbers += [float(x), float(y), 1.0]
    return [{"people": [{"pose_keypoints_2d": numbers}], "canvas_width": width, "canvas_height": height}]


# Pictures


def image(width: int = WIDTH, height: int = HEIGHT, channels: int = 3, batch: int = 1, seed: int = 5) -> torch.Tensor:
    return torch.rand(batch, height, width, channels, generator=torch.Generator().manual_seed(seed))


def first_row(pictures: torch.Tensor) -> torch.Tensor:
    return pictures[:1]


@cache
def photo(name: str = "YAO") -> torch.Tensor:
    return real_faces.image(getattr(real_faces, name))


def mask(batch: int = 1, width: int = WIDTH, height: int = HEIGHT) -> torch.Tensor:
    """Bands beside each other, one per mask."""
    bands = torch.zeros(batch, height, width)
    for n, columns in enumerate(torch.arange(width).chunk(batch)):
        bands[n, :, columns] = 1
    return bands


def latent(width: int = WIDTH, height: int = HEIGHT, batch: int = 1) -> dict[str, torch.Tensor]:
    return {"samples": torch.zeros(batch, 4, height // 8, width // 8)}


flux_text = tiny_dits.conditioning


def text(seed: int, width: int = 2048, **options: Any) -> list[Any]:
    pooled = {"pooled_output": normal(seed + 50, 1, 1280)} if width == 2048 else {}
    return [[normal(seed, 1, 77, width), {**pooled, **options}]]


# What is asked of a result: None where it is as it must be, else what is wrong


def sound(value: Any) -> str | None:
    """No NaN and nothing infinite in it, however deep."""
    if isinstance(value, torch.Tensor):
        bad = 0 if not value.is_floating_point() else int((~value.isfinite()).sum())
        return f"{bad} of {value.numel()} values are NaN or infinite" if bad else None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"a number is {value}"
    if isinstance(value, dict):
        return next(filter(None, map(sound, value.values())), None)
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(sound, value)), None)
    if is_dataclass(value):
        return sound([getattr(value, field.name) for field in fields(value)])
    return None


def drawn(value: dict[str, Any]) -> str | None:
    """A latent that is sound and not the same everywhere."""
    samples = value["samples"]
    return sound(samples) or ("the same value everywhere" if samples.min() == samples.max() else None)
