"""What only newer hosts have, and what needs it."""

from inspect import getsource

import comfy.ldm.flux.model
import comfy.ldm.qwen_image.model

from ...core.checks.errors import BadSetup

OLDEST = "0.3.64"
"""The oldest ComfyUI in which the pack runs, as records have it in `host`."""
COUNTS = "reference_image_num_tokens"
"""The key, among transformer_options inside of a forward, of the number of tokens of each reference latent. They are
the last of the picture's."""


def known_here() -> bool:
    """Whether the host tells which tokens of a picture are references: its source has the key COUNTS."""
    # In the files: other packs may have put functions of their own in the place of the host's.
    return all(COUNTS in getsource(module) for module in (comfy.ldm.flux.model, comfy.ldm.qwen_image.model))


def require_host(host: str, what: str) -> None:
    """Raise BadSetup where this ComfyUI is too old for something that needs the version `host`.

    The version itself is not compared. There are two kinds of hosts: OLDEST, which will do for what needs OLDEST, and
    those that tell which tokens are references (`known_here`), which will do for everything. host: the `host` of a
    record. what: what needs it, for the message.
    """
    if host != OLDEST and not known_here():
        raise BadSetup(f"{what} needs ComfyUI {host} or newer, and this one is older.", "Update ComfyUI.")
