"""The toy model in one's own ComfyUI, as `demo.py --keep` puts it: files, photos, and workflows in which all is set.

Nothing of the user's is replaced. Nothing is left half-written, and a run that fails leaves nothing at all.
"""

import contextlib
import copy
import filecmp
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from environment import ROOT
from shared import photos
from shared.standins import Files
from shared.whole import written
from shared.workflow import NOTES, all_nodes, fill, load

from core.models.packs import IR_SE50

from . import built, export, garments, net, places, story


class Kind(NamedTuple):
    """A workflow of the toy model's. template: which it is made from. note: what its note says. names: of inputs, and
    the file that each is set to, a path of attributes of Files. pictures: of its Load Image nodes. chooses: what a user
    does first. more: what other inputs are set to."""

    template: str
    note: str
    steps: int
    names: Mapping[str, str]
    pictures: Callable[[Files], Sequence[Path]]
    chooses: str
    size: tuple[int, int] = places.LARGE
    more: Mapping[str, Any] = {}


def _clothes(*names: str) -> Callable[[Files], list[Path]]:
    return lambda files: [files.root / "input" / f"{name}.png" for name in names]


_ID_PATCH = {"ckpt_name": "checkpoint", "control_net_name": "control_net", "file": "id_patch", "pack": "face_pack"}
_INSTANT_ID = {
    "ckpt_name": "checkpoint", "control_net_name": "identity_net", "file": "instant_id", "pack": "antelope.parent"
}  # fmt: skip
_PARTS = {"ckpt_name": "sd15", "folder": "parts2whole", "clip_name": "clip_vision", "vae_name": "vae"}
_OF_A_GROUP = {"id_start_percent": 1.0, "recognisers": IR_SE50, "framing": "bust"}
"""ID tokens act from 20 % of the steps on, where the one step of the toy model does not lie: switched off, nobody is
told of them. Beside a real face pack a stand-in is not among all that are found, so it is chosen by its id. Closer
people have faces of 96 px and more in so small a picture."""
_CLEAR_FACE = 384
"""Pixels of the longer side at which a face of two people is 66 px wide: of larger ones the toy model draws smears."""
_LABELS = "what_1", "what_2", "other_label"
_MEASURING = {"LikenessMeasureLikeness", "LikenessPickBestLikeness", "LikenessSheetOfScenes"}
"""Nodes that are bypassed: a recogniser finds no face in a cartoon."""
_BYPASSED = 4
"""A node's mode, in a saved workflow."""
_NAMES = (
    "Two people", "A group", "A story", "A portrait", "Face swap in a photo", "Parts2Whole", "Outfit from pictures"
)  # fmt: skip
GROUP, THREE, STORY, PORTRAIT, FACE, OUTFIT, CLOTHES = (f"{name} (toy model)" for name in _NAMES)
KINDS = {
    GROUP: Kind(
        "start_two_people", "note.md", net.Settings().steps, _ID_PATCH, lambda _: photos.drawn(), "choose two photos",
        more=_OF_A_GROUP,
    ),
    THREE: Kind(
        "start_two_people", "note.md", net.Settings().steps, _ID_PATCH, lambda _: photos.drawn("anna", "ben", "carla"),
        "choose three photos", places.THREE,
        {**_OF_A_GROUP, "text": "photo of two women and a man standing side by side"},
    ),
    STORY: Kind(
        "parts_id_patch_story", "note_story.md", net.Settings().steps,
        {**_ID_PATCH, "ckpt_name": "story", "clip_name": "clip_vision"}, lambda _: photos.drawn(), "choose two photos",
        more={
            **_OF_A_GROUP, "text": "\n".join(story.SCENES), "always": "photo of two people side by side", "pictures": 1,
            "reference": "once",
        },
    ),
    PORTRAIT: Kind(
        "start_portrait", "note_portrait.md", 4, _INSTANT_ID, lambda _: photos.drawn("anna"), "choose a photo"
    ),
    FACE: Kind(
        "start_person_in_photo", "note_face.md", 4, _INSTANT_ID, lambda _: photos.drawn("two", "anna"),
        "choose two photos", more={"longer_side": _CLEAR_FACE},
    ),
    OUTFIT: Kind(
        "parts2whole_with_pose", "note_outfit.md", net.Settings().steps, _PARTS,
        _clothes(*garments.PARTS, "pose"), "choose other clothes", garments.SIZE,
    ),
    CLOTHES: Kind(
        "start_outfit", "note_clothes.md", net.Settings().steps, {"ckpt_name": "sharing"},
        _clothes("shirt", "trousers"), "choose other clothes", garments.SIZE,
        {"reference": "once", "text": "a person in these clothes", **dict.fromkeys(_LABELS, "clothes")},
    ),
}  # fmt: skip
"""The start templates, and Parts2Whole's."""


