"""All cases, by section."""

from collections.abc import Callable, Iterator

from hostile.cases import Case
from hostile.numbers import numbers
from hostile.people import people
from hostile.pictures import masks, masks_and_numbers, pictures
from hostile.places import places, poses
from hostile.rows import rows
from hostile.sampling import latents, schedules
from hostile.texts import encoded, texts
from hostile.unlinked import unlinked
from hostile.values import values

SECTIONS: dict[str, Callable[[], Iterator[Case]]] = {
    "pictures": pictures,
    "masks_and_numbers": masks_and_numbers,
    "unlinked": unlinked,
    "texts": texts,
    "encoded": encoded,
    "latents": latents,
    "schedules": schedules,
    "rows": rows,
    "values": values,
    "masks": masks,
    "numbers": numbers,
    "people": people,
    "places": places,
    "poses": poses,
}
"""By the name of its test: what makes its cases."""
