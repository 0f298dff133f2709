# SPDX-License-Identifier: GPL-2.0-or-later
"""Collars: pixels of one value that are connected with the edge of a raster.

An orthophoto that was turned, or cut out, has black or white around it. Black and white occur
in the image as well, so only what is connected with the edge is its collar.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .components import Seams, label_components, strips_of
from .geometry import PixelWindow, Shape2D

Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]

_TILE_COLUMNS = 2048


@dataclass(frozen=True)
class Collar:
    """Which pixels of a raster belong to its collar, in tiles of compressed bits.

    Parameters
    ----------
    shape : Shape2D
        Of the raster in px.
    rows : int
        Height of a tile in px.
    tiles : dict
        Bits by row and column of the tile; tiles without any pixel of the collar are left out.
    """

    shape: Shape2D
    rows: int
    tiles: dict[tuple[int, int], bytes]

    @property
    def is_empty(self) -> bool:
        """Whether there is none."""
        return not self.tiles

    def read(self, window: PixelWindow) -> Mask:
        """True at pixels of the collar; shape (H, W) of a window inside the raster."""
        found = np.zeros(window.shape, bool)
        for row in range(window.row // self.rows, (window.row_stop - 1) // self.rows + 1):
            for col in range(
                window.col // _TILE_COLUMNS, (window.col_stop - 1) // _TILE_COLUMNS + 1
            ):
                if (row, col) in self.tiles:
                    tile, pixels = self._tile(row, col)
                    part = tile.intersect(window)
                    assert part is not None
                    there = part.relative_to(window).slices
                    found[there] = pixels[part.relative_to(tile).slices]
        return found

    def read_shrunk(self, window: PixelWindow, shape: tuple[int, int]) -> Mask:
        """The same, shrunk by nearest neighbour to a shape (H, W)."""
        rows = ((np.arange(shape[0]) + 0.5) * window.height / shape[0]).astype(int) + window.row
        cols = ((np.arange(shape[1]) + 0.5) * window.width / shape[1]).astype(int)
        found = np.zeros(shape, bool)
        for strip in np.unique(rows // self.rows).tolist():
            chosen = np.flatnonzero(rows // self.rows == strip)
            first, last = rows[chosen[0]], rows[chosen[-1]]
            part = PixelWindow(int(first), window.col, int(last - first) + 1, window.width)
            found[chosen] = self.read(part)[rows[chosen] - first][:, cols]
        return found

    def _tile(self, row: int, col: int) -> tuple[PixelWindow, Mask]:
        top, left = row * self.rows, col * _TILE_COLUMNS
        height = min(self.rows, self.shape.height - top)
        width = min(_TILE_COLUMNS, self.shape.width - left)
        tile = PixelWindow(top, left, height, width)
        bits = np.frombuffer(zlib.decompress(self.tiles[row, col]), np.uint8)
        return tile, np.unpackbits(bits, count=tile.pixels).astype(bool).reshape(tile.shape)


def find_collar(
    shape: Shape2D,
    read: Callable[[PixelWindow], Labels],
    stop: Callable[[], None],
    rows: int | None = None,
) -> Collar:
    """Find the collar in one pass over a raster, strip by strip.

    Parameters
    ----------
    shape : Shape2D
        Of the raster in px.
    read : callable
        For a strip over the whole width an array of uint8: 1 and more where a pixel has the
        value of that number, 0 elsewhere. Pixels of different values are not connected.
    stop : callable
        Called before each strip; may raise.
    rows : int, optional
        Height of a strip; about two million pixels by default.

    Returns
    -------
    Collar
        Pixels connected over their four edges with the first or last row or column.
    """
    strips = strips_of(*shape, rows)
    height = strips[0].stop
    kept: dict[int, tuple[int, bytes]] = {}
    outer: list[NDArray[np.int64]] = []
    seams = Seams()
    for strip in strips:
        stop()
        labels = read(PixelWindow(strip.start, 0, strip.stop - strip.start, shape.width))
        if not labels.any():
            seams.gap()
            continue
        pieces, count = label_components(labels, labels > 0)
        base, _ = seams.add(labels, pieces, count)
        sides = [pieces[:, 0], pieces[:, -1]]
        sides += [pieces[0]] if strip.start == 0 else []
        sides += [pieces[-1]] if strip.stop == shape.height else []
        found = np.unique(np.concatenate(sides))
        outer.append(found[found > 0].astype(np.int64) + base)
        kept[strip.index] = base, zlib.compress(labels.tobytes(), 1)
    wanted = _connected(seams, np.concatenate([np.zeros(0, np.int64), *outer]))
    tiles: dict[tuple[int, int], bytes] = {}
    for index, (base, packed) in kept.items():
        stop()
        labels = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(-1, shape.width)
        pieces, count = label_components(labels, labels > 0)
        belongs = np.zeros(count + 1, bool)
        mine = wanted[(wanted > base) & (wanted <= base + count)] - base
        belongs[mine] = True
        for col, tile in enumerate(_columns(belongs[pieces])):
            if tile.any():
                tiles[index, col] = zlib.compress(np.packbits(tile).tobytes(), 1)
    return Collar(shape, height, tiles)


def edge_share(labels: Labels, edges: Mask) -> float:
    """Share of a window's pixels that are connected with some of its pixels.

    Parameters
    ----------
    labels : ndarray of uint8, shape (H, W)
        1 where a pixel has the value looked for.
    edges : ndarray of bool, shape (H, W)
        Where the window lies on the raster's edge.
    """
    pieces, count = label_components(labels, labels > 0)
    touching = np.zeros(count + 1, bool)
    touching[pieces[edges]] = True
    touching[0] = False
    return float(touching[pieces].mean())


def _connected(seams: Seams, outer: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pieces that are one component with a piece at the raster's edge."""
    ids, component = seams.solve()
    reached = np.unique(component[np.isin(ids, outer)])
    return np.unique(np.concatenate([outer, ids[np.isin(component, reached)]]))


def _columns(mask: Mask) -> list[Mask]:
    return [mask[:, c : c + _TILE_COLUMNS] for c in range(0, mask.shape[1], _TILE_COLUMNS)]
