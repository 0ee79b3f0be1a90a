"""InfiniteYou: load the projection; apply InfuseNet, a ControlNet of FLUX.1 that reads faces instead of the text.

InfuseNet runs once per person. Outside of that person's region it sees no picture and adds nothing to the MODEL's
blocks. It stands in the negative prompt too, where it adds nothing and does not run, because the host computes both
prompts in one batch only where they have the same net.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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
from ...bridge.areas import Area, RowWindow, hint_of_area, latent_of_run, row_window, whole_latent
from ...bridge.carried import cut_regions
from ...bridge.conditioning import Conditioning, check_conditioning, other_net
from ...bridge.control_nets.attachment import Attachment
from ...bridge.control_nets.rows import ATTACHED, AttachedRows, Side
from ...bridge.control_nets.token_control_net import NotAControlNet
from ...bridge.load import FileLoader, Loaded, Published
from ...bridge.presence import NamedRange, NetReport, presence_of_people
from ...bridge.remarks import begins_late, tell_of_piece
from ...bridge.schedule import WHOLE_SCHEDULE, ScheduleRange, check_range
from ...bridge.schema import photos_input, range_inputs, scope_inputs
from ...bridge.scopes import Scope
from ...bridge.transformers import networks
from ...bridge.unet import Options
from ...core import taking_part
from ...core.attention import region_weights
from ...core.errors import WrongBaseModel, gathered
from ...core.families import FLUX
from ...core.identities import embeddings
from ...core.methods import method
from ...core.models.tensors import below
from ...core.people import Cast, Keypoints, Person, PlacedCast, is_a
from ...core.places import control_images, drawing
from ...core.places.regions import BadRegion
from ...core.taking_part import names
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, adapter_socket
from .net import BLOCKS, GUIDANCE, InfiniteYouNet, shares_on_tokens

FLUX_ADVICE = (
    "Use FLUX.1 dev (Load Diffusion Model), its text encoders (DualCLIPLoader, type flux), its VAE and InfuseNet."
)
NEEDED = f"InfuseNet is a ControlNet of FLUX.1 with {BLOCKS[0]} double and {BLOCKS[1]} single blocks"
ITS_FILES = "Load infusenet_aes_bf16.safetensors (or sim, or fp8e4m3fn) with Load ControlNet Model."


def check_infuse_net(control_net: Any, vae: VAE, width: int, node_name: str) -> None:
    """Raise NotAControlNet for another net than InfuseNet, and WrongBaseModel for a VAE that is not FLUX.1's.

    width: of one token that InfuseNet reads. node_name: the node's name, for the message.
    """
    network: Any = getattr(control_net, "control_model", None)  # the host's module inside of its ControlNet
    if not (isinstance(control_net, ControlNet) and isinstance(network, ControlNetFlux)):
        kind = type(network or control_net).__name__
        raise NotAControlNet(f"a ControlNet of another family ({kind})", NEEDED, ITS_FILES)
    difference = _difference_from_infuse_net(control_net, network, width)
    if difference:
        raise NotAControlNet(difference, NEEDED, ITS_FILES)
    # The layer reads tokens of 2x2 latent pixels, so it has four inputs for each channel of the latent.
    channels = network.pos_embed_input.in_features // 4
    if (vae.latent_channels, vae.latent_dim) != (channels, 2):
        vae_latents = f"latents of {vae.latent_channels} channels in {vae.latent_dim} dimensions"
        needed = f"one for {channels} channels in 2 (FLUX.1)"
        raise WrongBaseModel(f"The VAE given to {node_name}", vae_latents, needed, FLUX_ADVICE)


def _difference_from_infuse_net(control_net: ControlNet, network: Any, width: int) -> str:
    """What kind of FLUX.1 ControlNet this is, in words, if it is not InfuseNet; "" for InfuseNet.

    network: the host's module inside of the net. width: of one token that InfuseNet reads.
    """
    if network.num_union_modes:
        return "a union ControlNet"
    if not network.latent_input:
        return "a ControlNet that reads pictures without a VAE"
    if control_net.concat_mask:
        return "a ControlNet for inpainting"
    blocks = (len(network.double_blocks), len(network.single_blocks))
    if blocks != BLOCKS:
        return f"one with {blocks[0]} double and {blocks[1]} single blocks"
    token_width = network.params.context_in_dim
    if token_width != width:
        return f"one that reads tokens of width {token_width}, not {width}"
    # ComfyUI-Advanced-ControlNet subclasses the host's ControlNet and lists its keyframes in this attribute.
    if len(getattr(control_net, "timestep_keyframes", ())) > 1:
        return f"one with another pack's timestep keyframes (its code: {type(control_net).__module__})"
    return ""


@dataclass(frozen=True, eq=False)
class _Pass:
    """What InfuseNet is given in one of its passes, for all B rows of a forward, on their device.

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


