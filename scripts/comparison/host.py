"""Pictures by the host itself, in this process: its nodes and ours, its executor and cache, and the seconds."""

from __future__ import annotations

import asyncio
import copy
import importlib
import inspect
import json
import logging
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import comfy.model_management
import comfyui_version
import execution
import folder_paths
import torch
from pack.core.models import workflow_needs
from pack.core.pictures.previews import as_tensor
from pack.nodes.extension import NODES
from PIL import Image

from .drawn import Drawn, save
from .graphs import Graph
from .prompts import PICTURE, SAMPLERS, steps_of

HOST_NODES: Any = importlib.import_module("nodes")
"""The host's module of its own nodes, whose names a checker would look for in our folder `nodes`."""
_NO_CACHE_LIMITS = {"lru": 0, "ram": 0.0, "ram_inactive": 0.0}
"""Of the host's classic cache, which keeps what the prompt before has made."""
_UNFINISHED = ".unfinished"
"""The folder below that of the pictures into which the host saves each before it has its own name."""
_LOADS = ("Loader", "Load")
"""Parts of the names of nodes that load files, whose seconds are not those of a picture."""


class DrawingError(Exception):
    """A picture that the host could not draw; the text is the error of the node. node: its type."""

    def __init__(self, node: str, why: str) -> None:
        self.node = node
        super().__init__(f"{node}: {why}")


class _Listener:
    """Stands in the place of the host's server: it notes when each node begins."""

    def __init__(self) -> None:
        self.client_id: str | None = None
        self.last_node_id: str | None = None
        self.begun: list[tuple[str | None, float]] = []
        """Ids of nodes in the order in which they run, and the second at which each begins; None for the end."""

    def send_sync(self, event: str, data: Any, sid: str | None = None) -> None:
        """Called by the host's executor. event: its name, of which "executing" tells the node that begins."""
        if event in ("executing", "execution_success"):
            _wait_for_device()
            self.begun.append((data.get("node"), time.perf_counter()))

    def queue_updated(self) -> None:
        """Called by the host where the queue changes; here there is none."""

    def send_progress_text(self, text: str, node_id: str, sid: str | None = None) -> None:
        """Called by nodes that show a text, such as Get Image Size; here nobody reads it."""


class Host:
    """The host in this process. output: the folder of the pictures. folder: of the photos and LoRAs of people."""

    def __init__(self, output: Path, folder: Path) -> None:
        folder_paths.set_output_directory(str(output))
        folder_paths.set_input_directory(str(folder))
        folder_paths.add_model_folder_path("loras", str(folder))
        self.output = output
        shutil.rmtree(output / _UNFINISHED, ignore_errors=True)  # of a run that was killed
        self._count = 0
        self._listener = _Listener()
        server = host_server()
        if not hasattr(server.PromptServer, "instance"):
            server.PromptServer.instance = self._listener  # for nodes that show texts
        self.object_info = described(all_nodes())
        options: list[Any] = []
        if "cache_type" in inspect.signature(execution.PromptExecutor.__init__).parameters:
            options = [execution.CacheType.CLASSIC, _NO_CACHE_LIMITS]
        self._executor = execution.PromptExecutor(self._listener, *options)

    @property
    def device(self) -> str:
        """The name of the device that computes."""
        device = comfy.model_management.get_torch_device()
        if device.type == "cuda":
            return torch.cuda.get_device_name(device)
        return str(device)

    @property
    def made_with(self) -> dict[str, str]:
        """What the seconds of pictures depend on beside their prompts and files."""
        return {
            "device": self.device,
            "ComfyUI": comfyui_version.__version__,
            "torch": torch.__version__,
        }

    def draw(self, graph: Graph, path: Path) -> Drawn:
        """Draw the picture of a prompt and save it. The file is there whole or not at all.

        path: of the PNG. Raises DrawingError with the message of the node that fails.
        """
        self._listener.begun = []
        self._count += 1
        # A copy, because the host notes in a prompt when its files were changed, with their paths. Each picture has a
        # name of its own, because the host names the file of an equal prompt again, which is no longer there.
        prompt = copy.deepcopy(graph.prompt)
        prompt[PICTURE]["inputs"]["filename_prefix"] = f"{_UNFINISHED}/{self._count}"
        self._executor.execute(prompt, "compare", {"client_id": "compare"}, [PICTURE])
        if not self._executor.success:
            raise _error_of(self._executor.status_messages)
        saved = self._executor.history_result["outputs"][PICTURE]["images"][0]
        drawn_path = Path(self.output, saved["subfolder"], saved["filename"])
        with Image.open(drawn_path) as opened:
            picture = opened.convert("RGB")
        shutil.rmtree(drawn_path.parent)
        seconds, sampler_seconds = self._seconds(graph)
        step_seconds = None
        if sampler_seconds:
            step_seconds = sampler_seconds / max(1, steps_of(graph))
        save(picture, path, graph)
        return Drawn(path, as_tensor(picture), seconds, step_seconds)

    def _seconds(self, graph: Graph) -> tuple[float | None, float]:
        """The seconds of the nodes that ran, without those that load files, and of the samplers among them."""
        seconds = 0.0
        sampler_seconds = 0.0
        for (node_id, begin), (_, end) in pairwise(self._listener.begun):
            if node_id is None:
                continue
            class_type = graph.prompt[node_id]["class_type"]
            if not any(part in class_type for part in _LOADS):
                seconds += end - begin
            if class_type in SAMPLERS:
                sampler_seconds += end - begin
        return (seconds if sampler_seconds else None), sampler_seconds


