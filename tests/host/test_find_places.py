"""Find Places: who stands where, by what a MODEL reads of each person, held against where people really are."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import comfy.sample
import comfy.samplers
import instant_id_run
import other_packs
import photo_maker_made
import pytest
import sample_values
import tiny_sdxl
import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import optimized_attention
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise
from comfy_extras.nodes_rebatch import LatentRebatch
from families import RECORDS
from marks import OFTEN, each
from pack.bridge.host.unet import layers_of
from pack.bridge.places import finding
from pack.bridge.places.finding import Sampling, SeenPeople, shown
from pack.bridge.places.probe import PROBES
from pack.bridge.references.record import LATENTS, REFERENCES, PeopleReferences, ReferenceLatent
from pack.bridge.sampling.carried import ConditioningLost
from pack.bridge.sampling.conditioning import ID_TOKENS, IDTokens, SamplerInputs
from pack.core.cast import Cast, Layout, Member, Person, Slot
from pack.core.checks.errors import BadCast, BadLayout, BadSetup, BadSize, LikenessError
from pack.core.models.packs import ANTELOPE, IR_SE50
from pack.core.places import found
from pack.core.places.found import PlacesNotFound
from pack.core.taking_part import present_in
from pack.nodes.control_images import DrawSkeletons
from pack.nodes.find_places import FindPlaces, seen_of_people
from pack.nodes.id_patch.nodes import LOADER as ID_PATCH
from pack.nodes.id_patch.nodes import ApplyIDPatch, IDPatchConditionImage
from peers import apply
from tiny import people_made, tiny_dits
from torch import Tensor
from toy import avatars, places, recogniser, stored
from toy.measure import share
from toy_files import files_in
from toy_in_host import Host, drawn_people, opened, standing
from words_made import encoded

import nodes

SDXL = "SDXL"
WORDS = ("a woman with red hair", "an old man in a blue coat, smiling")
WIDTH, HEIGHT = 256, 200
GRID = 24, 32


def sampling(model: Any, steps: int, seed: int = 0, scheduler: str = "simple") -> dict[str, Any]:
    """What the host's nodes give of these."""
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)
    return {"noise": Noise_RandomNoise(seed), "sampler": comfy.samplers.sampler_object("euler"), "sigmas": sigmas}


# The toy model, which is trained: people are found by their ID tokens


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Host:
    with files_in(tmp_path_factory.mktemp("toy")) as files:
        return opened(files, "control_net", ID_PATCH.load_file, "id_patch")


