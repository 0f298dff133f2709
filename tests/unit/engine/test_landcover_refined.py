# SPDX-License-Identifier: GPL-2.0-or-later
"""A land-cover map refined by a CRF in blocks equals the fused map refined as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.toy_jobs import WatchingProgress, segment
from tests.toy_models import write_brightness_model, write_toy_unet
from tests.toy_rasters import read_raster, texture, write_raster
from unet_segmenter.engine.crf_settings import CrfSettings
from unet_segmenter.engine.fuse_job import FuseJob
from unet_segmenter.engine.landcover_job import LandcoverJob
from unet_segmenter.engine.majority import majority_filter
from unet_segmenter.engine.refine import refine, refine_block, unary_from_labels
from unet_segmenter.engine.refine_job import RefineJob
from unet_segmenter.engine.run_fuse import run_fuse
from unet_segmenter.engine.run_landcover import run_landcover
from unet_segmenter.engine.run_refine import run_refine
from unet_segmenter.engine.shares import decode_shares

pytest.importorskip("numba", reason="the CRF needs numba, which is not installed here")

SIDE = 160
CRF = {"sxy": 8.0, "srgb": 30.0, "compat": 1.0, "iterations": 5}
UNKNOWN = 0.6


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("models")
    unet = write_toy_unet(folder / "unet")
    bright = {"value": 9, "name": "bright", "color": "#ffcc00", "channel": 0}
    output = {"activation": "sigmoid", "classes": [bright]}
    return str(unet), str(write_brightness_model(folder / "bright", output=output))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = texture(SIDE, SIDE)
    pixels[pixels == 0] = 1
    pixels[100:140, 20:90, :] = (90, 100, 140)
    pixels[:15, -25:] = 0
    return write_raster(tmp_path_factory.mktemp("image") / "in.tif", pixels, nodata=0)


@pytest.fixture(scope="module")
def fused(
    image: Path, models: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What `segment` and `fuse` make: classes and probabilities."""
    folder = tmp_path_factory.mktemp("fused")
    inputs = []
    for place, model in enumerate(models):
        inputs.append(str(folder / f"p{place}.tif"))
        segment(image, folder / f"m{place}.tif", model, probability=inputs[-1], precision="f32")
    output, shares = str(folder / "c.tif"), str(folder / "p.tif")
    job = FuseJob(tuple(inputs), output, probability=shares, unknown_threshold=UNKNOWN)
    run_fuse(job, WatchingProgress())
    return {
        "classes": read_raster(output)[0],
        "probability": read_raster(shares),
        "inputs": tuple(inputs),
    }


def landcover(image: Path, models: tuple[str, str], output: Path, **options: Any) -> np.ndarray:
    settings = {
        "unknown_threshold": UNKNOWN,
        "precision": "f32",
        "crf": "default",
        **CRF,
        **options,
    }
    run_landcover(LandcoverJob(str(image), str(output), models, **settings), WatchingProgress())
    return read_raster(output)[0]


def refined_whole(image: Path, fused: dict[str, Any]) -> np.ndarray:
    pixels = np.moveaxis(read_raster(image), 0, -1)
    shares = np.moveaxis(decode_shares(fused["probability"])[0], 0, -1)
    valid = fused["classes"] != 255
    return refine_block(pixels, shares, valid, CrfSettings(**CRF), values=(1, 2, 3, 9, 0))


def test_in_one_block_the_refined_map_is_that_of_the_steps(image, models, fused, tmp_path) -> None:
    expected = refined_whole(image, fused)
    assert (expected != fused["classes"]).mean() > 0.01
    assert set(np.unique(expected)) >= {0, 9, 255}, "the unknown is a class like others"
    np.testing.assert_array_equal(landcover(image, models, tmp_path / "c.tif"), expected)


