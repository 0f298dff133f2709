# SPDX-License-Identifier: GPL-2.0-or-later
"""Probabilities and other shares, 0-1, as the rasters keep them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .model_card import NODATA_VALUE

FloatArray = NDArray[np.float32]

PROBABILITY_STEPS = 254
"""A share of 1 as uint8."""


_ROWS = 64  # at a time: as much as the cache holds


def encode_shares(shares: FloatArray, wanted: NDArray[np.bool_], dtype: str) -> NDArray[np.generic]:
    """Shares as they are written.

    Parameters
    ----------
    shares : ndarray of float32, shape (K, H, W)
        Values 0-1.
    wanted : ndarray of bool, shape (H, W)
        False at nodata.
    dtype : str
        "uint8": steps of 1/254, 255 at nodata. "float32": NaN at nodata.

    Returns
    -------
    ndarray of that type, shape (K, H, W)
    """
    if dtype == "float32":
        return np.where(wanted, shares, np.float32(np.nan))
    steps: NDArray[np.uint8] = np.rint(shares * np.float32(PROBABILITY_STEPS)).astype(np.uint8)
    steps[:, ~wanted] = NODATA_VALUE
    return steps


def rounded_shares(shares: FloatArray, wanted: NDArray[np.bool_]) -> FloatArray:
    """What `decode_shares` makes of shares that `encode_shares` wrote as uint8.

    Parameters
    ----------
    shares : ndarray of float32, shape (K, H, W)
        Values 0-1; they are overwritten.
    wanted : ndarray of bool, shape (H, W)
        False at nodata, which becomes 0.
    """
    height = shares.shape[1]
    for plane in shares:
        for first in range(0, height, _ROWS):
            rows = plane[first : first + _ROWS]
            rows *= np.float32(PROBABILITY_STEPS)
            np.rint(rows, out=rows)
            rows /= np.float32(PROBABILITY_STEPS)
    if not wanted.all():
        shares[:, ~wanted] = 0
    return shares


def decode_shares(steps: NDArray[np.uint8]) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Shares of uint8 steps, float32 0-1, and which of them are no nodata; shapes as given."""
    valid = steps != NODATA_VALUE
    shares = np.where(valid, steps, np.uint8(0)).astype(np.float32)
    shares /= np.float32(PROBABILITY_STEPS)
    return shares, valid
