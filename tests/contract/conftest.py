"""What the contract tests read: the repository as text, never by importing it."""

import ast
import re
from pathlib import Path

import pytest
from shared import archive

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


@pytest.fixture(scope="session")
def trees() -> dict[str, ast.Module]:
    """Every module, by its path from the root."""
    paths = (path for top in ("core", "bridge", "nodes", "scripts") for path in sorted((ROOT / top).rglob("*.py")))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}


@pytest.fixture(scope="session")
def scanned_nodes() -> list[tuple[str, str, str | None]]:
    """(file, class name, node id or None) of every node class, found as ComfyUI-Manager's scanner finds them: classes
    with a direct base called ComfyNode, and a literal `node_id` in the call of Schema."""
    classes = re.compile(r"^class (\w+)\((?:.*, )?(?:\w+\.)*ComfyNode\):\n((?:(?!^class ).*\n)*)", re.MULTILINE)
    scanned: list[tuple[str, str, str | None]] = []
    for path in sorted((ROOT / "nodes").rglob("*.py")):
        for name, body in classes.findall(path.read_text("utf-8")):
            literal = re.search(r'Schema\(\s*node_id="(\w+)"', body)
            scanned.append((path.name, name, literal[1] if literal else None))
    return scanned


@pytest.fixture(scope="session")
def node_ids(scanned_nodes: list[tuple[str, str, str | None]]) -> set[str]:
    return {node_id for _, _, node_id in scanned_nodes if node_id}
