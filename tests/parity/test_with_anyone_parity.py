"""WithAnyone's whole sampling through our nodes and the host's sampler, against the formulas in plain torch:
everybody's tokens in one attention under a boolean mask, in hooks behind every block of the host's network."""

import math
from dataclasses import replace

import comfy.controlnet
import comfy.patcher_extension
import marks
import pytest
import sample_values
import torch
import torch.nn.functional as functional
from figures import WHOLE_SAMPLING, relative
from pack.core.attention.cross_attention import tokens_in_regions
from pack.core.cast import Cast, PlacedCast, Slot
from pack.core.models.tensors import below
from peers import apply, linear, norm
from seeded_files import with_anyone_file
from tiny import devices, tiny_dits
from tiny.people_made import a_member
from tiny.seeded import normal

pytestmark = marks.transformers
STEPS, TEXT = 4, 7
TOKENS, HEAD = 8, 64
WIDTH, HEIGHT = 136, 104
"""Odd multiples of 8, so that FLUX.1 pads the latent."""
BOXES = ((17.0, 20.0, 64.3, 70.0), (50.0, 33.0, 101.0, 96.4), (90.0, 0.0, 136.0, 50.0))
"""Of faces. The first two overlap, and so do the rows of the last two; two reach a few tenths of a pixel into a row."""


