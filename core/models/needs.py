"""What a workflow needs of the models in the manifest, what else its loaders have chosen, and which method needs what.

Workflows are as ComfyUI saves them, those inside of subgraphs too. Standard library only: scripts read them where there
is no torch yet.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, NamedTuple, cast

from ..errors import listed
from ..methods import methods
from ..names import spelled
from ..text import NAME, plain
from . import packs
from .manifest import STANDIN, File, Model, models
from .workflow_forms import NoWorkflow, graph_of

Graph = Mapping[str, Any]
"""A workflow as ComfyUI saves it, or as its API takes it."""
LOADERS: Mapping[str, Mapping[str, str]] = {
    "CheckpointLoader": {"config_name": "", "ckpt_name": "checkpoints"},
    "CheckpointLoaderSimple": {"ckpt_name": "checkpoints"},
    "unCLIPCheckpointLoader": {"ckpt_name": "checkpoints"},
    "ImageOnlyCheckpointLoader": {"ckpt_name": "checkpoints"},
    "CreateHookModelAsLora": {"ckpt_name": "checkpoints"},
    "CreateHookModelAsLoraModelOnly": {"ckpt_name": "checkpoints"},
    "ControlNetLoader": {"control_net_name": "controlnet"},
    "DiffControlNetLoader": {"control_net_name": "controlnet"},
    "CLIPVisionLoader": {"clip_name": "clip_vision"},
    "StyleModelLoader": {"style_model_name": "style_models"},
    "GLIGENLoader": {"gligen_name": "gligen"},
    "VAELoader": {"vae_name": "vae"},
    "UNETLoader": {"unet_name": "diffusion_models"},
    "CLIPLoader": {"clip_name": "text_encoders"},
    "DualCLIPLoader": {"clip_name1": "text_encoders", "clip_name2": "text_encoders"},
    "TripleCLIPLoader": {
        "clip_name1": "text_encoders", "clip_name2": "text_encoders", "clip_name3": "text_encoders",
    },
    "QuadrupleCLIPLoader": {
        "clip_name1": "text_encoders", "clip_name2": "text_encoders", "clip_name3": "text_encoders",
        "clip_name4": "text_encoders",
    },
    "LoraLoader": {"lora_name": "loras"},
    "LoraLoaderModelOnly": {"lora_name": "loras"},
    "LoraLoaderBypass": {"lora_name": "loras"},
    "LoraLoaderBypassModelOnly": {"lora_name": "loras"},
    "CreateHookLora": {"lora_name": "loras"},
    "CreateHookLoraModelOnly": {"lora_name": "loras"},
    "HypernetworkLoader": {"hypernetwork_name": "hypernetworks"},
    "UpscaleModelLoader": {"model_name": "upscale_models"},
    "ModelPatchLoader": {"name": "model_patches"},
    "LatentUpscaleModelLoader": {"model_name": "latent_upscale_models"},
    "AudioEncoderLoader": {"audio_encoder_name": "audio_encoders"},
    "LTXVAudioVAELoader": {"ckpt_name": "checkpoints"},
    "LTXAVTextEncoderLoader": {"text_encoder": "text_encoders", "ckpt_name": "checkpoints"},
    "LoadBackgroundRemovalModel": {"bg_removal_name": "background_removal"},
    "FrameInterpolationModelLoader": {"model_name": "frame_interpolation"},
    "OpticalFlowLoader": {"model_name": "optical_flow"},
    "LoadMoGeModel": {"model_name": "geometry_estimation"},
    "LoadMediaPipeFaceLandmarker": {"model_name": "detection"},
    "LoadDA3Model": {"model_name": "geometry_estimation"},
    "LikenessAddLoRAToPerson": {"file": "loras"},
    "LikenessDetectBodySurface": {"file": "densepose"},
}  # fmt: skip
"""Nodes whose menus list model files: by the name of such an input its model key, "" for a menu of something else that
stands before. The host's loader of a method's file is not among them: the code here names no method. In a saved
workflow, where values have no names, the first texts of a node are these, in this order."""
_OUR_PREFIX = "Likeness"
"""With which the ids of our own nodes begin."""
_FURTHER = {"vae": ("vae_approx",)}
"""Model keys in whose folders the menu of another key looks as well: Load VAE lists small VAEs for previews."""
HOST_KEYS = frozenset(key for menus in LOADERS.values() for key in menus.values())
"""The keys of all folders that loaders of the host read."""
SINGLE = "single templates"
"""What needs a model that no method as such does, where several workflows are looked at."""
_OF_A_FAMILY = ("checkpoints", "controlnet")
"""Keys of files whose tensors tell for which family they are."""
_LOADER, _ADAPTERS = "LikenessLoadFaceEmbedder", "LikenessLoadAdapter"
_LOOKS_FOR_FACES = (
    "LikenessPerson", "LikenessCastFromPhotos", "LikenessSortPhotosIntoPeople", "LikenessDetectFaces",
    "LikenessMeasureLikeness", "LikenessCropFaces",
)  # fmt: skip
"""Nodes that load a face model themselves where none is linked."""


def wanted(graph: Graph) -> tuple[Model, ...]:
    """The models of a workflow: published ones, and what its loaders have chosen beside them."""
    held = _Held(graph)
    names = {model.name for model in models()}
    needed = published(graph)
    files = loaded(graph)
    families = [model.family for model in needed if model.family and model.key not in HOST_KEYS]
    keys = [file.key for file in files]
    own: list[Model] = []
    for file in files:
        if spelled(file.name) not in names:
            # Which of several is for our nodes only their links would tell: a second checkpoint may be of any family.
            family = families[0] if families and keys.count(file.key) == 1 else ""
            own.append(_own(file, family))
    # A file of the user's own choice stands for the published one that only our nodes ask for.
    replaced = {model.key for model in own}
    # What its methods read, and what Load Face Embedder names behind the pack.
    recognisers = held.read | held.recognisers
    ours: list[Model] = []
    for model in needed:
        if model.name in held.texts or model.key not in replaced:
            chosen = model.name in held.texts or model.name in held.packs
            ours.append(replace(_without_recogniser(model, recognisers), chosen=chosen))
    own_packs = [_own_pack(pack) for pack in held.packs if pack not in names]
    return (*ours, *own_packs, *own)


@dataclass(frozen=True)
class Chosen:
    """A model file that a loader has chosen. key: that of the folder it is looked for in. further: keys of other
    folders where its loader looks as well."""

    key: str
    name: str
    further: tuple[str, ...] = ()


def loaded(graph: Graph) -> tuple[Chosen, ...]:
    """What the menus of the host's loaders have chosen, and of ours that take any of several files, each once."""
    held = _Held(graph)
    one_menu = {kind: {"file": key} for kind, key in _of_several().items()}
    menus = {**LOADERS, **one_menu}
    files: list[Chosen] = []
    for node in held.nodes:
        files += _chosen_by(node, menus.get(node.kind, {}))
        adapter = node.held_by(["file"])[0] if node.kind == _ADAPTERS else None
        if adapter:
            files.append(_adapter(adapter, held))
    return tuple(dict.fromkeys(files))


