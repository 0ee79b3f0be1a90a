"""Identities: checked, combined, blended, as the tensors of a file, and matched with faces."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .errors import BadCast, BadEmbedding, BadSize, UnsupportedCheckpoint, listed
from .geometry import longer_side
from .methods import Method
from .models.packs import where
from .models.tensors import below, check_kinds, ends
from .people import (
    ALIGNED,
    CROP,
    EMBEDDING,
    LOOSE,
    NOSE,
    Face,
    Faces,
    Identity,
    Lora,
    Person,
    PlacedCast,
    Portraits,
    Slot,
)
from .text import plain

_SIZES = (1e-6, 1e4)
"""Between these lies the largest number of every embedding; recognisers give some units."""
_OPPOSITE = 1e-3
"""A mean of photos that is shorter than this, in parts of their own length, is made of opposites and rounding."""
PHOTOS = ("mean", "normalised mean", "sequence", "weighted mean")
"""The ways to use several photos of one person."""
_LEAST_AGREEMENT = 0.02
"""Of a photo with the others: even one that shows somebody else is not quite left out, nor turned around."""
BLENDS = ("slerp", "lerp")

ONE_PERSON = 0.8
"""Cosine from which two people look like one to a recogniser whose file says nothing of it. A photo and a copy of it,
smaller, cropped, turned or as a bad JPEG, have 0.83 or more; two photos of one person, and so twins, seldom 0.7, and
others 0.33 at most (docs/dev/measuring.md)."""

_FORMAT = "likeness identity"
_VERSION = "1"
_PREFIX = "embedding."
_ONE_PERSON_PREFIX = "one_person_from."
_CROPS = "crops"
_ALIGNED, _LOOSE = _PORTRAITS = ("portraits.aligned", "portraits.loose")
"""Packs that know nothing of portraits leave these out."""


def why_bad(rows: Tensor) -> str | None:
    """Why these embeddings, (n, 512), cannot be used, or None when they can."""
    if rows.ndim != 2 or rows.shape[1] != EMBEDDING:
        return f"it has the shape {tuple(rows.shape)} instead of (photos, {EMBEDDING})"
    if rows.isnan().any():
        return "it contains NaN"
    if rows.isinf().any():
        return "it contains infinity"
    least, most = (float(end) for end in rows.abs().amax(dim=1).aminmax()) if len(rows) else _SIZES
    if least < _SIZES[0]:
        return "it is all zeros" if not least else f"none of its numbers is above {least:g}"
    if most > _SIZES[1]:
        return f"its numbers reach {most:g}"
    return None


def why_bad_crops(crops: Tensor) -> str | None:
    """Why these pictures of faces cannot be shown, or None when they can: other programs may count to 255."""
    if crops.is_complex():
        return f"its pictures are of type {crops.dtype}"
    wrong = [end for end in ends(crops) if not abs(end) <= 255]
    return f"its pictures hold {wrong[0]:g} where they reach from 0 to 1" if wrong else None


def why_bad_portraits(portraits: Portraits, photos: int) -> str | None:
    """Why these are no pictures of so many photos, or None when they are."""
    for what, pictures, side in (("aligned", portraits.aligned, ALIGNED), ("loose", portraits.loose, LOOSE)):
        if (shape := tuple(pictures.shape)) != (photos, side, side, 3) or pictures.dtype != torch.uint8:
            return f"its {what} portraits are {pictures.dtype} of shape {shape}, not uint8 of {(photos, side, side, 3)}"
    return None


def check(identity: Identity) -> Identity:
    """The identity itself. Raises BadEmbedding when one of its embeddings cannot be used."""
    for recogniser, rows in identity.embeddings.items():
        if why := why_bad(rows):
            raise BadEmbedding(identity.name, recogniser, why)
    return identity


def photos_of(identity: Identity) -> int:
    """How many photos the identity was made of; 0 when none of them showed a face."""
    return len(identity.crops)


def from_faces(name: str, faces: Sequence[Face], recognisers: Sequence[str]) -> Identity:
    """One person from the chosen face of each photo; no faces make an identity without photos."""
    embeddings = {
        recogniser: torch.stack([face.embeddings[recogniser] for face in faces]) if faces else torch.zeros(0, EMBEDDING)
        for recogniser in recognisers
    }
    crops = torch.stack([face.crop for face in faces]) if faces else torch.zeros(0, CROP, CROP, 3)
    each, portraits = [face.portrait for face in faces if face.portrait], None
    if faces and len(each) == len(faces):  # all of them, or none
        portraits = Portraits(torch.cat([one.aligned for one in each]), torch.cat([one.loose for one in each]))
    limits: dict[str, float] = {}
    for face in faces:
        limits |= face.one_person_from
    return check(Identity(name, embeddings, crops, portraits, one_person_from=limits))


def portraits(identity: Identity, method: str) -> Portraits:
    """The pictures of one person. Raises BadCast, naming `method`, when the identity lacks them."""
    _check_has_photo(identity, method)
    if identity.portraits is None:
        none = "has none: its file holds embeddings alone"
        problem = f"{method} looks at pictures of the face, and this identity ({identity.name}) {none}."
        raise BadCast(problem, "Make the identity again from the photos, and save it again.")
    return identity.portraits


def _check_has_photo(identity: Identity, method: str) -> None:
    if identity.by_lora_alone:
        problem = f"{identity.name} has a LoRA and no photo, and {method} reads photos."
        raise BadCast(problem, "Give them weight 0 in the Cast for this node; LoRA per Person draws them.")


def combine(identity: Identity, recogniser: str, photos: str, method: str) -> Tensor:
    """The photos of one person as `method` wants them, float32.

    photos: "mean" -> (1, 512), "normalised mean" -> (1, 512), the mean direction at the mean length, so that
    photos with a strong embedding do not outweigh the others; "sequence" -> (photos, 512); "weighted mean" ->
    (1, 512), see `_agreement`.
    Raises BadCast, naming `method`, when the identity lacks this recogniser; BadEmbedding.
    """
    _check_has_photo(identity, method)
    rows = identity.embeddings.get(recogniser)
    if rows is None:
        has = listed(sorted(identity.embeddings), "no embedding")
        advice = f"Choose {recogniser} in Load Face Embedder and make the identity again from the photos."
        problem = f"{method} needs {recogniser}, this identity ({identity.name}) has {has}."
        raise BadCast(problem, f"{advice} Its file: {where(recogniser)}.")
    why = "no photo of this person shows a face" if not len(rows) else why_bad(rows)
    if why:
        raise BadEmbedding(identity.name, recogniser, why)
    if photos == "sequence":
        return rows
    normalised, lengths = photos == "normalised mean", _lengths(rows)
    if photos == "weighted mean":
        weights = _agreement(rows) ** 2
        mean = (rows * weights).sum(dim=0, keepdim=True) / weights.sum()
    else:
        mean = (rows / lengths if normalised else rows).mean(dim=0, keepdim=True)
    if _lengths(mean) < _OPPOSITE * (1 if normalised else lengths.mean()):
        why = "its photos are opposites, so nothing is left of their mean"
        raise BadEmbedding(identity.name, recogniser, why, "Leave out a photo, or use a sequence.")
    return mean / _lengths(mean) * lengths.mean() if normalised else mean


def embeddings(person: Person, method: Method, photos: str) -> Tensor:
    """(n, 512) of a person for a method, by the recogniser that its weights were trained on. Raises as `combine`."""
    return combine(person.identity, method.recogniser, photos, method.title)


def _agreement(rows: Tensor) -> Tensor:
    """(photos, 1): mean cosine of each photo with the others; 1 for all where there are but two.

    Its square is the weight of a photo, beside the length that the recogniser gives its embedding: photos that it
    knows well are long. How sharp a photo is and how far the head turns was measured too and made it worse; both are in
    the length already (docs/dev/measuring.md).
    """
    if len(rows) < 3:
        return torch.ones(len(rows), 1)
    unit = rows / _lengths(rows)
    cosines = (unit @ unit.T).sum(dim=1, keepdim=True) - 1
    return (cosines / (len(rows) - 1)).clamp(min=_LEAST_AGREEMENT)


def look_alike(people: Sequence[Identity]) -> list[str]:
    """Who looks like one person to every recogniser that they share, a line each: a photo that is there twice."""
    alike = _alike(people)
    groups: list[list[int]] = []
    for number in range(len(people)):
        for group in groups:
            if alike.one_person[number, group[0]]:
                group.append(number)
                break
        else:
            groups.append([number])
    lines: list[str] = []
    for first, *others in groups:
        if others:
            names = [people[number].name for number in (first, *others)]
            least = float(alike.cosines[first, others].min())
            who = f"{listed(names[:-1])} and {names[-1]}"
            lines.append(f"{who} look like one person, {least:.2f}: is one photo there twice?")
    return lines


@dataclass(frozen=True)
class _Alike:
    """How alike people are to each other, by the two photos that are most alike.

    cosines: (people, people), by the recogniser to which they are least so; -1 without any that both have.
    one_person: (people, people) bool, whether every recogniser that both have takes them for one person, and there is
    one.
    """

    cosines: Tensor
    one_person: Tensor


def _alike(people: Sequence[Identity]) -> _Alike:
    count = len(people)
    cosines = torch.full((count, count), torch.inf)
    differ = torch.zeros(count, count, dtype=torch.bool)
    recognisers: dict[str, None] = {}
    for person in people:
        recognisers |= dict.fromkeys(person.embeddings)
    for recogniser in recognisers:
        have = [number for number, person in enumerate(people) if len(person.embeddings.get(recogniser, ()))]
        if not have:
            continue
        photos = [normalize(people[number].embeddings[recogniser].float(), dim=-1) for number in have]
        limits = [people[number].one_person_from.get(recogniser, ONE_PERSON) for number in have]
        pairs = torch.tensor(have)[:, None], torch.tensor(have)
        nearest = _nearest_photos(photos)
        cosines[pairs] = cosines[pairs].minimum(nearest)
        # Where two people are of two files of one recogniser, the stricter one counts.
        limit = torch.tensor(limits)
        differ[pairs] |= nearest < torch.maximum(limit[:, None], limit)
    shared = ~cosines.isinf()
    return _Alike(cosines.masked_fill(~shared, -1.0), shared & ~differ)


def _nearest_photos(photos: Sequence[Tensor]) -> Tensor:
    """(people, people): the cosine of the two photos that are most alike. photos: (photos, 512) of length 1 each."""
    sizes = [len(rows) for rows in photos]
    units = torch.cat(list(photos))
    cosines = units @ units.T  # (all photos, all photos)
    of_person = torch.stack([rows.amax(0) for rows in torch.split(cosines, sizes)])  # (people, all photos)
    return torch.stack([columns.amax(1) for columns in torch.split(of_person, sizes, 1)])  # (people, people)


def blend(a: Identity, b: Identity, amount: float, method: str, name: str) -> Identity:
    """A person between a (amount 0) and b (amount 1), one photo, for every recogniser that both have.

    Each person counts as the mean of their photos. lerp mixes the vectors; slerp turns the direction at an even
    pace and interpolates the length, so that the middle is not weaker than the ends. Of crops and portraits the first
    photos are mixed, the portraits where both have them, and LoRAs of both are kept, weakened.
    Raises BadCast when the two have no recogniser in common, unless both are made of pictures alone; BadEmbedding.
    """
    common = [recogniser for recogniser in a.embeddings if recogniser in b.embeddings]
    if not common and (a.embeddings or b.embeddings or not (a.portraits and b.portraits)):
        why = f"No recogniser in common to blend: {' and '.join(known_by((a, b)))}."
        raise BadCast(why, "Make both identities from photos with the same Load Face Embedder.")
    mix = slerp if method == "slerp" else torch.lerp
    ours, theirs = ({key: combine(one, key, "mean", "Blend Two People") for key in common} for one in (a, b))
    embeddings = {key: mix(ours[key], theirs[key], amount) for key in common}
    portraits = None
    if a.portraits and b.portraits:
        pairs = (a.portraits.aligned, b.portraits.aligned), (a.portraits.loose, b.portraits.loose)
        portraits = Portraits(*(torch.lerp(x[:1].float(), y[:1].float(), amount).round().byte() for x, y in pairs))
    crops = torch.lerp(a.crops[:1], b.crops[:1], amount)
    shares = (1 - amount, a.loras), (amount, b.loras)
    loras = tuple(replace(one, strength=one.strength * share) for share, loras in shares for one in loras)
    limits = {**a.one_person_from, **b.one_person_from}
    return check(Identity(plain(name) or f"{a.name} + {b.name}", embeddings, crops, portraits, loras, limits))


def slerp(a: Tensor, b: Tensor, amount: float) -> Tensor:
    """Spherical interpolation of (n, c) vectors with the length interpolated linearly (Shoemake 1985). Vectors that
    point the same or the opposite way leave no arc to follow: they are mixed linearly."""
    length_a, length_b = _lengths(a), _lengths(b)
    unit_a, unit_b = a / length_a, b / length_b
    angle = (unit_a * unit_b).sum(dim=1, keepdim=True).clamp(-1, 1).acos()
    if (angle.sin() < 1e-4).any():
        return torch.lerp(a, b, amount)
    arc = (((1 - amount) * angle).sin() * unit_a + (amount * angle).sin() * unit_b) / angle.sin()
    return arc * torch.lerp(length_a, length_b, amount)


def _lengths(rows: Tensor) -> Tensor:
    return rows.square().sum(dim=1, keepdim=True).sqrt()


_MOST_LORAS, _STRONGEST = 1000, 10.0
"""Of a saved person. Add LoRA to Person gives no more strength; what is larger makes NaN of a picture."""


def to_tensors(identity: Identity) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) of the safetensors file of one person. Raises BadEmbedding."""
    check(identity)
    tensors = {f"{_PREFIX}{recogniser}": rows for recogniser, rows in identity.embeddings.items()}
    metadata = {"format": _FORMAT, "version": _VERSION, "name": identity.name}
    if identity.loras:
        metadata["loras"] = json.dumps([(one.file, one.strength, one.words) for one in identity.loras])
    for recogniser, cosine in identity.one_person_from.items():
        tensors[f"{_ONE_PERSON_PREFIX}{recogniser}"] = torch.tensor(cosine)
    tensors[_CROPS] = identity.crops
    if identity.portraits:
        tensors[_ALIGNED], tensors[_LOOSE] = identity.portraits.aligned, identity.portraits.loose
    # Copies, because a file cannot hold rows that share their memory.
    return {key: rows.contiguous().clone() for key, rows in tensors.items()}, metadata


