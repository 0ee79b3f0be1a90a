"""What each part of the miniature sees and draws, and what an error costs: the table by which train.py trains them.

A part that has learned stays as it is: from what the patch projection says of a photo the cartoons are drawn.
"""

import colorsys
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from .. import avatars, garments, net, parts2whole, places, recogniser
from ..autoencoder import CELL
from ..avatars import Area, area
from ..garments import Slot
from ..looks import BEARD, HAIR, LENGTH, NOBODY, SIZE, SKIN
from ..net import Miniature
from ..parts2whole import Pictures
from ..unet import WIDTH
from . import crowds, portraits

PHOTOS = 14000
BATCH = {places.SMALL: 8, places.LARGE: 2}
OUTFITS, VIEWS = 4, 2
"""Of a batch of Parts2Whole's: how many, and in how many poses each."""
_PART, _LEAST = 200.0, 8.0
"""What errors cost all over a part, and the fewest cells that this is spread over."""
_FACES, _READING = 128, 10.0
"""From how many faces at once InstantID's tokens are taught what they say, and what an error there costs."""
Loss = Callable[[random.Random], Tensor]
"""Of new examples, chosen by a generator."""


@dataclass(frozen=True)
class Pool:
    """Drawn photos, as the recogniser sees them, (n, 512), and as they are, (n, 8): hair, skin, hair length, beard."""

    embeddings: Tensor
    truth: Tensor


def pool(seed: int, photos: int = PHOTOS) -> Pool:
    """Some milliseconds per photo."""
    rng = random.Random(seed)
    drawn = [portraits.draw(rng, min(500, photos - start)) for start in range(0, photos, 500)]
    return Pool(torch.cat([recogniser.embed(crops) for crops, _ in drawn]), torch.cat([truth for _, truth in drawn]))


# --- Pixels to latents and back


def _autoencoder(model: Miniature, _: Pool) -> Loss:
    def loss(rng: random.Random) -> Tensor:
        crops = torch.cat([_crops(rng), _crops(rng), *(_clothes(rng) for _ in range(4))]).to(_device(model))
        latents = model.encoder(crops)
        # Samplers leave some noise; the decoder should not draw it.
        noise = 0.1 * torch.rand_like(latents[:, :1, :1, :1]) * torch.randn_like(latents)
        drawn = model.decoder(latents + noise)
        far = 4 * functional.mse_loss(drawn, crops) + functional.l1_loss(drawn, crops)
        # What is hardly larger than a cell keeps its colour, however seldom it is seen.
        far = far + 20 * functional.avg_pool2d(drawn - crops, CELL).square().mean()
        return far + 1e-3 * latents[:, 3].square().mean()

    return loss


def _clothes(rng: random.Random, side: int = 96) -> Tensor:
    """(1, 3, 96, 96) of somebody who wears any parts, mostly of legs and shoes."""
    told = garments.outfit(rng, rng.sample(list(Slot), rng.randint(1, 5)))
    pixels, _ = garments.worn(garments.standing(rng), told)
    left, top = rng.randint(0, 32), rng.choice((rng.randint(0, 96), 96))
    return pixels[None, :, top : top + side, left : left + side]


def _crops(rng: random.Random, side: int = 96) -> Tensor:
    """(3, 3, 96, 96) of one picture, each about somebody."""
    width, height = size = places.LARGE if rng.random() < 0.6 else places.SMALL
    people = crowds.draw(rng, size)
    pixels, _ = avatars.picture(people, torch.rand(len(people), SIZE), size)
    crops: list[Tensor] = []
    for (x, y), head, _ in rng.choices(people, k=3):
        left = int(min(max(x + rng.uniform(-1, 1) * head - side / 2, 0), width - side))
        top = int(min(max(y + rng.uniform(-1, 1.5) * head - side / 2, 0), height - side))
        crops.append(pixels[:, top : top + side, left : left + side])
    return torch.stack(crops)


# --- Photos to looks


def _projections(model: Miniature, known: Pool) -> Loss:
    """What patches say is a look, and the mean of a person's tokens begins with it."""
    device, (mean, whitening) = _device(model), _whitening(known.embeddings)
    shirts = _shirts((known.embeddings - mean) @ whitening.T)
    embeddings = known.embeddings.to(device)
    looks = torch.cat([known.truth[:, :6], shirts, known.truth[:, 6:]], dim=1).to(device)
    cost = _reading_costs().to(device)

    def loss(_: random.Random) -> Tensor:
        rows = torch.randint(len(looks), (256,))
        seen = functional.normalize(embeddings[rows] + 0.004 * torch.randn(256, net.EMBEDDING, device=device), dim=-1)
        told = model.tokens(seen).mean(1)[:, :SIZE]
        far = (model.looks(seen) - looks[rows]).square() + 0.3 * (told - looks[rows]).square()
        return (far * cost).mean()

    return loss


