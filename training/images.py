# SPDX-License-Identifier: GPL-2.0-or-later
"""Read and write the image files of data sets, with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .errors import DatasetError

if TYPE_CHECKING:
    from unet_segmenter.engine.rasters.source import RasterSource

RASTERS = (".tif", ".tiff", ".img", ".vrt", ".jp2")
SUFFIXES = (".jpg", ".jpeg", ".png", *RASTERS)
"""What counts as an image in a folder; in the order in which a stem is looked for."""

_MIDDLE = (2, 98)  # percentiles that are drawn black and white, where values are no bytes


def read_image(path: Path) -> np.ndarray:
    """Return an image as (H, W, B) in its own type; red first.

    GeoTIFFs and their like, and colours of 16 bits, are read through GDAL; alpha is left out.

    Raises
    ------
    DatasetError
        If the file is absent, damaged, or no image.
    """
    if _needs_gdal(path):
        return _read_raster(path)[0]
    image = _read_picture(path, flatten=True)
    return image if image.ndim == 3 else image[..., None]


def read_labels(path: Path) -> np.ndarray:
    """Return a mask as stored: (H, W) ids, or (H, W, B) colours; a palette's indices are ids.

    Raises
    ------
    DatasetError
        If the file is absent, damaged, or no image.
    """
    if _needs_gdal(path):
        mask = _read_raster(path, labels=True)[0]
        return mask[..., 0] if mask.shape[-1] == 1 else mask
    mask = _read_picture(path, flatten=False)
    return mask.astype(np.uint8) if mask.dtype == bool else mask


def nodata_of(path: Path) -> np.ndarray | None:
    """Return where an image holds nothing, (H, W) bool, or None if it holds something all over.

    That is its nodata value, its mask band, and what is wholly transparent.
    """
    if _needs_gdal(path):
        with _raster(path, labels=True) as raster:
            if not raster.may_lack_data:
                return None
        nodata = ~_read_raster(path, labels=True)[1]
    else:
        with _opened(path) as image:
            if not image.has_transparency_data:
                return None
            nodata = np.asarray(image.convert("RGBA").getchannel("A")) == 0
    return nodata if nodata.any() else None


def possible_values(data_type: str) -> tuple[float, float]:
    """Return between which values a nodata value is one that data may have, too.

    The engine asks the model's range of values: such a pixel lacks data only if all bands hold it,
    with any other value if one does. Before the range is known, 0 and any byte may be data.
    """
    return (0, 255) if data_type == "uint8" else (0, 0)


def palette_of(path: Path) -> np.ndarray | None:
    """Return the colours (N, 3) uint8 by index of an indexed picture or raster, or None."""
    if _needs_gdal(path):
        with _raster(path, labels=True) as raster:
            table = raster.class_colors(1) if raster.count == 1 else {}
        colors = np.zeros((max(table, default=-1) + 1, 3), np.uint8)
        for value, color in table.items():
            colors[value] = tuple(bytes.fromhex(color[1:]))
    else:
        with _opened(path) as image:
            listed = image.getpalette("RGB") if image.mode == "P" else None
        colors = np.array(listed or [], np.uint8).reshape(-1, 3)
    return colors if len(colors) else None


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


def _needs_gdal(path: Path) -> bool:
    """Return whether Pillow does not read a file whole: rasters, and PNGs of 16-bit colours."""
    if path.suffix.lower() in RASTERS:
        return True
    if path.suffix.lower() != ".png" or not path.is_file():
        return False
    with path.open("rb") as file:
        depth_and_kind = file.read(26)[24:]
    return depth_and_kind[:1] == b"\x10" and depth_and_kind[1:] != b"\0"


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if not path.is_file():
        raise DatasetError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's, by format and damage
        raise DatasetError(f"{path}: cannot be read as an image ({error})") from error


def _read_picture(path: Path, flatten: bool) -> np.ndarray:
    with _opened(path) as image:
        if flatten and image.mode not in ("L", "RGB", "I;16", "I", "F"):
            image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
        return np.asarray(image)


@contextmanager
def _raster(path: Path, *, labels: bool = False) -> Iterator[RasterSource]:
    """An open raster; of labels the stored values count, of an image the true ones."""
    from unet_segmenter.engine.errors import InputError
    from unet_segmenter.engine.rasters.image import ImageSource
    from unet_segmenter.engine.rasters.options import SourceOptions
    from unet_segmenter.engine.rasters.source import RasterSource

    kind = RasterSource if labels else ImageSource
    try:
        with kind(str(path), SourceOptions(needs_place=False)) as raster:
            yield raster
    except InputError as error:
        raise DatasetError(f"{path}: {error}") from error


def _read_raster(path: Path, *, labels: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (H, W, B), and where they hold data (H, W)."""
    from unet_segmenter.engine.geometry import PixelWindow

    with _raster(path, labels=labels) as raster:
        bands = raster.data_bands or tuple(range(1, raster.count + 1))
        window = PixelWindow.of_shape(raster.grid.shape)
        pixels, valid = raster.read(window, bands, possible_values(raster.dtype))
        return np.ascontiguousarray(pixels), valid
