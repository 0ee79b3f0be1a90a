"""Faces of many photos sorted into people: by what they look like, by the names of files, and by hand.

One module answers one question:

    photo_faces.py     a face in a photo
    file_names.py      the person that a file is named after
    clusters.py        which faces are one person
    naming.py          what these people are called
    corrections.py     what somebody wrote by hand to change it
    sorting.py         all of these, one after the other
    sorting_report.py  who is on which photo, in lines of text, and what may be wrong
"""

from .clusters import SAME_PERSON
from .photo_faces import PhotoFace
from .sorting import SortedFaces, sort_faces
from .sorting_report import notes, report

__all__ = [
    "SAME_PERSON",
    "PhotoFace",
    "SortedFaces",
    "notes",
    "report",
    "sort_faces",
]
