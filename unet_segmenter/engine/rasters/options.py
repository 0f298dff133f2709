# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user says of a raster that its file does not say, or says wrongly."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import JobError


@dataclass(frozen=True)
class SourceOptions:
    """How a raster is to be read.

    Parameters
    ----------
    nodata : tuple of float
        Values that are no data, beside the file's own. One that the data cannot have marks a
        pixel when any band holds it. One that they can have (0 in a photograph) marks the
        collar: pixels that hold it in all bands and are connected with the raster's edge.
    crs : str, optional
        Its CRS as WKT or "EPSG:n", where the file has none, or a wrong one.
    bands : tuple of int
        Bands, from 1, that are data whatever the file calls them: one that it calls alpha
        masks nothing.
    needs_place : bool
        Whether to refuse a raster that ground control points or RPCs place, and no grid.
    """

    nodata: tuple[float, ...] = ()
    crs: str | None = None
    bands: tuple[int, ...] = ()
    needs_place: bool = True


AS_IT_IS = SourceOptions()

NODATA_HELP = (
    "values that are no data, in addition to the file's own. A value that the image can have, such "
    "as 0 in a photograph, marks the collar: pixels that hold it in all bands and are connected "
    "with the image's edge. To find them the image is read once more"
)
"""Help on NODATA of an image, for the command line and for QGIS."""

CRS_HELP = "CRS of the image, as EPSG:n, where its file has none, or a wrong one"


def nodata_tag(values: tuple[float, ...]) -> dict[str, str]:
    """The item of an output's metadata on what was taken for nodata; none without any."""
    return {"NODATA": ",".join(f"{value:g}" for value in values)} if values else {}


def check_nodata(values: tuple[float, ...]) -> None:
    """Refuse values of NODATA that are no numbers; for all jobs that have the parameter."""
    for value in values:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and math.isfinite(value)):
            raise JobError(f"NODATA must be numbers, but holds {value!r}; NaN is nodata anyway.")
