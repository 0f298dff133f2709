# SPDX-License-Identifier: GPL-2.0-or-later
"""Training crops of images that are no photographs: any number of bands, any type of value."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np

from . import vary_photo
from .augment import Augmentation
from .dataset import IGNORE, Scaling

SPREAD = 0.25
"""Standard deviation of a photograph's values, about, as a share of their range."""
GRAIN = tuple(strength / 255 / SPREAD for strength in vary_photo.GRAIN)
"""Least and greatest noise, in standard deviations of a band: that of photographs."""
VEIL = (0.1, 1.0)
"""Least and greatest light that haze adds, in standard deviations of a band."""
FARTHEST = 2.0
"""Standard deviations that a gain shifts a band's mean by, at most: about that of photographs."""


@dataclass(frozen=True)
class VaryBands:
    """Other light and sharpness for crops of any bands.

    A gain multiplies dark and bright pixels alike, as light does, where zero is black: where the
    values cannot be negative. It is smaller where a band varies little about a large mean, as
    heights do. Values that can be negative (decibels, indices, temperatures) have no black; they
    get what a gain of light is on a logarithmic scale, an offset, in units of the band's own
    spread. Saturation, gamma and shadows are of colours as the eye sees them, and left out.

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
        """Return crop (S, S, B) of the data's type in other light and sharpness."""
        varied = np.asarray(image, np.float32)
        if rng.random() >= how.plain:
            varied = self._sharpness(self._light(varied, how, rng), how, rng)
        varied = np.clip(varied, *self.value_range)
        if np.issubdtype(self.data_type, np.integer):
            varied = np.rint(varied)
        return varied.astype(self.data_type)

    def _light(self, image: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
        mean, spread = np.float32(self.scaling.mean), np.float32(self.scaling.stddev)
        gains = rng.uniform(-how.exposure, how.exposure)
        gains += rng.uniform(-how.cast, how.cast, mean.size)
        contrast = np.float32(exp(rng.uniform(-how.contrast, how.contrast)))
        if self.value_range[0] < 0:
            return (image - mean) * contrast + (mean + np.float32(gains) * spread)
        # Gains before contrast, which turns about a mean that was lit as well.
        gains *= np.minimum(1, FARTHEST * spread / np.maximum(mean, 1e-9))
        factors = np.exp(np.float32(gains))
        veil = np.float32(rng.uniform(*VEIL) if rng.random() < how.haze else 0)
        return (image - mean) * (factors * contrast) + (mean * factors + veil * spread)

    def _sharpness(
        self, image: np.ndarray, how: Augmentation, rng: np.random.Generator
    ) -> np.ndarray:
        from skimage.filters import gaussian

        chance, strength = rng.random(), rng.uniform(*vary_photo.BLUR_SIGMA)
        if chance < how.blur:
            image = gaussian(image, strength, channel_axis=-1, mode="nearest")
        elif chance < how.blur + how.sharpen:
            smooth = gaussian(image, 0.7, channel_axis=-1, mode="nearest")
            image = image + np.float32(strength) * (image - smooth)
        if rng.random() < how.noise:
            spread = np.float32(rng.uniform(*GRAIN)) * np.float32(self.scaling.stddev)
            image = image + spread * rng.standard_normal(image.shape, np.float32)
        return image


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