class InfuseNet(ControlNet):
    """InfuseNet for the people of a scope: the network of the user's ControlNet, run once per person.

    Its hint has a picture per person, or one for all of them. tokens: (people, T, width) float32 on the CPU. size:
    (width, height) of the canvas in pixels, or None where nothing depends on it. report: what the run says of it.
    """

    def __init__(
        self,
        control_net: ControlNet,
        scope: Scope,
        tokens: Tensor,
        size: tuple[int, int] | None,
        report: NetReport,
    ) -> None:
        super().__init__(None, load_device=control_net.load_device, manual_cast_dtype=control_net.manual_cast_dtype)
        self.control_model = control_net.control_model
        self.control_model_wrapped = control_net.control_model_wrapped
        self.scope = scope
        self.tokens = tokens
        self.size = size
        self.report = report
        self._dtype = self.manual_cast_dtype or self.control_model.dtype
        # Made once per run for: shape and device of the rows, their area, (height, width) of the whole latent, window.
        self._passes: dict[
            tuple[torch.Size, torch.device, Area | None, tuple[int, int], RowWindow | None], list[_Pass]
        ] = {}
        self._latent: tuple[int, int] | None = None  # (height, width) of the run's latent, where the host tells it
        self._to_sigma: Callable[[float], float] | None = None  # from a part of the schedule, 0..1; known in a run
        # The host's own settings, such as strength, range and the ControlNets before this one in the chain.
        control_net.copy_to(self)

    def copy(self) -> "InfuseNet":
        """The host's method: a copy with the same network, for another chain of ControlNets."""
        return InfuseNet(self, self.scope, self.tokens, self.size, self.report)

    def pre_run(self, model: BaseModel, percent_to_sigma: Any) -> None:
        """The host calls it before a run. Raises WrongBaseModel unless the MODEL is a FLUX.1 of InfuseNet's width."""
        networks.family(model.current_patcher, (FLUX.name,))
        net_width = self.control_model.hidden_size
        model_width = networks.network_of(model).hidden_size
        if net_width != model_width:
            needed = f"one of width {model_width}"
            raise WrongBaseModel("The InfuseNet", f"a FLUX.1 of width {net_width}", needed, FLUX_ADVICE)
        # A run that was cancelled has left its passes here.
        self._passes = {}
        self._latent = latent_of_run(model)
        self.report.begin_run(model)
        super().pre_run(model, percent_to_sigma)
        self._to_sigma = percent_to_sigma

    def cleanup(self) -> None:
        """The host calls it at the end of a run: the passes are thrown away, and the notes of the run are shown."""
        super().cleanup()
        self._passes = {}
        self.report.end_run()

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
        self.report.see_forward(rows, cond["c_crossattn"], transformer_options.get("sample_sigmas"))
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
            raise BadRegion(", ".join(names(self.scope.people)), why, advice)
        x = x_noisy[rows_with_faces]
        window = row_window(transformer_options)
        key = x.shape, x.device, rows.area, latent, window
        if key not in self._passes:
            self._check_picture(picture_count if window is None else window.total or picture_count, latent)
            self._tell_of_piece(latent, transformer_options)
            people_of_rows = range(len(self.scope.people)) if window is None else window.rows
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
        canvas = self.scope.canvas
        canvas.check_rows(picture_count)
        if self.size:
            canvas.check(self.size, _in_pixels(latent))

    def _tell_of_piece(self, latent: tuple[int, int], options: Options) -> None:
        """Write a note under the node where the run seems to sample a piece of the picture as if it were the whole.

        Upscalers by tiles do so, and the places are then wrong. latent: (height, width) of what is sampled, in latent
        pixels. options: the transformer_options of the forward.
        """
        to_sigma = self._to_sigma
        if not self.size or not to_sigma or self.scope.by_row:
            return

        def starts_from_a_picture() -> bool:
            """Whether the run denoises a picture only in part, which an upscaler does."""
            return begins_late(options, to_sigma)

        tell_of_piece(self.scope.canvas, self.size, _in_pixels(latent), starts_from_a_picture)

    def _make_passes(
        self, x: Tensor, latent: tuple[int, int], area: Area | None, people_of_rows: Sequence[int]
    ) -> list[_Pass]:
        """The passes for rows x, (B, C, h, w), which show the whole picture or an area of it.

        There is one pass for each person, or a single one where each person has a row of the batch. latent: (height,
        width) of the whole picture in latent pixels. area: that of the rows, None for the whole picture.
        people_of_rows: where each person has a row, the number of the person in each row of an entry.
        """
        scope = self.scope
        count = len(self.tokens)
        hints = self._encode_hints(latent, area)  # (people or 1, C, h, w)
        shares = torch.tensor([person.weight for person in scope.people])[:, None, None]  # (people, 1, 1)
        people_regions = scope.regions  # (people, H, W)
        # `acting` is where the residuals act: in the boxes of the faces if the node limits them to these, else in the
        # regions. What the net sees of the picture is limited by the regions in both cases.
        acting = scope.boxes  # (people, H, W)
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
            acting_on_tokens = shares_on_tokens(acting, height, width).flatten(1)  # (people, N)
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
        if scope.by_row:
            people_of_passes = [list(people_of_rows)]  # all people in one pass, each in their own rows
        passes: list[_Pass] = []
        for people in people_of_passes:
            hint = hints[people] if len(hints) > 1 else hints  # a single hint is the same for all people
            passes.append(
                _Pass(
                    hint=repeated(hint),
                    tokens=repeated(self.tokens[people]),
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
        """What InfuseNet adds to the blocks of FLUX.1: the sum of the residuals of all passes, each times its shares.

        x_noisy: (B, C, h, w). t: (B,), the sigma of each row. y: (B, width), the pooled text, or None. The result has
        the form of what the host's network returns: for "input" (double blocks) and "output" (single blocks) a tensor
        (B, N, width) per block.
        """
        dtype = self._dtype
        sampling = self.model_sampling_current
        x = sampling.calculate_input(t, x_noisy).to(dtype)
        timesteps = sampling.timestep(t).to(dtype)
        guidance = torch.full((len(x),), GUIDANCE, device=x.device, dtype=dtype)
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
    """Where InfuseNet sees the latent for each person: (people, 1, height, width), 1 in tokens that the region touches.

    people_regions: (people, H, W). height, width: of the latent, in latent pixels.
    """
    touched = shares_on_tokens(people_regions, height, width) > 0  # (people, rows, columns of tokens)
    # A token is 2x2 pixels of the latent, and at odd sides the last tokens reach beyond it.
    rows = touched.float().repeat_interleave(2, dim=1)
    pixels = rows.repeat_interleave(2, dim=2)
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


METHOD = method("infinite_you")
APPLY = "Apply InfiniteYou"


class InfiniteYou(Loaded[InfiniteYouNet]):
    """A loaded image_proj_model."""

    def tokens(self, people: Sequence[Person], photos: str) -> Tensor:
        """The tokens of people, (people, 8, width) float32 on the CPU. Raises BadCast.

        photos: how several photos of a person are joined.
        """
        tokens: list[Tensor] = []
        for person in people:
            face_embeddings = embeddings(person, METHOD, photos)[None]  # (1, photos, 512)
            tokens.append(self.net(self.on_device(face_embeddings)).cpu())  # (1, 8, width)
        return torch.cat(tokens)


InfiniteYouSocket = adapter_socket(METHOD.title, InfiniteYou)
FILE = Published.of_method(METHOD, "InfiniteYou projection")


def load_infinite_you(path: str) -> InfiniteYou:
    """Read image_proj_model.bin or a safetensors conversion of it. Raises UnsupportedCheckpoint."""
    state = FILE.read(path)
    # The keys of conversions lack the prefix. `below` then finds nothing, and the state is that of the projection.
    projection = below("image_proj.", state) or state
    return InfiniteYou(FILE.build(path, InfiniteYouNet, projection))


class ApplyInfiniteYou(io.ComfyNode):
    """Attaches InfuseNet, which reads face tokens and a picture of face keypoints for each person of the positive."""

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
        **scope_settings: Any,
    ) -> io.NodeOutput:
        networks.require_dits(APPLY)
        warnings = _missing_keypoints(taking_part.as_cast(cast)) if keypoints else []
        inputs = scopes.ScopeInputs(**scope_settings)
        cast = scopes.acting_cast(
            cls, cast, strength, FLUX.token, mask=inputs.mask, acts_in=inputs.acts_in, more=warnings
        )
        if cast is None:  # the node is switched off, or everybody has weight 0
            return io.NodeOutput(positive, negative)
        check_range(METHOD.title, start_percent, end_percent)
        needed = f"{FLUX.name} (text width {infinite_you.width})"
        check_conditioning([*positive, *negative], infinite_you.width, APPLY, needed, FLUX_ADVICE)
        check_infuse_net(control_net, vae, infinite_you.width, APPLY)
        notes.tell(notes.node_of(cls), other_net(cls))
        scope = scopes.scope_of_faces(cast, APPLY, WHOLE_SCHEDULE, inputs, notes.node_of(cls))
        hint = _hint(cast, scope.people, keypoints)
        size = None
        # The canvas matters only where regions or keypoints belong to it. Otherwise pictures may have any shape.
        if is_a(cast, PlacedCast) and (scope.placed or hint.any()):
            size = (cast.width, cast.height)
        net_range = NamedRange("InfuseNet", ScheduleRange(start_percent, end_percent))
        presence = presence_of_people(names(scope.people), APPLY, scope.canvas.node_id)
        report = NetReport(presence, net_range, tokens=None)  # no tokens are appended to the texts
        net = InfuseNet(control_net, scope, infinite_you.tokens(scope.people, photos), size, report)
        attachment = Attachment(net, hint, strength, (start_percent, end_percent), vae)
        positive_out, negative_out = attachment.attach_to_both(positive, negative)
        return io.NodeOutput(positive_out, negative_out, ui=_preview(cls, scope, hint))


def _missing_keypoints(cast: Cast) -> list[str]:
    """A line for the note under the node that names the people whose places have no face keypoints; [] for nobody."""
    names_without: list[str] = []
    # for_photos gives people with LoRAs alone weight 0, and `present` leaves out everybody of weight 0.
    acting_people = taking_part.present(taking_part.for_photos(cast)).people
    for person in acting_people:
        if person.slot is not None and person.slot.keypoints is None:
            names_without.append(person.identity.name)
    return gathered("No face keypoints in the place, so InfuseNet is shown black", names_without)


def _hint(cast: Cast, people: Sequence[Person], keypoints: bool) -> Tensor:
    """The picture of face keypoints of each person on the canvas, (people, H, W, 3).

    Where nobody has keypoints to be drawn, it is one small black picture for all, (1, 16, 16, 3). keypoints: the input
    of the node, whether they are drawn.
    """
    faces: list[Keypoints | None] = []
    for person in people:
        faces.append(person.slot.keypoints if keypoints and person.slot else None)
    if not is_a(cast, PlacedCast) or not any(faces):
        return torch.zeros(1, FLUX.token, FLUX.token, 3)
    pictures: list[Tensor] = []
    for face in faces:
        faces_of_picture = [] if face is None else [face]
        pictures.append(control_images.face_keypoints(faces_of_picture, cast.width, cast.height))
    return torch.stack(pictures)


def _preview(cls: type[io.ComfyNode], scope: Scope, hint: Tensor) -> ui.PreviewImage | None:
    """The preview under the node: a picture of the regions and one of the keypoints; None where there are neither.

    hint: (people or 1, H, W, 3). Where people share a picture, their keypoints are shown in one picture, too.
    """
    pictures: list[Tensor] = []
    region_picture = drawing.acting(scope.acting_regions, scope.people, scope.by_row)
    if region_picture is not None:
        pictures.append(region_picture)
    if hint.any():
        pictures.append(hint if scope.by_row else hint.amax(0, keepdim=True))
    if not pictures:
        return None
    return ui.PreviewImage(torch.cat(pictures), cls=cls)


LOADER = FileLoader(
    FILE,
    load_infinite_you,
    licence="InfiniteYou's weights are CC BY-NC 4.0, for academic research alone as their authors say. FLUX.1 dev and "
    "the face recogniser have licences of their own",
    newer=True,
)
NODES = [ApplyInfiniteYou]
