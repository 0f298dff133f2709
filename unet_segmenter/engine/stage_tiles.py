# SPDX-License-Identifier: GPL-2.0-or-later
"""Which windows each part of a cut network runs on: pure interval geometry.

Each part has a grid of tiles of its own, cut by `BlockGrid` from what its inputs are known on.
That area ends at the raster's edge, where the part pads as the whole network does, or reaches a
halo beyond what the part must give. So every part sees an edge just where the whole network has
one, and tiled equals whole at every cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .geometry import PixelWindow, Shape2D, ceil_to, floor_to
from .stages import Cuts, Part
from .tiling import Block, BlockGrid

LARGEST_SIDE = 256
"""Side of a tile in cells of a part's finest output: what the processor's cache holds."""
SMALLEST_SIDE = 1024
"""Side in px that a tile has at least where memory allows, however little context it needs."""
SIDE_BY_HALO = 2
"""A tile's side is so many times its halo, at which a window is four times the tile. Such parts
are the cheap ones at low resolution; larger tiles need more features of the parts before them."""
MOST_VALUES = 12_000_000
"""Values of the widest tensor of a window: 48 MB in single precision."""


@dataclass(frozen=True)
class PartTiles:
    """The tiles of one part.

    Parameters
    ----------
    region : PixelWindow
        What the part gives, on the raster's grid; multiples of the network's divisor.
    source : PixelWindow
        What its inputs are known on.
    grid : BlockGrid
        Its windows, counted from the first pixel of the source.
    """

    region: PixelWindow
    source: PixelWindow
    grid: BlockGrid

    @property
    def window(self) -> Shape2D:
        """Shape in px of all its windows."""
        return self.grid.read_shape

    def __iter__(self) -> Iterator[Block]:
        """All tiles, on the raster's grid."""
        return iter(self.meeting(self.region))

    def written(self, index: int) -> PixelWindow:
        """What the tile at that place of the grid gives, on the raster's grid."""
        tile = self.grid.at(index)
        return tile.write.shift(self.source.row, self.source.col)

    def meeting(self, window: PixelWindow) -> list[Block]:
        """The tiles that give some pixel of a window, on the raster's grid."""
        row, col = self.source.row, self.source.col
        return [
            Block(tile.index, tile.read.shift(row, col), tile.write.shift(row, col))
            for tile in self.grid.meeting(window.relative_to(self.source))
        ]


def plan_tiles(
    cuts: Cuts, shape: Shape2D, region: PixelWindow, divisor: int, side: int | None = None
) -> tuple[PartTiles, ...]:
    """Tiles of all parts, such that the logits are known on a region and a cell around it.

    Parameters
    ----------
    cuts : Cuts
        The parts.
    shape : Shape2D
        Shape of the raster in px.
    region : PixelWindow
        What is mapped of it.
    divisor : int
        The network's: the raster is continued to multiples of it, as for one pass.
    side : int, optional
        Side in px of the tiles of all parts; by default as large as memory and cache suggest.
    """
    whole = PixelWindow.of_shape(shape.ceil_to(divisor))
    tiles: dict[int, PartTiles] = {}
    for place in reversed(range(len(cuts.parts))):
        part = cuts.parts[place]
        wanted = [tiles[k].source for k in cuts.consumers(place)]
        if place == len(cuts.parts) - 1:
            wanted = [_within(region.pad(cuts.logits.stride), divisor, whole)]
        given = _around(wanted)
        source = _within(given.pad(part.halo), divisor, whole)
        tiles[place] = PartTiles(given, source, _grid(part, given, source, whole, side))
    return tuple(tiles[place] for place in range(len(cuts.parts)))


def _grid(
    part: Part, given: PixelWindow, source: PixelWindow, whole: PixelWindow, side: int | None
) -> BlockGrid:
    most = side or _side(part)
    rows = _balanced(part, most, (given.row, given.row_stop), (whole.row, whole.row_stop))
    cols = _balanced(part, most, (given.col, given.col_stop), (whole.col, whole.col_stop))
    window = Shape2D(min(rows, source.height), min(cols, source.width))
    return BlockGrid.of_windows(
        source.shape, window, part.halo, part.divisor, given.relative_to(source)
    )


def _side(part: Part) -> int:
    """Side in px of the tiles that a part should have: large, within memory and cache."""
    side = min(max(SMALLEST_SIDE, SIDE_BY_HALO * part.halo), LARGEST_SIDE * part.finest)
    most = int((MOST_VALUES / part.width) ** 0.5) - 2 * part.halo
    return max(floor_to(min(side, max(most, part.halo)), part.divisor), part.divisor)


def _balanced(part: Part, side: int, given: tuple[int, int], whole: tuple[int, int]) -> int:
    """Side in px of a part's windows along an axis, such that no tile is mostly leftover.

    The tile at an edge of the raster gives its halo too, as nothing lies beyond.
    """
    edges = (given[0] == whole[0]) + (given[1] == whole[1])
    needed = max(given[1] - given[0] - edges * part.halo, 1)
    tiles = -(-needed // side)
    return ceil_to(-(-needed // tiles), part.divisor) + 2 * part.halo


def _within(window: PixelWindow, divisor: int, whole: PixelWindow) -> PixelWindow:
    """The window grown to multiples of the divisor, as far as the raster goes."""
    top, left = floor_to(window.row, divisor), floor_to(window.col, divisor)
    bottom, right = ceil_to(window.row_stop, divisor), ceil_to(window.col_stop, divisor)
    grown = PixelWindow(top, left, bottom - top, right - left).intersect(whole)
    assert grown is not None
    return grown


def _around(windows: list[PixelWindow]) -> PixelWindow:
    """The smallest window that holds all."""
    row, col = min(w.row for w in windows), min(w.col for w in windows)
    height = max(w.row_stop for w in windows) - row
    return PixelWindow(row, col, height, max(w.col_stop for w in windows) - col)
