# SPDX-License-Identifier: GPL-2.0-or-later
"""Rasters of probabilities, a band a class, read together on one grid."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, JobError
from .fuse_classes import UNKNOWN_NAME, ClassSource
from .geometry import PixelWindow
from .model_card import NODATA_VALUE
from .name_lists import split_pair, unquoted
from .raster_items import pairs_of
from .rasters.grid import RasterGrid
from .rasters.options import SourceOptions
from .rasters.source import RasterSource
from .shares import PROBABILITY_STEPS, FloatArray, decode_shares
from .warp_hint import how_to_align

# A range that holds no nodata value: a pixel is nodata where any band has it.
_NO_VALUES = (math.inf, -math.inf)
_ROUNDING = 1e-3


@dataclass(frozen=True)
class ProbabilitySource:
    """One raster of probabilities."""

    source: RasterSource
    bands: tuple[int, ...]

    def read(self, window: PixelWindow) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Probabilities of a window, and where there are any.

        Returns
        -------
        probabilities : ndarray of float32, shape (H, W, bands)
            0-1; 0 at nodata.
        valid : ndarray of bool, shape (H, W)
            False where a band has nodata.

        Raises
        ------
        InputError
            If a value is no probability.
        """
        pixels, valid = self.source.read(window, self.bands, _NO_VALUES)
        planes = [self._decoded(pixels[..., k], band) for k, band in enumerate(self.bands)]
        shares = np.stack(planes)
        shares[:, ~valid] = 0
        low, high = float(shares.min()), float(shares.max())
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
            raise InputError(
                f"{self.source.path} ({self.source.dtype}) holds values from {low:g} to {high:g} "
                "after its scale, which are no probabilities from 0 to 1. If it has steps from 0 "
                "to N, give it a scale of 1/N; for percent: gdal_translate -a_scale 0.01 "
                "-a_offset 0 INPUT OUTPUT"
            )
        return np.moveaxis(np.clip(shares, 0, 1), 0, -1), valid

    def _decoded(self, values: NDArray[np.generic], band: int) -> FloatArray:
        scale, offset = self.source.scales[band - 1]
        if values.dtype == np.uint8 and _is_of_steps(scale, offset):
            return decode_shares(values.astype(np.uint8, copy=False))[0]
        with np.errstate(over="ignore", invalid="ignore"):  # nodata may be any number
            true: FloatArray = (values.astype(np.float64) * scale + offset).astype(np.float32)
        return true


