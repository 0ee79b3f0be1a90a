"""Diffusion transformers in the real host: their families, who else stands in their slots, and hosts without."""

from __future__ import annotations

import inspect
from contextlib import nullcontext

import pytest
import tiny_dits
import torch
from pack.bridge import dit
from pack.nodes.infinite_you import nodes as infinite_you
from pack.nodes.references import nodes as references
from pack.nodes.with_anyone import nodes as with_anyone


@pytest.mark.both_hosts
def test_old_hosts_are_told_by_what_they_lack():
    import comfyui_version

    major, minor, *_ = comfyui_version.__version__.split(".")
    told = nullcontext() if (int(major), int(minor)) >= (0, 33) else pytest.raises(dit.HostTooOld)
    with told as error:
        dit.require_dits("This")
    assert error is None or str(error.value).startswith("This needs ComfyUI 0.33 or newer, and this one is older.")


@pytest.mark.both_hosts
@pytest.mark.skipif(tiny_dits.KNOWN, reason="this ComfyUI is new enough")
@pytest.mark.parametrize("node", [node for module in (infinite_you, references, with_anyone) for node in module.NODES])
def test_old_hosts_are_told_before_anything_else(node):
    run = inspect.unwrap(node.execute.__func__)  # without what looks at its inputs
    with pytest.raises(dit.HostTooOld, match=rf"^{node.GET_SCHEMA().display_name} needs ComfyUI 0\.33"):
        run(node, **dict.fromkeys([*inspect.signature(run).parameters][1:]))


@tiny_dits.needed
@pytest.mark.parametrize("family", dit.FAMILIES)
def test_functions_go_around_blocks_and_attention_and_around_those_of_others(family):
    model = tiny_dits.model(family)
    start, reference = tiny_dits.latent(family, 144, 80), tiny_dits.latent(family, 64, 96, 8)
    sides = tiny_dits.conditioning(1, [reference]), tiny_dits.conditioning(2)
    plain = tiny_dits.sample(model, *sides, start)
    assert dit.family(model) == family and plain.isfinite().all()
    assert not torch.equal(plain, tiny_dits.sample(model, *(tiny_dits.conditioning(n) for n in (1, 2)), start))
    seen: list[object] = []

    def foreign(kernel, *args, **kwargs):
        seen.append("their attention")
        return kernel(*args, **kwargs)

    def attention(attend, q, *args, **kwargs):
        seen.append(q.shape[2] - sum(kwargs["transformer_options"].get(dit.COUNTS, ())))
        return attend(q, *args, **kwargs)

    clone = model.clone()
    first, *_, last = blocks = dit.blocks_of(model)
    clone.set_model_patch_replace(lambda args, extra: (seen.append("theirs"), extra["original_block"](args))[1],
                                  "dit", *first)  # fmt: skip
    options = clone.model_options["transformer_options"]
    options[dit.OVERRIDE] = foreign
    options = dit.around_attention(options, attention)
    ours = {at: lambda args, block, at=at: (seen.append(at), block(args))[1] for at in (first, last)}
    clone.model_options["transformer_options"] = dit.around_blocks(options, ours)
    assert torch.equal(tiny_dits.sample(clone, *sides, start), plain)
    tokens = {dit.FLUX: 7, dit.FLUX_2: 512, dit.QWEN: 7}[family]
    height, width = dit.grid_of(model.model, start)
    attended = [tokens + height * width, "their attention"]
    one = [first, "theirs", *attended, *attended * (len(blocks) - 2), last, *attended]
    assert seen == one * (len(seen) // len(one)) and len(seen) == 4 * len(one)
