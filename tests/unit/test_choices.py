"""Words of which one is to be chosen: any other is refused, and named with its input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pack.core.errors import BadChoice
from pack.core.geometry import Fit
from pack.core.people import Cast, Faces, Layout, PlacedCast
from pack.core.places import adding, bodies, from_boxes, group, layouts, placing, regions
from pack.core.second_pass import crops, pasting

BARE = Layout(64, 64, ())
CHOICES: dict[str, Callable[[str], object]] = {
    "fit": lambda word: Fit.into((10, 10), (10, 10), word),
    "body": lambda word: bodies.body_around(bodies.face_keypoints((9, 9), 9), word),
    "body of masks": lambda word: layouts.from_masks(torch.ones(1, 64, 64), 0, 0, word),
    "body of an added place": lambda word: adding.add(BARE, "free place", (0, 0), 0, word),
    "body of boxes": lambda word: from_boxes.layout(from_boxes.Start(), None, None, "", (64, 64), "face", word),
    "boxes_show": lambda word: from_boxes.start(None, None, (64, 64), "crop", word),
    "where": lambda word: adding.add(BARE, word, (0, 0), 0, "half"),
    "framing": lambda word: group.layout(2, word, 0, 1024, 1024),
    "action": lambda word: group.layout(2, "half", 0, 1024, 1024, word),
    "order": lambda word: placing.assign(Cast(()), BARE, word, ""),
    "extent": lambda word: regions.of_person(PlacedCast((), 64, 64), 1, word, 0.2, 8),  # type: ignore[arg-type]
    "who": lambda word: crops.decide([], Faces((), 64, 64), crops.Choice(word, 96, 0.4, True, 1.0, 0.2, 0.2, 256)),
    "color_match": lambda word: pasting.paste(torch.zeros(1, 64, 64, 3), crops.Crops((), 1, 64, 64, 64),
                                              torch.zeros(0, 64, 64, 3), word),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_a_word_that_is_not_offered_is_refused(name: str) -> None:
    with pytest.raises(BadChoice, match=f"{name.split()[0]} is 'neither'"):
        CHOICES[name]("neither")
