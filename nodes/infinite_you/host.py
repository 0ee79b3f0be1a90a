"""InfiniteYou on the host: the loaded file, and InfuseNet, a ControlNet of FLUX.1 that reads faces instead of the text.

One pass of the net per person: outside of their region it sees no picture, and adds nothing to the MODEL's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import comfy.controlnet
import comfy.model_management
import torch
from comfy.ldm.flux.controlnet import ControlNetFlux
from comfy.model_patcher import ModelPatcher
from comfy.utils import common_upscale
from torch import Tensor

from ...bridge import dit, load
from ...bridge.adapters import Hearing
from ...bridge.conditioning import WHOLE, Conditioning, Whole
from ...bridge.unet import Options, family
from ...core.attention import region_weights
from ...core.errors import LikenessError, WrongBaseModel
from ...core.models import manifest
from ...core.models.tensors import below
from ...core.people import Person
from ...core.places.regions import BadRegion, names
from . import net as infinite_you

if TYPE_CHECKING:
    from comfy.model_base import BaseModel
    from comfy.sd import VAE

FILE = load.Published(infinite_you.METHOD, "InfiniteYou projection", manifest.model("infinite-you"))
_FLUX = "Use FLUX.1 dev (Load Diffusion Model), its text encoders (DualCLIPLoader, type flux), its VAE and InfuseNet."


class NotAnInfuseNet(LikenessError):
    """Something else where InfuseNet is needed."""

    def __init__(self, found: str) -> None:
        double, single = infinite_you.BLOCKS
        super().__init__(
            f"The control_net input got {found}, but InfuseNet is a ControlNet of FLUX.1 with {double} double and "
            f"{single} single blocks.",
            "Load infusenet_aes_bf16.safetensors (or sim, or fp8e4m3fn) with Load ControlNet Model.",
        )


@dataclass(frozen=True)
class InfiniteYou:
    """A loaded image_proj_model. `patcher` holds a core.infinite_you.InfiniteYouNet; the host finds it by this name."""

    patcher: ModelPatcher

    @property
    def net(self) -> infinite_you.InfiniteYouNet:
        return self.patcher.model

    @property
    def width(self) -> int:
        """Of one token: the text width of the models this file is made for."""
        return self.net.width

    def tokens(self, people: Sequence[Person], photos: str) -> Tensor:
        """(people, 8, width) float32 on the CPU. Raises RecogniserMissing."""
        rows = [load.on_device(self.patcher, infinite_you.embeddings(person, photos)) for person in people]
        return torch.cat([self.net(row).cpu() for row in rows])


def load_infinite_you(path: str) -> InfiniteYou:
    """Read image_proj_model.bin or a safetensors conversion of it.

    Raises UnsupportedCheckpoint, naming what the file is instead.
    """
    state = FILE.read(path)
    return InfiniteYou(FILE.build(path, infinite_you.InfiniteYouNet, below("image_proj.", state) or state))


def check_fits(conditioning: Conditioning, net: Any, vae: VAE, width: int, what: str) -> None:
    """Raise NotAnInfuseNet, or WrongBaseModel for texts, a net or a VAE that are not of FLUX.1.

    width: of one token. what: the node.
    """
    for text, _ in conditioning:
        if text.shape[-1] != width:
            found = family(text.shape[-1])
            raise WrongBaseModel(f"The conditioning given to {what}", found, f"FLUX.1 (text width {width})", _FLUX)
    _check_net(net, width)
    channels = net.control_model.pos_embed_input.in_features // 4
    if (vae.latent_channels, vae.latent_dim) != (channels, 2):
        found = f"latents of {vae.latent_channels} channels in {vae.latent_dim} dimensions"
        raise WrongBaseModel(f"The VAE given to {what}", found, f"one for {channels} channels in 2 (FLUX.1)", _FLUX)


def _check_net(net: Any, width: int) -> None:
    network: Any = getattr(net, "control_model", None)
    if not (isinstance(net, comfy.controlnet.ControlNet) and isinstance(network, ControlNetFlux)):
        raise NotAnInfuseNet(f"a ControlNet of another family ({type(network or net).__name__})")
    if network.num_union_modes:
        raise NotAnInfuseNet("a union ControlNet")
    if not network.latent_input:
        raise NotAnInfuseNet("a ControlNet that reads pictures without a VAE")
    if net.concat_mask:
        raise NotAnInfuseNet("a ControlNet for inpainting")
    blocks = len(network.double_blocks), len(network.single_blocks)
    if blocks != infinite_you.BLOCKS:
        raise NotAnInfuseNet(f"one with {blocks[0]} double and {blocks[1]} single blocks")
    if network.params.context_in_dim != width:
        raise NotAnInfuseNet(f"one that reads tokens of width {network.params.context_in_dim}, not {width}")
    if len(getattr(net, "timestep_keyframes", ())) > 1:
        raise NotAnInfuseNet(f"one with another pack's timestep keyframes (its code: {type(net).__module__})")


@dataclass(frozen=True, eq=False)
class Shown:
    """Who InfuseNet is told of, and where.

    tokens: (people, T, width) float32 CPU. where: of them; in by_row each is heard in a row of the batch alone.
    size: (width, height) of the canvas in px, where anything depends on it.
    """

    people: Sequence[Person]
    tokens: Tensor
    where: Hearing
    size: tuple[int, int] | None

    @property
    def passes(self) -> list[slice]:
        """Whose tokens one pass reads."""
        number = len(self.people)
        return [slice(number)] if self.where.by_row else [slice(n, n + 1) for n in range(number)]


class _Pass(NamedTuple):
    """What one pass is given, for every row or for all. seen: (rows, 1, h, w), or None: all of the picture.

    shares: (rows, tokens or 1, 1), of its residuals.
    """

    hint: Tensor
    context: Tensor
    seen: Tensor | None
    shares: Tensor


class InfuseNet(comfy.controlnet.ControlNet):
    """Shares the network of the ControlNet it is made from. Its hint has a picture per person, or one for all."""

    def __init__(self, net: comfy.controlnet.ControlNet, shown: Shown) -> None:
        super().__init__(None, load_device=net.load_device, manual_cast_dtype=net.manual_cast_dtype)
        self.control_model, self.control_model_wrapped = net.control_model, net.control_model_wrapped
        self.shown = shown
        self._passes: dict[torch.Size, list[_Pass]] = {}
        net.copy_to(self)

    def copy(self) -> InfuseNet:
        return InfuseNet(self, self.shown)

    def pre_run(self, model: BaseModel, percent_to_sigma: Any) -> None:
        dit.family(model.current_patcher, (dit.FLUX,))
        ours, theirs = self.control_model.hidden_size, dit.network_of(model).hidden_size
        if ours != theirs:
            raise WrongBaseModel("The InfuseNet", f"a FLUX.1 of width {ours}", f"one of width {theirs}", _FLUX)
        super().pre_run(model, percent_to_sigma)

    def cleanup(self) -> None:
        super().cleanup()
        self._passes = {}

    def get_control(
        self, x_noisy: Tensor, t: Tensor, cond: dict[str, Any], batched_number: int, transformer_options: Options
    ) -> Any:
        before = self.previous_controlnet
        control = before and before.get_control(x_noisy, t, cond, batched_number, transformer_options)
        first, last = self.timestep_range
        # Apply ControlNet (OLD) gives its chain to the negative too, which has no faces.
        if WHOLE not in cond or not first >= t[0] >= last:
            return control
        if x_noisy.shape not in self._passes:
            self._check(x_noisy, len(x_noisy) // batched_number, cond[WHOLE])
            self._passes[x_noisy.shape] = self._made(x_noisy)
        return self.control_merge(self._residuals(x_noisy, t, cond.get("y")), control, output_dtype=None)

    def _check(self, x: Tensor, pictures: int, whole: bool) -> None:
        """Raise BadCast, BadSize, or BadRegion where nobody can tell which part of the picture is meant."""
        where, size = self.shown.where, self.shown.size
        where.canvas.check_rows(pictures)
        if not whole and (size or where.acts is not None):
            why = "a prompt has an area of its own, and the net sees that instead of the whole picture"
            advice = "Use Conditioning (Set Mask) instead of Conditioning (Set Area)."
            raise BadRegion(", ".join(names(self.shown.people)), why, advice)
        if size:
            where.canvas.check(size, (8 * x.shape[-1], 8 * x.shape[-2]))

    @property
    def _dtype(self) -> torch.dtype:
        return self.manual_cast_dtype or self.control_model.dtype

    def _made(self, x: Tensor) -> list[_Pass]:
        shown, hints = self.shown, self._hints(x)
        weights = torch.tensor([person.weight for person in shown.people])[:, None, None]
        regions, acts = shown.where.regions, shown.where.boxes
        height, width = x.shape[-2:]
        seen, shares = None, weights
        if regions is not None:
            acts = region_weights(regions) if acts is None else acts
            tokens = infinite_you.shares_on_tokens(regions, height, width) > 0
            seen = tokens.float().repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None, :height, :width]
        if acts is not None:
            shares = weights * infinite_you.shares_on_tokens(acts, height, width).flatten(1)[..., None]

        def rows(values: Tensor) -> Tensor:
            return values.repeat(len(x) // len(values), *[1] * (values.ndim - 1)).to(x.device, self._dtype)

        return [
            _Pass(
                rows(hints[who] if len(hints) > 1 else hints),
                rows(shown.tokens[who]),
                None if seen is None else rows(seen[who]),
                rows(shares[who]),
            )
            for who in shown.passes
        ]

    def _hints(self, x: Tensor) -> Tensor:
        """(people or 1, C, h, w): every picture encoded at once, as the host does it for a ControlNet."""
        if self.cond_hint is None or self.cond_hint.shape[-2:] != x.shape[-2:]:
            side = self.vae.spacial_compression_encode()
            height, width = (side * cells for cells in x.shape[-2:])
            pixels = common_upscale(self.cond_hint_original, width, height, self.upscale_algorithm, "center")
            loaded = comfy.model_management.loaded_models(only_currently_used=True)
            latents = self.vae.encode(pixels.movedim(1, -1))
            # A run that ended in an error may have left one whose patcher is gone: the host lists None for it.
            comfy.model_management.load_models_gpu([patcher for patcher in loaded if patcher is not None])
            self.cond_hint = self.latent_format.process_in(latents)
        return self.cond_hint

    def _residuals(self, x_noisy: Tensor, t: Tensor, y: Tensor | None) -> dict[str, Sequence[Tensor]]:
        """Of all passes together."""
        dtype, schedule = self._dtype, self.model_sampling_current
        x = schedule.calculate_input(t, x_noisy).to(dtype)
        given = {
            "timesteps": schedule.timestep(t).to(dtype),
            "guidance": torch.full((len(x),), infinite_you.GUIDANCE, device=x.device, dtype=dtype),
            "y": None if y is None else y.to(x.device, dtype),
        }
        residuals: dict[str, Sequence[Tensor]] = {}
        for hint, context, seen, shares in self._passes[x_noisy.shape]:
            found = self.control_model(x=x if seen is None else x * seen, hint=hint, context=context, **given)
            for each in _once(found):
                each *= shares
            for whole, each in zip(_once(residuals), _once(found), strict=False):
                whole += each
            residuals = residuals or found
        return residuals


def _once(residuals: dict[str, Sequence[Tensor]]) -> Iterable[Tensor]:
    """Each of them: the host hands one and the same tensor to several blocks."""
    return {id(each): each for kind in residuals.values() for each in kind}.values()


def attached(
    conditioning: Conditioning, net: InfuseNet, hint: Tensor, strength: float, percents: tuple[float, float], vae: VAE
) -> Conditioning:
    """The conditioning with the net at the end of each entry's chain; entries of one chain share it, as the host asks
    of those that go into one batch.

    hint: (people or 1, H, W, 3).
    """
    copies: dict[Any, InfuseNet] = {}
    made: Conditioning = []
    for text, options in conditioning:
        before = options.get("control")
        if before not in copies:
            copies[before] = net.copy().set_cond_hint(hint.movedim(-1, 1), strength, percents, vae=vae)
            copies[before].set_previous_controlnet(before)
        conds = {**options.get("model_conds", {}), WHOLE: Whole(True)}
        made.append([text, {**options, "model_conds": conds, "control": copies[before]}])
    return made
