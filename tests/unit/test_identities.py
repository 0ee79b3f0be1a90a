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


def test_mean_is_the_mean():
    anna = person()
    combined = identities.combine(anna, ARC, "mean", "ID-Patch")
    assert combined.shape == (1, 512)
    assert torch.equal(combined[0], anna.embeddings[ARC].mean(dim=0))


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


def test_two_photos_have_nobody_to_agree_with():
    anna = person(photos=2)
    means = [identities.combine(anna, ARC, photos, "ID-Patch") for photos in ("mean", "weighted mean")]
    assert torch.allclose(*means, atol=1e-6)


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


def test_sequence_keeps_every_photo():
    anna = person()
    assert torch.equal(identities.combine(anna, ARC, "sequence", "InstantID"), anna.embeddings[ARC])


@pytest.mark.parametrize("photos", identities.PHOTOS)
def test_one_photo_is_the_same_in_every_way(photos):
    anna = person(photos=1)
    assert torch.allclose(identities.combine(anna, ARC, photos, "x"), anna.embeddings[ARC], atol=1e-6)


def test_missing_recogniser_names_the_method():
    with pytest.raises(RecogniserMissing) as caught:
        identities.combine(person(recognisers=("antelopev2",)), ARC, "mean", "ID-Patch")
    assert str(caught.value) == (
        "ID-Patch needs arcface-ir-se50, this identity (Anna) has antelopev2. "
        "Choose arcface-ir-se50 in Load Face Model and make the identity again from the photos. Its file: "
        "recognition_arcface_ir_se50.pth in models/facexlib, from "
        "https://github.com/xinntao/facexlib/releases/download/v0.1.0/recognition_arcface_ir_se50.pth (175 MB)."
    )


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


def test_bad_embedding_is_refused_when_the_identity_is_made():
    face = Face((0, 0, 9, 9), ((0, 0),) * 5, 0.9, torch.zeros(112, 112, 3), {ARC: torch.full((512,), float("nan"))})
    with pytest.raises(BadEmbedding, match="of Anna cannot be used: it contains NaN"):
        identities.from_faces("Anna", [face], [ARC])


def test_identity_without_photos_says_so_when_it_is_used():
    nobody = identities.from_faces("Anna", [], [ARC])
    assert identities.photos_of(nobody) == 0
    with pytest.raises(BadEmbedding, match="no photo of this person shows a face"):
        identities.combine(nobody, ARC, "mean", "ID-Patch")
    with pytest.raises(BadEmbedding, match="no photo of this person shows a face"):
        identities.blend(nobody, person(), 0.5, "slerp", "")


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


def test_slerp_of_one_direction_is_lerp():
    a = torch.randn(1, 512, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(identities.slerp(a, 3 * a, 0.5), 2 * a)


def test_blend_uses_what_both_have():
    a, b = (
        person("Anna", recognisers=(ARC, "antelopev2")),
        person("Ben", seed=5, recognisers=("antelopev2", "w600k_mbf")),
    )
    blended = identities.blend(a, b, 0.5, "slerp", "")
    assert list(blended.embeddings) == ["antelopev2"]
    assert blended.name == "Anna + Ben"
    assert blended.crops.shape == (1, 112, 112, 3)
    assert identities.blend(a, b, 0.5, "slerp", "Child").name == "Child"


def test_nothing_in_common_to_blend():
    a, b = person("Anna", recognisers=(ARC,)), person("Ben", recognisers=("antelopev2",))
    with pytest.raises(BadCast, match=r"Anna .*arcface-ir-se50 .*Ben .*antelopev2"):
        identities.blend(a, b, 0.5, "slerp", "")


def test_tensors_and_back_are_bit_equal():
    anna = person("Änna 安娜")
    again = identities.from_tensors(*identities.to_tensors(anna), "anna.safetensors")
    assert again.name == anna.name
    assert list(again.embeddings) == list(anna.embeddings)
    assert all(torch.equal(again.embeddings[key], rows) for key, rows in anna.embeddings.items())
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


def test_rows_that_share_their_memory_are_saved():
    rows = torch.rand(1, 512).expand(3, -1)
    anna = Identity("Anna", {ARC: rows, "antelopev2": rows}, torch.rand(3, 112, 112, 3).flip(1).transpose(1, 2))
    tensors, metadata = identities.to_tensors(anna)
    again = identities.from_tensors(load(save(tensors, metadata)), metadata, "anna.safetensors")
    assert torch.equal(again.embeddings[ARC], rows) and torch.equal(again.crops, anna.crops)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("An\x1b[31mna\n\ud800", "An [31mna"), ("x" * 2_000_000, "x" * 97 + "..."), (" \t", "person")],
)
def test_names_are_one_line_of_letters_wherever_they_come_from(name, shown):
    tensors, metadata = identities.to_tensors(person(name))
    assert metadata["name"] == shown
    assert identities.from_tensors(tensors, {**metadata, "name": name}, "anna.safetensors").name == shown
    assert identities.blend(person("a"), person("b"), 0.5, "slerp", name).name == shown.replace("person", "a + b")


