# SPDX-License-Identifier: GPL-2.0-or-later
"""Smooths class maps by what surrounds each pixel: pure functions on arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from .majority_job import MAX_RADIUS

ByteArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]
CountArray = NDArray[np.uint16]

# Side in px of the tiles that are filtered one by one: few classes meet in one, and its counts
# stay in the processor's cache.
_TILE = 256


def majority_filter(
    labels: ByteArray, radius: int, valid: BoolArray | None = None, *, method: str = "majority"
) -> ByteArray:
    """Give each pixel the most frequent class of the disk around it.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        Class values; "unknown" (0) is one of them.
    radius : int
        Radius of the disk in px, from 0 (nothing changes) to `MAX_RADIUS`. A pixel lies in the
        disk if its centre is no farther from the middle.
    valid : ndarray of bool, shape (H, W), optional
        False at nodata, which neither votes nor changes; all pixels count if not given.
    method : str
        One of `METHODS`: "majority", or "median" for the median of the class numbers.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Of classes that are equally frequent the pixel's own wins if it is among them, else the
        one with the lowest value. The array's edge is the edge of the disk.

    Notes
    -----
    No class comes out that the disk does not hold. That is true of the median as well, but the
    median is no vote: between many pixels of 1 and many of 6 a single one of 4 may win, as if
    the numbers of classes were amounts. It equals scikit-image's `rank.median` with a disk.

    Counts are sums of runs, a row of the disk each, from sums along the rows: the time grows with
    the radius, not with its square.

    Examples
    --------
    >>> majority_filter(np.array([[1, 1, 6], [1, 6, 1], [1, 1, 1]], np.uint8), 1).tolist()
    [[1, 1, 1], [1, 1, 1], [1, 1, 1]]
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"the radius must lie from 0 to {MAX_RADIUS} px, but it is {radius}")
    decide = METHODS[method]
    if valid is None:
        valid = np.ones(labels.shape, bool)
    result = labels.copy()
    for inner, outer, crop in _tiles(labels.shape, radius):
        seen = labels[outer]
        values = np.flatnonzero(np.bincount(seen[valid[outer]], minlength=1))
        if values.size > 1:
            found = decide(seen, valid[outer], radius, values)[crop]
            np.copyto(result[inner], found, where=valid[inner])
    return result


def _majority(
    labels: ByteArray, valid: BoolArray, radius: int, values: NDArray[np.intp]
) -> ByteArray:
    best = np.zeros(labels.shape, np.uint8)
    most = np.zeros(labels.shape, np.uint16)
    own = np.zeros(labels.shape, np.uint16)
    for value in values:
        there = (labels == value) & valid
        votes = disk_counts(there, radius)
        np.copyto(own, votes, where=there)
        np.copyto(best, np.uint8(value), where=votes > most)
        np.maximum(most, votes, out=most)
    np.copyto(best, labels, where=valid & (own == most))
    return best


def _median(
    labels: ByteArray, valid: BoolArray, radius: int, values: NDArray[np.intp]
) -> ByteArray:
    voters = disk_counts(valid, radius)
    half = voters // 2
    below = np.zeros(labels.shape, np.uint16)
    result = np.full(labels.shape, values[-1], np.uint8)
    open_ = np.ones(labels.shape, bool)
    for value in values:
        below += disk_counts((labels == value) & valid, radius)
        reached = open_ & (below > half)
        np.copyto(result, np.uint8(value), where=reached)
        open_ &= ~reached
    return result


Decide = Callable[[ByteArray, BoolArray, int, NDArray[np.intp]], ByteArray]

METHODS: dict[str, Decide] = {"majority": _majority, "median": _median}


def disk_counts(there: BoolArray, radius: int) -> CountArray:
    """How many pixels are true in the disk around each.

    Parameters
    ----------
    there : ndarray of bool, shape (H, W)
        What to count.
    radius : int
        Radius of the disk in px.

    Returns
    -------
    ndarray of uint16, shape (H, W)
    """
    height, width = there.shape
    sums = np.zeros((height + 2 * radius, width + 2 * radius + 1), np.uint16)
    # Sums may pass 2^16 and begin anew: differences of such numbers are right all the same.
    np.cumsum(
        there, axis=1, dtype=np.uint16, out=sums[radius : radius + height, radius + 1 :][:, :width]
    )
    sums[:, radius + width + 1 :] = sums[:, radius + width, None]
    counts = np.zeros(there.shape, np.uint16)
    for offset, reach in disk_rows(radius):
        rows = sums[radius + offset : radius + offset + height]
        counts += rows[:, radius + reach + 1 : radius + reach + 1 + width]
        counts -= rows[:, radius - reach : radius - reach + width]
    return counts


def disk_rows(radius: int) -> Iterator[tuple[int, int]]:
    """Each row of a disk: how far below the middle, and how far it reaches to both sides."""
    for offset in range(-radius, radius + 1):
        yield offset, math.isqrt(radius * radius - offset * offset)


def _tiles(
    shape: tuple[int, ...], radius: int
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], tuple[slice, slice]]]:
    """Slices of what each tile writes, of what it reads, and of the former within the latter."""
    side = max(_TILE, 4 * radius)
    height, width = shape
    for row in range(0, height, side):
        for col in range(0, width, side):
            spans = [_span(row, side, height, radius), _span(col, side, width, radius)]
            inner, outer, crop = (tuple(s[k] for s in spans) for k in range(3))
            yield inner, outer, crop  # type: ignore[misc]


def _span(start: int, side: int, length: int, radius: int) -> tuple[slice, slice, slice]:
    stop = min(start + side, length)
    low, high = max(0, start - radius), min(length, stop + radius)
    return slice(start, stop), slice(low, high), slice(start - low, stop - low)
