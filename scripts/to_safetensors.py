"""Makes one safetensors file, which nothing has to unpickle, of what others release as pickles or folders.

    python scripts/to_safetensors.py ../../models/id_patch/id-patch.bin
    python scripts/to_safetensors.py ../../models/instantid/ip-adapter.bin
    python scripts/to_safetensors.py ../../models/ipadapter/ip-adapter-faceid_sd15.bin
    python scripts/to_safetensors.py ../../models/infiniteyou/image_proj_model.bin
    python scripts/to_safetensors.py ../../models/facexlib/recognition_arcface_ir_se50.pth
    python scripts/to_safetensors.py ../../models/parts2whole/Parts2Whole

Run it in the pack's folder with the Python that runs ComfyUI. The new file stands beside the old one, loads the same,
and says in its metadata what it was made of.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

try:
    from core.errors import LikenessError
    from core.models.convert import convert
except ImportError as error:
    sys.exit(f"This needs {error.name}: run it with the Python that runs ComfyUI.")


def path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return Path(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=path, help="a pickle, or the folder of Parts2Whole")
    try:
        print(convert(parser.parse_args().source))
    except (LikenessError, OSError) as problem:
        sys.exit(str(problem))
