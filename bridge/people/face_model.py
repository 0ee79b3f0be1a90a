"""Face packs and recognisers from the model folders, loaded once."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import PurePath
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor, nn

from ...core.checks.errors import (
    BadChoice,
    BadSetup,
    LikenessError,
    ModelMissing,
    RecogniserMissing,
    UnsupportedCheckpoint,
    listed,
)
from ...core.checks.names import among
from ...core.faces import model, onnx_session
from ...core.faces.analysis import Recogniser
from ...core.faces.finding import Detection, Detector
from ...core.faces.model import Files
from ...core.faces.pictures import Picture
from ...core.methods import recognisers_read
from ...core.models import formats, packs
from ...core.models.files import WEIGHTS, Stamp, by_name, dead_link, listing, stamp
from ...core.models.manifest import Model, is_standin
from ...core.models.onnx_file import Kind, inspect
from ...core.models.tensors import State
from ..host import folders, load, notes

ALL = "all found"
"""The option of a menu that loads every recogniser."""
NONE_FOUND = packs.NONE_FOUND
NO_DETECTOR = packs.NO_DETECTOR
PICTURES_ALONE = "none (pictures alone)"


class Hosted:
    """A network in the host's hands, called like a function."""

    def __init__(self, build: Callable[..., nn.Module], state: State) -> None:
        self.patcher = load.in_patcher(build, state)

    def __call__(self, pixels: Tensor) -> Any:
        with torch.inference_mode():
            return self.patcher.model(load.on_device(self.patcher, pixels))


class HostedFaceModel(model.FaceModel):
    """A face model as it travels on the socket LIKENESS_FACE_MODEL."""

    def get_models(self) -> list[ModelPatcher]:
        """The patchers of its networks, which the host asks for to count their memory."""
        patchers: list[ModelPatcher] = []
        for detector_or_recogniser in (self.detector, *self.recognisers):
            network = getattr(detector_or_recogniser, "network", None)
            if isinstance(network, Hosted):
                patchers.append(network.patcher)
        return patchers


def pack_names() -> list[str]:
    """Face packs for a menu. The last option is for users who find faces with the host's own landmarks."""
    names = list(packs.packs(_files().onnx)) or [NONE_FOUND]
    return [*names, NO_DETECTOR]


def recogniser_names() -> list[str]:
    """Recogniser ids for a menu.

    Those that a method asks for are always among them: a user who chooses one that is not installed learns where it
    comes from before anything runs. The last option is for methods that look at pictures and need no recogniser.
    """
    return [ALL, *sorted({*_files().recognisers(""), *recognisers_read()}), PICTURES_ALONE]


def installed_recognisers() -> set[str]:
    """Ids of the recognisers that "all found" loads; the demo's stand-ins, which tell nobody apart, are not counted."""
    return {identifier for identifier, path in _files().recognisers("").items() if not is_standin(path)}


def files_stamp() -> tuple[Stamp, ...]:
    """The stamps of all files that "all found" loads. They change where a file is added, replaced or removed."""
    files = _files()
    return tuple(stamp(path) for path in sorted({*files.recognisers("").values(), *files.onnx.values()}))


def refusal(pack: str, recognisers: str) -> LikenessError | None:
    """The error about a choice that cannot be loaded, as far as names of files tell; None where it may be loaded.

    No file is opened, so a damaged one is not seen here.

    pack, recognisers: options of the menus, see pack_names and recogniser_names.
    """
    files = _files()
    installed_pack = _installed_pack(pack, files)
    if installed_pack is None:
        return _no_pack_error(pack, files)
    if recognisers == PICTURES_ALONE:
        return None
    recogniser_paths = files.recognisers(installed_pack)
    if recognisers != ALL and among(recognisers, recogniser_paths) is None:
        return _missing_error(f"The face recogniser {recognisers}", recognisers, RecogniserMissing)
    if not recogniser_paths:
        return _no_recogniser_error(pack)
    return None


