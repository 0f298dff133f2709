# SPDX-License-Identifier: GPL-2.0-or-later
"""Which rasters suit a model, and that the remedy for a refusal is one."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.toy_models import write_brightness_model
from tests.toy_rasters import write_raster
from unet_segmenter.engine.checks import check_values
from unet_segmenter.engine.errors import InputError
from unet_segmenter.engine.geometry import PixelWindow
from unet_segmenter.engine.model_card import ModelCard
from unet_segmenter.engine.rasters.image import ImageSource

BANDS = (1, 2, 3)


def card(
    folder: Path, data_type: str, limits: list[float], mean: float, stddev: float
) -> ModelCard:
    scaling = {"type": "z-score", "mean": [mean] * 3, "stddev": [stddev] * 3}
    told: dict[str, Any] = {
        "bands": ["red", "green", "blue"], "data_type": [data_type], "value_range": limits,
        "value_scaling": scaling, "gsd_range": None,
    }  # fmt: skip
    return ModelCard.load(write_brightness_model(folder / "model", input=told))


def scene(path: Path, data_type: str, mean: float, stddev: float, **profile: Any) -> Path:
    """A raster with values of that spread, a few bright ones, and a corner of nodata."""
    values = np.random.default_rng(3).normal(mean, stddev, (120, 90, 3))
    values[20:22, 20:22] = mean + 9 * stddev
    if np.issubdtype(data_type, np.integer):
        values = np.clip(np.rint(values), 1, np.iinfo(data_type).max)
    if "nodata" in profile:
        values[:9, :9] = profile["nodata"]
    return write_raster(path, values.astype(data_type), **profile)


def check(path: Path, model: ModelCard) -> list[str]:
    with ImageSource(str(path)) as source:
        return check_values(source, model, BANDS, PixelWindow.of_shape(source.grid.shape))


KINDS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "a brighter camera of 16 bits": (("uint16", [0, 3752], 900, 400), ("uint16", 30000, 8000)),
    "16 bits for bytes": (("uint8", [0, 255], 127, 64), ("uint16", 3000, 900)),
    "shares for 16 bits": (("uint16", [0, 12500], 3000, 1500), ("float32", 0.3, 0.05)),
    "counts for shares": (("float32", [0, 0.625], 0.2, 0.1), ("uint16", 3000, 900)),
    "counts for decibels": (("float32", [-30, 2], -14, 3), ("int16", 400, 90)),
    "a card that scales nothing": (("uint16", [0, 4095], 0, 1), ("uint16", 30000, 8000)),
}


@pytest.mark.skipif(shutil.which("gdal_translate") is None, reason="gdal_translate is not there")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nodata", [None, 0], ids=["whole", "nodata"])
@pytest.mark.parametrize("stored", [None, (0.5, -100)], ids=["as it is", "scaled"])
def test_a_raster_rescaled_as_a_refusal_says_is_taken_and_looks_as_the_training_images(
    kind: str, stored: tuple[float, float] | None, nodata: int | None, tmp_path: Path
) -> None:
    (data_type, limits, mean, stddev), raster = KINDS[kind]
    model = card(tmp_path, data_type, limits, mean, stddev)
    profile = {} if nodata is None else {"nodata": nodata}
    path = scene(tmp_path / "scene.tif", *raster, **profile)
    if stored:
        with rasterio.open(path, "r+") as dataset:
            dataset.scales, dataset.offsets = [stored[0]] * 3, [stored[1]] * 3
    with pytest.raises(InputError, match="Rescale it first, for example: gdal_translate ") as told:
        check(path, model)
    command = shlex.split(str(told.value).partition("for example: ")[2])
    mended = tmp_path / "mended.tif"
    places = {"INPUT": str(path), "OUTPUT": str(mended)}
    subprocess.run([places.get(word, word) for word in command], check=True, capture_output=True)
    assert check(mended, model) == []
    with ImageSource(str(mended)) as source:
        sample = source.sample(BANDS, model.input.value_range, PixelWindow(0, 0, 120, 90))
        assert source.dtype == data_type
        assert sample.min() >= limits[0]
        assert sample.max() <= limits[1]
        assert len(sample) == pytest.approx(120 * 90 - (0 if nodata is None else 81), abs=2)
        if stddev > 1:
            assert abs(sample.mean() - mean) < stddev


def test_a_scene_a_fifth_brighter_than_the_training_images_is_taken(tmp_path: Path) -> None:
    from training.describe_dataset import value_range

    values = np.random.default_rng(5).gamma(4, 250, (100, 100, 3)).astype(np.uint16)
    limits = value_range("uint16", int(values.min()), int(values.max()))
    model = card(tmp_path, "uint16", limits, 1000, 500)
    for number, light in enumerate((0.5, 1.0, 1.2)):
        path = write_raster(tmp_path / f"{number}.tif", (values * light).astype(np.uint16))
        assert check(path, model) == []
    path = write_raster(tmp_path / "bright.tif", (values * 4.0).astype(np.uint16))
    with pytest.raises(InputError, match="was made for 0 to"):
        check(path, model)
