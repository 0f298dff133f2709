# SPDX-License-Identifier: GPL-2.0-or-later
"""Files beside a raster, its style and its attribute table: whose they are.

``parcels.qml`` may be the style of ``parcels.gpkg``, and of a raster that a user styled, so what
we write names itself and its raster; only that is ever replaced or removed.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

_MARK = "Written by U-Net Segmenter for"
QUICKLOOK_MARK = "U-Net Segmenter, quick look"
_PNG_HEAD = 1 << 12


def style_path(raster: Path) -> Path:
    """Where QGIS looks for the style of a raster."""
    return raster.with_suffix(".qml")


def table_path(raster: Path) -> Path:
    """Where GDAL looks for what a raster's format cannot hold: a part of that raster."""
    return raster.with_name(f"{raster.name}.aux.xml")


def quicklook_path(summary: Path) -> Path:
    """Where the quick look of a summary lies."""
    return summary.with_name(f"{summary.stem}_quicklook.png")


def is_foreign_picture(summary: Path) -> bool:
    """Whether there is a picture that is no quick look where that of a summary would be.

    One beside a summary that exists belongs to it.
    """
    if summary.exists():
        return False
    try:
        with quicklook_path(summary).open("rb") as file:
            return QUICKLOOK_MARK.encode() not in file.read(_PNG_HEAD)
    except OSError:
        return False


def mark_of(raster: Path) -> str:
    """Text by which a side file of a raster is known as ours; it may stand in any XML."""
    return f"{_MARK} {quote(raster.name).replace('-', '%2D')};"


def is_ours(path: Path, raster: Path) -> bool:
    """Whether a run wrote this side file, and wrote it for this raster."""
    try:
        return path.is_file() and mark_of(raster) in path.read_text("utf-8", errors="replace")
    except OSError:
        return False


def is_foreign_style(raster: Path) -> bool:
    """Whether there is a style that is not ours where that of a raster would be."""
    path = style_path(raster)
    return path.exists() and not is_ours(path, raster)


def stale_files(target: Path) -> list[Path]:
    """Side files of an earlier raster of this name, which would describe the new one wrongly.

    They are a style that is ours; and, if there is a raster to be replaced, its ``.aux.xml``,
    which GDAL takes for a part of it.
    """
    table = table_path(target)
    found = [table] if table.is_file() and (target.exists() or is_ours(table, target)) else []
    return found + [path for path in [style_path(target)] if is_ours(path, target)]
