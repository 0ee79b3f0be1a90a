"""What the authors sample with (docs/dev/authors_settings.json) stands with its place in help pages."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from rig import published

PLACE = r"[\w.+/-]+\.(py|md|ipynb):\d+(-\d+)?"
SPEAKS = {
    "en": r"[Aa]s published|[Aa]uthors' (value|script|demo|slider|pipeline|own nodes|`)",
    "zh": r"与发布|发布的值|发布的设置|作者的(设置|脚本|演示|滑块)|原版",
}


def read(path: Path) -> str:
    """A help page without the places where its code may go on in the next line."""
    return re.sub("</?code>", "`", path.read_text("utf-8").replace("<wbr>", ""))


@pytest.mark.parametrize("language", SPEAKS)
def test_pages_that_speak_of_the_authors_say_where_it_stands(root: Path, language: str) -> None:
    pages = (root / "web" / "docs").glob("*.md" if language == "en" else "*/zh.md")
    speaking = {path: text for path in pages if re.search(SPEAKS[language], text := read(path))}
    assert len(speaking) >= 12
    assert [path for path, text in speaking.items() if not re.search(f"`{PLACE}`", text)] == []


@pytest.mark.parametrize("method", published.methods(), ids=lambda method: method.name)
def test_what_matters_stands_on_the_help_page(root: Path, method: published.Method) -> None:
    flux = "FLUX.1-dev" in "".join(method.theirs("model"))
    assert {"sampler", "scheduler", "steps", "CFG"} <= {what for what, *_ in method.settings}
    assert not flux or (method.theirs("shift") and method.theirs("guidance"))
    assert [where for *_, where in method.settings if not re.fullmatch(PLACE, where)] == []
    for name in method.pages:
        for path in (root / "web" / "docs" / f"{name}.md", root / "web" / "docs" / name / "zh.md"):
            rows = "".join(read(path).partition(f"| {method.name} |")[2].split("\n\n")[:2])
            assert method.repository in rows and method.commit in rows, path
            assert [one for one in method.settings if not (f"`{one[2]}`" in rows and one[2])] == [], path


@pytest.mark.parametrize(("name", "counted"), [("WithAnyone", 1 / 64), ("InfiniteYou", 1)])
def test_shifts_of_flux_follow_from_the_sizes(name: str, counted: float) -> None:
    """FLUX.1's shift by the number of tokens. counted: how many of them the authors count."""
    (method,) = (one for one in published.methods() if one.name == name)
    sizes = [map(int, size.split("x")) for size in method.theirs("size")]
    tokens = [int(width // 16 * (height // 16) * counted) for width, height in sizes]
    assert [f"{0.5 + (each - 256) * (1.15 - 0.5) / (4096 - 256):.3f}" for each in tokens] == method.theirs("shift")


def test_every_template_stands_in_the_table_of_steps(root: Path) -> None:
    text = (root / "docs" / "dev" / "verification.md").read_text("utf-8")
    steps = text.split("\n## The steps that a workflow takes\n")[1]
    named = re.findall(r"`([\w*]+)`", "".join(line.split("|")[1] for line in steps.splitlines() if line[:3] == "| `"))
    sampled = [path.stem for path in (root / "workflows").glob("*.json") if "Sampler" in path.read_text("utf-8")]
    assert [one for one in sampled if not any(fnmatch(one, name) for name in named)] == []
