# SPDX-License-Identifier: GPL-2.0-or-later
"""Training crops of images that are no photographs: any number of bands, any type of value."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np

from .augment import Augmentation
from .dataset import IGNORE, Scaling

SPREAD = 0.25
"""Standard deviation of a photograph's values, about, as a share of their range."""
GRAIN = (2 / 255 / SPREAD, 12 / 255 / SPREAD)
"""Least and greatest noise, in standard deviations of a band: that of photographs."""


@dataclass(frozen=True)
class VaryBands:
    """Other light and sharpness for crops of any bands, in units of each band's own spread.

    Tint, saturation, gamma and shadows are of colours as the eye sees them, and left out.

    Attributes
    ----------
    scaling : Scaling
        Mean and standard deviation of each band.
    value_range : tuple of float
        Smallest and largest value that the images may have.
    data_type : str
        Of the images.
    """

    scaling: Scaling
    value_range: tuple[float, float]
    data_type: str

    def __call__(
        self, image: np.ndarray, how: Augmentation, rng: np.random.Generator
    ) -> np.ndarray:
        """Return crop (S, S, B) float32 with another contrast and brightness, noise or blur."""
        mean, spread = np.float32(self.scaling.mean), np.float32(self.scaling.stddev)
        gain = exp(rng.uniform(-how.contrast, how.contrast))
        gains = np.float32(gain * np.exp(rng.uniform(-how.tint, how.tint, mean.size)))
        light = np.float32(rng.uniform(-how.brightness, how.brightness) / SPREAD)
        varied = (image - mean) * gains + (mean + light * spread)
        if rng.random() < how.noise:
            strength = np.float32(rng.uniform(*GRAIN))
            varied += strength * spread * rng.standard_normal(image.shape, np.float32)
        if rng.random() < how.blur:
            from skimage.filters import gaussian

            varied = gaussian(varied, rng.uniform(0.4, 1.8), channel_axis=-1, mode="nearest")
        varied = np.clip(varied, *self.value_range)
        if np.issubdtype(self.data_type, np.integer):
            varied = np.rint(varied)
        return varied.astype(self.data_type)


def random_crop(
    image: np.ndarray, mask: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a crop (S, S, B) and its mask (S, S), as they are.

    Where the image is smaller than the crop it goes on mirrored, and the mask with "ignore".
    """
    pads = [(0, max(0, size - side)) for side in mask.shape]
    if any(after for _before, after in pads):
        image = np.pad(image, (*pads, (0, 0)), mode="symmetric")
        mask = np.pad(mask, pads, constant_values=IGNORE)
    row, col = (int(rng.integers(0, side - size + 1)) for side in mask.shape)
    window = slice(row, row + size), slice(col, col + size)
    return image[window], mask[window]
