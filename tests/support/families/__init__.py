"""The record of every family that the pack describes, by its name: that of Krea 2 is in krea_2.py."""

import re
from importlib import import_module

from tiny import tiny_dits

from .record import FamilyRecord


def _record(family: str) -> FamilyRecord:
    return import_module("." + re.sub(r"\W+", "_", family.lower()), __name__).RECORD


RECORDS = {family: _record(family) for family in tiny_dits.EVERY}
