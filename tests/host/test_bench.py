"""bench.py beside other packs and on a card: what ComfyUI's own masks cost, how packs are found, and the tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import folder_paths
import marks
import pytest
import torch
from bench import by_packs, figures, installed, transformers, unets
from bench.figures import Line

PACK = """
class Twice:
    FUNCTION = "run"

    def run(self, number):
        return (2 * number,)


NODE_CLASS_MAPPINGS = {"TestTwice": Twice}
"""


@pytest.fixture
def custom_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A ComfyUI's folder of packs, with two: one works, and one cannot be imported. Its server goes with the test."""
    for name, code in (("comfyui-test_pack", PACK), ("ComfyUI-Broken", "import a_module_that_is_not_there")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(code, "utf-8")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "custom_nodes", ([str(tmp_path)], set()))
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path / "user"))
    yield tmp_path
    if installed._loop.cache_info().currsize:
        import server

        # Notes under nodes go to a server where there is one; other tests have none.
        del server.PromptServer.instance
        installed._loop().close()
        installed._loop.cache_clear()
        installed.load.cache_clear()


def test_a_pack_is_found_by_other_letters_and_its_nodes_run(custom_nodes: Path) -> None:
    assert installed.folder_of("ComfyUI_Test-Pack") == custom_nodes / "comfyui-test_pack"
    commits = installed.loaded(["ComfyUI_Test-Pack"])
    assert commits == {"ComfyUI_Test-Pack": "no commit known"}
    assert installed.call("TestTwice", number=4) == (8,)


def test_what_is_missing_or_broken_is_said_and_left_out(custom_nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert installed.loaded(["ComfyUI-Nowhere", "ComfyUI-Broken"]) == {}
    errors = capsys.readouterr().err
    assert "ComfyUI-Nowhere is not in custom_nodes: left out." in errors
    assert f"ComfyUI cannot import {custom_nodes / 'ComfyUI-Broken'}." in errors


SHALLOW = replace(unets.SDXL, shape=unets.SDXL.tiny, size=(128, 128))
"""An SDXL for ways that need no pack, so that nobody counts its layers: each operation that is counted takes a
millisecond, however small the network is."""


@pytest.mark.thorough
@pytest.mark.usefixtures("custom_nodes")
def test_masks_on_conditioning_cost_a_row_for_each_prompt() -> None:
    ways = by_packs.installed_ways(by_packs.BY_PACKS)
    assert [*ways] == ["masked_prompts", "crop_and_detail"]
    lines = {line["name"]: line for line in by_packs.count_by_packs(unets.for_counting(SHALLOW), ways, (1, 4))}
    for people in (1, 4):
        # A common prompt and one each, beside one negative prompt.
        assert lines[f"people_{SHALLOW.title}_masked_prompts_{people}"]["ratio"] == pytest.approx(
            (people + 2) / 2, rel=1e-4
        )
        # Twenty steps of a picture as large for each person, over thirty steps.
        assert lines[f"people_{SHALLOW.title}_crop_and_detail_{people}"]["ratio"] == pytest.approx(
            1 + people * 2 / 3, rel=1e-4
        )
    assert len(lines) == 5


def timed(numbers: tuple[int, ...] = (1, 2), **changed: Any) -> list[Line]:
    """Steps of a small SDXL and of a small FLUX.1, by the ways that both can have."""
    networks = {
        SHALLOW.title: partial(unets.for_timing, SHALLOW, torch.float32),
        FLUX.name: partial(transformers.for_timing, FLUX, 64, torch.float32),
    }
    ways = {"masked_prompts": by_packs.BY_PACKS["masked_prompts"]}
    lines = list(figures.measure({SHALLOW.title: networks[SHALLOW.title]}, ways, figures.Timing(numbers, **changed)))
    ways = transformers.ON_TRANSFORMERS
    return lines + list(figures.measure({FLUX.name: networks[FLUX.name]}, ways, figures.Timing(numbers, **changed)))


FLUX = transformers.tiny()[0]


@pytest.mark.thorough
@marks.transformers
def test_every_way_is_timed_for_every_number_of_people() -> None:
    lines = timed()
    expected = [(SHALLOW.title, "nobody", 0), *((SHALLOW.title, "masked_prompts", people) for people in (1, 2))]
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
        line("nobody", 0, 1.0, 256, kernels=200, plain_kernels=200),
        line("instant_id", 1, 1.4312, 300, kernels=300),
        line("instant_id", 12, 1.4467, 512, kernels=312),
        line("ip_adapter_plus", 1, 1.0004, 300, kernels=250),
        line("nobody", 0, 1.0, 256, kernels=200),  # once more, before the ways of others
        line("others", 12, 17.7441, 1024, kernels=4000),
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
        "| SDXL: kernels, of which a plain step has 200; people | 1 | 12 |\n"
        "| --- | --- | --- |\n"
        "| **InstantID** | 1.50 | 1.56 |\n"
        "| **IP-Adapter Plus** | 1.25 |  |\n"
        "| with a prompt each |  | 20.00 |\n"
        "\n"
        "| FLUX: steps of 0.185 s; people | 1 | GiB at 1 |\n"
        "| --- | --- | --- |\n"
        "| without people | 1.000 |  |\n"
        "| with a prompt each | 2.00 |  |\n"
        "\n"
        "Timed on a card, torch 2, 4 pictures at once. The middle half of a figure's steps differs by at most 7%.\n"
    )
