# SPDX-License-Identifier: GPL-2.0-or-later
"""Invariant 4: nodata in is nodata out, and what lies under it changes nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from tests.toy_jobs import WatchingProgress, count_windows, segment
from tests.toy_models import write_toy_unet
from tests.toy_rasters import TRANSFORM, read_raster, texture, write_raster

HOLE = np.zeros((90, 110), bool)
HOLE[30:55, 40:80] = True
HOLE[0:10, 0:5] = True
HOLE[-1, -1] = True

Writer = Callable[[Path, NDArray[Any], int], None]


def with_value(dtype: str, nodata: float) -> Writer:
    """The hole holds the nodata value in all bands; its neighbours never do."""

    def write(path: Path, pixels: NDArray[Any], seed: int) -> None:
        # Nothing else can lie under a nodata value: the value itself is what is hidden.
        typed = np.clip(pixels, 1, 254).astype(dtype)
        typed[HOLE] = nodata
        write_raster(path, typed, nodata=nodata)

    return write


def with_any_band(dtype: str, nodata: float) -> Writer:
    """The hole holds the nodata value in one band; the others vary with the seed."""

    def write(path: Path, pixels: NDArray[Any], seed: int) -> None:
        typed = np.clip(pixels, 1, 254).astype(dtype)
        typed[HOLE] = np.random.default_rng(seed).integers(1, 254, (HOLE.sum(), 3))
        typed[HOLE, seed % 3] = nodata
        write_raster(path, typed, nodata=nodata)

    return write


def scrambled(pixels: NDArray[Any], seed: int) -> NDArray[Any]:
    """The pixels, with noise in the hole."""
    changed = pixels.copy()
    changed[HOLE] = np.random.default_rng(seed).integers(0, 255, (HOLE.sum(), 3))
    return changed


def with_alpha(path: Path, pixels: NDArray[Any], seed: int) -> None:
    alpha = np.where(HOLE, 0, 255).astype(np.uint8)[..., np.newaxis]
    pixels = np.concatenate([scrambled(pixels, seed), alpha], axis=-1)
    write_raster(path, pixels, photometric="rgb", alpha="yes")


def with_inner_mask(path: Path, pixels: NDArray[Any], seed: int) -> None:
    write_raster(path, scrambled(pixels, seed))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as raster:
        raster.write_mask(~HOLE)


def with_mask_file(path: Path, pixels: NDArray[Any], seed: int) -> None:
    write_raster(path, scrambled(pixels, seed))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as raster:
        raster.write_mask(~HOLE)
    assert path.with_name(path.name + ".msk").exists()


KINDS: dict[str, Writer] = {
    "0 in all bands": with_value("uint8", 0),
    "255 in all bands": with_value("uint8", 255),
    "-9999 in all bands": with_value("int16", -9999),
    "-9999 in one band": with_any_band("int16", -9999),
    "-9999.0 in one band": with_any_band("float32", -9999),
    "65535 in one band": with_any_band("uint16", 65535),
    "NaN in one band": with_any_band("float32", np.nan),
    "the least float in one band": with_any_band("float32", float(np.finfo(np.float32).min)),
    "the least double in one band": with_any_band("float64", float(np.finfo(np.float64).min)),
    "infinity in one band": with_any_band("float32", np.inf),
    "alpha": with_alpha,
    "a mask inside the file": with_inner_mask,
    "a mask beside the file": with_mask_file,
}


@pytest.mark.parametrize("kind", KINDS)
def test_nodata_is_kept_and_what_lies_under_it_changes_nothing(
    kind: str, toy_unet: Path, tmp_path: Path
) -> None:
    layers = []
    for seed in (1, 2):
        source = tmp_path / f"in_{seed}.tif"
        KINDS[kind](source, texture(*HOLE.shape), seed)
        segment(
            source,
            tmp_path / f"m_{seed}.tif",
            toy_unet,
            block_size=32,
            probability=tmp_path / f"p_{seed}.tif",
            confidence=tmp_path / f"c_{seed}.tif",
        )
        layers.append([read_raster(tmp_path / f"{name}_{seed}.tif") for name in "mpc"])
    for first, second in zip(*layers, strict=True):
        assert np.array_equal(first, second)
        assert np.array_equal(first == 255, np.broadcast_to(HOLE, first.shape))


def test_nodata_values_do_not_reach_their_neighbours_scores(toy_unet: Path, tmp_path: Path) -> None:
    """The same hole, hidden in four ways, gives the same map around it."""
    pixels = np.clip(texture(*HOLE.shape), 1, 254)
    masks = []
    for index, kind in enumerate(
        ["0 in all bands", "255 in all bands", "-9999 in all bands", "NaN in one band", "alpha"]
    ):
        KINDS[kind](tmp_path / f"{index}.tif", pixels, index)
        segment(tmp_path / f"{index}.tif", tmp_path / f"m{index}.tif", toy_unet, block_size=64)
        masks.append(read_raster(tmp_path / f"m{index}.tif"))
    for mask in masks[1:]:
        assert np.array_equal(mask, masks[0])


def test_a_hole_is_not_the_same_as_dark_pixels(toy_unet: Path, tmp_path: Path) -> None:
    """The comparison above can fail: black pixels that are data do sway their neighbours."""
    pixels = np.clip(texture(*HOLE.shape), 1, 254)
    pixels[HOLE] = 0
    maps = []
    for name, nodata in (("data", None), ("nodata", 0)):
        write_raster(tmp_path / f"{name}.tif", pixels, nodata=nodata)
        segment(
            tmp_path / f"{name}.tif",
            tmp_path / f"m_{name}.tif",
            toy_unet,
            precision="f32",
            probability=tmp_path / f"p_{name}.tif",
        )
        maps.append(read_raster(tmp_path / f"p_{name}.tif")[:, ~HOLE])
    assert not np.array_equal(*maps)


@pytest.mark.parametrize("nodata", [0, 255])
def test_a_nodata_value_that_data_may_have_counts_only_in_all_bands_at_once(
    nodata: int, bright: Path, tmp_path: Path
) -> None:
    """A pure blue pixel has red 0 and green 0: it is no hole."""
    pixels = np.full((8, 8, 3), 100, np.uint8)
    pixels[2, 2] = [nodata, nodata, 100]
    pixels[3, 3] = [nodata, 100, 100]
    pixels[4, 4] = nodata
    source = write_raster(tmp_path / "in.tif", pixels, nodata=nodata)
    segment(source, tmp_path / "m.tif", bright)
    holes = np.argwhere(read_raster(tmp_path / "m.tif")[0] == 255).tolist()
    assert holes == [[4, 4]]


def test_a_nodata_value_that_data_cannot_have_counts_in_any_band(
    bright: Path, tmp_path: Path
) -> None:
    pixels = np.full((8, 8, 3), 100, np.int16)
    pixels[2, 2] = [-9999, 100, 100]
    pixels[4, 4] = -9999
    source = write_raster(tmp_path / "in.tif", pixels, nodata=-9999)
    segment(source, tmp_path / "m.tif", bright)
    holes = np.argwhere(read_raster(tmp_path / "m.tif")[0] == 255).tolist()
    assert holes == [[2, 2], [4, 4]]


def test_bands_that_are_not_used_make_no_holes(bright: Path, tmp_path: Path) -> None:
    pixels = np.full((8, 8, 4), 100, np.int16)
    pixels[2, 2, 3] = -9999
    source = write_raster(tmp_path / "in.tif", pixels, nodata=-9999)
    segment(source, tmp_path / "m.tif", bright)
    assert (read_raster(tmp_path / "m.tif") != 255).all()


def test_a_raster_of_nothing_but_nodata_gives_nothing_but_nodata(
    bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = count_windows(monkeypatch)
    source = write_raster(tmp_path / "in.tif", np.zeros((50, 40, 3), np.uint8), nodata=0)
    progress = WatchingProgress()
    result = segment(source, tmp_path / "m.tif", bright, progress, probability=tmp_path / "p.tif")
    assert (read_raster(tmp_path / "m.tif") == 255).all()
    assert (read_raster(tmp_path / "p.tif") == 255).all()
    assert result.nodata_pixels == 2000
    assert shapes == [], "the network has nothing to see"
    assert any("nothing but nodata" in text for text in progress.warnings())


def test_pixels_beyond_the_area_of_interest_are_context_but_not_result(
    toy_unet: Path, tmp_path: Path
) -> None:
    """An area cuts what is written; its neighbours are seen as they are."""
    source = write_raster(tmp_path / "in.tif", texture(90, 110))
    ring = [TRANSFORM @ p for p in ((20, 10), (70, 10), (70, 60), (20, 60), (20, 10))]
    aoi = tmp_path / "aoi.geojson"
    coordinates = str([[list(point) for point in ring]]).replace("'", "")
    aoi.write_text(
        '{"type": "FeatureCollection", "crs": {"type": "name", "properties": '
        '{"name": "urn:ogc:def:crs:EPSG::32633"}}, "features": [{"type": "Feature", '
        '"properties": {}, "geometry": {"type": "Polygon", "coordinates": ' + coordinates + "}}]}"
    )
    segment(source, tmp_path / "all.tif", toy_unet, block_size=32)
    segment(source, tmp_path / "part.tif", toy_unet, block_size=32, aoi=aoi)
    expected = np.full((90, 110), 255, np.uint8)
    expected[10:60, 20:70] = read_raster(tmp_path / "all.tif")[0, 10:60, 20:70]
    assert np.array_equal(read_raster(tmp_path / "part.tif")[0], expected)


def test_nodata_of_one_band_rasters_is_kept(tmp_path: Path) -> None:
    model = write_toy_unet(tmp_path / "toy", bands=1)
    pixels = np.clip(texture(40, 40, 1), 1, 255)[..., 0]
    pixels[5:9, 5:9] = 0
    source = write_raster(tmp_path / "in.tif", pixels, nodata=0)
    segment(source, tmp_path / "m.tif", model)
    assert np.array_equal(read_raster(tmp_path / "m.tif")[0] == 255, pixels == 0)
