# SPDX-License-Identifier: GPL-2.0-or-later
"""Mean-field inference in a dense CRF, over those pixels only whose label it can change.

Krähenbühl and Koltun, "Efficient inference in fully connected CRFs with Gaussian edge
potentials" (2011), with both kernels normalised symmetrically, as pydensecrf computes it by
default. The Gaussian kernel without colour, a few px wide, is summed as it is; the bilateral one
is filtered on a permutohedral lattice.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from . import crf_kernels as kernels
from .crf_settings import CrfSettings

FloatArray = NDArray[np.float32]
Mask = NDArray[np.bool_]

# A pixel whose class stays and leads by this share of all that its neighbours can pull, and by
# this energy at least, is settled: it goes on to pull others, and is not inferred for some steps.
_SETTLED = 0.9
_LEAST_LEAD = 7.0
# In every so many-th step all pixels are inferred: a front of classes may have come near.
_REVIEW = 8
# One in so many points is few enough to sum up the surroundings of each by itself.
_SPARSE = 8


def mean_field(
    features: FloatArray,
    unary: FloatArray,
    wanted: Mask,
    used: Mask,
    settings: CrfSettings,
    *,
    origin: tuple[int, int] = (0, 0),
    stop: Callable[[], None] = lambda: None,
) -> FloatArray:
    """Marginals of the classes after inference.

    Parameters
    ----------
    features : ndarray of float32, shape (H, W, B)
        Bands of the image in units of a value range of 255.
    unary : ndarray of float32, shape (H, W, K)
        Distribution over the classes; every pixel's sums to 1.
    wanted : ndarray of bool, shape (H, W)
        Pixels whose marginals are inferred; those of others stay their unary.
    used : ndarray of bool, shape (H, W)
        Pixels that have influence; contains `wanted`.
    settings : CrfSettings
        The model.
    origin : tuple of int
        Row and column of the first pixel in the raster, where the lattice is anchored.
    stop : callable
        Called before each step; may raise.

    Returns
    -------
    ndarray of float32, shape (H, W, K)
    """
    classes = unary.shape[2]
    unary = np.ascontiguousarray(unary)  # compiled once, for this order of the axes
    marginals = unary.reshape(-1, classes).copy()
    marginals[~used.ravel()] = 0
    pixels = np.flatnonzero(used.ravel())
    points = np.flatnonzero(wanted.ravel()[pixels])
    energies = np.log(np.maximum(unary.reshape(-1, classes), np.float32(1e-20)))
    corners, shares, neighbours = kernels.embed(
        _places(features, pixels, origin, settings), _multipliers(features.shape[-1] + 2)
    )
    rows = neighbours.shape[1] + 1  # the last one stands for absent neighbours
    shares *= _balance(corners, shares, neighbours)[:, np.newaxis]
    plane = _Plane(used, classes, settings)
    fixed = np.ones(len(pixels), bool)
    fixed[points] = False
    alone = np.zeros((rows, classes), np.float32)
    kernels.splat(alone, marginals, pixels, np.flatnonzero(fixed), corners, shares)
    base, spread, other = alone, np.empty_like(alone), np.empty_like(alone)
    pull = shares * np.float32(settings.compat)
    enough = max(_SETTLED * (settings.compat + settings.compat_gaussian), _LEAST_LEAD)
    everyone = points
    for step in range(settings.iterations):
        stop()
        if step % _REVIEW == 0:
            points, base = everyone, alone.copy()
        spread[:] = base
        kernels.splat(spread, marginals, pixels, points, corners, shares)
        blurred = kernels.blur(spread, other, neighbours)
        settled = np.zeros(len(points), bool)
        changed = kernels.update(
            *(marginals, energies, plane.smooth_at(marginals, pixels, points), plane.pull),
            *(blurred, pixels, points, corners, pull, np.float32(enough), settled),
        )
        if not changed:
            break
        kernels.splat(base, marginals, pixels, points[settled], corners, shares)
        points = points[~settled]
    result = marginals.reshape(unary.shape)
    result[~used] = unary[~used]
    return result


class _Plane:
    """The Gaussian kernel that knows no colour, over the pixels that have influence."""

    def __init__(self, used: Mask, classes: int, settings: CrfSettings) -> None:
        radius = math.ceil(2 * settings.sxy_gaussian)
        steps = np.arange(-radius, radius + 1) / settings.sxy_gaussian
        self._line = np.exp(-0.5 * steps**2).astype(np.float32)
        self._shape = used.shape
        self._radius = radius
        self._near = np.ones(used.size, np.float32)
        density = self._buffers(1).smooth(used.reshape(-1, 1).astype(np.float32))[:, 0]
        balance = 1 / np.sqrt(np.maximum(density, np.float32(1e-20)))
        self._near = np.where(used.ravel(), balance, 0).astype(np.float32)
        self.pull = self._near * np.float32(settings.compat_gaussian)
        self._buffers(classes)

    def _buffers(self, classes: int) -> _Plane:
        height, width = self._shape
        margin = 2 * self._radius
        self._padded = np.zeros((height + margin, (width + margin) * classes), np.float32)
        self._across = np.empty((height + margin, width * classes), np.float32)
        self._found = np.empty((height, width * classes), np.float32)
        return self

    def smooth_at(
        self, marginals: FloatArray, pixels: NDArray[np.int64], points: NDArray[np.int64]
    ) -> FloatArray:
        """Sum of the balanced marginals around the points, shape (H * W, K); elsewhere anything."""
        if len(points) * _SPARSE > len(marginals):
            return self.smooth(marginals)
        found = self._found.reshape(marginals.shape)
        kernels.smooth_at(marginals, self._near, found, self._line, self._shape, pixels, points)
        return found

    def smooth(self, marginals: FloatArray) -> FloatArray:
        """Sum of the balanced marginals around each pixel, shape (H * W, K)."""
        height, width = self._shape
        r, classes = self._radius, marginals.shape[1]
        inside = self._padded[r : r + height, r * classes : (r + width) * classes]
        balanced = marginals * self._near[:, np.newaxis]
        inside[:] = balanced.reshape(height, -1)
        kernels.smooth(self._padded, self._across, self._found, self._line)
        return self._found.reshape(-1, classes)


def _places(
    features: FloatArray, pixels: NDArray[np.int64], origin: tuple[int, int], settings: CrfSettings
) -> FloatArray:
    """Column, row and bands of each pixel in standard deviations, shape (N, 2 + B)."""
    places = np.empty((len(pixels), 2 + features.shape[-1]), np.float32)
    rows, cols = np.divmod(pixels, features.shape[1])
    places[:, 0], places[:, 1] = cols + origin[1], rows + origin[0]
    places[:, :2] /= settings.sxy
    places[:, 2:] = features.reshape(-1, features.shape[-1])[pixels]
    places[:, 2:] /= settings.srgb
    return places


def _multipliers(dimensions: int) -> NDArray[np.uint64]:
    generator = np.random.default_rng(dimensions)
    return generator.integers(0, 2**63, dimensions, np.uint64) * 2 + np.uint64(1)


def _balance(
    corners: NDArray[np.int32], shares: FloatArray, neighbours: NDArray[np.int32]
) -> FloatArray:
    """Factor of each point that normalises the filter symmetrically."""
    ones = np.ones((len(corners), 1), np.float32)
    spread = np.zeros((neighbours.shape[1] + 1, 1), np.float32)
    everyone = np.arange(len(corners))
    kernels.splat(spread, ones, everyone, everyone, corners, shares)
    blurred = kernels.blur(spread, np.empty_like(spread), neighbours)
    found = kernels.density(blurred, corners, shares)
    balance: FloatArray = (1 / np.sqrt(np.maximum(found, 1e-20))).astype(np.float32)
    return balance
