"""Which models of the manifest a workflow needs, what else its loaders have chosen, and which method needs what.

Workflows are read as ComfyUI saves them or as its API takes them, with the nodes inside of subgraphs. Standard library
only: scripts use this module where there is no torch yet.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, NamedTuple, cast

from ..errors import BadSetup, listed
from ..methods import methods
from ..names import spelled
from ..text import MOST_NAME_LETTERS, plain
from . import packs
from .manifest import STANDIN, File, Model, is_plain_name, models, publication

Graph = Mapping[str, Any]
"""A workflow as ComfyUI saves it, or as its API takes it."""
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
    "UpscaleModelLoader": {"model_name": "upscale_models"},
    "LoadMediaPipeFaceLandmarker": {"model_name": "detection"},
    "LoadDA3Model": {"model_name": "geometry_estimation"},
    "LikenessAddLoRAToPerson": {"file": "loras"},
    "LikenessDetectBodySurface": {"file": "densepose"},
}
"""Nodes whose menus list model files: type of the node -> {name of the input: model key of the folder that it lists}.

Those of the host that stand in our templates or commonly beside them; the editor itself tells of files of any other.
Old workflows save values without names: there the first texts of a node are the values of these inputs, in this order.
Loaders that are for one method alone are left out, those of the host, too: the code here names no method."""
MOST_NODES = 10_000
"""Nodes of a workflow that are gone through, those of each box counted for each time that it stands there."""
MOST_FILES = 200
"""Different files that the loaders of a workflow may choose. Workflows come from strangers, and each is looked for."""
_OUR_PREFIX = "Likeness"
"""The first letters of the ids of our own nodes."""
_FURTHER = {"vae": ("vae_approx",)}
"""Model key of a menu -> further keys whose folders it lists: Load VAE also lists the small VAEs for previews."""
HOST_KEYS = frozenset(key for menus in LOADERS.values() for key in menus.values())
"""The keys of all folders that loaders of the host read."""
SINGLE = "single templates"
"""What `users` gives for a model that no method needs, where several workflows are looked at."""
_OF_A_FAMILY = ("checkpoints", "controlnet")
"""Keys of the files by whose tensors formats.family can tell the model family."""
_SWITCHED_OFF = (2, 4)
"""Modes of a node in a saved workflow: muted, bypassed."""
_LOADER = "LikenessLoadFaceEmbedder"
_ADAPTERS = "LikenessLoadAdapter"
_LOOKS_FOR_FACES = (
    "LikenessPerson", "LikenessCastFromPhotos", "LikenessSortPhotosIntoPeople", "LikenessDetectFaces",
    "LikenessMeasureLikeness", "LikenessCropFaces",
)  # fmt: skip
"""Nodes that load a face model themselves where none is linked."""


def wanted(graph: Graph) -> tuple[Model, ...]:
    """The models that a workflow needs: published ones, then face packs and files of the user's own, which its loaders
    have chosen and nobody publishes.

    Raises BadSetup for a workflow that is too large, as all functions here, and ValueError for a damaged one.
    """
    workflow = _Workflow(graph)
    published_names = {model.name for model in models()}
    needed = _published_of(workflow)
    chosen_files = _chosen_in(workflow)
    own_files = _own_files(chosen_files, needed)
    chosen_names = _chosen_names(chosen_files)
    # Where a loader has chosen a file of the user's own, such as a checkpoint, it takes the place of the published one
    # of the same key, which is only recommended for our nodes and chosen in no loader.
    replaced_keys = {model.key for model in own_files}
    recognisers = workflow.read_recognisers | workflow.chosen_recognisers
    published_models: list[Model] = []
    for model in needed:
        is_named = model.name in workflow.texts
        if is_named or model.key not in replaced_keys:
            is_chosen = is_named or model.name in workflow.packs
            model = _without_recogniser(model, recognisers)
            model = _under_its_chosen_name(model, chosen_names.get(model.id, []))
            published_models.append(replace(model, chosen=is_chosen))
    own_packs = [_own_pack(pack) for pack in workflow.packs if pack not in published_names]
    return (*published_models, *own_packs, *own_files)


def _own_files(files: Sequence["Chosen"], needed: Sequence[Model]) -> list[Model]:
    """The files among the chosen ones that nobody publishes, as models.

    files: all that the loaders have chosen. needed: the published models that the workflow needs.
    """
    # The families for which the methods' own files are made.
    families = [model.family for model in needed if model.family and model.key not in HOST_KEYS]
    keys = [file.key for file in files]
    own_files: list[Model] = []
    for file in files:
        if _publication(file) is None:
            # A workflow's only checkpoint is for our nodes, so it has to be of their family. Of two checkpoints one may
            # be for something else, and links, which would tell, are not followed.
            family = families[0] if families and keys.count(file.key) == 1 else ""
            own_files.append(_own(file, family))
    return own_files


@dataclass(frozen=True)
class Chosen:
    """A model file that a loader has chosen.

    key: of the folder in which the file is looked for. name: relative to that folder, as the menu shows it. further:
    keys of other folders in which its loader looks as well.
    """

    key: str
    name: str
    further: tuple[str, ...] = ()


def _publication(file: Chosen) -> Model | None:
    """The published model that a chosen file is by its name; None where nobody publishes such a file."""
    name = spelled(file.name)
    for model in models():
        if model.name == name:
            return model
    return publication(file.name, (file.key, *file.further))


def _chosen_names(files: Iterable[Chosen]) -> dict[str, list[str]]:
    """Id of a published model -> the names by which loaders have chosen it."""
    names: dict[str, list[str]] = {}
    for file in files:
        model = _publication(file)
        if model:
            names.setdefault(model.id, []).append(spelled(file.name))
    return names


def _under_its_chosen_name(model: Model, names: Sequence[str]) -> Model:
    """A published model as a file of the name by which a loader has chosen it: there it is looked for and fetched to.

    Where no loader has chosen it by another name than its own, it is returned as it is. So is one whose chosen name has
    letters that do not belong into a command: workflows come from strangers.
    """
    if not names or model.name in names or not is_plain_name(names[0]):
        return model
    (file,) = model.files
    renamed = replace(file, names=(names[0],), url=model.url_of(file, file.names[0]))
    return replace(model, name=names[0], files=(renamed,))


def loaded(graph: Graph) -> tuple[Chosen, ...]:
    """The files that are chosen in menus of the host's loaders, and of those of our loaders that list several published
    files; each file once."""
    return _chosen_in(_Workflow(graph))


def _chosen_in(workflow: "_Workflow") -> tuple[Chosen, ...]:
    """The files of `loaded`."""
    menus: dict[str, Mapping[str, str]] = dict(LOADERS)
    for kind, key in _loaders_of_several().items():
        menus[kind] = {"file": key}
    files: list[Chosen] = []
    for node in workflow.nodes:
        files += _chosen_by(node, menus.get(node.kind, {}))
        if node.kind == _ADAPTERS:
            (adapter,) = node.values_of(["file"])
            if adapter:
                files.append(_adapter(adapter, workflow))
    unique_files = tuple(dict.fromkeys(files))
    _require_few(len(unique_files))
    return unique_files


def _require_few(count: int) -> None:
    """Raises BadSetup for more files than are looked for."""
    if count > MOST_FILES:
        raise BadSetup(
            f"The loaders of the workflow choose {count} files, and {MOST_FILES} is the most that are looked for.",
            "Take out loaders that nothing is linked to.",
        )


def chosen_in_host_menus(graph: Graph) -> tuple[Chosen, ...]:
    """The files that are chosen in menus of the host's own loaders, each once.

    The host refuses a name that its menu does not have letter by letter. Our loaders, which are left out here, take a
    name in any spelling.
    """
    files: list[Chosen] = []
    for node in nodes(graph):
        if not node.kind.startswith(_OUR_PREFIX):
            files += _chosen_by(node, LOADERS.get(node.kind, {}))
    return tuple(dict.fromkeys(files))


def _chosen_by(node: "WorkflowNode", menu: Mapping[str, str]) -> list[Chosen]:
    """The files that one loader has chosen. menu: input -> model key, as in LOADERS; {} for any other node."""
    files: list[Chosen] = []
    for key, value in zip(menu.values(), node.values_of(menu), strict=True):
        if value is not None and not _is_no_file(key, value):
            files.append(Chosen(key, value, _FURTHER.get(key, ())))
    return files


def _is_no_file(key: str, text: str) -> bool:
    """Whether an entry of a menu names no file: "none found", or in Load VAE a name without an ending, which is a VAE
    that the host has or puts together itself, such as pixel_space and taesd."""
    return text == packs.NONE_FOUND or (key == "vae" and not PurePath(text).suffix)


def _adapter(name: str, workflow: "_Workflow") -> Chosen:
    """The file that Load Adapter has chosen. name: as its menu shows it.

    Load Adapter lists the files of all methods' folders, and the name alone does not tell the folder. A published file
    lies in its own folder. Any other file is looked for first in the folder of a method in the workflow of which no
    published file is chosen, then in those of the other methods in the workflow, then in all others.
    """
    keys = [method.key for method in methods() if method.key]
    # Where two folders hold a file of one name, the menu shows the second one as "folder/name".
    folder, _, name_in_folder = spelled(name).partition("/")
    if name_in_folder and folder in keys:
        return Chosen(folder, name_in_folder)
    for model in models():
        if model.name == spelled(name):
            return Chosen(model.key, name)
    used_keys = [method.key for method in methods() if method.key and method.used_by(workflow.kinds)]
    chosen_keys = {model.key for model in models() if model.name in workflow.texts}
    waiting_keys = [key for key in used_keys if key not in chosen_keys]
    first, *further = dict.fromkeys([*waiting_keys, *used_keys, *keys])
    return Chosen(first, name, tuple(further))


def published(graph: Graph) -> tuple[Model, ...]:
    """The published models that a workflow cannot do without, in the order of the manifest.

    These are models that a loader has chosen, models that a node of the workflow needs, and models with the recognisers
    and the detector that its methods need.
    """
    return _published_of(_Workflow(graph))


def _published_of(workflow: "_Workflow") -> tuple[Model, ...]:
    """The models of `published`."""
    # A loader of a method stands for the method's apply nodes, which the workflow may not have yet.
    kinds = set(workflow.kinds)
    for method in methods():
        if method.node in workflow.kinds:
            kinds.update(method.applies)
    needed: set[str] = set()
    face_packs: set[str] = set()
    for model in models():
        if model.format == "face-pack":
            face_packs.add(model.id)
        is_chosen = model.name in workflow.texts
        is_chosen_pack = model.id in face_packs and model.name in workflow.packs
        if is_chosen or is_chosen_pack or kinds & set(model.nodes):
            needed.add(model.id)
    chosen_recognisers = workflow.chosen_recognisers & set(packs.ASKED_FOR)
    for recogniser in workflow.read_recognisers | chosen_recognisers:
        needed.add(packs.published(recogniser).id)
    if _takes_any_pack(workflow) and not needed & face_packs:
        needed.add(packs.ANTELOPE)
    return tuple(model for model in models() if model.id in needed)


def _takes_any_pack(workflow: "_Workflow") -> bool:
    """Whether a node looks for faces with whatever face pack is there, because neither a face model nor landmarks are
    linked to it."""
    # Names of the inputs that give a node faces or a face model. A link to face_model counts only where its source,
    # Load Face Embedder, is not switched off.
    finders = {"face_landmarks"}
    if _LOADER in workflow.kinds:
        finders.add("face_model")
    return any(node.kind in _LOOKS_FOR_FACES and not node.linked & finders for node in workflow.nodes)


def chooses_standins(graph: Graph) -> bool:
    """Whether a workflow has chosen stand-ins of the demo: tiny models that draw cartoons, instead of released ones."""
    return any(text.startswith(STANDIN) for text in _Workflow(graph).texts)


class _Workflow:
    """What the nodes of a workflow hold.

    nodes: those that are not switched off. kinds: their types.
    texts: every text in an input of a node, such as the file of a loader, spelled as the manifest spells names. The
    names of published models are among them that loaders have chosen in other folders or capitals.
    read_recognisers: ids of the recognisers whose embeddings the workflow's methods read; empty where no node makes
    people of photos.
    packs, chosen_recognisers: the choices in Load Face Embedder nodes. The menu's entry "none found" counts as
    antelopev2, the pack that a run would then ask for.
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes = list(nodes(graph))
        self.kinds = {node.kind for node in self.nodes}
        self.texts: set[str] = set()
        for node in self.nodes:
            self.texts.update(spelled(text) for text in node.texts)
        for file in _chosen_in(self):
            model = _publication(file)
            if model:
                self.texts.add(model.name)
        self.read_recognisers = self._recognisers_of_methods()
        self.packs: list[str] = []
        self.chosen_recognisers: set[str] = set()
        for node in self.nodes:
            if node.kind == _LOADER:
                self._add_choices(node)

    def _recognisers_of_methods(self) -> set[str]:
        """Ids of the recognisers whose embeddings the methods of the workflow read."""
        if not self.kinds & {*_LOOKS_FOR_FACES}:
            return set()
        formats = [model.format for model in models() if model.name in self.texts]  # of the files that are chosen
        recognisers: set[str] = set()
        for method in methods():
            if not method.recogniser or not method.used_by(self.kinds):
                continue
            # Some methods read embeddings with files of some formats alone, as IP-Adapter with those of FaceID.
            reads_embeddings = not method.embedding_formats
            for file_format in formats:
                if file_format.startswith(method.embedding_formats):
                    reads_embeddings = True
            if reads_embeddings:
                recognisers.add(method.recogniser)
        return recognisers

    def _add_choices(self, loader: "WorkflowNode") -> None:
        """Add the pack and the recogniser that one Load Face Embedder has chosen."""
        pack, recogniser = loader.values_of(["pack", "recognisers"])
        if pack and pack != packs.NO_DETECTOR:
            name = packs.ANTELOPE if pack == packs.NONE_FOUND else _as_a_pack(pack)
            if name not in self.packs:
                self.packs.append(name)
                _require_few(len(self.packs))
        if recogniser:
            self.chosen_recognisers.add(recogniser)


