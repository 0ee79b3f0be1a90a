"""Mutants of formulas: mutmut changes every operator, number and argument of a module, and its unit tests must notice.

    python -m pip install mutmut==3.8.1         into .venv; nothing else needs it
    python tests/defects/mutate.py              every module below, some minutes
    python tests/defects/mutate.py core/geometry.py

Planted defects are what people would notice, and tell it in a sentence; mutants find formulas that no test asks about.
Ends with 1 where more mutants survive in a function than EQUIVALENT explains. Mutants that no unit test reaches are
counted and no failure: tests with a ComfyUI may hold them.
"""

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2] / "scripts")
import environment  # noqa: E402

TESTS = {
    "core/attention.py": ("tests/unit/test_attention.py", "tests/unit/test_prompts.py"),
    "core/geometry.py": (
        "tests/unit/test_geometry.py",
        "tests/unit/test_layouts.py",
        "tests/unit/test_second_pass_geometry.py",
    ),
}
"""Which tests hold each module."""
EQUIVALENT = {
    "core.attention.region_weights": (2, "a sum without its first axis is spread over people all the same"),
    "core.attention.on_grid": (1, "nearest is also what torch does where no mode is given"),
    "core.attention.region_bias": (1, "owners count from the end, so a second row of zeros is never read"),
    "core.geometry.check_size": (1, "a side of one pixel is no multiple of 8 either"),
    "core.geometry.Fit.box": (1, "a point reads the first two of three numbers"),
    "core.geometry.Fit.joint": (1, "a point reads the first two of three numbers"),
    "core.geometry.off_canvas": (1, "half of PATCH, which is even, is a whole number"),
}
"""Function -> how many mutants of it do the same as the code, and why."""
COPIED = ("core", "bridge", "nodes", "scripts", "tests", "__init__.py", "pyproject.toml", "models_manifest.json")
SETTINGS = """[mutmut]
source_paths=pack
only_mutate=
    pack/{module}
also_copy=
    pack
pytest_add_cli_args=
    -c
    pack/pyproject.toml
    -p
    no:cacheprovider
pytest_add_cli_args_test_selection=
    {tests}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="without any all of them")
    modules = parser.parse_args().modules or list(TESTS)
    environment.enter(environment.python_for(environment.find_hosts(), None, ("pytest", "torch")))
    if importlib.util.find_spec("mutmut") is None:
        advice = f"Run {sys.executable} -m pip install mutmut==3.8.1"
        raise environment.SetupError(f"mutate.py needs mutmut, which is not installed. {advice}")
    unknown = [module for module in modules if module not in TESTS]
    if unknown:
        raise environment.SetupError(f"No tests are named for {unknown[0]}. Name them in TESTS of mutate.py.")
    return max(survivors(module) for module in modules)


def survivors(module: str) -> int:
    """1 if mutants of a module survive that nothing explains."""
    with tempfile.TemporaryDirectory() as folder:
        # mutmut knows a function by its module's name, which is pack.core.geometry where tests import it.
        copy = Path(folder) / "pack"
        copy.mkdir()
        for name in COPIED:
            source = environment.ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        tests = "\n    ".join(f"pack/{test}" for test in TESTS[module])
        (Path(folder) / "setup.cfg").write_text(SETTINGS.format(module=module, tests=tests), "utf-8")
        mutmut = [sys.executable, "-m", "mutmut"]
        subprocess.run([*mutmut, "run", "--max-children", "1"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
        listed = subprocess.run([*mutmut, "results", "--all", "true"], cwd=folder, stdout=subprocess.PIPE, check=True)
        results = re.findall(r"^\s*(\S+): (.+)$", listed.stdout.decode(), re.MULTILINE)
        kinds = Counter(how for _, how in results)
        print(f"{module}: {len(results)} mutants,", ", ".join(f"{count} {how}" for how, count in kinds.items()))
        survived = [name for name, how in results if how == "survived"]
        counts = Counter(function_of(name) for name in survived)
        unexplained = {name for name, count in counts.items() if count > EQUIVALENT.get(name, (0, ""))[0]}
        for name in survived:
            if function_of(name) in unexplained:
                print(subprocess.run([*mutmut, "show", name], cwd=folder, stdout=subprocess.PIPE).stdout.decode())
        return int(bool(unexplained))


def function_of(mutant: str) -> str:
    """pack.core.geometry.xǁFitǁbox__mutmut_2 is one of core.geometry.Fit.box."""
    name = mutant.removeprefix("pack.").rpartition("__mutmut_")[0]
    module, _, function = name.rpartition(".")
    if function.startswith("xǁ"):
        return f"{module}.{function[2:].replace('ǁ', '.')}"
    return f"{module}.{function.removeprefix('x_')}"


if __name__ == "__main__":
    environment.run(main)
