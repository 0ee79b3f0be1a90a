"""Which model files the demo uses: the real ones where ComfyUI has them, else the miniature, and it says which."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.models import manifest
from core.models.formats import identify
from core.models.packs import IR_SE50
from core.models.tensors import shapes
from rig import workflow
from rig.standins import PREFIX, Files

CHECKPOINT = "CheckpointLoaderSimple.ckpt_name"
CONTROL_NET = "ControlNetLoader.control_net_name"
PROJECTIONS = "LikenessLoadAdapter.file"
FACE_PACK = "LikenessLoadFaceModel.pack"
MINIATURE = "miniature: a cartoon stand-in"
CARTOON = (
    "So the picture comes from a miniature, a model of six megabytes trained on drawn people: a cartoon stand-in. It "
    "shows that everybody gets their own look in their own place, and says nothing about the quality of the released "
    "weights."
)
RECOGNISER = manifest.model(IR_SE50).name


@dataclass(frozen=True)
class Weights:
    """inputs: "NodeClass.input" -> file. missing: real files that are not there; if there is one, all but the face pack
    are the miniature's, because the miniature and real files know nothing of each other."""

    inputs: dict[str, str]
    missing: tuple[str, ...]
    real_recogniser: bool

    @property
    def real(self) -> bool:
        """Whether the picture will be more than a cartoon."""
        return not self.missing

    def lines(self) -> list[str]:
        """For people: what is real and what is not."""
        if self.real:
            return [f"Real weights: {', '.join(self.inputs.values())}"]
        return [f"Not in this ComfyUI's model folders: {', '.join(self.missing)}", CARTOON]

    def report(self) -> list[dict[str, str]]:
        kinds = {role: "real" if self.real or role == FACE_PACK else MINIATURE for role in self.inputs}
        files = [{"input": role, "file": file, "weights": kinds[role]} for role, file in self.inputs.items()]
        kind = "real" if self.real else MINIATURE
        return [*files, {"input": IR_SE50, "file": RECOGNISER, "weights": kind}]


def choose(
    prompt: workflow.Prompt, known: Mapping[str, Any], facexlib: Collection[str], checkpoints: Path, models: Files
) -> Weights:
    """The files for a prompt.

    known: /object_info. facexlib: files the host lists under that key. checkpoints: the host's own folder of them.
    """
    cartoon = {CHECKPOINT: models.checkpoint.name, CONTROL_NET: models.control_net.name}
    cartoon[PROJECTIONS] = models.id_patch.name
    # Other names than the workflow's that will do as well.
    fits: dict[str, Callable[[str], bool]] = {
        CHECKPOINT: lambda name: is_sdxl(checkpoints / name),
        CONTROL_NET: lambda name: "idpatch" in "".join(filter(str.isalnum, name.lower())),
        PROJECTIONS: lambda _: True,
    }
    named = {
        f"{node['class_type']}.{name}": value for node in prompt.values() for name, value in node["inputs"].items()
    }
    chosen: dict[str, str] = {}
    for role, fit in fits.items():
        offered = sorted(workflow.options(known, *role.split(".")), key=lambda name: name != named[role])
        real = next((n for n in offered if not _is_standin(n) and (n == named[role] or fit(n))), None)
        if real:
            chosen[role] = real
    recogniser = any("ir_se50" in name and not _is_standin(name) for name in facexlib)
    missing = (*(named[role] for role in fits if role not in chosen), *(() if recogniser else (RECOGNISER,)))
    packs = workflow.options(known, *FACE_PACK.split("."))
    best = (model.name for model in manifest.models() if model.format == "face-pack")
    pack = {FACE_PACK: next((pack for pack in best if pack in packs), packs[0])}
    return Weights({**(cartoon if missing else chosen), **pack}, missing, recogniser)


def _is_standin(name: str) -> bool:
    return name.startswith(PREFIX)


def is_sdxl(path: Path) -> bool:
    """Whether a safetensors checkpoint is of the SDXL family, for text to image; one that cannot be read is none."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        state = shapes(path)
    except (OSError, ValueError):
        return False
    known, picture = identify(state), state.get("model.diffusion_model.input_blocks.0.0.weight")
    return known is not None and known.id == "sdxl" and picture is not None and picture.shape[1] == 4
