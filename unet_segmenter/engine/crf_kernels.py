# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiled loops of the dense CRF: the only importer of numba.

The lattice is that of Adams, Baek and Davis, "Fast high-dimensional filtering using the
permutohedral lattice" (2010): pixels are spread over the corners of the simplex that holds their
features, the corners are blurred along each direction, and gathered again. No function holds
Python's lock, so threads compute at once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_EMPTY = np.int32(-1)
# Logarithm of a share that no 32-bit sum would notice.
_NOTHING = np.float32(-25)
# Pixels whose marginals are normalised together; what they need stays in the nearest cache.
_ROWS = 256
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _compiler(**options: bool) -> Any:
    """A decorator that compiles at the first call, and keeps what it made where it can.

    numba keeps it beside this file or in the user's cache (NUMBA_CACHE_DIR names another folder).
    A user of a server may be able to write neither: then each run compiles anew, for some seconds.
    """

    def compiled(function: Any) -> Any:
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # numba's word for "no folder to write to"
            return njit(nogil=True, **options)(function)

    return compiled


compiled = _compiler()
compiled_fast = _compiler(fastmath=True)


@compiled
def _find(key, table, owners, shift):  # type: ignore[no-untyped-def]
    """Place of a key in the hash table, or of the hole where it belongs."""
    mask = table.shape[0] - 1
    place = np.int64((key * _GOLDEN) >> shift) & mask
    while owners[place] != _EMPTY and table[place] != key:
        place = (place + 1) & mask
    return place


@compiled
def _doubled(table, owners):  # type: ignore[no-untyped-def]
    """The hash table with twice the room, and its shift."""
    size = 2 * table.shape[0]
    shift = np.uint64(64)
    while size >> (64 - np.int64(shift)) > 1:
        shift -= np.uint64(1)
    more, numbers = np.zeros(size, np.uint64), np.full(size, _EMPTY, np.int32)
    for place in range(table.shape[0]):
        if owners[place] != _EMPTY:
            target = _find(table[place], more, numbers, shift)
            more[target], numbers[target] = table[place], owners[place]
    return more, numbers, shift


@compiled
def _simplex(feature, scale, elevated, rounded, rank, weights):  # type: ignore[no-untyped-def]
    """Fill the simplex that holds a feature: its origin, order and the corners' weights."""
    d = feature.shape[0]
    total = np.float32(0)
    for j in range(d, 0, -1):
        part = feature[j - 1] * scale[j - 1]
        elevated[j] = total - j * part
        total += part
    elevated[0] = total
    excess = 0
    for i in range(d + 1):  # the nearest point whose coordinates are multiples of d + 1
        nearest = math.floor(elevated[i] / (d + 1))
        if (nearest + 1) * (d + 1) - elevated[i] < elevated[i] - nearest * (d + 1):
            nearest += 1
        rounded[i] = nearest * (d + 1)
        excess += int(nearest)
    rank[:] = excess
    for i in range(d):
        rest = elevated[i] - rounded[i]
        for j in range(i + 1, d + 1):
            if rest < elevated[j] - rounded[j]:
                rank[i] += 1
            else:
                rank[j] += 1
    for i in range(d + 1):  # back onto the plane where coordinates sum to 0
        if rank[i] < 0:
            rank[i] += d + 1
            rounded[i] += d + 1
        elif rank[i] > d:
            rank[i] -= d + 1
            rounded[i] -= d + 1
    weights[:] = 0
    for i in range(d + 1):
        part = (elevated[i] - rounded[i]) / (d + 1)
        weights[d - rank[i]] += part
        weights[d + 1 - rank[i]] -= part
    weights[0] += 1 + weights[d + 1]


