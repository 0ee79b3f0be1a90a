"""No exception but a LikenessError leaves a node: read from the source, every `raise` of the pack is one of ours, or is
caught before it gets out, by the function that is named here."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

BASE = "LikenessError"
SHIPPED = ("core/", "bridge/", "nodes/")
CAUGHT = {
    "bridge/self_attention/recording.py": ("bridge/self_attention/recording.py", "record"),
    "core/body_surface/iuv.py": ("bridge/body_surface.py", "bodies"),
    "core/faces/onnx_network.py": ("core/faces/onnx_network.py", "_run"),
    "nodes/id_patch/net.py": ("bridge/load.py", "build"),
    "core/inputs.py": ("core/inputs.py", "held"),
    "core/models/files.py": ("core/models/examine.py", "_trouble"),
    "core/models/manifest.py": ("core/models/manifest.py", "parsed"),
    "core/models/onnx_file.py": ("core/models/onnx_file.py", "_walked"),
    "core/models/tensors.py": ("core/models/examine.py", "_trouble"),
    "core/models/needs.py": ("scripts/models.py", "read_workflow"),
}
"""Files that raise something else, and the file and function that catches it."""
HOSTS_OWN = {"MemoryError", "OutOfMemoryError"}
"""What is handed on as it is: the host frees memory and explains it."""

Trees = Mapping[str, ast.Module]


@pytest.fixture
def shipped_trees(trees: Trees) -> Trees:
    return {path: tree for path, tree in trees.items() if path.startswith(SHIPPED)}


def name(node: ast.expr | None) -> str:
    """BadCast of `BadCast`, `errors.BadCast` and `BadCast(...)`."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).split(".")[-1] if node else ""


def names(node: ast.expr | None) -> set[str]:
    """Of the classes of an except clause."""
    return set(map(name, node.elts if isinstance(node, ast.Tuple) else [node]))


def every(trees: Trees, kind: type) -> Iterator[Any]:
    return (node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, kind))


def family(trees: Trees) -> set[str]:
    """Our errors, wherever their classes stand, and the functions that return one; pyright holds these to it."""
    found, grown = {BASE}, 0
    while len(found) > grown:
        grown = len(found)
        found |= {one.name for one in every(trees, ast.ClassDef) if found & set(map(name, one.bases))}
    functions = (one for one in every(trees, ast.FunctionDef) if one.returns)
    return found | {one.name for one in functions if ast.unparse(one.returns).removesuffix(" | None") in found}


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
        return names(next(node for node in reversed(around) if isinstance(node, ast.ExceptHandler)).type)
    if name(item.exc) == "NotImplementedError" and function and len(function.body) == 2:
        return set()  # behind a docstring: what others do
    walked = ast.walk(function) if function and isinstance(item.exc, ast.Name) else ()
    bound = {node.target.id: name(node.value) for node in walked if isinstance(node, ast.NamedExpr)}
    return {bound.get(name(item.exc), name(item.exc))}


def strangers(trees: Trees) -> list[tuple[str, int, str]]:
    """File, line and name of whatever is raised and is none of ours."""
    every_one = [(path, *one) for path, tree in trees.items() for one in raised(tree)]
    known = family(trees) | HOSTS_OWN
    return [(path, item.lineno, one) for path, item, around in every_one for one in what(item, around) - known]


def test_only_our_errors_leave_a_node(trees: Trees, shipped_trees: Trees) -> None:
    """Whatever else is raised is caught where CAUGHT says, by an except clause for this very class."""
    found = strangers(shipped_trees)
    assert sum(1 for _ in every(shipped_trees, ast.Raise)) > 100
    assert {path for path, _, _ in found} == set(CAUGHT)

    def caught(path: str, function: str) -> set[str]:
        inside = {one.name: one for one in every({path: trees[path]}, ast.FunctionDef) if one.name == function}
        return {one for handler in every(inside, ast.ExceptHandler) for one in names(handler.type)}

    assert [one for one in found if one[2] not in caught(*CAUGHT[one[0]])] == []


def test_nobody_raises_the_base_itself(shipped_trees: Trees) -> None:
    """Users, tests and handlers tell errors apart by their class."""
    assert [path for path, tree in shipped_trees.items() for item, _ in raised(tree) if name(item.exc) == BASE] == []