def _as_a_pack(name: str) -> str:
    """The name of a pack as packs.packs gives it, from an entry of Load Face Embedder's menu in any spelling."""
    # pack_of takes the name of a file in the pack.
    return packs.pack_of(f"{spelled(name)}/any file")


def _loaders_of_several() -> dict[str, str]:
    """Type of a node -> model key, of our loaders that list several published files of one method."""
    counts = Counter(model.key for model in models() if model.key not in HOST_KEYS)
    keys: dict[str, str] = {}
    for method in methods():
        if method.node and method.key and counts[method.key] > 1:
            keys[method.node] = method.key
    return keys


def _without_recogniser(model: Model, recognisers: set[str]) -> Model:
    """A face pack without its recogniser where the workflow does not need that: it is not in `recognisers` (ids). Any
    other model, which has no file of that part, is returned as it is."""
    files: list[File] = []
    for file in model.files:
        is_recogniser = file.part == "recogniser"
        if not is_recogniser or packs.recogniser_id(file.names[0], file.size or 0) in recognisers:
            files.append(file)
    return replace(model, files=tuple(files))


def _own(file: Chosen, family: str) -> Model:
    """A file that a loader has chosen and nobody publishes, as a model.

    family: the model family of the workflow, "" where it is not known.
    """
    file_format = ""
    if file.key in _OF_A_FAMILY:
        for model in models():
            if model.key == file.key and model.family == family:
                file_format = model.format
                break
    title = plain(file.name, MOST_NAME_LETTERS) or "a file without a name"
    # As it is written, and with slashes in the place of the backslashes of Windows.
    written_names = (file.name, file.name.replace("\\", "/"))
    # Below "/" a ".." leads nowhere, so the name relative to "/" does not lead out of the folder of its key.
    names = [os.path.relpath(os.path.join("/", name), "/") for name in written_names]
    unique_names = tuple(dict.fromkeys(names))
    return Model(
        id="",
        title=title,
        key=file.key,
        name=names[0],
        format=file_format,
        family=family,
        files=(File(unique_names, None, None),),
        commercial="",
        chosen=True,
        further=file.further,
    )


