"""Prompt per Person on transformers beside what else stands in a workflow: LoRA per Person, ControlNets, memory."""

import comfy.controlnet
import comfy.latent_formats
import comfy.ldm.qwen_image.controlnet
import comfy.model_management
import comfy.ops
import comfy.sampler_helpers
import family_encoders
import marks
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from dense_texts import Dense, joined, text
from figures import relative
from hidden_text import without_common
from marks import EACH, families
from pack.bridge.host import notes
from pack.bridge.networks.file_attention import OVERRIDE
from pack.bridge.sampling import on_model
from pack.bridge.sampling.carried import carry
from pack.bridge.sampling.node_of_run import Canvas, NodeOfRun
from pack.bridge.words.transformer.run import TRANSFORMER_WORDS
from peers import apply
from tiny import devices, people_made, tiny_dits
from tiny.seeded import fill
from tiny.tiny_dits import FLUX, FLUX_2, QWEN
from transformer_loras import COMMON, EVERYWHERE, HEIGHT, NOWHERE, PICTURE, TOLERANCE, WIDTH, setting_of
from words_made import carried_words, encoded

import nodes as host_nodes

if tiny_dits.KNOWN:
    from comfy_extras.nodes_flux import FluxKVCache
    from comfy_extras.nodes_model_patch import UsoStyleProjectorPatch

pytestmark = marks.transformers
WORDS = "a woman with red hair", "a man with a long grey beard and glasses, who looks away, in a green coat"
SAID = "\n".join(f"{number}: {words}" for number, words in enumerate(WORDS, 1))


@pytest.fixture(params=EACH)
def setting(request):
    return setting_of(request.param)


def with_texts_of_halves(setting):
    """What Prompt per Person gives for two people, who each have a half of the picture."""
    people = people_made.cast([(32.0, 48.0), (96.0, 48.0)], WIDTH, HEIGHT)
    return setting.applied("LikenessPromptPerPerson", people, prompts=SAID, mask=APART)[:3]


def start_of(setting, rows=1):
    return tiny_dits.latent(setting.family, WIDTH, HEIGHT, rows=rows)


# Nodes of the host that add tokens or take some away


APART = people_made.painted((0, 0, 64, 96), (64, 16, 128, 96), width=WIDTH, height=HEIGHT)


def with_texts(model, **more):
    """MODEL, positive and negative as Prompt per Person gives them. more: options of the conditioning."""
    people = carried_words([text(name)[0][0] for name in ("anna", "ben")], APART, ["anna", "ben"])
    positive = [[words, {**options, **more}] for words, options in text("common")]
    sides = carry(positive, people), carry(text("common"), people.without_people())
    return on_model.with_kinds(model, TRANSFORMER_WORDS), *sides


def by_mask(dense, model, **more):
    """The same by a dense mask."""
    ((_, options),) = text("common")
    return dense.patched(model), [[joined(dense.family), {**options, **more}]], text("common")


def sampled(family, applied, steps=3):
    return tiny_dits.sample(*applied, tiny_dits.latent(family, WIDTH, HEIGHT), steps=steps, cfg=1.0)


@pytest.mark.parametrize(("family", "cached"), [
    (FLUX, False), (FLUX_2, False), (FLUX_2, True), (QWEN, False),
], ids=["FLUX.1", "FLUX.2", "FLUX.2 with Flux KV Cache", "Qwen-Image"])  # fmt: skip
def test_references_beside_words_are_what_a_dense_mask_gives(family, cached):
    """Flux KV Cache takes the references out after the first step, and keeps their keys. On FLUX.1 the host's own
    forward cannot do that."""
    model = tiny_dits.model(family)
    references = {"reference_latents": [tiny_dits.latent(family, 64, 48, seed=9)]}  # 4 x 3 tokens

    def model_of_its_own():
        return FluxKVCache.execute(model).args[0] if cached else model

    picture = sampled(family, with_texts(model_of_its_own(), **references))
    dense = Dense(family, model, APART, references=12)
    expected = sampled(family, by_mask(dense, model_of_its_own(), **references))
    assert relative(picture, expected) <= TOLERANCE
    _, *sides = by_mask(Dense(family, model, APART), model, **references)
    assert relative(sampled(family, (model, *sides)), expected) > 1e-3


