# SPDX-License-Identifier: GPL-2.0-or-later
"""U-Net Segmenter: land-cover maps from aerial images, in QGIS and without it."""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:  # noqa: N802 - QGIS asks for this name
    """Make the plugin object; QGIS calls this once, with None where there is no window."""
    from .plugin import UnetSegmenterPlugin

    return UnetSegmenterPlugin(iface)
