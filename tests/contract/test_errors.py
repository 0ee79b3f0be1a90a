"""No exception but a LikenessError leaves a node: read from the source, every `raise` of the pack is one of ours, or is
caught before it gets out, by the function that is named here."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

BASE = "LikenessError"
SHIPPED = ("core", "bridge", "nodes")
CAUGHT = {
    "bridge/self_attention/recording.py": ("bridge/self_attention/recording.py", "record"),
    "core/body_surface/iuv.py": ("bridge/body_surface.py", "bodies"),
    "core/faces/onnx_network.py": ("core/faces/onnx_network.py", "_run"),
    "nodes/id_patch/net.py": ("bridge/load.py", "build"),
    "core/inputs.py": ("core/inputs.py", "held"),
    "core/models/files.py": ("core/models/examine.py", "_trouble"),
    "core/models/onnx_file.py": ("core/models/onnx_file.py", "_walked"),
    "core/models/tensors.py": ("core/models/examine.py", "_trouble"),
    "core/models/needs.py": ("scripts/models.py", "read_workflow"),
}
"""Files that raise something else, and the file and function that catches it."""
HOSTS_OWN = {"MemoryError", "OutOfMemoryError"}
"""What is handed on as it is: the host frees memory and explains it."""

Trees = Mapping[str, ast.Module]


@pytest.fixture(scope="module")
def trees(root: Path) -> Trees:
    """By path from the root."""
    paths = (path for folder in SHIPPED for path in sorted((root / folder).rglob("*.py")))
    return {str(path.relative_to(root)): ast.parse(path.read_text("utf-8")) for path in paths}


def name(node: ast.expr | None) -> str:
    """BadCast of `BadCast`, `errors.BadCast` and `BadCast(...)`."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).split(".")[-1] if node else ""


def ours(trees: Trees) -> set[str]:
    """The family, wherever its classes stand."""
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    family, grown = {BASE}, 0
    while len(family) > grown:
        grown = len(family)
        family |= {one.name for one in classes if family & set(map(name, one.bases))}
    return family


def makers(trees: Trees, family: set[str]) -> set[str]:
    """Functions that return an error of the family, or None; pyright holds them to it."""
    functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {one.name for one in functions if one.returns and ast.unparse(one.returns).removesuffix(" | None") in family}


def raised(tree: ast.Module) -> Iterator[tuple[ast.Raise, list[ast.AST]]]:
    """Every raise, and what it stands in, from the module inwards."""

    def walk(node: ast.AST, around: list[ast.AST]) -> Iterator[tuple[ast.Raise, list[ast.AST]]]:
        if isinstance(node, ast.Raise):
            yield node, around
        for child in ast.iter_child_nodes(node):
            yield from walk(child, [*around, node])

    yield from walk(tree, [])


def what(item: ast.Raise, around: list[ast.AST]) -> set[str]:
    """Names of the classes, or of the functions that make one, that leave here."""
    function = next((node for node in reversed(around) if isinstance(node, ast.FunctionDef)), None)
    if item.exc is None:
        handler = next(node for node in reversed(around) if isinstance(node, ast.ExceptHandler))
        return set(map(name, handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]))
    if name(item.exc) == "NotImplementedError" and function and abstract(function):
        return set()
    walked = ast.walk(function) if function else ()
    bound = {node.target.id: name(node.value) for node in walked if isinstance(node, ast.NamedExpr)}
    found = bound.get(name(item.exc), name(item.exc)) if isinstance(item.exc, ast.Name) else name(item.exc)
    return {found}


def abstract(function: ast.FunctionDef) -> bool:
    """Whether a method only says what others do: a docstring and the raise."""
    said = [node for node in function.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    return len(said) == 1


def strangers(trees: Trees) -> list[tuple[str, int, str]]:
    """File, line and name of whatever is raised and is none of ours."""
    family = ours(trees)
    made = makers(trees, family)
    return [
        (path, item.lineno, found)
        for path, tree in trees.items()
        for item, around in raised(tree)
        for found in sorted(what(item, around) - family - made - HOSTS_OWN)
    ]


def ancestors(caught: str, derived: Mapping[str, set[str]]) -> set[str]:
    """The class and all that it is derived from, ours and Python's."""
    builtin = getattr(builtins, caught, None)
    above = {one.__name__ for one in builtin.__mro__} if builtin else derived.get(caught, set())
    return {caught}.union(*(ancestors(one, derived) for one in above - {caught}))


def catches(tree: ast.Module, function: str, caught: str, derived: Mapping[str, set[str]]) -> bool:
    """Whether a function has an except clause for a class, by its own name or that of what it is derived from."""
    wanted = ancestors(caught, derived)
    handlers = [
        handler
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == function
        for handler in ast.walk(node)
        if isinstance(handler, ast.ExceptHandler)
    ]
    named = [one.type.elts if isinstance(one.type, ast.Tuple) else [one.type] for one in handlers]
    return any(wanted & set(map(name, types)) for types in named)


def test_only_our_errors_leave_a_node(trees: Trees) -> None:
    assert sum(1 for tree in trees.values() for _ in raised(tree)) > 100
    assert {path for path, _, _ in strangers(trees)} == set(CAUGHT)


def test_whatever_else_is_raised_is_caught_where_it_says(root: Path, trees: Trees) -> None:
    derived = {
        node.name: set(map(name, node.bases))
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    there = {path: ast.parse((root / path).read_text("utf-8")) for path, _ in CAUGHT.values()}
    loose = [
        (path, line, found)
        for path, line, found in strangers(trees)
        if not catches(there[CAUGHT[path][0]], CAUGHT[path][1], found, derived)
    ]
    assert not loose


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(): raise ValueError('x')", ["ValueError"]),
        ("def f():\n try: g()\n except OSError: raise", ["OSError"]),
        ("def f():\n try: g()\n except (MemoryError, KeyError): raise", ["KeyError"]),
        ("def f():\n '''Count.'''\n g()\n raise NotImplementedError", ["NotImplementedError"]),
        ("def f():\n if error := g(): raise error", ["g"]),
        ("def f(): raise g('x') from None", ["g"]),
        ("class Mine(ValueError): pass\ndef f(): raise Mine", ["Mine"]),
        ("class Lost(BadCast): pass\ndef f(): raise Lost('a', 'b')", []),
        ("class BadOrder(LikenessError): pass\ndef g() -> BadOrder | None: ...\ndef f():\n raise g()", []),
        ("def f():\n '''What others do.'''\n raise NotImplementedError", []),
        ("def f():\n try: g()\n except MemoryError: raise", []),
    ],
)
def test_a_stranger_is_seen(source: str, found: list[str]) -> None:
    family = "class LikenessError(Exception): pass\nclass BadCast(LikenessError): pass\n"
    assert [one for _, _, one in strangers({"core/x.py": ast.parse(family + source)})] == found


def test_nobody_raises_the_base_itself(trees: Trees) -> None:
    """Users, tests and handlers tell errors apart by their class."""
    bare = [path for path, tree in trees.items() for item, _ in raised(tree) if name(item.exc) == BASE]
    assert not bare
