"""How far two results are apart, as the parity tests state it, and two colours."""

from collections.abc import Sequence

from torch import Tensor

WHOLE_SAMPLING = 5e-6
"""Of the largest latent value: what a whole sampling in float32 may differ by from the same written in other modules.
One CPU's kernels round otherwise than another's, by some 1e-6 after a few steps."""


def relative(result: Tensor, reference: Tensor) -> float:
    """The largest difference, relative to the largest value of the reference."""
    return ((result - reference).abs().max() / reference.abs().max()).item()


def contrast(first: Sequence[float], second: Sequence[float]) -> float:
    """Of two colours, (red, green, blue) of 0 to 255, as WCAG 2 defines it."""

    def luminance(colour: Sequence[float]) -> float:
        linear = ((c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour)
        return sum(weight * channel for weight, channel in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)
