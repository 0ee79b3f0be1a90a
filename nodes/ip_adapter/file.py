"""An IP-Adapter file on the host: what it reads of people and pictures becomes tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...bridge import encode, load, lora
from ...bridge.load import Loaded
from ...core.methods import method
from ..sockets import adapter_socket
from .net import IPAdapterNet, Variant, variant, versioned

if TYPE_CHECKING:
    from comfy.clip_vision import ClipVisionModel

METHOD = method("ip_adapter")
FILE = load.Published.of(METHOD, "IP-Adapter")


@dataclass(frozen=True)
class IPAdapter(Loaded[IPAdapterNet]):
    """A loaded file. variant: what it reads, and how its authors used it."""

    variant: Variant = field(kw_only=True)

    def tokens(self, embeddings: Tensor | None, seen: Tensor | None, shortcut: float = 1.0) -> Tensor:
        """Of n photos or pictures, (1, tokens, width) float32 on the CPU.

        embeddings: (n, 512), seen: (n, ...) by CLIP; None for what the file does not read. shortcut: in Plus v2 how
        much of what CLIP sees is added.
        """
        embeddings, seen = (x if x is None else self.beside(x) for x in (embeddings, seen))
        return self.net.tokens(embeddings, seen, shortcut if self.variant.shortcut else None).cpu()

    def seen(self, clip: ClipVisionModel, pictures: Tensor) -> Tensor:
        """What the file reads of pictures (n, H, W, 3) by CLIP, (n, ...). Raises WrongEncoder, BadPicture."""
        look = encode.states if self.variant.clip == "states" else encode.embeds
        return look(clip, pictures, self.net.seen)

    def nothing(self, clip: ClipVisionModel | None) -> Tensor:
        """What it reads instead on the negative side, (1, ...). Raises EncoderMissing, WrongEncoder, BadPicture."""
        states, width = self.variant.clip == "states", self.net.seen
        if clip is None:
            kind = encode.STATES if states else encode.EMBEDS
            raise encode.EncoderMissing(self.variant.title, kind, width)
        return encode.nothing(clip, width) if states else torch.zeros(1, width)


IPAdapterSocket = adapter_socket(METHOD.socket, IPAdapter)


def load_ip_adapter(path: str, plus_version: str) -> IPAdapter:
    """Read any of the method's formats. plus_version: of FaceID Plus, one of VERSIONS.

    Raises UnsupportedCheckpoint, naming what the file is instead.
    """
    state = FILE.read(path)
    found = versioned(variant(state), state, path, plus_version)
    return IPAdapter(FILE.build(path, IPAdapterNet, state), lora.of_adapter(state), variant=found)
