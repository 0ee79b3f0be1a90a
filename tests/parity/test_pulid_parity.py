"""PuLID's networks against their formulas in plain torch, and whole sampling: on SDXL against diffusers' UNet with the
formula in its processors, on FLUX.1 and Chroma against the formula in hooks behind the blocks of the host's network."""

import comfy.patcher_extension
import marks
import pytest
import tiny_sdxl
import torch
import torch.nn.functional as functional
from figures import WHOLE_SAMPLING, relative
from marks import each
from method_rows import latents, rows
from pack.bridge.host.unet import attention_widths
from pack.core.cast import Cast, PlacedCast, Slot
from pack.core.models.tensors import below
from pack.nodes.pulid import face_parser as parser_of_pack
from pack.nodes.pulid.net import reads_behind
from peers import Sampling, apply, attend, linear, norm, read
from seeded_files import eva_file, face_parser_file, pulid_file, pulid_flux_file
from tiny import devices, tiny_dits
from tiny.people_made import a_member

EXACT = 1e-5
WIDTH, HEIGHT = 128, 96
TEXT = 7
EVA_HEAD, BLOCK_HEAD = 64, 128


def heads(x, width):
    return x.unflatten(-1, (-1, width)).transpose(-3, -2)


def plain_attention(q, k, v, width):
    q, k, v = (heads(x, width) for x in (q, k, v))
    return ((q @ k.mT / width**0.5).softmax(-1) @ v).transpose(-3, -2).flatten(-2)


# The networks


def mapping(x, p, key):
    for number in (0, 3):
        x = functional.leaky_relu(norm(linear(x, p, f"{key}.{number}"), p, f"{key}.{number + 1}"), 0.01)
    return linear(x, p, f"{key}.6")


def encoded(p, ids, states):
    """Tokens of the photos of a person: of version 1 where the file has a body, else of 1.1."""
    if "body.0.weight" not in p:
        return former(p, ids, states)
    tokens = [mapping(ids, p, "body").unflatten(-1, (5, -1))]
    for number, state in enumerate(states):
        patches = mapping(state[:, 1:], p, f"mapping_patch_{number}").mean(1, keepdim=True)
        tokens.append(mapping(state[:, :1], p, f"mapping_{number}") + patches)
    first, *further = torch.cat(tokens, dim=1)
    return torch.cat([first, *(photo[:5] for photo in further)])[None]


