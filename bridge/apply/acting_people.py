"""The acting people of an apply node: which people of a cast act, where in the picture, when, and in which rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ...core import taking_part
from ...core.cast import Cast, Member
from ...core.checks.errors import joined
from ...core.places import place_previews
from ...core.taking_part import TakingPart
from ..host.schedule import ScheduleRange
from ..image_tokens.unet_tokens import UNET_IMAGE_TOKENS, UNetImageTokens
from ..sampling.carried import InBoxes, carry_both
from ..sampling.conditioning import SamplerInputs
from ..sampling.missing_people import NamedRange, NoteSubject, marked
from ..sampling.node_of_run import Canvas, NodeOfRun
from ..sampling.on_model import with_kinds_and_notes
from ..sampling.runs import Kind


@dataclass(frozen=True)
class ActingPeople(InBoxes):
    """Which people act where and when. It is the same on both sides of the conditioning.

    node: that runs. taking: the cast, and who of it acts. schedule: the part of the schedule in which they act.
    node_of_run: the same node, for messages and notes. regions, boxes: where they act in the picture, (people, H, W)
    each, or None, see UNetImageTokens. placed: whether the regions lie on the canvas of a placed cast, so that a run
    compares their size with the latent; False for masks alone, which fit any picture.
    """

    node: type[io.ComfyNode]
    taking: TakingPart
    schedule: ScheduleRange
    node_of_run: NodeOfRun
    regions: Tensor | None = None
    boxes: Tensor | None = None
    placed: bool = False

    @property
    def cast(self) -> Cast:
        return self.taking.cast

    @property
    def people(self) -> Sequence[Member]:
        return self.taking.people

    @property
    def by_row(self) -> bool:
        return self.cast.by_row

    @property
    def canvas(self) -> Canvas | None:
        """The canvas that a run compares with the latent, with the rows; None where there is nothing to compare.

        Regions of a placed cast are parts of its canvas, and by_row each row belongs to a person. Masks alone fit any
        picture.
        """
        if not self.placed and not self.by_row:
            return None
        return Canvas.of_regions(self.node_of_run, self.boxes if self.by_row else self.acting_regions)

    def weights(self, weight: float) -> Tensor:
        """The weight of each person, times that of the node: (people,) float32."""
        return torch.tensor([weight * member.weight for member in self.people], dtype=torch.float32)

    def image_tokens(
        self,
        source: object,
        tokens: Tensor,
        layers: tuple[tuple[Tensor, ...], ...],
        kind: type[UNetImageTokens] = UNetImageTokens,
    ) -> UNetImageTokens:
        """The image tokens of one side of the conditioning.

        source: the same object for both sides. tokens, layers: what is read of the people, see UNetImageTokens.
        kind: the class of what is made.
        """
        return kind(
            source,
            self.schedule,
            self.regions,
            tokens,
            layers,
            boxes=self.boxes,
            by_row=self.by_row,
            canvas=self.canvas,
        )

    def note_subject(
        self,
        ranges: Sequence[NamedRange] = (),
        names: Sequence[str] = (),
        *,
        in_negative: bool = False,
        has_id_tokens: bool = False,
    ) -> NoteSubject:
        """The node, and what it puts in, for the notes of a run.

        ranges: all of the node, for the note of a run in which no step lies in one. names: of what it puts in; () for
        the acting people. The others: as in NoteSubject.
        """
        names = names or taking_part.names(self.people)
        node = self.node_of_run
        what = joined(names)
        return NoteSubject(node.node_name, node.node_id, what, tuple(ranges), in_negative, has_id_tokens)

    def preview(self) -> ui.PreviewImage | None:
        """The preview under the node: where each person acts. None where they act everywhere, or nobody acts."""
        if not self.people:
            return None
        picture = place_previews.acting(self.acting_regions, self.people, self.by_row)
        return None if picture is None else ui.PreviewImage(picture, cls=self.node)

    def applied(
        self,
        given: SamplerInputs,
        carried: Sequence[UNetImageTokens],
        ranges: Sequence[NamedRange],
        *,
        kind: Kind = UNET_IMAGE_TOKENS,
    ) -> io.NodeOutput:
        """The outputs of an apply node: the MODEL, and both sides of the conditioning with what they carry.

        given: with a MODEL. carried: of positive and negative. ranges: as in note_subject. kind: of what they carry.
        """
        of_positive, of_negative = carried  # in the order of `image_tokens`
        carrying = carry_both(given, of_positive, of_negative)
        note_subject = self.note_subject(ranges, in_negative=of_negative.active)
        return self.outputs(carrying, [kind], note_subject)

    def with_kinds(self, given: SamplerInputs, kinds: Sequence[Kind], note_subject: NoteSubject) -> SamplerInputs:
        """The same, with a MODEL that reads these kinds, and says under the node what of it is missing in a sampling.

        given: with a MODEL, and with sides that carry things of these kinds.
        """
        assert given.model is not None
        model = with_kinds_and_notes(note_subject, given.model, given.positive, kinds)
        return marked(replace(given, model=model), note_subject)

    def outputs(self, given: SamplerInputs, kinds: Sequence[Kind], note_subject: NoteSubject) -> io.NodeOutput:
        """The outputs of an apply node: a MODEL that reads these kinds, and both sides of the conditioning.

        It is for nodes whose sides of `given` already carry what they are to carry; for the others `applied` puts that
        in. given: with a MODEL.
        """
        outputs = self.with_kinds(given, kinds, note_subject)
        return io.NodeOutput(outputs.model, outputs.positive, outputs.negative, ui=self.preview())
