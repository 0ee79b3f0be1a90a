"""ID-Patch: load the projections, draw the condition image, apply both to the conditioning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from comfy.controlnet import ControlBase
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io, ui
from torch import Tensor

from ...bridge.apply import optional_model
from ...bridge.apply.acting_people import ActingPeople
from ...bridge.apply.begin import OnBodies, begin_acting
from ...bridge.control_nets.attached_net import AttachedNet, other_object, require_plain
from ...bridge.control_nets.attachment import Attachment, other_net
from ...bridge.host import notes, schema
from ...bridge.host.load import FileLoader, Loaded, Published
from ...bridge.host.schedule import ScheduleRange
from ...bridge.sampling import conditioning
from ...bridge.sampling.conditioning import ID_TOKENS, Conditioning, IDTokens, SamplerInputs
from ...bridge.sampling.missing_people import NamedRange, NoteSubject
from ...bridge.words.unet.run import UNET_WORDS
from ...bridge.words.unet.words import id_tokens_by_region
from ...core.cast import Cast, Member, in_order_of_places, require_places, require_somebody
from ...core.checks.errors import BadCast, counted
from ...core.methods import method
from ...core.persons.combining import embeddings
from ...core.pictures import geometry
from ...core.pictures.tensors import as_drawing, as_rgb
from ...core.places import control_images, place_previews
from ..categories import IN_ID_PATCH
from ..sockets import CastSocket, adapter_socket
from .net import BadPatches, IDPatchNet, Participants, check_patches, condition_image, participants_of

METHOD = method("id_patch")
IMAGE = "ID-Patch Condition Image"
APPLY = "Apply ID-Patch"

WITHOUT_PEOPLE = (
    "No people applied: all weights are 0 or off-canvas. The skeletons still guide; for the prompt alone bypass "
    "this node or set ControlNet strength (strength) to 0."
)


@dataclass(frozen=True, eq=False)
class Face:
    """What ID-Patch reads of a person. embeddings: (1, n, 512) on the device of the network; n is 1 where the photos
    are joined. weight: of the person."""

    embeddings: Tensor
    weight: float


class IDPatch(Loaded[IDPatchNet]):
    """A loaded id-patch file."""

    method_title = METHOD.title

    def check_fits(self, given: SamplerInputs, node_name: str) -> None:
        """Raise WrongBaseModel for a text, or a MODEL where one is connected, of another text width than the file's."""
        conditioning.check_conditioning(given.texts, self.width, node_name)
        if given.model is not None:
            conditioning.check_texts_of_unet(given, node_name)

    def faces(self, people: Sequence[Member], photos: str) -> list[Face]:
        """What both projections read of people.

        photos: how several photos of a person are joined, as in core.persons.embeddings. Raises what that raises, and
        BadCast where a person has several embeddings and the file reads one.
        """
        faces: list[Face] = []
        for member in people:
            person_embeddings = embeddings(member, METHOD, photos)  # (n, 512)
            count = len(person_embeddings)
            if count > 1 and not self.net.takes_sequences:
                raise BadCast(
                    f"{member.person.name} has {count} photos to be used as a sequence, but this file's projection "
                    "reads one embedding.",
                    "Set Photos (photos) to mean or normalised mean on both ID-Patch nodes.",
                )
            faces.append(Face(self.on_device(person_embeddings[None]), member.weight))
        return faces

    def tokens(self, faces: Sequence[Face]) -> Tensor:
        """The ID tokens of people, (people, 16, width) float32 on the CPU.

        Each person's tokens are multiplied with the person's weight.
        """
        # (1, 16, width) of each person
        return torch.cat([self.net.tokens(face.embeddings).cpu() * face.weight for face in faces])

    def unconditional_tokens(self, count: int) -> Tensor:
        """The ID tokens of an all-zero embedding, repeated for `count` people: (count, 16, width).

        The negative reads them where the positive reads the tokens of the people.
        """
        no_face = torch.zeros(1, 1, self.net.prompt_proj.embedding, dtype=torch.float32)  # (1, 1 photo, 512)
        tokens = self.net.tokens(self.on_device(no_face)).cpu()  # (1, 16, width)
        return tokens.repeat(count, 1, 1)

    def patches(self, faces: Sequence[Face]) -> list[Tensor]:
        """The ID patch of each person, (3, PATCH, PATCH) float32 on the CPU, times the person's weight."""
        return [self.net.patch(face.embeddings).cpu() * face.weight for face in faces]


IDPatchSocket = adapter_socket(IDPatch)
FILE = Published.of_method(METHOD, "ID-Patch file")


