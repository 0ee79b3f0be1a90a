"""People by the nodes of other packs and of ComfyUI itself, on the networks that bench.py counts and times.

The packs' own code runs: what is installed in custom_nodes of the ComfyUI. Files have their published keys and shapes
and random weights, and a stand-in finds the same face in every picture.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import comfy.model_management
import folder_paths
import numpy as np
import torch
from pack.bridge.host.unet import attention_widths
from shared import adapters, shapes
from shared.standins import Weights, nested, save
from tiny import tiny_encoders
from tiny.seeded import normal
from torch import Tensor

from bench.figures import Applied, Line, Way, count
from bench.unets import BOTH, STEPS, Networks, strips

from . import installed

PICTURE = 64
"""Sides in px of a picture of a person. Every pack makes it as large as its encoder wants it."""


class OneFace:
    """In the place of insightface's FaceAnalysis: the same face in every picture."""

    def __init__(self) -> None:
        self.det_model = SimpleNamespace(input_size=(640, 640))

    def get(self, picture: np.ndarray) -> list[Any]:
        """picture: (height, width, 3)."""
        from insightface.app.common import Face

        height, width = picture.shape[:2]
        # Eyes, nose and corners of the mouth, in parts of the picture.
        points = np.array([[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.38, 0.7], [0.62, 0.7]], np.float32)
        box = np.array([0.2 * width, 0.2 * height, 0.8 * width, 0.9 * height], np.float32)
        return [Face(bbox=box, kps=points * (width, height), embedding=normal(81, 512).numpy())]


@contextlib.contextmanager
def as_on_a_card(dtype: torch.dtype) -> Iterator[None]:
    """While a node runs that makes its networks in ComfyUI's type: it is this type on a CPU too, as on a card.

    Layers also get no random start, which takes seconds per node: both packs put the file's weights in their place.
    """
    management = comfy.model_management
    half = dtype == torch.float16
    with (
        patch.object(management, "unet_dtype", lambda *_, **__: dtype),
        patch.object(management, "should_use_fp16", lambda *_, **__: half),
        patch.object(torch.nn.Linear, "reset_parameters", lambda _: None),
    ):
        yield


@contextlib.contextmanager
def two_rows_at_a_time() -> Iterator[None]:
    """While it samples: ComfyUI puts no more than two prompts into one forward, as on a card without room for more.

    It asks the model how much memory so many rows need, and takes the most that fit.
    """
    from comfy.model_base import BaseModel

    def needed(_: Any, input_shape: Any, *__: Any, **___: Any) -> float:
        return 0.0 if input_shape[0] <= 2 else float("inf")

    with patch.object(BaseModel, "memory_required", needed):
        yield


def dtype_of(networks: Networks) -> torch.dtype:
    return networks.model.model.diffusion_model.dtype


def masks(networks: Networks, people: int) -> list[Tensor]:
    """(1, height, width) each: strips beside each other that cover the picture."""
    return list(strips(people, *networks.size)[:, None])


def text_of(networks: Networks, seed: int) -> list[list[Any]]:
    """A prompt of one person, as long as usual."""
    options = {"pooled_output": normal(seed, 1, 1280)} if networks.family.name == "sdxl" else {}
    return [[normal(seed, 1, 77, networks.text), options]]


def portrait(number: int) -> Tensor:
    """(1, side, side, 3), 0..1."""
    return torch.rand(1, PICTURE, PICTURE, 3, generator=torch.Generator().manual_seed(number))


@contextlib.contextmanager
def _file(networks: Networks, folder: str, contents: shapes.Shapes) -> Iterator[str]:
    """The name of a file with these tensors in a model folder of ComfyUI, while it is read."""
    with TemporaryDirectory() as root:
        path = Path(root) / "bench.bin"
        save(path, nested(Weights(dtype_of(networks)).fill(contents)))
        with patch.dict(folder_paths.folder_names_and_paths, {folder: ([root], {".bin"})}):
            yield path.name


def unet_shape(networks: Networks) -> adapters.UNet:
    """What adapters for this UNet are shaped by."""
    return adapters.UNet(networks.text, tuple(attention_widths(networks.model)))


# --- ComfyUI_IPAdapter_plus


def ip_adapter(networks: Networks) -> Any:
    """What the pack's loader makes of a published file: 16 tokens per person on SDXL and on SD1.5."""
    name = "ip-adapter-plus_sdxl_vit-h" if networks.family.name == "sdxl" else "ip-adapter-plus-face_sd15"
    with _file(networks, "ipadapter", adapters.PUBLISHED[name][1](unet_shape(networks))) as file:
        return installed.call("IPAdapterModelLoader", ipadapter_file=file)[0]


def ip_adapters(networks: Networks, people: int) -> Applied:
    """A node for each person, with a mask, one behind the other; one prompt."""
    adapter = ip_adapter(networks)
    clip_vision = tiny_encoders.clip_vision(1024, 1280, 224)
    model = networks.model
    with as_on_a_card(dtype_of(networks)):
        for number, mask in enumerate(masks(networks, people)):
            model = installed.call(
                "IPAdapterAdvanced", model=model, ipadapter=adapter, image=portrait(number), weight=0.8,
                weight_type="linear", combine_embeds="concat", start_at=0.0, end_at=1.0, embeds_scaling="V only",
                attn_mask=mask, clip_vision=clip_vision,
            )[0]  # fmt: skip
    return Applied(model, **networks.sides())


