# SPDX-License-Identifier: GPL-2.0-or-later
"""The shipped architecture: a U-Net on EfficientNet-Lite, made for cheap and exact tiling.

No layer sees the whole image, and every batch normalisation follows a convolution, into which it
folds. With ``reduction`` 2 the network looks at the image at half its resolution: a quarter of the
work, and twice the context, for outlines that are a pixel or two rounder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .encoder_lite import build_encoder

if TYPE_CHECKING:
    import keras

DIVISOR = 16
DECODER_CHANNELS = {32: 128, 16: 96, 8: 64, 4: 48, 2: 32}
"""Channels of the decoder by stride."""


def build_unet(
    classes: int,
    variant: str = "lite0",
    deepest_stride: int = 16,
    reduction: int = 1,
    trainable_norm: bool = False,
    dropout: float = 0.0,
    bands: int = 3,
) -> keras.Model:
    """Return a model from scaled images (B, H, W, bands) to logits (B, H, W, classes), float32.

    H and W are multiples of ``deepest_stride * reduction``.

    Parameters
    ----------
    variant : str
        "lite0", "lite1" or "lite2".
    deepest_stride : int
        16 or 32: where the encoder ends.
    reduction : int
        1, or 2 to average 2x2 px before the encoder and to double the logits' size after the
        head. It adds no weight: train at half resolution with 1, ship with 2.
    trainable_norm : bool
        Whether the encoder's normalisation goes on learning.
    dropout : float
        Share of the channels dropped before the head, while training.
    """
    import keras
    from keras import layers

    def block(x: Any, width: int, name: str) -> Any:
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
        # Keras's default momentum, 0.99, lags behind a training of few thousand steps.
        x = layers.BatchNormalization(momentum=0.98, epsilon=1e-3, name=f"{name}_norm")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    def doubled(x: Any, name: str) -> Any:
        # As good as bilinear, exact at the edges, and free of sizes: Keras's bilinear upsampling
        # cannot be traced for images of more than one size.
        x = layers.UpSampling2D(
            2, interpolation="nearest", name=f"{name}_up", dtype="float32"
        )(x)  # fmt: skip
        return layers.AveragePooling2D(
            3, 1, padding="same", name=f"{name}_smooth", dtype="float32"
        )(x)

    image = x = layers.Input((None, None, bands), name="image")
    if reduction == 2:
        x = layers.AveragePooling2D(2, name="reduce")(x)
    *skips, x = build_encoder(x, variant, deepest_stride, trainable_norm)
    stride = deepest_stride
    x = block(x, DECODER_CHANNELS[stride], f"decoder{stride}_a")
    for skip in reversed(skips):
        stride //= 2
        width = DECODER_CHANNELS[stride]
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"decoder{stride}_up")(x)
        x = layers.Concatenate(name=f"decoder{stride}_concat")([x, skip])
        x = block(x, width, f"decoder{stride}_a")
        if stride > 2:  # at stride 2 a second convolution would cost as much as half the encoder
            x = block(x, width, f"decoder{stride}_b")
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="head_dropout")(x)
    bias = keras.initializers.Constant(-1.5)  # most classes cover a small part of a frame
    # In float32 in mixed precision too, as all that follows.
    x = layers.Conv2D(
        classes, 1, bias_initializer=bias, name="head_conv", dtype="float32"
    )(x)  # fmt: skip
    logits = doubled(x, "head")
    if reduction == 2:
        logits = doubled(logits, "full")
    return keras.Model(image, logits, name=f"unet_{variant}")


def with_sigmoid(model: keras.Model) -> keras.Model:
    """Return the model that gives probabilities instead of logits; it shares all weights."""
    import keras

    probability = keras.layers.Activation("sigmoid", name="sigmoid")(model.output)
    return keras.Model(model.input, probability, name=model.name)
