"""Which cases of a test every run tries: the others are `thorough`. And what an older ComfyUI cannot run."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from families import RECORDS
from tiny import tiny_dits

transformers = pytest.mark.skipif(not tiny_dits.KNOWN, reason="an older ComfyUI has no FLUX.2")


def each(values: Iterable[Any], often: Collection[Any]) -> list[Any]:
    """Parameters of a test: all values, of which it tries those in `often` in every run, and the others with --all.

    A tuple holds a value for each argument. often: values, or what `str` makes of them, as `str(row)`.
    """
    parameters: list[Any] = []
    for value in values:
        arguments = value if isinstance(value, tuple) else (value,)
        names = tuple(map(str, arguments))
        is_often = value in often or (names if len(names) > 1 else names[0]) in often
        parameters.append(pytest.param(*arguments, marks=() if is_often else pytest.mark.thorough))
    if parameters and all(parameter.marks for parameter in parameters):
        raise ValueError(f"none of {[*often]} is among the values, so no run would try this test without --all.")
    return parameters


OFTEN = [family for family, record in RECORDS.items() if record.often]
EACH = each(tiny_dits.EVERY, OFTEN)
WITH_REFERENCES = each(tiny_dits.REFERENCES, OFTEN)


def families(fixture: str, *often: str, of: Iterable[str] = tiny_dits.EVERY) -> pytest.MarkDecorator:
    """A decorator: the fixture is made of every family, and of those in `often` in every run."""
    return pytest.mark.parametrize(fixture, each(of, often), indirect=True)