def _no_pack_error(pack: str, files: Files) -> LikenessError:
    """The error about a face pack that is not installed, or of which several folders have the name."""
    installed_packs = list(packs.packs(files.onnx))
    if pack == packs.LOOSE and installed_packs:
        why = (
            f"No .onnx file lies directly in {listed(_roots())}; in their folders lie the face packs "
            f"{listed(installed_packs)}."
        )
        return BadSetup(why, "Choose one of these in Face pack (pack) of Load Face Embedder.")
    same_name_packs = packs.of_one_name(pack, installed_packs)
    if same_name_packs:
        why = f"There are {len(same_name_packs)} folders of the face pack {pack}: {listed(same_name_packs)}."
        return BadSetup(why, "Choose one of these in Face pack (pack) of Load Face Embedder, or delete all but one.")
    if pack == NONE_FOUND:
        return _missing_error("A face pack", pack)
    return _missing_error(f"The face pack {pack}", pack)


def _no_recogniser_error(pack: str) -> LikenessError:
    """The error where no recogniser is installed. It names one to install.

    That is the pack antelopev2, which has a detector too; or IR-SE50, where the user wants no detector.
    """
    published_key = packs.IR_SE50 if pack == NO_DETECTOR else packs.ANTELOPE
    return _missing_error("A face recogniser", published_key, RecogniserMissing)


TORCH = "torch"
ONNXRUNTIME = "onnxruntime"
BACKENDS = (TORCH, ONNXRUNTIME)
"""What runs the networks."""


def backend_refusal(backend: str, provider: str) -> LikenessError | None:
    """The error about a backend or provider that this Python does not have; None where the networks can be run.

    backend: one of BACKENDS. provider: one of onnx_session.PROVIDERS, which counts for onnxruntime alone.
    """
    if backend not in BACKENDS:
        return BadChoice("backend", backend, BACKENDS)
    if provider not in onnx_session.PROVIDERS:
        return BadChoice("provider", provider, onnx_session.PROVIDERS)
    if backend != ONNXRUNTIME:
        return None
    try:
        onnx_session.resolved(provider)
    except onnx_session.NoOnnxRuntime as error:
        return error
    return None


def load_face_model(
    pack: str, recognisers: str, backend: str = TORCH, provider: str = onnx_session.AUTO
) -> HostedFaceModel:
    """Load the detector of a face pack, and one recogniser, all of them or none.

    A damaged file is left out, and a note under the node says so, if the user has not chosen it by its name and another
    file can be used. pack, recognisers: options of the menus, NO_DETECTOR and PICTURES_ALONE among them.
    backend: one of BACKENDS. provider: one of onnx_session.PROVIDERS, for onnxruntime alone. IR-SE50 is no ONNX file,
    and torch runs it in any case.
    Raises what `refusal` and `backend_refusal` return, and UnsupportedCheckpoint for damaged or unfit files.
    """
    error = refusal(pack, recognisers) or backend_refusal(backend, provider)
    if error is not None:
        raise error
    runs_on = onnx_session.resolved(provider) if backend == ONNXRUNTIME else None  # None: torch
    files = _files()
    pack_name = _installed_pack(pack, files) or pack
    chosen = among(recognisers, files.recognisers(pack_name)) or recognisers  # ALL, PICTURES_ALONE, or an id
    loading = _Loading(files, pack_name, runs_on)
    detector = _no_detector if pack_name == NO_DETECTOR else loading.detector()
    usable_recognisers = loading.recognisers(chosen)
    # Each text once: a damaged file may be here twice, because it was opened as a detector and as a recogniser.
    for text in dict.fromkeys(map(str, loading.left_out)):
        notes.tell(f"Left out, as others can be used: {text}")
    return HostedFaceModel(detector, usable_recognisers)


