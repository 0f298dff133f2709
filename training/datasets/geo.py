# SPDX-License-Identifier: GPL-2.0-or-later
"""Chips of a georeferenced raster, labelled by polygons or by a class raster."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unet_segmenter.engine.errors import InputError
from unet_segmenter.engine.geometry import PixelWindow
from unet_segmenter.engine.rasters.grid import RasterGrid
from unet_segmenter.engine.rasters.image import ImageSource
from unet_segmenter.engine.rasters.options import SourceOptions
from unet_segmenter.engine.rasters.polygons import AreaOfInterest, LabelledPolygons
from unet_segmenter.engine.rasters.source import RasterSource
from unet_segmenter.engine.vector import read_labelled_polygons, read_polygons

from ..chip_plan import ChipPlan, plan_chips
from ..chips import chip_windows
from ..classes import SourceClass
from ..errors import DatasetError
from ..images import possible_values
from ..palette import color_of, read_palette
from ..prepare_spec import LABELLED

UNLABELLED = "unlabelled"
"""The class of labelled areas outside of all polygons."""
AUTO, EVERYTHING, SAMPLES = LABELLED
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
        Polygons of the areas that are labelled whole, or "".
    samples : str
        One of `LABELLED`: whether a pixel without a polygon is none of the classes, or open.
        "auto" is everything where areas are given, and samples elsewhere.
    palette : str
        Class list of a class raster, or "" to take the ids as names.
    bands : tuple of int
        Bands, from 1; empty means all but alpha.
    nodata : tuple of float
        Values of the raster that are no data, beside its own.
    crs : str
        CRS of the raster, or "" for its own.
    side, overlap : int
        Of the chips, px. Side 0 leaves both to `GeoChips.plan`.
    """

    raster: str
    labels: str
    field: str = ""
    areas: str = ""
    palette: str = ""
    bands: tuple[int, ...] = ()
    side: int = 512
    overlap: int = 0
    samples: str = AUTO
    nodata: tuple[float, ...] = ()
    crs: str = ""

    @property
    def open_elsewhere(self) -> bool:
        """Whether nothing is known of the pixels that no polygon covers."""
        return self.samples == SAMPLES or (self.samples == AUTO and not self.areas)