def _own_pack(name: str) -> Model:
    """A face pack that Load Face Embedder has chosen and nobody publishes, as a model. It needs a detector alone."""
    # Relative to "/", so that no ".." in the name leads out of the folder of packs.
    folder = "." if name == packs.LOOSE else os.path.relpath(os.path.join("/", name), "/")
    pattern = (PurePath(folder) / "*.onnx").as_posix()
    return Model(
        id="",
        title=plain(name, MOST_NAME_LETTERS),
        key="insightface",
        name=name,
        format="face-pack",
        family="",
        files=(File((pattern,), None, None, part="detector"),),
        commercial="",
        chosen=True,
    )


def workflow(text: str | bytes) -> dict[str, Any]:
    """The workflow in a text of JSON, as ComfyUI saves it or as its API takes it.

    text: or its bytes, in UTF-8 or UTF-16, with or without the mark in front that programs of Windows write. Raises
    ValueError, saying why, for anything else.
    """
    try:
        graph: Any = json.loads(text)
    except RecursionError:
        raise ValueError("its brackets go deeper than those of any workflow") from None
    if not isinstance(graph, dict) or not any(True for _ in nodes(cast("dict[str, Any]", graph))):
        raise ValueError("there is no node in it that would run")
    return cast("dict[str, Any]", graph)


