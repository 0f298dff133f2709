# SPDX-License-Identifier: GPL-2.0-or-later
"""Chips of a georeferenced raster, labelled by polygons or by a class raster."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unet_segmenter.engine.errors import InputError
from unet_segmenter.engine.geometry import PixelWindow
from unet_segmenter.engine.raster import (
    AreaOfInterest,
    LabelledPolygons,
    RasterGrid,
    RasterSource,
)
from unet_segmenter.engine.vector import read_labelled_polygons, read_polygons

from ..chips import chip_windows
from ..classes import SourceClass
from ..errors import DatasetError
from ..images import possible_values
from ..palette import color_of, read_palette

UNLABELLED = "unlabelled"
"""The class of labelled areas outside of all polygons."""
_RASTERS = (".tif", ".tiff", ".img", ".vrt", ".jp2", ".png", ".asc")
_COUNTED = 1024  # px, side of the blocks in which the classes of a raster are looked for
_MOST_CLASSES = 254


@dataclass(frozen=True)
class ChipSource:
    """What the chips are cut from.

    Attributes
    ----------
    raster, labels : str
        The image, and a polygon layer or a class raster.
    field : str
        Attribute of the polygons that names the class; "" where all are of one.
    areas : str
        Polygons of the areas that are labelled whole, or "" for everywhere.
    palette : str
        Class list of a class raster, or "" to take the ids as names.
    bands : tuple of int
        Bands, from 1; empty means all but alpha.
    side, overlap : int
        Of the chips, px.
    """

    raster: str
    labels: str
    field: str = ""
    areas: str = ""
    palette: str = ""
    bands: tuple[int, ...] = ()
    side: int = 512
    overlap: int = 0


class GeoChips:
    """Chips on the raster's own grid; see `ChipSource`.

    Pixels with nodata, and those outside of the areas, are ignored. One thread reads at a time.

    Raises
    ------
    DatasetError
        If a file is absent or is not what it should be, or nothing is labelled.
    """

    default_ignore = ()
    license = ""
    citation = ""
    url = ""
    rim = 0
    default_split = "blocks"

    def __init__(self, source: ChipSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        try:
            self._raster = RasterSource(source.raster)
            self._values = possible_values(self._raster.dtype)
            self.bands = self._band_names()
            self._read_labels()
            self._areas = self._read_areas()
        except InputError as error:
            raise DatasetError(str(error)) from error
        size = self._raster.grid.pixel_size()
        self.gsd = None if size is None else round(float(np.sqrt(size[0] * size[1])), 6)
        self.title = Path(source.raster).stem
        windows = chip_windows(self._raster.grid.shape, source.side, source.overlap)
        digits = len(str(max(self._raster.grid.shape)))
        self._windows = {
            f"{self.title}_r{window.row:0{digits}d}_c{window.col:0{digits}d}": window
            for window in windows
        }
        # What nodata holds until the scaling is known.
        pixels = self._raster.sample(
            self._bands, self._values, PixelWindow.of_shape(self._raster.grid.shape)
        )
        if not pixels.size:
            raise DatasetError(f"{source.raster}: holds nothing but nodata")
        self._fill = pixels.mean(axis=0).astype(pixels.dtype)

    @property
    def default_classes(self) -> tuple[str, ...]:
        """All classes that the labels name, but those outside of the polygons."""
        return tuple(cls.name for cls in self.classes if cls.name != UNLABELLED)

    def names(self) -> list[str]:
        """Return the names of the chips, in rows."""
        return list(self._windows)

    def window(self, name: str) -> PixelWindow:
        """Return where a chip lies, px of the raster."""
        return self._windows[name]

    def grid(self, name: str) -> RasterGrid:
        """Return where a chip lies on Earth."""
        return self._raster.grid.crop(self._windows[name])

    def image(self, name: str) -> np.ndarray:
        """Return a chip (H, W, B) in the raster's type; nodata holds the raster's mean."""
        pixels, valid = self._read(name)
        image = np.ascontiguousarray(pixels)
        image[~valid] = self._fill
        return image

    def nodata(self, name: str) -> np.ndarray | None:
        """Return where a chip holds nothing, (H, W) bool, or None."""
        valid = self._read(name)[1]
        return None if valid.all() else ~valid

    def labels(self, name: str) -> np.ndarray:
        """Return the ids (H, W) int32 of a chip; -1 at nodata and outside of the areas."""
        window = self._windows[name]
        _pixels, valid = self._read(name)
        if self._polygons is not None:
            labels = self._polygons.burn(window, 0)
        else:
            with self._lock:
                labels = self._classes_raster.read_on(self.grid(name), -1)
        labels[~valid] = -1
        if self._areas is not None:
            labels[~self._areas.mask(window)] = -1
        return labels

    def group(self, name: str) -> str:
        """Return "": chips are kept together by blocks."""
        return ""

    def image_file(self, _name: str) -> None:
        """Return None: chips are cut out."""
        return

    def label_file(self, _name: str) -> Path:
        """Return the polygon layer or class raster."""
        return Path(self._source.labels)

    def lists(self) -> dict[str, list[str]]:
        """Return {}."""
        return {}

    def _read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            try:
                return self._raster.read(self._windows[name], self._bands, self._values)
            except InputError as error:
                raise DatasetError(str(error)) from error

    def _band_names(self) -> tuple[str, ...]:
        raster = self._raster
        self._bands = self._source.bands or raster.data_bands
        if beyond := [band for band in self._bands if not 1 <= band <= raster.count]:
            raise DatasetError(f"{raster.path}: has no band {beyond[0]}; it has {raster.count}")
        plain = ("red", "green", "blue", "nir") if len(self._bands) in (3, 4) else ()
        told = [raster.band_names[band - 1] for band in self._bands]
        return tuple(
            name or (plain[place] if plain else f"band {self._bands[place]}")
            for place, name in enumerate(told)
        )

    def _read_areas(self) -> AreaOfInterest | None:
        path = self._source.areas
        if not path:
            return None
        polygons, crs = read_polygons(path, "layer of areas")
        with _naming(path):
            return AreaOfInterest(polygons, crs, self._raster.grid)

    def _read_labels(self) -> None:
        source = self._source
        if not source.labels:
            raise DatasetError("a raster needs labels: name a polygon layer or a class raster")
        self._polygons = self._classes_raster = None
        if Path(source.labels).suffix.lower() in _RASTERS:
            self._classes_raster = RasterSource(source.labels)
            self.classes = self._classes_of_raster()
            return
        if source.field:
            polygons, texts, crs = read_labelled_polygons(source.labels, source.field)
        else:
            polygons, crs = read_polygons(source.labels, "polygon layer")
            texts = [Path(source.labels).stem] * len(polygons)
        if empty := texts.count(""):
            raise DatasetError(
                f"{source.labels}: {empty} of {len(texts)} polygons have no {source.field!r}; "
                "name their class, or delete them"
            )
        names = sorted(set(texts) - {UNLABELLED})
        listed = _listed(names) if not source.palette else read_palette(Path(source.palette))
        if unknown := [name for name in names if name not in {cls.name for cls in listed}]:
            raise DatasetError(f"{source.palette}: lists no class {unknown[0]!r}")
        self.classes = (
            SourceClass(0, UNLABELLED, "#000000"),
            *(SourceClass(i, cls.name, cls.color) for i, cls in enumerate(listed, 1)),
        )
        ids = {cls.name: cls.id for cls in self.classes}
        values = [ids[text] for text in texts]
        with _naming(source.labels):
            self._polygons = LabelledPolygons(polygons, values, crs, self._raster.grid)

    def _classes_of_raster(self) -> tuple[SourceClass, ...]:
        if self._source.palette:
            return read_palette(Path(self._source.palette))
        raster, grid = self._classes_raster, self._raster.grid
        found: set[int] = set()
        for window in chip_windows(grid.shape, _COUNTED):
            values = np.unique(raster.read_on(grid.crop(window), -1))
            found.update(values[values >= 0].tolist())
            if len(found) > _MOST_CLASSES:
                raise DatasetError(
                    f"{raster.path}: more than {_MOST_CLASSES} values; a class raster has few"
                )
        if not found:
            raise DatasetError(f"{raster.path}: has no class where {self._source.raster} lies")
        return tuple(SourceClass(value, str(value), color_of(value)) for value in sorted(found))


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Put the file before what is wrong with its polygons."""
    try:
        yield
    except InputError as error:
        raise DatasetError(f"{path}: {error}") from error


def _listed(names: Sequence[str]) -> tuple[SourceClass, ...]:
    return tuple(SourceClass(i, name, color_of(i - 1)) for i, name in enumerate(names, 1))
