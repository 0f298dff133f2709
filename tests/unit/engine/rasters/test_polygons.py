# SPDX-License-Identifier: GPL-2.0-or-later
"""Polygons as they come: broken ones, huge ones, and those of the whole world."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.toy_cli import call
from tests.toy_rasters import TRANSFORM, texture, write_raster
from unet_segmenter.engine.errors import InputError
from unet_segmenter.engine.rasters.polygons import AreaOfInterest, LabelledPolygons
from unet_segmenter.engine.rasters.source import RasterSource
from unet_segmenter.engine.region import wanted_area, wanted_region
from unet_segmenter.engine.vector import read_polygons

X, Y = TRANSFORM.c, TRANSFORM.f
RING = [[X, Y], [X + 8, Y], [X + 8, Y - 8], [X, Y - 8], [X, Y]]  # 32 x 32 px
WORLD = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def write_layer(path: Path, *shapes: dict[str, Any] | None, crs: str = "EPSG:32633") -> Path:
    features = [{"type": "Feature", "properties": {"k": "a"}, "geometry": s} for s in shapes]
    named = {"type": "name", "properties": {"name": crs}}
    content = {"type": "FeatureCollection", "crs": named, "features": features}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "in.tif", texture(64, 64))


def wanted_pixels(raster: Path, layer: Path) -> int:
    with RasterSource(str(raster)) as source:
        region = wanted_region(source, None)
        area = wanted_area(str(layer), source, region)
        assert area is not None
        return int(area.mask(region).sum())


@pytest.mark.parametrize(
    ("shape", "crs", "pixels"),
    [
        (polygon(RING), "EPSG:32633", 1024),
        (polygon(RING[:-1]), "EPSG:32633", 1024),  # not closed
        (polygon([RING[k] for k in (0, 2, 1, 3, 0)]), "EPSG:32633", 512),  # a bow tie
        (polygon(WORLD), "EPSG:4326", 4096),
        (polygon([[-1e9, -1e9], [1e9, -1e9], [1e9, 1e9], [-1e9, 1e9]]), "EPSG:32633", 4096),
    ],
    ids=["plain", "not closed", "bow tie", "the world", "huge"],
)
def test_polygons_of_any_form_want_the_pixels_in_them(
    raster: Path, tmp_path: Path, shape: dict[str, Any], crs: str, pixels: int
) -> None:
    layer = write_layer(tmp_path / "aoi.geojson", shape, crs=crs)
    assert wanted_pixels(raster, layer) == pixels


def test_labels_stay_with_their_polygons_where_one_is_far_away(raster: Path) -> None:
    far = [[x + 1e6, y] for x, y in RING]
    with RasterSource(str(raster)) as source:
        shapes = [polygon(far), polygon(RING)]
        burnt = LabelledPolygons(shapes, [1, 2], None, source.grid).burn(
            wanted_region(source, None), 0
        )
        assert AreaOfInterest([polygon(far)], None, source.grid).window() is None
    assert set(burnt.ravel().tolist()) == {0, 2}
    assert (burnt == 2).sum() == 1024


BROKEN: dict[str, tuple[list[dict[str, Any] | None], str, str]] = {
    "one point": ([polygon(RING), polygon(RING[:1])], "EPSG:32633", "that of feature 2: a ring"),
    "two broken": ([polygon(RING[:1])] * 2, "EPSG:32633", "feature 1 and 1 others"),
    "two points": ([polygon(RING[:2])], "EPSG:32633", "holds no polygon"),
    "1e308": ([polygon([[X, Y], [1e308, Y], [1e308, -1e308]])], "EPSG:32633", "beyond 1e+12"),
    "metres": ([polygon(RING)], "EPSG:4326", "is no place in degrees"),
    "no shape": ([None], "EPSG:32633", "holds no polygon"),
    "no feature": ([], "EPSG:32633", "holds no polygon"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_polygons_are_told_in_one_sentence(raster: Path, tmp_path: Path, case: str) -> None:
    shapes, crs, words = BROKEN[case]
    layer = write_layer(tmp_path / "aoi.geojson", *shapes, crs=crs)
    with pytest.raises(InputError) as told:
        wanted_pixels(raster, layer)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_without_a_layer_is_told(tmp_path: Path) -> None:
    (tmp_path / "none.kml").write_text(
        '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document/></kml>'
    )
    with pytest.raises(InputError, match=r"none\.kml holds no layer"):
        read_polygons(str(tmp_path / "none.kml"))
    sqlite3.connect(tmp_path / "none.gpkg").close()
    with pytest.raises(InputError, match=r"none\.gpkg is not a polygon layer"):
        read_polygons(str(tmp_path / "none.gpkg"))


@pytest.mark.parametrize("case", ["one point", "1e308"])
def test_commands_end_with_the_code_of_bad_input(
    raster: Path, bright: Path, tmp_path: Path, case: str
) -> None:
    shapes, crs, words = BROKEN[case]
    layer = write_layer(tmp_path / "aoi.geojson", *shapes, crs=crs)
    classes = write_raster(tmp_path / "classes.tif", np.ones((64, 64), np.uint8))
    for arguments in (
        ("segment", raster, tmp_path / "m.tif", "--model", bright, "--aoi", layer),
        ("evaluate", classes, layer, "--field", "k"),
        ("preparedataset", "raster", raster, tmp_path / "s", "--labels", layer, "--field", "k"),
    ):
        done = call(*arguments)
        assert done.returncode == InputError.exit_code, (arguments, done.stderr)
        assert words in done.stderr
        assert "Traceback" not in done.stderr
