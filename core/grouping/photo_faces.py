"""One face in one of many photos, and how photo and face are numbered."""

from dataclasses import dataclass

from ..cast import Face

LEFT_OUT = "-"
"""Stands where the name of a person would stand: the face is left out."""


@dataclass(frozen=True)
class PhotoFace:
    """One face in one photo.

    photo_number: of the photo, from 1. number_in_photo: of the face in its photo, from left to right, from 1; 0 where
    the face is the only one of its photo that is used. file: name of the photo's file, as anna/1.jpg where it lies in a
    folder of its own; "" for a picture without one.
    """

    photo_number: int
    number_in_photo: int
    file: str
    face: Face

    @property
    def number(self) -> str:
        """The number of the face as people see it and write it: 5 for a photo, 5.2 for the second face in it."""
        return f"{self.photo_number}.{self.number_in_photo}" if self.number_in_photo else str(self.photo_number)

    @property
    def label(self) -> str:
        """The number and the file."""
        return f"{self.number} {self.file}".strip()
