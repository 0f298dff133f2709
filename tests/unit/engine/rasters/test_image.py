# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file says of its values, decided once for all images."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from tests.toy_rasters import TRANSFORM, UTM, texture, write_raster
from unet_segmenter.engine.errors import InputError, JobError
from unet_segmenter.engine.geometry import PixelWindow
from unet_segmenter.engine.job import JobSpec
from unet_segmenter.engine.rasters.image import ImageSource
from unet_segmenter.engine.rasters.options import SourceOptions
from unet_segmenter.engine.rasters.source import RasterSource

BYTE = (0.0, 255.0)
ALL = PixelWindow(0, 0, 200, 300)
BANDS = (1, 2, 3)


def image() -> np.ndarray:
    pixels = texture(200, 300)
    pixels[pixels.max(axis=-1) == 0] = 1
    return pixels


def collared(value: int = 0) -> np.ndarray:
    """A picture with a wedge of one value at its left, and a spot of it in its middle."""
    pixels = np.clip(image(), 1, 254)
    rows, cols = np.mgrid[0:200, 0:300]
    pixels[cols < 120 - rows / 2] = value
    pixels[90:110, 200:230] = value
    return pixels


def wedge() -> np.ndarray:
    rows, cols = np.mgrid[0:200, 0:300]
    return cols < 120 - rows / 2


def run_remedy(sentence: str, folder: Path) -> Path:
    """Run the command at a sentence's end as it stands; the file that it makes."""
    words = shlex.split(sentence[re.search(r"gdal\w+ ", sentence).start() :])  # type: ignore[union-attr]
    if shutil.which(words[0]) is None:
        pytest.skip(f"there is no {words[0]} here")
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return folder / words[-1]


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64}])
def test_a_collar_is_told_with_the_remedy_and_the_remedy_takes_it_alone(
    value: int, layout: dict[str, Any], tmp_path: Path
) -> None:
    path = write_raster(tmp_path / "in.tif", collared(value), **layout)
    with ImageSource(str(path)) as source:
        (warning,) = source.warnings(BYTE)
        assert f"are {value} in all bands" in warning
        assert f"Set NODATA to {value} (--nodata {value})" in warning
        assert source.read(ALL, BANDS, BYTE)[1].all()
    with ImageSource(str(path), SourceOptions((value,))) as source:
        assert source.warnings(BYTE) == []
        _, valid = source.read(ALL, BANDS, BYTE)
        assert np.array_equal(valid, ~wedge())
        part = PixelWindow(-10, 60, 100, 50)  # a block that reaches past the edge
        _, valid = source.read(part, (2,), BYTE)
        assert np.array_equal(valid[10:], ~wedge()[:90, 60:110])
        _, small = source.overview(BANDS, 75, BYTE)
    assert small.mean() == pytest.approx((~wedge()).mean(), abs=0.02)


def test_an_image_without_a_collar_gives_no_warning(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "in.tif", image())
    with ImageSource(str(path)) as source:
        assert source.warnings(BYTE) == []
    told = write_raster(tmp_path / "told.tif", collared(), nodata=0)
    with ImageSource(str(told)) as source:
        assert source.warnings(BYTE) == []


def test_a_part_of_the_image_away_from_the_collar_gives_no_warning(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "in.tif", np.tile(collared(), (4, 4, 1)))
    with ImageSource(str(path)) as source:
        assert source.warnings(BYTE, PixelWindow(300, 500, 100, 100)) == []


def test_a_collar_that_no_data_can_have_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    pixels = np.where(wedge()[..., None], -9999, image().astype(np.int16))
    path = write_raster(tmp_path / "in.tif", pixels)
    with (
        ImageSource(str(path)) as source,
        pytest.raises(InputError, match=r"Set NODATA to -9999 \(--nodata -9999\)\.$"),
    ):
        source.warnings(BYTE)
    with ImageSource(str(path), SourceOptions((-9999,))) as source:
        assert np.array_equal(source.read(ALL, BANDS, BYTE)[1], ~wedge())
        assert np.array_equal(source.read(ALL, BANDS, (-np.inf, np.inf))[1], ~wedge())


