"""Marks of tests of transformers: which an older ComfyUI cannot run, and which families every run tries."""

import pytest
import tiny_dits

transformers = pytest.mark.skipif(not tiny_dits.KNOWN, reason="an older ComfyUI has no FLUX.2")
OFTEN = tiny_dits.FLUX_2, tiny_dits.QWEN, tiny_dits.Z_IMAGE
"""Tried in every run: their blocks are those of the others, or less usual."""
EACH = [pytest.param(family, marks=() if family in OFTEN else pytest.mark.thorough) for family in tiny_dits.EVERY]
WITH_REFERENCES = [of_family for of_family in EACH if of_family.values[0] in tiny_dits.REFERENCES]
