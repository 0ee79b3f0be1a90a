"""Waiting times, limits and sizes that pages name are those of the code.

Each row quotes a sentence with its number taken out, and names the constant. Pages write numbers as digits or words.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
IN_WORDS = {1: "one", 2: "two", 3: "three", 6: "six", 8: "eight"}
IN_CHINESE = {6: "六", 8: "八"}
NUMBER = r"\d(?:[\d.,]*\d)?|[a-z]+|[\u4e00-\u9fff]"


@dataclass(frozen=True)
class Row:
    """A sentence of a page, with {} where the number stands, and where the code has it: a module and a constant."""

    page: str
    sentence: str
    module: str
    constant: str


HELP = "web/docs/Likeness"
ROWS = [
    Row("docs/many_pictures.md", "during which {} workers crashed", "scripts/batch/workers.py", "DEATHS"),
    Row("docs/dev/many_pictures.md", "Rows that end {} workers", "scripts/batch/workers.py", "DEATHS"),
    Row("docs/dev/many_pictures.md", "among 40 others: {} have", "scripts/batch/workers.py", "DEATHS"),
    Row("docs/troubleshooting.md", "longer than {} letters", "core/prompts.py", "MOST_LETTERS"),
    Row("docs/troubleshooting.md", "nests over {} brackets", "core/prompts.py", "DEEPEST"),
    Row("docs/troubleshooting.md", "Faces small: … px; {} needed", "core/places/placing.py", "SMALL_FACE"),
    Row("docs/which_method.md", "warns of faces under {} px", "core/places/placing.py", "SMALL_FACE"),
    Row("docs/which_method.md", "Faces closer than {} px", "core/geometry.py", "PATCH"),
    Row("docs/which_method.md", "is a square of {} px", "core/geometry.py", "PATCH"),
    Row("docs/dev/measuring.md", "a cosine of {} or more", "core/identities/lookalikes.py", "ONE_PERSON"),
    Row("docs/dev/measuring.md", "less similar than {} to all people", "core/measure/measuring.py", "STRANGER_BELOW"),
    Row(HELP + "ApplyIDPatch.md", "the ControlNet knows {}", "core/geometry.py", "PATCH"),
    Row(HELP + "ApplyIDPatch.md", "reports faces under {} px", "core/places/placing.py", "SMALL_FACE"),
    Row(HELP + "ApplyParts2Whole.md", "of more than {} tokens", "bridge/self_attention/run.py", "_WATCHED_TOKENS"),
    Row(HELP + "ApplyWithAnyone.md", "in squares of {} px", "bridge/transformers/networks.py", "TOKEN"),
    Row(HELP + "PeopleAsReferences.md", "model's tokens, {} pixels", "bridge/transformers/networks.py", "TOKEN"),
    Row(HELP + "PeopleAsReferences/zh.md", "{} 像素", "bridge/transformers/networks.py", "TOKEN"),
    Row(HELP + "BlendTwoPeople.md", "at most {} letters", "core/text.py", "MOST_NAME_LETTERS"),
    Row(HELP + "Cast.md", "For more than {} people", "nodes/people.py", "_INPUTS"),
    Row(HELP + "SortPhotosIntoPeople.md", "at most {} are sorted at once", "bridge/photos.py", "_MOST_PHOTOS"),
    Row(HELP + "SortPhotosIntoPeople/zh.md", "at most {} are sorted at once", "bridge/photos.py", "_MOST_PHOTOS"),
    Row(HELP + "PeopleAsReferences.md", "Portraits are kept at {},", "core/people.py", "LOOSE"),
    Row(HELP + "DetectBodySurface.md", "from a score of {} on", "core/body_surface/network.py", "_SCORE"),
    Row(HELP + "DetectBodySurface.md", "one of {} body parts", "core/body_surface/iuv.py", "PARTS"),
    Row(HELP + "DetectBodySurface/zh.md", "得分 {} 以上", "core/body_surface/network.py", "_SCORE"),
    Row(HELP + "DetectFaces.md", "fitted into {} px for detection", "core/faces/scrfd.py", "SIZE"),
    Row(HELP + "DetectFaces/zh.md", "检测时图像缩到 {} px", "core/faces/scrfd.py", "SIZE"),
    Row(HELP + "CheckModelFiles.md", "more than {} files", "core/models/searched_folders.py", "MOST"),
    Row(HELP + "EncodeParts.md", "the network has {} image tokens", "nodes/parts2whole/net.py", "SLOTS"),
    Row(HELP + "EncodeParts/zh.md", "网络只有{}个图像 token", "nodes/parts2whole/net.py", "SLOTS"),
    Row(HELP + "LayoutForAGroup.md", "is the ID patch, {} px", "core/geometry.py", "PATCH"),
    Row(HELP + "LayoutForAGroup.md", "**Faces small: … px; {} needed**", "core/places/placing.py", "SMALL_FACE"),
    Row(HELP + "IDPatchConditionImage.md", "one of {}x64 px for every person", "core/geometry.py", "PATCH"),
    Row(HELP + "Person.md", "as one line of at most {} letters", "core/text.py", "MOST_NAME_LETTERS"),
    Row(HELP + "Person.md", "turned upright ({}x224 px)", "core/people.py", "ALIGNED"),
    Row(HELP + "Person.md", "head and shoulders ({}x512 px)", "core/people.py", "LOOSE"),
    Row(HELP + "Person.md", "The aligned faces, {}x112 px", "core/people.py", "CROP"),
    Row(HELP + "Person.md", "Its sides have {} px or more", "core/places/from_boxes.py", "LEAST"),
    Row(HELP + "Person/zh.md", "每边至少 {} px", "core/places/from_boxes.py", "LEAST"),
    Row(HELP + "LayoutFromBoxes.md", "each side needs {} px", "core/places/from_boxes.py", "LEAST"),
    Row(HELP + "MeasureLikeness.md", "{} fits the usual recognisers", "core/measure/measuring.py", "STRANGER_BELOW"),
    Row(HELP + "MeasureLikeness/zh.md", "{} 适合常用的识别模型", "core/measure/measuring.py", "STRANGER_BELOW"),
    Row(HELP + "Part.md", "up to {} letters", "core/parts/parts.py", "_LONGEST"),
    Row(HELP + "Part/zh.md", "最多 {} 个字符", "core/parts/parts.py", "_LONGEST"),
    Row(HELP + "PlaceCast.md", "**Faces small: … px; {} needed**", "core/places/placing.py", "SMALL_FACE"),
    Row(HELP + "PlaceCast.md", "less than {} px apart", "core/geometry.py", "PATCH"),
    Row(HELP + "ResizePhoto.md", "longer side becomes {} px", "core/pictures.py", "LONGER_SIDE"),
    Row(HELP + "ResizePhoto.md", "multiples of {}. Nothing", "core/pictures.py", "MULTIPLE_OF"),
    Row(HELP + "Scenes.md", "**from 1 to {} can be made", "core/prompts.py", "MOST_SCENES"),
    Row(HELP + "Scenes/zh.md", "**from 1 to {} can be made", "core/prompts.py", "MOST_SCENES"),
]  # fmt: skip


def names_of(node: ast.stmt) -> list[str]:
    """What a line gives a value to."""
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    if not isinstance(node, ast.Assign):
        return []
    target = node.targets[0]
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    return [part.id for part in parts if isinstance(part, ast.Name)]


def constant(module: str, name: str) -> float:
    """The number that a module calls so. Of a width and height, which are the same, the width."""
    for node in ast.parse((ROOT / module).read_text("utf-8")).body:
        names = names_of(node)
        if name not in names or not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        value: Any = ast.literal_eval(node.value)
        if len(names) > 1:
            return value[names.index(name)]
        return value[0] if isinstance(value, tuple) else value
    raise AssertionError(f"{module} has no {name}")


def spellings(number: float) -> list[str]:
    """How a page may write a number: 10000, 10,000 or, up to eight, in words."""
    written = [f"{number:g}" if isinstance(number, float) else str(number), f"{number:,}"]
    written += [words[int(number)] for words in (IN_WORDS, IN_CHINESE) if number in words]
    return written


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{Path(row.page).stem}, {row.sentence}")
def test_a_number_is_that_of_the_code(row: Row) -> None:
    text = (ROOT / row.page).read_text("utf-8")
    before, after = row.sentence.split("{}")
    numbers = re.findall(f"{re.escape(before)}({NUMBER}){re.escape(after)}", text)
    assert numbers, f"{row.page} no longer says: {row.sentence}"
    assert [number for number in numbers if number not in spellings(constant(row.module, row.constant))] == []


def default_of(option: str) -> object:
    """What `scripts/batch.py` takes where an option is not given."""
    for node in ast.walk(ast.parse((ROOT / "scripts" / "batch.py").read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        if isinstance(node.args[0], ast.Constant) and node.args[0].value == option:
            keywords = {word.arg: word.value for word in node.keywords}
            return ast.literal_eval(keywords["default"])
    raise AssertionError(f"scripts/batch.py has no {option}")


def test_how_long_a_row_may_hang() -> None:
    """An hour, then the row is tried once more: twice in all."""
    assert default_of("--row-limit") == 3600
    assert constant("scripts/batch/workers.py", "LATE") == 2
    users = (ROOT / "docs" / "many_pictures.md").read_text("utf-8")
    assert "more than an hour on one row is ended; the row is tried once more" in users
    maintainers = (ROOT / "docs" / "dev" / "many_pictures.md").read_text("utf-8")
    assert "hangs without ending holds its row for an hour (`--row-limit`, in seconds)" in maintainers
    assert not re.search("(holds|for) (its row for )?ten minutes", users + maintainers)


def options_of(script: str) -> set[str]:
    """Every option that a script takes, such as --keep."""
    options: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / "scripts" / script).read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            name = ast.literal_eval(node.args[0])
            if name.startswith("--"):
                options.add(name)
    return options


@pytest.mark.parametrize("script", ["batch.py", "demo.py", "compare.py", "models.py"])
def test_commands_in_pages_have_options_of_their_scripts(script: str) -> None:
    """Those on a line of their own, which people copy."""
    named: set[str] = set()
    for page in [*ROOT.glob("README*.md"), *sorted((ROOT / "docs").rglob("*.md"))]:
        for line in page.read_text("utf-8").splitlines():
            command = line.split(" # ")[0]
            if f"python scripts/{script}" in command and not line.startswith(("-", "|")):
                named |= set(re.findall(r"(?<!\S)--[a-z-]+", command.split(script)[1].split("`")[0]))
    assert named
    assert named - options_of(script) == set()


def test_pictures_without_weights_begin_with_the_toy_model_in_comfyui() -> None:
    """Without --keep the demo leaves no workflow in ComfyUI that batch.py could run."""
    text = (ROOT / "docs" / "many_pictures.md").read_text("utf-8").split("**Without weights**")[1]
    first, second = text.split("```bash\n")[1].split("```")[0].splitlines()
    assert first.startswith("python scripts/demo.py --keep ")
    assert second.startswith("python scripts/batch.py jobs.csv --workflow ")
    assert '/user/default/workflows/Two people (miniature).json"' in second
