"""Combining photos, blending people, and the file of one person."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pack.core import identities
from pack.core.errors import BadCast, BadEmbedding, UnsupportedCheckpoint
from pack.core.identities import PortraitsMissing, RecogniserMissing
from pack.core.people import Face, Identity, Portraits
from safetensors.torch import load, save

ARC = "arcface-ir-se50"


def person(name="Anna", photos=3, seed=0, recognisers=(ARC, "antelopev2")):
    generator = torch.Generator().manual_seed(seed)
    embeddings = {key: torch.randn(photos, 512, generator=generator) for key in recognisers}
    return Identity(name, embeddings, torch.rand(photos, 112, 112, 3, generator=generator))


def pictures(photos=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Portraits(*(torch.randint(256, (photos, n, n, 3), generator=generator).byte() for n in (224, 512)))


def test_normalised_mean_has_the_mean_direction_and_the_mean_length():
    """One strong photo among weak ones pulls the mean, not the normalised mean."""
    rows = torch.zeros(2, 512)
    rows[0, 0], rows[1, 1] = 9.0, 1.0
    anna = Identity("Anna", {ARC: rows}, torch.zeros(2, 112, 112, 3))
    combined = identities.combine(anna, ARC, "normalised mean", "ID-Patch")
    assert combined.shape == (1, 512)
    assert combined.norm().item() == pytest.approx(5.0)
    assert combined[0, 0].item() == pytest.approx(combined[0, 1].item())


def test_weighted_mean_counts_photos_by_how_they_agree_with_the_others():
    """Two alike and a stranger, by hand: 0.4, 0.4 and 0 (never quite 0) are their mean cosines with the others."""
    rows = torch.zeros(3, 512)
    rows[0, 0], rows[1, :2], rows[2, 2] = 10.0, torch.tensor([8.0, 6.0]), 20.0
    anna = Identity("Anna", {ARC: rows}, torch.zeros(3, 112, 112, 3))
    combined = identities.combine(anna, ARC, "weighted mean", "ID-Patch")[0]
    weights = torch.tensor([0.4**2, 0.4**2, 0.02**2])
    assert torch.allclose(combined, (rows * weights[:, None]).sum(0) / weights.sum())
    assert combined[2] < 0.03 < identities.combine(anna, ARC, "mean", "ID-Patch")[0, 2]


def test_mean_and_sequence():
    anna, one = person(), person(photos=1)
    assert torch.equal(identities.combine(anna, ARC, "mean", "x")[0], anna.embeddings[ARC].mean(dim=0))
    assert torch.equal(identities.combine(anna, ARC, "sequence", "x"), anna.embeddings[ARC])
    means = [identities.combine(person(photos=2), ARC, photos, "x") for photos in ("mean", "weighted mean")]
    assert torch.allclose(*means, atol=1e-6), "two photos have nobody else to agree with"
    for photos in identities.PHOTOS:
        assert torch.allclose(identities.combine(one, ARC, photos, "x"), one.embeddings[ARC], atol=1e-6)


def near(name, other, cosine, recognisers=(ARC, "antelopev2")):
    """Somebody whose second photo has this cosine with the other's first, by these recognisers alone."""
    made = person(name, 2, 7)
    for key in recognisers:
        unit, aside = other.embeddings[key][0] / other.embeddings[key][0].norm(), made.embeddings[key][1]
        aside = aside - (aside @ unit) * unit
        made.embeddings[key][1] = 20 * (cosine * unit + (1 - cosine**2) ** 0.5 * aside / aside.norm())
    return made


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ((("Ben", 0.99),), ["Anna and Ben look like one person, 0.99: is one photo there twice?"]),
        ((("Ben", 0.99), ("Cleo", 0.85)), ["Anna, Ben and Cleo look like one person, 0.85: is one photo there twice?"]),
        ((("Ben", 0.7),), []),  # twins, and two photos of one person
        ((("Ben", 0.99, (ARC,)),), []),  # the other recogniser tells them apart
    ],
)
def test_a_photo_that_is_there_twice_is_told(others, told):
    anna, dan = person(), Identity("Dan", {"w600k_mbf": person(photos=1).embeddings[ARC]}, torch.zeros(1, 112, 112, 3))
    assert identities.look_alike([dan, anna, *(near(name, anna, *how) for name, *how in others)]) == told


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda rows: rows.index_fill(1, torch.tensor([7]), float("nan")), "NaN"),
        (lambda rows: rows.index_fill(1, torch.tensor([7]), float("inf")), "infinity"),
        (lambda rows: rows.index_fill(0, torch.tensor([1]), 0.0), "all zeros"),
        (lambda rows: rows * 1e-30, r"above \d\.\d+e-3\d"),
        (lambda rows: rows * 1e25, r"reach \d\.\d+e\+2\d"),
        (lambda rows: rows[:, :511], r"\(3, 511\) .*\(photos, 512\)"),
        (lambda rows: rows[0], r"shape \(512,\)"),
    ],
    ids=["nan", "inf", "zeros", "tiny", "huge", "length", "dimensions"],
)
def test_bad_embeddings_are_refused_everywhere(damage, why):
    anna = person()
    bad = replace(anna, embeddings={ARC: damage(anna.embeddings[ARC])})
    message = f"{ARC} .*of Anna .*: .*{why}"
    with pytest.raises(BadEmbedding, match=message):
        identities.combine(bad, ARC, "mean", "ID-Patch")
    with pytest.raises(BadEmbedding, match=message):
        identities.to_tensors(bad)
    if bad.embeddings[ARC].ndim == 2 and why != "all zeros":  # those of another photo
        face = Face((0, 0, 9, 9), ((0, 0),) * 5, 0.9, torch.zeros(112, 112, 3), {ARC: bad.embeddings[ARC][0]})
        with pytest.raises(BadEmbedding):
            identities.from_faces("Anna", [face], [ARC])
    tensors, metadata = identities.to_tensors(anna)
    with pytest.raises(BadEmbedding, match=message):
        identities.from_tensors({**tensors, f"embedding.{ARC}": bad.embeddings[ARC]}, metadata, "anna.safetensors")


