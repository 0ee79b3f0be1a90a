"""Keys and shapes of published files: the tables of shapes.txt, for networks of any size."""

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path

FILE = Path(__file__).with_suffix(".txt")
Shapes = Iterator[tuple[str, tuple[int, ...]]]
Sizes = dict[str, int | str]


def _tables() -> dict[str, tuple[list[str], list[list[str]]]]:
    """Per table the words behind its name and its lines as words."""
    tables: dict[str, tuple[list[str], list[list[str]]]] = {}
    name = ""
    for line in FILE.read_text("utf-8").splitlines():
        if line.startswith("["):
            name, *sizes = line.strip("[]").split()
            tables[name] = sizes, []
        elif line and not line.startswith("#"):
            tables[name][1].append(line.split())
    return tables


def of(table: str, **sizes: int | str) -> Shapes:
    """What is in a file of this kind. Raises KeyError for a table or a size that is missing."""
    wanted, lines = _TABLES[table]
    for name, has_default, default in (size.partition("=") for size in wanted):
        if name not in sizes and not has_default:
            raise KeyError(f"{table} needs {name}")
        sizes = {name: _value(default, sizes), **sizes} if has_default else sizes
    for key, *rest in lines:
        for name in _names(key.removesuffix(":"), sizes):
            if rest[0] == ">":
                for inner in _given(rest[2:], sizes):
                    shapes = of(rest[1], **{**sizes, **inner})
                    yield from shapes if name == "*" else under(name, shapes)
            elif rest[0] == "=":
                yield name, _shape(rest[1:], sizes)
            else:
                yield from layer(name, *_shape(rest, sizes))


def layer(key: str, *shape: int) -> Shapes:
    yield f"{key}.weight", shape
    yield f"{key}.bias", shape[:1]


def under(prefix: str, shapes: Shapes) -> Shapes:
    return ((prefix + key if key.startswith("_") else f"{prefix}.{key}", shape) for key, shape in shapes)


def _names(key: str, sizes: Sizes) -> Iterator[str]:
    parts = re.split(r"\{(.+?)\}", key)
    choices = [[part] if number % 2 == 0 else _choices(part, sizes) for number, part in enumerate(parts)]
    return map("".join, itertools.product(*choices))


def _choices(words: str, sizes: Sizes) -> list[str]:
    if words.startswith("="):
        return [str(sizes[words[1:]])]
    if "," in words:
        return words.split(",")
    return list(map(str, _counted(words) if ".." in words else range(_size(words, sizes))))


def _counted(words: str) -> range:
    first, last = map(int, words.split(".."))
    return range(first, last + 1)


def _given(words: list[str], sizes: Sizes) -> list[Sizes]:
    """ "name=size" words, once for each of a size that counts."""
    given = [word.split("=") for word in words]
    values = [list(_counted(value)) if ".." in value else [_value(value, sizes)] for _, value in given]
    return [dict(zip((name for name, _ in given), each, strict=True)) for each in itertools.product(*values)]


def _value(word: str, sizes: Sizes) -> int | str:
    return word if word.isalpha() and word not in sizes else _size(word, sizes)


def _shape(words: list[str], sizes: Sizes) -> tuple[int, ...]:
    return tuple(_size(word, sizes) for word in words)


def _size(word: str, sizes: Sizes) -> int:
    """Of a number, a name, or a product of these."""
    return math.prod(int(sizes.get(factor, factor)) for factor in word.split("*"))


_TABLES = _tables()