def test_another_file_is_named_for_what_it_is():
    with pytest.raises(UnsupportedCheckpoint, match=r'lora\.safetensors .*\["up\.weight"\]'):
        identities.from_tensors({"up.weight": torch.zeros(1)}, {}, "lora.safetensors")


def test_newer_file_says_update():
    tensors, metadata = identities.to_tensors(person())
    with pytest.raises(UnsupportedCheckpoint, match=r"version 2 .*Update"):
        identities.from_tensors(tensors, {**metadata, "version": "2"}, "anna.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"crops": torch.zeros(())},
        {"crops": torch.zeros(2, 112, 112, 3)},
        {"crops": torch.zeros(3, 0, 0, 3)},
        {"embedding.antelopev2": torch.ones(1, 512)},
        {"portraits.loose": torch.zeros(())},
        {"portraits.aligned": torch.zeros(2, 224, 224, 3).byte()},
    ],
)
def test_a_file_whose_tensors_do_not_fit_together(change):
    tensors, metadata = identities.to_tensors(replace(person(), portraits=pictures()))
    with pytest.raises(UnsupportedCheckpoint, match=r"anna\.safetensors .*damaged: .*tensors"):
        identities.from_tensors({**tensors, **change}, metadata, "anna.safetensors")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"crops": torch.full((3, 112, 112, 3), torch.nan)}, "its pictures hold nan where they reach from 0 to 1"),
        ({"crops": torch.full((3, 112, 112, 3), -1e9)}, r"its pictures hold -1e\+09"),
        ({"crops": torch.full((3, 112, 112, 3), torch.nan).to(torch.float8_e4m3fn)}, "its pictures hold nan"),
        ({"crops": torch.zeros(3, 112, 112, 3, dtype=torch.complex64)}, "complex64"),
        ({"embedding.antelopev2": torch.ones(3, 512, dtype=torch.complex64)}, "antelopev2 is of type torch.complex64"),
        ({"portraits.aligned": torch.zeros(3, 224, 224, 3)}, r"its aligned portraits are torch\.float32 of shape"),
        ({"portraits.loose": torch.zeros(3, 512, 500, 3).byte()}, r"loose .*uint8 of shape \(3, 512, 500, 3\), not"),
    ],
)
def test_a_file_with_numbers_of_nobody(change, why):
    tensors, metadata = identities.to_tensors(replace(person(), portraits=pictures()))
    with pytest.raises(UnsupportedCheckpoint, match=rf"anna\.safetensors .*damaged: .*{why}"):
        identities.from_tensors({**tensors, **change}, metadata, "anna.safetensors")


def test_a_file_without_embeddings_or_version():
    tensors, metadata = identities.to_tensors(person())
    with pytest.raises(UnsupportedCheckpoint, match="its tensors do not belong to the same photos"):
        identities.from_tensors({"crops": tensors["crops"]}, metadata, "anna.safetensors")
    half = {**tensors, "portraits.loose": pictures().loose}
    with pytest.raises(UnsupportedCheckpoint, match="its tensors do not belong to the same photos"):
        identities.from_tensors(half, metadata, "anna.safetensors")
    with pytest.raises(UnsupportedCheckpoint, match="is written in version None of the format"):
        identities.from_tensors(tensors, {"format": metadata["format"]}, "anna.safetensors")
