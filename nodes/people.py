"""People: face models, faces of a picture, identities from photos, the face bank, the cast."""

from __future__ import annotations

from comfy_api.latest import io

from ..bridge.schema import advanced, searchable
from ..core.errors import LikenessError
from .sockets import CastSocket, FaceModel, FacesSocket, IdentitySocket

_PEOPLE = 8
_NONE_FOUND = "none found"


def _not_yet() -> LikenessError:
    return LikenessError("This node is not written yet.", "Wait for the next commit.")


class LoadFaceModel(io.ComfyNode):
    """Detector and recognisers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return searchable(
            io.Schema(
                node_id="LikenessLoadFaceModel",
                display_name="Load Face Model",
                category="likeness/people",
                description="Loads a face detector and the recognisers that turn a face into numbers. "
                "Files are kept loaded, so another run costs nothing.",
                inputs=[
                    io.Combo.Input(
                        "pack",
                        options=[_NONE_FOUND],
                        tooltip="The insightface pack whose detector is used, from models/insightface.",
                    ),
                    io.Combo.Input(
                        "recognisers",
                        options=["all found"],
                        tooltip="ID-Patch needs arcface-ir-se50, InstantID needs antelopev2. 'all found' loads "
                        "every recogniser in your model folders, so one identity fits every method; "
                        "choose a single one to save time.",
                    ),
                    advanced(
                        io.Combo.Input(
                            "provider",
                            options=["auto", "CPU", "CUDA", "CoreML", "DirectML", "ROCm", "OpenVINO"],
                            tooltip="What onnxruntime computes on. auto takes the fastest one installed; "
                            "the CPU always stands by where the chosen one fails.",
                        )
                    ),
                ],
                outputs=[FaceModel.Output("face_model", display_name="face_model")],
            ),
            "insightface", "antelopev2", "buffalo", "arcface", "face analysis", "face embedder", "face loader",
        )  # fmt: skip

    @classmethod
    def execute(cls, pack: str, recognisers: str, provider: str) -> io.NodeOutput:
        raise _not_yet()


class DetectFaces(io.ComfyNode):
    """The ordered faces of one picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return searchable(
            io.Schema(
                node_id="LikenessDetectFaces",
                display_name="Detect Faces",
                category="likeness/people",
                description="Finds the faces of one picture and numbers them in the order you choose.",
                inputs=[
                    FaceModel.Input("face_model"),
                    io.Image.Input("image", tooltip="One picture."),
                    io.Combo.Input(
                        "order",
                        options=["left to right", "top to bottom", "largest", "score"],
                        tooltip="Decides which face is number 1, 2, ... Left and right are those of the picture.",
                    ),
                    io.Int.Input(
                        "min_size",
                        default=0,
                        min=0,
                        max=16384,
                        tooltip="Faces whose box is smaller than this (shorter side, in pixels) are left out.",
                    ),
                    io.Int.Input(
                        "max_faces",
                        default=0,
                        min=0,
                        max=100,
                        tooltip="Keep only the first so many faces in the chosen order. 0 keeps all.",
                    ),
                ],
                outputs=[
                    FacesSocket.Output("faces", display_name="faces"),
                    io.Image.Output("preview", display_name="preview", tooltip="The picture with numbered faces."),
                    io.Int.Output("count", display_name="count"),
                ],
            ),
            "face detection", "find faces", "face boxes", "keypoints", "bbox", "landmarks", "count faces",
        )  # fmt: skip

    @classmethod
    def execute(cls, face_model, image, order: str, min_size: int, max_faces: int) -> io.NodeOutput:
        raise _not_yet()


