"""Every file of the toy model, and pictures to try it with, written once per version of it."""

import hashlib
import shutil
from pathlib import Path

from environment import CACHE, say
from shared.standins import Files, copy_face_pack
from shared.versions import version_folder

from . import export, export_parts2whole, garments, stored


def build() -> Files:
    pictures = sorted(garments.FOLDER.iterdir())
    sources = [*stored.FILES.values(), *sorted(Path(__file__).parent.glob("*.py")), *pictures]
    recipe = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    return export.files(version_folder(CACHE / "toy" / recipe, _everything))


def _everything(root: Path) -> None:
    say(f"Writing the toy model (1.1 GB) into {CACHE / 'toy'}.")
    to = export.files(root)
    export.write(to)
    export_parts2whole.write(to)
    copy_face_pack(to.face_pack)
    shutil.copytree(garments.FOLDER, root / "input")
