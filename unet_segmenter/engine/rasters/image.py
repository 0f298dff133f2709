# SPDX-License-Identifier: GPL-2.0-or-later
"""Images: rasters whose values are amounts of light, for networks and for the CRF.

What a file may say of its values is decided here, once for all that read images: scale and
offset are applied, colour tables and collars recognised, and a warning given of an alpha band that
may be data.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from ..collar import Collar, edge_share, find_collar
from ..errors import InputError
from ..geometry import PixelWindow
from .options import AS_IT_IS, SourceOptions
from .source import RasterSource, holds, may_be_data

_EDGE_SIDE = 128
_EDGE_WINDOWS = 6
# Share of the windows along the edge that one value must fill to be taken for a collar, and
# share of an alpha band that is neither 0 nor full before it is taken for data.
_COLLAR_SHARE = 0.04
_HALF_TRANSPARENT_SHARE = 0.05


class ImageSource(RasterSource):
    """An image opened for reading in windows; values are true ones, after scale and offset.

    Parameters
    ----------
    path : str
        Any raster that GDAL opens.
    options : SourceOptions
        What the user says of it.
    stop : callable
        Called now and then while the collar is looked for, in a pass over the raster; may raise.

    Raises
    ------
    InputError
        As `RasterSource`, and if it holds indices of a colour table.
    """

    def __init__(
        self,
        path: str,
        options: SourceOptions = AS_IT_IS,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(path, options)
        self._stop = stop
        self._collars: dict[tuple[float, ...], Collar] = {}
        self._scaled = any(scale != (1, 0) for scale in self.scales)
        if self._scaled:
            self.dtype = "float32"
        if self._has_palette():
            self.__exit__()
            out = shlex.quote(f"{Path(path).stem}_rgb.tif")
            raise InputError(
                f"{path} is a palette image: it holds indices of a colour table, which are no "
                f"colours. Expand it: gdal_translate -expand rgb {shlex.quote(path)} {out}"
            )

    def warnings(
        self, value_range: tuple[float, float], region: PixelWindow | None = None
    ) -> list[str]:
        """What the user should know before a region of the image is mapped.

        Raises
        ------
        InputError
            If there is a collar whose value no data can have.
        """
        region = region or PixelWindow.of_shape(self.grid.shape)
        found = []
        collar = self.collar_value(value_range, region)
        if collar is not None:
            value, share = collar
            what = (
                f"{self.path} has a collar without a nodata value: {share:.0%} of the pixels "
                f"sampled along its edge are {value:g} in all bands and connected with the edge"
            )
            if not may_be_data(value, value_range):
                raise InputError(
                    f"{what}, which no data can be. Set NODATA to {value:g} (--nodata {value:g})."
                )
            found.append(
                f"{what}. They are mapped as land. Set NODATA to {value:g} (--nodata {value:g}) to "
                "leave the collar out."
            )
        if self._alpha is not None and self._may_be_data_band(self._alpha, region):
            out = shlex.quote(f"{Path(self.path).stem}_data.tif")
            found.append(
                f"Band {self._alpha} of {self.path} is tagged as alpha and was used as "
                "transparency: where it is 0 there is no data. Its values may be data, such as "
                "near infrared. If they are, name the band in BANDS, or remove the tag: "
                f"gdal_translate -colorinterp_{self._alpha} undefined {shlex.quote(self.path)} "
                f"{out}"
            )
        return found

    def collar_value(
        self, value_range: tuple[float, float], region: PixelWindow
    ) -> tuple[float, float] | None:
        """The value of a collar without a nodata value, and its share of samples along the edge.

        A value fills it where all bands hold it, and the pixels are connected with the edge.
        """
        shares: dict[float, float] = {}
        windows = [w for w in self._edge_windows() if w.intersect(region)]
        for window in windows:
            pixels, valid = self.read(window, self.data_bands, value_range)
            edges = self._edges(window)
            same = valid & (pixels == pixels[..., :1]).all(axis=-1)
            values, counts = np.unique(pixels[..., 0][same & edges], return_counts=True)
            if not len(values):
                continue
            value = values[counts.argmax()]
            labels = (same & (pixels[..., 0] == value)).astype(np.uint8)
            share = edge_share(labels, edges) / len(windows)
            shares[float(value)] = shares.get(float(value), 0.0) + share
        if not shares:
            return None
        value, share = max(shares.items(), key=lambda item: item[1])
        return (value, share) if share >= _COLLAR_SHARE else None

    def _edge_windows(self) -> list[PixelWindow]:
        """Small windows in the corners, and between them along the four edges."""
        height, width = self.grid.shape
        rows, cols = (
            sorted({int(v) for v in np.linspace(0, max(0, side - _EDGE_SIDE), _EDGE_WINDOWS)})
            for side in (height, width)
        )
        places = {(r, c) for r in rows for c in (cols[0], cols[-1])}
        places |= {(r, c) for r in (rows[0], rows[-1]) for c in cols}
        side = (min(_EDGE_SIDE, height), min(_EDGE_SIDE, width))
        return [PixelWindow(row, col, *side) for row, col in sorted(places)]

    def _edges(self, window: PixelWindow) -> NDArray[np.bool_]:
        edges = np.zeros(window.shape, bool)
        height, width = self.grid.shape
        if window.row == 0:
            edges[0] = True
        if window.row_stop == height:
            edges[-1] = True
        if window.col == 0:
            edges[:, 0] = True
        if window.col_stop == width:
            edges[:, -1] = True
        return edges

    def _may_be_data_band(self, band: int, region: PixelWindow) -> bool:
        windows = [part for w in self._edge_windows() if (part := w.intersect(region))]
        row, col = region.row + region.height // 2, region.col + region.width // 2
        middle = PixelWindow(row, col, _EDGE_SIDE, _EDGE_SIDE)
        inner = middle.intersect(region)
        windows += [inner] if inner else []
        values = np.concatenate([self._read(w, (band,)).ravel() for w in windows])
        full = values.max()
        return bool(np.mean((values != 0) & (values != full)) > _HALF_TRANSPARENT_SHARE) or bool(
            np.issubdtype(values.dtype, np.integer) and 1 < full < 255
        )

    def _has_palette(self) -> bool:
        if self.count != 1 or self._dataset.colorinterp[0] != ColorInterp.palette:
            return False
        table = self._dataset.colormap(1)
        return any(not rgba[0] == rgba[1] == rgba[2] == value for value, rgba in table.items())

    def _true(self, values: NDArray[np.generic], bands: tuple[int, ...]) -> NDArray[np.generic]:
        if not self._scaled:
            return values
        scales, offsets = np.array([self.scales[band - 1] for band in bands]).T[..., None, None]
        with np.errstate(over="ignore", invalid="ignore"):  # nodata may be any number
            true: NDArray[np.generic] = (values * scales + offsets).astype(np.float32)
        return true

    def _true_value(self, value: float, band: int) -> float:
        scale, offset = self.scales[band - 1]
        return float(value * scale + offset)

    def _in_collar(
        self, window: PixelWindow, shape: tuple[int, ...], values: tuple[float, ...]
    ) -> NDArray[np.bool_]:
        if values not in self._collars:
            self._collars[values] = find_collar(
                self.grid.shape, lambda strip: self._labels(strip, values), self._stop
            )
        collar = self._collars[values]
        if shape == window.shape:
            return collar.read(window)
        return collar.read_shrunk(window, (shape[0], shape[1]))

    def _labels(self, window: PixelWindow, values: tuple[float, ...]) -> NDArray[np.uint8]:
        """The number from 1 of the value that all bands of a pixel hold; 0 for none."""
        pixels = self._true(self._read(window, self.data_bands), self.data_bands)
        labels = np.zeros(window.shape, np.uint8)
        for number, value in enumerate(values, 1):
            labels[holds(pixels, value).all(axis=0)] = number
        return labels
