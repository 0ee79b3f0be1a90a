"""All cases, by section."""

from collections.abc import Callable, Iterator

from attack.cases import Case
from attack.numbers import numbers
from attack.people import people
from attack.pictures import masks, masks_and_numbers, pictures
from attack.places import places, poses
from attack.rows import rows
from attack.sampling import latents, schedules
from attack.texts import encoded, texts
from attack.unlinked import unlinked
from attack.values import values

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
