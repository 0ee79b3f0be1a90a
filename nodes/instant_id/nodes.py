"""InstantID: load the adapter, apply adapter and IdentityNet for one person or many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from comfy.controlnet import ControlBase
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ...bridge.apply.acting_people import ActingPeople
from ...bridge.apply.adapters import UNetAdapter
from ...bridge.apply.begin import AtFaces, When, begin
from ...bridge.control_nets.attached_net import require_plain
from ...bridge.control_nets.attachment import Attachment, other_net
from ...bridge.control_nets.sdxl_net import TokenControlNet, other_network
from ...bridge.host import notes, schema
from ...bridge.host.load import FileLoader, Published
from ...bridge.host.schedule import ScheduleRange
from ...bridge.image_tokens.unet_tokens import UNetImageTokens
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs, check_control_net
from ...bridge.sampling.missing_people import NamedRange
from ...core.cast import Cast, Person, PlacedCast, is_a, rows_missing
from ...core.checks.errors import BadSetup
from ...core.families import SDXL
from ...core.methods import method
from ...core.persons.combining import embeddings
from ...core.pictures import geometry
from ...core.pictures.tensors import as_drawing
from ...core.places.control_images import NoKeypoints
from ...core.taking_part import with_photos
from ..categories import IN_INSTANT_ID
from ..sockets import CastOrPersonSocket, adapter_socket
from .net import InstantIDNet, unconditional

METHOD = method("instant_id")
APPLY = "Apply InstantID"


class InstantID(UNetAdapter[InstantIDNet]):
    """A loaded ip-adapter file."""

    method_title = METHOD.title

    def tokens(self, embeddings_of_people: Sequence[Tensor]) -> Tensor:
        """The tokens of people, (people, 16, width) float32 on the CPU.

        embeddings_of_people: (1, n, 512) of each person. n is the number of photos, or 1 where they are joined.
        """
        tokens: list[Tensor] = []
        for person_embeddings in embeddings_of_people:
            tokens.append(self.net.image_proj(self.on_device(person_embeddings)).cpu())  # (1, 16, width)
        return torch.cat(tokens)


InstantIDSocket = adapter_socket(InstantID)
FILE = Published.of_method(METHOD, "InstantID adapter")


@dataclass(frozen=True)
class Settings:
    """What is set on Apply InstantID. start_percent, end_percent: of IdentityNet."""

    adapter_weight: float
    control_strength: float
    start_percent: float
    end_percent: float
    adapter_start_percent: float
    adapter_end_percent: float
    negative_noise: float
    photos: str


class ApplyInstantID(io.ComfyNode):
    """Lets the UNet read face tokens beside the text, and attaches IdentityNet, which reads them instead of it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyInstantID",
            category=IN_INSTANT_ID,
            inputs=[
                *schema.applied_inputs(),
                InstantIDSocket.Input("instant_id"),
                io.ControlNet.Input("control_net", optional=True),
                CastOrPersonSocket.Input("cast"),
                io.Image.Input("image", optional=True),
                io.Float.Input("adapter_weight", default=0.8, min=-1.0, max=3.0, step=0.01),
                io.Float.Input("control_strength", default=0.8, min=0.0, max=10.0, step=0.01),
                *schema.range_inputs(),
                *map(schema.advanced, schema.range_inputs("adapter_")),
                io.Float.Input("negative_noise", default=0.0, min=0.0, max=1.0, step=0.01),
                schema.photos_input(),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=schema.applied_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        instant_id: InstantID,
        control_net: ControlBase | None = None,
        *,
        cast: Cast | Person,
        image: Tensor | None = None,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        settings = Settings(**values)  # `values` are the inputs that are its fields
        # The node is switched off only where both the adapter and IdentityNet are: `begin` compares this with 0.
        strength = settings.adapter_weight or settings.control_strength
        when = When("The adapter", settings.adapter_start_percent, settings.adapter_end_percent)
        given = SamplerInputs(model, positive, negative)
        where = AtFaces(SDXL.token, mask)
        acting = begin(cls, APPLY, given, with_photos(cast), strength, where, when, fits=instant_id.check_fits)
        if acting is None:  # switched off, or nobody takes part
            return io.NodeOutput(model, positive, negative)
        check_control_net(control_net, instant_id.width, APPLY)
        # (1, 1, 512)
        no_face = unconditional(settings.negative_noise, instant_id.net.image_proj.embedding)
        no_face_tokens = instant_id.tokens([no_face])  # (1, 16, width)
        carried = _image_tokens(instant_id, acting, settings.photos, settings.adapter_weight, no_face_tokens)
        # What acts, for notes when a run begins. What has strength 0 does not act.
        ranges: list[NamedRange] = []
        if settings.adapter_weight:
            ranges.append(NamedRange("the adapter", acting.schedule, "adapter_start_percent and adapter_end_percent"))
        if settings.control_strength:
            net_percents = (settings.start_percent, settings.end_percent)
            ranges.append(NamedRange("IdentityNet", ScheduleRange(*net_percents)))
            # _hint also raises where control_net is None.
            hint = _hint(image, acting.cast, control_net, settings.control_strength)
            notes.tell(other_net(cls))
            # IdentityNet reads the tokens that have this source. Positive and negative have the same one.
            source = carried[0].source
            require_plain(other_network(control_net), "IdentityNet", METHOD.title)
            net = TokenControlNet(control_net, source, no_face_tokens)
            name = "keypoint picture"
            attachment = Attachment(net, hint, settings.control_strength, net_percents, name, acting.node_of_run)
            given = attachment.attach_to_both(given)
        return acting.applied(given, carried, ranges)


def _image_tokens(
    loaded: InstantID, acting: ActingPeople, photos: str, weight: float, no_face_tokens: Tensor
) -> list[UNetImageTokens]:
    """What positive and negative carry, in this order: the tokens of the acting people, and as many of no face.

    photos: how several photos of a person are joined, as schema.photos_input. weight: of the adapter. no_face_tokens:
    (1, T, width), T = 16. Raises BadCast.
    """
    people = acting.people
    embeddings_of_people = [embeddings(member, METHOD, photos)[None] for member in people]  # (1, photos, 512) each
    face_tokens = loaded.tokens(embeddings_of_people)  # (people, T, width)
    no_faces = no_face_tokens.expand(len(people), -1, -1)  # (people, T, width)
    # What each person's values in attention are multiplied with is their weight.
    return loaded.image_tokens(acting, (face_tokens, no_faces), acting.weights(weight))


def _hint(image: Tensor | None, cast: Cast, control_net: ControlBase | None, strength: float) -> Tensor:
    """The keypoint picture that IdentityNet reads, (B, H, W, 3), checked.

    Raises BadSetup where picture or net are not connected, BadSize for a picture of another canvas, NoKeypoints for a
    black picture, and BadCast where people have a row of the batch each and there is another number of pictures.
    strength: of IdentityNet, above 0, for the message.
    """
    if image is None or control_net is None:
        missing: list[str] = []
        if control_net is None:
            missing.append("control_net")
        if image is None:
            missing.append("image")
        raise BadSetup(
            f"control_strength is {strength:g}, but nothing is connected to {' and '.join(missing)}.",
            "Connect IdentityNet (Load ControlNet Model) to control_net and Draw Skeletons (face keypoints) to image, "
            "or set control_strength to 0 to use the adapter alone.",
        )
    if is_a(cast, PlacedCast):
        advice = "Draw the keypoints from the same cast or layout with Draw Skeletons, Draw (draw) = face keypoints."
        geometry.check_canvas("The keypoints image", image, cast, advice)
    drawing = as_drawing(image)
    if not drawing.any():
        raise NoKeypoints(APPLY, [])
    if cast.by_row and len(image) != len(cast.people):
        raise rows_missing(APPLY, len(cast.people), "the keypoints image", len(image))
    return drawing


LOADER = FileLoader(FILE, lambda path: InstantID(FILE.build(path, InstantIDNet, FILE.read(path))))
NODES = [ApplyInstantID]
