"""Looks, from Look from Picture to the sampler: the same numbers as Parts that are wired by hand."""

import json
from dataclasses import replace
from typing import Any

import marks
import mixed_cast
import pytest
import torch
from figures import WHOLE_SAMPLING
from graph_run import run
from graphs import FAMILIES, UNCONNECTED, Node, ours, sampled, value
from marks import each
from method_rows import latents
from pack.core.persons import saving
from sample_values import by_lora, cast, image, klein, latent, layout, mask, sdxl_clip, slot, unplaced

pytestmark = marks.transformers
COAT, SCARF, SHOES, HAT = ((image(96, 128, seed=seed) * 255).round() / 255 for seed in (31, 32, 33, 34))
"""As from a file: looks are kept in 8 bits."""
ON_COAT, ON_SHOES = mask(3, 96, 128)[1:2], mask(2, 96, 128)[:1]


def place(person: int, people: Any) -> Node:
    """As regions of bodies are by default; the cast's are 8 px soft."""
    return ours("LikenessMaskOfAPersonsPlace", cast=people, person=person, feather=8)


def by_looks(people: Any) -> Node:
    """Person 1 in a coat and a scarf, person 2 in shoes; another look of person 1 is older."""
    older = ours("LikenessLookFromPicture", cast=people, image=HAT, name="older", mask=ON_COAT)
    scarf = ours("LikenessPart", image=SCARF, label="other", other_label="a scarf", weight=0.5)
    first = ours("LikenessLookFromPicture", cast=older, image=COAT, name="coat", mask=ON_COAT, parts=scarf)
    return ours("LikenessLookFromPicture", cast=first, who="2", image=SHOES, name="new", label="shoes", mask=ON_SHOES)


def by_hand(people: Any, beside: Any = UNCONNECTED) -> Node:
    """beside: parts behind these."""
    targets = [place(person, people) for person in (1, 2)]
    coat = ours("LikenessPart", image=COAT, label="whole body clothes", mask=ON_COAT, target_mask=targets[0])
    scarf = ours(
        "LikenessPart",
        image=SCARF,
        label="other",
        other_label="a scarf",
        weight=0.5,
        target_mask=targets[0],
        parts=coat,
    )
    shoes = ours("LikenessPart", image=SHOES, label="shoes", mask=ON_SHOES, target_mask=targets[1], parts=scarf)
    if beside is UNCONNECTED:
        return shoes
    return node_with(beside, parts=shoes)


def node_with(changed: Node, **inputs: Any) -> Node:
    return ours(changed.kind, **{**changed.inputs, **inputs})


def shared(people: Any, parts: Any, **changed: Any) -> Node:
    return ours("LikenessSharePartsAttention", cast=people, parts=parts, **changed)


def shared_sdxl(people: Any, parts: Any, **changed: Any) -> Node:
    of_family = vars(FAMILIES["SDXL"])
    return shared(people, parts, **of_family, clip=value(sdxl_clip), crop_to_mask=True, **changed)


def encoded(people: Any, parts: Any, **changed: Any) -> Node:
    features = ours("LikenessEncodeParts", cast=people, parts=parts, **changed)
    return ours("LikenessApplyParts2Whole", features=features)


def references(people: Any, parts: Any, **changed: Any) -> Node:
    given = UNCONNECTED if parts is UNCONNECTED else parts
    return ours("LikenessPeopleAsReferences", cast=people, parts=given, **changed)


def by_region(people: Any, parts: Any, **changed: Any) -> Node:
    return references(people, parts, model=value(klein), **changed)


METHODS = [shared, shared_sdxl, encoded, references, by_region]
NOBODY_DRESSED = {shared: UNCONNECTED, shared_sdxl: UNCONNECTED, encoded: UNCONNECTED}
"""The cast without looks, where one would change nothing."""


def drawn(applied: Node) -> torch.Tensor:
    """Two pictures, with both sides of the conditioning."""
    return latents(sampled(applied, value(latent, batch=2), scheduler="simple", steps=1))


def texts(applied: Node) -> Any:
    return run(applied, {})[2] if applied.kind == "LikenessPeopleAsReferences" else None


