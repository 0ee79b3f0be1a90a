"""Prompt per Person on transformers, in the real host: against the plain forward of each text, and dense masks."""

from dataclasses import replace

import comfy.model_management
import comfy.samplers
import marks
import pytest
import torch
from dense_texts import Dense, joined, text
from families import RECORDS
from figures import relative
from hidden_text import without_common
from host_sampling import Applied, assert_areas_are_apart
from marks import EACH
from pack.bridge.networks import families, model_family
from pack.bridge.networks.attention import OVERRIDE
from pack.bridge.sampling import on_model
from pack.bridge.sampling.carried import ConditioningLost, carry
from pack.bridge.words.transformer.run import TRANSFORMER_WORDS
from pack.bridge.words.transformer.slots import TextSlot
from pack.core.attention.reads import WordsRule, groups_of
from pack.core.attention.spans import Span, TokenKind
from pack.core.checks.errors import BadSetup, WrongBaseModel
from peers import apply, without_options
from tiny import devices, people_made, tiny_dits
from tiny.tiny_dits import EVERY, FLUX, FLUX_2, KREA_2, QWEN
from words_made import carried_words, encoded

pytestmark = marks.transformers
WIDTH, HEIGHT = 128, 96  # 8 x 6 tokens
PICTURE = 48
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def models():
    models_by_family = {}

    def model(family):
        if family not in models_by_family:
            models_by_family[family] = tiny_dits.model(family)
        return models_by_family[family]

    return model


def regions(*boxes):
    """A mask per box of tokens: x0, y0, x1, y1."""
    masks = torch.zeros(len(boxes), HEIGHT, WIDTH)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[16 * top : 16 * bottom, 16 * left : 16 * right] = 1
    return masks


EVERYWHERE = torch.ones(1, HEIGHT, WIDTH)
NOWHERE = torch.zeros(1, HEIGHT, WIDTH)
APART = regions((0, 0, 4, 6), (4, 1, 8, 6))
OVERLAPPING = regions((0, 0, 4, 6), (3, 2, 8, 6))


def with_texts_of(model, people, areas, negative="common"):
    """MODEL, positive and negative as Prompt per Person gives them."""
    texts_of_people = carried_words([text(name)[0][0] for name in people], areas, people)
    patched = on_model.with_kinds(model, TRANSFORMER_WORDS)
    positive_side = carry(text("common"), texts_of_people)
    negative_side = carry(text(negative), texts_of_people.without_people())
    return patched, positive_side, negative_side


def sample(family, applied, rows=1, cfg=1.0, **more):
    return tiny_dits.sample(*applied, tiny_dits.latent(family, WIDTH, HEIGHT, rows=rows), cfg=cfg, **more)


def test_words_that_the_network_has_read_and_a_row_without_words_come_together_on_the_card():
    """Anima's network reads the words beforehand, on its device; `meta` stands for it."""
    read = torch.ones(1, 3, 8, device="meta")
    slot = TextSlot("Anna", (read, torch.zeros(1, 0, 8)), torch.zeros(2, PICTURE))
    words = slot.words_on(read.device)
    assert (words.device, words.shape) == (read.device, (2, 3, 8))


def plain(family, model, name, **more):
    return sample(family, (model, text(name), text("common")), **more)


@pytest.mark.parametrize("family", EVERY)
def test_a_person_everywhere_is_the_plain_forward_of_their_words(models, family):
    model = models(family)
    hidden = without_common(model, family, text("common"), PICTURE)
    of_anna = sample(family, with_texts_of(hidden, ["anna", "ben"], torch.cat([EVERYWHERE, NOWHERE])))
    assert relative(of_anna, plain(family, model, "anna")) <= TOLERANCE
    of_ben = sample(family, with_texts_of(hidden, ["anna", "ben"], torch.cat([NOWHERE, EVERYWHERE])))
    assert relative(of_ben, plain(family, model, "ben")) <= TOLERANCE
    assert relative(of_anna, plain(family, model, "ben")) > 100 * TOLERANCE, "the texts tell pictures apart"


