"""The folders in which loaders look for model files: those of a ComfyUI, or those below a models folder alone."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import environment
from environment import Host, SetupError, say

from .pack import load_host, load_pack

Folders = dict[str, tuple[str, ...]]
"""Model key -> the folders searched for it, of which the first is where a download goes; "" -> the folder that holds
all of them."""

SECOND_FOLDERS = {"diffusion_models": "unet", "text_encoders": "clip", "controlnet": "t2i_adapter"}
"""Model key -> the folder below a models folder in which ComfyUI looks for the same files as well."""
_OF_OUTPUT = {
    "checkpoints": "checkpoints",
    "clip": "clip",
    "vae": "vae",
    "diffusion_models": "diffusion_models",
    "loras": "loras",
}
"""Model key -> the folder below output/ into which nodes of ComfyUI save such a file."""
_OTHER_PYTHON = (
    "Run this with the Python that runs ComfyUI, or with that of .venv, which demo.py makes; download needs no such "
    "Python if --models names the models folder."
)


def entered(script: str, python: str | None, modules: Sequence[str] = ()) -> None:
    """In a Python that has these modules as well: the pack, the first ComfyUI found, and what tests are run on.

    python: one that has everything already. Raises SetupError.
    """
    hosts = environment.required_hosts(script)
    environment.enter(environment.python_for(hosts, python, modules))
    load_pack()
    load_host(str(hosts[0].path))
    add_folders(hosts[0])
    logging.getLogger("likeness").setLevel(logging.ERROR)  # such people are small


def searched(models: Path | None, keys: Iterable[str]) -> Folders:
    """The folders in which a script looks for models: those below `models`, else all of the ComfyUI that is found.

    keys: of the models. Raises SetupError.
    """
    if models is not None:
        require_folder(models)
        return below(models, keys)
    data = environment.data_folder()
    if data is not None and not os.environ.get("COMFYUI_PATH"):  # which ComfyUI starts with it is not known
        say(f"Looking into {data / 'models'}; set COMFYUI_PATH for the other folders of your ComfyUI.")
        return below(data / "models", keys)
    hosts = environment.find_hosts()
    if not hosts:
        raise SetupError("There is no ComfyUI here. Name its models folder: --models ComfyUI/models")
    say(f"Looking into the model folders of {hosts[0]} ({hosts[0].path}).")
    return of_host(hosts[0])


def require_folder(models: Path) -> None:
    """Raises SetupError where the models folder that the user names is none."""
    if not models.is_dir():
        raise SetupError(f"There is no folder {models}. Name the models folder of your ComfyUI, or make this one.")


def below(models: Path, keys: Iterable[str]) -> Folders:
    """The folders of these model keys below a models folder."""
    folders: Folders = {"": (str(models),)}
    for key in keys:
        names = [key]
        if key in SECOND_FOLDERS:
            names.append(SECOND_FOLDERS[key])
        folders[key] = tuple(str(models / name) for name in names)
    return folders


def of_host(host: Host) -> Folders:
    """The folders of a ComfyUI as it has them when it starts: its own, those of its extra_model_paths.yaml, and ours.

    Those of the folder in which this pack sits, see `environment.data_folder`, come first. The modules of that ComfyUI
    come into this process. Folders that other packs add, and those of options that ComfyUI is started with, are not
    among them. Raises SetupError where this Python cannot read them.
    """
    load_pack()
    try:
        load_host(str(host.path), on_cpu=True)
        from pack.bridge.host import folders  # its package imports torch
    except ImportError as error:
        raise SetupError(f"{host} needs {error.name}, which this Python does not have. {_OTHER_PYTHON}") from error

    add_folders(host)
    folders.register()
    data = environment.data_folder()
    if data is not None:
        _add_data(data)
    return folders.folders_by_key()


def add_folders(host: Host) -> None:
    """Make known what ComfyUI's main.py, which cannot be imported, makes known when it starts: the folders of
    extra_model_paths.yaml and those that it saves models into. Its modules are in this process. Raises SetupError."""
    import folder_paths

    extra = host.path / "extra_model_paths.yaml"
    if extra.is_file():
        _add_extra(extra)
    for key, name in _OF_OUTPUT.items():
        folder_paths.add_model_folder_path(key, str(Path(folder_paths.get_output_directory()) / name))


def _add_data(data: Path) -> None:
    """Make the folders of a data folder known, in front of those beside the code, and those that Desktop names for it.
    Raises SetupError."""
    import folder_paths

    own, models = Path(folder_paths.models_dir), data / "models"
    for key, (paths, *_) in tuple(folder_paths.folder_names_and_paths.items()):
        below_own = [path for path in paths if Path(path).is_relative_to(own)]
        for path in reversed(below_own):  # each goes to the front
            folder = str(models / Path(path).relative_to(own))
            folder_paths.add_model_folder_path(key, folder, is_default=True)
    folder_paths.models_dir = str(models)
    config = environment.desktop_config()
    if config.is_file() and str(data) in config.read_text("utf-8", errors="replace"):
        _add_extra(config)


def require_lasting(folders: Folders) -> None:
    """Raises SetupError where downloads would go into the folder of an application, which its updates replace."""
    models = Path(folders[""][0])
    if models.parent.parent.name.lower() == "resources":  # as Desktop has it: .../resources/ComfyUI/models
        raise SetupError(
            f"{models} belongs to an application, whose next update would replace it. Name the folder in which your "
            "models lie: --models DIR"
        )


def _add_extra(file: Path) -> None:
    """Make the folders of an extra_model_paths.yaml known to the ComfyUI in this process. Raises SetupError."""
    lines = file.read_text("utf-8", errors="replace").splitlines()
    if all(line.split("#")[0].strip() in ("", "---") for line in lines):
        raise SetupError(
            f"{file} names no folder, and ComfyUI does not start with such a file. Delete it, or name folders in it as "
            "extra_model_paths.yaml.example does."
        )
    try:
        importlib.import_module("utils.extra_config").load_extra_path_config(str(file))
    except ImportError as error:
        raise SetupError(f"To read {file}, {error.name} is needed. {_OTHER_PYTHON}") from error
    except Exception as error:  # ComfyUI raises whatever a damaged file leads to, and does not start with it either
        raise SetupError(
            f"{file} cannot be read: {error}. Mend it, or name the models folder with --models."
        ) from error
