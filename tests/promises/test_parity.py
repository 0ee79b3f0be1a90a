"""Compared with an independent implementation: the files in tests/parity that are named after the method."""

import ast
from pathlib import Path

from pack.core.methods import Method

PARITY = Path(__file__).parents[1] / "parity"


def test_a_parity_test_is_there(method: Method) -> None:
    files = sorted(PARITY.glob(f"test_{method.folder}_*.py"))
    assert files, f"no tests/parity/test_{method.folder}_*.py"
    for path in files:
        functions = [one for one in ast.parse(path.read_text("utf-8")).body if isinstance(one, ast.FunctionDef)]
        tests = [one for one in functions if one.name.startswith("test_")]
        assert any(isinstance(node, ast.Assert) for test in tests for node in ast.walk(test)), path.name
