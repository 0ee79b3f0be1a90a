"""Faces are found and recognised on one thread."""

import one_thread  # noqa: F401