def from_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: str) -> Identity:
    """The person in a file. Raises UnsupportedCheckpoint, naming `path`, for another kind of file or a newer version;
    BadEmbedding."""
    expected = "a person saved by Save Person"
    if metadata.get("format") != _FORMAT or _CROPS not in tensors:
        found = f"a file with {json.dumps(sorted(tensors)[:3])} and no person"
        raise UnsupportedCheckpoint(path, found, expected, "Choose a file that Save Person wrote.")
    if (version := metadata.get("version")) != _VERSION:
        found = f"written in version {version} of the format"
        raise UnsupportedCheckpoint(path, found, f"version {_VERSION}", "Update this node pack.")

    def damaged(why: str) -> UnsupportedCheckpoint:
        return UnsupportedCheckpoint(path, f"damaged: {why}", expected, "Save the person again from the photos.")

    stored = below(_PREFIX, tensors)
    cosines = below(_ONE_PERSON_PREFIX, tensors)
    crops, kept = tensors[_CROPS], [tensors[key] for key in _PORTRAITS if key in tensors]
    try:
        check_kinds(stored)
        check_kinds(cosines)
    except ValueError as error:
        raise damaged(str(error)) from error
    if why := why_bad_crops(crops):
        raise damaged(why)
    embeddings = {key: rows.float() for key, rows in stored.items()}
    pictures = Portraits(*kept) if len(kept) == len(_PORTRAITS) else None
    try:
        loras = tuple(Lora(str(x), float(y), plain(str(z))) for x, y, z in json.loads(metadata.get("loras", "[]")))
    except (OverflowError, RecursionError, TypeError, ValueError) as error:
        raise damaged("its LoRAs cannot be read") from error
    if len(loras) > _MOST_LORAS:
        raise damaged(f"it names {len(loras)} LoRAs, and {_MOST_LORAS} is the most")
    for lora in loras:
        if not math.isfinite(lora.strength):
            raise damaged("the strength of a LoRA is no number")
        if abs(lora.strength) > _STRONGEST:
            raise damaged(f"the strength of a LoRA is {lora.strength:g}, and {_STRONGEST:g} is the most")
    limits: dict[str, float] = {}
    for recogniser, cosine in cosines.items():
        if cosine.numel() != 1 or not 0 < float(cosine) <= 1:
            raise damaged(f"the likeness from which {plain(recogniser)} sees one person is no cosine")
        limits[recogniser] = float(cosine)
    name = metadata.get("name", "person")
    identity = check(Identity(name, embeddings, crops.float(), pictures, loras, limits))
    parts = [*embeddings.values(), *kept]
    together = (parts or loras) and len(kept) != 1 and all(part.shape[:1] == crops.shape[:1] for part in parts)
    if not together or crops.shape[1:] != (CROP, CROP, 3):
        shapes = {key: tuple(tensor.shape) for key, tensor in sorted(tensors.items())}
        raise damaged(f"its tensors do not belong to the same photos ({shapes})")
    if why := pictures and why_bad_portraits(pictures, len(crops)):
        raise damaged(why)
    return identity


