"""What the toy model knows of a person: a look, eleven numbers from 0 to 1."""

from torch import Tensor

HAIR, SKIN, SHIRT, LENGTH, BEARD = slice(0, 3), slice(3, 6), slice(6, 9), 9, 10
"""RGB of hair, skin and shirt; whether the hair is long; whether there is a beard."""
PARTS = {"hair": HAIR, "shirt": SHIRT, "skin": SKIN}
SIZE = 11


def worn(looks: Tensor) -> Tensor:
    """(..., 11) as drawn: hair is short or long, a beard is there or not, with little between."""
    drawn = looks.clamp(0, 1).clone()
    drawn[..., LENGTH] = ((drawn[..., LENGTH] - 0.4) / 0.2).clamp(0, 1)
    drawn[..., BEARD] = ((drawn[..., BEARD] - 0.3) / 0.3).clamp(0, 1)
    return drawn