def regional_ip_adapters(networks: Networks, people: int) -> Applied:
    """As in that pack's example of regional conditioning: a prompt for each person on both sides, and common ones."""
    adapter = ip_adapter(networks)
    clip_vision = tiny_encoders.clip_vision(1024, 1280, 224)
    model = networks.model
    sides = networks.sides()
    positive = sides["positive"]
    negative = sides["negative"]
    with as_on_a_card(dtype_of(networks)):
        for number, mask in enumerate(masks(networks, people)):
            settings, prompt, negative_prompt = installed.call(
                "IPAdapterRegionalConditioning", image=portrait(number), image_weight=0.8, prompt_weight=1.0,
                weight_type="linear", start_at=0.0, end_at=1.0, mask=mask,
                positive=text_of(networks, 100 + number), negative=text_of(networks, 200 + number),
            )  # fmt: skip
            model = installed.call(
                "IPAdapterFromParams", model=model, ipadapter=adapter, ipadapter_params=settings,
                combine_embeds="concat", embeds_scaling="V only", clip_vision=clip_vision,
            )[0]  # fmt: skip
            positive = combined(positive, prompt)
            negative = combined(negative, negative_prompt)
    return Applied(model, positive, negative)


def combined(first: Any, second: Any) -> Any:
    """Both prompts, by ComfyUI's node."""
    return installed.call("ConditioningCombine", conditioning_1=first, conditioning_2=second)[0]


# --- ComfyUI_InstantID


def instant_id(networks: Networks) -> Any:
    """What the pack's loader makes of ip-adapter.bin as published, for a UNet of these widths."""
    unet = unet_shape(networks)

    def contents() -> shapes.Shapes:
        yield from shapes.under("image_proj", shapes.of("queries", width=1280, inputs=512, text=unet.text))
        yield from adapters.layers(unet)

    with _file(networks, "instantid", contents()) as file, as_on_a_card(dtype_of(networks)):
        return installed.call("InstantIDModelLoader", instantid_file=file)[0]


def chained_instant_ids(networks: Networks, people: int) -> Applied:
    """Attention with a mask and a ControlNet for each person, one behind the other; one prompt."""
    adapter = instant_id(networks)
    model = networks.model
    sides = networks.sides()
    positive = sides["positive"]
    negative = sides["negative"]
    keypoints = torch.zeros(1, networks.size[1], networks.size[0], 3)
    with as_on_a_card(dtype_of(networks)):
        for number, mask in enumerate(masks(networks, people)):
            model, faces = installed.call(
                "InstantIDAttentionPatch", instantid=adapter, insightface=OneFace(), image=portrait(number),
                model=model, weight=0.8, start_at=0.0, end_at=1.0, noise=0.0, mask=mask,
            )  # fmt: skip
            positive, negative = installed.call(
                "ApplyInstantIDControlNet", face_embeds=faces, control_net=networks.net, image_kps=keypoints,
                positive=positive, negative=negative, strength=0.8, start_at=0.0, end_at=1.0,
            )  # fmt: skip
    return Applied(model, positive, negative)


def instant_ids_with_prompts(networks: Networks, people: int) -> Applied:
    """As in that pack's example for two people: a prompt with a ControlNet and a mask for each, all combined."""
    adapter = instant_id(networks)
    model = networks.model
    positives: list[Any] = []
    negatives: list[Any] = []
    keypoints = torch.zeros(1, networks.size[1], networks.size[0], 3)
    with as_on_a_card(dtype_of(networks)):
        for number, mask in enumerate(masks(networks, people)):
            model, positive, negative = installed.call(
                "ApplyInstantIDAdvanced", instantid=adapter, insightface=OneFace(), control_net=networks.net,
                image=portrait(number), model=model, positive=text_of(networks, 100 + number),
                negative=text_of(networks, 200 + number), ip_weight=0.8, cn_strength=0.8, start_at=0.0, end_at=1.0,
                noise=0.0, combine_embeds="average", image_kps=keypoints, mask=mask,
            )  # fmt: skip
            positives = combined(positives, positive)
            negatives = combined(negatives, negative)
    return Applied(model, positives, negatives)


# --- ComfyUI-ppm


def attention_couple(common: bool) -> Callable[[Networks, int], Applied]:
    """Its attention couple. common: whether there is a prompt for the whole picture beside one for each person."""

    def apply(networks: Networks, people: int) -> Applied:
        sides = networks.sides()
        strips = masks(networks, people)
        texts = [text_of(networks, 100 + number) for number in range(people)]
        if common:
            base = sides["positive"]
            base_mask = torch.ones(1, networks.size[1], networks.size[0])
        else:
            base = texts.pop(0)
            base_mask = strips.pop(0)
        regions: dict[str, Any] = {}
        for number, (text, strip) in enumerate(zip(texts, strips, strict=True), 1):
            regions[f"cond_{number}"] = text
            regions[f"mask_{number}"] = strip
        model = installed.call(
            "AttentionCouplePPM", model=networks.model, base_cond=base, base_mask=base_mask, **regions
        )[0]
        return Applied(model, base, sides["negative"])

    return apply


