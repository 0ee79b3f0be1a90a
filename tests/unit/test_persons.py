"""Combining photos, blending people, and the file of one person."""

import json
import math
from dataclasses import replace

import pytest
import torch
from pack.core.cast import Face, Look, LookPicture, Lora, Person, Portraits, person_without_photo
from pack.core.checks.errors import BadEmbedding, UnsupportedCheckpoint
from pack.core.persons import blending, combining, lookalikes, saving
from pack.core.persons.blending import slerp

ARC = "arcface-ir-se50"
BOTH = (ARC, "antelopev2")
EMBEDDED = {f"embedding.{key}" for key in BOTH}
PORTRAITS = {"portraits.aligned", "portraits.loose", "portraits.ffhq"}


def person(name="Anna", photos=3, seed=0, recognisers=BOTH):
    generator = torch.Generator().manual_seed(seed)
    embeddings = {key: torch.randn(photos, 512, generator=generator) for key in recognisers}
    return Person(name, embeddings, torch.rand(photos, 112, 112, 3, generator=generator))


def of_rows(*rows):
    """A person whose embeddings begin so; the rest is 0."""
    padded = torch.tensor([[*row, *[0.0] * (512 - len(row))] for row in rows])
    return Person("Anna", {ARC: padded}, torch.zeros(len(rows), 112, 112, 3))


def pictures(photos=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Portraits(*(torch.randint(256, (photos, n, n, 3), generator=generator).byte() for n in (224, 512, 512)))


def bytes_of(*shape, seed=0):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed)).byte()


COAT = LookPicture("whole body clothes", bytes_of(9, 7, 3), bytes_of(9, 7), bytes_of(4, 5), 0.3)
LOOKS = (Look("red coat", (COAT, LookPicture("shoes", bytes_of(5, 6, 3)))), Look("Hut \U0001f3a9", (COAT,)))

OF_LOOKS = {*saving.tensors_of_looks(replace(person(), looks=LOOKS))}


def saved(person, **changes):
    """The person in the file of a person, with other tensors or metadata; without those that are None."""
    tensors, metadata = saving.to_tensors(person)
    file_metadata = {key: changes.pop(key) for key in ("format", "version", "name", "loras", "looks") if key in changes}
    kept_tensors = {key: tensor for key, tensor in {**tensors, **changes}.items() if tensor is not None}
    return saving.from_tensors(kept_tensors, {**metadata, **file_metadata}, "anna.safetensors")


def test_embeddings_crops_and_portraits_are_in_the_order_of_the_photos():
    embeddings = person().embeddings
    all_portraits = pictures()
    crops = torch.rand(3, 112, 112, 3, generator=torch.Generator().manual_seed(7))
    faces = []
    for number in range(3):
        row = {key: rows[number] for key, rows in embeddings.items()}
        photo = slice(number, number + 1)
        portraits = Portraits(*(all_kinds[photo] for all_kinds in vars(all_portraits).values()))
        faces.append(Face((0, 0, 9, 9), ((0.0, 0.0),) * 5, 0.9, crops[number], row, portraits))
    anna = combining.from_faces("Anna", faces, BOTH)
    for key in BOTH:
        assert torch.equal(anna.embeddings[key], embeddings[key])
    assert torch.equal(anna.crops, crops)
    assert anna.portraits is not None
    assert torch.equal(anna.portraits.aligned, all_portraits.aligned)
    assert torch.equal(anna.portraits.loose, all_portraits.loose)
    assert torch.equal(anna.portraits.ffhq, all_portraits.ffhq)


def test_normalised_mean_has_the_mean_direction_and_the_mean_length():
    """One strong photo among weak ones pulls the mean, not the normalised mean."""
    combined = combining.combine(of_rows((9.0,), (0.0, 1.0)), ARC, "normalised mean", "ID-Patch")
    assert combined.shape == (1, 512)
    assert combined.norm().item() == pytest.approx(5.0)
    assert combined[0, 0].item() == pytest.approx(combined[0, 1].item())


