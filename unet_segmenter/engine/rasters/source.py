# SPDX-License-Identifier: GPL-2.0-or-later
"""Rasters opened for reading in windows."""

from __future__ import annotations

import html
import math
import re
import shlex
import uuid
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import rasterio.errors
import rasterio.shutil
import rasterio.vrt
import rasterio.warp
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.windows import Window

from ..errors import InputError, JobError
from ..geometry import PixelWindow
from .gdal import CACHE, crs_of, reason_of
from .grid import RasterGrid, grid_of
from .options import AS_IT_IS, SourceOptions
from .remote import is_remote, source_settings, why_not_opened, why_not_read

if TYPE_CHECKING:
    from typing_extensions import Self

_SAMPLE_SIDE = 128
_SAMPLES_A_SIDE = 6
_STRIPED_CACHE = 512 << 20
_HUGE = 1e30


class RasterSource:
    """A raster opened for reading in windows.

    Not thread-safe: one thread reads.

    Parameters
    ----------
    path : str
        Any raster that GDAL opens.
    options : SourceOptions
        What the user says of it.

    Raises
    ------
    InputError
        If there is no such file, it is not a raster, or it has no grid but control points.
    """

    def __init__(self, path: str, options: SourceOptions = AS_IT_IS) -> None:
        self.path = path
        self.options = options
        self._is_remote = is_remote(path)
        try:
            # `checks` reports a missing CRS.
            with warnings.catch_warnings(), self._settings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                self._dataset = rasterio.open(path)
        except rasterio.errors.RasterioIOError as error:
            why = why_not_opened if self._is_remote else _why_not_opened
            raise InputError(why(path, error)) from error
        self._opened = [self._dataset]
        self._read_properties(path)

    @classmethod
    def aligned(
        cls,
        path: str,
        grid: RasterGrid,
        resampling: str = "nearest",
        options: SourceOptions = AS_IT_IS,
    ) -> RasterSource:
        """A raster warped to another grid; nodata where it has nothing.

        Parameters
        ----------
        path : str
            Any raster that GDAL opens.
        grid : RasterGrid
            Where the pixels wanted lie.
        resampling : str
            A method of GDAL, such as "nearest" for classes and "bilinear" for amounts.
        options : SourceOptions
            What the user says of the raster; one value of NODATA at most.

        Raises
        ------
        InputError
            If one of both is not georeferenced.
        JobError
            If there are several values of NODATA.
        """
        if len(options.nodata) > 1:
            raise JobError(f"{path} cannot be aligned with several values of NODATA; give one.")
        source = cls(path, options)
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
                "check whether both have the right CRS."
            )
        band_meanings = source.band_names, source.scales
        has_nodata = any(value is not None for value in source._dataset.nodatavals)
        if source._alpha is None and ColorInterp.alpha in source._dataset.colorinterp:
            source._forget_alpha()  # else the warper masks by a band that holds data
        if options.nodata:
            has_nodata = True
            nodata = {"src_nodata": options.nodata[0], "nodata": options.nodata[0]}
        else:
            nodata = {}
        source._dataset = rasterio.vrt.WarpedVRT(
            source._dataset,
            src_crs=crs_of(source.grid.crs),
            **nodata,
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
        source._read_properties(path)
        source.band_names, source.scales = band_meanings  # a warped raster may not have them
        return source

    def _read_properties(self, path: str) -> None:
        if self._dataset.count == 0:
            subdatasets = ", ".join(self._dataset.subdatasets[:3])
            raise InputError(f"{path} holds several rasters; name one of them: {subdatasets}.")
        self.grid = self._grid()
        self.count: int = self._dataset.count
        self.dtype = str(np.result_type(*self._dataset.dtypes))
        if self.dtype.startswith("complex"):
            raise InputError(f"{path} holds complex numbers; make a raster of real ones first.")
        self.band_names = tuple(self._dataset.descriptions)
        # Factor and offset from stored values to true ones, one pair a band.
        self.scales = tuple(zip(self._dataset.scales, self._dataset.offsets, strict=True))
        # All files that the raster consists of: a virtual one names others.
        self.files = tuple(Path(name) for name in self._dataset.files)
        # GDAL calls the fourth band of bytes alpha unless set otherwise. One with a scale holds
        # amounts, such as the probability of a fourth class.
        self._alpha = next(
            (
                band
                for band, meaning in enumerate(self._dataset.colorinterp, 1)
                if meaning == ColorInterp.alpha
                and self.scales[band - 1] == (1, 0)
                and band not in self.options.bands
            ),
            None,
        )

    def _grid(self) -> RasterGrid:
        """Where the raster lies; its own CRS counts where the user names none."""
        grid = grid_of(self._dataset)
        if self.options.crs is not None:
            try:
                crs = rasterio.CRS.from_user_input(self.options.crs)
            except rasterio.errors.CRSError as error:
                raise JobError(
                    f"CRS {self.options.crs!r} is no coordinate reference system; give one as "
                    "EPSG:n, such as EPSG:32633, or as WKT."
                ) from error
            grid = replace(grid, crs=crs.to_wkt())
        elif grid.crs is None and self.options.needs_place and self._dataset.transform.is_identity:
            self._refuse_points()
        return grid

    def _refuse_points(self) -> None:
        """Refuse a raster without a grid that QGIS would place: its map would lie elsewhere."""
        points, _ = self._dataset.gcps
        if not points and self._dataset.rpcs is None:
            return
        what, flag = ("ground control points", "") if points else ("RPCs", "-rpc ")
        out = shlex.quote(f"{Path(self.path).stem}_placed.tif")
        raise InputError(
            f"{self.path} is placed by {what} alone, and has no grid. Give it one: gdalwarp "
            f"{flag}-r bilinear -dstalpha {shlex.quote(self.path)} {out}"
        )

    def _forget_alpha(self) -> None:
        """Go on with a virtual copy none of whose bands is called alpha."""
        copy = f"/vsimem/{uuid.uuid4().hex}.vrt"
        rasterio.shutil.copy(self._dataset, copy, driver="VRT")
        with rasterio.open(copy, "r+") as dataset:
            dataset.colorinterp = [
                ColorInterp.undefined if meaning == ColorInterp.alpha else meaning
                for meaning in dataset.colorinterp
            ]
        self._dataset = rasterio.open(copy)
        self._opened.insert(0, self._dataset)

    def _settings(self) -> rasterio.Env:
        return rasterio.Env(**source_settings(self._is_remote))

    def __enter__(self) -> Self:
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
        """Whether a nodata value, alpha, a mask or NaN may mark pixels without data."""
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
            valid = self._valid(window, bands, values, value_range)
            return np.moveaxis(self._true(values, bands), 0, -1), valid
        # A view of planes: so GDAL gives them, and so the networks take them.
        pixels = np.moveaxis(np.zeros((len(bands), *window.shape), self.dtype), 0, -1)
        valid = np.zeros(window.shape, bool)
        if inside is None:
            return pixels, valid
        values = self._read(inside, bands)
        target = inside.relative_to(window).slices
        pixels[target] = np.moveaxis(self._true(values, bands), 0, -1)
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
            raise InputError(f"{self.path} cannot be read: {reason_of(error)}.") from error
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
        valid = self._valid(region, bands, values, value_range)
        return np.moveaxis(self._true(values, bands), 0, -1), valid

    def _true(self, values: NDArray[np.generic], bands: tuple[int, ...]) -> NDArray[np.generic]:
        """What stored values (C, H, W) mean: here themselves, see `ImageSource`."""
        return values

    def _true_value(self, value: float, band: int) -> float:
        return value

    def _in_collar(
        self, window: PixelWindow, shape: tuple[int, ...], values: tuple[float, ...]
    ) -> NDArray[np.bool_]:
        """Pixels of the collar of some values; shape (H, W). Only an `ImageSource` has one."""
        return np.zeros(shape, bool)

    def _read(
        self, window: PixelWindow, bands: tuple[int, ...], shape: tuple[int, int] | None = None
    ) -> NDArray[np.generic]:
        if len({self._dataset.dtypes[band - 1] for band in bands}) > 1:
            # A virtual raster may join bands of different types.
            return np.concatenate([self._read(window, (band,), shape) for band in bands])
        out_shape = None if shape is None else (len(bands), *shape)
        # A virtual raster opens its parts as it reads them.
        with self._settings() if self._is_remote else nullcontext():
            try:
                values: NDArray[np.generic] = self._dataset.read(
                    list(bands), window=_window(window), out_shape=out_shape
                )
            except rasterio.errors.RasterioIOError as error:
                raise InputError(self._why_not_read(window, error)) from error
        return values

    def _why_not_read(self, window: PixelWindow, error: BaseException) -> str:
        place = (
            f"rows {window.row}-{window.row_stop - 1}, columns {window.col}-{window.col_stop - 1}"
        )
        if self._is_remote:
            return why_not_read(self.path, place, error)
        return (
            f"{self.path} cannot be read at {place}: it is damaged or cut off. Copy it again "
            f"from its source. ({reason_of(error)})"
        )

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
            may_be_data = nodata is not None and low <= self._true_value(nodata, bands[0]) <= high
            valid &= ~(np.all(empty, axis=0) if may_be_data else np.any(empty, axis=0))
        self._mask_given(window, bands, values, value_range, valid)
        flags = self._dataset.mask_flag_enums[bands[0] - 1]
        if self._alpha is not None:
            valid &= self._read(window, (self._alpha,), values.shape[1:])[0] > 0
        elif MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
            mask = self._dataset.read_masks(
                bands[0], window=_window(window), out_shape=values.shape[1:]
            )
            valid &= mask > 0
        return valid

    def _mask_given(
        self,
        window: PixelWindow,
        bands: tuple[int, ...],
        values: NDArray[np.generic],
        value_range: tuple[float, float],
        valid: NDArray[np.bool_],
    ) -> None:
        """Take what the user calls nodata out of `valid`."""
        inside = tuple(v for v in self.options.nodata if may_be_data(v, value_range))
        for value in self.options.nodata:
            if value not in inside:
                for band, stored in zip(bands, values, strict=True):
                    valid &= ~holds(self._true(stored[np.newaxis], (band,))[0], value)
        if inside:
            valid &= ~self._in_collar(window, values.shape[1:], inside)

    def _is_nodata(self, band: int, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        nodata = self._dataset.nodatavals[band - 1]
        if nodata is None or math.isnan(nodata):
            return np.zeros(values.shape, bool)
        return holds(values, nodata)

    def cache_for(self, rows: int) -> int:
        """Bytes of cache for reading blocks of that many rows, one after the other.

        A raster of strips as wide as itself is decoded once for every block of a row unless a
        row of blocks stays in the cache.
        """
        height, width = self._dataset.block_shapes[0]
        striped = width >= self.grid.shape.width and height < self.grid.shape.height
        pixel = self.count * np.dtype(self.dtype).itemsize
        row_of_blocks = (rows + height) * width * pixel if striped else 0
        return min(max(CACHE, row_of_blocks), _STRIPED_CACHE)


def may_be_data(value: float, value_range: tuple[float, float]) -> bool:
    """Whether data may hold a value; of values of any range, those below 0 are taken for none."""
    low, high = value_range
    return low <= value <= high and (math.isfinite(low) or value >= 0)


def holds(values: NDArray[np.generic], value: float) -> NDArray[np.bool_]:
    """Where an array holds a value.

    Of huge values, such as the lowest of a type, the text in a file is often rounded.
    """
    found: NDArray[np.bool_]
    if np.issubdtype(values.dtype, np.floating):
        if math.isfinite(value) and abs(value) > _HUGE:
            found = np.abs(values.astype(np.float64) - value) <= 1e-3 * abs(value)
        else:
            found = values == values.dtype.type(value)
    else:
        found = np.equal(values, value)
    return found


def _spread(start: int, stop: int) -> list[int]:
    """Starts of at most `_SAMPLES_A_SIDE` windows between `start` and `stop`."""
    count = min(_SAMPLES_A_SIDE, -(-(stop - start) // _SAMPLE_SIDE))
    last = max(start, stop - _SAMPLE_SIDE)
    return [int(v) for v in np.linspace(start, last, count)]


def _window(window: PixelWindow) -> Window:
    return Window(window.col, window.row, window.width, window.height)


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
    return f"{path} is not a raster that can be read: {reason_of(error)}."
