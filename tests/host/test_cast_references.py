"""People as References in the real host: what encoders and VAE are given, that it is the host's own, and of whom."""

import re
from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import marks
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_extras.nodes_edit_model import ReferenceLatent
from comfy_extras.nodes_qwen import TextEncodeQwenImageEditPlus
from families import RECORDS
from family_encoders import LLAMA, encoder
from figures import WHOLE_SAMPLING, relative
from pack.bridge.references.by_region import RegionalReferences
from pack.bridge.references.record import LATENTS, REFERENCES
from pack.bridge.sampling.carried import carried_in
from pack.core.cast import Cast, PlacedCast, RowCast
from pack.core.checks.errors import WrongBaseModel
from pack.core.parts.parts import Part, Parts
from pack.core.persons import blending
from pack.core.places import group
from pack.core.places.region_settings import RegionSettings
from pack.nodes.references.encoding import family_as_set, family_of, pictures_for_encoder
from pack.nodes.references.parts import OwnedPart
from pack.nodes.references.pictures import Reference, references
from peers import apply as node_applied
from sample_values import klein
from tiny import people_made, tiny_dits
from tiny.tiny_dits import FLUX, FLUX_2, KREA_2, QWEN

from nodes import CLIPTextEncode, ConditioningSetTimestepRange, VAEEncode

pytestmark = marks.transformers


@cache
def loaded(family):
    return RECORDS[family].clip(), RECORDS[family].vae()


def named(*names, slots):
    people = []
    for n, (name, slot) in enumerate(zip(names, slots, strict=True), 1):
        member = people_made.a_member(n, slot=slot)
        people.append(replace(member, person=replace(member.person, name=name)))
    return tuple(people)


def pair():
    """Ben stands left of Anna."""
    slots = group.layout(2, "half", 1, 256, 256).slots
    return PlacedCast(named("Anna", "Ben", slots=slots[::-1]), 256, 256)


def apply(family=QWEN, cast=None, pictures=None, **changed):
    clip, vae = loaded(family)
    inputs = {"clip": clip, "vae": vae, "cast": cast or pair(), "negative_prompt": "rain", "pictures": pictures}
    return node_applied("LikenessPeopleAsReferences", **{**inputs, **changed})


def owners(options):
    record = options[REFERENCES]
    numbers = record.numbers_of(options[LATENTS])
    return tuple(None if number is None else record.references[number].owner for number in numbers)


def portrait(person):
    return person.person.portraits.loose[:1].float() / 255


def same(conditioning, of_the_host):
    """Bit for bit: text, latents, and whatever else the host's nodes put beside them."""
    ((tensor, options),) = conditioning
    ((expected_tensor, expected),) = of_the_host
    assert torch.equal(tensor, expected_tensor)
    assert options.keys() - {REFERENCES, "model_conds"} == expected.keys() - {REFERENCES, "model_conds"}
    assert options.get("reference_latents_method") == expected.get("reference_latents_method")
    latents = options.get(LATENTS, [])
    expected_latents = expected.get(LATENTS, [])
    assert len(latents) == len(expected_latents)
    assert all(map(torch.equal, latents, expected_latents))


class Pooled:
    """In place of a VAE, whose work at 1024 px takes a CPU long: means of 8x8 px, in the shape of Qwen's latents."""

    def encode(self, pictures):
        means = torch.nn.functional.avg_pool2d(pictures.movedim(-1, 1), 8)
        return means.repeat(1, 6, 1, 1)[:, :16, None]


def test_qwen_is_given_what_the_hosts_own_node_gives_it():
    cast = pair()
    room = torch.rand(1, 1100, 1500, 3, generator=torch.Generator().manual_seed(5))
    clip = loaded(QWEN)[0]
    vae = Pooled()
    positive, negative, text, _model = apply(cast=cast, pictures=room, size=1024, vae=vae)
    assert text == "right: Anna, from Picture 1.\nleft: Ben, from Picture 2.\nin a park"
    for conditioning, words in ((positive, text), (negative, "rain")):
        same(
            conditioning,
            TextEncodeQwenImageEditPlus.execute(clip, words, vae, *map(portrait, cast.people), room).args[0],
        )
    assert owners(positive[0][1]) == owners(negative[0][1]) == (0, 1, None)
    assert positive[0][1][LATENTS][0] is negative[0][1][LATENTS][0], "each picture is encoded once"
    alone = apply(cast=replace(cast, people=()), negative_prompt="", vae=vae)[1]
    same(alone, TextEncodeQwenImageEditPlus.execute(clip, "", vae).args[0])
    assert not alone[0][1][REFERENCES].references


