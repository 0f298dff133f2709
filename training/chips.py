# SPDX-License-Identifier: GPL-2.0-or-later
"""Chips of a raster: where they lie, and how they go to the sides of a split without touching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unet_segmenter.engine.geometry import PixelWindow, Shape2D

from .dataset import SPLITS
from .split import split_by_groups

_ATTEMPTS = 16


def chip_windows(shape: Shape2D, side: int, overlap: int = 0) -> list[PixelWindow]:
    """Return the windows of chips that cover a raster, in rows, on the raster's own grid.

    The last chips of a row or column are shifted back to end at the raster's edge, so that all
    are of one size; a raster narrower than a chip gives chips as narrow as itself.

    Parameters
    ----------
    side : int
        Height and width of a chip, px.
    overlap : int
        By how much neighbours overlap, px; less than ``side``.
    """
    if not 0 <= overlap < side:
        raise ValueError(f"overlap {overlap} must be 0 or more, and less than the side {side}")
    return [
        PixelWindow(row, col, min(side, shape.height), min(side, shape.width))
        for row in _starts(shape.height, side, side - overlap)
        for col in _starts(shape.width, side, side - overlap)
    ]


def block_of(window: PixelWindow, side: int) -> str:
    """Return the name of the block of ``side`` px that holds a chip's middle."""
    row = (window.row + window.height // 2) // side
    col = (window.col + window.width // 2) // side
    return f"block {row:02d} {col:02d}"


def split_by_blocks(
    windows: Mapping[str, PixelWindow],
    group_of: Mapping[str, str],
    fractions: Sequence[float],
    seed: int,
    gap: int = 0,
    pixels: Mapping[str, np.ndarray] | None = None,
) -> dict[str, str]:
    """Return the side of each chip; those too near to another side are left out.

    Blocks scattered over the raster have all of its landscapes on each side, but lose many chips
    between the sides; a strip of blocks loses few. Both are tried, and what keeps most chips and
    comes nearest to the fractions is taken.

    Parameters
    ----------
    windows : mapping
        Where each chip lies.
    group_of : mapping
        Its block.
    fractions : sequence of float
        Shares of training, validation and, if there are three, test.
    gap : int
        Px between two sides; chips that overlap are never on two sides.
    pixels : mapping of ndarray, shape (K,)
        Pixels of each class in each chip.

    Raises
    ------
    DatasetError
        If there are fewer blocks than sides.
    """
    rng = np.random.default_rng(seed)
    best, least = {}, np.inf
    for attempt in range(_ATTEMPTS):
        if attempt % 2:
            side_of = _in_strips(windows, group_of, fractions, rng.uniform(0, 2 * np.pi))
        else:
            side_of = split_by_groups(group_of, fractions, seed + attempt, pixels)
        kept = without_neighbours(side_of, windows, gap)
        cost = _cost(kept, len(windows), fractions, pixels)
        if cost < least or not best:
            best, least = kept, cost
    return best


def without_neighbours(
    side_of: Mapping[str, str], windows: Mapping[str, PixelWindow], gap: int
) -> dict[str, str]:
    """Return ``side_of`` without the chips that lie within ``gap`` px of another side's.

    The training side gives way to validation and test, validation to test: what is held out
    stays whole.
    """
    bounds = {
        side: _bounds([windows[name] for name in side_of if side_of[name] == side])
        for side in SPLITS
    }
    kept = dict(side_of)
    for name, side in side_of.items():
        top, left, bottom, right = _bounds([windows[name]])[0]
        for standing in SPLITS[SPLITS.index(side) + 1 :]:
            other = bounds[standing]
            near = (other[:, 0] < bottom + gap) & (other[:, 2] > top - gap)
            near &= (other[:, 1] < right + gap) & (other[:, 3] > left - gap)
            if near.any():
                kept.pop(name, None)
    return kept


def _bounds(windows: Sequence[PixelWindow]) -> np.ndarray:
    """Return top, left, bottom and right of windows, (N, 4)."""
    rows = [(w.row, w.col, w.row_stop, w.col_stop) for w in windows]
    return np.array(rows, np.int64).reshape(-1, 4)


def _in_strips(
    windows: Mapping[str, PixelWindow],
    group_of: Mapping[str, str],
    fractions: Sequence[float],
    angle: float,
) -> dict[str, str]:
    """Cut the raster across a direction into one strip of whole blocks for each side."""
    along: dict[str, list[float]] = {}
    for name, window in windows.items():
        middle = window.col + window.width / 2, window.row + window.height / 2
        at = middle[0] * np.cos(angle) + middle[1] * np.sin(angle)
        along.setdefault(group_of[name], []).append(float(at))
    order = sorted(along, key=lambda group: (np.mean(along[group]), group))
    sizes = np.array([len(along[group]) for group in order])
    middles = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    side = np.searchsorted(np.cumsum(fractions), middles, side="right")
    side = np.minimum(side, len(fractions) - 1)
    of_group = {group: SPLITS[number] for group, number in zip(order, side, strict=True)}
    return {name: of_group[group_of[name]] for name in windows}


def _cost(
    kept: Mapping[str, str],
    count: int,
    fractions: Sequence[float],
    pixels: Mapping[str, np.ndarray] | None,
) -> float:
    """Return how far a split is from the wish: lost chips, shares, classes, empty sides."""
    amounts = []
    for side, share in zip(SPLITS, fractions, strict=False):
        names = [name for name in kept if kept[name] == side]
        if share > 0 and not names:
            return np.inf
        of_classes = [] if pixels is None else sum((pixels[name] for name in names), 0)
        amounts.append(np.append(len(names), of_classes))
    table = np.array(amounts, float)
    totals = table.sum(axis=0)
    table = table[:, totals > 0] / totals[totals > 0]
    error = np.abs(table - np.array(fractions)[:, None])
    classes = error[:, 1:].sum(axis=0).mean() if error.shape[1] > 1 else 0.0
    return 1 - len(kept) / count + error[:, 0].sum() + classes


def _starts(length: int, side: int, step: int) -> list[int]:
    last = max(length - side, 0)
    starts = list(range(0, last + 1, step))
    if starts[-1] < last:
        starts.append(last)
    return starts
