"""Share Parts Attention: the model as its own reference, on tiny SD1.5- and SDXL-shaped networks."""

from __future__ import annotations

import comfy.ldm.modules.attention as host_attention
import comfy.patcher_extension
import comfy.samplers
import pytest
import tiny_sd15
import tiny_sdxl
import torch
import torch.nn.functional as functional
from pack.bridge.runs import patched
from pack.bridge.self_attention import layer, run, scored
from pack.bridge.self_attention.run import SharingRun
from pack.bridge.self_attention.shared_parts import SharedParts, share_with
from pack.bridge.share_parts import LAYERS, SelfReference
from pack.bridge.unet import transformers
from pack.core.parts.bank import PartWeights, token_mask

WIDTH, HEIGHT = 88, 120  # odd multiples of 8


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def model(request):
    if request.param == "sd15":
        return tiny_sd15.host_model(tiny_sd15.diffusers_unet(111))
    return tiny_sdxl.host_model(tiny_sdxl.diffusers_unet())


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def width_of(model):
    return transformers(model.model.diffusion_model)[0][-1].attn2.to_k.in_features


def text(model, seed):
    options = {"pooled_output": normal(seed + 50, 1, 1280)} if width_of(model) == 2048 else {}
    return [[normal(seed, 1, 77, width_of(model)), options]]


def masks(count, cover=0.5):
    made = torch.zeros(count, HEIGHT, WIDTH)
    for n in range(count):
        made[n, n * 20 : n * 20 + int(HEIGHT * cover)] = 1
    return list(made)


