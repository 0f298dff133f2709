# SPDX-License-Identifier: GPL-2.0-or-later
"""One sample on its way into a prepared data set: read, map, resize, count, write."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .answers import YES, positive_pixels
from .classes import ClassMap
from .dataset import IGNORE
from .datasets import Reader
from .errors import DatasetError
from .images import read_image, write_png
from .prepare_spec import LEAST_SIDE
from .similarity import describe

if TYPE_CHECKING:
    from unet_segmenter.engine.rasters.grid import RasterGrid

_COPIED = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


@dataclass(frozen=True)
class Record:
    """What is known of a sample that was written.

    Attributes
    ----------
    image, mask : str
        Paths in the data set's folder.
    pixels : ndarray, shape (256,)
        Pixels of each code of the mask.
    positive : ndarray, shape (K,)
        Pixels that are of each class.
    zoom : float
        Side of the sample as a share of its source's.
    nodata : ndarray or None
        Where the image holds nothing, (H, W) bool.
    known : int
        Pixels that hold data; what follows is of them.
    total, squares : ndarray, shape (B,)
        Sum of the values and of their squares.
    lowest, highest : float
        Smallest and largest value.
    look : ndarray
        Descriptor of what the image looks like, see `training.similarity`.
    polygons : ndarray, shape (n,)
        Numbers of the polygons that label it, where polygons do.
    """

    name: str
    image: str
    mask: str
    height: int
    width: int
    bands: int
    data_type: str
    pixels: np.ndarray
    positive: np.ndarray
    zoom: float
    nodata: np.ndarray | None
    known: int
    total: np.ndarray
    squares: np.ndarray
    lowest: float
    highest: float
    look: np.ndarray
    polygons: np.ndarray


def make_sample(
    reader: Reader,
    name: str,
    class_map: ClassMap,
    folder: Path,
    scale: float = 1.0,
    size: tuple[int, ...] = (),
    least: tuple[float, float] = (0.0, 0.0),
) -> Record | None:
    """Write image and mask below ``folder``; return the record, or None for an empty sample.

    Parameters
    ----------
    scale : float
        Factor of the sides.
    size : tuple of int
        Width and height in px instead, or ().
    least : (float, float)
        Share of the pixels that must be labelled, and that must be of one of the classes. A
        sample without any labelled pixel is empty in any case.

    Raises
    ------
    DatasetError
        If a file is absent or damaged, or image and mask do not fit each other or the classes.
    """
    image = reader.image(name)
    mask = class_map.apply(reader.labels(name), reader.label_file(name))
    if image.shape[:2] != mask.shape:
        raise DatasetError(
            f"{reader.label_file(name)}: the mask is {mask.shape[1]}x{mask.shape[0]}, its image "
            f"{image.shape[1]}x{image.shape[0]}"
        )
    source_area = mask.size
    size = size or tuple(max(1, round(side * scale)) for side in mask.shape[::-1])
    if min(size) < LEAST_SIDE:
        raise DatasetError(
            f"{reader.image_file(name) or name}: would be {size[0]}x{size[1]} px; samples have "
            f"{LEAST_SIDE} px a side or more. Leave it out, or ask for another scale or size"
        )
    image, nodata = without_nodata(image, reader.nodata(name))
    unchanged = size == mask.shape[::-1] and nodata is None
    if size != mask.shape[::-1]:
        image, mask = resize_image(image, size), resize_mask(mask, size)
        nodata = None if nodata is None else resize_mask(nodata, size)
    if nodata is not None:
        mask[nodata] = IGNORE
    pixels = np.bincount(mask.ravel(), minlength=256)
    labelled = 1 - pixels[IGNORE] / mask.size
    of_some_class = pixels[(class_map.answers == YES).any(axis=1)].sum() / mask.size
    if labelled == 0 or labelled < least[0] or of_some_class < least[1]:
        return None
    source = reader.image_file(name) if unchanged else None
    written = _write_image(image, source, reader, name, folder / "images")
    write_png(folder / "masks" / f"{name}.png", mask)
    flat = image.reshape(-1, image.shape[-1]) if nodata is None else image[~nodata]
    total, squares = _sums(flat)
    return Record(
        name=name,
        image=f"images/{written}",
        mask=f"masks/{name}.png",
        height=mask.shape[0],
        width=mask.shape[1],
        bands=image.shape[-1],
        data_type=image.dtype.name,
        pixels=pixels,
        positive=positive_pixels(pixels, class_map.answers),
        zoom=float(np.sqrt(mask.size / source_area)),
        nodata=nodata,
        known=len(flat),
        total=total,
        squares=squares,
        lowest=float(flat.min()),
        highest=float(flat.max()),
        look=describe(image),
        polygons=reader.polygons(name) if hasattr(reader, "polygons") else np.zeros(0, np.int64),
    )


def without_nodata(
    image: np.ndarray, nodata: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return image (H, W, B) with its mean at nodata, and where that is (H, W), or None.

    What is no finite number is nodata, too. So resampling mixes nothing into what is data.
    """
    if np.issubdtype(image.dtype, np.floating):
        unknown = ~np.isfinite(image).all(axis=-1)
        nodata = unknown if nodata is None else nodata | unknown
    if nodata is None or not nodata.any():
        return image, None
    known = image[~nodata]
    image = image.copy()
    image[nodata] = known.mean(axis=0) if len(known) else 0
    return image, nodata


