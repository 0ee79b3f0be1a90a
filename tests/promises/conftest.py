"""Each test is there for every method: what a method does not promise, its record says, with the reason."""

from pathlib import Path

import pytest
from pack.core.methods import PROMISES, methods


def promise_of(path: Path) -> str:
    """A file is named after its promise."""
    return max((one for one in PROMISES if path.stem.startswith(f"test_{one}")), key=len)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`row`: a node of every method that promises it. `way`: also the other ways through it. `method`: a record.

    A file's `only` says for which of them it asks anything.
    """
    from promised import rows, with_variants  # from here on a ComfyUI is there

    promise = promise_of(Path(metafunc.module.__file__))
    only = getattr(metafunc.module, "only", bool)
    if "method" in metafunc.fixturenames:
        promised = [one for one in methods() if promise not in one.not_promised and only(one)]
        metafunc.parametrize("method", promised, ids=lambda one: one.folder)
    found = [one for one in rows() if one.method is None or promise not in one.method.not_promised]
    for name, each in (("row", found), ("way", with_variants(found))):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, [one for one in each if only(one) and one.runs_here], ids=str)
