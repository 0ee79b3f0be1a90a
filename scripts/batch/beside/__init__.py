"""Nodes of a worker's ComfyUI beside the pack: parts measured without people, and a file of what was measured."""

import json
import sys
import uuid
from dataclasses import asdict, replace
from pathlib import Path

import folder_paths


class MeasureParts:
    """One more judge in a report, the vision model, which has seen the parts and nobody. Computed by the function that
    Measure Likeness calls, which itself asks for people."""

    CATEGORY, FUNCTION, RETURN_TYPES = "likeness/batch", "measure", ("LIKENESS_REPORT",)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - as ComfyUI calls it
        kinds = {"parts": "LIKENESS_PARTS", "images": "IMAGE", "clip_vision": "CLIP_VISION", "judge": "STRING"}
        return {
            "required": {name: (kind, {"forceInput": name != "judge"}) for name, kind in kinds.items()},
            "optional": {"report": ("LIKENESS_REPORT",)},
        }

    def measure(self, parts, images, clip_vision, judge, report=None):
        loaded = sys.modules["nodes"].NODE_CLASS_MAPPINGS  # the host's, by whatever name it has loaded the pack
        ours = sys.modules[loaded["LikenessMeasure"].__module__]
        alike = ours.similarities(clip_vision, parts.present, ours.as_rgb(images))
        before = report or ours.measure.Report((), (), {})
        seen = {judge: tuple(ours.measure.Measured((), (), tuple(one)) for one in alike)}
        labels = tuple(part.label for part in parts.present)
        judges, pictures = (*before.recognisers, judge), {**before.pictures, **seen}
        return (replace(before, recognisers=judges, pictures=pictures, labels=labels),)


class AsFile:
    """What was measured, or what Likeness Doctor says: where that names the worker's own models folder, which
    ends with the worker, the one of its ComfyUI is meant."""

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
                "places": report.numbers if report.people and report.placed else None,
                "method": report.method,
                "labels": report.labels,
                "pictures": {name: [asdict(one) for one in report.pictures[name]] for name in report.recognisers},
            }
            ending, text = ".report", json.dumps(numbers)
        path = Path(folder_paths.get_output_directory()) / f"{uuid.uuid4().hex}{ending}"
        path.write_text(text, "utf-8")
        return {"ui": {"files": [{"filename": path.name, "subfolder": "", "type": "output"}]}}


NODE_CLASS_MAPPINGS = {"LikenessAsFile": AsFile, "LikenessMeasureParts": MeasureParts}