@pytest.mark.parametrize("photos", ["mean", "normalised mean", "weighted mean"])
def test_opposite_photos_have_no_mean(photos):
    rows = person(photos=1).embeddings[ARC]
    both = torch.cat([rows, -rows * (1 + 1e-6)])
    opposite = replace(person(), embeddings={ARC: both})
    with pytest.raises(BadEmbedding, match=r"of Anna .*opposites.* sequence"):
        identities.combine(opposite, ARC, photos, "ID-Patch")
    assert torch.equal(identities.combine(opposite, ARC, "sequence", "ID-Patch"), both)


def test_what_nobody_has_cannot_be_used():
    nobody, ben = identities.from_faces("Anna", [], [ARC]), person("Ben", recognisers=("antelopev2", "w600k_mbf"))
    other = rf"ID-Patch needs {ARC}, .*\(Anna\) has antelopev2.*https://.*se50\.pth"
    assert identities.photos_of(nobody) == 0
    for act, error, words in (
        (lambda: identities.combine(nobody, ARC, "mean", "ID-Patch"), BadEmbedding, "no photo of this person shows"),
        (lambda: identities.blend(nobody, person(), 0.5, "slerp", ""), BadEmbedding, "no photo of this person shows"),
        (
            lambda: identities.blend(person(recognisers=(ARC,)), ben, 0.5, "slerp", ""),
            BadCast,
            r"Anna .*arcface-ir-se50 .*Ben .*antelopev2",
        ),
        (
            lambda: identities.combine(person(recognisers=("antelopev2",)), ARC, "mean", "ID-Patch"),
            RecogniserMissing,
            other,
        ),
    ):
        with pytest.raises(error, match=words):
            act()