_REACH = 1.0
"""A face stands in a place when its nose is this near to it, in parts of the larger of the two faces' sides."""
_ASPECT = 0.02
"""How much a picture's shape may differ from its canvas', as scaling to multiples of 8 or 64 makes it."""


def in_common(embeddings: Iterable[Mapping[str, Tensor]]) -> list[str]:
    """The recognisers that everybody has, by name."""
    known = list(embeddings)
    return sorted(name for name in (known[0] if known else ()) if all(name in one for one in known))


def known_by(people: Iterable[Identity]) -> list[str]:
    """Which recognisers everybody has, in words."""
    return [f"{one.name} has {listed(sorted(one.embeddings), 'no embedding')}" for one in people]


def similarities(
    people: Sequence[Identity], faces: Sequence[Mapping[str, Tensor]], recogniser: str, node: str
) -> Tensor:
    """(people, faces): mean cosine of everybody's photos with each face. Raises as `combine` does, naming `node`."""
    if not faces:
        return torch.zeros(len(people), 0)
    rows = normalize(torch.stack([face[recogniser].float() for face in faces]), dim=-1)
    each = (normalize(combine(person, recogniser, "sequence", node).float(), dim=-1) for person in people)
    return torch.stack([(photos @ rows.T).mean(0) for photos in each])


