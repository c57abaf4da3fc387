"""What one image costs in a network: operations, parameters and bytes."""

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from keras_experts.mediums import PACKED

# Of an output's element: what a convolution or a product adds up is counted
# from the kernel, two operations a product.
ELEMENTWISE = frozenset(
    """Abs Add AddV2 BiasAdd Div Elu Erf Exp Log Maximum Minimum Mul Neg Pow
    RealDiv Relu Relu6 Rsqrt Selu Sigmoid Softplus Sqrt Square
    SquaredDifference Sub Tanh LeakyRelu""".split()
)
REDUCTIONS = frozenset("Max Mean Min Prod Sum".split())
POOLS = frozenset("AvgPool MaxPool".split())
# Of an element: subtract, multiply, add.
FUSED = {"FusedBatchNorm": 4, "FusedBatchNormV2": 4, "FusedBatchNormV3": 4}
SOFTMAX = 5


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        flops: int. Floating-point operations of a forward pass of one image;
            a product that is added counts two.
        parameters: int. Elements of all variables.
        num_bytes: int. Bytes of all variables.
    """

    flops: int
    parameters: int
    num_bytes: int


def measure_cost(model: Callable, image_size: int, channels: int = 3) -> Cost:
    """Counts what a forward pass of one image takes.

    Nothing is run: operations are counted from the shapes in the graph.

    Args:
        model: Keras model, module of `load_module`, or another function of
            float images `(1, image_size, image_size, channels)`.
        image_size: int. Pixels.
        channels: int.

    Raises:
        ValueError: if the graph has a convolution or a product of which the
            shape is not known.
    """
    shape = (1, image_size, image_size, channels)
    return measure_inputs(model, tf.TensorSpec(shape, tf.float32))


def measure_encoder(encoder: Callable, seq_length: int) -> Cost:
    """Counts what a forward pass of one text takes.

    Args:
        encoder: as in TensorFlow Hub's common API of texts.
        seq_length: int. Tokens.
    """
    spec = tf.TensorSpec((1, seq_length), tf.int32)
    return measure_inputs(encoder, dict.fromkeys(PACKED, spec))


def measure_inputs(model: Callable, spec) -> Cost:
    """Counts what a call takes, as `measure_cost`.

    Args:
        model: function of what `spec` says.
        spec: structure of tf.TensorSpec, all of a known shape.
    """
    traced = tf.function(lambda inputs: model(inputs))
    concrete = traced.get_concrete_function(spec)
    variables = {id(v.handle): v for v in concrete.graph.variables}.values()
    graph = frozen_graph(concrete)
    return Cost(
        sum(map(_flops, graph.get_operations())),
        sum(math.prod(v.shape) for v in variables),
        sum(math.prod(v.shape) * v.dtype.size for v in variables),
    )


def frozen_graph(concrete) -> tf.Graph:
    """Gives the graph of a traced function, flat, with known shapes."""
    frozen = convert_to_constants.convert_variables_to_constants_v2(concrete)
    return frozen.graph


def _flops(operation: tf.Operation) -> int:
    kind = operation.type
    if kind in ("Conv2D", "DepthwiseConv2dNative"):
        height, width, inputs, _ = _shape(operation.inputs[1])
        added = height * width * (inputs if kind == "Conv2D" else 1)
        return 2 * added * math.prod(_shape(operation.outputs[0]))
    if kind in ("MatMul", "BatchMatMul", "BatchMatMulV2"):
        name = "transpose_a" if kind == "MatMul" else "adj_x"
        shape = _shape(operation.inputs[0])
        added = shape[-2 if operation.get_attr(name) else -1]
        return 2 * added * math.prod(_shape(operation.outputs[0]))
    if kind == "Einsum":
        return _einsum_flops(operation)
    if kind in ELEMENTWISE:
        return _size(operation.outputs[0])
    if kind in REDUCTIONS:
        return _size(operation.inputs[0])
    if kind in POOLS:
        window = math.prod(operation.get_attr("ksize"))
        return window * _size(operation.outputs[0])
    if kind == "Softmax":
        return SOFTMAX * _size(operation.outputs[0])
    if kind in FUSED:
        return FUSED[kind] * _size(operation.outputs[0])
    return 0


def _einsum_flops(operation: tf.Operation) -> int:
    terms = operation.get_attr("equation").decode().partition("->")[0]
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms.split(","), operation.inputs, strict=True):
        sizes.update(zip(term, _shape(tensor), strict=True))
    return 2 * math.prod(sizes.values())


def _shape(tensor: tf.Tensor) -> list[int]:
    if not tensor.shape.is_fully_defined():
        raise ValueError(
            "To count operations, shapes must follow from that of the images. "
            f"Received: {tensor.name} of shape {tensor.shape}."
        )
    return tensor.shape.as_list()


def _size(tensor: tf.Tensor) -> int:
    """Elements, 0 where that is not known: it is small beside products."""
    known = tensor.shape.is_fully_defined() and tensor.dtype.is_floating
    return math.prod(tensor.shape.as_list()) if known else 0
