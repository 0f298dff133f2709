# SPDX-License-Identifier: GPL-2.0-or-later
"""From logits at a network's own resolution to probabilities of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .model_card import ModelClass
from .predict import calibrate

FloatArray = NDArray[np.float32]

_CELLS_DOWN, _CELLS_ACROSS = 8, 32
"""Cells that are enlarged at a time: few, as all but three weights a pixel are 0."""
_PRODUCTS = 1 << 18
"""Products up to which BLAS multiplies matrices in the calling thread. Blocks are computed on all
cores already, and threads that wait for each other at every small matrix cost twice the time."""
_ROWS = 64
"""Rows of pixels that pass through the sigmoid at a time: as much as the cache holds."""


def enlarge(cells: FloatArray, doublings: int) -> FloatArray:
    """Double planes so often, each time by repeating cells and averaging 3 x 3 of them.

    Parameters
    ----------
    cells : ndarray of float32, shape (K, H + 2, W + 2)
        Planes with one cell around what is wanted. Beyond the image's edge it repeats the cell
        at the edge, which is what leaving out the padding in an average comes to.
    doublings : int
        How often.

    Returns
    -------
    ndarray of float32, shape (K, H * 2**doublings, W * 2**doublings)
    """
    if doublings == 0:
        return np.ascontiguousarray(cells[:, 1:-1, 1:-1])
    tall = _along_rows(cells, doublings)
    planes, height, across = tall.shape
    factor = 2**doublings
    wide = np.empty((planes, height, (across - 2) * factor), np.float32)
    for first in range(0, across - 2, _CELLS_ACROSS):
        count = min(_CELLS_ACROSS, across - 2 - first)
        weights = _weights(count, doublings)
        few = _rows_a_call(planes * height, weights.size)
        source, target = tall.reshape(-1, few, across), wide.reshape(-1, few, wide.shape[2])
        columns = slice(first * factor, (first + count) * factor)
        np.matmul(source[..., first : first + count + 2], weights.T, out=target[..., columns])
    return wide


def probabilities_of(
    cells: FloatArray, doublings: int, activation: str, classes: Sequence[ModelClass]
) -> FloatArray:
    """Calibrated probabilities of pixels.

    Parameters
    ----------
    cells : ndarray of float32, shape (K, H + 2, W + 2)
        Logits of all channels, as `enlarge` takes them.
    doublings : int
        How often their resolution is doubled.
    activation : str
        "sigmoid" or "softmax".
    classes : sequence of ModelClass
        Classes wanted: which channels, and how they are calibrated.

    Returns
    -------
    ndarray of float32, shape (len(classes), H * 2**doublings, W * 2**doublings)
        Probabilities, 0-1.
    """
    channels = [c.channel for c in classes]
    if activation == "softmax":
        shares = _softmax(enlarge(cells, doublings))[channels]
        calibrated = calibrate(np.moveaxis(shares, 0, -1), [c.calibration for c in classes])
        return np.moveaxis(calibrated, -1, 0)
    # A straight line of the logits may be drawn before they are averaged: there are fewer.
    slope = np.array([-c.calibration.scale for c in classes], np.float32)
    offset = np.array([-c.calibration.offset for c in classes], np.float32)
    exponents = cells[channels] * slope[:, None, None] + offset[:, None, None]
    # Bounded, as exp overflows: below 1e-34 a probability is 0 to any use.
    np.minimum(exponents, np.float32(80), out=exponents)
    planes = enlarge(exponents, doublings)
    for plane in planes:
        for first in range(0, plane.shape[0], _ROWS):
            rows = plane[first : first + _ROWS]
            np.exp(rows, out=rows)
            rows += 1
            np.reciprocal(rows, out=rows)
    return planes


def _along_rows(cells: FloatArray, doublings: int) -> FloatArray:
    """Planes (K, H * 2**doublings, W + 2), enlarged downwards only."""
    planes, height, across = cells.shape
    factor = 2**doublings
    tall = np.empty((planes, (height - 2) * factor, across), np.float32)
    for first in range(0, height - 2, _CELLS_DOWN):
        count = min(_CELLS_DOWN, height - 2 - first)
        rows = slice(first * factor, (first + count) * factor)
        np.matmul(
            _weights(count, doublings), cells[:, first : first + count + 2], out=tall[:, rows]
        )
    return tall


def _rows_a_call(rows: int, weights: int) -> int:
    """The largest share of the rows that stays within `_PRODUCTS`."""
    most = max(_PRODUCTS // weights, 1)
    return next(few for few in range(min(most, rows), 0, -1) if rows % few == 0)


@cache
def _weights(count: int, doublings: int) -> FloatArray:
    """What each pixel takes of each cell along one axis, (count * 2**doublings, count + 2)."""
    weights = np.eye(count + 2)
    for _ in range(doublings):
        twice = np.repeat(weights, 2, axis=0)
        padded = np.concatenate([twice[:1], twice, twice[-1:]])
        weights = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    factor = 2**doublings
    return weights[factor:-factor].astype(np.float32)


def _softmax(logits: FloatArray) -> FloatArray:
    power = np.exp(logits - logits.max(axis=0))
    shares: FloatArray = power / power.sum(axis=0)
    return shares