@pytest.mark.parametrize("photos", ["mean", "normalised mean"])
def test_photos_that_hardly_agree_have_a_mean(photos):
    """A hundredth of their length is left of it."""
    combined = combining.combine(of_rows((1.0, 0.01), (-1.0, 0.01)), ARC, photos, "ID-Patch")[0]
    assert combined[0] == 0 and combined[1] > 0


@pytest.mark.parametrize("photos", ["mean", "weighted mean", "normalised mean"])
def test_of_photos_that_are_opposites_nothing_is_left(photos):
    opposite = -9.0 if photos == "normalised mean" else -1.0  # of whatever length
    with pytest.raises(BadEmbedding, match="its photos are opposites"):
        combining.combine(of_rows((1.0,), (opposite,)), ARC, photos, "ID-Patch")


def test_weighted_mean_counts_photos_by_how_they_agree_with_the_others():
    """Two alike and a stranger, by hand: 0.4, 0.4 and 0 (never quite 0) are their mean cosines with the others."""
    anna = of_rows((10.0,), (8.0, 6.0), (0.0, 0.0, 20.0))
    combined = combining.combine(anna, ARC, "weighted mean", "ID-Patch")[0]
    weights = torch.tensor([0.4**2, 0.4**2, 0.02**2])
    assert torch.allclose(combined, (anna.embeddings[ARC] * weights[:, None]).sum(0) / weights.sum())
    assert combined[2] < 0.03 < combining.combine(anna, ARC, "mean", "ID-Patch")[0, 2]


def test_mean_and_sequence():
    anna = person()
    single = person(photos=1)
    assert torch.equal(combining.combine(anna, ARC, "mean", "x")[0], anna.embeddings[ARC].mean(dim=0))
    assert torch.equal(combining.combine(anna, ARC, "sequence", "x"), anna.embeddings[ARC])
    means = [combining.combine(person(photos=2), ARC, photos, "x") for photos in ("mean", "weighted mean")]
    assert torch.allclose(*means, atol=1e-6), "two photos have nobody else to agree with"
    for photos in combining.PHOTOS:
        assert torch.allclose(combining.combine(single, ARC, photos, "x"), single.embeddings[ARC], atol=1e-6)


def near(name, neighbour, cosine, recognisers=BOTH):
    """Somebody whose second photo has this cosine with the other's first, by these recognisers alone."""
    somebody = person(name, 2, 7)
    for key in recognisers:
        unit = neighbour.embeddings[key][0] / neighbour.embeddings[key][0].norm()
        aside = somebody.embeddings[key][1]
        aside = aside - (aside @ unit) * unit
        somebody.embeddings[key][1] = 20 * (cosine * unit + (1 - cosine**2) ** 0.5 * aside / aside.norm())
    return somebody


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ((("Ben", 0.99),), ["Anna and Ben look like one person, 0.99: is one photo there twice?"]),
        ((("Ben", 0.99), ("Cleo", 0.85)), ["Anna, Ben and Cleo look like one person, 0.85: is one photo there twice?"]),
        (
            (("Ben", 0.36),),
            [
                "More alike than strangers: Anna and Ben 0.36. Kin are easily mixed up; what they share does not count "
                "as leakage."
            ],
        ),
        ((("Ben", 0.34),), []),
        ((("Ben", 0.7, (ARC,)),), []),
        ((("Ben", 0.99, (ARC,)),), []),  # the other recogniser tells them apart
    ],
)
def test_one_photo_twice_and_kin_are_told(others, told):
    anna = person()
    dan = Person("Dan", {"w600k_mbf": person(photos=1).embeddings[ARC]}, torch.zeros(1, 112, 112, 3))
    assert lookalikes.look_alike([dan, anna, *(near(name, anna, *likeness) for name, *likeness in others)]) == told


