"""The families of diffusion transformers, a file for each: what the pack needs to know of its network in the host.

docs/dev/add_a_family.md says how to add one.
"""

from . import anima, chroma, flux, flux_2, ideogram_4, joyimage, krea_2, mage_flow, qwen, without_regions, z_image

TRANSFORMERS = (
    flux.TRANSFORMER, flux_2.TRANSFORMER, qwen.TRANSFORMER, z_image.TRANSFORMER, krea_2.TRANSFORMER,
    mage_flow.TRANSFORMER, chroma.TRANSFORMER, ideogram_4.TRANSFORMER, anima.TRANSFORMER, joyimage.TRANSFORMER,
)  # fmt: skip
RELATIVES = qwen.LAYERED, z_image.IN_PIXEL_SPACE
"""Networks of which all of a description is so but how they are given reference pictures."""
WITHOUT_REGIONS = without_regions.QWEN_2_1, without_regions.OMNIGEN_2, without_regions.BOOGU
"""How models are given reference pictures whose networks are not described."""
