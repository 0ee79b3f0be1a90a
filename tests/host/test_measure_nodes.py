"""Measure Likeness and Pick Best Likeness in the real host, on real photos."""

from dataclasses import replace
from typing import Any, NamedTuple

import drawn
import family_encoders
import pytest
import real_faces
import torch
from pack.bridge.people.face_model import HostedFaceModel
from pack.core.cast import Cast, Member, PlacedCast, Slot
from pack.core.checks.errors import BadParts, BadPhoto
from pack.core.faces import analysis
from pack.core.measure.figures import score
from pack.core.parts.parts import Part, Parts, make_part
from pack.core.persons import combining
from pack.core.persons.looks import HAIR_LABEL, BadLook, clothes_of_place, hair_of_place, look_of_parts, part_of
from pack.core.pictures.tensors import eight_bits
from pack.nodes import measure
from tiny import tiny_encoders

DEFAULTS = {"made_with": "unknown", "stranger_below": 0.2, "min_size": 0}
MBF = "w600k_mbf"


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    """A batch of one size: an astronaut and Yao Ming in this order, the other way round, the first alone."""
    astronaut, yao = (real_faces.image(path) for path in (real_faces.ASTRONAUT, real_faces.YAO))
    first = torch.nn.functional.interpolate(astronaut.movedim(-1, 1), (512, 512))
    second = torch.nn.functional.interpolate(yao.movedim(-1, 1), (512, 512))
    pairs = [(first, second), (second, first), (first, torch.zeros_like(first))]
    return torch.cat([torch.cat(pair, 3).movedim(1, -1) for pair in pairs])


@pytest.fixture(scope="module")
def cast(face_model: HostedFaceModel) -> Cast:
    people = []
    for name, path, x in (("Eileen", real_faces.ASTRONAUT, 220.0), ("Yao", real_faces.YAO, 768.0)):
        picture = eight_bits(real_faces.image(path)[0])
        face = analysis.detect(face_model.detector, picture, name)[0]
        faces = analysis.recognise(face_model.recognisers, picture, [face], name)
        slot = Slot((x, 130.0), (x - 150, 0.0, x + 150, 300.0))
        people.append(Member(combining.from_faces(name, faces, [MBF]), 1.0, slot, len(people) + 1))
    return PlacedCast(tuple(people), 1024, 512)


def compared(face_model: Any, photos: torch.Tensor, cast: Cast | None, **inputs: Any) -> dict[str, Any]:
    node_output = measure.MeasureLikeness.execute(face_model, photos, cast=cast, **DEFAULTS, **inputs)
    names = [output.id for output in measure.MeasureLikeness.GET_SCHEMA().outputs]
    return dict(zip(names, node_output.args, strict=True))


@pytest.fixture(scope="module")
def result(face_model: HostedFaceModel, photos: torch.Tensor, cast: Cast) -> dict[str, Any]:
    return compared(face_model, photos, cast)


def test_a_batch_is_measured_picture_by_picture(result: dict[str, Any], photos: torch.Tensor) -> None:
    right, swapped, alone = result["report"].judged_pictures
    assert score(right, "association") == 1
    assert score(swapped, "association") == 0
    assert score(alone, "association") == 0.5
    assert (swapped.swapped, alone.missing) == (2, 1)
    assert (result["missing"], result["swapped"], result["extra"]) == (1, 2, 0)
    assert result["association"] == pytest.approx(0.5)
    assert score(right, "weakest person") > 0.7
    assert result["annotated"].shape == photos.shape
    assert (result["annotated"] - photos).abs().amax((1, 2, 3)).min() > 0.1
    differences = (result["annotated"][:, None] - photos).abs().mean((2, 3, 4))
    assert differences.argmin(1).tolist() == [0, 1, 2], "each is drawn on its own picture"
    assert "Yao (place 2): missing" in result["text"]
    assert "prompt" in result["text_alignment"].message, "no picture has that score without one"


