"""Finds ComfyUI and makes the Python environment that the other scripts run in. Standard library only.

    python scripts/environment.py

makes or checks the environment .venv and prints the path of its Python.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from shared import stopping
from shared.given_files import plain_path

from core.checks.text import as_typed

# Not resolved: a pack linked into custom_nodes belongs to that ComfyUI.
ROOT = Path(__file__).absolute().parents[1]
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
INSTALLED_HOST = CACHE / "ComfyUI"
"""Where demo.py and test.py fetch a host to where there is none."""
OLDEST = "0.3.64"
"""The oldest ComfyUI that the pack is for."""
RELEASE = "0.33.0"
COMFYUI = "https://github.com/comfyanonymous/ComfyUI"
ANSWER_SECONDS = 20
"""How long the repository of ComfyUI has to answer before it counts as out of reach."""

REQUIREMENTS = Path(__file__).absolute().parent / "requirements"
"""demo.txt for the demo in a ComfyUI, tests.txt beside it for the tests and the other scripts, alone.txt for the demo
without a ComfyUI."""
DEMO, EVERYTHING, ALONE = ("demo",), ("demo", "tests"), ("alone",)
HOST_MODULES = ("aiohttp", "safetensors", "transformers", "yaml", "einops", "av")

SMALL_VENV = CACHE / "alone"
"""What the demo without a ComfyUI runs in: a CPU build of torch. Apart from .venv, because a ComfyUI that came later
would find that build there and keep it, also beside a graphics card."""

# Hashes of the requirement files that were installed.
_STAMP = "likeness-installed.txt"
# For every Python that is started from here: with more work than cores, threads that spin while they wait can make
# torch 30 times as slow.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SMALL_SIZE = "(a download of 300 MB, 1 GB on disk)"
CUDA_SIZE = "(a download of 3 GB, 7 GB on disk)"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)(?!.*;)")
"""A package that a file of requirements pins for every Python."""


class SetupError(Exception):
    """Something the user has to fix; the text says what and how."""


@dataclass(frozen=True)
class Host:
    """A ComfyUI folder. `version` is a tuple so that 0.3.64 sorts before 0.33.0."""

    path: Path
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"ComfyUI {'.'.join(map(str, self.version))}"


def pack_version() -> str:
    """Of this pack."""
    found = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    return found[1] if found else ""


def say(text: str) -> None:
    """Progress, on stderr so that what a script prints as its result stays alone on stdout."""
    print(f"[likeness] {text}", file=sys.stderr, flush=True)


def run(main: Callable[[], int]) -> NoReturn:
    """End the script with what `main` returns; with a message where the user has to fix something, 130 if stopped.

    The user also has to fix a full disk, and a folder that may not be written to.
    The script may print names of people and files for which the console has no letters.
    """
    from core.checks.consoles import accept_any_text  # shared has made it importable

    accept_any_text()
    stopping.stop_on_signals()
    with stopping.written_out():
        sys.exit(_status_of(main))


def _status_of(main: Callable[[], int]) -> int:
    """What the script ends with; why is said."""
    try:
        return main()
    except SetupError as problem:
        say(str(problem))
        return 1
    except OSError as problem:
        stopping.require_console(problem)
        sentence = disk_problem(problem)
        if sentence is None:
            raise
        say(sentence)
        return 1
    except KeyboardInterrupt as stop:
        return stopping.status_of(stop)


_OF_BOTH = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR)
"""What a system says of a place that may not be read, too, or where something else is in the way."""
_LOCKED = (*_OF_BOTH, errno.EROFS, errno.EEXIST)
"""What it says of a place that may not be written to."""


def disk_problem(problem: OSError, folder: Path | str | None = None) -> str | None:
    """A sentence about an error of a disk, with what to do; None for any other error, such as that of a connection.

    folder: into which was written, where the error does not say it.
    """
    if problem.errno in stopping.FULL or (problem.errno in _LOCKED and problem.filename):
        return unwritable(problem, folder or "A disk")
    return None


def unwritable(problem: OSError, folder: Path | str) -> str:
    """A sentence about any error of writing into a folder, with what to do."""
    place = problem.filename2 or problem.filename or folder
    what = "read or written to" if problem.errno in _OF_BOTH else "written to"
    what_to_do = "make room there" if problem.errno in stopping.FULL else "mend that or name another place"
    return f"{place} cannot be {what} ({problem.strerror or problem}): {what_to_do}, and run it again."


def called(command: Sequence[str], quiet: bool = False, seconds: float | None = None) -> int:
    """Run a program and return its exit status; what it prints goes to stderr, or nowhere where it is `quiet`.

    The program ends with this one, also where this one is stopped by a signal: it is asked to end, so that it takes
    away what it has half done, and after ten seconds made to. seconds: how long it may take. Raises OSError where there
    is no such program, and subprocess.TimeoutExpired.
    """
    output = subprocess.DEVNULL if quiet else sys.stderr
    errors = subprocess.DEVNULL if quiet else None
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors) as process:
        try:
            return process.wait(seconds)
        except BaseException:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def find_hosts() -> list[Host]:
    """Every ComfyUI on this machine that the scripts know to look for, the one meant most first.

    In this order: COMFYUI_PATH, the ComfyUI in whose custom_nodes this pack sits, ~/comfy/ComfyUI and other
    ~/comfy/ComfyUI-*, the one the demo has installed. One that is older than OLDEST is said and left out. Raises
    SetupError when COMFYUI_PATH is set to something else, or to an older one.
    """
    named = plain_path(os.environ.get("COMFYUI_PATH", ""))
    if named and not host_at(Path(named)):
        raise SetupError(
            f"COMFYUI_PATH is {named}, which is not a ComfyUI folder: main.py or comfyui_version.py is missing or "
            "cannot be read. Set COMFYUI_PATH to the folder of a ComfyUI, or remove it."
        )
    comfy = Path(os.path.expanduser("~/comfy"))  # stays as it is where the user has no home
    in_home: list[str] = []
    with contextlib.suppress(OSError):  # it may not be there, or may not be looked into
        in_home = sorted(os.listdir(comfy))
    folders = [
        *([Path(named)] if named else []),
        *([ROOT.parent.parent] if ROOT.parent.name == "custom_nodes" else []),
        comfy / "ComfyUI",
        *(comfy / name for name in in_home if name.startswith("ComfyUI-")),
        INSTALLED_HOST,
    ]
    found = {host.path: host for folder in folders if (host := host_at(folder))}
    hosts: list[Host] = []
    for host in found.values():
        if host.version >= tuple(map(int, OLDEST.split("."))):
            hosts.append(host)
            continue
        old = f"{host} in {host.path} is older than {OLDEST}"
        if named and host.path == Path(named).resolve():
            raise SetupError(f"{old}, the oldest that Likeness runs in. Update it, or remove COMFYUI_PATH.")
        say(f"{old} and is left out. Update it.")
    return hosts


def data_folder() -> Path | None:
    """The folder of models and packs in whose custom_nodes this pack sits, where ComfyUI's own code lies elsewhere: of
    ComfyUI Desktop, of --base-directory, in containers. None where there is no such folder."""
    folder = ROOT.parent.parent
    is_data = ROOT.parent.name == "custom_nodes" and (folder / "models").is_dir() and host_at(folder) is None
    return folder if is_data else None


def desktop_config() -> Path:
    """The file in which ComfyUI Desktop names the folders of models, as an extra_model_paths.yaml does."""
    home = Path(os.path.expanduser("~"))
    if sys.platform == "darwin":
        settings = home / "Library" / "Application Support"
    elif sys.platform == "win32":
        settings = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    else:
        settings = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return settings / "ComfyUI" / "extra_models_config.yaml"


def required_hosts(script: str) -> list[Host]:
    """As find_hosts, but raises SetupError where there is none, too. script: who needs one."""
    hosts = find_hosts()
    if not hosts:
        raise SetupError(f"{script} needs a ComfyUI: set COMFYUI_PATH, or run {script_command('demo.py')} first.")
    return hosts


def fetched_host() -> list[Host]:
    """ComfyUI's release, cloned below .cache. Where its repository is out of reach the list is empty, and a line says
    why."""
    say(f"No ComfyUI was found (in COMFYUI_PATH, around this folder, in ~/comfy). Asking {COMFYUI} for {RELEASE}.")
    os.environ["GIT_TERMINAL_PROMPT"] = "0"  # a proxy that asks for a name is out of reach
    try:
        asked = called(["git", "ls-remote", "--exit-code", COMFYUI, f"v{RELEASE}"], True, ANSWER_SECONDS)
    except OSError:
        say("ComfyUI cannot be fetched: git is not installed.")
        return []
    except subprocess.TimeoutExpired:
        asked = 1
    if asked:
        say("ComfyUI cannot be fetched: its repository does not answer.")
        return []
    say(f"Fetching ComfyUI into {INSTALLED_HOST}. With the packages that it needs this is up to 3 GB, 7 GB on disk.")
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=CACHE) as folder:
        clone = Path(folder) / INSTALLED_HOST.name
        if called(["git", "clone", "--quiet", "--depth", "1", "--branch", f"v{RELEASE}", COMFYUI, str(clone)]):
            say("ComfyUI could not be fetched. git's message is above.")
            return []
        shutil.rmtree(INSTALLED_HOST, ignore_errors=True)
        clone.rename(INSTALLED_HOST)
    return find_hosts()


def host_at(folder: Path) -> Host | None:
    """None for a folder that is no ComfyUI, or that may not be looked into."""
    try:
        (folder / "main.py").stat()
        version = (folder / "comfyui_version.py").read_text("utf-8", "replace")
    except OSError:
        return None
    number = re.search(r"__version__ = \"(\d+(?:\.\d+)*)", version)
    return Host(folder.resolve(), tuple(map(int, number[1].split(".")))) if number else None


def python_for(hosts: Sequence[Host], chosen: str | None = None, modules: Iterable[str] = ()) -> Path:
    """The Python to run in: the `chosen` one, else one at hand that has everything, else our .venv, made if need be.

    modules: what must be importable. A chosen Python is never installed into.
    """
    return ready_python(hosts, chosen, modules) or own_python(hosts)


def ready_python(hosts: Sequence[Host], chosen: str | None, modules: Iterable[str]) -> Path | None:
    """The `chosen` Python, else the first one at hand that has all modules, else None. Nothing is installed.

    Raises SetupError where the chosen one lacks a module, or is none that runs.
    """
    needed = ["torch", *modules]
    if chosen:
        chosen = plain_path(chosen)
        python = Path(shutil.which(chosen) or chosen)
        python = python.absolute() if python.is_file() else python  # hosts start in their own folders
        if lacking := _lacking(python, needed):
            names = ", ".join(lacking)
            raise SetupError(f"The Python {chosen} does not have these packages: {names}. {_advice(chosen)}")
        return python
    for python in _pythons_at_hand():
        lacking = _lacking(python, [*needed, *(HOST_MODULES if hosts else ())])
        if not lacking:
            say(f"Using the Python {python}.")
            return python
        if "torch" not in lacking:
            names = ", ".join(lacking)
            say(f"The Python {python} does not have these packages: {names}. Using .venv instead.")
            say(_advice(python))
    return None


def _advice(python: Path | str) -> str:
    files = " ".join(f"-r {as_typed(REQUIREMENTS / f'{name}.txt')}" for name in EVERYTHING)
    return f"To use it, run: {as_typed(python)} -m pip install {files}"


def python_command() -> str:
    """What a user types for the Python that runs: `python` where the shell has it under that name."""
    in_shell = shutil.which("python")
    if in_shell and os.path.realpath(in_shell) == os.path.realpath(sys.executable):
        return "python"
    return as_typed(sys.executable)


def script_command(script: str) -> str:
    """What a user types, in any folder, to run one of the scripts: script_command("models.py")."""
    return f"{python_command()} {as_typed(ROOT / 'scripts' / script)}"


def _pythons_at_hand() -> list[Path]:
    """The Python of an activated environment and the one that runs, whatever its kind (an environment, ComfyUI
    portable's, a system's), without those of ours."""
    pythons = [Path(sys.executable)]
    activated = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    # Who starts a script with the Python of an environment means that one.
    if activated and sys.prefix == sys.base_prefix:
        pythons.insert(0, python_in(Path(activated)))
    ours = {VENV.resolve(), SMALL_VENV.resolve()}
    return [python for python in pythons if python.is_file() and ours.isdisjoint(map(Path.resolve, python.parents))]


def python_in(environment: Path) -> Path:
    if os.name != "nt":
        return environment / "bin" / "python"
    scripts = environment / "Scripts" / "python.exe"
    return scripts if scripts.is_file() or environment in (VENV, SMALL_VENV) else environment / "python.exe"


_ASKED = """
import importlib.util, sys
lacking = [name for name in sys.argv[1:] if getattr(importlib.util.find_spec(name), "origin", None) is None]
print("python", sys.version_info[0], sys.version_info[1], *lacking)
"""
"""A folder of a module's name beside the script is no module: it has no origin."""
_ANSWER = re.compile(r"python (\d+) (\d+)((?: \S+)*)")


