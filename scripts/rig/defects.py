"""Planted defects: code is broken in one place at a time, in a copy, and the test that guards it is run.

Each row of a list has `breaks` (what a user would get), `method`, `promise`, `old` and `new` (code), and `caught_by`, the
id of a test. No file is named: `old` stands exactly once in what is shipped or in scripts, wherever that has moved. A
row is stale where it does not, or where its test is gone. Each test is also seen to pass in the unbroken copy.

Every test is a process of its own, a fork of this one, which has imported torch and the newest ComfyUI, but nothing of
the pack: so a row takes as long as its test. Needs fork, so not Windows. Ends with 1 unless every row is caught.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import environment  # noqa: E402
from environment import ROOT  # noqa: E402
from rig.pack import load_host  # noqa: E402

PLACES = ("core", "bridge", "nodes", "scripts", "web")
ON_HOSTS = ("tests/host", "tests/parity")
HEAVY = (
    "comfy.sd", "comfy.samplers", "comfy.controlnet", "comfy_api.latest", "nodes",
    "diffusers.models.controlnets", "diffusers.models.unets.unet_2d_condition", "diffusers.schedulers",
)  # fmt: skip
PASSED, FAILED = 0, 1
VERDICTS = {PASSED: "NOT CAUGHT", FAILED: "caught", 4: "STALE (no such test)"}
"""By pytest's exit status; anything else is no verdict."""
LONGEST = 300
"""Seconds of one test."""

Defect = dict[str, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", nargs="*", type=Path, help="JSON files; all of tests/defects without")
    parser.add_argument("-k", default="", metavar="WORD", help="only rows that hold this word")
    given = parser.parse_args()
    hosts = environment.find_hosts()
    environment.enter(environment.python_for(hosts, None, ("pytest", "xdist", "diffusers")))
    lists = [path.resolve() for path in given.lists] or sorted((ROOT / "tests" / "defects").glob("*.json"))
    defects: list[Defect] = [row for path in lists for row in json.loads(path.read_text("utf-8"))]
    defects = [row for row in defects if given.k.lower() in json.dumps(row).lower()]
    newest = max(hosts, key=lambda host: host.version, default=None)
    if newest is None:
        raise environment.SetupError("No ComfyUI was found; set COMFYUI_PATH, or run scripts/demo.py.")
    started, counts = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        copy = _copied(Path(folder).resolve() / ROOT.name)
        _prepare(["torch", "pytest"])
        counts += _tried(copy, [row for row in defects if not row["caught_by"].startswith(ON_HOSTS)])
        on_host = [row for row in defects if row["caught_by"].startswith(ON_HOSTS)]
        if on_host:
            os.environ |= environment.host_environment(newest, Path(sys.executable))
            load_host(str(newest.path))
            _prepare(HEAVY)
            counts += _tried(copy, on_host)
    print(", ".join(f"{n} {verdict}" for verdict, n in counts.items()), f"in {time.monotonic() - started:.0f} s")
    return int(counts.keys() != {"caught"})


def _copied(target: Path) -> Path:
    """The working tree as git knows it, beside the same environment."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in filter(lambda name: name and (ROOT / name).is_file() and not (ROOT / name).is_symlink(), names):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    for name in filter(lambda name: (ROOT / name).exists(), (".git", ".venv", ".cache")):
        (target / name).symlink_to(ROOT / name)
    return target


def _prepare(modules: Sequence[str]) -> None:
    """Import what every test needs, and forget what is ours: tests import that from the copy."""
    for name in modules:
        importlib.import_module(name)
    ours = [name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(OURS)]
    for name in ours:
        if name != "__main__":
            del sys.modules[name]


OURS = str(ROOT / "scripts")


def _tried(copy: Path, defects: Sequence[Defect]) -> Counter[str]:
    """How many had which verdict; a line for each."""
    counts = Counter[str]()
    if not defects:
        return counts
    status, said = _pytest(copy, sorted({row["caught_by"] for row in defects}))
    sys.dont_write_bytecode = True
    if status != PASSED:
        counts["FAILS WITHOUT A DEFECT"] += 1
        print("Without a defect:", *(line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))), sep="\n  ")
    for row in defects:
        began = time.monotonic()
        verdict = _verdict(copy, row)
        counts[verdict.split(" (")[0]] += 1
        print(f"{verdict:10} {time.monotonic() - began:5.1f} s  {row['method']}, {row['promise']}: {row['breaks']}", flush=True)
    return counts


def _verdict(copy: Path, row: Defect) -> str:
    files = [file for place in PLACES for file in (copy / place).rglob("*") if file.suffix in (".py", ".js", ".json")]
    texts = {file: file.read_text("utf-8") for file in files}
    found = {file: text.count(row["old"]) for file, text in texts.items() if row["old"] in text}
    if sum(found.values()) != 1:
        return f"STALE (old stands {sum(found.values())} times)"
    (file,) = found
    before = file.stat()
    broken = texts[file].replace(row["old"], row["new"])
    if file.suffix == ".py":
        compile(broken, str(file), "exec")
    file.write_text(broken, "utf-8")
    try:
        status, said = _pytest(copy, [row["caught_by"]])
    finally:
        file.write_text(texts[file], "utf-8")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # what was compiled of it still counts
    return VERDICTS.get(status, f"BROKEN (pytest ended with {status}: {said.strip().splitlines()[-1:]})")


def _pytest(copy: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Exit status and what was said, in a fork."""
    with tempfile.TemporaryFile() as log:
        child = os.fork()
        if not child:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            os.chdir(copy)
            sys.path.remove(OURS)
            signal.alarm(LONGEST * len(tests))
            try:
                os._exit(sys.modules["pytest"].main(["-q", "-c", str(copy / "pyproject.toml"), "-p", "no:cacheprovider", *tests]))
            finally:
                os._exit(99)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        log.seek(0)
        return status, log.read().decode(errors="replace")


if __name__ == "__main__":
    environment.run(main)
