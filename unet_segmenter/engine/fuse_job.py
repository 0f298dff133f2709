# SPDX-License-Identifier: GPL-2.0-or-later
"""What to fuse (`FuseJob`) and what came of it (`FuseResult`), as JSON both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import JobError
from .job import PROBABILITY_TYPES, ClassArea
from .json_values import JsonJob, JsonValues
from .name_lists import split_pair
from .output_paths import check_paths
from .rasters.options import check_nodata

# Name -> what it does, in a line; `fuse_methods.FUSION_METHODS` has the functions.
METHODS: dict[str, str] = {
    "argmax": "the most probable class",
    "priority": "the first class of PRIORITY that reaches its threshold",
    "threshold": "the most probable of the classes that reach their thresholds",
    "course_sum": "the course's sum of class numbers, in which overlaps read as other classes",
}
DEFAULT_METHOD = "argmax"


@dataclass(frozen=True)
class FuseJob(JsonJob):
    """One fusion of rasters of probabilities into one raster of classes.

    Parameters
    ----------
    inputs : tuple of str
        Rasters of probabilities, a band a class, of one grid. Whole numbers count with the scale
        that the raster names; without one they are masks of 0 and 1.
    output : str
        The class raster to write: uint8, 0 = unknown, 255 = nodata.
    class_names : tuple of str
        Name of each band, through all inputs, as "name" or "value=name"; empty takes the bands'
        descriptions. Bands of one name are one class: its probability is the highest of them.
    method : str
        One of `METHODS`.
    priority : tuple of str
        Class names, the first one first, for the method "priority"; those left out follow.
    thresholds : tuple of str
        Probability from which a class claims a pixel: one number for all, or "name=number".
        What is not named takes that of the raster, else 0.5.
    unknown_threshold : float, optional
        Probability below which no class is given; None gives none where no class claims the
        pixel by its own threshold.
    nodata : tuple of float
        Values of the inputs, as stored, that are no data, beside the files' own.
    align : bool
        Warp rasters on another grid to that of the first by bilinear interpolation, instead of
        refusing them.
    probability, confidence, conflict, entropy : str, optional
        Rasters to write: probabilities that sum to 1, the lead of the best class over the second,
        how many classes claim a pixel, and how undecided it is (0-1).
    probability_type : str
        "uint8" (steps of 1/254, 255 = nodata) or "float32" (NaN = nodata), for all but conflict.
    summary : str, optional
        HTML report to write; a quick look PNG comes beside it.
    block_size : int, optional
        Side in px of the squares that are read.
    resume : bool
        Take up the finished blocks of an interrupted run of the same job.
    """

    inputs: tuple[str, ...]
    output: str
    class_names: tuple[str, ...] = ()
    method: str = DEFAULT_METHOD
    priority: tuple[str, ...] = ()
    thresholds: tuple[str, ...] = ()
    unknown_threshold: float | None = None
    align: bool = False
    probability: str | None = None
    confidence: str | None = None
    conflict: str | None = None
    entropy: str | None = None
    probability_type: str = "uint8"
    summary: str | None = None
    block_size: int | None = None
    resume: bool = True
    nodata: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no run could honour."""
        if not self.inputs or not all(self.inputs):
            raise JobError("No inputs are given; name rasters of probabilities.")
        if not self.output:
            raise JobError("No output is given; name one.")
        if len(set(self.inputs)) != len(self.inputs):
            raise JobError("An input is named twice; name each once.")
        check_fusion_choice(self)
        if self.block_size is not None and self.block_size < 1:
            raise JobError(f"block size must be 1 or more, but it is {self.block_size}.")
        check_nodata(self.nodata)
        check_paths(self.outputs(), self.inputs)

    def outputs(self) -> dict[str, str]:
        """Path of each file asked for, by output name."""
        return named_outputs(self)


@dataclass(frozen=True)
class FuseResult(JsonValues):
    """What a fusion made.

    Parameters
    ----------
    outputs : dict
        Path by output name (OUTPUT, PROBABILITY, CONFIDENCE, CONFLICT, ENTROPY, SUMMARY,
        QUICKLOOK).
    blocks, resumed_blocks : int
        Blocks of the run, and those taken over from an interrupted one.
    pixels, nodata_pixels : int
        Size of the map, and how many of its pixels are nodata.
    unknown_share, conflict_share : float
        Shares, 0-1, of the pixels with data that no class was given, and that more than one
        class claims.
    seconds : float
        Wall time of the run.
    areas : tuple of ClassArea
        Cover by class, the unknown with them.
    method : str
        How it was decided.
    warnings : tuple of str
        What the reader of the map should know.
    """

    outputs: dict[str, str]
    blocks: int
    resumed_blocks: int
    pixels: int
    nodata_pixels: int
    unknown_share: float
    conflict_share: float
    seconds: float
    areas: tuple[ClassArea, ...]
    method: str
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> FuseResult:
        """Make a result from what `to_json` gave."""
        areas = tuple(ClassArea(**area) for area in content["areas"])
        return cls(**{**content, "areas": areas, "warnings": tuple(content["warnings"])})


def check_fusion_choice(job: Any) -> None:
    """Refuse a method and thresholds that no fusion has; for all jobs that fuse."""
    if job.method not in METHODS:
        raise JobError(f"The method must be one of {', '.join(METHODS)}, but it is {job.method!r}.")
    if job.probability_type not in PROBABILITY_TYPES:
        raise JobError(
            f"The probability type must be one of {', '.join(PROBABILITY_TYPES)}, but it is "
            f"{job.probability_type!r}."
        )
    if job.unknown_threshold is not None and not 0 <= job.unknown_threshold <= 1:
        raise JobError(
            f"The unknown threshold must lie from 0 to 1, but it is {job.unknown_threshold}."
        )
    if len(set(job.priority)) != len(job.priority):
        raise JobError("PRIORITY names a class twice; name each once.")
    named_thresholds(job.thresholds)


def unknown_text(threshold: float | None) -> str:
    """Below what a pixel is unknown, as metadata and reports tell it."""
    return "those of the classes" if threshold is None else repr(threshold)


def named_thresholds(texts: tuple[str, ...]) -> dict[str | None, float]:
    """Thresholds by class name; that under None is for all others.

    Raises
    ------
    JobError
        If a text is neither a number 0-1 nor "name=number", or something is told twice.
    """
    found: dict[str | None, float] = {}
    for text in texts:
        name, right = split_pair(text, last=True)
        try:
            limit = float(right)
        except ValueError:
            limit = -1.0
        if not 0 <= limit <= 1 or name == "":
            raise JobError(
                f"The threshold {text!r} is malformed; write one number from 0 to 1 for all "
                "classes, or name=number, such as vegetation=0.4 (a name with a comma in quotes)."
            )
        if name in found:
            raise JobError(f"THRESHOLDS has two for {name or 'all classes'}; give one.")
        found[name] = limit
    return found


def named_outputs(job: Any) -> dict[str, str]:
    """Path of each file that a job which fuses is to write, by output name."""
    names = ("OUTPUT", "PROBABILITY", "CONFIDENCE", "CONFLICT", "ENTROPY", "SUMMARY")
    paths = {name: getattr(job, name.lower()) for name in names}
    return {name: path for name, path in paths.items() if path}
