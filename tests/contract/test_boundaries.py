"""Who may import whom, what shipped code never does or raises, and node ids, which are an API: read from the source."""

import ast
import builtins
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("core", "bridge", "nodes")
HOST = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "nodes", "server", "execution"}
OPTIONAL = {"cv2", "insightface", "onnx", "onnxruntime", "skimage"}
DANGEROUS = {"subprocess", "pickle", "marshal", "shelve", "ctypes", "code", "pty"}
NETWORK = {"socket", "ssl", "urllib", "http", "ftplib", "smtplib", "requests", "aiohttp", "httpx", "websocket"}
HARMLESS = {"pickle.UnpicklingError", "urllib.parse.quote"}
"""What the host's safe loader raises for a pickle that wants to run code; letters of an address in a page."""
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "torch.jit.load"}


Trees = Mapping[str, ast.Module]


def imports(tree: ast.Module) -> list[tuple[int, str]]:
    """(level, dotted name) of every import; level counts the leading dots, 0 is absolute."""
    names: list[tuple[int, str]] = []
    for item in ast.walk(tree):
        if isinstance(item, ast.Import):
            names += [(0, alias.name) for alias in item.names]
        elif isinstance(item, ast.ImportFrom):
            names += [(item.level, f"{item.module or ''}.{alias.name}".strip(".")) for alias in item.names]
    return names


def calls(tree: ast.Module) -> set[str]:
    """Names of everything called; `torch.load` only where it would unpickle anything (without weights_only=True)."""
    names: set[str] = set()
    for item in ast.walk(tree):
        if isinstance(item, ast.Call) and not any(is_weights_only(keyword) for keyword in item.keywords):
            names.add(dotted(item.func))
    return names


def is_weights_only(keyword: ast.keyword) -> bool:
    return keyword.arg == "weights_only" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True


def dotted(name: ast.expr) -> str:
    """A name with the modules before it, such as `torch.jit.load`; empty for what is computed."""
    match name:
        case ast.Name(id=identifier):
            return identifier
        case ast.Attribute(value=before, attr=identifier):
            return f"{dotted(before)}.{identifier}"
        case _:
            return ""


def attributes(tree: ast.Module) -> set[str]:
    """Every name behind a dot."""
    return {item.attr for item in ast.walk(tree) if isinstance(item, ast.Attribute)}


def below(trees: Trees, *folders: str) -> list[tuple[str, ast.Module]]:
    return [(file, tree) for file, tree in trees.items() if file.split("/")[0] in folders]


def imported(trees: Trees, *folders: str) -> list[tuple[str, str, bool]]:
    """(file, name, relative?) of every import below these. A relative one is named as it stands below the pack, such as
    `bridge.host.folders`, '^' where it leaves the pack."""
    rows: list[tuple[str, str, bool]] = []
    for file, tree in below(trees, *folders):
        parts = file.split("/")
        for level, name in imports(tree):
            below_the_pack = "^" if level > len(parts) else ".".join([*parts[: len(parts) - level], name])
            rows.append((file, below_the_pack if level else name, level > 0))
    return rows


def reaches(trees: Trees, folder: str, *allowed: str) -> list[tuple[str, str]]:
    """Relative imports below a folder of what is in none of these."""
    return [
        (file, name)
        for file, name, is_relative in imported(trees, folder)
        if is_relative and name.split(".")[0] not in allowed
    ]


DESCRIPTIONS = ("scripts/shared/families_table.py", "pack.bridge.networks.families.DESCRIBED")
"""A script's import from bridge: descriptions of model families, modules that need no host either."""
SEARCHED = ("scripts/shared/host_folders.py", "pack.bridge.host.folders")
"""A script's import from bridge: the folders that a host searches, in a script that has imported one."""


def test_layers_know_those_below_alone(trees: Trees) -> None:
    """Scripts use the pack only through core, which works without a host. What bench.py and compare.py run has one."""
    for layer, allowed in {"core": ("core",), "bridge": ("bridge", "core"), "scripts": ("scripts",)}.items():
        assert reaches(trees, layer, *allowed) == []
    absolute = [(file, name) for file, name, is_relative in imported(trees, "core") if not is_relative]
    assert [(file, name) for file, name in absolute if name.split(".")[0] in HOST | {"bridge", "core"}] == []
    reached: list[tuple[str, str]] = []
    for file, name, is_relative in imported(trees, "scripts"):
        if not is_relative and name.split(".")[0] in ("pack", "core", "bridge", "nodes"):
            reached.append((file, name))
    for exception in (DESCRIPTIONS, SEARCHED):
        assert exception in reached
        reached.remove(exception)
    files = ("bridge/networks/families/", "bridge/networks/transformer_families.py")
    of_descriptions = {name for file, name, _ in imported(trees, "bridge") if file.startswith(files)}
    of_others = {
        name
        for name in of_descriptions
        if not name.startswith(("bridge.networks.families.", "bridge.networks.transformer_families."))
    }
    assert [name for name in of_others if name.split(".")[0] in HOST | {"bridge", "nodes", "torch"}] == []
    assert {name.split(".")[0] for _, name in reached} == {"core", "pack"}
    in_a_host = ("scripts/bench/", "scripts/comparison/", "scripts/tiny/")
    assert [(file, name) for file, name in reached if file.startswith(in_a_host) != name.startswith("pack.")] == []


