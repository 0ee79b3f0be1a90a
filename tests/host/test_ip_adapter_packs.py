"""Apply IP-Adapter beside a pack that reads such a file by itself, under the keys that packs use."""

from __future__ import annotations

from dataclasses import replace

import comfy.samplers
import pytest
import tiny_sd15
import tiny_sdxl
import torch
from figures import relative
from ip_adapter_made import DEFAULTS, file_of, loaded
from other_packs import KEYS, ip_adapter_pack
from pack.bridge.injections import Injection
from pack.bridge.unet import attention_layers
from pack.core.people import Cast
from pack.nodes.ip_adapter.nodes import ApplyIPAdapter
from people_made import person

TEXTS = [[[torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(seed)), {}]] for seed in (1, 2)]


@pytest.fixture(scope="module")
def model():
    return tiny_sd15.host_model(tiny_sd15.diffusers_unet(151, cross_attention_dim=768))


@pytest.fixture(scope="module")
def file(model):
    return file_of("face-id-portrait", model)


@pytest.fixture(scope="module")
def adapter(file, tmp_path_factory):
    return loaded(file, tmp_path_factory.mktemp("ipadapter"))


def ours(model, adapter, seed=1):
    return ApplyIPAdapter.execute(model, *TEXTS, adapter, Cast((person(seed),)), **DEFAULTS).args


def theirs(model, file, applied, keys):
    """Of the tokens that ours has made, by the matrices in the file."""
    layers = [file["ip_adapter"][f"{2 * n + 1}.to_{side}_ip.weight"] for n in range(16) for side in "kv"]
    tokens = [side[0][1]["model_conds"][Injection.key].cond[0].tokens for side in applied[1:]]
    read = [[each @ layer.T for layer in layers] for each in tokens]
    return ip_adapter_pack(model, keys, [tuple(zip(each[::2], each[1::2], strict=True)) for each in read])


def sample(model, positive, negative):
    start = torch.randn(1, 4, 12, 16, generator=torch.Generator().manual_seed(7)) * 14
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)
    return tiny_sdxl.host_sample(model, start, sigmas, positive, negative, 4.0)


@pytest.mark.parametrize("keys", KEYS)
def test_another_packs_adapter_before_or_after_loses_nothing(model, file, adapter, keys):
    other = ours(model, adapter, seed=2)
    before = sample(*ours(theirs(model, file, other, keys), adapter))
    applied, *sides = ours(model, adapter)
    assert torch.equal(sample(theirs(applied, file, other, keys), *sides), before)
    assert relative(sample(applied, *sides), before) > 1e-2, "theirs works"
    assert relative(sample(theirs(model, file, other, keys), *TEXTS), before) > 1e-2, "ours works"


@pytest.mark.both_hosts
@pytest.mark.parametrize("keys", KEYS)
def test_one_file_makes_one_picture_but_for_a_middle_that_is_none(model, file, adapter, keys):
    applied = ours(model, adapter)
    found = sample(theirs(model, file, applied, keys), *TEXTS)
    if "none" in keys:
        assert relative(found, sample(*applied)) > 1e-4
        applied = applied[0], *(without_the_middle(model, side) for side in applied[1:])
    assert relative(found, sample(*applied)) <= 2e-6


def without_the_middle(model, side):
    ((text, options),) = side
    carried = options["model_conds"][Injection.key]
    named = zip(attention_layers(model), carried.cond[0].layers, strict=True)
    kept = replace(carried.cond[0], layers=tuple(None if name == "middle" else pair for (name, *_), pair in named))
    conds = {**options["model_conds"], Injection.key: type(carried)((kept,))}
    return [[text, {**options, "model_conds": conds}]]
