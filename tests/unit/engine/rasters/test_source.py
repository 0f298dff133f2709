# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading windows of rasters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.toy_rasters import texture, write_raster
from unet_segmenter.engine.errors import InputError
from unet_segmenter.engine.geometry import PixelWindow, Shape2D
from unet_segmenter.engine.rasters.source import RasterSource

BYTE = (0.0, 255.0)
SHAPE = Shape2D(60, 80)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "in.tif", texture(*SHAPE))


@pytest.mark.parametrize(
    "window",
    [
        PixelWindow(0, 0, 60, 80),
        PixelWindow(7, 9, 20, 30),
        PixelWindow(50, 70, 32, 32),
        PixelWindow(-8, -4, 16, 16),
        PixelWindow(100, 100, 4, 4),
    ],
)
def test_a_window_past_the_edge_is_read_with_zeros_that_are_no_data(
    source: Path, window: PixelWindow
) -> None:
    with RasterSource(str(source)) as raster:
        pixels, valid = raster.read(window, (3, 1), BYTE)
    assert pixels.shape == (*window.shape, 2)
    image = texture(*SHAPE)
    inside = window.intersect(PixelWindow.of_shape(SHAPE))
    expected = np.zeros((*window.shape, 2), np.uint8)
    expected_valid = np.zeros(window.shape, bool)
    if inside:
        target = inside.relative_to(window).slices
        expected[target] = image[inside.slices][..., [2, 0]]
        expected_valid[target] = True
    assert np.array_equal(pixels, expected)
    assert np.array_equal(valid, expected_valid)


def test_an_overview_holds_pixels_of_the_raster(source: Path) -> None:
    with RasterSource(str(source)) as raster:
        pixels, valid = raster.overview((1, 2, 3), 20, BYTE)
    assert (pixels.shape, valid.all()) == ((15, 20, 3), True)
    known = {tuple(p) for p in texture(*SHAPE).reshape(-1, 3)}
    assert {tuple(p) for p in pixels.reshape(-1, 3)} <= known


def test_a_sample_is_of_the_region_alone(tmp_path: Path) -> None:
    image = texture(*SHAPE)
    image[:, :40] = 7
    source = write_raster(tmp_path / "in.tif", image)
    with RasterSource(str(source)) as raster:
        sample = raster.sample((1, 2, 3), BYTE, PixelWindow(5, 3, 30, 30))
    assert sample.shape[1] == 3
    assert len(sample) > 0
    assert (sample == 7).all()


def test_alpha_is_no_data_band(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", texture(9, 9, 4), photometric="rgb", alpha="yes")
    with RasterSource(str(path)) as raster:
        assert (raster.data_bands, raster.count) == ((1, 2, 3), 4)


def test_a_file_of_several_rasters_names_them(tmp_path: Path) -> None:
    rows = np.zeros((4, 4), np.uint8)
    path = tmp_path / "two.gpkg"
    for table in ("first", "second"):
        write_raster(path, rows, driver="GPKG", RASTER_TABLE=table, APPEND_SUBDATASET="YES")
    with pytest.raises(InputError, match=r"several rasters.*first"):
        RasterSource(str(path))
