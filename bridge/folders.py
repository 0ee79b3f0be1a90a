"""Model folders: registered once, without taking anything from whoever registered the same key before us."""

import os
from collections.abc import Callable
from functools import lru_cache

import folder_paths

from ..core import names
from ..core.errors import BadInput, LikenessError
from ..core.inputs import named
from ..core.methods import methods
from ..core.models.files import WEIGHTS, Listing, listing, stamp
from ..core.names import ending

# Model key, also the folder's name below models/ -> file endings listed.
_KEYS: dict[str, tuple[str, ...]] = {
    "insightface": (".onnx", *WEIGHTS),
    "facexlib": WEIGHTS,
    **{method.key: WEIGHTS for method in methods() if method.key},
    "densepose": (".torchscript",),
    "likeness_faces": (".safetensors",),
}

# Where comfyui_controlnet_aux keeps files of the same name, below the folders of packs.
_OF_OTHERS = {
    "densepose": tuple(
        os.path.join("comfyui_controlnet_aux", "ckpts", owner, "DensePose-TorchScript-with-hint-image")
        for owner in ("hr16", "LayerNorm")
    )
}

# Not models, and large.
_NO_MODELS = ("custom_nodes", "configs")


class UnsafePath(LikenessError):
    """A file name that points outside its folder."""

    def __init__(self, name: str, folder: str) -> None:
        super().__init__(
            f"The name {name!r} leads outside of {folder}.",
            "Use a plain name; sub-folders of that folder are fine, '..' and absolute paths are not.",
        )


def register() -> None:
    """Make our model keys known to the host.

    A key that exists already (another pack, extra_model_paths.yaml) keeps its folders; ours is appended and the
    file endings are widened, because a key that only the yaml names would list every file.
    """
    for key, endings in _KEYS.items():
        default = os.path.join(folder_paths.models_dir, key)
        paths, known = folder_paths.folder_names_and_paths.get(key, ([], set()))
        others = [os.path.join(packs, path) for packs in folders("custom_nodes") for path in _OF_OTHERS.get(key, ())]
        merged = list(dict.fromkeys([*paths, default, *filter(os.path.isdir, others)]))
        folder_paths.folder_names_and_paths[key] = (merged, {*known, *endings})


def folders(*keys: str) -> list[str]:
    """Every folder searched for these keys, in the host's order, without repeats."""
    return list(dict.fromkeys(path for key in keys for path in folder_paths.get_folder_paths(key)))


def of_models() -> dict[str, tuple[str, ...]]:
    """Every model key of the host -> its folders; "" -> the folder that holds them all."""
    # The host names its old models/unet before models/diffusion_models, where downloads go nowadays.
    old = os.path.join(folder_paths.models_dir, "unet")
    known = {
        key: tuple(sorted(paths, key=lambda path: path == old))
        for key, (paths, _) in folder_paths.folder_names_and_paths.items()
        if key not in _NO_MODELS
    }
    return known | {"": (folder_paths.models_dir,)}


def listed(key: str) -> list[str]:
    """Relative names of the files under this key, sorted, without repeats."""
    endings = folder_paths.folder_names_and_paths[key][1]
    return list(_menu(tuple(map(listing, folders(key))), frozenset(endings)))


@lru_cache(maxsize=64)
def _menu(listings: tuple[Listing, ...], endings: frozenset[str]) -> tuple[str, ...]:
    """As `listed`. The same listings come as long as nothing has changed in their folders: sorting thousands of names
    takes longer than looking whether something has."""
    found = {name for folder in listings for name, _ in folder.files}
    return tuple(sorted(name for name in found if ending(name) in endings))


def find(name: str, key: str) -> str | None:
    """Full path of the first file called `name` (relative, sub-folders allowed) under this key, or None.

    Where there is none, a file is taken whose name is the same in another spelling: see core.names. No file has an
    empty name: that is what an empty menu sends. Raises UnsafePath when the name climbs out of the folder.
    """
    return find_exactly(name, key) or _spelled_otherwise(name, key)


def find_exactly(name: str, key: str) -> str | None:
    """`find`, of the name as it is written."""
    if not name:
        return None
    for folder in folders(key):
        path = within(folder, name)
        if os.path.isfile(path):
            return path
    return None


def _spelled_otherwise(name: str, key: str) -> str | None:
    paths: dict[str, str] = {}
    for folder in folders(key):
        for entry, path in listing(folder).files:
            paths.setdefault(entry, path)
    entry = names.among(name, paths) if name else None
    return paths[entry] if entry and os.path.isfile(paths[entry]) else None


def within(folder: str, name: str) -> str:
    """`folder`/`name`, refusing names that lead outside of `folder`. Links inside the folder may point anywhere."""
    root = os.path.abspath(folder)
    path = os.path.abspath(os.path.join(root, name))
    if not path.startswith(root + os.sep):
        raise UnsafePath(name, folder)
    return path


def found(path_of: Callable[[str], str], file: object) -> bool:
    """A loader's validate_inputs: True. None: linked, known when it runs.

    Raises what path_of raises for the chosen file. A text that is returned the host says once per input, and newer
    frontends show "rejected the value" in its place.
    """
    if file is not None:
        path_of(a_name(file))
    return True


def a_name(chosen: object) -> str:
    """What somebody has chosen from a menu of files: over HTTP anything comes. Raises BadInput."""
    if not isinstance(chosen, str):
        raise BadInput("The file", named(chosen), "the name of one")
    return chosen


def fingerprint(path_of: Callable[[str], str], file: str | None) -> str:
    """A loader's fingerprint_inputs: another text when the chosen file is replaced."""
    return "" if file is None else str(stamp(path_of(file)))
