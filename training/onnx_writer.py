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

from .graph import layers_with_parents, same_padding

if TYPE_CHECKING:
    import keras
    import onnx

OPSET = 17
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
        kind = type(layer).__name__
        if kind not in _WRITERS:
            raise ValueError(f"layer {layer.name}: {kind} is not known to the ONNX writer")
        names[layer.name] = _WRITERS[kind](writer, layer, [names[p.name] for p in parents])
    writer.add("Identity", [names[graph[-1][0].name]], "probability")
    bands, classes = model.input_shape[-1], model.output_shape[-1]
    content = helper.make_graph(
        writer.nodes, model.name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", bands, "H", "W"])],
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
    return "image"


def _convolution(writer: _Writer, layer: Any, inputs: list[str]) -> str:
    depthwise = type(layer).__name__ == "DepthwiseConv2D"
    kernel = np.asarray(layer.kernel)
    # Keras: (kh, kw, in, out), depthwise (kh, kw, in, 1); ONNX: (out, in / groups, kh, kw).
    kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
    out = kernel.shape[0]
    bias = np.asarray(layer.bias) if layer.use_bias else np.zeros(out, np.float32)
    padded = layer.padding == "same" or set(layer.kernel_size) == {1}
    if not padded or set(layer.dilation_rate) != {1}:
        raise ValueError(f"layer {layer.name}: only undilated 'same' convolutions can be written")
    pads = [same_padding(k, s) for k, s in zip(layer.kernel_size, layer.strides, strict=True)]
    return writer.add(
        "Conv",
        [
            inputs[0],
            writer.kernel(f"{layer.name}_kernel", kernel),
            writer.constant(f"{layer.name}_bias", bias.astype(np.float32)),
        ],
        layer.name,
        strides=list(layer.strides),
        kernel_shape=list(layer.kernel_size),
        pads=[pads[0][0], pads[1][0], pads[0][1], pads[1][1]],
        group=out if depthwise else 1,
    )


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
    if layer.max_value is None:
        return writer.add("Relu", inputs, layer.name)
    low = writer.constant(f"{layer.name}_low", np.float32(0.0).reshape(()))
    high = writer.constant(f"{layer.name}_high", np.float32(layer.max_value).reshape(()))
    return writer.add("Clip", [*inputs, low, high], layer.name)


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
    pads = [same_padding(k, s) for k, s in zip(layer.pool_size, layer.strides, strict=True)]
    return writer.add(
        "AveragePool", inputs, layer.name, kernel_shape=list(layer.pool_size),
        strides=list(layer.strides), pads=[pads[0][0], pads[1][0], pads[0][1], pads[1][1]],
        count_include_pad=0,
    )  # fmt: skip


def _activation(writer: _Writer, layer: Any, inputs: list[str]) -> str:
    kind = layer.activation.__name__
    if kind == "softmax":
        return writer.add("Softmax", inputs, layer.name, axis=1)
    return writer.add({"sigmoid": "Sigmoid", "linear": "Identity"}[kind], inputs, layer.name)


_WRITERS: dict[str, Callable[[_Writer, Any, list[str]], str]] = {
    "InputLayer": _input,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _convolution,
    "BatchNormalization": _normalisation,
    "ReLU": _relu,
    "AveragePooling2D": _average,
    "UpSampling2D": _upsampling,
    "Activation": _activation,
    "Add": lambda writer, layer, inputs: writer.add("Add", inputs, layer.name),
    "Concatenate": lambda writer, layer, inputs: writer.add("Concat", inputs, layer.name, axis=1),
}
