# SPDX-License-Identifier: GPL-2.0-or-later
"""How to bring rasters onto the grid of another."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from .rasters.source import RasterSource


def how_to_align(target: RasterSource, others: Sequence[RasterSource], resampling: str) -> str:
    """Sentence that names the flag and gives the commands; or says that one or both cannot help.

    Parameters
    ----------
    target : RasterSource
        Has the grid that is wanted.
    others : sequence of RasterSource
        Rasters on other grids.
    resampling : str
        Name of the method, as gdalwarp takes it: "near", "bilinear".
    """
    if not all(source.is_georeferenced for source in (target, *others)):
        return (
            "One of them has no CRS, so they cannot be aligned; give it the one that it was made "
            "in (gdal_edit.py -a_srs CRS FILE)."
        )
    what = "it" if len(others) == 1 else "them"
    if not target.grid.is_north_up:
        return (
            f"Choose ALIGN (--align) to warp {what}: gdalwarp writes no grid like that of "
            f"{target.path}, whose rows do not go from north to south."
        )
    xmin, ymin, xmax, ymax = target.grid.bounds()
    height, width = target.grid.shape
    crs = shlex.quote(target.grid.crs_text())
    commands = " and ".join(
        f"gdalwarp -r {resampling} -t_srs {crs} -te {xmin!r} {ymin!r} {xmax!r} {ymax!r} "
        f"-ts {width} {height} {shlex.quote(source.path)} "
        f"{shlex.quote(Path(source.path).stem + '_aligned.tif')}"
        for source in others
    )
    return f"Choose ALIGN (--align) to warp {what}, or warp {what} yourself: {commands}"