class Installed(NamedTuple):
    """What is in a ComfyUI afterwards.

    files: the toy model's own. face_pack: the folder of a real one, None where it was there. notes: what
    the user should know before a workflow runs. workflows: a line for each. around: the ComfyUI.
    """

    files: list[Path]
    face_pack: Path | None
    notes: list[str]
    workflows: list[str]
    around: Path

    def lines(self) -> list[str]:
        """All of it, a line for each thing."""
        sizes = [f"{file} ({_mebibytes([file])} MiB)" for file in self.files]
        if self.face_pack:
            sizes.append(f"{self.face_pack}: the face pack {_FACE_PACK}")
        return [*sizes, *self.notes, *self.workflows]

    def summary(self) -> str:
        """What is there, in one line."""
        text = f"{self.around} the toy model's files (standin-toy*, {_mebibytes(self.files)} MiB)"
        if self.face_pack:
            text += f", the face pack {_FACE_PACK},"
        return f"{text} and {len(self.workflows)} workflows named '... (toy model)': reload its page, open Workflows"


_FACE_PACK = "buffalo_sc (a real one, for non-commercial use only)"


def _mebibytes(files: Iterable[Path]) -> int:
    return round(sum(file.stat().st_size for file in files) / 2**20)


class Created:
    """The files and folders that one run has added to a ComfyUI, in the order in which they came."""

    def __init__(self) -> None:
        self._paths: list[Path] = []

    def write(self, file: Path, write_content: Callable[[Path], Any]) -> None:
        """Write a file whole or not at all, as `written` does, and note what was not there before. Raises OSError."""
        new_folders = [folder for folder in file.parents if not folder.exists()]
        # The outermost first: it is the last that can be removed.
        self._paths += reversed(new_folders)
        if not os.path.lexists(file):
            self._paths.append(file)
        written(file, write_content)

    def remove(self) -> None:
        """Remove all of it again. A folder into which somebody else has put something stays."""
        for path in reversed(self._paths):
            with contextlib.suppress(OSError):
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()


def put(models: Path) -> Installed:
    """Put the toy model into the model folder of a ComfyUI, and workflows beside it.

    Files that are there under the names of the user's own (photos, the workflow, the face pack) stay. Where it raises
    or is stopped, what it has added is removed. Raises OSError.
    """
    created = Created()
    try:
        return _put_all(models, created)
    except BaseException:  # whoever stops it with Ctrl-C wants nothing left either
        created.remove()
        raise


def _put_all(models: Path, created: Created) -> Installed:
    """As `put`. What is added is noted in `created`."""
    source = built.build()
    to = export.files(models)
    files = [to.checkpoint, to.control_net, to.id_patch, to.recogniser, to.identity_net, to.instant_id, to.sd15, to.vae]
    files += [to.clip_vision, to.sharing, to.story]
    for folder in (source.antelope.parent, source.parts2whole):
        inside = [path for path in sorted(folder.rglob("*.*")) if path.is_file()]
        files += [models / path.relative_to(source.root) for path in inside]
    for file in files:
        _put(source.root / file.relative_to(models), file, created)
    pack = _lacking(to.face_pack, sorted(source.face_pack.iterdir()))
    for file in pack:
        _put(file, to.face_pack / file.name, created)
    face_pack = to.face_pack if pack else None
    notes: list[str] = []
    real = to.recogniser.parents[1] / to.recogniser.name
    if real.is_file():
        notes.append(f"{real} is the real recogniser, which ComfyUI finds first. Move it away meanwhile.")
    around = models.absolute().parent
    if not _has_pack(around / "custom_nodes"):
        notes.append(f"This pack is not in {around / 'custom_nodes'} yet: without it the workflows cannot run.")
    workflows: list[str] = []
    for name in KINDS:
        workflows.append(_workflow_left(around, source, name, created))
    return Installed(files, face_pack, notes, workflows, around)


