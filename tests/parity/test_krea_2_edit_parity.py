"""People as References on Krea 2 as the LoRA Identity Edit reads references, against its formulas written plainly: a
sequence of text, references and picture, each reference fitted into the picture and in its middle. And as LoRAs read
them that were trained by ai-toolkit of ostris: at their own size, in the corner, at the time 0."""

from functools import cache

import comfy.patcher_extension
import marks
import pytest
import torch
import torch.nn.functional as functional
from comfy.ldm.flux.layers import timestep_embedding
from families import RECORDS
from figures import WHOLE_SAMPLING, relative
from pack.core.cast import PlacedCast
from pack.core.places import group
from peers import apply
from sample_values import image
from tiny import devices, people_made, tiny_dits

pytestmark = marks.transformers
MARK = "<|vision_start|><|image_pad|><|vision_end|>"
TEMPLATE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)


@cache
def networks():
    record = RECORDS[tiny_dits.KREA_2]
    return record.clip(), record.vae(), record.model()


def people(count, width, height):
    slots = group.layout(count, "half", 1, width, height).slots
    made = tuple(people_made.a_member(number, slot=slot) for number, slot in enumerate(slots, 1))
    return PlacedCast(made, width, height)


def tokens(network, latent, frame, grid):
    """(B, rows * columns, width) and their positions (rows * columns, 3), in the middle of a grid (rows, columns)."""
    cells = latent.flatten(1, 2).unfold(2, 2, 2).unfold(3, 2, 2)  # (B, C, rows, columns, 2, 2)
    rows, columns = cells.shape[2:4]
    y = torch.arange(rows) + (grid[0] - rows) / 2
    x = torch.arange(columns) + (grid[1] - columns) / 2
    positions = torch.stack([torch.full((rows, columns), float(frame)), *torch.meshgrid(y, x, indexing="ij")], dim=2)
    return network.first(cells.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)), positions.flatten(0, 1)


