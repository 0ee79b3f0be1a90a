"""ArcFace IR-SE50 as facexlib ships it, as the nodes of an ONNX file, which onnx_network runs.

Published as recognition_arcface_ir_se50.pth (facexlib 0.1.0, recognition/arcface_arch.py).
"""

from ..cast import EMBEDDING
from ..checks.errors import UnsupportedCheckpoint
from ..models.onnx_file import Attribute, Node, Program, Shape
from ..models.tensors import State, check_all_floats

_ADVICE = "Download recognition_arcface_ir_se50.pth from facexlib's release v0.1.0."
_EXPECTED = "the ArcFace recogniser of facexlib (IR-SE50)"
_GRID = 7
"""Height and width of the last feature map."""

_STAGES = ((64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3))
"""The four stages of the network: channels in, channels out, and how many residual units."""
_LAST_CHANNELS = _STAGES[-1][1]
"""Channels of the last feature map: 512, by chance as many as the embedding has numbers."""


def program(state: State, path: str) -> Program:
    """The recogniser as an ONNX program: a face (1, 3, 112, 112), blue, green and red from -1 to 1, gives (1, 512).

    facexlib's Backbone also divides the 512 numbers by their length (the norm); model.IRSE50Recogniser does that.
    state: the tensors of the file at `path`. Raises UnsupportedCheckpoint when a tensor is missing or has another
    shape or kind of number.
    """
    graph = _Graph()
    for key, shape in graph.shapes.items():
        file_shape = tuple(state[key].shape) if key in state else None
        if file_shape == shape:
            continue
        if file_shape is None:
            problem = f"a face network without {key}"
        else:
            problem = f"a face network of shape {file_shape} for {key}"
        raise UnsupportedCheckpoint(path, problem, f"{_EXPECTED} with {key} of shape {shape}", _ADVICE)
    weights = {key: state[key] for key in graph.shapes}
    try:
        check_all_floats(weights)
    except ValueError as error:
        raise UnsupportedCheckpoint(path, f"a face network whose {error}", _EXPECTED, _ADVICE) from error
    weights = {key: tensor.float() for key, tensor in weights.items()}
    output = graph.nodes[-1].outputs[0]
    return Program(path, input="crop", outputs=(output,), nodes=tuple(graph.nodes), weights=weights)


def published_shapes() -> dict[str, Shape]:
    """The shape of every tensor that the program reads, by its key in the published file."""
    return _Graph().shapes


