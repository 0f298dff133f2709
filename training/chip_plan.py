# SPDX-License-Identifier: GPL-2.0-or-later
"""How to cut a raster with few labels into chips so that each side of the split has some of all.

The chips are as large as allows that. They tile the raster without overlap, and each is a block of
the split by itself; a strip along the border between two sides is left unlabelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unet_segmenter.engine.geometry import PixelWindow, Shape2D

from .dataset import SPLITS
from .errors import DatasetError

SIDES = (512, 384, 256, 192, 128, 96, 64)
"""Sides of chips that are tried, px."""
GAP = 10
"""The strip between two sides is the chips' side over this."""
ENOUGH = 0.05
"""A side has a class if it has this share of its pixels, and ..."""
ENOUGH_PX = 30
"""... so many of them."""
BLOCKS_A_SIDE = 3
"""So many blocks a side are wanted: one or two show one corner of the raster."""
_DEALS = 2000
_MOST_DRAWN = 4_000_000
TRAINED = 0.4
"""Training should have this share of each class's pixels: the labels are few enough."""
MARGIN = 128
"""Chips show their block with so many px around it at most: a map is made with surroundings, too.
The labels of a block are those of its side alone."""
_PENALTY = (100.0, 10.0, 5.0)
"""For a class that training, validation or test lacks."""

Labels = Callable[[PixelWindow], np.ndarray]
"""Window to the class numbers (H, W) there, negative where nothing is known."""


