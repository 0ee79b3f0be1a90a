"""Nodes that a worker's ComfyUI has beside the pack: files of what no node of the pack puts beside the pictures."""

import json
import uuid
from dataclasses import asdict
from pathlib import Path

import folder_paths


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


class DiagnosisAsFile(_Output):
    """What Likeness Doctor says. Where it names the worker's own models folder, which ends with the worker, that of its
    ComfyUI is meant."""

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"report": ("STRING", {"forceInput": True})}}

    def write(self, report):
        lasting = str(Path(folder_paths.__file__ or "").parent / "models")
        return self.file(".txt", report.replace(folder_paths.models_dir, lasting).encode())


NODE_CLASS_MAPPINGS = {
    "LikenessReportAsFile": ReportAsFile,
    "LikenessDiagnosisAsFile": DiagnosisAsFile,
}