@pytest.fixture(params=each(METHODS, [shared, encoded, by_region]), ids=lambda method: method.__name__)
def method(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_look_is_parts_that_are_wired_by_hand(method: Any) -> None:
    """Bit for bit; also from a file, and with parts beside it."""
    people = value(cast)
    beside = ours("LikenessPart", image=HAT, label="hair or headwear", target_mask=place(2, people))
    undressed = NOBODY_DRESSED.get(method, people)
    wired = method(undressed, by_hand(people))
    dressed = method(by_looks(people), UNCONNECTED)
    expected = drawn(wired)
    assert torch.equal(drawn(dressed), expected)
    assert texts(dressed) == texts(wired)
    assert torch.equal(drawn(method(value(reloaded, by_looks(people)), UNCONNECTED)), expected)
    of_both = drawn(method(undressed, by_hand(people, beside)))
    assert torch.equal(drawn(method(by_looks(people), beside)), of_both)
    assert (of_both - expected).abs().max() > WHOLE_SAMPLING
    # Another look, and that of one person alone.
    older = drawn(method(by_looks(people), UNCONNECTED, looks="1: older; 2: -"))
    assert (older - expected).abs().max() > WHOLE_SAMPLING


def reloaded(people: Any) -> Any:
    """The cast with people who were saved and loaded."""
    members = [replace(one, person=saving.from_tensors(*saving.to_tensors(one.person), "x")) for one in people.people]
    return replace(people, people=tuple(members))


def test_without_looks_nothing_is_changed(method: Any) -> None:
    """A cast whose people wear nothing, or are of weight 0, beside the parts."""
    people = value(cast)
    expected = drawn(method(NOBODY_DRESSED.get(method, people), by_hand(people)))
    assert torch.equal(drawn(method(by_looks(people), by_hand(people), looks="1: -, 2: -")), expected)
    if method in NOBODY_DRESSED:
        assert torch.equal(drawn(method(value(weightless, by_looks(people)), by_hand(people))), expected)
        assert torch.equal(drawn(method(people, by_hand(people))), expected)


def weightless(people: Any) -> Any:
    return replace(people, people=tuple(replace(member, weight=0.0) for member in people.people))


def test_somebody_alone_wears_a_look_everywhere() -> None:
    alone = by_lora("Anna")
    look = ours("LikenessLookFromPicture", cast=alone, image=COAT, mask=ON_COAT)
    by_parts = ours("LikenessPart", image=COAT, label="whole body clothes", mask=ON_COAT)
    for method in (shared, encoded):
        assert torch.equal(drawn(method(look[1], UNCONNECTED)), drawn(method(UNCONNECTED, by_parts)))


def test_people_without_places_wear_their_own_by_references() -> None:
    """Though their looks have one name, one label and no place that would tell them apart."""
    people: Any = value(unplaced)
    for who, picture in (("1", COAT), ("2", SHOES)):
        people = ours("LikenessLookFromPicture", cast=people, who=who, image=picture, name="red coat")
    text = run(references(people, UNCONNECTED, pictures=UNCONNECTED), {})[2]
    assert text == (
        "Anna, from image 1, wearing the whole body clothes from image 2.\n"
        "Boris, from image 3, wearing the whole body clothes from image 4.\nin a park"
    )


def test_a_person_with_a_lora_keeps_looks() -> None:
    look = ours("LikenessLookFromPicture", cast=value(unplaced), image=COAT)
    (with_lora, *_) = run(ours("LikenessAddLoRAToPerson", person=look[1]), {})
    assert [one.name for one in with_lora.looks] == ["look"]


def taken(**changed: Any) -> Any:
    """The pictures of the look that the node gives to a person, by label."""
    (_, person, _) = run(ours("LikenessLookFromPicture", **changed), {})
    return {one.label: one for one in person.looks[-1].pictures}


@pytest.mark.parametrize(("who", "name"), [("1", "Anna"), ("3", "Cleo"), ("4", "Anna"), ("5", "Dan"), ("Dan", "Dan")])
def test_a_look_is_given_to_whom_a_number_of_the_list_means(who: str, name: str) -> None:
    """Also behind somebody who is absent, and where the number of the place is another."""
    people = mixed_cast.mixed()
    (dressed, person, _) = run(
        ours("LikenessLookFromPicture", cast=value(lambda: people), who=who, image=COAT, mask=ON_COAT), {}
    )
    index = people.numbers.index(int(who)) if who.isdigit() else mixed_cast.DAN
    assert person.name == name
    assert [
        len(one.person.looks) > len(before.person.looks)
        for one, before in zip(dressed.people, people.people, strict=True)
    ] == [number == index for number in range(4)]


def test_what_is_taken_is_the_body_without_the_head_and_the_hair_around_the_face() -> None:
    of_place = taken(hair=True)
    clothes, hair = of_place["whole body clothes"].mask, of_place["hair or headwear"].mask
    for member in cast().people:
        left, top, right, below = (round(side) for side in member.slot.box)
        assert not clothes[top:below, left:right].any()
    left, top, right, below = (round(side) for side in cast().people[0].slot.box)
    assert not hair[top:below, left:right].any()
    assert hair[top - 2, (left + right) // 2] == 255 > clothes[top - 2, (left + right) // 2]
    assert clothes[below + 12, (left + right) // 2] == 255 > hair[below + 12, (left + right) // 2]
    close = cast(places=layout(slot(), slot(60.0)))
    of_both = [taken(cast=close, who=who)["whole body clothes"].mask > 0 for who in ("1", "2")]
    assert not (of_both[0] & of_both[1]).any(), "what may be of either is nobody's"
    only_hair = taken(label="hair or headwear")["hair or headwear"].mask
    assert torch.equal(only_hair, hair)


def test_what_is_drawn_by_hand_is_taken_too_and_nothing_changes_what_is_empty() -> None:
    """Of the picture with places: what is drawn on hair is clothes, or nothing."""
    before, empty = taken(hair=True), taken(hair=True, drawn="  ")
    for label, of_place in before.items():
        assert torch.equal(of_place.mask, empty[label].mask)
        assert torch.equal(of_place.picture, empty[label].picture)
    left, top = ["+", 0, 0, 30, 0, 30, 100, 0, 100], ["-", 0, 0, 100, 0, 100, 40, 0, 40]
    added = taken(hair=True, drawn=json.dumps([left]))
    clothes, hair = added["whole body clothes"].mask, added["hair or headwear"].mask
    assert clothes[:, :38].all()
    assert torch.equal(clothes[:, 40:], before["whole body clothes"].mask[:, 40:])
    assert not hair[:, :38].any() and torch.equal(hair[:, 40:], before["hair or headwear"].mask[:, 40:])
    cut = taken(hair=True, drawn=json.dumps([top]))
    assert not any(of_place.mask[:38].any() for of_place in cut.values())
