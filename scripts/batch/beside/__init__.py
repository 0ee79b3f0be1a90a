"""A node that a worker's ComfyUI has beside the pack: a file of what no node of the pack puts beside the pictures."""

import json
import uuid
from dataclasses import asdict
from pathlib import Path

import folder_paths


class AsFile:
    """What Measure Likeness found, or what Check Model Files says: where that names the worker's own models folder,
    which ends with the worker, the one of its ComfyUI is meant."""

    CATEGORY, FUNCTION, OUTPUT_NODE, RETURN_TYPES = "likeness/batch", "write", True, ()

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - as ComfyUI calls it
        return {"required": {"report": ("LIKENESS_REPORT,STRING", {"forceInput": True})}}

    def write(self, report):
        if isinstance(report, str):
            lasting = str(Path(folder_paths.__file__ or "").parent / "models")
            ending, text = ".txt", report.replace(folder_paths.models_dir, lasting)
        else:
            numbers = {
                "names": report.names,
                "places": report.numbers if report.has_places else None,
                "labels": report.labels,
                "method": report.method,
                "pictures": {name: [asdict(one) for one in report.pictures[name]] for name in report.recognisers},
            }
            ending, text = ".report", json.dumps(numbers)
        path = Path(folder_paths.get_output_directory()) / f"{uuid.uuid4().hex}{ending}"
        path.write_text(text, "utf-8")
        return {"ui": {"files": [{"filename": path.name, "subfolder": "", "type": "output"}]}}


NODE_CLASS_MAPPINGS = {"LikenessAsFile": AsFile}
