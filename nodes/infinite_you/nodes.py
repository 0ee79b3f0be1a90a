"""InfiniteYou: load the projection; apply InfuseNet, a ControlNet of FLUX.1 that reads faces instead of the text.

One pass of the net per person: outside of their region it sees no picture, and adds nothing to the MODEL's.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import comfy.model_management
import torch
from comfy.controlnet import ControlBase, ControlNet
from comfy.ldm.flux.controlnet import ControlNetFlux
from comfy.model_base import BaseModel
from comfy.sd import VAE
from comfy.utils import common_upscale
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge import notes, scopes
from ...bridge.areas import Area, hint_of_area, latent_of_run, whole_latent
from ...bridge.carried import cut_regions
from ...bridge.conditioning import Conditioning, check_conditioning
from ...bridge.control_nets.attachment import Attachment
from ...bridge.control_nets.rows import ATTACHED, AttachedRows
from ...bridge.control_nets.token_control_net import NotAControlNet
from ...bridge.load import FileLoader, Loaded, Published
from ...bridge.presence import NamedRange, NetReport, of_people
from ...bridge.remarks import begins_late, tell_of_piece
from ...bridge.schedule import WHOLE_SCHEDULE, ScheduleRange, check_range
from ...bridge.schema import photos_input, range_inputs, scope_inputs
from ...bridge.scopes import Scope
from ...bridge.transformers import networks
from ...bridge.unet import Options
from ...core.attention import region_weights
from ...core.errors import WrongBaseModel, gathered
from ...core.families import FLUX
from ...core.identities import embeddings
from ...core.methods import method
from ...core.models.tensors import below
from ...core.people import Cast, Person, PlacedCast, is_a
from ...core.places import control_images, drawing, regions
from ...core.places.person_region import BadRegion
from ...core.places.regions import names
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, adapter_socket
from .net import BLOCKS, GUIDANCE, InfiniteYouNet, shares_on_tokens

OF_FLUX = "Use FLUX.1 dev (Load Diffusion Model), its text encoders (DualCLIPLoader, type flux), its VAE and InfuseNet."
NEEDED = f"InfuseNet is a ControlNet of FLUX.1 with {BLOCKS[0]} double and {BLOCKS[1]} single blocks"
ITS_FILES = "Load infusenet_aes_bf16.safetensors (or sim, or fp8e4m3fn) with Load ControlNet Model."


def check_infuse_net(net: Any, vae: VAE, width: int, node: str) -> None:
    """Raise NotAControlNet, or WrongBaseModel for a VAE that is not FLUX.1's. width: of one token."""
    network: Any = getattr(net, "control_model", None)
    if not (isinstance(net, ControlNet) and isinstance(network, ControlNetFlux)):
        raise NotAControlNet(f"a ControlNet of another family ({type(network or net).__name__})", NEEDED, ITS_FILES)
    blocks, reads = (len(network.double_blocks), len(network.single_blocks)), network.params.context_in_dim
    keyframes = len(getattr(net, "timestep_keyframes", ()))
    for is_so, what in (
        (network.num_union_modes, "a union ControlNet"),
        (not network.latent_input, "a ControlNet that reads pictures without a VAE"),
        (net.concat_mask, "a ControlNet for inpainting"),
        (blocks != BLOCKS, f"one with {blocks[0]} double and {blocks[1]} single blocks"),
        (reads != width, f"one that reads tokens of width {reads}, not {width}"),
        (keyframes > 1, f"one with another pack's timestep keyframes (its code: {type(net).__module__})"),
    ):
        if is_so:
            raise NotAControlNet(what, NEEDED, ITS_FILES)
    channels = network.pos_embed_input.in_features // 4
    if (vae.latent_channels, vae.latent_dim) != (channels, 2):
        found = f"latents of {vae.latent_channels} channels in {vae.latent_dim} dimensions"
        raise WrongBaseModel(f"The VAE given to {node}", found, f"one for {channels} channels in 2 (FLUX.1)", OF_FLUX)