def chosen_in_host_menus(graph: Graph) -> tuple[Chosen, ...]:
    """What the menus of the host's own loaders have chosen, each once.

    The host refuses a name that its menu does not have letter by letter. Our loaders, which are left out here, take a
    name in any spelling.
    """
    files: list[Chosen] = []
    for node in nodes(graph):
        if not node.kind.startswith(_OUR_PREFIX):
            files += _chosen_by(node, LOADERS.get(node.kind, {}))
    return tuple(dict.fromkeys(files))


def _chosen_by(node: "Used", menu: Mapping[str, str]) -> list[Chosen]:
    """What one loader has chosen. menu: its inputs and the key of each, as in LOADERS."""
    files: list[Chosen] = []
    for key, text in zip(menu.values(), node.held_by(menu), strict=True):
        if key and text is not None and not _is_no_file(key, text):
            files.append(Chosen(key, text, _FURTHER.get(key, ())))
    return files


def _is_no_file(key: str, text: str) -> bool:
    """Whether an entry of a menu stands for no file: that there are none, or a VAE that is built in."""
    return text == packs.NONE_FOUND or (key == "vae" and not PurePath(text).suffix)


def _adapter(name: str, held: "_Held") -> Chosen:
    """What Load Adapter has chosen: a published file lies in its own folder, another one in that of any method; the
    first is that of a method in the workflow whose published file is not chosen."""
    keys = [method.key for method in methods() if method.key]
    # Of two files of one name in two folders the menu shows the second behind its folder.
    folder, _, rest = spelled(name).partition("/")
    if rest and folder in keys:
        return Chosen(folder, rest)
    published_key = next((model.key for model in models() if model.name == spelled(name)), None)
    if published_key:
        return Chosen(published_key, name)
    used = [method.key for method in methods() if method.key and method.used_by(held.kinds)]
    served = {model.key for model in models() if model.name in held.texts}
    key, *further = dict.fromkeys([*(one for one in used if one not in served), *used, *keys])
    return Chosen(key, name, tuple(further))


