"""The host's own finder of face landmarks: newer hosts have one."""

from __future__ import annotations

from pathlib import Path

import folder_paths


def provided() -> bool:
    """Whether this host has MediaPipeFaceLandmarker, the node that gives FACE_LANDMARKS."""
    return (Path(str(folder_paths.__file__)).parent / "comfy_extras" / "nodes_mediapipe.py").is_file()
