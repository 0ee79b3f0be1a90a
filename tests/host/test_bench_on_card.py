"""bench.py --gpu --transformers, on small transformers and on whatever computes here."""

from __future__ import annotations

import pytest
import tiny_dits
import torch
from bench import transformers, transformers_on_card

pytestmark = tiny_dits.needed
SMALL = transformers_on_card.Settings(transformers_on_card.tiny()[:2], torch.float32, side=64, numbers=(1, 2))


def test_every_way_is_measured_for_every_model_and_number_of_people() -> None:
    lines = list(transformers_on_card.measure(SMALL))
    expected: list[tuple[str, str, int]] = []
    for model in SMALL.models:
        expected.append((model.name, "nobody", 0))
        for method in transformers.METHODS:
            expected += [(model.name, method, people) for people in SMALL.numbers]
    assert [(line["model"], line["method"], line["people"]) for line in lines] == expected
    assert all(line["finite"] for line in lines)
    for line in lines:
        (plain,) = (other for other in lines if other["model"] == line["model"] and other["people"] == 0)
        assert line["seconds_per_step"] > 0
        assert line["ratio"] == pytest.approx(line["seconds_per_step"] / plain["seconds_per_step"], rel=0.02, abs=0.01)

    rows = transformers_on_card.table(lines).splitlines()
    row_of_prompts = next(row for row in rows if row.startswith("| small FLUX.1: **Prompt per Person**"))
    for people in SMALL.numbers:
        (line,) = (
            line
            for line in lines
            if (line["model"], line["method"], line["people"]) == ("small FLUX.1", "prompt_per_person", people)
        )
        cell = row_of_prompts.split("|")[1 + people].strip()
        assert cell.startswith(f"{line['seconds_per_step']:.3f} ({line['ratio']:.2f}) / ")


def test_what_no_longer_fits_into_the_time_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    no_time = transformers_on_card.Settings(SMALL.models, torch.float32, side=64, numbers=(1,), seconds=0.0)
    assert list(transformers_on_card.measure(no_time)) == []
    said = capsys.readouterr().err
    for model in no_time.models:
        assert f"No time was left (0 s) for {model.name}." in said
