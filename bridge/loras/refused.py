"""What LoRAs of single people refuse while a forward runs. Files that do not fit: lora_files.py."""

from ...core.checks.errors import BadSetup, TokensMoved
from ..host.unet import Grid, tokens_moved
from ..sampling.carried import ConditioningLost

ZERO_TIME = "index_timestep_zero"
"""The host's name of a method by which reference pictures are modulated by the time 0, and not by that of the step."""


def other_pixels(token_count: int, grid: Grid) -> TokensMoved:
    """The error about a layer of a UNet with another number of tokens than its grid, where people have regions."""
    advice = "Take that node out, or use one person without regions."
    return tokens_moved(token_count, grid, "belong to whose LoRA", advice)


def other_tokens(token_count: int, expected: int) -> ConditioningLost:
    """The error about a layer of a transformer with another number of tokens than is expected."""
    return ConditioningLost("", f"makes {token_count} tokens of the {expected} of a layer")


def zero_time_unknown() -> BadSetup:
    """The error for LoRAs of people that modulate, where references are modulated by the time 0."""
    return BadSetup(
        f"Reference pictures with the method {ZERO_TIME} are modulated in another way than the picture, and LoRAs of "
        "single people that change this are not known there.",
        "Set FluxKontextMultiReferenceLatentMethod to another method, or use LoRAs without modulation layers.",
    )


def other_model(name: str, *, has_layer: bool) -> BadSetup:
    """The error about a MODEL that lacks a layer of this name, or has it with fewer inputs or outputs."""
    odd = f"a smaller layer {name}" if has_layer else f"no layer {name}"
    return BadSetup(
        f"The MODEL that is sampled has {odd}, other than the MODEL of LoRA per Person.",
        "Connect model_out of LoRA per Person to the sampler.",
    )
