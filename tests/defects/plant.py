"""Planted defects: code is broken in one place at a time, in a copy, and the test that guards it is run.

A row has `breaks` (what a user would get), `method`, `promise`, `old` and `new` (code), `caught_by` (the id of a test).
No file is named: `old` stands once in what is shipped or in scripts, wherever that has moved; else the row is stale, as
it is where its test is gone. Each test is also seen to pass in the unbroken copy. Ends with 1 unless all are caught.
Every test is a fork of this process, which has imported torch and the newest ComfyUI, but nothing of the pack.
"""

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[0] = SCRIPTS = str(Path(__file__).resolve().parents[2] / "scripts")
os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
import environment  # noqa: E402
from rig.pack import load_host  # noqa: E402

ROOT, SHARED = environment.ROOT, (".git", ".venv", ".cache")
PLACES = ("core", "bridge", "nodes", "scripts", "web", "workflows")
KINDS = (".py", ".js", ".json")
TESTS = ("torch", "pytest", "xdist.plugin")
HOST = ("comfy.sd", "comfy.samplers", "comfy.controlnet", "comfy_api.latest", "nodes", "diffusers.models.controlnets")
VERDICTS = {0: "NOT CAUGHT", 1: "caught", 4: "STALE: no such test"}  # by pytest's exit status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", nargs="*", type=Path, help="JSON files; without any all beside this file")
    parser.add_argument("-k", default="", metavar="WORD", help="only rows that hold this word")
    started, given, hosts = time.monotonic(), parser.parse_args(), environment.find_hosts()
    newest = max(hosts, key=lambda host: host.version)
    environment.enter(environment.python_for(hosts, None, ("pytest", "xdist", "diffusers")))
    texts = [path.read_text("utf-8") for path in given.lists or sorted((ROOT / "tests/defects").glob("*.json"))]
    rows = [row for text in texts for row in json.loads(text) if given.k.lower() in json.dumps(row).lower()]
    on_host = [row for row in rows if row["caught_by"].startswith(("tests/host", "tests/parity", "tests/promises"))]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve() / "likeness"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*SHARED, "__pycache__"))
        for name in SHARED:
            (copy / name).symlink_to(ROOT / name)
        prepare(TESTS)
        counts = tried(copy, [row for row in rows if row not in on_host])
        if on_host:
            os.environ |= environment.host_environment(newest, Path(sys.executable))
            load_host(str(newest.path))
            prepare(HOST)
            counts += tried(copy, on_host)
    print(*(f"{n} {verdict}," for verdict, n in counts.items()), f"in {time.monotonic() - started:.0f} s")
    return int(counts.keys() != {"caught"})


def prepare(modules: tuple[str, ...]) -> None:
    """Import what every test needs and forget scripts, which tests import from the copy."""
    for name in modules:
        importlib.import_module(name)
    ours = {name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(SCRIPTS)}
    for name in ours - {"__main__"}:
        del sys.modules[name]


def tried(copy: Path, rows: list[dict[str, str]]) -> Counter[str]:
    """How many had which verdict; a line for each."""
    failed = bool(rows) and pytest(copy, *sorted({row["caught_by"] for row in rows}))
    counts = Counter({f"BEFORE: pytest ended with {failed} without a defect": 1} if failed else {})
    for row in rows:
        began, verdict = time.monotonic(), verdict_of(copy, row)
        counts[verdict] += 1
        seconds = time.monotonic() - began
        print(f"{verdict:10} {seconds:5.1f} s", row["method"], row["promise"], row["breaks"], flush=True)
    return counts


def verdict_of(copy: Path, row: dict[str, str]) -> str:
    files = (file for place in PLACES for file in (copy / place).rglob("*") if file.suffix in KINDS)
    found = {file: text for file in files if row["old"] in (text := file.read_text("utf-8"))}
    if sum(text.count(row["old"]) for text in found.values()) != 1:
        return "STALE: old does not stand once"
    ((file, text),) = found.items()
    before, broken = file.stat(), text.replace(row["old"], row["new"])
    if file.suffix == ".py":
        compile(broken, str(file), "exec")
    file.write_text(broken, "utf-8")
    status = pytest(copy, row["caught_by"], quiet=True)
    file.write_text(text, "utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # what was compiled of it still counts
    return VERDICTS.get(status, f"NO VERDICT: pytest ended with {status}")


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
        sys.path[:] = [folder for folder in sys.path if folder not in (SCRIPTS, str(ROOT))]
        options = ("-q", "-c", str(copy / "pyproject.toml"), "-p", TESTS[-1], "-p", "no:cacheprovider")
        os._exit(sys.modules["pytest"].main([*options, *tests]))
    finally:
        os._exit(99)


if __name__ == "__main__":
    environment.run(main)
