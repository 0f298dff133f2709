# SPDX-License-Identifier: GPL-2.0-or-later
"""The blocks of a raster's split as polygons, to judge a map on those that were left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unet_segmenter.engine.rasters.grid import RasterGrid
from unet_segmenter.engine.vector import PolygonFile, polygons_of_rings

BLOCKS = "blocks.gpkg"
"""Every chip, with its block and its side."""
TEST_BLOCKS = "test_blocks.gpkg"
"""Those of the test side alone: an area of interest for `evaluate`."""


def write_blocks(
    path: Path, grids: Sequence[RasterGrid], blocks: Sequence[str], sides: Sequence[str]
) -> None:
    """Write a GeoPackage of the chips' outlines with the fields block and side.

    Parameters
    ----------
    grids : sequence of RasterGrid
        Where each chip lies.
    blocks, sides : sequence of str
        Its block, and "train", "validation" or "test".

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    rings = []
    for grid in grids:
        height, width = grid.shape
        for row, col in ((0, 0), (height, 0), (height, width), (0, width), (0, 0)):
            a, b, c, d, e, f = grid.transform
            rings.append((c + col * a + row * b, f + col * d + row * e))
    count = len(grids)
    polygons = polygons_of_rings(
        np.array(rings, np.float64), np.arange(0, 5 * count + 1, 5), np.arange(count + 1)
    )
    path.unlink(missing_ok=True)
    fields = {"block": np.array(blocks, object), "side": np.array(sides, object)}
    PolygonFile(path, path.stem, grids[0].crs).append(polygons, fields)
