"""Who may import whom, and what shipped code may never do. Read from the source, so no host is needed."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

HOST = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "nodes", "server", "execution"}
OPTIONAL = {"cv2", "insightface", "onnx", "onnxruntime", "scipy", "skimage"}
DANGEROUS = {"subprocess", "pickle", "marshal", "shelve", "ctypes", "code", "pty"}
NETWORK = {"socket", "ssl", "urllib", "http", "ftplib", "smtplib", "requests", "aiohttp", "httpx", "websocket"}
HARMLESS = {"pickle.UnpicklingError", "urllib.parse.quote"}
"""What the host's safe loader raises for a pickle that wants to run code; letters of an address in a page."""
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load"}


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, dotted name) of every import; level counts the leading dots, 0 is absolute."""
    found: list[tuple[int, str]] = []
    for item in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(item, ast.Import):
            found += [(0, alias.name) for alias in item.names]
        elif isinstance(item, ast.ImportFrom):
            module = item.module or ""
            found += [(item.level, f"{module}.{alias.name}".strip(".")) for alias in item.names]
    return found


def calls(path: Path) -> set[str]:
    """Names of everything called; `torch.load` only where it would unpickle anything (without weights_only=True)."""
    found = [item for item in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(item, ast.Call)]
    return {ast.unparse(call.func) for call in found if "weights_only=True" not in map(ast.unparse, call.keywords)}


def resolve(path: Path, root: Path, level: int, name: str) -> str:
    """Dotted name below the pack, such as `bridge.folders`, for a relative import; '^' where it leaves the pack."""
    parts = list(path.relative_to(root).parts[:-1])
    if level - 1 > len(parts):
        return "^"
    return ".".join([*parts[: len(parts) - level + 1], name])


def python_files(root: Path, folder: str) -> list[Path]:
    return sorted((root / folder).rglob("*.py"))


def reaches(root: Path, folder: str) -> list[tuple[str, str]]:
    """(file, target) of every relative import in `folder`, target as a dotted name below the pack."""
    return [
        (str(path.relative_to(root)), resolve(path, root, level, name))
        for path in python_files(root, folder)
        for level, name in imports(path)
        if level
    ]


def test_core_knows_neither_host_nor_bridge(root: Path) -> None:
    absolute = [
        (path.name, name)
        for path in python_files(root, "core")
        for level, name in imports(path)
        if not level and name.split(".")[0] in HOST | {"bridge", "core"}
    ]
    assert not absolute
    assert not [reach for reach in reaches(root, "core") if not reach[1].startswith("core.")]


def test_bridge_does_not_know_the_nodes(root: Path) -> None:
    assert not [reach for reach in reaches(root, "bridge") if reach[1].split(".")[0] not in ("bridge", "core")]


def test_steps_and_methods_do_not_import_each_other(root: Path) -> None:
    """A method is one folder: its files import each other, the sockets, bridge and core."""
    crossing = [
        (file, target)
        for file, target in reaches(root, "nodes")
        if target.startswith("nodes.") and file != "nodes/extension.py"
        if not target.startswith(("nodes.sockets", ".".join(["nodes", *file.split("/")[1:-1], ""])))
        or (file.count("/") == 1 and not target.startswith("nodes.sockets"))
    ]
    assert not crossing


def test_formulas_of_a_method_see_torch_and_core_alone(root: Path, methods: list[Path]) -> None:
    nets = [path / "net.py" for path in methods if (path / "net.py").is_file()]
    seen = {
        (path, resolve(path, root, level, name) if level else name) for path in nets for level, name in imports(path)
    }
    own = {(path, target) for path, target in seen if target.startswith(f"nodes.{path.parent.name}.")}
    assert len(nets) > 5
    allowed = ("core.", "torch", "math", "collections", "typing", "dataclasses", "__future__")
    assert not [(str(path), target) for path, target in seen - own if not target.startswith(allowed)]


def test_core_and_bridge_name_no_method(root: Path, methods: list[Path]) -> None:
    """In nothing that runs: docstrings and comments name sources. The keys of files are their authors' words."""
    words = [json.loads((path / "method.json").read_text("utf-8"))["title"] for path in methods]
    names = [path.name for path in methods if path.name not in ("references", "ip_adapter")]
    said = [
        (str(path.relative_to(root)), found)
        for folder in ("core", "bridge")
        for path in python_files(root, folder)
        for text in _running(ast.parse(path.read_text("utf-8")))
        for found in [word for word in (*words, *names) if word != "References" and word in text]
    ]
    assert not said