def _lacking(python: Path, modules: Sequence[str]) -> list[str]:
    """Which of these modules a Python has not. Raises SetupError for what is none, or is too old."""
    command = [str(python), "-c", _ASKED, *modules]
    try:
        # It is asked nothing, and what it complains of is not ours to show.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        problem = f"it ended with the status {done.returncode}" if done.returncode else ""
        lines = done.stdout.decode("utf-8", "replace").splitlines()
    except OSError as cause:
        problem = str(cause)
        lines = []
    except subprocess.TimeoutExpired:
        problem = "it does not answer"
        lines = []
    # A Python may say something of its own before; a program that is none ends without a word, or with another one.
    answer = _ANSWER.fullmatch(lines[-1].strip()) if lines else None
    if problem or not answer:
        why = f" ({problem})" if problem else ": it names no version"
        raise SetupError(f"{python} cannot be run as Python{why}. Name one of version 3.10 or newer.")
    version = int(answer[1]), int(answer[2])
    if version < (3, 10):
        raise SetupError(f"{python} is Python {version[0]}.{version[1]}. Likeness needs 3.10 or newer.")
    return answer[3].split()


def own_python(hosts: Sequence[Host], purposes: Sequence[str] = EVERYTHING) -> Path:
    """Our .venv, brought up to date only when something that went into it has changed. Raises SetupError."""
    newest = sorted(hosts, key=lambda host: host.version)[-1:]
    files = _requirement_files(purposes)
    files += [host.path / "requirements.txt" for host in newest]
    python = python_in(VENV)
    if _is_installed(VENV, files):
        return python
    _make(VENV)
    say(f"Installing {', '.join(map(str, files))}. The first time this downloads torch, which takes minutes.")
    with _installing(VENV, files):
        install(python, *_as_options(files))
    return python


