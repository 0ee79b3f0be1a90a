"""A node pack for the host of tests/host/test_soak.py: any value on any socket, and what became of it.

Both nodes evaluate Python in the namespace of attack_values.py, so that a case is written where it is judged.
"""

from __future__ import annotations

import importlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

PACK = "likeness-nodes"
"""The folder of the pack under test among the host's custom nodes."""


class Anything(str):
    """A socket that fits every other one."""

    def __ne__(self, other: object) -> bool:
        return False


ANY = Anything("*")
_INPUTS = {
    "required": {"expression": ("STRING", {"multiline": True})},
    "optional": {"a": (ANY,), "b": (ANY,), "c": (ANY,)},
}


@cache
def _namespace() -> dict[str, Any]:
    """The pack of this host under the name by which tests import it, and everything made of it."""
    prefix = next(name for name in sys.modules if name.endswith(PACK))
    for name in [name for name in sys.modules if name == prefix or name.startswith(f"{prefix}.")]:
        sys.modules["pack" + name.removeprefix(prefix)] = sys.modules[name]
    support = Path(__file__).resolve().parents[1]
    sys.path += [str(support), str(support.parents[1] / "scripts")]
    return vars(importlib.import_module("attack_values"))


def _evaluated(expression: str, a: Any, b: Any, c: Any) -> Any:
    return eval(expression, {**_namespace(), "a": a, "b": b, "c": c})  # noqa: S307 - the tests' own cases


class AttackValue:
    """The value of an expression."""

    INPUT_TYPES = classmethod(lambda cls: _INPUTS)
    RETURN_TYPES, FUNCTION, CATEGORY = (ANY,), "execute", "attack"

    def execute(self, expression: str, a: Any = None, b: Any = None, c: Any = None) -> tuple[Any]:
        return (_evaluated(expression, a, b, c),)


class AttackCheck:
    """Whether an expression is true of what arrives; as text, None where it is."""

    INPUT_TYPES = classmethod(lambda cls: _INPUTS)
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "execute", "attack", True

    def execute(self, expression: str, a: Any = None, b: Any = None, c: Any = None) -> dict[str, Any]:
        found = _evaluated(expression, a, b, c)
        return {"ui": {"text": [json.dumps(found)]}}


NODE_CLASS_MAPPINGS = {"AttackValue": AttackValue, "AttackCheck": AttackCheck}
