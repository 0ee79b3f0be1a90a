"""What people who were found among photos are called: a name by hand, that of their files, or a number."""

from collections.abc import Sequence

from ..names import folded
from .file_names import name_of
from .photo_faces import PhotoFace


def names_of_faces(faces: Sequence[PhotoFace], groups: Sequence[Sequence[int]], by_hand: Sequence[str]) -> list[str]:
    """The name of the person of each face. Groups of one name become one person.

    groups: for each person the indices of the faces. by_hand: for each group the name that a user wrote, "" for none;
    there may be fewer names than groups.
    A group that no user has named takes the most frequent name of its files, as Anna of anna_1.jpg. A name that files
    of several groups have does not count. Without any name of files it is called person 1, person 2, and so on.
    """
    names_by_group = [_names_of_files(faces, members) for members in groups]
    names_of_all = [name for names in names_by_group for name in names]
    name_of_face = [""] * len(faces)
    for number, members in enumerate(groups):
        name = by_hand[number] if number < len(by_hand) else ""
        if not name:
            # `names_of_all` has a name once for each group in which it occurs.
            of_this_group_alone = {
                file_name for file_name in names_by_group[number] if names_of_all.count(file_name) == 1
            }
            name = _most_frequent(faces, members, of_this_group_alone) or f"person {number + 1}"
        for member in members:
            name_of_face[member] = name
    return one_spelling(name_of_face)


def _names_of_files(faces: Sequence[PhotoFace], members: Sequence[int]) -> set[str]:
    """The names of people in the names of a group's files.

    Photos of which several faces are used are left out: their file names may mean any of these faces.
    """
    names = {name_of(faces[member].file) for member in members if not faces[member].number_in_photo}
    return names - {""}


def _most_frequent(faces: Sequence[PhotoFace], members: Sequence[int], names: set[str]) -> str:
    """The one of these names that the most files of a group bear, of equally frequent ones the first.

    members: the indices of the group's faces. "" where no file bears one of the names.
    """
    borne = [name_of(faces[member].file) for member in members]
    return max((name for name in borne if name in names), key=borne.count, default="")


def one_spelling(names: Sequence[str]) -> list[str]:
    """The names, each as it was written first: anna is Anna where Anna came before."""
    first_spelling: dict[str, str] = {}
    return [first_spelling.setdefault(folded(name), name) for name in names]