def former(p, ids, states):
    width = p["latents"].shape[-1]
    of_ids = mapping(ids, p, "id_embedding_mapping").reshape(1, -1, width)
    latents = torch.cat([p["latents"], of_ids], dim=1)
    for number in range(10):
        if number % 2 == 0:
            state = mapping(states[number // 2], p, f"mapping_{number // 2}").reshape(1, -1, width)
            context = torch.cat([of_ids, state], dim=1)
        layer = below(f"layers.{number}.", p)
        normed = norm(latents, layer, "0.norm2")
        k, v = linear(torch.cat([norm(context, layer, "0.norm1"), normed], dim=1), layer, "0.to_kv").chunk(2, -1)
        latents = latents + linear(plain_attention(linear(normed, layer, "0.to_q"), k, v, 64), layer, "0.to_out")
        latents = latents + linear(functional.gelu(linear(norm(latents, layer, "1.0"), layer, "1.1")), layer, "1.3")
    return latents[:, :32] @ p["proj_out"]


def turned(x, cells):
    """Positions as turns of complex numbers: rows turn the first half of a head, columns the second."""
    speeds = 10000.0 ** (-torch.arange(0, 32, 2) / 32)
    along = torch.arange(cells) * 16 / cells
    row, column = torch.meshgrid(along, along, indexing="ij")
    angles = torch.cat([place.flatten()[:, None] * speeds for place in (row, column)], dim=-1)
    pairs = torch.view_as_complex(x[:, :, 1:].unflatten(-1, (-1, 2)).contiguous())
    return torch.cat(
        [x[:, :, :1], torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)], 2
    )


def seen(p, pictures):
    """EVA-CLIP's embeddings and five states of pictures (n, 3, H, W)."""

    def normed(x, key):
        return functional.layer_norm(x, x.shape[-1:], p[f"{key}.weight"], p[f"{key}.bias"], 1e-6)

    small = functional.interpolate(pictures, (336, 336), mode="bicubic")
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    small = (small - mean) / torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    x = functional.conv2d(small, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], stride=14).flatten(2).mT
    x = torch.cat([p["cls_token"].expand(len(x), -1, -1), x], dim=1) + p["pos_embed"]
    states = []
    for number in range(24):
        if number in (4, 8, 12, 16, 20):
            states.append(x)
        a, m = f"blocks.{number}.attn", f"blocks.{number}.mlp"
        n = normed(x, f"blocks.{number}.norm1")
        q, k, v = (
            linear(n, p, f"{a}.q_proj") + p[f"{a}.q_bias"],
            linear(n, p, f"{a}.k_proj"),
            linear(n, p, f"{a}.v_proj"),
        )
        q, k, v = (heads(y, EVA_HEAD) for y in (q, k, v + p[f"{a}.v_bias"]))
        weights = (turned(q, 24) @ turned(k, 24).mT / 8).softmax(-1)
        x = x + linear(normed((weights @ v).transpose(1, 2).flatten(2), f"{a}.inner_attn_ln"), p, f"{a}.proj")
        n = normed(x, f"blocks.{number}.norm2")
        gated = functional.silu(linear(n, p, f"{m}.w1")) * linear(n, p, f"{m}.w2")
        x = x + linear(normed(gated, f"{m}.ffn_ln"), p, f"{m}.w3")
    return linear(normed(x, "norm")[:, 0], p, "head"), states


