# SPDX-License-Identifier: GPL-2.0-or-later
"""A functional Keras model as layers with their parents, and how far a pixel reaches in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from unet_segmenter.engine.errors import ModelError

if TYPE_CHECKING:
    import keras

Interval = tuple[int, int]

WINDOWED = {"Conv2D", "DepthwiseConv2D", "AveragePooling2D", "MaxPooling2D"}
"""Layers that look at a window of pixels."""
TRAINING_ONLY = {"Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"}
"""Layers that do nothing but in training."""
POINTWISE = {
    "InputLayer", "BatchNormalization", "ReLU", "LeakyReLU", "Activation", "Add", "Concatenate",
    *TRAINING_ONLY,
}  # fmt: skip
"""Layers that look at one pixel."""


def kind_of(layer: Any) -> str:
    """Return the name of a layer's class."""
    return type(layer).__name__


def layers_with_parents(model: keras.Model) -> list[tuple[Any, list[Any]]]:
    """Return every layer with the layers that feed it, parents first.

    Raises
    ------
    ModelError
        If the model is not one flat graph from one input to one output.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(f"the network {model.name} must have one input and one output")
    graph = []
    own = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    for layer in model.layers:
        nodes = [node for node in layer._inbound_nodes if id(node) in own]
        if hasattr(layer, "layers") or len(nodes) != 1:
            raise ModelError(
                f"layer {layer.name} of the network {model.name} is a network itself, or is used "
                "more than once; build it as one flat graph"
            )
        parents = [tensor._keras_history.operation for tensor in nodes[0].input_tensors]
        graph.append((layer, parents))
    last = model.outputs[0]._keras_history.operation
    return sorted(graph, key=lambda entry: entry[0] is last)


def window_of(layer: Any) -> tuple[tuple[int, int], tuple[int, int], tuple[Interval, Interval]]:
    """Return kernel, strides and padding ((before, after) a side) of a `WINDOWED` layer.

    Raises
    ------
    ModelError
        If it is dilated.
    """
    pools = kind_of(layer).endswith("Pooling2D")
    kernel, strides = layer.pool_size if pools else layer.kernel_size, layer.strides
    if not pools and set(layer.dilation_rate) != {1}:
        raise ModelError(f"layer {layer.name}: dilated convolutions are not supported")
    if layer.padding == "valid":
        return kernel, strides, ((0, 0), (0, 0))
    row, col = (same_padding(k, s) for k, s in zip(kernel, strides, strict=True))
    return kernel, strides, (row, col)


def same_padding(kernel: int, stride: int) -> Interval:
    """Return TensorFlow's "same" padding (before, after), for sizes divisible by the stride."""
    total = max(kernel - stride, 0)
    return total // 2, total - total // 2


def strides_of(graph: list[tuple[Any, list[Any]]]) -> dict[str, Fraction]:
    """Return by layer how many px of the image one of its cells covers along an axis."""
    strides: dict[str, Fraction] = {}
    for layer, parents in graph:
        stride = strides[parents[0].name] if parents else Fraction(1)
        if kind_of(layer) in WINDOWED:
            stride *= layer.strides[0]
        elif kind_of(layer) == "UpSampling2D":
            stride /= layer.size[0]
        strides[layer.name] = stride
    return strides


def divisor_of(model: keras.Model) -> int:
    """Return of what the image's sides must be multiples: the coarsest stride in the network.

    Raises
    ------
    ModelError
        If the output has not the image's size.
    """
    graph = layers_with_parents(model)
    strides = strides_of(graph)
    if strides[graph[-1][0].name] != 1:
        raise ModelError(f"the network {model.name} gives an output of another size than its input")
    return ceil(max(strides.values()))


def theoretical_halo(model: keras.Model, divisor: int) -> int:
    """Return how many px around a block can sway it at all, rounded up to the divisor.

    Found by walking the graph backwards with the interval of pixels that each layer needs for
    the outputs ``[0, divisor)``. Blocks start at multiples of the divisor, so that is the worst.
    """
    graph = layers_with_parents(model)
    reach = max(_reach(graph, divisor, axis) for axis in (0, 1))
    return ceil(reach / divisor) * divisor


def _reach(graph: list[tuple[Any, list[Any]]], divisor: int, axis: int) -> int:
    needed = cells_needed(graph, {graph[-1][0].name: (0, divisor)}, axis)
    low, high = needed[graph[0][0].name]
    return max(-low, high - divisor)


def cells_needed(
    graph: Sequence[tuple[Any, list[Any]]], wanted: Mapping[str, Interval], axis: int
) -> dict[str, Interval]:
    """Return by layer which of its cells are needed along an axis to know the cells wanted.

    Parameters
    ----------
    graph : sequence of tuple
        Layers with their parents, parents first; parents outside of it are where it begins.
    wanted : mapping
        Intervals by layer.
    """
    needed = dict(wanted)
    for layer, parents in reversed(graph):
        low, high = needed[layer.name]
        for parent in parents:
            want = _input_interval(layer, low, high, axis)
            have = needed.get(parent.name, want)
            needed[parent.name] = (min(have[0], want[0]), max(have[1], want[1]))
    return needed


def _input_interval(layer: Any, low: int, high: int, axis: int) -> Interval:
    kind = kind_of(layer)
    if kind in WINDOWED:
        kernel, strides, padding = window_of(layer)
        first = low * strides[axis] - padding[axis][0]
        return first, (high - 1) * strides[axis] - padding[axis][0] + kernel[axis]
    if kind == "UpSampling2D":
        factor = layer.size[axis]
        if layer.interpolation == "nearest":
            return floor(low / factor), ceil(high / factor)
        return floor((low - 1) / factor), floor(high / factor) + 1
    if kind == "ZeroPadding2D":
        before, _after = layer.padding[axis]
        return low - before, high - before
    if kind in POINTWISE:
        return low, high
    raise ModelError(
        f"layer {layer.name} ({kind}): its reach is unknown, or the whole image. Such a network "
        "cannot be run in blocks"
    )
