"""Model families, and the widths and channels by which they are told apart. Standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass

from .checks.errors import joined


@dataclass(frozen=True)
class Family:
    """A family of diffusion models.

    text: widths of the text that its models read.
    latent: channels of its latents.
    token: side in pixels of the picture's coarsest token.
    unet: whether its network is a UNet with cross-attention.
    """

    name: str
    text: tuple[int, ...]
    latent: int
    token: int = 16
    unet: bool = False


SD15 = Family("SD1.5", (768,), 4, token=64, unet=True)
SD2 = Family("SD2", (1024,), 4, token=64, unet=True)
SDXL = Family("SDXL", (2048,), 4, token=32, unet=True)
FLUX = Family("FLUX.1", (4096,), 16)
FLUX_2 = Family("FLUX.2", (7680, 12288, 15360), 128)
QWEN = Family("Qwen-Image", (3584,), 16)
Z_IMAGE = Family("Z-Image", (2560,), 16)
KREA_2 = Family("Krea 2", (30720,), 16)
CHROMA = Family("Chroma", (4096,), 16)
ANIMA = Family("Anima", (1024,), 16)
QWEN_2_1 = Family("Qwen-Image 2.1", (4096,), 64)
FAMILIES = SD15, SD2, SDXL, FLUX, FLUX_2, QWEN, Z_IMAGE, KREA_2, CHROMA, ANIMA, QWEN_2_1


_ANOTHER = "another family"
SDXL_REFINER = 1280
"""Width of the text that the SDXL refiner reads: the part of SDXL's text that CLIP ViT-bigG makes. None of our nodes
works with the refiner, so FAMILIES has no entry for it. Stable Cascade, which has no UNet, reads texts of this width as
well."""
REFINER = (
    "What is made for SDXL does not fit the SDXL refiner. Leave the refiner out, or give it a second sampler of its "
    "own, with prompts that its own CLIP has encoded and that go through no node of Likeness."
)


def family_of_text_width(width: int | None) -> Family | None:
    """The first family whose models read texts of this width; None for no family."""
    for family in FAMILIES:
        if width in family.text:
            return family
    return None


def text_name(width: int | None) -> str:
    """The names of the models that read texts of this width, for a message.

    "another family" is added for a width of models that are no UNets: such texts come from a language model, and models
    that are not in FAMILIES may read the same.
    """
    if width == SDXL_REFINER:
        return "the SDXL refiner or Stable Cascade"
    found = [family for family in FAMILIES if width in family.text]
    names = [family.name for family in found]
    # Of the models that read texts as wide as FLUX.1's some have no entry in FAMILIES, so this list replaces the names.
    if FLUX in found:
        names = ["Kolors", "Flux", "Chroma", "SD3"]
    if not all(family.unet for family in found):
        names.append(_ANOTHER)
    return _alternatives(names)


def latent_name(channels: int) -> str:
    """The names of the families whose latents have so many channels, for a message."""
    return _alternatives([family.name for family in FAMILIES if family.latent == channels])


def _alternatives(names: Sequence[str]) -> str:
    """The names of families of which a thing is for one or the other, for a message."""
    return joined(names, "or") or _ANOTHER
