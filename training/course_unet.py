# SPDX-License-Identifier: GPL-2.0-or-later
"""The residual U-Net of the course "Image Segmentation for Landscape and Landcover Classification".

Encoder 8-16-32-64-128 with stride-2 blocks, two convolutions at 128, decoder 128-64-32-16: with
three bands and one class 1,181,753 trainable weights.

References
----------
Zhang, Liu and Wang, "Road Extraction by Deep Residual U-Net", IEEE GRSL 2018;
He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016 (pre-activation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

BASE_FILTERS = 8
STAGES = 5
DIVISOR = 2 ** (STAGES - 1)


def build_course_unet(
    channels: int = 1, bands: int = 3, base: int = BASE_FILTERS, dropout: float = 0.0
) -> keras.Model:
    """Return the course's network, ending in logits where the course's ends in a sigmoid.

    Images (B, H, W, bands) and logits (B, H, W, channels) are float32, H and W multiples of 16.
    The course feeds raw values, 0 to 255.

    Parameters
    ----------
    base : int
        Filters of the first stage; 8 in the course.
    dropout : float
        Share of the channels dropped before the head, while training; 0 in the course.
    """
    import keras
    from keras import layers

    widths = [base * 2**stage for stage in range(STAGES)]
    image = layers.Input((None, None, bands), name="image")
    x = _conv(image, base, "encoder_stage1_a")
    x = _pre_activated(x, base, "encoder_stage1_b")
    x = layers.Add(name="encoder_stage1_add")([_shortcut(image, base, 1, "encoder_stage1"), x])
    skips = []
    for stage, width in enumerate(widths[1:], start=2):
        skips.append(x)
        x = _residual(x, width, 2, f"encoder_stage{stage}")
    for name in ("bridge_a", "bridge_b"):
        x = _pre_activated(x, widths[-1], name)
    for stage in range(STAGES - 1, 0, -1):
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"decoder{stage}_up")(x)
        x = layers.Concatenate(name=f"decoder{stage}_concat")([x, skips.pop()])
        x = _residual(x, widths[stage], 1, f"decoder{stage}")
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="head_dropout")(x)
    logits = layers.Conv2D(channels, 1, name="head_conv", dtype="float32")(x)
    return keras.Model(image, logits, name="unet_course")


def _residual(x: Any, width: int, stride: int, name: str) -> Any:
    from keras import layers

    y = _pre_activated(x, width, f"{name}_a", stride)
    y = _pre_activated(y, width, f"{name}_b")
    return layers.Add(name=f"{name}_add")([_shortcut(x, width, stride, name), y])


def _pre_activated(x: Any, width: int, name: str, stride: int = 1) -> Any:
    from keras import layers

    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return _conv(layers.ReLU(name=f"{name}_relu")(x), width, name, stride)


def _conv(x: Any, width: int, name: str, stride: int = 1) -> Any:
    from keras import layers

    return layers.Conv2D(width, 3, strides=stride, padding="same", name=f"{name}_conv")(x)


def _shortcut(x: Any, width: int, stride: int, name: str) -> Any:
    """1x1 convolution, normalisation, ReLU.

    The gradient of a 1x1 convolution with stride 2, which the course has here, ends the process
    on processors with AVX-512. Picking every second pixel first is the same function.
    """
    from keras import layers

    if stride > 1:
        x = layers.MaxPooling2D(1, strides=stride, name=f"{name}_pick")(x)
    x = layers.Conv2D(width, 1, name=f"{name}_shortcut_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_shortcut_norm")(x)
    return layers.ReLU(name=f"{name}_shortcut_relu")(x)
