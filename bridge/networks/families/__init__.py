"""The families of diffusion transformers, a file for each: what the pack needs to know of its network in the host.

docs/dev/add_a_family.md says how to add one.
"""

from . import anima, chroma, flux, flux_2, krea_2, qwen, qwen_2_1, z_image

TRANSFORMERS = (
    flux.TRANSFORMER, flux_2.TRANSFORMER, qwen.TRANSFORMER, z_image.TRANSFORMER, krea_2.TRANSFORMER,
    chroma.TRANSFORMER, anima.TRANSFORMER,
)  # fmt: skip
NEWER = (qwen_2_1.TRANSFORMER,)
"""Families that the newest ComfyUI in which all tests run lacks. Each has a file of its own in tests/parity."""
DESCRIBED = (*TRANSFORMERS, *NEWER)
RELATIVES = qwen.LAYERED, z_image.IN_PIXEL_SPACE
"""Networks of which all of a description is so but their latents, so that no reference and no ControlNet fits them."""
