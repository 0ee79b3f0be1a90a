"""The published tensors of facexlib's IR-SE50 from a seed, and the crops of its golden file.

One generator walks the sorted keys of core.faces.ir_se50.published_shapes(): running_var is 0.5 + u (uniform),
PReLU slopes are 0.25 + 0.1 r, the weights of batch norms 1 + 0.1 r, other vectors 0.1 r, everything else
r / sqrt(elements of one output row). The golden file is what facexlib's own module makes of them:

    python tests/support/arcface_seeded.py FACEXLIB_FOLDER   (0.3.0 from PyPI; its recognition/arcface_arch.py)
"""

import math
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

SEED = 50
_SLOPES = re.compile(r"(input_layer|res_layer)\.2\.weight$")


def published_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    return {key: _tensor(key, shapes[key], generator) for key in sorted(shapes)}


def _tensor(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if key.endswith("running_var"):
        return 0.5 + torch.rand(shape, generator=generator)
    r = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return r / math.sqrt(r[0].numel())
    if _SLOPES.search(key):
        return 0.25 + 0.1 * r
    return 1 + 0.1 * r if key.endswith("weight") else 0.1 * r


def crops() -> Tensor:
    """(2, 112, 112, 3) 8-bit."""
    return torch.randint(0, 256, (2, 112, 112, 3), generator=torch.Generator().manual_seed(SEED), dtype=torch.uint8)


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [sys.argv[1], str(root)]
    from facexlib.recognition.arcface_arch import Backbone

    network = Backbone(50, 0.6, "ir_se").eval()
    known = {name: tuple(value.shape) for name, value in network.state_dict().items() if value.ndim}
    network.load_state_dict(published_state(known), strict=False)
    with torch.inference_mode():
        rows = network(2 * (crops().permute(0, 3, 1, 2).contiguous().float() / 255) - 1)
    made = "facexlib 0.3.0 (PyPI), Backbone(50, 0.6, 'ir_se'), tests/support/arcface_seeded.py"
    about = {"provenance": f"{made}, torch {torch.__version__}"}
    save_file({"embeddings": rows}, root / "tests/golden/arcface_ir_se50.safetensors", metadata=about)
