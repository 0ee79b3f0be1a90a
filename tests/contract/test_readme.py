"""README.md and README.zh.md: the same commands, and what they show exists."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "README.zh.md"]


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def commands(text: str) -> list[list[str]]:
    """The words of every command line in a code block, without the remark behind it."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("page", PAGES)
def test_it_shows_the_two_commands(page: str) -> None:
    assert commands(text_of(page)) == [["python", "scripts/demo.py"], ["python", "scripts/test.py"]]


@pytest.mark.parametrize("page", PAGES)
def test_scripts_exist(page: str, tracked: set[str]) -> None:
    scripts = set(re.findall(r"scripts/\w+\.py", text_of(page)))
    assert scripts
    assert sorted(scripts - tracked) == []


@pytest.mark.parametrize("page", PAGES)
def test_languages_stand_above_all_and_installing_above_what_it_costs(page: str) -> None:
    """On the first screens: what it shows, and how one gets it. Measurements and clones are for those who stay."""
    lines = text_of(page).splitlines()
    other_page = next(other for other in PAGES if other != page)
    assert f"]({other_page})" in lines[2]
    pictures = re.findall(r"^(?:!\[.*\]\((.*)\)|## .*)$", text_of(page), re.MULTILINE)
    assert pictures[:2] == ["docs/first_picture.jpg", ""], "one picture, then the first heading"
    headings = [line for line in lines if line.startswith("## ")]
    assert headings[0] in ("## Install", "## 安装")