def test_near_infrared_called_alpha_is_data_where_it_is_named(tmp_path: Path) -> None:
    infrared = np.full((200, 300, 1), 90, np.uint8)
    infrared[:, 150:] = 0
    pixels = np.concatenate([image(), infrared], axis=-1)
    path = write_raster(tmp_path / "in.tif", pixels, photometric="rgb", alpha="yes")
    with ImageSource(str(path)) as source:
        (warning,) = source.warnings(BYTE)
        assert "Band 4" in warning
        assert "used as transparency" in warning
        assert np.array_equal(source.read(ALL, BANDS, BYTE)[1], infrared[..., 0] > 0)
    with ImageSource(str(path), SourceOptions(bands=(4, 1, 2))) as source:
        assert source.warnings(BYTE) == []
        for bands in ((4, 1, 2), (1, 2, 3)):  # also for another model of the same run
            assert source.read(ALL, bands, BYTE)[1].all()
    mended = run_remedy(warning, tmp_path)
    with ImageSource(str(mended)) as source:
        assert source.warnings(BYTE) == []
        assert source.read(ALL, BANDS, BYTE)[1].all()


def test_plain_transparency_is_no_doubt(tmp_path: Path) -> None:
    alpha = np.where(wedge(), 0, 255).astype(np.uint8)[..., None]
    pixels = np.concatenate([collared(), alpha], axis=-1)
    path = write_raster(tmp_path / "in.tif", pixels, photometric="rgb", alpha="yes")
    with ImageSource(str(path)) as source:
        assert source.warnings(BYTE) == []
        assert np.array_equal(source.read(ALL, BANDS, BYTE)[1], ~wedge())


@pytest.mark.parametrize(
    ("dtype", "lowest", "text"),
    [
        ("float32", np.finfo("float32").min, -3.40282e38),
        ("float32", np.finfo("float32").min, -3.4028235e38),
        ("float32", np.float32(-3.4e38), -3.4e38),
        ("float64", np.finfo("float64").min, -1.79769e308),
        ("float32", np.float32(-9999), -9999),
        ("float32", np.float32(0.1), 0.1),
    ],
)
def test_a_nodata_value_rounded_in_its_text_matches(
    dtype: str, lowest: float, text: float, tmp_path: Path
) -> None:
    pixels = (image() / 255).astype(dtype)
    pixels[:, :64] = lowest
    path = write_raster(tmp_path / "in.tif", pixels, nodata=text)
    with ImageSource(str(path)) as source:
        _, valid = source.read(ALL, BANDS, (0.2, 1))
        sample = source.sample(BANDS, (0.2, 1), ALL)
    assert not valid[:, :64].any()
    assert valid[:, 64:].all()
    assert sample.min() >= 0


def test_scale_and_offset_are_applied_and_nodata_is_what_is_stored(tmp_path: Path) -> None:
    stored = image() // 2
    stored[:20] = 7
    path = write_raster(tmp_path / "in.tif", stored, nodata=7)
    with rasterio.open(path, "r+") as raster:
        raster.scales, raster.offsets = (2.0,) * 3, (1.0,) * 3
    with ImageSource(str(path)) as source:
        pixels, valid = source.read(PixelWindow(-5, 0, 205, 300), BANDS, BYTE)
        small, _ = source.overview(BANDS, 30, BYTE)
        assert source.dtype == "float32"
    assert pixels.dtype == small.dtype == np.float32
    assert np.array_equal(pixels[5:], stored.astype(np.float32) * 2 + 1)
    assert not valid[:25].any()
    with RasterSource(str(path)) as raw:  # probabilities decode themselves
        assert np.array_equal(raw.read(ALL, BANDS, BYTE)[0], stored)


