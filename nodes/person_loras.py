"""Add LoRA to Person: a LoRA becomes part of a person. LoRA per Person: it acts where that person is."""

from dataclasses import dataclass, replace

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ..bridge.apply.acting_people import ActingPeople
from ..bridge.apply.begin import OnBodies, When, begin
from ..bridge.host import folders, notes, schema
from ..bridge.host.inputs import ChoosesFile
from ..bridge.loras.layer_names import layers_of
from ..bridge.loras.lora_files import LoraFile, LoraLayers, path_of, read_lora_file
from ..bridge.loras.loras_run import LORAS
from ..bridge.loras.people_layers import LayerLora
from ..bridge.loras.person_loras import PersonLoras
from ..bridge.people.face_model import NONE_FOUND
from ..bridge.sampling.carried import carry
from ..bridge.sampling.conditioning import Conditioning, SamplerInputs
from ..bridge.sampling.missing_people import NamedRange
from ..bridge.words import attach
from ..core import taking_part
from ..core.cast import UNNAMED, Cast, Lora, Member, Person, person_without_photo
from ..core.checks import limits
from ..core.checks.errors import BadSetup
from ..core.checks.prompts import check_text
from ..core.checks.text import MOST_NAME_LETTERS, plain
from .categories import IN_PROMPTS
from .sockets import CastOrPersonSocket, PersonSocket

APPLY = "LoRA per Person"
NO_LORA = "No LoRA is applied: no person of the cast has one above or below 0. Put Add LoRA to Person before Cast."


class AddLoRAToPerson(ChoosesFile, io.ComfyNode):
    """A person with one more LoRA. Without a linked person it makes a person who is known to LoRAs alone."""

    path_of = staticmethod(path_of)

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessAddLoRAToPerson",
            category=IN_PROMPTS,
            inputs=[
                PersonSocket.Input("person", optional=True),
                io.Combo.Input("file", options=folders.file_names("loras") or [NONE_FOUND]),
                io.Float.Input("strength", default=1.0, min=-10.0, max=10.0, step=0.01),
                io.String.Input("words", default="", multiline=True),
                io.String.Input("name", default=""),
            ],
            outputs=[PersonSocket.Output("person_out")],
        )

    @classmethod
    def execute(
        cls,
        person: Person | None = None,
        *,
        file: str,
        strength: float,
        words: str,
        name: str,
    ) -> io.NodeOutput:
        if person is None:
            person = person_without_photo(UNNAMED)
        words = check_text("The words of the LoRA", plain(words))
        if len(person.loras) == limits.LORAS:
            raise BadSetup(
                f"{person.name} has {limits.LORAS} LoRAs, and one person can have no more.", "Join some of them."
            )
        loras = (*person.loras, Lora(file, strength, words))
        new_name = plain(name, MOST_NAME_LETTERS) or person.name
        return io.NodeOutput(replace(person, name=new_name, loras=loras))


class LoRAPerPerson(io.ComfyNode):
    """Lets each person's LoRAs act in that person's region only, and their words be read there."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLoRAPerPerson",
            category=IN_PROMPTS,
            inputs=[
                *schema.applied_inputs(),
                io.Clip.Input("clip"),
                CastOrPersonSocket.Input("cast"),
                io.Float.Input("strength", default=1.0, min=-4.0, max=4.0, step=0.01),
                *schema.range_inputs(),
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
        clip: CLIP,
        cast: Cast | Person,
        strength: float,
        start_percent: float,
        end_percent: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        taking = taking_part.present_in(cast)  # with or without LoRAs
        if not any(_active_loras(member) for member in taking.people):
            taking = replace(taking, acts=(False,) * len(taking.acts))  # nobody does
        when = When("The range of the LoRAs", start_percent, end_percent)
        given = SamplerInputs(model, positive, negative)
        acting = begin(
            cls, APPLY, given, taking, strength, OnBodies(mask), when, fits=attach.text_read, nothing=NO_LORA
        )
        if acting is None:
            return io.NodeOutput(model, positive, negative)
        layers = layers_of(model, APPLY)
        people_loras = _read_loras(acting, model, clip, layers, strength)
        with_loras = _with_loras(acting, people_loras, given)
        words: list[str] = []  # of each person, "" for none
        for member in acting.people:
            words.append(", ".join(lora.words for lora in _active_loras(member) if lora.words))
        note_subject = acting.note_subject([NamedRange("the LoRAs", acting.schedule)], in_negative=True)
        words_strength = 1.0  # the node's own strength is that of the LoRAs
        return attach.applied(
            acting, people_loras.clips, words, words_strength, with_loras, note_subject, kinds=[LORAS]
        )


def _active_loras(member: Member) -> list[Lora]:
    return [lora for lora in member.person.loras if lora.strength]


@dataclass(frozen=True)
class _PeopleLoras:
    """The LoRAs of all acting people, as they change a network and its CLIP.

    layers: name of a layer of the network -> the LoRAs of all people for it. clips: for each acting person a CLIP that
    this person's LoRAs have changed; each person's words are encoded with their own.
    """

    layers: dict[str, list[LayerLora]]
    clips: list[CLIP]


def _with_loras(acting: ActingPeople, people_loras: _PeopleLoras, given: SamplerInputs) -> SamplerInputs:
    """The MODEL as it is, and both sides of the conditioning with the LoRAs of all people."""
    carried_loras = PersonLoras(
        source=object(),  # both sides carry this one object
        schedule=acting.schedule,
        names=tuple(acting.taking.names_apart),
        layers=people_loras.layers,
        regions=acting.regions,
        canvas=acting.canvas,
        by_row=acting.by_row,
    )
    positive = carry(given.positive, carried_loras)
    negative = carry(given.negative, carried_loras)
    return SamplerInputs(given.model, positive, negative)


def _read_loras(
    acting: ActingPeople, model: ModelPatcher, clip: CLIP, can_change: LoraLayers, strength: float
) -> _PeopleLoras:
    """Read the LoRA files of all people, each file once, and put them onto a clone of the CLIP for each person.

    A note under the node says what of the files is left out.
    can_change: the layers of the MODEL that a LoRA may change. strength: of the node. Raises what
    bridge.loras.lora_files.read_lora_file raises.
    """
    # A person who is everywhere, or has a row of the batch, has all that is there, in whatever layer.
    by_region = acting.regions is not None or (acting.by_row and can_change.rows_share_time)
    files: dict[str, LoraFile] = {}  # name of a file -> its contents
    layers: dict[str, list[LayerLora]] = {}
    clips: list[CLIP] = []
    for number, member in enumerate(acting.people):
        person_clip = clip.clone()
        for lora in _active_loras(member):
            if lora.file not in files:
                files[lora.file] = read_lora_file(lora.file, model, clip, can_change, by_region)
            file = files[lora.file]
            total_strength = lora.strength * member.weight * strength
            person_clip.add_patches(file.clip_patches, total_strength)
            for section in file.sections:
                layers.setdefault(section.layer, []).append(section.of_person(number, total_strength))
        clips.append(person_clip)
    notes.tell("\n".join(file.note for file in files.values() if file.note))
    return _PeopleLoras(layers, clips)


NODES = [AddLoRAToPerson, LoRAPerPerson]
