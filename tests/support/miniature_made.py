"""The miniature as files as wide as the small net, which computes the same, in a host that takes such a UNet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import comfy.supported_models
import pytest
from miniature import export
from rig import small_networks
from rig.standins import Files, narrow


@contextmanager
def files_in(folder: Path) -> Iterator[Files]:
    """While the host loads them."""
    files = export.files(folder)
    export.write(files, partial(narrow, vae=64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comfy.supported_models, "models", small_networks.families())
        yield files
