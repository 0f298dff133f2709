# SPDX-License-Identifier: GPL-2.0-or-later
"""Several probabilities of one pixel become one class: pure functions on arrays.

Each rule leaves a pixel that no class may have as "unknown", which is a class of its own: its
value is that of no other class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import JobError
from .fuse import class_mask, independent_channels
from .fuse import confidence as class_confidence
from .model_card import NODATA_VALUE, UNKNOWN_VALUE

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]

COURSE_LARGEST_SUM = 8

# What is certainly not a class is never mapped as it, whatever the thresholds are.
_ABOVE_NOTHING = float(np.finfo(np.float32).tiny)

_MOST_CLAIM = 1e6
_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))

# Least ratio between the probabilities of a part and of the rest of its class, so that the
# decision survives their rounding to steps of 1/254.
_GAP = 1.05


@dataclass(frozen=True)
class FusionRules:
    """How the probabilities of K classes become one class.

    Parameters
    ----------
    method : str
        A key of `FUSION_METHODS`.
    values : tuple of int
        Value of each class in the map, 1-254.
    thresholds : tuple of float
        Probability, 0-1, from which each class claims a pixel.
    priority : tuple of int
        Channels of the classes, the first one first; those left out follow in their order. It
        counts in the method "priority" alone.
    unknown_threshold : float, optional
        Probability, 0-1, below which no class is given, whatever its own threshold. None gives
        none where no class claims the pixel by its own threshold.
    wholes : tuple of int or None
        For each class the channel of the class that contains it, None where none does; empty
        where no class contains another. A part takes a pixel only from its whole, and only where
        it reaches its own threshold; with the method "priority" it comes just before its whole,
        unless `priority` names it. "course_sum" ignores parts.

    Raises
    ------
    JobError
        If the fields contradict each other.
    """

    method: str
    values: tuple[int, ...]
    thresholds: tuple[float, ...]
    priority: tuple[int, ...] = ()
    unknown_threshold: float | None = 0.0
    wholes: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        """Refuse rules that decide nothing."""
        if self.method not in FUSION_METHODS:
            raise JobError(
                f"The method {self.method!r} is unknown; choose one of {', '.join(FUSION_METHODS)}."
            )
        if not self.values or len(set(self.values)) != len(self.values):
            raise JobError(f"Classes need values of their own, but have {list(self.values)}.")
        if not all(UNKNOWN_VALUE < value < NODATA_VALUE for value in self.values):
            raise JobError(
                f"Classes have values from 1 to 254 (0 is unknown, 255 nodata), not "
                f"{list(self.values)}."
            )
        if len(self.thresholds) != len(self.values):
            raise JobError(
                f"{len(self.values)} classes need as many thresholds, not {len(self.thresholds)}."
            )
        numbers = [*self.thresholds, self.unknown_threshold or 0.0]
        if not all(0 <= limit <= 1 for limit in numbers):
            raise JobError(f"Thresholds lie from 0 to 1, not {numbers}.")
        channels = range(len(self.values))
        if len(set(self.priority)) != len(self.priority) or not set(self.priority) <= set(channels):
            raise JobError("The priority names a class twice, or one that is not there.")
        if self.wholes and len(self.wholes) != len(self.values):
            raise JobError(f"{len(self.values)} classes need as many wholes, not {self.wholes}.")
        if not {whole for whole in self.wholes if whole is not None} <= set(self.independent):
            raise JobError("A class is part of one that is not there, or that is a part itself.")

    @property
    def limits(self) -> tuple[float, ...]:
        """Probability from which each class claims a pixel, no lower than the unknown threshold."""
        least = max(self.unknown_threshold or 0.0, _ABOVE_NOTHING)
        return tuple(max(limit, least) for limit in self.thresholds)

    @property
    def independent(self) -> tuple[int, ...]:
        """Channels of the classes that are no parts."""
        return independent_channels(len(self.values), self.wholes)

    @property
    def order(self) -> tuple[int, ...]:
        """All channels by priority."""
        named = self.priority
        ordered: list[int] = []
        for channel in (*named, *(k for k in self.independent if k not in named)):
            parts = (k for k, whole in enumerate(self.wholes) if whole == channel)
            ordered += [*(k for k in parts if k not in named), channel]
        return tuple(ordered)

    @property
    def least(self) -> float:
        """Probability from which `argmax` gives a class: of a single one its own threshold.

        Parts do not count, as they are not rivals of the class that contains them.
        """
        if len(self.independent) == 1:
            return self.limits[self.independent[0]]
        return max(self.unknown_threshold or 0.0, _ABOVE_NOTHING)

    @property
    def may_be_unknown(self) -> bool:
        """Whether `argmax` may leave a pixel unknown that has a probability above 0."""
        return self.unknown_threshold is None or self.least > _ABOVE_NOTHING


def fuse(probabilities: FloatArray, rules: FusionRules, valid: NDArray[np.bool_]) -> ByteArray:
    """Decide the class of each pixel.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (H, W, K)
        Probability of each class, 0-1; one-vs-rest, so they need not sum to 1.
    rules : FusionRules
        The method and its numbers.
    valid : ndarray of bool, shape (H, W)
        False at nodata.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Class values; 0 where the class is unknown, 255 at nodata.
    """
    classes = FUSION_METHODS[rules.method](probabilities, rules)
    classes[~valid] = NODATA_VALUE
    return classes


def argmax(probabilities: FloatArray, rules: FusionRules) -> ByteArray:
    """The most probable class; of equal ones the first. Its own threshold does not count.

    But that of a single class, which has no other to be less probable than, and that of a part.
    """
    limits = list(rules.limits)
    for channel in rules.independent:
        limits[channel] = rules.least
    classes = class_mask(probabilities, rules.values, limits, rules.wholes)
    if rules.unknown_threshold is None:
        classes[_largest_claim(probabilities, rules) < 1] = UNKNOWN_VALUE
    return classes


def _largest_claim(probabilities: FloatArray, rules: FusionRules) -> FloatArray:
    """The largest ratio of a class's probability to its threshold; from 1 on a class claims."""
    largest = np.zeros(probabilities.shape[:-1], np.float32)
    for channel in rules.independent:
        limit = np.float32(rules.limits[channel])
        plane = probabilities[..., channel]
        ratio = np.minimum(plane / limit, np.float32(_MOST_CLAIM))
        # A quotient of floats near 1 may be rounded to it, or off it.
        np.copyto(ratio, np.maximum(ratio, np.float32(1)), where=plane >= limit)
        np.copyto(ratio, np.minimum(ratio, _BELOW_ONE), where=plane < limit)
        np.maximum(largest, ratio, out=largest)
    return largest