def small_python() -> Path:
    """A Python for the demo without a ComfyUI: .venv where it has everything already, else one with a CPU build of
    torch and little else. Raises SetupError."""
    if _is_installed(VENV, _requirement_files(DEMO)):
        return python_in(VENV)
    files = _requirement_files(ALONE)
    python = python_in(SMALL_VENV)
    if _is_installed(SMALL_VENV, files):
        return python
    _make(SMALL_VENV)
    with _installing(SMALL_VENV, files):
        _install_cpu_build(python, *_as_options(files))
        # It brings two small face models. The packages that it asks for would run them, and the pack does that itself.
        install(python, "--no-deps", *_as_options([REQUIREMENTS / "face_models.txt"]))
    return python


def _requirement_files(purposes: Sequence[str]) -> list[Path]:
    return [REQUIREMENTS / f"{name}.txt" for name in purposes]


def _as_options(files: Iterable[Path]) -> list[str]:
    options: list[str] = []
    for file in files:
        options += ["-r", str(file)]
    return options


def _is_installed(folder: Path, files: Iterable[Path]) -> bool:
    """Whether an environment of ours was made completely and has what these files ask for."""
    stamp = folder / _STAMP
    if not (python_in(folder).is_file() and stamp.is_file()):
        return False
    installed = stamp.read_text("utf-8").split()
    return all(_hash(file) in installed for file in files)


