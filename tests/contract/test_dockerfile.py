"""The image is made of what the tests run, holds what the scripts need, and is not published with the pack."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import demo


def test_image_has_the_releases_that_the_tests_run(root: Path) -> None:
    text = (root / "docker/Dockerfile").read_text("utf-8")
    pins = re.findall(r"^(torch\w*==\S+)$", (root / "scripts/requirements/demo.txt").read_text("utf-8"), re.MULTILINE)
    assert len(pins) == 3 and set(pins) <= set(text.split())
    assert re.findall(r"^ARG COMFYUI=(.*)$", text, re.MULTILINE) == [f"v{demo.RELEASE}"]


def test_image_holds_the_product_and_all_scripts(root: Path, tracked: set[str], shipped: set[str]) -> None:
    """Names below the repository's root decide what is sent to Docker. Neither file is part of the archive."""
    ignored = (root / "docker/Dockerfile.dockerignore").read_text("utf-8").split()
    inside = {name for name in tracked if not any(fnmatch(name.split("/")[0], pattern) for pattern in ignored)}
    assert {name.split("/")[0] for name in inside if "/" in name} == {n.split("/")[0] for n in shipped if "/" in n}
    assert {name for name in tracked if name.startswith("scripts/")} <= inside
    assert {"__init__.py", "models_manifest.json", "requirements.txt"} <= inside
    assert {"docker/Dockerfile", "docker/Dockerfile.dockerignore"} <= tracked - shipped
