"""Words, LoRAs and references of people on one MODEL, in the real host: one plan of who reads whom, in any order."""

from dataclasses import replace
from itertools import permutations

import comfy.sample
import comfy.samplers
import marks
import pytest
import sample_values
import torch
from families import RECORDS
from families.record import counts
from figures import relative
from joint_reads import Tokens, allowed
from logged import messages_of_the_pack
from marks import WITH_REFERENCES, families
from pack.bridge.networks.attention import OVERRIDE, with_reading
from pack.bridge.references.record import REFERENCES, PeopleReferences, ReferenceLatent
from pack.bridge.sampling import on_model
from pack.bridge.sampling.carried import ConditioningLost, carry
from pack.bridge.sampling.conditioning import SamplerInputs
from pack.bridge.words.transformer.run import TRANSFORMER_WORDS
from pack.core.attention.token_groups import Group, Split
from pack.core.cast import Lora, PlacedCast, RowCast, Slot
from pack.core.checks.errors import BadSetup, BadSize, WrongBaseModel
from pack.core.places import group
from pack.core.taking_part import present_in
from pack.nodes.references.limits import RegionLimit, read_by_region, regions_of_references
from peers import apply, without_options
from tiny import people_made, tiny_dits, tiny_networks
from tiny.tiny_dits import CHROMA, FLUX, FLUX_2, KREA_2, QWEN, Z_IMAGE
from transformer_loras import (
    COMMON,
    EVERYWHERE,
    HEIGHT,
    NOWHERE,
    PICTURE,
    TOLERANCE,
    WIDTH,
    Setting,
    setting_of,
)
from words_made import carried_words

import nodes as host_nodes

pytestmark = marks.transformers
WORDS = "a woman with red hair", "a man with a grey beard"
ONE_TOKEN = torch.zeros(1, HEIGHT, WIDTH)
ONE_TOKEN[:, :16, :16] = 1
APART = people_made.painted((0, 0, 64, 96), (64, 0, 128, 96), width=WIDTH, height=HEIGHT)
OVERLAPPING = people_made.painted((0, 0, 64, 96), (48, 32, 128, 96), width=WIDTH, height=HEIGHT)
SIZES = (48, 64), (64, 64), (32, 48)
"""Of references in pixels: 12, 16 and 6 tokens."""


@pytest.fixture(params=WITH_REFERENCES)
def setting(request):
    return of_family(request.param)


def beside_references(family):
    """In the names of layers that one person's LoRA may not have where there are reference pictures."""
    record = RECORDS[family]
    return "|".join(filter(None, (record.without_place, record.beside_references)))


def of_family(family):
    return setting_of(family, beside_references(family))


def two_people():
    """Anna and Ben side by side, with portraits."""
    people = []
    for number, (name, x) in enumerate((("Anna", 32.0), ("Ben", 96.0)), 1):
        member = people_made.a_member(number, slot=Slot((x, 48.0)))
        people.append(replace(member, person=replace(member.person, name=name)))
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


def cast(setting, words=WORDS):
    """Both, with a LoRA and words each."""
    there = two_people()
    people = []
    for member, file, own_words in zip(there.people, setting.files, words, strict=False):
        people.append(replace(member, person=replace(member.person, loras=(Lora(file, 1.0, own_words),))))
    return replace(there, people=tuple(people))


def with_latents(setting, conditioning, record, method=None):
    """As the node puts references in."""
    options = {"reference_latents": [reference.latent for reference in record.references], REFERENCES: record}
    method = method or tiny_dits.REFERENCES[setting.family].method
    if method:
        options["reference_latents_method"] = method
    return [[text, {**before, **options}] for text, before in conditioning]


def record_of(setting, who, owners):
    latents = [tiny_dits.latent(setting.family, *size, 10 + n) for n, size in enumerate(SIZES[: len(owners)])]
    return PeopleReferences(who, tuple(map(ReferenceLatent, latents, owners, owners)))