def host_server() -> Any:
    """The host's module `server`. ComfyUI 0.3.64 puts its folder comfy first, where there is another `utils`."""
    root = str(Path(inspect.getfile(folder_paths)).parent)
    sys.path.insert(0, root)
    try:
        return importlib.import_module("server")
    finally:
        sys.path.remove(root)


def _wait_for_device() -> None:
    """Until the device has computed all that it was given: CUDA answers before."""
    if comfy.model_management.get_torch_device().type == "cuda":
        torch.cuda.synchronize()


def _error_of(messages: list[tuple[str, Mapping[str, Any]]]) -> DrawingError:
    """The error of the node that failed, its message in one line."""
    for event, data in messages:
        if event == "execution_error":
            return DrawingError(data["node_type"], " ".join(str(data["exception_message"]).split()))
    return DrawingError("ComfyUI", "it did not draw the picture, and named no node.")


def all_nodes() -> dict[str, Any]:
    """The host's own nodes, those of its extras and ours, by their ids."""
    if "GetImageSize" not in HOST_NODES.NODE_CLASS_MAPPINGS:
        logging.disable(logging.WARNING)  # extras that need a server say so, and are not used here
        try:
            asyncio.run(HOST_NODES.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False))
        finally:
            logging.disable(logging.NOTSET)
    for node in NODES:
        HOST_NODES.NODE_CLASS_MAPPINGS[node.define_schema().node_id] = node
    return HOST_NODES.NODE_CLASS_MAPPINGS


def described(classes: Mapping[str, Any]) -> dict[str, Any]:
    """What /object_info answers of these nodes, as far as a prompt needs it. A node that cannot say it is left out."""
    info: dict[str, Any] = {}
    for node_id, node_class in classes.items():
        try:
            if hasattr(node_class, "GET_NODE_INFO_V1"):
                # As JSON: what is an enumeration or a tuple becomes a text or a list.
                told = json.loads(json.dumps(node_class.GET_NODE_INFO_V1(), default=str))
                # Of which pack it is, is known to a server alone.
                info[node_id] = {key: value for key, value in told.items() if key != "python_module" or value}
            else:
                inputs = json.loads(json.dumps(node_class.INPUT_TYPES(), default=str))
                info[node_id] = {"input": inputs, "display_name": node_id}
        except Exception:  # noqa: BLE001 - nodes of the host that we do not use may need what is not here
            continue
    return info


@dataclass(frozen=True)
class MissingFile:
    """A model file that a prompt names and nobody has. folder: below models/. name: as the loader shows it."""

    folder: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} in models/{self.folder}"


def missing_files(graph: Graph) -> list[MissingFile]:
    """The model files that the loaders of a prompt name and that are in no model folder of the host."""
    missing: list[MissingFile] = []
    for file in workflow_needs.loaded(graph.prompt):
        if not any(folder_paths.get_full_path(key, file.name) for key in (file.key, *file.further)):
            missing.append(MissingFile(file.key, file.name))
    return missing
