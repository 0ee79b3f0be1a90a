"""People of a row of the batch each, as Crop Faces gives them: every row is drawn with its person's own words, LoRA and
references, and nobody else's."""

from dataclasses import fields, replace
from functools import partial

import marks
import other_packs
import photo_maker_made
import pytest
import sample_values
import torch
from figures import relative
from instant_id_run import sample as sample_unet
from instant_id_run import text
from marks import EACH, each, families
from pack.bridge.host.encode import T5Tokens
from pack.bridge.host.schedule import WHOLE_SCHEDULE, ScheduleRange
from pack.bridge.image_tokens.blocks import BlockImageTokens
from pack.bridge.image_tokens.unet_tokens import UNetImageTokens
from pack.bridge.loras.person_loras import PersonLoras
from pack.bridge.sampling.carried import CarriedOfPeople, ConditioningLost, WordsOfPeople, rows_of_nodes
from pack.bridge.words.transformer.words import TransformerWords
from pack.bridge.words.unet.words import UnetWords
from pack.core.cast import Lora, PlacedCast, RowCast
from pack.core.places.regions import BadRegion
from peers import apply
from tiny import lora_made, people_made, tiny_dits, tiny_encoders
from tiny.tiny_dits import FLUX, FLUX_2, QWEN, Z_IMAGE
from transformer_loras import COMMON, EVERY_LAYER, EVERYWHERE, HEIGHT, TOLERANCE, WIDTH, setting_of

import nodes as host_nodes

WORDS = "a woman with red hair", "a man with a long grey beard and glasses, who looks away, in a green coat", ""
"""By row. The second is longer, and of the third person nothing is said."""
ROWS = len(WORDS)
SAID = "1: a woman with red hair\nBen: a man with a long grey beard and glasses, who looks away, in a green coat"


def people_of(files, words=("",) * ROWS):
    """Anna, Ben and Cleo with a place each, and a LoRA each with its words where there are files."""
    placed_people = people_made.cast([(32.0, 48.0), (64.0, 48.0), (96.0, 48.0)], WIDTH, HEIGHT).people
    people = []
    for member, name, file, own_words in zip(placed_people, ("Anna", "Ben", "Cleo"), files, words, strict=True):
        loras = () if file is None else (Lora(file, 1.0, own_words),)
        people.append(replace(member, person=replace(member.person, name=name, loras=loras)))
    return tuple(people)


def rows_of(people):
    return RowCast(people, WIDTH, HEIGHT)


def alone(people, number):
    """One of these people in a picture of their own."""
    return PlacedCast(people[number : number + 1], WIDTH, HEIGHT)


# On UNets


class UnetSetting:
    """A MODEL, its CLIP, and a LoRA for each person."""

    def __init__(self, family):
        if family == "SDXL":
            self.model = sample_values.sdxl()
            self.clip = photo_maker_made.clip()
            self.sides = [text(1)], [text(2)]
        else:
            self.model = sample_values.sd15()
            self.clip = tiny_encoders.sd1()
            self.sides = sample_values.text(1, 48), sample_values.text(2, 48)
        self.files = [
            lora_made.file(self.model, seed=seed, clip=self.clip, **self.of_the_time(seed)) for seed in (1, 2, 3)
        ]
        self.start = torch.randn(ROWS, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(7)) * 14

    def of_the_time(self, seed):
        """A LoRA of a layer that stands in no block."""
        generator = torch.Generator().manual_seed(seed)
        out, into = self.model.model.diffusion_model.time_embed[0].weight.shape
        return {
            "diffusion_model.time_embed.0.lora_up.weight": torch.randn(out, 2, generator=generator) * 0.1,
            "diffusion_model.time_embed.0.lora_down.weight": torch.randn(2, into, generator=generator) * 0.1,
        }

    def applied(self, kind, cast, sides=None, model=None, **changed):
        positive, negative = sides or self.sides
        inputs = {"model": model or self.model, "positive": positive, "negative": negative, "clip": self.clip}
        return apply(kind, **inputs, cast=cast, **changed)

    def sample(self, applied, row=None):
        start = self.start if row is None else self.start[row : row + 1]
        return sample_unet(*applied, steps=2, start=start)

    def plain(self, row, file=None, words="", clip=None):
        """The host's drawing of one crop: Load LoRA's MODEL, on a prompt with the words behind the common ones. clip:
        that encodes them, instead of Load LoRA's."""
        model, with_lora = self.model, self.clip
        if file is not None:
            model, with_lora = host_nodes.LoraLoader().load_lora(model, self.clip, file, 1.0, 1.0)
        clip = clip or with_lora
        ((context, options),) = self.sides[0]
        if words:
            context = torch.cat([context, clip.encode_from_tokens(clip.tokenize(words))], dim=1)
        return self.sample((model, [[context, options]], self.sides[1]), row)


