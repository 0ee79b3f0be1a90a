"""The miniature itself, without a host: how many unseen people are seen in their own place, and how well."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from clothes_measured import Fitted, shows, swapped, wearing
from environment import SetupError
from miniature import avatars, export, garments, measure, net, places, stored
from miniature.training import evaluate, train
from miniature.training.lessons import LESSONS, cartoons, outfits
from miniature.training.pool import pool
from pack.core.models.tensors import below
from rig.shapes import of


@pytest.fixture(scope="module")
def model() -> net.Miniature:
    assert all({"trained", "commit"} <= stored.metadata(file).keys() for file in stored.FILES.values())
    assert sum(file.stat().st_size for file in stored.FILES.values()) < 14e6
    return stored.load()


@pytest.fixture(scope="module")
def unseen() -> torch.Tensor:
    return evaluate.drawn_people(60)


def test_unseen_people_are_in_their_places(model: net.Miniature, unseen: torch.Tensor) -> None:
    """Drawn ones, and those of real photos."""

    def figures(embeddings: torch.Tensor, people: int) -> dict[str, float]:
        scenes = evaluate.scenes(embeddings, places.SMALL, people, 1)
        drawn = ((scene, evaluate.draw(model, scene)) for scene in scenes)
        return measure.figures([evaluate.seen(model, scene, latents) for scene, latents in drawn])

    found = figures(unseen, 40)
    assert found["association"] >= 0.95 and abs(found["leakage"]) < 0.05, found
    assert found["hair_r2"] > 0.85 and found["shirt_r2"] > 0.85 and found["skin_r2"] > 0.7, found
    assert figures(evaluate.real_people(), 30)["association"] >= 0.85


def test_a_right_cartoon_measures_as_right(model: net.Miniature, unseen: torch.Tensor) -> None:
    """What the measure itself costs; and looks in the wrong places are found to be wrong."""
    right, wrong = [], []
    for scene in evaluate.scenes(unseen, places.LARGE, 20, 2):
        looks = model.looks(scene.embeddings)
        pixels, areas = avatars.picture(scene.standing, looks, scene.size)
        found = measure.found_in(measure.cells_of(pixels.permute(1, 2, 0)), areas, len(looks))
        right.append(measure.Seen(found, measure.colours_of(looks)))
        wrong.append(measure.Seen(found, measure.colours_of(looks.roll(1, 0))))
    assert measure.association(right) == 1 and measure.association(wrong) == 0
    own, leak = measure.leakage(right)
    assert abs(own - 1) < 0.01 and abs(leak) < 0.01
    assert all(measure.fit(right, part) > 0.99 for part in ("hair", "shirt", "skin"))


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


@pytest.mark.parametrize("lesson", ["networks", "projections", "parts2whole", "sharing", "instant_id"])
def test_a_part_learns_and_goes_on_where_it_stopped(lesson: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From nothing: two steps, kept, and two more from what was kept; the other parts stay as they are."""
    monkeypatch.setattr(cartoons, "BATCH", dict.fromkeys(cartoons.BATCH, 1))
    monkeypatch.setattr(outfits, "OUTFITS", 1)
    known = pool(7, 80)
    torch.use_deterministic_algorithms(True)  # what nobody has set is NaN
    new = net.Miniature()
    torch.use_deterministic_algorithms(False)
    for one in ("projections", "sharing"):
        LESSONS[one].prepare(new, known)
    assert 0 < new.patch_proj.latents.abs().max() < 1, "not what lay in memory"
    before = {key: weight.clone() for key, weight in new.state_dict().items()}

    class Enough(Exception):
        pass

    def stop(training: train.Training) -> None:
        assert 0 < training.loss < 10
        if training.step % 2 == 0:
            raise Enough

    training = train.begin(new, lesson)
    for steps in (2, 4):
        with pytest.raises(Enough):
            train.learn(training, known, 60, stop)
        assert training.step == steps
        kept = training.state()
        training = train.begin(net.Miniature(), lesson)
        training.load(kept)
    changed = {key for key, weight in training.net.state_dict().items() if not torch.equal(weight, before[key])}
    learns, still = LESSONS[lesson].learns, LESSONS[lesson].still
    assert all(key.startswith(learns) and not any(part in key for part in still) for key in changed), changed
    assert all(any(key.startswith(part) for key in changed) for part in learns)


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
