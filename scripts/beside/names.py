"""The packs that are run beside ours, in this order. It needs no host: beside.py reads it before there is one."""

NAMES = (
    "ComfyUI_IPAdapter_plus", "ComfyUI_InstantID", "PuLID_ComfyUI", "ComfyUI-Advanced-ControlNet", "ComfyUI-ppm",
    "attention-couple-ComfyUI", "cgem156-ComfyUI", "sd-perturbed-attention", "comfyui-prompt-control",
    "ComfyUI-AnimateDiff-Evolved", "ComfyUI-Impact-Pack", "ComfyUI_UltimateSDUpscale", "ComfyUI-TiledDiffusion",
)  # fmt: skip
"""Of their repositories."""
