# SPDX-License-Identifier: GPL-2.0-or-later
"""Collars, bands and values of images, through every command that reads one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from tests.toy_rasters import read_raster, texture, write_raster
from unet_segmenter import cli

SIDE = 160


def collared(value: int = 0) -> np.ndarray:
    pixels = np.clip(texture(SIDE, SIDE), 1, 254)
    pixels[:, :50] = value
    pixels[60:90, 100:130] = value  # a shadow: land
    return pixels


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_raster(tmp_path / "in.tif", collared())
    shares = np.full((SIDE, SIDE, 2), 0.5, np.float32)
    write_raster(tmp_path / "p.tif", shares)
    return tmp_path


def run(place: Path, bright: Path, command: str, *flags: Any) -> list[Any]:
    image, out = place / "in.tif", place / "m.tif"
    calls = {
        "segment": ["segment", image, out, "--model", bright],
        "landcover": ["landcover", image, out, "--models", bright, "--no-crf"],
        "refine": ["refine", image, out, "--probability", place / "p.tif", "--sxy", 2],
    }
    return [str(part) for part in (*calls[command], "--quiet", *flags)]


@pytest.mark.parametrize("command", ["segment", "landcover", "refine"])
def test_a_collar_is_told_and_nodata_takes_it_and_no_shadow(
    command: str, place: Path, bright: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(run(place, bright, command)) == 0
    warned = capsys.readouterr().err
    assert "has a collar without a nodata value" in warned
    assert "Set NODATA to 0 (--nodata 0)" in warned
    assert not (read_raster(place / "m.tif") == 255).any()
    assert cli.main(run(place, bright, command, "--nodata", 0, "--block-size", 48)) == 0
    assert "collar" not in capsys.readouterr().err
    nodata = read_raster(place / "m.tif")[0] == 255
    assert nodata[:, :50].all()
    assert not nodata[:, 50:].any()
    with rasterio.open(place / "m.tif") as made:
        assert made.tags()["UNET_SEGMENTER_NODATA"] == "0"


def test_nodata_of_one_run_is_not_taken_up_by_another(
    place: Path, bright: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from unet_segmenter.engine.job import JobSpec

    plain = JobSpec("a.tif", "b.tif", "m")
    assert plain.fingerprint() != JobSpec("a.tif", "b.tif", "m", nodata=(0,)).fingerprint()


def test_chips_of_a_collar_are_ignored_and_it_is_told(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.ones((SIDE, SIDE), np.uint8)
    write_raster(place / "labels.tif", labels)
    flags = ["--labels", place / "labels.tif", "--chip-size", 80, "--classes", "1", "--quiet"]
    call = [
        "preparedataset",
        "raster",
        place / "in.tif",
        place / "set",
        *flags,
        "--split",
        "random",
    ]
    assert cli.main([str(part) for part in call]) == 0
    assert "has a collar" in capsys.readouterr().err
    call += ["--overwrite", "--nodata", 0]
    assert cli.main([str(part) for part in call]) == 0
    mask = np.asarray(Image.open(place / "set" / "masks" / "in_r000_c000.png"))
    assert (mask[:, :50] == 255).all()
    assert not (mask[:, 50:] == 255).any()


def test_values_without_class_are_left_out_of_an_evaluation(place: Path) -> None:
    truth = np.ones((SIDE, SIDE), np.uint8)
    claimed = truth.copy()
    claimed[:40] = 9  # not connected with anything, and no class
    claimed[100:110, 20:30] = 9
    for name, values in (("t.tif", truth), ("c.tif", claimed)):
        write_raster(place / name, values)
    call = ["evaluate", place / "c.tif", place / "t.tif", "--numbers", place / "n.json", "--quiet"]
    assert cli.main([str(part) for part in (*call, "--nodata", 9)]) == 0
    found = json.loads((place / "n.json").read_text())
    assert (found["pixels"], found["unmapped_pixels"]) == (SIDE * SIDE - 6500, 6500)
    assert found["overall_accuracy"] == 1


def test_stored_values_without_probability_are_left_out_of_a_fusion(place: Path) -> None:
    shares = np.full((SIDE, SIDE, 2), 0.5, np.float32)
    shares[70:80, 70:90, 1] = -1
    write_raster(place / "q.tif", shares)
    call = ["fuse", place / "q.tif", place / "f.tif", "--quiet", "--nodata", -1]
    assert cli.main([str(part) for part in call]) == 0
    assert np.count_nonzero(read_raster(place / "f.tif") == 255) == 200


@pytest.mark.parametrize("command", ["segment", "landcover", "refine"])
def test_a_palette_image_is_refused_by_every_command(
    command: str, place: Path, bright: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(place / "in.tif", collared()[..., 0] // 64, photometric="palette")
    with rasterio.open(place / "in.tif", "r+") as raster:
        raster.write_colormap(1, {value: (value, 99, 0, 255) for value in range(4)})
    assert cli.main(run(place, bright, command)) == 3
    assert "gdal_translate -expand rgb" in capsys.readouterr().err


def test_palette_images_of_a_data_set_are_no_indices(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("images", "masks"):
        (place / "data" / folder).mkdir(parents=True)
    image = place / "data" / "images" / "a.tif"
    write_raster(image, collared()[..., 0] // 64, photometric="palette")
    with rasterio.open(image, "r+") as raster:
        raster.write_colormap(1, {value: (value, 99, 0, 255) for value in range(4)})
    write_raster(place / "data" / "masks" / "a.tif", np.ones((SIDE, SIDE), np.uint8))
    (place / "data" / "classes.csv").write_text("id,name\n0,other\n1,grass\n")
    call = ["preparedataset", "folders", place / "data", place / "set", "--quiet"]
    assert cli.main([str(part) for part in call]) == 3
    assert "palette image" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["segment", "landcover"])
def test_the_model_sees_values_after_their_scale(command: str, place: Path, bright: Path) -> None:
    pixels = np.clip(texture(SIDE, SIDE), 2, 254) // 2 * 2
    write_raster(place / "in.tif", pixels)
    assert cli.main(run(place, bright, command)) == 0
    expected = read_raster(place / "m.tif")
    write_raster(place / "in.tif", pixels // 2)
    with rasterio.open(place / "in.tif", "r+") as raster:
        raster.scales = (2.0,) * 3
    assert cli.main(run(place, bright, command)) == 0
    assert np.array_equal(read_raster(place / "m.tif"), expected)


def test_the_crs_that_is_given_is_that_of_the_map(place: Path, bright: Path) -> None:
    write_raster(place / "in.tif", collared(), crs=None)
    assert cli.main(run(place, bright, "segment", "--crs", "EPSG:32650")) == 0
    with rasterio.open(place / "m.tif") as made:
        assert made.crs == rasterio.CRS.from_epsg(32650)
