"""Faces of many photos sorted into people: by what they look like, by the names of files, and by hand."""

# pyright: reportUnusedImport=false

from .clusters import SAME_PERSON
from .photo_faces import PhotoFace
from .sorting import SortedFaces, notes, report, sort_faces
