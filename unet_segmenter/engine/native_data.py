# SPDX-License-Identifier: GPL-2.0-or-later
"""Variables that hand GDAL and PROJ the data files of another installation.

QGIS, conda and other programs set them for their own libraries. Those in the engine's packages
are of other releases: with such files no coordinate system can be read ("It comes from another
PROJ installation").
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

VARIABLES = (
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "PROJ_AUX_DB",
    "PROJ_DATA",
    "PROJ_LIB",
)
# A virtual environment's base may be the system's Python, whose GDAL is not the engine's.
_SYSTEM_ROOTS = frozenset(map(Path, ("/", "/usr", "/usr/local", "/opt")))


def forget_other_installations(environ: MutableMapping[str, str] = os.environ) -> list[str]:
    """Drop variables that name files outside of this Python's own installation.

    Call it before rasterio or pyogrio is imported: they read the variables when they start.
    Settings such as GDAL_HTTP_USERPWD or PROJ_NETWORK stay.

    Parameters
    ----------
    environ : mapping
        The environment; it is changed.

    Returns
    -------
    list of str
        Names of the variables that were dropped.
    """
    roots = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()} - _SYSTEM_ROOTS
    dropped = [
        name
        for name in VARIABLES
        if name in environ and not _lies_in(environ[name].split(os.pathsep)[0], roots)
    ]
    for name in dropped:
        del environ[name]
    return dropped


def _lies_in(path: str, roots: set[Path]) -> bool:
    place = Path(path).resolve()
    return any(root in place.parents for root in roots)