def test_whom_a_recogniser_takes_for_one_person_is_for_its_own_file_to_say():
    """0.99 of one that sees colours is of strangers. It is kept where people are saved, and where they are mixed."""
    anna = replace(person(photos=1, recognisers=(ARC,)), one_person_from={ARC: 0.995})
    stranger = replace(near("Ben", anna, 0.99, (ARC,)), one_person_from={ARC: 0.995})
    stranger = replace(stranger, embeddings={ARC: stranger.embeddings[ARC]})
    copy = replace(near("Cleo", anna, 0.997, (ARC,)), one_person_from={ARC: 0.995})
    copy = replace(copy, embeddings={ARC: copy.embeddings[ARC]})
    assert lookalikes.look_alike([anna, stranger]) == []
    assert lookalikes.look_alike([saved(anna), saved(stranger)]) == []
    assert lookalikes.look_alike([anna, stranger, copy]) == [
        "Anna and Cleo look like one person, 1.00: is one photo there twice?"
    ]
    unsaid = replace(stranger, one_person_from={})
    assert lookalikes.look_alike([anna, unsaid]) == [], "the stricter of two files of one recogniser counts"
    assert lookalikes.look_alike([replace(anna, one_person_from={}), unsaid]) != []
    otherwise = replace(stranger, one_person_from={"w600k_mbf": 0.98})
    blended = blending.blend(anna, otherwise, 0.5, "slerp", "")
    assert blended.one_person_from == {ARC: 0.995, "w600k_mbf": 0.98}
    assert saved(blended).one_person_from == pytest.approx(blended.one_person_from)


@pytest.mark.parametrize("method", blending.BLENDS)
def test_blend_ends_are_the_people_themselves(method):
    """For every recogniser that both have; of portraits the first ones, of LoRAs each at its person's share."""
    a = replace(person(), portraits=pictures(), loras=(Lora("a.safetensors", 1.0, ""),))
    b = person("Ben", 2, 5, ("antelopev2", "w600k_mbf"))
    b = replace(b, portraits=pictures(2, 1), loras=(Lora("b.safetensors", 0.5, ""),))
    mostly_a = blending.blend(a, b, 0.25, method, "")
    assert [(lora.file, lora.strength) for lora in mostly_a.loras] == [
        ("a.safetensors", 0.75),
        ("b.safetensors", 0.125),
    ]
    assert mostly_a.name == "Anna 75 % Ben 25 %"
    of_three = blending.blend(mostly_a, replace(a, portraits=pictures(seed=2)), 0.5, method, "")
    assert [one.share for one in saved(of_three).blended_of] == [0.375, 0.125, 0.5]
    again = blending.blend(mostly_a, a, 0.3, method, "")
    assert [one.share for one in again.blended_of] == pytest.approx([0.825, 0.175]), "one share for each portrait"
    for one, first in zip(saved(of_three).blended_of, (a.portraits, b.portraits, pictures(seed=2)), strict=True):
        assert torch.equal(one.loose, first.loose[0])
    for amount, end in ((0.0, a), (1.0, b)):
        blended = blending.blend(a, b, amount, method, "")
        assert (list(blended.embeddings), blended.crops.shape[0]) == (["antelopev2"], 1)
        rows = end.embeddings["antelopev2"].mean(dim=0, keepdim=True)
        assert torch.allclose(blended.embeddings["antelopev2"], rows, atol=1e-5)
        assert torch.equal(blended.portraits.aligned, end.portraits.aligned[:1])
        assert torch.equal(blended.portraits.loose, end.portraits.loose[:1])
        assert torch.equal(blended.portraits.ffhq, end.portraits.ffhq[:1])


