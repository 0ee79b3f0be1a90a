"""What a sampling run tells the user under the node whose work it reads: nothing is wrong enough to be refused.

Each remark has a topic. A run replaces what an earlier run has told about the same topic, see notes.tell_of_run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import comfy.latent_formats
from comfy.samplers import CFGGuider
from torch import Tensor

from ..core import families, geometry, pictures
from . import notes
from .canvas import Canvas

PICTURES = "pictures"
PIECE = "piece"
CHECKPOINT = "checkpoint"
"""The topics."""
_CHECKED = "likeness_checked"
"""In a guider's model_options, which the host copies for each sampling: topics and canvases that this sampling has
already been checked for, a set of (PIECE or CHECKPOINT, canvas of the node).

Some nodes have two Runs in one sampling, such as LoRA per Person with its words, and each calls `tell_of_start`. The
second would look at every pixel of the latent again."""

_OVER_A_PICTURE = 0.1
"""Share of the schedule that a run leaves out because it starts from a picture (denoise 0.9). The first sigma of
ddim_uniform at denoise 1 is lower than the schedule's highest, but not by so much."""
_OVER_A_PICTURE_UNSEEN = 0.35
"""The same for a ControlNet, which is not shown the latent that a run starts from. ddim_uniform with four steps leaves
out a quarter, and a detailer's usual denoise of 0.5 leaves out half."""


@dataclass(frozen=True)
class Pictures:
    """Pictures that a node is given, one for all rows of the batch or one for each.

    name: of one of them, such as "keypoint picture". owner: the node.
    """

    name: str
    owner: Canvas

    def tell(self, number: int, rows: int) -> None:
        """Tell where `number` pictures do not belong to `rows` rows of the latent one by one."""
        remark = pictures.without_row(self.name, number, rows)
        text = f"{self.owner.node}: {remark}" if remark else ""
        notes.tell_of_run(self.owner.node_id, PICTURES, text)


@dataclass(frozen=True)
class Start:
    """What a sampler begins with, in the host's names. noise, latent_image: (B, C, h, w) or (B, C, T, h, w).

    sigmas: (steps + 1,). denoise_mask: where the picture may change, or None: everywhere.
    """

    noise: Tensor
    latent_image: Tensor
    sigmas: Tensor
    denoise_mask: Tensor | None

    @classmethod
    def of_call(cls, args: Sequence[Any], options: Mapping[str, Any]) -> Start:
        """Of the arguments of comfy.samplers.CFGGuider.outer_sample, which packs also give by name."""
        names = ("noise", "latent_image", "sampler", "sigmas", "denoise_mask")
        named = {**dict(zip(names, args, strict=False)), **options}
        return cls(named["noise"], named["latent_image"], named["sigmas"], named.get("denoise_mask"))

    def over_a_picture(self, percent_to_sigma: Callable[[float], float]) -> bool:
        """Whether the run changes a picture that is there already, as samplers of tiles and of detailers do.

        A first pass does not: it starts from an empty latent and has all of the schedule. Nor does a sampler that goes
        on where another one has stopped: it is given no noise.

        percent_to_sigma: of the MODEL's schedule, from 0..1.
        """
        if not self.noise.any():
            return False
        if self.denoise_mask is not None:
            return True
        first = float(self.sigmas[0])
        if self.latent_image.any():
            return first < percent_to_sigma(_OVER_A_PICTURE)
        return first < percent_to_sigma(_OVER_A_PICTURE_UNSEEN)


class Carrying(Protocol):
    """What remarks read of anything that conditioning carries: some properties of bridge.carried.Carried."""

    @property
    def acts(self) -> Tensor | None: ...
    @property
    def canvas(self) -> Canvas | None: ...
    @property
    def trained(self) -> Canvas | None: ...
    @property
    def poses(self) -> Pictures | None: ...
    @property
    def pose_count(self) -> int: ...