class WorkflowNode(NamedTuple):
    """A node of a workflow that is not switched off.

    kind: its type. texts: the texts in its inputs, in their order. linked: names of the inputs that are linked.
    named: the texts by the names of their inputs, as far as the workflow has these names.
    """

    kind: str
    texts: list[str]
    linked: set[str]
    named: dict[str, str]

    def values_of(self, inputs: Iterable[str]) -> list[str | None]:
        """The text in each of these inputs, None where there is none.

        Old workflows save values without names. Where the node has none of these names, its first text is taken for the
        first input, and so on.
        """
        names = list(inputs)
        if any(name in self.named for name in names):
            return [self.named.get(name) for name in names]
        values: list[str | None] = []
        for position in range(len(names)):
            values.append(self.texts[position] if position < len(self.texts) else None)
        return values


def nodes(graph: Graph) -> Iterator[WorkflowNode]:
    """Every node of a workflow that is not switched off, those inside of subgraphs too.

    Raises ValueError where its lists are damaged, and BadSetup for more than MOST_NODES.
    """
    prompt: list[dict[str, Any]] = []  # the nodes of an API prompt; [] for a saved workflow
    # They are looked for first: the id of a node of an API prompt may be "nodes", the key of a saved workflow's list.
    for entry in graph.values():
        if isinstance(entry, dict) and "class_type" in entry:
            prompt.append(cast("dict[str, Any]", entry))
    _require_nodes(len(prompt))
    for node in prompt:
        inputs = _dictionary(node.get("inputs"))
        linked = {name for name, value in inputs.items() if isinstance(value, list)}  # a link is [node id, output]
        yield WorkflowNode(str(node["class_type"]), _texts(list(inputs.values())), linked, _texts_by_name(inputs))
    if not prompt:
        yield from _SavedNodes(subgraphs(graph)).running(_listed(graph, "nodes"), box_values={}, boxes=())


