# SPDX-License-Identifier: GPL-2.0-or-later
"""From probabilities to decisions: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .model_card import UNKNOWN_VALUE

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]


def binary_mask(probability: FloatArray, threshold: float) -> tuple[ByteArray, FloatArray]:
    """Decide one class against the rest.

    Parameters
    ----------
    probability : ndarray of float32, shape (H, W)
        Probability of the class, 0-1.
    threshold : float
        Probability from which a pixel belongs to it.

    Returns
    -------
    mask : ndarray of uint8, shape (H, W)
        1 where the class is, else 0.
    confidence : ndarray of float32, shape (H, W)
        0 at the threshold, 1 at probability 0 or 1, linear between.
    """
    mask = probability >= np.float32(threshold)
    above = (probability - threshold) / max(1 - threshold, 1e-6)
    below = (threshold - probability) / max(threshold, 1e-6)
    confidence = np.clip(np.where(mask, above, below), 0, 1)
    return mask.astype(np.uint8), confidence.astype(np.float32)


def class_mask(
    probabilities: FloatArray, values: Sequence[int], thresholds: Sequence[float]
) -> tuple[ByteArray, FloatArray]:
    """Decide among several classes.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (H, W, K)
        Probability of each class, 0-1.
    values : sequence of int
        Value of each class in the mask.
    thresholds : sequence of float
        Probability from which a pixel may belong to each class.

    Returns
    -------
    mask : ndarray of uint8, shape (H, W)
        The most probable of the classes that reach their threshold; 0 ("unknown") where
        none does.
    confidence : ndarray of float32, shape (H, W)
        How far the most probable class is ahead of the second, 0-1.
    """
    passing = probabilities >= np.asarray(thresholds, np.float32)
    best = np.where(passing, probabilities, np.float32(-1)).argmax(axis=-1)
    mask = np.asarray(values, np.uint8)[best]
    mask[~passing.any(axis=-1)] = UNKNOWN_VALUE
    top_two = np.partition(probabilities, -2, axis=-1)[..., -2:]
    return mask, top_two[..., 1] - top_two[..., 0]
