# SPDX-License-Identifier: GPL-2.0-or-later
"""Chips of a raster: where they lie, which block they are of, and which ones touch another side."""

from __future__ import annotations

from collections.abc import Mapping

from unet_segmenter.engine.geometry import PixelWindow, Shape2D


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


def without_neighbours(
    side_of: Mapping[str, str], windows: Mapping[str, PixelWindow], gap: int
) -> dict[str, str]:
    """Return ``side_of`` without the chips that lie within ``gap`` px of another side's.

    The training side gives way to validation and test, validation to test: what is held out
    stays whole.
    """
    kept = dict(side_of)
    for giving, standing in (("train", ("validation", "test")), ("validation", ("test",))):
        others = [windows[name] for name, side in side_of.items() if side in standing]
        for name, side in side_of.items():
            if side == giving and any(_near(windows[name], other, gap) for other in others):
                del kept[name]
    return kept


def _near(one: PixelWindow, other: PixelWindow, gap: int) -> bool:
    """Whether fewer than ``gap`` px lie between two windows, or they overlap."""
    grown = one.pad(gap) if gap else one
    return grown.intersect(other) is not None


def _starts(length: int, side: int, step: int) -> list[int]:
    last = max(length - side, 0)
    starts = list(range(0, last + 1, step))
    if starts[-1] < last:
        starts.append(last)
    return starts
