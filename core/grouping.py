"""Faces of several photos sorted into people: by what they look like, by the names of files, and by hand."""

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .errors import BadCast, counted, gathered, listed
from .faces import analysis
from .names import folded, same_name
from .people import Face
from .text import COMMAS, NAME, plain

SAME_PERSON = 0.4
"""Mean cosine from which two groups of faces are one person. On photos of known people everything from 0.35 to 0.45
sorted all of them right (docs/dev/measuring.md)."""
_NEVER = 1e9
"""Distance of two faces that are never one person: the mean of no group's millions of pairs brings it below 1."""
NOBODY = "-"
"""Instead of a name: the face is left out."""

# What cameras and programs call their files, and words that say what is in them instead of who.
_NO_NAMES = frozenset(
    (
        "img", "dsc", "dscn", "dscf", "pxl", "mvimg", "gopr", "dji", "image", "photo", "picture", "pic", "foto",
        "portrait", "face", "person", "people", "scan", "screenshot", "frame", "untitled", "unnamed", "download",
        "example", "comfyui", "mmexport", "received", "crop", "copy", "照片", "图片", "图像", "微信图片",
    )
)  # fmt: skip
_NUMBER_BEHIND = re.compile(r"[\s\d()]+$")


@dataclass(frozen=True)
class Sighting:
    """One face in one photo.

    photo: number of the photo, from 1; part: number of the face in it from left to right, 0 where it is the only one
    that is used. file: name of the photo's file, "" for a picture without one.
    """

    photo: int
    part: int
    file: str
    face: Face

    @property
    def number(self) -> str:
        return f"{self.photo}.{self.part}" if self.part else str(self.photo)

    @property
    def label(self) -> str:
        return f"{self.number} {self.file}".strip()


def name_of(file: str) -> str:
    """Who a photo shows by the name of its file: anna_1.jpg -> Anna. "" where that is a number or a camera's name."""
    # title() takes a letter behind an accent of its own, as a Mac writes them, for the beginning of a word.
    stem = unicodedata.normalize("NFC", os.path.splitext(file)[0])
    name = _NUMBER_BEHIND.sub("", plain(re.sub(r"[_\-+.,]+", " ", stem)))
    words = name.casefold().split()
    if not words or (len(name) == 1 and name.isascii()) or re.search(r"\d", name) or _NO_NAMES & set(words):
        return ""
    return plain(name.title() if name.islower() else name, NAME)


def similarities(faces: Sequence[Face]) -> Tensor:
    """(faces, faces) cosine of all pairs, float64, the mean over their recognisers: each makes mistakes of its own.
    Raises BadCast where they were made without any."""
    if not faces[0].embeddings:
        why = "Photos cannot be sorted into people: the face model has no recogniser, which tells who is alike."
        raise BadCast(why, "Choose one in Load Face Embedder, or use Person for each person, then Cast.")
    rows = [torch.stack([face.embeddings[key] for face in faces]).double() for key in faces[0].embeddings]
    units = [normalize(one, dim=-1) for one in rows]
    return torch.stack([unit @ unit.T for unit in units]).mean(0)


def may_be_one(seen: Sequence[Sighting], by_face: bool) -> Tensor:
    """(faces, faces) bool: which pairs may be one person.

    by_face: all but two faces of one photo. Otherwise every face is a person of its own, but for photos whose files
    bear the same name.
    """
    photos = torch.tensor([one.photo for one in seen])
    allowed = photos[:, None] != photos
    if by_face:
        return allowed
    names = ["" if one.part else folded(name_of(one.file)) for one in seen]
    numbers = {name: n for n, name in enumerate(dict.fromkeys(names)) if name}
    named = torch.tensor([numbers.get(name, -1) for name in names])
    return allowed & (named[:, None] == named) & (named >= 0)


