"""The packs of other authors whose nodes are counted. It needs no host: bench.py reads it before there is one."""

IP_ADAPTER_PLUS = "ComfyUI_IPAdapter_plus"
INSTANT_ID = "ComfyUI_InstantID"
PPM = "ComfyUI-ppm"
PACKS = (IP_ADAPTER_PLUS, INSTANT_ID, PPM)
"""Of their repositories."""
