"""Face models, and the faces of a picture."""

from collections.abc import Mapping
from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..bridge.host import folders, notes
from ..bridge.host.schema import advanced, pixels_input
from ..bridge.people import face_model, photos
from ..bridge.people.face_model import BACKENDS, TORCH, FindsFaces, HostedFaceModel, default_face_model
from ..core.cast import Faces
from ..core.checks.errors import BadPhoto
from ..core.faces import analysis, landmarks, onnx_session
from ..core.pictures.tensors import eight_bits
from .categories import IN_FILES, IN_PEOPLE
from .sockets import FaceLandmarksSocket, FaceModelSocket, FacesSocket


class LoadFaceEmbedder(io.ComfyNode):
    """A face model: a detector, and the recognisers that make embeddings of faces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessLoadFaceEmbedder",
            category=IN_FILES,
            inputs=[
                io.Combo.Input("pack", options=face_model.pack_names()),
                io.Combo.Input("recognisers", options=face_model.recogniser_names(), default=face_model.ALL),
                advanced(io.Combo.Input("provider", options=list(onnx_session.PROVIDERS))),
                advanced(io.Combo.Input("backend", options=[*BACKENDS], default=TORCH, optional=True)),
            ],
            outputs=[FaceModelSocket.Output("face_model")],
        )

    @classmethod
    def validate_inputs(
        cls,
        pack: str | None,
        recognisers: str | None,
        provider: str | None = onnx_session.AUTO,
        backend: str | None = TORCH,
    ) -> bool:
        # The host wants a bool or an exception. An input is None where it is linked: its value is known only when the
        # node runs.
        error = None
        if pack is not None and recognisers is not None:
            error = face_model.refusal(folders.a_name(pack), folders.a_name(recognisers))
        if error is None and provider is not None and backend is not None:
            error = face_model.backend_refusal(folders.a_name(backend), folders.a_name(provider))
        if error is not None:
            raise error
        return True

    @classmethod
    def fingerprint_inputs(cls, pack: str, recognisers: str, provider: str, backend: str = TORCH) -> str:
        return str((pack, recognisers, provider, backend, face_model.files_stamp()))

    @classmethod
    def execute(cls, pack: str, recognisers: str, provider: str, backend: str = TORCH) -> io.NodeOutput:
        loaded_model = face_model.load_face_model(pack, recognisers, backend, provider)
        return io.NodeOutput(loaded_model)


class DetectFaces(FindsFaces, io.ComfyNode):
    """The faces of one picture with their embeddings, in the order that the user has chosen."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessDetectFaces",
            category=IN_PEOPLE,
            inputs=[
                FaceModelSocket.Input("face_model", optional=True),
                io.Image.Input("image", optional=True),
                io.Combo.Input("order", options=list(analysis.ORDERS)),
                pixels_input("min_size"),
                io.Int.Input("max_faces", default=0, min=0, max=100),
                FaceLandmarksSocket.Input("face_landmarks", optional=True),
            ],
            outputs=[FacesSocket.Output("faces"), io.Image.Output("preview"), io.Int.Output("count")],
        )

    @classmethod
    def execute(
        cls,
        face_model: HostedFaceModel | None,
        image: Tensor | None,
        order: str,
        min_size: int,
        max_faces: int,
        face_landmarks: Mapping[str, Any] | None = None,
    ) -> io.NodeOutput:
        if image is None:
            notes.tell("No picture is linked, so no face is looked for.")
            return io.NodeOutput(
                Faces((), width=0, height=0), torch.zeros(1, 64, 64, 3, device="cpu", dtype=torch.float32), 0
            )
        if len(image) != 1:
            why = f"Detect Faces got a batch of {len(image)} pictures; it reads one."
            raise BadPhoto(why, "Pick one with Get Image from Batch, or use one Detect Faces per picture.")
        # With face_landmarks the faces are already found, and the default face model needs no detector.
        face_model = face_model or default_face_model(detects=face_landmarks is None)
        (mesh,) = landmarks.meshes_of_pictures(face_landmarks, image)  # of the one picture; None without landmarks
        picture = eight_bits(image[0])
        photo = photos.Photo(image[0], mesh)
        picture_name = "the picture of Image (image) of Detect Faces"
        detections = photos.detected(face_model, picture, picture_name, photo)
        detections = analysis.large_enough(detections, min_size)
        detections = analysis.arrange(detections, order)
        if max_faces:  # 0 is for all
            detections = detections[:max_faces]
        recognised = analysis.recognise(face_model.recognisers, picture, detections, "a face of the picture")
        faces = Faces(recognised, width=picture.shape[1], height=picture.shape[0])
        preview = analysis.numbered_faces(image[0], recognised)[None]
        unsure = analysis.unsure_faces(analysis.numbered(recognised))  # faces of which it is unsure which way is up
        notes.tell("\n".join(unsure))
        return io.NodeOutput(faces, preview, len(recognised), ui=ui.PreviewImage(preview, cls=cls))


NODES = [LoadFaceEmbedder, DetectFaces]