# --- ComfyUI itself


def masked_prompts(networks: Networks, people: int) -> Applied:
    """A common prompt, and one with a mask for each person."""
    sides = networks.sides()
    positive = sides["positive"]
    for number, mask in enumerate(masks(networks, people)):
        prompt = installed.call(
            "ConditioningSetMask", conditioning=text_of(networks, 100 + number), mask=mask, strength=1.0,
            set_cond_area="default",
        )[0]  # fmt: skip
        positive = combined(positive, prompt)
    return Applied(networks.model, positive, sides["negative"])


def crops(networks: Networks, _people: int) -> Applied:
    """A crop for each person is a plain picture."""
    return networks.plain()


def with_crops(call: float, people: int) -> float:
    """A step of the picture, and its share of a pass of 20 steps over a crop of the same size for each person."""
    return 1 + STEPS * people * call


IP_ADAPTER_PLUS, INSTANT_ID, PPM = "ComfyUI_IPAdapter_plus", "ComfyUI_InstantID", "ComfyUI-ppm"
BY_PACKS: dict[str, Way] = {
    "chained_instant_ids": Way("InstantIDs chained, one prompt", chained_instant_ids, pack=INSTANT_ID),
    "instant_ids_with_prompts": Way("InstantIDs with a prompt each", instant_ids_with_prompts, pack=INSTANT_ID),
    "ip_adapters": Way("IP-Adapters with masks, one prompt", ip_adapters, BOTH, pack=IP_ADAPTER_PLUS),
    "regional_ip_adapters": Way(
        "IP-Adapters with masks, a common prompt and one each", regional_ip_adapters, BOTH, pack=IP_ADAPTER_PLUS
    ),
    "attention_couple": Way("attention couple, one prompt each", attention_couple(common=False), BOTH, pack=PPM),
    "attention_couple_and_common": Way(
        "attention couple, a common prompt and one each", attention_couple(common=True), BOTH, pack=PPM
    ),
    "masked_prompts": Way("masks on conditioning, a common prompt and one each", masked_prompts, BOTH),
    "crop_and_detail": Way("crop and detail, 1024 px per face", crops, BOTH, step=with_crops),
}
"""Every other way by its name."""


def installed_ways(chosen: Mapping[str, Way]) -> dict[str, Way]:
    """Those whose pack is installed. The others are said."""
    commits = installed.loaded(sorted({way.pack for way in chosen.values() if way.pack}))
    return {name: way for name, way in chosen.items() if not way.pack or way.pack in commits}


# --- Counted


class KnownSigmas:
    """The sigmas of a forward as numbers. Both packs ask for the first one inside a layer, where a network that
    computes in shapes alone has no numbers."""

    def __init__(self, sigmas: Tensor) -> None:
        self._numbers = sigmas.tolist()

    def detach(self) -> KnownSigmas:
        return self

    def cpu(self) -> KnownSigmas:
        return self

    def __getitem__(self, row: int) -> SimpleNamespace:
        return SimpleNamespace(item=lambda: self._numbers[row])


@contextlib.contextmanager
def no_tokens_computed() -> Iterator[None]:
    """While nodes run whose steps are counted: an adapter's tokens are zeros.

    They are made once per picture and no step computes them; half precision takes seconds for them on a CPU.
    """

    def zeros(resampler: Any, states: Tensor) -> Tensor:
        shape = len(states), resampler.latents.shape[1], resampler.proj_out.out_features
        return torch.zeros(shape, dtype=states.dtype)

    with contextlib.ExitStack() as stack:
        for node_id in ("IPAdapterAdvanced", "ApplyInstantIDAdvanced"):
            if node_id in installed.node_ids():
                code = sys.modules[installed.node_class(node_id).__module__]
                stack.enter_context(patch.object(code.Resampler, "forward", zeros))
        yield


def know_sigmas(networks: Networks) -> None:
    """Give these networks, which compute in shapes alone, their sigmas as KnownSigmas."""
    network = networks.model.model.diffusion_model
    forward = network.forward

    def with_numbers(*inputs: Any, transformer_options: dict[str, Any], **named: Any) -> Any:
        options = {**transformer_options, "sigmas": KnownSigmas(transformer_options["sigmas"])}
        return forward(*inputs, transformer_options=options, **named)

    network.forward = with_numbers


def count_by_packs(networks: Networks, ways: Mapping[str, Way], numbers: Iterable[int]) -> Iterator[Line]:
    """Figures of these ways, as figures.count gives them. networks: by for_counting."""
    know_sigmas(networks)
    with no_tokens_computed(), two_rows_at_a_time():
        yield from count(networks, ways, numbers)