def test_a_note_names_whose_face_has_not_changed(
    face_model: HostedFaceModel, photos: torch.Tensor, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(measure.notes, "tell", told.append)
    right, swapped = photos[:1], photos[1:2]
    for images, before in ((swapped, swapped), (right, swapped)):
        told.clear()
        compared(face_model, images, cast, before=before)
        assert ("not changed: Eileen and Yao" in "".join(told)) == (images is before)


def test_the_best_are_kept_with_their_latents(result: dict[str, Any], photos: torch.Tensor) -> None:
    mixed = photos[[1, 2, 0]]
    report = result["report"]
    turned = replace(report, pictures={MBF: tuple(report.judged_pictures[n] for n in (1, 2, 0))})
    latent = {"samples": torch.arange(3.0).reshape(3, 1, 1, 1), "batch_index": [7, 8, 9], "type": "any"}
    best = measure.PickBestLikeness.execute
    images, latents, index, best_score, ranking, best_report = best(turned, mixed, "resemblance", 2, latent).args
    assert torch.equal(images, mixed[[2, 1]])
    assert index == 2
    assert latents["samples"].flatten().tolist() == [2, 1]
    assert latents["batch_index"] == [9, 8]
    assert latents["type"] == "any"
    assert best_score == score(report.judged_pictures[0], "resemblance")
    assert ranking.splitlines()[0].startswith("picture 3: resemblance 0.")
    assert best_report.judged_pictures == tuple(turned.judged_pictures[number] for number in (2, 1))
    assert len(best(report, photos, "weakest person", 99).args[0]) == 3


def test_one_picture_is_shown_before_anything_is_measured(photos: torch.Tensor) -> None:
    """Of several, and where the sheet of a story reads the report, the host is asked for it."""
    pick = measure.PickBestLikeness
    assert pick.check_lazy_status(images=photos[:1]) == []
    assert pick.check_lazy_status(images=photos) == ["report"]
    images, _, index, *measured = pick.execute(None, photos[:1], "resemblance", 1).args
    assert torch.equal(images, photos[:1]) and index == 0
    assert [output.message for output in measured] == [measure.NOT_MEASURED] * 3


class Worn(NamedTuple):
    """Pictures of which the first wears the garment of the part, pixel by pixel, in the region of its target, and the
    others another one."""

    images: torch.Tensor
    garment: torch.Tensor
    part: Part


@pytest.fixture(scope="module")
def worn(photos: torch.Tensor) -> Worn:
    garment = drawn.picture(5, 120, 100)
    images = photos[:2].clone()
    images[0, 380:480, 200:320] = garment[0]
    images[1, 380:480, 200:320] = 0.2
    target, mask = torch.zeros(1, 512, 1024), torch.zeros(1, 100, 120)
    target[:, 380:480, 200:320] = mask[:] = 1
    return Worn(images, garment, make_part("upper body clothes", garment, mask, 1.0, target))


@pytest.mark.parametrize("tower", [tiny_encoders.clip_vision, family_encoders.dinov2])
def test_garments_are_compared_with_their_regions(tower: Any, worn: Worn) -> None:
    vision = tower()
    results = compared(None, worn.images, None, parts=Parts((worn.part,)), clip_vision=vision)
    first, second = (score(judged, "parts") for judged in results["report"].judged_pictures)
    direct = []
    for picture in (worn.garment, 0.2 + 0 * worn.garment):
        square = torch.nn.functional.pad(picture, (0, 0, 0, 0, 10, 10), value=1.0)
        direct.append(vision.encode_image(square)["image_embeds"].float())
    assert first == pytest.approx(1, abs=1e-5)
    assert second == pytest.approx(float(torch.cosine_similarity(*direct).cpu()), abs=1e-5)
    assert second < 0.999
    assert "  upper body clothes: 1.00" in results["text"]
    assert "parts 1.00" in results["text"]
    assert measure.PickBestLikeness.execute(results["report"], worn.images, score="parts", keep=1).args[2] == 0


def test_garments_and_people_are_measured_together(face_model: HostedFaceModel, worn: Worn, cast: Cast) -> None:
    vision = tiny_encoders.clip_vision()
    back = replace(worn.part, picture=1 - worn.part.picture)
    results = compared(face_model, worn.images, cast, parts=Parts((back, worn.part)), clip_vision=vision)
    assert "  upper body clothes: 1.00" in results["text"]
    assert results["text"].count("  upper body clothes: ") == len(worn.images), "front and back are one garment"
    assert "Picture 1: resemblance 0.9" in results["text"]
    assert "association 2/2" in results["text"]
    assert 0.4 < results["resemblance"] < 0.5, "all of the first picture, nothing of the second"
    with pytest.raises(BadPhoto, match="No picture has the score copy-paste"):
        measure.PickBestLikeness.execute(results["report"], worn.images, score="copy-paste", keep=1)


def test_looks_are_compared_where_their_people_stand(face_model: HostedFaceModel, worn: Worn, cast: PlacedCast) -> None:
    """As parts that are connected. Two people's garments of one label are two; which look is said as elsewhere."""
    vision = tiny_encoders.clip_vision()
    coat = worn.part
    hat = replace(coat, picture=1 - coat.picture)
    dressed = dressed_in(cast, {"coat": coat, "hat": hat})
    region = [clothes_of_place(dressed, person) for person in (0, 1)]

    def by_hand(*parts: tuple[Part, torch.Tensor]) -> list[tuple[float, ...]]:
        placed = Parts(tuple(part_of(look_of_parts("x", Parts((part,))).pictures[0], where) for part, where in parts))
        report = compared(None, worn.images, None, parts=placed, clip_vision=vision)["report"]
        return [picture.part_similarities for picture in report.judged_pictures]

    for looks, worn_parts in (("", [(hat, 0), (hat, 1)]), ("1: coat; Yao: -", [(coat, 0)]), ("Eileen: -", [(hat, 1)])):
        for people in (dressed, Cast(dressed.people)):
            report = compared(face_model, worn.images, people, clip_vision=vision, looks=looks)["report"]
            names = [cast.people[person].name for _, person in worn_parts]
            assert report.labels == tuple(f"{name}: upper body clothes" for name in names)
            assert report.of_looks == len(names)
            if people is dressed:
                expected = by_hand(*((part, region[person]) for part, person in worn_parts))
                assert [one.part_similarities for one in report.judged_pictures] == expected
    wig = replace(coat, label=HAIR_LABEL)
    report = compared(face_model, worn.images, dressed_in(cast, {"wig": wig}), clip_vision=vision, looks="2: -")[
        "report"
    ]
    around_the_face = by_hand((wig, hair_of_place(dressed, 0)))
    assert [one.part_similarities for one in report.judged_pictures] == around_the_face
    both = compared(face_model, worn.images, dressed, clip_vision=vision, looks="1: -", parts=Parts((coat,)))["report"]
    assert (both.labels, both.of_looks) == (("Yao: upper body clothes", "upper body clothes"), 1)
    beside = {"person": dressed.people[1].person, "clip_vision": vision, "looks": "2: coat"}
    listed = Cast((Member(dressed.people[0].person),))
    both = compared(face_model, worn.images, listed, **beside)["report"]
    assert both.labels == ("Eileen: upper body clothes", "Yao: upper body clothes"), "also of who is connected alone"
    for people, looks in ((cast, ""), (dressed, "-")):
        assert compared(face_model, worn.images, people, clip_vision=vision, looks=looks)["report"].labels == ()
    with pytest.raises(BadLook, match="Eileen has no look 'scarf'"):
        compared(face_model, worn.images, dressed, clip_vision=vision, looks="1: scarf")


def dressed_in(cast: PlacedCast, parts: dict[str, Part]) -> PlacedCast:
    """The cast in which everybody stands in their half of the picture, and has a look of each part."""
    looks = tuple(look_of_parts(name, Parts((part,))) for name, part in parts.items())
    halves = torch.zeros(2, cast.height, cast.width)
    halves[0, :, : cast.width // 2] = halves[1, :, cast.width // 2 :] = 1
    people: list[Member] = []
    for member, half in zip(cast.people, halves, strict=True):
        assert member.slot
        person = replace(member.person, looks=looks)
        people.append(replace(member, person=person, slot=replace(member.slot, mask=half)))
    return replace(cast, people=tuple(people))


def test_without_people_no_face_is_looked_for(worn: Worn) -> None:
    """And there is nothing to choose by faces."""
    vision = tiny_encoders.clip_vision()
    results = compared(None, worn.images, None, parts=Parts((worn.part,)), clip_vision=vision)
    assert results["text"].startswith("Picture 1: parts 1.00\n")
    assert torch.allclose(results["annotated"][:, :-100], worn.images[:, :-100], atol=0.004)  # above what is written
    assert "Connect a cast or a person" in results["resemblance"].message
    with pytest.raises(BadPhoto, match="no faces were compared"):
        measure.PickBestLikeness.execute(results["report"], worn.images, score="copy-paste", keep=1)


def test_without_people_and_parts_there_is_nothing_to_measure(worn: Worn) -> None:
    absent = Parts((replace(worn.part, weight=0.0),))
    with pytest.raises(BadParts, match="all parts have weight 0"):
        compared(None, worn.images, None, parts=absent, clip_vision=tiny_encoders.clip_vision())


def test_pictures_are_compared_with_the_prompt(face_model: HostedFaceModel, photos: torch.Tensor, cast: Cast) -> None:
    """What SDXL's CLIP-G and bigG project; the best by that is picked."""
    sdxl = tiny_encoders.sdxl()
    vision = tiny_encoders.clip_vision(1280, 1664)
    inputs = {"cast": cast, "clip": sdxl, "clip_vision": vision, "prompt": "two people"}
    results = measure.MeasureLikeness.execute(face_model, photos, **DEFAULTS, **inputs).args
    text = sdxl.encode_from_tokens(sdxl.tokenize("two people"), return_pooled=True)[1].float()
    embeddings = vision.encode_image(photos)["image_embeds"].float()
    values = [judged.text_alignment for judged in results[0].judged_pictures]
    assert values == pytest.approx(torch.cosine_similarity(text, embeddings).tolist(), abs=1e-5)
    assert max(map(abs, values)) > 0
    assert results[-1] == pytest.approx(sum(values) / 3)
    assert f"text alignment {values[1]:.3f}" in results[2].splitlines()[4]
    assert results[2].endswith(f"Text alignment of all pictures: {sum(values) / 3:.3f}")
    best = measure.PickBestLikeness.execute(results[0], photos, score="text alignment", keep=1).args
    assert best[2] == max(range(3), key=values.__getitem__)
    assert best[3] == max(values)