@pytest.mark.parametrize(
    "areas", [pytest.param(APART, id="apart", marks=pytest.mark.thorough), pytest.param(OVERLAPPING, id="overlapping")]
)
@pytest.mark.parametrize("family", EVERY)
def test_two_people_are_what_a_dense_mask_gives(models, family, areas):
    model = models(family)
    picture = sample(family, with_texts_of(model, ["anna", "ben"], areas))
    dense = Dense(family, model, areas)
    ((_, options),) = text("common")
    with pytest.MonkeyPatch.context() as patch:
        dense.stand_in(patch)
        expected = sample(family, (dense.patched(model), [[joined(family), options]], text("common")))
    assert relative(picture, expected) <= TOLERANCE
    assert relative(plain(family, model, "common"), expected) > 100 * TOLERANCE


def batches_of(family, applied):
    """Which sides of the conditioning each forward of a step has: 0 for the positive, 1 for the negative."""
    model, batches = applied[0].clone(), []

    def forward(apply_model, given):
        batches.append(sorted(given["cond_or_uncond"]))
        return apply_model(given["input"], given["timestep"], **given["c"])

    model.set_model_unet_function_wrapper(forward)
    sample(family, (model, *applied[1:]), cfg=3.0, steps=1)
    return batches


@pytest.mark.parametrize("family", EACH)
def test_two_areas_of_one_size_read_their_own_words(models, family):
    model = models(family)
    latent, larger = (tiny_dits.latent(family, times * WIDTH, times * HEIGHT) for times in (1, 2))
    assert_areas_are_apart(lambda: Applied(*with_texts_of(model, ["anna", "ben"], APART)), latent, larger)


@pytest.mark.parametrize("negative", ["common", "anna"], ids=["as long", "longer"])
@pytest.mark.parametrize("family", EACH)
def test_the_negative_prompt_stays_what_it_is(models, family, negative):
    """CFG of pictures of one step each: the negative's are those without any words. Both sides are one batch where the
    host computes them so without people: where their texts are equally long."""
    model = models(family)
    applied = with_texts_of(model, ["anna", "ben"], APART, negative=negative)
    batches = batches_of(family, applied)
    assert batches == batches_of(family, (model, text("common"), text(negative)))
    assert negative != "common" or len(batches) == 1
    of_the_positive = sample(family, applied, steps=1)
    of_the_negative = sample(family, (model, text(negative), text("common")), steps=1)
    expected = of_the_negative + 3.0 * (of_the_positive - of_the_negative)
    assert relative(sample(family, applied, cfg=3.0, steps=1), expected) <= TOLERANCE


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_a_person_everywhere_is_guided_by_nag_as_the_plain_forward_of_their_words(models, cfg):
    """The host's NAGuidance compares both sides of one batch. Texts of FLUX.2 are all of one length there."""
    from comfy_extras.nodes_nag import NAGuidance

    model = models(FLUX_2)
    guided = NAGuidance.execute(model, 5.0, 0.5, 1.5).args[0]
    expected = plain(FLUX_2, guided, "anna", cfg=cfg)
    assert relative(plain(FLUX_2, model, "anna", cfg=cfg), expected) > 100 * TOLERANCE
    hidden = without_common(guided, FLUX_2, text("common"), PICTURE)
    applied = with_texts_of(hidden, ["anna", "ben"], torch.cat([EVERYWHERE, NOWHERE]))
    assert relative(sample(FLUX_2, applied, cfg=cfg), expected) <= TOLERANCE


@pytest.mark.parametrize("family", [FLUX, FLUX_2])
def test_words_in_the_negative_alone_skip_the_layers_that_skip_layer_guidance_skips(models, family):
    from comfy_extras.nodes_slg import SkipLayerGuidanceDiTSimple

    guided = SkipLayerGuidanceDiTSimple.execute(models(family), 0.0, 1.0, "0", "0").args[0]
    model, words, without = with_texts_of(guided, ["anna"], EVERYWHERE)
    picture = sample(family, (model, without, words), cfg=3.0)
    alone = sample(family, (model, words, without), steps=1)
    skipped = SkipLayerGuidanceDiTSimple.execute(models(family), 0.0, 1.0, "9", "9").args[0]
    assert picture.isfinite().all() and alone.isfinite().all()
    others = with_texts_of(skipped, ["anna"], EVERYWHERE)
    assert relative(sample(family, (others[0], others[2], others[1]), cfg=3.0), picture) > 100 * TOLERANCE