def unknown_probability(probabilities: FloatArray, rules: FusionRules) -> FloatArray | float:
    """Probability of "unknown" beside those of the classes; 0 where `argmax` names all pixels.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (H, W, K)
        Probability of each class against the rest, 0-1.
    rules : FusionRules
        Their thresholds.

    Returns
    -------
    float or ndarray of float32, shape (H, W)
        The unknown threshold where there is one. Else that of the best class over the largest
        ratio of a class to its threshold: the threshold, where both are of one class. It is above
        the best class exactly where no class claims the pixel.
    """
    if rules.unknown_threshold is not None or len(rules.independent) == 1:
        return rules.least if rules.may_be_unknown else 0.0
    best = probabilities[..., rules.independent[0]]
    for channel in rules.independent[1:]:
        best = np.maximum(best, probabilities[..., channel])
    claim = np.maximum(_largest_claim(probabilities, rules), np.float32(1 / _MOST_CLAIM))
    found: FloatArray = np.minimum(best / claim, 1)
    return np.where(claim < 1, np.maximum(found, np.nextafter(best, np.float32(2))), found)


def priority(probabilities: FloatArray, rules: FusionRules) -> ByteArray:
    """The first class of an ordered list that claims the pixel, however sure the others are."""
    classes = np.full(probabilities.shape[:-1], UNKNOWN_VALUE, np.uint8)
    for channel in reversed(rules.order):
        claimed = probabilities[..., channel] >= np.float32(rules.limits[channel])
        np.copyto(classes, np.uint8(rules.values[channel]), where=claimed)
    return classes