@pytest.mark.parametrize("method", identities.BLENDS)
def test_blend_ends_are_the_people_themselves(method):
    a, b = person("Anna", seed=1), person("Ben", seed=2)
    for amount, end in ((0.0, a), (1.0, b)):
        blended = identities.blend(a, b, amount, method, "")
        for key, rows in blended.embeddings.items():
            assert torch.allclose(rows, end.embeddings[key].mean(dim=0, keepdim=True), atol=1e-5)


def test_slerp_turns_at_an_even_pace_and_keeps_the_length():
    a, b = torch.zeros(1, 512), torch.zeros(1, 512)
    a[0, 0], b[0, 1] = 2.0, 4.0
    third = identities.slerp(a, b, 1 / 3)
    assert third.norm().item() == pytest.approx(2 + 2 / 3, rel=1e-6)
    assert torch.atan2(third[0, 1], third[0, 0]).item() == pytest.approx(torch.pi / 6, rel=1e-5)
    assert torch.lerp(a, b, 0.5).norm() < identities.slerp(a, b, 0.5).norm()
    assert torch.allclose(identities.slerp(a, 3 * a, 0.5), 2 * a), "one direction leaves no arc"


def test_blend_uses_what_both_have():
    a, b = person("Anna"), person("Ben", seed=5, recognisers=("antelopev2", "w600k_mbf"))
    blended = identities.blend(a, b, 0.5, "slerp", "")
    assert (list(blended.embeddings), blended.name) == (["antelopev2"], "Anna + Ben")
    assert blended.crops.shape == (1, 112, 112, 3)


def test_what_is_saved_comes_back_to_the_bit():
    """Also rows that share their memory, and pictures of which the numbers lie in another order."""
    rows = torch.rand(1, 512).expand(3, -1)
    anna = Identity("Änna 安娜", {ARC: rows, "antelopev2": rows}, torch.rand(3, 112, 112, 3).flip(1).transpose(1, 2))
    tensors, metadata = identities.to_tensors(anna)
    again = identities.from_tensors(load(save(tensors, metadata)), metadata, "anna.safetensors")
    assert again.name == anna.name and again.embeddings.keys() == anna.embeddings.keys()
    assert list(identities.from_tensors(tensors, metadata, "x").embeddings) == list(anna.embeddings)
    assert all(torch.equal(again.embeddings[key], rows) for key in anna.embeddings)
    assert torch.equal(again.crops, anna.crops)


def test_portraits_are_kept_by_file_and_blend_and_asked_for_by_name():
    anna, ben = replace(person(), portraits=pictures()), replace(person("Ben", 2, 1), portraits=pictures(2, 1))
    again = identities.from_tensors(*identities.to_tensors(anna), "anna.safetensors")
    kept = identities.portraits(again, "FaceID Plus")
    assert torch.equal(kept.aligned, anna.portraits.aligned) and torch.equal(kept.loose, anna.portraits.loose)
    for amount, nearest in ((0.0, anna), (1.0, ben)):
        mixed = identities.blend(anna, ben, amount, "slerp", "").portraits
        assert torch.equal(mixed.aligned, nearest.portraits.aligned[:1])
        assert torch.equal(mixed.loose, nearest.portraits.loose[:1])
    older = identities.from_tensors(*identities.to_tensors(person()), "anna.safetensors")
    for lacking in (older, identities.blend(anna, older, 0.5, "slerp", "Anna")):
        with pytest.raises(PortraitsMissing, match=r"FaceID Plus .*\(Anna\) .*again from the photos"):
            identities.portraits(lacking, "FaceID Plus")


