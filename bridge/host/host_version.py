"""What only newer hosts have: asked by the host's version."""

import re

import comfyui_version

from ...core.checks.errors import BadSetup


def is_host(least: str) -> bool:
    """Whether this ComfyUI is of this version or a newer one. least: as the `host` of records, such as 0.3.64."""
    return _numbers(comfyui_version.__version__) >= _numbers(least)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def require_host(host: str, what: str) -> None:
    """Raise BadSetup where this ComfyUI is older than something needs it. host: the `host` of a record. what: what
    needs it, for the message."""
    if not is_host(host):
        raise BadSetup(needs(host, what), "Update ComfyUI.")


def needs(host: str, what: str) -> str:
    """The sentence that says so."""
    return f"{what} needs ComfyUI {host} or newer, and this one is {comfyui_version.__version__}."
