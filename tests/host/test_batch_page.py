"""The page of batch.py in a browser, from a file: order, pages, search, the command, and names that hold anything."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import playwright.sync_api as playwright
import pytest
from batch.beside import Beside
from batch.folders import Folder
from batch.output import Measuring, Output, PictureWriter, Task
from batch.page import Again
from batch.rows import Row
from browser import launch
from PIL import Image
from saved_files import saved

pytestmark = pytest.mark.browser

ROWS = 1000
COMMAND = "python 'a b/batch.py' jobs.csv"
NAME = "it's 100% #1 & `id` $(id) 小明"
TEXT = "</script><script>document.title = 'x'</script><!--\n<img src=x onerror=\"document.title='x'\"> ' \" 两个朋友"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run in which the first row is the most like, line 12 has failed, and the picture of line 1000 is gone."""
    folder = tmp_path_factory.mktemp("run") / "a #1 % folder"
    photo = folder.parent / "photos" / f"{NAME}.png"
    photo.parent.mkdir()
    Image.new("RGB", (40, 50), "red").save(photo)
    picture = photo.read_bytes()
    output = Output(Folder(str(folder)))
    output.begin(Again(COMMAND, has_seeds=True))
    writer = PictureWriter(output.folder, "1")
    for number in range(ROWS):
        row = Row(number + 2, NAME if number == ROWS - 1 else f"row {number}", {"Prompt": f"{TEXT} of {number}"})
        if number == 10:
            output.refuse(row, TEXT)
            continue
        line = {"person": TEXT, "state": "right", "similarity": 1 - number / ROWS, "kept": "yes"}
        writer.keep(Task(row, "x"), [saved(picture)], 1.0, Measuring(4), [line], [Beside(TEXT, str(photo))])
    writer.close()
    output.close()
    (folder / "00001" / "row 998.png").unlink()
    return folder


@pytest.fixture(params=[(1366, 768), (390, 844)], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: launch.Browser, folder: Path) -> Iterator[playwright.Page]:
    context = browser.new_context(*request.param)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.extend([] if request.url.startswith("file:") else [request.url]))
    began = time.monotonic()
    page.goto((folder / "index.html").as_uri(), wait_until="domcontentloaded")
    assert time.monotonic() - began < 10
    yield page
    assert set(problems) <= {"Failed to load resource: net::ERR_FILE_NOT_FOUND"}, "of the picture that is gone"
    assert page.title() == folder.name
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def headings(page: playwright.Page) -> list[str]:
    return page.locator("article h2 bdi").all_inner_texts()


def test_all_rows_are_found_on_a_page_of_some_at_a_time(page: playwright.Page) -> None:
    expect = playwright.expect
    assert headings(page)[:3] == ["row 10", NAME, "row 998"]
    expect(page.locator("article")).to_have_count(50)
    expect(page.locator("#count")).to_have_text("1,000 rows")
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#place")).to_have_text("Page 2 of 20")
    assert headings(page)[0] == "row 950"
    page.get_by_role("button", name="Previous").click()
    expect(page.locator("#place")).to_have_text("Page 1 of 20")
    page.get_by_label("Order").select_option("as in the table")
    assert headings(page)[:2] == ["row 0", "row 1"]
    page.get_by_label("Search").fill(f"两个朋友 OF {ROWS - 1}")
    expect(page.locator("#count")).to_have_text("1 found in 1,000 rows")
    assert headings(page) == [NAME]
    page.get_by_label("Search").fill("")
    page.get_by_label("Order").select_option("failed, then the least like")
    expect(page.locator("article .reason").first).to_have_text(f"Failed: {' '.join(TEXT.split())}")


def test_a_row_shows_its_pictures_and_texts_and_copies_its_command(page: playwright.Page) -> None:
    expect = playwright.expect
    row = page.locator("article").nth(1)
    for image, alt in (
        (row.locator(".pictures img"), f"00001/{NAME}.png"),
        (row.locator(".beside img"), f"{TEXT}: {NAME}.png"),
    ):
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("naturalWidth", 40)
        expect(image).to_have_attribute("alt", alt)
    assert row.locator("dd").text_content() == f"{TEXT} of {ROWS - 1}"
    assert row.locator("th").text_content() == TEXT
    expect(row.locator("meter")).to_have_js_property("value", 1 - (ROWS - 1) / ROWS)
    gone = page.locator("article").nth(2)
    gone.scroll_into_view_if_needed()
    expect(gone.locator(".pictures")).to_have_text("Not shown: 00001/row 998.png")
    row.get_by_role("button", name="Copy the command for another try").click()
    expect(row.locator("output")).to_contain_text("Copied. Run it in a terminal")
    command = page.evaluate("navigator.clipboard.readText()")
    assert shlex.split(command) == [*shlex.split(COMMAND), f"--only={NAME}", "--move-seeds=4"]
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as without https
    failed = page.locator("article").first
    failed.get_by_role("button", name="Copy the command that makes it again").click()
    expect(failed.locator("output")).to_contain_text("Copy this. ")
    assert page.evaluate("getSelection().toString()").strip() == f"{COMMAND} '--only=row 10'"
