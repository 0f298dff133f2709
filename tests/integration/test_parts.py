# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs of a network that is cut at its own scales give the maps of one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.toy_jobs import WatchingProgress, segment
from tests.toy_rasters import read_raster, texture, write_raster
from unet_segmenter.engine import landcover_plan, pipeline, predictor, run_landcover, stage_tiles
from unet_segmenter.engine.errors import Cancelled, InputError
from unet_segmenter.engine.landcover_job import LandcoverJob
from unet_segmenter.engine.run_landcover import run_landcover as run

pytest.importorskip("openvino")
PASSES = {"runtime": "onnxruntime"}
"""A runtime that takes one pass."""
SHARES = {"precision": "f32", "probability_type": "float32"}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tiles, also for small rasters."""
    monkeypatch.setattr(stage_tiles, "SMALLEST_SIDE", 64)
    monkeypatch.setattr(stage_tiles, "SIDE_BY_HALO", 1)
    monkeypatch.setattr(predictor, "_ONE_PASS_PIXELS", 0)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The networks that were opened in parts."""
    networks: list[Any] = []

    def open_staged(*arguments: Any) -> Any:
        networks.append(predictor.open_staged(*arguments))
        return networks[-1]

    monkeypatch.setattr(pipeline, "open_staged", open_staged)
    monkeypatch.setattr(run_landcover, "open_staged", open_staged)
    return networks


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A raster with nodata inside and at an edge."""
    pixels = texture(300, 420)
    pixels[100:140, 60:200] = 0
    pixels[:, 390:] = 0
    return write_raster(tmp_path / "image.tif", pixels, nodata=0)


def both(image: Path, model: Path, folder: Path, **options: Any) -> list[NDArray[Any]]:
    """Masks and probabilities, in parts and in one pass."""
    found = []
    for name, runtime in (("parts", {}), ("pass", PASSES)):
        paths = [folder / f"{name}_mask.tif", folder / f"{name}_shares.tif"]
        segment(image, paths[0], model, probability=paths[1], **SHARES, **runtime, **options)
        found += [read_raster(path) for path in paths]
    return found


@pytest.mark.parametrize(
    "options",
    [{}, {"block_size": 96}, {"block_size": 1000}, {"classes": ("road",), "block_size": 77},
     {"extent": (500_021.0, 5_299_940.0, 500_060.0, 5_299_980.0), "block_size": 50}],
    ids=["default", "small blocks", "one block", "one class", "extent"],
)  # fmt: skip
def test_a_map_in_parts_is_that_of_one_pass(
    cut_unet: Path, image: Path, tmp_path: Path, opened: list[Any], options: dict[str, Any]
) -> None:
    mask, shares, one_mask, one_shares = both(image, cut_unet, tmp_path, **options)
    assert len(opened) == 1
    assert (mask == one_mask).mean() >= 0.9999
    assert ((mask == 255) == (one_mask == 255)).all()
    assert (mask == 255).any()
    valid = ~np.isnan(one_shares)
    assert (np.isnan(shares) == ~valid).all()
    assert np.abs(shares - one_shares)[valid].max() < 1e-4
    assert one_shares[valid].std() > 0.05


def test_nodata_does_not_sway_its_neighbours(cut_unet: Path, tmp_path: Path) -> None:
    """A hole of wild values counts as a hole of the mean."""
    pixels = texture(200, 200)
    maps = []
    for fill in (0, 9999):
        holed = pixels.astype(np.uint16)
        holed[80:100, 80:120] = fill
        path = write_raster(tmp_path / f"{fill}.tif", holed, nodata=fill)
        segment(path, tmp_path / "m.tif", cut_unet, **SHARES)
        maps.append(read_raster(tmp_path / "m.tif"))
    assert (maps[0] == maps[1]).all()


@pytest.mark.parametrize(
    "options", [{"tta": True}, {"halo": 40}, PASSES], ids=["TTA", "halo", "runtime"]
)
def test_what_parts_cannot_do_takes_one_pass(
    cut_unet: Path, image: Path, tmp_path: Path, opened: list[Any], options: dict[str, Any]
) -> None:
    segment(image, tmp_path / "m.tif", cut_unet, **options)
    assert opened == []


def test_a_small_raster_takes_one_pass(
    cut_unet: Path, image: Path, tmp_path: Path, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "_ONE_PASS_PIXELS", 1 << 20)
    segment(image, tmp_path / "m.tif", cut_unet)
    assert opened == []


def test_without_openvino_a_network_with_parts_takes_one_pass(
    cut_unet: Path, image: Path, tmp_path: Path, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    result = segment(image, tmp_path / "m.tif", cut_unet)
    assert opened == []
    assert result.runtime == "onnxruntime"


def test_a_run_that_was_cancelled_goes_on_to_the_very_same_map(
    cut_unet: Path, image: Path, tmp_path: Path
) -> None:
    segment(image, tmp_path / "whole.tif", cut_unet, block_size=64, precision="f32")
    stopping = WatchingProgress(stop_at=12)
    with pytest.raises(Cancelled):
        segment(image, tmp_path / "m.tif", cut_unet, stopping, block_size=64, precision="f32")
    assert not (tmp_path / "m.tif").exists()
    result = segment(image, tmp_path / "m.tif", cut_unet, block_size=64, precision="f32")
    assert result.resumed_blocks >= 12
    assert (read_raster(tmp_path / "m.tif") == read_raster(tmp_path / "whole.tif")).all()


def test_strips_give_the_very_same_map(
    cut_unet: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment(image, tmp_path / "one.tif", cut_unet, block_size=64, precision="f32")
    monkeypatch.setattr("unet_segmenter.engine.staged_network.FEATURE_BYTES", 1)
    segment(image, tmp_path / "strips.tif", cut_unet, block_size=64, precision="f32")
    assert (read_raster(tmp_path / "one.tif") == read_raster(tmp_path / "strips.tif")).all()


def test_a_damaged_raster_is_told_and_leaves_no_map(cut_unet: Path, tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "image.tif", texture(400, 400), tiled=True, blockxsize=128, blockysize=128,
        compress="deflate",
    )  # fmt: skip
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = b"x" * 20_000
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"image\.tif"):
        segment(path, tmp_path / "m.tif", cut_unet, block_size=64)
    assert not (tmp_path / "m.tif").exists()


def landcover(image: Path, output: Path, *models: Path, **options: Any) -> NDArray[Any]:
    class Quiet(WatchingProgress):
        pass

    settings = {"precision": "f32", "crf": "no", **options}
    names = tuple(str(model) for model in models)
    run(LandcoverJob(str(image), str(output), names, **settings), Quiet())
    return read_raster(output)


@pytest.mark.parametrize(
    "options",
    [{}, {"block_size": 90}, {"majority_radius": 3, "block_size": 90}, {"crf": "default"}],
    ids=str,
)
def test_land_cover_in_parts_is_that_of_one_pass(
    cut_unet: Path, toy_unet: Path, image: Path, tmp_path: Path, opened: list[Any],
    options: dict[str, Any],
) -> None:  # fmt: skip
    """Beside a network in one pass, too."""
    for models in ((cut_unet,), (cut_unet, toy_unet)):
        found = landcover(image, tmp_path / "parts.tif", *models, **options)
        assert len(opened) == 1
        expected = landcover(image, tmp_path / "pass.tif", *models, **PASSES, **options)
        assert (found == expected).mean() >= 0.9999
        opened.clear()


def test_an_area_of_interest_cuts_the_work(
    cut_unet: Path, image: Path, tmp_path: Path, opened: list[Any]
) -> None:
    import json

    ring = [[500_010, 5_299_990], [500_020, 5_299_990], [500_020, 5_299_980], [500_010, 5_299_980]]
    area = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    feature = {"type": "Feature", "properties": {}, "geometry": area}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    path = tmp_path / "aoi.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    mask, *_ = both(image, cut_unet, tmp_path, aoi=path, block_size=64)
    full, *_ = both(image, cut_unet, tmp_path, block_size=64)
    inside = mask != 255
    assert 0 < inside.sum() < full.size / 50
    assert (mask[inside] == full[inside]).mean() >= 0.999


def test_the_plans_of_both_jobs_ask_the_same() -> None:
    assert pipeline.runs_in_parts is landcover_plan.runs_in_parts is predictor.runs_in_parts
