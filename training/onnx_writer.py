# SPDX-License-Identifier: GPL-2.0-or-later
"""Write a functional Keras model as ONNX: NCHW, any size, kernels stored as float16.

A converter would leave transposes and shape arithmetic in the graph; the few kinds of layer that
our networks have translate one to one. Sizes must be multiples of the model's divisor.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_segmenter.engine.errors import ModelError

from .graph import TRAINING_ONLY, kind_of, layers_with_parents, window_of

if TYPE_CHECKING:
    import keras
    import onnx

OPSET = 17
INPUT = "image"
"""Name of the network's input."""
IR_VERSION = 8  # old enough for ONNX Runtime 1.14


def write_onnx(
    model: keras.Model, path: Path, half: bool = True, metadata: dict[str, str] | None = None
) -> None:
    """Write ``model``, an image (N, H, W, C) to probabilities (N, H, W, K), as ONNX.

    Input "image" and output "probability" are float32 NCHW with N, H and W free.

    Parameters
    ----------
    half : bool
        Store convolution kernels as float16 with a cast behind each: half the file, and every
        runtime still computes in float32. Exact for kernels that `fold.round_kernels` made.
    metadata : dict of str
        Key and value pairs for the file's own metadata.
    """
    import onnx
    from onnx import TensorProto, helper

    writer = _Writer(half)
    names: dict[str, str] = {}
    graph = layers_with_parents(model)
    for layer, parents in graph:
        kind = kind_of(layer)
        if kind not in _WRITERS:
            raise ModelError(
                f"layer {layer.name}: {kind} is not supported by the ONNX writer; it supports "
                f"{', '.join(sorted(_WRITERS))}"
            )
        names[layer.name] = _WRITERS[kind](writer, layer, [names[p.name] for p in parents])
    writer.add("Identity", [names[graph[-1][0].name]], "probability")
    bands, classes = model.input_shape[-1], model.output_shape[-1]
    content = helper.make_graph(
        writer.nodes, model.name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", bands, "H", "W"])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", classes, "H", "W"])],
        writer.constants,
    )  # fmt: skip
    proto = helper.make_model(
        content, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="unet-segmenter",
    )  # fmt: skip
    helper.set_model_props(proto, metadata or {})
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, str(path))


class _Writer:
    """The nodes and constants so far."""

    def __init__(self, half: bool) -> None:
        self.half = half
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, array: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def kernel(self, name: str, array: np.ndarray) -> str:
        from onnx import TensorProto

        array = np.ascontiguousarray(array, np.float32)
        if not self.half:
            return self.constant(name, array)
        stored = self.constant(f"{name}_half", array.astype(np.float16))
        return self.add("Cast", [stored], name, to=TensorProto.FLOAT)


def _input(_writer: _Writer, _layer: Any, _inputs: list[str]) -> str:
    return INPUT


def _window(layer: Any) -> dict[str, list[int]]:
    kernel, strides, (rows, cols) = window_of(layer)
    return {
        "kernel_shape": list(kernel),
        "strides": list(strides),
        "pads": [rows[0], cols[0], rows[1], cols[1]],
    }


def _convolution(writer: _Writer, layer: Any, inputs: list[str]) -> str:
    depthwise = kind_of(layer) == "DepthwiseConv2D"
    kernel = np.asarray(layer.kernel)
    if (depthwise and kernel.shape[3] != 1) or (not depthwise and layer.groups != 1):
        raise ModelError(f"layer {layer.name}: grouped convolutions are not supported")
    # Keras: (kh, kw, in, out), depthwise (kh, kw, in, 1); ONNX: (out, in / groups, kh, kw).
    kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
    out = kernel.shape[0]
    bias = np.asarray(layer.bias) if layer.use_bias else np.zeros(out, np.float32)
    active = layer.activation.__name__ != "linear"
    name = writer.add(
        "Conv",
        [
            inputs[0],
            writer.kernel(f"{layer.name}_kernel", kernel),
            writer.constant(f"{layer.name}_bias", bias.astype(np.float32)),
        ],
        f"{layer.name}_linear" if active else layer.name,
        group=out if depthwise else 1,
        **_window(layer),
    )
    return _activation(writer, layer, [name]) if active else name


