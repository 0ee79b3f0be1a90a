"""The pack's own data files: what somebody who adds to them gets wrong is a sentence that names the file.

Standard library only: scripts use this module where there is no torch yet.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import LikenessError

_PACK = Path(__file__).absolute().parents[2]


class BadRecord(LikenessError):
    """A data file of the pack that the code cannot read as it is. path: of the file. why: a clause."""

    def __init__(self, path: Path, why: str) -> None:
        name = path.relative_to(_PACK).as_posix() if path.is_relative_to(_PACK) else str(path)
        super().__init__(f"{name} of Likeness cannot be used: {why}.", "Mend the file, or install Likeness again.")


def read(path: Path) -> Any:
    """What is in a JSON file of the pack. Raises BadRecord."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as cause:
        raise BadRecord(path, f"it is no JSON ({cause})") from cause


@contextmanager
def made_of(path: Path, entry: str = "") -> Generator[None]:
    """Makes objects of what a file holds. A field that is missing, unknown or of another kind is a BadRecord.

    entry: which part of the file, for the message.
    """
    try:
        yield
    except (TypeError, KeyError, AttributeError, ValueError) as cause:
        # A dataclass names the fields: "Use.__init__() missing 1 required positional argument: 'template'".
        why = f"a field {cause} is missing" if isinstance(cause, KeyError) else str(cause)
        raise BadRecord(path, f"{entry}: {why}" if entry else why) from cause
