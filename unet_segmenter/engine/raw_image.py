# SPDX-License-Identifier: GPL-2.0-or-later
"""Describes raw files of finished pixels so that GDAL reads them."""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .geometry import Shape2D


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


def virtual_raster(
    image: BandImage,
    shape: Shape2D,
    transform: tuple[float, float, float, float, float, float],
    crs: str | None,
) -> str:
    """XML of a GDAL virtual raster, to be written beside the raw file."""
    height, width = shape
    itemsize = np.dtype(image.dtype).itemsize
    type_name = {"uint8": "Byte", "float32": "Float32"}[image.dtype]
    order = "LSB" if sys.byteorder == "little" else "MSB"
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
            f'<VRTRasterBand dataType="{type_name}" band="{band + 1}" subClass="VRTRawRasterBand">',
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
        lines += [
            f'<SourceFilename relativetoVRT="1">{html.escape(image.path.name)}</SourceFilename>',
            f"<ImageOffset>{band * height * width * itemsize}</ImageOffset>",
            f"<PixelOffset>{itemsize}</PixelOffset>",
            f"<LineOffset>{width * itemsize}</LineOffset><ByteOrder>{order}</ByteOrder>",
            "</VRTRasterBand>",
        ]
    lines.append("</VRTDataset>")
    return "\n".join(line for line in lines if line)


def _metadata_xml(items: Mapping[str, str]) -> str:
    if not items:
        return ""
    rows = "".join(f'<MDI key="{html.escape(k)}">{html.escape(v)}</MDI>' for k, v in items.items())
    return f"<Metadata>{rows}</Metadata>"
