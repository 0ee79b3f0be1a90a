"""bench.py beside other packs: what ComfyUI's own masks cost, how packs are found, and the table of a card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from bench import card, installed, methods, others
from bench.methods import Line
from bench.names import INSTANT_ID

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


SHALLOW = replace(methods.SDXL, shape=methods.SDXL.tiny, size=(128, 128))
"""An SDXL for ways that need no pack, so that nobody counts its layers: each operation that is counted takes a
millisecond, however small the network is."""


def counted(numbers: tuple[int, ...]) -> dict[str, Line]:
    """Ways of others that need no pack, on a small SDXL."""
    return {line["name"]: line for line in others.count((SHALLOW,), numbers)}


@pytest.mark.thorough
@pytest.mark.usefixtures("custom_nodes")
def test_masks_on_conditioning_cost_a_row_for_each_prompt() -> None:
    lines = counted((1, 4))
    for people in (1, 4):
        # A common prompt and one each, beside one negative prompt.
        assert lines[f"people_sdxl_masked_prompts_{people}"]["ratio"] == pytest.approx((people + 2) / 2, rel=1e-4)
        # Twenty steps of a picture as large for each person, over thirty steps.
        assert lines[f"people_sdxl_crop_and_detail_{people}"]["ratio"] == pytest.approx(1 + people * 2 / 3, rel=1e-4)
    assert len(lines) == 4


@pytest.mark.thorough
@pytest.mark.usefixtures("custom_nodes")
def test_the_rows_of_one_pack_alone_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Without the pack there are none: neither those of ComfyUI itself nor those of another pack."""
    assert list(others.count((SHALLOW,), (1,), [INSTANT_ID])) == []
    said = capsys.readouterr().err
    assert "ComfyUI_InstantID is not in custom_nodes: left out." in said
    assert "ComfyUI-ppm" not in said


def settings(**changed: Any) -> card.Settings:
    return card.Settings(card.tiny(methods.SDXL), torch.float32, **{"numbers": (2,), **changed})


@pytest.mark.thorough
@pytest.mark.usefixtures("custom_nodes")
def test_a_card_is_measured_with_every_method_of_the_table() -> None:
    lines = list(card.measure(settings()))
    assert [line["method"] for line in lines] == ["nobody", *card.OURS, "masked_prompts"]
    for line in lines:
        assert line["seconds_per_step"] > 0
    text = card.table([*lines, *card.mask_costs(torch.float32, scale=64)])
    assert text.startswith(f"Device: {card.device_name()}. Torch {torch.__version__}.\n\n| one picture: ")
    for name in card.OURS:
        assert f"\n| {card.TITLES[name]} | " in text
    for attention in card.ATTENTIONS:
        assert f"\n| {attention.title} | " in text


@pytest.mark.thorough
@pytest.mark.usefixtures("custom_nodes")
def test_what_no_longer_fits_the_time_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    lines = list(card.measure(settings(seconds=0.0)))
    assert [line["method"] for line in lines] == ["nobody"]
    assert "No time was left (0 s) for: id_patch for 2, instant_id for 2," in capsys.readouterr().err