@pytest.mark.parametrize("family", [FLUX_2, pytest.param(FLUX, marks=pytest.mark.thorough)])
def test_flux_is_given_what_the_hosts_chain_of_references_gives_it(family):
    cast = pair()
    positive, negative, text, _model = apply(family, cast, sentences="after the prompt", size=512)
    assert text == "in a park\nright: Anna, from image 1.\nleft: Ben, from image 2."
    clip, vae = loaded(family)
    latents = [VAEEncode().encode(vae, portrait(member))[0] for member in cast.people]
    for conditioning, words in ((positive, text), (negative, "rain")):
        (of_the_host,) = CLIPTextEncode().encode(clip, words)
        for latent in latents:
            of_the_host = ReferenceLatent.execute(of_the_host, latent).args[0]
        same(conditioning, of_the_host)


class PooledTwice:
    """The same in the shape of Qwen-Image 2.1's latents."""

    def encode(self, pictures):
        return torch.nn.functional.avg_pool2d(pictures.movedim(-1, 1), 16).repeat(1, 22, 1, 1)[:, :64]


def test_a_blended_person_has_the_portraits_of_both_by_their_shares():
    """In place of a mixture of their pixels; the sentence names both."""
    anna, ben = pair().people
    blended = blending.blend(anna.person, ben.person, 0.25, "slerp", "Mia")
    cast = PlacedCast((replace(anna, person=blended),), 256, 256)
    positive, _negative, text, _model = apply(cast=cast, vae=Pooled())
    assert text.splitlines()[0] == "Mia, from Picture 1 and Picture 2."
    record = positive[0][1][REFERENCES]
    assert [(one.owner, one.strength) for one in record.references] == [(0, 0.75), (0, 0.25)]
    alone, _negative, _text, _model = apply(cast=pair(), vae=Pooled())
    for latent, of_one in zip(positive[0][1][LATENTS], alone[0][1][LATENTS], strict=True):
        assert torch.equal(latent, of_one)


@cache
def qwen_2_1():
    """The text encoder of Qwen-Image 2.1."""
    if not find_spec("comfy.text_encoders.qwen_image21"):
        pytest.skip("this ComfyUI has no Qwen-Image 2.1")
    return encoder("qwen_image21", "te", "QwenImage21Tokenizer", qwen3vl_8b={**LLAMA, "num_hidden_layers": 3})


def test_qwen_2_1_is_given_what_the_hosts_own_node_gives_it():
    clip, vae, cast = qwen_2_1(), PooledTwice(), pair()
    from comfy_extras.nodes_qwen import TextEncodeQwenImage21  # where there is such an encoder

    alone, nobody = (replace(cast, people=cast.people[:count]) for count in (1, 0))
    room = torch.rand(1, 2000, 800, 3, generator=torch.Generator().manual_seed(5))
    given = {"clip": clip, "vae": vae, "size": 1024, "negative_prompt": ""}
    positive, negative, text, _model = apply(cast=alone, pictures=room, **given)
    assert text == "Anna, from <image1>.\nin a park"
    images = {"image_1": portrait(cast.people[0]), "image_2": room}
    expected = TextEncodeQwenImage21.execute(clip, text, "", vae, images=images).args[:2]
    without_pictures = apply(cast=nobody, prompt="", **given)
    expected_without = TextEncodeQwenImage21.execute(clip, "", "", vae, images={}).args[:2]
    for of_node, of_host in zip(
        (positive, negative, *without_pictures[:2]), (*expected, *expected_without), strict=True
    ):
        same(of_node, of_host)


def test_an_encoder_that_only_a_newer_comfyui_reads_is_named_with_that_version():
    """An older one gives Load CLIP's qwen3vl_8b another tokenizer."""
    clip = loaded(QWEN)[0].clone()
    clip.tokenizer = type("Qwen3VLTokenizer_", (type(clip.tokenizer),), {})()
    advice = "for Qwen-Image 2.1 qwen3vl_8b with qwen_image"
    if not find_spec("comfy.text_encoders.qwen_image21"):
        advice += " (ComfyUI 0.36)"
    with pytest.raises(WrongBaseModel, match=f"made for Qwen3VL, .*{re.escape(advice)}[.]"):
        apply(clip=clip)


