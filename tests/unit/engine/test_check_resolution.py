# SPDX-License-Identifier: GPL-2.0-or-later
"""Rasters of another resolution than a model's: a warning near it, an error far from it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import rasterio

from tests.toy_jobs import segment
from tests.toy_models import write_brightness_model
from tests.toy_rasters import texture, write_raster
from unet_segmenter.engine.checks import check_resolution
from unet_segmenter.engine.errors import InputError
from unet_segmenter.engine.model_card import ModelCard
from unet_segmenter.engine.rasters.source import RasterSource


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that was trained on pixels of 0.1 to 0.4 m."""
    folder = write_brightness_model(tmp_path / "model")
    card = json.loads((folder / "card.json").read_text())
    card["input"]["gsd_range"] = [0.1, 0.4]
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def raster(folder: Path, size: float) -> Path:
    """Pixels of that many metres on the ground; UTM draws them by 0.9996 here."""
    drawn = 0.9996 * size
    transform = rasterio.Affine(drawn, 0, 500_000, 0, -drawn, 5_300_000)
    return write_raster(folder / "in.tif", texture(64, 64), transform=transform)


def told(path: Path, model: Path) -> list[str]:
    with RasterSource(str(path)) as source:
        return check_resolution(source, ModelCard.load(model))


@pytest.mark.parametrize("size", [0.101, 0.25, 0.399])
def test_the_model_s_own_resolution_needs_no_word(size: float, model: Path, tmp_path: Path):
    assert told(raster(tmp_path, size), model) == []


@pytest.mark.parametrize(("size", "other"), [(0.05, "0.1"), (1.1, "0.4")])
def test_near_the_model_s_resolution_a_warning_tells_pixel_sizes(size, other, model, tmp_path):
    (warning,) = told(raster(tmp_path, size), model)
    assert f"has pixels of {size:g} m on the ground" in warning
    assert "trained on pixels of 0.1 to 0.4 m" in warning
    assert f"resample it to pixels of {other} m" in warning
    assert "factor" not in warning


@pytest.mark.parametrize("size", [0.03, 1.3, 8])
def test_more_than_three_times_off_is_refused_and_the_command_told_ends_it(
    size: float, model: Path, tmp_path: Path
) -> None:
    source = raster(tmp_path, size)
    with pytest.raises(InputError, match="at more than 3 times that its map would be wrong") as e:
        segment(source, tmp_path / "m.tif", model)
    assert not (tmp_path / "m.tif").exists()
    if not shutil.which("gdalwarp"):
        pytest.skip("no gdalwarp")
    command = re.search(r"\((gdalwarp .*) INPUT OUTPUT\)", str(e.value))
    assert command
    resampled = tmp_path / "resampled.tif"
    subprocess.run([*command[1].split(), "-q", source, resampled], check=True)
    assert told(resampled, model) == []


def test_the_ground_counts_and_not_the_map(model: Path, tmp_path: Path) -> None:
    """Pixels of 0.6 m in Web Mercator at 60 degrees north are of 0.3 m."""
    transform = rasterio.Affine(0.6, 0, 1669792, 0, -0.6, 8399737)
    source = write_raster(
        tmp_path / "in.tif", texture(64, 64), crs="EPSG:3857", transform=transform
    )
    assert told(source, model) == []
