# SPDX-License-Identifier: GPL-2.0-or-later
"""Files in which layers travel to the engine: messages name the layers, not these."""

from __future__ import annotations

_NAMES: dict[str, str] = {}


def name(path: str, layer: str) -> None:
    """Remember what a file holds, for as long as QGIS runs."""
    _NAMES[path] = layer


def in_words(message: str) -> str:
    """A message of the engine in which layers have their names.

    >>> name("/tmp/x/aoi.gpkg", "parcels (AOI)")
    >>> in_words("The area of interest /tmp/x/aoi.gpkg holds no polygon.")
    'The area of interest parcels (AOI) holds no polygon.'
    """
    for path, layer in _NAMES.items():
        message = message.replace(path, layer)
    return message