def _normalisation(writer: _Writer, layer: Any, inputs: list[str]) -> str:
    gamma, beta, mean, variance = layer.get_weights()
    scale = gamma / np.sqrt(variance + layer.epsilon)
    factors = {"scale": scale, "shift": beta - mean * scale}
    names = [
        writer.constant(f"{layer.name}_{key}", value.reshape(1, -1, 1, 1).astype(np.float32))
        for key, value in factors.items()
    ]
    product = writer.add("Mul", [inputs[0], names[0]], f"{layer.name}_product")
    return writer.add("Add", [product, names[1]], layer.name)


def _relu(writer: _Writer, layer: Any, inputs: list[str]) -> str:
    if layer.negative_slope or layer.threshold:
        raise ModelError(f"layer {layer.name}: a ReLU with a slope or threshold is not supported")
    if layer.max_value is None:
        return writer.add("Relu", inputs, layer.name)
    low = writer.constant(f"{layer.name}_low", np.float32(0.0).reshape(()))
    high = writer.constant(f"{layer.name}_high", np.float32(layer.max_value).reshape(()))
    return writer.add("Clip", [*inputs, low, high], layer.name)


def _leaky_relu(writer: _Writer, layer: Any, inputs: list[str]) -> str:
    return writer.add("LeakyRelu", inputs, layer.name, alpha=float(layer.negative_slope))


def _upsampling(writer: _Writer, layer: Any, inputs: list[str]) -> str:
    scales = np.array([1, 1, *layer.size], np.float32)
    how = (
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        if layer.interpolation == "nearest"
        else {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    )
    scales_name = writer.constant(f"{layer.name}_scales", scales)
    return writer.add("Resize", [inputs[0], "", scales_name], layer.name, **how)


def _average(writer: _Writer, layer: Any, inputs: list[str]) -> str:
    return writer.add("AveragePool", inputs, layer.name, count_include_pad=0, **_window(layer))


def _zero_padding(writer: _Writer, layer: Any, inputs: list[str]) -> str:
    (top, bottom), (left, right) = layer.padding
    sides = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    return writer.add("Pad", [*inputs, writer.constant(f"{layer.name}_pads", sides)], layer.name)


def _activation(writer: _Writer, layer: Any, inputs: list[str]) -> str:
    kind = layer.activation.__name__
    if kind == "softmax":
        return writer.add("Softmax", inputs, layer.name, axis=1)
    if kind in ("silu", "swish"):
        gate = writer.add("Sigmoid", inputs, f"{layer.name}_gate")
        return writer.add("Mul", [*inputs, gate], layer.name)
    if kind not in ACTIVATIONS:
        raise ModelError(f"layer {layer.name}: activation {kind} is not known to the ONNX writer")
    return writer.add(ACTIVATIONS[kind], inputs, layer.name)


def _nothing(_writer: _Writer, _layer: Any, inputs: list[str]) -> str:
    return inputs[0]


ACTIVATIONS = {
    "linear": "Identity", "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh",
    "softplus": "Softplus",
}  # fmt: skip

_WRITERS: dict[str, Callable[[_Writer, Any, list[str]], str]] = {
    "InputLayer": _input,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _convolution,
    "BatchNormalization": _normalisation,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "MaxPooling2D": lambda writer, layer, inputs: writer.add(
        "MaxPool", inputs, layer.name, **_window(layer)
    ),
    "ZeroPadding2D": _zero_padding,
    "AveragePooling2D": _average,
    "UpSampling2D": _upsampling,
    "Activation": _activation,
    "Add": lambda writer, layer, inputs: writer.add("Add", inputs, layer.name),
    "Concatenate": lambda writer, layer, inputs: writer.add("Concat", inputs, layer.name, axis=1),
    **dict.fromkeys(TRAINING_ONLY, _nothing),
}
