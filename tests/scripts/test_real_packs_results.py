"""The table that real_packs/run.py writes."""

from __future__ import annotations

from real_packs.names import ADAPTED, ORDERS, OURS, OURS_FIRST, THEIRS_FIRST, TITLES
from real_packs.results import Line, markdown, titles


def line(pack: str, order: str, check: str, method: str = "", held: bool = True, figure: str = "") -> Line:
    return {
        "pack": pack,
        "commit": "1234567",
        "order": order,
        "check": check,
        "held": held,
        "method": method,
        "amounts": {},
        "figure": figure,
        "detail": "",
    }


def changed(order: str, method: str, amount: float) -> Line:
    return line("Couple", order, "a node", method) | {"amounts": {"ours change it by": amount}}


def test_methods_that_came_out_alike_share_a_row() -> None:
    lines: list[Line] = []
    for order in ORDERS:
        for method in OURS:
            lines.append(changed(order, method, 0.3 if method == "instant_id" else 0.1))
    assert markdown(lines) == (
        "| pack | commit | loaded | what | beside | result |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| Couple | 1234567 | before and after ours | a node | the seven methods on SDXL, Parts2Whole "
        "| ours change it by 0.1 to 0.3 |\n"
    )


def test_a_method_that_came_out_otherwise_has_a_row_of_its_own() -> None:
    lines = [
        line("Tiles", THEIRS_FIRST, "a node", "share_parts", figure="refused by name: ConditioningLost"),
        line("Tiles", THEIRS_FIRST, "a node", "parts2whole"),
        line("Tiles", OURS_FIRST, "a node", "parts2whole", held=False, figure="ValueError"),
    ]
    assert markdown(lines).splitlines()[2:] == [
        "| Tiles | 1234567 | before ours | a node | Share Parts Attention | refused by name: ConditioningLost |",
        "| Tiles | 1234567 | before ours | a node | Parts2Whole |  |",
        "| Tiles | 1234567 | after ours | a node | Parts2Whole | **does not hold**: ValueError |",
    ]


def test_every_method_has_a_title() -> None:
    assert {*OURS, *ADAPTED} == set(TITLES)
    assert titles(ADAPTED) == "the seven methods on SDXL, StoryMaker"
