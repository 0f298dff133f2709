# SPDX-License-Identifier: GPL-2.0-or-later
"""What a class raster is compared with, on its grid: another raster, or polygons."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Union

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, JobError
from .evaluate_job import EvaluateJob
from .geometry import PixelWindow
from .model_card import NODATA_VALUE
from .name_lists import quoted
from .rasters.polygons import LabelledPolygons
from .rasters.source import RasterSource
from .vector import layer_fields, read_labelled_polygons
from .warp_hint import how_to_align

# A raster that names no classes is taken for an image above both.
_MOST_UNNAMED = 32
_SHARE_OF_LIKE_NEIGHBOURS = 0.5

PALETTE = (
    "#bdbdbd", "#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d",
)  # fmt: skip


# No amounts: a nodata value marks every pixel that holds it.
_NO_VALUES = (math.inf, -math.inf)


@dataclass(frozen=True)
class RasterReference:
    """A reference raster on the input's grid."""

    source: RasterSource
    band: int
    warnings: tuple[str, ...] = ()

    def read(self, window: PixelWindow) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Class values, and where there are any; shape (H, W) each."""
        return read_classes(self.source, self.band, window)

    def files(self) -> tuple[Path, ...]:
        """All files that are read while classes are compared."""
        return self.source.files

    def names(self) -> dict[int, str]:
        """Names by class value, as far as known."""
        return self.source.class_names(self.band)

    def colors(self) -> dict[int, str]:
        """Colours by class value, as far as known."""
        return self.source.class_colors(self.band)


@dataclass(frozen=True)
class PolygonReference:
    """Reference polygons; where there is none, nothing is known."""

    polygons: LabelledPolygons
    found: dict[int, str]
    warnings: tuple[str, ...] = ()

    def read(self, window: PixelWindow) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Class values, and where there are any; shape (H, W) each."""
        values = self.polygons.burn(window, NODATA_VALUE).astype(np.uint8)
        return values, values != NODATA_VALUE

    def files(self) -> tuple[Path, ...]:
        """None: polygons are read at once."""
        return ()

    def names(self) -> dict[int, str]:
        """Names by class value, as far as known."""
        return self.found

    def colors(self) -> dict[int, str]:
        """Colours by class value, as far as known."""
        return {}


Reference = Union[RasterReference, PolygonReference]


@dataclass(frozen=True)
class ClassLooks:
    """Names and colours by class value, and what is odd about them."""

    names: dict[int, str]
    colors: dict[int, str]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, job: EvaluateJob, source: RasterSource, reference: Reference) -> ClassLooks:
        """Names as the job, else the input, else the reference has them."""
        ours, theirs, given = source.class_names(job.band), reference.names(), job.names()
        odd = [
            f"The value {value} is {ours[value]!r} in the input and {theirs[value]!r} in the "
            "reference; classes are compared by their values."
            for value in sorted(ours.keys() & theirs.keys() - given.keys())
            if ours[value].casefold() != theirs[value].casefold()
        ]
        colors = {**reference.colors(), **source.class_colors(job.band)}
        return cls({**theirs, **ours, **given}, colors, (*reference.warnings, *odd))

    def name(self, value: int) -> str:
        """The class's name, or its value where it has none."""
        return self.names.get(value, f"class {value}")

    def color(self, value: int) -> str:
        """The class's colour, or one of a palette where it has none."""
        return self.colors.get(value, PALETTE[value % len(PALETTE)])


def open_reference(job: EvaluateJob, source: RasterSource, stack: ExitStack) -> Reference:
    """The job's reference on the grid of the input; the stack closes it.

    Raises
    ------
    SegmenterError
        If it cannot be used, lies on another grid, or names classes that are unknown.
    """
    if job.field is not None:
        return _polygon_reference(job, job.field, source)
    try:
        raster = stack.enter_context(RasterSource(job.reference))
    except InputError as error:
        fields = layer_fields(job.reference) if Path(job.reference).exists() else None
        if fields is None:
            raise
        raise JobError(
            f"{job.reference} is a vector layer: name the FIELD that holds the class. It has "
            f"{', '.join(fields) or 'no fields'}."
        ) from error
    check_class_band(raster, job.reference_band)
    differences = source.grid.differences(raster.grid)
    if not differences:
        return RasterReference(raster, job.reference_band)
    if not job.align:
        raise InputError(
            f"{job.reference} lies on another grid than {job.input}: they differ in "
            f"{' and '.join(differences)}. {how_to_align(source, [raster], 'near')}"
        )
    aligned = stack.enter_context(RasterSource.aligned(job.reference, source.grid))
    return RasterReference(aligned, job.reference_band)


