"""bench.py on a card, and its tables."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import marks
import pytest
import torch
from bench import figures, transformers, unets
from bench.figures import Line

SHALLOW = replace(unets.SDXL, shape=unets.SDXL.tiny, size=(128, 128))
"""An SDXL of few layers."""


def timed(numbers: tuple[int, ...] = (1, 2), **changed: Any) -> list[Line]:
    """Steps of a small SDXL and of a small FLUX.1, by the ways that both can have."""
    networks = {
        SHALLOW.title: partial(unets.for_timing, SHALLOW, torch.float32),
        FLUX.name: partial(transformers.for_timing, FLUX, 64, torch.float32),
    }
    ways = {"prompt_per_person": unets.ON_UNETS["prompt_per_person"]}
    lines = list(figures.measure({SHALLOW.title: networks[SHALLOW.title]}, ways, figures.Timing(numbers, **changed)))
    ways = transformers.ON_TRANSFORMERS
    return lines + list(figures.measure({FLUX.name: networks[FLUX.name]}, ways, figures.Timing(numbers, **changed)))


FLUX = transformers.tiny()[0]


@pytest.mark.thorough
@marks.transformers
def test_every_way_is_timed_for_every_number_of_people() -> None:
    lines = timed()
    expected = [(SHALLOW.title, "nobody", 0), *((SHALLOW.title, "prompt_per_person", people) for people in (1, 2))]
    expected.append((FLUX.name, "nobody", 0))
    for people in (1, 2):
        expected += [(FLUX.name, method, people) for method in transformers.ON_TRANSFORMERS]
    assert [(line["network"], line["method"], line["people"]) for line in lines] == expected
    for line in lines:
        assert line["finite"] and line["ours"] > 0
        assert line["ratio"] == pytest.approx(line["ours"] / line["peer"], rel=0.02, abs=0.01)


def test_what_no_longer_fits_into_the_time_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    networks = {"a network": partial(unets.for_timing, SHALLOW, torch.float32)}
    assert list(figures.measure(networks, unets.ON_UNETS, figures.Timing((1,), seconds=0.0))) == []
    assert "No time was left (0 s) for a network." in capsys.readouterr().err


def line(method: str, people: int, ratio: float, peak: int | None, network: str = "SDXL", **timed: Any) -> Line:
    return {
        "network": network, "method": method, "people": people, "ratio": ratio, "peer": 13.52, "unit": "TFLOP",
        "peak_mib": peak, **timed,
    }  # fmt: skip


def test_a_table_has_a_row_for_every_way_and_a_gap_where_there_is_no_figure() -> None:
    lines = [
        line("nobody", 0, 1.0, 256, kernels=200, first_kernels=[210, 210], moved_ratio=1.0, plain_gib_moved=46.2),
        line("instant_id", 1, 1.4312, 300, kernels=300, first_kernels=[350, 320], moved_ratio=1.5),
        line("instant_id", 12, 1.4467, 512, kernels=312, first_kernels=[370, 330], moved_ratio=1.5124),
        line("ip_adapter_plus", 1, 1.0004, 300, kernels=250, first_kernels=[260, 260], moved_ratio=1.0212),
        line("nobody", 0, 1.0, 256, kernels=200, first_kernels=[210, 210], moved_ratio=1.0),  # before those of others
        line("others", 12, 17.7441, 1024, kernels=4000, first_kernels=[4100, 4100], moved_ratio=20.5),
        line("nobody", 0, 1.0, None, "FLUX", unit="s", peer=0.1849, device="a card, torch 2", pictures=4, spread=0.01),
        line("others", 1, 2.0, None, "FLUX", spread=0.072),
    ]
    titles = {"instant_id": "**InstantID**", "ip_adapter_plus": "**IP-Adapter Plus**", "others": "with a prompt each"}
    assert figures.tables(lines, titles) == (
        "| SDXL: steps of 13.5 TFLOP; people | 1 | 12 | GiB at 12 |\n"
        "| --- | --- | --- | --- |\n"
        "| without people | 1.000 | 1.000 | 0.25 |\n"
        "| **InstantID** | 1.43 | 1.45 | 0.50 |\n"
        "| **IP-Adapter Plus** | 1.000 |  |  |\n"
        "| with a prompt each |  | 17.7 | 1.00 |\n"
        "\n"
        "| SDXL: kernels of a step, of the first and of that of a second sampling; people | 1 | 12 |\n"
        "| --- | --- | --- |\n"
        "| without people | 200 / 210 / 210 | 200 / 210 / 210 |\n"
        "| **InstantID** | 300 / 350 / 320 | 312 / 370 / 330 |\n"
        "| **IP-Adapter Plus** | 250 / 260 / 260 |  |\n"
        "| with a prompt each |  | 4000 / 4100 / 4100 |\n"
        "\n"
        "| SDXL: bytes read and written, times 46.2 GiB of a plain step; people | 1 | 12 |\n"
        "| --- | --- | --- |\n"
        "| without people | 1.000 | 1.000 |\n"
        "| **InstantID** | 1.500 | 1.512 |\n"
        "| **IP-Adapter Plus** | 1.021 |  |\n"
        "| with a prompt each |  | 20.500 |\n"
        "\n"
        "| FLUX: steps of 0.185 s; people | 1 | GiB at 1 |\n"
        "| --- | --- | --- |\n"
        "| without people | 1.000 |  |\n"
        "| with a prompt each | 2.00 |  |\n"
        "\n"
        "Timed on a card, torch 2, 4 pictures at once. The middle half of a figure's steps differs by at most 7%.\n"
    )
