# SPDX-License-Identifier: GPL-2.0-or-later
"""From probabilities to decisions: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .model_card import UNKNOWN_VALUE

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]


def binary_mask(probability: FloatArray, threshold: float) -> ByteArray:
    """Decide one class against the rest.

    Parameters
    ----------
    probability : ndarray of float32, shape (H, W)
        Probability of the class, 0-1.
    threshold : float
        Probability from which a pixel belongs to it.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        1 where the class is, else 0.
    """
    return (probability >= np.float32(threshold)).view(np.uint8)


def binary_confidence(probability: FloatArray, threshold: float) -> FloatArray:
    """How far the decision of `binary_mask` is from the other one.

    Parameters
    ----------
    probability : ndarray of float32, shape (H, W)
        Probability of the class, 0-1.
    threshold : float
        Probability from which a pixel belongs to it.

    Returns
    -------
    ndarray of float32, shape (H, W)
        0 at the threshold, 1 at probability 0 or 1, linear between.
    """
    mask = probability >= np.float32(threshold)
    above = (probability - threshold) / max(1 - threshold, 1e-6)
    below = (threshold - probability) / max(threshold, 1e-6)
    confidence = np.clip(np.where(mask, above, below), 0, 1)
    return confidence.astype(np.float32)


def class_mask(
    probabilities: FloatArray, values: Sequence[int], thresholds: Sequence[float]
) -> ByteArray:
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
    ndarray of uint8, shape (H, W)
        The most probable of the classes that reach their threshold; 0 ("unknown") where
        none does.
    """
    mask = np.full(probabilities.shape[:-1], UNKNOWN_VALUE, np.uint8)
    best = np.full(probabilities.shape[:-1], -1, np.float32)
    for channel, (value, threshold) in enumerate(zip(values, thresholds, strict=True)):
        probability = probabilities[..., channel]
        wins = (probability >= np.float32(threshold)) & (probability > best)
        np.copyto(mask, np.uint8(value), where=wins)
        np.copyto(best, probability, where=wins)
    return mask


def class_confidence(probabilities: FloatArray) -> FloatArray:
    """How far the most probable class is ahead of the second.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (H, W, K)
        Probability of each of two or more classes, 0-1.

    Returns
    -------
    ndarray of float32, shape (H, W)
        The difference, 0-1.
    """
    planes = np.moveaxis(probabilities, -1, 0)
    best, second = np.maximum(planes[0], planes[1]), np.minimum(planes[0], planes[1])
    for plane in planes[2:]:
        second = np.maximum(second, np.minimum(best, plane))
        best = np.maximum(best, plane)
    lead: FloatArray = best - second
    return lead