def test_a_palette_image_is_refused_with_a_command_that_works(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "pal.tif", image()[..., 0] // 64, photometric="palette")
    colors = {0: (10, 20, 30, 255), 1: (40, 90, 10, 255), 2: (200, 0, 0, 255), 3: (9, 9, 9, 255)}
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, colors)
    with pytest.raises(InputError, match="palette image") as refused:
        ImageSource(str(path))
    with ImageSource(str(run_remedy(str(refused.value), tmp_path))) as source:
        pixels, _ = source.read(ALL, BANDS, BYTE)
    table = np.array([colors[value][:3] for value in range(4)])
    assert np.array_equal(pixels, table[image()[..., 0] // 64])


def test_a_palette_of_greys_is_what_it_says(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "pal.tif", image()[..., 0], photometric="palette")
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {value: (value, value, value, 255) for value in range(256)})
    with ImageSource(str(path)) as source:
        assert np.array_equal(source.read(ALL, (1,), BYTE)[0][..., 0], image()[..., 0])


def test_a_raster_placed_by_points_alone_is_refused_with_a_command_that_works(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gcps.tif"
    corners = [(row, col) for row in (0, 200) for col in (0, 300)]
    points = [GroundControlPoint(r, c, *(TRANSFORM @ (c, r))) for r, c in corners]
    with rasterio.open(
        path, "w", driver="GTiff", height=200, width=300, count=3, dtype="uint8"
    ) as raster:
        raster.write(np.moveaxis(image(), -1, 0))
        raster.gcps = (points, rasterio.CRS.from_string(UTM))
    for kind in (RasterSource, ImageSource):
        with pytest.raises(InputError, match="ground control points alone") as refused:
            kind(str(path))
    with ImageSource(str(run_remedy(str(refused.value), tmp_path))) as source:
        assert source.grid.transform == pytest.approx(tuple(TRANSFORM)[:6], abs=1e-3)
        assert source.is_georeferenced
    with ImageSource(str(path), SourceOptions(needs_place=False)) as source:
        assert source.count == 3


def test_the_crs_that_a_user_gives_counts(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "in.tif", image(), crs=None)
    with ImageSource(str(path), SourceOptions(crs="EPSG:32650")) as source:
        assert source.grid.crs_text() == "EPSG:32650"
    with RasterSource.aligned(
        str(path), source.grid, options=SourceOptions(crs="EPSG:32650")
    ) as it:
        assert np.array_equal(it.read(ALL, BANDS, BYTE)[0], image())


@pytest.mark.parametrize("crs", ["EPSG:999999", "Mars", ""])
def test_a_crs_that_is_none_is_refused_in_one_sentence(crs: str, tmp_path: Path) -> None:
    path = write_raster(tmp_path / "in.tif", image())
    with pytest.raises(JobError, match=r"is no coordinate reference system; give one as EPSG:n"):
        ImageSource(str(path), SourceOptions(crs=crs))


def test_aligning_loses_no_pixel_where_the_fourth_class_is_called_alpha(tmp_path: Path) -> None:
    steps = np.random.default_rng(1).integers(0, 255, (200, 300, 4), np.uint8)
    steps[:, :180, 3] = 0  # a class that is not there: no transparency
    path = write_raster(tmp_path / "p.tif", steps)
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue,
                              ColorInterp.alpha]  # fmt: skip
        raster.scales = (1 / 254,) * 4
    with RasterSource(str(path)) as source:
        part = source.grid.crop(PixelWindow(10, 20, 150, 200))
    with RasterSource.aligned(str(path), part) as aligned:
        pixels, valid = aligned.read(PixelWindow(0, 0, 150, 200), (1, 2, 3, 4), BYTE)
    assert valid.all()
    assert np.array_equal(pixels, steps[10:160, 20:220])


def test_values_called_nodata_by_the_user_count_when_aligning(tmp_path: Path) -> None:
    steps = np.random.default_rng(1).integers(0, 200, (200, 300, 2), np.uint8)
    steps[:30, :, 0] = 201
    path = write_raster(tmp_path / "p.tif", steps)
    with RasterSource(str(path), SourceOptions((201,))) as source:
        grid = source.grid
        assert not source.read(ALL, (1, 2), (np.inf, -np.inf))[1][:30].any()
    with RasterSource.aligned(str(path), grid, options=SourceOptions((201,))) as aligned:
        _, valid = aligned.read(ALL, (1, 2), (np.inf, -np.inf))
    assert not valid[:30].any()
    assert valid[30:].all()
    with pytest.raises(JobError, match="several values of NODATA"):
        RasterSource.aligned(str(path), grid, options=SourceOptions((1, 2)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0", True])
def test_nodata_values_are_numbers(value: Any) -> None:
    with pytest.raises(JobError, match="NODATA must be numbers"):
        JobSpec("a.tif", "b.tif", "m", nodata=(value,))
