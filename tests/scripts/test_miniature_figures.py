"""The miniature itself, without a host: its files, and what measures its clothes."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from environment import SetupError
from miniature import export, garments, measure, stored
from miniature.clothes_measured import Fitted, shows, swapped, wearing
from pack.core.models.tensors import below
from shared.shapes import of


@pytest.mark.parametrize("damaged", [lambda data: data[:-9], lambda data: data.replace(b'"scales"', b'"scalez"')])
def test_a_damaged_file_is_named(damaged: Callable[[bytes], bytes], tmp_path: Path) -> None:
    for file in stored.FILES.values():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (broken := tmp_path / "sharing.safetensors").write_bytes(damaged(broken.read_bytes()))
    with pytest.raises(SetupError, match=f"{broken}.*git checkout"):
        stored.load(tmp_path / stored.FILE.name)


def test_a_wider_layer_says_the_same_more_often() -> None:
    """The rule behind every widened weight, on a convolution: repeated channels in, the same repeated channels out."""
    small = torch.nn.Conv2d(8, 4, 3, padding=1)
    large = torch.nn.Conv2d(40, 20, 3, padding=1)
    shapes = ((key, tuple(weight.shape)) for key, weight in large.state_dict().items())
    large.load_state_dict(export.widened(small.state_dict(), shapes))
    x = torch.randn(1, 8, 6, 6)
    assert torch.allclose(large(x.repeat_interleave(5, 1)), small(x).repeat_interleave(5, 1), atol=1e-5)
    wide = export.widened(below("control.", stored.load().state_dict()), of("controlnet"))
    assert {key: tuple(weight.shape) for key, weight in wide.items()} == dict(of("controlnet"))


def test_the_right_parts_measure_as_right_and_others_as_wrong() -> None:
    """What is worn, as it is drawn, and with every part exchanged; and what shows of things beside a part."""
    rng = random.Random(3)
    told, other = (garments.outfit(rng, list(garments.Slot)) for _ in "12")
    place = garments.standing(rng)

    def shown(outfit: garments.Outfit) -> torch.Tensor:
        return measure.cells_of(garments.worn(place, outfit)[0].movedim(0, -1))

    right, wrong = (Fitted(shown(worn), place, told) for worn in (told, other))
    assert wearing([right]) == {"kind": 1, "colour": 1, "pattern": 1}
    assert swapped([right], [other]) == 1 and swapped([wrong], [other]) == 0
    hair = {garments.Slot.HAIR: told[garments.Slot.HAIR]}
    one = Fitted(shown(hair), place, hair)
    assert shows([one._replace(cells=one.cells + 0.1)], [one], torch.full((1, 3), 0.2)) == pytest.approx(0.5)