def _make(folder: Path) -> None:
    """A Python environment, where there is none that is whole: one may have been stopped while it was made."""
    if sys.version_info < (3, 10):  # noqa: UP036 - the one script that starts in whatever Python there is
        raise SetupError(f"This is Python {sys.version.split()[0]}. Likeness needs 3.10 or newer.")
    python = python_in(folder)
    if python.is_file() and not called([str(python), "-m", "pip", "--version"], quiet=True):
        return
    say(f"Making a Python environment in {folder}")
    has_venv = importlib.util.find_spec("venv") is not None  # ComfyUI portable's has none
    if not has_venv or called([sys.executable, "-m", "venv", "--clear", str(folder)]):
        raise SetupError(f"{sys.executable} cannot make an environment. {_venv_advice()}")


def _venv_advice() -> str:
    """What to do where the Python that runs cannot make an environment."""
    is_of_debian = Path("/etc/debian_version").is_file() and sys.base_prefix == "/usr"
    if is_of_debian and importlib.util.find_spec("ensurepip") is None:
        return "Install the package python3-venv, and run this again."
    return f"Run this with another Python, or install what is needed into this one. {_advice(sys.executable)}"


@contextlib.contextmanager
def _installing(folder: Path, files: Sequence[Path]) -> Iterator[None]:
    """While requirement files are installed into an environment: it says that they are only when they are."""
    stamp = folder / _STAMP
    before = stamp.read_text("utf-8").split() if stamp.is_file() else []
    stamp.unlink(missing_ok=True)
    yield
    ours = {_hash(file) for file in REQUIREMENTS.glob("*.txt")}
    hashes = {_hash(file) for file in files} | (ours & set(before))
    stamp.write_text("\n".join(sorted(hashes)) + "\n", "utf-8")


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def host_environment(host: Host, python: Path) -> dict[str, str]:
    """Environment variables under which `host` runs in `python`.

    A ComfyUI pins its frontend and templates exactly. Those of the newest host are in the environment; for another
    host its own are put into a folder of their own, first on PYTHONPATH.
    """
    variables = {**os.environ, "COMFYUI_PATH": str(host.path), "PYTHONUTF8": "1"}
    wanted = _unmet_pins(host, python)
    if not wanted:
        return variables
    folder = packages_beside(python, wanted, f"what {host} pins")
    before = os.environ.get("PYTHONPATH")
    return {**variables, "PYTHONPATH": os.pathsep.join([str(folder), *([before] if before else [])])}


