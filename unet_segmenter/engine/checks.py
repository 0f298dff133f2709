# SPDX-License-Identifier: GPL-2.0-or-later
"""Does this raster suit this model? Errors where it cannot, warnings where it may not."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, JobError
from .geometry import PixelWindow
from .model_card import ModelCard
from .rasters.image import ImageSource
from .rasters.source import RasterSource

_STRAY_SHARE = 0.001
_FARTHEST = 3.0
_GDAL_TYPES = {"uint8": "Byte", **{name.lower(): name for name in (
    "Int8", "UInt16", "Int16", "UInt32", "Int32", "Float32", "Float64",
)}}  # fmt: skip


def choose_bands(source: RasterSource, card: ModelCard, bands: tuple[int, ...]) -> tuple[int, ...]:
    """The raster's bands (from 1) for the model's inputs.

    Raises
    ------
    JobError
        If bands are named that do not fit the model.
    InputError
        If the raster lacks one of them.
    """
    names = card.input.bands
    if bands and len(bands) != len(names):
        raise JobError(
            f"The model {card.name} takes {len(names)} bands ({', '.join(names)}), but "
            f"{len(bands)} were named: {', '.join(map(str, bands))}."
        )
    absent = [band for band in bands if band > source.count]
    if absent:
        raise InputError(
            f"{source.path} has no band {absent[0]}; it has {source.count} "
            f"band{'s' if source.count > 1 else ''}."
        )
    if bands:
        return bands
    if len(source.data_bands) < len(names):
        raise InputError(
            f"The model {card.name} takes {len(names)} bands ({', '.join(names)}), but "
            f"{source.path} has {len(source.data_bands)} (transparency not counted). Choose "
            "another raster or model, or name bands, of which one may stand several times."
        )
    return source.data_bands[: len(names)]


def check_values(
    source: ImageSource, card: ModelCard, bands: tuple[int, ...], region: PixelWindow
) -> list[str]:
    """Compare a sample of the raster's values with what the model was made for.

    Parameters
    ----------
    source : ImageSource
        The raster.
    card : ModelCard
        The model.
    bands : tuple of int
        Bands (from 1) that the model will see.
    region : PixelWindow
        The part of the raster that is to be segmented.

    Returns
    -------
    list of str
        Warnings.

    Raises
    ------
    InputError
        If the values are on another scale, or there is no data at all.
    """
    low, high = card.input.value_range
    warnings = source.warnings((low, high), region)
    sample = source.sample(bands, (low, high), region).astype(np.float64)
    if not sample.size:
        return [*warnings, f"{source.path} seems to hold nothing but nodata."]
    outside = float(np.mean((sample < low) | (sample > high)))
    found = f"values from {sample.min():g} to {sample.max():g}"
    wanted = f"the model {card.name} was made for {low:g} to {high:g}"
    remedy = f"Rescale it first, for example: {_rescaling(sample, source, card, bands)}"
    if outside > _STRAY_SHARE:
        raise InputError(f"{source.path} ({source.dtype}) has {found}, but {wanted}. {remedy}")
    if outside > 0:
        warnings.append(
            f"{outside:.2%} of the sampled values lie outside {low:g} to {high:g} and are clipped."
        )
    if sample.max() <= low + (high - low) / 100 and np.issubdtype(source.dtype, np.floating):
        raise InputError(
            f"{source.path} ({source.dtype}) has {found}, but {wanted}: it seems to be on "
            f"another scale. {remedy}"
        )
    if source.dtype not in card.input.data_type:
        warnings.append(
            f"{source.path} is {source.dtype}; the model {card.name} was made for "
            f"{', '.join(card.input.data_type)}. Its {found} fit, so it is used as it is."
        )
    return warnings


def check_resolution(source: RasterSource, card: ModelCard) -> list[str]:
    """Warn where the ground sampling distance is unknown or not the model's.

    Returns
    -------
    list of str
        Warnings.

    Raises
    ------
    InputError
        If pixels are more than three times as large, or as small, as any of the model's.
    """
    size = source.grid.pixel_size()
    if size is None:
        return [
            f"{source.path} has no coordinate reference system: the map has none either, and its "
            "resolution cannot be compared with the model's."
        ]
    if card.input.gsd_range is None:
        return []
    low, high = card.input.gsd_range
    gsd = (size[0] + size[1]) / 2
    if low <= gsd <= high:
        return []
    found = f"{source.path} has pixels of {gsd:.3g} m on the ground"
    known = f"the model {card.name} was trained on pixels of {low:g} to {high:g} m"
    wanted = low if gsd < low else high
    width, height = source.grid.pixel_units()
    # A little inside the range, as gdalwarp rounds to whole pixels.
    factor = wanted / gsd * (1.02 if gsd < low else 0.98)
    remedy = (
        f"resample it to pixels of {wanted:g} m (gdalwarp -r "
        f"{'average' if gsd < low else 'bilinear'} -tr {width * factor:.6g} "
        f"{height * factor:.6g} INPUT OUTPUT)"
    )
    if low / _FARTHEST <= gsd <= high * _FARTHEST:
        return [
            f"{found}; {known}, so expect a worse map. For a better one {remedy}, or choose a "
            "model made for this resolution."
        ]
    detail = "" if gsd < low else ", although it gains no detail by that"
    raise InputError(
        f"{found}, but {known}: at more than {_FARTHEST:g} times that its map would be wrong. "
        f"Choose a model made for this resolution, or {remedy}{detail}."
    )


def _rescaling(
    sample: NDArray[np.float64], source: ImageSource, card: ModelCard, bands: tuple[int, ...]
) -> str:
    """The command that brings most of the values sampled to where the training images had theirs.

    All others end within the model's range: with an exponent GDAL clips what it scales.
    """
    low, high = np.percentile(sample, (0.5, 99.5))
    scale, offset = source.scales[bands[0] - 1]  # GDAL rescales the values as they are stored
    low, high = (low - offset) / scale, (high - offset) / scale
    true = "" if (scale, offset) == (1, 0) else " -a_scale 1 -a_offset 0"
    kind = source.dtype if source.dtype in card.input.data_type else card.input.data_type[0]
    first, last = _usual_values(card, kind)
    clip = "" if kind == "uint8" and (first, last) == (0, 255) else " -exponent 1"
    return (
        f"gdal_translate -ot {_GDAL_TYPES.get(kind, kind)} -scale {low:.9g} {high:.9g} "
        f"{first:.9g} {last:.9g}{clip}{true} INPUT OUTPUT"
    )


def _usual_values(card: ModelCard, kind: str) -> tuple[float, float]:
    """Between which values most of those lie that the model was trained on.

    Two standard deviations about the mean of each band, within the model's range; the range where
    the scaling does not tell the values' spread.
    """
    low, high = card.input.value_range
    mean, stddev = np.asarray(card.input.mean), np.asarray(card.input.stddev)
    first, last = float((mean - 2 * stddev).min()), float((mean + 2 * stddev).max())
    first, last = max(first, low), min(last, high)
    if last - first < (high - low) / 100:
        first, last = low, high
    if np.issubdtype(kind, np.integer):
        return math.ceil(first), math.floor(last)
    # A hair inside, as the raster's type may round the last digit outwards.
    return first + (last - first) * 1e-6, last - (last - first) * 1e-6
