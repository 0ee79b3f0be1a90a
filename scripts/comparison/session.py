"""One run of compare.py in a host: which methods can be drawn here, and the rows of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environment
import folder_paths
from bench.unets import run
from environment import SetupError
from pack.bridge.people import face_model as host_face_model
from pack.core.checks.errors import counted, listed
from pack.core.models import packs
from pack.core.models.manifest import model as manifest_model
from shared.photos import pixels as pixels_of
from shared.workflow import WorkflowError

from .columns import CLIP, COLUMNS, DINO, Column, figures
from .drawn import Drawn
from .graphs import Graph, GraphError
from .host import HOST_NODES, DrawingError, Host, MissingFile, missing_files
from .judged import Judged
from .judging import Judge, TextJudge, dino_in, text_judge
from .photos import PersonFiles, write_jpeg
from .prompts import Scene
from .rows import Pictured, Row, Shown, Unread
from .template_methods import METHODS, TemplateMethod

TEXT_FILES = ("sdxl-base", "clip-vit-bigg")
"""Ids in the manifest of the two sides of the CLIP that compares pictures with the prompt."""
ANTELOPE = packs.ANTELOPE
SMALL = 256
"""Pixels of the longer side of photos on the page."""


class Refusal(Exception):
    """Why a method is not drawn with these people; the text is a sentence."""


NOT_DRAWN = (Refusal, WorkflowError, GraphError)
"""Why a picture is not drawn: its text is a sentence."""


@dataclass(frozen=True)
class Asked:
    """A picture of a row. name: of its file. column: of the sheet. pictured: who stands in it."""

    name: str
    column: str
    pictured: Pictured


@dataclass(frozen=True)
class Settings:
    """What the command line asks for.

    folder: of photos. out: of results. size: (width, height) of a picture. size, steps: None for those of templates.
    methods: those that draw. quick: few pictures. questions: names of those that are answered.
    """

    folder: Path
    out: Path
    prompt: str = ""
    size: tuple[int, int] | None = None
    steps: int | None = None
    methods: tuple[TemplateMethod, ...] = METHODS
    quick: bool = False
    questions: Sequence[str] = ()


class Session:
    """The people, the host and the judge of one run. Raises SetupError where there is no face pack."""

    def __init__(self, settings: Settings, people: Sequence[PersonFiles] = ()) -> None:
        self.settings = settings
        self.people = people
        self.host = Host(settings.out, settings.folder)
        self.pack = face_pack()
        self.face_model = face_model_of(self.pack)
        self.missing_judges: dict[str, str] = {}
        """Why a judge of columns is not there, in a sentence."""
        vision, text = self._vision(), self._text()
        self.judge = Judge(self.face_model, people, vision, text)
        self.drawn_count = 0
        """Pictures that are drawn."""
        self._said: set[str] = set()
        self._copied: set[Path] = set()

    def first_people(self, most: int) -> list[int]:
        """The indexes of the first people of the folder, at most so many; it is said where others are left out."""
        people = list(range(min(most, len(self.people))))
        if len(people) < len(self.people):
            names = listed([self.people[index].name for index in people])
            self._say_once(f"  Of your {len(self.people)} people these are drawn: {names}.")
        return people

    def rows(
        self, question: str, method: TemplateMethod, columns: Mapping[str, Sequence[Pictured]], ablation: str = ""
    ) -> list[Row]:
        """The rows of a method: one for each number of people in a picture, in the order of the columns.

        columns: by name in the sheet the pictures that are drawn; the first one of each is shown there. ablation: one
        of the method's, "" for the whole method.
        """
        title = method.title
        if ablation:
            title = f"{title}, {ablation}"
        by_count: dict[int, list[Asked]] = {}
        for column, pictures in columns.items():
            count_of_people: Counter[int] = Counter()
            for pictured in pictures:
                count = len(pictured.people)
                count_of_people[count] += 1
                name = f"{title}, {column}, {count_of_people[count]}.png"
                by_count.setdefault(count, []).append(Asked(name, column, pictured))
        return [self._row(question, method, title, ablation, of_count) for of_count in by_count.values()]

    def _row(self, question: str, method: TemplateMethod, title: str, ablation: str, pictures: Sequence[Asked]) -> Row:
        """All pictures of a row, of equally many people, drawn and measured."""
        count = len(pictures[0].pictured.people)
        judged: list[Judged] = []
        shown: list[Shown] = []
        for asked in pictures:
            scene = self.scene(method, asked.pictured)
            said = f"{title}, {counted(count, 'person', 'people')}, seed {scene.seed}"
            try:
                graph = self.graph(question, method, scene, title, asked.column, ablation)
                environment.say(f"  {said} ...")
                drawn = self.host.draw(graph, self.settings.out / question / asked.name)
            except DrawingError as error:
                self._say_once(f"  {title}: {error}")
                return Row(title, count, note=str(error), public_note=f"{error.node} ended with an error.")
            except NOT_DRAWN as error:
                self._say_once(f"  {title}: {error}")
                return Row(title, count, note=str(error), public_note=str(error))
            self.drawn_count += 1
            judged.append(self.judge.of_people(drawn, scene, method.measured_as))
            shown.append(self._shown(title, asked.column, scene, drawn, judged[-1]))
            environment.say(f"  {said}: drawn and measured.")
        return Row(title, count, shown, figures(judged))

    def _shown(self, title: str, column: str, scene: Scene, drawn: Drawn, judged: Judged) -> Shown:
        """A picture on the page, beside a photo of each person. The first of COLUMNS gives the order."""
        annotated = None
        if judged.annotated is not None:
            annotated = drawn.path.with_suffix(".jpg")
            write_jpeg(judged.annotated, annotated)
        return Shown(
            drawn.path,
            f"{title}, seed {scene.seed}: {', '.join(person.name for person in scene.people)}",
            column,
            scene.seed,
            annotated=annotated,
            photos=[self._small(person.photos[0]) for person in scene.people],
            score=figures([judged], COLUMNS[:1])[COLUMNS[0].name],
        )

    def _small(self, photo: Path) -> Path:
        """A photo as the page shows it: a small copy beside it, because a page loads nothing from elsewhere."""
        copy = self.settings.out / "photos" / f"{photo.relative_to(self.settings.folder).as_posix()}.jpg"
        if copy not in self._copied:
            write_jpeg(pixels_of(photo), copy, SMALL)
            self._copied.add(copy)
        return copy

    def _say_once(self, text: str) -> None:
        """What is so for many pictures."""
        if text not in self._said:
            self._said.add(text)
            environment.say(text)

    def count(self) -> str:
        """How many pictures are drawn so far, in a sentence."""
        return f"{counted(self.drawn_count, 'picture is', 'pictures are')} drawn."

    def unread(self, columns: Sequence[Column]) -> list[Unread]:
        """The columns whose judge is not there."""
        return [Unread(one.name, self.missing_judges[one.judge]) for one in columns if one.judge in self.missing_judges]

    def about(self) -> dict[str, Any]:
        """What is said of the whole run: without names of people, and without paths."""
        return {
            "recognisers": list(self.face_model.ids),
            **self.host.made_with,
            "size": self.settings.size,
            "steps": self.settings.steps,
        }

    def scene(self, method: TemplateMethod, pictured: Pictured) -> Scene:
        """What one picture of a method is of."""
        return Scene(
            people=[self.people[number] for number in pictured.people],
            photos=pictured.photos,
            seed=pictured.seed,
            prompt=self.settings.prompt,
            size=self.settings.size or method.size,
            steps=self.settings.steps,
            pack=self.pack,
            folder=self.settings.folder,
        )

    def graph(
        self, question: str, method: TemplateMethod, scene: Scene, title: str, column: str, ablation: str
    ) -> Graph:
        """The prompt of one picture. Raises Refusal where files or photos are missing."""
        for number, person in enumerate(scene.people, 1):
            if len(person.photos) < scene.photos:
                raise Refusal(
                    f"It needs {scene.photos} photos of each person, and person {number} of the picture has fewer."
                )
        prefix = f"{question}/{title}, {column}"
        graph = method.graph(scene, self.host.object_info, prefix, ablation)
        self._refuse_missing(graph, method)
        return graph

    def _refuse_missing(self, graph: Graph, method: TemplateMethod) -> None:
        """Raises Refusal where a file of a prompt is missing, or the recogniser that its method reads."""
        missing = missing_files(graph)
        if method.recogniser and method.recogniser not in self.face_model.ids:
            published = packs.published_model(method.recogniser)
            missing.append(MissingFile(published.key, published.name))
        if missing:
            raise Refusal(f"Missing: {', '.join(map(str, missing))}.")

    def _vision(self) -> Any:
        """DINOv2, None where no file of it is there."""
        name = dino_in(folder_paths)
        if name is None:
            self.missing_judges[DINO] = "no DINOv2 (large or giant, .safetensors) is in models/clip_vision."
            return None
        return HOST_NODES.CLIPVisionLoader().load_clip(name)[0]

    def _text(self) -> TextJudge | None:
        """Both sides of CLIP, None where a file of them is missing or they are no pair."""
        names: list[str] = []
        for model_id in TEXT_FILES:
            entry = manifest_model(model_id)
            if not folder_paths.get_full_path(entry.key, entry.name):
                missing = MissingFile(entry.key, entry.name)
                self.missing_judges[CLIP] = f"{missing} is missing."
                return None
            names.append(entry.name)
        try:
            return text_judge(*names)
        except SetupError as error:
            self.missing_judges[CLIP] = str(error)
            return None


def face_model_of(pack: str) -> Any:
    """The detector of a face pack, and every recogniser that is found."""
    return run("LikenessLoadFaceEmbedder", pack=pack, recognisers="all found")[0]


def face_pack() -> str:
    """The face pack that finds faces: antelopev2 where it is installed, else the first. Raises SetupError."""
    names = host_face_model.pack_names()
    installed = [name for name in names if name not in (host_face_model.NO_DETECTOR, host_face_model.NONE_FOUND)]
    if not installed:
        published = packs.published_model(ANTELOPE)
        raise SetupError(f"No face pack is installed: put {published.name} into models/{published.key}.")
    if ANTELOPE in installed:
        return ANTELOPE
    return installed[0]