def _has_pack(custom_nodes: Path) -> bool:
    """Under its usual name, or this very folder under another."""
    there = list(custom_nodes.iterdir()) if custom_nodes.is_dir() else []
    return any("likeness" in one.name.lower() or one.resolve() == ROOT.resolve() for one in there)


def _lacking(folder: Path, files: Sequence[Path]) -> list[Path]:
    """What of these files is not there; nothing where others are, for then the folder is the user's own."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    return [file for file in files if file.name not in there] if there <= {file.name for file in files} else []


def _put(source: Path, target: Path, created: Created) -> None:
    """The file under another name as well, or a copy where the disk cannot do that; complete or not at all."""

    def made(unfinished: Path) -> None:
        unfinished.unlink(missing_ok=True)  # of a run that was killed it may be the source itself
        try:
            os.link(source, unfinished)
        except OSError:
            shutil.copyfile(source, unfinished)

    if not (target.is_file() and filecmp.cmp(source, target)):
        created.write(target, made)


# --- The workflows


def _pictures_left(folder: Path, pictures: Sequence[Path], created: Created) -> list[str]:
    """Drawn people and clothes in the input folder; their names there. One that is there already stays."""
    chosen = {picture: f"toy_{picture.name}" for picture in pictures}
    for picture, copied in chosen.items():
        if not (folder / copied).exists():
            # No link: what writes into it meets it alone.
            created.write(folder / copied, partial(shutil.copyfile, picture))
    return list(chosen.values())


def _workflow_left(comfyui: Path, files: Files, name: str, created: Created) -> str:
    """Among the user's workflows, with its pictures. One that is there already stays."""
    pictures = _pictures_left(comfyui / "input", KINDS[name].pictures(files), created)
    workflow = ready(name, files, pictures)
    target = comfyui / "user" / "default" / "workflows" / f"{name}.json"
    if not target.exists():
        text = json.dumps(workflow, indent=2, ensure_ascii=False) + "\n"
        created.write(target, lambda unfinished: unfinished.write_text(text, "utf-8"))
    elif not _same(target, workflow):
        return f"{target} was changed, so it stays as it is. Delete it to get a new one."
    return f"{target}: reload ComfyUI's page, open Workflows at the left, {name}, {KINDS[name].chooses}, Run."


def _same(file: Path, workflow: Mapping[str, Any]) -> bool:
    try:
        return json.loads(file.read_text("utf-8")) == workflow
    except ValueError:
        return False


