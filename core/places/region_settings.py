"""What is set for the regions of everybody in a placed cast, whichever method acts in them."""

from dataclasses import dataclass
from typing import Literal, get_args

Extent = Literal["body", "face"]
EXTENTS: tuple[Extent, ...] = get_args(Extent)
"""What becomes of each is asked for in regions.py, by its name."""
REGIONS, FACE_BOXES = "regions", "face boxes"
"""Where a method that reads faces acts: in all of a person's region, or inside their face box alone."""


@dataclass(frozen=True)
class RegionSettings:
    """What is set for the regions of a cast.

    extent: of methods that act on bodies: "body", or "face" for the face alone.
    region_margin: how far regions reach beyond face or body, as a factor on each method's own margin.
    feather: width of the soft edge in px, of methods that have one.
    acts_in: of methods that read faces: REGIONS or FACE_BOXES.
    """

    extent: Extent = "body"
    region_margin: float = 1.0
    feather: float = 32
    acts_in: str = REGIONS
