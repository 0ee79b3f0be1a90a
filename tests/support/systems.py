"""What Windows cannot run."""

import os

import pytest

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals, pipes and programs")
STOPS = ["SIGTERM", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("SIGHUP", "SIGINT"))]
"""As a service manager, a terminal that is closed, and Ctrl-C stop a script."""
