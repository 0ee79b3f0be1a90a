"""What people who were found among photos are called: a name by hand, that of their files, or a number."""

from collections import Counter
from collections.abc import Sequence

from ..checks.names import of_person
from .file_names import names_of
from .photo_faces import PhotoFace


def names_of_faces(faces: Sequence[PhotoFace], groups: Sequence[Sequence[int]], by_hand: Sequence[str]) -> list[str]:
    """The name of the person of each face. Groups of one name become one person.

    groups: for each person the indices of the faces. by_hand: for each group the name that a user wrote, "" for none;
    there may be fewer names than groups.
    A group that no user has named is called after its files, as `_name_by_files` says: Anna for anna/3.jpg and
    anna_1.jpg. Without such a name it is called person 1, person 2, and so on, by its number among all groups.
    """
    borne = [_names_borne(face) for face in faces]
    name_of_face = [""] * len(faces)
    for number, members in enumerate(groups):
        name = by_hand[number] if number < len(by_hand) else ""
        if not name:
            name = _name_by_files(members, borne) or f"person {number + 1}"
        for member in members:
            name_of_face[member] = name
    return one_spelling(name_of_face)


def _name_by_files(members: Sequence[int], borne: Sequence[Sequence[str]]) -> str:
    """What a group is called by its files; "" where no name is its own.

    A name is its own if more than half of all faces whose files bear it are in the group. The one that most of its
    members have is taken.
    members: the indices of its faces. borne: for each face, also of other groups, the names that its file bears.
    """
    in_all = Counter(name for names in borne for name in names)
    in_group = Counter(name for member in members for name in borne[member])
    own_names = {name for name, count in in_group.items() if 2 * count > in_all[name]}
    counts: Counter[str] = Counter()
    for member in members:
        own = [name for name in borne[member] if name in own_names]
        counts.update(own[:1])  # the folder's name comes before the file's
    return max(counts, key=lambda name: counts[name], default="")


def _names_borne(face: PhotoFace) -> list[str]:
    """The people that a face may be by its folder and its file; none where several faces of the photo are used, as they
    may mean any of these."""
    return [] if face.number_in_photo else names_of(face.file)


def one_spelling(names: Sequence[str], known: Sequence[str] = ()) -> list[str]:
    """The names, each as it was written first: anna is Anna where Anna came before. known: names before these."""
    first_spelling: dict[str, str] = {}
    for name in (*known, *names):
        first_spelling.setdefault(of_person(name), name)
    return [first_spelling[of_person(name)] for name in names]
