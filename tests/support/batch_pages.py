"""What the page of batch.py is told, as it stands in its file."""

import json
import re
from pathlib import Path
from typing import Any


def told(folder: Path) -> dict[str, Any]:
    found = re.search(r'id="rows">(.*?)</script>', (folder / "index.html").read_text("utf-8"), re.DOTALL)
    assert found
    return json.loads(found[1])


def row_named(folder: Path, name: str) -> dict[str, Any]:
    return next(row for row in told(folder)["rows"] if row["name"] == name)
