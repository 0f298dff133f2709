# SPDX-License-Identifier: GPL-2.0-or-later
"""Describes raw files of finished pixels so that GDAL reads them."""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .geometry import PixelWindow, Shape2D

_TYPES = {"uint8": "Byte", "float32": "Float32"}


@dataclass(frozen=True)
class BandImage:
    """A raw file of one output, described for writing it as a raster.

    Parameters
    ----------
    path : Path
        Band-sequential values in the machine's byte order.
    dtype : str
        "uint8" or "float32".
    descriptions : tuple of str
        One a band.
    nodata : float
        Value of nodata.
    is_category : bool
        Whether values are class ids, of which no mean may be taken.
    scale : float
        Factor from stored values to true ones.
    colors : dict
        RGBA by class value, for the colour table.
    statistics : tuple of dict
        GDAL's STATISTICS_* items of each band.
    tags : dict
        The dataset's metadata.
    windows : tuple of PixelWindow, optional
        The only parts of the file that hold anything; the rest is nodata. None for all of it.
    """

    path: Path
    dtype: str
    descriptions: tuple[str, ...]
    nodata: float
    is_category: bool
    scale: float
    colors: Mapping[int, tuple[int, int, int, int]]
    statistics: tuple[Mapping[str, str], ...]
    tags: Mapping[str, str]
    windows: tuple[PixelWindow, ...] | None = None


@dataclass(frozen=True)
class PlacedPart:
    """A GeoTIFF that holds a part of an image, and overviews of it.

    Parameters
    ----------
    name : str
        The file's name.
    window : PixelWindow
        Which part. It starts at multiples of the largest factor, so that its overviews lie on
        the pixels of the whole image's.
    factors : tuple of int
        1 for the pixels themselves, and then the overviews' factors.
    """

    name: str
    window: PixelWindow
    factors: tuple[int, ...] = (1,)

    def source(self, band: int, level: int = 0) -> str:
        """XML of a source: a band (from 1) of the part, at one of its factors."""
        factor = self.factors[level]
        height, width = (-(-side // factor) for side in self.window.shape)
        size = f'xSize="{width}" ySize="{height}"'
        col, row = self.window.col // factor, self.window.row // factor
        option = f'<OOI key="OVERVIEW_LEVEL">{level - 1}</OOI>' if level else ""
        return (
            f'<SimpleSource><SourceFilename relativeToVRT="1">{html.escape(self.name)}'
            f"</SourceFilename><OpenOptions>{option}</OpenOptions><SourceBand>{band}</SourceBand>"
            f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{col}" yOff="{row}" {size}/>'
            "</SimpleSource>"
        )

    def overview_name(self, level: int) -> str:
        """Name of the virtual raster with an overview of the whole image."""
        return f"{self.name.removesuffix('.tif')}{self.factors[level]}.vrt"


def virtual_overview(image: BandImage, shape: Shape2D, part: PlacedPart, level: int) -> str:
    """XML of a virtual raster: the whole image at one of the part's factors."""
    height, width = (-(-side // part.factors[level]) for side in shape)
    lines = [f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">']
    for band in range(1, len(image.descriptions) + 1):
        lines += [
            f'<VRTRasterBand dataType="{_TYPES[image.dtype]}" band="{band}">',
            f"<NoDataValue>{image.nodata}</NoDataValue>{part.source(band, level)}</VRTRasterBand>",
        ]
    return "\n".join([*lines, "</VRTDataset>"])


def virtual_raster(
    image: BandImage,
    shape: Shape2D,
    transform: tuple[float, float, float, float, float, float],
    crs: str | None,
    part: PlacedPart | None = None,
) -> str:
    """XML of a GDAL virtual raster, to be written beside the raw file.

    With a part it has the pixels of that, and nodata around it.
    """
    height, width = shape
    kind = "" if part else ' subClass="VRTRawRasterBand"'
    lines = [f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">']
    if crs:
        lines.append(f'<SRS dataAxisToSRSAxisMapping="1,2">{html.escape(crs)}</SRS>')
    if transform != (1.0, 0.0, 0.0, 0.0, 1.0, 0.0):
        a, b, c, d, e, f = transform
        terms = ", ".join(map(repr, (c, a, b, f, d, e)))
        lines.append(f"<GeoTransform>{terms}</GeoTransform>")
    lines.append(_metadata_xml(image.tags))
    for band, description in enumerate(image.descriptions):
        lines += [
            f'<VRTRasterBand dataType="{_TYPES[image.dtype]}" band="{band + 1}"{kind}>',
            f"<Description>{html.escape(description)}</Description>",
            _metadata_xml(image.statistics[band]),
            f"<NoDataValue>{image.nodata}</NoDataValue>",
        ]
        if image.scale != 1:
            lines.append(f"<Offset>0</Offset><Scale>{image.scale!r}</Scale>")
        if image.colors:
            lines.append("<ColorInterp>Palette</ColorInterp><ColorTable>")
            transparent = (0, 0, 0, 0)
            lines += [
                '<Entry c1="{}" c2="{}" c3="{}" c4="{}"/>'.format(*image.colors.get(v, transparent))
                for v in range(256)
            ]
            lines.append("</ColorTable>")
        lines += _part_lines(part, band) if part else _raw_lines(image, shape, band)
        lines.append("</VRTRasterBand>")
    lines.append("</VRTDataset>")
    return "\n".join(line for line in lines if line)


def _raw_lines(image: BandImage, shape: Shape2D, band: int) -> list[str]:
    height, width = shape
    itemsize = np.dtype(image.dtype).itemsize
    order = "LSB" if sys.byteorder == "little" else "MSB"
    return [
        f'<SourceFilename relativetoVRT="1">{html.escape(image.path.name)}</SourceFilename>',
        f"<ImageOffset>{band * height * width * itemsize}</ImageOffset>",
        f"<PixelOffset>{itemsize}</PixelOffset>",
        f"<LineOffset>{width * itemsize}</LineOffset><ByteOrder>{order}</ByteOrder>",
    ]


def _part_lines(part: PlacedPart, band: int) -> list[str]:
    overviews = [
        f'<Overview><SourceFilename relativeToVRT="1">{html.escape(part.overview_name(level))}'
        f"</SourceFilename><SourceBand>{band + 1}</SourceBand></Overview>"
        for level in range(1, len(part.factors))
    ]
    return [*overviews, part.source(band + 1)]


def _metadata_xml(items: Mapping[str, str]) -> str:
    if not items:
        return ""
    rows = "".join(f'<MDI key="{html.escape(k)}">{html.escape(v)}</MDI>' for k, v in items.items())
    return f"<Metadata>{rows}</Metadata>"
