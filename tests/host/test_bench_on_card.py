"""bench.py --gpu --transformers, on small transformers and on whatever computes here."""

from __future__ import annotations

import marks
import pytest
import torch
from bench import transformers, transformers_on_card

pytestmark = marks.transformers
SMALL = transformers_on_card.Settings(transformers_on_card.tiny()[:2], torch.float32, side=64, numbers=(1, 2))


@pytest.mark.thorough
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
    of_flux = {(line["method"], line["people"]): line for line in lines if line["model"] == "small FLUX.1"}
    expected_cells = ["small FLUX.1", f"{of_flux['nobody', 0]['seconds_per_step']:.3f}"]
    for method in transformers.METHODS:
        expected_cells.append(" / ".join(f"{of_flux[method, people]['ratio']:.2f}" for people in SMALL.numbers))
    assert f"| {' | '.join(expected_cells)} |" in rows


def test_a_figure_that_is_missing_is_a_dash_in_its_own_place() -> None:
    def line(method: str, people: int, ratio: float) -> dict[str, object]:
        return {
            "device": "a card", "model": "a model", "method": method, "people": people, "ratio": ratio,
            "seconds_per_step": ratio / 10, "peak_gib": ratio,
        }  # fmt: skip

    lines = [line("nobody", 0, 1.0), line("prompt_per_person", 2, 1.5), line("lora_per_person", 1, 1.25)]
    seconds, memory = (row for row in transformers_on_card.table(lines).splitlines() if row.startswith("| a model "))
    assert seconds == "| a model | 0.100 | - / 1.50 | 1.25 / - |"
    assert memory == "| a model | 1.00 | - / 1.50 | 1.25 / - |"


def test_what_no_longer_fits_into_the_time_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    no_time = transformers_on_card.Settings(SMALL.models, torch.float32, side=64, numbers=(1,), seconds=0.0)
    assert list(transformers_on_card.measure(no_time)) == []
    said = capsys.readouterr().err
    for model in no_time.models:
        assert f"No time was left (0 s) for {model.name}." in said
