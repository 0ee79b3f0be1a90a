"""The sockets that several steps share, and what travels on them; other steps and methods make their own."""

from typing import Any

from comfy_api.latest import io

from ..bridge.host.load import Loaded
from ..bridge.people.face_model import HostedFaceModel
from ..core.cast import Cast, Faces, Layout, Person
from ..core.parts.parts import Parts


def socket(name: str, payload: type | tuple[type, ...]) -> type[io.ComfyTypeIO]:
    """The type of a socket.

    name: sockets of the same name can be linked with each other. payload: the class, or the classes, of the values that
    may travel on it.
    """
    custom = io.Custom(name)
    # bridge.host.inputs refuses a linked value of any other class, before the node runs.
    custom.Type = payload
    return custom


def adapter_socket(payload: type[Loaded[Any]]) -> type[io.ComfyTypeIO]:
    """The socket for a method's own file, which Load Adapter loads. payload: the class of the loaded file.

    The sockets of all methods have one name, so the editor lets the user link the file of any method. Where it is the
    file of another method, bridge.host.inputs refuses it when the node runs, and names the `method_title` of both.
    """
    return socket(ADAPTER, payload)


ADAPTER = "LIKENESS_ADAPTER"
# The output of Load Adapter: it may be the file of any method
AdapterSocket = socket(ADAPTER, Loaded)
FaceModelSocket = socket("LIKENESS_FACE_MODEL", HostedFaceModel)
FacesSocket = socket("LIKENESS_FACES", Faces)
PersonSocket = socket("LIKENESS_PERSON", Person)
CastSocket = socket("LIKENESS_CAST", Cast)
# An input whose name lists two sockets, with a comma between them, takes links from both.
CastOrPersonSocket = socket("LIKENESS_CAST,LIKENESS_PERSON", (Cast, Person))
LayoutSocket = socket("LIKENESS_LAYOUT", Layout)
CastOrLayoutSocket = socket("LIKENESS_CAST,LIKENESS_LAYOUT", (Cast, Layout))
# Boxes in pixels as ComfyUI's own nodes find or make them: {x, y, width, height}, a list of them, or one per picture
BoxesSocket = socket("BOUNDING_BOX", (list, dict))
BoxesOrLayoutSocket = socket("BOUNDING_BOX,LIKENESS_LAYOUT", (list, dict, Layout))
PartsSocket = socket("LIKENESS_PARTS", Parts)
# Faces of each picture with the points of their meshes, as ComfyUI's own MediaPipeFaceLandmarker finds them
FaceLandmarksSocket = socket("FACE_LANDMARKS", dict)
# OpenPose dictionaries, one per picture, as comfyui_controlnet_aux makes them
PoseKeypointSocket = socket("POSE_KEYPOINT", object)