def published(graph: Graph) -> tuple[Model, ...]:
    """The models a workflow cannot do without, in the order of the manifest: by the names its loaders have chosen, by
    its nodes, and the face packs of its methods."""
    held = _Held(graph)
    kinds = held.kinds | {apply for method in methods() if method.node in held.kinds for apply in method.applies}
    needed = {one.id for one in models() if one.name in held.texts or kinds & set(one.nodes)}
    needed |= {one.id for one in models() if one.name in held.packs and one.format == "face-pack"}
    named = held.recognisers & {*packs.ASKED_FOR}
    needed |= {packs.published(recogniser).id for recogniser in held.read | named}
    # A node that looks for faces with whatever pack it finds: neither a face model nor landmarks are linked.
    enough = {"face_landmarks", *(["face_model"] if _LOADER in held.kinds else ())}
    any_pack = any(one.kind in _LOOKS_FOR_FACES and not one.linked & enough for one in held.nodes)
    if any_pack and not any(one.format == "face-pack" for one in models() if one.id in needed):
        needed.add(packs.ANTELOPE)
    return tuple(one for one in models() if one.id in needed)


def chooses_standins(graph: Graph) -> bool:
    """Whether a workflow is the miniature's: for its files no released weights are missing, and it draws cartoons."""
    return any(text.startswith(STANDIN) for text in _Held(graph).texts)


