"""Finding hosts, sorting pytest's arguments, and what test.py says and returns."""

import os
import re
import subprocess
import sys
from pathlib import Path

import environment
import pytest
from batch.folders import folder_of
from pack.scripts import test as runner
from shared import archive, workflow_files
from shared.arguments import path_of, path_or_url
from systems import posix, with_all_packages

ROOT = Path(__file__).resolve().parents[2]


def test_every_script_of_the_archive_answers_help(tmp_path: Path) -> None:
    archive.unpack(tmp_path)
    scripts = [path for path in tmp_path.rglob("*.py") if "__main__" in path.read_text("utf-8")]
    assert scripts
    for script in scripts:
        process = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True)
        assert (process.returncode, process.stderr) == (0, ""), script
        assert process.stdout.startswith("usage: "), script


def make_host(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text(f'__version__ = "{version}"\n')
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and a pack outside of any ComfyUI."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(environment, "ROOT", tmp_path / "likeness")
    monkeypatch.setattr(environment, "INSTALLED_HOST", tmp_path / "installed")
    return tmp_path / "home"


def test_hosts_of_the_home_folder(home: Path) -> None:
    assert environment.find_hosts() == []
    make_host(home / "comfy" / "ComfyUI-next", "0.33.0")
    make_host(home / "comfy" / "ComfyUI", "0.3.64")
    (home / "comfy" / "ComfyUI-empty").mkdir()
    make_host(home / "comfy" / "ComfyUI-before", "0.3.40")
    assert [str(host) for host in environment.find_hosts()] == ["ComfyUI 0.3.64", "ComfyUI 0.33.0"]


@pytest.mark.parametrize("written", ["~/mine", "~/mine/", '"~/mine"', " ~/mine", "{home}/mine", "file://{home}/mine"])
def test_comfyui_path_as_people_write_it(home: Path, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's ENV, systemd and .env files leave a tilde alone, as shells do behind "=": --output=~/pictures."""
    host = make_host(home / "mine", "0.33.0")
    text = written.format(home=home)
    monkeypatch.setenv("COMFYUI_PATH", text)
    assert [found.path for found in environment.find_hosts()] == [host]
    assert folder_of(path_or_url(text)).address == str(path_of(text)) == str(workflow_files.named(text)) == str(host)


@posix
@pytest.mark.parametrize("home_folder", ["nobody's", "a file", "not to be looked into"])
def test_a_home_is_one_place_of_several(
    home_folder: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Services, containers and jobs of a cluster run as a user without one."""
    host = make_host(tmp_path / "host", "0.33.0")
    monkeypatch.setenv("COMFYUI_PATH", str(host))

    def refuses(*_: object, **__: object) -> None:
        raise {"nobody's": KeyError, "not to be looked into": PermissionError}[home_folder]

    if home_folder == "nobody's":
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("pwd.getpwuid", refuses)
    elif home_folder == "a file":
        home.touch()
    else:
        monkeypatch.setattr(os, "listdir", refuses)
        monkeypatch.setattr(os, "scandir", refuses)
    assert [found.path for found in environment.find_hosts()] == [host]


def test_comfyui_path_comes_first_and_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind it the one that this pack sits in."""
    host = make_host(tmp_path / "elsewhere", "0.20.1")
    monkeypatch.setattr(environment, "ROOT", host / "custom_nodes" / "any name")
    make_host(home / "comfy" / "ComfyUI", "0.33.0")
    monkeypatch.setenv("COMFYUI_PATH", str(make_host(home / "comfy" / "ComfyUI-old", "0.3.64")))
    assert [found_host.version for found_host in environment.find_hosts()] == [(0, 3, 64), (0, 20, 1), (0, 33, 0)]
    (home / "none").mkdir()
    for content in (None, b'__version__ = "..."', b"\xff"):
        if content:
            (home / "none" / "main.py").touch()
            (home / "none" / "comfyui_version.py").write_bytes(content)
        monkeypatch.setenv("COMFYUI_PATH", str(home / "none"))
        with pytest.raises(environment.SetupError, match="is not a ComfyUI folder"):
            environment.find_hosts()


def test_a_comfyui_that_is_too_old_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = make_host(home / "comfy" / "ComfyUI", "0.3.40")
    assert environment.find_hosts() == []
    assert f"ComfyUI 0.3.40 in {old.resolve()} is older than 0.3.64 and is left out" in capsys.readouterr().err
    monkeypatch.setenv("COMFYUI_PATH", str(old))
    with pytest.raises(environment.SetupError, match=r"is older than 0\.3\.64, the oldest .* Update it"):
        environment.find_hosts()


def test_given_python_by_its_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the shell finds it, for what replaces this process is looked for nowhere."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert environment.python_for([], Path(sys.executable).name, ["pytest"]) == Path(sys.executable)


def test_given_python_by_a_relative_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is used as it is; hosts start in folders of their own."""
    assert environment.python_for([], sys.executable, ["pytest"]) == Path(sys.executable)
    monkeypatch.chdir(Path(sys.executable).parent)
    python = environment.python_for([], f"./{Path(sys.executable).name}")
    assert python.is_absolute()
    assert python.samefile(sys.executable)
    lacking = r"no_such_module\. .* -m pip install -r"
    no_python = "cannot be run as Python"
    for python_option, message in ((sys.executable, lacking), ("none", no_python)):
        with pytest.raises(environment.SetupError, match=message):
            environment.python_for([], python_option, ["pytest", "no_such_module"])


MODULES = ("aiohttp", "av", "einops", "safetensors", "torch", "transformers", "yaml")


@pytest.mark.skipif(os.name == "nt", reason="links")
@pytest.mark.parametrize("lacks", ["nothing", "av", "torch"])
def test_a_python_that_is_no_environment(tmp_path: Path, lacks: str) -> None:
    """As ComfyUI portable's or a system's: used where it has everything. It cannot make an environment, and what to do
    then is said of this Python."""
    folder = tmp_path / "python embeded" / "bin"
    packages = tmp_path / "packages"
    folder.mkdir(parents=True)
    packages.mkdir()
    for name in set(MODULES) - {lacks}:
        (packages / f"{name}.py").touch()
    python = folder / "python"
    python.symlink_to(Path(sys.executable).resolve())
    (tmp_path / "scripts").mkdir()
    for name in ("environment.py", "shared", "requirements"):
        (tmp_path / "scripts" / name).symlink_to(ROOT / "scripts" / name)
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'scripts')!r}]\n"
        "import environment, importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name: None if name == 'venv' else find(name)\n"
        "host = environment.Host(environment.ROOT, (0, 33, 0))\n"
        "(host.path / 'requirements.txt').touch()\n"
        "try: print(environment.python_for([host]))\n"
        "except environment.SetupError as problem: print(problem)\n"
    )
    hidden = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME")
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [str(python), "-S", "-c", code]
    process = subprocess.run(
        command, env={**variables, "PYTHONPATH": str(packages)}, capture_output=True, text=True, check=True
    )
    answer = process.stdout.strip()
    if lacks == "nothing":
        assert answer == str(python)
        return
    install = f"'{python}' -m pip install -r "
    assert answer.startswith(f"{python} cannot make an environment. Run this with another Python")
    assert install in answer
    assert ("does not have these packages: av. Using .venv instead" in process.stderr) == (lacks == "av")


def test_pins_of_a_host_that_are_not_met(home: Path, tmp_path: Path) -> None:
    host = environment.host_at(make_host(tmp_path / "host", "0.3.64"))
    assert host
    lines = [f"PyTest=={pytest.__version__}", "numpy>=1.25.0", "# nothing==1", "Comfyui_Frontend.Package==0.0.1"]
    lines.append('numpy==0.1; python_version < "3.0"')
    (host.path / "requirements.txt").write_text("\n".join(lines))
    assert environment._unmet_pins(host, Path(sys.executable)) == ["Comfyui_Frontend.Package==0.0.1"]


@pytest.mark.skipif(os.name == "nt", reason="a program there cannot take another's place")
def test_ctrl_c_meets_one_process(home: Path, tmp_path: Path) -> None:
    """What is started is what runs: nobody stands between, who would end it before it has cleaned up."""
    script = tmp_path / "entered.py"
    script.write_text(f"import os, sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import environment\n"
                      "environment.enter(environment.Path(sys.executable)); print(os.getpid())")  # fmt: skip
    fresh = {name: value for name, value in os.environ.items() if name != "LIKENESS_PYTHON"}
    with subprocess.Popen([sys.executable, str(script)], env=fresh, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert int(process.stdout.read()) == process.pid


OLD = environment.Host(Path("old"), (0, 3, 64))
NEW = environment.Host(Path("new"), (0, 33, 0))


def test_options_are_no_paths() -> None:
    assert runner.split(["-x", "-k", "tests"]) == (["-x", "-k", "tests"], [], [])
    with pytest.raises(environment.SetupError, match="-k needs a value"):
        runner.split(["tests", "-k"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-x", "tests/hots/test_batch.py::test_a"), r"There is no tests.hots.test_batch\.py: name a file or a folder"),
        (("--durations", "5"), "write --durations=5"),
    ],
)
def test_a_mistyped_path_starts_no_tier(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(environment.SetupError, match=words):
        runner.split([*arguments])


@pytest.mark.parametrize(
    ("tier", "marked"),
    [
        ("--smoke", [""]),
        ("--fast", ["not thorough"]),
        ("paths", [""]),
        ("", ["not thorough", "both_hosts and not thorough"]),
        ("--all", ["", ""]),
    ],
)
def test_what_a_tier_runs_in_which_host(tier: str, marked: list[str]) -> None:
    """The newest runs most, and first, wherever it stands in the list."""
    for hosts in ([NEW, OLD], [OLD, NEW]):
        sessions = runner.sessions(runner.Asked(tier, None, ["a"], ["b"], []), hosts)
        assert (sessions[0].host, sessions[0].marked) == (None, marked[0])
        in_hosts = [(session.host, session.marked) for session in sessions[1:]]
        assert in_hosts == [*zip([NEW, OLD], marked, strict=False)]
    paths = (*runner.TIERS[tier].host_less, *runner.TIERS[tier].on_hosts)
    assert all((ROOT / path.split("::")[0]).exists() for path in paths)


def files_of(tier: runner.Tier) -> list[str]:
    """The test files of a tier or a part of one, sorted. Marks stand at files."""
    files: list[str] = []
    for path in (*tier.host_less, *tier.on_hosts):
        for file in (ROOT / path).rglob("test_*.py"):
            opens_pages = "pytest.mark.browser" in file.read_text("utf-8")
            if tier.marked == "" or opens_pages == (tier.marked == "browser"):
                files.append(file.relative_to(ROOT).as_posix())
    return sorted(files)


def test_parts_of_the_release_hold_every_test_once() -> None:
    """And what opens a page is in the part of the browser, as no other part has one."""
    files: list[str] = []
    for part in runner.PARTS.values():
        files += files_of(part)
    assert sorted(files) == files_of(runner.TIERS["--all"])
    opens_pages = re.compile(r"\b(visit|gallery|browser)\b\s*:")
    in_browser = {file for file in files if opens_pages.search((ROOT / file).read_text("utf-8"))}
    assert in_browser
    assert in_browser <= {*files_of(runner.PARTS["browser"])}


def test_nothing_is_published_before_every_part_has_passed() -> None:
    """On the oldest host that the pack is for, and on the one that the other checks name."""
    text = (ROOT / ".github" / "workflows" / "publish.yml").read_text("utf-8")
    assert f"part: [{', '.join(runner.PARTS)}]\n" in text
    assert "  publish:\n    needs: [version, release]\n    if: github.ref_type == 'tag'\n" in text
    tested = set(re.findall(r"comfyui: (v[\d.]+)", (ROOT / ".github/workflows/tests.yml").read_text("utf-8")))
    named = re.search(r"comfyui: \[(.*)\]", text)
    assert named
    assert set(named[1].split(", ")) == tested


def test_the_tag_is_the_version_and_what_checks_the_archive_leaves_nothing_in_it() -> None:
    """comfy-cli runs ruff in the folder that it publishes, and then takes every file of it."""
    text = (ROOT / ".github" / "workflows" / "publish.yml").read_text("utf-8")
    assert '          RUFF_NO_CACHE: "true"\n' in text.partition("node publish --token")[2]
    checks = re.findall(r"^ +(grep -Fx .*)\n", text, re.MULTILINE)
    assert [check.split()[-1] for check in checks] == ["pyproject.toml", "CHANGELOG.md"]
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    for tag, status_of_check in ((f"v{version}", 0), (f"v{version}.1", 1), ("v9.9.9", 1)):
        variables = {**os.environ, "GITHUB_REF_NAME": tag}
        for check in checks:
            assert subprocess.run(["bash", "-c", check], cwd=ROOT, env=variables).returncode == status_of_check


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--part", "browser"), "--part browser is a part of --all"),
        (("--all", "--part", "browser", "tests/unit"), "leave one of them out"),
        (("--fast", "tests/unit"), "--fast and paths both say what runs: leave one of them out"),
    ],
)
def test_a_part_is_one_of_the_release_and_takes_no_paths(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    result = run(*arguments, home=tmp_path)
    assert result.returncode == 1
    assert words in result.stderr


def run(*arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """scripts/test.py for real, in the Python that runs this."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("COMFYUI_PATH", "CI")}
    command = [sys.executable, str(ROOT / "scripts" / "test.py"), "--python", sys.executable, *arguments]
    settings = {**inherited, "HOME": str(home), "USERPROFILE": str(home), **variables}
    return subprocess.run(command, env=settings, capture_output=True, text=True)


@pytest.fixture
def three_tests(tmp_path: Path) -> str:
    path = tmp_path / "test_three.py"
    path.write_text("import pytest\ndef test_a(): pass\ndef test_b(): pass\ndef test_c(): pytest.skip('c')\n")
    return str(path)


@with_all_packages
def test_nothing_collected_is_a_failure(three_tests: str, tmp_path: Path) -> None:
    """And the last line sums up."""
    result = run(three_tests, "-k", "test_a or test_c", home=tmp_path)
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert re.fullmatch(
        r"All that ran passed, in \d+ s\. NOT tested: anything outside of the paths that you named; "
        r"what pytest lists as skipped or deselected\.",
        last,
    )
    result = run(three_tests, "-k", "no_such_test", home=tmp_path)
    assert result.returncode == 1
    assert "No tests ran" in result.stdout.splitlines()[-1]


@with_all_packages
def test_the_last_line_names_what_failed(three_tests: str, tmp_path: Path) -> None:
    Path(three_tests).write_text("def test_a(): assert 1 == 2\n")
    result = run(three_tests, home=tmp_path)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].startswith("FAILED: host-less, in ")


@with_all_packages
@pytest.mark.skipif((ROOT.parent.parent / "main.py").exists(), reason="this pack sits in a ComfyUI")
@pytest.mark.parametrize(("ci", "status", "word"), [("true", 1, "FAILED"), ("", 0, "SKIPPED")])
def test_no_host(three_tests: str, tmp_path: Path, ci: str, status: int, word: str) -> None:
    if environment.host_at(environment.INSTALLED_HOST):
        pytest.skip("the demo has installed a ComfyUI")
    result = run(three_tests, str(ROOT / "tests" / "host"), home=tmp_path, CI=ci)
    assert result.returncode == status
    assert f"{word}: No ComfyUI was found, so the tests in ComfyUI did NOT run." in result.stderr
    last = result.stdout.splitlines()[-1]
    paths = f"{ROOT / 'tests' / 'host'}, which needs a ComfyUI"
    assert f"NOT tested: {paths}: none was found, and none is fetched for a Python that you have chosen" in last
