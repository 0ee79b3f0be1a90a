"""A pack for a host under test that lists files as Windows writes their names."""

from pathlib import Path

_SOURCE = r'''
import folder_paths
from app.model_manager import ModelFileManager

_listed = folder_paths.get_filename_list
_model_files = ModelFileManager.get_model_file_list


def get_filename_list(folder_name):
    """The menus."""
    return [name.replace("/", "\\") for name in _listed(folder_name)]


def get_model_file_list(self, folder_name):
    """By which frontends tell whether a model that a workflow offers is missing."""
    return [{**file, "name": file["name"].replace("/", "\\")} for file in _model_files(self, folder_name)]


folder_paths.get_filename_list = get_filename_list
ModelFileManager.get_model_file_list = get_model_file_list
NODE_CLASS_MAPPINGS = {}
'''


def made(folder: Path) -> Path:
    """The pack, in a folder of its own below `folder`."""
    pack = folder / "windows_names"
    pack.mkdir(parents=True)
    (pack / "__init__.py").write_text(_SOURCE, "utf-8")
    return pack
