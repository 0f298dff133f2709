# SPDX-License-Identifier: GPL-2.0-or-later
"""Rasters on a server: how GDAL asks for them, and what it means when they cannot be read."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .gdal import reason_of

_REMOTE = re.compile(
    r"https?://|ftp://|s3://|gs://|az://|/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs)"
)
_MOST_VRT_BYTES = 1 << 20

# A stalled server ends a request; what is slow but alive does not. One more try is made.
_PATIENCE = {
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_TIME": "15",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    "GDAL_HTTP_MAX_RETRY": "1",
    "GDAL_HTTP_RETRY_DELAY": "1",
}


def is_remote(path: str) -> bool:
    """Whether a raster, or one that a virtual raster names, lies on a server."""
    if _REMOTE.match(path):
        return True
    if not path.lower().endswith(".vrt"):
        return _REMOTE.search(path) is not None
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return _REMOTE.search(file.read(_MOST_VRT_BYTES)) is not None
    except OSError:
        return False


def source_settings(remote: bool) -> dict[str, str]:
    """GDAL's settings for opening and reading a raster; the user's own environment wins.

    On a disk GDAL looks into the folder for side files: a world file, a mask, a nodata value. It
    would ask a server for each of dozens of names.
    """
    if not remote:
        return {"GDAL_DISABLE_READDIR_ON_OPEN": "FALSE"}
    settings = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", **_PATIENCE}
    theirs = {name: value for name, value in settings.items() if name not in os.environ}
    # With more threads a request that fails goes unnoticed, and gives pixels of other places.
    return {**theirs, "GDAL_NUM_THREADS": "1"}


def why_not_opened(path: str, error: BaseException) -> str:
    """Sentence on a raster on a server that cannot be opened."""
    reason = reason_of(error)
    found = re.search(r"HTTP (?:response|error) code\s*: ?(\d{3})", reason)
    code = int(found[1]) if found else 0
    if code in (404, 410):
        return f"There is no {path} on its server (HTTP {code}); check the address."
    if code in (401, 403):
        return (
            f"The server does not let you read {path} (HTTP {code}); check the address and your "
            "right to it."
        )
    if code >= 500 or code == 429:
        return (
            f"The server of {path} cannot serve it at present (HTTP {code}). Try again later, or "
            "copy the file to your disk."
        )
    if "CURL error" in reason or "timed out" in reason.lower():
        return (
            f"{path} cannot be reached ({reason}). Check the address and the network, and try "
            "again, or copy the file to your disk."
        )
    return f"{path} is not a raster that can be read: {reason}."


def why_not_read(path: str, place: str, error: BaseException) -> str:
    """Sentence on a part of a raster on a server that cannot be read."""
    return (
        f"{path} cannot be read at {place}: its server failed, or the connection broke "
        f"({reason_of(error)}). Try again later: the same command goes on from its blocks."
    )
