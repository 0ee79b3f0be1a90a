"""A ControlNet of FLUX.1 that reads tokens of people instead of the text: its network is run once per person.

Outside of a person's region the net sees no picture and adds nothing to the MODEL's blocks. It acts on the positive
prompt. It stands in the negative prompt too, where it adds nothing and does not run, because the host computes both
prompts in one batch only where they have the same net.
"""

from collections.abc import Sequence
from typing import Any

import comfy.model_management
import torch
from comfy.controlnet import ControlNet
from comfy.model_base import BaseModel
from comfy.utils import common_upscale
from torch import Tensor

from ...core.checks.errors import WrongBaseModel
from ...core.families import FLUX
from ..host.unet import Options
from ..networks import model_family
from ..sampling.areas import Area, LatentSize, RowWindow, hint_of_area, in_pixels, row_window, whole_latent
from ..sampling.rows import ATTACHED, AttachedRows, Side
from .flux_passes import NetOfPeople, PersonPass, Residuals, in_all_rows, passes_of, summed
from .net_of_host import NetOfHost


class PersonControlNet(NetOfHost):
    """The network of the user's ControlNet, which is run once per person. Its hint has a picture per person, or one for
    all of them.

    attached_net.py checks rows and sizes before it is asked, and computes the nets before it in the chain.
    """

    def __init__(self, control_net: ControlNet, given: NetOfPeople) -> None:
        """control_net: of the user, or a net of this class to copy. given: whom the net is for, and what it reads."""
        super().__init__(control_net)
        self.given = given
        self._dtype = self.manual_cast_dtype or self.control_model.dtype
        # Made once per run for: shape and device of the rows, their area, (height, width) of the whole latent, window.
        self._passes: dict[
            tuple[torch.Size, torch.device, Area | None, LatentSize, RowWindow | None], list[PersonPass]
        ] = {}

    def copy(self) -> "PersonControlNet":
        return PersonControlNet(self, self.given)

    def pre_run(self, model: BaseModel, percent_to_sigma: Any) -> None:
        """The host calls it before a run: checks the MODEL, and forgets passes of an earlier run.

        Raises WrongBaseModel unless the MODEL is a FLUX.1 of the net's width.
        """
        model_family.require_family(model.current_patcher, (FLUX.name,))
        net_width = self.control_model.hidden_size
        model_width = model_family.network_of(model).hidden_size
        if net_width != model_width:
            needed = f"one of width {model_width}"
            name, advice = self.given.name, self.given.advice
            raise WrongBaseModel(f"The {name}", f"a FLUX.1 of width {net_width}", needed, advice)
        # A run that was cancelled has left its passes here.
        self._passes = {}
        super().pre_run(model, percent_to_sigma)

    def cleanup(self) -> None:
        super().cleanup()
        self._passes = {}

    def get_control(
        self,
        x_noisy: Tensor,
        t: Tensor,
        cond: dict[str, Any],
        batched_number: int,
        transformer_options: Options,
    ) -> Any:
        """What this net and those before it in the chain add to the blocks of the MODEL in one forward.

        It is the host's method. x_noisy: (B, C, h, w), all rows of the forward. t: (B,), the sigma of each row, the
        same for all. cond: what the conditioning entries of these rows bring, by name. batched_number: how many entries
        those are. Returns None where nothing is added.
        """
        control = None
        if self.previous_controlnet is not None:
            control = self.previous_controlnet.get_control(x_noisy, t, cond, batched_number, transformer_options)
        first_sigma, last_sigma = self.timestep_range  # first is the higher one: sigmas fall in a run
        is_in_range = first_sigma >= t[0] >= last_sigma
        if not is_in_range:
            return control
        rows: AttachedRows = cond[ATTACHED]
        sides = rows.sides(cond["c_crossattn"], transformer_options)
        rows_with_faces = _rows_of_positive(sides, len(x_noisy) // batched_number)
        if not rows_with_faces:
            return control
        latent = whole_latent(x_noisy, rows.area, transformer_options)
        x = x_noisy[rows_with_faces]
        passes = self._passes_for(x, rows.area, latent, row_window(transformer_options))
        y = cond.get("y")
        if y is not None:
            y = y[rows_with_faces]
        residuals = self._residuals_of_all(passes, x, t[rows_with_faces], y)
        residuals = in_all_rows(residuals, rows_with_faces, len(x_noisy))
        return self.control_merge(residuals, control, output_dtype=None)

    def _passes_for(
        self, x: Tensor, area: Area | None, latent: LatentSize, window: RowWindow | None
    ) -> list[PersonPass]:
        """The passes for rows x, (B, C, h, w), of a forward: made at the first such forward of a run, and kept.

        area: of the rows, or None. latent: (height, width) of the whole picture in latent pixels. window: of the rows.
        """
        key = x.shape, x.device, area, latent, window
        if key not in self._passes:
            # Read only where each person has a row of the batch: row n is then person n's.
            people_of_rows = range(len(self.given.people)) if window is None else window.rows
            hints = self._encode_hints(latent, area)
            self._passes[key] = passes_of(self.given, hints, x, latent, area, people_of_rows, self._dtype)
        return self._passes[key]

    def _encode_hints(self, latent: LatentSize, area: Area | None) -> Tensor:
        """The keypoint pictures as latents: (people, C, h, w), or (1, C, h, w) where one picture serves all people.

        latent: (height, width) of the whole picture in latent pixels. area: the part of the pictures to encode; None
        for the whole. The host's ControlNet, too, has the VAE encode them in the first forward.
        """
        pixels = self._fitted_hints(latent, area)
        # Loading the VAE may unload the MODEL and the net from the graphics card, in the middle of a forward. So what
        # is loaded now is loaded again after the VAE has run.
        loaded_models = comfy.model_management.loaded_models(only_currently_used=True)
        latents = self.vae.encode(pixels.movedim(1, -1))
        # A run that ended in an error may have left a model whose patcher is gone: the host lists None for it.
        patchers = [patcher for patcher in loaded_models if patcher is not None]
        comfy.model_management.load_models_gpu(patchers)
        return self.latent_format.process_in(latents)

    def _fitted_hints(self, latent: LatentSize, area: Area | None) -> Tensor:
        """The keypoint pictures at the size that the VAE makes such a latent of. Arguments as in `_encode_hints`."""
        compression = self.vae.spacial_compression_encode()  # pixels of a latent pixel's side
        if area is not None:
            return hint_of_area(self.cond_hint_original, latent, area, self.upscale_algorithm, compression)
        width, height = in_pixels(latent, compression)
        return common_upscale(self.cond_hint_original, width, height, self.upscale_algorithm, "center")

    def _residuals_of_all(
        self, passes: Sequence[PersonPass], x_noisy: Tensor, t: Tensor, y: Tensor | None
    ) -> Residuals:
        """What the net adds to the blocks of FLUX.1: the sum of the residuals of all passes, each times its shares.

        x_noisy: (B, C, h, w). t: (B,), the sigma of each row. y: (B, width), the pooled text, or None.
        """
        dtype = self._dtype
        sampling = self.model_sampling_current
        x = sampling.calculate_input(t, x_noisy).to(dtype)
        timesteps = sampling.timestep(t).to(dtype)
        guidance = torch.full((len(x),), self.given.guidance, device=x.device, dtype=dtype)
        if y is not None:
            y = y.to(x.device, dtype)

        def run(net_pass: PersonPass) -> Residuals:
            """What the network gives in one pass. All else that it is given is the same in every pass."""
            return self.control_model(
                x=x if net_pass.visible is None else x * net_pass.visible,
                hint=net_pass.hint,
                context=net_pass.tokens,
                timesteps=timesteps,
                guidance=guidance,
                y=y,
            )

        return summed(passes, run)


def _rows_of_positive(sides: Sequence[Side], picture_count: int) -> list[int]:
    """The numbers of the rows of a forward that stand for the positive prompt.

    sides: of each entry. picture_count: rows of an entry.
    """
    numbers: list[int] = []
    for entry_number, side in enumerate(sides):
        if side is Side.POSITIVE:
            start = entry_number * picture_count
            numbers.extend(range(start, start + picture_count))
    return numbers
