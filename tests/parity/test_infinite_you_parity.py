"""InfiniteYou's whole sampling through our node and the host's sampler, against diffusers' FLUX.1 and ControlNet."""

from itertools import pairwise

import comfy.model_detection
import comfy.samplers
import infuse_made
import marks
import pytest
import tiny_vaes
import torch
from diffusers import FluxTransformer2DModel
from figures import WHOLE_SAMPLING, relative
from pack.core.cast import Cast, PlacedCast, Slot
from pack.core.places.control_images import face_keypoints
from peers import apply, converted, read
from tiny import tiny_dits, tiny_networks
from tiny.people_made import a_member
from tiny.seeded import fill

pytestmark = marks.transformers
DEPTHS = {"depth": 19, "depth_single_blocks": 38}
"""Of FLUX.1 dev, by which it is settled which block gets which residual."""
SHIFT, SCALE = 0.1159, 0.3611
"""Of FLUX.1's latents."""
KEYPOINTS = ((20.0, 30.0), (40.0, 30.0), (30.0, 40.0), (22.0, 50.0), (38.0, 50.0))


def packed(x):
    """Latents (B, C, h, w) as tokens, odd sides padded as the host pads them."""
    x = torch.nn.functional.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="circular")
    rows, channels, height, width = x.shape
    cells = x.reshape(rows, channels, height // 2, 2, width // 2, 2)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(rows, height * width // 4, 4 * channels)


def unpacked(tokens, height, width):
    high = -(-height // 2)
    wide = -(-width // 2)
    cells = tokens.reshape(len(tokens), high, wide, -1, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return cells.reshape(len(tokens), -1, 2 * high, 2 * wide)[..., :height, :width]


class Pair:
    """The same weights in the host and in diffusers. projection: diffusers' own Resampler."""

    def __init__(self):
        shape = {**infuse_made.DIFFUSERS, "num_layers": DEPTHS["depth"]}
        shape["num_single_layers"] = DEPTHS["depth_single_blocks"]
        self.flux = fill(FluxTransformer2DModel(**shape), 310)
        self.net = infuse_made.peer()
        self.model = tiny_dits.model(tiny_dits.FLUX, **infuse_made.MLP, **DEPTHS)
        state = {key: value.clone() for key, value in self.flux.state_dict().items()}  # of which some is changed
        converted_state = comfy.model_detection.convert_diffusers_mmdit(state, "")
        self.model.model.diffusion_model.load_state_dict(converted_state)
        file = infuse_made.projection_file()
        self.projection = converted(file["image_proj"])
        self.infinite_you = read("infinite_you", file)
        self.control_net = infuse_made.infuse_net(self.net)
        self.vae = tiny_vaes.flux1()

    def hint(self, picture):
        return packed((self.vae.encode(picture[None]) - SHIFT) * SCALE)

    def tokens(self, member):
        return self.projection(member.person.embeddings["arcface-ir-se50"][:, None])


@pytest.fixture(scope="module")
def pair():
    return Pair()


def sums(first, second):
    return [a + b for a, b in zip(first, second, strict=True)]


def plain_sampling(pair, x, sigmas, sides, cfg, passes, inside):
    """Euler over diffusers' own modules. passes: of InfuseNet, each (tokens, hint, seen, share); inside(sigma)."""
    height, width = x.shape[-2:]
    high = -(-height // 2)
    wide = -(-width // 2)
    positions = torch.cartesian_prod(torch.arange(high), torch.arange(wide)).float()
    picture = torch.cat([torch.zeros(len(positions), 1), positions], dim=1)

    def given(sigma, guidance, context, pooled):
        rows = len(x)
        return {
            "timestep": sigma.expand(rows), "guidance": torch.full((rows,), guidance),
            "encoder_hidden_states": context.expand(rows, -1, -1), "pooled_projections": pooled.expand(rows, -1),
            "txt_ids": torch.zeros(context.shape[1], 3), "img_ids": picture, "return_dict": False,
        }  # fmt: skip

    for sigma, after in pairwise(sigmas):
        added: list[list[torch.Tensor]] = []
        for tokens, hint, visible, share in passes if inside(sigma) else ():
            residuals = pair.net(
                hidden_states=packed(x * visible), controlnet_cond=hint.expand(len(x), -1, -1),
                **given(sigma, 1.0, tokens, sides[0][0][1]["pooled_output"]),
            )  # fmt: skip
            double, single = ([residual * share for residual in kind] for kind in residuals)
            added = [sums(added[0], double), sums(added[1], single)] if added else [double, single]
        velocities = []
        for (text, options), control in zip((side[0] for side in sides), (added, []), strict=True):
            double, single = control or (None, None)
            out = pair.flux(
                hidden_states=packed(x), controlnet_block_samples=double, controlnet_single_block_samples=single,
                **given(sigma, 3.5, text, options["pooled_output"]),
            )[0]  # fmt: skip
            velocities.append(unpacked(out, height, width))
        positive, negative = velocities
        x = x + (after - sigma) * (negative + cfg * (positive - negative))
    return x


def two(width, height):
    """Each in a region whose edges lie inside tokens, and which is partly that of the other; elsewhere nobody."""
    left, right = torch.zeros(2, height, width)
    left[21:80, :60] = 1
    right[:, 37:] = 0.7
    slots = [Slot((30.0, 40.0), (10.0, 20.0, 50.0, 60.0), KEYPOINTS, mask=left), Slot((0.0, 0.0), mask=right)]
    people = (a_member(n, slot=slot, weight=weight) for n, slot, weight in zip((1, 2), slots, (1.0, 0.5), strict=True))
    return PlacedCast(tuple(people), width, height)


def on_tokens(region):
    """(H, W) of the picture as the mean over each token, of 2x2 latent pixels: the last of an odd side counts twice."""
    height, width = (side // 8 for side in region.shape)
    cells = region.unflatten(0, (height, 8)).unflatten(2, (width, 8)).mean((1, 3))
    cells = torch.cat([cells, cells[-1:]])[: height + height % 2]
    cells = torch.cat([cells, cells[:, -1:]], dim=1)[:, : width + width % 2]
    return cells.unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).mean((1, 3))


def passes(pair, cast, x, strength):
    """What each person's pass is given, from the cast as it is."""
    height, width = x.shape[2:]
    if not isinstance(cast, PlacedCast):
        black = pair.hint(torch.zeros(8 * height, 8 * width, 3))
        return [(pair.tokens(cast.people[0]), black, torch.ones(()), strength)]
    passes_of_people = []
    shared = sum(member.slot.mask for member in cast.people).clamp(min=1)
    for member in cast.people:
        faces = [member.slot.keypoints] if member.slot.keypoints else []
        share = on_tokens(member.slot.mask / shared)
        visible = (share > 0).float().repeat_interleave(2, 0).repeat_interleave(2, 1)[:height, :width]
        hint = pair.hint(face_keypoints(faces, cast.width, cast.height))
        strength_of_tokens = share.reshape(1, -1, 1) * member.weight * strength
        passes_of_people.append((pair.tokens(member), hint, visible, strength_of_tokens))
    return passes_of_people


CASES = {
    "one person in a batch of two from 0.2 to 0.6, true CFG": (
        1, (144, 112), 2.5, {"start_percent": 0.2, "end_percent": 0.6, "strength": 0.7},
    ),
    "two people, odd sides": (2, (136, 104), 1.0, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_sampling_equals_diffusers(pair, case):
    number, (width, height), cfg, settings = CASES[case]
    cast = Cast((a_member(1),)) if number == 1 else two(width, height)
    sides = tiny_dits.conditioning(1), tiny_dits.conditioning(2)
    start = tiny_dits.latent(tiny_dits.FLUX, width, height, rows=2)
    inputs = {"infinite_you": pair.infinite_you, "control_net": pair.control_net, "vae": pair.vae, "cast": cast}
    applied = apply("LikenessApplyInfiniteYou", positive=sides[0], negative=sides[1], **inputs, **settings)
    latents = tiny_dits.sample(pair.model, *applied, start, steps=4, cfg=cfg)

    schedule = pair.model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(schedule, "simple", 4)
    ends = settings.get("start_percent", 0.0), settings.get("end_percent", 1.0)
    first, last = map(schedule.percent_to_sigma, ends)
    passes_of_people = passes(pair, cast, start, settings.get("strength", 1.0))
    reference = plain_sampling(pair, start, sigmas, sides, cfg, passes_of_people, lambda sigma: first >= sigma >= last)
    assert relative((latents / tiny_networks.LATENT_SCALE - SHIFT) * SCALE, reference) <= WHOLE_SAMPLING