def test_qwen_2_1_with_another_model_is_refused_by_name():
    clip = loaded(QWEN)[0].clone()
    clip.tokenizer = type("QwenImage21Tokenizer", (type(clip.tokenizer),), {})()  # an older ComfyUI has none
    with pytest.raises(WrongBaseModel, match=r"made for FLUX\.2, but Qwen-Image 2\.1, as the text encoder is"):
        apply(cast=pair(), clip=clip, vae=PooledTwice(), model=klein())


@pytest.mark.parametrize(("family", "training", "large", "small"), [
    (QWEN, "own", (548, 747), (640, 640)), (KREA_2, "own", (469, 640), (64, 64)),
    (KREA_2, "ostris edit", (548, 747), (64, 64)),
])  # fmt: skip
def test_an_encoder_is_shown_pictures_as_large_as_is_set(family, training, large, small):
    sources = [Reference([torch.zeros(1, *sides, 3)], area=1) for sides in ((1100, 1500), (64, 64))]
    as_set = family_as_set(loaded(family)[0], training, 640)
    assert [tuple(shown.shape[1:3]) for shown in pictures_for_encoder(as_set, sources)] == [large, small]


VISION = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.mark.parametrize(("family", "training", "marks_of_others"), [
    (QWEN, "own", f"Picture 2: {VISION}"), (KREA_2, "own", f"{VISION}{VISION}"),
    (KREA_2, "own, Image N labels", f"Image 1: {VISION} Image 3: {VISION} "),
])  # fmt: skip
def test_a_text_says_as_much_of_a_portrait_as_its_person_weighs(family, training, marks_of_others):
    """On Krea 2 a room stands in front of the people. marks_of_others: of the room and of Ben, the second person."""
    cast = pair()
    room = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(5)) if family == KREA_2 else None
    given = {"sentences": "none", "size": 128, "pictures": room, "training": training}
    ((with_both, _),) = apply(family, cast, **given)[0]
    cast = replace(cast, people=(replace(cast.people[0], weight=0.25), cast.people[1]))
    model = tiny_dits.model(family)
    ((text, options),) = apply(family, cast, **given, model=model, region_strength=0.0)[0]
    clip, _ = loaded(family)
    template = clip.tokenizer.llama_template_images.replace(VISION, "")
    if family == KREA_2:
        template = clip.tokenizer.llama_template
    *rooms, _, ben = pictures_for_encoder(
        family_of(clip), references(cast, photos=1, size=128, pictures=room, pictures_first=True)
    )
    tokens = clip.tokenize(f"{marks_of_others}in a park", images=[*rooms, ben], llama_template=template)
    ((with_ben, _),) = clip.encode_from_tokens_scheduled(tokens)
    *of_rooms, of_anna, of_ben = [reference.shown for reference in options[REFERENCES].references]
    assert of_anna == of_ben == with_both.shape[1] - with_ben.shape[1]
    front = sum(of_rooms)
    assert torch.equal(text[:, front : front + of_anna], with_both[:, front : front + of_anna])
    rest = torch.arange(text.shape[1])
    rest = rest[(rest < front) | (rest >= front + of_anna)]
    expected = 0.25 * with_both[:, rest] + 0.75 * with_ben
    torch.testing.assert_close(text[:, rest], expected, atol=1e-5, rtol=0)
    assert (with_both[:, rest] - expected).abs().max() > 1e-3


def of_a_person(label, left, seed=5, **more):
    """A part on a half of the canvas: 60x90 px on white, in a picture of 100x120."""
    picture = torch.rand(120, 100, 3, generator=torch.Generator().manual_seed(seed)).mul(255).round().div(255)
    mask, target = torch.zeros(120, 100), torch.zeros(64, 64)
    mask[10:100, 20:80] = 1
    target[16:, :32] = left
    target[16:, 32:] = 1 - left
    return Part(label, picture, mask=mask, target=target, **more)


