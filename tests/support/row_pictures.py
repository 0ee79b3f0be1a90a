"""Samples every row of tests/every_method on the CPU, in a process of its own, for a test that samples it on a card.

    LIKENESS_TEST_DEVICE=cpu COMFYUI_PATH=... python tests/support/row_pictures.py FILE

FILE: a safetensors file with the latents of every way through every row, named by `with_node` and `without_node`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def with_node(row: object) -> str:
    """The name of the latent with the row's node."""
    return f"{row}: with"


def without_node(row: object) -> str:
    """The name of the latent with the row's node bypassed."""
    return f"{row}: without"


def write(file: Path) -> None:
    import method_rows
    from safetensors.torch import save_file

    latents = {}
    for row in method_rows.with_variants(method_rows.rows()):
        if row.runs_here:
            latents[with_node(row)] = method_rows.picture(row).contiguous().clone()
            latents[without_node(row)] = method_rows.picture(row, "plain").contiguous().clone()
    save_file(latents, file)


if __name__ == "__main__":
    sys.path += [str(ROOT / "scripts"), str(ROOT / "tests" / "support")]
    from shared.pack import load_host, load_pack
    from tiny import devices

    load_pack()
    load_host(os.environ["COMFYUI_PATH"], on_cpu=True)
    devices.compute_exactly()
    import pack.nodes.extension  # noqa: F401

    write(Path(sys.argv[1]))