def _reading_costs() -> Tensor:
    """(11,): what an error in each number of a look costs where it is read from an embedding."""
    cost = torch.ones(SIZE)
    cost[HAIR] = cost[SKIN] = 2.0
    cost[LENGTH] = cost[BEARD] = 0.3
    return cost


@torch.no_grad()
def _whiten(model: Miniature, known: Pool) -> None:
    """What the projections begin with."""
    mean, whitening = _whitening(known.embeddings)
    for projection in (model.patch_proj, model.prompt_proj):
        projection.proj_in.weight.copy_(whitening)
        projection.proj_in.bias.copy_(-whitening @ mean)


def _whitening(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """(512,) mean and (64, 512): principal components of unit variance, largest first."""
    mean = embeddings.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((embeddings - mean).T.double()))
    kept = vectors[:, -WIDTH:].flip(1) / (values[-WIDTH:].flip(0) + 1e-5).sqrt()
    return mean, kept.T.float().contiguous()


def _shirts(whitened: Tensor) -> Tensor:
    """(n, 64) -> (n, 3): a vivid colour that is a function of the embedding, so that two photos of a person agree."""
    mixing = torch.randn(7, 3, generator=torch.Generator().manual_seed(3)) / math.sqrt(7)
    first, second, third = (whitened[:, :7].clamp(-2.5, 2.5) @ mixing).unbind(1)
    hues = (torch.atan2(first, second) / (2 * math.pi) % 1.0).tolist()
    values = (0.55 + 0.4 * torch.sigmoid(1.5 * third)).tolist()
    return torch.tensor([colorsys.hsv_to_rgb(hue, 0.72, value) for hue, value in zip(hues, values, strict=True)])


# --- Looks to pictures


class _Scene(NamedTuple):
    """pixels (3, H, W); hint (3, H, W); cost (1, H/8, W/8) of an error; tokens: embeddings of whoever the prompt tells
    of; told: whether they must not be left out."""

    pixels: Tensor
    hint: Tensor
    cost: Tensor
    tokens: Tensor
    told: bool


def _networks(model: Miniature, known: Pool) -> Loss:
    """UNet, ControlNet and prompt projection, by velocity (v prediction), on cartoons of drawn people in two sizes."""
    device, costs, levels = _device(model), _costs(), net.noise_levels().float()

    def loss(rng: random.Random) -> Tensor:
        size = places.LARGE if rng.random() < 0.55 else places.SMALL
        scenes = [_scene(model, rng, known.embeddings, size, costs) for _ in range(BATCH[size])]
        pixels, hints, cost = (torch.stack(part).to(device) for part in zip(*(one[:3] for one in scenes), strict=True))
        steps = _steps(len(scenes))
        tokens = [_tokens(model, scene, int(step), rng) for scene, step in zip(scenes, steps, strict=True)]
        most = max((len(rows) for rows in tokens if rows is not None), default=0)
        told = torch.cat([net.context(rows, most) for rows in tokens]).to(device)
        noisy, target = _noised(model, pixels, levels[steps])
        strength = 0.8 if rng.random() < 0.4 else 1.0  # 0.8 is the default of Apply ID-Patch
        with torch.autocast(device.type, torch.bfloat16, enabled=_quick_in_half(device)):
            found = model.velocity(noisy, steps.to(device), hints, told, strength)
        return ((found.float() - target).square() * cost).mean()

    return loss


