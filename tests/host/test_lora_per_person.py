"""LoRA per Person in the real host: beside Load LoRA and beside plain torch, of every kind, and what is left behind."""

from __future__ import annotations

import folder_paths
import nodes as host_nodes
import people_made
import photo_maker_made
import pytest
import safetensors.torch
import tiny_sdxl
import torch
from figures import relative
from instant_id_run import HEIGHT, WIDTH, halves, sample, text
from pack.core.people import Cast, Identity, Person, PlacedCast
from peers import apply

ALMOST = 1e-5
LATENT = {"size": (WIDTH, HEIGHT), "steps": 2}


@pytest.fixture(scope="module")
def model():
    return tiny_sdxl.host_model(tiny_sdxl.diffusers_unet())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Where the host looks for LoRAs."""
    folder = tmp_path_factory.mktemp("loras")
    with pytest.MonkeyPatch.context() as patch:
        known = folder_paths.folder_names_and_paths["loras"]
        patch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(folder)], known[1]))
        yield folder


def layers(model, words=("",)):
    """Every layer that multiplies and sees the picture, and the size of its weights."""
    modules = model.model.diffusion_model.named_modules()
    found = {name: tuple(one.weight.shape) for name, one in modules if getattr(one, "weight", None) is not None}
    nowhere = ("time_embed", "label_emb")
    return {
        name: shape for name, shape in found.items()
        if len(shape) > 1 and not name.startswith(nowhere) and any(word in name for word in words)
    }  # fmt: skip


def of_kind(kind, shape, r):
    """A layer's tensors, r(*shape) random ones."""
    out, inputs, *kernel = shape
    small = r(out, 3) * 3, r(3, inputs, *kernel) * 0.3
    if kind == "lora":
        return {"lora_up.weight": small[0].reshape(out, 3, *[1] * len(kernel)), "lora_down.weight": small[1]}
    if kind == "tucker" and kernel:
        down = {"lora_down.weight": r(3, inputs, 1, 1), "lora_mid.weight": r(3, 3, *kernel)}
        return {"lora_up.weight": r(out, 3, 1, 1), **down}
    if kind == "loha":
        return {f"hada_w{n}_{x}": r(*size) for n in "12" for x, size in (("a", (out, 3)), ("b", (3, small[1][0].numel())))}
    if kind == "loha tucker" and kernel:
        sizes = {"t": (2, 3, *kernel), "a": (2, out), "b": (3, inputs)}
        return {(f"hada_t{n}" if x == "t" else f"hada_w{n}_{x}"): r(*size) for n in "12" for x, size in sizes.items()}
    if kind == "lokr":
        two = {"lokr_w2_a": r(out // 2, 3), "lokr_w2_b": r(3, inputs // 2 * (small[1][0].numel() // inputs))}
        return {"lokr_w1": r(2, 2), **two}
    if kind == "lokr whole":
        return {"lokr_w1_a": r(2, 1), "lokr_w1_b": r(1, 2), "lokr_w2": r(out // 2, inputs // 2, *kernel)}
    if kind == "glora":
        ones = [1] * len(kernel)
        a = {"a1.weight": r(inputs, 3, *ones), "a2.weight": r(3, inputs, *ones)}
        return {**a, "b1.weight": r(out, 3, *ones), "b2.weight": r(3, inputs, *kernel)}
    return of_kind("lora", shape, r)


def lora(folder, model, name, kind="lora", words=("",), clip=None, seed=1, **more):
    """The name of a LoRA's file."""
    generator = torch.Generator().manual_seed(seed)
    even = [(layer, size) for layer, size in layers(model, words).items() if "lokr" not in kind or size[0] % 2 == size[1] % 2 == 0]
    state = {}
    for layer, shape in even:
        tensors = of_kind(kind, shape, lambda *size: torch.randn(size, generator=generator) * 0.15)
        state |= {f"diffusion_model.{layer}.{key}": tensor for key, tensor in tensors.items()}
        state[f"diffusion_model.{layer}.alpha"] = torch.tensor(2.0)
    for layer, one in clip.cond_stage_model.state_dict().items() if clip else ():
        if layer.endswith("k_proj.weight"):
            tensors = of_kind("lora", tuple(one.shape), lambda *size: torch.randn(size, generator=generator) * 0.3)
            state |= {f"text_encoders.{layer.removesuffix('.weight')}.{key}": x for key, x in tensors.items()}
    safetensors.torch.save_file({**state, **more}, folder / f"{name}.safetensors")
    return f"{name}.safetensors"


def theirs(model, file, strength=1.0, clip=None):
    return host_nodes.LoraLoader().load_lora(model, clip, file, strength, strength)


def given(file, strength=1.0, words="", before=None):
    return apply("LikenessAddLora", identity=before, lora=file, strength=strength, words=words, name="")[0]


def cast_of(*people, cast=None):
    """People in the places of another cast."""
    there = (cast or halves()).people
    members = tuple(Person(one, slot=place.slot) for one, place in zip(people, there, strict=False))
    return PlacedCast(members, WIDTH, HEIGHT)


def put_on(model, cast, positive=None, negative=None, **changed):
    both = {"positive": positive or [text(1)], "negative": negative or [text(2)], "clip": photo_maker_made.clip()}
    return apply("LikenessLoraPerPerson", model=model, **both, cast=cast, **{"feather": 0, **changed})


@pytest.mark.parametrize("kind", ["lora", "tucker", "loha", "loha tucker", "lokr", "lokr whole", "glora"])
def test_one_person_everywhere_is_load_lora(model, files, kind):
    """Over a whole sampling, in every layer, convolutions too."""
    file = lora(files, model, kind, kind)
    ours, plain = sample(*put_on(model, given(file, 0.7)), **LATENT), sample(model, [text(1)], [text(2)], **LATENT)
    true = sample(theirs(model, file, 0.7)[0], [text(1)], [text(2)], **LATENT)
    off = relative(ours, true)
    print(kind, off, relative(plain, true))
    assert off <= ALMOST and relative(plain, true) > 1e-2
    assert torch.equal(sample(model, [text(1)], [text(2)], **LATENT), plain)