def test_tokens_of_uso_in_front_of_the_text_stay_the_common_texts():
    """Its patch of the host puts tokens of a style picture in front of the text."""
    model = tiny_dits.model(FLUX)
    projector = fill(torch.nn.Linear(5, 64), 313).requires_grad_(False)
    style = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(5))
    with_style = model.clone()
    patch = UsoStyleProjectorPatch(ModelPatcher(projector, devices.DEVICE, devices.CPU), style)
    with_style.set_model_post_input_patch(patch)
    picture = sampled(FLUX, with_texts(with_style))
    expected = sampled(FLUX, by_mask(Dense(FLUX, model, APART, front=3), with_style))
    assert relative(picture, expected) <= TOLERANCE
    assert relative(sampled(FLUX, with_texts(model)), expected) > 100 * TOLERANCE


@pytest.mark.parametrize("use", [
    lambda tensor: tensor.fill_(7.0), lambda tensor: tensor.mul_(3.0), lambda tensor: tensor.transpose_(-1, -2),
], ids=["written over", "scaled", "transposed"])  # fmt: skip
def test_an_attention_that_uses_what_it_is_given_as_scratch_is_given_copies(setting, use):
    """Queries, keys and values are handed to several attentions, one after the other."""
    model, *sides = with_texts_of_halves(setting)

    def attend(kernel, q, k, v, *args, **more):
        out = kernel(q, k, v, *args, **more).clone()
        for tensor in (q, k, v):
            use(tensor)
        return out

    beside = model.clone()
    beside.model_options["transformer_options"][OVERRIDE] = attend
    expected = setting.sample((model, *sides), start_of(setting))
    assert relative(setting.sample((beside, *sides), start_of(setting)), expected) <= TOLERANCE


# Memory


def asked_for(setting, applied, start):
    """What the host's loader is asked to keep free for a sampling."""
    requests = []
    load = comfy.model_management.load_models_gpu

    def recorded(models, memory_required=0, **more):
        requests.append(memory_required)
        return load(models, memory_required=memory_required, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comfy.model_management, "load_models_gpu", recorded)
        setting.sample(applied, start)
    return requests[0]


LENGTHS = 300, 42


