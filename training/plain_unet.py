# SPDX-License-Identifier: GPL-2.0-or-later
"""The plain U-Net, of any depth and width, with padding so that the output has the input's size.

References
----------
Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

DEPTH = 4
WIDTH = 16
WIDEST = 512


def build_plain_unet(
    channels: int = 1,
    bands: int = 3,
    width: int = WIDTH,
    depth: int = DEPTH,
    dropout: float = 0.0,
) -> keras.Model:
    """Return a model from scaled images (B, H, W, bands) to logits (B, H, W, channels), float32.

    H and W are multiples of ``2 ** depth``.

    Parameters
    ----------
    width : int
        Filters at full resolution; each level below has twice as many, up to 512.
    depth : int
        How often the resolution is halved.
    dropout : float
        Share of the channels dropped before the head, while training.
    """
    import keras
    from keras import layers

    widths = [min(width * 2**level, WIDEST) for level in range(depth + 1)]
    image = x = layers.Input((None, None, bands), name="image")
    skips = []
    for stage, filters in enumerate(widths[:-1], start=1):
        x = _twice(x, filters, f"encoder_stage{stage}")
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"encoder_stage{stage}_pool")(x)
    x = _twice(x, widths[-1], f"encoder_stage{depth + 1}")
    for stage in range(depth, 0, -1):
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"decoder{stage}_up")(x)
        x = layers.Concatenate(name=f"decoder{stage}_concat")([x, skips.pop()])
        x = _twice(x, widths[stage - 1], f"decoder{stage}")
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="head_dropout")(x)
    bias = keras.initializers.Constant(-1.5)  # most classes cover a small part of an image
    logits = layers.Conv2D(
        channels, 1, bias_initializer=bias, name="head_conv", dtype="float32"
    )(x)  # fmt: skip
    return keras.Model(image, logits, name=f"unet_plain_{width}x{depth}")


def _twice(x: Any, width: int, name: str) -> Any:
    from keras import layers

    for part in ("a", "b"):
        x = layers.Conv2D(
            width, 3, padding="same", use_bias=False, name=f"{name}_{part}_conv"
        )(x)  # fmt: skip
        # Keras's default momentum, 0.99, lags behind a training of few thousand steps.
        x = layers.BatchNormalization(momentum=0.98, name=f"{name}_{part}_norm")(x)
        x = layers.ReLU(name=f"{name}_{part}_relu")(x)
    return x
