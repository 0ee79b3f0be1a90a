"""People on Qwen-Image 2.1: whole samplings against one dense attention in float64, written by hand."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import compiled
import pytest
import torch
import torch.nn.functional as functional
from family_encoders import LLAMA, WIDTH, encoder
from figures import WHOLE_SAMPLING, relative
from pack.bridge.loras.layer_names import layers_of
from pack.bridge.loras.lora_files import NotForOnePerson, read_lora_file
from pack.bridge.loras.person_loras import PersonLoras
from pack.bridge.references.by_region import RegionalReferences
from pack.bridge.references.record import REFERENCES, PeopleReferences, ReferenceLatent
from pack.bridge.sampling import on_model
from pack.bridge.sampling.carried import ConditioningLost, carried_in, carry
from pack.bridge.sampling.conditioning import SamplerInputs
from pack.bridge.words.transformer.run import TRANSFORMER_WORDS
from pack.bridge.words.transformer.words import TransformerWords
from pack.core.attention.token_groups import in_steps
from pack.core.cast import Cast, Lora, PlacedCast, RowCast, Slot
from pack.core.taking_part import present_in
from pack.nodes.references.limits import RegionLimit, read_by_region, regions_of_references
from peers import apply
from tiny import tiny_dits, tiny_networks
from tiny.people_made import a_member
from tiny.seeded import normal
from transformer_loras import saved, tensors
from words_made import carried_words, encoded

import nodes as host_nodes

comfy_models = pytest.importorskip("comfy.supported_models")
pytestmark = pytest.mark.skipif(not hasattr(comfy_models, "QwenImage21"), reason="this ComfyUI has no Qwen-Image 2.1")

KIND, SHAPE = tiny_networks.NETWORKS[tiny_dits.QWEN_2_1]
AXES, HEADS = SHAPE["axes_dims_rope"], SHAPE["num_attention_heads"]
SLOTS = [2, 3, 3, 5]
SIZES = [(3, 4), (5, 3), (4, 4), (2, 3)]  # rows and columns of references, odd and even


@pytest.fixture(autouse=True)
def causal(monkeypatch):
    """With the attention of torch: the host's own for CPUs adds a mask of True and False to the logits as 1 and 0."""
    from comfy.ldm.modules import attention
    from comfy.ldm.qwen_image21 import model

    monkeypatch.setattr(model, "optimized_attention", attention.attention_pytorch)


@cache
def tiny(width=24):
    """A MODEL that reads a text of this width."""
    return tiny_networks.seeded_model(KIND, {**SHAPE, "context_in_dim": width}, 301)


def latents(count):
    return [normal(10 + n, 1, 64, *size) for n, size in enumerate(SIZES[:count])]


