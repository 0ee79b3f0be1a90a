"""A person as the tensors and metadata of a safetensors file, and back: files may be damaged or of another kind."""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ..cast import CROP, LOOSE, Look, LookPicture, Lora, Person, Portraits, Share
from ..checks import limits
from ..checks.errors import UnsupportedCheckpoint
from ..checks.limits import json_in
from ..checks.text import MOST_NAME_LETTERS, plain
from ..models.formats import identify
from ..models.tensors import below, check_all_floats
from .checks import check, why_bad_crops, why_bad_portraits
from .looks import why_bad_looks

FORMAT = "likeness identity"
_WITHOUT_LOOKS, _WITH_LOOKS = "1", "2"
VERSIONS = (_WITHOUT_LOOKS, _WITH_LOOKS)
"""Of the format, which are read here."""
EXPECTED = "a person saved by Save Person"

EMBEDDING_PREFIX = "embedding."
"""The key of a recogniser's embeddings, (photos, 512), is this and its id."""
ONE_PERSON_PREFIX = "one_person_from."
"""The key of the cosine from which a recogniser takes two photos for one person is this and its id."""
CROPS_KEY = "crops"
"""(photos, 112, 112, 3)."""
ALIGNED_KEY = "portraits.aligned"
LOOSE_KEY = "portraits.loose"
FFHQ_KEY = "portraits.ffhq"
BLENDED_KEY, SHARES_KEY = "blended_of.loose", "blended_of.shares"
"""(people, 512, 512, 3) uint8 and (people,) of a blended person."""
LOOK_PREFIX = "look."
"""The key of a tensor of a look is this, the numbers of look and picture from 0, and one of _LOOK_TENSORS: in
"look.0.1.mask" the mask of the second picture. The metadata "looks" has for each look its name, and for each of its
pictures the label, the weight and which of _LOOK_TENSORS there are."""
_LOOK_TENSORS = ("picture", "alpha", "mask")
_PORTRAIT_KEYS = {ALIGNED_KEY, LOOSE_KEY, FFHQ_KEY}
"""The three kinds of portraits. Files of people without portraits have none of them."""


class PersonFile(NamedTuple):
    """The content of a safetensors file of one person. metadata: texts by name."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def version_of(has_looks: bool) -> str:
    """The version that a file is written in: all versions of the pack can read people without looks."""
    return _WITH_LOOKS if has_looks else _WITHOUT_LOOKS


def to_tensors(person: Person) -> PersonFile:
    """What is written into the file of one person: tensors and metadata."""
    tensors: dict[str, Tensor] = {}
    for recogniser, rows in person.embeddings.items():
        tensors[f"{EMBEDDING_PREFIX}{recogniser}"] = rows
    for recogniser, cosine in person.one_person_from.items():
        tensors[f"{ONE_PERSON_PREFIX}{recogniser}"] = torch.tensor(cosine, dtype=torch.float32)
    tensors[CROPS_KEY] = person.crops
    if person.portraits:
        tensors[ALIGNED_KEY] = person.portraits.aligned
        tensors[LOOSE_KEY] = person.portraits.loose
        tensors[FFHQ_KEY] = person.portraits.ffhq
    if person.blended_of:
        tensors[BLENDED_KEY] = torch.stack([one.loose for one in person.blended_of])
        tensors[SHARES_KEY] = torch.tensor([one.share for one in person.blended_of], dtype=torch.float32)
    metadata = {"format": FORMAT, "version": version_of(has_looks=bool(person.looks)), "name": person.name}
    if person.loras:
        metadata["loras"] = json.dumps([(lora.file, lora.strength, lora.words) for lora in person.loras])
    if person.looks:
        tensors |= tensors_of_looks(person)
        metadata["looks"] = json.dumps([(look.name, [*map(_described, look.pictures)]) for look in person.looks])
    # Copies, because a file cannot hold rows that share their memory.
    copies = {key: rows.contiguous().clone() for key, rows in tensors.items()}
    return PersonFile(copies, metadata)


def tensors_of_looks(person: Person) -> dict[str, Tensor]:
    """What the looks of a person add to the tensors of the file."""
    tensors: dict[str, Tensor] = {}
    for number, look in enumerate(person.looks):
        for of_picture, one in enumerate(look.pictures):
            rows_of_picture = _rows_of(one).items()
            tensors |= {f"{LOOK_PREFIX}{number}.{of_picture}.{name}": rows for name, rows in rows_of_picture}
    return tensors


def _described(one: LookPicture) -> tuple[str, float, list[str]]:
    """What the metadata has of a look's picture."""
    return one.label, one.weight, [*_rows_of(one)]


