"""Who stands where."""

from __future__ import annotations

from collections.abc import Sequence

from .people import Cast, Layout


def assign(cast: Cast, layout: Layout, order: str, custom_order: str) -> list[int | None]:
    raise NotImplementedError


def place(cast: Cast, layout: Layout, places: Sequence[int | None]) -> Cast:
    raise NotImplementedError


def report(cast: Cast, layout: Layout, places: Sequence[int | None]) -> str:
    raise NotImplementedError