@pytest.mark.parametrize("by_row", [False, True], ids=["regions", "rows"])
@families("setting", FLUX_2)
def test_the_memory_of_the_words_is_asked_for(setting, by_row):
    """As the host reckons a picture that has as many tokens more."""
    width = setting.text(COMMON)[0][0].shape[-1]
    texts = [torch.zeros(1, length, width) for length in LENGTHS]
    lengths = [setting.record.filled_up(length) for length in LENGTHS]
    if by_row:
        people = carried_words(
            texts,
            torch.ones(2, 1, 1),
            ["Anna", "Ben"],
            canvas=Canvas(NodeOfRun("Prompt per Person", None, row_count=2)),
            by_row=True,
        )
        tokens = max(lengths)
    else:
        people = carried_words(texts, torch.cat([EVERYWHERE, NOWHERE]), ["Anna", "Ben"])
        tokens = sum(lengths)
    sides = setting.text(COMMON), setting.text("blurred")
    applied = (
        on_model.with_kinds(setting.model, TRANSFORMER_WORDS),
        carry(sides[0], people),
        carry(sides[1], people.without_people()),
    )
    rows = 2
    start = start_of(setting, rows)
    latent_cells = tokens * tiny_dits.cells_per_token(setting.family) ** 2
    height, columns = start.shape[-2:]
    shape = [2 * rows, *start.shape[1:-2], height + -(-latent_cells // columns), columns]
    memory = asked_for(setting, applied, start)
    assert memory == setting.model.model.memory_required(shape)
    plain = asked_for(setting, (setting.model, *sides), start)
    assert plain == setting.model.model.memory_required([2 * rows, *start.shape[1:]])
    assert memory > plain


# What other nodes make of texts


def everywhere(setting, positive, clip=None):
    """A person everywhere, whose words alone reach the picture."""
    model = without_common(setting.model, setting.family, positive, PICTURE)
    cast = people_made.cast([(32.0, 48.0), (96.0, 48.0)], WIDTH, HEIGHT)
    mask = torch.cat([EVERYWHERE, NOWHERE])
    sides = {"positive": positive, "negative": setting.text("blurred"), "clip": clip or setting.clip}
    return apply("LikenessPromptPerPerson", model=model, cast=cast, mask=mask, prompts=SAID, **sides)


def multiplied(conditioning, factor=3.0):
    return host_nodes.ConditioningMultiply().multiply(conditioning, factor)[0]


@pytest.fixture
def said(monkeypatch):
    """What runs say."""
    texts = []
    monkeypatch.setattr(notes, "tell_of_run", lambda node_id, topic, text: texts.append(text))
    return texts


@pytest.mark.parametrize("factor", [3.0, 0.0], ids=["multiplied", "zeroed out"])
@families("setting", FLUX_2)
def test_a_node_behind_multiplies_the_words_too(setting, factor, said):
    model, positive, negative = everywhere(setting, setting.text(COMMON))
    start = start_of(setting)
    setting.sample((model, multiplied(positive, 0.5), negative), start)  # nothing of it is left in the next one
    image = setting.sample((model, multiplied(positive, factor), negative), start)
    expected = setting.sample((setting.model, multiplied(setting.own_text(WORDS[0]), factor), negative), start)
    assert relative(image, expected) <= TOLERANCE
    assert not any(said)


def test_a_node_that_changes_the_common_text_alone_is_named(setting, said):
    start = start_of(setting)
    setting.sample(everywhere(setting, multiplied(setting.text(COMMON))), start)
    assert [text for text in said if "has changed the prompt and not the words of people" in text]
    said.clear()
    model, positive, negative = everywhere(setting, setting.text(COMMON))
    averaged = host_nodes.ConditioningAverage().addWeighted(positive, setting.text("a house"), 0.5)[0]
    setting.sample((model, [*averaged, *positive], negative), start)  # one entry that is changed, and one that is not
    assert [text for text in said if "has changed the prompt and not the words of people" in text]
    said.clear()
    setting.sample((model, positive, negative), start)
    assert not any(said)


@pytest.mark.parametrize("family", [FLUX_2, pytest.param(QWEN, marks=pytest.mark.thorough)])
def test_words_of_a_clip_that_changes_in_the_schedule_change_with_it(family):
    """A person everywhere: as the words alone, encoded by CLIP Text Encode."""
    setting = setting_of(family)
    clip = family_encoders.changing(setting.clip)
    common = encoded(clip, COMMON)
    alone = []
    for (words, options), (_, of_common) in zip(encoded(clip, WORDS[0]), common, strict=True):
        alone.append([words, {**options, "pooled_output": of_common["pooled_output"]}])
    model, positive, negative = everywhere(setting, common, clip)
    assert len(positive) == len(alone) == 2
    start = start_of(setting)
    image = tiny_dits.sample(model, positive, negative, start, steps=4, cfg=1.0)
    expected = tiny_dits.sample(setting.model, alone, negative, start, steps=4, cfg=1.0)
    assert relative(image, expected) <= TOLERANCE
    # A common text of another CLIP, which does not change, is read in both parts.
    model, positive, negative = everywhere(setting, setting.text(COMMON), clip)
    assert relative(tiny_dits.sample(model, positive, negative, start, steps=4, cfg=1.0), expected) <= TOLERANCE
