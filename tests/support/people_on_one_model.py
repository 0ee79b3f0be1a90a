"""Anna and Ben with words, LoRAs and references on one MODEL of a transformer, each put in as its node puts it."""

from dataclasses import replace

from families import RECORDS
from pack.bridge.references.record import REFERENCES, PeopleReferences, ReferenceLatent
from pack.bridge.sampling.conditioning import SamplerInputs
from pack.core.cast import Lora, PlacedCast, Slot
from pack.core.taking_part import present_in
from pack.nodes.references.limits import RegionLimit, read_by_region, regions_of_references
from peers import apply
from tiny import people_made, tiny_dits
from transformer_loras import (
    COMMON,
    HEIGHT,
    WIDTH,
    setting_of,
)

WORDS = "a woman with red hair", "a man with a grey beard"
APART = people_made.painted((0, 0, 64, 96), (64, 0, 128, 96), width=WIDTH, height=HEIGHT)
OVERLAPPING = people_made.painted((0, 0, 64, 96), (48, 32, 128, 96), width=WIDTH, height=HEIGHT)
SIZES = (48, 64), (64, 64), (32, 48)
"""Of references in pixels: 12, 16 and 6 tokens."""


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
    read_regions = regions_of_references(present_in(record.cast), settings, ())
    limited = read_by_region(SamplerInputs(made, positive, negative), record, read_regions, None)
    return limited.model, limited.positive, limited.negative


def by_lora(setting, made, positive, negative, who, masks):
    given = {"clip": setting.clip, "cast": who, "mask": masks}
    return apply("LikenessLoRAPerPerson", model=made, positive=positive, negative=negative, **given)


def by_words(setting, made, positive, negative, who, masks, prompts=f"1: {WORDS[0]}\n2: {WORDS[1]}"):
    given = {"clip": setting.clip, "cast": who, "mask": masks, "prompts": prompts}
    return apply("LikenessPromptPerPerson", model=made, positive=positive, negative=negative, **given)


def replace_words(who):
    """The same people, whose LoRAs have no words."""
    people = []
    for person in who.people:
        loras = tuple(replace(lora, words="") for lora in person.person.loras)
        people.append(replace(person, person=replace(person.person, loras=loras)))
    return replace(who, people=tuple(people))


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