UNETS = {}


@pytest.fixture(params=["SDXL", pytest.param("SD1.5", marks=pytest.mark.thorough)])
def unet(request):
    if request.param not in UNETS:
        UNETS[request.param] = UnetSetting(request.param)
    return UNETS[request.param]


def same_rows(rows, expected):
    """Whether each row is what is expected of it, and no other row is."""
    for row, expected_row in enumerate(expected):
        for number in range(ROWS):
            difference = relative(rows[number : number + 1], expected_row)
            assert (difference <= 2 * TOLERANCE) == (number == row), (row, number, difference)


@pytest.mark.both_hosts
def test_on_a_unet_every_row_reads_its_own_words(unet):
    rows = unet.sample(unet.applied("LikenessPromptPerPerson", rows_of(people_of([None] * ROWS)), prompts=SAID))
    same_rows(rows, [unet.plain(row, words=words) for row, words in enumerate(WORDS)])


def test_on_a_unet_words_and_loras_come_together_in_either_order(unet):
    """Words of Prompt per Person are read with the person's LoRA, and encoded without, as in one picture."""
    cast = rows_of(people_of(unet.files))
    kinds = ["LikenessPromptPerPerson", "LikenessLoRAPerPerson"]
    pictures = []
    for order in (kinds, kinds[::-1]):
        applied = (unet.model, *unet.sides)
        for kind in order:
            prompts = {"prompts": SAID} if kind == "LikenessPromptPerPerson" else {}
            applied = unet.applied(kind, cast, model=applied[0], sides=applied[1:3], **prompts)
        pictures.append(unet.sample(applied))
    assert relative(*pictures) <= TOLERANCE
    same_rows(pictures[0], [unet.plain(row, unet.files[row], WORDS[row], unet.clip) for row in range(ROWS)])


def test_on_a_unet_a_strength_of_2_is_the_words_twice(unet):
    cast = rows_of(people_of([None] * ROWS))
    rows = unet.sample(unet.applied("LikenessPromptPerPerson", cast, prompts=SAID, strength=2.0))
    ((context, options),) = unet.sides[0]
    words = unet.clip.encode_from_tokens(unet.clip.tokenize(WORDS[0]))
    longer = [[torch.cat([context, words, words], dim=1), options]]
    assert relative(rows[:1], unet.sample((unet.model, longer, unet.sides[1]), 0)) <= 2 * TOLERANCE


OTHERS = [other_packs.one_by_one, other_packs.reversed_rows]
"""Functions of other packs around the MODEL: each row alone, and all rows in the other order."""


def both_nodes(setting, cast):
    """Prompt per Person and behind it LoRA per Person."""
    words = setting.applied("LikenessPromptPerPerson", cast, prompts=SAID)
    return setting.applied("LikenessLoRAPerPerson", cast, model=words[0], sides=words[1:3])


# On transformers


@pytest.fixture(params=EACH)
def transformer(request):
    if not tiny_dits.KNOWN:
        pytest.skip("an older ComfyUI has no FLUX.2")
    return setting_of(request.param, EVERY_LAYER)


def crops(setting):
    """The latents of all rows."""
    return tiny_dits.latent(setting.family, WIDTH, HEIGHT, rows=ROWS)


def drawn(setting, applied, row=None, cfg=1.0):
    """A sampling of all crops, or of one."""
    start = crops(setting)
    return setting.sample(applied, start if row is None else start[row : row + 1], cfg=cfg)


@pytest.mark.parametrize(
    "with_loras",
    [pytest.param(False, id="words", marks=pytest.mark.thorough), pytest.param(True, id="words and LoRAs")],
)
@families("transformer", FLUX_2, Z_IMAGE)
def test_every_row_is_the_plain_drawing_of_its_persons_words(transformer, with_loras):
    """With the common text hidden: of the host's forward alone, with the LoRA merged by the host's loader."""
    hidden = transformer.hidden()
    words_of_people = (*WORDS[:2], "a cat")
    files = transformer.files if with_loras else [None] * ROWS
    kind = "LikenessPromptPerPerson"
    prompts = {"prompts": "\n".join(f"{number}: {words}" for number, words in enumerate(words_of_people, 1))}
    applied = transformer.applied(kind, rows_of(people_of(files)), hidden, **prompts)
    if with_loras:
        cast = rows_of(people_of(files))
        applied = transformer.applied("LikenessLoRAPerPerson", cast, applied[0], applied[1:3])
    rows = drawn(transformer, applied)
    expected = []
    for row, (words, file) in enumerate(zip(words_of_people, files, strict=True)):
        model = transformer.model if file is None else transformer.merged(file)
        expected.append(drawn(transformer, (model, transformer.own_text(words), transformer.text("blurred")), row))
    same_rows(rows, expected)


