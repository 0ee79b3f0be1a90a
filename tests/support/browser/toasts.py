"""The pack's messages in a corner of the editor."""

from __future__ import annotations

import re
from dataclasses import dataclass

import playwright.sync_api as playwright

_COVERED = """
(toast, others) => {
  const {left, top, right, bottom} = toast.getBoundingClientRect();
  const isCovered = part => part.left < right && left < part.right && part.top < bottom && top < part.bottom;
  return others.map(other => other.getBoundingClientRect()).filter(isCovered).length;
}
"""
_LETS_THE_MOUSE_THROUGH = """
toast => {
  const {left, bottom} = toast.getBoundingClientRect();
  return !toast.contains(document.elementFromPoint(left + 6, bottom - 4));
}
"""
_LINK_UNDER_THE_MOUSE = """
link => {
  const {x, y, width, height} = link.getClientRects()[0];
  const hit = document.elementFromPoint(x + width / 2, y + height / 2);
  return [hit.href, hit.target];
}
"""


@dataclass(frozen=True)
class Link:
    """A link as a click on it would find it."""

    address: str
    target: str


class Toast:
    """A message of the pack."""

    def __init__(self, element: playwright.Locator) -> None:
        self._element = element

    def text(self) -> str:
        """All of it, also what is folded away."""
        return self._element.text_content() or ""

    def box(self) -> playwright.FloatRect:
        """Where on the page it is, px."""
        box = self._element.bounding_box()
        assert box is not None, "the toast is not shown"
        return box

    def size(self) -> tuple[float, float]:
        """Width and height in px."""
        return self.box()["width"], self.box()["height"]

    def lets_the_mouse_through(self) -> bool:
        """Whether the mouse reaches what lies below the text."""
        return self._element.evaluate(_LETS_THE_MOUSE_THROUGH)

    def unfold(self) -> None:
        self._element.locator("summary").click()

    def press(self, name: str) -> None:
        self._element.get_by_role("button", name=name).click()

    def covers(self, elements: list[playwright.ElementHandle]) -> int:
        """How many of these elements lie below it, at least in part."""
        return self._element.element_handle().evaluate(_COVERED, elements)

    def link_under_the_mouse(self) -> Link:
        """What lies over the middle of the first link: the link itself, unless something covers it."""
        address, target = self._element.locator("a").first.evaluate(_LINK_UNDER_THE_MOUSE)
        return Link(address, target)


class Toasts:
    """All messages of the pack that are shown at a time."""

    def __init__(self, page: playwright.Page) -> None:
        self._all = page.locator(".likeness-toast")
        self._buttons = page.locator(".likeness-toast button[aria-label]")

    def texts(self) -> list[str]:
        return self._all.all_text_contents()

    def with_words(self, words: str | re.Pattern[str]) -> Toast:
        """The only toast with these words; it is waited for."""
        return Toast(self._having(words))

    def first(self) -> Toast:
        return Toast(self._all.first)

    def await_count(self, words: str | re.Pattern[str], count: int = 1) -> None:
        """Wait until so many toasts have these words."""
        playwright.expect(self._having(words)).to_have_count(count)

    def close(self) -> None:
        self._buttons.evaluate_all("buttons => buttons.forEach(button => button.click())")

    def _having(self, words: str | re.Pattern[str]) -> playwright.Locator:
        # A pattern tells capitals from small letters; a text as `has_text` does not.
        pattern = words if isinstance(words, re.Pattern) else re.compile(re.escape(words))
        return self._all.filter(has_text=pattern)
