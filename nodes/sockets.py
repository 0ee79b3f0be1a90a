"""Every socket of the pack, and what travels on it."""

from comfy_api.latest import io
from torch import Tensor

from ..bridge.face_model import FaceModel
from ..bridge.id_patch import IDPatch
from ..bridge.infinite_you import InfiniteYou
from ..bridge.instant_id import InstantID
from ..bridge.ip_adapter import IPAdapter
from ..bridge.parts2whole import Features, Parts2Whole
from ..bridge.photo_maker import PhotoMaker
from ..bridge.story_maker import StoryMaker
from ..bridge.with_anyone import WithAnyone
from ..core.measure import Report
from ..core.parts.parts import Parts
from ..core.people import Cast, Faces, Identity, Layout
from ..core.second_pass.crops import Crops


def _socket(name: str, payload: type | tuple[type, ...]) -> type[io.ComfyTypeIO]:
    socket = io.Custom(name)
    socket.Type = payload
    return socket


FaceModelSocket = _socket("LIKENESS_FACE_MODEL", FaceModel)
FacesSocket = _socket("LIKENESS_FACES", Faces)
IdentitySocket = _socket("LIKENESS_IDENTITY", Identity)
CastSocket = _socket("LIKENESS_CAST", Cast)
# The frontend and the host link both kinds to such an input.
CastOrIdentitySocket = _socket("LIKENESS_CAST,LIKENESS_IDENTITY", (Cast, Identity))
LayoutSocket = _socket("LIKENESS_LAYOUT", Layout)
# Boxes in pixels as ComfyUI's own nodes find or make them: {x, y, width, height}, a list of them, or one per picture
BoxesOrLayoutSocket = _socket("BOUNDING_BOX,LIKENESS_LAYOUT", (list, dict, Layout))
IDPatchSocket = _socket("LIKENESS_ID_PATCH", IDPatch)
InfiniteYouSocket = _socket("LIKENESS_INFINITE_YOU", InfiniteYou)
InstantIDSocket = _socket("LIKENESS_INSTANT_ID", InstantID)
IPAdapterSocket = _socket("LIKENESS_IP_ADAPTER", IPAdapter)
PhotoMakerSocket = _socket("LIKENESS_PHOTO_MAKER", PhotoMaker)
PartsSocket = _socket("LIKENESS_PARTS", Parts)
Parts2WholeSocket = _socket("LIKENESS_PARTS2WHOLE", Parts2Whole)
# Pictures of people, or parts: these bring masks, and each has a size of its own
ImageOrPartsSocket = _socket("IMAGE,LIKENESS_PARTS", (Tensor, Parts))
PartFeaturesSocket = _socket("LIKENESS_PART_FEATURES", Features)
StoryMakerSocket = _socket("LIKENESS_STORY_MAKER", StoryMaker)
WithAnyoneSocket = _socket("LIKENESS_WITH_ANYONE", WithAnyone)
CropsSocket = _socket("LIKENESS_CROPS", Crops)
ReportSocket = _socket("LIKENESS_REPORT", Report)
# Faces of each picture with the points of their meshes, as ComfyUI's own MediaPipeFaceLandmarker finds them
FaceLandmarksSocket = _socket("FACE_LANDMARKS", dict)
# OpenPose dictionaries, one per picture, as comfyui_controlnet_aux makes them
PoseKeypointSocket = _socket("POSE_KEYPOINT", object)
