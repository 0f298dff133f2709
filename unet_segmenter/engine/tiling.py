# SPDX-License-Identifier: GPL-2.0-or-later
"""Cuts a raster into blocks, each with the context that a network needs around it.

All windows of a grid have one shape and start at multiples of the model's divisor on the
raster's own grid. At the raster's edges a window is shifted inwards instead of cut, so the
network pads there exactly as in one pass over the whole raster; elsewhere every written
pixel has at least `halo` px of real context. That is why tiled equals whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .geometry import PixelWindow, Shape2D, ceil_to, floor_to


@dataclass(frozen=True)
class Span:
    """One block along one axis: what it reads and what it writes, `[start, stop)` in px."""

    read_start: int
    read_stop: int
    write_start: int
    write_stop: int


@dataclass(frozen=True)
class Block:
    """One step of the work.

    Parameters
    ----------
    index : int
        Its place in the grid's row-major order.
    read : PixelWindow
        What the network sees; it may reach past the raster's lower and right edge.
    write : PixelWindow
        The pixels that it decides; they belong to no other block.
    """

    index: int
    read: PixelWindow
    write: PixelWindow

    @property
    def crop(self) -> PixelWindow:
        """The written pixels, counted from the first pixel read."""
        return self.write.relative_to(self.read)


@dataclass(frozen=True)
class BlockGrid:
    """Blocks that tile a region, as the product of two axes."""

    rows: tuple[Span, ...]
    cols: tuple[Span, ...]

    @classmethod
    def cover(
        cls,
        shape: Shape2D,
        core: int,
        halo: int,
        divisor: int,
        region: PixelWindow | None = None,
        fixed_size: int | None = None,
    ) -> BlockGrid:
        """Tile a raster, or a region of it.

        Parameters
        ----------
        shape : Shape2D
            Shape of the raster in px.
        core : int
            Side in px of what an inner block writes; it is rounded up to the divisor.
        halo : int
            Context in px around it; it is rounded up to the divisor.
        divisor : int
            Windows start and end at multiples of it.
        region : PixelWindow, optional
            The part of the raster to write; the whole raster by default. Context is read
            from outside of it.
        fixed_size : int, optional
            Side in px of every window, for networks that take only one; `core` is then
            what the halo leaves of it.

        Returns
        -------
        BlockGrid

        Raises
        ------
        ValueError
            If the region is not inside the raster, or the halo leaves nothing of
            `fixed_size`.
        """
        whole = PixelWindow.of_shape(shape)
        region = region or whole
        if not whole.contains(region):
            raise ValueError(f"{region} is not inside the raster {shape}")
        halo = ceil_to(halo, divisor)
        core = ceil_to(core, divisor)
        if fixed_size is not None:
            core = fixed_size - 2 * halo
            if core < divisor or fixed_size % divisor:
                raise ValueError(f"a halo of {halo} px leaves nothing of {fixed_size} px")
        return cls(
            _spans(shape.height, region.row, region.row_stop, core, halo, divisor, fixed_size),
            _spans(shape.width, region.col, region.col_stop, core, halo, divisor, fixed_size),
        )

    @classmethod
    def of_windows(
        cls, shape: Shape2D, window: Shape2D, halo: int, divisor: int, region: PixelWindow
    ) -> BlockGrid:
        """Tile a region with windows of one given shape.

        Parameters
        ----------
        shape : Shape2D
            Shape of the raster in px.
        window : Shape2D
            Shape of every window in px: along each axis all of the raster, rounded up to the
            divisor, or at least the divisor and the halo on both sides.
        halo : int
            Context in px around what a window writes; it is rounded up to the divisor.
        divisor : int
            Windows start at multiples of it.
        region : PixelWindow
            The pixels to write.
        """
        halo = ceil_to(halo, divisor)
        rows, cols = (
            _spans(length, start, stop, side - 2 * halo, halo, divisor, side)
            for length, start, stop, side in (
                (shape.height, region.row, region.row_stop, window.height),
                (shape.width, region.col, region.col_stop, window.width),
            )
        )
        return cls(rows, cols)

    @property
    def read_shape(self) -> Shape2D:
        """The one shape that all windows have."""
        row, col = self.rows[0], self.cols[0]
        return Shape2D(row.read_stop - row.read_start, col.read_stop - col.read_start)

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self.rows) * len(self.cols)

    def __iter__(self) -> Iterator[Block]:
        """Blocks in row-major order."""
        yield from self.walk(len(self.cols))

    def walk(self, columns: int) -> Iterator[Block]:
        """Blocks strip by strip of so many columns, and row by row in each strip."""
        for first in range(0, len(self.cols), columns):
            for i in range(len(self.rows)):
                for j in range(first, min(first + columns, len(self.cols))):
                    yield self._block(i, j)

    def meeting(self, window: PixelWindow) -> list[Block]:
        """The blocks that write some pixel of a window, in row-major order."""
        rows = _meeting(self.rows, window.row, window.row_stop)
        cols = _meeting(self.cols, window.col, window.col_stop)
        return [self._block(i, j) for i in rows for j in cols]

    def at(self, index: int) -> Block:
        """The block at that place of the row-major order."""
        return self._block(*divmod(index, len(self.cols)))

    def _block(self, i: int, j: int) -> Block:
        row, col = self.rows[i], self.cols[j]
        return Block(i * len(self.cols) + j, _window(row, col), _written(row, col))


def _spans(
    length: int, start: int, stop: int, core: int, halo: int, divisor: int, fixed: int | None
) -> tuple[Span, ...]:
    padded = max(ceil_to(length, divisor), fixed or 0)
    needed = ceil_to(stop, divisor) - floor_to(start, divisor)
    read = fixed or min(min(core, needed) + 2 * halo, padded)
    spans = []
    position = start
    while position < stop:
        read_start = floor_to(position, divisor) - halo
        read_start = max(0, min(read_start, padded - read))
        read_stop = read_start + read
        # At the raster's end nothing lies beyond the window, so it needs no halo there.
        write_stop = stop if read_stop >= padded else min(read_stop - halo, stop)
        spans.append(Span(read_start, read_stop, position, write_stop))
        position = write_stop
    return tuple(spans)


def _meeting(spans: tuple[Span, ...], start: int, stop: int) -> list[int]:
    return [k for k, s in enumerate(spans) if s.write_start < stop and start < s.write_stop]


def _window(row: Span, col: Span) -> PixelWindow:
    return PixelWindow(
        row.read_start,
        col.read_start,
        row.read_stop - row.read_start,
        col.read_stop - col.read_start,
    )


def _written(row: Span, col: Span) -> PixelWindow:
    return PixelWindow(
        row.write_start,
        col.write_start,
        row.write_stop - row.write_start,
        col.write_stop - col.write_start,
    )
