# SPDX-License-Identifier: GPL-2.0-or-later
"""Immutable rectangles of pixels, in (row, column) order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Shape2D(NamedTuple):
    """Height and width in px."""

    height: int
    width: int

    def ceil_to(self, divisor: int) -> Shape2D:
        """The next larger shape whose sides are multiples of `divisor`."""
        return Shape2D(ceil_to(self.height, divisor), ceil_to(self.width, divisor))


@dataclass(frozen=True, order=True)
class PixelWindow:
    """A rectangle on a raster's grid; it may reach past the raster's edges.

    Parameters
    ----------
    row, col : int
        First row and column.
    height, width : int
        Size in px, 1 or more.
    """

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse empty windows."""
        if self.height < 1 or self.width < 1:
            raise ValueError(f"window of {self.height} x {self.width} px is empty")

    @classmethod
    def of_shape(cls, shape: Shape2D) -> PixelWindow:
        """The window that covers a whole raster."""
        return cls(0, 0, shape.height, shape.width)

    @property
    def row_stop(self) -> int:
        """First row after the window."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """First column after the window."""
        return self.col + self.width

    @property
    def shape(self) -> Shape2D:
        """Height and width."""
        return Shape2D(self.height, self.width)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices for an array that starts at pixel (0, 0)."""
        return slice(self.row, self.row_stop), slice(self.col, self.col_stop)

    def intersect(self, other: PixelWindow) -> PixelWindow | None:
        """The part common to both, or None."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row_stop, other.row_stop) - row
        width = min(self.col_stop, other.col_stop) - col
        return PixelWindow(row, col, height, width) if height > 0 and width > 0 else None

    def contains(self, other: PixelWindow) -> bool:
        """Whether `other` lies wholly inside."""
        return self.intersect(other) == other

    def pad(self, margin: int) -> PixelWindow:
        """The window grown by `margin` px on each side."""
        return PixelWindow(
            self.row - margin,
            self.col - margin,
            self.height + 2 * margin,
            self.width + 2 * margin,
        )

    def shift(self, rows: int, cols: int) -> PixelWindow:
        """The window moved by so many rows down and columns to the right."""
        return PixelWindow(self.row + rows, self.col + cols, self.height, self.width)

    def relative_to(self, origin: PixelWindow) -> PixelWindow:
        """The same pixels, counted from the first pixel of `origin`."""
        return PixelWindow(self.row - origin.row, self.col - origin.col, self.height, self.width)


def ceil_to(value: int, divisor: int) -> int:
    """The smallest multiple of `divisor` that is not below `value`."""
    return -(-value // divisor) * divisor


def floor_to(value: int, divisor: int) -> int:
    """The largest multiple of `divisor` that is not above `value`."""
    return value // divisor * divisor