def _rows_of(one: LookPicture) -> dict[str, Tensor]:
    """The tensors of a look's picture, by those of _LOOK_TENSORS that it has."""
    return {name: getattr(one, name) for name in _LOOK_TENSORS if getattr(one, name) is not None}


def from_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: str) -> Person:
    """The person in a file.

    path: of the file, for messages. Raises UnsupportedCheckpoint for another kind of file, a newer version or a damaged
    file; BadEmbedding.
    """
    check_format(tensors, metadata, path)
    stored_embeddings = below(EMBEDDING_PREFIX, tensors)
    crops = tensors[CROPS_KEY]
    try:
        check_all_floats(stored_embeddings)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    portraits: Portraits | None = None
    if set(tensors) >= _PORTRAIT_KEYS:  # some of them alone are refused below, by _check_same_photos
        portraits = Portraits(tensors[ALIGNED_KEY], tensors[LOOSE_KEY], tensors[FFHQ_KEY])
    person = Person(
        name=metadata.get("name", "person"),
        embeddings={recogniser: rows.float() for recogniser, rows in stored_embeddings.items()},
        crops=crops.float(),
        portraits=portraits,
        loras=_loras(metadata, path),
        one_person_from={recogniser: float(cosine) for recogniser, cosine in below(ONE_PERSON_PREFIX, tensors).items()},
        blended_of=_blended_of(tensors, path),
        looks=_looks(tensors, metadata, path),
    )
    check(person)
    why_crops = why_bad_crops(person.crops)
    if why_crops:
        raise _damaged(path, why_crops)
    _check_same_photos(person, tensors, path)
    why_portraits = why_bad_portraits(portraits, len(crops)) if portraits else None
    if why_portraits:
        raise _damaged(path, why_portraits)
    return person


def _damaged(path: str, why: str) -> UnsupportedCheckpoint:
    """The error for a file of the right kind that cannot be used. why: the end of a sentence."""
    return UnsupportedCheckpoint(path, f"damaged: {why}", EXPECTED, "Save the person again from the photos.")


def not_a_person(path: str, content: str, belongs: str = "") -> UnsupportedCheckpoint:
    """The error for a file of something else. content: what it is, as a part of a sentence. belongs: a sentence."""
    advice = "Choose a file that Save Person wrote, or save the person again from the photos."
    return UnsupportedCheckpoint(path, content, EXPECTED, f"{belongs} {advice}".strip())


def check_format(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: str) -> None:
    """Raise UnsupportedCheckpoint unless the file is a person's, in the version that is read here.

    tensors: by their names; their numbers are not looked at.
    """
    if metadata.get("format") != FORMAT or CROPS_KEY not in tensors:
        record = identify(tensors)
        if record is not None:
            raise not_a_person(path, record.title, record.belongs)
        raise not_a_person(path, f"a file with {json.dumps(sorted(tensors)[:3])} and no person")
    why = limits.too_much(len(tensors), limits.PERSON_TENSORS, "tensor")
    if why:
        raise _damaged(path, why)
    version = metadata.get("version")
    if version not in VERSIONS:
        content = f"written in version {version} of the format"
        raise UnsupportedCheckpoint(path, content, f"version {_WITH_LOOKS} at most", "Update this node pack.")


def _loras(metadata: Mapping[str, str], path: str) -> tuple[Lora, ...]:
    """The LoRAs of a person. Raises UnsupportedCheckpoint for what cannot be read."""
    loras: list[Lora] = []
    try:
        for file, strength, words in _listed(metadata, "loras", limits.LORAS, "LoRA", path):
            loras.append(Lora(str(file), float(strength), plain(str(words))))
    except (OverflowError, TypeError, ValueError) as error:
        raise _damaged(path, "its LoRAs cannot be read") from error
    if not all(math.isfinite(lora.strength) for lora in loras):
        raise _damaged(path, "the strength of a LoRA is no number")
    return tuple(loras)


