# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings of GDAL, and its values and errors in our words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rasterio

logging.getLogger("rasterio").setLevel(logging.CRITICAL)  # its messages reach the user as errors

CACHE = 16 << 20


@contextmanager
def gdal_settings(threads: int, cache: int = CACHE) -> Iterator[None]:
    """GDAL's settings for a run; its cache else takes a share of the machine's memory."""
    with rasterio.Env(
        GDAL_NUM_THREADS=threads,
        GDAL_CACHEMAX=cache,
    ):
        yield


def crs_of(wkt: str | None) -> Any:
    """The CRS of a WKT; None without one."""
    return None if wkt is None else rasterio.CRS.from_wkt(wkt)


def crs_name(wkt: str | None) -> str:
    """A short name of the CRS of a WKT."""
    if wkt is None:
        return "none"
    found = crs_of(wkt).to_string()
    return found if len(found) < 40 else str(wkt.split('"')[1])


def reason_of(error: BaseException) -> str:
    """The deepest cause's words: rasterio wraps GDAL's sentence in others."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().rstrip(".")