def packages_beside(python: Path, wanted: Sequence[str], what: str) -> Path:
    """A folder with these packages and nothing they need, installed once."""
    folder = CACHE / "pins" / hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:12]
    done = folder / "complete"
    if not done.is_file():
        say(f"Installing {what}: {', '.join(wanted)}")
        install(python, "--no-deps", "--upgrade", "--target", str(folder), *wanted)
        done.touch()
    return folder


def _unmet_pins(host: Host, python: Path) -> list[str]:
    """`name==version` lines of the host's requirements whose version is not the one in the environment."""
    lines = (host.path / "requirements.txt").read_text("utf-8").splitlines()
    pins = [match.group(1, 2) for line in lines if (match := _PINNED.match(line))]
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    answer = subprocess.run([str(python), "-c", code], check=True, capture_output=True, encoding="utf-8").stdout
    installed = {_plain(name): version for name, version in json.loads(answer).items()}
    return [f"{name}=={version}" for name, version in pins if installed.get(_plain(name)) != version]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def install(python: Path, *arguments: str) -> None:
    """Install packages by uv, which takes a tenth of pip's time: torch's build for this machine from torch's own index,
    or the usual one where that does not answer. By pip where uv cannot have them. All show what they do. Raises
    SetupError."""
    if not (_by_uv(python, *arguments, "--torch-backend", "auto") or _by_uv(python, *arguments)):
        say("uv cannot find these packages. Trying pip instead, which is slower.")
        _by_pip(python, *arguments)