class Identity(io.ComfyNode):
    """One person from one or more photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return searchable(
            io.Schema(
                node_id="LikenessIdentity",
                display_name="Identity",
                category="likeness/people",
                description="Makes one person out of one or more photos. Every photo is kept; the method that uses "
                "the identity decides how they are combined.",
                inputs=[
                    FaceModel.Input("face_model"),
                    io.Image.Input("image", tooltip="One photo, or a batch of photos of the same person."),
                    io.String.Input("name", default="", tooltip="Shown in previews, reports and error messages."),
                    io.Combo.Input(
                        "which_face",
                        options=["only", "largest", *(str(number) for number in range(1, 13))],
                        tooltip="only: a photo with several faces is an error, so that nobody is mixed up. "
                        "largest: the biggest face. A number: the face with that number from left to right, "
                        "as Detect Faces shows it.",
                    ),
                    io.Combo.Input(
                        "on_no_face",
                        options=["error", "skip"],
                        tooltip="What to do with a photo in which no face is found. skip leaves it out and names it "
                        "in the report; when no photo is left, Cast leaves this person out.",
                    ),
                ],
                outputs=[
                    IdentitySocket.Output("identity", display_name="identity"),
                    io.Image.Output("crops", display_name="crops", tooltip="The aligned faces the recognisers saw."),
                    io.String.Output("report", display_name="report", tooltip="What was used and what was dropped."),
                ],
            ),
            "face embedding", "face id", "person", "reference face", "faceid", "likeness",
        )  # fmt: skip

    @classmethod
    def execute(cls, face_model, image, name: str, which_face: str, on_no_face: str) -> io.NodeOutput:
        raise _not_yet()


class BlendIdentities(io.ComfyNode):
    """A person between two people."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return searchable(
            io.Schema(
                node_id="LikenessBlendIdentities",
                display_name="Blend Identities",
                category="likeness/people",
                description="Makes a person between two people, for every recogniser that both have.",
                inputs=[
                    IdentitySocket.Input("a"),
                    IdentitySocket.Input("b"),
                    io.Float.Input(
                        "amount", default=0.5, min=0.0, max=1.0, step=0.01, tooltip="0 is a, 1 is b, 0.5 is half way."
                    ),
                    io.Combo.Input(
                        "method",
                        options=["slerp", "lerp"],
                        tooltip="slerp turns from a to b at even pace and keeps the strength of the embedding; "
                        "lerp mixes the numbers, which weakens unlike faces in the middle.",
                    ),
                    io.String.Input("name", default="", tooltip="Name of the new person; empty joins both names."),
                ],
                outputs=[IdentitySocket.Output("identity", display_name="identity")],
            ),
            "mix faces", "merge faces", "interpolate", "average face", "slerp", "face morph",
        )  # fmt: skip

    @classmethod
    def execute(cls, a, b, amount: float, method: str, name: str) -> io.NodeOutput:
        raise _not_yet()


class SaveIdentity(io.ComfyNode):
    """Into the face bank."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return searchable(
            io.Schema(
                node_id="LikenessSaveIdentity",
                display_name="Save Identity",
                category="likeness/people",
                description="Saves a person as a small safetensors file in models/likeness_faces, "
                "to be used later without the photos.",
                inputs=[
                    IdentitySocket.Input("identity"),
                    io.String.Input(
                        "filename",
                        default="person",
                        tooltip="Sub-folders are allowed: family/anna. A file of that name is replaced.",
                    ),
                ],
                outputs=[
                    IdentitySocket.Output("saved_identity", display_name="identity"),
                    io.String.Output("path", display_name="path"),
                ],
                is_output_node=True,
            ),
            "face bank", "save face", "save embedding", "store person",
        )  # fmt: skip

    @classmethod
    def execute(cls, identity, filename: str) -> io.NodeOutput:
        raise _not_yet()


class LoadIdentity(io.ComfyNode):
    """From the face bank."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return searchable(
            io.Schema(
                node_id="LikenessLoadIdentity",
                display_name="Load Identity",
                category="likeness/people",
                description="Loads a person that Save Identity saved. Needs neither photos nor a face model.",
                inputs=[io.Combo.Input("file", options=[_NONE_FOUND], tooltip="From models/likeness_faces.")],
                outputs=[
                    IdentitySocket.Output("identity", display_name="identity"),
                    io.Image.Output("crops", display_name="crops", tooltip="The aligned faces, one per photo."),
                ],
            ),
            "face bank", "load face", "load embedding", "person",
        )  # fmt: skip

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        raise _not_yet()


class Cast(io.ComfyNode):
    """Who is in the picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        numbers = range(1, _PEOPLE + 1)
        return searchable(
            io.Schema(
                node_id="LikenessCast",
                display_name="Cast",
                category="likeness/people",
                description="Lists the people of one picture, in order. Connect another Cast to have more than eight.",
                inputs=[
                    CastSocket.Input("cast", optional=True, tooltip="People who come before those listed here."),
                    *(IdentitySocket.Input(f"person_{n}", optional=True) for n in numbers),
                    *(
                        advanced(
                            io.Float.Input(
                                f"weight_{n}",
                                default=1.0,
                                min=0.0,
                                max=1.5,
                                step=0.05,
                                optional=True,
                                tooltip=f"How much of person {n} is used: 1 as trained, 0 as if not listed.",
                            )
                        )
                        for n in numbers
                    ),
                ],
                outputs=[
                    CastSocket.Output("extended_cast", display_name="cast"),
                    io.Image.Output("preview", display_name="preview", tooltip="Number, name and face of everybody."),
                ],
            ),
            "people", "group", "multi id", "several faces", "list of people", "family photo",
        )  # fmt: skip

    @classmethod
    def execute(cls, cast=None, **people_and_weights) -> io.NodeOutput:
        raise _not_yet()


NODES = [LoadFaceModel, DetectFaces, Identity, BlendIdentities, SaveIdentity, LoadIdentity, Cast]