class IDPatchConditionImage(io.ComfyNode):
    """The condition image: a picture, usually of skeletons, with the ID patch of each person added at the face."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessIDPatchConditionImage",
            category=IN_ID_PATCH,
            inputs=[
                IDPatchSocket.Input("id_patch"),
                CastSocket.Input("cast"),
                io.Image.Input("image", optional=True),
                schema.photos_input(),
            ],
            outputs=[io.Image.Output("condition"), io.Image.Output("preview"), io.String.Output("report")],
        )

    @classmethod
    def execute(cls, id_patch: IDPatch, cast: Cast, photos: str, image: Tensor | None = None) -> io.NodeOutput:
        placed_cast = require_places(cast, IMAGE)
        participants = participants_of(placed_cast)
        if image is None:
            control = torch.zeros(1, placed_cast.height, placed_cast.width, 3, dtype=torch.float32)
        else:
            # The image is usually that of Draw Skeletons; the ID patches are drawn on top of it.
            advice = "Resize the image to the canvas, or give the layout node the size of the image."
            geometry.check_canvas("The image under the ID patches", image, placed_cast, advice)
            control = as_drawing(image)
        patches = id_patch.patches(id_patch.faces(participants.people, photos))
        picture = condition_image(control, patches, participants, IMAGE)  # (B, H, W, 3), signed and unbounded
        preview = picture.clamp(0, 1)
        warnings = "\n".join([*participants.taking.left_out, *participants.warnings])
        notes.tell(warnings)
        count = counted(len(participants.members), "person", "people")
        report = warnings or f"{count}, every patch whole and on its own place."
        return io.NodeOutput(picture, preview, report, ui=ui.PreviewImage(preview, cls=cls))


@dataclass(frozen=True)
class Settings:
    """What is set on Apply ID-Patch. start_percent, end_percent: of the ControlNet. id_start_percent: from where on ID
    tokens are read."""

    strength: float
    start_percent: float
    end_percent: float
    id_start_percent: float
    photos: str


class ApplyIDPatch(io.ComfyNode):
    """Appends ID tokens to both sides of the conditioning, and attaches the ControlNet with the condition image."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyIDPatch",
            category=IN_ID_PATCH,
            inputs=[
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                io.ControlNet.Input("control_net"),
                IDPatchSocket.Input("id_patch"),
                CastSocket.Input("cast"),
                io.Image.Input("image", optional=True),
                io.Float.Input("strength", default=0.8, min=0.0, max=10.0, step=0.01),
                *schema.range_inputs(),
                schema.percent_input("id_start_percent", 0.2),
                schema.photos_input(),
                io.Vae.Input("vae", optional=True),
                io.Model.Input("model", optional=True),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=[
                io.Conditioning.Output("positive_out"),
                io.Conditioning.Output("negative_out"),
                io.Model.Output("model_out"),
            ],
        )

    @classmethod
    def execute(
        cls,
        positive: Conditioning,
        negative: Conditioning,
        control_net: ControlBase,
        id_patch: IDPatch,
        cast: Cast,
        image: Tensor | None,
        vae: VAE | None = None,
        model: ModelPatcher | None = None,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        settings = Settings(**values)  # `values` are the inputs that are its fields
        lines = optional_model.without_model(model, [] if mask is None else ["mask"], "ID tokens")
        if settings.strength == 0:  # the node is switched off, and nobody needs a place
            notes.tell("\n".join(lines))
            return io.NodeOutput(positive, negative, optional_model.model_out(model, APPLY))
        conditioning.check_control_net(control_net, id_patch.width, APPLY)
        require_plain(other_object(control_net), "ID-Patch's ControlNet", METHOD.title)
        notes.tell(other_net(cls))
        participants = participants_of(require_places(cast, APPLY))
        if image is None:  # otherwise ID-Patch Condition Image, which has made it, has warned already
            lines += participants.warnings
        # Without a MODEL the tokens are read in the whole picture, and by row each person has a picture of their own.
        by_region = model is not None and not cast.by_row
        if model is not None and cast.by_row and participants.members:
            lines.append(optional_model.BY_ROW)
        given = SamplerInputs(model, positive, negative)
        taking = participants.taking
        where = OnBodies(mask, alone=False) if by_region else None
        fits = id_patch.check_fits
        # Without people the ControlNet acts nonetheless.
        acting = begin_acting(cls, APPLY, given, taking, where, fits=fits, more=lines, nothing=WITHOUT_PEOPLE)
        people = _People(id_patch, settings, participants, id_patch.faces(participants.people, settings.photos), acting)
        hint = people.own_hint() if image is None else _checked_hint(image, participants)
        given = people.put_into(given)
        net = AttachedNet(control_net)
        percents = (settings.start_percent, settings.end_percent)
        # Where ID tokens are read by region, the MODEL writes the notes about people.
        note_subject = people.note_subject() if acting.regions is None else None
        name, node = "condition picture", acting.node_of_run
        attachment = Attachment(net, hint, settings.strength, percents, name, node, vae, note_subject)
        with_net = attachment.attach_to_both(given)
        model_out = optional_model.model_out(with_net.model, APPLY)
        previews = _previews(cls, hint if image is None else None, acting)
        return io.NodeOutput(with_net.positive, with_net.negative, model_out, ui=previews)


def _previews(cls: type[io.ComfyNode], drawn_hint: Tensor | None, acting: ActingPeople) -> ui.PreviewImage | None:
    """The previews of the hint, where this node has drawn it, and of the regions in which people are read."""
    previews: list[ui.PreviewImage] = []
    if drawn_hint is not None:
        previews.append(ui.PreviewImage(drawn_hint.clamp(0, 1), cls=cls))
    if acting.regions is not None:
        picture = place_previews.read_regions(acting.regions, acting.people)[None]
        previews.append(ui.PreviewImage(picture, cls=cls))
    return optional_model.joined_previews(previews)


def _checked_hint(image: Tensor, participants: Participants) -> Tensor:
    """The picture for the ControlNet where an image (B, H, W, C) is connected: that image, checked, (B, H, W, 3).

    Raises BadSize where it has another size than the canvas, and BadPatches where it was made from another cast.
    """
    advice = "Make the image with ID-Patch Condition Image from the same cast, or connect none."
    geometry.check_canvas(f"The image given to {APPLY}", image, participants.cast, advice)
    # A fourth channel is left out: as alpha it would lay the picture on white, and change the values of the patches.
    picture = as_rgb(image[..., :3])
    check_patches(picture, participants, APPLY)
    return picture


@dataclass(frozen=True, eq=False)
class _People:
    """The people whom Apply ID-Patch applies.

    participants: who they are, and where; nobody where only the ControlNet acts. faces: what is read of each of them.
    """

    id_patch: IDPatch
    settings: Settings
    participants: Participants
    faces: Sequence[Face]
    acting: ActingPeople

    def own_hint(self) -> Tensor:
        """The picture for the ControlNet where no image is connected: skeletons, with the ID patches drawn on top.

        (1 or people, H, W, 3), signed and unbounded. Raises what require_somebody raises for an empty cast.
        """
        cast = self.participants.cast
        require_somebody(cast, APPLY)
        skeletons = control_images.skeletons(in_order_of_places(cast).occupied, cast.by_row)  # (1 or people, H, W, 3)
        return condition_image(skeletons, self.id_patch.patches(self.faces), self.participants, APPLY)

    def put_into(self, given: SamplerInputs) -> SamplerInputs:
        """The MODEL and both prompts with the ID tokens of the people, of whom there may be none.

        With regions, each person's tokens are read in that person's alone, and the run notes who is missing in it.
        """
        if not self.faces:
            return given
        acting = self.acting
        if acting.regions is None:  # they are read in the whole picture
            return self.with_tokens(given)
        self.check_tokens(given)
        by_region = id_tokens_by_region(self.with_tokens(given), acting.regions, acting.node_of_run)
        return acting.with_kinds(by_region, [UNET_WORDS], self.note_subject())

    def with_tokens(self, given: SamplerInputs) -> SamplerInputs:
        """The same MODEL, and both prompts with ID tokens appended.

        The positive gets the tokens of the people, the negative as many tokens of no face.
        """
        # (people, 16, width) each
        face_tokens = self.id_patch.tokens(self.faces)
        no_face_tokens = self.id_patch.unconditional_tokens(len(self.faces))
        sides: list[Conditioning] = []
        for side, tokens in ((given.positive, face_tokens), (given.negative, no_face_tokens)):
            # (rows, people of a row, 16, width): by row each person's alone, else one row with all people
            in_rows = tokens[:, None] if self.participants.cast.by_row else tokens[None]
            sides.append(conditioning.append_tokens(side, in_rows, self.settings.id_start_percent))
        return SamplerInputs(given.model, *sides)

    def check_tokens(self, given: SamplerInputs) -> None:
        """Raise BadPatches for prompts that hold tokens of an Apply ID-Patch with another number of people.

        They cannot be read by region. given: without the ID tokens of this node, which take the place of that mark.
        """
        count = len(self.faces)
        for _, options in given.texts:
            tokens: IDTokens | None = options.get(ID_TOKENS)
            if tokens is not None and tokens.people_count != count:
                text_people = counted(tokens.people_count, "person", "people")
                cast_people = counted(count, "person", "people")
                why = f"The conditioning already holds the ID tokens of {text_people}, and this cast has {cast_people}."
                raise BadPatches(why, "Put all people into one Apply ID-Patch, or disconnect its model.")

    def note_subject(self) -> NoteSubject:
        """The node and what it puts in, for the notes of a run."""
        ranges = [NamedRange("the ControlNet", ScheduleRange(self.settings.start_percent, self.settings.end_percent))]
        if self.faces:
            schedule_of_tokens = ScheduleRange(self.settings.id_start_percent)
            ranges.append(NamedRange("the ID tokens", schedule_of_tokens, "id_start_percent"))
        has_faces = bool(self.faces)
        # Without people the ControlNet acts by the skeletons in the places. (): the acting people.
        names = () if has_faces else ("the places",)
        return self.acting.note_subject(ranges, names, has_id_tokens=has_faces)


LOADER = FileLoader(FILE, lambda path: IDPatch(FILE.build(path, IDPatchNet, FILE.read(path))))
NODES = [IDPatchConditionImage, ApplyIDPatch]