def find(toy: Host, embeddings: Tensor, layout: Layout | None = None, seed: int = 0) -> Any:
    """The outputs of the node for people who are drawn from the left to the right."""
    people: list[Person] = []
    for number, embedding in enumerate(embeddings.split(1), 1):
        known = {IR_SE50: embedding, ANTELOPE: recogniser.raw(embedding)}
        people.append(Person(f"person {number}", known, torch.zeros(1, 112, 112, 3)))
    cast, drawn = standing(people, places.LARGE)
    image = IDPatchConditionImage.execute(toy.adapter, cast, "mean", DrawSkeletons.execute(drawn).args[0]).args[0]
    options = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "photos": "mean", "id_start_percent": 0.0}
    networks = toy.control_net, toy.adapter
    sides = ApplyIDPatch.execute(toy.empty, toy.empty, *networks, cast, image, **options).args[:2]
    latent = {"samples": torch.zeros(1, 4, drawn.height // 8, drawn.width // 8)}
    settings = {"cfg": 1.0, "look_at": 0.0, "body": "half", "prompts": "", **sampling(toy.model, 4, seed, "normal")}
    unplaced = Cast(tuple(map(Member, people)))
    return FindPlaces.execute(toy.model, *sides, toy.clip, unplaced, latent, layout=layout, **settings).args


def places_of(embeddings: Tensor) -> list[Slot]:
    """Where they are drawn, in their order."""
    people = [Person(str(number), {}, torch.zeros(1, 112, 112, 3)) for number in range(len(embeddings))]
    return [member.slot for member in standing(people, places.LARGE)[0].people]


@pytest.mark.parametrize("groups", [4, pytest.param(24, marks=pytest.mark.thorough)])
@torch.no_grad()
def test_who_stands_in_which_place_of_a_layout(toy: Host, groups: int) -> None:
    """Of two, three, four and six people. Seen by the places' numbers alone 0.97 are right, cells alone 0.73."""
    generator = torch.Generator().manual_seed(11)
    right: list[bool] = []
    for case in range(groups):
        pool = drawn_people("apart" if case < groups // 3 else "unseen")
        chosen = pool[torch.randperm(len(pool), generator=generator)[: (2, 3, 4, 6)[case % 4]]]
        slots = places_of(chosen)
        shuffled = [slots[number] for number in torch.randperm(len(slots), generator=generator)]
        try:
            placed = find(toy, chosen, Layout(*places.LARGE, tuple(shuffled)), case)[0]
        except PlacesNotFound:
            continue
        right += [member.slot == slot for member, slot in zip(placed.people, slots, strict=True)]
    assert sum(right) / len(right) >= 0.95 and len(right) >= 9 * groups // 4, (sum(right), len(right))


def owned(embeddings: Tensor, looks: Tensor) -> Tensor:
    """(people, cells): how much of each cell of a right cartoon is each person's."""
    areas = avatars.draw(places.of_slots(places_of(embeddings)), looks, places.LARGE)
    parts = (avatars.Area.HAIR, avatars.Area.SHIRT, avatars.Area.SKIN)
    people: list[Tensor] = []
    for person in range(len(looks)):
        shares = [share(areas, avatars.area(person, part), GRID) for part in parts]
        people.append(torch.stack(shares).sum(0))
    return torch.stack(people)


@pytest.mark.parametrize("groups", [2, pytest.param(12, marks=pytest.mark.thorough)])
@torch.no_grad()
def test_where_people_stand_without_a_layout(toy: Host, groups: int) -> None:
    """Of the person's pixels under each mask, by a right cartoon, most are this person's."""
    small = stored.load()
    generator = torch.Generator().manual_seed(3)
    shares: list[float] = []
    for case in range(groups):
        pool = drawn_people("unseen")
        chosen = pool[torch.randperm(len(pool), generator=generator)[: (3, 2, 4)[case % 3]]]
        try:
            placed, masks, *_ = find(toy, chosen, seed=case)
        except PlacesNotFound:
            continue
        assert all(torch.equal(member.slot.mask, mask) for member, mask in zip(placed.people, masks, strict=True))
        right = owned(chosen, small.looks(chosen))
        cells = functional.adaptive_avg_pool2d(masks, GRID).flatten(1)
        for mine, mask in zip(right, cells, strict=True):
            shares.append(float((mine * mask).sum() / (right.sum(0) * mask).sum()))
    assert len(shares) > groups and sum(shares) / len(shares) >= 0.8, shares


def test_each_pixel_of_a_body_counts_in_its_cell() -> None:
    bodies = torch.rand(2, 48, 64, generator=torch.Generator().manual_seed(5))
    seen = SeenPeople(torch.zeros(2, 12), torch.zeros(12, 1), (3, 4), 16, (64, 48), None)
    means = bodies.unflatten(1, (3, 16)).unflatten(3, (4, 16)).mean((2, 4)).flatten(1)
    torch.testing.assert_close(seen.in_cells(bodies), means)


def test_the_same_face_twice_is_not_told_apart(toy: Host) -> None:
    twice = drawn_people("apart")[[0, 1, 0]]
    layout = Layout(*places.LARGE, tuple(places_of(twice)))
    for given in (layout, None):
        with pytest.raises(PlacesNotFound, match=r"person 1(, person 2)? and person 3 look the same"):
            find(toy, twice, given)


# Random networks, which read words


def network(name: str) -> tuple[Any, Any, Tensor]:
    """MODEL, CLIP and an empty latent of an odd size."""
    if name == SDXL:
        return tiny_sdxl.seeded_model(), photo_maker_made.clip(), torch.zeros(1, 4, HEIGHT // 8, WIDTH // 8)
    return RECORDS[name].model(), RECORDS[name].clip(), torch.zeros_like(tiny_dits.latent(name, WIDTH, HEIGHT))


def prompts(clip: Any) -> list[Any]:
    return [encoded(clip, "two people in a park"), encoded(clip, "blurred")]


def look(
    name: str, words: Any = WORDS, cfg: float = 1.0, share: float = 0.5, latent: Any = None, **changed: Any
) -> SeenPeople:
    model, clip, empty = network(name)
    people = Cast(tuple(people_made.a_member(number) for number in range(1, len(words) + 1)))
    given = SamplerInputs(model, *prompts(clip))
    settings = Sampling(**{**sampling(model, 4), "cfg": cfg, **changed})
    return seen_of_people(
        FindPlaces, given, clip, present_in(people), words, latent or {"samples": empty}, settings, share
    )


def alike(a: Tensor, b: Tensor) -> bool:
    """But for rounding, beside what tells cells apart."""
    return bool((a - b).abs().max() <= 0.01 * b.std(1).min())


@pytest.mark.parametrize("name", each([SDXL, *tiny_dits.EVERY], [SDXL, *OFTEN]))
def test_each_person_s_own_words_are_looked_at(name: str) -> None:
    """Of people in the other order; of two of whom the same is said; with guidance, where the rows of both sides are
    one batch: the negative's is left out."""
    if name != SDXL and not tiny_dits.KNOWN:
        pytest.skip("an older ComfyUI")
    if name == tiny_dits.ANIMA:
        with pytest.raises(BadSetup, match="does not know Anima"):
            look(name)
        return
    seen = look(name, share=0.0)
    assert not alike(seen.scores, seen.scores.flip(0))
    assert alike(look(name, WORDS[::-1], share=0.0).scores.flip(0), seen.scores)
    same = look(name, (WORDS[0], WORDS[0]), share=0.0).scores
    assert alike(same, same.flip(0))
    guided = look(name, cfg=4.0, share=0.0)
    assert alike(guided.scores, seen.scores) and guided.size == seen.size
    height = seen.canvas[1]
    assert seen.side * seen.size[0] >= height > seen.side * (seen.size[0] - 1)


@pytest.mark.parametrize("name", each(tiny_dits.REFERENCES, OFTEN))
def test_without_words_people_are_found_by_their_references(name: str) -> None:
    """Whose is which says what People as References notes; a third picture is nobody's."""
    if not tiny_dits.KNOWN:
        pytest.skip("an older ComfyUI")
    model, clip, latent = network(name)
    people = Cast(tuple(people_made.a_member(number) for number in (1, 2)))
    latents = [tiny_dits.latent(name, 64, 48, seed) for seed in (1, 2, 3)]
    seen: list[Tensor] = []
    for owners in ((0, None, 1), (1, None, 0)):
        references = tuple(map(ReferenceLatent, latents, owners, owners))
        options = {LATENTS: latents, REFERENCES: PeopleReferences(people, references)}
        if tiny_dits.REFERENCES[name].method:
            options["reference_latents_method"] = tiny_dits.REFERENCES[name].method
        positive, negative = ([[text, {**before, **options}]] for ((text, before),) in prompts(clip))
        settings = Sampling(**sampling(model, 2), cfg=1.0)
        sides = SamplerInputs(model, positive, negative)
        seen.append(
            seen_of_people(
                FindPlaces, sides, clip, present_in(people), ("", ""), {"samples": latent}, settings, 0.0
            ).scores
        )
    assert not alike(seen[0], seen[0].flip(0))
    assert torch.equal(seen[0], seen[1].flip(0))


class Called:
    """What a sampler calls, and what that has given: sigmas and pictures."""

    def __init__(self, called: Any, given: list[tuple[float, Tensor]]) -> None:
        self._called, self._given = called, given

    def __call__(self, x: Tensor, sigma: Tensor, **options: Any) -> Tensor:
        picture = self._called(x, sigma, **options)
        self._given.append((float(sigma[0]), picture.clone()))
        return picture

    def __getattr__(self, name: str) -> Any:
        return getattr(self._called, name)


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2s_ancestral"])
def test_a_look_changes_nothing_and_is_taken_at_its_step(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture predicted then is bit for bit that of a sampling in which nobody looks, at the first call with the
    noise of that step or less, also of samplers that call a network several times a step. Nothing of a look is kept
    for the next one."""
    function = comfy.samplers.sampler_object(sampler).sampler_function
    calls: list[tuple[float, Tensor]] = []
    recording = comfy.samplers.KSAMPLER(
        lambda model, *args, **options: function(Called(model, calls), *args, **options)
    )
    with monkeypatch.context() as patch:
        patch.setattr(finding, "PROBES", PROBES._replace(batch=lambda *_: None))
        with pytest.raises(BadSetup, match="has seen nothing"):
            look(SDXL, share=0.5, sampler=recording)
    model = network(SDXL)[0]
    noise = float(sampling(model, 4)["sigmas"][2])
    number = next(number for number, (sigma, _) in enumerate(calls) if sigma <= noise * 1.0001)
    assert 0 < number < len(calls) - 1
    host_sampler = comfy.samplers.sampler_object(sampler)
    seen, again = (look(SDXL, share=0.5, sampler=host_sampler) for _ in range(2))
    assert torch.equal(seen.picture, shown(calls[number][1], model.model.latent_format))
    assert torch.equal(again.scores, seen.scores) and torch.equal(again.hidden, seen.hidden)


def test_the_run_of_a_look_ends_as_every_run() -> None:
    """A ControlNet is emptied, what another pack does behind its call is done, and the next picture is what it was.
    The network is called for the steps before the look and for the look alone."""
    model, clip, latent = network(SDXL)
    net, hint = sample_values.new_control_net(), torch.rand(1, HEIGHT, WIDTH, 3)
    sides = nodes.ControlNetApplyAdvanced().apply_controlnet(*prompts(clip), net, hint, 1.0, 0.0, 1.0)
    before = instant_id_run.sample(model, *sides, size=(WIDTH, HEIGHT), steps=2)
    wrapped, ended = model.clone(), Counter[str]()

    def called(kind: str, executor: Any, *args: Any, **kwargs: Any) -> Any:
        out = executor(*args, **kwargs)
        ended[kind] += 1  # not reached if anything is raised
        return out

    for kind in (WrappersMP.OUTER_SAMPLE, WrappersMP.SAMPLER_SAMPLE, WrappersMP.PREDICT_NOISE, WrappersMP.APPLY_MODEL):
        wrapped.add_wrapper_with_key(kind, "theirs", partial(called, kind))
    people = Cast(tuple(people_made.a_member(number) for number in (1, 2)))
    given, settings = SamplerInputs(wrapped, *sides), Sampling(**sampling(model, 8), cfg=1.0)
    seen_of_people(FindPlaces, given, clip, present_in(people), WORDS, {"samples": latent}, settings, 0.25)
    assert ended == {"outer_sample": 1, "sampler_sample": 1, "predict_noise": 8, "apply_model": 3}
    controls = [side[0][1]["control"] for side in sides]
    assert all(control.cond_hint is None and control.timestep_range is None for control in controls)
    assert torch.equal(instant_id_run.sample(model, *sides, size=(WIDTH, HEIGHT), steps=2), before)


def test_each_row_of_a_batch_has_places_of_its_own() -> None:
    """Behind the host's Rebatch Latents each is a run of the node: what it sees is the row's, by the row's noise."""
    noise = Noise_RandomNoise(5).generate_noise(BATCH)
    rows = LatentRebatch.execute([BATCH], [1]).args[0]
    seen = [look(SDXL, share=0.0, latent=row, noise=Noise_RandomNoise(5)).scores for row in rows]
    for of_row, alone in zip(seen, noise.split(1), strict=True):
        given = SimpleNamespace(seed=0, generate_noise=lambda _, alone=alone: alone)
        assert torch.equal(of_row, look(SDXL, share=0.0, noise=given).scores)
    assert not alike(*seen)


def test_scores_are_those_of_a_longer_prompt_in_the_layer_with_the_smoothest_maps() -> None:
    """The same tokens in one prompt of the host's, without anything of ours; of them the words alone."""
    model, clip, latent = network(SDXL)
    texts = [encoded(clip, words)[0][0] for words in WORDS]
    ((common, options),) = prompts(clip)[0]
    first, second = common.shape[1], common.shape[1] + texts[0].shape[1]
    words = [range(first + 1, first + 6), range(second + 1, second + 10)]  # the last one has a comma
    maps: list[Tensor] = []
    sizes: list[tuple[int, int]] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
        heads = extra["n_heads"]
        of_query, of_key = (x[0].unflatten(1, (heads, -1)).transpose(0, 1) for x in (q, k))
        weights = (of_query @ of_key.mT / of_query.shape[-1] ** 0.5).softmax(-1)
        maps.append(found.scores_of_cross_attention(weights, words))
        sizes.append(tuple(extra["activations_shape"][-2:]))
        return optimized_attention(q, k, v, heads)

    for layer in layers_of(model.model.diffusion_model):
        model.set_model_attn2_replace(attend, *layer)
    settings = sampling(model, 4)
    noise = settings["noise"].generate_noise({"samples": latent})
    joined = [[torch.cat([common, *texts], 1), options]]
    sampler = settings["sampler"], settings["sigmas"][:2]
    comfy.sample.sample_custom(model, noise, 1.0, *sampler, joined, joined, latent, disable_pbar=True)
    smooth = [found.smoothness(found.contrasted(of_layer), size) for of_layer, size in zip(maps, sizes, strict=True)]
    best = max(range(len(maps)), key=lambda number: smooth[number])
    seen = look(SDXL, share=0.0)
    assert seen.size == sizes[best]
    torch.testing.assert_close(seen.scores, maps[best], rtol=1e-4, atol=0)


LINES = "1: a woman with red hair\n2: an old man"
FOUR = tuple(people_made.standing(x, 90.0, 40.0) for x in (40.0, 100.0, 160.0, 220.0))
OTHERS = PeopleReferences(Cast(tuple(people_made.a_member(number) for number in (2, 1))), ())
LEFT = torch.ones(1, HEIGHT, WIDTH).tril()
BATCH = {"samples": torch.zeros(2, 4, HEIGHT // 8, WIDTH // 8)}


@pytest.mark.parametrize(
    ("error", "message", "changed"),
    [
        (BadSetup, "2 pictures", {"latent_image": BATCH}),
        (BadSetup, r"the shape \(1, 4, 1, 25, 32\)", {"latent_image": {"samples": BATCH["samples"][:1, :, None]}}),
        (BadSetup, r"the shape \(1, 4, 0, 4\)", {"latent_image": {"samples": torch.zeros(1, 4, 0, 4)}}),
        (BadSetup, "sigmas .* no step", {"sigmas": torch.ones(1)}),
        (BadSetup, "sigmas .* NaN", {"sigmas": torch.tensor([torch.nan, 0.0])}),
        (BadSetup, "positive .* no text", {"positive": []}),
        (BadCast, "Everybody .* weight 0", {"cast": Cast((people_made.a_member(1, weight=0.0),)), "prompts": ""}),
        (BadCast, "left out all people", {"cast": Cast(())}),
        (BadSetup, "no line of prompts is about person 2", {"prompts": "1: a woman"}),
        (BadSetup, "about person 1 and person 2", {"prompts": ""}),
        (BadCast, "1 place", {"layout": Layout(WIDTH, HEIGHT, FOUR[:1])}),
        (BadSize, "another shape", {"layout": Layout(2 * WIDTH, HEIGHT, FOUR)}),
        (BadLayout, "Place 2 of the layout", {"layout": Layout(WIDTH, HEIGHT, (FOUR[0], Slot((9.0, 9.0))))}),
        (BadSetup, "an area of it alone", {"options": {"area": (8, 8, 0, 0)}}),
        (BadSetup, "an area of it alone", {"options": {"mask": LEFT, "set_area_to_bounds": True}}),
        (BadSetup, "are of person 2 and person 1, and the cast", {"prompts": "", "options": {REFERENCES: OTHERS}}),
        (
            ConditioningLost,
            "shows it 128x200 of 256x200 px",
            {"prompts": "", "options": {ID_TOKENS: IDTokens(8, 2, 4)}, "pack": other_packs.in_tiles},
        ),
    ],
    ids=[
        "batch",
        "frames",
        "no pixel",
        "no step",
        "NaN",
        "no text",
        "weight 0",
        "nobody",
        "a line",
        "no line",
        "places",
        "shape",
        "a point",
        "area",
        "bounds of a mask",
        "another cast",
        "tiles",
    ],
)
def test_what_cannot_be_looked_at_is_refused(error: type[LikenessError], message: str, changed: dict[str, Any]) -> None:
    model, clip, latent = network(SDXL)
    positive, negative = prompts(clip)
    changed = dict(changed)
    positive[0][1].update(changed.pop("options", {}))
    if "pack" in changed:
        model = other_packs.around(model, changed.pop("pack"))
    inputs = {
        "model": model, "positive": positive, "negative": negative, "clip": clip, "prompts": LINES, "cfg": 2.0,
        "cast": Cast(tuple(people_made.a_member(number) for number in (1, 2))), "latent_image": {"samples": latent},
        "body": "half", "look_at": 0.0, **sampling(model, 2),
    }  # fmt: skip
    with pytest.raises(error, match=message):
        FindPlaces.execute(**{**inputs, **changed})


def test_people_found_are_people_placed_by_hand() -> None:
    """The masks in the places of the cast act as the same masks at Prompt per Person."""
    model, clip, latent = network(SDXL)
    positive, negative = prompts(clip)
    cast = Cast(tuple(people_made.a_member(number) for number in (1, 2)))
    inputs = {"model": model, "positive": positive, "negative": negative, "clip": clip, "prompts": LINES}
    layout = Layout(WIDTH, HEIGHT, FOUR[::3])
    placed, masks, preview, report = FindPlaces.execute(
        **inputs, cast=cast, latent_image={"samples": latent}, layout=layout, cfg=1.0, body="half", look_at=0.0,
        **sampling(model, 2),
    ).args  # fmt: skip
    assert preview.shape == (1, HEIGHT, WIDTH, 3) and report.count("Place ") == 2
    assert {member.place for member in placed.people} == {1, 2}
    masked: list[Member] = []
    for member, mask in zip(placed.people, masks, strict=True):
        masked.append(replace(member, slot=replace(member.slot, mask=mask)))
    by_hand = replace(placed, people=tuple(masked))
    pictures: list[Tensor] = []
    for given in ({"cast": by_hand}, {"cast": placed, "mask": masks}):
        words = apply("LikenessPromptPerPerson", **inputs, **given)
        pictures.append(instant_id_run.sample(*words, size=(WIDTH, HEIGHT), steps=2))
    assert torch.equal(*pictures)