@dataclass(frozen=True)
class ProbabilityStack:
    """Several rasters of probabilities on the grid of the first."""

    members: tuple[ProbabilitySource, ...]
    classes: tuple[ClassSource, ...]

    @property
    def grid(self) -> RasterGrid:
        """The common grid."""
        return self.members[0].source.grid

    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        return tuple(file for member in self.members for file in member.source.files)

    def cache_for(self, rows: int) -> int:
        """Bytes of cache for reading blocks of that many rows."""
        return sum(member.source.cache_for(rows) for member in self.members)

    def read(self, window: PixelWindow) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Probabilities (H, W, C) of all bands of all rasters; nodata where one has it."""
        read = [member.read(window) for member in self.members]
        planes = [np.moveaxis(shares, -1, 0) for shares, _ in read]
        valid: NDArray[np.bool_] = np.logical_and.reduce([valid for _, valid in read])
        return np.moveaxis(np.concatenate(planes), 0, -1), valid


def open_probabilities(
    paths: Sequence[str],
    class_names: Sequence[str],
    stack: ExitStack,
    *,
    align: bool,
    nodata: tuple[float, ...] = (),
) -> ProbabilityStack:
    """Open rasters of probabilities; the stack closes them.

    Parameters
    ----------
    paths : sequence of str
        The rasters.
    class_names : sequence of str
        "name" or "value=name" of each band through all rasters; empty takes what they tell.
    stack : ExitStack
        Closes them.
    align : bool
        Warp those on another grid than the first's by bilinear interpolation.
    nodata : tuple of float
        Stored values that are no data, beside the files' own.

    Raises
    ------
    InputError
        If a file cannot be used, or lies on another grid and `align` is False.
    JobError
        If there are more or fewer names than bands.
    """
    options = SourceOptions(nodata)
    opened = [stack.enter_context(RasterSource(path, options)) for path in paths]
    grid = opened[0].grid
    odd = [(source, found) for source in opened if (found := grid.differences(source.grid))]
    if odd and not align:
        raise InputError(_on_other_grids(opened[0], odd))
    for source, _ in odd:
        aligned = RasterSource.aligned(source.path, grid, "bilinear", options)
        opened[opened.index(source)] = stack.enter_context(aligned)
    told = [told_classes(source) for source in opened]
    for source, classes_of in zip(opened, told):
        check_told(source, classes_of)
    members = tuple(ProbabilitySource(s, tuple(found)) for s, found in zip(opened, told))
    classes = [one for found in told for one in found.values()]
    if class_names and len(class_names) != len(classes):
        bands = ", ".join(f"{Path(m.source.path).name} {len(m.bands)}" for m in members)
        raise JobError(
            f"CLASS_NAMES has {len(class_names)} names, but the inputs have {len(classes)} bands "
            f"({bands}); name each."
        )
    named = [_named(text, one) for text, one in zip(class_names, classes)]
    return ProbabilityStack(members, tuple(named or classes))


def told_classes(source: RasterSource) -> dict[int, ClassSource]:
    """What a raster of probabilities tells of its bands' classes, by band.

    A raster that `segment` or `fuse` wrote tells values, colours and thresholds in its metadata;
    any other one may name its bands. A band of the unknown is no class, and is left out.
    """
    tags, bands = source.tags(), source.data_bands
    values = {name: _value(value) for value, name in _pairs(tags, "CLASSES")}
    colors, limits = dict(_pairs(tags, "COLORS")), dict(_pairs(tags, "THRESHOLDS"))
    wholes = dict(_pairs(tags, "PART_OF"))
    names = list(values) if len(values) == len(bands) else []
    told = {}
    for place, band in enumerate(bands):
        stem = Path(source.path).stem
        fallback = stem if len(bands) == 1 else f"{stem} band {band}"
        name = names[place] if names else source.band_names[band - 1] or fallback
        if name == UNKNOWN_NAME:
            continue
        told[band] = ClassSource(
            name,
            values.get(name),
            _color(colors.get(name, "")),
            _share(limits.get(name, "")),
            wholes.get(name),
        )
    return told


def _pairs(tags: dict[str, str], key: str) -> list[tuple[str, str]]:
    """Left and right sides of the pairs in one of our own items of metadata."""
    return pairs_of(tags.get(f"UNET_SEGMENTER_{key}", ""))


def check_told(source: RasterSource, told: Mapping[int, ClassSource]) -> None:
    """Refuse a raster without a band of a class.

    Raises
    ------
    InputError
    """
    if not told:
        raise InputError(
            f"{source.path} holds no probability of a class: its only band is called "
            f"{UNKNOWN_NAME!r}. Give a raster with a band for each class, or call the band by the "
            "name of its class."
        )


def _value(text: str) -> int | None:
    return int(text) if text.isdecimal() and int(text) < NODATA_VALUE else None


def _color(text: str) -> str | None:
    return text if re.fullmatch("#[0-9A-Fa-f]{6}", text) else None


def _share(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if 0 <= found <= 1 else None


def _named(text: str, told: ClassSource) -> ClassSource:
    """The class as the user names it; what the raster tells of another one does not count."""
    left, right = split_pair(text)
    has_value = left is not None and left.isdecimal() and right
    value, name = (int(left), right) if left and has_value else (None, unquoted(text))
    if value is not None and not 0 < value < NODATA_VALUE:
        raise JobError(f"The class {text!r} has the value {value}; values are 1 to 254.")
    if name == UNKNOWN_NAME:
        raise JobError(
            f"{UNKNOWN_NAME!r} is what pixels without a class are called; name the class {text!r} "
            "otherwise."
        )
    if name == told.name:
        return ClassSource(name, value or told.value, told.color, told.threshold, told.part_of)
    return ClassSource(name, value, None, told.threshold)


def _is_of_steps(scale: float, offset: float) -> bool:
    return abs(scale * PROBABILITY_STEPS - 1) < 1e-9 and offset == 0


def _on_other_grids(first: RasterSource, odd: list[tuple[RasterSource, list[str]]]) -> str:
    """What differs from the first raster's grid, and how to warp it."""
    told = "; ".join(f"{source.path} in {' and '.join(found)}" for source, found in odd)
    sentence = f"Not all inputs lie on the grid of {first.path}: they differ, {told}. "
    return sentence + how_to_align(first, [source for source, _ in odd], "bilinear")