@families("transformer", QWEN)
def test_every_row_has_its_own_lora_and_the_loras_words(transformer):
    """Beside the common text, with CFG: as of each crop alone on a MODEL with the LoRA merged by the host's loader. Of
    the third there are no words: that is the host's own drawing."""
    people = people_of(transformer.files, WORDS)
    rows = drawn(transformer, transformer.applied("LikenessLoRAPerPerson", rows_of(people)), cfg=3.0)
    expected = []
    for row, file in enumerate(transformer.files):
        applied = (transformer.merged(file), transformer.text(COMMON), transformer.text("blurred"))
        if WORDS[row]:
            cast = alone(people, row)
            prompts = f"1: {WORDS[row]}"
            applied = transformer.applied("LikenessPromptPerPerson", cast, applied[0], prompts=prompts, mask=EVERYWHERE)
        expected.append(drawn(transformer, applied, row, cfg=3.0))
    same_rows(rows, expected)


@families("transformer", FLUX_2)
def test_a_row_without_words_is_the_hosts_own_drawing(transformer):
    cast = rows_of(people_of([None] * ROWS))
    rows = drawn(transformer, transformer.applied("LikenessPromptPerPerson", cast, prompts=SAID), cfg=3.0)
    expected = drawn(
        transformer, (transformer.model, transformer.text(COMMON), transformer.text("blurred")), 2, cfg=3.0
    )
    assert relative(rows[2:], expected) <= TOLERANCE


@pytest.mark.parametrize("family", each([FLUX, FLUX_2, QWEN], [FLUX_2]))
@marks.transformers
def test_every_row_has_its_own_reference_beside_its_words_and_lora(family):
    """As of each crop alone, with its person's reference, words and a LoRA that the host's loader has merged."""
    setting = setting_of(family, EVERY_LAYER)
    people = people_of(setting.files)
    references = tiny_dits.latent(family, 64, 48, seed=9, rows=ROWS)

    def with_references(name, rows):
        ((context, options),) = setting.text(name)
        return [[context, {**options, "reference_latents": [references[rows]]}]]

    def applied(cast, rows, model, prompts, **changed):
        sides = with_references(COMMON, rows), with_references("blurred", rows)
        return setting.applied("LikenessPromptPerPerson", cast, model, sides, prompts=prompts, **changed)

    everybody = applied(rows_of(people), slice(None), setting.model, SAID)
    everybody = setting.applied("LikenessLoRAPerPerson", rows_of(people), everybody[0], everybody[1:3])
    rows = drawn(setting, everybody, cfg=3.0)
    expected = []
    for row, file in enumerate(setting.files):
        model = setting.merged(file)
        row_alone = slice(row, row + 1)
        if WORDS[row]:
            by_node = applied(alone(people, row), row_alone, model, f"1: {WORDS[row]}", mask=EVERYWHERE)
        else:
            by_node = (model, with_references(COMMON, row_alone), with_references("blurred", row_alone))
        expected.append(drawn(setting, by_node, row, cfg=3.0))
    same_rows(rows, expected)


@pytest.mark.parametrize("around", OTHERS)
@families("transformer", FLUX_2)
def test_rows_that_another_pack_moves_keep_their_person(transformer, around):
    model, *sides = both_nodes(transformer, rows_of(people_of(transformer.files, WORDS)))
    moved = drawn(transformer, (other_packs.around(model, around), *sides), cfg=3.0)
    assert relative(moved, drawn(transformer, (model, *sides), cfg=3.0)) <= TOLERANCE


def test_a_mask_for_people_of_a_row_each_is_refused(transformer):
    cast = rows_of(people_of(transformer.files))
    for kind in ("LikenessPromptPerPerson", "LikenessLoRAPerPerson"):
        prompts = {"prompts": SAID} if kind == "LikenessPromptPerPerson" else {}
        with pytest.raises(BadRegion, match="each person has a picture of their own, from Crop Faces"):
            transformer.applied(kind, cast, mask=torch.ones(ROWS, HEIGHT, WIDTH), **prompts)