@pytest.mark.parametrize("family", EACH)
def test_a_picture_comes_again_and_the_model_is_as_before(models, family):
    model = models(family)
    before = plain(family, model, "common", cfg=3.0)
    first = with_texts_of(model, ["anna"], APART[:1])
    second = with_texts_of(model, ["ben"], APART[1:])
    picture = sample(family, first, cfg=3.0)
    assert not torch.equal(sample(family, second, cfg=3.0), picture)
    assert torch.equal(sample(family, first, cfg=3.0), picture)
    assert torch.equal(plain(family, model, "common", cfg=3.0), before)


@pytest.mark.parametrize("family", EACH)
def test_a_copied_forward_without_options_is_named(models, family):
    """A pack whose copy of the forward does not hand on transformer_options: everybody would read all words."""
    applied = with_texts_of(models(family), ["anna"], APART[:1])
    network = models(family).model.diffusion_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "_forward", without_options(network._forward))
        with pytest.raises(ConditioningLost, match=r"peers\) passes over [1-9]"):
            sample(family, applied)


# Through the node


CAST = people_made.cast([(32.0, 48.0), (96.0, 48.0)], WIDTH, HEIGHT)
PROMPTS = "1: a red coat\n2: looking away"


def as_read(model, conditioning):
    """A text as the blocks read it: Anima makes one text of that of Qwen3 and of T5's tokens."""
    ((words, options),) = conditioning
    if "t5xxl_ids" not in options:
        return words
    comfy.model_management.load_models_gpu([model])
    both = words, options["t5xxl_ids"][None], options["t5xxl_weights"][None, :, None]
    return model.model.diffusion_model.preprocess_text_embeds(*[tensor.to(devices.DEVICE) for tensor in both]).cpu()


def applied_by_node(family, model=None, clip=None, **changed):
    record = RECORDS[family]
    clip = clip or record.clip()
    sides = {"positive": encoded(clip, "two people in a park"), "negative": encoded(clip, "blurred")}
    inputs = {"model": model or record.model(), "clip": clip, "cast": CAST, **sides}
    return apply("LikenessPromptPerPerson", **{**inputs, "prompts": PROMPTS, "mask": APART, **changed})


@pytest.mark.parametrize("family", EVERY)
def test_the_node_gives_everybody_the_words_of_their_line(family):
    """In the family's own template, each in their own mask, at the strength; and nothing to the negative."""
    clip, model = RECORDS[family].clip(), RECORDS[family].model()
    model_out, positive, negative = applied_by_node(family, model, clip, strength=0.5)
    texts = [as_read(model, encoded(clip, words)) for words in ("a red coat", "looking away")]
    texts_of_people = carried_words(texts, 0.5 * APART, ["Anna", "Ben"])
    common = encoded(clip, "two people in a park")
    blurred = encoded(clip, "blurred")
    expected_positive = carry(common, texts_of_people)
    expected_negative = carry(blurred, texts_of_people.without_people())
    patched = on_model.with_kinds(model, TRANSFORMER_WORDS)
    picture = sample(family, (model_out, positive, negative), cfg=3.0)
    assert torch.equal(picture, sample(family, (patched, expected_positive, expected_negative), cfg=3.0))
    assert relative(picture, sample(family, (model, common, blurred), cfg=3.0)) > 100 * TOLERANCE


def groups_by_weight(weight):
    """Of an attention over a text of 3 tokens, words of 2, and a picture of 4 that reads them by this weight."""
    spans = [Span(TokenKind.TEXT, 3), Span(TokenKind.WORDS, 2, "Anna"), Span(TokenKind.PICTURE, 4)]
    return groups_of(spans, spans, WordsRule(torch.full((1, 4), weight)))


def shares_by_keys(groups):
    """The shares of the picture's tokens, by how many keys they read."""
    shares = {}
    for group in groups:
        of_picture = group.share_of_each[group.queries >= 5]
        if len(of_picture):
            shares[int(group.times(9).sum())] = of_picture.tolist()
    return shares


def test_a_strength_below_1_is_so_much_of_the_words():
    """In one attention of weight w: w times the answer with the words, and the rest of the one without."""
    assert shares_by_keys(groups_by_weight(0.25)) == {7: [0.75] * 4, 9: [0.25] * 4}


