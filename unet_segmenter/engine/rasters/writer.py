# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes rasters."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from ..errors import OutputError
from ..raw_image import BandImage, virtual_raster
from .gdal import reason_of
from .grid import RasterGrid


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
            "blocksize": 512,
            "num_threads": threads,
            "bigtiff": "if_safer",
        }
    description = image.path.with_suffix(".vrt")
    description.write_text(
        virtual_raster(image, grid.shape, grid.transform, grid.crs), encoding="utf-8"
    )
    try:
        with rasterio.Env(GDAL_PAM_ENABLED="YES", GDAL_TIFF_INTERNAL_MASK="YES"):
            rasterio.shutil.copy(str(description), str(target), **options)
    except (rasterio.errors.RasterioError, OSError) as error:
        raise OutputError(f"{target.name} could not be written: {reason_of(error)}") from error
    finally:
        description.unlink(missing_ok=True)


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
        raise OutputError(
            f"Nothing can be written to {path.name}: of the suffix {path.suffix!r} no format is "
            f"known that holds every map without loss; use .tif (or {', '.join(DRIVERS)})."
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
        Values of any type that GDAL knows.
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