@torch.no_grad()
def _noised(model: Miniature, pixels: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Latents of pictures with noise, and the velocity. kept: (B,), how much of each is left, squared."""
    clean = model.encoder(pixels)
    left, noise = kept.view(-1, 1, 1, 1).to(clean), torch.randn_like(clean)
    return left.sqrt() * clean + (1 - left).sqrt() * noise, left.sqrt() * noise - (1 - left).sqrt() * clean


def _quick_in_half(device: torch.device) -> bool:
    """A processor without bf16 takes 13 times as long for it."""
    return device.type == "cuda" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))


@torch.no_grad()
def _scene(model: Miniature, rng: random.Random, known: Tensor, size: tuple[int, int], costs: Tensor) -> _Scene:
    """Mostly everybody with patch and tokens; now and then a place without a person, or tokens alone."""
    standing = crowds.draw(rng, size)
    people, kind = len(standing), rng.random()
    embeddings = known[rng.sample(range(len(known)), people)]
    if rng.random() < 0.4:
        embeddings = _mixed(embeddings, known, rng)
    looks, patches = (made.cpu() for made in _said(model, embeddings))
    named, only_tokens = torch.ones(people, dtype=torch.bool), 0.12 <= kind < (0.30 if people == 1 else 0.16)
    if kind < 0.12:
        gone = rng.randrange(people)
        patches[gone], looks[gone], named[gone] = 0.0, NOBODY, False
    elif only_tokens:  # who stands where is not told
        patches, looks = 0 * patches, looks[torch.tensor(rng.sample(range(people), people))]
    pixels, cost = _drawn(standing, looks, size, costs)
    hint = net.hint(crowds.skeleton(standing, size), patches, [place.nose for place in standing])[0]
    return _Scene(pixels, hint, cost, embeddings[named], only_tokens)


def _drawn(
    standing: Sequence[places.Place], looks: Tensor, size: tuple[int, int], costs: Tensor
) -> tuple[Tensor, Tensor]:
    """The cartoon (3, H, W), and what an error costs in each of its cells, (1, H/8, W/8)."""
    pixels, areas = avatars.picture(standing, looks, size, 2 if size == places.SMALL else 1)
    cells = size[1] // 8, size[0] // 8
    return pixels, functional.adaptive_avg_pool2d(costs[torch.from_numpy(areas).long()][None], cells)


def _said(model: Miniature, embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Everybody's look and patch."""
    placed = embeddings.to(_device(model))
    return model.looks(placed), model.patches(placed)


def _mixed(people: Tensor, known: Tensor, rng: random.Random) -> Tensor:
    """People who are nobody's photo: each moved along the difference of two others. Real faces lie between and beside
    the drawn ones, and their patches have colours that no drawn one has."""
    others = torch.tensor([rng.sample(range(len(known)), 2) for _ in people])
    far = torch.tensor([[rng.uniform(0.2, 0.9)] for _ in people])
    return functional.normalize(people + far * (known[others[:, 0]] - known[others[:, 1]]), dim=-1)


def _steps(count: int) -> Tensor:
    """More of the noisy ones, where the colours are decided."""
    return torch.where(torch.rand(count) < 0.6, torch.randint(650, 1000, (count,)), torch.randint(1000, (count,)))


def _tokens(model: Miniature, scene: _Scene, step: int, rng: random.Random) -> Tensor | None:
    """Left out where the host leaves them out (id_start_percent) and now and then everywhere; or nobody's, which is
    what the negative side gets."""
    people, left_out, kind = scene.tokens.to(_device(model)), 0.4 if step > 780 else 0.15, rng.random()
    if not len(people) or (kind < left_out and not scene.told):
        return None
    if kind < left_out + 0.1 and not scene.told:
        people = torch.zeros_like(people)
    return model.tokens(people).cpu()


def _costs(hair: float = 5.0, skin: float = 8.0) -> Tensor:
    """(256,): what an error costs in each area: 1 on the wall, 3 on people, 5 where faces are, and most for skin, which
    is learned last."""
    costs = torch.full((256,), 3.0)
    costs[avatars.WALL], costs[avatars.WHITE] = 1.0, 5.0
    for part, cost in ((Area.SKIN, skin), (Area.HAIR, hair), (Area.MOUTH, 5.0), (Area.CHIN, 5.0)):
        costs[[area(person, part) for person in range(254 // len(Area))]] = cost
    return costs


# --- Face and keypoints to a picture, by InstantID


def _instant_id(model: Miniature, known: Pool) -> Loss:
    """One person, all of whom follows from face and keypoints; the UNet stays as it is.

    In half of the pictures one to six places have that one person, since several faces in the keypoints image are
    nothing new to IdentityNet then; in most the face is read around some faces alone, and elsewhere no face, as by
    region: where none is read stands a grey figure, so that nobody's look spreads to a neighbour. Now and then
    IdentityNet is alone or weak, as people set them. What the tokens say of a face is learned from faces alone too,
    many at once: pictures teach hair of rare looks too seldom.
    """
    device, costs, levels = _device(model), _costs(hair=9.0, skin=16.0), net.noise_levels().float()
    method, reading = model.instant_id, _reading_costs().to(device)

    def loss(rng: random.Random) -> Tensor:
        size = places.LARGE if rng.random() < 0.55 else places.SMALL
        scenes = [_portrait(model, rng, known.embeddings, size, costs) for _ in range(BATCH[size])]
        pixels, hints, cost, faces, share = (torch.stack(part).to(device) for part in zip(*scenes, strict=True))
        steps = _steps(len(scenes))
        noisy, target = _noised(model, pixels, levels[steps])
        weights = rng.choice(((1.0, 1.0), (0.8, 0.8), (0.8, 0.8), (1.0, 0.0), (0.6, 1.0)))
        with torch.autocast(device.type, torch.bfloat16, enabled=_quick_in_half(device)):
            found = method.velocity(model.unet, noisy, steps.to(device), hints, method.tokens(faces), *weights, share)
        drawn = ((found.float() - target).square() * cost).mean()
        many = _mixed(known.embeddings[torch.randint(len(known.embeddings), (_FACES,))], known.embeddings, rng)
        unread = _unread(method.tokens(recogniser.raw(many).to(device)), _said(model, many)[0])
        return drawn + _READING * (unread * reading).mean()

    return loss


def _unread(tokens: Tensor, looks: Tensor) -> Tensor:
    """(11,): what the best linear function of the tokens' mean (P, 16, 64) still misses of looks (P, 11), squared."""
    said, meant = (each - each.mean(0) for each in (tokens.mean(1), looks))
    ridge = 1e-3 * len(said) * said.var() * torch.eye(said.shape[1], device=said.device)
    return (meant - said @ torch.linalg.solve(said.T @ said + ridge, said.T @ meant)).square().mean(0)


@torch.no_grad()
def _portrait(
    model: Miniature, rng: random.Random, known: Tensor, size: tuple[int, int], costs: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """pixels (3, H, W); hint (3, H, W); cost (1, H/8, W/8); the embedding (512,), as long as a recogniser gives it; how
    much of the face is read where (1, H/8, W/8): everywhere, or around some faces alone, as by region."""
    standing = crowds.by_face(crowds.draw(rng, size), size)
    if rng.random() < 0.5:
        standing = [rng.choice(standing)]
    embedding = known[[rng.randrange(len(known))]]
    if rng.random() < 0.4:
        embedding = _mixed(embedding, known, rng)
    looks = model.looks(embedding.to(_device(model))).cpu().repeat(len(standing), 1)
    read = rng.sample(range(len(standing)), rng.randint(1, len(standing)))
    if everywhere := rng.random() < 0.3:
        read = range(len(standing))
    looks[[number not in read for number in range(len(standing))]] = NOBODY
    pixels, cost = _drawn(standing, looks, size, costs)
    hint = crowds.keypoints(standing, size).permute(2, 0, 1)
    share = torch.ones_like(cost) if everywhere else crowds.around(rng, [standing[number] for number in read], size)
    return pixels, hint, cost, recogniser.raw(embedding)[0], share


@torch.no_grad()
def _begin_instant_id(model: Miniature, known: Pool) -> None:
    """As the release was: IdentityNet from the UNet's ControlNet, keys and values from those of the text; and what
    reads a face from the ID tokens' reader, for embeddings of their own length."""
    method = model.instant_id
    method.identity.load_state_dict(model.control.state_dict())
    method.image_proj.load_state_dict(model.prompt_proj.state_dict())
    method.image_proj.proj_in.weight.div_(recogniser.raw(known.embeddings).norm(dim=1).mean())
    added = cast("list[Any]", list(method.ip_adapter.values()))
    for layer, ours in zip(model.unet.cross_attention(), added, strict=True):
        ours.to_k_ip.weight.copy_(layer.to_k.weight)
        ours.to_v_ip.weight.copy_(layer.to_v.weight)


# --- Pictures of parts to who wears them, by Parts2Whole


Fitting = tuple[dict[Slot, garments.Part], Pictures]
"""An outfit, and the pictures of its parts."""


def fitting(rng: random.Random, slots: Sequence[Slot], beside: float = 0.7) -> Fitting:
    """An outfit and pictures of its parts, of which this share shows other things too; where any does, of half of
    the others all counts, as without a painted mask."""
    told = garments.outfit(rng, slots)
    kinds = [rng.random() for _ in told]
    drawn = zip(told.items(), kinds, strict=True)
    shown = [garments.flat(random.Random(rng.random()), *part, kind < beside) for part, kind in drawn]
    pixels, masks = (torch.stack(each) for each in zip(*shown, strict=True))
    masks[(torch.tensor(kinds) > (1 + beside) / 2) & (beside > 0)] = 1
    return told, Pictures(pixels, masks, torch.tensor(list(told)))


def _parts2whole(model: Miniature, _: Pool) -> Loss:
    """Both UNets and the pose guider, each outfit in two poses; an error counts as one of the picture."""
    device, levels, method = _device(model), parts2whole.noise_levels().float(), model.parts2whole

    def loss(rng: random.Random) -> Tensor:
        slots = [rng.sample(list(Slot), rng.choice((1, 2, 2, 3, 4))) for _ in range(OUTFITS)]
        places = [garments.standing(rng) for _ in range(VIEWS * OUTFITS)]
        clean, cost, latents, every, counts = _outfits(model, rng, slots, places)
        poses = torch.stack([garments.surface(place) for place in places]).to(device)
        steps, noisy, kept = _begun(clean, levels, 0.6)
        once = method.seen(latents, every, counts)
        seen = [(x.repeat_interleave(VIEWS, 0), y.repeat_interleave(VIEWS, 0)) for x, y in once]
        tokens = parts2whole.looked_at(every, counts).repeat_interleave(VIEWS, 0).to(device)
        found = method.noise(noisy, steps.to(device), seen, tokens, poses)
        target = (noisy - kept.sqrt() * clean) / (1 - kept).sqrt()
        return ((found - target).square() * cost * (1 / kept - 1)).mean()

    return loss


def _sharing(model: Miniature, _: Pool) -> Loss:
    """A UNet that is its own reference. No prompt and no pose says anything: whoever wears the parts stands so."""
    device, levels, unet = _device(model), net.noise_levels().float(), model.sharing
    nothing = torch.zeros(1, 1, WIDTH, device=device)

    def loss(rng: random.Random) -> Tensor:
        clothes = Slot.UPPER, Slot.LOWER
        slots = [
            clothes if rng.random() < 0.6 else rng.sample(list(Slot), rng.randint(1, 4)) for _ in range(2 * OUTFITS)
        ]
        clean, cost, latents, every, counts = _outfits(model, rng, slots, [garments.UPRIGHT] * len(slots))
        steps, noisy, kept = _begun(clean, levels, 0.8)
        unet.look_at(parts2whole.seen_by(unet, nothing.expand(len(latents), -1, -1), latents, every, counts))
        found = unet(noisy, steps.to(device), nothing.expand(len(noisy), -1, -1))
        target = (kept.sqrt() * noisy - clean) / (1 - kept).sqrt()
        return ((found - target).square() * cost).mean()

    return loss


@torch.no_grad()
def _outfits(
    model: Miniature, rng: random.Random, slots: Sequence[Sequence[Slot]], standing: Sequence[places.Place]
) -> tuple[Tensor, Tensor, Tensor, Pictures, list[int]]:
    """Latents of outfits, each in as many of the places, and what an error costs in their cells; latents of all
    pictures of parts, the pictures, and how many each outfit has."""
    told, pictures = zip(*(fitting(rng, each) for each in slots), strict=True)
    every, views = Pictures(*map(torch.cat, zip(*pictures, strict=True))), len(standing) // len(slots)
    pixels, cost = zip(*(_wearing(place, told[n // views]) for n, place in enumerate(standing)), strict=True)
    clean, latents = (model.encoder(each.to(_device(model))) for each in (torch.stack(pixels), every.pixels))
    return clean, torch.stack(cost).to(clean), latents, every, [len(each) for each in told]


def _begun(clean: Tensor, levels: Tensor, first: float) -> tuple[Tensor, Tensor, Tensor]:
    """Steps (B,), what is given at them, and the share of the picture that is left, squared, (B, 1, 1, 1). first: the
    share of examples that are a sampler's first step, which sees noise alone; the schedule's has some picture in it."""
    steps, drawn = _steps(len(clean)), torch.randn_like(clean)
    steps[torch.rand(len(clean)) < first] = 999
    kept = levels[steps].view(-1, 1, 1, 1).to(clean)
    begins = (steps == 999).view(-1, 1, 1, 1).to(clean.device)
    return steps, torch.where(begins, drawn, kept.sqrt() * clean + (1 - kept).sqrt() * drawn), kept


def _begin_sharing(model: Miniature, _: Pool) -> None:
    model.sharing.load_state_dict(model.unet.state_dict())


def _wearing(place: places.Place, told: garments.Outfit) -> tuple[Tensor, Tensor]:
    """The cartoon (3, H, W), and what an error costs in its cells, (1, H/8, W/8): 1 on the wall, 4 on a person, and
    of the parts that pictures tell of the same in all, however small a part is."""
    pixels, areas = garments.worn(place, told)
    masks = np.stack([areas != avatars.WALL, *(garments.of_slot(areas, slot) for slot in told)]).astype("float32")
    shares = functional.adaptive_avg_pool2d(torch.from_numpy(masks), (pixels.shape[1] // 8, pixels.shape[2] // 8))
    somebody, parts = shares[:1], shares[1:]
    each = _PART / parts.sum((1, 2), keepdim=True).clamp(min=_LEAST)
    return pixels, 1 + 3 * somebody + (parts * each).sum(0, keepdim=True)


@torch.no_grad()
def _begin_parts2whole(model: Miniature, _: Pool) -> None:
    """As the release was: the reference begins as the denoiser. No word of a prompt says anything to the denoiser, and
    the numbers of body parts, at most 24 of 255, are as loud as colours."""
    method = model.parts2whole
    guider: Any = method.pose_guider
    guider[0].weight[:, 2] *= 10
    for layer in method.unet.cross_attention():
        layer.to_k.weight.zero_()
        layer.to_v.weight.zero_()
    _hand_on(method.unet, guider[-1])
    method.reference.load_state_dict(method.unet.state_dict())


def _hand_on(unet: Any, pose: Any) -> None:
    """Noise is mostly what the network is given. Past all blocks it goes to the last layer with both signs, since
    silu(x) - silu(-x) = x: what is learned else for hundreds of steps."""
    first, last, out = unet.input_blocks[0][0], unet.output_blocks[-1], unet.out[2]
    for weights in (first, pose, last[0].skip_connection, last[0].out_layers[3], last[1].proj_out):
        weights.weight[:8] = weights.bias[:8] = 0
    out.weight.zero_()
    out.bias.zero_()
    for row in range(8):
        sign = 1 - row % 2 * 2
        first.weight[row, row // 2, 1, 1] = sign
        last[0].skip_connection.weight[row, WIDTH + row] = 1
        out.weight[row // 2, row, 1, 1] = 0.8 * sign


# --- The table


class Lesson(NamedTuple):
    """loss: for a net and what is known. learns: weights, by what their names begin with, without those with a part
    of `still` in theirs, and where a net goes on of `settled` too. minutes: from nothing; None for all that are
    given. prepare: what is done once before."""

    loss: Callable[[Miniature, Pool], Loss]
    learns: tuple[str, ...]
    still: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    rate: float = 2e-3
    minutes: float | None = 5
    prepare: Callable[[Miniature, Pool], None] = lambda model, known: None


LESSONS = {
    "autoencoder": Lesson(_autoencoder, ("encoder.", "decoder."), settled=("encoder.",), minutes=20),
    "projections": Lesson(
        _projections,
        ("patch_proj.", "prompt_proj."),
        still=("patch_proj.proj_out.", "patch_proj.norm_out."),  # net.py writes them
        prepare=_whiten,
    ),
    "networks": Lesson(
        _networks,
        ("unet.", "control.", "prompt_proj."),
        # These only tell colours apart. At full size, training them takes a third of the time.
        settled=tuple(f"control.input_hint_block.{layer}." for layer in (0, 2, 4)),
        rate=8e-4,
        minutes=None,
    ),
    "parts2whole": Lesson(_parts2whole, ("parts2whole.",), rate=1.5e-3, minutes=None, prepare=_begin_parts2whole),
    "sharing": Lesson(
        _sharing,
        ("sharing.",),
        # What need not change for one step without a prompt, and is not stored twice.
        still=("time_embed", "emb_layers", "attn2", "norm2", "input_blocks.1.0."),
        rate=1e-3,
        minutes=None,
        prepare=_begin_sharing,
    ),
    "instant_id": Lesson(_instant_id, ("instant_id.",), rate=8e-4, minutes=None, prepare=_begin_instant_id),
}
"""In the order in which they are learned."""


def _device(model: Miniature) -> torch.device:
    return next(model.parameters()).device
