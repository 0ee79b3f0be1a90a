"""What messages call models by the width of the text that they read, and by the channels of their latents."""

import pytest
from pack.core.families import latent_name, text_name

TEXTS = {
    768: "SD1.5",
    1280: "the SDXL refiner or Stable Cascade",
    1024: "SD2, Anima or another family",
    2560: "Z-Image or another family",
    3584: "Qwen-Image or another family",
    4096: "Kolors, Flux, Chroma, SD3 or another family",
    5: "another family",
    None: "another family",
}


@pytest.mark.parametrize("width", TEXTS)
def test_all_models_that_read_texts_of_a_width_are_named(width: int | None) -> None:
    assert text_name(width) == TEXTS[width]


LATENTS = {4: "SD1.5, SD2 or SDXL", 128: "FLUX.2", 5: "another family"}


@pytest.mark.parametrize("channels", LATENTS)
def test_all_models_with_latents_of_so_many_channels_are_named(channels: int) -> None:
    assert latent_name(channels) == LATENTS[channels]
