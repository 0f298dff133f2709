# SPDX-License-Identifier: GPL-2.0-or-later
"""A functional Keras model as layers with their parents, and how far a pixel reaches in it."""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

Interval = tuple[int, int]


def layers_with_parents(model: keras.Model) -> list[tuple[Any, list[Any]]]:
    """Return every layer with the layers that feed it, parents first."""
    return [
        (
            layer,
            [tensor._keras_history.operation for tensor in layer._inbound_nodes[0].input_tensors],
        )
        for layer in model.layers
    ]


def same_padding(kernel: int, stride: int) -> Interval:
    """Return TensorFlow's "same" padding (before, after), for sizes divisible by the stride."""
    total = max(kernel - stride, 0)
    return total // 2, total - total // 2


def theoretical_halo(model: keras.Model, divisor: int) -> int:
    """Return how many px around a block can sway it at all, rounded up to the divisor.

    Found by walking the graph backwards with the interval of pixels that each layer needs for
    the outputs ``[0, divisor)``. Blocks start at multiples of the divisor, so that is the worst.
    """
    graph = layers_with_parents(model)
    needed: dict[str, Interval] = {graph[-1][0].name: (0, divisor)}
    for layer, parents in reversed(graph):
        low, high = needed[layer.name]
        for parent in parents:
            want = _input_interval(layer, low, high)
            have = needed.get(parent.name, want)
            needed[parent.name] = (min(have[0], want[0]), max(have[1], want[1]))
    low, high = needed[graph[0][0].name]
    reach = max(-low, high - divisor)
    return ceil(reach / divisor) * divisor


def _input_interval(layer: Any, low: int, high: int) -> Interval:
    kind = type(layer).__name__
    if kind in ("Conv2D", "DepthwiseConv2D", "AveragePooling2D"):
        kernel = (layer.pool_size if kind == "AveragePooling2D" else layer.kernel_size)[0]
        stride = layer.strides[0]
        before, _after = same_padding(kernel, stride)
        return low * stride - before, (high - 1) * stride - before + kernel
    if kind == "UpSampling2D":
        if layer.interpolation == "nearest":
            return floor(low / 2), ceil(high / 2)
        return floor((low - 1) / 2), floor(high / 2) + 1
    if kind in POINTWISE:
        return low, high
    raise ValueError(f"layer {layer.name} ({kind}): its reach is unknown, or the whole image")


POINTWISE = {"InputLayer", "BatchNormalization", "ReLU", "Activation", "Add", "Concatenate"}
