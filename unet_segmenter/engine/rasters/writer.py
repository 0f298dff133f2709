# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes rasters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from ..errors import OutputError
from ..geometry import PixelWindow, Shape2D, ceil_to, floor_to
from ..raw_image import BandImage, PlacedPart, virtual_overview, virtual_raster
from .gdal import reason_of
from .grid import RasterGrid

_COG_BLOCK = 512


def write_raster(image: BandImage, grid: RasterGrid, target: Path, threads: int) -> None:
    """Write a raw file as a raster in the format of the target's suffix.

    GeoTIFFs come out cloud-optimised: tiled, compressed, with overviews inside.

    Raises
    ------
    OutputError
        If no driver writes that suffix, or the disk is full.
    """
    driver = driver_of(target)
    options: dict[str, Any] = {"driver": driver}
    if driver == "COG":
        options |= {
            "compress": "deflate",
            "level": 6,
            "predictor": "no" if image.is_category or image.dtype == "uint8" else "yes",
            "overview_resampling": "mode" if image.is_category else "average",
            "blocksize": _COG_BLOCK,
            "num_threads": threads,
            "bigtiff": "if_safer",
        }
    made: list[Path] = []
    try:
        with rasterio.Env(GDAL_PAM_ENABLED="YES", GDAL_TIFF_INTERNAL_MASK="YES"):
            description = _described(image, grid, driver, made)
            if image.windows is not None and driver == "COG":
                options["sparse_ok"] = "yes"
            rasterio.shutil.copy(str(description), str(target), **options)
    except (rasterio.errors.RasterioError, OSError) as error:
        raise OutputError(f"{target.name} could not be written: {reason_of(error)}") from error
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def _described(image: BandImage, grid: RasterGrid, driver: str, made: list[Path]) -> Path:
    """The image as a virtual raster; files made for it are added to `made`."""
    part = None if image.windows is None else _part(image, grid.shape, driver, made)
    description = image.path.with_suffix(".vrt")
    made.append(description)
    text = virtual_raster(image, grid.shape, grid.transform, grid.crs, part)
    description.write_text(text, encoding="utf-8")
    return description


def _part(image: BandImage, shape: Shape2D, driver: str, made: list[Path]) -> PlacedPart:
    """What an image holds that is nodata elsewhere, as a file with overviews of its own.

    GDAL would read every pixel of the whole image to make its overviews; it takes these.
    """
    factors = [1]
    while driver == "COG" and max(shape) / factors[-1] > _COG_BLOCK:
        factors.append(2 * factors[-1])
    window = _bounds(image.windows or (), factors[-1], shape)
    path = image.path.with_suffix(".part.tif")
    part = PlacedPart(path.name, window, tuple(factors))
    made.append(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        _write_part(image, part, path, shape)
    for level in range(1, len(factors)):
        overview = path.with_name(part.overview_name(level))
        made.append(overview)
        overview.write_text(virtual_overview(image, shape, part, level), encoding="utf-8")
    return part


def _write_part(image: BandImage, part: PlacedPart, path: Path, shape: Shape2D) -> None:
    window, count = part.window, len(image.descriptions)
    pixels = np.memmap(image.path, image.dtype, "r", shape=(count, *shape))
    with rasterio.open(
        path, "w+", driver="GTiff", height=window.height, width=window.width, count=count,
        dtype=image.dtype, nodata=image.nodata, tiled=True, sparse_ok=True,
        bigtiff="if_safer", photometric="minisblack",
    ) as dataset:  # fmt: skip
        for written in image.windows or ():
            place = written.relative_to(window)
            there = Window(place.col, place.row, place.width, place.height)
            dataset.write(pixels[(slice(None), *written.slices)], window=there)
        if len(part.factors) > 1:
            method = Resampling.mode if image.is_category else Resampling.average
            dataset.build_overviews(part.factors[1:], method)


def _bounds(windows: Sequence[PixelWindow], step: int, shape: Shape2D) -> PixelWindow:
    """The smallest window around all, from multiples of a step on; a pixel where there is none."""
    row = floor_to(min((w.row for w in windows), default=0), step)
    col = floor_to(min((w.col for w in windows), default=0), step)
    row_stop = max((w.row_stop for w in windows), default=1)
    col_stop = max((w.col_stop for w in windows), default=1)
    height, width = ceil_to(row_stop - row, step), ceil_to(col_stop - col, step)
    found = PixelWindow(row, col, height, width).intersect(PixelWindow.of_shape(shape))
    assert found is not None
    return found


# Formats that hold every output without loss: any number of bands, uint8 and float32, nodata.
DRIVERS = {".tif": "COG", ".tiff": "COG", ".img": "HFA"}


def driver_of(path: Path) -> str:
    """GDAL driver for an output's suffix.

    Raises
    ------
    OutputError
        If the suffix is not in `DRIVERS`.
    """
    try:
        return DRIVERS[path.suffix.lower()]
    except KeyError as error:
        *first, last = DRIVERS
        raise OutputError(
            f"Nothing can be written to {path.name}: of the suffix {path.suffix!r} no format is "
            f"known that holds every map without loss; use {', '.join(first)} or {last}."
        ) from error


def write_geotiff(
    path: Path,
    pixels: NDArray[np.generic],
    grid: RasterGrid | None,
    band_names: tuple[str, ...] = (),
) -> None:
    """Write pixels as a plain, losslessly compressed GeoTIFF.

    Parameters
    ----------
    path : Path
        File to write.
    pixels : ndarray, shape (H, W, B)
        Values of any type that GDAL supports.
    grid : RasterGrid or None
        Where they lie; None writes no georeference.
    band_names : tuple of str
        Descriptions of the bands, one each or none.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    height, width, count = pixels.shape
    where: dict[str, Any] = {}
    if grid is not None:
        where = {"transform": rasterio.Affine(*grid.transform), "crs": grid.crs}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                height=height,
                width=width,
                count=count,
                dtype=pixels.dtype,
                compress="deflate",
                **where,
            ) as dataset:
                # No alpha: GDAL takes the fourth band of bytes for one.
                dataset.colorinterp = _plain_meanings(count)
                dataset.write(np.moveaxis(pixels, -1, 0))
                for band, name in enumerate(band_names[:count], 1):
                    dataset.set_band_description(band, name)
    except (rasterio.errors.RasterioError, OSError) as error:
        raise OutputError(f"{path.name} could not be written: {reason_of(error)}") from error


def _plain_meanings(count: int) -> list[ColorInterp]:
    """Red, green and blue if there are three bands or more, then bands without meaning."""
    if count < 3:
        return [ColorInterp.gray, ColorInterp.undefined][:count]
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    return colors + [ColorInterp.undefined] * (count - 3)