@compiled
def embed(features, multipliers):  # type: ignore[no-untyped-def]
    """Corners (N, D + 1) of the pixels' simplices and their weights, and neighbours of corners.

    A corner's key is the sum of its coordinates times odd random numbers: all that is needed to
    tell corners apart, and a neighbour's key is a difference away. Neighbours have the shape
    (D + 1, M, 2); -1 stands for none.
    """
    count, d = features.shape
    corners = np.empty((count, d + 1), np.int32)
    shares = np.empty((count, d + 1), np.float32)
    table, owners, shift = _doubled(np.zeros(512, np.uint64), np.full(512, _EMPTY, np.int32))
    used = 0
    scale = np.empty(d, np.float32)
    for i in range(d):
        scale[i] = math.sqrt(2.0 / 3.0) * (d + 1) / math.sqrt((i + 1.0) * (i + 2.0))
    elevated, rounded = np.empty(d + 1, np.float32), np.empty(d + 1, np.float32)
    rank, weights = np.empty(d + 1, np.int64), np.empty(d + 2, np.float32)
    for n in range(count):
        _simplex(features[n], scale, elevated, rounded, rank, weights)
        if 2 * (used + d + 1) > table.shape[0]:
            table, owners, shift = _doubled(table, owners)
        for corner in range(d + 1):
            key = np.uint64(0)
            for i in range(d):
                step = corner if rank[i] <= d - corner else corner - (d + 1)
                key += np.uint64(np.int64(rounded[i]) + step) * multipliers[i]
            place = _find(key, table, owners, shift)
            if owners[place] == _EMPTY:
                owners[place], table[place] = used, key
                used += 1
            corners[n, corner] = owners[place]
            shares[n, corner] = weights[corner]
    return corners, shares, _neighbours(table, owners, shift, used, multipliers)


@compiled
def _neighbours(table, owners, shift, used, multipliers):  # type: ignore[no-untyped-def]
    d = multipliers.shape[0]
    found = np.empty((d + 1, used, 2), np.int32)
    keys = np.empty(used, np.uint64)
    for place in range(table.shape[0]):
        if owners[place] != _EMPTY:
            keys[owners[place]] = table[place]
    ones = np.uint64(0)
    for i in range(d):
        ones += multipliers[i]
    for j in range(d + 1):
        step = np.uint64(0) - ones
        if j < d:
            step += np.uint64(d + 1) * multipliers[j]
        for number in range(used):
            found[j, number, 0] = owners[_find(keys[number] + step, table, owners, shift)]
            found[j, number, 1] = owners[_find(keys[number] - step, table, owners, shift)]
    return found


@compiled_fast
def splat(spread, values, pixels, points, corners, shares):  # type: ignore[no-untyped-def]
    """Add the values of some points, numbers into `corners`, to the corners of their simplex."""
    classes = spread.shape[1]
    for n in points:
        pixel = pixels[n]
        for corner in range(corners.shape[1]):
            number, share = corners[n, corner], shares[n, corner]
            for k in range(classes):
                spread[number, k] += share * values[pixel, k]


@compiled_fast
def blur(spread, other, neighbours):  # type: ignore[no-untyped-def]
    """Blur along each direction; the last row stays 0 and stands for absent neighbours."""
    classes = spread.shape[1]
    half = np.float32(0.5)
    other[-1] = 0
    for j in range(neighbours.shape[0]):
        for number in range(neighbours.shape[1]):
            left, right = neighbours[j, number, 0], neighbours[j, number, 1]
            for k in range(classes):
                other[number, k] = spread[number, k] + half * (spread[left, k] + spread[right, k])
        spread, other = other, spread
    return spread


@compiled_fast
def density(blurred, corners, shares):  # type: ignore[no-untyped-def]
    """Gather one blurred number of each point, shape (N,)."""
    found = np.zeros(corners.shape[0], np.float32)
    for n in range(corners.shape[0]):
        for corner in range(corners.shape[1]):
            found[n] += shares[n, corner] * blurred[corners[n, corner], 0]
    return found


