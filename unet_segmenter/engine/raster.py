# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes georeferenced rasters: the only module that imports rasterio."""

from __future__ import annotations

import hashlib
import html
import json
import logging
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
import rasterio.features
import rasterio.shutil
import rasterio.vrt
import rasterio.warp
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.windows import Window

from .errors import InputError, OutputError
from .geometry import PixelWindow, Shape2D
from .pixel_metric import Ellipsoid, PixelMetric
from .raw_image import BandImage, virtual_raster

logging.getLogger("rasterio").setLevel(logging.CRITICAL)  # its news reach the user as errors

_SAMPLE_SIDE = 128
_SAMPLES_A_SIDE = 6
_CACHE = 16 << 20
_STRIPED_CACHE = 512 << 20


@dataclass(frozen=True)
class RasterGrid:
    """Where the pixels of a raster lie.

    Parameters
    ----------
    shape : Shape2D
        Height and width in px.
    transform : tuple of float
        The six numbers a, b, c, d, e, f of x = a col + b row + c, y = d col + e row + f.
    crs : str or None
        Coordinate reference system as WKT.
    """

    shape: Shape2D
    transform: tuple[float, float, float, float, float, float]
    crs: str | None

    def crop(self, window: PixelWindow) -> RasterGrid:
        """The grid of a part of the raster."""
        a, b, _, d, e, _ = self.transform
        x, y = self._point(window.row, window.col)
        return RasterGrid(window.shape, (a, b, x, d, e, y), self.crs)

    def window_of(self, bounds: tuple[float, float, float, float]) -> PixelWindow | None:
        """The pixels that a rectangle in the CRS touches, or None if it lies outside.

        On a rotated grid this is the smallest window around the rectangle.
        """
        a, b, c, d, e, f = self.transform
        determinant = a * e - b * d
        xmin, ymin, xmax, ymax = bounds
        corners = [(x - c, y - f) for x in (xmin, xmax) for y in (ymin, ymax)]
        cols = [(e * x - b * y) / determinant for x, y in corners]
        rows = [(a * y - d * x) / determinant for x, y in corners]
        row, col = _floor(min(rows)), _floor(min(cols))
        height, width = _ceil(max(rows)) - row, _ceil(max(cols)) - col
        window = PixelWindow(row, col, max(height, 1), max(width, 1))
        return window.intersect(PixelWindow.of_shape(self.shape))

    def differences(self, other: RasterGrid) -> list[str]:
        """In what the grids differ by more than a hundredth of a pixel, in words; empty if none."""
        found = []
        if _crs(self.crs) != _crs(other.crs):
            found.append(f"CRS ({_crs_name(self.crs)} and {_crs_name(other.crs)})")
        sizes = [math.hypot(g.transform[0], g.transform[3]) for g in (self, other)]
        corners = [(0, 0), (0, self.shape.width), (self.shape.height, 0)]
        ours, theirs = ([g._point(*corner) for corner in corners] for g in (self, other))
        shifts = [math.dist(a, b) for a, b in zip(ours, theirs, strict=True)]
        if abs(sizes[0] - sizes[1]) * max(self.shape) > 0.01 * sizes[0]:
            found.append(f"pixel size ({sizes[0]:g} and {sizes[1]:g})")
        elif max(shifts) > 0.01 * sizes[0] and not found:
            found.append(
                f"origin ({ours[0][0]:.10g}, {ours[0][1]:.10g} and {theirs[0][0]:.10g}, "
                f"{theirs[0][1]:.10g}) or rotation"
            )
        if self.shape != other.shape:
            found.append(
                f"size ({self.shape.width} x {self.shape.height} and {other.shape.width} x "
                f"{other.shape.height} px)"
            )
        return found

    def bounds(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax of all pixels, in the CRS."""
        height, width = self.shape
        corners = [self._point(row, col) for row in (0, height) for col in (0, width)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def overlaps(self, other: RasterGrid) -> bool:
        """Whether both have a place in common; both need a CRS."""
        try:
            xmin, ymin, xmax, ymax = rasterio.warp.transform_bounds(
                _crs(self.crs), _crs(other.crs), *self.bounds()
            )
        except (rasterio.errors.RasterioError, CPLE_BaseError):
            return False
        left, bottom, right, top = other.bounds()
        return bool(xmin < right and left < xmax and ymin < top and bottom < ymax)

    def metric(self) -> PixelMetric | None:
        """How large pixels are on the ground, on the CRS's own ellipsoid; None without a CRS."""
        return None if self.crs is None else _metric_of(self)

    def pixel_size(self) -> tuple[float, float] | None:
        """Width and height of the middle pixel on the ground in metres; None without a CRS."""
        metric = self.metric()
        return None if metric is None else metric.pixel_size()

    def pixel_units(self) -> tuple[float, float]:
        """Width and height of a pixel in units of the CRS."""
        a, b, _, d, e, _ = self.transform
        return math.hypot(a, d), math.hypot(b, e)

    def pixel_area(self) -> float | None:
        """Area of the middle pixel on the ground in square metres; None without a CRS."""
        metric = self.metric()
        return None if metric is None else metric.pixel_area()

    def unit(self) -> tuple[str, float] | None:
        """The CRS's unit of length, such as "metre", and its metres; None for degrees."""
        crs = _crs(self.crs)
        if crs is None or not crs.is_projected:
            return None
        return str(crs.linear_units), float(crs.linear_units_factor[1])

    def crs_text(self) -> str:
        """The CRS as "EPSG:n" or WKT, for GDAL's programs; empty without one."""
        return "" if self.crs is None else str(_crs(self.crs).to_string())

    def _point(self, row: float, col: float) -> tuple[float, float]:
        a, b, c, d, e, f = self.transform
        return a * col + b * row + c, d * col + e * row + f


class RasterSource:
    """A raster opened for reading in windows.

    Not thread-safe: one thread reads.

    Parameters
    ----------
    path : str
        Any raster that GDAL opens.

    Raises
    ------
    InputError
        If there is no such file, or it is not a raster.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with warnings.catch_warnings():  # a missing CRS is told by `checks`, in its words
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                self._dataset = rasterio.open(path)
        except rasterio.errors.RasterioIOError as error:
            raise InputError(_why_not_opened(path, error)) from error
        self._opened = [self._dataset]
        self._take_up(path)

    @classmethod
    def aligned(cls, path: str, grid: RasterGrid, resampling: str = "nearest") -> RasterSource:
        """A raster as it looks on another grid; nodata where it has nothing.

        Parameters
        ----------
        path : str
            Any raster that GDAL opens.
        grid : RasterGrid
            Where the pixels wanted lie.
        resampling : str
            A method of GDAL, such as "nearest" for classes and "bilinear" for amounts.

        Raises
        ------
        InputError
            If one of both is not georeferenced.
        """
        source = cls(path)
        if source.grid.crs is None or grid.crs is None:
            source.__exit__()
            raise InputError(
                f"{path} cannot be aligned: one of both rasters has no CRS; give it one "
                "(gdal_edit.py -a_srs CRS FILE)."
            )
        if not source.grid.overlaps(grid):
            source.__exit__()
            raise InputError(
                f"{path} cannot be aligned: it does not overlap the raster whose grid is wanted; "
                "look whether both have the right CRS."
            )
        band_meanings = source.band_names, source.scales
        has_nodata = any(value is not None for value in source._dataset.nodatavals)
        source._dataset = rasterio.vrt.WarpedVRT(
            source._dataset,
            crs=grid.crs,
            transform=rasterio.Affine(*grid.transform),
            height=grid.shape.height,
            width=grid.shape.width,
            resampling=Resampling[resampling],
            add_alpha=not has_nodata and source._alpha is None,
            # A pixel without data in one band must not be blended into its neighbours there.
            UNIFIED_SRC_NODATA="NO",
        )
        source._opened.insert(0, source._dataset)
        source._take_up(path)
        source.band_names, source.scales = band_meanings  # a warped raster may not have them
        return source

    def _take_up(self, path: str) -> None:
        if self._dataset.count == 0:
            subdatasets = ", ".join(self._dataset.subdatasets[:3])
            raise InputError(f"{path} holds several rasters; name one of them: {subdatasets}.")
        self.grid = _grid_of(self._dataset)
        self.count: int = self._dataset.count
        self.dtype = str(np.result_type(*self._dataset.dtypes))
        if self.dtype.startswith("complex"):
            raise InputError(f"{path} holds complex numbers; make a raster of real ones first.")
        self.band_names = tuple(self._dataset.descriptions)
        # Factor and offset from stored values to true ones, one pair a band.
        self.scales = tuple(zip(self._dataset.scales, self._dataset.offsets, strict=True))
        # All files that the raster consists of: a virtual one names others.
        self.files = tuple(Path(name) for name in self._dataset.files)
        # GDAL calls the fourth band of bytes alpha unless told otherwise. One with a scale holds
        # amounts, such as the probability of a fourth class.
        self._alpha = next(
            (
                band
                for band, meaning in enumerate(self._dataset.colorinterp, 1)
                if meaning == ColorInterp.alpha and self.scales[band - 1] == (1, 0)
            ),
            None,
        )

    def __enter__(self) -> RasterSource:
        """Enter a context that closes the raster."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the raster."""
        for dataset in self._opened:
            dataset.close()

    def class_names(self, band: int) -> dict[int, str]:
        """Category names by value, from the raster's side file or, of a virtual one, itself."""
        beside = Path(self.path + ".aux.xml")
        for file in (beside, Path(self.path)) if self.path.endswith(".vrt") else (beside,):
            if not file.is_file():
                continue
            text = file.read_text(encoding="utf-8", errors="replace")
            bands = re.split(r"<(?:PAM|VRT)RasterBand\b", text)
            part = bands[band] if band < len(bands) else ""
            names = re.findall(r"<Category>(.*?)</Category>|<Category\s*/>", part, re.DOTALL)
            found = {value: html.unescape(name).strip() for value, name in enumerate(names)}
            if any(found.values()):
                return {value: name for value, name in found.items() if name}
        return {}

    def class_colors(self, band: int) -> dict[int, str]:
        """Colours "#rrggbb" by value, from the colour table; empty without one."""
        try:
            table = self._dataset.colormap(band)
        except ValueError:
            return {}
        return {value: "#{:02x}{:02x}{:02x}".format(*rgba[:3]) for value, rgba in table.items()}

    def tags(self) -> dict[str, str]:
        """Metadata of the raster as a whole."""
        return dict(self._opened[-1].tags())

    @property
    def is_georeferenced(self) -> bool:
        """Whether the raster says where on Earth it lies."""
        return self.grid.crs is not None

    @property
    def data_bands(self) -> tuple[int, ...]:
        """Bands (from 1) that are not alpha."""
        return tuple(band for band in range(1, self.count + 1) if band != self._alpha)

    @property
    def may_lack_data(self) -> bool:
        """Whether a nodata value, alpha, a mask or NaN may tell pixels without data."""
        masked = [MaskFlags.all_valid not in flags for flags in self._dataset.mask_flag_enums]
        return any(masked) or np.issubdtype(np.dtype(self.dtype), np.floating)

    def read(
        self, window: PixelWindow, bands: tuple[int, ...], value_range: tuple[float, float]
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Read a window that may reach past the raster's edges.

        Parameters
        ----------
        window : PixelWindow
            What to read.
        bands : tuple of int
            Bands, from 1.
        value_range : tuple of float
            Values that data may have. A nodata value outside of it marks a pixel as nodata
            when any band holds it; one inside of it (0 in a photograph, say) only when all
            bands do, as a dark pixel may well hold it in one band.

        Returns
        -------
        pixels : ndarray, shape (H, W, C)
            Values; 0 beyond the raster.
        valid : ndarray of bool, shape (H, W)
            False at nodata, transparent, masked and NaN pixels, and beyond the raster.

        Raises
        ------
        InputError
            If the file is damaged there.
        """
        inside = window.intersect(PixelWindow.of_shape(self.grid.shape))
        if inside == window:
            values = self._read(window, bands)
            return np.moveaxis(values, 0, -1), self._valid(window, bands, values, value_range)
        # A view of planes: so GDAL gives them, and so the networks take them.
        pixels = np.moveaxis(np.zeros((len(bands), *window.shape), self.dtype), 0, -1)
        valid = np.zeros(window.shape, bool)
        if inside is None:
            return pixels, valid
        values = self._read(inside, bands)
        target = inside.relative_to(window).slices
        pixels[target] = np.moveaxis(values, 0, -1)
        valid[target] = self._valid(inside, bands, values, value_range)
        return pixels, valid

    def sample(
        self, bands: tuple[int, ...], value_range: tuple[float, float], region: PixelWindow
    ) -> NDArray[np.generic]:
        """Values of valid pixels, shape (N, C), from small windows spread over a region.

        A shrunk read of a large raster without overviews would decode all of it.
        """
        values = []
        for window in self.sample_windows(region):
            pixels, valid = self.read(window, bands, value_range)
            values.append(pixels[valid])
        return np.concatenate(values)

    @staticmethod
    def sample_windows(region: PixelWindow) -> Iterator[PixelWindow]:
        """Small windows spread over a region."""
        for row in _spread(region.row, region.row_stop):
            for col in _spread(region.col, region.col_stop):
                window = PixelWindow(row, col, _SAMPLE_SIDE, _SAMPLE_SIDE).intersect(region)
                assert window is not None
                yield window

    def read_on(self, grid: RasterGrid, fill: int) -> NDArray[np.int32]:
        """Read the first band onto another grid, by nearest neighbour.

        Parameters
        ----------
        grid : RasterGrid
            Where the pixels wanted lie. Without a CRS on either side both are taken as one.
        fill : int
            Value where this raster has nodata or ends.

        Returns
        -------
        ndarray of int32, shape (H, W)

        Raises
        ------
        InputError
            If the file is damaged there, or holds other values than whole numbers.
        """
        if not np.issubdtype(np.dtype(self.dtype), np.integer):
            raise InputError(
                f"{self.path} holds {self.dtype}; a raster of classes has whole numbers."
            )
        target = np.full(grid.shape, fill, np.int32)
        crs = self._dataset.crs or grid.crs or "EPSG:3857"
        try:
            rasterio.warp.reproject(
                rasterio.band(self._dataset, 1),
                target,
                src_crs=crs,
                dst_crs=grid.crs or crs,
                dst_transform=rasterio.Affine(*grid.transform),
                dst_nodata=fill,
                resampling=rasterio.warp.Resampling.nearest,
            )
        except rasterio.errors.RasterioError as error:
            raise InputError(f"{self.path} cannot be read: {_reason(error)}.") from error
        return target

    def overview(
        self,
        bands: tuple[int, ...],
        longest_side: int,
        value_range: tuple[float, float],
        region: PixelWindow | None = None,
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Read the raster, or a region of it, shrunk by nearest neighbour.

        Returns
        -------
        pixels : ndarray, shape (H, W, C)
            Values of single pixels, none of them a mixture.
        valid : ndarray of bool, shape (H, W)
            False at nodata.
        """
        region = region or PixelWindow.of_shape(self.grid.shape)
        scale = min(1.0, longest_side / max(region.shape))
        height, width = (max(1, round(side * scale)) for side in region.shape)
        values = self._read(region, bands, (height, width))
        return np.moveaxis(values, 0, -1), self._valid(region, bands, values, value_range)

    def _read(
        self, window: PixelWindow, bands: tuple[int, ...], shape: tuple[int, int] | None = None
    ) -> NDArray[np.generic]:
        out_shape = None if shape is None else (len(bands), *shape)
        one_type = len({self._dataset.dtypes[band - 1] for band in bands}) == 1
        try:
            values: NDArray[np.generic]
            if one_type:
                values = self._dataset.read(
                    list(bands), window=_window(window), out_shape=out_shape
                )
            else:  # a virtual raster may join bands of different types
                values = np.concatenate([self._read(window, (band,), shape) for band in bands])
        except rasterio.errors.RasterioIOError as error:
            raise InputError(
                f"{self.path} cannot be read at rows {window.row}-{window.row_stop - 1}, columns "
                f"{window.col}-{window.col_stop - 1}: it is damaged or cut off. Copy it again "
                f"from its source. ({_reason(error)})"
            ) from error
        return values

    def _valid(
        self,
        window: PixelWindow,
        bands: tuple[int, ...],
        values: NDArray[np.generic],
        value_range: tuple[float, float],
    ) -> NDArray[np.bool_]:
        """Which pixels hold data; `values` has the shape (C, H, W)."""
        valid = np.ones(values.shape[1:], bool)
        if np.issubdtype(values.dtype, np.floating):
            valid &= np.isfinite(values).all(axis=0)
        nodata = self._dataset.nodatavals[bands[0] - 1]
        if any(self._dataset.nodatavals[band - 1] is not None for band in bands):
            empty = [self._is_nodata(band, v) for band, v in zip(bands, values, strict=True)]
            low, high = value_range
            may_be_data = nodata is not None and low <= nodata <= high
            valid &= ~(np.all(empty, axis=0) if may_be_data else np.any(empty, axis=0))
        flags = self._dataset.mask_flag_enums[bands[0] - 1]
        if self._alpha is not None:
            valid &= self._read(window, (self._alpha,), values.shape[1:])[0] > 0
        elif MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
            mask = self._dataset.read_masks(
                bands[0], window=_window(window), out_shape=values.shape[1:]
            )
            valid &= mask > 0
        return valid

    def _is_nodata(self, band: int, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        nodata = self._dataset.nodatavals[band - 1]
        if nodata is None or math.isnan(nodata):
            return np.zeros(values.shape, bool)
        if np.issubdtype(values.dtype, np.floating):
            nodata = values.dtype.type(nodata)
        empty: NDArray[np.bool_] = np.equal(values, nodata)
        return empty

    def cache_for(self, rows: int) -> int:
        """Bytes of cache for reading blocks of that many rows, one after the other.

        A raster of strips as wide as itself is decoded once for every block of a row unless a
        row of blocks stays in the cache.
        """
        height, width = self._dataset.block_shapes[0]
        striped = width >= self.grid.shape.width and height < self.grid.shape.height
        pixel = self.count * np.dtype(self.dtype).itemsize
        row_of_blocks = (rows + height) * width * pixel if striped else 0
        return min(max(_CACHE, row_of_blocks), _STRIPED_CACHE)


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
        raise OutputError(f"{target.name} could not be written: {_reason(error)}") from error
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


class AreaOfInterest:
    """Polygons that say which pixels are wanted.

    Parameters
    ----------
    polygons : iterable of dict
        GeoJSON geometries.
    crs : str or None
        Their CRS, as WKT or "EPSG:n"; None means the grid's.
    grid : RasterGrid
        Grid of the raster.
    """

    def __init__(
        self, polygons: Iterable[dict[str, Any]], crs: str | None, grid: RasterGrid
    ) -> None:
        shapes = _in_crs_of(grid, polygons, crs)
        self._grid = grid
        self._shapes = [(shape, rasterio.features.bounds(shape)) for shape in shapes]

    def fingerprint(self) -> str:
        """Hash of the polygons, wherever they came from."""
        shapes = json.dumps([shape for shape, _ in self._shapes])
        return hashlib.sha256(shapes.encode()).hexdigest()

    def window(self) -> PixelWindow | None:
        """The smallest window that holds all polygons, or None if they lie outside."""
        if not self._shapes:
            return None
        xmin, ymin, xmax, ymax = zip(*(bounds for _, bounds in self._shapes), strict=True)
        return self._grid.window_of((min(xmin), min(ymin), max(xmax), max(ymax)))

    def mask(self, window: PixelWindow) -> NDArray[np.bool_]:
        """True at pixels of the window whose centre lies in a polygon; shape (H, W)."""
        part = self._grid.crop(window)
        xmin, ymin, xmax, ymax = part.bounds()
        near = [
            shape
            for shape, (left, bottom, right, top) in self._shapes
            if left <= xmax and right >= xmin and bottom <= ymax and top >= ymin
        ]
        if not near:
            return np.zeros(window.shape, bool)
        inside: NDArray[np.bool_] = rasterio.features.geometry_mask(
            near, window.shape, rasterio.Affine(*part.transform), invert=True
        )
        return inside


class LabelledPolygons:
    """Polygons that say of which class a pixel is.

    Parameters
    ----------
    polygons : iterable of dict
        GeoJSON geometries.
    labels : iterable of int
        The class of each. Where polygons overlap, the later one counts.
    crs : str or None
        Their CRS, as WKT or "EPSG:n"; None means the grid's.
    grid : RasterGrid
        Grid of the raster.
    """

    def __init__(
        self,
        polygons: Iterable[dict[str, Any]],
        labels: Iterable[int],
        crs: str | None,
        grid: RasterGrid,
    ) -> None:
        shapes = _in_crs_of(grid, polygons, crs)
        self._grid = grid
        self._shapes = [(shape, int(label)) for shape, label in zip(shapes, labels)]
        bounds = [rasterio.features.bounds(shape) for shape in shapes]
        self._bounds = np.array(bounds, np.float64).reshape(-1, 4)

    def burn(self, window: PixelWindow, fill: int) -> NDArray[np.int32]:
        """Labels of the pixels whose centre lies in a polygon, `fill` elsewhere; shape (H, W)."""
        part = self._grid.crop(window)
        xmin, ymin, xmax, ymax = part.bounds()
        left, bottom, right, top = self._bounds.T
        meets = (left <= xmax) & (right >= xmin) & (bottom <= ymax) & (top >= ymin)
        near = [self._shapes[place] for place in np.flatnonzero(meets).tolist()]
        if not near:
            return np.full(window.shape, fill, np.int32)
        labels: NDArray[np.int32] = rasterio.features.rasterize(
            near,
            window.shape,
            fill=fill,
            transform=rasterio.Affine(*part.transform),
            dtype="int32",
        )
        return labels


def trace_pieces(
    pieces: NDArray[np.int32],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Polygons around pixels of one value that are connected over their edges.

    Parameters
    ----------
    pieces : ndarray of int32, shape (H, W)
        Values.

    Returns
    -------
    points : ndarray of float64, shape (N, 2)
        Columns and rows, in px from the array's corner; whole numbers.
    rings : ndarray of int64
        Where each ring begins in `points`, and N.
    polygons : ndarray of int64
        Where each polygon begins in `rings`, its outer ring first, and the number of rings.
    values : ndarray of int64
        The value of each polygon.
    """
    points: list[tuple[float, float]] = []
    rings, polygons, values = [0], [0], []
    moved = rasterio.Affine.translation(1, 1)  # rasterio warns of the identity
    for shape, value in rasterio.features.shapes(pieces, connectivity=4, transform=moved):
        for ring in shape["coordinates"]:
            points += ring
            rings.append(len(points))
        polygons.append(len(rings) - 1)
        values.append(int(value))
    return (
        np.array(points, np.float64).reshape(-1, 2) - 1,
        np.array(rings, np.int64),
        np.array(polygons, np.int64),
        np.array(values, np.int64),
    )


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
        raise OutputError(f"{path.name} could not be written: {_reason(error)}") from error


@contextmanager
def gdal_settings(threads: int, cache: int = _CACHE) -> Iterator[None]:
    """GDAL's settings for a run; its cache else takes a share of the machine's memory."""
    with rasterio.Env(
        GDAL_NUM_THREADS=threads,
        GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",
        GDAL_CACHEMAX=cache,
    ):
        yield


def _crs(wkt: str | None) -> Any:
    return None if wkt is None else rasterio.CRS.from_wkt(wkt)


@lru_cache(maxsize=16)
def _metric_of(grid: RasterGrid) -> PixelMetric:
    crs = _crs(grid.crs)
    a, b, c, d, e, f = grid.transform
    unit = 1.0
    if crs.is_geographic:
        unit = crs.units_factor[1] * _EARTH_RADIUS
    elif crs.is_projected:
        unit = crs.linear_units_factor[1]
    planar = unit**2 * np.array([a * a + d * d, a * b + d * e, b * b + e * e])
    ground = _ground_of(crs)

    def locate(rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = a * columns + b * rows + c, d * columns + e * rows + f
        if ground is None:
            return np.stack([unit * x, unit * y, np.zeros_like(x)], axis=-1)
        return ground.ellipsoid.place(*_unprojected(crs, ground, x, y))

    return PixelMetric.of(grid.shape, locate, planar)


_EARTH_RADIUS = 6_371_008.8  # mean radius in metres
_SHORTEST_RUN = 4


@dataclass(frozen=True)
class _Ground:
    """The geographic CRS that a CRS is a projection of, and its ellipsoid."""

    crs: Any
    ellipsoid: Ellipsoid


def _ground_of(crs: Any) -> _Ground | None:
    """What a CRS is a projection of; None of a local one, which lies nowhere."""
    content = crs.to_dict(projjson=True)
    while content["type"] in ("BoundCRS", "CompoundCRS"):
        content = content["source_crs"] if "source_crs" in content else content["components"][0]
    base = content.get("base_crs", content)
    datum = base.get("datum") or base.get("datum_ensemble")
    if datum is None or "ellipsoid" not in datum:
        return None
    return _Ground(
        rasterio.CRS.from_user_input(json.dumps(base)), _ellipsoid_of(datum["ellipsoid"])
    )


def _ellipsoid_of(content: Mapping[str, Any]) -> Ellipsoid:
    """The ellipsoid of PROJJSON, whose lengths may have units."""

    def metres(key: str) -> float:
        value = content[key]
        if not isinstance(value, dict):
            return float(value)
        unit = value["unit"]
        factor = unit["conversion_factor"] if isinstance(unit, dict) else 1.0
        return float(value["value"]) * float(factor)

    if "radius" in content:
        return Ellipsoid(metres("radius"), 0.0)
    major = metres("semi_major_axis")
    if "inverse_flattening" in content:
        inverse = float(content["inverse_flattening"])
        return Ellipsoid(major, 1 / inverse if inverse else 0.0)
    return Ellipsoid(major, 1 - metres("semi_minor_axis") / major)


def _unprojected(
    crs: Any, ground: _Ground, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes in radians; NaN where the projection has no place."""
    if not crs.is_geographic or ground.crs != crs:
        found = _transformed(crs, ground.crs, np.stack([x.ravel(), y.ravel()]))
        x, y = (values.reshape(x.shape) for values in found)
    radians = ground.crs.units_factor[1]
    lost = ~(np.isfinite(x) & np.isfinite(y))
    return np.where(lost, np.nan, x * radians), np.where(lost, np.nan, y * radians)


def _transformed(source: Any, target: Any, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of shape (2, N) in another CRS.

    One point outside of the domain of a projection makes a call fail for all: the others are
    found by halving, to runs of a few points, which are NaN if one of them fails.
    """
    try:
        found = rasterio.warp.transform(source, target, points[0].tolist(), points[1].tolist())
        return np.array(found, np.float64)
    except (rasterio.errors.RasterioError, CPLE_BaseError):
        half = points.shape[1] // 2
        if half < _SHORTEST_RUN:
            return np.full(points.shape, np.nan)
        parts = [_transformed(source, target, p) for p in (points[:, :half], points[:, half:])]
        return np.concatenate(parts, axis=1)


def _crs_name(wkt: str | None) -> str:
    if wkt is None:
        return "none"
    found = _crs(wkt).to_string()
    return found if len(found) < 40 else str(wkt.split('"')[1])


def _grid_of(dataset: Any) -> RasterGrid:
    transform = tuple(float(v) for v in tuple(dataset.transform)[:6])
    crs = dataset.crs.to_wkt() if dataset.crs else None
    return RasterGrid(Shape2D(dataset.height, dataset.width), transform, crs)  # type: ignore[arg-type]


def _in_crs_of(
    grid: RasterGrid, polygons: Iterable[dict[str, Any]], crs: str | None
) -> list[dict[str, Any]]:
    shapes = list(polygons)
    if crs is None or grid.crs is None:
        return shapes
    source, target = rasterio.CRS.from_user_input(crs), rasterio.CRS.from_wkt(grid.crs)
    if source == target:
        return shapes
    try:
        return [rasterio.warp.transform_geom(source, target, shape) for shape in shapes]
    except (rasterio.errors.RasterioError, CPLE_BaseError) as error:
        raise InputError(
            f"The polygons have coordinates that do not fit their CRS, {_crs_name(source.to_wkt())}"
            f", or the raster's ({_reason(error)}). Give the layer the CRS in which it was drawn; "
            "a GeoJSON without one is taken to hold degrees."
        ) from error


def _plain_meanings(count: int) -> list[ColorInterp]:
    """Red, green and blue if there are three bands or more, then bands without meaning."""
    if count < 3:
        return [ColorInterp.gray, ColorInterp.undefined][:count]
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    return colors + [ColorInterp.undefined] * (count - 3)


def _spread(start: int, stop: int) -> list[int]:
    """Starts of at most `_SAMPLES_A_SIDE` windows between `start` and `stop`."""
    count = min(_SAMPLES_A_SIDE, -(-(stop - start) // _SAMPLE_SIDE))
    last = max(start, stop - _SAMPLE_SIDE)
    return [int(v) for v in np.linspace(start, last, count)]


def _window(window: PixelWindow) -> Window:
    return Window(window.col, window.row, window.width, window.height)


def _floor(value: float) -> int:
    """Floor that forgives the rounding of a coordinate on a pixel's edge."""
    return math.floor(value + 1e-6)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-6)


def _reason(error: BaseException) -> str:
    """The deepest cause's words: rasterio wraps GDAL's sentence in others."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().rstrip(".")


def _why_not_opened(path: str, error: BaseException) -> str:
    local = Path(path)
    if not path.startswith("/vsi") and "://" not in path and ":" not in path[2:]:
        if not local.exists():
            return f"There is no file {path}; check the path."
        if local.is_dir():
            return f"{path} is a folder; name a raster in it."
        try:
            with local.open("rb") as file:
                file.read(1)
        except OSError as reason:
            return f"{path} cannot be read: {reason.strerror}."
    return f"{path} is not a raster that can be read: {_reason(error)}."
