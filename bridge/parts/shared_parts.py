"""Parts in the conditioning. A row whose conditioning carries none attends to itself alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ...core.checks.errors import BadParts, BadSize
from ...core.parts.bank import Bank, PartWeights
from ...core.pictures.geometry import OF_A_PIECE
from ..networks.file_attention import tell_of_file_attention
from ..sampling.areas import in_pixels
from ..sampling.carried import Carried, carried_in, carry_both
from ..sampling.conditioning import SamplerInputs
from ..sampling.runs import Run
from .recording import SelfReference, is_inpainting_in


@dataclass(frozen=True, eq=False)
class SharedParts(Carried):
    """What a node that applies parts adds to one side of the conditioning.

    bank: what the reference UNet saw, or None for a side that attends to itself alone (the negative). A layer that is
    not in the bank attends to itself alone, too.
    weights: how much the pixels read of each part, and in which region (target).
    pose: (B, C, h, w) added after the first convolution, or None; one for all pictures, or one for each.
    live: the parts that are recorded while sampling, instead of a bank.
    size: (width, height) in pixels of the picture that the parts were encoded for, or None for any size.
    """

    key = "likeness_sharing"
    bank: Bank | None
    weights: PartWeights
    pose: Tensor | None = None
    live: SelfReference | None = None
    size: tuple[int, int] | None = None

    @property
    def active(self) -> bool:
        return bool(self.bank) or self.live is not None or self.pose is not None

    @property
    def by_place(self) -> bool:
        return self.pose is not None or self.weights.targets is not None

    @property
    def different_pictures(self) -> int:
        """One for each of several poses."""
        return 0 if self.pose is None or len(self.pose) == 1 else len(self.pose)

    def of_picture(self, number: int) -> "SharedParts":
        """A copy with one of the poses alone, (1, C, h, w)."""
        assert self.pose is not None
        return replace(self, pose=self.pose[[number]])

    def cut(self, area: Sequence[int], latent: Sequence[int]) -> "SharedParts":
        """As in Carried, of targets and poses. area: (height, width, y, x) in latent pixels."""
        area_in_pixels = [8 * side for side in area]  # targets have the size of the picture, poses that of the latent
        weights = replace(self.weights, targets=_cut(self.weights.targets, area_in_pixels))
        return replace(self, pose=_cut(self.pose, area), weights=weights)

    def begin(self, run: Run) -> None:
        """Write the note about the file's attention.

        Raises BadSize where the parts were encoded for a picture of another size, and WrongBaseModel as is_inpainting
        does.
        """
        size = in_pixels(run.latent, run.cell)
        if self.size is not None and self.size != size:
            width, height = self.size
            raise BadSize(
                "The latent",
                size,
                f"the parts were encoded for {width}x{height} px",
                "Give the latent and the node that the parts go through the same width and height; a second pass at "
                f"another size needs that node once more, at that size. {OF_A_PIECE}",
            )
        tell_of_file_attention(run, self, "attn1")
        if self.live is not None:
            is_inpainting_in(run, self.live)


def _cut(picture: Tensor | None, area: Sequence[int]) -> Tensor | None:
    """The part of a picture, (..., H, W), that lies in an area, (height, width, y, x); None for no picture."""
    if picture is None:
        return None
    height, width, y, x = area
    return picture[..., y : y + height, x : x + width]


def share_with(given: SamplerInputs, with_parts: SharedParts, without_parts: SharedParts) -> SamplerInputs:
    """The same MODEL, with `with_parts` in every positive entry, and `without_parts` in every negative one.

    Raises BadParts where there are parts already, from another node.
    """
    if any(carried_in(options, SharedParts.key) for _, options in given.texts):
        raise BadParts(
            "The conditioning carries parts already, from another node.",
            "Chain all Part nodes into one list and apply that once; target_mask says which region each part is for.",
        )
    return carry_both(given, with_parts, without_parts)