def _require_nodes(count: int) -> None:
    """Raises BadSetup for more nodes than are gone through."""
    if count > MOST_NODES:
        raise BadSetup(
            f"The workflow has more than {MOST_NODES} nodes, and its files are not looked for.",
            "Look for the files of a part of it.",
        )


class _SavedNodes:
    """Goes through the nodes of a saved workflow.

    A box is the node that stands for a subgraph. After a box come the nodes of its subgraph, with the values that the
    box gives them: newer frontends save a value that was changed on a box in the box alone, and the subgraph still has
    the value with which it was made.
    opened: for each box whose subgraph has been gone through, its type and its texts. count: of the nodes so far.
    """

    _DEEPEST = 30
    """The most boxes within each other whose subgraphs are gone through."""

    def __init__(self, inside: dict[str, dict[str, Any]]) -> None:
        """inside: the subgraphs by the types of their boxes."""
        self.inside = inside
        self.opened: set[str] = set()
        self.count = 0

    def running(
        self, level: list[dict[str, Any]], box_values: Mapping[Any, Any], boxes: tuple[str, ...]
    ) -> Iterator[WorkflowNode]:
        """The nodes of a level that are not switched off, and those below them.

        level: the nodes of the workflow or of one subgraph, as they are saved. box_values: by the id of a link, the
        value that the box of this level gives over it. boxes: the types of the boxes around this level.
        """
        self.count += len(level)
        _require_nodes(self.count)
        over_links = {**box_values, **_of_primitives(level)}
        for node in level:
            if node.get("mode", 0) in _SWITCHED_OFF:
                continue
            kind = str(node.get("type", ""))
            values = _values(node, over_links)
            texts = _texts(list(values.values()) or node.get("widgets_values"))
            linked = {str(slot.get("name")) for slot in _slots(node) if slot.get("link") is not None}
            yield WorkflowNode(kind, texts, linked, _texts_by_name(values))
            subgraph = self.inside.get(kind)  # None: the node is no box
            if subgraph is not None and self._opens(kind, values, boxes):
                yield from self.running(_listed(subgraph, "nodes"), _inside(subgraph, values), (*boxes, kind))

    def _opens(self, kind: str, values: Mapping[str, Any], boxes: tuple[str, ...]) -> bool:
        """Whether the subgraph of a box is gone through, which is then noted: not again with the same texts, and not
        inside of itself. kind, values: of the box. boxes: the types of the boxes around it."""
        key = f"{kind} {sorted(_texts_by_name(values).items())}"
        is_too_deep = kind in boxes or len(boxes) >= self._DEEPEST
        if is_too_deep or key in self.opened:
            return False
        self.opened.add(key)
        return True


