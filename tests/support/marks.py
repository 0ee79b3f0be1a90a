"""Marks of tests that an older ComfyUI cannot run."""

import pytest
import tiny_dits

transformers = pytest.mark.skipif(not tiny_dits.KNOWN, reason="an older ComfyUI has no FLUX.2")
