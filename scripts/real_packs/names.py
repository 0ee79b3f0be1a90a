"""What is run beside what, by name. It needs no host: run.py reads it before there is one."""

NAMES = (
    "ComfyUI_IPAdapter_plus", "ComfyUI_InstantID", "PuLID_ComfyUI", "ComfyUI-Advanced-ControlNet", "ComfyUI-ppm",
    "attention-couple-ComfyUI", "cgem156-ComfyUI", "sd-perturbed-attention", "comfyui-prompt-control",
    "ComfyUI-AnimateDiff-Evolved", "ComfyUI-Impact-Pack", "ComfyUI_UltimateSDUpscale", "ComfyUI-TiledDiffusion",
)  # fmt: skip
"""The packs that are run beside ours, in this order, by the names of their repositories."""

ON_SDXL = (
    "ip_adapter_plus", "instant_id", "id_patch", "id_tokens_by_region", "prompt_per_person", "share_parts",
    "lora_per_person",
)  # fmt: skip
ON_SD15 = ("parts2whole",)
OURS = (*ON_SDXL, *ON_SD15)
"""Methods of bench.unets that every pack is run beside: each way in which Likeness reaches a UNet, and each method
on whose help page another pack's node stands."""
ADAPTED = (*ON_SDXL, "story_maker")
"""What is run beside adapters of other packs, for SDXL alone. The page of Apply StoryMaker names them."""

THEIRS_FIRST, OURS_FIRST = "theirs-first", "ours-first"
ORDERS = (THEIRS_FIRST, OURS_FIRST)
"""In which a pack and ours are loaded."""
