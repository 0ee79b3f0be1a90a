"""A node that a worker's ComfyUI has beside the pack: a file of what no node of the pack puts beside the pictures."""

import json
import sys
import uuid
from dataclasses import asdict
from pathlib import Path

import folder_paths
from safetensors.torch import save


class AsFile:
    """A file of what Measure Likeness finds, what Check Model Files says, or a person as Save Person writes them."""

    CATEGORY = "likeness/batch"
    FUNCTION = "write"
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - as ComfyUI calls it
        return {"required": {"content": ("LIKENESS_REPORT,LIKENESS_PERSON,STRING", {"forceInput": True})}}

    def write(self, content):
        if isinstance(content, str):
            ending = ".txt"
            data = diagnosis(content)
        elif hasattr(content, "crops"):
            ending = ".safetensors"
            data = person(content)
        else:
            ending = ".report"
            data = measurement(content)
        if not data:
            return {}
        path = Path(folder_paths.get_output_directory()) / f"{uuid.uuid4().hex}{ending}"
        path.write_bytes(data)
        return {"ui": {"files": [{"filename": path.name, "subfolder": "", "type": "output"}]}}


def diagnosis(text):
    """What Check Model Files says. Where it names the worker's models folder, which ends with the worker, the folder of
    its ComfyUI is meant."""
    lasting = str(Path(folder_paths.__file__ or "").parent / "models")
    return text.replace(folder_paths.models_dir, lasting).encode()


def person(identity):
    """A saved person; nothing where no photo has shown a face."""
    if not len(identity.crops):
        return b""
    # A module of the pack, which has another name in every ComfyUI.
    identities = sys.modules[type(identity).__module__.removesuffix("people") + "identities"]
    return save(*identities.to_tensors(identity))


def measurement(report):
    """The numbers of Measure Likeness."""
    numbers = {
        "names": report.names,
        "places": report.numbers if report.has_places else None,
        "labels": report.labels,
        "method": report.method,
        "pictures": {},
    }
    for recogniser in report.recognisers:
        numbers["pictures"][recogniser] = [asdict(picture) for picture in report.pictures[recogniser]]
    return json.dumps(numbers).encode()


NODE_CLASS_MAPPINGS = {"LikenessAsFile": AsFile}
