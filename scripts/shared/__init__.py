"""What scripts and tests run on: hosts, stand-in models, photos, downloads, workflow files as prompts."""

import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parents[2]

# For the pack's core, behind everything else, so that no module of a host is hidden.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
