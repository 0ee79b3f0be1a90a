"""batch.py from its arguments to its pictures, by a ComfyUI that runs: people of several rows are looked at once, saved
people stand in cells.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import real_faces
import torch
from batch import rows
from batch import worker as worker_module
from batch.folders import Folder
from batch.inputs import Template
from batch.one_worker import OneWorker, WorkerSettings
from batch.prompts import Job
from batch.run import Asking
from batch.servers import Servers
from batch_pages import row_named, told
from environment import ROOT
from listening import Heard, ListeningServer
from PIL import Image
from prompts import node
from shared.links import up_to
from toy import export_parts2whole

_SPEC = importlib.util.spec_from_file_location("batch_script", ROOT / "scripts" / "batch.py")
assert _SPEC
assert _SPEC.loader
SCRIPT: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(SCRIPT)
PACK = "small"
VISION = "mean-colours.pth"
PHOTOS = {"yao.jpg": real_faces.YAO, "eileen.png": real_faces.ASTRONAUT}


def sheet() -> dict[str, Any]:
    """The photos of two people and the picture of their cast, with grain over them."""
    beside = {"match_image_size": True, "spacing_width": 0, "spacing_color": "white"}
    return {
        "pack": node("LikenessLoadFaceEmbedder", pack=PACK, recognisers="all found", provider="auto", backend="torch"),
        "p1": node("LoadImage", "First", image="x.png"),
        "p2": node("LoadImage", "Second", image="x.png"),
        "shown1": node("LoadImage", "Left", image="x.png"),
        "shown2": node("LoadImage", "Right", image="x.png"),
        "cast": node(
            "LikenessCastFromPhotos",
            "People",
            face_model=["pack", 0],
            names="Ada, Bo",
            which_face="largest",
            photo_1=["p1", 0],
            photo_2=["p2", 0],
        ),
        "photos": node("ImageStitch", image1=["shown1", 0], image2=["shown2", 0], direction="right", **beside),
        "all": node("ImageStitch", image1=["photos", 0], image2=["cast", 1], direction="down", **beside),
        "noise": node("ImageAddNoise", "Grain", image=["all", 0], seed=1, strength=0.1),
        "save": node("SaveImage", images=["noise", 0], filename_prefix="x"),
    }


def sheet_with_looks() -> dict[str, Any]:
    """The same, and below it what each of the cast wears."""
    prompt = sheet()
    below = prompt["all"]["inputs"]
    prompt["worn"] = node("DrawsLooks", "Worn", cast=["cast", 0], looks="")
    prompt["dressed"] = node("ImageStitch", **{**below, "image1": ["all", 0], "image2": ["worn", 0]})
    prompt["noise"]["inputs"]["image"] = ["dressed", 0]
    return prompt


DRAWS_LOOKS = '''
import torch


class DrawsLooks:
    """Shows the first picture of everybody's newest look, and black for nobody's, side by side."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"cast": ("LIKENESS_CAST",), "looks": ("STRING", {"default": ""})}}

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "draw"

    def draw(self, cast, looks):
        shown = torch.zeros(1, 64, 64 * len(cast.people), 3)
        for number, member in enumerate(cast.people):
            for look in member.person.looks[-1:]:
                picture = look.pictures[0].picture[None].movedim(-1, 1) / 255
                small = torch.nn.functional.interpolate(picture, (64, 64)).movedim(1, -1)
                shown[:, :, 64 * number : 64 * (number + 1)] = small
        return (shown,)