def threshold(probabilities: FloatArray, rules: FusionRules) -> ByteArray:
    """The most probable of the classes that claim the pixel; of equal ones the first."""
    return class_mask(probabilities, rules.values, rules.limits, rules.wholes)


def course_sum(probabilities: FloatArray, rules: FusionRules) -> ByteArray:
    """The sum of the values of all classes above their thresholds; 0 where it exceeds 8.

    Notes
    -----
    Kept to reproduce the course's maps. Sums alias: where the classes 1 and 2 are both claimed,
    the pixel reads as class 3, or as a value that no class has.
    """
    total = np.zeros(probabilities.shape[:-1], np.int32)
    for channel, (value, limit) in enumerate(zip(rules.values, rules.thresholds)):
        plane = probabilities[..., channel]
        sure = plane >= np.float32(rules.unknown_threshold or 0.0)
        total += value * ((plane > np.float32(limit)) & sure)
    total[total > COURSE_LARGEST_SUM] = UNKNOWN_VALUE
    return total.astype(np.uint8)


FusionMethod = Callable[[FloatArray, FusionRules], ByteArray]

FUSION_METHODS: dict[str, FusionMethod] = {
    "argmax": argmax,
    "priority": priority,
    "threshold": threshold,
    "course_sum": course_sum,
}


def conflict(probabilities: FloatArray, rules: FusionRules) -> ByteArray:
    """How many classes claim each pixel: more than one is a conflict.

    A class and one of its parts do not contradict each other, and count as one.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (H, W, K)
        Probability of each class, 0-1.
    rules : FusionRules
        Their thresholds; the method does not count.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        The number, 0 to K.
    """
    claimed = [probabilities[..., k] >= np.float32(limit) for k, limit in enumerate(rules.limits)]
    claims = np.zeros(probabilities.shape[:-1], np.uint8)
    for channel in rules.independent:
        parts = np.zeros_like(claims)
        for part, whole in enumerate(rules.wholes):
            if whole == channel:
                parts += claimed[part]
        claims += np.maximum(parts, claimed[channel])
    return claims


def exclusive(probabilities: FloatArray, rules: FusionRules) -> FloatArray:
    """Probabilities of classes that exclude each other: a class with parts becomes its rest.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (H, W, K)
        Probability of each class against the rest, 0-1.
    rules : FusionRules
        Their thresholds, and which class is part of which.

    Returns
    -------
    ndarray of float32, shape (H, W, K)
        Of a class with parts, the probability goes to the one that `argmax` would give the pixel
        where that class wins: the part that is most above its threshold, or the class without its
        parts. The others have less by their odds at the threshold. The same array without parts.
    """
    containing = {whole for whole in rules.wholes if whole is not None}
    if not containing:
        return probabilities
    planes = np.moveaxis(probabilities, -1, 0).copy()
    for whole in containing:
        parts = [k for k, found in enumerate(rules.wholes) if found == whole]
        weights = _weights(np.stack([planes[k] for k in parts]), [rules.limits[k] for k in parts])
        shares = planes[whole] / np.maximum(1, weights.max(axis=0))
        planes[parts] = weights * shares
        planes[whole] = shares
    return np.moveaxis(planes, 0, -1)


