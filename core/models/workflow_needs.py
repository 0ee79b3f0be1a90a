"""Which models of the manifest a workflow needs, and what else its loaders have chosen.

Standard library only: scripts use this module where there is no torch yet.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePath
from typing import NamedTuple

from ..checks.limits import MODEL_FILES
from ..checks.names import spelled
from ..checks.text import MOST_NAME_LETTERS, plain
from ..methods import methods, recognisers_read
from . import packs
from .manifest import STANDIN, File, Model, is_plain_name, models, publication
from .workflow_nodes import Prompt, WorkflowNode, nodes, require_at_most

LOADERS: Mapping[str, Mapping[str, str]] = {
    "CheckpointLoaderSimple": {"ckpt_name": "checkpoints"},
    "ControlNetLoader": {"control_net_name": "controlnet"},
    "CLIPVisionLoader": {"clip_name": "clip_vision"},
    "VAELoader": {"vae_name": "vae"},
    "UNETLoader": {"unet_name": "diffusion_models"},
    "CLIPLoader": {"clip_name": "text_encoders"},
    "DualCLIPLoader": {"clip_name1": "text_encoders", "clip_name2": "text_encoders"},
    "LoraLoader": {"lora_name": "loras"},
    "LoraLoaderModelOnly": {"lora_name": "loras"},
    "LoadLoraModel": {"loras.*.lora_name": "loras"},
    "LoadLoraTextEncoder": {"loras.*.lora_name": "loras"},
    "UpscaleModelLoader": {"model_name": "upscale_models"},
    "LoadMediaPipeFaceLandmarker": {"model_name": "detection"},
    "LoadDA3Model": {"model_name": "geometry_estimation"},
    "LikenessAddLoRAToPerson": {"file": "loras"},
}
"""Nodes whose menus list model files: type of the node -> {name of the input: model key of the folder that it lists}.
Where a node has a stack of such menus, * stands for the number of the row.

Those of the host that stand in our templates or commonly beside them; the editor itself tells of files of any other.
Loaders that are for one method alone are left out, those of the host, too: the code here names no method."""
_EMPTY_ROW = "none"
"""What the host's stacks of menus offer for no file."""
_OUR_PREFIX = "Likeness"
"""The first letters of the ids of our own nodes."""
_TEXTS_OF_NODES = Path(__file__).absolute().parents[2] / "locales" / "en" / "nodeDefs.json"
"""Has an entry for each of our nodes, by its id."""
_FURTHER = {"vae": ("vae_approx",)}
"""Model key of a menu -> further keys whose folders it lists: Load VAE also lists the small VAEs for previews."""
_COMMON_KEYS = frozenset(key for menu in LOADERS.values() for key in menu.values())
"""The keys of the folders that LOADERS list; all others are folders of a method."""
_OF_A_FAMILY = ("checkpoints", "controlnet")
"""Keys of the files by whose tensors formats.family can tell the model family."""
_FACE_LOADER = "LikenessLoadFaceEmbedder"
_ADAPTER_LOADER = "LikenessLoadAdapter"
FIRST_TEXTS: Mapping[str, Sequence[str]] = {
    **{kind: tuple(menus) for kind, menus in LOADERS.items()},
    _FACE_LOADER: ("pack", "recognisers"),
    _ADAPTER_LOADER: ("file",),
}
"""Type of a node -> the inputs that decide about files, in the node's order: old workflows save values without names,
and there a node's first texts are theirs."""
_LOOKS_FOR_FACES = {
    "LikenessPerson", "LikenessCastFromPhotos", "LikenessSortPhotosIntoPeople", "LikenessDetectFaces",
    "LikenessMeasureLikeness", "LikenessCropFaces",
}  # fmt: skip
"""Nodes that load a face model themselves where none is linked."""


# What is asked of a workflow. All of it raises BadSetup for one that is too large.


def wanted(prompt: Prompt) -> tuple[Model, ...]:
    """The models that a workflow needs, in this order: published ones, face packs of the user's own, other files of the
    user's own.

    Those of the user's own are what loaders have chosen and nobody publishes.
    """
    workflow = _Workflow(prompt)
    needed = workflow.needed()
    own_files = _own_files(workflow, needed)
    # A file of the user's own, such as a checkpoint, takes the place of published ones of the same key that no loader
    # has chosen: these are only recommended for our nodes.
    replaced_keys = {model.key for model in own_files}
    published_models = [
        workflow.as_chosen(model) for model in needed if model.name in workflow.texts or model.key not in replaced_keys
    ]
    published_names = {model.name for model in models()}
    own_packs = [_own_pack(pack) for pack in workflow.packs if pack not in published_names]
    return (*published_models, *own_packs, *own_files)


