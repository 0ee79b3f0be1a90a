"""Model folders: registered once, without taking anything from whoever registered the same key before us."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import folder_paths

from ...core.checks.errors import BadInput, LikenessError
from ...core.checks.names import among, ending
from ...core.checks.value_checks import named
from ...core.methods import methods
from ...core.models.files import WEIGHTS, Listing, dead_link, listing, spelled_otherwise, stamp

_KEYS: dict[str, tuple[str, ...]] = {
    "insightface": (".onnx", *WEIGHTS),
    "facexlib": WEIGHTS,
    **{method.key: WEIGHTS for method in methods() if method.key},
    "likeness_faces": (".safetensors",),
}
"""Model key, also the folder's name below models/ -> endings of the files that are listed."""

_NO_MODELS = ("custom_nodes", "configs")
"""Keys of the host's folders that hold no models, and many files."""


class UnsafePath(LikenessError):
    """A file name that points outside its folder."""

    def __init__(self, name: str, folder: str) -> None:
        super().__init__(
            f"The name {name!r} leads outside of {folder}.",
            "Use a plain name; sub-folders of that folder are fine, '..' and absolute paths are not.",
        )


class DeadLink(LikenessError):
    """A file in a model folder that is a link to where nothing is: its disk may not be there now."""

    def __init__(self, path: str, leads_to: str) -> None:
        super().__init__(
            f"{path} is a link to {leads_to}, and there is no file.",
            "Connect that disk, put the file there, or replace the link by the file itself.",
        )


def register() -> None:
    """Make our model keys known to the host, by writing into its table of folders.

    A key that exists already (another pack, extra_model_paths.yaml) keeps its folders and endings of files; ours are
    added behind them. Without our endings the host would list every file of a key that only extra_model_paths.yaml
    names.
    """
    for key in _KEYS:
        entry = _registered(key)  # its endings have ours already
        merged_paths = list(dict.fromkeys([*entry.paths, _default(key)]))  # each once, in order
        folder_paths.folder_names_and_paths[key] = (merged_paths, set(entry.endings), *entry.more)


class _Registered(NamedTuple):
    """What the host's table has under a model key.

    paths: of folders. endings: of the files that are listed; all files are where there is none. more: what another pack
    has put behind these two.
    """

    paths: Collection[str]
    endings: frozenset[str]
    more: Collection[Any]


def _registered(key: str) -> _Registered:
    """What the host's table has under a key. Our own keys always get our endings, and our folder where they have none.

    The table is read only here. Any pack writes into it, and the host takes nearly everything there, so this function
    does too: lists, sets or a single value, paths of any kind, too few or too many values. What is no path is left out.
    """
    entry: Any = folder_paths.folder_names_and_paths.get(key)
    # As the host has it: (paths, endings, whatever a pack has added). A single value is taken for the paths.
    values: Sequence[Any] = entry if isinstance(entry, (list, tuple)) else (entry,)
    paths = values[0] if values else None
    endings = values[1] if len(values) > 1 else None
    usable_paths = [path for path in _texts(paths) if path and "\0" not in path]
    if not usable_paths and key in _KEYS:
        usable_paths = [_default(key)]
    return _Registered(usable_paths, frozenset([*_texts(endings), *_KEYS.get(key, ())]), values[2:])


def _default(key: str) -> str:
    """The folder of a key of ours, where downloads go."""
    return os.path.join(folder_paths.models_dir, key)


def _texts(value: Any) -> list[str]:
    """A path of any kind, or several, as texts; what is no path is left out."""
    # Texts and mappings are collections too, and count as one item. Of a mapping, which is no path, nothing is left.
    is_single = isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Collection)
    items: Any = [value] if is_single else value
    texts: list[str] = []
    for item in items:
        with suppress(TypeError, ValueError):
            texts.append(os.fsdecode(item))
    return texts


def folders(*keys: str) -> list[str]:
    """Every folder searched for these keys, in the host's order, each once, without separators at their ends."""
    paths: list[str] = []
    for key in keys:
        for path in _registered(folder_paths.map_legacy(key)).paths:
            # extra_model_paths.yaml may name a folder with a separator at its end. Only the root of a drive needs one.
            is_root = os.path.dirname(path) == path
            paths.append(path if is_root else path.rstrip(f"/{os.sep}"))
    return list(dict.fromkeys(paths))


def folders_by_key() -> dict[str, tuple[str, ...]]:
    """Every model key of the host but _NO_MODELS -> its folders; "" -> the folder that holds them all.

    The host's old folder models/unet comes last in its key: downloads go into models/diffusion_models nowadays, which
    the host names behind it.
    """
    old_folder = os.path.join(folder_paths.models_dir, "unet")
    folders_of_keys: dict[str, tuple[str, ...]] = {}
    for key in list(folder_paths.folder_names_and_paths):
        if isinstance(key, str) and key not in _NO_MODELS:
            # A sort by False (any other folder) and True (the old one), which leaves the others in their order.
            old_folder_last = sorted(_registered(key).paths, key=lambda path: path == old_folder)
            folders_of_keys[key] = tuple(old_folder_last)
    folders_of_keys[""] = (folder_paths.models_dir,)
    return folders_of_keys


