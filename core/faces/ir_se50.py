"""ArcFace IR-SE50 as facexlib ships it, as the nodes of an ONNX file, which onnx_network runs.

Published as recognition_arcface_ir_se50.pth (facexlib 0.1.0, recognition/arcface_arch.py).
"""

from ..errors import UnsupportedCheckpoint
from ..models.onnx_file import Attribute, Node, Program
from ..models.tensors import State, check_kinds

Shape = tuple[int, ...]

CROP = 112
_ADVICE = "Download recognition_arcface_ir_se50.pth from facexlib's release v0.1.0."
_WIDTH = 512
_GRID = 7
# (channels in, channels out, stride) of the 24 residual units.
_UNITS = tuple(
    (before if unit == 0 else channels, channels, 2 if unit == 0 else 1)
    for before, channels, units in ((64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3))
    for unit in range(units)
)


def program(state: State, path: str) -> Program:
    """(1, 3, 112, 112) BGR, -1..1 -> (1, 512), which facexlib's Backbone divides by its length in the end.

    Raises UnsupportedCheckpoint, naming `path`, when a tensor is missing or has another shape or kind of number.
    """
    graph = _Graph()
    for key, shape in graph.shapes.items():
        found = tuple(state[key].shape) if key in state else None
        if found != shape:
            what = "without" if found is None else f"of shape {found} for"
            expected = f"the ArcFace recogniser of facexlib (IR-SE50) with {key} of shape {shape}"
            raise UnsupportedCheckpoint(path, f"a face network {what} {key}", expected, _ADVICE)
    weights = {key: state[key] for key in graph.shapes}
    try:
        check_kinds(weights)
    except ValueError as error:
        expected = "the ArcFace recogniser of facexlib (IR-SE50)"
        raise UnsupportedCheckpoint(path, f"a face network whose {error}", expected, _ADVICE) from error
    weights = {key: tensor.float() for key, tensor in weights.items()}
    return Program(path, "crop", (graph.nodes[-1].outputs[0],), tuple(graph.nodes), weights)


def published_shapes() -> dict[str, Shape]:
    """Every tensor of the published file that matters, by its key."""
    return _Graph().shapes


class _Graph:
    """nodes: each reads values by their names; shapes: of the tensors among them, by their keys in the file."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {}
        x = self._normed(self._conv("crop", "input_layer.0", (64, 3, 3, 3)), "input_layer.1", 64)
        x = self._sloped(x, "input_layer.2", 64)
        for number, unit in enumerate(_UNITS):
            x = self._unit(x, f"body.{number}", *unit)
        x = self._run("Flatten", self._normed(x, "output_layer.0", _WIDTH))
        linear = self._read("output_layer.3", weight=(_WIDTH, _WIDTH * _GRID**2), bias=(_WIDTH,))
        self._normed(self._run("Gemm", x, *linear, transB=1), "output_layer.4", _WIDTH)

    def _unit(self, x: str, key: str, before: int, channels: int, stride: int) -> str:
        """With squeeze and excitation."""
        own, shortcut, squeezed = f"{key}.res_layer", f"{key}.shortcut_layer", channels // 16
        y = self._conv(self._normed(x, f"{own}.0", before), f"{own}.1", (channels, before, 3, 3))
        y = self._conv(self._sloped(y, f"{own}.2", channels), f"{own}.3", (channels, channels, 3, 3), stride)
        y = self._normed(y, f"{own}.4", channels)
        gate = self._conv(self._run("GlobalAveragePool", y), f"{own}.5.fc1", (squeezed, channels, 1, 1))
        gate = self._conv(self._run("Relu", gate), f"{own}.5.fc2", (channels, squeezed, 1, 1))
        if before != channels:
            x = self._conv(x, f"{shortcut}.0", (channels, before, 1, 1), stride)
            x = self._normed(x, f"{shortcut}.1", channels)
        elif stride > 1:
            x = self._run("MaxPool", x, kernel_shape=(1, 1), strides=(stride, stride))
        return self._run("Add", self._run("Mul", y, self._run("Sigmoid", gate)), x)

    def _conv(self, x: str, key: str, shape: Shape, stride: int = 1) -> str:
        around = (shape[-1] // 2,) * 4
        return self._run("Conv", x, *self._read(key, weight=shape), strides=(stride, stride), pads=around)

    def _normed(self, x: str, key: str, channels: int) -> str:
        names = ("weight", "bias", "running_mean", "running_var")
        return self._run("BatchNormalization", x, *self._read(key, **dict.fromkeys(names, (channels,))))

    def _sloped(self, x: str, key: str, channels: int) -> str:
        return self._run("PRelu", x, *self._read(key, weight=(channels,)))

    def _read(self, key: str, **shapes: Shape) -> list[str]:
        self.shapes |= (named := {f"{key}.{name}": shape for name, shape in shapes.items()})
        return list(named)

    def _run(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        self.nodes.append(Node(operator, inputs, (f"value {len(self.nodes)}",), attributes))
        return self.nodes[-1].outputs[0]
