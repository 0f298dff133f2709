# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts how two class rasters agree, block by block: pure functions on arrays, and their sum."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .geometry import PixelWindow, Shape2D, ceil_to
from .metrics import BoundaryCounts, IntArray

ByteArray = NDArray[np.uint8]
VALUES = 256
_MAP_SIDE = 900


@dataclass(frozen=True)
class BlockPair:
    """A block of both rasters, with a margin around what counts.

    Parameters
    ----------
    claimed, true : ndarray of uint8, shape (H, W)
        Class values.
    mapped, known : ndarray of bool, shape (H, W)
        Where the input, and the reference, say something; `known` also leaves out what is not
        wanted.
    window : PixelWindow
        The block on the raster's grid, without the margin.
    crop : tuple of slice
        The block in the arrays.
    """

    claimed: ByteArray
    true: ByteArray
    mapped: NDArray[np.bool_]
    known: NDArray[np.bool_]
    window: PixelWindow
    crop: tuple[slice, slice]


@dataclass(frozen=True)
class BlockCounts:
    """What one block counts.

    Parameters
    ----------
    pairs : ndarray of int64, shape (256, 256)
        Pixels by truth (row) and claim (column), where both are known.
    unmapped : ndarray of int64, shape (256,)
        Pixels by truth, where the input has nodata.
    boundary : dict
        Boundary pixels by class value, one class each.
    wrong, compared : ndarray of bool, shape of the window
        Pixels that differ, and those that were compared.
    window : PixelWindow
        Where it lies.
    """

    pairs: IntArray
    unmapped: IntArray
    boundary: dict[int, BoundaryCounts]
    wrong: NDArray[np.bool_]
    compared: NDArray[np.bool_]
    window: PixelWindow


def count_block(pair: BlockPair, tolerance: int) -> BlockCounts:
    """Count one block.

    Parameters
    ----------
    pair : BlockPair
        Its margin is ``tolerance + 1`` px, or less at the raster's edge.
    tolerance : int
        Distance in px at which boundaries still meet.
    """
    both = pair.known & pair.mapped
    compared, known, mapped = both[pair.crop], pair.known[pair.crop], pair.mapped[pair.crop]
    claimed, true = pair.claimed[pair.crop], pair.true[pair.crop]
    index = true[compared].astype(np.int64) * VALUES + claimed[compared]
    pairs = np.bincount(index, minlength=VALUES * VALUES).reshape(VALUES, VALUES)
    unmapped = np.bincount(true[known & ~mapped], minlength=VALUES)
    boundary = {}
    for value in np.union1d(pair.true[both], pair.claimed[both]).tolist():
        ours, theirs = (part[..., np.newaxis] == value for part in (pair.claimed, pair.true))
        boundary[value] = BoundaryCounts.of(ours, theirs, both, tolerance, pair.crop)
    wrong = compared & (claimed != true)
    return BlockCounts(
        pairs.astype(np.int64), unmapped.astype(np.int64), boundary, wrong, compared, pair.window
    )


@dataclass
class Agreement:
    """The sum over blocks: memory does not grow with the raster.

    Parameters
    ----------
    shape : Shape2D
        Shape of the raster.
    """

    shape: Shape2D
    pairs: IntArray = field(default_factory=lambda: np.zeros((VALUES, VALUES), np.int64))
    unmapped: IntArray = field(default_factory=lambda: np.zeros(VALUES, np.int64))
    boundary: dict[int, BoundaryCounts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the map of errors, of cells of `cell` x `cell` px."""
        self.cell = max(1, -(-max(self.shape) // _MAP_SIDE))
        cells = [ceil_to(side, self.cell) // self.cell for side in self.shape]
        self.wrong = np.zeros(cells, np.int64)
        self.compared = np.zeros(cells, np.int64)

    def add(self, counts: BlockCounts) -> None:
        """Add a block."""
        self.pairs += counts.pairs
        self.unmapped += counts.unmapped
        for value, found in counts.boundary.items():
            self.boundary[value] = self.boundary.get(value, BoundaryCounts.zero(1)) + found
        for total, part in ((self.wrong, counts.wrong), (self.compared, counts.compared)):
            window = counts.window
            rows = np.arange(window.row, window.row_stop) // self.cell
            cols = np.arange(window.col, window.col_stop) // self.cell
            sums = np.add.reduceat(part.astype(np.int64), np.flatnonzero(_begins(rows)), axis=0)
            sums = np.add.reduceat(sums, np.flatnonzero(_begins(cols)), axis=1)
            total[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] += sums

    def values(self) -> list[int]:
        """Class values that occur where both rasters say something."""
        return np.flatnonzero(self.pairs.any(axis=0) | self.pairs.any(axis=1)).tolist()


def _begins(cells: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.concatenate([[True], cells[1:] != cells[:-1]])
