"""Expression in Words: what the faces of photos show, as lines about people for Prompt per Person."""

from collections.abc import Mapping, Sequence
from typing import Any

from comfy_api.latest import io

from ..bridge.host import notes
from ..core import taking_part
from ..core.errors import gathered
from ..core.faces.expressions import expression_of, numbers_of
from ..core.measure.faces_in_photos import faces_of_people
from ..core.people import Cast, Identity, require_together
from ..core.prompts import line_about
from .categories import IN_PROMPTS
from .sockets import CastOrPersonSocket, FaceLandmarksSocket

NAME = "Expression in Words"


class ExpressionInWords(io.ComfyNode):
    """A line for each person whose face shows something, from the numbers of the host's own face landmarks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessExpressionInWords",
            category=IN_PROMPTS,
            inputs=[
                FaceLandmarksSocket.Input("face_landmarks"),
                CastOrPersonSocket.Input("cast"),
                io.String.Input("text", multiline=True, default=""),
            ],
            outputs=[io.String.Output("prompts")],
            is_input_list=True,
            is_experimental=True,
        )

    @classmethod
    def execute(cls, face_landmarks: Sequence[Mapping[str, Any]], cast: Cast | Identity, text: str) -> io.NodeOutput:
        everybody = taking_part.as_cast(cast)
        require_together(everybody, NAME)
        names = taking_part.names(everybody.people)
        written_names = [person.identity.name for person in everybody.people]  # as Prompt per Person reads them
        lines: list[str] = []
        plain: list[str] = []
        unsure: list[str] = []
        without_face: list[str] = []
        for index, face in enumerate(faces_of_people(face_landmarks, everybody, NAME)):
            if face is None:
                without_face.append(names[index])
                continue
            expression = expression_of(numbers_of(face, f"The face_landmarks input of {NAME}"))
            if expression.words:
                lines.append(line_about(index, ", ".join(expression.words), written_names))
            else:
                plain.append(names[index])
            unsure += [f"{names[index]} {words}" for words in expression.unsure]
        note = [
            *lines,
            *gathered("Nothing to say", plain),
            *gathered("Unsure, left out", unsure),
            *gathered("No face found", without_face),
        ]
        notes.tell("\n".join(note))
        return io.NodeOutput("\n".join([*filter(None, [text.strip()]), *lines]))


NODES = [ExpressionInWords]
