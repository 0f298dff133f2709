# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user set for a raster layer in QGIS, which its file does not know of."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from qgis.core import QgsCoordinateReferenceSystem, QgsRasterLayer

from ..engine.errors import InputError


@dataclass(frozen=True)
class LayerChoices:
    """Settings of a raster layer.

    Parameters
    ----------
    crs : str, optional
        Its CRS, as "EPSG:n" or WKT, where that is not the file's.
    nodata : tuple of float
        Additional no data values.
    """

    crs: str | None = None
    nodata: tuple[float, ...] = ()


def layer_choices(layer: QgsRasterLayer, name: str, path: str) -> LayerChoices:
    """The settings of a layer, for the job.

    Parameters
    ----------
    layer : QgsRasterLayer
        The layer.
    name : str
        The parameter's name, for messages.
    path : str
        The layer's file.

    Raises
    ------
    InputError
        If a setting cannot be honoured, with the command that sets it in the file.
    """
    provider = layer.dataProvider()
    crs = layer.crs()
    own = not crs.isValid() or crs == provider.crs()
    nodata: list[float] = []
    for band in range(1, provider.bandCount() + 1):
        if provider.sourceHasNoDataValue(band) and not provider.useSourceNoDataValue(band):
            raise InputError(
                f"{name} ({layer.name()}): the no data value of band {band} is switched off in "
                f"the layer's properties. Switch it on, or remove it from the file: gdal_edit.py "
                f"-unsetnodata {shlex.quote(path)}"
            )
        for span in provider.userNoDataValues(band):
            if span.min() != span.max():
                raise InputError(
                    f"{name} ({layer.name()}) has a range of additional no data values, "
                    f"{span.min():g} to {span.max():g}. Set single values in the layer's "
                    "properties, or in NODATA."
                )
            nodata.append(span.min())
    return LayerChoices(None if own else _text(crs), tuple(sorted(set(nodata))))


def refuse_choices(layer: QgsRasterLayer, name: str, path: str) -> None:
    """Refuse settings of a layer that is read as its file is.

    Raises
    ------
    InputError
        With the command that makes the setting in the file.
    """
    found = layer_choices(layer, name, path)
    file = shlex.quote(path)
    if found.crs is not None:
        raise InputError(
            f"{name} ({layer.name()}) has another CRS in QGIS than in its file. Set it in the "
            f"file, and load the layer again: gdal_edit.py -a_srs {shlex.quote(found.crs)} {file}"
        )
    if found.nodata:
        raise InputError(
            f"{name} ({layer.name()}) has an additional no data value in QGIS. Set it in the file, "
            f"and load the layer again: gdal_edit.py -a_nodata {found.nodata[0]:g} {file}"
        )


def _text(crs: QgsCoordinateReferenceSystem) -> str:
    authid = str(crs.authid())
    return authid if authid.startswith("EPSG:") else str(crs.toWkt())