class _Loading:
    """A detector and recognisers, opened out of the model folders.

    pack: of several files of recognisers with one id, the file in this pack is taken. runs_on: onnxruntime's provider,
    None for torch. left_out: the errors about files that are left out because others can be used.
    """

    def __init__(self, files: Files, pack: str, runs_on: str | None) -> None:
        self._files = files
        self._pack = pack
        self._runs_on = runs_on
        self.left_out: list[UnsupportedCheckpoint] = []

    def detector(self) -> Detector:
        """The largest detector of the pack that can be used. Larger ones that cannot are added to left_out.

        Raises what is wrong with the largest if none can be used.
        """
        detectors = self._files.detectors(self._pack)
        self.left_out += detectors.left_out
        failed: list[UnsupportedCheckpoint] = []
        for path in detectors.paths:  # the largest first
            try:
                detector = _opened_detector(*stamp(path), self._runs_on)
            except UnsupportedCheckpoint as error:
                failed.append(error)
            else:
                self.left_out += failed
                return detector
        raise failed[0]  # there is one: files.detectors gives at least one path, or raises

    def recognisers(self, chosen: str) -> tuple[Recogniser, ...]:
        """The recogniser that was chosen by its id, all that can be used for ALL, or none for PICTURES_ALONE.

        Raises UnsupportedCheckpoint for a chosen file that is damaged or no recogniser, and for ALL what
        `_usable_recognisers` raises.
        """
        if chosen == PICTURES_ALONE:
            return ()
        if chosen == ALL:
            return self._usable_recognisers()
        path = self._files.recognisers(self._pack)[chosen]
        kind = _network_kind(chosen, path)
        if kind is not Kind.RECOGNISER:
            raise UnsupportedCheckpoint(path, kind.value, Kind.RECOGNISER.value, "Choose another recogniser.")
        return (_opened_recogniser(chosen, *stamp(path), self._runs_on),)

    def _usable_recognisers(self) -> tuple[Recogniser, ...]:
        """All recognisers that can be used.

        Damaged ones are added to left_out, networks of another kind are passed over, and the demo's stand-ins are taken
        only where the pack is a stand-in. Raises, where none can be used, the error about the first damaged one, or
        about none installed.
        """
        usable: list[Recogniser] = []
        damaged: list[UnsupportedCheckpoint] = []
        for identifier, path in self._files.recognisers(self._pack).items():
            if is_standin(path) and not is_standin(self._pack):
                continue  # it tells nobody apart
            try:
                if _network_kind(identifier, path) is Kind.RECOGNISER:
                    usable.append(_opened_recogniser(identifier, *stamp(path), self._runs_on))
            except UnsupportedCheckpoint as error:
                damaged.append(error)
        if not usable:
            raise damaged[0] if damaged else _no_recogniser_error(self._pack)
        self.left_out += damaged
        return tuple(usable)


def default_face_model(detects: bool = True) -> HostedFaceModel:
    """The face model for nodes without one: what a new Load Face Embedder loads.

    detects: whether it needs a detector. Raises as load_face_model.
    """
    pack = pack_names()[0] if detects else NO_DETECTOR
    return load_face_model(pack, ALL)


class FindsFaces(io.ComfyNode):
    """A node that takes the default where no face_model is connected, and runs again when that changes."""

    @classmethod
    def fingerprint_inputs(cls, **inputs: object) -> str:
        """A text that changes where the default face model may have changed; "" where one is connected."""
        return "" if "face_model" in inputs else str(files_stamp())


def _no_detector(picture: Picture, size: int) -> Sequence[Detection]:
    """The detector of a face model that has none: it raises BadSetup."""
    raise BadSetup(
        "The face model has no detector, so no face can be found in a picture: Face pack (pack) of Load Face Embedder "
        "is none.",
        "Choose a pack there, or link face_landmarks from Detect Face Landmarks (MediaPipe): Person and "
        "Detect Faces take them.",
    )


def _files() -> Files:
    """The files that are in the folders of face models now."""
    onnx: dict[str, str] = {}  # name, see packs.name_in -> full path
    # Where two folders have a file of one name, the first folder's is used: its entry is written last, over the other.
    for root in reversed(_roots()):
        for name, path in by_name([root], (".onnx",)).items():
            onnx[packs.name_in(root, name)] = path
    return Files(dict(sorted(onnx.items())), by_name(folders.folders("facexlib", "insightface"), WEIGHTS))


def _roots() -> list[str]:
    return folders.folders("insightface")