def reference(model, count=2, layers="all", cover=0.5, every_step=True):
    adm = None if width_of(model) != 2048 else normal(9, count, 2816)
    return SelfReference(
        model_sampling=model.get_model_object("model_sampling"),
        latents=normal(3, count, 4, HEIGHT // 8, WIDTH // 8),
        extra=torch.zeros(count, 0, HEIGHT // 8, WIDTH // 8),
        contexts=normal(4, count, 77, width_of(model)),
        adm=adm,
        masks=masks(count, cover),
        noise=normal(5, count, 4, HEIGHT // 8, WIDTH // 8),
        layers=layers,
        every_step=every_step,
    )


def sides(model, live=None, bank=None, weights=(1.0, 1.0), targets=None, sigmas=(1e9, 0.0)):
    common = {"source": object(), "weights": PartWeights(list(weights), targets), "pose": None, "sigmas": sigmas}
    return (
        share_with(text(model, 1), SharedParts(bank=bank, live=live, **common)),
        share_with(text(model, 2), SharedParts(bank=None, **common)),
    )


def sample(model, positive, negative, steps=3, cfg=4.0, batch=1):
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
    start = normal(7, batch, 4, HEIGHT // 8, WIDTH // 8) * 14
    return tiny_sdxl.host_sample(model, start, sigmas, positive, negative, cfg)


def oracle(model, ours):
    """The same written plainly: before every forward the parts' own forward, all tokens kept, masked ones as zeros."""
    state = {}

    def forward(executor, *args, **kwargs):
        kwargs.pop(SharedParts.key, None)
        timesteps, options = args[1], args[-1]
        sigma = options["sigmas"].max()
        noisy = (ours.latents + sigma * ours.noise) / (sigma**2 + 1).sqrt()
        seen = {}

        def record(n, k, v, extra):
            seen[(*extra["block"], extra["block_index"])] = n
            return n, k, v

        count = len(noisy)
        executor.class_obj._forward(
            noisy, timesteps[:1].expand(count), ours.contexts, ours.adm, None, {"patches": {"attn1_patch": [record]}}
        )
        state["seen"] = seen
        return executor(*args, **kwargs)

    def append(n, k, v, extra):
        seen = state["seen"][(*extra["block"], extra["block_index"])]
        dense = torch.cat([s * token_mask(m, len(s))[:, None] for s, m in zip(seen, ours.masks, strict=True)])
        both = torch.cat([n, dense.expand(len(n), -1, -1)], dim=1)
        return n, both, both

    def attend(q, k, v, extra):
        heads, tokens, out = extra["n_heads"], q.shape[1], []
        for row, side in enumerate(extra["cond_or_uncond"]):
            used = k.shape[1] if side == 0 else tokens
            split = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (q[row], k[row, :used], v[row, :used]))
            out.append(functional.scaled_dot_product_attention(*split).transpose(0, 1).flatten(1))
        return torch.stack(out)

    clone = model.clone()
    clone.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "oracle", forward)
    clone.set_model_attn1_patch(append)
    for name, number, _, _ in transformers(model.model.diffusion_model):
        clone.set_model_attn1_replace(attend, name, number)
    return clone


def test_every_step_equals_the_idea_written_plainly(model):
    ours = reference(model)
    result = sample(patched(model, SharingRun), *sides(model, live=ours))
    expected = sample(oracle(model, ours), text(model, 1), text(model, 2))
    assert (result - expected).abs().max() / expected.abs().max() <= 1e-5


def bank_at_zero(model, ours):
    return ours(model.model.diffusion_model, torch.zeros(1), torch.zeros(1))


def test_recorded_once_differs_and_is_stable(model):
    once = sides(model, reference(model, every_step=False))
    results = [sample(patched(model, SharingRun), *once) for _ in range(2)]
    assert torch.equal(*results)
    assert not torch.allclose(results[0], sample(patched(model, SharingRun), *sides(model, reference(model))))


def test_once_means_once_per_run_each_part_alone(model):
    rows = []
    hook = model.model.diffusion_model.time_embed.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    live = sides(model, reference(model, every_step=False))
    for _ in range(2):
        sample(patched(model, SharingRun), *live, steps=3)
    hook.remove()
    assert rows == [1, 1, 2, 2, 2] * 2
    bank = bank_at_zero(model, reference(model, every_step=False))
    assert torch.equal(
        sample(patched(model, SharingRun), *sides(model, bank=bank)), sample(patched(model, SharingRun), *live)
    )


def test_a_patched_model_without_parts_is_the_unpatched_picture(model):
    plain = sample(model, text(model, 1), text(model, 2))
    assert torch.equal(sample(patched(model, SharingRun), text(model, 1), text(model, 2)), plain)
    off = sides(model, live=reference(model), sigmas=(-1.0, -2.0))
    assert torch.equal(sample(patched(model, SharingRun), *off), plain)


@pytest.mark.parametrize("layers", LAYERS)
def test_layers_are_chosen(model, layers):
    ours = reference(model, layers=layers, every_step=False)
    bank = bank_at_zero(model, ours)
    blocks = {block for block, *_ in bank}
    everything = len(transformers(model.model.diffusion_model))
    if layers == "all":
        assert len(bank) == everything
    elif layers == "up blocks":
        assert blocks == {"output"}
    else:
        assert 0 < len(bank) < everything
    assert sample(patched(model, SharingRun), *sides(model, ours), steps=1).isfinite().all()


def test_a_weight_of_almost_nothing_is_almost_unpatched(model):
    plain = sample(model, text(model, 1), text(model, 2))
    faint = sample(patched(model, SharingRun), *sides(model, live=reference(model), weights=(1e-9, 1e-9)))
    assert (faint - plain).abs().max() / plain.abs().max() <= 1e-5


def test_targets_keep_a_part_in_its_region(model):
    """Rows of the first self-attention outside a part's target see the picture alone."""
    ours = reference(model, count=1, cover=1.0)
    target = torch.zeros(1, HEIGHT, WIDTH)
    target[..., : WIDTH // 2] = 1
    everywhere = sample(patched(model, SharingRun), *sides(model, live=ours, weights=[1.0]))
    left = sample(patched(model, SharingRun), *sides(model, live=ours, weights=[1.0], targets=target))
    nowhere = sample(model, text(model, 1), text(model, 2))
    assert not torch.allclose(left, everywhere) and not torch.allclose(left, nowhere)
    ones = sides(model, live=ours, weights=[1.0], targets=torch.ones(1, HEIGHT, WIDTH))
    assert (sample(patched(model, SharingRun), *ones) - everywhere).abs().max() / everywhere.abs().max() <= 1e-5


def test_batches_and_a_b_a(model):
    a, b = sides(model, live=reference(model, 2)), sides(model, live=reference(model, 1), weights=[1.0])
    first = sample(patched(model, SharingRun), *a, batch=2)
    other = sample(patched(model, SharingRun), *b, batch=2)
    again = sample(patched(model, SharingRun), *a, batch=2)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_biases_are_made_once_per_grid_and_run(model, monkeypatch):
    """With targets they are large, and the same for all layers of a grid and at every step."""
    made, plain = [], run.key_bias

    def counted(bank, own, share, grid, dtype):
        made.append(grid)
        return plain(bank, own, share, grid, dtype)

    monkeypatch.setattr(run, "key_bias", counted)
    target = torch.zeros(2, HEIGHT, WIDTH)
    target[0, :, : WIDTH // 2], target[1, :, WIDTH // 2 :] = 1, 1
    sample(patched(model, SharingRun), *sides(model, live=reference(model), targets=target), steps=3)
    assert len(made) == len(set(made)) < len(transformers(model.model.diffusion_model))


# Without a mask, as on CUDA: a CPU has such a kernel, too


@pytest.fixture
def joined(monkeypatch):
    """Switches it on; how often a layer has used it since."""
    made, plain = [], layer.beside_sink

    def switch():
        monkeypatch.setattr(scored, "FASTER", ("cpu",))
        monkeypatch.setattr(layer, "beside_sink", lambda *given: made.append(given) or plain(*given))
        return made

    monkeypatch.setattr(host_attention, "optimized_attention", host_attention.attention_pytorch)
    return switch


def test_the_sink_without_a_mask_is_the_sink(model, joined):
    given = sides(model, live=reference(model))
    masked = sample(patched(model, SharingRun), *given, batch=2)
    made = joined()
    assert (sample(patched(model, SharingRun), *given, batch=2) - masked).abs().max() <= 1e-5 * masked.abs().max()
    assert len(made) >= 3 * 5, "steps and layers; the coarsest drop nothing"


def test_the_sink_needs_its_mask_where_it_is_not_all_and_where_the_user_has_chosen(model, joined, monkeypatch):
    made, ours = joined(), reference(model, every_step=False)
    overridden = patched(model, SharingRun).clone()
    overridden.model_options["transformer_options"]["optimized_attention_override"] = lambda f, *a, **k: f(*a, **k)
    for by, changed in (
        (overridden, {}),
        (patched(model, SharingRun), {"weights": (1.0, 0.5)}),
        (patched(model, SharingRun), {"targets": torch.ones(2, HEIGHT, WIDTH)}),
    ):
        assert sample(by, *sides(model, **{"live": ours, **changed}), steps=1).isfinite().all() and not made
    monkeypatch.setattr(host_attention, "optimized_attention", host_attention.attention_split)
    assert sample(patched(model, SharingRun), *sides(model, ours), steps=1).isfinite().all() and not made


def test_a_kernel_is_asked_whether_it_is_one(monkeypatch):
    here = torch.zeros(1, dtype=torch.bfloat16)
    assert scored.scored(here, 64) and scored.scored(here, 44) is None
    assert scored.without_mask(here, 64) is None, "as fast with a mask"
    monkeypatch.setattr(torch.ops.aten, "of_two", lambda q, *_: (q, torch.full(q.shape[:3], 3.0)), raising=False)
    for name in ("_scaled_dot_product_flash_attention", "of_two", "of_a_newer_torch"):
        monkeypatch.setitem(scored._KERNELS, "cpu", name)
        assert scored.scored(here, 64) is None, "CUDA's alone, to the base 2, or unknown"
    shapes = torch.ops.aten._scaled_dot_product_flash_attention(*torch.empty(3, 2, 5, 7, 40, device="meta").half())
    assert [tuple(x.shape) for x in shapes[:2]] == [(2, 5, 7, 40), (2, 5, 7)]