def test_rows_that_another_pack_joins_read_what_each_carries_or_are_refused():
    """Both of one node, as for two areas of the picture."""
    here = PersonLoras(object(), ScheduleRange(), names=("Anna",), layers={}, regions=EVERYWHERE)
    there = replace(here, regions=torch.zeros_like(EVERYWHERE))
    join = partial(rows_of_nodes, row_count=4, mixed=ConditioningLost("a_pack", "joins rows"))
    assert join([(here, here)], may_differ=True) == [(here,)], "one for all rows"
    assert join([(here, there)], may_differ=True) == [(here, here, there, there)]
    with pytest.raises(ConditioningLost, match=r"a_pack\) joins rows"):
        join([(here, there)], may_differ=False)


# What is carried of each person

SOURCE = object()
REGIONS, BOXES = torch.rand(2, 3, 16, 24)
TOKENS, KEYS, VALUES = (torch.rand(3, tokens, 6) for tokens in (4, 5, 5))
TEXTS = tuple(torch.rand(1, tokens, 6) for tokens in (2, 7, 4))
T5 = tuple(T5Tokens(torch.arange(count)[None], torch.rand(1, count, 1)) for count in (2, 3, 4))


def of_all(values, people):
    return tuple(values[person] for person in people)


def injected(kind, people, regions, boxes):
    layers = ((KEYS[people], VALUES[people]),)
    return kind(SOURCE, WHOLE_SCHEDULE, regions, TOKENS[people], layers, reads=max, boxes=boxes)


CARRIED = {
    UnetWords: lambda people, regions, boxes: UnetWords(
        SOURCE, WHOLE_SCHEDULE, regions, of_all(TEXTS, people), of_all((2, 7, 4), people), 3, 77, boxes=boxes
    ),
    TransformerWords: lambda people, regions, boxes: TransformerWords(
        SOURCE, WHOLE_SCHEDULE, regions, of_all(TEXTS, people), of_all("ABC", people), of_all(T5, people), boxes=boxes
    ),
    UNetImageTokens: partial(injected, UNetImageTokens),
    BlockImageTokens: partial(injected, BlockImageTokens),
}
"""What a node would carry of some people alone, with every field of the class set."""


def as_data(value):
    """Tensors as lists with their shapes, which can be compared."""
    if isinstance(value, torch.Tensor):
        return value.shape, value.tolist()
    return tuple(map(as_data, value)) if isinstance(value, tuple) else value


def by_field(carried):
    return {name: as_data(value) for name, value in vars(carried).items() if name != "_made"}


@pytest.mark.parametrize("kind", CARRIED, ids=lambda kind: kind.__name__)
def test_every_field_of_people_follows_whom_it_is_of(kind):
    def made(*people, regions=REGIONS, boxes=BOXES, **changed):
        carried = CARRIED[kind](list(people), regions[list(people)], boxes[list(people)])
        return by_field(replace(carried, **changed))

    everybody = CARRIED[kind]([0, 1, 2], REGIONS, BOXES)
    unset = [field.name for field in fields(kind) if getattr(everybody, field.name) == field.default]
    assert {*unset} <= {field.name for field in fields(CarriedOfPeople)}
    in_rows = replace(everybody, by_row=True)
    for number, person in ((4, 1), (2, 2)):
        assert by_field(in_rows.for_picture(number)) == made(person, by_row=True, row=person)
    # Two areas of one size, whose first and last cells begin and end within pixels: all of these are theirs.
    for y, x, rows, columns in ((1, 2, slice(2, 10), slice(9, 20)), (4, 3, slice(9, 16), slice(14, 24))):
        parts = {"regions": REGIONS[:, rows, columns], "boxes": BOXES[:, rows, columns]}
        assert by_field(everybody.cropped((3, 2, y, x), (7, 5))) == made(0, 1, 2, **parts)
    if issubclass(kind, WordsOfPeople):
        for factor in (2.5, 0.5):
            assert by_field(everybody.beside_changed_text(factor)) == made(
                0, 1, 2, texts=tuple(text * factor for text in TEXTS)
            )
        assert by_field(everybody.without_people()) == made()


def test_every_class_with_fields_of_people_is_held_to_that():
    kinds = CarriedOfPeople.__subclasses__()
    for kind in kinds:
        kinds += kind.__subclasses__()  # which are looked at, too
    of_people = {kind for kind in kinds if kind.per_person and "key" in vars(kind)}
    assert of_people == {*CARRIED}