def fill_nodata(record: Record, reader: Reader, folder: Path, value: np.ndarray) -> None:
    """Write ``value`` (B,) at nodata of a sample that was written below ``folder``."""
    if record.nodata is None:
        return
    image = np.array(read_image(folder / record.image))
    image[record.nodata] = value.astype(image.dtype)
    _write_image(image, None, reader, record.name, folder / "images")


def resize_image(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return image (H, W, B) brought to ``size`` (width, height) by Lanczos, in its own type."""
    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    bands = [
        np.asarray(
            Image.fromarray(image[..., band].astype(np.float32)).resize(
                size, Image.Resampling.LANCZOS
            )
        )
        for band in range(image.shape[-1])
    ]
    resized = np.stack(bands, axis=-1)
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        resized = np.clip(np.rint(resized), limits.min, limits.max)
    return resized.astype(image.dtype)


def resize_mask(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return mask (H, W) brought to ``size`` (width, height) by nearest: no class is invented."""
    return np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST), mask.dtype)


def _sums(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of (N, B) values and of their squares, (B,) float64 each."""
    if values.dtype == np.uint8:  # counting is exact, and quicker
        levels = np.arange(256, dtype=np.float64)
        counts = np.stack([np.bincount(band, minlength=256) for band in values.T])
        return counts @ levels, counts @ levels**2
    values = values.astype(np.float64)
    return values.sum(axis=0), np.square(values).sum(axis=0)


def _grid_of(reader: Reader, name: str, shape: tuple[int, int]) -> RasterGrid | None:
    """Return where a sample of ``shape`` lies on Earth, if its reader knows."""
    if not hasattr(reader, "grid"):
        return None
    grid = reader.grid(name)
    down, right = (was / now for was, now in zip(grid.shape, shape, strict=True))
    a, b, x, d, e, y = grid.transform
    transform = (a * right, b * down, x, d * right, e * down, y)
    return replace(grid, shape=shape, transform=transform)


def _write_image(
    image: np.ndarray, source: Path | None, reader: Reader, name: str, folder: Path
) -> str:
    """Copy the source where it is the image, else write it without loss; return the file's name."""
    if source is not None and source.suffix.lower() in _COPIED:
        target = folder / f"{name}{source.suffix.lower()}"
        shutil.copyfile(source, target)
        return target.name
    grid = _grid_of(reader, name, image.shape[:2])
    if grid is None and image.dtype == np.uint8 and image.shape[-1] in (1, 3):
        write_png(folder / f"{name}.png", image if image.shape[-1] == 3 else image[..., 0])
        return f"{name}.png"
    from unet_segmenter.engine.rasters.writer import write_geotiff

    target = folder / f"{name}.tif"
    write_geotiff(target, image, grid, reader.bands)
    if read_image(target).shape != image.shape:
        raise DatasetError(f"{target}: reads back with other bands than were written")
    return target.name
