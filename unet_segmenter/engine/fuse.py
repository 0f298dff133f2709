# SPDX-License-Identifier: GPL-2.0-or-later
"""From probabilities to decisions: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .model_card import UNKNOWN_VALUE

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]

# Of each class the place of the class that contains it; None of a class that no other contains.
# An empty sequence stands for classes that are all of this second kind.
Wholes = Sequence[int | None]

_NO_CHANNEL = 255  # there are 255 classes at most, counted from 0


def places_of_wholes(whole_of: Mapping[str, str | None]) -> tuple[int | None, ...]:
    """Place of the class that contains each class, from names.

    Parameters
    ----------
    whole_of : mapping of str to str or None
        For each class, in order, the name of the class that contains it. One that is not among
        the classes does not count.

    Examples
    --------
    >>> places_of_wholes({"vegetation": None, "tree": "vegetation", "road": None})
    (None, 0, None)
    """
    places = {name: place for place, name in enumerate(whole_of)}
    return tuple(None if whole is None else places.get(whole) for whole in whole_of.values())


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
    probabilities: FloatArray,
    values: Sequence[int],
    thresholds: Sequence[float],
    wholes: Wholes = (),
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
    wholes : sequence of int or None
        Place of the class that contains each class; empty where none contains another.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        The most probable of the classes that reach their threshold; 0 ("unknown") where
        none does. Parts compete with each other only, within the class that contains them: where
        it wins, the most probable of its parts that reach their threshold takes the pixel.
    """
    names = np.full(256, UNKNOWN_VALUE, np.uint8)
    names[: len(values)] = values
    winner = winning_channel(probabilities, thresholds, wholes)
    inner = winner.copy() if any(whole is not None for whole in wholes) else winner
    best = np.full(winner.shape, -1, np.float32)
    for channel, whole in enumerate(wholes):
        if whole is not None:
            probability = probabilities[..., channel]
            wins = (probability >= np.float32(thresholds[channel])) & (probability > best)
            wins &= winner == whole
            np.copyto(inner, np.uint8(channel), where=wins)
            np.copyto(best, probability, where=wins)
    mask: ByteArray = names[inner]
    return mask


def winning_channel(
    probabilities: FloatArray, thresholds: Sequence[float], wholes: Wholes = ()
) -> ByteArray:
    """Channel of the most probable class that reaches its threshold, parts left out.

    Parameters
    ----------
    probabilities, thresholds, wholes
        As `class_mask` takes them.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        The channel, of equal ones the first; 255 where no class reaches its threshold.
    """
    winner = np.full(probabilities.shape[:-1], _NO_CHANNEL, np.uint8)
    best = np.full(probabilities.shape[:-1], -1, np.float32)
    for channel in independent_channels(len(thresholds), wholes):
        probability = probabilities[..., channel]
        wins = (probability >= np.float32(thresholds[channel])) & (probability > best)
        np.copyto(winner, np.uint8(channel), where=wins)
        np.copyto(best, probability, where=wins)
    return winner


def independent_channels(count: int, wholes: Wholes = ()) -> tuple[int, ...]:
    """Channels of the classes that no other class contains."""
    return tuple(k for k in range(count) if not wholes or wholes[k] is None)


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


def confidence(
    probabilities: FloatArray, thresholds: Sequence[float], wholes: Wholes = ()
) -> FloatArray:
    """How sure a decision is.

    Parameters
    ----------
    probabilities, thresholds, wholes
        As `class_mask` takes them.

    Returns
    -------
    ndarray of float32, shape (H, W)
        0-1: the lead of the most probable class over the second; with a single class the
        distance of its probability from its threshold, see `binary_confidence`. Parts do not
        compete here, but where the most probable class has some, the value is no higher than
        the distance of the part nearest to taking or keeping the pixel from its threshold.
    """
    channels = independent_channels(len(thresholds), wholes)
    if len(channels) == 1:
        sure = binary_confidence(probabilities[..., channels[0]], thresholds[channels[0]])
    elif len(channels) == len(thresholds):
        return class_confidence(probabilities)
    else:
        planes = np.moveaxis(probabilities, -1, 0)[list(channels)]
        sure = class_confidence(np.moveaxis(planes, 0, -1))
    if len(channels) == len(thresholds):
        return sure
    winner = winning_channel(probabilities, [0.0] * len(thresholds), wholes)
    for whole in {whole for whole in wholes if whole is not None}:
        margins = [
            _signed_confidence(probabilities[..., k], thresholds[k])
            for k, found in enumerate(wholes)
            if found == whole
        ]
        inner = np.abs(np.maximum.reduce(margins))
        np.copyto(sure, np.minimum(sure, inner), where=winner == whole)
    return sure


def _signed_confidence(probability: FloatArray, threshold: float) -> FloatArray:
    """`binary_confidence`, negative below the threshold."""
    claims = probability >= np.float32(threshold)
    sure = binary_confidence(probability, threshold)
    return np.where(claims, sure, -sure)
