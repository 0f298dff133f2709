# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells how to bring rasters onto the grid of another."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from .rasters.source import RasterSource

# A CRS whose text is longer has no code, and would drown the command.
_LONGEST_CRS = 40


def how_to_align(target: RasterSource, others: Sequence[RasterSource], resampling: str) -> str:
    """Sentence that names the flag and gives the commands; or says that neither can help.

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
    xmin, ymin, xmax, ymax = target.grid.bounds()
    height, width = target.grid.shape
    crs = target.grid.crs_text()
    if len(crs) >= _LONGEST_CRS:
        crs = shlex.quote(target.path)  # gdalwarp takes a file's CRS too
    commands = " and ".join(
        f"gdalwarp -r {resampling} -t_srs {crs} -te {xmin!r} {ymin!r} {xmax!r} {ymax!r} "
        f"-ts {width} {height} {shlex.quote(source.path)} "
        f"{shlex.quote(Path(source.path).stem + '_aligned.tif')}"
        for source in others
    )
    what = "it" if len(others) == 1 else "them"
    return f"Choose ALIGN (--align) to warp {what}, or warp {what} yourself: {commands}"
