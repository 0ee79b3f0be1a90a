"""A ControlNet of FLUX.1 that reads tokens of people instead of the text: its network is run once per person.

Outside of a person's region the net sees no picture and adds nothing to the MODEL's blocks. It acts on the positive
prompt. It stands in the negative prompt too, where it adds nothing and does not run, because the host computes both
prompts in one batch only where they have the same net.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch
from comfy.controlnet import ControlNet
from comfy.model_base import BaseModel
from comfy.utils import common_upscale
from torch import Tensor

from ...core.attention import on_tokens, region_weights
from ...core.errors import WrongBaseModel
from ...core.families import FLUX
from ...core.people import Person
from ...core.places.regions import BadRegion
from ...core.taking_part import names
from ..host.unet import Options
from ..networks import model_family
from ..sampling.areas import Area, RowWindow, hint_of_area, latent_of_run, row_window, whole_latent
from ..sampling.canvas_check import Canvas
from ..sampling.model_conds import cut_regions
from ..sampling.rows import ATTACHED, AttachedRows, Side
from ..sampling.run_notes import begins_late, tell_of_piece
from .attached_net import RunReport

TOKEN_CELLS = 2
"""How many latent pixels of FLUX.1 a token is wide and high."""


@dataclass(frozen=True, eq=False)
class _Pass:
    """What the net is given in one of its passes, for all B rows of a forward, on their device.

    hint: (B, C, h, w), the latent of the keypoint picture.
    tokens: (B, T, width), the face tokens that are read in place of a text.
    visible: (B, 1, h, w), 1 where the net sees the sampled latent and 0 elsewhere; None where it sees all of it.
    shares: (B, N, 1), what the residuals of each of the N picture tokens are multiplied with; (B, 1, 1) where one
    number holds for all tokens.
    """

    hint: Tensor
    tokens: Tensor
    visible: Tensor | None
    shares: Tensor


@dataclass(frozen=True, eq=False)
class NetOfPeople:
    """Whom a ControlNet is for, and what it reads of them.

    name: of the net, for messages. people, regions, boxes, by_row, canvas: as in apply_nodes.Scope. tokens: (people, T,
    width) float32 on the CPU. guidance: what the net is given, whatever guidance the MODEL has. size: (width, height)
    of the canvas in pixels, or None where nothing depends on it. report: what the run says of the net. advice: what to
    load, for errors.
    """

    name: str
    people: Sequence[Person]
    regions: Tensor | None
    boxes: Tensor | None
    by_row: bool
    canvas: Canvas
    tokens: Tensor
    guidance: float
    size: tuple[int, int] | None
    report: RunReport
    advice: str


class PersonControlNet(ControlNet):
    """The network of the user's ControlNet, which is run once per person. Its hint has a picture per person, or one for
    all of them."""

    def __init__(self, control_net: ControlNet, given: NetOfPeople) -> None:
        super().__init__(None, load_device=control_net.load_device, manual_cast_dtype=control_net.manual_cast_dtype)
        self.control_model = control_net.control_model
        self.control_model_wrapped = control_net.control_model_wrapped
        self.given = given
        self._dtype = self.manual_cast_dtype or self.control_model.dtype
        # Made once per run for: shape and device of the rows, their area, (height, width) of the whole latent, window.
        self._passes: dict[
            tuple[torch.Size, torch.device, Area | None, tuple[int, int], RowWindow | None], list[_Pass]
        ] = {}
        self._latent: tuple[int, int] | None = None  # (height, width) of the run's latent, where the host tells it
        self._to_sigma: Callable[[float], float] | None = None  # from a part of the schedule, 0..1; known in a run
        # The host's own settings, such as strength, range and the ControlNets before this one in the chain.
        control_net.copy_to(self)

    def copy(self) -> "PersonControlNet":
        """The host's method: a copy with the same network, for another chain of ControlNets."""
        return PersonControlNet(self, self.given)

    def pre_run(self, model: BaseModel, percent_to_sigma: Any) -> None:
        """The host calls it before a run. Raises WrongBaseModel unless the MODEL is a FLUX.1 of the net's width."""
        model_family.family(model.current_patcher, (FLUX.name,))
        net_width = self.control_model.hidden_size
        model_width = model_family.network_of(model).hidden_size
        if net_width != model_width:
            needed = f"one of width {model_width}"
            name, advice = self.given.name, self.given.advice
            raise WrongBaseModel(f"The {name}", f"a FLUX.1 of width {net_width}", needed, advice)
        # A run that was cancelled has left its passes here.
        self._passes = {}
        self._latent = latent_of_run(model)
        self.given.report.begin_run(model)
        super().pre_run(model, percent_to_sigma)
        self._to_sigma = percent_to_sigma

    def cleanup(self) -> None:
        """The host calls it at the end of a run: the passes are thrown away, and the notes of the run are shown."""
        super().cleanup()
        self._passes = {}
        self.given.report.end_run()

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
        those are. Raises BadRegion where it is unknown which part of the picture x_noisy is.
        """
        control = None
        if self.previous_controlnet is not None:
            control = self.previous_controlnet.get_control(x_noisy, t, cond, batched_number, transformer_options)
        rows: AttachedRows | None = cond.get(ATTACHED)
        # Attachment marks the entries of both prompts. Apply ControlNet (OLD) gives its chain to other prompts, too,
        # which have no mark and no faces.
        if rows is None:
            return control
        self.given.report.see_forward(rows, cond["c_crossattn"], transformer_options.get("sample_sigmas"))
        first_sigma, last_sigma = self.timestep_range
        if not first_sigma >= t[0] >= last_sigma:
            return control
        picture_count = len(x_noisy) // batched_number  # each entry has as many rows
        rows_with_faces = _rows_of_positive(rows, picture_count)
        if not rows_with_faces:
            return control
        latent = whole_latent(x_noisy, rows.area, transformer_options, self._latent)
        if latent is None:
            why = "a prompt has an area of its own, and it is unknown which part of the picture that is"
            advice = "Use Conditioning (Set Mask) instead of Conditioning (Set Area)."
            raise BadRegion(", ".join(names(self.given.people)), why, advice)
        x = x_noisy[rows_with_faces]
        window = row_window(transformer_options)
        key = x.shape, x.device, rows.area, latent, window
        if key not in self._passes:
            self._check_picture(picture_count if window is None else window.total or picture_count, latent)
            self._tell_of_piece(latent, transformer_options)
            people_of_rows = range(len(self.given.people)) if window is None else window.rows
            self._passes[key] = self._make_passes(x, latent, rows.area, people_of_rows)
        y = cond.get("y")
        if y is not None:
            y = y[rows_with_faces]
        residuals = self._residuals_of_all(self._passes[key], x, t[rows_with_faces], y)
        residuals = _in_all_rows(residuals, rows_with_faces, len(x_noisy))
        return self.control_merge(residuals, control, output_dtype=None)

    def _check_picture(self, picture_count: int, latent: tuple[int, int]) -> None:
        """Raise BadCast where people have a row of the batch each and there is another number of pictures, and BadSize
        where the picture has another shape than the canvas.

        latent: (height, width) of the whole picture in latent pixels.
        """
        canvas = self.given.canvas
        canvas.check_rows(picture_count)
        if self.given.size:
            canvas.check(self.given.size, _in_pixels(latent))

    def _tell_of_piece(self, latent: tuple[int, int], options: Options) -> None:
        """Write a note under the node where the run seems to sample a piece of the picture as if it were the whole.

        Upscalers by tiles do so, and the places are then wrong. latent: (height, width) of what is sampled, in latent
        pixels. options: the transformer_options of the forward.
        """
        to_sigma = self._to_sigma
        if not self.given.size or not to_sigma or self.given.by_row:
            return

        def starts_from_a_picture() -> bool:
            """Whether the run denoises a picture only in part, which an upscaler does."""
            return begins_late(options, to_sigma)

        tell_of_piece(self.given.canvas, self.given.size, _in_pixels(latent), starts_from_a_picture)

    def _make_passes(
        self, x: Tensor, latent: tuple[int, int], area: Area | None, people_of_rows: Sequence[int]
    ) -> list[_Pass]:
        """The passes for rows x, (B, C, h, w), which show the whole picture or an area of it.

        There is one pass for each person, or a single one where each person has a row of the batch. latent: (height,
        width) of the whole picture in latent pixels. area: that of the rows, None for the whole picture.
        people_of_rows: where each person has a row, the number of the person in each row of an entry.
        """
        given = self.given
        count = len(self.given.tokens)
        hints = self._encode_hints(latent, area)  # (people or 1, C, h, w)
        shares = torch.tensor([person.weight for person in given.people])[:, None, None]  # (people, 1, 1)
        people_regions = given.regions  # (people, H, W)
        # `acting` is where the residuals act: in the boxes of the faces if the node limits them to these, else in the
        # regions. What the net sees of the picture is limited by the regions in both cases.
        acting = given.boxes  # (people, H, W)
        if area is not None and people_regions is not None:
            people_regions = cut_regions(people_regions, area, latent)
        if area is not None and acting is not None:
            acting = cut_regions(acting, area, latent)
        height, width = x.shape[-2:]
        visible: Tensor | None = None
        if people_regions is not None:
            visible = _visible_pixels(people_regions, height, width)
            if acting is None:
                acting = region_weights(people_regions)  # regions that overlap are scaled to a sum of at most 1
        if acting is not None:
            acting_on_tokens = on_tokens(acting, height, width, TOKEN_CELLS).flatten(1)  # (people, N)
            shares = shares * acting_on_tokens[..., None]  # (people, N, 1)

        def repeated(values: Tensor) -> Tensor:
            """Values of the people of a pass, (people, ...), repeated for all rows: (B, ...), on the net's device.

            The rows of an entry are its pictures, and the rows of the next entry come after them. A pass of one person
            has the same values in every row. With a row for each person, the people are repeated once for each entry.
            """
            times = len(x) // len(values)
            other_dimensions = [1] * (values.ndim - 1)
            rows = values.repeat(times, *other_dimensions)
            return rows.to(x.device, self._dtype)

        people_of_passes = [[number] for number in range(count)]  # one person in each pass
        if given.by_row:
            people_of_passes = [list(people_of_rows)]  # all people in one pass, each in their own rows
        passes: list[_Pass] = []
        for people in people_of_passes:
            hint = hints[people] if len(hints) > 1 else hints  # a single hint is the same for all people
            passes.append(
                _Pass(
                    hint=repeated(hint),
                    tokens=repeated(self.given.tokens[people]),
                    visible=None if visible is None else repeated(visible[people]),
                    shares=repeated(shares[people]),
                )
            )
        return passes

    def _encode_hints(self, latent: tuple[int, int], area: Area | None) -> Tensor:
        """The keypoint pictures as latents: (people, C, h, w), or (1, C, h, w) where one picture serves all people.

        area: where it is given, the latents show this area of the pictures alone. latent: (height, width) of the whole
        picture in latent pixels. As in the host's ControlNet, the VAE encodes them in the first forward.
        """
        compression = self.vae.spacial_compression_encode()  # pixels of a latent pixel's side
        if area is None:
            height, width = latent
            pixels = common_upscale(
                self.cond_hint_original, width * compression, height * compression, self.upscale_algorithm, "center"
            )
        else:
            pixels = hint_of_area(self.cond_hint_original, latent, area, self.upscale_algorithm, compression)
        # Loading the VAE may unload the MODEL and the net from the graphics card, in the middle of a forward. What was
        # loaded before is loaded again after the VAE has run.
        loaded_models = comfy.model_management.loaded_models(only_currently_used=True)
        latents = self.vae.encode(pixels.movedim(1, -1))
        # A run that ended in an error may have left a model whose patcher is gone: the host lists None for it.
        patchers = [patcher for patcher in loaded_models if patcher is not None]
        comfy.model_management.load_models_gpu(patchers)
        return self.latent_format.process_in(latents)

    def _residuals_of_all(
        self, passes: Sequence[_Pass], x_noisy: Tensor, t: Tensor, y: Tensor | None
    ) -> dict[str, Sequence[Tensor]]:
        """What the net adds to the blocks of FLUX.1: the sum of the residuals of all passes, each times its shares.

        x_noisy: (B, C, h, w). t: (B,), the sigma of each row. y: (B, width), the pooled text, or None. The result has
        the form of what the host's network returns: for "input" (double blocks) and "output" (single blocks) a tensor
        (B, N, width) per block.
        """
        dtype = self._dtype
        sampling = self.model_sampling_current
        x = sampling.calculate_input(t, x_noisy).to(dtype)
        timesteps = sampling.timestep(t).to(dtype)
        guidance = torch.full((len(x),), self.given.guidance, device=x.device, dtype=dtype)
        if y is not None:
            y = y.to(x.device, dtype)
        summed: dict[str, Sequence[Tensor]] = {}
        for net_pass in passes:
            residuals: dict[str, Sequence[Tensor]] = self.control_model(
                x=x if net_pass.visible is None else x * net_pass.visible,
                hint=net_pass.hint,
                context=net_pass.tokens,
                timesteps=timesteps,
                guidance=guidance,
                y=y,
            )
            # The tensors are changed in place: blocks that share one tensor go on sharing it, and no copy is made. Each
            # tensor is multiplied once, however many blocks share it.
            tensors = _distinct_tensors(residuals)
            for tensor in tensors:
                tensor *= net_pass.shares
            if not summed:  # the first pass
                summed = residuals
                continue
            # Every pass shares its tensors among blocks in the same way, so the lists have the same order.
            for total, tensor in zip(_distinct_tensors(summed), tensors, strict=True):
                total += tensor
        return summed


def _in_pixels(latent: tuple[int, int]) -> tuple[int, int]:
    """The size in pixels, (width, height), of a latent of FLUX.1, given as (height, width) in latent pixels."""
    height, width = latent
    return 8 * width, 8 * height  # a latent pixel of FLUX.1's VAE is 8x8 pixels


def _visible_pixels(people_regions: Tensor, height: int, width: int) -> Tensor:
    """Where the net sees the latent for each person: (people, 1, height, width), 1 in tokens that the region touches.

    people_regions: (people, H, W). height, width: of the latent, in latent pixels.
    """
    touched = on_tokens(people_regions, height, width, TOKEN_CELLS) > 0  # (people, rows, columns of tokens)
    # At odd sides of the latent the last tokens reach beyond it.
    rows = touched.float().repeat_interleave(TOKEN_CELLS, dim=1)
    pixels = rows.repeat_interleave(TOKEN_CELLS, dim=2)
    return pixels[:, None, :height, :width]


def _rows_of_positive(rows: AttachedRows, picture_count: int) -> list[int]:
    """The numbers of the rows of a forward that belong to the positive prompt. picture_count: rows of an entry."""
    numbers: list[int] = []
    for entry_number, entry in enumerate(rows.entries):
        if entry.side is Side.POSITIVE:
            start = entry_number * picture_count
            numbers.extend(range(start, start + picture_count))
    return numbers


def _in_all_rows(
    residuals: dict[str, Sequence[Tensor]], rows: Sequence[int], row_count: int
) -> dict[str, Sequence[Tensor]]:
    """Residuals of some rows of a forward as those of all row_count rows, with zeros in the others.

    rows: the numbers of the rows that residuals, (rows, N, width) each, are of. Blocks that share a tensor share it
    still.
    """
    if len(rows) == row_count:
        return residuals
    in_all: dict[int, Tensor] = {}
    for tensor in _distinct_tensors(residuals):
        in_all[id(tensor)] = tensor.new_zeros(row_count, *tensor.shape[1:])
        in_all[id(tensor)][list(rows)] = tensor
    return {kind: [in_all[id(tensor)] for tensor in tensors] for kind, tensors in residuals.items()}


def _distinct_tensors(residuals: dict[str, Sequence[Tensor]]) -> list[Tensor]:
    """The tensors of a network's residuals, each once, in the order in which they first occur.

    The host's network puts the same tensor into the lists of several blocks.
    """
    tensors: dict[int, Tensor] = {}
    for residuals_of_blocks in residuals.values():
        for tensor in residuals_of_blocks:
            tensors[id(tensor)] = tensor
    return list(tensors.values())
