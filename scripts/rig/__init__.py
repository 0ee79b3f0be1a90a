"""What demo.py, bench.py and the tests run on: hosts, stand-in models, photos, workflow files as prompts."""

import sys

from environment import ROOT

# For the pack's core, behind everything else, so that no module of a host is hidden.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
