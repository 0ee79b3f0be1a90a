"""InfuseNet: a ControlNet of FLUX.1 that reads faces instead of the text.

One pass of the net per person: outside of their region it sees no picture, and adds nothing to the MODEL's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import comfy.controlnet
import comfy.model_management
import torch
from comfy.ldm.flux.controlnet import ControlNetFlux
from comfy.utils import common_upscale
from torch import Tensor

from ...bridge import dit
from ...bridge.conditioning import WHOLE
from ...bridge.scopes import Scope
from ...bridge.token_control_net import NotAControlNet
from ...bridge.unet import Options
from ...core.attention import region_weights
from ...core.errors import WrongBaseModel
from ...core.families import FLUX
from ...core.places.regions import BadRegion, names
from .net import BLOCKS, GUIDANCE, shares_on_tokens

if TYPE_CHECKING:
    from comfy.model_base import BaseModel
    from comfy.sd import VAE

OF_FLUX = "Use FLUX.1 dev (Load Diffusion Model), its text encoders (DualCLIPLoader, type flux), its VAE and InfuseNet."


class NotAnInfuseNet(NotAControlNet):
    """Something else where InfuseNet is needed."""

    def __init__(self, found: str) -> None:
        double, single = BLOCKS
        needed = f"InfuseNet is a ControlNet of FLUX.1 with {double} double and {single} single blocks"
        advice = "Load infusenet_aes_bf16.safetensors (or sim, or fp8e4m3fn) with Load ControlNet Model."
        super().__init__(found, needed, advice)


def check_infuse_net(net: Any, vae: VAE, width: int, node: str) -> None:
    """Raise NotAnInfuseNet, or WrongBaseModel for a VAE that is not FLUX.1's. width: of one token."""
    _check_net(net, width)
    channels = net.control_model.pos_embed_input.in_features // 4
    if (vae.latent_channels, vae.latent_dim) != (channels, 2):
        found = f"latents of {vae.latent_channels} channels in {vae.latent_dim} dimensions"
        raise WrongBaseModel(f"The VAE given to {node}", found, f"one for {channels} channels in 2 (FLUX.1)", OF_FLUX)


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
    if blocks != BLOCKS:
        raise NotAnInfuseNet(f"one with {blocks[0]} double and {blocks[1]} single blocks")
    if network.params.context_in_dim != width:
        raise NotAnInfuseNet(f"one that reads tokens of width {network.params.context_in_dim}, not {width}")
    if len(getattr(net, "timestep_keyframes", ())) > 1:
        raise NotAnInfuseNet(f"one with another pack's timestep keyframes (its code: {type(net).__module__})")


class _Pass(NamedTuple):
    """What one pass is given, for every row or for all. seen: (rows, 1, h, w), or None: all of the picture.

    shares: (rows, tokens or 1, 1), of its residuals.
    """

    hint: Tensor
    context: Tensor
    seen: Tensor | None
    shares: Tensor


class InfuseNet(comfy.controlnet.ControlNet):
    """Shares the network of the ControlNet it is made from. Its hint has a picture per person, or one for all.

    tokens: (people, T, width) float32 CPU, of those in scope; in by_row each is heard in a row of the batch alone.
    size: (width, height) of the canvas in px, where anything depends on it.
    """

    def __init__(
        self, net: comfy.controlnet.ControlNet, scope: Scope, tokens: Tensor, size: tuple[int, int] | None
    ) -> None:
        super().__init__(None, load_device=net.load_device, manual_cast_dtype=net.manual_cast_dtype)
        self.control_model, self.control_model_wrapped = net.control_model, net.control_model_wrapped
        self.scope, self.tokens, self.size = scope, tokens, size
        self._passes: dict[torch.Size, list[_Pass]] = {}
        net.copy_to(self)

    def copy(self) -> InfuseNet:
        return InfuseNet(self, self.scope, self.tokens, self.size)

    def pre_run(self, model: BaseModel, percent_to_sigma: Any) -> None:
        dit.family(model.current_patcher, (FLUX.name,))
        ours, theirs = self.control_model.hidden_size, dit.network_of(model).hidden_size
        if ours != theirs:
            raise WrongBaseModel("The InfuseNet", f"a FLUX.1 of width {ours}", f"one of width {theirs}", OF_FLUX)
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
        canvas = self.scope.canvas
        canvas.check_rows(pictures)
        if not whole and (self.size or self.scope.acts is not None):
            why = "a prompt has an area of its own, and the net sees that instead of the whole picture"
            advice = "Use Conditioning (Set Mask) instead of Conditioning (Set Area)."
            raise BadRegion(", ".join(names(self.scope.people)), why, advice)
        if self.size:
            canvas.check(self.size, (8 * x.shape[-1], 8 * x.shape[-2]))

    @property
    def _dtype(self) -> torch.dtype:
        return self.manual_cast_dtype or self.control_model.dtype

    def _made(self, x: Tensor) -> list[_Pass]:
        scope, hints, number = self.scope, self._hints(x), len(self.tokens)
        weights = torch.tensor([person.weight for person in scope.people])[:, None, None]
        regions, acts = scope.regions, scope.boxes
        height, width = x.shape[-2:]
        seen, shares = None, weights
        if regions is not None:
            acts = region_weights(regions) if acts is None else acts
            tokens = shares_on_tokens(regions, height, width) > 0
            seen = tokens.float().repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None, :height, :width]
        if acts is not None:
            shares = weights * shares_on_tokens(acts, height, width).flatten(1)[..., None]

        def rows(values: Tensor) -> Tensor:
            return values.repeat(len(x) // len(values), *[1] * (values.ndim - 1)).to(x.device, self._dtype)

        return [
            _Pass(
                rows(hints[who] if len(hints) > 1 else hints),
                rows(self.tokens[who]),
                None if seen is None else rows(seen[who]),
                rows(shares[who]),
            )
            for who in ([slice(number)] if scope.by_row else [slice(n, n + 1) for n in range(number)])
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
            "guidance": torch.full((len(x),), GUIDANCE, device=x.device, dtype=dtype),
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