class _Pass(NamedTuple):
    """What one pass is given, for every row or for all. seen: (rows, 1, h, w), or None: all of the picture.

    shares: (rows, tokens or 1, 1), of its residuals.
    """

    hint: Tensor
    context: Tensor
    seen: Tensor | None
    shares: Tensor


class InfuseNet(ControlNet):
    """Shares the network of the ControlNet it is made from. Its hint has a picture per person, or one for all.

    tokens: (people, T, width) float32 CPU, of those in scope; in by_row each is read in a row of the batch alone.
    size: (width, height) of the canvas in px, where anything depends on it.
    """

    def __init__(
        self, net: ControlNet, scope: Scope, tokens: Tensor, size: tuple[int, int] | None, report: NetReport
    ) -> None:
        super().__init__(None, load_device=net.load_device, manual_cast_dtype=net.manual_cast_dtype)
        self.control_model, self.control_model_wrapped = net.control_model, net.control_model_wrapped
        self.scope, self.tokens, self.size = scope, tokens, size
        self.report = report
        self._dtype = self.manual_cast_dtype or self.control_model.dtype
        self._passes: dict[tuple[torch.Size, torch.device, Area | None, tuple[int, int]], list[_Pass]] = {}
        self._latent: tuple[int, int] | None = None
        self._to_sigma: Callable[[float], float] | None = None
        net.copy_to(self)

    def copy(self) -> "InfuseNet":
        return InfuseNet(self, self.scope, self.tokens, self.size, self.report)

    def pre_run(self, model: BaseModel, percent_to_sigma: Any) -> None:
        networks.family(model.current_patcher, (FLUX.name,))
        ours, theirs = self.control_model.hidden_size, networks.network_of(model).hidden_size
        if ours != theirs:
            raise WrongBaseModel("The InfuseNet", f"a FLUX.1 of width {ours}", f"one of width {theirs}", OF_FLUX)
        # A cancelled run leaves its own.
        self._passes = {}
        self._latent = latent_of_run(model)
        self.report.begun(model)
        super().pre_run(model, percent_to_sigma)
        self._to_sigma = percent_to_sigma

    def cleanup(self) -> None:
        super().cleanup()
        self._passes = {}
        self.report.ended()

    def get_control(
        self, x_noisy: Tensor, t: Tensor, cond: dict[str, Any], batched_number: int, transformer_options: Options
    ) -> Any:
        before = self.previous_controlnet
        control = before and before.get_control(x_noisy, t, cond, batched_number, transformer_options)
        first, last = self.timestep_range
        rows: AttachedRows | None = cond.get(ATTACHED)
        # Apply ControlNet (OLD) gives its chain to the negative too, which has no faces.
        if rows is None:
            return control
        self.report.forward(rows, cond["c_crossattn"], transformer_options.get("sample_sigmas"))
        if not first >= t[0] >= last:
            return control
        latent = whole_latent(x_noisy, rows.area, transformer_options, self._latent)
        if latent is None:
            why = "a prompt has an area of its own, and it is unknown which part of the picture that is"
            advice = "Use Conditioning (Set Mask) instead of Conditioning (Set Area)."
            raise BadRegion(", ".join(names(self.scope.people)), why, advice)
        key = x_noisy.shape, x_noisy.device, rows.area, latent
        if key not in self._passes:
            self._check(len(x_noisy) // batched_number, latent)
            self._tell(latent, transformer_options)
            self._passes[key] = self._made(x_noisy, latent, rows.area)
        residuals = self._residuals(self._passes[key], x_noisy, t, cond.get("y"))
        return self.control_merge(residuals, control, output_dtype=None)

    def _check(self, pictures: int, latent: tuple[int, int]) -> None:
        """Raise BadCast, BadSize. latent: (height, width) of the whole picture in latent pixels."""
        canvas = self.scope.canvas
        canvas.check_rows(pictures)
        if self.size:
            canvas.check(self.size, (8 * latent[1], 8 * latent[0]))

    def _tell(self, latent: tuple[int, int], options: Options) -> None:
        """At the first forward of a run, where that may show a piece of the picture as if it were the whole.

        latent: (height, width) of what is sampled, in latent pixels.
        """
        to_sigma = self._to_sigma
        if self.size and to_sigma and not self.scope.by_row:
            pixels = (8 * latent[1], 8 * latent[0])
            tell_of_piece(self.scope.canvas, self.size, pixels, lambda: begins_late(options, to_sigma))

    def _made(self, x: Tensor, latent: tuple[int, int], area: Area | None) -> list[_Pass]:
        """What each pass is given for rows x, (B, C, h, w), of the whole picture or of an area of it."""
        scope, number = self.scope, len(self.tokens)
        hints = self._hints_of(latent, area)
        weights = torch.tensor([person.weight for person in scope.people])[:, None, None]
        regions, acts = scope.regions, scope.boxes
        if area is not None:
            regions = None if regions is None else cut_regions(regions, area, latent)
            acts = None if acts is None else cut_regions(acts, area, latent)
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

    def _hints_of(self, latent: tuple[int, int], area: Area | None) -> Tensor:
        """(people or 1, C, h, w): every picture, or its part in an area, encoded at once, as the host does it for a
        ControlNet. latent: (height, width) of the whole picture in latent pixels."""
        side = self.vae.spacial_compression_encode()
        height, width = (side * cells for cells in latent)
        if area is None:
            pixels = common_upscale(self.cond_hint_original, width, height, self.upscale_algorithm, "center")
        else:
            pixels = hint_of_area(self.cond_hint_original, latent, area, self.upscale_algorithm, side)
        loaded = comfy.model_management.loaded_models(only_currently_used=True)
        latents = self.vae.encode(pixels.movedim(1, -1))
        # A run that ended in an error may have left one whose patcher is gone: the host lists None for it.
        comfy.model_management.load_models_gpu([patcher for patcher in loaded if patcher is not None])
        return self.latent_format.process_in(latents)

    def _residuals(
        self, passes: Sequence[_Pass], x_noisy: Tensor, t: Tensor, y: Tensor | None
    ) -> dict[str, Sequence[Tensor]]:
        """Of all passes together."""
        dtype, schedule = self._dtype, self.model_sampling_current
        x = schedule.calculate_input(t, x_noisy).to(dtype)
        given = {
            "timesteps": schedule.timestep(t).to(dtype),
            "guidance": torch.full((len(x),), GUIDANCE, device=x.device, dtype=dtype),
            "y": None if y is None else y.to(x.device, dtype),
        }
        residuals: dict[str, Sequence[Tensor]] = {}
        for hint, context, seen, shares in passes:
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


METHOD = method("infinite_you")
APPLY = "Apply InfiniteYou"


class InfiniteYou(Loaded[InfiniteYouNet]):
    """A loaded image_proj_model."""

    def tokens(self, people: Sequence[Person], photos: str) -> Tensor:
        """(people, 8, width) float32 on the CPU. Raises BadCast."""
        each = [embeddings(person, METHOD, photos)[None] for person in people]
        return torch.cat([self.net(self.beside(rows)).cpu() for rows in each])


InfiniteYouSocket = adapter_socket(METHOD.title, InfiniteYou)
FILE = Published.of(METHOD, "InfiniteYou projection")


def load_infinite_you(path: str) -> InfiniteYou:
    """Read image_proj_model.bin or a safetensors conversion of it. Raises UnsupportedCheckpoint."""
    state = FILE.read(path)
    return InfiniteYou(FILE.build(path, InfiniteYouNet, below("image_proj.", state) or state))


class ApplyInfiniteYou(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyInfiniteYou",
            category=IN_OTHER_METHODS,
            inputs=[
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                InfiniteYouSocket.Input("infinite_you"),
                io.ControlNet.Input("control_net"),
                io.Vae.Input("vae"),
                CastOrPersonSocket.Input("cast"),
                io.Float.Input("strength", default=1.0, min=0.0, max=10.0, step=0.01),
                *range_inputs(),
                io.Boolean.Input("keypoints", default=True),
                photos_input(),
                *scope_inputs(),
            ],
            outputs=[io.Conditioning.Output("positive_out"), io.Conditioning.Output("negative_out")],
            is_experimental=True,
        )

    @classmethod
    def execute(
        cls,
        positive: Conditioning,
        negative: Conditioning,
        infinite_you: InfiniteYou,
        control_net: ControlBase,
        vae: VAE,
        cast: Any,  # a Cast or an Identity
        strength: float,
        start_percent: float,
        end_percent: float,
        keypoints: bool,
        photos: str,
        **where: Any,
    ) -> io.NodeOutput:
        networks.require_dits(APPLY)
        drawn = regions.present(regions.for_photos(regions.as_cast(cast))).people
        slots = [(one, one.slot) for one in drawn if keypoints and one.slot]
        bare = regions.names([one for one, slot in slots if slot.keypoints is None])
        more = gathered("No face keypoints in the place, so InfuseNet is shown black", bare)
        cast = scopes.acting(cls, cast, strength, FLUX.token, more=more, **where)
        if cast is None:
            return io.NodeOutput(positive, negative)
        check_range(METHOD.title, start_percent, end_percent)
        needed = f"{FLUX.name} (text width {infinite_you.width})"
        check_conditioning([*positive, *negative], infinite_you.width, APPLY, needed, OF_FLUX)
        check_infuse_net(control_net, vae, infinite_you.width, APPLY)
        scope = scopes.of_faces(cast, APPLY, WHOLE_SCHEDULE, node_id=notes.node_of(cls), **where)
        hint = _hint(cast, scope.people, keypoints)
        size = (cast.width, cast.height) if is_a(cast, PlacedCast) and (scope.placed or hint.any()) else None
        schedule = ScheduleRange(start_percent, end_percent)
        people = of_people(names(scope.people), APPLY, scope.canvas.node_id)
        report = NetReport(people, NamedRange("InfuseNet", schedule), None)
        net = InfuseNet(control_net, scope, infinite_you.tokens(scope.people, photos), size, report)
        positive = Attachment(net, hint, strength, (start_percent, end_percent), vae).to(positive)
        return io.NodeOutput(positive, negative, ui=_preview(cls, scope, hint))


def _hint(cast: Cast, people: Sequence[Person], keypoints: bool) -> Tensor:
    """The five keypoints of each person on the canvas, (people, H, W, 3), or one black picture for all."""
    faces = [person.slot.keypoints if keypoints and person.slot else None for person in people]
    if not is_a(cast, PlacedCast) or not any(faces):
        return torch.zeros(1, FLUX.token, FLUX.token, 3)
    size = cast.width, cast.height
    return torch.stack([control_images.face_keypoints([face] if face else [], *size) for face in faces])


def _preview(cls: type[io.ComfyNode], scope: Scope, hint: Tensor) -> ui.PreviewImage | None:
    """The regions, and everybody's keypoints in one picture, as far as there are any."""
    areas = drawing.acting(scope.acts, scope.people, scope.by_row)
    faces = (hint if scope.by_row else hint.amax(0, keepdim=True)) if hint.any() else None
    shown = [pictures for pictures in (areas, faces) if pictures is not None]
    return ui.PreviewImage(torch.cat(shown), cls=cls) if shown else None


LOADER = FileLoader(
    FILE,
    load_infinite_you,
    licence="InfiniteYou's weights are CC BY-NC 4.0, for academic research alone as their authors say. FLUX.1 dev and "
    "the face recogniser have licences of their own",
    newer=True,
)
NODES = [ApplyInfiniteYou]
