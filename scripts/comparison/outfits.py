"""The source --outfits: a person in clothes from pictures, by the user's own files, and how much of each part shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import environment
from environment import ROOT, SetupError
from pack.core.checks.errors import counted
from pack.core.checks.text import MOST_NAME_LETTERS, plain
from pack.core.measure.figures import mean
from pack.core.parts.parts import LABELS, Part, make_part
from pack.core.pictures.files import ENDINGS
from pack.core.pictures.previews import as_tensor
from PIL import Image
from shared.photos import pixels as pixels_of
from shared.workflow import load, to_prompt
from torch import Tensor

from . import page
from .columns import DINO, Column, named
from .graphs import Graph, Output
from .judged import Judged
from .photos import is_hidden
from .picture_cache import Drawn
from .prompts import Scene, first_decode, one_picture, positive_texts
from .rows import Row
from .session import Asked, Session
from .template_methods import TemplateMethod

MOST = 6
"""Parts of an outfit: Parts2Whole reads no more."""
PARTS2WHOLE = TemplateMethod("Parts2Whole", "parts2whole_with_pose", (512, 768))
SHARED = TemplateMethod("Share Parts Attention", "start_outfit", (832, 1216))
READERS = {PARTS2WHOLE.title: "LikenessEncodeParts", SHARED.title: "LikenessSharePartsAttention"}
"""The node that reads the parts, by method."""


@dataclass(frozen=True)
class PartFile:
    """A picture of one part. label: one of LABELS, or words of the user's own."""

    label: str
    path: Path


@dataclass(frozen=True)
class Outfit:
    """A folder with pictures of parts, in the order of their names."""

    name: str
    parts: tuple[PartFile, ...]


def outfits_in(folder: Path) -> list[Outfit]:
    """The outfits of a folder: a folder each. Raises SetupError where there is none."""
    outfits: list[Outfit] = []
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or is_hidden(path, folder):
            continue
        pictures = [one for one in sorted(path.iterdir()) if one.suffix.lower() in ENDINGS and not is_hidden(one, path)]
        if len(pictures) > MOST:
            raise SetupError(f"{path} has {len(pictures)} pictures of parts, and an outfit has {MOST} at most.")
        if pictures:
            parts = tuple(PartFile(label_of(one.stem), one) for one in pictures)
            outfits.append(Outfit(plain(path.name, MOST_NAME_LETTERS) or "outfit", parts))
    if not outfits:
        raise SetupError(
            f"{folder} has no outfit: put a folder for each there, with pictures such as face.png and upper.png."
        )
    return outfits


def label_of(stem: str) -> str:
    """What a part is, by the name of its file: a label that begins with the same word, else the name itself."""
    words = plain(stem, MOST_NAME_LETTERS).replace("_", " ")
    first = words.split(" ")[0].lower()
    return next((label for label in LABELS if label.split(" ")[0] == first), words or "part")


# --- The rows


@dataclass(frozen=True)
class Setting:
    """A row. count: of parts. masks: whether what is transparent does not count. own: the model of Parts2Whole reads
    the parts itself, by Share Parts Attention, in the place of the reference network."""

    method: TemplateMethod
    count: int
    masks: bool = True
    own: bool = False

    @property
    def title(self) -> str:
        left_out = "" if self.masks else ", without masks"
        reference = ", the model as its own reference" if self.own else ""
        return f"{self.method.title}, {counted(self.count, 'part')}{left_out}{reference}"


def settings_up_to(most: int) -> list[Setting]:
    """Parts2Whole by number of parts, without masks and without its reference network; then Share Parts Attention."""
    return [
        *(Setting(PARTS2WHOLE, count) for count in range(1, most + 1)),
        Setting(PARTS2WHOLE, most, masks=False),
        Setting(PARTS2WHOLE, most, own=True),
        Setting(SHARED, most),
        Setting(SHARED, most, masks=False),
    ]


def answer(session: Session, outfits: Sequence[Outfit]) -> None:
    """Draw and measure every row, and write the table and the page."""
    most = max(len(outfit.parts) for outfit in outfits)
    rows: list[Row] = []
    for setting in settings_up_to(most):
        environment.say(f"{setting.title} ...")
        rows.append(row(session, setting, [outfit for outfit in outfits if len(outfit.parts) >= setting.count]))
    out = session.settings.out
    page.write_table("parts", rows, COLUMNS, out)
    page.write_sheet("parts", rows, out)
    about = {
        **session.about(),
        "prompt": session.settings.prompt,
        "parts of each outfit": [len(outfit.parts) for outfit in outfits],
    }
    title = "Parts beside each other"
    page.write(page.Answer(title, {"parts": rows}, COLUMNS, about, session.unread(COLUMNS)), out)


def row(session: Session, setting: Setting, outfits: Sequence[Outfit]) -> Row:
    """Every outfit by one setting, from a seed each; with --quick the first alone."""
    chosen = outfits[:1] if session.settings.quick else outfits
    asked = [_asked(session, setting, outfit, number) for number, outfit in enumerate(chosen, 1)]
    return session.row("parts", setting.method, setting.title, asked, COLUMNS)