def file_names(key: str) -> list[str]:
    """Relative names of the files under this key, sorted, without repeats and without links to nowhere."""
    return list(_sorted_file_names(tuple(listing(folder) for folder in folders(key)), _registered(key).endings))


@lru_cache(maxsize=64)
def _sorted_file_names(listings: tuple[Listing, ...], endings: frozenset[str]) -> tuple[str, ...]:
    """The sorted names in these listings that have one of the endings; any, where there are none. It is remembered,
    because the host asks for menus often: a change in a folder gives another listing."""
    names = {file.name for files_below in listings for file in files_below.files}
    return tuple(sorted(name for name in names if not endings or ending(name) in endings))


def host_menu(key: str) -> list[str]:
    """The names in the host's own menus of these files; none where the host cannot read what stands in its table."""
    try:
        return folder_paths.get_filename_list(key)
    except (LookupError, TypeError):
        return []


def find(name: str, key: str) -> str | None:
    """Full path of the first file called `name` (relative, sub-folders allowed) under this key, or None.

    Where no file has exactly this name, the first one is taken whose name is the same in another spelling, see
    core.checks.names. None for an empty name, which an empty menu sends. Raises UnsafePath when the name leads out of
    the folder.
    """
    return find_exactly(name, key) or _spelled_otherwise(name, key)


def find_exactly(name: str, key: str) -> str | None:
    """`find` for the name exactly as it is written, without other spellings."""
    if not name:
        return None
    for folder in folders(key):
        path = path_within(folder, name)
        if os.path.isfile(path):
            return path
    return None


def chosen(names: Sequence[str], key: str, missing: LikenessError) -> str:
    """Full path of a file that may have any of these names: of the first name that `find` finds.

    names: in order of preference. Where none is found, raises DeadLink if one of the names is a link to nowhere, else
    `missing`. Raises UnsafePath for a name that leads out of its folder.
    """
    for name in names:
        path = find(name, key)
        if path:
            return path
    for name in names:
        refuse_dead_link(name, key)
    raise missing


def refuse_dead_link(name: str, *keys: str) -> None:
    """Raise DeadLink where the file of this name, in a folder of these keys, is a link to nowhere.

    It is called where `find` has found no file. As in `find`, other spellings of the name count. Raises UnsafePath for
    a name that leads out of its folder.
    """
    if not name:  # an empty menu sends an empty name
        return
    for folder in folders(*keys):
        dead_names = [link.name for link in listing(folder).dead_links]
        path = path_within(folder, among(name, dead_names) or name)
        leads_to = dead_link(path)
        if leads_to is not None:
            raise DeadLink(path, leads_to)


def _spelled_otherwise(name: str, key: str) -> str | None:
    """Full path of the first file under this key whose name is the same in another spelling; None for no such file."""
    if not name:
        return None
    path_of_name: dict[str, str] = {}
    for folder in folders(key):
        for file_name, path in listing(folder).files:
            path_of_name.setdefault(file_name, path)
    return spelled_otherwise([name], path_of_name)


def path_within(folder: str, name: str) -> str:
    """The absolute path `folder`/`name`. Links inside the folder may point anywhere.

    Raises UnsafePath for a name that leads outside of `folder`.
    """
    root = os.path.abspath(folder)
    path = os.path.abspath(os.path.join(root, name))
    if not lies_within(path, root):
        raise UnsafePath(name, folder)
    return path


def lies_within(path: str, folder: str) -> bool:
    """Whether a path is below a folder, by their names alone."""
    # join puts a separator behind the folder, unless it has one already, as the root of a drive.
    return path.startswith(os.path.join(folder, ""))


def chosen_file_exists(path_of: Callable[[str], str], file: object) -> bool:
    """The answer of a loader's validate_inputs: True if the chosen file is there, or if it is not known yet.

    file: None where it is linked, and so not known before the run. path_of: gives the path of a file; what it raises
    for a missing file is raised here. validate_inputs may also return a text for an error. This does not: the host
    repeats a text for each input, and newer frontends show "rejected the value" instead.
    """
    if file is not None:
        path_of(a_name(file))
    return True


def a_name(chosen: object) -> str:
    """The name that a user has chosen from a menu. Raises BadInput for anything else, which HTTP clients may send."""
    if not isinstance(chosen, str):
        raise BadInput("The file", named(chosen), "the name of one")
    return chosen


def fingerprint(files_of: Callable[[str], Iterable[str]], chosen_name: str | None) -> str:
    """The answer of a loader's fingerprint_inputs: a text that changes when one of the files of its choice is replaced.

    chosen_name: None where it is linked, and so not known before the run.
    """
    return "" if chosen_name is None else str([stamp(path) for path in files_of(chosen_name)])
