"""Every socket of the pack; payload types are in core.people and bridge."""

from comfy_api.latest import io

FaceModel = io.Custom("LIKENESS_FACE_MODEL")  # bridge.face_model.FaceModel
FacesSocket = io.Custom("LIKENESS_FACES")  # core.people.Faces
IdentitySocket = io.Custom("LIKENESS_IDENTITY")  # core.people.Identity
CastSocket = io.Custom("LIKENESS_CAST")  # core.people.Cast
LayoutSocket = io.Custom("LIKENESS_LAYOUT")  # core.people.Layout
IDPatchSocket = io.Custom("LIKENESS_ID_PATCH")  # bridge.id_patch.IDPatch
InstantIDSocket = io.Custom("LIKENESS_INSTANT_ID")  # bridge.instant_id.InstantID
PartsSocket = io.Custom("LIKENESS_PARTS")  # core.parts2whole.parts.Parts
Parts2WholeSocket = io.Custom("LIKENESS_PARTS2WHOLE")  # bridge.parts2whole.Parts2Whole
PartFeatures = io.Custom("LIKENESS_PART_FEATURES")  # bridge.parts2whole.Features
PoseKeypoint = io.Custom(
    "POSE_KEYPOINT"
)  # OpenPose dictionaries, one per picture, as comfyui_controlnet_aux makes them