class GeoChips:
    """Chips on the raster's own grid; see `ChipSource`.

    Pixels with nodata, those outside of the areas and, where samples alone were labelled, those
    outside of all polygons are ignored. One thread reads at a time.

    Attributes
    ----------
    polygon_classes : ndarray of int64, shape (N,)
        The class id of each polygon; empty for a class raster.

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
            options = SourceOptions(source.nodata, source.crs or None, source.bands)
            self._raster = ImageSource(source.raster, options)
            self._values = possible_values(self._raster.dtype)
            self.bands = self._band_names()
            self._read_labels()
            self._areas = self._read_areas()
        except InputError as error:
            raise DatasetError(str(error)) from error
        size = self._raster.grid.pixel_size()
        self.gsd = None if size is None else round(float(np.sqrt(size[0] * size[1])), 6)
        self.title = Path(source.raster).stem
        self._plan: ChipPlan | None = None
        self._blocks: dict[str, PixelWindow] = {}
        self._windows: dict[str, PixelWindow] = {}
        if source.side:
            shape = self._raster.grid.shape
            self._cut(chip_windows(shape, source.side, source.overlap))
        # What nodata holds until the scaling is known.
        pixels = self._raster.sample(
            self._bands, self._values, PixelWindow.of_shape(self._raster.grid.shape)
        )
        if not pixels.size:
            raise DatasetError(f"{source.raster}: holds nothing but nodata")
        self._fill = pixels.mean(axis=0).astype(pixels.dtype)

    def plan(self, fractions: Sequence[float], seed: int, gap: int) -> None:
        """Cut chips as large as leaves each side of a split some of every class.

        Raises
        ------
        DatasetError
            If there are too few labels for that.
        """
        highest = max((cls.id for cls in self.classes), default=0)
        with _naming(self._source.labels):
            self._plan = plan_chips(
                self._raster.grid.shape, self._labels, highest + 1, fractions, seed, gap
            )
        shape = self._raster.grid.shape
        self._cut(self._plan.windows)
        self._blocks = self._windows
        self._windows = {
            name: self._plan.chip(block, shape) for name, block in self._blocks.items()
        }

    @property
    def sides(self) -> dict[str, str]:
        """The side of the split of each chip, where they were planned for one; else nothing."""
        return dict(zip(self._blocks, self._plan.sides, strict=True)) if self._plan else {}

    @property
    def plan_notes(self) -> tuple[str, ...]:
        """Sentences of the report on chips whose size was chosen automatically."""
        if self._plan is None:
            return ()
        return (
            f"blocks of about {self._plan.side} px, as large as leaves each side some of every "
            f"class; within {self._plan.gap} px of another side labels are ignored, "
            "and chips show a block's surroundings without their labels",
        )

    def _cut(self, windows: Iterable[PixelWindow]) -> None:
        digits = len(str(max(self._raster.grid.shape)))
        self._windows = {
            f"{self.title}_r{window.row:0{digits}d}_c{window.col:0{digits}d}": window
            for window in windows
        }

    @property
    def default_classes(self) -> tuple[str, ...]:
        """All classes that the labels name, but those outside of the polygons."""
        return tuple(cls.name for cls in self.classes if cls.name != UNLABELLED)

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read chip by chip."""
        labels = self._classes_raster.files if self._classes_raster else ()
        return (*self._raster.files, *labels)

    def warnings(self) -> list[str]:
        """Return what the user should know of the raster before it teaches."""
        return self._raster.warnings(self._values)

    def names(self) -> list[str]:
        """Return the names of the chips, in rows."""
        return list(self._windows)

    def window(self, name: str) -> PixelWindow:
        """Return where a chip lies, px of the raster."""
        return self._windows[name]

    def grid(self, name: str) -> RasterGrid:
        """Return where a chip lies on Earth."""
        return self._raster.grid.crop(self._windows[name])

    def block_grid(self, name: str) -> RasterGrid:
        """Return where a chip's labels lie on Earth: the chip, or its block of a planned split."""
        return self._raster.grid.crop(self._blocks.get(name, self._windows[name]))

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
        """Return the ids (H, W) int32 of a chip; -1 where nothing is known."""
        _pixels, valid = self._read(name)
        labels = self._labels(self._windows[name])
        labels[~valid] = -1
        if self._plan is not None:
            self._plan.hide(labels, self._blocks[name], self.sides[name], self._windows[name])
        return labels

    def _labels(self, window: PixelWindow) -> np.ndarray:
        """Return the ids (H, W) int32 in a window, nodata or not."""
        if self._polygons is not None:
            labels = self._ids[self._polygons.burn(window, 0)]
        else:
            with self._lock:
                labels = self._classes_raster.read_on(self._raster.grid.crop(window), -1)
        if self._areas is not None:
            labels[~self._areas.mask(window)] = -1
        return labels

    def polygons(self, name: str) -> np.ndarray:
        """Return the numbers (n,) of the polygons that label a pixel of a chip, from 0."""
        if self._polygons is None:
            return np.zeros(0, np.int64)
        window = self._windows[name]
        numbers = self._polygons.burn(window, 0)
        if self._areas is not None:
            numbers[~self._areas.mask(window)] = 0
        if self._plan is not None:
            known = numbers.copy()
            self._plan.hide(known, self._blocks[name], self.sides[name], window)
            numbers[known < 0] = 0
        return np.unique(numbers[numbers > 0]) - 1

    @property
    def labelled(self) -> str:
        """How much was labelled: of `LABELLED`, without "auto"."""
        sparse = self._polygons is not None and self._source.open_elsewhere
        return SAMPLES if sparse else EVERYTHING

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
        self.polygon_classes = np.zeros(0, np.int64)
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
        self.polygon_classes = np.array([ids[text] for text in texts], np.int64)
        elsewhere = -1 if source.open_elsewhere else 0
        self._ids = np.append(elsewhere, self.polygon_classes).astype(np.int32)
        numbers = range(1, len(texts) + 1)
        with _naming(source.labels):
            self._polygons = LabelledPolygons(polygons, numbers, crs, self._raster.grid)
        if not self._polygons.touch_grid:
            raise DatasetError(
                f"{source.labels}: no polygon lies where {self._raster.path} lies; check that "
                "both have the right CRS"
            )

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
    except (InputError, DatasetError) as error:
        raise DatasetError(f"{path}: {error}") from error


def _listed(names: Sequence[str]) -> tuple[SourceClass, ...]:
    return tuple(SourceClass(i, name, color_of(i - 1, name)) for i, name in enumerate(names, 1))