@pytest.mark.parametrize("portraits", [(pictures(1), pictures(1, 1)), (pictures(1), None)])
def test_a_person_has_portraits_of_every_photo_or_none(portraits):
    row = {ARC: torch.ones(512)}
    faces = [Face((0, 0, 9, 9), ((0, 0),) * 5, 0.9, torch.zeros(112, 112, 3), row, one) for one in portraits]
    made = identities.from_faces("Anna", faces, [ARC]).portraits
    assert (made is None) == (None in portraits)
    assert made is None or torch.equal(made.aligned, torch.cat([one.aligned for one in portraits]))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.uint16, torch.float8_e4m3fn, torch.bfloat16])
def test_pictures_of_any_type_of_numbers_are_loaded(dtype):
    tensors, metadata = identities.to_tensors(person("Anna"))
    crops = torch.ones_like(tensors["crops"]).to(dtype)
    assert identities.from_tensors({**tensors, "crops": crops}, metadata, "anna.safetensors").crops.eq(1).all()


@pytest.mark.parametrize(
    ("name", "shown"),
    [("An\x1b[31mna\n\ud800", "An [31mna"), ("x" * 2_000_000, "x" * 97 + "..."), (" \t", "person")],
)
def test_names_are_one_line_of_letters_wherever_they_come_from(name, shown):
    tensors, metadata = identities.to_tensors(person(name))
    assert metadata["name"] == shown
    assert identities.from_tensors(tensors, {**metadata, "name": name}, "anna.safetensors").name == shown
    assert identities.blend(person("a"), person("b"), 0.5, "slerp", name).name == shown.replace("person", "a + b")


def full(size, **kind):
    return torch.full((3, size, size, 3), **kind)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        *(({key: rows}, "tensors do not belong to the same photos") for key, rows in (
            ("crops", torch.zeros(())), ("crops", torch.zeros(2, 112, 112, 3)), ("crops", torch.zeros(3, 0, 0, 3)),
            ("embedding.antelopev2", torch.ones(1, 512)), ("portraits.loose", torch.zeros(())),
            ("portraits.aligned", torch.zeros(2, 224, 224, 3).byte()),
        )),
        ({"crops": full(112, fill_value=torch.nan)}, "its pictures hold nan where they reach from 0 to 1"),
        ({"crops": full(112, fill_value=-1e9)}, r"its pictures hold -1e\+09"),
        ({"crops": full(112, fill_value=torch.nan).to(torch.float8_e4m3fn)}, "its pictures hold nan"),
        ({"crops": full(112, fill_value=0j)}, "complex64"),
        ({"embedding.antelopev2": torch.ones(3, 512, dtype=torch.complex64)}, "antelopev2 is of type torch.complex64"),
        ({"portraits.aligned": full(224, fill_value=0.0)}, r"its aligned portraits are torch\.float32 of shape"),
        ({"portraits.loose": torch.zeros(3, 512, 500, 3).byte()}, r"loose .*uint8 of shape \(3, 512, 500, 3\), not"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(change, why):
    tensors, metadata = identities.to_tensors(replace(person(), portraits=pictures()))
    with pytest.raises(UnsupportedCheckpoint, match=rf"anna\.safetensors .*damaged: .*{why}"):
        identities.from_tensors({**tensors, **change}, metadata, "anna.safetensors")


@pytest.mark.parametrize(
    ("given", "changed", "why"),
    [
        (["crops"], {}, "do not belong to the same photos"),
        (["crops", "portraits.loose", f"embedding.{ARC}"], {}, "do not belong to the same photos"),
        ([f"embedding.{ARC}"], {"format": ""}, rf'\["embedding\.{ARC}"\] and no person'),
        (["crops"], {"version": "2"}, r"version 2 .*Update"),
        (["crops"], {"version": None}, "version None"),
    ],
)
def test_files_of_others_and_of_other_versions_are_named(given, changed, why):
    tensors, metadata = identities.to_tensors(replace(person(), portraits=pictures()))
    with pytest.raises(UnsupportedCheckpoint, match=why):
        identities.from_tensors({key: tensors[key] for key in given}, {**metadata, **changed}, "anna.safetensors")