def _asked(session: Session, setting: Setting, outfit: Outfit, number: int) -> Asked:
    """The picture of one outfit. number: its seed."""

    def graph() -> Graph:
        made = graph_of(session, setting, outfit, number)
        session.refuse_missing(made, setting.method)
        return made

    def judged(drawn: Drawn) -> Judged:
        parts = [part_of(part) for part in outfit.parts[: setting.count]]
        return session.judge.of_parts(drawn, parts, session.settings.prompt)

    called = f"{setting.title}: {outfit.name}"
    photos = [part.path for part in outfit.parts[: setting.count]]
    return Asked(f"{setting.title}, {number}.png", f"outfit {number}", number, called, called, photos, graph, judged)


# --- The prompts


def graph_of(session: Session, setting: Setting, outfit: Outfit, seed: int) -> Graph:
    """The prompt of one picture. Raises WorkflowError and GraphError where the host lacks a node."""
    asked = session.settings
    object_info = session.host.object_info
    graph = Graph(to_prompt(load(ROOT / "workflows" / f"{setting.method.template}.json"), object_info), object_info)
    picture = (first_decode(graph), 0)
    size = asked.size or setting.method.size
    scene = Scene((), 1, seed, asked.prompt, size, asked.steps, "", asked.folder)
    shown = outfit.parts[: setting.count]
    pictures: list[str] = []
    for number, part in enumerate(shown, 1):
        name = part.path.relative_to(asked.folder).as_posix()
        pictures.append(graph.add(f"picture of part {number}", "LoadImage", image=name))
    parts = _parts_into(graph, setting, shown, pictures)
    graph.link_to(graph.only(READERS[setting.method.title]), "parts", parts)
    if setting.own:
        _own_reference(graph, parts, size)
    for node_id in graph.ids("LikenessApplyParts2Whole"):
        graph.inputs(node_id).pop("pose", None)  # the other methods have none
    for node_id in positive_texts(graph):
        graph.inputs(node_id)["text"] = asked.prompt
    _size_into(graph, size)
    one_picture(graph, picture, scene, f"parts/{setting.title}")
    return graph


def _parts_into(graph: Graph, setting: Setting, parts: Sequence[PartFile], pictures: Sequence[str]) -> Output:
    """Add a Part for each picture; the output with all parts. pictures: nodes that load them."""
    before: dict[str, Output] = {}
    for number, (part, picture) in enumerate(zip(parts, pictures, strict=True), 1):
        inputs: dict[str, object] = {"image": (picture, 0), **before}
        inputs["label"] = part.label if part.label in LABELS else "other"
        if part.label not in LABELS:
            inputs["other_label"] = part.label
        if setting.masks:
            # Load Image gives what is transparent, and a part is the rest.
            opaque = graph.add(f"mask of part {number}", "InvertMask", mask=(picture, 1))
            inputs["mask"] = (opaque, 0)
        before = {"parts": (graph.add(f"part {number}", "LikenessPart", **inputs), 0)}
    return before["parts"]


def _size_into(graph: Graph, size: tuple[int, int]) -> None:
    """Wherever a template has a width and a height of its own, it has these."""
    for node in graph.prompt.values():
        inputs = node["inputs"]
        for name, side in zip(("width", "height"), size, strict=True):
            if isinstance(inputs.get(name), int):
                inputs[name] = side
            if node["class_type"] == "PrimitiveInt" and node["_meta"]["title"].lower() == name:
                inputs["value"] = side


def _own_reference(graph: Graph, parts: Output, size: tuple[int, int]) -> None:
    """Share Parts Attention in the place of Apply Parts2Whole: its model reads the parts with its own weights."""
    node_id = graph.only("LikenessApplyParts2Whole")
    encoder = graph.inputs(graph.only("LikenessEncodeParts"))
    inputs = {name: graph.inputs(node_id)[name] for name in ("model", "positive", "negative")}
    shared = graph.add(
        "parts by the model itself", "LikenessSharePartsAttention",
        **inputs, parts=parts, clip=encoder["clip"], vae=encoder["vae"], width=size[0], height=size[1],
    )  # fmt: skip
    for output in range(3):
        graph.relink((node_id, output), (shared, output))


# --- What is measured


def part_of(part: PartFile) -> Part:
    """The part as the node makes it, without what is transparent."""
    return make_part(part.label, pixels_of(part.path)[None], opaque(part.path), 1.0, None)


def opaque(path: Path) -> Tensor | None:
    """(1, H, W) of what is not transparent in a picture, None where everything is."""
    with Image.open(path) as picture:
        alpha = as_tensor(picture.convert("RGBA").getchannel("A"))
    return None if bool((alpha == 1).all()) else alpha[None]


COLUMNS = (
    Column(
        "parts", "The mean over parts of the cosine of DINOv2's embeddings of the part and of the picture.",
        "Measure Likeness", "", lambda judged: mean(value for one in judged for value in one.parts), judge=DINO,
    ),
    Column(
        "weakest part", "The same of the part that shows least, the mean over the pictures.",
        "Measure Likeness", "", lambda judged: mean([min(one.parts) for one in judged if one.parts]), judge=DINO,
    ),
    *named("text alignment", "seconds", "per step"),
)  # fmt: skip
