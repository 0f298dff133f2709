# SPDX-License-Identifier: GPL-2.0-or-later
"""Training crops of images that are no photographs: any number of bands, any type of value."""

from __future__ import annotations

import numpy as np

from .dataset import IGNORE

GAIN = 0.15


def vary_bands(
    image: np.ndarray,
    mask: np.ndarray,
    size: int,
    rng: np.random.Generator,
    lively: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a crop (S, S, B) and its mask (S, S), turned by right angles and flipped.

    Where the image is smaller than the crop it goes on mirrored, and the mask with "ignore".

    Parameters
    ----------
    image : ndarray, shape (H, W, B)
        Of any type, which is kept.
    lively : bool
        False for the crop alone. Otherwise each band's values are also scaled by up to 15 %.
    """
    pads = [(0, max(0, size - side)) for side in mask.shape]
    if any(after for _before, after in pads):
        image = np.pad(image, (*pads, (0, 0)), mode="symmetric")
        mask = np.pad(mask, pads, constant_values=IGNORE)
    row, col = (int(rng.integers(0, side - size + 1)) for side in mask.shape)
    window = slice(row, row + size), slice(col, col + size)
    image, mask = image[window], mask[window]
    if not lively:
        return image, mask
    turns, flip = int(rng.integers(4)), rng.random() < 0.5
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    if flip:
        image, mask = image[:, ::-1], mask[:, ::-1]
    gains = np.exp(rng.uniform(-GAIN, GAIN, image.shape[-1])).astype(np.float32)
    varied = image.astype(np.float32) * gains
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        varied = np.clip(np.rint(varied), limits.min, limits.max)
    return varied.astype(image.dtype), mask