class _Held:
    """The nodes of a workflow, their types, and every text that one of them holds, such as the file of a loader,
    spelled as the manifest spells names.

    read: ids of the recognisers whose embeddings its methods read, where it makes people of photos. packs, recognisers:
    what its Load Face Embedder nodes have chosen; a menu without any pack stands for the one that a run then asks for.
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes = list(nodes(graph))
        self.kinds = {one.kind for one in self.nodes}
        self.texts = {spelled(text) for one in self.nodes for text in one.texts}
        formats = [one.format for one in models() if one.name in self.texts]
        used = [one for one in methods() if one.recogniser and one.used_by(self.kinds)]
        self.read = {
            one.recogniser
            for one in used
            if not one.embedding_formats or any(each.startswith(one.embedding_formats) for each in formats)
        }
        if not self.kinds & {*_LOOKS_FOR_FACES}:
            self.read = set[str]()
        self.packs: dict[str, None] = {}
        self.recognisers: set[str] = set()
        for node in self.nodes:
            pack, recogniser = node.held_by(["pack", "recognisers"]) if node.kind == _LOADER else (None, None)
            if pack and pack != packs.NO_DETECTOR:
                self.packs[packs.ANTELOPE if pack == packs.NONE_FOUND else _as_a_pack(pack)] = None
            if recogniser:
                self.recognisers.add(recogniser)


def _as_a_pack(name: str) -> str:
    """A pack that Load Face Embedder has chosen, with slashes, and a known one in the letters of its publisher."""
    return packs.pack_of(f"{spelled(name)}/any file")


def _of_several() -> dict[str, str]:
    """Loaders of ours for any of several published files -> their model key."""
    counts = Counter(model.key for model in models() if model.key not in HOST_KEYS)
    return {method.node: method.key for method in methods() if method.node and method.key and counts[method.key] > 1}


def _without_recogniser(model: Model, needed: set[str]) -> Model:
    """A face pack as a detector only, as which any other pack does as well, unless its recogniser is `needed`."""
    kept = (
        file
        for file in model.files
        if file.part != "recogniser" or packs.recogniser_id(file.names[0], file.size or 0) in needed
    )
    return replace(model, files=tuple(kept))


def _own(file: Chosen, made_for: str) -> Model:
    """A file that a loader names, in the folder of its key as the host has it: no name leads out of there."""
    of_family = (model for model in models() if (model.key, model.family) == (file.key, made_for))
    form = next((model.format for model in of_family if file.key in _OF_A_FAMILY), "")
    title = plain(file.name, NAME) or "a file without a name"
    # As it is written, and with the slashes of every system.
    written = (file.name, file.name.replace("\\", "/"))
    names = [os.path.relpath(os.path.join("/", name), "/") for name in written]
    return Model(
        id="", title=title, key=file.key, name=names[0], format=form, family=made_for,
        files=(File(tuple(dict.fromkeys(names)), None, None),), commercial="", chosen=True, further=file.further,
    )  # fmt: skip


def _own_pack(name: str) -> Model:
    """A face pack that Load Face Embedder has chosen and nobody publishes."""
    below = PurePath("." if name == packs.LOOSE else os.path.relpath(os.path.join("/", name), "/"))
    detector = File(((below / "*.onnx").as_posix(),), None, None, part="detector")
    return Model(
        id="", title=plain(name, NAME), key="insightface", name=name, format="face-pack", family="", files=(detector,),
        commercial="", chosen=True,
    )  # fmt: skip


def workflow(text: str) -> dict[str, Any]:
    """A workflow as ComfyUI saves it, or as its API takes it, also as it is posted. Raises ValueError, saying why, for
    anything else."""
    try:
        graph = json.loads(text)
    except RecursionError:
        raise ValueError("its brackets go deeper than those of any workflow") from None
    with suppress(NoWorkflow):  # what has no nodes is told below
        graph = graph_of(graph)
    if not isinstance(graph, dict) or not list(nodes(cast("dict[str, Any]", graph))):
        raise ValueError("there is no node in it that would run")
    return cast("dict[str, Any]", graph)


class Used(NamedTuple):
    """A node of a workflow: its type, the texts it holds in the order of its inputs, the inputs that are linked, and
    the texts by the names of their inputs, as far as the workflow has these."""

    kind: str
    texts: list[str]
    linked: set[str]
    named: dict[str, str]

    def held_by(self, names: Iterable[str]) -> list[str | None]:
        """The texts that these inputs hold; where the node has none of the names, its first texts. None: no text."""
        wanted = list(names)
        if any(name in self.named for name in wanted):
            return [self.named.get(name) for name in wanted]
        return [self.texts[place] if place < len(self.texts) else None for place in range(len(wanted))]


def nodes(graph: Graph) -> Iterator[Used]:
    """Every node of a workflow, those inside of subgraphs too, without those that are switched off."""
    # In a prompt of the API a node may be called "nodes".
    prompt = [cast("dict[str, Any]", one) for one in graph.values() if isinstance(one, dict) and "class_type" in one]
    for node in prompt:
        inputs = _named(node.get("inputs"))
        linked = {name for name, value in inputs.items() if isinstance(value, list)}
        yield Used(str(node["class_type"]), _texts(list(inputs.values())), linked, _texts_by_name(inputs))
    if not prompt:
        yield from _Boxes(subgraphs(graph)).running(_listed(graph, "nodes"), {}, ())


class _Boxes:
    """Goes through the nodes of a saved workflow: behind a box, which stands for a subgraph, come the nodes inside of
    it with the values that the box gives them.

    Newer frontends save a value that was changed on a box there alone, and inside what the file began with.
    """

    _DEEPEST, _MOST = 30, 1000
    """Boxes in boxes, and boxes with different values, that are opened: nobody's workflow has as many."""

    def __init__(self, inside: dict[str, dict[str, Any]]) -> None:
        self.inside = inside
        self.opened: set[str] = set()

    def running(
        self, level: list[dict[str, Any]], brought: Mapping[Any, Any], around: tuple[str, ...]
    ) -> Iterator[Used]:
        """The nodes of a level that are not switched off. brought: by the id of a link the value that comes over it
        from a box around this level. around: the types of these boxes."""
        over_links = {**brought, **_of_primitives(level)}
        for node in level:
            if node.get("mode", 0) in (2, 4):  # muted, bypassed
                continue
            kind = str(node.get("type", ""))
            values = _values(node, over_links)
            texts = _texts(list(values.values()) or node.get("widgets_values"))
            linked = {str(slot.get("name")) for slot in _slots(node) if slot.get("link") is not None}
            yield Used(kind, texts, linked, _texts_by_name(values))
            part = self.inside.get(kind)
            if part is not None and self._first(kind, values, around):
                yield from self.running(_listed(part, "nodes"), _inside(part, values), (*around, kind))

    def _first(self, kind: str, values: Mapping[str, Any], around: tuple[str, ...]) -> bool:
        """Whether a box is opened: each once with the same values, and never inside of itself."""
        key = f"{kind} {sorted(_texts_by_name(values).items())}"
        if kind in around or len(around) >= self._DEEPEST or key in self.opened or len(self.opened) >= self._MOST:
            return False
        self.opened.add(key)
        return True