def _running(tree: ast.AST) -> Iterator[str]:
    """Names and texts of a module, without its docstrings."""
    documented = (ast.Expr,)
    skipped = {
        id(item.value)
        for item in ast.walk(tree)
        if isinstance(item, documented) and isinstance(item.value, ast.Constant)
    }
    for item in ast.walk(tree):
        if isinstance(item, ast.Constant) and isinstance(item.value, str) and id(item) not in skipped:
            yield item.value
        for field in ("id", "attr", "name", "arg", "module"):
            if isinstance(value := getattr(item, field, None), str):
                yield value


@pytest.fixture
def methods(root: Path) -> list[Path]:
    """Their folders."""
    return sorted(path.parent for path in (root / "nodes").glob("*/method.json"))


def test_scripts_use_the_pack_only_through_core(root: Path) -> None:
    """Scripts run where no host is, and core is what works there. The benchmark's cases run inside a host."""
    reached = [
        (str(path.relative_to(root)), name)
        for path in python_files(root, "scripts")
        for level, name in imports(path)
        if not level and name.split(".")[0] in ("pack", "core", "bridge", "nodes")
    ]
    assert any(name.startswith("core.") for _, name in reached) and any(name.startswith("pack.") for _, name in reached)
    inside = "scripts/bench/"
    assert not [
        reach for reach in reached if not reach[1].startswith("pack." if reach[0].startswith(inside) else "core")
    ]
    assert not [reach for reach in reaches(root, "scripts") if not reach[1].startswith("scripts.")]


def test_the_two_attentions_share_only_the_way_to_them(root: Path) -> None:
    """Cross-attention and self-attention both rest on runs.py and unet.py, and never on each other."""
    rooms = {"bridge/cross_attention.py": "cross_attention", "bridge/self_attention/run.py": "self_attention"}
    theirs = {(file, target.split(".")[1]) for file, target in reaches(root, "bridge") if file in rooms}
    assert {(file, room) for file in rooms for room in ("runs", "unet")} <= theirs
    every = {(file, target) for file, target in reaches(root, "bridge") if file.startswith("bridge/self_attention/")}
    assert not {(file, target) for file, target in every if "cross_attention" in target}
    assert ("bridge/cross_attention.py", "self_attention") not in theirs


@pytest.mark.parametrize("folder", ["core", "bridge", "nodes", "scripts"])
def test_functions_fit_on_a_screen(root: Path, folder: str) -> None:
    """Under 60 lines. A node's schema is a list, however long."""
    functions = [
        (str(path.relative_to(root)), item.name, (item.end_lineno or 0) - item.lineno + 1)
        for path in python_files(root, folder)
        for item in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name != "define_schema"
    ]
    assert functions and not [function for function in functions if function[2] >= 60]


@pytest.mark.parametrize("folder", ["core", "bridge", "nodes"])
def test_no_module_goes_by_the_name_of_another(root: Path, folder: str) -> None:
    """`from . import x as y` hides which of our files is meant."""
    renamed = [
        (str(path.relative_to(root)), alias.name, alias.asname)
        for path in python_files(root, folder)
        for item in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(item, ast.ImportFrom) and item.level
        for alias in item.names
        if alias.asname
    ]
    assert not renamed


@pytest.mark.parametrize("folder", ["core", "bridge", "nodes"])
def test_optional_packages_come_through_thirdparty(root: Path, folder: str) -> None:
    direct = [
        (str(path.relative_to(root)), name)
        for path in python_files(root, folder)
        for _, name in imports(path)
        if name.split(".")[0] in OPTIONAL
        or (name.startswith("importlib") and path.name not in ("thirdparty.py", "extension.py"))
    ]
    assert not direct


def test_shipped_code_runs_nothing_and_calls_nobody(root: Path, shipped: set[str]) -> None:
    """The registry refuses eval, exec and subprocess; pickles go through the host's safe loader; no network at all."""
    offences = [
        (name, what)
        for name in sorted(shipped)
        if name.endswith(".py")
        for what in [
            *(module for _, module in imports(root / name) if module.split(".")[0] in DANGEROUS | NETWORK),
            *(calls(root / name) & FORBIDDEN_CALLS),
        ]
    ]
    assert not [offence for offence in offences if offence[1] not in HARMLESS]


def test_entry_point_is_inert(root: Path) -> None:
    """pytest imports a root __init__.py before each test, and the host before each start: nothing heavy in it."""
    body = ast.parse((root / "__init__.py").read_text("utf-8")).body
    at_import = [ast.unparse(item) for item in body if isinstance(item, ast.Import | ast.ImportFrom)]
    assert at_import == ["import logging"]


def test_what_is_kept_of_files_and_pictures_has_an_end(root: Path) -> None:
    """A host runs for days: whatever is kept per file is kept of the last few."""
    paths = [path for folder in ("core", "bridge", "nodes") for path in sorted((root / folder).rglob("*.py"))]
    assert paths
    assert [str(path) for path in paths if "maxsize=None" in path.read_text("utf-8")] == []
