"""Which model files the demo uses: the real ones where ComfyUI has them, else the miniature, and it says which."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from core.models import manifest
from core.models.packs import IR_SE50
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


def choose(prompt: workflow.Prompt, known: Mapping[str, Any], facexlib: Collection[str], models: Files) -> Weights:
    """The files for a prompt: those that it names, or the miniature's.

    known: /object_info. facexlib: files the host lists under that key.
    """
    cartoon = {CHECKPOINT: models.checkpoint.name, CONTROL_NET: models.control_net.name}
    cartoon[PROJECTIONS] = models.id_patch.name
    named = {
        f"{node['class_type']}.{name}": value for node in prompt.values() for name, value in node["inputs"].items()
    }
    chosen = {role: named[role] for role in cartoon if named[role] in workflow.options(known, *role.split("."))}
    recogniser = any("ir_se50" in name and not name.startswith(PREFIX) for name in facexlib)
    missing = (*(named[role] for role in cartoon if role not in chosen), *(() if recogniser else (RECOGNISER,)))
    packs = workflow.options(known, *FACE_PACK.split("."))
    best = (model.name for model in manifest.models() if model.format == "face-pack")
    pack = {FACE_PACK: next((pack for pack in best if pack in packs), packs[0])}
    return Weights({**(cartoon if missing else chosen), **pack}, missing, recogniser)
