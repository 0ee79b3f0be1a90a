"""Apply IP-Adapter in the real host, on SD1.5: off, order, batches, rows, its LoRA beside others; what it refuses."""

from __future__ import annotations

from dataclasses import replace

import comfy.lora
import comfy.samplers
import parts_made
import pytest
import tiny_sd15
import tiny_sdxl
import torch
from attack_graphs import Node, node, ours, sampler, value
from figures import relative
from graph_run import run
from ip_adapter_made import DEFAULTS, file_of, loaded
from pack.bridge import lora
from pack.bridge.encode import EncoderMissing, WrongEncoder
from pack.bridge.scopes import AdapterMismatch
from pack.bridge.unet import attention_layers
from pack.core.errors import UnsupportedCheckpoint, WrongBaseModel
from pack.core.identities import PortraitsMissing, RecogniserMissing
from pack.core.people import Cast, NotPlaced, PlacedCast, Slot
from pack.nodes.ip_adapter import file as ip_adapter
from pack.nodes.ip_adapter import net
from pack.nodes.ip_adapter.nodes import ApplyIPAdapter
from people_made import person
from seeded import ip_adapter_file, seeded

WIDTH, HEIGHT = 136, 104  # odd multiples of 8
ALMOST = 1e-5  # of the largest value: what float32 makes of another order


def words(seed, width=768):
    return [[torch.randn(1, 77, width, generator=torch.Generator().manual_seed(seed)), {}]]


TEXTS = words(1), words(2)


@pytest.fixture(scope="module")
def model():
    return tiny_sd15.host_model(tiny_sd15.diffusers_unet(151, cross_attention_dim=768))


@pytest.fixture(scope="module")
def kinds(model, tmp_path_factory):
    """FaceID, FaceID Plus and its portrait kind, for this model."""
    names = ("face-id", "face-id-plus", "face-id-portrait")
    return {kind: loaded(file_of(kind, model), tmp_path_factory.mktemp(kind)) for kind in names}


@pytest.fixture
def applied(model, kinds):
    """applied(cast, file, before=(model, positive, negative), ...) -> (model, positive, negative)."""

    def apply(cast, kind="face-id", before=None, clip=None, **changed):
        settings = {**DEFAULTS, **changed}
        adapter = kinds[kind] if isinstance(kind, str) else kind
        return ApplyIPAdapter.execute(*(before or (model, *TEXTS)), adapter, cast, clip, **settings).args

    return apply


def sample(model, positive, negative, batch=1, cfg=4.0, rows=None):
    start = torch.randn(batch, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(7)) * 14
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 3)
    return tiny_sdxl.host_sample(model, start if rows is None else start[rows], sigmas, positive, negative, cfg)


def one(seed=1, weight=1.0):
    return Cast((person(seed, weight=weight),))


def two(first=1):
    slots = [Slot((x, 40.0), (x - 16, 24.0, x + 16, 56.0)) for x in (36.0, 100.0)]
    return PlacedCast(tuple(person(first + n, slot=slot) for n, slot in enumerate(slots)), WIDTH, HEIGHT)