NODE_CLASS_MAPPINGS = {"DrawsLooks": DrawsLooks}
'''
"""A pack with a node that reads looks, as methods do, and needs no model."""


class Reading:
    """Gives what a job saves."""

    def make(self, worker: Any, job: Job) -> list[bytes]:
        with TemporaryDirectory(dir=worker.folder) as saved:
            return [file.path.read_bytes() for file in worker.run(job.prompt, job.files, Path(saved)).files]

    def kept(self, worker: str, job: Job) -> None:
        """Nothing: a worker of its own keeps nothing."""


@dataclass
class Setup:
    """A worker with a real ComfyUI. executed: how often nodes of each class have run."""

    workers: OneWorker
    object_info: dict[str, Any]
    executed: Counter[str]

    @property
    def server(self) -> ListeningServer:
        return self.workers._crew.standings[0].worker._server

    def files_of(self, job: Job) -> list[bytes]:
        """What a job saves that is run by itself."""
        (finished,) = self.workers.results(Reading(), [job])
        assert finished.error == ""
        return finished.made


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    models = tmp_path_factory.mktemp("models")
    pack = models / "insightface" / "models" / PACK
    pack.mkdir(parents=True)
    shutil.copyfile(real_faces.DETECTOR, pack / "detector.onnx")
    shutil.copyfile(real_faces.RECOGNISER, pack / "w600k_mbf.onnx")
    (models / "clip_vision").mkdir()
    torch.save(export_parts2whole.vision(), models / "clip_vision" / VISION)
    draws_looks = tmp_path_factory.mktemp("draws_looks")
    (draws_looks / "__init__.py").write_text(DRAWS_LOOKS)
    executed: Counter[str] = Counter()

    class CountingServer(ListeningServer):
        def attempt(self, prompt: Any, *arguments: Any, **options: Any) -> Heard:
            run = super().attempt(prompt, *arguments, **options)
            executed.update(prompt[number]["class_type"] for number in run.executed)
            return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_module, "HostServer", CountingServer)
        patch.setattr(worker_module, "packs_of", lambda _: [draws_looks])
        with OneWorker(WorkerSettings((str(models),))) as workers:
            yield Setup(workers, workers.object_info(), executed)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, source in PHOTOS.items():
        shutil.copyfile(source, folder / name)
    return folder


COLUMNS = "name,First.image,Second.image,Left.image,Right.image,Grain.seed\n"


class Table:
    """A table over the sheet, which batch.py makes. models: a models folder with saved people, if there is one.
    by_server: the worker's ComfyUI makes it as a server that runs already. prompt: in the place of the sheet."""

    def __init__(
        self,
        setup: Setup,
        photos: Path,
        lines: str,
        models: Path | None = None,
        by_server: bool = False,
        prompt: dict[str, Any] | None = None,
    ) -> None:
        self._setup = setup
        self._workers: Any = setup.workers
        if by_server:
            self._workers = Servers([setup.server.url], WorkerSettings())
        self.folder = photos.parent / ("by server" if by_server else "out")
        workflow = photos.parent / "sheet.json"
        workflow.write_text(json.dumps(prompt or sheet()), "utf-8")
        (photos.parent / "jobs.csv").write_text(f"{COLUMNS}{lines}", "utf-8")
        self._arguments = [str(photos.parent / "jobs.csv"), "--workflow", str(workflow), "--photos", str(photos)]
        self._arguments += ["--output", str(self.folder), "--python", sys.executable]
        self._arguments += ["--models", str(models)] if models else []
        table = rows.read(Folder(str(photos.parent)), "jobs.csv")
        self.template = Template(workflow, setup.object_info, table.columns, Folder(str(photos)), photos / "nothing")
        self.rows = list(rows.rows(table, self.template.is_photo))

    def make(self, *options: str) -> dict[str, str]:
        """Make the rows by the worker that runs; why some have failed, by their names."""
        return self._run([*self._arguments, *options])

    def make_again(self, name: str) -> dict[str, str]:
        """By the command that the page has for a row."""
        line = f"{told(self.folder)['command']} {row_named(self.folder, name)['again']}"
        _, script, *arguments = shlex.split(line)
        assert script == str(ROOT / "scripts" / "batch.py")
        return self._run(arguments)

    def _run(self, arguments: list[str]) -> dict[str, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["batch.py", *arguments])
            patch.setenv("LIKENESS_PYTHON", sys.executable)
            patch.setattr(SCRIPT, "workers_of", lambda *_: nullcontext(self._workers))
            status = SCRIPT.main()
        failed = {line["name"]: line["reason"] for line in lines_of(self.folder / "failed.csv")}
        assert status == bool(failed)
        return failed

    def pixels(self, name: str) -> np.ndarray:
        return pixels((self.folder / f"{name}.png").read_bytes())


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def small(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((64, 64))).astype(float)


def pixels(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def test_people_of_several_rows_are_looked_at_once_and_change_no_picture(setup: Setup, photos: Path) -> None:
    """With whomever they are. A row that is run by itself has the same picture."""
    lines = "a,yao.jpg,eileen.png,yao.jpg,eileen.png,1\n"
    lines += "b,yao.jpg,yao.jpg,yao.jpg,eileen.png,2\n"
    lines += "c,yao.jpg,eileen.png,yao.jpg,eileen.png,3\n"
    table = Table(setup, photos, lines)
    setup.executed.clear()
    assert table.make() == {}
    remembers_the_row_before_alone = not importlib.util.find_spec("comfy_execution.cache_provider")
    assert setup.executed["LikenessPerson"] == 3 + remembers_the_row_before_alone, "of six"
    assert setup.executed["LikenessCastFromPhotos"] == 0
    for row in table.rows:
        job = table.template.job(row)
        (alone,) = setup.files_of(job)
        assert np.array_equal(pixels(alone), table.pixels(row.name)), row.name
        prompt = json.loads(Image.open(table.folder / f"{row.name}.png").info["prompt"])
        assert prompt == job.prompt
    # Twice for each row: the host begins by asking it which of its inputs it needs.
    assert setup.executed["LikenessCastFromPhotos"] == 6


def test_people_are_measured_and_the_best_picture_is_kept(setup: Setup, photos: Path) -> None:
    lines = "a,yao.jpg,eileen.png,yao.jpg,eileen.png,1\nb,eileen.png,yao.jpg,eileen.png,yao.jpg,5\n"
    table = Table(setup, photos, lines)
    assert table.make("--keep", "best-of:2") == {}
    measured = lines_of(table.folder / "likeness.csv")
    for name, seeds in (("a", {"1", "2"}), ("b", {"5", "6"})):
        lines_of_row = [line for line in measured if line["set"] == name and line["state"] != "extra"]
        assert {line["person"] for line in lines_of_row} == {"Ada", "Bo"}
        weakest: dict[str, float] = {}
        for seed in seeds:
            similarities = [float(line["similarity"] or 0) for line in lines_of_row if line["seed"] == seed]
            weakest[seed] = min(similarities)
        (kept_seed,) = {line["seed"] for line in lines_of_row if line["kept"] == "yes"}
        assert weakest[kept_seed] == max(weakest.values()) > 0.2
        prompt = json.loads(Image.open(table.folder / f"{name}.png").info["prompt"])
        assert prompt == table.template.job(table.rows[0 if name == "a" else 1]).prompt | {
            "noise": prompt["noise"] | {"inputs": prompt["noise"]["inputs"] | {"seed": int(kept_seed)}}
        }
    before = table.pixels("b")
    assert table.make_again("a") == {}
    seeds_of_rows = {(line["set"], line["seed"]) for line in lines_of(table.folder / "likeness.csv")}
    assert seeds_of_rows == {("a", "3"), ("a", "4"), ("b", "5"), ("b", "6")}
    kept = json.loads(Image.open(table.folder / "a.png").info["prompt"])["noise"]["inputs"]["seed"]
    assert kept in (3, 4)
    assert np.array_equal(table.pixels("b"), before)
    shown = row_named(table.folder, "a")
    assert shown["again"] == "--only=a --move-seeds=4"
    assert ["First: yao.jpg", "../photos/yao.jpg"] in shown["beside"]
    assert shown["cells"]["Grain.seed"] == "1"
    assert shown["cells"]["drawn with seed"] == str(kept)
    assert table.make("--keep", "best-of:2", "--only", "a", "--move-seeds", "0") == {}
    by_server = Table(setup, photos, lines, by_server=True)
    assert by_server.make("--keep", "best-of:2") == {}
    # Rows run at once and are written as they end; the lines of a row stand as it was tried.
    by_set = itemgetter("set")
    assert sorted(lines_of(by_server.folder / "likeness.csv"), key=by_set) == sorted(measured, key=by_set)
    assert np.array_equal(by_server.pixels("b"), table.pixels("b"))


def person_file(setup: Setup, table: Table, name: str, photo_number: int, looks: Mapping[str, int]) -> bytes:
    """Somebody of the first row as Save Person writes them. looks: the number of the photo that each is made of."""
    job = table.template.job(table.rows[0])
    person = {"image": [f"p{photo_number}", 0], "name": name, "which_face": "largest", "on_no_face": "error"}
    prompt = up_to(job.prompt, [f"p{photo_number}", "pack"])
    prompt["person"] = node("LikenessPerson", face_model=["pack", 0], **person)
    person_link: list[Any] = ["person", 0]
    for look, of_photo in looks.items():
        prompt |= up_to(job.prompt, [f"p{of_photo}"])
        of_look = {"who": "", "name": look, "image": [f"p{of_photo}", 0], "label": "shoes", "hair": False}
        prompt[look] = node("LikenessLookFromPicture", cast=person_link, **of_look)
        person_link = [look, 1]
    prompt["saved"] = node("LikenessSavePerson", person=person_link, filename=name)
    prompt["path"] = node("PreviewAny", source=["saved", 1])
    (finished,) = setup.workers.results(Asking(), [Job(job.row, prompt, job.files)])
    # What is said of the worker's folder is told of its ComfyUI's.
    path = Path(finished.made.texts["path"])
    return (setup.server.base / "models" / "likeness_faces" / path.name).read_bytes()


def test_saved_people_stand_in_the_cells_of_photos(setup: Setup, photos: Path, tmp_path: Path) -> None:
    """By the saved name, and by a file beside the photos: the pictures are those of the photos. A name that
    nobody has is told with the names that there are."""
    table = Table(setup, photos, "photos,yao.jpg,eileen.png,yao.jpg,eileen.png,1\n")
    assert table.make() == {}
    saved = tmp_path / "models" / "likeness_faces"
    (saved / "family").mkdir(parents=True)
    (saved / "family" / "Ada.safetensors").write_bytes(person_file(setup, table, "Ada", 1, {}))
    (photos / "bo.safetensors").write_bytes(person_file(setup, table, "Bo", 2, {}))
    lines = "photos,yao.jpg,eileen.png,yao.jpg,eileen.png,1\n"
    lines += "saved,family/ada,bo.safetensors,yao.jpg,eileen.png,1\n"
    lines += "one,family/ada,eileen.png,yao.jpg,eileen.png,1\n"
    lines += "nobody,family/adda,eileen.png,yao.jpg,eileen.png,1\n"
    lines += "shown,yao.jpg,eileen.png,family/ada,eileen.png,1\n"
    with_saved_people = Table(setup, photos, lines, tmp_path / "models")
    failed = with_saved_people.make()
    assert np.array_equal(with_saved_people.pixels("saved"), with_saved_people.pixels("photos"))
    assert np.array_equal(with_saved_people.pixels("one"), with_saved_people.pixels("photos"))
    assert failed.keys() == {"nobody", "shown"}
    assert failed["nobody"].endswith(f"{saved} are saved, the nearest name first: family/Ada.")
    assert "A photo is needed here: in this workflow it goes to no Person" in failed["shown"]
    prompt = json.loads(Image.open(with_saved_people.folder / "saved.png").info["prompt"])
    files = [entry["inputs"]["file"] for entry in prompt.values() if entry["class_type"] == "LikenessLoadPerson"]
    assert sorted(file.split("-")[0] for file in files) == ["Ada", "bo"]
    shown = row_named(with_saved_people.folder, "saved")["beside"]
    assert [caption for caption, _ in shown[:2]] == ["Ada: photo", "Bo: photo"]
    for _, address in shown:
        with Image.open(with_saved_people.folder / address) as beside:
            assert beside.width > 90
    setup.executed.clear()
    assert with_saved_people.make().keys() == {"nobody", "shown"}
    assert setup.executed["ImageAddNoise"] == 0, "what is done is not made again"
    by_server = Table(setup, photos, lines, tmp_path / "models", by_server=True)
    assert by_server.make().keys() == {"nobody", "shown"}
    assert np.array_equal(by_server.pixels("one"), with_saved_people.pixels("photos"))


WORN: dict[str, tuple[str, str, int, int]] = {
    "newest": ("ada", "bo.safetensors", 2, 0),
    "sun": ("ada: Sun", "bo.safetensors", 1, 0),
    "none": ("ada.safetensors: -", "bo.safetensors", 0, 0),
    "two": ("ada: 'moon: red'", "ada: sun", 2, 1),
    "photos": ("yao.jpg", "eileen.png", 0, 0),
}
"""The cells of both people of a row, and of which photo the looks are that they wear, 0 for none."""
NOT_WORN = {"lost": "ada: star", "bare": "bo.safetensors: sun", "of_photo": "yao.jpg: sun", "nobody": ": sun"}
SHOWN = "yao.jpg,eileen.png,1"


def test_a_cell_says_which_look_a_saved_person_wears(setup: Setup, photos: Path, tmp_path: Path) -> None:
    table = Table(setup, photos, f"photos,yao.jpg,eileen.png,{SHOWN}\n")
    saved = tmp_path / "models" / "likeness_faces"
    saved.mkdir(parents=True)
    (saved / "ada.safetensors").write_bytes(person_file(setup, table, "Ada", 1, {"sun": 1, "moon: red": 2}))
    (photos / "bo.safetensors").write_bytes(person_file(setup, table, "Bo", 2, {}))
    lines = [f"{name},{first},{second},{SHOWN}\n" for name, (first, second, *_) in WORN.items()]
    lines += [f"{name},{cell},eileen.png,{SHOWN}\n" for name, cell in NOT_WORN.items()]
    dressed = Table(setup, photos, "".join(lines), tmp_path / "models", prompt=sheet_with_looks())
    failed = dressed.make()
    assert failed.keys() == NOT_WORN.keys()
    assert failed["lost"].startswith("First.image is ada: star. ada.safetensors has no look 'star' (2 looks). Write")
    worn = {0: np.zeros((64, 64, 3))}
    for number, name in enumerate(PHOTOS, 1):
        worn[number] = small(pixels((photos / name).read_bytes()))
    for name, (*_, first, second) in WORN.items():
        picture = dressed.pixels(name)
        halves = np.array_split(picture[-picture.shape[1] // 2 :], 2, axis=1)  # twice as wide as high, at the bottom
        for half, number in zip(halves, (first, second), strict=True):
            differences = {other: np.abs(small(half) - shown).mean() for other, shown in worn.items()}
            assert min(differences, key=differences.__getitem__) == number, name
    captions = [caption for caption, _ in row_named(dressed.folder, "two")["beside"][:4]]
    assert captions == ["Ada: photo", "Ada: moon: red", "Ada: photo", "Ada: sun"]
    of_look = small(pixels((dressed.folder / row_named(dressed.folder, "sun")["beside"][1][1]).read_bytes()))
    assert np.abs(of_look - worn[1]).mean() < np.abs(of_look - worn[2]).mean() / 2
    setup.executed.clear()
    lines[1] = lines[1].replace("Sun", "moon: red")
    changed = Table(setup, photos, "".join(lines), tmp_path / "models", prompt=sheet_with_looks())
    assert changed.make().keys() == NOT_WORN.keys()
    assert setup.executed["ImageAddNoise"] == 1, "the row whose look has changed"
    assert np.array_equal(changed.pixels("sun"), dressed.pixels("newest"))


def test_looks_are_measured_and_weighed(setup: Setup, photos: Path, tmp_path: Path) -> None:
    """Beside a row in which nobody wears one. Where nothing draws looks, none is taken."""
    table = Table(setup, photos, f"photos,yao.jpg,eileen.png,{SHOWN}\n")
    (photos / "ada.safetensors").write_bytes(person_file(setup, table, "Ada", 1, {"sun": 1, "moon": 2}))
    lines = f"look,ada.safetensors: sun,eileen.png,{SHOWN}\nphotos,yao.jpg,eileen.png,{SHOWN}\n"
    dressed = Table(setup, photos, lines, prompt=sheet_with_looks())
    assert dressed.make("--keep", "best-of:2", "--clip-vision", VISION, "--garment-share", "1") == {}
    garments = [line for line in lines_of(dressed.folder / "likeness.csv") if line["state"] == "part"]
    assert [(line["set"], line["person"], line["recogniser"]) for line in garments] == [
        ("look", "Ada: shoes", VISION)
    ] * 2
    best = max(garments, key=lambda line: float(line["similarity"]))
    assert best["kept"] == "yes"
    no_looks = Table(setup, photos, f"bare,ada.safetensors: sun,eileen.png,{SHOWN}\n")
    assert "This workflow draws no looks of this person" in no_looks.make()["bare"]
