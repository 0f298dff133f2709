# SPDX-License-Identifier: GPL-2.0-or-later
"""Read and write the image files of data sets, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .errors import DatasetError

RASTERS = (".tif", ".tiff", ".img", ".vrt", ".jp2")
SUFFIXES = (".jpg", ".jpeg", ".png", *RASTERS)
"""What counts as an image in a folder; in the order in which a stem is looked for."""

_MIDDLE = (2, 98)  # percentiles that are drawn black and white, where values are no bytes


def read_image(path: Path) -> np.ndarray:
    """Return an image as (H, W, B) in its own type; red first.

    GeoTIFFs and their like are read through GDAL and keep all bands but alpha.

    Raises
    ------
    DatasetError
        If the file is absent, damaged, or no image.
    """
    if path.suffix.lower() in RASTERS:
        return _read_raster(path)
    image = _read_picture(path, flatten=True)
    return image if image.ndim == 3 else image[..., None]


def read_labels(path: Path) -> np.ndarray:
    """Return a mask as stored: (H, W) ids, or (H, W, B) colours; a palette's indices are ids.

    Raises
    ------
    DatasetError
        If the file is absent, damaged, or no image.
    """
    if path.suffix.lower() in RASTERS:
        mask = _read_raster(path)
        return mask[..., 0] if mask.shape[-1] == 1 else mask
    mask = _read_picture(path, flatten=False)
    return mask.astype(np.uint8) if mask.dtype == bool else mask


def size_of(path: Path) -> tuple[int, int]:
    """Return (height, width) in px, of the header alone where the format allows it."""
    if path.suffix.lower() in RASTERS:
        return _read_raster(path).shape[:2]
    if not path.is_file():
        raise DatasetError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read as an image ({error})") from error


def write_png(path: Path, array: np.ndarray) -> None:
    """Write (H, W) or (H, W, 3) uint8 without loss."""
    Image.fromarray(array).save(path, compress_level=6)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Return image (H, W, B) of any type as (H, W, 3) uint8 to look at."""
    bands = (0, 1, 2) if image.shape[-1] >= 3 else (0, 0, 0)
    rgb = image[..., bands]
    if rgb.dtype == np.uint8:
        return rgb
    rgb = rgb.astype(np.float32)
    low, high = np.nanpercentile(rgb, _MIDDLE)
    return (np.clip((rgb - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)


def _read_picture(path: Path, flatten: bool) -> np.ndarray:
    if not path.is_file():
        raise DatasetError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            if flatten and image.mode not in ("L", "RGB", "I;16", "I", "F"):
                image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's, by format and damage
        raise DatasetError(f"{path}: cannot be read as an image ({error})") from error


def _read_raster(path: Path) -> np.ndarray:
    from unet_segmenter.engine.errors import InputError
    from unet_segmenter.engine.geometry import PixelWindow
    from unet_segmenter.engine.raster import RasterSource

    try:
        with RasterSource(str(path)) as raster:
            bands = raster.data_bands or tuple(range(1, raster.count + 1))
            window = PixelWindow.of_shape(raster.grid.shape)
            pixels, _valid = raster.read(window, bands, (-np.inf, np.inf))
            return np.ascontiguousarray(pixels)
    except InputError as error:
        raise DatasetError(f"{path}: {error}") from error
