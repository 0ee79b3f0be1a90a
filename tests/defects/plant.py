"""Planted defects: code is broken in one place at a time, in a copy, and the test that guards it is run.

    python tests/defects/plant.py                      all of them, some hours
    python tests/defects/plant.py --check              only whether each still stands in the code, in seconds
    python tests/defects/plant.py --sample 40          as many, evenly drawn
    python tests/defects/plant.py -k core/measure   those that hold this word: a file, a function, a test, a promise
    python tests/defects/plant.py tests/defects/web.py those of a table

The tables lie beside this file, one per folder of code. What an entry says is in tests/support/anchors.py. A defect
whose place is gone is stale, as it is where its test is gone, and its line says where to look. Each test is also seen
to pass in the unbroken copy. Ends with 1 unless all are caught.
Every test is a fork of this process, which has imported torch and the newest ComfyUI, but nothing of the pack.
"""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = str(HERE.parents[1] / "scripts")
SUPPORT = str(HERE.parent / "support")
sys.path[0] = SCRIPTS
sys.path.append(SUPPORT)
os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
import environment  # noqa: E402
from anchors import Defect, Stale, planted, tables, trouble  # noqa: E402
from rig.pack import load_host  # noqa: E402

ROOT = environment.ROOT
SHARED = (".git", ".venv", ".cache")
"""Not copied: the copy links to them."""
TESTS = ("torch", "pytest", "xdist.plugin")
HOST = ("comfy.sd", "comfy.samplers", "comfy.controlnet", "comfy_api.latest", "nodes", "diffusers.models.controlnets")
ON_HOST = ("tests/host", "tests/parity", "tests/promises")
VERDICTS = {0: "NOT CAUGHT", 1: "caught", 4: "STALE: no such test"}
"""By pytest's exit status."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", type=Path, help="files beside this one; without any all of them")
    parser.add_argument("-k", default="", metavar="WORD", help="only defects that hold this word")
    parser.add_argument("--sample", type=int, metavar="N", help="only so many of them, evenly drawn")
    parser.add_argument("--check", action="store_true", help="plant nothing, and say which are stale")
    arguments = parser.parse_args()
    defects = [defect for defect in tables(HERE, arguments.tables) if _holds(defect, arguments.k)]
    if arguments.sample and arguments.sample < len(defects):
        step = len(defects) / arguments.sample
        defects = [defects[int(number * step)] for number in range(arguments.sample)]
    if arguments.check:
        return _checked(defects)
    return _planted(defects)


def _holds(defect: Defect, word: str) -> bool:
    return word.lower() in " ".join(map(str, astuple(defect))).lower()


def _checked(defects: Sequence[Defect]) -> int:
    """1 and a message for each that is stale, else 0."""
    troubles = [message for message in (trouble(defect, ROOT) for defect in defects) if message]
    for message in troubles:
        print(message, end="\n\n")
    print(f"{len(defects)} defects, {len(troubles)} of them stale")
    return int(bool(troubles))


def _planted(defects: Sequence[Defect]) -> int:
    """1 unless all of them are caught."""
    started = time.monotonic()
    hosts = environment.find_hosts()
    newest = max(hosts, key=lambda host: host.version)
    environment.enter(environment.python_for(hosts, None, ("pytest", "xdist", "diffusers")))
    on_host = [defect for defect in defects if defect.caught_by.startswith(ON_HOST)]
    without_host = [defect for defect in defects if defect not in on_host]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve() / "likeness"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*SHARED, "__pycache__"))
        for name in SHARED:
            (copy / name).symlink_to(ROOT / name)
        prepare(TESTS)
        counts = tried(copy, without_host)
        if on_host:
            os.environ |= environment.host_environment(newest, Path(sys.executable))
            load_host(str(newest.path))
            prepare(HOST)
            counts += tried(copy, on_host)
    print(*(f"{number} {verdict}," for verdict, number in counts.items()), f"in {time.monotonic() - started:.0f} s")
    return int(counts.keys() != {"caught"})


def prepare(modules: tuple[str, ...]) -> None:
    """Import what every test needs and forget what is ours, scripts and core, which tests import from the copy."""
    for name in modules:
        importlib.import_module(name)
    folders = tuple(f"{ROOT / name}/" for name in ("scripts", "core", "tests/support"))
    ours = {name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(folders)}
    for name in ours - {"__main__"}:
        del sys.modules[name]


def tried(copy: Path, defects: Sequence[Defect]) -> Counter[str]:
    """How many had which verdict; a line for each."""
    counts: Counter[str] = Counter()
    status = pytest(copy, *sorted({defect.caught_by for defect in defects})) if defects else 0
    if status:
        counts[f"BEFORE: pytest ended with {status} without a defect"] = 1
    for defect in defects:
        began = time.monotonic()
        verdict, message = verdict_of(copy, defect)
        counts[verdict] += 1
        print(f"{verdict:10} {time.monotonic() - began:5.1f} s", defect.place, defect.breaks, message, flush=True)
    return counts


def verdict_of(copy: Path, defect: Defect) -> tuple[str, str]:
    """The verdict, and what to look at where the defect is stale."""
    try:
        broken = planted(defect, copy)
    except Stale as stale:
        return "STALE", f"\n{stale}"
    file = copy / defect.path
    text, before = file.read_text("utf-8"), file.stat()
    if file.suffix == ".py":
        compile(broken, str(file), "exec")
    file.write_text(broken, "utf-8")
    status = pytest(copy, defect.caught_by, quiet=True)
    file.write_text(text, "utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # what was compiled of it still counts
    return VERDICTS.get(status, f"NO VERDICT: pytest ended with {status}"), ""


def pytest(copy: Path, *tests: str, quiet: bool = False) -> int:
    """Its exit status, in a fork."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        if quiet:  # and one file is broken, whose bytecode nobody shall find later
            sys.dont_write_bytecode = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.chdir(copy)
        # rig has put the pack's folder there, too: scripts import `core` from it, which shall be the copy's.
        sys.path[:] = [folder for folder in sys.path if folder not in (SCRIPTS, SUPPORT, str(ROOT))]
        options = ("-q", "-c", str(copy / "pyproject.toml"), "-p", TESTS[-1], "-p", "no:cacheprovider")
        os._exit(sys.modules["pytest"].main([*options, *tests]))
    finally:
        os._exit(99)


if __name__ == "__main__":
    environment.run(main)