def by_region(made, positive, negative, record, masks):
    settings = RegionLimit(
        region_strength=1.0, start_percent=0.0, end_percent=1.0, outside="nobody", mask=masks,
    )  # fmt: skip
    read_regions = regions_of_references(present_in(record.cast), settings)
    limited = read_by_region(SamplerInputs(made, positive, negative), record, read_regions, None)
    return limited.model, limited.positive, limited.negative


def by_lora(setting, made, positive, negative, who, masks):
    given = {"clip": setting.clip, "cast": who, "mask": masks}
    return apply("LikenessLoRAPerPerson", model=made, positive=positive, negative=negative, **given)


def by_words(setting, made, positive, negative, who, masks, prompts=f"1: {WORDS[0]}\n2: {WORDS[1]}"):
    given = {"clip": setting.clip, "cast": who, "mask": masks, "prompts": prompts}
    return apply("LikenessPromptPerPerson", model=made, positive=positive, negative=negative, **given)


class _HiddenCommon:
    """A reading in which nobody but itself reads the common text. common: by queries of an attention, its tokens."""

    def __init__(self, common):
        self.common = common

    def split(self, queries, keys, options):
        if queries not in self.common or keys != queries:
            return None
        hidden = torch.zeros(keys, dtype=torch.bool)
        hidden[self.common[queries]] = True
        others = (~hidden).nonzero()[:, 0]
        return Split((Group(hidden.nonzero()[:, 0], None), Group(others, others)), keys)