def test_a_strength_above_1_is_so_much_of_the_words_twice():
    """1.25 is a quarter of the answer with the words twice, and the rest of the one with them once."""
    assert shares_by_keys(groups_by_weight(1.25)) == {9: [0.75] * 4, 11: [0.25] * 4}


class Twice:
    """A dense mask on which everybody reads a person's words twice: twice their part of the softmax."""

    def __init__(self, dense):
        self.dense = dense

    def override(self, kernel, q, k, v, heads, mask=None, **more):
        def doubled(q, k, v, heads, mask=None, **rest):
            if mask is not None and mask.shape[-1] >= self.dense.total:
                added = torch.zeros_like(mask)
                words_of_the_person = slice(self.dense.lengths[0], self.dense.total)
                readers = slice(-PICTURE, None)
                added[..., readers, words_of_the_person] = torch.log(torch.tensor(2.0))
                mask = mask + added
            return kernel(q, k, v, heads, mask=mask, **rest)

        return Dense.override(self.dense, doubled, q, k, v, heads, mask=mask, **more)


@pytest.mark.parametrize("family", EACH)
def test_a_strength_of_2_is_the_words_twice(models, family):
    """As on SDXL: each token of theirs has twice its part."""
    model = models(family)
    dense = Dense(family, model, APART)
    by_mask = dense.patched(model)
    options = by_mask.model_options["transformer_options"]
    by_mask.model_options["transformer_options"] = {**options, OVERRIDE: Twice(dense).override}
    ((_, options),) = text("common")
    with pytest.MonkeyPatch.context() as patch:
        dense.stand_in(patch)
        expected = sample(family, (by_mask, [[joined(family), options]], text("common")))
    picture = sample(family, with_texts_of(model, ["anna", "ben"], 2 * APART))
    assert relative(picture, expected) <= TOLERANCE
    assert relative(sample(family, with_texts_of(model, ["anna", "ben"], APART)), expected) > 100 * TOLERANCE


def test_the_text_encoder_of_another_family_is_refused_by_name():
    with pytest.raises(WrongBaseModel, match=r"The clip input|given to Prompt per Person"):
        applied_by_node(QWEN, clip=RECORDS[FLUX_2].clip())


def test_a_family_whose_code_has_changed_is_refused_by_name(monkeypatch):
    changed = replace(families.krea_2.TRANSFORMER, code=("not in this ComfyUI",))
    other_families = [family for family in families.DESCRIBED if family is not families.krea_2.TRANSFORMER]
    monkeypatch.setattr(model_family, "DESCRIBED", (*other_families, changed))
    with pytest.raises(BadSetup, match=r"Prompt per Person knows Krea 2 as ComfyUI 0\.33 has it"):
        applied_by_node(KREA_2)


def test_a_mask_of_text_and_picture_together_is_refused_by_name(models):
    """As Apply Style Model (Redux) puts it in."""
    model, positive, negative = with_texts_of(models(FLUX), ["anna"], APART[:1])
    mask = {"attention_mask": torch.zeros(1, 55, 55), "attention_mask_img_shape": (6, 8)}
    positive = [[words, {**options, **mask}] for words, options in positive]
    with pytest.raises(BadSetup, match="has put an attention mask into the conditioning"):
        sample(FLUX, (model, positive, negative))


@pytest.mark.parametrize(("read", "hidden"), [(1, 0), (0.0, -torch.inf)], ids=["whole numbers", "added to logits"])
def test_a_mask_of_the_text_of_qwen_goes_on_hiding_its_tokens(models, read, hidden):
    """The common text's last two tokens are hidden: the same picture as of a text without them."""
    model = models(QWEN)
    ((words, options),) = text("common")
    mask = torch.tensor([[read] * 5 + [hidden] * 2])
    masked = [[words, {**options, "attention_mask": mask}]]
    shortened = [[words[:, :5], options]]
    texts_of_people = carried_words([text("anna")[0][0]], APART[:1], ["anna"])
    other_side = carry(text("common"), texts_of_people.without_people())
    patched = on_model.with_kinds(model, TRANSFORMER_WORDS)
    picture = sample(QWEN, (patched, carry(masked, texts_of_people), other_side))
    expected = sample(QWEN, (patched, carry(shortened, texts_of_people), other_side))
    assert relative(picture, expected) <= TOLERANCE