def test_no_script_imports_what_is_for_tests(trees: Trees) -> None:
    of_tests = {path.stem for path in (ROOT / "tests" / "support").iterdir()} | {"tests"}
    reached = [(file, name) for file, name, is_relative in imported(trees, "scripts") if not is_relative]
    assert [(file, name) for file, name in reached if name.split(".")[0] in of_tests] == []


SHARED = ("nodes.sockets", "nodes.categories")
"""Modules of nodes/ that every other one there may import."""


def test_steps_and_methods_do_not_import_each_other(trees: Trees) -> None:
    """A method is one folder: its files import each other, what all nodes share, bridge and core."""
    crossing: list[tuple[str, str]] = []
    for file, target in reaches(trees, "nodes", "bridge", "core"):
        allowed = SHARED
        folders = file.split("/")[1:-1]
        if folders:
            allowed += (".".join(["nodes", *folders, ""]),)
        if file != "nodes/extension.py" and not target.startswith(allowed):
            crossing.append((file, target))
    assert crossing == []


def test_formulas_of_a_method_see_torch_and_core_alone(trees: Trees, methods: list[Path]) -> None:
    of_formulas = [(file, target) for file, target, _ in imported(trees, "nodes") if file.endswith("/net.py")]
    assert len({file for file, _ in of_formulas}) > 5
    allowed = ("core.", "torch", "math", "collections", "typing", "dataclasses", "__future__")
    folders = {path.name: f"nodes.{path.name}." for path in methods}
    forbidden: list[tuple[str, str]] = []
    for file, target in of_formulas:
        folder = folders[file.split("/")[1]]
        if not target.startswith((*allowed, folder)):
            forbidden.append((file, target))
    assert forbidden == []


def test_core_and_bridge_name_no_method(trees: Trees, methods: list[Path]) -> None:
    """In nothing that runs, with a space or in small letters neither: docstrings and comments name sources. The keys of
    files are their authors' words."""
    words = [json.loads((path / "method.json").read_text("utf-8"))["title"] for path in methods]
    words += [path.name for path in methods if path.name not in ("references", "ip_adapter")]
    words = [_plainly(word) for word in words if word != "References"]
    named: list[tuple[str, str]] = []
    for file, tree in below(trees, "core", "bridge"):
        for text in _running(tree):
            named += [(file, word) for word in words if word in _plainly(text)]
    assert named == []


def _plainly(text: str) -> str:
    return text.lower().replace("-", " ")


def _running(tree: ast.AST) -> Iterator[str]:
    """Names and texts of a module, without its docstrings."""
    expressions = [item.value for item in ast.walk(tree) if isinstance(item, ast.Expr)]
    skipped = {id(value) for value in expressions if isinstance(value, ast.Constant)}
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


FLOORS = (
    "host", "sampling", "networks", "image_tokens", "apply", "people", "parts", "words", "loras",
    "references", "control_nets", "places",
)  # fmt: skip
"""The folders of bridge: each rests on those in front of it alone."""


def test_folders_of_the_bridge_rest_on_those_below_alone(trees: Trees) -> None:
    upwards: list[tuple[str, str]] = []
    used: set[str] = set()
    for file, target in reaches(trees, "bridge", "core"):
        above, below_it = (Path(file).with_suffix("").parts[1], target.split(".")[1])
        used |= {above, below_it}
        if above != below_it and FLOORS.index(below_it) > FLOORS.index(above):
            upwards.append((file, target))
    assert upwards == []
    assert used == {*FLOORS}


def test_no_module_goes_by_the_name_of_another(trees: Trees) -> None:
    """`from . import x as y` hides which of our files is meant."""
    renamed: list[tuple[str, str, str]] = []
    for file, tree in below(trees, *SHIPPED):
        for item in ast.walk(tree):
            if isinstance(item, ast.ImportFrom) and item.level:
                renamed += [(file, alias.name, alias.asname) for alias in item.names if alias.asname]
    assert renamed == []


def test_optional_packages_are_not_imported(trees: Trees) -> None:
    """But onnxruntime, by its one module and when somebody chooses it (tests/faces/test_onnx_session.py). And nothing
    is imported by a name that is computed, but for the folders of methods."""
    names = [(file, name, name.split(".")[0]) for file, name, _ in imported(trees, *SHIPPED)]
    computed = [(f, n) for f, n, first in names if first == "importlib" and not f.endswith("extension.py")]
    direct = computed + [(f, n) for f, n, first in names if first in OPTIONAL]
    assert direct == [("core/faces/onnx_session.py", "onnxruntime")]


