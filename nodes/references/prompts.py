"""The prompts of People as References, encoded with those references that are read in each piece of the schedule."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from torch import Tensor

from ...bridge.host.schedule import ScheduleRange
from ...bridge.references.centred import centred
from ...bridge.references.record import PeopleReferences
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs, changed_in_turn
from ...bridge.sampling.missing_people import NoteSubject, marked
from ...bridge.sampling.on_model import with_kinds_and_notes
from ...core.cast import Cast
from .encoding import (
    EncodedPicture,
    EncoderFamily,
    encoded,
    pictures_for_encoder,
    with_references,
    with_shown,
)
from .limits import ReferenceRegions, read_by_region
from .numbering import with_numbers, with_sentences
from .pictures import Reference
from .ranges import pieces_of_schedule


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What is set on the node about its prompts. sentences: where they stand in the prompt, one of SENTENCES."""

    prompt: str
    negative_prompt: str
    sentences: str


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of the node, encoded with the references of some people.

    record: of these references. regions: in which a MODEL reads them; None for the whole picture.
    """

    positive: Conditioning
    negative: Conditioning
    record: PeopleReferences
    regions: ReferenceRegions | None

    @property
    def needs_run(self) -> bool:
        """Whether a run has to change how a MODEL reads them. Otherwise the host reads the references as they are."""
        return self.regions is not None or not self.record.is_read_as_it_is


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoding:
    """What the node's prompts are encoded of.

    family: of the text encoder. cast: everybody. sources: the references. pictures: of them, as latents. model: None
    where none is connected. regions: in which the MODEL reads the references of each person; None for the whole
    picture.
    """

    clip: CLIP
    family: EncoderFamily
    texts: Texts
    cast: Cast
    sources: Sequence[Reference]
    pictures: Sequence[EncodedPicture]
    model: ModelPatcher | None
    regions: ReferenceRegions | None

    def text(self, sources: Sequence[Reference]) -> str:
        """The prompt with the sentences of these references."""
        word = self.family.pictures.word
        prompt = with_numbers(self.texts.prompt, "Prompt (prompt)", self.cast, sources, word)
        return with_sentences(prompt, sources, word, self.texts.sentences)

    def prompts(self, people: Collection[int]) -> Prompts:
        """The prompts with the references of some people, and with those that show nobody of the cast.

        people: their indices; where each has a row of the batch, all of them or nobody. Where the MODEL reads
        references by weight, the record also says how many tokens of the text show each picture (`shown`).
        """
        family = self.family.pictures
        sources = [source for source in self.sources if source.is_read_with(people)]
        latents = [picture.latent for picture in self.pictures if picture.source.is_read_with(people)]
        record = PeopleReferences(self.cast, tuple(latents), family.isolated)
        shown = pictures_for_encoder(self.family, sources)
        # Where the tokenizer itself numbers pictures, the network is given none of the tokens that show them.
        if self.model is not None and record.is_weighted and shown and not family.numbers_pictures:
            record = with_shown(self.clip, self.family, shown, record)
        positive = self._encoded(self.text(sources), shown, record)
        negative_prompt = with_numbers(
            self.texts.negative_prompt, "Negative prompt (negative_prompt)", self.cast, sources, family.word
        )
        negative = self._encoded(negative_prompt, shown, record)
        return Prompts(positive, negative, record, self.regions if people else None)

    def _encoded(self, text: str, shown: Sequence[Tensor], record: PeopleReferences) -> Conditioning:
        """One prompt with the references of a record. shown: the pictures that the text encoder is shown."""
        entries = encoded(self.clip, self.family, text or self.family.pictures.empty_text, shown, record)
        return with_references(entries, record, self.family)

    def in_turn(self, ranges: Sequence[ScheduleRange], note_subject: NoteSubject) -> SamplerInputs:
        """MODEL and prompts in which each person's references are read in their own range of the schedule.

        In each piece of the schedule the prompts are those of the people who are read there. ranges: of each person.
        """
        pieces = pieces_of_schedule(ranges)
        model = self.model  # with the kinds that the prompts so far need
        positive_of_people: Conditioning = []  # the last that a run reads; [] where there is none
        by_people: dict[frozenset[int], SamplerInputs] = {}
        for people in dict.fromkeys(piece.people for piece in pieces):  # several pieces may have the same people
            prompts = self.prompts(people)
            made = SamplerInputs(model, prompts.positive, prompts.negative)
            if model is not None and prompts.needs_run:
                made = read_by_region(made, prompts.record, prompts.regions, note_subject.node_id)
                if people:
                    made = marked(made, note_subject)
                    positive_of_people = made.positive
            if made.model is not None and prompts.record.references and self.family.pictures.fitted:
                made = centred(made)
            by_people[people] = made
            model = made.model
        if model is not None and positive_of_people:
            model = with_kinds_and_notes(note_subject, model, positive_of_people)
        return SamplerInputs(
            model,
            changed_in_turn([(piece.start, by_people[piece.people].positive) for piece in pieces]),
            changed_in_turn([(piece.start, by_people[piece.people].negative) for piece in pieces]),
        )
