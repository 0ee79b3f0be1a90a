"""What a cell of a table says to an input: a number, a word of a menu, yes or no, or text."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from shared.workflow import Spec

from core.checks.text import with_plain_signs
from core.models.files import WEIGHTS

from .file_names import FileNames
from .rows import BadRow

_YES = ("true", "yes", "on", "1")
_NO = ("false", "no", "off", "0")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
"""In many countries a comma stands before the decimals."""
_THOUSANDS = re.compile(r"[+-]?0*[1-9]\d{0,2}([.,])\d{3}")
"""1,000 may be a thousand or one; so may 1.000, where a whole number is needed."""
_WHOLE_NUMBER = re.compile(r"([+-]?\d{1,20})([.,](\d*))?")
"""Programs may add decimals, all of them 0."""
_FIRST = 5
"""Words of a menu in a message, where none of them is near."""


def value_of(cell: str, spec: Spec, current: Any) -> Any:
    """The value that a cell means.

    spec: of the input. current: its value in the workflow. Raises BadRow, which says what would do.
    """
    if spec.menu is not None:
        return _choice(cell, spec.menu)
    kind = spec.kind or _kind_of(current)
    if kind == "BOOLEAN":
        return _boolean(cell)
    if kind in ("INT", "FLOAT"):
        number = _number(cell, is_whole=kind == "INT")
        _require_range(number, spec.options)
        return number
    if cell != cell.encode(errors="ignore").decode():
        raise BadRow("it holds half of a letter: write that letter again.")
    return cell


def _kind_of(value: Any) -> str:
    """The kind of an input that the host does not list: that of the workflow's value."""
    kinds = {bool: "BOOLEAN", int: "INT", float: "FLOAT"}
    return kinds.get(type(value), "STRING")


def _boolean(cell: str) -> bool:
    word = cell.casefold()
    if word not in (*_YES, *_NO):
        raise BadRow("true or false is needed.")
    return word in _YES


def _number(cell: str, is_whole: bool) -> float:
    cell = with_plain_signs(cell)
    thousands = _THOUSANDS.fullmatch(cell)
    if thousands and (is_whole or thousands[1] == ","):
        raise BadRow(
            "it may be thousands or decimals: write all digits with nothing between them, decimals with a dot."
        )
    if is_whole:
        whole = _WHOLE_NUMBER.fullmatch(cell)
        if not whole or int(whole[3] or 0):
            raise BadRow("a whole number is needed, with all of its digits and nothing between them.")
        return int(whole[1])
    number = float(cell.replace(",", ".")) if _NUMBER.fullmatch(cell) else math.inf
    if math.isinf(number):
        raise BadRow("a number is needed, with nothing between its digits.")
    return number


def _require_range(number: float, options: Mapping[str, Any]) -> None:
    """Raises BadRow for a number outside of an input's limits. options: of the input."""
    low = options.get("min", -math.inf)
    high = options.get("max", math.inf)
    if not low <= number <= high:
        raise BadRow(f"{low} to {high} is needed.")


def _choice(cell: str, menu: Sequence[Any]) -> Any:
    """The entry of a menu that a cell names.

    menu: words, or entries whose choice brings inputs. A file may be named without its ending. Raises BadRow.
    """
    values = [entry["key"] if isinstance(entry, dict) and "key" in entry else entry for entry in menu]
    words = {str(value): value for value in values}
    word = FileNames(words, WEIGHTS).meant(cell)
    if word is not None:
        return words[word]
    if not words:
        raise BadRow("the menu is empty.")
    near = difflib.get_close_matches(cell, words, cutoff=0.4) or list(words)[:_FIRST]
    raise BadRow(f"the menu has {len(values)} entries, such as {', '.join(near)}.")
