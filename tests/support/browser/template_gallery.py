"""The gallery of templates."""

from __future__ import annotations

import re
from dataclasses import dataclass

import playwright.sync_api as playwright

NOTHING = "zzqqxx"
"""Words that no template has."""

_CUT_OFF = """
heads => heads
  .filter(head => head.scrollHeight > head.clientHeight + 2 || head.scrollWidth > head.clientWidth)
  .map(head => head.innerText.trim())
"""


@dataclass(frozen=True)
class Found:
    """What a search in the gallery shows: titles of cards, and those of them that are cut off."""

    titles: list[str]
    cut_off: list[str]


class Gallery:
    """The dialog in which the templates of ComfyUI and of all packs are shown."""

    def __init__(self, page: playwright.Page) -> None:
        self._page = page
        dialog = page.locator("[role=dialog], .p-dialog")
        self._buttons = dialog.locator("button")
        self._field = dialog.get_by_placeholder(re.compile("search|搜索", re.IGNORECASE)).first
        self._cards = page.locator('[data-testid^="template-workflow-"], .p-dialog .p-card').filter(visible=True)
        self._heads = page.locator('[data-testid^="template-workflow-"] h3, .p-dialog h3').filter(visible=True)

    def open(self) -> None:
        self._page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates').then(() => true)")
        playwright.expect(self._field).to_be_visible()

    def search(self, words: str, title: str) -> Found:
        """Wait until a search for these words shows a card with this title.

        A search takes a while after the typing has ended, and until then the cards of the one before are shown. So
        something is searched first that no template has.
        """
        card = self._heads.filter(has_text=re.compile(f"^\\s*{re.escape(title)}\\s*$"))
        self._field.fill(NOTHING)
        playwright.expect(card).to_have_count(0)
        self._field.fill(words)
        playwright.expect(card.first, f"a search for {words!r} shows {title!r}").to_be_visible()
        titles = [text.strip() for text in self._heads.all_inner_texts()]
        return Found(titles, self._heads.evaluate_all(_CUT_OFF))

    def size_of_picture(self, title: str) -> tuple[int, int]:
        """Width and height of the picture on a card, once it has loaded."""
        picture = self._card(title).locator("img").first
        playwright.expect(picture).not_to_have_js_property("naturalWidth", 0)
        return tuple(picture.evaluate("picture => [picture.naturalWidth, picture.naturalHeight]"))

    def choose(self, title: str) -> None:
        """Click a card, which opens its template."""
        self._card(title).click()

    def _card(self, title: str) -> playwright.Locator:
        return self._cards.filter(has=self._page.get_by_role("heading", name=title, exact=True)).first

    def close(self) -> None:
        self._page.keyboard.press("Escape")
        self._buttons.evaluate_all("all => all.find(button => /close/i.test(button.ariaLabel ?? ''))?.click()")
        playwright.expect(self._field).to_be_hidden()
