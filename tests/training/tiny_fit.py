# SPDX-License-Identifier: GPL-2.0-or-later
"""A network and frames far smaller than real ones: what is tested with them is the fitting."""

from __future__ import annotations

import numpy as np

from training.fit import FitPlan
from training.framing import Framing
from training.validation import Frames

SIDE = 16
PLAN = FitPlan(
    epochs=3, steps=6, batch=4, rate=2e-2, averaging=0.5, encoder_rate=1.0, augmentation=None
)


def scale(image):
    return image.astype(np.float32) / 128 - 1


def draw(rng):
    """A bright or dark half, and a few pixels to ignore: image (16, 16, 3), mask (16, 16)."""
    cut = int(rng.integers(4, 12))
    mask = np.ones((SIDE, SIDE), np.uint8)
    mask[:, cut:] = 2
    image = np.where(mask[..., None] == 1, 200, 50) + rng.normal(0, 20, (SIDE, SIDE, 3))
    mask[0, :2] = 255
    return np.clip(image, 0, 255).astype(np.uint8), mask


def batches(epoch, steps=PLAN.steps, batch=PLAN.batch, seed=7):
    rng = np.random.default_rng((seed, epoch))
    for _ in range(steps):
        images, masks = zip(*(draw(rng) for _ in range(batch)), strict=True)
        yield scale(np.stack(images)), np.stack(masks)


def frames(count=3):
    rng = np.random.default_rng(11)
    return Frames([draw(rng) for _ in range(count)], Framing(), scale, 2)


def network(channels=2, dropout=0.0, seed=0):
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(6, 3, 2, padding="same", name="encoder_stage1_conv")(image)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5, name="encoder_stage1_norm")(x))
    if dropout:
        x = layers.SpatialDropout2D(dropout)(x)
    x = layers.UpSampling2D(2)(layers.Conv2D(channels, 1, name="head_conv", dtype="float32")(x))
    return keras.Model(image, x)


class Listener:
    """A `Progress` that keeps everything, and cancels when ``stop`` says so."""

    def __init__(self, stop=lambda listener: False):
        self.steps, self.messages, self.stop = [], [], stop

    def advance(self, done, total, message=None):
        self.steps.append((done, total, message))

    def log(self, level, message):
        self.messages.append((level, message))

    def cancelled(self):
        return self.stop(self)

    def text(self):
        return "\n".join(message for _level, message in self.messages)
