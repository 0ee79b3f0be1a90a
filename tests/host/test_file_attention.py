"""The attention that a model's file asks for, where people have words of their own.

ComfyUI 0.38 and newer have `comfy_attention` in the parts of a network that may ask; in an older one it is put there.
"""

import re
from functools import partial
from types import SimpleNamespace

import comfy.ldm.modules.attention as host
import marks
import pytest
import torch
from dense_texts import text
from figures import relative
from hidden_text import without_common
from marks import families
from pack.bridge.networks.attention import OVERRIDE
from pack.bridge.networks.file_attention import REPLACED
from pack.bridge.sampling import model_conds, runs
from pack.bridge.words import person_texts
from pack.bridge.words.transformer_words import PersonTextsRun
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


def asking(family, model):
    """What the parts of a MODEL ask for from now on, by their names, and which of them have asked."""
    asked, functions = [], {}
    for name, part in model.model.diffusion_model.named_modules():
        if re.fullmatch(ASKING[family], name):
            if not hasattr(part, "comfy_attention"):
                part.comfy_attention = SimpleNamespace()
            functions[name] = part.comfy_attention.function = partial(twice, asked, name)
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

    functions, asked = asking(family, plain)
    for name, function in functions.items():
        monkeypatch.setitem(host.REGISTERED_ATTENTION_FUNCTIONS, name, function)
    words = carried_words([text("anna")[0][0]], EVERYWHERE, ["anna"])
    positive = model_conds.carry(text("common"), words)
    negative = model_conds.carry(text("common"), person_texts.without_people(words))
    patched = runs.patched(without_common(plain, family, text("common"), PICTURE), PersonTextsRun)
    picture = tiny_dits.sample(patched, positive, negative, start, cfg=1.0)
    assert set(asked) == set(functions)
    assert relative(picture, expected) <= TOLERANCE
    not_asked = tiny_dits.sample(tiny_dits.model(family), text("anna"), text("common"), start, cfg=1.0)
    assert relative(not_asked, expected) > 100 * TOLERANCE


def test_what_picks_keys_by_their_order_computes_where_nothing_is_divided(caplog):
    """In Krea 2 where the text alone is read; and a note says once that another one computes in the blocks."""
    setting = Setting(KREA_2)
    cast = people_made.cast([(32.0, 48.0), (96.0, 48.0)], WIDTH, HEIGHT)
    halves = torch.zeros(2, HEIGHT, WIDTH)
    halves[0, :, : WIDTH // 2] = 1
    halves[1, :, WIDTH // 2 :] = 1
    inputs = {"prompts": "1: a red coat\n2: looking away", "mask": halves}
    _, asked = asking(KREA_2, setting.model)
    setting.sample(setting.applied("LikenessPromptPerPerson", cast, **inputs)[:3])
    assert {name.split(".")[0] for name in asked} == {"txtfusion"}
    assert caplog.text.count(REPLACED) == 1