class _Graph:
    """The network, node by node.

    nodes: in the order they run; a node reads values by their names.
    shapes: of the tensors that nodes read, by their keys in the published file.
    The methods below append nodes and return the name of the value that the last of them gives. Their argument x (or
    y) is the name of the value that the nodes read, their `key` the layer's name in the published file.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {}
        x = self._convolution("crop", "input_layer.0", (64, 3, 3, 3))
        x = self._normalisation(x, "input_layer.1", 64)
        x = self._prelu(x, "input_layer.2", 64)
        number = 0  # of the unit, counted through all stages as in the file
        for channels_in, channels_out, units in _STAGES:
            for unit in range(units):
                # The first unit of a stage halves the feature map and changes the number of channels.
                unit_channels_in = channels_in if unit == 0 else channels_out
                stride = 2 if unit == 0 else 1
                x = self._residual_unit(x, f"body.{number}", unit_channels_in, channels_out, stride)
                number += 1
        # (1, 512, 7, 7) -> (1, 512 * 7 * 7) -> (1, 512)
        x = self._normalisation(x, "output_layer.0", _LAST_CHANNELS)
        x = self._append("Flatten", x)
        weight_shape = (EMBEDDING, _LAST_CHANNELS * _GRID**2)  # (out, in)
        linear = self._note_tensors("output_layer.3", weight=weight_shape, bias=(EMBEDDING,))
        x = self._append("Gemm", x, *linear, transB=1)
        self._normalisation(x, "output_layer.4", EMBEDDING)

    def _residual_unit(self, x: str, key: str, channels_in: int, channels_out: int, stride: int) -> str:
        """Two convolutions, their channels weighted by squeeze and excitation, plus the unit's input by a shortcut.

        The second convolution has the stride.
        """
        layer = f"{key}.res_layer"
        y = self._normalisation(x, f"{layer}.0", channels_in)
        y = self._convolution(y, f"{layer}.1", (channels_out, channels_in, 3, 3))
        y = self._prelu(y, f"{layer}.2", channels_out)
        y = self._convolution(y, f"{layer}.3", (channels_out, channels_out, 3, 3), stride)
        y = self._normalisation(y, f"{layer}.4", channels_out)
        gate = self._excitation(y, f"{layer}.5", channels_out)
        shortcut = self._shortcut(x, f"{key}.shortcut_layer", channels_in, channels_out, stride)
        product = self._append("Mul", y, gate)
        return self._append("Add", product, shortcut)

    def _excitation(self, y: str, key: str, channels: int) -> str:
        """How much of each channel is kept, (1, channels, 1, 1) from 0 to 1, computed of the channels' means.

        This is squeeze and excitation (Hu et al. 2018): two 1x1 convolutions on the means.
        """
        squeezed = channels // 16  # the reduction of the published network
        gate = self._append("GlobalAveragePool", y)
        gate = self._convolution(gate, f"{key}.fc1", (squeezed, channels, 1, 1))
        gate = self._append("Relu", gate)
        gate = self._convolution(gate, f"{key}.fc2", (channels, squeezed, 1, 1))
        return self._append("Sigmoid", gate)

    def _shortcut(self, x: str, key: str, channels_in: int, channels_out: int, stride: int) -> str:
        """The input of a unit, brought to the shape of its output.

        By a 1x1 convolution with the stride and a normalisation where the number of channels changes. Otherwise every
        `stride`-th pixel of the input is taken, which with stride 1 is the input itself.
        """
        if channels_in != channels_out:
            x = self._convolution(x, f"{key}.0", (channels_out, channels_in, 1, 1), stride)
            return self._normalisation(x, f"{key}.1", channels_out)
        if stride > 1:
            return self._append("MaxPool", x, kernel_shape=(1, 1), strides=(stride, stride))  # the maximum of 1 pixel
        return x

    def _convolution(self, x: str, key: str, shape: Shape, stride: int = 1) -> str:
        """A convolution without bias. shape: of its weight, (out, in, height, width); kernels are 3x3 or 1x1."""
        weight = self._note_tensors(key, weight=shape)
        padding = shape[-1] // 2  # with stride 1 the size of the feature map stays
        return self._append("Conv", x, *weight, strides=(stride, stride), pads=(padding,) * 4)

    def _normalisation(self, x: str, key: str, channels: int) -> str:
        """A batch normalisation with the means and variances of the training."""
        shape = (channels,)
        tensors = self._note_tensors(key, weight=shape, bias=shape, running_mean=shape, running_var=shape)
        return self._append("BatchNormalization", x, *tensors)

    def _prelu(self, x: str, key: str, channels: int) -> str:
        """A rectifier with a learnt slope per channel below 0."""
        return self._append("PRelu", x, *self._note_tensors(key, weight=(channels,)))

    def _note_tensors(self, key: str, **shapes: Shape) -> list[str]:
        """Note the shapes of the tensors that a layer reads, and return their keys in the published file.

        key: of the layer, such as "body.0.res_layer.1". shapes: the shape of each tensor, by the last word of its key,
        such as weight=(64, 3, 3, 3).
        """
        keys: list[str] = []
        for name, shape in shapes.items():
            self.shapes[f"{key}.{name}"] = shape
            keys.append(f"{key}.{name}")
        return keys

    def _append(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """Append a node, and return the name of the value that it gives."""
        output = f"value {len(self.nodes)}"
        self.nodes.append(Node(operator, inputs, (output,), attributes))
        return output