def _weights(planes: FloatArray, limits: Sequence[float]) -> FloatArray:
    """Weights of parts, shape (K, H, W), beside a weight of 1 of the rest of their class.

    They are the odds at the thresholds, above 1 where a part claims the pixel, else below. Of
    several claims the highest probability has the highest weight.
    """
    limit = np.array(limits, np.float32)[:, np.newaxis, np.newaxis]
    p, t = (np.clip(values, 1e-6, 1 - 1e-6) for values in (planes, limit))
    odds = p / (1 - p) * ((1 - t) / t)
    claims = planes >= limit
    highest = np.maximum(odds, _GAP).max(axis=0, where=claims, initial=1)
    best = planes.max(axis=0, where=claims, initial=_ABOVE_NOTHING)
    weights: FloatArray = np.where(claims, highest * (planes / best), np.minimum(odds, 1 / _GAP))
    return weights.astype(np.float32, copy=False)


def renormalised(probabilities: FloatArray, unknown: FloatArray | float = 0.0) -> FloatArray:
    """Probabilities that sum to 1 in each pixel.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (H, W, K)
        Probability of each class against the rest, 0-1.
    unknown : float or ndarray of float32, shape (H, W)
        Probability of one class more, "unknown", from `unknown_probability`: with it the likeliest
        class is the one that `argmax` gives. 0 adds none.

    Returns
    -------
    ndarray of float32, shape (H, W, K) or (H, W, K + 1)
        Each over their sum; 0 for all where all are 0, as nothing speaks for any class. A single
        class keeps its probability: what it lacks is its rest's.
    """
    if probabilities.shape[-1] == 1:
        return probabilities
    planes = np.moveaxis(probabilities, -1, 0)
    if isinstance(unknown, np.ndarray) or unknown > 0:
        plane = np.broadcast_to(np.asarray(unknown, np.float32), planes.shape[1:])
        planes = np.concatenate([planes, plane[np.newaxis]])
    total = planes.sum(axis=0, dtype=np.float32)
    nothing = total < _ABOVE_NOTHING
    shares: FloatArray = (planes / np.where(nothing, 1, total)).astype(np.float32)
    shares[:, nothing] = 0
    return np.moveaxis(shares, 0, -1)


def confidence(probabilities: FloatArray, rules: FusionRules) -> FloatArray:
    """How far the best class is ahead of the second; of a single one, of its threshold.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (H, W, K)
        Probability of each class, 0-1.
    rules : FusionRules
        Their thresholds, and which class is part of which; see `fuse.confidence`.

    Returns
    -------
    ndarray of float32, shape (H, W)
        The lead, 0-1.
    """
    return class_confidence(probabilities, rules.limits, rules.wholes)


def entropy(probabilities: FloatArray) -> FloatArray:
    """How undecided each pixel is.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (H, W, K)
        Probability of each class against the rest, 0-1.

    Returns
    -------
    ndarray of float32, shape (H, W)
        Shannon's entropy of the renormalised probabilities over that of K equal ones: 0 where
        one class has everything, 1 where all have the same. A single class counts with its rest.

    References
    ----------
    C. E. Shannon, "A mathematical theory of communication", 1948.
    """
    if probabilities.shape[-1] == 1:
        probabilities = np.concatenate([probabilities, 1 - probabilities], axis=-1)
    shares = np.moveaxis(renormalised(probabilities), -1, 0)
    total = np.zeros(shares.shape[1:], np.float32)
    for share in shares:
        total -= share * np.log(np.maximum(share, np.float32(_ABOVE_NOTHING)))
    undecided: FloatArray = np.clip(total / np.float32(np.log(len(shares))), 0, 1)
    undecided[~shares.any(axis=0)] = 1
    return undecided


def merged(probabilities: FloatArray, groups: Sequence[Sequence[int]]) -> FloatArray:
    """Probabilities of classes that several channels tell: the highest of them.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (H, W, C)
        One channel a source.
    groups : sequence of sequence of int
        Channels of each class.

    Returns
    -------
    ndarray of float32, shape (H, W, K)
        One channel a class: what was given, where each class has a channel of its own.
    """
    if [list(group) for group in groups] == [[k] for k in range(probabilities.shape[-1])]:
        return probabilities
    planes = np.moveaxis(probabilities, -1, 0)
    highest: FloatArray = np.stack([planes[list(group)].max(axis=0) for group in groups])
    return np.moveaxis(highest, 0, -1)
