"""A style on the host: what an IP-Adapter makes of pictures, heard in some layers, where some people stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ...bridge import load
from ...bridge.adapters import Hearing, keys_and_values
from ...bridge.injections import Injection
from ...core.errors import LikenessError
from .host import IPAdapter, nothing_of, seen_of

if TYPE_CHECKING:
    from comfy.clip_vision import ClipVisionModel


class NotForPictures(LikenessError):
    """An IP-Adapter that reads faces, where pictures are to be read. what: the file in words."""

    def __init__(self, node: str, what: str) -> None:
        super().__init__(
            f"{node} reads pictures, but the ip_adapter is {what}, which reads the embedding of a face.",
            "Load a plain or plus file with Load IP-Adapter, such as ip-adapter-plus_sdxl_vit-h.safetensors from "
            "https://huggingface.co/h94/IP-Adapter, into models/ipadapter.",
        )


def check_reads_pictures(loaded: IPAdapter, node: str) -> None:
    """Raise NotForPictures for FaceID. node: who asks."""
    if loaded.variant.embedding:
        raise NotForPictures(node, loaded.variant.title)


def make_injections(
    loaded: IPAdapter,
    encoder: ClipVisionModel,
    pictures: Tensor,
    layers: Sequence[bool],
    scales: Tensor,
    hearing: Hearing,
) -> tuple[Injection, Injection]:
    """What all the pictures (B, H, W, 3) together add to the positive and, with nothing in each, to the negative.

    layers: for each whether it is heard there. scales: (1,), or with a picture per person one for each of them.
    Raises WrongEncoder, BadPicture.
    """
    source = object()

    def injection(seen: Tensor) -> Injection:
        tokens = loaded.net.tokens(None, load.on_device(loaded.patcher, seen), None).cpu()
        tokens = tokens.expand(len(scales), -1, -1)
        pairs = keys_and_values(loaded.patcher, loaded.net.ip_adapter, tokens, scales)
        heard = tuple(pair if on else None for pair, on in zip(pairs, layers, strict=True))
        return hearing.injection(source, tokens, heard)

    seen = seen_of(loaded, encoder, pictures)
    return injection(seen), injection(nothing_of(loaded, encoder).expand_as(seen))