@pytest.mark.parametrize("family", [FLUX_2, QWEN, KREA_2])
def test_parts_of_a_person_follow_their_portrait_and_stand_in_their_sentence(family):
    jacket, hat = of_a_person("upper body clothes", left=1, weight=0.5), of_a_person("a red hat", left=1, seed=6)
    shoes = of_a_person("shoes", left=0, seed=7)
    room = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(5))
    model = tiny_dits.model(family)
    given = {"pictures": room, "size": 128, "model": model, "prompt": "they sit", "order": "people first"}
    positive, _, text, _ = apply(family, **given, parts=Parts((jacket, shoes, hat)))
    word = "Picture" if family == QWEN else "image"
    assert text == (
        f"right: Anna, from {word} 1, wearing the shoes from {word} 2.\n"
        f"left: Ben, from {word} 3, wearing the upper body clothes from {word} 4 and with a red hat from {word} 5.\n"
        "they sit"
    )
    record = positive[0][1][REFERENCES]
    assert [reference.owner for reference in record.references] == [0, 0, 1, 1, 1, None]
    assert [reference.region for reference in record.references] == [0, 2, 1, 3, 4, None]
    assert [reference.strength for reference in record.references] == [1, 1, 1, 0.5, 1, 1]
    assert regional(positive)[0].names == (
        "Anna", "Ben", "shoes of Anna", "upper body clothes of Ben", "a red hat of Ben",
    )  # fmt: skip
    (cut_out,) = references(pair(), photos=1, size=128, parts=[OwnedPart(shoes, 0, 0)])[1].pictures
    assert torch.equal(cut_out[0], shoes.picture[10:100, 20:80])
    alone = apply(family, replace(pair(), people=()), cut_out, size=128)[0]
    assert torch.equal(record.references[1].latent, alone[0][1][LATENTS][0])


@pytest.mark.parametrize("placed", [True, False], ids=["placed otherwise", "without places"])
@pytest.mark.parametrize("by_region", [True, False], ids=["by region", "without a model"])
def test_a_part_is_of_the_person_in_whose_mask_its_target_lies(placed, by_region):
    """Anna's mask is the half in which Place Cast has Ben."""
    cast = pair()
    if not placed:
        cast = Cast(tuple(replace(member, slot=None) for member in cast.people))
    front, hat = of_a_person("shoes", left=1), of_a_person("a hat", left=0, seed=6)
    parts = Parts((front, hat, replace(front, picture=front.picture.flip(0), weight=0.5)))
    left = torch.arange(64).repeat(64, 1) < 32
    model = tiny_dits.model("FLUX.2") if by_region else None
    given = {"parts": parts, "mask": torch.stack([left, ~left]).float(), "model": model}
    positive, _, text, _ = apply(FLUX_2, cast, **given)
    places = ("right: ", "left: ") if placed else ("", "")
    assert text == (
        f"{places[0]}Anna, from image 1, wearing the shoes from image 2 and image 3.\n"
        f"{places[1]}Ben, from image 4, with a hat from image 5.\nin a park"
    )
    record = positive[0][1][REFERENCES]
    assert [(reference.owner, reference.strength) for reference in record.references] == [
        (0, 1), (0, 1), (0, 0.5), (1, 1), (1, 1),
    ]  # fmt: skip
    anna, ben = cast.people
    positive, _, text, _ = apply(FLUX_2, replace(cast, people=(replace(anna, weight=0.0), ben)), **given)
    assert text == "Ben, from image 1, with a hat from image 2.\nin a park"
    assert [reference.owner for reference in positive[0][1][REFERENCES].references] == [0, 0]


def test_rows_of_crop_faces_have_their_own_picture_and_text():
    people = named("Anna", "Ben", slots=group.layout(1, "bust", 1, 128, 128).slots * 2)
    crops = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(5))
    for family, pictures, number, order in ((QWEN, crops, 2, "pictures first"), (FLUX_2, crops[:1], 1, "people first")):
        rows = apply(family, RowCast(people, 128, 128), pictures, pose_picture=True, order=order)
        word = "Picture" if family == QWEN else "image"
        assert rows[2] == f"the person from {word} {number}.\n{word.capitalize()} 3 shows the poses.\nin a park"
        ((texts, options),) = rows[0]
        for n, person in enumerate(people):
            of_row = pictures[min(n, len(pictures) - 1)][None]
            (alone,) = apply(family, RowCast((person,), 128, 128), of_row, pose_picture=True, order=order)[:1]
            for latents_of_rows, latent_alone in zip(options[LATENTS], alone[0][1][LATENTS], strict=True):
                assert torch.equal(latents_of_rows[min(n, len(latents_of_rows) - 1)], latent_alone[0])
            assert torch.equal(texts[min(n, len(texts) - 1)], alone[0][0][0])
        assert [len(latents_of_rows) for latents_of_rows in options[LATENTS]] == [2, len(pictures), 2]
        assert len(texts) == (2 if word == "Picture" else 1), "FLUX.2's encoder sees no pictures"
        assert owners(options) == (None, None, None)