def parsed(p, pictures):
    """The face parser's logits, with its norms as they are."""

    def conv(x, name, norm_name="", stride=1):
        weight = p[f"{name}.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        if not norm_name:
            return x
        statistics = (p[f"{norm_name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *statistics)

    def plain(x, name):
        return conv(x, f"{name}.conv", f"{name}.bn").relu()

    def refined(x, name):
        x = plain(x, f"{name}.conv")
        return x * conv(x.mean((2, 3), keepdim=True), f"{name}.conv_atten", f"{name}.bn_atten").sigmoid()

    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    x = conv((pictures - mean) / deviation, "cp.resnet.conv1", "cp.resnet.bn1", 2).relu()
    x, levels = functional.max_pool2d(x, 3, 2, 1), []
    for level in (1, 2, 3, 4):
        for unit in (0, 1):
            name, stride = f"cp.resnet.layer{level}.{unit}", 2 if level > 1 and unit == 0 else 1
            out = conv(conv(x, f"{name}.conv1", f"{name}.bn1", stride).relu(), f"{name}.conv2", f"{name}.bn2")
            if stride == 2:
                x = conv(x, f"{name}.downsample.0", f"{name}.downsample.1", 2)
            x = (out + x).relu()
        levels.append(x)
    _, fine, middle, coarse = levels
    up = functional.interpolate
    whole = plain(coarse.mean((2, 3), keepdim=True), "cp.conv_avg")
    deep = plain(up(refined(coarse, "cp.arm32") + whole, middle.shape[2:]), "cp.conv_head32")
    deep = plain(up(refined(middle, "cp.arm16") + deep, fine.shape[2:]), "cp.conv_head16")
    x = plain(torch.cat([fine, deep], dim=1), "ffm.convblk")
    x = x + x * conv(conv(x.mean((2, 3), keepdim=True), "ffm.conv1").relu(), "ffm.conv2").sigmoid()
    x = conv(plain(x, "conv_out.conv"), "conv_out.conv_out")
    return up(x, pictures.shape[2:], mode="bilinear", align_corners=True)


def pictures(count=2):
    return torch.rand(count, 3, 512, 512, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_what_eva_clip_sees():
    file = eva_file()
    embeddings, states = seen(below("visual.", file), pictures())
    result = read("pulid_eva", file).net(pictures())
    assert relative(result.embeddings, embeddings) <= EXACT
    for state, expected in zip(result.states, states, strict=True):
        assert relative(state, expected) <= EXACT


@torch.no_grad()
def test_the_face_parser():
    file = face_parser_file()
    assert relative(read("pulid_parser", file).net(pictures(1)), parsed(file, pictures(1))) <= EXACT


@pytest.mark.parametrize("photos", [1, 3])
@pytest.mark.parametrize("version", ["encoder", "former"])
@torch.no_grad()
def test_tokens_of_a_person(version, photos):
    generator = torch.Generator().manual_seed(5)
    ids = torch.randn(photos, 544, generator=generator)
    states = [torch.randn(photos, 577, 64, generator=generator) for _ in range(5)]
    file = pulid_file([64], version)
    net = read("pulid", file).net
    p = below("id_adapter.", file)
    assert relative(net.tokens(ids, states), encoded(p, ids, states)) <= EXACT
    one = 1 if version == "former" else photos  # of 1.1 the authors have the zeros of one photo
    zeros = torch.zeros_like(ids[:one]), [torch.zeros_like(state[:one]) for state in states]
    assert relative(net.no_face_tokens(ids, states), encoded(p, *zeros)) <= EXACT


# Whole samplings


def tokens_of(people, p):
    """Of each person, (2, T, width): of zeros, and of the photos. The parser has a test of its own."""
    parser = read("pulid_parser", face_parser_file()).net
    eva = below("visual.", eva_file())
    by_person = []
    for member in people:
        head = member.person.portraits.ffhq.movedim(-1, 1) / 255
        embeddings, states = seen(eva, parser_of_pack.face_alone(head, parser(head)))
        rows = member.person.embeddings["antelopev2"]
        ids = torch.cat([rows, embeddings / embeddings.norm(dim=-1, keepdim=True)], dim=-1)
        one = slice(None) if "body.0.weight" in p else slice(1)
        nobody = encoded(p, torch.zeros_like(ids[one]), [torch.zeros_like(state[one]) for state in states])
        by_person.append(torch.cat([nobody, encoded(p, ids, states)]))
    return by_person


def regions():
    """One of the left, falling to 0 at three quarters, and what it leaves."""
    left = (torch.arange(WIDTH) / WIDTH * -4 + 3).clamp(0, 1).expand(HEIGHT, WIDTH)
    return torch.stack([left, 1 - left])


def placed(photos=1, weights=(1.0, 0.6)):
    members = zip((1, 2), regions(), weights, strict=True)
    people = (a_member(n, photos, Slot((0.0, 0.0), mask=mask), weight) for n, mask, weight in members)
    return PlacedCast(tuple(people), WIDTH, HEIGHT)


def masked():
    """Both, without places."""
    return Cast((a_member(1, 1), a_member(2, 1, weight=0.6)))


def alone(photos=1):
    return Cast((a_member(1, photos),))


def seeing():
    return {
        "eva_clip": read("pulid_eva", eva_file()),
        "face_parser": read("pulid_parser", face_parser_file()),
    }


class Published:
    """A cross-attention of diffusers in which people are read. layer: of the file. tokens: (2, T, 2048) of each.

    masks: (people, H, W), or None. scales: of each. zeros: how many zero tokens.
    """

    def __init__(self, layer, tokens, masks, scales, projection, zeros):
        self.layer, self.tokens, self.masks, self.scales = layer, tokens, masks, scales
        self.projection, self.zeros = projection, zeros

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q = attn.to_q(hidden_states)
        text = attend(attn.heads, q, attn.to_k(context), attn.to_v(context))
        out = text
        for number, tokens in enumerate(self.tokens if encoder_hidden_states is not None else ()):
            padded = functional.pad(tokens, (0, 0, 0, self.zeros))
            k, v = (linear(padded, self.layer, f"id_to_{side}") for side in "kv")
            added = self.kept(text, q, k, attend(attn.heads, q, k, v), attn.heads)
            out = out + self.scales[number] * self.share(number, q.shape[1]) * added
        return attn.to_out[0](out)

    def kept(self, text, q, k, read_of_person, head_count):
        if self.projection == "off":
            return read_of_person
        along = torch.einsum("bnc,bnc->bc", text, read_of_person) / torch.einsum("bnc,bnc->bc", text, text)
        part = along[:, None] * text
        if self.projection == "fidelity":
            q, k = (x.unflatten(-1, (head_count, -1)) for x in (q, k))
            shares = torch.einsum("bnhd,bthd->bhnt", q, k).softmax(-1)
            part = part * (1 - shares[..., :5].sum(-1).mean(1)[..., None])
        return read_of_person - part

    def share(self, number, pixels):
        if self.masks is None:
            return 1.0
        height = round((pixels * HEIGHT / WIDTH) ** 0.5)
        return functional.interpolate(self.masks[None], (height, pixels // height))[0, number].reshape(1, -1, 1)


SDXL_CASES = {
    "one everywhere, v1.1": ("former", alone(), {}, 20),
    "one of three photos, v1": ("encoder", alone(3), {"weight": 1.1}, 8),
    "two by region, v1.1": ("former", placed(2), {"weight": 0.9}, 20),
    "two by region, style": ("encoder", placed(), {"projection": "style"}, 16),
    "two by region, off": ("encoder", placed(), {"projection": "off"}, 0),
}


@pytest.mark.both_hosts
@pytest.mark.parametrize("case", each(SDXL_CASES, ["one of three photos, v1", "two by region, v1.1"]))
@torch.no_grad()
def test_sampling_of_sdxl_equals_diffusers(case):
    version, cast, changed, zeros = SDXL_CASES[case]
    unet = tiny_sdxl.diffusers_unet()
    model = tiny_sdxl.host_model(unet)
    file = pulid_file(attention_widths(model), version)
    sampling = Sampling(WIDTH, HEIGHT, 4, cfg=4.0)
    inputs = {"pulid": read("pulid", file), "cast": cast, **seeing(), **changed}
    latents = sampling.ours(*apply("LikenessApplyPuLID", model=model, **sampling.sides, **inputs))

    tokens = tokens_of(cast.people, below("id_adapter.", file))
    scales = [changed.get("weight", 0.8) * member.weight for member in cast.people]
    masks = regions() if isinstance(cast, PlacedCast) else None
    processors = {}
    for n, name in enumerate(unet.attn_processors):
        layer = below(f"id_adapter_attn_layers.{n}.", file)
        processors[name] = Published(layer, tokens, masks, scales, changed.get("projection", "fidelity"), zeros)
    unet.set_attn_processor(processors)
    assert relative(latents, sampling.theirs(unet)) <= WHOLE_SAMPLING


def hooked(model, file, tokens, shares, weights):
    """The MODEL with people behind double block 0 and single block 0, in the rows of both sides; and what undoes it."""
    network = model.model.diffusion_model
    file, tokens, shares = devices.on_device((file, tokens, shares))
    now = []

    def forward(executor, *args, **kwargs):
        options = kwargs.get("transformer_options") or args[-1]
        sides = options["cond_or_uncond"]
        now[:] = [1 - side for side in sides for _ in range(len(args[0]) // len(sides))]  # the host's 1 is the negative
        return executor(*args, **kwargs)

    def plus(n, every, first):
        p = below(f"pulid_ca.{n}.", file)
        picture = every[:, first:]
        q = linear(norm(picture, p, "norm2"), p, "to_q")
        for of_person, share, weight in zip(tokens, shares, weights, strict=True):
            k, v = linear(norm(of_person[now], p, "norm1"), p, "to_kv").chunk(2, dim=-1)
            added = linear(plain_attention(q, k, v, BLOCK_HEAD), p, "to_out")
            picture = picture + weight * share * added
        return torch.cat([every[:, :first], picture], dim=1)

    hooks = [
        network.double_blocks[0].register_forward_hook(lambda _, __, out: (plus(0, out[0], 0), out[1])),
        network.single_blocks[0].register_forward_hook(lambda _, __, out: plus(1, out, TEXT)),
    ]
    clone = model.clone()
    clone.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "published", forward)
    return clone, hooks


FLUX_CASES = {
    "one everywhere": (tiny_dits.FLUX, alone()),
    "one of two photos": (tiny_dits.FLUX, alone(2)),
    "two by region, soft edges": (tiny_dits.FLUX, placed()),
    "Chroma, one of two photos": (tiny_dits.CHROMA, alone(2)),
    "Chroma, two by region, soft edges": (tiny_dits.CHROMA, placed()),
    "Chroma, two by a mask each, two pictures of odd sides": (tiny_dits.CHROMA, masked()),
}


@marks.transformers
@pytest.mark.parametrize("case", FLUX_CASES)
@torch.no_grad()
def test_sampling_of_flux_and_chroma_equals_the_formulas(case):
    """With CFG, so that the tokens of nobody count too."""
    family, cast = FLUX_CASES[case]
    model, file = tiny_dits.model(family), pulid_flux_file()
    sides = {side: tiny_dits.conditioning(n) for n, side in enumerate(("positive", "negative"), 1)}
    start = tiny_dits.latent(family, WIDTH, HEIGHT)
    masks = regions()
    inputs = {"pulid": read("pulid_flux", file), "cast": cast, "weight": 0.9, **seeing()}
    if "a mask each" in case:
        masks = masks[:, 8:, 8:]  # 11 x 15 latent pixels
        start = tiny_dits.latent(family, WIDTH - 8, HEIGHT - 8, rows=2)
        inputs["mask"] = masks
    latents = tiny_dits.sample(*apply("LikenessApplyPuLID", model=model, **sides, **inputs), start, 4)

    tokens = tokens_of(cast.people, below("pulid_encoder.", file))
    shares = [1.0]
    if len(cast.people) > 1:
        of_cells = functional.avg_pool2d(masks[:, None], 8)
        height, width = of_cells.shape[2:]
        padded = functional.pad(of_cells, (0, width % 2, 0, height % 2), mode="replicate")
        shares = functional.avg_pool2d(padded, 2).flatten(1)[..., None]  # (people, tokens, 1)
    published, hooks = hooked(model, file, tokens, shares, [0.9 * member.weight for member in cast.people])
    expected = tiny_dits.sample(published, *sides.values(), start, 4)
    for hook in hooks:
        hook.remove()
    assert relative(latents, expected) <= WHOLE_SAMPLING


def test_blocks_of_flux_1_dev():
    """20 of its 57 blocks, as many as the file has attentions."""
    behind = [number for number, reads in enumerate(reads_behind(19, 38)) if reads]
    assert behind == [*range(0, 19, 2), *range(19, 57, 4)]
    assert len(behind) == 20


@pytest.mark.parametrize(("network", "published"), [("", 0.8), pytest.param("FLUX.1", 1.0, marks=marks.transformers)])
def test_weight_minus_1_is_that_of_the_authors_demos_and_no_other_below_0(network, published):
    (row,) = (row for row in rows() if row.kind == "LikenessApplyPuLID" and row.network == network)

    def drawn(weight):
        return latents(row.sampled(row.node(weight=weight)))

    by_demo, off = drawn(published), drawn(0.0)
    assert torch.equal(drawn(row.defaults["weight"]), by_demo)
    assert torch.equal(drawn(-1.0), by_demo)
    assert relative(drawn(published / 2), by_demo) > 1e-4
    # Next to 0 a person is next to nothing, on either side.
    assert 0 < relative(drawn(-0.01), off) < relative(by_demo, off) / 4