def _install_cpu_build(python: Path, *arguments: str) -> None:
    """Install packages with torch's build without CUDA where one can be had: by uv from torch's own index or the usual
    one, else by pip from the indexes and folders that it is set to use. Raises SetupError."""
    say(f"Installing a CPU build of torch and a few packages {SMALL_SIZE}.")
    without_cuda = [*arguments, "-c", str(REQUIREMENTS / "without_cuda.txt")]
    if _by_uv(python, *arguments, "--torch-backend", "cpu") or _by_uv(python, *without_cuda):
        return
    if called([*_pip(python), *without_cuda], quiet=True):
        say(f"No package index here has a CPU build of torch. Installing the build with CUDA {CUDA_SIZE}.")
        install(python, *arguments)


def _by_uv(python: Path, *arguments: str) -> bool:
    """Install by uv, got by pip where there is no uv. False where it cannot be had, or cannot have the packages."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(python.parent))
    if not uv and not called([*_pip(python), "--quiet", "uv"], quiet=True):
        uv = shutil.which("uv", path=str(python.parent))
    if not uv:
        return False
    command = [uv, "pip", "install", "--python", str(python), *arguments]
    # It is asked first without a word: of an index that does not answer it would print an error, and pip comes next.
    return not called([*command, "--dry-run"], quiet=True) and not called(command)


def _by_pip(python: Path, *arguments: str) -> None:
    """Raises SetupError."""
    command = [*_pip(python), *arguments]
    if called(command):
        raise SetupError(f"pip failed. Its message is above. The command was: {' '.join(map(as_typed, command))}")


def _pip(python: Path) -> list[str]:
    return [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]


def package_file(package: str, *parts: str) -> Path:
    """A file of an installed Python package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SetupError(f"The Python package {package} is not installed. {_advice(sys.executable)}")
    return Path(spec.origin).parent.joinpath(*parts)


def entered() -> Path | None:
    """The Python that this script was run again in by `enter`; None before."""
    return Path(sys.executable) if os.environ.get("LIKENESS_PYTHON") == sys.executable else None


def enter(python: Path) -> None:
    """Run the calling script again in `python`, unless this is it already."""
    if os.environ.get("LIKENESS_PYTHON") == str(python):
        return
    variables = {**os.environ, "LIKENESS_PYTHON": str(python)}
    if os.name != "nt":
        sys.stdout.flush()
        os.execve(python, [str(python), *sys.argv], variables)
    # There a program that takes another's place runs beside the shell. Ctrl-C reaches both; this one waits.
    with subprocess.Popen([str(python), *sys.argv], env=variables) as process:
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                sys.exit(process.wait())


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(python_for(find_hosts()))
    return 0


if __name__ == "__main__":
    run(main)