def without_common(setting, counts, references):
    """A MODEL on which nobody but itself reads the common text. counts: tokens of all texts, the common one first.
    references: how many there are."""
    tokens = [size[0] * size[1] // 256 for size in SIZES[:references]]
    counts = [setting.record.filled_up(count) for count in counts]
    hidden = {sum(counts) + PICTURE + sum(tokens): slice(0, counts[0])}
    clone = setting.model.clone()
    options = clone.model_options["transformer_options"]
    clone.model_options["transformer_options"] = with_reading(options, _HiddenCommon(hidden))
    return clone


@pytest.mark.parametrize("number", [pytest.param(0, id="Anna", marks=pytest.mark.thorough), pytest.param(1, id="Ben")])
@families("setting", FLUX_2, KREA_2, of=tiny_dits.REFERENCES)
def test_a_person_everywhere_with_all_is_the_merged_network_on_their_text_with_their_references(setting, number):
    """Own words, own LoRA and own references, while another person with words and a LoRA is there."""
    check_a_person_with_all(setting, number)


def test_references_at_the_time_zero_have_the_lora_of_their_person():
    """As Qwen-Image-Edit 2511 modulates reference pictures."""
    check_a_person_with_all(of_family(QWEN), 0, "index_timestep_zero")


def check_a_person_with_all(setting, number, method=None):
    lengths = [setting.text(text)[0][0].shape[1] for text in (COMMON, *WORDS)]
    common = setting.text(COMMON)
    record = record_of(setting, cast(setting), (number, number))
    in_one, everywhere = (ONE_TOKEN, NOWHERE), EVERYWHERE
    of_references, of_words = [
        torch.cat([everywhere, other] if number == 0 else [other, everywhere]) for other in in_one
    ]
    hidden = without_common(setting, lengths, 2)
    sides = [with_latents(setting, text, record, method) for text in (common, setting.text("blurred"))]
    found = by_lora(setting, *by_region(hidden, *sides, record, of_references), record.cast, of_words)
    found = setting.sample(found)
    own = [[text, common[0][1]] for text, _ in setting.text(WORDS[number])]  # one pooled vector in a whole forward
    own = with_latents(setting, own, record, method)
    whole = by_region(setting.merged(setting.files[number]), own, sides[1], record, of_references)
    expected = setting.sample(whole)
    assert relative(found, expected) <= TOLERANCE
    plain = setting.sample(by_region(setting.model, own, sides[1], record, of_references))
    assert relative(plain, expected) > 100 * TOLERANCE


def applied_in(order, setting, record, masks):
    """MODEL and sides behind these nodes, each by its letter: words, LoRAs, references."""
    sides = [with_latents(setting, setting.text(words), record) for words in (COMMON, "blurred")]
    made = setting.model, *sides
    for letter in order:
        if letter == "w":
            made = by_words(setting, *made, record.cast, masks)
        elif letter == "l":
            made = by_lora(setting, *made, record.cast, masks)
        else:
            made = by_region(*made, record, masks)
        made = made[0], made[1], made[2]
    return made


@families("setting", FLUX_2, of=tiny_dits.REFERENCES)
def test_the_order_of_the_nodes_does_not_matter(setting):
    """Of people who have words of Prompt per Person and words of their LoRAs."""
    record = record_of(setting, cast(setting), (0, None, 1))
    pictures = [setting.sample(applied_in(order, setting, record, OVERLAPPING), cfg=3.0) for order in ORDERS]
    for picture in pictures[1:]:
        assert relative(picture, pictures[0]) <= TOLERANCE
    for missing in ("wl", "wr", "lr"):
        found = setting.sample(applied_in(missing, setting, record, OVERLAPPING), cfg=3.0)
        assert relative(found, pictures[0]) > 100 * TOLERANCE


def test_references_read_by_region_act_beside_flux_kv_cache():
    """Which takes the references out after the first step."""
    from comfy_extras.nodes_flux import FluxKVCache

    setting = of_family(FLUX_2)
    cached = FluxKVCache.execute(setting.model).args[0]
    record = record_of(setting, two_people(), (0, 1))
    sides = [with_latents(setting, setting.text(words), record) for words in (COMMON, "blurred")]
    found = setting.sample(by_region(cached, *sides, record, APART))
    assert relative(setting.sample((cached, *sides)), found) > 100 * TOLERANCE


ORDERS = ["".join(letters) for letters in permutations("wlr")][::2]


def replace_words(who):
    """The same people, whose LoRAs have no words."""
    people = []
    for person in who.people:
        loras = tuple(replace(lora, words="") for lora in person.person.loras)
        people.append(replace(person, person=replace(person.person, loras=loras)))
    return replace(who, people=tuple(people))


@families("setting", FLUX_2, of=tiny_dits.REFERENCES)
def test_two_people_of_one_name_are_two(setting):
    found = []
    for names in (("Anna", "Ben"), ("person", "person")):
        people = []
        for member, name in zip(cast(setting).people, names, strict=True):
            people.append(replace(member, person=replace(member.person, name=name)))
        record = record_of(setting, replace(two_people(), people=tuple(people)), (0, None, 1))
        found.append(setting.sample(applied_in("wlr", setting, record, OVERLAPPING), cfg=3.0))
    assert relative(*found) <= TOLERANCE


def test_two_people_without_a_name_are_two_with_a_node_each():
    setting = of_family(FLUX)
    found = []
    for names in (("Anna", "Ben"), ("", "")):
        made = setting.model, setting.text(COMMON), setting.text("blurred")
        for number, name in enumerate(names):
            given = {"person": None, "file": setting.files[number], "strength": 1.0, "words": WORDS[number]}
            somebody = apply("LikenessAddLoRAToPerson", **given, name=name)[0]
            made = by_lora(setting, *made, somebody, APART[number : number + 1])[:3]
        found.append(setting.sample(made))
    assert relative(*found) <= TOLERANCE


@families("setting", FLUX_2, of=tiny_dits.REFERENCES)
def test_exchanged_people_are_the_same_picture(setting):
    there = replace_words(cast(setting))
    exchanged = replace(there, people=there.people[::-1])
    found = []
    for who, masks, owners in ((there, OVERLAPPING, (0, None, 1)), (exchanged, OVERLAPPING.flip(0), (1, None, 0))):
        record = record_of(setting, who, owners)
        sides = [with_latents(setting, setting.text(words), record) for words in (COMMON, "blurred")]
        made = by_region(setting.model, *sides, record, masks)
        prompts = [f"{number}: {WORDS[owner]}" for number, owner in enumerate((0, 1) if who is there else (1, 0), 1)]
        made = by_words(setting, *made, who, masks, "\n".join(prompts))[:3]
        found.append(setting.sample(by_lora(setting, *made, who, masks)[:3]))
    assert relative(*found) <= TOLERANCE


@families("setting", FLUX_2, of=tiny_dits.REFERENCES)
def test_a_batch_is_its_pictures(setting):
    record = record_of(setting, replace_words(cast(setting)), (0, None, 1))
    made = applied_in("rlw", setting, record, OVERLAPPING)
    start = tiny_dits.latent(setting.family, WIDTH, HEIGHT, rows=2)
    both = tiny_dits.sample(*made, start, cfg=3.0)
    for row in range(2):
        alone = tiny_dits.sample(*made, start[row : row + 1], cfg=3.0)
        assert relative(both[row : row + 1], alone) <= TOLERANCE


# Against dense masks


OWNERS = (0, None, 1)
LENGTHS = (7, 11, 5)
"""Tokens of the common text and of both people's words."""


def dense_sides(family):
    """Positive, with references, and everybody's words."""
    method = tiny_dits.REFERENCES[family].method
    options = {"reference_latents_method": method} if method else {}
    latents = [tiny_dits.latent(family, *size, 10 + n) for n, size in enumerate(SIZES)]
    record = PeopleReferences(two_people(), tuple(map(ReferenceLatent, latents, OWNERS, OWNERS)))
    options[REFERENCES] = record
    positive, *others = [tiny_dits.conditioning(50 + n, latents, tokens=count, **options) for n, count in
                         enumerate(LENGTHS)]  # fmt: skip
    return positive, [text[0][0] for text in others], record


def attentions(family, regions):
    """By tokens: what stands in an attention that has several texts or references."""
    counts = [size[0] * size[1] // 256 for size in SIZES]
    texts = [RECORDS[family].filled_up(length) for length in LENGTHS]
    references = [Tokens("reference", count, owner) for count, owner in zip(counts, OWNERS, strict=True)]
    text = [Tokens("text", texts[0]), Tokens("words", texts[1], 0), Tokens("words", texts[2], 1)]
    every = [[*text, Tokens("picture", PICTURE), *references]]
    every += [text] if family == KREA_2 else []
    reads = {}
    for attention in every:
        mask = allowed(attention, regions)
        assert len(mask) not in reads, "each is known by its tokens"
        reads[len(mask)] = mask
    return reads


class Dense:
    """The rule as a mask on the host's own network, with texts joined and their positions set."""

    def __init__(self, family, model, masks):
        self.record = RECORDS[family]
        self.reads = attentions(family, masks[:, 8::16, 8::16].flatten(1) > 0)
        self.clone = model.clone()
        options = self.clone.model_options["transformer_options"]
        self.clone.model_options["transformer_options"] = {**options, OVERRIDE: self.override}
        if self.record.count_positions is not None:
            self.clone.set_model_patch(self.positions, "post_input")

    def override(self, kernel, q, k, v, heads, mask=None, **more):
        reads = self.reads.get(k.shape[2 if more.get("skip_reshape") else 1])
        if reads is not None:
            mask = torch.zeros(reads.shape).masked_fill(~reads, -1e9)[None].to(q)
        return kernel(q, k, v, heads, mask=mask, **more)

    def positions(self, given):
        ids = given["txt_ids"].clone()
        lengths = [self.record.left_padded(length) for length in LENGTHS]
        self.record.count_positions(ids, counts(lengths, ids))
        return {**given, "txt_ids": ids}


@pytest.mark.parametrize(
    "masks", [pytest.param(APART, id="apart", marks=pytest.mark.thorough), pytest.param(OVERLAPPING, id="overlapping")]
)
@pytest.mark.parametrize("family", tiny_dits.REFERENCES)
def test_words_and_references_are_what_a_dense_mask_gives(family, masks):
    model = tiny_dits.model(family)
    positive, texts, record = dense_sides(family)
    negative = tiny_dits.conditioning(60)
    of_people = carried_words(texts, masks, ["Anna", "Ben"])
    made = by_region(on_model.with_kinds(model, TRANSFORMER_WORDS), positive, negative, record, masks)
    applied = made[0], carry(made[1], of_people), negative
    start = tiny_dits.latent(family, WIDTH, HEIGHT)
    found = tiny_dits.sample(*applied, start, cfg=1.0)
    ((common, options),) = positive
    dense = Dense(family, model, masks)
    whole = [[dense.record.one_text([common, *texts]), options]]
    expected = tiny_dits.sample(dense.clone, whole, negative, start, cfg=1.0)
    assert relative(found, expected) <= TOLERANCE
    assert relative(tiny_dits.sample(model, positive, negative, start, cfg=1.0), expected) > 100 * TOLERANCE


@families("setting", FLUX_2, of=tiny_dits.REFERENCES)
def test_without_a_limit_to_regions_the_picture_is_the_hosts_own_bit_for_bit(setting):
    if setting.family == "Krea 2":
        pytest.skip("with a MODEL its pictures stand in the middle: tests/parity/test_krea_2_edit_parity.py")
    given = {"clip": setting.clip, "vae": setting.record.vae(), "cast": two_people(), "pictures": None}
    positive, negative, *_ = apply("LikenessPeopleAsReferences", **given, negative_prompt="rain")
    plain = setting.sample((setting.model, positive, negative))
    off = apply("LikenessPeopleAsReferences", **given, negative_prompt="rain", model=setting.model, region_strength=0.0)
    assert torch.equal(setting.sample((off[3], off[0], off[1])), plain)
    on = apply("LikenessPeopleAsReferences", **given, negative_prompt="rain", model=setting.model, mask=APART)
    assert relative(setting.sample((on[3], on[0], on[1])), plain) > 100 * TOLERANCE


@families("setting", QWEN, of=tiny_dits.REFERENCES)
def test_a_person_comes_in_by_weight_without_a_jump(setting):
    """The last of the people, and no sentences, so that nothing else changes at 0. In Qwen-Image the place of the
    person's tokens stays free until then."""
    vae = setting.record.vae()
    given = {"clip": setting.clip, "vae": vae, "negative_prompt": "rain", "pictures": None, "sentences": "none"}

    def picture(weight):
        cast_of_two = two_people()
        anna, ben = cast_of_two.people
        who = replace(cast_of_two, people=(anna, replace(ben, weight=weight)))
        made = apply("LikenessPeopleAsReferences", **given, cast=who, model=setting.model, region_strength=0.0)
        return setting.sample((made[3], made[0], made[1]))

    everything, nothing = picture(1.0), picture(0.0)
    whole = relative(everything, nothing)
    assert whole > 100 * TOLERANCE
    assert relative(picture(255 / 256), everything) < whole / 50
    if setting.family != QWEN:
        assert relative(picture(1 / 256), nothing) < whole / 50


# With PuLID on FLUX.1


@pytest.mark.parametrize("order", marks.each(["rlwa", "awlr", "warl"], ["rlwa"]))
def test_faces_of_flux_act_beside_words_loras_and_references_in_any_order(order):
    """a: Apply PuLID. w, l, r: words, LoRAs and references."""
    setting = Setting(FLUX, sample_values.flux(), beside_references(FLUX))
    who = replace_words(cast(setting))
    record = record_of(setting, who, (0, None, 1))
    texts = [tiny_dits.conditioning(70 + n, tokens=count)[0][0] for n, count in enumerate((9, 5))]
    of_people = carried_words(texts, APART, ["Anna", "Ben"])

    def applied(letters):
        made = setting.model, *[with_latents(setting, tiny_dits.conditioning(n), record) for n in (1, 2)]
        for letter in letters:
            model, positive, negative = made[:3]
            if letter == "w":
                other_side = carry(negative, of_people.without_people())
                made = (
                    on_model.with_kinds(model, TRANSFORMER_WORDS),
                    carry(positive, of_people),
                    other_side,
                )
            elif letter == "l":
                made = by_lora(setting, model, positive, negative, who, APART)
            elif letter == "r":
                made = by_region(model, positive, negative, record, APART)
            else:
                sides = {"positive": positive, "negative": negative}
                made = apply("LikenessApplyPuLID", model=model, **sides, pulid=sample_values.loaded("pulid_flux"))
        return setting.sample(made[:3], cfg=3.0)

    expected = applied("rlaw")
    assert relative(applied(order), expected) <= TOLERANCE
    for missing in order:
        assert relative(applied(order.replace(missing, "")), expected) > TOLERANCE


# The second pass, and another face in a photo


CROP = 128


def referring(setting, people, model=None):
    """What People as References gives for rows of Crop Faces: model, positive, negative."""
    vae = setting.record.vae()
    given = {"clip": setting.clip, "vae": vae, "cast": RowCast(people, CROP, CROP), "negative_prompt": "rain"}
    positive, negative, _text, model_out = apply(
        "LikenessPeopleAsReferences", **given, model=model or setting.model, size=128, pictures=None
    )
    return model_out, positive, negative


def denoised(setting, applied, photo, mask, noise):
    """A picture changed within a mask, as a sampler with Set Latent Noise Mask does."""
    sigmas = comfy.samplers.calculate_sigmas(setting.model.get_model_object("model_sampling"), "simple", 4)[1:]
    euler = comfy.samplers.sampler_object("euler")
    return comfy.sample.sample_custom(
        applied[0], noise, 3.0, euler, sigmas, *applied[1:], photo, noise_mask=mask, seed=0, disable_pbar=True
    )


def graph_of_all(setting, times=1, without=""):
    """MODEL, positive and negative behind People as References, Prompt per Person and LoRA per Person.

    times: how many times as wide and high the canvas and the masks are. without: the letter of a node that is left out:
    words, LoRAs, or references that only their person's region reads.
    """
    who = replace_words(cast(setting))
    people = []
    for member in who.people:
        spot = member.slot
        people.append(replace(member, slot=Slot((spot.center[0] * times, spot.center[1] * times))))
    who = PlacedCast(tuple(people), WIDTH * times, HEIGHT * times)
    masks = APART.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
    vae = setting.record.vae()
    given = {"clip": setting.clip, "vae": vae, "cast": who, "negative_prompt": "rain", "pictures": None, "mask": masks}
    strength = 0.0 if "r" in without else 1.0
    positive, negative, _text, model = apply(
        "LikenessPeopleAsReferences", **given, model=setting.model, region_strength=strength
    )
    made = model, positive, negative
    if "w" not in without:
        made = by_words(setting, *made, who, masks)[:3]
    if "l" not in without:
        made = by_lora(setting, *made, who, masks)[:3]
    return made


def second_pass(made, small):
    """The second KSampler of a graph, on the enlarged latent of the first one."""
    larger = host_nodes.LatentUpscaleBy().upscale({"samples": small}, "nearest-exact", 2.0)[0]
    sampled = host_nodes.KSampler().sample(made[0], 5, 4, 3.0, "euler", "simple", *made[1:], larger, denoise=0.5)
    return sampled[0]["samples"]


@pytest.mark.thorough
@pytest.mark.parametrize("family", [FLUX_2, QWEN])
def test_in_a_second_pass_on_a_larger_latent_everybody_keeps_their_own(family):
    """Words, LoRAs and references of two people: the graph of the first pass gives there what a graph of that size
    gives."""
    setting = of_family(family)
    made = graph_of_all(setting)
    small = tiny_dits.latent(family, WIDTH, HEIGHT)
    first = host_nodes.KSampler().sample(made[0], 4, 2, 3.0, "euler", "simple", *made[1:], {"samples": small})
    small = first[0]["samples"]
    found = second_pass(made, small)
    assert found.shape[-1] == 2 * small.shape[-1]
    assert relative(found, second_pass(graph_of_all(setting, times=2), small)) <= TOLERANCE
    for letter in "wlr":
        other = second_pass(graph_of_all(setting, without=letter), small)
        assert relative(other, found) > 100 * TOLERANCE, f"it is as without {letter}"


@families("setting", FLUX_2, of=tiny_dits.REFERENCES)
def test_faces_are_changed_each_by_its_own_reference_and_nothing_outside_the_mask(setting):
    people = tuple(people_made.a_member(n, slot=slot) for n, slot in enumerate(group.layout(1, "bust", 1, CROP, CROP)
                   .slots * 2, 1))  # fmt: skip
    photo = tiny_dits.latent(setting.family, CROP, CROP, seed=20, rows=2)
    noise = tiny_dits.latent(setting.family, CROP, CROP, seed=21, rows=2)
    mask = torch.zeros(2, 1, CROP, CROP)
    mask[..., 32:96, 32:96] = 1
    found = denoised(setting, referring(setting, people), photo, mask, noise)
    sides = setting.text("in a park"), setting.text("rain")
    plain = denoised(setting, (setting.model, *sides), photo, mask, noise)
    cell = 128 // photo.shape[-1]
    inside = torch.zeros(photo.shape[-2:], dtype=torch.bool)
    inside[32 // cell : 96 // cell, 32 // cell : 96 // cell] = True
    assert torch.equal(found[..., ~inside], plain[..., ~inside]), "bit for bit"
    assert relative(found[..., inside], plain[..., inside]) > 100 * TOLERANCE
    for row, member in enumerate(people):
        own = slice(row, row + 1)
        alone = denoised(setting, referring(setting, (member,)), photo[own], mask[own], noise[own])
        assert relative(found[own], alone) <= TOLERANCE
    exchanged = denoised(setting, referring(setting, people[::-1]), photo, mask, noise)
    assert relative(exchanged, found) > 100 * TOLERANCE


@pytest.mark.parametrize("family", marks.each([FLUX_2, QWEN], [QWEN]))
def test_each_row_reads_its_reference_by_the_weight_of_its_person(family):
    setting = of_family(family)
    slots = group.layout(1, "bust", 1, CROP, CROP).slots * 2
    people = tuple(replace(people_made.a_member(n, slot=slot), weight=n / 2.5) for n, slot in enumerate(slots, 1))
    noise = tiny_dits.latent(family, CROP, CROP, seed=21, rows=2)
    found = tiny_dits.sample(*referring(setting, people), noise)
    for row, member in enumerate(people):
        own = noise[row : row + 1]
        alone = tiny_dits.sample(*referring(setting, (member,)), own)
        assert relative(found[row : row + 1], alone) <= TOLERANCE
        as_ever = tiny_dits.sample(*referring(setting, (replace(member, weight=1.0),)), own)
        assert relative(found[row : row + 1], as_ever) > 100 * TOLERANCE


# What is refused


def lumina_2():
    """A relative of Z-Image."""
    changes = {"z_image_modulation": False, "pad_tokens_multiple": None}
    return tiny_networks.seeded_model("Lumina2", {**tiny_dits.CONFIGS[Z_IMAGE][1], **changes}, 301)


def of_a_pack():
    """A subclass of the host's network."""
    model = RECORDS[FLUX].model()
    network = model.model.diffusion_model
    network.__class__ = type("PackFlux", (type(network),), {"__module__": "pack_of_others.flux"})
    return model


def copied_forward():
    """A pack's copy of a method of the host's, on the network of this MODEL."""
    model = RECORDS[FLUX].model()
    network = model.model.diffusion_model
    network.forward_orig = forward_of_a_pack(network)
    return model


def patched_forward():
    """The same as an object patch of one clone, which the host has not put on the network yet."""
    clone = RECORDS[FLUX].model().clone()
    clone.add_object_patch("diffusion_model.forward_orig", forward_of_a_pack(clone.model.diffusion_model))
    return clone


def forward_of_a_pack(network):
    copied = network.forward_orig

    def forward_orig(*args, **kwargs):
        return copied(*args, **kwargs)

    forward_orig.__module__ = "pack_of_others.cache"
    return forward_orig


@pytest.mark.parametrize(("make", "error", "words"), [
    (lumina_2, WrongBaseModel, "The MODEL is made for Lumina2 without .*, but .*FLUX.1.* is needed"),
    (of_a_pack, BadSetup, r"network of another pack \(PackFlux in pack_of_others\.flux\)"),
], ids=["lumina 2", "subclass"])  # fmt: skip
def test_networks_that_are_not_known_are_refused_by_every_node(make, error, words):
    setting = of_family(FLUX)
    model, who = make(), cast(setting)
    sides = setting.text(COMMON), setting.text("blurred")
    with pytest.raises(error, match=words):
        by_words(setting, model, *sides, who, APART)
    with pytest.raises(error, match=words):
        by_lora(setting, model, *sides, who, APART)
    given = {"clip": setting.clip, "vae": setting.record.vae(), "pictures": None, "negative_prompt": "", "mask": APART}
    with pytest.raises(error, match=words):
        apply("LikenessPeopleAsReferences", model=model, cast=who, **given)


def test_a_family_that_takes_no_references_is_refused_by_name():
    setting = of_family(FLUX)
    given = {"clip": setting.clip, "vae": setting.record.vae(), "pictures": None, "negative_prompt": "", "mask": APART}
    with pytest.raises(WrongBaseModel, match=r"The MODEL is made for Chroma, but .*FLUX.1.* is needed"):
        apply("LikenessPeopleAsReferences", model=tiny_dits.model(CHROMA), cast=cast(setting), **given)


@pytest.mark.parametrize("put_on", [by_words, by_lora])
def test_reference_pictures_of_another_node_are_refused_on_z_image(put_on):
    setting = setting_of(Z_IMAGE)
    common, negative = setting.text(COMMON), setting.text("blurred")
    latents = [tiny_dits.latent(Z_IMAGE, 64, 64)]
    referring_to = [[text, {**options, "reference_latents": latents}] for text, options in common]
    made = put_on(setting, setting.model, referring_to, negative, cast(setting), APART)[:3]
    with pytest.raises(BadSetup, match="Z-Image with reference pictures is not known"):
        setting.sample(made)


@families("setting", FLUX_2, of=tiny_dits.REFERENCES)
def test_the_canvas_is_held_against_the_latent_in_pixels(setting, caplog):
    """A latent pixel is 8 or 16 px, as the family's latents have it."""
    applied = by_words(setting, setting.model, setting.text(COMMON), setting.text("blurred"), cast(setting), APART)[:3]
    model, positive, negative = applied
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 4)[2:]
    picture, noise = (tiny_dits.latent(setting.family, WIDTH, HEIGHT, seed=seed) for seed in (7, 5))
    euler = comfy.samplers.sampler_object("euler")
    comfy.sample.sample_custom(model, noise, 1.0, euler, sigmas, positive, negative, picture, seed=0, disable_pbar=True)
    assert messages_of_the_pack(caplog) == []
    with pytest.raises(BadSize, match=f"is {WIDTH}x{2 * HEIGHT} px"):
        tiny_dits.sample(*applied, tiny_dits.latent(setting.family, WIDTH, 2 * HEIGHT))


@pytest.mark.parametrize("make", [copied_forward, patched_forward])
@pytest.mark.parametrize("put_on", [by_words, by_lora])
def test_a_copied_forward_that_hands_all_on_is_no_reason_to_refuse(make, put_on):
    setting = of_family(FLUX)
    sides = setting.text(COMMON), setting.text("blurred")
    expected = setting.sample(put_on(setting, setting.model, *sides, cast(setting), APART)[:3])
    assert relative(setting.sample(put_on(setting, make(), *sides, cast(setting), APART)[:3]), expected) <= TOLERANCE


@pytest.mark.parametrize("family", WITH_REFERENCES)
def test_a_copied_forward_that_loses_the_references_is_named(family, monkeypatch):
    """At sampling: without transformer_options everybody would read all references."""
    setting = of_family(family)
    record = record_of(setting, cast(setting), (0, 1))
    made = applied_in("r", setting, record, APART)
    network = setting.model.model.diffusion_model
    monkeypatch.setattr(network, "_forward", without_options(network._forward))
    with pytest.raises(ConditioningLost, match=r"peers\) passes over [1-9]"):
        setting.sample(made)
