# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the networks to ship: normalisation folded, kernels exact in float16 and bfloat16.

ImageNet's Lite0 is touchy: many of its features are small differences of large sums, so rounded
kernels shift whole channels (float16 changed up to 0.14 % of a frame's decisions). Here the
kernels are rounded once, the shift of each channel is measured and put right in its bias, and
every runtime then computes with the very same kernels.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .graph import TRAINING_ONLY, kind_of, layers_with_parents

if TYPE_CHECKING:
    import keras

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D")


def fold(model: keras.Model) -> keras.Model:
    """Return the same function with each normalisation folded into the convolution before it.

    A normalisation that follows something else, or a convolution that others read too, stays.
    Layers that work in training only are left out, and all compute in float32.
    """
    import keras

    graph = layers_with_parents(model)
    read_by = Counter(parent.name for _layer, parents in graph for parent in parents)
    tensors: dict[str, Any] = {}
    arrays: dict[str, list[np.ndarray]] = {}
    for layer, parents in graph:
        inputs = [tensors[parent.name] for parent in parents]
        if not parents:
            tensors[layer.name] = keras.Input(layer.batch_shape[1:], name=layer.name)
            continue
        before = parents[0]
        if kind_of(layer) in TRAINING_ONLY:
            tensors[layer.name] = inputs[0]
            continue
        if kind_of(layer) == "BatchNormalization" and _folds_into(before, read_by):
            arrays[before.name] = _folded(layer, before, *arrays[before.name])
            tensors[layer.name] = inputs[0]
            continue
        config = {**layer.get_config(), "dtype": "float32"}
        arrays[layer.name] = layer.get_weights()
        if kind_of(layer) in CONVOLUTIONS and not layer.use_bias:
            config["use_bias"] = True
            depthwise = kind_of(layer) == "DepthwiseConv2D"
            arrays[layer.name].append(np.zeros(layer.kernel.shape[2 if depthwise else 3]))
        copy = type(layer).from_config(config)
        tensors[layer.name] = copy(inputs if len(inputs) > 1 else inputs[0])
    folded = keras.Model(tensors[graph[0][0].name], tensors[graph[-1][0].name], name=model.name)
    for layer in folded.layers:
        layer.set_weights(arrays.get(layer.name, []))
    return folded


def _folds_into(layer: Any, read_by: Counter[str]) -> bool:
    linear = kind_of(layer) in CONVOLUTIONS and layer.activation.__name__ == "linear"
    return linear and read_by[layer.name] == 1


def round_kernels(model: keras.Model, images: np.ndarray) -> keras.Model:
    """Round the kernels of a model in place, and correct what is added to them by ``images``.

    Layer by layer, from the image on, each channel's mean over ``images`` (N, H, W, 3), scaled
    float32, is brought back to what it was before: in the layer's bias, or where it has none in
    the mean of the normalisation that follows.

    References
    ----------
    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
    ICCV 2019, section 4.2 (the empirical correction).
    """
    import keras

    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    norm_after = {
        parents[0].name: layer
        for layer, parents in layers_with_parents(model)
        if kind_of(layer) == "BatchNormalization"
    }
    means = keras.layers.GlobalAveragePooling2D()
    probe = keras.Model(model.input, [means(layer.output) for layer in layers])
    before = [np.asarray(mean).mean(axis=0) for mean in probe.predict_on_batch(images)]
    for layer in layers:
        kernel, *bias = layer.get_weights()
        layer.set_weights([exact_in_half(kernel), *bias])
    for number, layer in enumerate(layers):
        now = np.asarray(probe.predict_on_batch(images)[number]).mean(axis=0)
        if layer.use_bias:
            layer.bias.assign_add(before[number] - now)
        elif layer.name in norm_after:
            norm_after[layer.name].moving_mean.assign_add(now - before[number])
    return model


def exact_in_half(values: np.ndarray) -> np.ndarray:
    """Return the nearest float32 values that both bfloat16 and float16 hold exactly."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    bits = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(
        0xFFFF0000
    )
    return bits.view(np.float32).astype(np.float16).astype(np.float32)


def _folded(norm: Any, convolution: Any, kernel: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    if kind_of(convolution) == "DepthwiseConv2D":  # its kernel is (kh, kw, channels, 1)
        return [kernel * scale[:, None], bias * scale + beta - mean * scale]
    return [kernel * scale, bias * scale + beta - mean * scale]
