"""What a worker's ComfyUI has beside the pack.

A node that makes a file of what no node of the pack puts beside the pictures, and the people of many rows.
"""

import json
import uuid
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import folder_paths

try:
    from comfy_execution.cache_provider import CacheProvider, register_cache_provider
except ImportError:  # an older one remembers the row before alone
    register_cache_provider = None
    CacheProvider = object

MOST_PEOPLE = 200


class People(CacheProvider):  # pyright: ignore[reportGeneralTypeIssues] - an older ComfyUI has none
    """The last people whom this ComfyUI has made of photos: ComfyUI itself forgets what a prompt does not use."""

    def __init__(self) -> None:
        self._made = OrderedDict[str, Any]()

    def should_cache(self, context: Any, value: Any = None) -> bool:
        return context.class_type == "LikenessPerson"

    async def on_lookup(self, context: Any) -> Any:
        if context.cache_key_hash in self._made:
            self._made.move_to_end(context.cache_key_hash)
        return self._made.get(context.cache_key_hash)

    async def on_store(self, context: Any, value: Any) -> None:
        self._made[context.cache_key_hash] = value
        if len(self._made) > MOST_PEOPLE:
            self._made.popitem(last=False)


if register_cache_provider:
    register_cache_provider(People())


class AsFile:
    """A file of what Measure Likeness finds, or what Check Model Files says."""

    CATEGORY = "likeness/batch"
    FUNCTION = "write"
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - as ComfyUI calls it
        return {"required": {"content": ("LIKENESS_REPORT,STRING", {"forceInput": True})}}

    def write(self, content: Any) -> dict[str, Any]:
        if isinstance(content, str):
            ending = ".txt"
            data = diagnosis(content)
        else:
            ending = ".report"
            data = measurement(content)
        path = Path(folder_paths.get_output_directory()) / f"{uuid.uuid4().hex}{ending}"
        path.write_bytes(data)
        return {"ui": {"files": [{"filename": path.name, "subfolder": "", "type": "output"}]}}


def diagnosis(text: str) -> bytes:
    """What Check Model Files says. Where it names the worker's models folder, which ends with the worker, the folder of
    its ComfyUI is meant."""
    lasting = str(Path(folder_paths.__file__ or "").parent / "models")
    return text.replace(folder_paths.models_dir, lasting).encode()


def measurement(report: Any) -> bytes:
    """The numbers of Measure Likeness."""
    numbers: dict[str, Any] = {
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
