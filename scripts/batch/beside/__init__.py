"""Nodes that a worker's ComfyUI has beside the pack: files of what no node of the pack puts beside the pictures."""

import json
import sys
import uuid
from dataclasses import asdict
from pathlib import Path

import folder_paths
from safetensors.torch import save


class _Output:
    CATEGORY, FUNCTION, OUTPUT_NODE, RETURN_TYPES = "likeness/batch", "write", True, ()

    def file(self, ending, data):
        path = Path(folder_paths.get_output_directory()) / f"{uuid.uuid4().hex}{ending}"
        path.write_bytes(data)
        return {"ui": {"files": [{"filename": path.name, "subfolder": "", "type": "output"}]}}


class ReportAsFile(_Output):
    """What Measure Likeness found."""

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - as ComfyUI calls it
        return {"required": {"report": ("LIKENESS_REPORT",)}}

    def write(self, report):
        numbers = {
            "names": report.names,
            "places": report.numbers if report.placed else None,
            "method": report.method,
            "pictures": {name: [asdict(one) for one in report.pictures[name]] for name in report.recognisers},
        }
        return self.file(".report", json.dumps(numbers).encode())


class IdentityAsFile(_Output):
    """A person as Save Identity writes them."""

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"identity": ("LIKENESS_IDENTITY",)}}

    def write(self, identity):
        if not len(identity.crops):
            raise ValueError(f"{identity.name} has no photo with a face.")
        # Of the pack, which has another name in every ComfyUI.
        identities = sys.modules[type(identity).__module__.removesuffix("people") + "identities"]
        return self.file(".safetensors", save(*identities.to_tensors(identity)))


class TextAsFile(_Output):
    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"text": ("STRING", {"forceInput": True})}}

    def write(self, text):
        return self.file(".txt", text.encode())


NODE_CLASS_MAPPINGS = {
    "LikenessReportAsFile": ReportAsFile,
    "LikenessIdentityAsFile": IdentityAsFile,
    "LikenessTextAsFile": TextAsFile,
}