class Dense:
    """The network with prefixes of people, token by token.

    owners, weights, boosts, region_of: of each reference; an owner of None is nobody's. regions: (regions, rows,
    columns) bool. kept: (tokens,) bool of a reference, or None. words: of people, (text, how often each token of the
    target reads it) each, on the positive side. loras: of people, (changes of weights by layer, how much each token of
    the target has of it, or None for all tokens there are) each. lora_ends: as ends.
    """

    def __init__(
        self, owners, weights, boosts, regions, everybody_outside=False, strength=1.0, kept=None, ends=(0, 1), width=24,
        words=(), loras=(), lora_ends=(0, 1),
    ):  # fmt: skip
        settings = {**SHAPE, "context_in_dim": width}
        self.net = tiny_networks.seeded_model(KIND, settings, 301, torch.float64).model.diffusion_model
        self.owners, self.weights, self.boosts = owners, weights, boosts
        self.kept = kept or [None] * len(owners)
        self.strength = strength
        self.words = [(text.double(), often) for text, often in words]
        sampling = tiny().get_model_object("model_sampling")
        self.first, self.last = (sampling.percent_to_sigma(percent) for percent in ends)
        self.loras = loras
        self.lora_first, self.lora_last = (sampling.percent_to_sigma(percent) for percent in lora_ends)
        self.by_token = regions.flatten(1).T  # (target tokens, regions)
        if everybody_outside:
            self.by_token = self.by_token | ~self.by_token.any(1, keepdim=True)

    def tokens(self, refs, slots, length, target):
        """What stands in all prefixes and the target: (prefix, kind, number, position, index in its kind) each."""
        everything = []
        for prefix in ["nobody", "everybody", *sorted({owner for owner in self.owners if owner is not None})]:
            position = 0
            for number, (start, end) in enumerate(pairwise([0, *slots, length])):
                for n in range(start, end):
                    everything.append((prefix, "text", None, (position,) * 3, n))
                    position += 1
                if number == len(refs):
                    break
                h, w = refs[number].shape[-2:]
                if prefix == "everybody" or self.owners[number] in (None, prefix):
                    middle_y, middle_x = (
                        (h % 2 - target[0] % 2) / 2 - (h - h // 2),
                        (w % 2 - target[1] % 2) / 2 - (w - w // 2),
                    )
                    for y in range(h):
                        for x in range(w):
                            place = (position, y + middle_y, x + middle_x)
                            everything.append((prefix, "reference", number, place, y * w + x))
                position += max(h, w)
        for number, (text, _) in enumerate(self.words):
            for n in range(text.shape[1]):
                # The target would stand behind them.
                everything.append((f"words {number}", "words", number, (position - text.shape[1] + n, n, n), n))
        h, w = target
        for y in range(h):
            for x in range(w):
                everything.append(("target", "target", None, (position, y - (h - h // 2), x - (w - w // 2)), y * w + x))
        return everything

    def times(self, number, u):
        weight = self.weights[number]
        return int(weight) + (u < weight % 1)

    def reads(self, tokens, u, by_region):
        """(tokens, tokens): how many times who reads whom, in the piece of the weights around u."""
        matrix = torch.zeros(len(tokens), len(tokens), dtype=torch.float64)
        for q, (prefix, kind, number, _, n) in enumerate(tokens):
            names = self.prefixes_of(n, u, by_region) if prefix == "target" else [prefix]
            for k, (key_prefix, key_kind, key_number, _, m) in enumerate(tokens):
                if key_prefix == "target":
                    matrix[q, k] = prefix == "target"
                    continue
                if prefix == "target" and key_kind == "words":
                    often = float(self.words[key_number][1][n]) if self.are_words_read else 0.0
                    matrix[q, k] = int(often) + (u < often % 1)
                if key_prefix not in names:
                    continue
                factor = 1.0
                is_own_image = kind == key_kind == "reference" and number == key_number
                if prefix != "target" and k > q and not is_own_image:
                    factor = 0.0  # causal, but within a picture
                if key_kind == "reference":
                    owner = self.owners[key_number]
                    is_same_owner = kind == "reference" and self.owners[number] == owner
                    times = 1 if is_same_owner else self.times(key_number, u)
                    if prefix == "target" and by_region and owner is not None:
                        times *= int(self.by_token[n, owner])
                    factor *= times
                    if self.kept[key_number] is not None:
                        factor *= float(self.kept[key_number][m])
                    if prefix == "target":
                        factor *= self.boosts[key_number]
                if prefix == "target" and (key_kind == "text" or self.owners[key_number] is None):
                    factor /= len(names)
                matrix[q, k] = factor
        return matrix

    def prefixes_of(self, n, u, by_region):
        if not by_region:
            return ["everybody"]
        people = {
            owner for number, owner in enumerate(self.owners)
            if owner is not None and self.by_token[n, owner] and self.times(number, u)
        }  # fmt: skip
        return sorted(people) or ["nobody"]

    def mixed(self, tokens, strength):
        """(share, reads) of each attention that is mixed."""
        of_words = [often % 1 for _, read in self.words for often in read.unique().tolist()]
        points = sorted({0.0, 1.0, *(weight % 1 for weight in self.weights), *of_words})
        mixed = []
        for start, end in pairwise(points):
            for share, by_region in ((strength, True), (1 - strength, False)):
                if share:
                    mixed.append(((end - start) * share, self.reads(tokens, (start + end) / 2, by_region)))
        return mixed

    def forward(self, x, timestep, context, ref_latents=None, image_slots=None, transformer_options=None, **_):
        """Each side for itself: the negative has no words."""
        sides_of_rows = transformer_options["cond_or_uncond"]
        rows = torch.arange(len(x)).chunk(len(sides_of_rows))
        out = torch.empty_like(x)
        for side, of_side in zip(sides_of_rows, rows, strict=True):
            self.are_words_read = side == 0
            refs = [one.expand(len(x), -1, -1, -1)[of_side] for one in ref_latents or []]
            given = x[of_side], timestep[of_side], context[of_side], refs, image_slots, transformer_options
            out[of_side] = self.of_side(*given)
        return out

    def of_side(self, x, timestep, context, ref_latents, image_slots, transformer_options):
        x, context = x.double(), context.double()
        refs = [one.double() for one in ref_latents or []]
        target = tuple(x.shape[-2:])
        slots = [*(image_slots or []), *[context.shape[1]] * len(refs)][: len(refs)]
        tokens = self.tokens(refs, slots, context.shape[1], target)
        net = self.net
        sigma = float(transformer_options["sigmas"][0])
        self.act = self.lora_first >= sigma >= self.lora_last
        parts = {}
        for prefix, kind, number, _, _ in tokens:
            if (prefix, kind, number) in parts:
                continue
            if kind in ("text", "words"):
                given = context if kind == "text" else self.words[number][0].expand(len(x), -1, -1)
                part = self.read_text(given, self.owned(prefix, range(given.shape[1])))
            else:
                given = (refs[number] if kind == "reference" else x).flatten(2).transpose(1, 2)
                part = self.linear("img_in", given, self.owned(prefix, range(given.shape[1])))
            parts[prefix, kind, number] = part
        hidden = torch.stack([parts[prefix, kind, number][:, n] for prefix, kind, number, _, n in tokens], 1)
        owned = torch.cat([self.owned(prefix, [n]) for prefix, _, _, _, n in tokens], 1)
        is_target = torch.tensor([prefix == "target" for prefix, *_ in tokens])[None, :, None]
        time = net.time_text_embed(torch.cat([timestep.double(), timestep.new_zeros(1).double()]), torch.float64)
        scales = net.modulation(time).chunk(4, -1)
        scale1, gate1, scale2, gate2 = (torch.where(is_target, one[:-1, None], one[-1:, None]) for one in scales)
        angles = self.angles(torch.tensor([place for *_, place, _ in tokens], dtype=torch.float64))
        is_on = self.first >= sigma >= self.last
        mixed = self.mixed(tokens, self.strength if is_on else 0)
        for number in range(len(net.transformer_blocks)):
            block = f"transformer_blocks.{number}"
            attended = self.attention(f"{block}.attn", normed(hidden) * (1 + scale1), angles, mixed, owned)
            hidden = hidden + gate1.tanh() * attended
            gate, up = self.linear(f"{block}.img_mlp.gate_up", normed(hidden) * (1 + scale2), owned).chunk(2, -1)
            hidden = hidden + gate2.tanh() * self.linear(f"{block}.img_mlp.out", functional.silu(gate) * up, owned)
        of_target = slice(-target[0] * target[1], None)
        hidden = normed(hidden[:, of_target]) * (1 + net.norm_out.linear(functional.silu(time[:-1]))[:, None])
        return self.linear("proj_out", hidden, owned[:, of_target]).transpose(1, 2).reshape(x.shape).float()

    def owned(self, prefix, numbers):
        """(LoRAs, tokens): how much of each LoRA these tokens of a prefix or of the target have."""
        owned = torch.zeros(len(self.loras), len(numbers), dtype=torch.float64)
        for person, (_, shares) in enumerate(self.loras):
            if self.act and shares is None:
                owned[person] = 1
            elif self.act and prefix == "target":
                owned[person] = shares[list(numbers)]
            elif self.act and prefix in (person, f"words {person}"):
                owned[person] = 1
        return owned

    def linear(self, name, x, owned):
        out = self.net.get_submodule(name)(x)
        for (changes, _), weights in zip(self.loras, owned, strict=True):
            if name in changes:
                out = out + weights[:, None] * (x @ changes[name].T)
        return out

    def read_text(self, text, owned):
        projection = self.net.txt_in
        text = text * (text.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * (1 + projection.text_norm.weight)
        read = functional.gelu(self.linear("txt_in.in_layer", text, owned), approximate="tanh")
        return self.linear("txt_in.out_layer", read, owned)

    def angles(self, places):
        """(tokens, head / 2)"""
        parts = []
        for axis, width in enumerate(AXES):
            speeds = 10000.0 ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
            parts.append(places[:, axis, None] * speeds)
        return torch.cat(parts, 1)

    def attention(self, name, x, angles, mixed, owned):
        attn = self.net.get_submodule(name)

        def heads(tensor, norm=None):
            tensor = tensor.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            if norm is None:
                return tensor
            tensor = tensor * (tensor.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * norm.weight
            even, odd = tensor[..., 0::2], tensor[..., 1::2]
            turned = even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()
            return torch.stack(turned, -1).flatten(-2)

        q, k, v = (self.linear(f"{name}.to_{part}", x, owned) for part in "qkv")
        q, k, v = heads(q, attn.norm_q), heads(k, attn.norm_k), heads(v)
        logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        out = sum(share * ((logits + times.log()).softmax(-1) @ v) for share, times in mixed)
        return self.linear(f"{name}.to_out.0", out.transpose(1, 2).flatten(2), owned)


def normed(x):
    return functional.layer_norm(x, x.shape[-1:], eps=1e-6)


def patched(dense, model):
    """The MODEL with this forward in the place of its network's."""
    clone = model.clone()
    clone.add_wrapper("diffusion_model", lambda _executor, *args, **kwargs: dense.forward(*args, **kwargs))
    return clone


def masks(rows, columns, people):
    """Side by side, with a column that is nobody's and one row that nobody has; in pixels."""
    width = columns // people
    out = torch.zeros(people, rows, columns)
    for n in range(people):
        out[n, 1:, n * width : (n + 1) * width - (n + 1 == people)] = 1
    return out


def sides(cast, owners, boosts=None, kept=None, negative=7):
    refs = latents(len(owners))
    boosts = boosts or [1.0] * len(owners)
    kept = kept or [None] * len(owners)
    read = [
        ReferenceLatent(ref, owner, owner, boost=boost, kept=one)
        for ref, owner, boost, one in zip(refs, owners, boosts, kept, strict=True)
    ]
    options = {REFERENCES: PeopleReferences(cast, tuple(read)), "image_slots": SLOTS[: len(owners)]}
    return (
        tiny_dits.conditioning(1, refs, tokens=7, **options),
        tiny_dits.conditioning(2, refs, tokens=negative, **options),
    )


def bound(texts, applied=None, **changed):
    """MODEL and both sides with references by region. applied: to which they are added, a plain MODEL and the texts."""
    settings = {"region_strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "outside": "nobody", **changed}
    record = texts[0][0][1][REFERENCES]
    regions = regions_of_references(present_in(record.cast), RegionLimit(**settings), ())
    limited = read_by_region(SamplerInputs(*(applied or (tiny(), *texts))), record, regions, None)
    return limited.model, limited.positive, limited.negative


def cast_of(*weights):
    return Cast(tuple(replace(a_member(n + 1), weight=weight) for n, weight in enumerate(weights)))


CASES = {
    "two": {"owners": [0, 1], "weights": (1.0, 1.0)},
    "two, a room, others outside": {"owners": [0, None, 1], "weights": (1.0, 1.0), "outside": "everybody"},
    "order exchanged": {"owners": [1, 0], "weights": (1.0, 1.0)},
    "three, overlapping": {"owners": [0, 1, 2], "weights": (1.0, 1.0, 1.0), "overlap": True},
    "two pictures of one, boost 3, weight 0.5": {
        "owners": [0, 1, 0, None], "weights": (0.5, 1.25), "boosts": [3.0, 1.0, 3.0, 1.0], "keep": True,
    },
    "by half": {"owners": [0, 1], "weights": (1.0, 1.0), "region_strength": 0.5},
    "by weight": {"owners": [0, 1], "weights": (0.25, 1.0), "region_strength": 0.0},
    "by weight, by half, for a while": {
        "owners": [0, 1, None], "weights": (0.25, 1.5), "region_strength": 0.5, "start_percent": 0.3,
        "end_percent": 0.8,
    },
    "for a while": {"owners": [0, 1], "weights": (1.0, 1.0), "start_percent": 0.3, "end_percent": 0.8},
}  # fmt: skip


def test_dense_is_the_host():
    owners = [None] * 3
    texts = sides(cast_of(), owners)
    dense = Dense(owners, [1.0] * 3, [1.0] * 3, torch.zeros(0, 7, 11) > 0)
    start = normal(7, 1, 64, 7, 11)
    expected = tiny_dits.sample(patched(dense, tiny()), *texts, start)
    assert relative(tiny_dits.sample(tiny(), *texts, start), expected) <= WHOLE_SAMPLING


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("size", "rows"), [((7, 11), 2), ((8, 9), 1)], ids=str)
def test_split_is_dense(case, size, rows):
    settings = dict(CASES[case])
    owners, weights, boosts = settings.pop("owners"), settings.pop("weights"), settings.pop("boosts", None)
    overlap, keep = settings.pop("overlap", False), settings.pop("keep", False)
    regions = masks(*size, len(weights))
    if overlap:
        regions[0, :, : size[1] // 2 + 2] = 1
    kept = [None] * len(owners)
    if keep:
        kept[0] = (torch.arange(SIZES[0][1]) < 2).expand(1, *SIZES[0]).float()
    # Sides of equal length are one batch.
    texts = sides(cast_of(*weights), owners, boosts, kept, negative=7 if rows > 1 else 5)
    ends = settings.get("start_percent", 0.0), settings.get("end_percent", 1.0)
    steps = 2 if ends == (0.0, 1.0) else 5
    dense = Dense(
        owners, [1.0 if owner is None else weights[owner] for owner in owners], boosts or [1.0] * len(owners),
        regions > 0, settings.get("outside") == "everybody", settings.get("region_strength", 1.0),
        [None if one is None else one.flatten() > 0 for one in kept], ends,
    )  # fmt: skip
    mask = regions.repeat_interleave(16, 1).repeat_interleave(16, 2)
    start = normal(7, rows, 64, *size)
    applied = bound(texts, mask=mask, **settings)
    expected = tiny_dits.sample(patched(dense, tiny()), *texts, start, steps=steps)
    plain = tiny_dits.sample(tiny(), *texts, start, steps=steps)
    assert relative(tiny_dits.sample(*applied, start, steps=steps), expected) <= WHOLE_SAMPLING
    assert relative(plain, expected) > 1e-3


SOFT = torch.tensor([0.0, 0.25, 0.5, 1.0, 1.25])
"""How often words are read from the left to the right of a soft region."""


def with_words(applied, size, seed):
    """MODEL and both sides with words of two people of different lengths, the second of which has a soft region."""
    words = [normal(seed, 1, 6, 24), normal(seed + 1, 1, 3, 24)]
    rows, columns = size
    regions = torch.zeros(2, rows, columns)
    regions[0, 1:, : columns // 2 + 1] = 1
    regions[1, :, -5:] = SOFT
    carried = carried_words(words, regions.repeat_interleave(16, 1).repeat_interleave(16, 2), ["person 1", "person 2"])
    model, positive, negative = applied
    model = on_model.with_kinds(model, TRANSFORMER_WORDS)
    read = list(zip(words, regions.flatten(1), strict=True))
    return (model, carry(positive, carried), carry(negative, carried.without_people())), read


@pytest.mark.parametrize(("size", "rows"), [((7, 11), 2), ((8, 9), 1)], ids=str)
@pytest.mark.parametrize("owners", [[], [0, None, 1]], ids=["alone", "with references"])
def test_words_are_dense(size, rows, owners):
    texts = sides(cast_of(1.0, 1.0), owners, negative=7 if rows > 1 else 5)
    regions = masks(*size, 2)
    mask = regions.repeat_interleave(16, 1).repeat_interleave(16, 2)
    applied, words = with_words(bound(texts, mask=mask) if owners else (tiny(), *texts), size, seed=40)
    ones = [1.0] * len(owners)
    dense = Dense(owners, ones, ones, regions > 0, words=words)
    start = normal(7, rows, 64, *size)
    expected = tiny_dits.sample(patched(dense, tiny()), *texts, start)
    assert relative(tiny_dits.sample(*applied, start), expected) <= WHOLE_SAMPLING
    assert relative(tiny_dits.sample(tiny(), *texts, start), expected) > 1e-3


class Pooled:
    """In the place of a VAE: means of 16x16 px, in the shape of the family's latents."""

    def encode(self, pictures):
        return functional.avg_pool2d(pictures.movedim(-1, 1), 16).repeat(1, 22, 1, 1)[:, :64]


def lora_of(seed, layers=None):
    """The name of a LoRA's file, and what it changes of the weights, by layer."""
    width, inner = SHAPE["attention_head_dim"] * HEADS, SHAPE["attention_head_dim"] * HEADS * SHAPE["mlp_ratio"]
    text = WIDTH if layers == "of node" else 24
    sizes = {"img_in": (width, 64), "proj_out": (64, width), "txt_in.in_layer": (width, text)}
    sizes["txt_in.out_layer"] = width, width
    for number in range(SHAPE["num_layers"]):
        block = f"transformer_blocks.{number}"
        sizes |= {f"{block}.attn.{name}": (width, width) for name in ("to_q", "to_k", "to_v", "to_out.0")}
        sizes |= {f"{block}.img_mlp.{name}": (inner, width) for name in ("gate_layer", "proj")}
        sizes[f"{block}.img_mlp.out"] = width, inner
    state = tensors(sizes, seed, prefix="transformer.")
    changes = {}
    for name in sizes:
        down, up = (state[f"transformer.{name}.lora_{part}.weight"].double() for part in "AB")
        changes[name] = up @ down
    for number in range(SHAPE["num_layers"]):
        mlp = f"transformer_blocks.{number}.img_mlp"
        changes[f"{mlp}.gate_up"] = torch.cat([changes.pop(f"{mlp}.gate_layer"), changes.pop(f"{mlp}.proj")])
    return saved(f"qwen 2.1 {text} {seed}.safetensors", state), changes


@cache
def clip_of_host():
    return encoder("qwen_image21", "te", "QwenImage21Tokenizer", qwen3vl_8b={**LLAMA, "num_hidden_layers": 3})


def with_loras(applied, size, regions, words=(), width=24, **changed):
    """MODEL and both sides with the LoRA of each person, and those as Dense has them.

    regions: (people, rows, columns); None for one person everywhere. words: that belong to each person's LoRA.
    """
    people = 1 if regions is None else len(regions)
    made = [lora_of(11 + n, "of node" if width == WIDTH else None) for n in range(people)]
    members = []
    for n, (file, _) in enumerate(made):
        member = a_member(n + 1, slot=Slot((0.0, 0.0)))
        own = words[n] if words else ""
        members.append(replace(member, person=replace(member.person, loras=(Lora(file, 1.0, own),))))
    cast = PlacedCast(tuple(members), size[1] * 16, size[0] * 16)
    model, positive, negative = applied
    mask = None if regions is None else regions.repeat_interleave(16, 1).repeat_interleave(16, 2)
    given = {"clip": clip_of_host(), "cast": cast, "mask": mask, **changed}
    if regions is None:
        given["cast"] = cast.people[0].person
    made_by_node = apply("LikenessLoRAPerPerson", model=model, positive=positive, negative=negative, **given)
    shares = [None] if regions is None else list((regions / regions.sum(0).clamp(min=1)).flatten(1).double())
    return made_by_node[:3], [(changes, share) for (_, changes), share in zip(made, shares, strict=True)]


def of_node(cast, **changed):
    """MODEL and both sides as the node gives them on, and the text of the positive one."""
    clip = clip_of_host()
    given = {"clip": clip, "vae": Pooled(), "model": tiny(WIDTH), "cast": cast, "negative_prompt": "rain", "size": 128}
    given = {**given, "pictures": None, **changed}
    positive, negative, text, model = apply("LikenessPeopleAsReferences", **given)
    return (model, positive, negative), clip, text


def placed(size, people):
    regions = masks(*size, people).repeat_interleave(16, 1).repeat_interleave(16, 2)
    members = [replace(a_member(n + 1), slot=Slot((0.0, 0.0), mask=mask)) for n, mask in enumerate(regions)]
    return PlacedCast(tuple(members), size[1] * 16, size[0] * 16)


def of_host(clip, text, cast):
    from comfy_extras.nodes_qwen import TextEncodeQwenImage21

    portraits = [member.person.portraits.loose[:1].float() / 255 for member in cast.people]
    images = {f"image_{n}": portrait for n, portrait in enumerate(portraits, 1)}
    return TextEncodeQwenImage21.execute(clip, text, "rain", Pooled(), 128, images).args[:2]


def test_the_same_from_the_inputs_of_the_node_on():
    size = (7, 11)
    cast, start = placed(size, 2), normal(7, 1, 64, *size)
    applied, clip, text = of_node(cast, reference_boost=3.0)
    sides_of_host = of_host(clip, text, cast)
    dense = Dense([0, 1], [1.0, 1.0], [3.0, 3.0], masks(*size, 2) > 0, width=WIDTH)
    expected = tiny_dits.sample(patched(dense, tiny(WIDTH)), *sides_of_host, start)
    assert relative(tiny_dits.sample(*applied, start), expected) <= WHOLE_SAMPLING
    model, positive, _negative = applied
    (carried,) = carried_in(positive[0][1], RegionalReferences.key)
    in_prefixes = sum(latent[0, 0].numel() for latent in positive[0][1]["reference_latents"]) + 3 * 9
    assert carried.cells_added(model.model, text_tokens=9) == in_prefixes


def test_words_from_the_inputs_of_the_node_on():
    """Without a prompt of the same length the sides are two forwards."""
    size = (7, 11)
    cast, start = placed(size, 2), normal(7, 1, 64, *size)
    clip = clip_of_host()
    texts = encoded(clip, "in a park"), encoded(clip, "rain")
    lines = ["a man in red", "a tall woman with a hat"]
    prompts = "\n".join(f"{number}: {line}" for number, line in enumerate(lines, 1))
    given = {"clip": clip, "cast": cast, "model": tiny(WIDTH), "prompts": prompts}
    model, positive, negative = apply("LikenessPromptPerPerson", positive=texts[0], negative=texts[1], **given)[:3]
    (carried,) = carried_in(positive[0][1], TransformerWords.key)
    often = in_steps(functional.avg_pool2d(carried.regions, 16).flatten(1))
    words = [(encoded(clip, line)[0][0], read) for line, read in zip(lines, often, strict=True)]
    dense = Dense([], [], [], masks(*size, 2) > 0, width=WIDTH, words=words)
    expected = tiny_dits.sample(patched(dense, tiny(WIDTH)), *texts, start)
    assert relative(tiny_dits.sample(model, positive, negative, start), expected) <= WHOLE_SAMPLING


@pytest.mark.parametrize(("people", "strength"), [(2, 0.0), (0, 1.0)], ids=["strength 0", "nobody"])
def test_where_nothing_is_limited_it_is_the_hosts_own(people, strength):
    size = (7, 11)
    cast, start = placed(size, 2), normal(7, 1, 64, *size)
    cast = replace(cast, people=cast.people[:people])
    applied, clip, text = of_node(cast, region_strength=strength)
    expected = tiny_dits.sample(tiny(WIDTH), *of_host(clip, text, cast), start)
    assert torch.equal(tiny_dits.sample(*applied, start), expected)


def tokens_of_calls(people, patch=None):
    """How many tokens the first layer is given in each of its calls, in four steps. patch: another pack's, behind every
    block."""
    size = (7, 11)
    rows = []
    texts = sides(cast_of(*[1.0] * people), list(range(people)))
    mask = masks(*size, people).repeat_interleave(16, 1).repeat_interleave(16, 2)
    model, *texts = bound(texts, mask=mask)
    if patch:
        model = model.clone()
        model.set_model_patch(patch, "single_block")
    layer = tiny().model.diffusion_model.transformer_blocks[0].attn.to_q
    hook = layer.register_forward_hook(lambda _module, args, _out: rows.append(args[0].shape[1]))
    try:
        tiny_dits.sample(model, *texts, normal(7, 1, 64, *size), steps=4)
    finally:
        hook.remove()
    return rows


@pytest.mark.parametrize("people", [1, 2])
def test_what_stands_before_the_picture_is_computed_once(people):
    """In later steps the layers are given the picture's tokens alone, as without people."""
    rows = tokens_of_calls(people)
    assert rows[-3:] == [77] * 3, "both sides are a batch"
    assert len(rows) == 4 + 1 + people + 1, "a prefix of each person, one with nobody's references, and the host's own"


def test_beside_a_pack_in_the_blocks_it_is_computed_in_every_step():
    """As the host does it: what that pack does may be otherwise there."""
    assert len(tokens_of_calls(2, patch=dict)) == 4 * (1 + 2 + 1)


SIDES = torch.zeros(2, 7, 11)
SIDES[0, 1:, :5], SIDES[1, 1:, 6:] = 1, 1
FADING = SIDES.clone()
"""With edges that are soft, and a column that both have."""
FADING[0, :, 2:6] = torch.tensor([0.75, 0.5, 1.0, 0.25])
FADING[1, :, 2:6] = torch.tensor([0.25, 0.5, 1.0, 0.5])
THREE = torch.zeros(3, 8, 9)
THREE[0, :, :3], THREE[1, 1:, 3:6], THREE[2, :, 7:] = 1, 1, 1
SMALL = torch.zeros(2, *SIZES[1])
SMALL[0, :, 0], SMALL[1, 2:, 2] = 1, 1
LORAS = {
    "two": {"regions": SIDES},
    "soft, both sides a batch of two": {"regions": FADING, "rows": 2},
    "three, with references": {"regions": THREE, "owners": [0, 2, 1, None], "rows": 2},
    "with references by half": {"regions": FADING, "owners": [0, None, 1], "region_strength": 0.5, "first": True},
    "with weighted references and words": {"regions": SIDES, "owners": [1, 0], "weights": (2.0, 1.0), "words": True},
    "with all, for a while": {
        "regions": FADING, "owners": [0, None, 1], "words": True, "first": True, "start_percent": 0.3,
        "end_percent": 0.8,
    },
    "with all, the LoRAs behind": {"regions": FADING, "owners": [0, None, 1], "words": True, "rows": 2},
    "beside references of nobody as large as the picture": {"regions": SMALL, "owners": [None, None, None]},
    "a picture of as many tokens as its text": {"regions": SIDES[:, 3:4, 2:9]},
    "everywhere": {"regions": None, "owners": [0, None, 1], "words": True},
    "everywhere, for a while": {"regions": None, "owners": [None], "start_percent": 0.3, "end_percent": 0.8},
}  # fmt: skip
"""first: whether the LoRAs come before the references and the words."""


@pytest.mark.parametrize("case", LORAS)
def test_loras_are_dense(case):
    given = dict(LORAS[case])
    regions, owners, rows = given.pop("regions"), given.pop("owners", []), given.pop("rows", 1)
    weights = given.pop("weights", (1.0,) * 3)
    has_words, are_first, strength = (
        given.pop("words", False),
        given.pop("first", False),
        given.pop("region_strength", 1.0),
    )
    size = (7, 11) if regions is None else tuple(regions.shape[1:])
    people = 2 if regions is None else len(regions)
    texts = sides(cast_of(*weights[:people]), owners, negative=7 if rows > 1 else 5)
    where = masks(*size, people)
    mask = where.repeat_interleave(16, 1).repeat_interleave(16, 2)
    applied, words = (tiny(), *texts), []
    if are_first:
        applied, loras = with_loras(applied, size, regions, **given)
    if any(owner is not None for owner in owners):
        applied = bound(texts, applied, mask=mask, region_strength=strength)
    if has_words:
        applied, words = with_words(applied, size, seed=40)
    if not are_first:
        applied, loras = with_loras(applied, size, regions, **given)
    ends = given.get("start_percent", 0.0), given.get("end_percent", 1.0)
    steps = 2 if ends == (0.0, 1.0) else 5
    of_owners = [1.0 if owner is None else weights[owner] for owner in owners]
    dense = Dense(
        owners, of_owners, [1.0] * len(owners), where > 0, strength=strength, words=words, loras=loras, lora_ends=ends
    )
    start = normal(7, rows, 64, *size)
    expected = tiny_dits.sample(patched(dense, tiny()), *texts, start, steps=steps)
    assert relative(tiny_dits.sample(*applied, start, steps=steps), expected) <= WHOLE_SAMPLING
    dense.loras = []
    assert relative(tiny_dits.sample(patched(dense, tiny()), *texts, start, steps=steps), expected) > 1e-3


def names_of_halves(number):
    """Of both halves of one layer, as trainers write them."""
    return [
        f"diffusion_model.transformer_blocks.{number}.img_mlp.gate_layer",
        f"transformer.transformer_blocks.{number}.img_mlp.proj",
        f"lora_unet_transformer_blocks_{number}_img_mlp_gate_layer",
        f"lycoris_transformer_blocks_{number}_img_mlp_proj",
    ]


@pytest.mark.parametrize("name", names_of_halves(2))
def test_a_half_of_a_layer_has_the_lora_of_that_half(name):
    """Trained on a network in which both are layers of their own."""
    state = {f"{name}.lora_down.weight": normal(3, 2, 64), f"{name}.lora_up.weight": normal(4, 192, 2)}
    file = saved("half of a layer.safetensors", state)
    (section,) = read_lora_file(file, tiny(), clip_of_host(), layers_of(tiny(), "a node"), by_region=True).sections
    assert section.layer == "transformer_blocks.2.img_mlp.gate_up"
    assert section.rows == (slice(192, 384) if name.endswith("proj") else slice(0, 192))


OF_THE_TIME = {
    "modulation.1": (256, 64),
    "norm_out.linear": (64, 64),
    "time_text_embed.timestep_embedder.linear_1": (64, 256),
}


def person_with(file, words=""):
    person = a_member(1).person
    return replace(person, name="Anna", loras=(Lora(file, 1.0, words),))


@pytest.mark.parametrize("layer", OF_THE_TIME)
@pytest.mark.parametrize("by_row", [False, True])
def test_a_lora_of_the_time_alone_is_refused_for_a_part_of_the_picture_and_for_a_row(layer, by_row):
    """All blocks and all rows share what these layers give."""
    person = person_with(saved(f"{layer}.safetensors", tensors({layer: OF_THE_TIME[layer]}, 22)))
    mask = None if by_row else torch.ones(1, 112, 176).tril()
    cast = RowCast((replace(a_member(1), person=person),), 176, 112) if by_row else person
    says = f"1 layer of it, first diffusion_model.{layer}.weight: without a place .* Use Load LoRA, which acts in all"
    sides_of_host = tiny_dits.conditioning(1, tokens=7), tiny_dits.conditioning(2, tokens=7)
    given = {"positive": sides_of_host[0], "negative": sides_of_host[1], "clip": clip_of_host(), "cast": cast}
    with pytest.raises(NotForOnePerson, match=says):
        apply("LikenessLoRAPerPerson", model=tiny(), mask=mask, **given)


def test_one_person_everywhere_is_load_lora():
    """Also in layers of the time, and with a kept prefix of the same text from the steps before the LoRA."""
    file = saved("everywhere.safetensors", tensors({**OF_THE_TIME, "img_in": (64, 64), "proj_out": (64, 64)}, 22))
    texts = sides(cast_of(), [None])
    start = normal(7, 2, 64, 7, 11)
    given = {"model": tiny(), "positive": texts[0], "negative": texts[1], "clip": clip_of_host()}
    applied = apply("LikenessLoRAPerPerson", cast=person_with(file), mask=None, **given)[:3]
    merged = host_nodes.LoraLoader().load_lora(tiny(), None, file, 1.0, 1.0)[0]
    expected = tiny_dits.sample(merged, *texts, start)
    assert relative(tiny_dits.sample(*applied, start), expected) <= WHOLE_SAMPLING
    assert relative(tiny_dits.sample(tiny(), *texts, start), expected) > 1e-3


def test_every_row_has_its_own_lora_and_words():
    """As of each crop alone, on a MODEL with the LoRA merged by the host's loader."""
    clip, size = clip_of_host(), (7, 11)
    texts = encoded(clip, "in a park"), encoded(clip, "rain")
    words = ["a man in red", "a tall woman with a hat"]
    files = [lora_of(11 + n, "of node")[0] for n in range(2)]
    people = [replace(a_member(n + 1, slot=Slot((0.0, 0.0))), person=person_with(files[n], words[n])) for n in range(2)]
    given = {"positive": texts[0], "negative": texts[1], "clip": clip}
    rows = apply("LikenessLoRAPerPerson", cast=RowCast(tuple(people), 176, 112), model=tiny(WIDTH), **given)[:3]
    start = normal(7, 2, 64, *size)
    drawn = tiny_dits.sample(*rows, start)
    for row, file in enumerate(files):
        merged = host_nodes.LoraLoader().load_lora(tiny(WIDTH), None, file, 1.0, 1.0)[0]
        alone = PlacedCast((people[row],), 176, 112)
        prompt = {"prompts": f"1: {words[row]}", "mask": torch.ones(1, 112, 176)}
        applied = apply("LikenessPromptPerPerson", cast=alone, model=merged, **prompt, **given)[:3]
        assert relative(drawn[row : row + 1], tiny_dits.sample(*applied, start[row : row + 1])) <= WHOLE_SAMPLING
    assert relative(drawn[:1], tiny_dits.sample(tiny(WIDTH), *texts, start)[:1]) > 1e-3


def of_all_nodes(cast, model=None, **changed):
    """References, words and LoRAs of two people, as their nodes give them on."""
    applied, clip, _text = of_node(cast, model=model or tiny(WIDTH))
    model, positive, negative = applied
    members = []
    for n, member in enumerate(cast.people):
        file, _ = lora_of(11 + n, "of node")
        members.append(replace(member, person=replace(member.person, loras=(Lora(file, 1.0, f"person {n} in red"),))))
    given = {"positive": positive, "negative": negative, "clip": clip, "cast": replace(cast, people=tuple(members))}
    return apply("LikenessLoRAPerPerson", model=model, **{**given, **changed})[:3]


def test_all_from_the_inputs_of_the_nodes_on():
    size = (7, 11)
    cast, start = placed(size, 2), normal(7, 1, 64, *size)
    applied = of_all_nodes(cast)
    positive = applied[1]
    (carried,) = carried_in(positive[0][1], TransformerWords.key)
    (of_loras,) = carried_in(positive[0][1], PersonLoras.key)
    often = in_steps(functional.avg_pool2d(carried.regions, 16).flatten(1))
    shares = in_steps(functional.avg_pool2d(of_loras.shares, 16).flatten(1)).double()
    words = [(encoded(clip_of_host(), f"person {n} in red")[0][0], read) for n, read in enumerate(often)]
    loras = [(lora_of(11 + n, "of node")[1], share) for n, share in enumerate(shares)]
    sides_of_host = of_host(clip_of_host(), of_node(cast)[2], cast)
    dense = Dense([0, 1], [1.0] * 2, [1.0] * 2, masks(*size, 2) > 0, width=WIDTH, words=words, loras=loras)
    expected = tiny_dits.sample(patched(dense, tiny(WIDTH)), *sides_of_host, start)
    assert relative(tiny_dits.sample(*applied, start), expected) <= WHOLE_SAMPLING


@pytest.mark.parametrize(("people", "strength"), [(2, 0.0), (0, 1.0)], ids=["strength 0", "nobody"])
def test_without_loras_it_is_the_hosts_own(people, strength):
    size = (7, 11)
    texts, start = sides(cast_of(), [None]), normal(7, 1, 64, *size)
    cast = placed(size, 2)
    members = [
        replace(member, person=replace(member.person, loras=(Lora(lora_of(11)[0], 1.0, ""),))) for member in cast.people
    ]
    given = {
        "positive": texts[0],
        "negative": texts[1],
        "clip": clip_of_host(),
        "cast": replace(cast, people=tuple(members[:people])),
    }
    applied = apply("LikenessLoRAPerPerson", model=tiny(), strength=strength, **given)[:3]
    assert torch.equal(tiny_dits.sample(*applied, start), tiny_dits.sample(tiny(), *texts, start))


def test_a_layer_that_int8_kernels_pass_over_is_named(monkeypatch):
    """As comfy.ops.linear_input_act does with int8 weights."""
    import comfy.ops

    def joined(linear, x, _activation):
        gate, up = x.chunk(2, -1)
        return functional.linear(functional.silu(gate) * up, linear.weight)

    monkeypatch.setattr(comfy.ops, "linear_input_act", joined)
    applied, _ = with_loras((tiny(), *sides(cast_of(), [])), (7, 11), SIDES)
    says = r"passes over 3 of the \d+ layers .* such as transformer_blocks\.0\.img_mlp\.out\. .*bf16 or fp8"
    with pytest.raises(ConditioningLost, match=says):
        tiny_dits.sample(*applied, normal(7, 1, 64, 7, 11))


def test_in_bfloat16_it_is_the_same_picture_but_for_the_precision():
    size = (7, 11)
    cast, start = placed(size, 2), normal(7, 1, 64, *size)
    half = tiny_networks.seeded_model(KIND, {**SHAPE, "context_in_dim": WIDTH}, 301, torch.bfloat16)
    texts = of_host(clip_of_host(), of_node(cast)[2], cast)
    precision = relative(
        tiny_dits.sample(half, *texts, start, steps=1), tiny_dits.sample(tiny(WIDTH), *texts, start, steps=1)
    )
    drawn = tiny_dits.sample(*of_all_nodes(cast, half), start, steps=1)
    expected = tiny_dits.sample(*of_all_nodes(cast), start, steps=1)
    assert drawn.isfinite().all()
    assert 0 < relative(drawn, expected) <= 3 * precision + 1e-3


def test_compiled_it_is_the_same_picture_also_behind_one_without_people():
    """With the host's cache its graph breaks, and it lets torch.compile forget what blocks read of their options."""
    size = (7, 11)
    cast, start = placed(size, 2), normal(7, 1, 64, *size)
    texts = of_host(clip_of_host(), of_node(cast)[2], cast)
    expected = tiny_dits.sample(*of_all_nodes(cast), start)
    plain = tiny_dits.sample(tiny(WIDTH), *texts, start)
    with compiled.counting():
        whole = compiled.whole(tiny(WIDTH))
        assert relative(tiny_dits.sample(whole, *texts, start), plain) <= WHOLE_SAMPLING
        assert relative(tiny_dits.sample(*of_all_nodes(cast, whole), start), expected) <= WHOLE_SAMPLING