def _listed(metadata: Mapping[str, str], key: str, most: int, singular: str, path: str) -> list[Any]:
    """What a file lists in its metadata. Raises UnsupportedCheckpoint for more than `most` or no list, and ValueError
    for no JSON."""
    try:
        items = json_in(metadata.get(key, "[]"), limits.PERSON_LETTERS)
    except limits.TooMuch as why:
        raise _damaged(path, f"of what it says of {key} {why}") from None
    if not isinstance(items, list):
        raise _damaged(path, f"its {singular}s cannot be read")
    why = limits.too_much(len(cast("list[Any]", items)), most, singular)
    if why:
        raise _damaged(path, why)
    return cast("list[Any]", items)


def _looks(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: str) -> tuple[Look, ...]:
    """The looks of a person. Raises UnsupportedCheckpoint for what cannot be read or is too much."""
    looks: list[Look] = []
    try:
        listed_looks = _listed(metadata, "looks", limits.LOOKS, "look", path)
        for number, (name, of_pictures) in enumerate(listed_looks):
            pictures: list[LookPicture] = []
            for of_picture, (label, weight, names) in enumerate(of_pictures):
                # A mask that is missing would make a look of all of the picture, so the file says what there is.
                rows = {one: tensors[f"{LOOK_PREFIX}{number}.{of_picture}.{one}"] for one in names}
                pictures.append(LookPicture(plain(label), weight=float(weight), **rows))
            looks.append(Look(plain(name, MOST_NAME_LETTERS), tuple(pictures)))
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise _damaged(path, "its looks cannot be read") from error
    why = why_bad_looks(looks)
    tensors_read = sum(len(_rows_of(one)) for look in looks for one in look.pictures)
    if tensors_read < len(below(LOOK_PREFIX, tensors)):
        why = why or "it has pictures or masks that are of none of its looks"
    if why:
        raise _damaged(path, why)
    return tuple(looks)


def _blended_of(tensors: Mapping[str, Tensor], path: str) -> tuple[Share, ...]:
    """Of whom a blended person is. Raises UnsupportedCheckpoint for what cannot be used."""
    pictures, shares = tensors.get(BLENDED_KEY), tensors.get(SHARES_KEY)
    if pictures is None and shares is None:
        return ()
    if (
        pictures is None
        or shares is None
        or shares.dtype != torch.float32
        or pictures.dtype != torch.uint8
        or shares.ndim != 1
        or pictures.shape != (len(shares), LOOSE, LOOSE, 3)
        or not (shares >= 0).all()
        or not torch.isclose(shares.float().sum(), torch.tensor(1.0))
    ):
        raise _damaged(path, "the people of whom it is blended cannot be read")
    return tuple(Share(picture, float(share)) for picture, share in zip(pictures, shares, strict=True))


def _check_same_photos(person: Person, tensors: Mapping[str, Tensor], path: str) -> None:
    """Raise UnsupportedCheckpoint unless all tensors are of the same photos, and something says who the person is.

    tensors: all tensors of the file. A damaged file may have some of the kinds of portraits without the others, which
    is refused as well.
    """
    # The file's own: `person` has portraits only where all kinds are there.
    portraits = [tensors[key] for key in _PORTRAIT_KEYS if key in tensors]
    per_photo = [*person.embeddings.values(), *portraits]
    is_known = bool(per_photo or person.loras or person.looks)  # something says who the person is
    all_or_none = len(portraits) in (0, len(_PORTRAIT_KEYS))
    crops = person.crops
    same_photos = all(tensor.shape[:1] == crops.shape[:1] for tensor in per_photo)
    if is_known and all_or_none and same_photos and crops.shape[1:] == (CROP, CROP, 3):
        return
    shapes = {key: tuple(tensor.shape) for key, tensor in sorted(tensors.items())}
    raise _damaged(path, f"its tensors do not belong to the same photos ({shapes})")
