"""What people have who update their frontend alone: tests open the newest ComfyUI in it."""

from pathlib import Path

import environment

PACKAGE = "comfyui-frontend-package==1.58.1"


def newest_frontend(python: Path) -> Path:
    """The folder for the host's `--front-end-root`. Raises SetupError where it cannot be had."""
    return environment.packages_beside(python, [PACKAGE], "the newest frontend") / "comfyui_frontend_package" / "static"
