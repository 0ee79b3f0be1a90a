"""TorchScript archives: networks with their own code, which torch runs and Python never sees."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from ..errors import UnsupportedCheckpoint
from ..text import in_one_line
from .files import no_model
from .formats import recognised

_ON_DISK = {"aten::save", "aten::from_file", "aten::load"}
"""What such code can reach files with; no network needs it."""
_AT_ONCE = b"__setstate__"
"""The method that torch runs while it opens a file, before anybody can ask what is in it."""


def is_archive(path: Path) -> bool:
    """Whether a file is a whole archive of this kind, by its contents: weights that torch saved have no code."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):  # what damage makes zipfile raise
        return False
    if any(name.lower().endswith("/model.json") for name in names):
        return False  # of torch before 1.1, which says itself where its code lies
    return any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names)


def _runs_at_once(path: Path) -> bool:
    # torch finds the members of an archive whatever the case of their letters.
    with zipfile.ZipFile(path) as archive:
        return any(_AT_ONCE in archive.read(one) for one in archive.infolist() if one.filename.lower().endswith(".py"))


def load(path: Path, expected: str, advice: str) -> Any:
    """The network, on the CPU. expected, advice: what the file should be and where that is.

    Raises UnsupportedCheckpoint, saying what the file is instead.
    """

    def wrong(found: str) -> UnsupportedCheckpoint:
        return UnsupportedCheckpoint(str(path), found, expected, advice)

    if not is_archive(path):
        raise wrong(_instead(path))
    try:
        if _runs_at_once(path):
            code = _AT_ONCE.decode()
            raise wrong(f"a TorchScript network that runs code while it is opened ({code}), so it is refused")
        jit: Any = torch.jit
        network: Any = jit.load(str(path), map_location="cpu")
        used: set[str] = {name.split(".")[0] for name in jit.export_opnames(network)}
    except (MemoryError, UnsupportedCheckpoint):
        raise  # of memory: the file may be good
    except Exception as error:  # arbitrary bytes in an archive raise anything
        raise wrong(f"a TorchScript archive that cannot be opened ({in_one_line(error)})") from error
    if reaches := sorted(_ON_DISK & used):
        raise wrong(f"a TorchScript network that reads or writes files ({', '.join(reaches)}), so it is not run")
    return network.eval()


def _instead(path: Path) -> str:
    try:
        what = no_model(path)
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
    if what:
        return what
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped and not zipfile.is_zipfile(path):
        return f"cut off while downloading ({path.stat().st_size} bytes)"
    known, _ = recognised(path)
    return known.title if known else "no TorchScript archive"