@pytest.mark.parametrize("family", marks.each([QWEN, FLUX_2], [QWEN]))
def test_outside_of_their_range_references_are_as_of_people_of_weight_0(family):
    room = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(5))
    given = {"pictures": room, "size": 128}
    of_range = apply(family, **given, references_start_percent=0.25, references_end_percent=0.5)
    within = apply(family, **given)
    without = apply(family, weights_zero(), **given)
    assert of_range[2] == within[2]
    for side in range(2):
        for entry, expected in zip(of_range[side], (without, within, without), strict=True):
            text, options = entry
            ours = ("clip_start_percent", "clip_end_percent", "likeness_changes")
            same([[text, {name: value for name, value in options.items() if name not in ours}]], expected[side])
        ends = [entry[1]["clip_end_percent"] for entry in of_range[side]]
        assert of_range[side][0][0] is of_range[side][2][0], "what is read in two parts is encoded once"
        assert ends == pytest.approx([0.25, 0.5, 1.0], abs=1e-5)
        assert ends[0] < 0.25
        assert ends[1] > 0.5, "a step at either end is within"
    assert len(apply(family, **given, references_start_percent=0.25)[0]) == 2
    (nothing,) = apply(family, **given, references_start_percent=0.5, references_end_percent=0.5)[0]
    assert owners(nothing[1]) == (None,)


@pytest.mark.parametrize("family", marks.each(tiny_dits.REFERENCES, [FLUX_2, QWEN, KREA_2]))
def test_outside_of_their_own_range_a_person_is_as_of_weight_0(family):
    """Of four steps Anna is read in the last two, Ben, by half, in all but the last. The host's own node gives the
    expected prompts their ranges, which end between steps."""
    width, height = 152, 200  # 19 x 25 latent pixels
    anna, ben = named("Anna", "Ben", slots=group.layout(2, "half", 1, width, height).slots)
    ben = replace(ben, weight=0.5)
    given = {"model": RECORDS[family].model(), "sentences": "none", "size": 128}

    def read(*people, **ranges):
        return apply(family, PlacedCast(people, width, height), **given, **ranges)

    start = tiny_dits.latent(family, width, height, rows=2)
    by_lines = read(anna, ben, reference_ranges="Anna: 0,3 - 1\u061b 2\uff1a0 ~ .6")
    both = read(anna, ben)
    without = [read(replace(anna, weight=0.0), ben), both, read(anna, replace(ben, weight=0.0))]
    ranges = [(0.0, 0.3), (0.3, 0.6), (0.6, 1.0)]
    expected = [
        [
            entry
            for of_part, ends in zip(without, ranges, strict=True)
            for entry in ConditioningSetTimestepRange().set_range(of_part[side], *ends)[0]
        ]
        for side in range(2)
    ]
    latents = tiny_dits.sample(by_lines[3], *by_lines[:2], start, steps=4)
    assert relative(latents, tiny_dits.sample(both[3], *expected, start, steps=4)) <= 1e-6
    assert relative(latents, tiny_dits.sample(both[3], *both[:2], start, steps=4)) > 1e-4
    assert by_lines[2] == both[2]
    whole = read(anna, ben, reference_ranges="Anna: 0 \u301c 1\nBen: 0 To 1\u066b0")
    for side in range(2):
        same(whole[side], both[side])


def test_a_person_s_parts_go_with_the_person_and_rows_have_one_range():
    """Parts with a target have regions behind those of people, whoever is read."""
    parts = Parts((of_a_person("shoes", left=0), of_a_person("a hat", left=1, seed=6)))
    given = {"size": 128, "model": tiny_dits.model(FLUX_2), "parts": parts}
    both, ben, nobody = apply(FLUX_2, **given, reference_ranges="Anna: 0 - 0.25\nBen: 0 - 0.5")[0]
    records = [options[REFERENCES] for _, options in (both, ben, nobody)]
    assert [[reference.owner for reference in record.references] for record in records] == [[0, 0, 1, 1], [1, 1], []]
    assert [[reference.region for reference in record.references] for record in records] == [[0, 2, 1, 3], [1, 3], []]
    alone = apply(FLUX_2, Cast(pair().people[:1]), size=128, parts=Parts((replace(parts.garments[0][0], target=None),)))
    assert alone[2] == "Anna, from image 1, wearing the shoes from image 2.\nin a park", "needs no target"
    rows = RowCast(pair().people, 128, 128)
    first, second = apply(FLUX_2, rows, reference_ranges="'1': 0 - 0.5\u060c\u0662\uff1a0 - 0.5")[0]
    assert [len(options.get(LATENTS, ())) for _, options in (first, second)] == [1, 0]
    lee = Cast(tuple(replace(member, person=replace(member.person, name="Lee, Jo")) for member in pair().people[:1]))
    (until_half, _) = apply(FLUX_2, lee, size=128, reference_ranges="Lee, Jo: 0 - 0,5,")[0]
    assert until_half[1]["clip_end_percent"] == pytest.approx(0.5, abs=1e-5)