def _installed_pack(pack: str, files: Files) -> str | None:
    """The name of the installed pack that an option of the menu means; None where no such pack is installed.
    NO_DETECTOR is returned as it is.

    pack: the option, which a saved workflow may have in another spelling, or with the folder in which the pack lay when
    the workflow was saved, see packs.chosen.
    """
    if pack == NO_DETECTOR:
        return pack
    installed_packs = list(packs.packs(files.onnx))
    name = among(pack, installed_packs) or pack  # among: the same name in another spelling
    return packs.chosen(name, installed_packs, _roots())


def _missing_error(file_in_words: str, key: str, error: type[ModelMissing] = ModelMissing) -> LikenessError:
    """The error about a missing pack or recogniser, or about a dead link in its place.

    Of all folders that are searched, the error names only the one that the README names, so that a new user need not
    choose. file_in_words: what is missing. key: the id of the pack or recogniser. error: the class of the error where
    there is no dead link.
    """
    published = packs.published_model(key)
    error_of_link = _dead_link(key, published)
    if error_of_link is not None:
        return error_of_link
    folder, file_names = _folder_and_names(published)
    field = "Recognisers (recognisers)" if error is RecogniserMissing else "Face pack (pack)"
    return error(file_in_words, file_names, [folder], published.url, published.size_text, field)


def _folder_and_names(published: Model) -> tuple[str, list[str]]:
    """The folder that the error about a missing pack or recogniser names, and its files as they lie below that folder.

    A pack has a folder of its own, which is named with the files, as in antelopev2/glintr100.onnx; unless that folder
    is one that is searched itself.
    """
    subfolders, file_names = packs.place_of_files(published)
    roots = folders.folders(published.key)
    if published.format != "face-pack":
        return os.path.join(roots[0], *subfolders), file_names
    own_folder = packs.folder_for(published.name, roots)
    bare_names = [PurePath(name).name for name in file_names]
    if str(own_folder) in roots:
        return str(own_folder), bare_names
    return str(own_folder.parent), [f"{published.name}/{name}" for name in bare_names]


def _dead_link(key: str, published: Model) -> folders.DeadLink | None:
    """The error about a file of a pack or recogniser that is a link to nowhere; None where there is no such link.

    A file is taken for one of these if it has the name of a published one, or lies in the folder of the pack's name.
    key: the id of the pack or recogniser. published: its entry in the manifest.
    """
    published_names = {PurePath(name).name for file in published.files for name in file.names}
    for root in folders.folders("insightface", "facexlib"):
        for name, path in listing(root).dead_links:
            leads_to = dead_link(path)
            belongs_to_key = PurePath(name).name in published_names or packs.pack_of(name) == key
            if leads_to is not None and belongs_to_key:
                return folders.DeadLink(path, leads_to)
    return None


def _network_kind(identifier: str, path: str) -> Kind:
    """The kind of network in a file, by its contents; of IR-SE50, which is no ONNX file, by its id.

    Raises UnsupportedCheckpoint for a damaged file.
    """
    return Kind.RECOGNISER if identifier == packs.IR_SE50 else inspect(path).kind


@lru_cache(maxsize=4)
def _opened_detector(path: str, byte_count: int, changed: int, runs_on: str | None) -> Detector:
    """The detector in a file, kept while the file stays as it is. path, byte_count, changed: the file's stamp."""
    return model.open_detector(path, Hosted, runs_on)


@lru_cache(maxsize=8)
def _opened_recogniser(identifier: str, path: str, byte_count: int, changed: int, runs_on: str | None) -> Recogniser:
    """The recogniser in a file, kept while the file stays as it is. path, byte_count, changed: the file's stamp.

    runs_on: onnxruntime's provider, None for torch, which runs IR-SE50 in any case.
    """
    if identifier != packs.IR_SE50:
        return model.open_recogniser(identifier, path, Hosted, runs_on)
    advice = f"The right file is at {packs.published_model(packs.IR_SE50).url}."
    state = load.read_state_dict(path, formats.known(packs.IR_SE50).title, advice)
    formats.require(state, packs.IR_SE50, path, advice)
    return model.IRSE50Recogniser(state, path, Hosted)
