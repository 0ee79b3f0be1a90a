"""Parts prepared as Parts2Whole prepares them, and what may be wrong with one."""

import math
from functools import partial

import drawn
import numpy as np
import pytest
import torch
from pack.core.parts import cut_outs, part_notes, resizing
from pack.core.parts.bank import PartWeights, key_bias, token_mask, tokens_inside, window
from pack.core.parts.parts import LABELS, BadPart, Parts, make_part
from pack.core.parts.resizing import prepare
from pack.core.pictures.tensors import as_drawing, as_rgb
from PIL import Image

picture = partial(drawn.picture, width=90, height=130)


def part(image=None, label="face", mask=None, weight=1.0, target=None):
    return make_part(label, picture(1) if image is None else image, mask, weight, target)


def box(width=90, height=130):
    mask = torch.zeros(1, height, width)
    mask[:, 20:70, 10:60] = 1
    return mask


def pillow(values, mode, size, resampling=Image.Resampling.BICUBIC):
    """As Pillow resizes a picture of 8 bits, float32 0..1."""
    picture_of_8_bits = Image.fromarray((values.numpy() * 255).round().astype(np.uint8)).convert(mode)
    return np.asarray(picture_of_8_bits.resize(size, resampling)) / np.float32(255)


@pytest.mark.parametrize("size", [(64, 96), (200, 304)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_preparation_equals_pillow(channels, size):
    """A mask wins over alpha and is resized by itself."""
    image = picture(channels, channels=channels)
    mask = box(45, 45) * 0.6
    rgba = pillow(image[0].expand(-1, -1, 3) if channels == 1 else image[0], "RGBA", size)
    alpha = rgba[..., 3:]
    ready = prepare(part(image, mask=None), *size)
    masked = prepare(part(image, mask=mask), *size)
    for prepared in (ready, masked):
        assert np.abs(prepared.picture.numpy() - (rgba[..., :3] * alpha + 1 - alpha)).max() <= 1e-6
    assert np.abs(ready.mask.numpy() - alpha[..., 0]).max() == 0
    assert np.array_equal(masked.mask.numpy(), pillow(mask[0], "L", size))


def test_pose_pictures_equal_pillows_lanczos():
    image = picture(3)
    expected = pillow(image[0], "RGB", (64, 96), Image.Resampling.LANCZOS)
    assert np.abs(resizing.pose_picture(image, 64, 96)[0].movedim(0, -1).numpy() - expected).max() <= 1e-6
    assert torch.equal(resizing.pose_picture(image, 90, 130)[0], image[0].movedim(-1, 0)), "the right size stays"


def test_pose_pictures_of_the_right_size_stay_bit_for_bit():
    image = picture(5, width=96, height=64)
    assert torch.equal(resizing.pose_picture(image, 96, 64), image.movedim(-1, 1))
    turned = resizing.pose_picture(image, 64, 96)
    assert turned.shape == (1, 3, 96, 64)


def test_a_part_is_cut_out_on_white_in_the_middle_of_a_square():
    """A red thing of 20x60 px: 20 px of white at its left and right."""
    image = torch.zeros(1, 100, 100, 3)
    mask = torch.zeros(1, 100, 100)
    image[..., 0] = 1
    mask[:, 10:70, 30:50] = 1
    mask[:, 10, 30] = 0
    red_thing = part(image, mask=mask)
    cut_out = cut_outs.cut_out_of_part(red_thing)
    assert cut_out.shape == (60, 60, 3)
    white = torch.ones(3)
    red = torch.tensor([1.0, 0, 0])
    assert (cut_out[:, :20] == white).all()
    assert (cut_out[:, 40:] == white).all()
    assert (cut_out[1:, 20:40] == red).all()
    assert torch.equal(cut_out[0, 20], white), "what the mask leaves out"
    assert torch.equal(cut_outs.piece_of_part(red_thing), cut_out[:, 20:40])
    there = part(image, target=mask)
    assert torch.equal(cut_outs.cut_out_of_target(there, image[0]), cut_out)


def test_what_does_not_count_is_dim_in_the_sheet():
    """A white picture of which the left half counts: the rest is magenta."""
    mask = torch.zeros(1, 100, 100)
    mask[:, :, :50] = 1
    parts = Parts((part(torch.ones(1, 100, 100, 3), mask=mask),))
    # A cell of 160 px, 6 px from the edges.
    sheet = part_notes.sheet(parts)[0]
    assert sheet[80, 30].tolist() == [1, 1, 1]
    assert sheet[80, 140].tolist() == pytest.approx([0.25 + 0.35, 0.25, 0.25 + 0.35], abs=0.004)


def test_targets_are_everywhere_where_none_is_given():
    half = torch.zeros(1, 10, 8)
    odd = torch.ones(1, 64, 64)
    half[..., :4] = 1
    odd[..., :32] = math.nan
    targets = resizing.targets((part(), part(target=half)), 64, 96)
    assert targets.shape == (2, 96, 64)
    assert bool((targets[0] == 1).all())
    assert bool((targets[1, :, :32] == 1).all())
    assert not targets[1, :, 32:].any()
    assert resizing.targets((part(), part(target=torch.ones(1, 10, 8))), 64, 96) is None
    clean = part(target=odd).target
    assert clean.isfinite().all()
    assert not clean[:, :32].any()
    assert clean[:, 32:].all()


def test_pictures_of_one_garment_share_the_weight_of_the_heaviest():
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1
    front, of_a_neighbour, face = part(label="coat", weight=0.8), part(label="coat", target=left), part(weight=0.7)
    absent, back = part(label="coat", weight=0.0), part(label="coat", weight=0.2)
    parts = Parts((front, of_a_neighbour, absent, face, back, part(label="coat", target=left.clone(), weight=3.0)))
    assert parts.garments == ((front, back), (of_a_neighbour, parts.parts[-1]), (face,))
    assert parts.weights == pytest.approx([0.64, 0.75, 0.7, 0.16, 2.25])
    assert Parts((face,)).weights == [0.7]
    (remark,) = part_notes.pictures_of_garment(parts)
    assert remark.startswith("2 parts 'coat': pictures of one garment")
    assert not part_notes.pictures_of_garment(Parts((front, of_a_neighbour)))


@pytest.mark.parametrize("name", ["mask", "target_mask", "alpha channel"])
def test_a_part_that_would_vanish_is_refused(name):
    zeros = torch.zeros(1, 130, 90)
    clear = picture(1, channels=4) * 0
    inputs = {"mask": {"mask": zeros}, "target_mask": {"target": zeros}, "alpha channel": {"image": clear}}
    empty_input = inputs[name]
    with pytest.raises(BadPart) as error:
        part(**empty_input)
    assert f"The part 'face' cannot be used: its {name} (90x130 px) is empty: every value is 0." in str(error.value)
    if name == "target_mask":
        assert "Paint on the photo where the part goes (right click" in str(error.value)
    assert "right click the node of the picture, Open in Mask Editor, paint over what shall count, Save" in str(
        error.value
    )
    assert part(**empty_input, weight=0.0).weight == 0, "left out, so nothing can vanish"


def test_the_mask_of_a_photo_in_which_nobody_has_painted_is_none():
    """Load Image gives 64x64 zeros for it."""
    empty = torch.zeros(1, 64, 64)
    alpha = picture(1, channels=4)
    unpainted = part(mask=empty)
    assert unpainted.mask is None
    assert bool((prepare(unpainted, 64, 96).mask == 1).all())
    assert torch.equal(part(alpha, mask=empty).alpha, alpha[0, ..., 3])
    with pytest.raises(BadPart, match="target_mask"):
        part(target=empty)


def test_several_masks_are_one_part_in_pieces():
    """Two shoes, as a detector finds them; one of its masks is what it always was."""
    masks = torch.zeros(2, 130, 90)
    masks[0, 100:, :45] = masks[1, 100:, 45:63] = 1
    shoes = part(label="shoes", mask=masks, target=masks)
    face = part(mask=masks[:1])
    assert torch.equal(shoes.mask, masks.sum(0))
    assert torch.equal(shoes.target, shoes.mask)
    assert torch.equal(face.mask, masks[0])
    assert not part_notes.notes_on_part(face, mask=masks[:1])
    (remark,) = part_notes.notes_on_part(shoes, mask=masks)
    assert remark == "The mask of 'shoes' is a batch of 2 masks, which count together: 16% of the picture."
    assert part_notes.caption(1, face) == "1 face"
    assert part_notes.caption(2, shoes) == "2 shoes, 2 masks 16%"
    assert part_notes.caption(3, part(mask=masks, weight=0.5)) == "3 face 0.5, 2 masks 16%"
    with pytest.raises(BadPart, match=r"its mask \(90x130 px\) is empty"):
        part(mask=masks * 0)


def test_a_label_has_a_thousand_letters_at_most():
    assert part(label="x" * 1000).label == "x" * 1000
    with pytest.raises(BadPart, match="its label has 1001 letters"):
        part(label="x" * 1001)


def test_labels_that_the_weights_have_not_seen_are_named_in_one_line():
    assert part_notes.strange_labels([part(label=label) for label in LABELS]) == []
    (line,) = part_notes.strange_labels([part(label="a red scarf")])
    assert line.startswith("'a red scarf' is none of the six labels that the weights were trained with: upper body")
    several = [part(label=label) for label in ("clothes", "face", "a red scarf", "clothes")]
    (line,) = part_notes.strange_labels(several)
    assert line.startswith("'clothes', 'a red scarf' are none of the six labels")


def test_nothing_is_said_of_a_part_that_is_as_it_should_be():
    opaque, words = part(picture(1, channels=4)), "a red scarf"  # which shared attention takes, whatever they are
    for good in (part(), part(mask=box()), opaque, *(part(label=label) for label in (*LABELS, words))):
        assert not part_notes.notes_on_part(good)
    assert not part_notes.notes_on_part(part(mask=box()), mask=box()[0], target_mask=None)


def test_a_mask_of_another_size_is_said_to_be_stretched():
    (remark,) = part_notes.notes_on_part(part(mask=box(64, 80)))
    assert remark == "The mask of 'face' is 64x80 px and its picture 90x130 px: the mask is stretched over the picture."


@pytest.mark.parametrize(("mask", "percent"), [(1 - 0.9 * torch.eye(130)[:, :90][None], 99), (1 - box(), 79)])
def test_a_mask_that_keeps_most_of_the_picture_may_be_inverted(mask, percent):
    (remark,) = part_notes.notes_on_part(part(mask=mask))
    assert f"keeps {percent}% of the picture" in remark
    assert "Invert Mask" in remark


def test_a_batch_of_target_masks_is_said_to_count_together():
    two = torch.ones(2, 64, 64)
    (remark,) = part_notes.notes_on_part(part(mask=box(), target=two), mask=box(), target_mask=two)
    assert remark == "The target_mask of 'face' is a batch of 2 masks, which count together: 100% of the picture."


def test_pictures_that_are_stretched_to_the_canvas_are_named():
    square = part(torch.ones(1, 64, 64, 3), label="shoes")
    absent = part(torch.ones(1, 64, 64, 3), weight=0.0)
    (remark,) = part_notes.stretched(Parts((square, part(), absent)), 512, 768)
    assert remark == "Pictures stretched to 512x768 px: 'shoes' from 64x64 px; crop them to that shape"
    assert not part_notes.stretched(Parts((square,)), 512, 512)


@pytest.mark.parametrize("size", [(1032, 776), (136, 1192), (80, 16)], ids=str)
@pytest.mark.parametrize(("cell", "halvings"), [(8, 3), (4, 2)], ids=["sd15", "sdxl"])
def test_all_of_a_part_that_counts_lies_in_its_window(size, cell, halvings):
    """And little else; also where the last token hangs over the edge of the picture."""
    width, height = size
    for place in range(0, 1 + max(size), 37):
        mask = torch.zeros(height, width)
        x = min(place, width - 1)
        y = min(place, height - 1)
        mask[y : y + 64, x : x + 64] = 1
        left, top, right, below = window(mask, cell)
        assert left % cell == top % cell == 0
        assert 0 <= left < right <= width // 8
        assert 0 <= top < below <= height // 8
        assert max(right - left, below - top) * 8 < 64 + 32 * cell
        for halved in (2**n for n in range(halvings + 1)):
            grid = [math.ceil(side / 8 / halved) for side in (height, width)]
            tokens = token_mask(mask, math.prod(grid)).unflatten(0, grid)
            rows = slice(top // halved, -(-below // halved))
            columns = slice(left // halved, -(-right // halved))
            assert (tokens[rows, columns] > 0).sum() == (tokens > 0).sum()


def attend(q, k, v, bias):
    logits = q @ k.T * q.shape[-1] ** -0.5
    return (logits if bias is None else logits + bias).softmax(dim=-1) @ v


def layer(masks, share, grid=(9, 7), channels=16):
    """One layer of shared attention both ways: kept tokens and a sink, and dense zeros."""
    generator = torch.Generator().manual_seed(1)
    tokens_of_picture = grid[0] * grid[1]
    x = torch.randn(tokens_of_picture, channels, generator=generator)
    to_k = torch.randn(channels, channels, generator=generator)
    to_v = torch.randn(channels, channels, generator=generator)
    states_of_parts = [torch.randn(tokens_of_picture, channels, generator=generator) for _ in masks]
    parts = tokens_inside(torch.stack(masks), states_of_parts[0]).of(torch.stack(states_of_parts))
    bias = key_bias([(len(p.kept), p.dropped) for p in parts], tokens_of_picture, share, grid, torch.float32)
    sinks = [torch.zeros(1, channels)] * any(p.dropped for p in parts)
    tokens = torch.cat([x, *(p.kept for p in parts), *sinks])
    with_sink = attend(x, tokens @ to_k, tokens @ to_v, None if bias is None else bias[0])
    dense = torch.cat([x, *(states * weights[:, None] for states, weights in zip(states_of_parts, masks, strict=True))])
    # A weight is a number of copies of the part's tokens: exact for whole numbers.
    logits = torch.zeros(tokens_of_picture, tokens_of_picture)
    for n, part_weight in enumerate(share.weights):
        region = torch.ones(tokens_of_picture) if share.targets is None else share.targets[n].flatten()
        logits = torch.cat([logits, (part_weight * region).log()[:, None].expand(-1, tokens_of_picture)], dim=1)
    return with_sink, attend(x, dense @ to_k, dense @ to_v, logits)


ONE = torch.ones(63)
ZERO = torch.zeros(63)
HALF = (torch.arange(63) < 31).float()
SOFT = torch.linspace(0, 1, 63)
LEFT = (torch.arange(7) < 3).float().expand(9, 7)
TARGETS = torch.stack([LEFT, 1 - LEFT, torch.full((9, 7), 0.3), LEFT])


@pytest.mark.parametrize("masks", [[ONE], [ZERO], [SOFT], [1 - HALF, ZERO, HALF, SOFT]], ids=len)
@pytest.mark.parametrize("strength", [1.0, 0.4])
@pytest.mark.parametrize("targets", [None, TARGETS], ids=["all", "targets"])
def test_the_sink_equals_dense_zeros(masks, strength, targets, record_property):
    part_targets = None if targets is None else targets[: len(masks)]
    with_sink, with_zeros = layer(masks, PartWeights([strength * (1 + n / 4) for n in range(len(masks))], part_targets))
    record_property("difference", (with_sink - with_zeros).abs().max().item())
    assert (with_sink - with_zeros).abs().max() <= 1e-6 * with_zeros.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dropped", [1, 60, 5500])
def test_in_half_precision_the_sinks_weigh_as_much_as_what_they_stand_for(dtype, dropped):
    """One alone is off by up to 3 % in bfloat16: of the whole softmax, where few tokens are kept."""
    for target, weight, share in ((None, 1.0, 1.0), (torch.ones(1, 1, 1), 0.7, 0.7), (torch.zeros(1, 1, 1), 1.0, 0.0)):
        bias = key_bias([(0, dropped)], 1, PartWeights([weight], target), (1, 1), dtype)[0, :, 1:].to(dtype)
        assert bias.float().exp().sum().item() == pytest.approx(dropped * share, rel=2e-3)


def test_what_is_half_transparent_is_put_on_white_once_and_what_is_hidden_is_white() -> None:
    """Where CLIP looks at the picture, and where the VAE does."""
    image = torch.full((1, 8, 8, 4), 0.25)
    image[..., 3] = 0.5
    image[:, :, :4, 3] = 0.0
    garment = part(image)
    expected = torch.full((8, 8, 3), 0.25 * 0.5 + 0.5)
    expected[:, :4] = 1.0
    assert torch.equal(garment.on_white, expected)
    # Through 8 bits, as Pillow resizes.
    assert float((prepare(garment, 64, 64).picture[:, 48:] - expected[0, 7]).abs().max()) < 1 / 128
    assert torch.equal(prepare(garment, 64, 64).picture[:, :16], torch.ones(64, 16, 3))
    opaque = part(image[..., :3])
    assert torch.equal(opaque.on_white, image[0, ..., :3])


def test_photos_are_on_white_and_drawings_on_black() -> None:
    image = torch.tensor([[[[0.25, 0.5, 1.0, 0.0], [0.25, 0.5, 1.0, 0.5], [0.25, 0.5, 1.0, 1.0]]]])
    assert torch.equal(as_rgb(image)[0, 0], torch.tensor([[1.0, 1, 1], [0.625, 0.75, 1.0], [0.25, 0.5, 1.0]]))
    assert torch.equal(as_drawing(image)[0, 0], torch.tensor([[0.0, 0, 0], [0.125, 0.25, 0.5], [0.25, 0.5, 1.0]]))
    for to_rgb in (as_rgb, as_drawing):
        assert torch.equal(to_rgb(image[..., :3].half()), image[..., :3])
        assert torch.equal(to_rgb(image[..., :1]), image[..., [0, 0, 0]])