@compiled_fast
def smooth(padded, across, found, line):  # type: ignore[no-untyped-def]
    """Gaussian of each pixel's neighbourhood in the plane, one axis after the other.

    `padded` holds rows of W * K values, with S // 2 empty rows and pixels around them, where S
    is the length of `line`; `found` gets shape (H, W * K), and `across` is room to work in.
    """
    height, length = found.shape
    classes = (padded.shape[1] - length) // (line.shape[0] - 1)
    for row in range(padded.shape[0]):
        for i in range(length):
            across[row, i] = line[0] * padded[row, i]
        for tap in range(1, line.shape[0]):
            for i in range(length):
                across[row, i] += line[tap] * padded[row, i + tap * classes]
    for row in range(height):
        for i in range(length):
            found[row, i] = line[0] * across[row, i]
        for tap in range(1, line.shape[0]):
            for i in range(length):
                found[row, i] += line[tap] * across[row + tap, i]


@compiled_fast
def smooth_at(  # type: ignore[no-untyped-def]
    marginals, balance, found, line, shape, pixels, points
):
    """Gaussian of the balanced marginals as `smooth` computes it, at some points only.

    `marginals` and `found` have the shape (H * W, K) with (H, W) = `shape`.
    """
    height, width = shape
    radius, classes = line.shape[0] // 2, marginals.shape[1]
    for n in points:
        pixel = pixels[n]
        row, col = pixel // width, pixel % width
        for k in range(classes):
            found[pixel, k] = 0
        for r in range(max(0, row - radius), min(height, row + radius + 1)):
            for c in range(max(0, col - radius), min(width, col + radius + 1)):
                near = r * width + c
                share = line[r - row + radius] * line[c - col + radius] * balance[near]
                for k in range(classes):
                    found[pixel, k] += share * marginals[near, k]


@compiled_fast
def _exponential(power):  # type: ignore[no-untyped-def]
    """The exponential of a number that is not above 0, to a relative 1e-4 down to e^-25."""
    part = max(power, _NOTHING) * np.float32(1 / 256)
    value = np.float32(1) + part * (
        np.float32(1) + part * (np.float32(1 / 2) + part * np.float32(1 / 6))
    )
    for _ in range(8):
        value *= value
    return value


@compiled_fast
def _gather(sums, blurred, corners, shares):  # type: ignore[no-untyped-def]
    """Add to the sums of a point what the corners of its simplex hold."""
    for corner in range(corners.shape[0]):
        number, share = corners[corner], shares[corner]
        for k in range(sums.shape[0]):
            sums[k] += share * blurred[number, k]


@compiled_fast
def _highest(values):  # type: ignore[no-untyped-def]
    best = 0
    for k in range(1, values.shape[0]):
        if values[k] > values[best]:
            best = k
    return best


@compiled_fast
def update(  # type: ignore[no-untyped-def]
    marginals, energies, smoothed, near, blurred, pixels, points, corners, shares, enough, settled
):
    """Renew the marginals of some points; returns how many of them change their label.

    `energies` are the logarithms of the unary; `shares` and `near` hold the factors of the
    bilateral and of the Gaussian kernel. `settled`, one flag a point of `points`, is set where
    the label stays and leads by `enough` or more, in units of energy.
    """
    classes = marginals.shape[1]
    changed = 0
    rows = np.empty((_ROWS, classes), np.float32)
    flat = rows.ravel()
    for start in range(0, points.shape[0], _ROWS):
        some = points[start : start + _ROWS]
        for place in range(some.shape[0]):
            n = some[place]
            pixel = pixels[n]
            sums = rows[place]
            for k in range(classes):
                sums[k] = energies[pixel, k] + near[pixel] * smoothed[pixel, k]
            _gather(sums, blurred, corners[n], shares[n])
            best = _highest(sums)
            stays = best == _highest(marginals[pixel])
            changed += not stays
            highest = sums[best]
            lead = np.float32(np.inf)
            for k in range(classes):
                sums[k] -= highest
                if k != best:
                    lead = min(lead, -sums[k])
            settled[start + place] = stays and lead >= enough
        for i in range(some.shape[0] * classes):  # in one row, so that many are done in a step
            flat[i] = _exponential(flat[i])
        for place in range(some.shape[0]):
            found = marginals[pixels[some[place]]]
            total = np.float32(0)
            for k in range(classes):
                total += rows[place, k]
            total = np.float32(1) / total
            for k in range(classes):
                found[k] = rows[place, k] * total
    return changed