def test_shipped_code_runs_nothing_and_calls_nobody(root: Path, trees: Trees, shipped: set[str]) -> None:
    """The registry refuses eval, exec and subprocess; pickles go through the host's safe loader; no network at all."""
    names = [name for name in shipped if name.endswith(".py")]
    modules = {name: trees.get(name) or ast.parse((root / name).read_text("utf-8")) for name in names}
    offences: list[tuple[str, str]] = []
    for file, tree in modules.items():
        for _, name in imports(tree):
            if name.split(".")[0] in DANGEROUS | NETWORK and name not in HARMLESS:
                offences.append((file, name))
        if "jit" in attributes(tree):  # code of files
            offences.append((file, "jit"))
        offences += [(file, name) for name in calls(tree) & FORBIDDEN_CALLS]
    assert offences == []


def test_entry_point_is_inert(root: Path) -> None:
    """pytest imports a root __init__.py before each test, and the host before each start: nothing heavy in it."""
    body = ast.parse((root / "__init__.py").read_text("utf-8")).body
    at_import = [ast.unparse(item) for item in body if isinstance(item, ast.Import | ast.ImportFrom)]
    assert at_import == ["import logging"]


def test_what_is_kept_of_files_and_pictures_has_an_end(root: Path) -> None:
    """A host runs for days: whatever is kept per file is kept of the last few."""
    paths = [path for folder in SHIPPED for path in (root / folder).rglob("*.py")]
    assert paths
    assert [path for path in paths if "maxsize=None" in path.read_text("utf-8")] == []


_OF_DEFAULT_DTYPE = {f"torch.{name}" for name in ("zeros", "ones", "empty", "eye", "linspace", "rand", "randn")}


def test_nothing_depends_on_what_other_packs_have_set(trees: Trees) -> None:
    """torch's default kind of numbers, and entries of any shape in the host's table of folders."""
    by_default: list[tuple[str, int]] = []
    for file, tree in below(trees, *SHIPPED):
        for item in ast.walk(tree):
            if isinstance(item, ast.Call) and dotted(item.func) in _OF_DEFAULT_DTYPE:
                names = {keyword.arg for keyword in item.keywords}
                by_default += [] if names & {"dtype", None} else [(file, item.lineno)]  # None: **factory has it
    assert by_default == []
    readers = {file for file, tree in below(trees, *SHIPPED) if "folder_names_and_paths" in attributes(tree)}
    assert readers == {"bridge/host/folders.py"}


CAUGHT = {
    "nodes/id_patch/net.py",  # build of bridge/host/load.py
    "core/attention/low_rank.py",  # fits of bridge/loras/host_patches.py
    "core/models/onnx_file.py",  # its _opened
    "core/models/tensors.py",  # _trouble of core/models/file_check.py
    "core/models/workflow_nodes.py",  # _missing of bridge/host/routes.py
}
"""Files that raise an error of Python, and who catches it."""


def test_only_our_errors_leave_a_node(trees: Trees) -> None:
    """None of Python's own, but from a file whose errors are caught; NotImplementedError is of abstract functions."""
    raised: set[tuple[str, str]] = set()
    for file, tree in below(trees, *SHIPPED):
        for item in ast.walk(tree):
            if isinstance(item, ast.Raise) and item.exc:
                raised.add((file, ast.unparse(item.exc).partition("(")[0]))
    python = {(file, name) for file, name in raised if hasattr(builtins, name)}
    assert {file for file, name in python if name != "NotImplementedError"} == CAUGHT
    assert "LikenessError" not in {name for _, name in raised}, "tests and handlers tell errors apart by their class"


def test_first_line_of_every_module_says_what_it_holds(trees: Trees) -> None:
    """`git grep -m1` shows them as a map; a line of its own each."""
    first = {file: (ast.get_docstring(tree) or "").split("\n")[0] for file, tree in trees.items()}
    assert [file for file, line in first.items() if not line.endswith((".", ":"))] == []
    assert [line for line, times in Counter(first.values()).items() if times > 1] == []


def test_class_is_named_like_its_id(scanned_nodes: list[tuple[str, str, str | None]]) -> None:
    """ComfyUI-Manager finds a pack for a missing node only by reading the ids from the source: literal ones. A node
    that is called as what it makes (Person, Cast, Part) has Node behind that name."""
    ids = [node_id for *_, node_id in scanned_nodes]
    assert len(ids) == len(set(ids)) > 0
    assert [node_id for node_id in ids if not re.fullmatch(r"Likeness[A-Z][A-Za-z0-9]+", node_id or "")] == []
    assert [
        (name, node_id) for _, name, node_id in scanned_nodes if node_id != f"Likeness{name.removesuffix('Node')}"
    ] == []