@dataclass(frozen=True)
class ChipPlan:
    """Chips of a raster, each on a side of the split.

    Attributes
    ----------
    windows : tuple of PixelWindow
        The chips that have labels.
    sides : tuple of str
        "train", "validation" or "test" of each.
    side : int
        About the side of a chip, px.
    gap : int
        Width of the strip between two sides, px.
    """

    windows: tuple[PixelWindow, ...]
    sides: tuple[str, ...]
    side: int
    gap: int

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Top, left, bottom, right and rank of the side of each chip, (N, 5)."""
        rows = [
            (w.row, w.col, w.row_stop, w.col_stop, SPLITS.index(side))
            for w, side in zip(self.windows, self.sides, strict=True)
        ]
        return np.array(rows, np.int64)

    def chip(self, block: PixelWindow, shape: Shape2D) -> PixelWindow:
        """Return a block with surroundings to see it in, as far as a raster has them."""
        margin = min(max((SIDES[0] - self.side) // 2, 0), MARGIN)
        chip = block.pad(margin).intersect(PixelWindow.of_shape(shape))
        assert chip is not None
        return chip

    def hide(
        self, labels: np.ndarray, window: PixelWindow, side: str, chip: PixelWindow | None = None
    ) -> None:
        """Set the labels (H, W) of a block to -1 within the gap to a side that stands.

        Training gives way to validation and test, validation to test.

        Parameters
        ----------
        chip : PixelWindow, optional
            What the labels are of, if more than the block: those beyond the block are hidden too.
        """
        if chip is not None:
            top, left = window.row - chip.row, window.col - chip.col
            inside = labels[top : top + window.height, left : left + window.width]
            kept = inside.copy()
            self.hide(kept, window, side)
            labels[:] = -1
            inside[:] = kept
            return
        top, left, bottom, right, rank = self._bounds.T
        near = (top < window.row_stop + self.gap) & (bottom > window.row - self.gap)
        near &= (left < window.col_stop + self.gap) & (right > window.col - self.gap)
        for place in np.flatnonzero(near & (rank > SPLITS.index(side))).tolist():
            strip = self.windows[place].pad(self.gap).intersect(window)
            if strip is not None:
                rows = slice(strip.row - window.row, strip.row_stop - window.row)
                cols = slice(strip.col - window.col, strip.col_stop - window.col)
                labels[rows, cols] = -1


def tile(shape: Shape2D, side: int) -> list[PixelWindow]:
    """Return windows of about that side that tile a raster, in rows."""
    rows, cols = (max(round(length / side), 1) for length in (shape.height, shape.width))
    tops = [number * shape.height // rows for number in range(rows + 1)]
    lefts = [number * shape.width // cols for number in range(cols + 1)]
    return [
        PixelWindow(top, left, bottom - top, right - left)
        for top, bottom in zip(tops[:-1], tops[1:], strict=True)
        for left, right in zip(lefts[:-1], lefts[1:], strict=True)
    ]


def plan_chips(
    shape: Shape2D, labels: Labels, classes: int, fractions: Sequence[float], seed: int,
    gap: int = 0,
) -> ChipPlan:  # fmt: skip
    """Return the largest chips with which each side of the split has some of every class.

    Where no size of chips gives that, the one that comes nearest is taken.

    Parameters
    ----------
    shape : Shape2D
        Of the raster, px.
    labels : callable
        What is known of the pixels in a window: class numbers from 0.
    classes : int
        How many classes there are.
    fractions : sequence of float
        Shares of training, validation and, if there are three, test.
    seed : int
        Of the draws.
    gap : int
        Width of the strip between two sides, px; 0 for a tenth of the chips' side.

    Raises
    ------
    DatasetError
        If no size of chips puts something of every class into training, and something into each
        other side.
    """
    best, least = None, np.inf
    for side in SIDES:
        plan, lacks = _plan_of(tile(shape, side), labels, classes, fractions, seed, side, gap)
        if lacks < least:
            best, least = plan, lacks
        if not least:
            break
    if best is None:
        raise DatasetError(
            "what is labelled cannot be split into blocks for "
            f"{', '.join(SPLITS[: len(fractions)])} with each class in training: label more, in "
            "places that are further apart"
        )
    return best


def _plan_of(
    windows: Sequence[PixelWindow], labels: Labels, classes: int, fractions: Sequence[float],
    seed: int, side: int, gap: int,
) -> tuple[ChipPlan | None, float]:  # fmt: skip
    """Return the plan with these windows, and the penalty for what its sides lack.

    It is infinite where training lacks a class, or another side has no label.
    """
    counts = {}
    for window in windows:
        own = _counted(labels(window), classes)
        if own.any():
            counts[window] = own
    if len(counts) < len(fractions):
        return None, np.inf
    table = np.array(list(counts.values()), float)
    dealt = _deal(table / np.maximum(table.sum(axis=0), 1), np.array(fractions), seed)
    sides = tuple(SPLITS[number] for number in dealt)
    plan = ChipPlan(tuple(counts), sides, side, gap or max(side // GAP, 1))
    found = np.zeros((len(fractions), classes))
    for window, its_side in zip(plan.windows, plan.sides, strict=True):
        known = labels(window)
        plan.hide(known, window, its_side)
        found[SPLITS.index(its_side)] += _counted(known, classes)
    there = table.sum(axis=0) > 0
    if not found[0, there].all() or not found.any(axis=1).all():
        return plan, np.inf
    few = np.maximum(ENOUGH * table.sum(axis=0), np.minimum(ENOUGH_PX, table.sum(axis=0)))
    lacking = ((found < few) & there).sum(axis=1)
    crowded = len(counts) < BLOCKS_A_SIDE * len(fractions)
    untaught = (found[0, there] < TRAINED * table.sum(axis=0)[there]).sum()
    return plan, float(lacking @ np.array(_PENALTY[: len(fractions)]) + crowded + untaught)


def _counted(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(labels[labels >= 0].ravel(), minlength=classes)[:classes]


def _deal(shares: np.ndarray, fractions: np.ndarray, seed: int) -> np.ndarray:
    """Return the side (N,) of each chip, which has these shares (N, K) of the classes' pixels."""
    rng = np.random.default_rng(seed)
    deals = int(max(min(_DEALS, _MOST_DRAWN // len(shares)), 50))
    drawn = rng.choice(len(fractions), (deals, len(shares)), p=fractions / fractions.sum())
    there = shares.sum(axis=0) > 0
    best, least = drawn[0], np.inf
    for sides in drawn:
        if len(np.unique(sides)) < len(fractions):
            continue
        amounts = np.stack([shares[sides == side].sum(axis=0) for side in range(len(fractions))])
        lacking = ((amounts < 2 * ENOUGH) & there).sum(axis=1) @ np.array(
            _PENALTY[: len(fractions)]
        )
        cost = lacking + np.abs(amounts - fractions[:, None])[:, there].mean()
        if cost < least:
            best, least = sides, cost
    return best
