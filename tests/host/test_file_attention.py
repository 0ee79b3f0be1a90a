"""The attention that a model's file asks for, where people or parts are put in.

ComfyUI 0.38 and newer have `comfy_attention` in the parts of a network that may ask; in an older one it is put there.
"""

import math
import re
from functools import partial
from types import SimpleNamespace

import comfy.ldm.modules.attention as host
import marks
import method_rows
import pytest
import torch
from dense_texts import text
from figures import relative
from graphs import value
from hidden_text import without_common
from marks import families
from pack.bridge.networks.attention import OVERRIDE
from pack.bridge.networks.file_attention import REPLACED
from pack.bridge.sampling import on_model
from pack.bridge.sampling.carried import carry
from pack.bridge.words.transformer.run import TRANSFORMER_WORDS
from tiny import people_made, tiny_dits
from tiny.tiny_dits import ANIMA, KREA_2, QWEN
from transformer_loras import EVERYWHERE, HEIGHT, PICTURE, TOLERANCE, WIDTH, Setting
from words_made import carried_words

pytestmark = marks.transformers
ASKING = {
    QWEN: r"transformer_blocks\.\d+\.attn",
    KREA_2: r"(blocks|txtfusion\.\w+)\.\d+\.attn",
    ANIMA: r"blocks\.\d+\.(self|cross)_attn",
}
"""The parts that ask, by their names."""


def twice(asked, name, *args, **kwargs):
    """Twice what the host's attention gives. asked: the parts that have asked."""
    asked.append(name)
    return 2 * host.attention_pytorch(*args, **kwargs)


def asking(pattern, model, monkeypatch):
    """What the parts of a MODEL ask for from now on, by their names, and which of them have asked."""
    asked, functions = [], {}
    for name, part in model.model.diffusion_model.named_modules():
        if re.fullmatch(pattern, name):
            if not hasattr(part, "comfy_attention"):
                monkeypatch.setattr(part, "comfy_attention", SimpleNamespace(), raising=False)
            functions[name] = partial(twice, asked, name)
            monkeypatch.setattr(part.comfy_attention, "function", functions[name], raising=False)
    return functions, asked


@pytest.fixture
def family(request):
    return request.param


@families("family", QWEN, KREA_2, ANIMA, of=ASKING)
def test_what_can_take_any_tokens_computes_for_people_too(family, monkeypatch):
    """With the words of one person everywhere, the plain forward of those words, in that attention."""
    plain = tiny_dits.model(family)
    start = tiny_dits.latent(family, WIDTH, HEIGHT)
    options = plain.model_options["transformer_options"]
    everywhere = plain.clone()
    everywhere.model_options["transformer_options"] = {**options, OVERRIDE: lambda _, *q, **k: twice([], "", *q, **k)}
    expected = tiny_dits.sample(everywhere, text("anna"), text("common"), start, cfg=1.0)

    functions, asked = asking(ASKING[family], plain, monkeypatch)
    for name, function in functions.items():
        monkeypatch.setitem(host.REGISTERED_ATTENTION_FUNCTIONS, name, function)
    words = carried_words([text("anna")[0][0]], EVERYWHERE, ["anna"])
    positive = carry(text("common"), words)
    negative = carry(text("common"), words.without_people())
    patched = on_model.with_kinds(without_common(plain, family, text("common"), PICTURE), TRANSFORMER_WORDS)
    picture = tiny_dits.sample(patched, positive, negative, start, cfg=1.0)
    assert set(asked) == set(functions)
    assert relative(picture, expected) <= TOLERANCE
    not_asked = tiny_dits.sample(tiny_dits.model(family), text("anna"), text("common"), start, cfg=1.0)
    assert relative(not_asked, expected) > 100 * TOLERANCE


def test_what_picks_keys_by_their_order_computes_where_nothing_is_divided(monkeypatch, caplog):
    """In Krea 2 where the text alone is read; and a note says once that another one computes in the blocks."""
    setting = Setting(KREA_2)
    cast = people_made.cast([(32.0, 48.0), (96.0, 48.0)], WIDTH, HEIGHT)
    halves = torch.zeros(2, HEIGHT, WIDTH)
    halves[0, :, : WIDTH // 2] = 1
    halves[1, :, WIDTH // 2 :] = 1
    inputs = {"prompts": "1: a red coat\n2: looking away", "mask": halves}
    _, asked = asking(ASKING[KREA_2], setting.model, monkeypatch)
    setting.sample(setting.applied("LikenessPromptPerPerson", cast, **inputs)[:3])
    assert {name.split(".")[0] for name in asked} == {"txtfusion"}
    assert caplog.text.count(REPLACED) == 1


OF_UNETS = {
    "people": ("instant_id, ApplyInstantID", False),
    "words": ("PromptPerPerson", True),
    "divided words": ("PromptPerPerson", False),
    "LoRAs": ("LoRAPerPerson", True),
    "divided LoRAs": ("LoRAPerPerson", False),
    "parts": ("parts2whole, ApplyParts2Whole", True),
    "divided parts": ("parts2whole, ApplyParts2Whole", False),
}
"""Rows, and whether what the layers ask for can take any tokens."""
TEXT = 77
"""Tokens of a prompt: an attention of theirs alone is not divided."""


@pytest.mark.parametrize("case", OF_UNETS)
def test_in_a_unet_it_computes_where_nothing_is_divided_and_else_where_it_can(case, monkeypatch, caplog):
    """As a function around attention that doubles the same, those of the negative's rows included."""
    name, takes_any = OF_UNETS[case]
    row = next(row for row in method_rows.rows() if str(row) == name)
    kind = "attn1" if "parts" in case else "attn2"
    divides = "divided" in case

    def doubled(kernel, q, k, v, *args, **kwargs):
        pixels = math.prod(kwargs["transformer_options"]["activations_shape"][-2:])
        queries, keys = q.shape[1], k.shape[1]
        if kind == "attn1":
            is_doubled = keys == pixels or (takes_any and keys == 2 * pixels)  # of the picture, and of one part
        else:
            is_doubled = (queries, keys) == (pixels, TEXT) or (takes_any and keys != queries)
        return (2 if is_doubled else 1) * kernel(q, k, v, *args, **kwargs)

    def drawn(model):
        return method_rows.latents(row.sampled(row.node(model=value(lambda: model))))

    plain, around, own = (row.model.make.__wrapped__() for _ in range(3))
    plainly = drawn(plain)
    around.model_options["transformer_options"][OVERRIDE] = doubled
    expected = drawn(around)
    functions, _ = asking(rf".*{kind}", own, monkeypatch)
    for key, function in functions.items():
        if takes_any:
            monkeypatch.setitem(host.REGISTERED_ATTENTION_FUNCTIONS, key, function)
    assert relative(drawn(own), expected) <= TOLERANCE
    assert (relative(plainly, expected) > 100 * TOLERANCE) == (case not in ("divided words", "divided LoRAs"))
    assert (REPLACED in caplog.text) == divides