def published(prompt: Prompt) -> tuple[Model, ...]:
    """The published models that a workflow cannot do without, in the order of the manifest.

    These are models that a loader has chosen, models that a node of the workflow needs, and models with the recognisers
    and the detector that its methods need.
    """
    return _Workflow(prompt).needed()


@dataclass(frozen=True)
class Chosen:
    """A model file that a loader has chosen.

    key: of the folder in which the file is looked for. name: relative to that folder, as the menu shows it. further:
    keys of other folders in which its loader looks as well.
    """

    key: str
    name: str
    further: tuple[str, ...] = ()


def loaded(prompt: Prompt) -> tuple[Chosen, ...]:
    """The files that are chosen in the menus of LOADERS and of Load Adapter, each once."""
    return tuple(_Workflow(prompt).files)


class MenuOfNode(NamedTuple):
    """What a node has chosen in a menu of LOADERS. node: its number in the prompt. input: the name of the menu."""

    node: str
    input: str
    file: Chosen


def chosen_in_menus(prompt: Prompt) -> list[MenuOfNode]:
    """Every menu of LOADERS in which a file is chosen. Raises BadSetup for more than limits.MODEL_FILES."""
    menus = [MenuOfNode(node.number, name, file) for node in nodes(prompt) for name, file in _chosen_by(node).items()]
    require_at_most("model files", len(menus), MODEL_FILES)
    return menus


def chosen_in_host_menus(prompt: Prompt) -> tuple[Chosen, ...]:
    """The files that are chosen in menus of the host's own loaders, each once.

    The host refuses a name that its menu does not have letter by letter. Our loaders, which are left out here, take a
    name in any spelling.
    """
    host_nodes = (node for node in nodes(prompt) if not node.kind.startswith(_OUR_PREFIX))
    return tuple(dict.fromkeys(file for node in host_nodes for file in _chosen_by(node).values()))


def chooses_standins(prompt: Prompt) -> bool:
    """Whether a workflow has chosen stand-ins of the demo: tiny models that draw cartoons, instead of released ones."""
    return any(text.startswith(STANDIN) for text in _Workflow(prompt).texts)


def gone(prompt: Prompt) -> list[str]:
    """The types of a workflow's nodes that are ours by their names and that this version of the pack does not have."""
    return sorted({node.kind for node in nodes(prompt) if _is_gone(node)})


def methods_in(prompt: Prompt) -> tuple[str, ...]:
    """The folders of the methods that a workflow uses."""
    kinds = {node.kind for node in nodes(prompt)}
    return tuple(method.folder for method in methods() if method.used_by(kinds))


@cache
def _our_nodes() -> frozenset[str]:
    return frozenset(json.loads(_TEXTS_OF_NODES.read_bytes()))


def _is_gone(node: WorkflowNode) -> bool:
    return node.kind.startswith(_OUR_PREFIX) and node.kind not in _our_nodes()


def _of_use(every: Sequence[WorkflowNode]) -> list[WorkflowNode]:
    """Nodes without those of ours that are gone, and without those that only such nodes read, directly or not: what
    these have chosen is not needed by anything that runs."""
    node_of_number = {node.number: node for node in every}
    readers = Counter(source for node in every for source in node.linked.values())
    useless = [node for node in every if _is_gone(node)]
    left_out = {id(node) for node in useless}
    for node in useless:  # which grows, by each node once
        for source in node.linked.values():
            readers[source] -= 1
            source_node = node_of_number.get(source)
            if readers[source] == 0 and source_node is not None and id(source_node) not in left_out:
                useless.append(source_node)
                left_out.add(id(source_node))
    return [node for node in every if id(node) not in left_out]


