# SPDX-License-Identifier: GPL-2.0-or-later
"""The shipped architecture: a U-Net on EfficientNet-Lite0, made for cheap and exact tiling.

No layer sees the whole image, the deepest feature has stride 16, and every batch normalisation
follows a convolution, into which it folds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .encoder_lite import build_encoder

if TYPE_CHECKING:
    import keras

DIVISOR = 16
DECODER_CHANNELS = (96, 64, 48, 32)


def build_unet(
    classes: int,
    channels: tuple[int, int, int, int] = DECODER_CHANNELS,
    trainable_norm: bool = False,
) -> keras.Model:
    """Return a model from scaled images (B, H, W, 3) to logits (B, H, W, classes), float32.

    H and W are multiples of `DIVISOR`. ``channels`` are those at strides 16, 8, 4 and 2.
    """
    import keras
    from keras import layers

    def block(x: Any, width: int, name: str) -> Any:
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
        # Keras's default momentum, 0.99, lags behind a training of few thousand steps.
        x = layers.BatchNormalization(momentum=0.98, epsilon=1e-3, name=f"{name}_norm")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    image = layers.Input((None, None, 3), name="image")
    *skips, x = build_encoder(image, trainable_norm)
    x = block(x, channels[0], "decoder16_a")
    for stride, width, skip in zip((8, 4, 2), channels[1:], reversed(skips), strict=True):
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"decoder{stride}_up")(x)
        x = layers.Concatenate(name=f"decoder{stride}_concat")([x, skip])
        x = block(x, width, f"decoder{stride}_a")
        if stride > 2:  # at stride 2 a second convolution would cost as much as half the encoder
            x = block(x, width, f"decoder{stride}_b")
    bias = keras.initializers.Constant(-1.5)  # most classes cover a small part of a frame
    x = layers.Conv2D(classes, 1, bias_initializer=bias, name="head_conv")(x)
    # As good as bilinear, exact at the edges, and free of sizes: Keras's bilinear upsampling
    # cannot be traced for images of more than one size.
    x = layers.UpSampling2D(2, interpolation="nearest", name="head_up")(x)
    logits = layers.AveragePooling2D(3, 1, padding="same", name="head_smooth", dtype="float32")(x)
    return keras.Model(image, logits, name="unet_lite0")


def with_sigmoid(model: keras.Model) -> keras.Model:
    """Return the model that gives probabilities instead of logits; it shares all weights."""
    import keras

    probability = keras.layers.Activation("sigmoid", name="sigmoid")(model.output)
    return keras.Model(model.input, probability, name=model.name)