def group(alike: Tensor, allowed: Tensor, same_from: float) -> list[list[int]]:
    """Indices of faces, per person, in the order of first appearance: average linkage (Sokal and Michener 1958).

    The two groups with the highest mean similarity are joined until none has `same_from`. What is not `allowed` to be
    one person never meets in a group. The order of the faces decides nothing but the order of the groups.
    """
    if len(alike) < 2:
        return [[n] for n in range(len(alike))]
    import scipy.cluster.hierarchy  # pyright: ignore[reportMissingTypeStubs]

    hierarchy: Any = scipy.cluster.hierarchy
    pairs = tuple(torch.triu_indices(len(alike), len(alike), 1))
    apart = (1 - alike).clamp(min=0).masked_fill(~allowed, _NEVER)[pairs]  # rounding: copies are more than 1 alike
    numbers = hierarchy.fcluster(hierarchy.linkage(apart.numpy(), "average"), 1 - same_from, "distance")
    groups: dict[int, list[int]] = {}
    for n, number in enumerate(map(int, numbers)):
        groups.setdefault(number, []).append(n)
    return list(groups.values())


def named(seen: Sequence[Sighting], groups: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    """Per face the name of its person. Groups of one name become one person.

    names: per group, "" for those who take the name of their files, or else are called person 1, person 2, ... A name
    of files counts where all of them lie in one group.
    """
    files = [{name for n in members if not seen[n].part and (name := name_of(seen[n].file))} for members in groups]
    spread = [name for some in files for name in some]
    who = [""] * len(seen)
    for number, members in enumerate(groups, 1):
        own = [name_of(seen[n].file) for n in members]
        own = [name for name in own if name in files[number - 1] and spread.count(name) == 1]
        given = names[number - 1] if number <= len(names) else ""
        for n in members:
            who[n] = given or max(own, key=own.count, default=f"person {number}")
    return _one_spelling(who)


def _one_spelling(who: Sequence[str]) -> list[str]:
    """anna is Anna where both are there: as it was written first."""
    first: dict[str, str] = {}
    return [first.setdefault(folded(name), name) for name in who]


def corrected(seen: Sequence[Sighting], who: Sequence[str], photos: Sequence[str], text: str) -> list[str]:
    """The same after what somebody wrote: "5: Ben", "5.2: Ben", "anna_3.jpg: Ben", "person 3: Ben", "7, 9: -".

    A photo, one of its faces, or everybody of that name becomes Ben; - leaves them out. With commas, semicolons or
    line breaks between them. photos: names of all files, also of those without a face, "" for pictures without one.
    Raises BadCast for what is not there or says nothing.
    """
    now = list(who)
    for line in text.splitlines():
        waiting: list[str] = []
        for part in filter(None, map(plain, re.split(f"[{COMMAS};\uff1b]", line))):
            before, colon, name = (piece.strip() for piece in part.replace("\uff1a", ":").rpartition(":"))
            waiting.append(before if colon else name)
            if not colon:
                continue
            if not before:
                raise _useless(part, "does not say which photo that is", "Write its number before the colon: 5: Anna.")
            name = plain(name, NAME)
            if not name or name.isdecimal():
                raise _useless(part, "gives no name", "Write the person's name as the preview shows it: 5: Anna.")
            for key in waiting:
                for n in _meant(key, name, seen, now, photos):
                    now[n] = name
            waiting = []
        if waiting:
            raise _useless(listed(waiting), "does not say who that is", "Write a name behind it: 5: Anna, or 5: -.")
    return _one_spelling([*who, *now])[len(who) :]


def _meant(key: str, name: str, seen: Sequence[Sighting], who: Sequence[str], photos: Sequence[str]) -> list[int]:
    """Indices of the faces that the left side of a correction speaks of."""
    if people := [n for n, one in enumerate(who) if folded(one) == folded(key) and one != NOBODY]:
        return people
    faces = [n for n, face in enumerate(seen) if key == face.number or _is_part(key, face)]
    if faces:
        return faces
    photo = _photo(key, photos)
    faces = [n for n, one in enumerate(seen) if one.photo == photo]
    if photo is None:
        none = f"of {counted(len(photos), 'photo')} none has that number or name, and no person"
        named = "the name of a file, or a person's name as the preview shows it"
        advice = f"Write a number from 1 to {len(photos)}, {named}."
        raise _useless(f"{key}: {name}", f"speaks of {plain(key, NAME)}, but {none}", advice)
    if not faces and name != NOBODY:
        raise _useless(f"{key}: {name}", f"speaks of photo {photo}, in which no face was found", "Take that line out.")
    if len(faces) > 1 and name != NOBODY:
        numbers = listed([seen[n].number for n in faces])
        raise _useless(f"{key}: {name}", f"speaks of photo {photo} with {len(faces)} faces", f"Write {numbers}.")
    return faces


def _is_part(key: str, face: Sighting) -> bool:
    """Whether a correction names this face of a file: anna.jpg.2."""
    return bool(face.file) and same_name(key, f"{face.file}.{face.part}")


def _photo(key: str, photos: Sequence[str]) -> int | None:
    if key.isdecimal() and len(key) < 10 and 1 <= int(key) <= len(photos):  # int() refuses thousands of digits
        return int(key)
    names = [folded(file) for file in photos]
    wanted = folded(key)
    if wanted in names:
        return names.index(wanted) + 1
    stems = [os.path.splitext(name)[0] for name in names]
    return stems.index(wanted) + 1 if stems.count(wanted) == 1 else None


def _useless(text: str, why: str, advice: str) -> BadCast:
    return BadCast(f"The correction {plain(text, 100)!r} {why}.", advice)


@dataclass(frozen=True)
class Sorted:
    """Faces sorted into people.

    alike: (faces, faces) similarity; found, who: per face the name of its person, before and after corrections;
    unused: names for more people than were found; same_from: from which similarity two photos are one person.
    """

    seen: Sequence[Sighting]
    alike: Tensor
    found: Sequence[str]
    who: Sequence[str]
    unused: Sequence[str]
    same_from: float

    @property
    def people(self) -> dict[str, list[int]]:
        """Name -> indices of the faces, in the order of first appearance, without those that are left out."""
        names = [name for name in dict.fromkeys(self.who) if name != NOBODY]
        return {name: [n for n, one in enumerate(self.who) if one == name] for name in names}

    @property
    def left_out(self) -> list[int]:
        """Indices of the faces that somebody left out."""
        return [n for n, one in enumerate(self.who) if one == NOBODY]

    def with_others(self, members: Sequence[int]) -> list[float | None]:
        """Per face the mean similarity with the other faces of its person; None for the only one."""
        own, others = self.alike[members][:, members], len(members) - 1
        return [float(mean) for mean in (own.sum(1) - own.diagonal()) / others] if others else [None]


def sort(
    seen: Sequence[Sighting], photos: Sequence[str], by_face: bool, same_from: float, names: Sequence[str], text: str
) -> Sorted:
    """Faces sorted into people, then named, then corrected: see `may_be_one`, `group`, `named` and `corrected`."""
    alike = similarities([one.face for one in seen])
    groups = group(alike, may_be_one(seen, by_face), same_from)
    found = named(seen, groups, names)
    unused = [name for name in names[len(groups) :] if name]
    return Sorted(seen, alike, found, corrected(seen, found, photos, text), unused, same_from)


def remarks(done: Sorted) -> list[str]:
    """Whose faces are unlike the others of their person, in one line."""
    unlike: list[str] = []
    for name, members in done.people.items():
        for n, mean in zip(members, done.with_others(members), strict=True):
            if mean is not None and mean < done.same_from:
                unlike.append(f"{done.seen[n].label} ({name}, {mean:.2f})")
    after = f"; one person from {done.same_from:g}: look at the preview, and at corrections"
    return gathered("Hardly like the others of their person", unlike, after)


def report(done: Sorted) -> list[str]:
    """Who is on which photo, and what was corrected."""
    lines: list[str] = []
    for number, (name, members) in enumerate(done.people.items(), 1):
        lines.append(f"{number} {name}: {counted(len(members), 'photo')}")
        for n, mean in zip(members, done.with_others(members), strict=True):
            one, alike = done.seen[n], "" if mean is None else f"{mean:.2f} like their others, "
            moved = "" if done.found[n] == done.who[n] else f"; corrected, was {done.found[n]}"
            lines.append(f"  photo {one.label}: {alike}{analysis.describe(one.face)}{moved}")
    return [*lines, *gathered("Left out by hand", [f"photo {done.seen[n].label}" for n in done.left_out])]