def predicted(network, latent, time, text, references, whose, read_by, boost=1.0, training="own"):
    """What the network predicts of a latent, (B, C, 1, h, w). read_by: (people, tokens of the picture) bool. boost: of
    people's references."""
    batch, _, _, height, width = latent.shape
    grid = height // 2, width // 2
    text = network.txtmlp(network.txtfusion(text.unflatten(2, (network.txtlayers, network.txtdim))))
    pieces = [(text, torch.zeros(text.shape[1], 3))]
    for frame, reference in enumerate(references, 1):
        middle_of = grid if training == "own" else (reference.shape[-2] // 2, reference.shape[-1] // 2)
        pieces.append(tokens(network, reference.expand(batch, -1, -1, -1, -1), frame, middle_of))
    pieces.append(tokens(network, latent, 0, grid))
    sequence = torch.cat([piece for piece, _ in pieces], dim=1)
    counts = [piece.shape[1] for piece, _ in pieces]
    of_references = slice(counts[0], -counts[-1])
    owners = [None, *whose, None]
    reads = torch.ones(sequence.shape[1], sequence.shape[1])
    for owner, keys in zip(owners, torch.arange(len(reads)).split(counts), strict=True):
        if owner is None:
            continue
        if read_by is not None:
            rows = [torch.full((count,), float(owner == other)) for other, count in zip(owners, counts, strict=True)]
            reads[:, keys] = torch.cat([*rows[:-1], read_by[owner].float()])[:, None]
        reads[-counts[-1] :, keys] *= boost
    rotations = network.pe_embedder(torch.cat([positions for _, positions in pieces])[None])
    if training.endswith("isolated"):
        reads[of_references, : counts[0]] = reads[of_references, -counts[-1] :] = 0
    embedded = network.tmlp(timestep_embedding(time, network.tdim)[:, None])
    modulation = network.tproj(embedded).repeat(1, sequence.shape[1], 1)  # (B, tokens, 6 * width)
    if training != "own":
        at_zero = network.tmlp(timestep_embedding(torch.zeros_like(time), network.tdim)[:, None])
        modulation[:, of_references] = network.tproj(at_zero)
    for block in network.blocks:
        sequence = block(sequence, modulation, rotations, reads.log())
    of_picture = network.last(sequence, embedded)[:, -counts[-1] :]  # (B, tokens, 4 * channels)
    cells = of_picture.unflatten(1, grid).unflatten(3, (-1, 2, 2)).permute(0, 3, 1, 4, 2, 5)
    return cells.reshape(latent.shape)


def plainly(model, whose, read_by, **how):
    """The MODEL with that in the place of the host's own forward."""

    def wrapper(executor, x, time, text, _mask, references, _options, **_):
        with x.device:
            return predicted(executor.class_obj, x, time, text, references, whose, devices.on_device(read_by), **how)

    clone = model.clone()
    clone.add_wrapper(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, wrapper)
    return clone


def said(clip, text, pictures, marks=MARK):
    tokens_of_text = clip.tokenize(text, images=pictures, llama_template=TEMPLATE.format(marks + "{}"))
    return clip.encode_from_tokens_scheduled(tokens_of_text)


def fitted(picture, cut, size):
    """The middle of a picture, scaled. cut, size: width and height."""
    height, width = picture.shape[1:3]
    top, left = (height - cut[1]) // 2, (width - cut[0]) // 2
    middle = picture[:, top : top + cut[1], left : left + cut[0]].movedim(3, 1)
    return functional.interpolate(middle, size[::-1], mode="bicubic", antialias=True).movedim(1, 3).clamp(0, 1)


ROOM = 300, 512, (293, 512), (128, 224)
"""A picture in a canvas of 320x224 px: width, height, what of it is cut out, and what that is scaled to."""


OWN, LABELS = "own", "own, Image N labels"


@pytest.mark.parametrize(("canvas", "count", "strength", "room", "boost", "training"), [
    pytest.param((320, 224), 1, 0.0, False, 1.0, OWN, marks=pytest.mark.thorough),
    ((336, 224), 2, 0.0, False, 1.0, LABELS),
    pytest.param((224, 320), 2, 1.0, False, 0.4, OWN, marks=pytest.mark.thorough),
    ((320, 224), 1, 1.0, True, 4.0, OWN),
    pytest.param((320, 224), 1, 0.0, True, 9.7, LABELS, marks=pytest.mark.thorough),
])  # fmt: skip
def test_references_are_read_as_by_identity_edit(canvas, count, strength, room, boost, training):
    """336 px are 21 tokens, of which a portrait of 224 px takes 14: half a token beside those of the picture. A room is
    in front of the people, for the network and for the text encoder."""
    clip, vae, model = networks()
    cast = people(count, *canvas)
    portraits = [member.person.portraits.loose[:1].float() / 255 for member in cast.people]
    pictures, whose = list(portraits), list(range(count))
    latents = [vae.encode(fitted(portrait, (512, 512), (min(canvas), min(canvas)))) for portrait in portraits]
    if room:
        width, height, cut, size = ROOM
        pictures = [image(width, height), *pictures]
        latents = [vae.encode(fitted(pictures[0], cut, size)), *latents]
        whose = [None, *whose]
    side = torch.arange(canvas[0]) < canvas[0] // 32 * 16
    masks = torch.stack([side, ~side])[:count, None].expand(-1, canvas[1], -1).float()
    positive, negative, text, bound = apply(
        "LikenessPeopleAsReferences", clip=clip, vae=vae, model=model, cast=cast, negative_prompt="", mask=masks,
        pictures=pictures[0] if room else None, region_strength=strength, reference_boost=boost, training=training,
    )  # fmt: skip
    labelled = "".join(f"Image {number}: {MARK} " for number in range(1, len(pictures) + 1))
    marks_of_all = labelled if training == LABELS else MARK * len(pictures)
    options = {"reference_latents": latents, "reference_latents_method": "index"}
    sides = [
        [[encoded, {**more, **options}] for encoded, more in said(clip, words, pictures, marks_of_all)]
        for words in (text, "")
    ]
    for side, expected in zip((positive, negative), sides, strict=True):
        assert torch.equal(side[0][0], expected[0][0])
        assert all(map(torch.equal, side[0][1]["reference_latents"], latents))
    start = tiny_dits.latent(tiny_dits.KREA_2, *canvas, rows=2)
    result = tiny_dits.sample(bound, positive, negative, start)
    read_by = masks[:, ::16, ::16].flatten(1) > 0 if strength else None
    expected = tiny_dits.sample(plainly(model, whose, read_by, boost=boost), *sides, start)
    assert relative(result, expected) <= WHOLE_SAMPLING
    assert relative(tiny_dits.sample(model, *sides, start), expected) > 1e-3, "as the host has them, in the corner"


@pytest.mark.parametrize(("training", "strength"), [
    ("ostris edit", 0.0), ("ostris edit, isolated", 1.0),
    pytest.param("ostris edit, isolated", 0.0, marks=pytest.mark.thorough),
])  # fmt: skip
def test_references_are_read_as_by_loras_of_ai_toolkit(training, strength):
    clip, vae, model = networks()
    canvas = 320, 224
    cast = people(1, *canvas)
    portrait, room = cast.people[0].person.portraits.loose[:1].float() / 255, image(300, 512)
    sized = {"portrait": (512, 512), "room": (512, 304), "shown portrait": (384, 384), "shown room": (502, 294)}
    scaled = {
        name: functional.interpolate((portrait if "portrait" in name else room).movedim(3, 1), size, mode="area")
        for name, size in sized.items()
    }
    portrait, room, *shown = (picture.movedim(1, 3) for picture in scaled.values())
    latents = [vae.encode(picture) for picture in (portrait, room)]
    mask = (torch.arange(canvas[0]) < 160)[None, None].expand(-1, canvas[1], -1).float()
    positive, negative, text, bound = apply(
        "LikenessPeopleAsReferences", clip=clip, vae=vae, model=model, cast=cast, negative_prompt="", mask=mask,
        pictures=image(300, 512), region_strength=strength, training=training, size=512,
    )  # fmt: skip
    options = {"reference_latents": latents, "reference_latents_method": "index_timestep_zero"}
    marks_of_two = f"Picture 1: {MARK}Picture 2: {MARK}"
    sides = [
        [[encoded, {**more, **options}] for encoded, more in said(clip, words, shown, marks_of_two)]
        for words in (text, "")
    ]
    for side, expected in zip((positive, negative), sides, strict=True):
        assert torch.equal(side[0][0], expected[0][0])
        assert all(map(torch.equal, side[0][1]["reference_latents"], latents))
    start = tiny_dits.latent(tiny_dits.KREA_2, *canvas, rows=2)
    read_by = mask[:, ::16, ::16].flatten(1) > 0 if strength else None
    expected = tiny_dits.sample(plainly(model, [0, None], read_by, training=training), *sides, start)
    assert relative(tiny_dits.sample(bound, positive, negative, start), expected) <= WHOLE_SAMPLING
    as_the_host = relative(tiny_dits.sample(model, *sides, start), expected)
    assert (as_the_host > 1e-3) == ("isolated" in training), "the host reads them so, but for isolated ones"
