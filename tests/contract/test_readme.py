"""README.md and README.zh.md: the same parts in the same order, and the commands and pictures they show exist."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "README.zh.md"]
HEADING = "^(#+) "
PICTURE = r"!\[[^\]]*\]\(([^)]+)\)"
LARGEST_PICTURE = 400_000
"""Bytes: README is read on slow lines as well."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def code_blocks(text: str) -> list[str]:
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The words of every command line in a code block, without the remark behind it."""
    lines = [line for block in code_blocks(text) for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


def parts(text: str) -> list[str]:
    """What a page is made of, from top to bottom: headings by their level, tables by their width, code, points of a
    list. Pictures stand in a table: test_pictures_stand_beside_each_other."""
    sequence: list[str] = []
    inside_table = False
    for line in re.sub(r"```bash\n.*?```", "```", text, flags=re.DOTALL).splitlines():
        begins_table = line.startswith("|") and not inside_table
        inside_table = line.startswith("|")
        if begins_table:
            sequence.append(f"table of {line.count('|') - 1} columns")
        elif heading := re.match(HEADING, line):
            sequence.append(heading.group(1))
        elif line == "```":
            sequence.append("code")
        elif point := re.match(r"-|\d+\.", line):
            sequence.append(point.group())
    return sequence


def test_both_languages_have_the_same_parts() -> None:
    english, chinese = [parts(text_of(page)) for page in PAGES]
    assert len(english) > 30
    assert chinese == english
    assert commands(text_of("README.zh.md")) == commands(text_of("README.md"))


@pytest.mark.parametrize("page", PAGES)
def test_the_first_heading_comes_after_pictures_and_the_two_commands(page: str) -> None:
    """So that a first screen of 1280x1000 pixels holds them."""
    beginning = text_of(page).split("\n## ")[0]
    assert parts(beginning) == ["#", "table of 2 columns", "code"]
    assert commands(text_of(page)) == [["python", "scripts/demo.py"], ["python", "scripts/test.py"]]


@pytest.mark.parametrize("page", PAGES)
def test_pictures_stand_beside_each_other(page: str) -> None:
    """In one row, which a screen has room for, and there are no others."""
    (row,) = [line for line in text_of(page).splitlines() if re.search(PICTURE, line)]
    assert re.findall(PICTURE, row) == ["web/docs/img/editor.jpg", "web/docs/img/first_picture.jpg"]


@pytest.mark.parametrize("page", PAGES)
def test_install_has_four_steps_before_the_table_of_templates(page: str) -> None:
    before_table = text_of(page).split("<!-- models start")[0]
    assert re.findall(r"^\d+\.", before_table, re.MULTILINE) == ["1.", "2.", "3.", "4."]


def test_the_first_table_shows_the_three_systems_in_their_order() -> None:
    table = text_of("README.md").split("<!-- models start")[1]
    rows = table.splitlines()
    systems = [row.split("|")[2].split("(")[0].strip() for row in rows if row.startswith("| ")][2:]
    assert list(dict.fromkeys(systems)) == ["ID-Patch", "InstantID", "Parts"]


@pytest.mark.parametrize("page", PAGES)
def test_scripts_and_pictures_exist(page: str, tracked: set[str]) -> None:
    scripts = set(re.findall(r"scripts/\w+\.py", text_of(page)))
    pictures = re.findall(PICTURE, text_of(page))
    assert scripts and pictures
    assert sorted((scripts | set(pictures)) - tracked) == []
    assert [name for name in pictures if (ROOT / name).stat().st_size > LARGEST_PICTURE] == []


def test_the_picture_of_the_editor_is_a_whole_screen() -> None:
    with Image.open(ROOT / "web" / "docs" / "img" / "editor.jpg") as picture:
        assert picture.size == (1920, 1080)


@pytest.mark.parametrize("page", PAGES)
def test_it_says_which_packages_of_the_field_are_optional(page: str) -> None:
    """In one paragraph: whoever knows other face packs looks for their installation."""
    (paragraph,) = [part for part in text_of(page).split("\n\n") if "onnxruntime" in part]
    assert "insightface" in paragraph
    assert "OpenCV" in paragraph
    assert "torch" in paragraph
