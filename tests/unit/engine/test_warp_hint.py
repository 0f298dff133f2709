# SPDX-License-Identifier: GPL-2.0-or-later
"""The command that tells how rasters are aligned ends the error when it is followed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.toy_rasters import TRANSFORM, UTM, write_raster
from unet_segmenter.engine.rasters.source import RasterSource
from unet_segmenter.engine.warp_hint import how_to_align

LIKE_UTM = "+proj=tmerc +lat_0=0 +lon_0=15 +k=0.9996 +x_0=500000 +y_0=0 +ellps=GRS80 +units=m"
OWN = "+proj=tmerc +lat_0=0 +lon_0=15.01 +k=0.9996 +x_0=500000 +y_0=0 +datum=WGS84 +units=m"
LOCAL = 'LOCAL_CS["the quarry\'s grid",UNIT["metre",1]]'
SOUTH_UP = rasterio.Affine(0.25, 0, TRANSFORM.c, 0, 0.25, TRANSFORM.f - 10)


def raster(path: Path, transform: rasterio.Affine = TRANSFORM, crs: str = UTM) -> Path:
    return write_raster(path, np.ones((40, 40), np.uint8), transform=transform, crs=crs)


@pytest.mark.parametrize("crs", [UTM, LIKE_UTM, OWN], ids=["code", "like a code", "without"])
@pytest.mark.parametrize("other", [TRANSFORM @ rasterio.Affine.translation(3.3, 2), SOUTH_UP])
def test_the_command_ends_the_error(tmp_path: Path, crs: str, other: rasterio.Affine) -> None:
    if shutil.which("gdalwarp") is None:
        pytest.skip("GDAL's programs are not installed")
    target = raster(tmp_path / "the target.tif", crs=crs)
    with (
        RasterSource(str(target)) as wanted,
        RasterSource(str(raster(tmp_path / "an other.tif", other))) as source,
    ):
        assert wanted.grid.differences(source.grid)
        told = how_to_align(wanted, [source], "near")
        command = told[told.index("gdalwarp") :]
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        with RasterSource(str(tmp_path / "an other_aligned.tif")) as aligned:
            assert wanted.grid.differences(aligned.grid) == []


@pytest.mark.parametrize("transform", [SOUTH_UP, TRANSFORM @ rasterio.Affine.rotation(10)])
def test_no_command_is_told_where_none_can_help(tmp_path: Path, transform: rasterio.Affine) -> None:
    """gdalwarp writes rasters whose rows go south: the error would come again for ever."""
    with (
        RasterSource(str(raster(tmp_path / "target.tif", transform))) as wanted,
        RasterSource(str(raster(tmp_path / "other.tif"))) as source,
    ):
        told = how_to_align(wanted, [source], "near")
        assert re.match(r"Choose ALIGN \(--align\) to warp it: gdalwarp writes no grid", told)
        aligned = RasterSource.aligned(source.path, wanted.grid)
        with aligned:
            assert wanted.grid.differences(aligned.grid) == []


def test_a_code_is_told_for_that_very_crs_alone(tmp_path: Path) -> None:
    for name, crs, words in (("a", UTM, "EPSG:32633"), ("b", LIKE_UTM, "+proj"), ("c", OWN, "")):
        with RasterSource(str(raster(tmp_path / f"{name}.tif", crs=crs))) as source:
            text = source.grid.crs_text()
            assert text.startswith(words)
            assert rasterio.CRS.from_string(text) == rasterio.CRS.from_wkt(source.grid.crs)