@pytest.mark.parametrize("angle", [torch.pi / 2, 0.05])
def test_slerp_turns_at_an_even_pace_and_keeps_the_length(angle):
    a = of_rows((2.0,)).embeddings[ARC]
    b = of_rows((4 * math.cos(angle), 4 * math.sin(angle))).embeddings[ARC]
    third = slerp(a, b, 1 / 3)
    assert third.norm().item() == pytest.approx(2 + 2 / 3, rel=1e-5)
    assert torch.atan2(third[0, 1], third[0, 0]).item() == pytest.approx(angle / 3, rel=1e-4)
    assert torch.lerp(a, b, 0.5).norm() < slerp(a, b, 0.5).norm()
    assert torch.allclose(slerp(a, 3 * a, 0.5), 2 * a), "one direction leaves no arc"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        *(({key: rows}, "tensors do not belong to the same photos") for key, rows in (
            ("crops", torch.zeros(())), ("crops", torch.zeros(2, 112, 112, 3)), ("crops", torch.zeros(3, 0, 0, 3)),
            ("embedding.antelopev2", torch.ones(1, 512)), ("portraits.loose", torch.zeros(())),
            ("portraits.aligned", torch.zeros(2, 224, 224, 3).byte()),
            *((key, None) for key in PORTRAITS),
        )),
        ({"portraits.loose": torch.zeros(3, 512, 500, 3).byte()}, r"loose .*uint8 of shape \(3, 512, 500, 3\), not"),
        ({"portraits.ffhq": torch.zeros(3, 512, 500, 3).byte()}, r"ffhq .*uint8 of shape \(3, 512, 500, 3\), not"),
        ({"version": "3"}, r"version 3 .*Update"),
        ({"version": None}, "version None"),
        ({**dict.fromkeys(EMBEDDED | PORTRAITS | OF_LOOKS), "looks": "[]"}, "damaged: .*do not belong"),
        (dict.fromkeys({"embedding.antelopev2", "portraits.aligned"}), "do not belong to the same photos"),
        ({"format": "", **dict.fromkeys({"crops", "embedding.antelopev2"} | PORTRAITS)},
         rf'\["embedding\.{ARC}", .*\] and no person'),
        ({"loras": '[["a"]]'}, "its LoRAs cannot be read"),
        *(({"looks": looks}, "its looks cannot be read") for looks in (
            "[", "[" * 900, "5", '["coat"]', '[["coat", 5]]', '[["coat", [["shoes", 1]]]]',
            '[["coat", [["shoes", null, []]]]]', '[["coat", [["shoes", 1, ["sleeve"]]]]]',
            '[["coat", [["shoes", 1, []]]]]',
        )),
        *(({f"look.0.0.{key}": None}, "its looks cannot be read") for key in ("picture", "alpha", "mask")),
        *(({f"look.0.0.{key}": torch.full(shape, number)}, "'red coat' a picture or a mask is not in 8 bits")
          for key, shape in (("picture", (9, 7, 3)), ("alpha", (9, 7)), ("mask", (9, 7)))
          for number in (math.nan, 1.0)),
        *(({"look.0.0.picture": torch.zeros(shape).byte()}, "'red coat' a picture has the shape")
          for shape in ((), (9, 7), (0, 7, 3), (9, 7, 4), (2049, 1, 3))),
        *(({"look.0.0.mask": torch.ones(shape).byte()}, "'red coat' a mask has the shape")
          for shape in ((), (9,), (0, 7), (1, 9, 7), (1, 2049))),
        ({"look.0.0.alpha": torch.ones(9, 8).byte()}, "alpha channel has another size"),
        *(({f"look.0.0.{key}": torch.zeros(9, 7).byte()}, "'red coat' a mask or an alpha channel is empty")
          for key in ("alpha", "mask")),
        *(({"looks": json.dumps([("coat", [(label, weight, ["picture"])])])}, "has no label that can be used, or no")
          for label, weight in (("", 1), (None, 1), ("a" * 1001, 1), *[("shoes", n) for n in (0, 4.1, math.nan)])),
        *(({"looks": json.dumps([(name, [("shoes", 1, ["picture"])])])}, "a look cannot be called")
          for name in ("", None, "-", " ", "a, b", "a;b", '"a"')),
        ({"looks": json.dumps([("coat", [])])}, "its look 'coat' has no picture"),
        ({"looks": json.dumps([(name, [("shoes", 1, ["picture"])]) for name in ("Coat", "coat")]),
          "look.1.0.picture": COAT.picture}, "two of its looks have one name"),
        ({"looks": json.dumps([(str(number), []) for number in range(40)])}, "it has 40 looks, and 20 is the most"),
        ({"loras": json.dumps([("a", 1, "")] * 101)}, "it has 101 LoRAs, and 100 is the most"),
        *(({key: f"[{'0,' * 2**22}0]"}, f"says of {key} it has 8,388,611 letters, and 8,388,608 is the most")
          for key in ("looks", "loras")),
        *(({key: "[" * 200_000}, f"says of {key} its brackets go deeper") for key in ("looks", "loras")),
        *(({"loras": json.dumps([("a", strength, "")])}, "the strength of a LoRA is no number")
          for strength in (float("nan"), float("-inf"))),
        (dict.fromkeys(map(str, range(5000)), torch.zeros(1)), "tensors, and 5,000 is the most"),
        *(({"crops": torch.full((3, 112, 112, 3), value)}, why) for value, why in (
            (float("nan"), "its crops contain NaN"), (float("inf"), "its crops contain NaN or infinity"),
            (-1e30, "the numbers of its crops reach 1e\\+30"), (255.0, "reach 255 in the place of 1"))),
        *(({"looks": looks}, "pictures or masks that are of none of its looks") for looks in (
            "[]", json.dumps([("coat", [("shoes", 1, ["picture"])])]))),
        ({"look.0.2.picture": COAT.picture}, "pictures or masks that are of none of its looks"),
        *(({"blended_of.loose": torch.zeros(2, 512, side, 3).byte(), "blended_of.shares": shares}, "is blended cannot")
          for side, shares in ((512, None), (512, torch.ones(2)), (512, torch.ones(1)), (500, torch.ones(2) / 2),
                               (512, torch.tensor([2.0, -1.0])), (512, torch.full((2,), torch.nan)),
                               (512, torch.ones(2).cfloat() / 2), (512, torch.tensor(1.0)))),
        *(({"embedding.antelopev2": torch.ones(3, 512).to(kind)}, f"holds numbers of type {kind} instead of float")
          for kind in (torch.int8, torch.int64, torch.bool, torch.complex64)),
        *(({"embedding.antelopev2": torch.ones(3, 512).to(torch.int8).view(kind)}, f"of type {kind} instead of float")
          for kind in [getattr(torch, "float4_e2m1fn_x2", torch.int8)]),  # older versions of torch lack it
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(change, why):
    """Or one of a part of a person, or of something else. More of them are in tests/support/hostile/bank.py."""
    with pytest.raises(UnsupportedCheckpoint, match=rf"anna\.safetensors .*{why}"):
        saved(replace(person(), portraits=pictures(), looks=LOOKS), **change)


def test_a_saved_look_is_the_look_itself():
    """Its names and labels too; and who has none is written as before there were looks."""
    kept = saved(replace(person(), looks=LOOKS)).looks
    assert [look.name for look in kept] == [look.name for look in LOOKS]
    for look, original in zip(kept, LOOKS, strict=True):
        for one, other in zip(look.pictures, original.pictures, strict=True):
            assert (one.label, one.weight) == (other.label, other.weight)
            for rows, expected in ((one.picture, other.picture), (one.alpha, other.alpha), (one.mask, other.mask)):
                assert rows is expected or torch.equal(rows, expected)
    dressed_alone = saved(replace(person_without_photo("Dan"), looks=LOOKS))
    assert [look.name for look in dressed_alone.looks] == [look.name for look in LOOKS]
    without = saving.to_tensors(person())
    assert without.metadata == {"format": "likeness identity", "version": "1", "name": "Anna"}
    assert without.tensors.keys() == {*EMBEDDED, "crops"}