def _polygon_reference(job: EvaluateJob, field: str, source: RasterSource) -> PolygonReference:
    if _is_raster(job.reference):
        raise JobError(
            f"{job.reference} is a raster: leave out FIELD, which names the class of polygons."
        )
    polygons, labels, crs = read_labelled_polygons(job.reference, field)
    named = {**source.class_names(job.band), **job.names()}
    by_name = {name.casefold(): value for value, name in named.items()}
    values, found = [], {}
    for label in labels:
        value = by_name.get(label.casefold(), int(label) if label.isdecimal() else None)
        if label == "":
            value = NODATA_VALUE  # a polygon without a class says nothing
        if value is None or value > NODATA_VALUE:
            raise InputError(
                f"{job.reference} holds the class {label!r} in the field {field}, which is no "
                f"value from 0 to 254 and no name of a class; known are "
                f"{', '.join(f'{v}={quoted(n)}' for v, n in sorted(named.items())) or 'none'}. "
                "Give CLASS_NAMES as value=name."
            )
        values.append(value)
        if not label.isdecimal() and label:
            found[value] = named.get(value, label)
    warnings: tuple[str, ...] = ()
    if (crs is None) != (source.grid.crs is None):
        without = job.reference if crs is None else job.input
        warnings = (f"{without} has no CRS: it is taken to have that of the other one.",)
    labelled = LabelledPolygons(polygons, values, crs, source.grid)
    return PolygonReference(labelled, found, warnings)


def _is_raster(path: str) -> bool:
    try:
        with RasterSource(path):
            return True
    except InputError:
        return False


def check_band(source: RasterSource, band: int) -> None:
    """Refuse a band that the raster has not."""
    if band > source.count:
        raise JobError(f"{source.path} has {source.count} bands; there is no band {band}.")


def check_class_band(source: RasterSource, band: int) -> None:
    """Refuse a band that the raster has not, or that it says to be no class."""
    check_band(source, band)
    scale, offset = source.scales[band - 1]
    if (scale, offset) != (1, 0):
        raise InputError(
            f"{source.path} holds amounts with a scale of {scale:g}, such as probabilities, and no "
            "classes; give a class raster, as OUTPUT of segment, fuse or landcover is one."
        )
    if not source.class_names(band):
        _check_looks_like_classes(source, band)


def _check_looks_like_classes(source: RasterSource, band: int) -> None:
    """Refuse an image: many values, of which neighbours seldom have the same."""
    found: set[int] = set()
    equal, pairs = 0, 0
    for window in source.sample_windows(PixelWindow.of_shape(source.grid.shape)):
        values, known = read_classes(source, band, window)
        found |= set(np.unique(values[known]).tolist())
        both = known[:, 1:] & known[:, :-1]
        pairs += int(both.sum())
        equal += int((both & (values[:, 1:] == values[:, :-1])).sum())
    if len(found) > _MOST_UNNAMED and equal < _SHARE_OF_LIKE_NEIGHBOURS * pairs:
        raise InputError(
            f"{source.path} is no class raster but an image: band {band} holds at least "
            f"{len(found)} values without names, and only {equal / pairs:.0%} of neighbouring "
            "pixels have the same. Give a map of classes, as OUTPUT of segment, fuse or landcover "
            "is one."
        )


def read_classes(
    source: RasterSource, band: int, window: PixelWindow
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Class values, and where there are any; 255 is nodata whether the raster says so or not."""
    pixels, valid = source.read(window, (band,), _NO_VALUES)
    values: NDArray[np.uint8] = pixels[..., 0].view()  # type: ignore[assignment]
    if pixels.dtype != np.uint8:
        seen = pixels[..., 0][valid].astype(np.float64)
        odd = (seen < 0) | (seen > NODATA_VALUE) | (seen != np.floor(seen))
        if odd.any():
            raise InputError(
                f"{source.path} holds {seen[odd][0]:g}, which is no class: a class raster has "
                "whole numbers from 0 to 254, and 255 for nodata."
            )
        values = np.where(valid, values, NODATA_VALUE).astype(np.uint8)
    known: NDArray[np.bool_] = valid & (values != NODATA_VALUE)
    return values, known
