# SPDX-License-Identifier: GPL-2.0-or-later
"""Grids of pixels."""

from __future__ import annotations

import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from tests.toy_rasters import TRANSFORM, UTM
from unet_segmenter.engine.geometry import PixelWindow, Shape2D
from unet_segmenter.engine.rasters.grid import RasterGrid

SHAPE = Shape2D(60, 80)
GRIDS = {
    "north-up": TRANSFORM,
    "south-up": rasterio.Affine(0.3, 0, 100, 0, 0.3, 200),
    "mirrored": rasterio.Affine(-0.3, 0, 100, 0, -0.3, 200),
}


def grid(name: str = "north-up", crs: str | None = None) -> RasterGrid:
    return RasterGrid(SHAPE, tuple(GRIDS[name])[:6], crs)


@given(
    st.sampled_from(sorted(GRIDS)),
    st.integers(0, 59),
    st.integers(0, 79),
    st.integers(1, 60),
    st.integers(1, 80),
)
def test_the_bounds_of_a_window_lead_back_to_it(
    name: str, row: int, col: int, height: int, width: int
) -> None:
    window = PixelWindow(row, col, min(height, 60 - row), min(width, 80 - col))
    assert grid(name).window_of(grid(name).crop(window).bounds()) == window


@given(st.sampled_from(sorted(GRIDS)), st.floats(1, 59), st.floats(1, 79))
def test_a_point_like_rectangle_gives_the_pixel_around_it(
    name: str, row: float, col: float
) -> None:
    x, y = GRIDS[name] @ (col, row)
    window = grid(name).window_of((x - 1e-9, y - 1e-9, x + 1e-9, y + 1e-9))
    assert window is not None
    assert window.row - 1e-5 <= row <= window.row_stop + 1e-5
    assert window.col - 1e-5 <= col <= window.col_stop + 1e-5
    assert window.pixels <= 4


def test_a_rectangle_elsewhere_touches_nothing() -> None:
    assert grid().window_of((0, 0, 1, 1)) is None


def test_a_rectangle_larger_than_the_raster_is_cut_to_it() -> None:
    assert grid().window_of((0, 0, 1e7, 1e7)) == PixelWindow.of_shape(SHAPE)


@pytest.mark.parametrize(
    ("crs", "transform", "metres"),
    [
        (UTM, rasterio.Affine(0.5, 0, 500000, 0, -0.25, 0), (0.5 / 0.9996, 0.25 / 0.9996)),
        ("EPSG:2263", rasterio.Affine(1, 0, 984000, 0, -1, 200000), (0.3048013, 0.3048013)),
        ("EPSG:4326", rasterio.Affine(1e-5, 0, 10, 0, -1e-5, 60), (0.5580, 1.1141)),
        ("EPSG:3857", rasterio.Affine(0.4, 0, 1669792, 0, -0.4, 8399737), (0.2005, 0.2002)),
    ],
)
def test_pixel_sizes_are_told_in_metres(
    crs: str, transform: rasterio.Affine, metres: tuple[float, float]
) -> None:
    wkt = rasterio.CRS.from_user_input(crs).to_wkt()
    found = RasterGrid(Shape2D(2, 2), tuple(transform)[:6], wkt)
    assert found.pixel_size() == pytest.approx(metres, rel=2e-4)
    assert found.pixel_area() == pytest.approx(metres[0] * metres[1], rel=4e-4)


def test_without_a_crs_no_size_is_told() -> None:
    assert (grid().pixel_size(), grid().pixel_area()) == (None, None)
