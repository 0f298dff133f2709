# SPDX-License-Identifier: GPL-2.0-or-later
"""A small area of interest in a huge raster costs little: no reading, no computing, no disk."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.toy_jobs import WatchingProgress, segment
from tests.toy_rasters import TRANSFORM, UTM, read_raster, texture, write_raster
from unet_segmenter.engine.block_store import BlockStore
from unet_segmenter.engine.landcover_job import LandcoverJob
from unet_segmenter.engine.rasters.source import RasterSource
from unet_segmenter.engine.run_landcover import run_landcover

HUGE = 100_000


def square(path: Path, row: int, col: int, side: int) -> Path:
    """A square polygon around pixels of the toy grid, in UTM 33 north."""
    x, y = TRANSFORM @ (col, row)
    d = side * TRANSFORM.a
    ring = [[x, y], [x + d, y], [x + d, y - d], [x, y - d], [x, y]]
    crs = {"type": "name", "properties": {"name": UTM}}
    feature = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    return path


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raster of 100,000 px square of which only 1,024 px square are on the disk."""
    path = tmp_path_factory.mktemp("huge") / "huge.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=HUGE, height=HUGE, count=3, dtype="uint8", tiled=True,
        crs=UTM, transform=TRANSFORM, sparse_ok=True, bigtiff="yes", photometric="rgb",
        interleave="pixel",
    ) as raster:  # fmt: skip
        image = np.moveaxis(texture(1024, 1024), -1, 0)
        raster.write(image, window=rasterio.windows.Window(71_680, 30_720, 1024, 1024))
    return path


@pytest.mark.parametrize("kind", ["segment", "landcover"])
def test_an_area_of_fourteen_metres_in_a_huge_raster_costs_little(
    kind: str, huge: Path, bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, most = [], [0]
    reading, writing = RasterSource.read, BlockStore.write

    def counted(source: RasterSource, window: Any, *rest: Any) -> Any:
        read.append(window.pixels)
        return reading(source, window, *rest)

    def watched(store: BlockStore, *rest: Any) -> None:
        writing(store, *rest)
        most[0] = max(most[0], sum(p.stat().st_blocks * 512 for p in store.folder.iterdir()))

    aoi = square(tmp_path / "aoi.geojson", 31_000, 72_000, 56)
    monkeypatch.setattr(RasterSource, "read", counted)
    monkeypatch.setattr(BlockStore, "write", watched)
    out = tmp_path / "m.tif"
    began = time.process_time()
    if kind == "segment":
        segment(huge, out, bright, aoi=aoi)
    else:
        run_landcover(
            LandcoverJob(str(huge), str(out), (str(bright),), aoi=str(aoi)), WatchingProgress()
        )
    assert time.process_time() - began < 60
    samples = 36 * 128**2
    assert sum(read) < samples + 3 * 1100**2
    assert most[0] < 16e6
    assert out.stat().st_size < 4e6
    with rasterio.open(out) as made:
        assert (made.shape, made.nodata, len(made.overviews(1))) == ((HUGE, HUGE), 255, 8)
        inside = made.read(1, window=rasterio.windows.Window(72_000, 31_000, 56, 56))
        around = made.read(1, window=rasterio.windows.Window(71_900, 30_900, 256, 256))
        far = made.read(1, window=rasterio.windows.Window(10, 90_000, 256, 256))
    assert (inside != 255).all()
    assert np.count_nonzero(around != 255) == 56 * 56
    assert (far == 255).all()


def test_an_area_of_interest_gives_the_pixels_and_overviews_of_the_whole_map(
    toy_unet: Path, tmp_path: Path
) -> None:
    source = write_raster(tmp_path / "in.tif", texture(1500, 1400))
    aoi = square(tmp_path / "aoi.geojson", 700, 600, 300)
    options: dict[str, Any] = {"block_size": 128, "precision": "f32"}
    segment(source, tmp_path / "whole.tif", toy_unet, **options)
    made = segment(
        source, tmp_path / "m.tif", toy_unet, aoi=aoi, probability=tmp_path / "p.tif",
        probability_type="float32", **options,
    )  # fmt: skip
    expected = np.full((1, 1500, 1400), 255, np.uint8)
    inside = (slice(None), slice(700, 1000), slice(600, 900))
    expected[inside] = read_raster(tmp_path / "whole.tif")[inside]
    assert np.array_equal(read_raster(tmp_path / "m.tif"), expected)
    shares = read_raster(tmp_path / "p.tif")
    assert np.isfinite(shares[:, 700:1000, 600:900]).all()
    assert np.isfinite(shares).sum() == 3 * 300 * 300
    assert made.nodata_pixels == 1500 * 1400 - 300 * 300
    with (
        rasterio.open(tmp_path / "m.tif") as raster,
        rasterio.open(tmp_path / "m.tif", overview_level=0) as overview,
    ):
        assert raster.overviews(1)[0] == 2
        smaller = overview.read(1)
        assert float(raster.tags(1)["STATISTICS_VALID_PERCENT"]) == pytest.approx(4.286, rel=1e-3)
    assert smaller.shape == (750, 700)
    assert (smaller[350:500, 300:450] != 255).all()
    assert np.count_nonzero(smaller != 255) == 150 * 150