def by_hand(model, file, strength=1.0, n=0):
    """Load LoRA with a LoRA of one attention, under names of the host's own."""
    (name,) = {key.split("_lora.")[0] for key in file if key.startswith(f"{n}.to_q_lora.")}
    block, number, index, _ = attention_layers(model)[n // 2]
    weight = f"diffusion_model.{block}_blocks.{number}.1.transformer_blocks.{index}.attn{n % 2 + 1}.to_q.weight"
    state = {key.replace(name, "mine"): tensor.clone() for key, tensor in file.items() if key.startswith(name)}
    clone = model.clone()
    clone.add_patches(comfy.lora.load_lora(state, {"mine": weight}), strength)
    return clone


@pytest.mark.both_hosts
def test_off_and_nobody_are_the_unpatched_picture_without_the_lora(applied, model):
    plain = sample(model, *TEXTS)
    for cast, changed in ((one(), {"weight": 0.0}), (one(weight=0.0), {})):
        found, *sides = applied(cast, **changed)
        assert found is model and torch.equal(sample(found, *sides), plain)
    lora_alone = applied(one(), end_percent=0.0)
    assert not torch.equal(sample(*lora_alone), plain), "the LoRA has no range"
    assert torch.equal(sample(*applied(one(), end_percent=0.0, lora_weight=0.0)), plain)


def test_numbers_of_photos_need_not_be_equal(applied, monkeypatch):
    """Each of several, with the other's photos repeated, as of runs with one number each; else it is said."""
    few, many = person(1, photos=2), person(2, photos=3)
    left, right = torch.zeros(2, HEIGHT, WIDTH)
    left[:, : WIDTH // 2], right[:, WIDTH // 2 :] = 1, 1
    together = applied(Cast((few, many)), "face-id-portrait", mask=torch.stack([left, right]))
    apart = applied(Cast((few,)), "face-id-portrait", mask=left[None])
    apart = applied(Cast((many,)), "face-id-portrait", before=apart, mask=right[None])
    assert relative(sample(*together), sample(*apart)) <= ALMOST
    monkeypatch.setattr(net, "_MOST", 64)
    with pytest.raises(net.UnevenPhotos, match="32, 48 tokens need 96 each"):
        applied(Cast((few, many)), "face-id-portrait", mask=torch.stack([left, right]))


def test_every_photo_of_plus_counts_and_the_cut_is_chosen(applied):
    clip, cast = parts_made.vit_h(), Cast((person(1, photos=2),))
    found = [
        sample(*applied(cast, "face-id-plus", clip=clip, **changed))
        for changed in ({}, {"photos": "sequence"}, {"portrait": "head and shoulders"}, {"shortcut": 0.0})
    ]
    pairs = [(a, b) for n, a in enumerate(found) for b in found[n + 1 :]]
    assert all(relative(a, b) > 1e-4 for a, b in pairs)
    assert torch.equal(found[0], sample(*applied(cast, "face-id-plus", clip=clip, portrait="face", photos="mean")))


def test_the_lora_of_somebody_else_stays_in_either_order(applied, model):
    own = seeded({"0.to_q_lora.down.weight": (4, 32), "0.to_q_lora.up.weight": (32, 4)}, 5)
    before = applied(one(), before=(by_hand(model, own), *TEXTS))
    after, *sides = applied(one())
    first, second = sample(*before), sample(by_hand(after, own), *sides)
    assert relative(first, second) <= ALMOST and relative(first, sample(after, *sides)) > 1e-3


def test_the_same_lora_is_used_once(applied, model, kinds, caplog):
    """Loaded by hand, saved in other bits, or by a node of the same kind before."""
    file = kinds["face-id"].lora
    by_node = applied(one())
    again = applied(Cast((person(2),)), before=by_node)
    assert "has the LoRA of this file already, at 1: not added" in caplog.text
    assert again[0].patches == by_node[0].patches
    halved = by_hand(model, {key: tensor.half() for key, tensor in file.items()}, 0.6)
    found, *_ = applied(one(), before=(halved, *TEXTS))
    assert found.patches == halved.patches and "already, at 0.6" in caplog.text


def test_the_whole_lora_is_where_it_belongs(model, kinds):
    """Added, then taken away again, nothing is left: one weight for each pair of matrices, of its own shape."""
    there = lora.with_lora(model, kinds["face-id"].lora, 0.7)
    layers = attention_layers(model)
    assert len(there.patches) == 8 * len(layers) and len(kinds["face-id"].lora) == 2 * len(there.patches)
    shapes = {key: model.model.state_dict()[key].shape for key in there.patches}
    for key, ((strength, patch, *_),) in there.patches.items():
        up, down = patch.weights[:2]
        assert strength == 0.7 and (up @ down).shape == shapes[key]


def test_a_lora_that_fits_nowhere_and_a_compiled_model(model, kinds):
    """The host says nothing of layers that it leaves out, and torch.compile gives them other names."""
    wide = {**kinds["face-id"].lora, "0.to_k_lora.down.weight": torch.ones(4, 7)}
    elsewhere = {f"900.to_q_lora.{side}.weight": torch.ones(4, 4) for side in ("up", "down")}
    for file, fit in (wide, 127), (elsewhere, 0):
        with pytest.raises(WrongBaseModel, match=f"layers, of which {fit} fit"):
            lora.with_lora(model, file, 1.0)
    compiled = model.clone()
    compiled.add_object_patch("diffusion_model", torch.compile(model.get_model_object("diffusion_model")))
    there = [lora.with_lora(one, kinds["face-id"].lora, 1.0).patches for one in (model, compiled)]
    assert there[0].keys() == there[1].keys()


def chained(*applied: Node) -> Node:
    """What the sampler makes of nodes that stand one behind the other."""
    last = applied[0]
    for each in applied[1:]:
        each.inputs.update(model=last, positive=last[1], negative=last[2])
        last = each
    return sampler(last, last[1], last[2])


@pytest.mark.both_hosts
def test_with_instant_id_id_patch_and_shared_parts_in_one_graph():
    """Whoever stands first, and with a part in it."""
    cast, clip = value("cast()"), value("sdxl_clip()")

    def graph(*order):
        made = {
            "share": ours("LikenessSharePartsAttention", model=value("sdxl()"), clip=clip),
            "instant": ours("LikenessApplyInstantID", cast=cast, image=node("LikenessFaceKeypointsImage", cast=cast)),
            "ip": ours("LikenessApplyIPAdapter", cast=cast, lora_weight=0.0),
        }
        applied = [made[name] for name in order]
        positive, negative = value("text(1, 2048)"), value("text(2, 2048)")
        patched = ours("LikenessApplyIDPatch", cast=cast, positive=positive, negative=negative)
        applied[0].inputs.update(model=value("sdxl()"), positive=patched, negative=patched[1])
        return run(chained(*applied), {})[0]["samples"]

    whole = graph("share", "instant", "ip")
    assert whole.isfinite().all()
    assert relative(graph("ip", "instant", "share"), whole) <= 1e-4
    assert relative(graph("share", "instant"), whole) > 1e-3


def test_what_does_not_fit_is_named(applied, model, kinds, tmp_path):
    unknown = replace(person(1).identity, embeddings={"antelopev2": torch.randn(1, 512)})
    old = replace(person(1).identity, portraits=None)
    bare = PlacedCast(tuple(replace(p, slot=None) for p in two().people), WIDTH, HEIGHT)
    sdxl = loaded(ip_adapter_file("face-id", [128] * 16, 2048), tmp_path)
    small = loaded(ip_adapter_file("face-id", [32] * 15, 768), tmp_path)
    refused = [
        (RecogniserMissing, "FaceID needs w600k_r50, .* has antelopev2", unknown, "face-id", {}),
        (PortraitsMissing, "FaceID Plus v2 looks at", old, "face-id-plus", {"clip": parts_made.vit_h()}),
        (EncoderMissing, "FaceID Plus v2 .*nothing is connected to clip_vision.*ViT-H", one(), "face-id-plus", {}),
        (WrongEncoder, "ViT-H", one(), "face-id-plus", {"clip": parts_made.clip_vision()}),
        (WrongBaseModel, "SD1.5.*SDXL", one(), sdxl, {}),
        (AdapterMismatch, "15 cross-attention layers .*SD15, 16 layers", one(), small, {}),
        (NotPlaced, "a position for each person", bare, "face-id", {}),
    ]
    for kind, said, cast, file, more in refused:
        with pytest.raises(kind, match=said):
            applied(cast, file, **more)


@pytest.mark.parametrize(
    "changed",
    [
        {"image_proj.norm.weight": None},
        {"image_proj.norm.weight": torch.tensor(1.0)},
        {"image_proj.perceiver_resampler.layers.10000000.0.norm1.weight": torch.ones(1)},
        {f"ip_adapter.1.to_{side}_ip.weight": torch.ones(32, 700) for side in "kv"},
        {"ip_adapter.0.to_q_lora.up.weight": torch.ones(32, 5)},
        {"image_proj.perceiver_resampler.layers.0.0.to_q.weight": torch.ones(96, 768)},
    ],
    ids=["no norm", "a number", "layers without end", "another width", "LoRA", "heads"],
)
def test_a_damaged_file_is_named(model, tmp_path, changed):
    file = {f"{part}.{key}": x for part, half in file_of("face-id-plus", model).items() for key, x in half.items()}
    torch.save({key: x for key, x in {**file, **changed}.items() if x is not None}, tmp_path / "x.bin")
    with pytest.raises(UnsupportedCheckpoint, match="an incomplete or damaged IP-Adapter file"):
        ip_adapter.load_ip_adapter(str(tmp_path / "x.bin"), "by the file")