def assigned(gain: Tensor) -> list[int | None]:
    """Per row of `gain` (people, faces) the column that is theirs alone, so that the sum is the largest (Kuhn 1955)."""
    import scipy.optimize  # pyright: ignore[reportMissingTypeStubs]

    optimize: Any = scipy.optimize
    rows, columns = optimize.linear_sum_assignment(gain.numpy(), maximize=True)
    of = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    return [of.get(row) for row in range(len(gain))]


def in_places(picture: Faces, cast: PlacedCast) -> list[int | None]:
    """Per person the face that stands in their place, as many as possible and then as near as possible. Raises BadSize
    where the picture has another shape than the canvas; another size is scaled."""
    wide, high = picture.width / cast.width, picture.height / cast.height
    if abs(math.log(wide / high)) > _ASPECT:
        canvas = f"the places of the cast are on a canvas of {cast.width}x{cast.height} px, which has another shape"
        advice = "Use it before it is cropped, or connect the cast that comes before Place Cast."
        raise BadSize("The picture", (picture.width, picture.height), canvas, advice)
    apart = [[_apart(face, slot, wide, high) for face in picture.faces] for slot in cast.slots]
    near = torch.tensor(apart).reshape(len(cast.people), len(picture.faces))
    # Somebody far away costs more than all who are near together, so nobody is left out for the others' sake.
    faces = assigned(-near.where(near <= _REACH, torch.tensor(_REACH * (len(cast.people) + 1))))
    return [face if face is not None and near[n, face] <= _REACH else None for n, face in enumerate(faces)]


def _apart(face: Face, slot: Slot, wide: float, high: float) -> float:
    """From the face's nose to a place, in sides of the larger face."""
    x, y = face.keypoints[NOSE]
    sides = [longer_side(face.box), longer_side(slot.box) * wide if slot.box else 0.0]
    return math.hypot(x - slot.center[0] * wide, y - slot.center[1] * high) / max(*sides, 1.0)
