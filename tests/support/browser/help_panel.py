"""The help page of a node, in the panel at the side of the editor."""

from __future__ import annotations

import playwright.sync_api as playwright

_CUT_OFF = """
panel => {
  const {right} = panel.getBoundingClientRect();
  const parts = [...panel.querySelectorAll('th, td, pre, code, img, p, li')];
  const edge = part => part.getBoundingClientRect().right - parseFloat(getComputedStyle(part).paddingRight);
  const isCut = part => edge(part) > right + 1;
  return parts.filter(isCut).map(part => part.innerText.slice(0, 40));
}
"""


class HelpPanel:
    """The panel that the info button over a selected node opens."""

    def __init__(self, page: playwright.Page) -> None:
        self._button = page.get_by_test_id("info-button")
        self._content = page.locator(".node-help-content").first

    def open(self) -> None:
        """Show the help page of the node that is selected."""
        self._button.first.dispatch_event("click")

    def cut_off(self) -> list[str]:
        """The beginnings of what reaches over the right border of the panel, where it is cut off."""
        return self._content.evaluate(_CUT_OFF)
