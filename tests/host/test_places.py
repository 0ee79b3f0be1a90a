"""The Places nodes in the real host: what they are given and show, and what is told on them."""

from typing import Any

import people_made
import pytest
import torch
from pack.core.people import Cast, Person
from pack.nodes import places


def group(count: int = 3, **changed: Any) -> Any:
    options = {"framing": "half", "rows": 0, "width": 512, "height": 512, **changed}
    return places.GroupLayout.execute(count, **options)


def cast(count: int) -> Cast:
    return Cast(tuple(Person(people_made.identity(n)) for n in range(1, count + 1)))


def test_boxes_of_the_text_count_where_they_are_chosen() -> None:
    drawn = [{"x": 100, "y": 10, "width": 90, "height": 180, "metadata": {"desc": "Ben"}}]
    options = (384, 256, "crop", "person", "half")
    for source, name in (("drawn", "Ben"), ("text", "Anna")):
        made = places.LayoutFromBoxes.execute(*options, source, "Anna: 20, 20, 150, 230", boxes=drawn)
        assert made.args[2] == name


def test_a_group_has_as_many_places_as_the_cast_has_people() -> None:
    absent = Cast(cast(4).people, absent=((2, "Nobody"),))
    assert group(9, cast=absent).args[0] == group(4).args[0] != group(9).args[0]


def test_a_photo_is_seen_in_the_preview_and_changes_nothing_else() -> None:
    layout, photo = group(2).args[0], torch.full((1, 64, 64, 4), 0.5)
    bare, seen = (
        places.AddPlace.execute(layout, 0, 0, i, where="free place", face_size=40, body="half").args
        for i in (None, photo)
    )
    assert bare[0] == seen[0]
    placed = places.PlaceCast.execute(cast(1), layout, "custom", "1,0").args[0]
    wide = {"extent": "body", "margin": 2.0, "feather": 16}
    whole, beside = (places.PersonRegion.execute(placed, 1, **wide, layout=stay).args[0] for stay in (None, layout))
    assert beside.sum() < whole.sum(), "those who stay in a linked layout are left out"
    plain, drawn = (places.PersonRegion.execute(placed, 1, "face", 0.5, 16, image=i).args for i in (None, photo))
    assert torch.equal(plain[0], drawn[0])
    corners = [float(preview[0, -1, -1, 0]) for preview in (bare[1], seen[1], plain[1], drawn[1])]
    assert corners == pytest.approx([0.08, 0.5, 0.08, 0.5], abs=0.01)