class _Workflow:
    """What the nodes of a workflow hold.

    nodes: without those that are of no use (`_of_use`). kinds: their types.
    files: what loaders have chosen, each once -> the published model that it is by its name, None for a file that
    nobody publishes.
    texts: every text in an input of a node, such as the file of a loader, spelled as the manifest spells names; and the
    name of every published model in `files`, which a loader may have chosen by another spelling.
    packs: those that Load Face Embedder nodes have chosen. The menu's entry "none found" counts as antelopev2, the pack
    that a run would then ask for.
    recognisers: ids of those that Load Face Embedder nodes have chosen. Where a node looks for faces, also of those
    whose embeddings the workflow's methods read.
    """

    def __init__(self, prompt: Prompt) -> None:
        self.nodes = _of_use(nodes(prompt))
        self.kinds = {node.kind for node in self.nodes}
        texts = {spelled(text) for node in self.nodes for text in node.named.values()}
        self.files = {file: _publication(file) for file in self._chosen_files(texts)}  # reads nodes and kinds
        self.texts = texts | {model.name for model in self.files.values() if model}
        face_loaders = [node.named for node in self.nodes if node.kind == _FACE_LOADER]
        self.packs = _packs_called(menus["pack"] for menus in face_loaders if "pack" in menus)
        self.recognisers = {menus["recognisers"] for menus in face_loaders if menus.get("recognisers")}
        if self.kinds & _LOOKS_FOR_FACES:
            self.recognisers |= self._read_by_methods()

    def _chosen_files(self, texts: Set[str]) -> list[Chosen]:
        """The files that loaders have chosen, each once. texts: in the inputs of nodes."""
        files: list[Chosen] = []
        for node in self.nodes:
            files += _chosen_by(node).values()
            if node.kind == _ADAPTER_LOADER and node.named.get("file"):
                files.append(self._adapter(node.named["file"], texts))
        chosen = list(dict.fromkeys(files))
        require_at_most("model files", len(chosen), MODEL_FILES)
        return chosen

    def _adapter(self, name: str, texts: Set[str]) -> Chosen:
        """The file that Load Adapter has chosen. name: as its menu shows it. texts: in the inputs of nodes.

        Load Adapter lists the files of all methods' folders, and the name alone does not tell the folder. A published
        file lies in its own folder. Any other file is looked for in the folders of all methods, in this order: methods
        in the workflow of which no published file is chosen, the other methods in the workflow, all other methods.
        """
        keys = [method.key for method in methods() if method.key]
        # Where two folders hold a file of one name, the menu shows the second one as "folder/name".
        folder, _, name_in_folder = spelled(name).partition("/")
        if name_in_folder and folder in keys:
            return Chosen(folder, name_in_folder)
        for model in models():
            if model.name == spelled(name):
                return Chosen(model.key, name)
        used_keys = [method.key for method in methods() if method.key and method.used_by(self.kinds)]
        chosen_keys = {model.key for model in models() if model.name in texts}
        lacking_keys = [key for key in used_keys if key not in chosen_keys]
        first, *further = dict.fromkeys([*lacking_keys, *used_keys, *keys])  # each key once, where it comes first
        return Chosen(first, name, tuple(further))

    def _read_by_methods(self) -> set[str]:
        """Ids of the recognisers whose embeddings the methods of the workflow read."""
        chosen_formats = [model.format for model in models() if model.name in self.texts]
        used = [method for method in methods() if method.used_by(self.kinds)]
        return {method.recogniser for method in used if method.reads_embeddings_with(chosen_formats)}

    def needed(self) -> tuple[Model, ...]:
        """The models that loaders have chosen or nodes need, and those with the chosen recognisers; in the manifest's
        order."""
        # A chosen recogniser that no method reads needs no model.
        needed = {packs.published_model(recogniser).id for recogniser in self.recognisers & recognisers_read()}
        needed |= {model.id for model in models() if self._has_chosen(model) or not self.kinds.isdisjoint(model.nodes)}
        has_face_pack = any(model.format == "face-pack" and model.id in needed for model in models())
        if self._takes_any_pack() and not has_face_pack:
            needed.add(packs.ANTELOPE)
        return tuple(model for model in models() if model.id in needed)

    def _has_chosen(self, model: Model) -> bool:
        """Whether a loader has chosen a published model by its name."""
        return model.name in self.texts or (model.format == "face-pack" and model.name in self.packs)

    def _takes_any_pack(self) -> bool:
        """Whether a node looks for faces with whatever face pack is there, because neither a face model nor landmarks
        are linked to it."""
        finders = {"face_landmarks", "face_model"}
        return any(node.kind in _LOOKS_FOR_FACES and finders.isdisjoint(node.linked) for node in self.nodes)

    def as_chosen(self, model: Model) -> Model:
        """A published model as the workflow needs it.

        A face pack loses its recogniser where nothing reads it. A model gets the name under which loaders have chosen
        its file, to be looked for and fetched under this name.
        """
        other_name = self._name_in_loaders(model)
        as_needed = replace(model, chosen=self._has_chosen(model))
        if other_name is not None:
            return _under_name(other_name, as_needed)
        return replace(as_needed, files=tuple(file for file in model.files if self._is_needed(file)))

    def _name_in_loaders(self, model: Model) -> str | None:
        """Another name of a model's file that a loader has chosen, of several the first; None for its published name.

        None also where a loader has chosen the published name as well, and where the other name has letters that do not
        belong into a command: workflows come from strangers.
        """
        chosen_names = [spelled(file.name) for file, published_as in self.files.items() if published_as == model]
        if not chosen_names or model.name in chosen_names or not is_plain_name(chosen_names[0]):
            return None
        return chosen_names[0]

    def _is_needed(self, file: File) -> bool:
        """Whether a file of a needed model is needed, too: all are but recognisers that nothing reads."""
        if file.part != "recogniser":
            return True
        return packs.recogniser_id(file.names[0], file.size or 0) in self.recognisers


