# SPDX-License-Identifier: GPL-2.0-or-later
"""What to do (`JobSpec`) and what was done (`JobResult`), as values that travel as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from .errors import JobError
from .json_values import JsonJob, JsonValues
from .output_paths import check_paths
from .rasters.options import SourceOptions, check_nodata

RUNTIMES = ("auto", "openvino", "onnxruntime", "tensorflow")
PRECISIONS = ("auto", "f32", "bf16")
PROBABILITY_TYPES = ("uint8", "float32")


@dataclass(frozen=True)
class JobSpec(JsonJob):
    """One segmentation of one raster.

    Parameters
    ----------
    input : str
        Any raster that GDAL opens.
    output : str
        The mask to write: uint8, class values of the model's card, 255 = nodata.
    model : str
        A name from the model library, or the path of a model folder or file.
    classes : tuple of str
        Names of the classes wanted; empty means all. One class gives a binary mask (0/1).
    bands : tuple of int
        Bands of the input (from 1) in the order of the model's bands; empty means the first ones.
    nodata : tuple of float
        Values that are no data, beside the file's own; see `rasters.options.SourceOptions`.
    crs : str, optional
        CRS of the input as WKT or "EPSG:n", where its file has none, or a wrong one.
    extent : tuple of float, optional
        xmin, ymin, xmax, ymax in the input's CRS; it is snapped outwards to the input's grid.
    aoi : str, optional
        A polygon layer; pixels whose centre lies outside become nodata.
    threshold : float, optional
        Probability (0-1) from which a pixel belongs to a class; None takes the card's.
    runtime, precision : str
        One of `RUNTIMES` and of `PRECISIONS`.
    tta : bool
        Test-time augmentation: the mean over the four flips, at four times the cost.
    block_size : int, optional
        Side in px of the square that a block writes; None takes the default for the model.
    batch : int, optional
        Blocks that the model is given at once.
    halo : int, optional
        Context in px around a block; None takes the card's measured halo.
    probability : str, optional
        Raster of probabilities to write, a band a class.
    probability_type : str
        "uint8" (steps of 1/254, 255 = nodata) or "float32" (NaN = nodata).
    confidence : str, optional
        Raster of confidences (0-1) to write: how far the decision is from changing.
    summary : str, optional
        HTML report to write; a quick look PNG comes beside it.
    resume : bool
        Take up the finished blocks of an interrupted run of the same job.
    """

    input: str
    output: str
    model: str
    classes: tuple[str, ...] = ()
    bands: tuple[int, ...] = ()
    extent: tuple[float, float, float, float] | None = None
    aoi: str | None = None
    threshold: float | None = None
    runtime: str = "auto"
    precision: str = "auto"
    tta: bool = False
    block_size: int | None = None
    batch: int | None = None
    halo: int | None = None
    probability: str | None = None
    probability_type: str = "uint8"
    confidence: str | None = None
    summary: str | None = None
    resume: bool = True
    nodata: tuple[float, ...] = ()
    crs: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no run could honour."""
        for name in ("input", "output", "model"):
            if not getattr(self, name):
                raise JobError(f"No {name} is given; name one.")
        _one_of("runtime", self.runtime, RUNTIMES)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("probability type", self.probability_type, PROBABILITY_TYPES)
        if len(set(self.classes)) != len(self.classes):
            raise JobError(f"A class is named twice in {', '.join(self.classes)}; name each once.")
        if any(band < 1 for band in self.bands):
            raise JobError(f"Bands count from 1, but {list(self.bands)} was given.")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise JobError(f"The threshold must lie from 0 to 1, but it is {self.threshold}.")
        _check_extent(self.extent)
        check_nodata(self.nodata)
        for name in ("block_size", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise JobError(f"{name.replace('_', ' ')} must be 1 or more, but it is {value}.")
        if self.halo is not None and self.halo < 0:
            raise JobError(f"The halo must be 0 or more, but it is {self.halo}.")
        check_paths(self.outputs(), (self.input,), "the input")
        check_paths(self.outputs(), (self.aoi,), "the area of interest")

    def source_options(self) -> SourceOptions:
        """How the input is to be read."""
        return SourceOptions(self.nodata, self.crs, self.bands)

    def outputs(self) -> dict[str, str]:
        """Path of each file asked for, by output name."""
        named = {
            "OUTPUT": self.output,
            "PROBABILITY": self.probability,
            "CONFIDENCE": self.confidence,
            "SUMMARY": self.summary,
        }
        return {name: path for name, path in named.items() if path}


@dataclass(frozen=True)
class ClassArea:
    """How much of the map one class covers."""

    value: int
    name: str
    color: str
    pixels: int
    area: float | None  # square metres; None where the raster has no CRS

    @property
    def area_text(self) -> str:
        """The area in square metres or, from one on, in hectares; empty without a CRS."""
        if self.area is None:
            return ""
        return f"{self.area:,.1f} m²" if self.area < 10_000 else f"{self.area / 10_000:,.2f} ha"


@dataclass(frozen=True)
class JobResult(JsonValues):
    """What a run made.

    Parameters
    ----------
    outputs : dict
        Path by output name (OUTPUT, PROBABILITY, CONFIDENCE, SUMMARY, QUICKLOOK).
    blocks, resumed_blocks : int
        Blocks of the run, and those taken over from an interrupted one.
    pixels, nodata_pixels : int
        Size of the mask, and how many of its pixels are nodata.
    seconds : float
        Wall time of the run.
    areas : tuple of ClassArea
        Cover by class.
    runtime, precision, model, model_version, model_sha256 : str
        What predicted.
    warnings : tuple of str
        What the reader of the map should know.
    """

    outputs: dict[str, str]
    blocks: int
    resumed_blocks: int
    pixels: int
    nodata_pixels: int
    seconds: float
    areas: tuple[ClassArea, ...]
    runtime: str
    precision: str
    model: str
    model_version: str
    model_sha256: str
    warnings: tuple[str, ...] = field(default=())

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> JobResult:
        """Make a result from what `to_json` gave."""
        areas = tuple(ClassArea(**area) for area in content["areas"])
        return cls(**{**content, "areas": areas, "warnings": tuple(content["warnings"])})


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise JobError(f"The {what} must be one of {', '.join(allowed)}, but it is {value!r}.")


def _check_extent(extent: tuple[float, float, float, float] | None) -> None:
    if extent is None:
        return
    if len(extent) != 4 or not all(math.isfinite(v) for v in extent):
        raise JobError(f"The extent must be four numbers xmin, ymin, xmax, ymax; got {extent}.")
    xmin, ymin, xmax, ymax = extent
    if xmin >= xmax or ymin >= ymax:
        raise JobError(f"The extent is empty: xmin, ymin, xmax, ymax = {extent}.")
