"""What batch.py is made of: rows, where they go into a workflow, the workers, the folder pictures come into."""

import shared  # noqa: F401 - it puts the pack's folder onto the path, from which `core` is imported here
