# SPDX-License-Identifier: GPL-2.0-or-later
"""What to turn into polygons (`VectorizeJob`) and what came of it, as JSON both ways."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from .errors import JobError
from .json_values import JsonJob, JsonValues
from .output_paths import check_paths

SPECK_PIXELS = 4
"""Areas of fewer pixels are left out, unless MIN_AREA says otherwise."""
SUFFIX = ".gpkg"
"""Of the only format that is written: it holds any number of polygons, and is written in parts."""


@dataclass(frozen=True)
class VectorizeJob(JsonJob):
    """Polygons of one class raster.

    Parameters
    ----------
    input : str
        A class raster: one band of whole numbers 0-254, and 255 for nodata.
    output : str
        The GeoPackage to write.
    confidence : str, optional
        A raster of numbers on the same grid; each polygon tells the mean of its pixels.
    simplify : float
        About the square root, in px, of the area that leaving out a point may move from one
        polygon to its neighbour; 0 keeps every corner of every pixel.
    min_area : float, optional
        Smaller polygons are left out: square metres, or px without a CRS. None leaves out specks
        of fewer than `SPECK_PIXELS`, and tells how many.
    classes : tuple of str
        Names or values of the classes wanted; empty means all.
    band, confidence_band : int
        Bands, from 1.
    """

    input: str
    output: str
    confidence: str | None = None
    simplify: float = 0.0
    min_area: float | None = None
    classes: tuple[str, ...] = ()
    band: int = 1
    confidence_band: int = 1

    def __post_init__(self) -> None:
        """Refuse what no run could honour."""
        for name in ("input", "output"):
            if not getattr(self, name):
                raise JobError(f"No {name} is given; name one.")
        if self.band < 1 or self.confidence_band < 1:
            raise JobError("Bands count from 1.")
        for name, value in (("SIMPLIFY", self.simplify), ("MIN_AREA", self.min_area or 0.0)):
            if not (math.isfinite(value) and value >= 0):
                raise JobError(f"{name} must be 0 or more, but it is {value}.")
        if Path(self.output).suffix.lower() != SUFFIX:
            raise JobError(
                f"Polygons are written as GeoPackage: give {Path(self.output).name} the suffix "
                f"{SUFFIX}."
            )
        check_paths(self.outputs(), (self.input, self.confidence))

    def outputs(self) -> dict[str, str]:
        """Path of each file asked for, by output name."""
        return {"OUTPUT": self.output}


@dataclass(frozen=True)
class ClassTotal:
    """What was written of one class: number of polygons, and their area.

    The area is in square metres, in px without a CRS.
    """

    value: int
    name: str
    color: str
    polygons: int
    area: float


@dataclass(frozen=True)
class VectorizeResult(JsonValues):
    """What was written.

    Parameters
    ----------
    outputs : dict
        Path by output name.
    polygons, left_out : int
        Polygons written, and those that were too small.
    classes : tuple of ClassTotal
        By value.
    area_unit : str
        "m2", or "px" without a CRS.
    seconds : float
        Wall time of the run.
    warnings : tuple of str
        What the reader of the polygons should know.
    """

    outputs: dict[str, str]
    polygons: int
    left_out: int
    classes: tuple[ClassTotal, ...]
    area_unit: str
    seconds: float
    warnings: tuple[str, ...] = ()
