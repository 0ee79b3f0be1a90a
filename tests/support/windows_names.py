"""A pack for a host under test whose menus of files are written as Windows writes them."""

from pathlib import Path

_SOURCE = """
import folder_paths

_listed = folder_paths.get_filename_list


def get_filename_list(folder_name):
    return [name.replace("/", "\\\\") for name in _listed(folder_name)]


folder_paths.get_filename_list = get_filename_list
NODE_CLASS_MAPPINGS = {}
"""


def made(folder: Path) -> Path:
    """The pack, in a folder of its own below `folder`."""
    pack = folder / "windows_names"
    pack.mkdir(parents=True)
    (pack / "__init__.py").write_text(_SOURCE, "utf-8")
    return pack