def _slots(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The inputs of a node or subgraph as they are saved; [] where they are damaged."""
    slots: Any = node.get("inputs")
    if not isinstance(slots, list):
        return []
    return [_dictionary(slot) for slot in cast("list[Any]", slots)]


def _values(node: Mapping[str, Any], over_links: Mapping[Any, Any]) -> dict[str, Any]:
    """Name of an input -> its value, of the inputs of a node that have a widget.

    {} where the workflow does not save these names, as those of old frontends. An input with a widget may be linked
    to a box's value or a Primitive node: then the value of the link counts. over_links: id of a link -> value.
    """
    saved: Any = node.get("widgets_values")
    if isinstance(saved, dict):
        return cast("dict[str, Any]", saved)
    if not isinstance(saved, list):
        return {}
    saved_values = cast("list[Any]", saved)
    slots = [slot for slot in _slots(node) if "widget" in slot]
    names = [str(slot.get("name")) for slot in slots]
    for seed in ("seed", "noise_seed"):
        # After the value of a seed, frontends save what becomes of it after a run ("randomize"), which is no input: the
        # name "" takes it.
        if seed in names and len(saved_values) > len(names):
            names.insert(names.index(seed) + 1, "")
    values = dict(zip(names, saved_values, strict=False))
    for slot in slots:
        link: Any = slot.get("link")
        if isinstance(link, int) and link in over_links:
            values[str(slot.get("name"))] = over_links[link]
    return values


def _of_primitives(level: list[dict[str, Any]]) -> dict[Any, Any]:
    """Id of a link -> the value that a Primitive node gives over it to the inputs that are linked to it."""
    over_links: dict[Any, Any] = {}
    for node in level:
        values: Any = node.get("widgets_values")
        if node.get("type") != "PrimitiveNode" or not isinstance(values, list) or not values:
            continue
        outputs: Any = node.get("outputs")
        if not isinstance(outputs, list):
            continue
        for output in cast("list[Any]", outputs):
            for link in _link_ids(_dictionary(output).get("links")):
                over_links[link] = values[0]
    return over_links


def _link_ids(links: Any) -> list[int]:
    """The ids in a saved list of links; [] where it is damaged."""
    if not isinstance(links, list):
        return []
    return [link for link in cast("list[Any]", links) if isinstance(link, int)]


def _inside(subgraph: Mapping[str, Any], values: Mapping[str, Any]) -> dict[Any, Any]:
    """Id of a link inside of a subgraph -> the value that its box gives over it. values: those of the box."""
    over_links: dict[Any, Any] = {}
    for slot in _slots(subgraph):
        name: Any = slot.get("name")
        if isinstance(name, str) and name in values:
            for link in _link_ids(slot.get("linkIds")):
                over_links[link] = values[name]
    return over_links


def _texts_by_name(values: Mapping[str, Any]) -> dict[str, str]:
    """The values that are texts, by their names."""
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _dictionary(value: Any) -> dict[str, Any]:
    """A value of JSON as a dictionary, {} where it is none."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _texts(values: Any) -> list[str]:
    """The texts in a list of values of JSON; [] where it is no list."""
    if not isinstance(values, list):
        return []
    return [value for value in cast("list[Any]", values) if isinstance(value, str)]


def users(workflows: Mapping[str, Graph], template: Callable[[str], Graph]) -> Callable[[Model], str]:
    """A function that says in words what needs a model: the methods in these workflows that cannot do without it;
    without such a method the name of the workflow, or SINGLE where there are several workflows.

    workflows: name -> workflow. template: reads a template of the pack by its name; what a method needs is what the
    templates of its uses (method.json) need.
    """
    kinds: set[str] = set()
    for graph in workflows.values():
        kinds.update(node.kind for node in nodes(graph))
    needed: dict[str, set[str]] = {}  # title of a use -> ids of the models that it needs
    for method in methods():
        if method.used_by(kinds):
            for use in method.uses:
                needed[use.title] = {model.id for model in published(template(use.template))}
    no_method = SINGLE if len(workflows) > 1 else listed([*workflows])

    def users_of(model: Model) -> str:
        """What needs this model, in words."""
        titles = [title for title, ids in needed.items() if model.id in ids]
        return listed(titles, no_method)

    return users_of


def subgraphs(graph: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The subgraphs of a saved workflow, by the type of the nodes that stand for them.

    Raises ValueError where the list is damaged.
    """
    return {str(subgraph.get("id")): subgraph for subgraph in _listed(graph.get("definitions"), "subgraphs")}


def nodes_in(graph: Mapping[str, Any], running: bool = False) -> Iterator[dict[str, Any]]:
    """Every node of a saved workflow, as it is saved. After a node that stands for a subgraph come those of the
    subgraph.

    A subgraph that stands in several places comes once. running: without the nodes that are switched off. Raises
    ValueError where a list of nodes or subgraphs is damaged.
    """
    inside = subgraphs(graph)
    waiting = _listed(graph, "nodes")[::-1]  # a stack: the next node is the last
    while waiting:
        node = waiting.pop()
        if running and node.get("mode", 0) in _SWITCHED_OFF:
            continue
        yield node
        subgraph = inside.pop(str(node.get("type")), None)
        waiting += _listed(subgraph, "nodes")[::-1]


def _listed(holder: Any, name: str) -> list[dict[str, Any]]:
    """The nodes or subgraphs that stand under a name in a part of a saved workflow; [] where there is nothing.

    Raises ValueError where it is no list of dictionaries.
    """
    entries: Any = None
    if not holder:
        entries = []
    elif isinstance(holder, dict):
        entries = cast("dict[str, Any]", holder).get(name) or []
    if not isinstance(entries, list):
        raise ValueError(f"its list of {name} is damaged")
    for entry in cast("list[Any]", entries):
        if not isinstance(entry, dict):
            raise ValueError(f"its list of {name} is damaged")
    return cast("list[dict[str, Any]]", entries)