def _slots(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    slots: Any = node.get("inputs")
    return [_named(slot) for slot in cast("list[Any]", slots)] if isinstance(slots, list) else []


def _values(node: Mapping[str, Any], over_links: Mapping[Any, Any]) -> dict[str, Any]:
    """The values of a node by the names of their inputs, those behind a link as the link brings them; {} where the
    workflow has no names, as those of old frontends."""
    saved: Any = node.get("widgets_values")
    if isinstance(saved, dict):
        return cast("dict[str, Any]", saved)
    if not isinstance(saved, list):
        return {}
    values = cast("list[Any]", saved)
    slots = [slot for slot in _slots(node) if "widget" in slot]
    names = [str(slot.get("name")) for slot in slots]
    for seed in ("seed", "noise_seed"):
        # Behind a seed frontends save what becomes of it after a run.
        if seed in names and len(values) > len(names):
            names.insert(names.index(seed) + 1, "")
    found = dict(zip(names, values, strict=False))
    for slot in slots:
        link: Any = slot.get("link")
        if isinstance(link, int) and link in over_links:
            found[str(slot.get("name"))] = over_links[link]
    return found


def _of_primitives(level: list[dict[str, Any]]) -> dict[Any, Any]:
    """By the id of a link what a Primitive, a widget for the widgets it is linked to, brings over it."""
    brought: dict[Any, Any] = {}
    for node in level:
        values: Any = node.get("widgets_values")
        if node.get("type") != "PrimitiveNode" or not isinstance(values, list) or not values:
            continue
        outputs: Any = node.get("outputs")
        for output in cast("list[Any]", outputs) if isinstance(outputs, list) else []:
            links: Any = _named(output).get("links")
            if isinstance(links, list):
                brought |= {link: values[0] for link in cast("list[Any]", links) if isinstance(link, int)}
    return brought


def _inside(part: Mapping[str, Any], values: Mapping[str, Any]) -> dict[Any, Any]:
    """By the id of a link inside of a subgraph the value that its box has for it."""
    brought: dict[Any, Any] = {}
    for slot in _slots(part):
        links: Any = slot.get("linkIds")
        name: Any = slot.get("name")
        if isinstance(name, str) and name in values and isinstance(links, list):
            value = values[name]
            brought |= {link: value for link in cast("list[Any]", links) if isinstance(link, int)}
    return brought


def _texts_by_name(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _named(values: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", values) if isinstance(values, dict) else {}


def _texts(values: Any) -> list[str]:
    return [one for one in cast("list[Any]", values) if isinstance(one, str)] if isinstance(values, list) else []


def users(workflows: Mapping[str, Graph], template: Callable[[str], Graph]) -> Callable[[Model], str]:
    """Gives of a model the methods in these workflows that cannot do without it; else the workflow, or SINGLE of many.

    workflows: by their names. template: reads one of the pack by its name.
    """
    kinds = {node.kind for graph in workflows.values() for node in nodes(graph)}
    uses = [use for method in methods() if method.used_by(kinds) for use in method.uses]
    needed = {use.title: {model.id for model in published(template(use.template))} for use in uses}
    other = SINGLE if len(workflows) > 1 else listed([*workflows])
    return lambda model: listed([title for title, ids in needed.items() if model.id in ids], other)


def subgraphs(graph: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What stands inside of the nodes of these types. Raises ValueError where the list is damaged."""
    return {str(part.get("id")): part for part in _listed(graph.get("definitions"), "subgraphs")}


def nodes_in(graph: Mapping[str, Any], running: bool = False) -> Iterator[dict[str, Any]]:
    """Every node; behind one that stands for a subgraph those inside of it, once.

    running: without those that are switched off. Raises ValueError where a list of nodes or subgraphs is damaged.
    """
    inside, waiting = subgraphs(graph), _listed(graph, "nodes")[::-1]
    while waiting:
        node = waiting.pop()
        if running and node.get("mode", 0) in (2, 4):  # muted, bypassed
            continue
        yield node
        waiting += _listed(inside.pop(str(node.get("type")), None), "nodes")[::-1]


def _listed(part: Any, name: str) -> list[dict[str, Any]]:
    known: Any = part or {}
    found: Any = cast("dict[str, Any]", known).get(name) or [] if isinstance(known, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in cast("list[Any]", found)):
        raise ValueError(f"its list of {name} is damaged")
    return cast("list[dict[str, Any]]", found)