def placed(count: int, photos: int = 1) -> PlacedCast:
    """People in the BOXES."""
    slots = (Slot((0.0, 0.0), box) for box in BOXES[:count])
    return PlacedCast(tuple(a_member(n, photos, slot) for n, slot in enumerate(slots, 1)), WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def pair():
    return tiny_dits.model(tiny_dits.FLUX), with_anyone_file(), sample_values.loaded("with_anyone")


def tokens_in(box, rows, columns):
    """Rows and columns of the picture's tokens that the released create_person_cross_attention_mask_varlen gives to a
    box of floats, px."""
    left, top, right, below = box
    across = slice(max(0, int(left) // 8 // 2), min(columns, math.ceil(right / 8 / 2)))
    return slice(max(0, int(top) // 8 // 2), min(rows, math.ceil(below / 8 / 2))), across


class Published:
    """The file's formulas. embeddings: (people, 512); boxes: of their faces, px, or None: all of the picture."""

    def __init__(self, file, embeddings, boxes):
        self.file, embeddings = devices.on_device((file, embeddings))
        file = self.file
        x = functional.gelu(linear(embeddings, file, "arcface_in_arc.0"))
        x = linear(norm(x, file, "arcface_in_arc.2"), file, "arcface_in_arc.3")
        self.tokens = x.unflatten(-1, (TOKENS, -1)).flatten(0, 1)[None]  # everybody's, one after the other
        mask = torch.zeros(len(embeddings), math.ceil(HEIGHT / 16), math.ceil(WIDTH / 16), dtype=torch.bool)
        for grid, box in zip(mask, boxes or [(0, 0, WIDTH, HEIGHT)], strict=True):
            grid[tokens_in(box, *grid.shape)] = True
        self.mask = devices.on_device(mask.flatten(1).repeat_interleave(TOKENS, dim=0).T)

    def added(self, n, img):
        """Behind block n, to rows (1, L, width) of the picture."""
        p = below(f"ipa_arc.{n}.", self.file)
        q = linear(norm(img, p, "norm2"), p, "to_q")
        k, v = linear(norm(self.tokens, p, "norm1"), p, "to_kv").chunk(2, dim=-1)
        q, k, v = (x.unflatten(-1, (-1, HEAD)).transpose(1, 2) for x in (q, k, v))
        # Rows that may look at nothing get nothing.
        weights = (q @ k.mT / HEAD**0.5).masked_fill(~self.mask, -torch.inf).softmax(-1).nan_to_num(0.0)
        return linear((weights @ v).transpose(1, 2).flatten(2), p, "to_out")


class Residuals(comfy.controlnet.ControlBase):
    """A ControlNet that says the same at every step: the host adds it behind each block."""

    def __init__(self):
        super().__init__()
        rows = math.ceil(HEIGHT / 16) * math.ceil(WIDTH / 16)
        residuals_of_blocks = devices.on_device(normal(9, 4, 1, rows, 64) * 0.2)
        self.residuals = {"input": list(residuals_of_blocks[:2]), "output": list(residuals_of_blocks[2:])}

    def get_control(self, *_):
        return self.residuals

    def copy(self):
        return self


def hooked(model, published, weight, first, last):
    """The MODEL with the faces behind every block of its network, in the positive's rows; and what undoes it."""
    rows = len(published.mask)
    network = model.model.diffusion_model
    now = []

    def forward(executor, *args, **kwargs):
        options = kwargs.get("transformer_options") or args[-1]
        is_in_window = first >= options["sigmas"][0] >= last
        weights_of_rows = [weight * (side == 0 and is_in_window) for side in options["cond_or_uncond"]]
        now[:] = [torch.tensor(weights_of_rows, device=devices.DEVICE)[:, None, None]]
        return executor(*args, **kwargs)

    def plus(n, every, first):
        picture = slice(first, first + rows)
        added = now[0] * published.added(n, every[:, picture])
        return torch.cat([every[:, :first], every[:, picture] + added, every[:, first + rows :]], dim=1)

    double = [
        block.register_forward_hook(lambda _, __, out, n=n: (plus(n, out[0], 0), out[1]))
        for n, block in enumerate(network.double_blocks)
    ]
    single = [
        block.register_forward_hook(lambda _, __, out, n=n: plus(len(double) + n, out, TEXT))
        for n, block in enumerate(network.single_blocks)
    ]
    clone = model.clone()
    clone.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "published", forward)
    return clone, [*double, *single]


CASES = {
    "three, boxes that overlap": (placed(3), BOXES, {}),
    "one of two photos, weaker, from 0.3 to 0.7": (
        placed(1, photos=2), BOXES[:1], {"weight": 0.7, "start_percent": 0.3, "end_percent": 0.7},
    ),
    "one without a place, in all of the picture": (Cast((replace(placed(1).people[0], slot=None),)), None, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_sampling_equals_the_formulas(pair, case):
    cast, boxes, changed = CASES[case]
    model, file, with_anyone = pair
    reference = tiny_dits.latent(tiny_dits.FLUX, 64, 48, 8)
    net = Residuals()
    sides = {
        side: tiny_dits.conditioning(n, [reference], control=net) for n, side in enumerate(("positive", "negative"), 1)
    }
    start = tiny_dits.latent(tiny_dits.FLUX, WIDTH, HEIGHT)
    applied = apply("LikenessApplyWithAnyone", model=model, **sides, with_anyone=with_anyone, cast=cast, **changed)
    latents = tiny_dits.sample(*applied, start, STEPS)

    embeddings = torch.cat([member.person.embeddings["antelopev2"].mean(0, keepdim=True) for member in cast.people])
    to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    window = (to_sigma(changed.get(end, default)) for end, default in (("start_percent", 0.0), ("end_percent", 1.0)))
    published = Published(file, embeddings, boxes)
    published_model, hooks = hooked(model, published, changed.get("weight", 1.0), *window)
    expected = tiny_dits.sample(published_model, *sides.values(), start, STEPS)
    for hook in hooks:
        hook.remove()
    assert relative(latents, expected) <= WHOLE_SAMPLING


def test_random_boxes_reach_the_rows_of_the_released_rule(pair):
    """Some cross the border of the canvas."""
    model, _, with_anyone = pair
    positive = tiny_dits.conditioning(1, [])
    random = torch.Generator().manual_seed(4)
    inputs = {"model": model, "positive": positive, "negative": positive, "with_anyone": with_anyone}
    member = placed(1).people[0]
    for _ in range(40):
        corners, sizes = torch.rand(2, 8, 2, generator=random)
        near = corners * 240 - 20
        boxes = torch.cat([near, near + 24 + sizes * 90], dim=1).tolist()
        people = tuple(replace(member, slot=Slot((0.0, 0.0), tuple(box))) for box in boxes)
        _, carrying, _ = apply("LikenessApplyWithAnyone", **inputs, cast=PlacedCast(people, 256, 256))
        (faces,) = carrying[0][1]["model_conds"]["likeness_block_injections"].cond
        expected = torch.zeros(8, 16, 16, dtype=torch.bool)
        for grid, box in zip(expected, boxes, strict=True):
            grid[tokens_in(box, 16, 16)] = True
        assert torch.equal(tokens_in_regions(faces.acting_regions, (32, 32)), expected.flatten(1))
