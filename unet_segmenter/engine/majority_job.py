# SPDX-License-Identifier: GPL-2.0-or-later
"""What to smooth (`MajorityFilterJob`) and what came of it, as JSON both ways."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import JobError
from .job import ClassArea
from .json_values import JsonJob, JsonValues
from .output_paths import check_paths

# Name -> what it does, in a line; `majority.METHODS` has the functions.
METHODS: dict[str, str] = {
    "majority": "the most frequent class of the disk",
    "median": "the median of the class numbers, as the course does it: it may name a class that "
    "hardly occurs there",
}
AREA_UNITS: dict[str, str] = {"px": "pixels", "m2": "square metres"}
# A disk of this radius has fewer than 2^16 pixels, so 16 bits count them.
MAX_RADIUS = 100
DEFAULT_RADIUS = 3


@dataclass(frozen=True)
class MajorityFilterJob(JsonJob):
    """One smoothing of one class raster.

    Parameters
    ----------
    input : str
        A class raster: one band of whole numbers 0-254, and 255 for nodata.
    output : str
        The class raster to write.
    radius : int
        Radius in px of the disk that votes; 0 leaves every pixel as it is.
    min_area : float
        After the vote, areas (pixels of a class that are connected over edges) that are smaller
        take the class with which they share the longest border. 0 merges none.
    area_unit : str
        Of `min_area`: "px", or "m2" for square metres.
    method : str
        "majority" or "median".
    band : int
        Band of the input, from 1.
    block_size : int, optional
        Side in px of what a block writes.
    resume : bool
        Take up finished blocks of an interrupted run of the same job.
    """

    input: str
    output: str
    radius: int = DEFAULT_RADIUS
    min_area: float = 0.0
    area_unit: str = "px"
    method: str = "majority"
    band: int = 1
    block_size: int | None = None
    resume: bool = True

    def __post_init__(self) -> None:
        """Refuse what no run could honour."""
        for name in ("input", "output"):
            if not getattr(self, name):
                raise JobError(f"No {name} is given; name one.")
        if self.method not in METHODS:
            raise JobError(
                f"The method must be one of {', '.join(METHODS)}, but it is {self.method!r}."
            )
        if not 0 <= self.radius <= MAX_RADIUS:
            raise JobError(
                f"The radius must lie from 0 to {MAX_RADIUS} px, but it is {self.radius}."
            )
        if self.band < 1:
            raise JobError("Bands count from 1.")
        if self.block_size is not None and self.block_size < 1:
            raise JobError(f"block size must be 1 or more, but it is {self.block_size}.")
        check_area(self.min_area, self.area_unit)
        check_paths(self.outputs(), (self.input,), "the input")

    def outputs(self) -> dict[str, str]:
        """Path of each file asked for, by output name."""
        return {"OUTPUT": self.output}


@dataclass(frozen=True)
class MajorityFilterResult(JsonValues):
    """What a smoothing made.

    Parameters
    ----------
    outputs : dict
        Path by output name.
    blocks, resumed_blocks : int
        Blocks of the run, and those taken over from an interrupted one.
    pixels, nodata_pixels, changed_pixels : int
        Size of the map, and how many of its pixels are nodata, and of another class than in the
        input.
    changed_share : float
        Share of the pixels with data whose class changed, 0-1.
    too_small_pixels : int
        Pixels of areas that are too small and had no neighbour that is large enough: they stay.
    seconds : float
        Wall time of the run.
    areas : tuple of ClassArea
        Cover by class.
    warnings : tuple of str
        What the reader of the map should know.
    """

    outputs: dict[str, str]
    blocks: int
    resumed_blocks: int
    pixels: int
    nodata_pixels: int
    changed_pixels: int
    changed_share: float
    too_small_pixels: int
    seconds: float
    areas: tuple[ClassArea, ...]
    warnings: tuple[str, ...] = ()


def check_area(area: float, unit: str) -> None:
    """Refuse an area or a unit that makes no sense.

    Raises
    ------
    JobError
    """
    if unit not in AREA_UNITS:
        raise JobError(f"The area unit must be one of {', '.join(AREA_UNITS)}, but it is {unit!r}.")
    if not (math.isfinite(area) and area >= 0):
        raise JobError(f"The smallest area must be 0 or more, but it is {area}.")