def tell_of_start(carried: Sequence[Carrying], guider: CFGGuider, start: Start) -> None:
    """Tell the user what has to be told of a run before its first step. carried: all that its conditioning carries."""
    checked: set[tuple[str, Canvas]] = guider.model_options.setdefault(_CHECKED, set())
    _tell_of_poses(carried, rows=len(start.latent_image))
    _tell_of_checkpoints(carried, guider, checked)
    _tell_of_pieces(carried, guider, start, checked)


def _tell_of_poses(carried: Sequence[Carrying], rows: int) -> None:
    """Of pose pictures, one for each row of the latent or one for all."""
    numbers: dict[Pictures, int] = {}
    for item in carried:
        if item.poses is not None:
            numbers[item.poses] = item.pose_count
    for poses, number in numbers.items():
        poses.tell(number, rows)


def _tell_of_checkpoints(carried: Sequence[Carrying], guider: CFGGuider, checked: set[tuple[str, Canvas]]) -> None:
    """Of nodes whose files were made for SDXL's own latents."""
    model: Any = guider.model_patcher
    nodes = {item.trained for item in carried if item.trained is not None}
    for node in nodes:
        if (CHECKPOINT, node) not in checked:
            checked.add((CHECKPOINT, node))
            tell_of_checkpoint(node, model.get_model_object("latent_format"))


def _tell_of_pieces(
    carried: Sequence[Carrying], guider: CFGGuider, start: Start, checked: set[tuple[str, Canvas]]
) -> None:
    """Of people with a place each. A crop around each of them (`rows` of the canvas) is a piece on purpose."""
    model: Any = guider.model_patcher
    to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    height, width = start.latent_image.shape[-2:]
    latent = (8 * width, 8 * height)
    regions_on: dict[Canvas, Tensor | None] = {}
    for item in carried:
        if item.canvas is not None:
            regions_on[item.canvas] = item.acts
    for canvas, regions in regions_on.items():
        if regions is not None and not canvas.rows and (PIECE, canvas) not in checked:
            checked.add((PIECE, canvas))
            size = (regions.shape[2], regions.shape[1])  # regions: (people, H, W)
            tell_of_piece(canvas, size, latent, lambda: start.over_a_picture(to_sigma))


def tell_of_piece(
    canvas: Canvas, size: tuple[int, int], latent: tuple[int, int], over_a_picture: Callable[[], bool]
) -> None:
    """Tell where a run may be of a piece of the picture: smaller than its canvas, and over a picture that is there.

    size: of the canvas, latent: of what is sampled, (width, height) in pixels. over_a_picture: asked only where the
    latent is clearly smaller, since it looks at every pixel of a latent.
    """
    text = ""
    if geometry.clearly_smaller(latent, size) and over_a_picture():
        text = geometry.perhaps_a_piece(canvas.node, latent, size)
    notes.tell_of_run(canvas.node_id, PIECE, text)


def begins_late(options: Mapping[str, Any], percent_to_sigma: Callable[[float], float]) -> bool:
    """Whether a run leaves out so much of its schedule that it must start from a picture, seen from one forward.

    For a ControlNet, which is not shown the latent that a run starts from. options: the host's transformer_options. No
    where a pack makes its own without the schedule.
    """
    sigmas = options.get("sample_sigmas")
    return sigmas is not None and float(sigmas[0]) < percent_to_sigma(_OVER_A_PICTURE_UNSEEN)


def tell_of_checkpoint(owner: Canvas, latent_format: object) -> None:
    """Tell where a MODEL has SDXL's layers and other latents, for which the files of SDXL's methods were not made.

    The host knows Playground v2.5 by numbers in its file, and ModelSamplingContinuousEDM says so of any MODEL.
    """
    playground = isinstance(latent_format, comfy.latent_formats.SDXL_Playground_2_5)
    text = f"{owner.node}: {families.PLAYGROUND}" if playground else ""
    notes.tell_of_run(owner.node_id, CHECKPOINT, text)
