# SPDX-License-Identifier: GPL-2.0-or-later
"""What to refine (`RefineJob`) and what came of it (`RefineResult`), as JSON both ways."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from .crf_settings import CrfSettings
from .errors import JobError
from .json_values import JsonJob, JsonValues
from .output_paths import check_paths
from .rasters.options import SourceOptions, check_nodata

# What becomes of the 0 of a class raster -> what it means, in a line.
UNKNOWN: dict[str, str] = {
    "fill": "pixels of value 0 are unsure: the classes around them decide",
    "keep": "0 is treated as a class, which may grow and shrink",
}


@dataclass(frozen=True)
class RefineJob(JsonJob):
    """One refinement of one map by the image that it was made from.

    Parameters
    ----------
    input : str
        The image.
    output : str
        The class raster to write: uint8, 0 unknown, 255 nodata.
    probability : str, optional
        Raster of probabilities, a band a class; either it or `labels` is given.
    labels : str, optional
        Class raster.
    label_band : int
        Band, from 1, of the class raster.
    bands : tuple of int
        Bands of the image, from 1; empty takes all but alpha.
    nodata : tuple of float
        Values of the image that are no data, beside the file's own; see
        `rasters.options.SourceOptions`.
    crs : str, optional
        CRS of the image as WKT or "EPSG:n", where its file has none, or a wrong one.
    value_range : tuple of float
        Values of the image that stand for black and white; empty takes 0-255 of bytes, and of
        other types the range that samples of the image have.
    sxy, srgb, compat, sxy_gaussian, compat_gaussian, iterations, gt_prob, solver
        Parameters of the CRF; see `CrfSettings`.
    unknown : str
        One of `UNKNOWN`, for the 0 of a class raster.
    unknown_threshold : float, optional
        Probability below which a pixel is unknown, for probabilities; None gives every pixel a
        class. Of a single class it is the threshold between the class and the rest.
    switch_share : float
        Share of its pixels that a class may lose or gain before a warning tells it.
    align : bool
        Warp a map on another grid to the image's, instead of refusing it.
    block_size : int, optional
        Side in px of what a block writes.
    resume : bool
        Take up the finished blocks of an interrupted run of the same job.
    """

    input: str
    output: str
    probability: str | None = None
    labels: str | None = None
    label_band: int = 1
    bands: tuple[int, ...] = ()
    value_range: tuple[float, ...] = ()
    sxy: float = CrfSettings.sxy
    srgb: float = CrfSettings.srgb
    compat: float = CrfSettings.compat
    sxy_gaussian: float = CrfSettings.sxy_gaussian
    compat_gaussian: float = CrfSettings.compat_gaussian
    iterations: int = CrfSettings.iterations
    gt_prob: float = CrfSettings.gt_prob
    unknown: str = "fill"
    unknown_threshold: float | None = None
    switch_share: float = 0.5
    align: bool = False
    solver: str = CrfSettings.solver
    block_size: int | None = None
    resume: bool = True
    nodata: tuple[float, ...] = ()
    crs: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no run could honour."""
        for name in ("input", "output"):
            if not getattr(self, name):
                raise JobError(f"No {name} is given; name one.")
        if bool(self.probability) == bool(self.labels):
            raise JobError(
                "Give either a raster of probabilities (PROBABILITY) or a class raster (LABELS)."
            )
        if self.unknown not in UNKNOWN:
            raise JobError(
                f"UNKNOWN must be one of {', '.join(UNKNOWN)}, but it is {self.unknown!r}."
            )
        if self.label_band < 1 or any(band < 1 for band in self.bands):
            raise JobError("Bands count from 1.")
        if self.value_range and not _is_range(self.value_range):
            raise JobError(
                "The value range must be two numbers, the lower one first, but it is "
                f"{', '.join(f'{value:g}' for value in self.value_range)}."
            )
        if not self.switch_share > 0:
            raise JobError(f"SWITCH_SHARE must be more than 0, but it is {self.switch_share}.")
        if self.block_size is not None and self.block_size < 1:
            raise JobError(f"block size must be 1 or more, but it is {self.block_size}.")
        self.settings()
        check_nodata(self.nodata)
        check_paths(self.outputs(), (self.input, self.map))

    @property
    def map(self) -> str:
        """The raster that is refined."""
        return str(self.probability or self.labels)

    def source_options(self) -> SourceOptions:
        """How the image is to be read."""
        return SourceOptions(self.nodata, self.crs, self.bands)

    def settings(self) -> CrfSettings:
        """The model."""
        return CrfSettings(
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(CrfSettings)}
        )

    def outputs(self) -> dict[str, str]:
        """Path of each file asked for, by output name."""
        return {"OUTPUT": self.output}


@dataclass(frozen=True)
class ClassChange:
    """What became of one class.

    Parameters
    ----------
    value, name, color
        The class.
    before, pixels : int
        Its pixels before and after.
    lost, gained : int
        Pixels that went to other classes, and that came from them.
    area : float, optional
        Area after, in square metres; None without a CRS.
    """

    value: int
    name: str
    color: str
    before: int
    pixels: int
    lost: int
    gained: int
    area: float | None


@dataclass(frozen=True)
class RefineResult(JsonValues):
    """What a refinement made.

    Parameters
    ----------
    outputs : dict
        Path by output name.
    blocks, resumed_blocks : int
        Blocks of the run, and those taken over from an interrupted one.
    pixels, nodata_pixels, changed_pixels : int
        Size of the map, and how many of its pixels are nodata, and of another class than before.
    changed_share : float
        Share of the pixels with data whose class changed, 0-1.
    seconds : float
        Wall time of the run.
    areas : tuple of ClassChange
        Every class, before and after.
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
    seconds: float
    areas: tuple[ClassChange, ...]
    warnings: tuple[str, ...] = ()


def switch_warnings(changes: tuple[ClassChange, ...], share: float) -> list[str]:
    """A sentence for each class that lost or gained more than a share of its pixels.

    A CRF follows the image's colours: a class of fine or of like-coloured things can vanish.
    """
    found = []
    for change in changes:
        for pixels, verb in ((change.lost, "lost"), (change.gained, "gained")):
            if pixels > share * change.before:
                part = f" ({pixels / change.before:.0%})" if change.before else ""
                found.append(
                    f"The class {change.name} had {change.before:,} pixels and {verb} "
                    f"{pixels:,}{part}. Compare both maps; a smaller COMPAT or SXY changes less."
                )
    return found


def _is_range(values: tuple[float, ...]) -> bool:
    return len(values) == 2 and all(map(math.isfinite, values)) and values[0] < values[1]