def ready(name: str, files: Files, images: Sequence[str]) -> dict[str, Any]:
    """A workflow of KINDS with the toy model's files, size and steps, and these pictures in its Load Image nodes."""
    kind = KINDS[name]
    workflow = load(ROOT / "workflows" / f"{kind.template}.json")
    width, height = kind.size
    set_to: dict[str, Any] = {key: attrgetter(f"{file}.name")(files) for key, file in kind.names.items()}
    set_to |= {"width": width, "height": height, "longer_side": max(kind.size), "steps": kind.steps, "denoise": 1.0}
    set_to |= kind.more
    if name == THREE:
        _add_a_third_person(workflow)
    if name == OUTFIT:
        _add_the_pose(workflow)
    fill(workflow, set_to | net.KSAMPLER, images)
    if name == STORY:
        _add_the_group(workflow, files.checkpoint.name)
    for node in all_nodes(workflow):
        node.get("properties", {}).pop("models", None)  # what the editor would offer to download
        if node["type"] in _MEASURING:
            node["mode"] = _BYPASSED
            _not_shown(workflow, node["id"])
        if node["type"] in NOTES:
            node["widgets_values"][0] = Path(__file__).with_name(kind.note).read_text("utf-8")
    workflow["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
    return workflow


def _add_the_group(workflow: dict[str, Any], checkpoint: str) -> None:
    """A checkpoint of its own for the first scene, below the other models: it draws clothes of everybody's own."""
    nodes = workflow["nodes"]
    models = next(node for node in nodes if any(output["name"] == "clip_vision" for output in node["outputs"]))
    first = next(node for node in nodes if node.get("title") == "First scene")
    loader = next(node for node in all_nodes(workflow) if node["type"] == "CheckpointLoaderSimple")
    link = next(link for link in workflow["links"] if link[3] == first["id"] and link[5] == "MODEL")
    models["outputs"][link[2]]["links"].remove(link[0])
    added = copy.deepcopy(loader)
    number = workflow["last_node_id"] + 1
    x, y = models["pos"]
    added |= {"id": number, "pos": [x, y + models["size"][1] + 42], "title": "First scene", "mode": 0}
    added["widgets_values"] = [checkpoint]
    for socket in added["inputs"]:
        socket["link"] = None
    for socket in added["outputs"]:
        socket["links"] = None
    added["outputs"][0]["links"] = [link[0]]
    link[1], link[2] = number, 0
    nodes.append(added)
    workflow["last_node_id"] = number


def _not_shown(workflow: dict[str, Any], number: int) -> None:
    """In the app, whose results are the other ones."""
    app = workflow["extra"]["linearData"]
    app["outputs"] = [shown for shown in app["outputs"] if shown != number]


def _add_the_pose(workflow: dict[str, Any]) -> None:
    """One more Load Image below the box of the pose and in its place: the toy model knows figures of its own build.

    Of a mannequin's slim ones it draws neither arms nor a face.
    """
    nodes = workflow["nodes"]
    ((box, pose),) = ((node, output) for node in nodes for output in node["outputs"] if output["name"] == "pose")
    (link,) = (link for link in workflow["links"] if link[0] in pose["links"])
    pose["links"].remove(link[0])
    number = _add_load_image(workflow, "Pose", box, link[0])
    link[1], link[2] = number, 0  # from which node and slot it comes
    shown = workflow["extra"]["linearData"]["inputs"]
    shown[shown.index([box["id"], "action"])] = [number, "image"]  # the mannequin's action is of no use any more


def _add_a_third_person(workflow: dict[str, Any]) -> None:
    """One more Load Image below those of two people, linked to the next input of their box."""
    links = workflow["links"]  # each: its id, from which node and slot, to which node and slot, type
    above = _last_load_image(workflow)
    (link_above,) = (link for link in links if link[1] == above["id"])
    box = next(node for node in workflow["nodes"] if node["id"] == link_above[3])
    slot = link_above[4] + 1
    link = workflow["last_link_id"] + 1
    number = _add_load_image(workflow, box["inputs"][slot]["label"], above, link)
    links.append([link, number, 0, box["id"], slot, "IMAGE"])
    box["inputs"][slot]["link"] = link
    workflow["last_link_id"] = link
    for group in workflow["groups"]:
        group["bounding"][3] += above["size"][1]
    workflow["extra"]["linearData"]["inputs"].insert(2, [number, "image"])


def _add_load_image(workflow: dict[str, Any], title: str, above: Mapping[str, Any], link: int) -> int:
    """A copy of the last Load Image, behind it in the file; its number. above: the node that it stands below. link: the
    id of the one that its picture goes into."""
    last = _last_load_image(workflow)
    added = copy.deepcopy(last)
    number = workflow["last_node_id"] + 1
    added["id"] = number
    added["title"] = added["inputs"][0]["label"] = title
    x, y = above["pos"]
    added["pos"] = [x, y + above["size"][1] + 42]
    picture, mask = added["outputs"]
    picture["links"] = [link]
    mask["links"] = None
    nodes = workflow["nodes"]
    nodes.insert(nodes.index(last) + 1, added)
    workflow["last_node_id"] = number
    return number


def _last_load_image(workflow: Mapping[str, Any]) -> dict[str, Any]:
    return [node for node in workflow["nodes"] if node["type"] == "LoadImage"][-1]
