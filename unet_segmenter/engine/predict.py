# SPDX-License-Identifier: GPL-2.0-or-later
"""From pixels to calibrated probabilities: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .model_card import Calibration, ModelInput

FloatArray = NDArray[np.float32]

# The four flips, as the axes of an (N, H, W, C) array that they turn; each undoes itself.
_FLIPS: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (1, 2))


def scale(
    pixels: NDArray[np.generic], valid: NDArray[np.bool_], model_input: ModelInput
) -> FloatArray:
    """Scale pixels as the model's card says, and never by what the block holds.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, C)
        Raster values of any dtype.
    valid : ndarray of bool, shape (H, W)
        False where a pixel is nodata.
    model_input : ModelInput
        Mean and standard deviation of each band, and the range of values.

    Returns
    -------
    ndarray of float32, shape (H, W, C)
        (value - mean) / stddev, of values clipped to the card's range. Nodata becomes 0,
        the mean, whatever the raster holds there, so it cannot sway its neighbours.
    """
    low, high = model_input.value_range
    with np.errstate(over="ignore"):  # nodata may be the largest float64
        scaled = pixels.astype(np.float32)
    if pixels.dtype != np.uint8 or low > 0 or high < 255:
        np.clip(scaled, low, high, out=scaled)
    scaled -= np.asarray(model_input.mean, np.float32)
    scaled *= np.float32(1) / np.asarray(model_input.stddev, np.float32)
    if not valid.all():
        scaled[~valid] = 0
    return scaled


def predict(
    images: FloatArray, run: Callable[[FloatArray], FloatArray], *, flips: bool = False
) -> FloatArray:
    """Probabilities of scaled images.

    Parameters
    ----------
    images : ndarray of float32, shape (N, H, W, C)
        Scaled images.
    run : callable
        The network: (N, H, W, C) to (N, H, W, K).
    flips : bool
        Whether to average over the four flips (test-time augmentation).

    Returns
    -------
    ndarray of float32, shape (N, H, W, K)
        Probabilities, 0-1.
    """
    if not flips:
        return run(images)
    total = np.zeros(0, np.float32)
    for axes in _FLIPS:
        turned = run(np.ascontiguousarray(np.flip(images, axes)))
        total = np.flip(turned, axes) + (total if total.size else 0)
    return total / np.float32(len(_FLIPS))


def calibrate(probabilities: FloatArray, calibrations: Sequence[Calibration]) -> FloatArray:
    """Correct probabilities by Platt scaling, class by class.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (..., K)
        Raw probabilities.
    calibrations : sequence of Calibration
        One a class.

    Returns
    -------
    ndarray of float32, shape (..., K)
        sigmoid(scale * logit(p) + offset).

    References
    ----------
    J. Platt, "Probabilistic outputs for support vector machines and comparisons to
    regularized likelihood methods", 1999.
    """
    if all(c.is_identity for c in calibrations):
        return probabilities
    p = np.clip(probabilities, 1e-7, 1 - 1e-7)
    logit = np.log(p) - np.log1p(-p)
    slope = np.asarray([c.scale for c in calibrations], np.float32)
    offset = np.asarray([c.offset for c in calibrations], np.float32)
    # Bounded, as a steep curve overflows: below 1e-34 a probability is 0 to any use.
    exponent = np.minimum(-(slope * logit + offset), np.float32(80))
    calibrated: FloatArray = 1 / (1 + np.exp(exponent))
    return calibrated