def _under_name(name: str, model: Model) -> Model:
    """A published model of one file under another name for this file; on the server it keeps its own."""
    (file,) = model.files
    # The address is written out, because it may be made of the name.
    renamed = replace(file, names=(name,), url=model.url_of(file, file.names[0]))
    return replace(model, name=name, files=(renamed,))


def _packs_called(chosen: Iterable[str]) -> list[str]:
    """The packs that these values of menus mean, each once. NONE_FOUND means antelopev2, and NO_DETECTOR no pack."""
    called: list[str] = []
    for pack in chosen:
        if pack == packs.NONE_FOUND:
            called.append(packs.ANTELOPE)
        elif pack and pack != packs.NO_DETECTOR:
            called.append(packs.pack_called(spelled(pack)))
    return list(dict.fromkeys(called))


def _chosen_by(node: WorkflowNode) -> dict[str, Chosen]:
    """The files that a node has chosen in the menus of LOADERS, by the names of these; {} where it has none."""
    files: dict[str, Chosen] = {}
    for menu, key in LOADERS.get(node.kind, {}).items():
        for input_name, name in node.named.items():
            if not fnmatchcase(input_name, menu):
                continue
            # In Load VAE a name without an ending is a VAE that the host has or puts together itself, as pixel_space.
            is_of_host = key == "vae" and not PurePath(name).suffix
            if name not in (packs.NONE_FOUND, _EMPTY_ROW) and not is_of_host:
                files[input_name] = Chosen(key, name, _FURTHER.get(key, ()))
    return files


def _publication(file: Chosen) -> Model | None:
    """The published model that a chosen file is by its name; None where nobody publishes such a file."""
    name = spelled(file.name)
    for model in models():
        if model.name == name:
            return model
    return publication(file.name, (file.key, *file.further))


def _own_files(workflow: _Workflow, needed: Iterable[Model]) -> list[Model]:
    """The chosen files that nobody publishes, as models. needed: the published models that the workflow needs."""
    # The families for which the methods' own files are made.
    families = [model.family for model in needed if model.family and model.key not in _COMMON_KEYS]
    keys = [file.key for file in workflow.files]
    own_files: list[Model] = []
    for file, publication_of_file in workflow.files.items():
        if publication_of_file is None:
            # A workflow's only checkpoint is for our nodes, so it has to be of their family. Of two checkpoints one may
            # be for something else, and links, which would tell, are not followed.
            family = families[0] if families and keys.count(file.key) == 1 else ""
            own_files.append(own_file(file, family))
    return own_files


def own_file(file: Chosen, family: str = "") -> Model:
    """A file that a loader has chosen and nobody publishes, as a model.

    family: the model family of the workflow, "" where it is not known.
    """
    file_format = ""  # "" where it is not known
    if file.key in _OF_A_FAMILY:
        # The format of published files for the same use.
        formats = [model.format for model in models() if model.key == file.key and model.family == family]
        file_format = formats[0] if formats else ""
    # The name as it is written, and the name with slashes in the place of the backslashes of Windows.
    names = dict.fromkeys(_below_its_folder(name) for name in (file.name, file.name.replace("\\", "/")))
    return _own(file.key, file.name, File((*names,), url=None, size=None), file_format, family, file.further)


def _own_pack(name: str) -> Model:
    """A face pack that Load Face Embedder has chosen and nobody publishes, as a model. It needs a detector alone."""
    folder = "." if name == packs.LOOSE else _below_its_folder(name)
    detector = File(((PurePath(folder) / "*.onnx").as_posix(),), url=None, size=None, part="detector")
    return replace(_own("insightface", name, detector, "face-pack"), name=name)


def _below_its_folder(name: str) -> str:
    """A name relative to a folder, without what would lead out of the folder: ".." and, on Windows, a disk."""
    _, path = os.path.splitdrive(name)
    # Below "/" as the folder: above it there is nothing, so that ".." leads nowhere.
    return os.path.relpath(os.path.join("/", path), "/")


def _own(key: str, title: str, file: File, file_format: str, family: str = "", further: tuple[str, ...] = ()) -> Model:
    """A model of one file that nobody publishes. title: as a menu shows it."""
    return Model(
        id="",
        title=plain(title, MOST_NAME_LETTERS) or "a file without a name",
        key=key,
        name=file.names[0],
        format=file_format,
        family=family,
        files=(file,),
        commercial="",
        chosen=True,
        further=further,
    )