def test_in_blocks_it_differs_on_few_pixels(image, models, fused, tmp_path) -> None:
    expected = refined_whole(image, fused)
    found = landcover(image, models, tmp_path / "c.tif", block_size=40)
    assert (found == expected).mean() >= 0.997, "of an image that is mostly noise"


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"method": "threshold", "thresholds": ("0.55",)},
        {"method": "threshold", "thresholds": ("bright=1.0",)},
        {"method": "priority"},
    ],
    ids=["argmax", "threshold", "a class that does not occur", "priority"],
)
def test_in_blocks_it_equals_segment_fuse_and_refine_in_blocks_of_the_same_size(
    rules, image, models, fused, tmp_path
) -> None:
    settings = {**CRF, "compat": 10.0}
    job = FuseJob(
        fused["inputs"], str(tmp_path / "f.tif"), probability=str(tmp_path / "p.tif"),
        unknown_threshold=UNKNOWN, **rules,
    )  # fmt: skip
    run_fuse(job, WatchingProgress())
    given = {"labels": job.output, "unknown": "keep"} if rules else {"probability": job.probability}
    chain = str(tmp_path / "chain.tif")
    steps = run_refine(
        RefineJob(str(image), chain, block_size=40, **given, **settings), WatchingProgress()
    )
    output = str(tmp_path / "c.tif")
    one_pass = run_landcover(
        LandcoverJob(
            str(image), output, models, unknown_threshold=UNKNOWN, crf="default", block_size=40,
            precision="f32", **rules, **settings,
        ),
        WatchingProgress(),
    )  # fmt: skip
    np.testing.assert_array_equal(read_raster(output), read_raster(chain))
    assert steps.changed_share > 0.01
    # What was before is the fusion's, where `refine` has steps of 1/254, of which some are equal.
    assert one_pass.changed_share == pytest.approx(steps.changed_share, abs=0.005)
    if rules:
        assert one_pass.changes == steps.areas
        assert set(steps.warnings) <= set(one_pass.warnings)


def test_a_single_class_is_refined_against_its_rest_as_the_steps_do(
    image, models, fused, tmp_path
) -> None:
    job = FuseJob(
        (fused["inputs"][1],), str(tmp_path / "f.tif"), probability=str(tmp_path / "p.tif"),
        thresholds=("bright=0.4",),
    )  # fmt: skip
    run_fuse(job, WatchingProgress())
    assert set(np.unique(read_raster(job.output))) == {0, 9, 255}
    chain = str(tmp_path / "chain.tif")
    run_refine(RefineJob(str(image), chain, probability=job.probability, **CRF), WatchingProgress())
    options = {"thresholds": ("bright=0.4",), "unknown_threshold": 0.0}
    found = landcover(image, models[1:], tmp_path / "c.tif", **options)
    refined = read_raster(chain)[0]  # of one class: 1, or not
    np.testing.assert_array_equal(found, np.where(refined == 1, 9, refined))
    assert (found != read_raster(job.output)[0]).any()


def test_the_majority_filter_comes_after_the_crf(image, models, fused, tmp_path) -> None:
    expected = refined_whole(image, fused)
    expected = majority_filter(expected, 3, expected != 255)
    found = landcover(image, models, tmp_path / "c.tif", majority_radius=3)
    np.testing.assert_array_equal(found, expected)


def test_with_other_methods_the_crf_starts_from_the_classes(image, models, fused, tmp_path) -> None:
    options = {
        "method": "priority",
        "priority": ("bright",),
        "thresholds": ("0.5",),
        "compat": 20.0,
    }
    plain = landcover(image, models, tmp_path / "a.tif", crf="no", **options)
    assert (plain != fused["classes"]).any()
    found = landcover(image, models, tmp_path / "b.tif", **options)
    settings = CrfSettings(**{**CRF, "compat": 20.0})
    values = (0, 1, 2, 3, 9)
    pixels, valid = np.moveaxis(read_raster(image), 0, -1), plain != 255
    unary = unary_from_labels(plain, values, settings.gt_prob)
    marginals = refine(pixels, unary, valid, settings)
    expected = np.where(valid, np.array(values, np.uint8)[marginals.argmax(axis=-1)], 255)
    assert (expected != plain).mean() > 0.01
    np.testing.assert_array_equal(found, expected)
