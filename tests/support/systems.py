"""What Windows cannot run, nor a Python without all packages."""

import os
from importlib.util import find_spec

import pytest

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals, pipes and programs")
HAS_ALL = all(map(find_spec, ("diffusers", "insightface", "playwright")))
with_all_packages = pytest.mark.skipif(not HAS_ALL, reason="a package of requirements/tests.txt is missing")
"""Of tests that run scripts/test.py in this Python."""
STOPS = ["SIGTERM", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("SIGHUP", "SIGINT"))]
"""As a service manager, a terminal that is closed, and Ctrl-C stop a script."""
