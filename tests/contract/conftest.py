"""What the contract tests read: the repository as text, never by importing it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from rig import archive

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tracked() -> set[str]:
    """Every file of the repository, new ones included, ignored ones not."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout: what is published is decided by git and .comfyignore")
    return archive.tracked()


@pytest.fixture(scope="session")
def shipped(tracked: set[str]) -> set[str]:
    """What `comfy node publish` puts into the archive: git's files less .comfyignore."""
    return archive.shipped()


def _node_classes(path: Path) -> list[ast.ClassDef]:
    """Classes that ComfyUI-Manager's scanner takes for V3 nodes: a direct base called ComfyNode."""
    classes = [item for item in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(item, ast.ClassDef)]
    return [c for c in classes if any(getattr(b, "attr", getattr(b, "id", None)) == "ComfyNode" for b in c.bases)]


def _scanned_id(node: ast.ClassDef) -> str | None:
    """The id that scanner reads: the literal `node_id` of the first Schema(...) call within define_schema."""
    methods = (item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "define_schema")
    for call in (item for method in methods for item in ast.walk(method) if isinstance(item, ast.Call)):
        if getattr(call.func, "attr", getattr(call.func, "id", None)) == "Schema":
            for keyword in call.keywords:
                if keyword.arg == "node_id" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value)
    return None


@pytest.fixture(scope="session")
def scanned_nodes() -> list[tuple[str, str, str | None]]:
    """(file, class name, node id or None) of every node class, found as the Manager's scanner finds them."""
    files = sorted((ROOT / "nodes").rglob("*.py"))
    return [(path.name, node.name, _scanned_id(node)) for path in files for node in _node_classes(path)]


@pytest.fixture(scope="session")
def node_ids(scanned_nodes: list[tuple[str, str, str | None]]) -> set[str]:
    return {node_id for _, _, node_id in scanned_nodes if node_id}
