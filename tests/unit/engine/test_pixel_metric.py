# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes on the ground agree with those that QGIS measures on the ellipsoid, in any CRS."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from unet_segmenter.engine.geometry import Shape2D
from unet_segmenter.engine.pixel_metric import PixelMetric
from unet_segmenter.engine.rasters.grid import RasterGrid

WGS84_SURFACE = 510_065_621_724_088.44


def metric_of(crs: str, transform: tuple[float, ...], *shape: int) -> PixelMetric:
    grid = RasterGrid(Shape2D(*shape), transform, rasterio.CRS.from_user_input(crs).to_wkt())
    found = grid.metric()
    assert found is not None
    return found


def sum_of(metric: PixelMetric) -> float:
    height, width = metric.shape
    areas = metric.areas(0, height)
    return float(np.broadcast_to(areas, (height, width)).sum())


def ring(*corners: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    points = np.array([*corners, corners[0]], np.float64)
    return points, np.array([0, len(points)])


# What QgsDistanceArea (QGIS 3.22) gives for the rectangle that the raster covers.
BY_QGIS = [
    ("EPSG:3857", (0.4, 0, 1669792, 0, -0.4, 8399737), (128, 128), 657.5638, 102.57207),
    ("EPSG:3395", (0.4, 0, 1669792, 0, -0.4, 8399737), (128, 128), 652.0743, 102.14298),
    ("EPSG:32633", (0.25, 0, 500000, 0, -0.25, 5300000), (2, 2), 0.2502016, 2.0008003),
    ("EPSG:32633", (10, 0, 800000, 0, -10, 5300000), (100, 100), 998581.926, 3997.16284),
    ("EPSG:4326", (0.001, 0, 10, 0, -0.01, 60), (100, 1), 6309805.67, 222920.744),
    ("EPSG:2263", (1, 0, 984000, 0, -1, 200000), (1000, 1000), 92903.83941, 1219.205245),
    ("EPSG:3031", (600, 0, -1e6, 0, -600, 1500000), (10, 10), 36503835.10, 24167.3597),
]


@pytest.mark.parametrize(("crs", "transform", "shape", "area", "length"), BY_QGIS)
def test_areas_and_lengths_are_those_that_qgis_measures(crs, transform, shape, area, length):
    found = metric_of(crs, transform, *shape)
    height, width = shape
    outline = ring((0, 0), (width, 0), (width, height), (0, height))
    assert sum_of(found) == pytest.approx(area, rel=1e-4)
    assert found.ring_areas(*outline) == pytest.approx(area, rel=1e-4)
    assert found.ring_lengths(*outline) == pytest.approx(length, rel=1e-4)


def test_a_pixel_of_web_mercator_at_sixty_degrees_is_half_as_wide_as_the_map_says():
    found = metric_of("EPSG:3857", (0.4, 0, 1669792, 0, -0.4, 8399737), 128, 128)
    assert found.pixel_size() == pytest.approx((0.2005, 0.2002), rel=1e-3)
    assert found.pixel_area() == pytest.approx(0.04013, rel=1e-3)


def test_the_pixels_of_the_whole_world_cover_it():
    degrees = metric_of("EPSG:4326", (1, 0, -180, 0, -1, 90), 180, 360)
    assert sum_of(degrees) == pytest.approx(WGS84_SURFACE, rel=2e-5)
    fine = metric_of("EPSG:4326", (0.05, 0, -180, 0, -0.05, 90), 3600, 7200)
    assert sum_of(fine) == pytest.approx(WGS84_SURFACE, rel=2e-5)
    side = 2 * 20037508.342789244 / 1000
    mercator = metric_of(
        "EPSG:3857", (side, 0, -20037508.342789244, 0, -side, 20037508.342789244), 1000, 1000
    )
    # Up to 85.0511 degrees: all but the caps around the poles.
    assert sum_of(mercator) == pytest.approx(0.996262 * WGS84_SURFACE, rel=1e-3)


def test_pixels_vary_along_a_row_too_where_the_projection_says_so():
    zone = metric_of("EPSG:32633", (1000, 0, 200000, 0, -1000, 5500000), 600, 600)
    areas = zone.areas(300, 301)
    assert areas.shape == (1, 600)
    assert areas[0, 300] == pytest.approx(1e6 / 0.9996**2, rel=1e-5)
    assert areas[0, 0] < 0.998 * areas[0, 300]
    assert not zone.is_uniform


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326", "EPSG:32633", "EPSG:3031"])
def test_the_area_along_edges_of_pixels_is_the_sum_of_the_pixels(crs):
    step = 0.5 if crs == "EPSG:4326" else 20000
    origin = (3, 55) if crs == "EPSG:4326" else (300000, 6000000)
    found = metric_of(crs, (step, 0, origin[0], 0, -step, origin[1]), 40, 50)
    areas = np.broadcast_to(found.areas(0, 40), (40, 50))
    # An L of pixels.
    outline = ring((10, 5), (30, 5), (30, 12), (20, 12), (20, 33), (10, 33))
    expected = areas[5:12, 10:30].sum() + areas[12:33, 10:20].sum()
    assert found.ring_areas(*outline) == pytest.approx(expected, rel=1e-5)


def test_a_crs_in_grads_from_paris_is_measured_in_metres():
    """A grad of latitude is 100 km."""
    found = metric_of("EPSG:4807", (0.001, 0, 0, 0, -0.001, 54), 10, 10)
    assert found.pixel_size()[1] == pytest.approx(100, rel=1e-3)


def test_a_local_crs_is_a_plane():
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    found = metric_of(local, (0.5, 0, 0, 0, -0.5, 0), 10, 10)
    assert found.pixel_size() == (0.5, 0.5)


def test_pixels_beyond_the_projection_have_the_area_of_the_map():
    """The corners of a world in an orthographic projection lie nowhere."""
    ortho = "+proj=ortho +lat_0=0 +lon_0=0 +R=6371000"
    found = metric_of(ortho, (200000, 0, -7e6, 0, -200000, 7e6), 70, 70)
    areas = np.broadcast_to(found.areas(0, 70), (70, 70))
    assert np.isfinite(areas).all()
    assert areas[0, 0] == 4e10
    assert areas[35, 35] == pytest.approx(4e10, rel=0.01)
