"""Keys and shapes of published files: the tables of shapes.txt, for networks of any size."""

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_suffix(".txt")
Shapes = Iterator[tuple[str, tuple[int, ...]]]
Sizes = dict[str, int]


class _Table(NamedTuple):
    """sizes: the words behind its name. lines: as words."""

    sizes: list[str]
    lines: list[list[str]]


def _tables() -> dict[str, _Table]:
    """By name."""
    tables: dict[str, _Table] = {}
    name = ""
    for line in FILE.read_text("utf-8").splitlines():
        if line.startswith("["):
            name, *sizes = line.strip("[]").split()
            tables[name] = _Table(sizes, [])
        elif line and not line.startswith("#"):
            tables[name].lines.append(line.split())
    return tables


def of(table: str, **sizes: int) -> Shapes:
    """What is in a file of this kind. Raises KeyError for a table or a size that is missing."""
    for size in _TABLES[table].sizes:
        name, has_default, default = size.partition("=")
        if name not in sizes and not has_default:
            raise KeyError(f"{table} needs {name}")
        if has_default:
            sizes = {name: _size(default, sizes), **sizes}
    for key, *words in _TABLES[table].lines:
        for name in _names(key.removesuffix(":"), sizes):
            yield from _of_line(name, words, sizes)


def _of_line(name: str, words: list[str], sizes: Sizes) -> Shapes:
    """What one line says of a key: another table, a tensor, or a layer with weight and bias."""
    if words[0] == ">":
        for inner in _inner_sizes(words[2:], sizes):
            shapes = of(words[1], **{**sizes, **inner})
            yield from shapes if name == "*" else under(name, shapes)
    elif words[0] == "=":
        yield name, _shape(words[1:], sizes)
    else:
        yield from layer(name, *_shape(words, sizes))


def layer(key: str, *shape: int) -> Shapes:
    yield f"{key}.weight", shape
    yield f"{key}.bias", shape[:1]


def under(prefix: str, shapes: Shapes) -> Shapes:
    for key, shape in shapes:
        if key.startswith("_"):
            yield prefix + key, shape
        else:
            yield f"{prefix}.{key}", shape


def _names(key: str, sizes: Sizes) -> Iterator[str]:
    """All keys that a key with {choices} stands for."""
    choices: list[list[str]] = []
    for number, part in enumerate(re.split(r"\{(.+?)\}", key)):
        in_braces = number % 2 == 1
        choices.append(_choices(part, sizes) if in_braces else [part])
    return map("".join, itertools.product(*choices))


def _choices(words: str, sizes: Sizes) -> list[str]:
    if words.startswith("="):
        return [str(sizes[words[1:]])]
    if "," in words:
        return words.split(",")
    numbers = _counted(words) if ".." in words else range(_size(words, sizes))
    return [str(number) for number in numbers]


def _counted(words: str) -> range:
    first, last = map(int, words.split(".."))
    return range(first, last + 1)


def _inner_sizes(words: list[str], sizes: Sizes) -> Iterator[Sizes]:
    """The sizes of another table, from words such as name=size. A size that counts (1..3) gives one for each number."""
    names: list[str] = []
    values: list[list[int]] = []
    for word in words:
        name, _, value = word.partition("=")
        names.append(name)
        if ".." in value:
            values.append(list(_counted(value)))
        else:
            values.append([_size(value, sizes)])
    for row in itertools.product(*values):
        yield dict(zip(names, row, strict=True))


def _shape(words: list[str], sizes: Sizes) -> tuple[int, ...]:
    return tuple(_size(word, sizes) for word in words)


def _size(word: str, sizes: Sizes) -> int:
    """Of a number, a name, or a product of these."""
    return math.prod(int(sizes.get(factor, factor)) for factor in word.split("*"))


_TABLES = _tables()