def regional(conditioning):
    """What the one entry carries for a MODEL that reads references by region."""
    ((_, options),) = conditioning
    return carried_in(options, RegionalReferences.key)


@pytest.mark.parametrize("family", marks.each(tiny_dits.REFERENCES, [FLUX_2]))
@pytest.mark.parametrize(("mask_count", "weight_of_ben"), [(2, 1.0), (1, 0.5)])
def test_each_row_of_crop_faces_reads_its_portrait_as_alone(family, mask_count, weight_of_ben):
    """By its person's weight, and by the mask of the cast that Crop Faces was given, whatever the order of its rows.

    Masks are of any kind of the host's."""
    anna, ben = pair().people
    everybody = replace(pair(), people=(anna, replace(ben, weight=weight_of_ben)))
    in_rows = everybody.people[::-1]
    rows = RowCast(in_rows, 128, 128, cut_from=everybody, indices=(1, 0))
    masks = torch.eye(2).bool()[:mask_count, None]  # the left half for Anna, the right one for Ben
    given = {"model": RECORDS[family].model(), "sentences": "none", "size": 128, "region_strength": 0.0}
    start = tiny_dits.latent(family, 128, 128, rows=2)
    *sides, _, model = apply(family, rows, portrait_masks=masks, **given)
    together = tiny_dits.sample(model, *sides, start, steps=1)
    for row, (member, own_mask) in enumerate(zip(in_rows, masks.flip(0).expand(2, 1, 2), strict=True)):
        *sides, _, model = apply(family, PlacedCast((member,), 128, 128), portrait_masks=own_mask, **given)
        alone = tiny_dits.sample(model, *sides, start[row : row + 1], steps=1)
        assert relative(together[row : row + 1], alone) <= WHOLE_SAMPLING


def test_without_a_model_the_references_are_read_everywhere():
    """A sampler that is linked to model_out is not run, and ComfyUI shows the sentence."""
    positive, negative, _text, blocker = apply(FLUX_2)
    assert not regional(positive)
    assert not regional(negative)
    assert isinstance(blocker, ExecutionBlocker)
    assert blocker.message == (
        "People as References has no MODEL for its model_out. Connect the MODEL to model of People as References, or "
        "connect the sampler to the node that loads the MODEL."
    )


def test_both_sides_carry_the_same_regions_where_a_model_is_connected():
    model = klein()
    positive, negative, _text, by_region = apply(FLUX_2, model=model, region_strength=0.5, outside="everybody")
    ((carried,), (of_negative,)) = regional(positive), regional(negative)
    assert carried is of_negative
    assert by_region is not model
    assert (carried.names, carried.strength, carried.everybody_outside) == (("Anna", "Ben"), 0.5, True)
    assert carried.record is positive[0][1][REFERENCES]
    middle = (carried.regions * torch.arange(256.0)).sum((1, 2)) / carried.regions.sum((1, 2))
    assert middle[0] > 128 > middle[1], "Ben stands left of Anna"


def test_people_are_read_where_place_cast_says():
    model = klein()
    sizes = []
    for chosen in (RegionSettings(), RegionSettings(region_margin=4.0), RegionSettings("face")):
        positive, *_ = apply(FLUX_2, replace(pair(), region_settings=chosen), model=model)
        (carried,) = regional(positive)
        sizes.append(carried.regions.sum())
        assert ((carried.regions == 0) | (carried.regions == 1)).all(), "a token is a person's or not"
    assert sizes[1] > sizes[0] > sizes[2]


def weights_zero():
    cast = pair()
    return replace(cast, people=tuple(replace(member, weight=0.0) for member in cast.people))
