# SPDX-License-Identifier: GPL-2.0-or-later
"""`landcover` on the command line: the bundled models, real images, cancelling, exit codes."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from tests.toy_cli import call, start
from tests.toy_rasters import read_raster, texture, write_raster

BUNDLED = ("aeroscapes", "semantic-drone")


def json_of(*arguments: object) -> dict:
    done = call(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_bundled_models_in_one_pass_equal_the_steps_on_a_real_image(
    shared_data: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image.tif"
    rasterio.shutil.copy(shared_data / "georef" / "drone_alpha_utm50s.tif", image)
    with rasterio.open(image, "r+") as raster:  # pixels of 0.09 m, which both models bear
        raster.transform = raster.transform @ rasterio.Affine.scale(0.25)
    shares = [tmp_path / f"{model}.tif" for model in BUNDLED]
    exact = ("--precision", "f32")
    for model, path in zip(BUNDLED, shares, strict=True):
        mask = tmp_path / f"{model}_mask.tif"
        json_of("segment", image, mask, "--model", model, "--probability", path, *exact)
    rules = ("--unknown-threshold", "0.4", "--method", "argmax")
    steps = json_of("fuse", *shares, tmp_path / "steps.tif", *rules)
    found = json_of("landcover", image, tmp_path / "map.tif", "--models", *BUNDLED, *rules, *exact)
    one_pass, expected = (read_raster(tmp_path / f"{name}.tif") for name in ("map", "steps"))
    assert len(np.unique(expected)) >= 4
    assert (expected == 255).any(), "the image has transparent pixels"
    np.testing.assert_array_equal(one_pass, expected)
    assert [area["name"] for area in found["areas"]] == [area["name"] for area in steps["areas"]]
    assert found["conflict_share"] == steps["conflict_share"]


def test_models_are_files_or_names_and_unknown_ones_are_told(toy_unet, bright, tmp_path) -> None:
    image = write_raster(tmp_path / "image.tif", texture(80, 90))
    flags = ("--models", toy_unet, bright, "--majority-radius", 2, "--classes", "road,bright")
    done = call("landcover", image, tmp_path / "map.tif", *flags, "--quiet")
    assert done.returncode == 0, done.stderr
    assert "changed by the refinement: " in done.stdout
    assert set(np.unique(read_raster(tmp_path / "map.tif"))) == {0, 1, 2}
    done = call("landcover", image, tmp_path / "map.tif", "--models", "gone", "--quiet")
    assert done.returncode == 4
    assert "gone" in done.stderr


def test_an_interrupt_ends_the_run_within_two_seconds_and_leaves_no_map(
    toy_unet, bright, tmp_path
) -> None:
    image = write_raster(tmp_path / "image.tif", texture(1500, 1500))
    run = start(
        "landcover", image, tmp_path / "map.tif", "--models", toy_unet, bright,
        "--block-size", 64, "--majority-radius", 20, "--quiet",
    )  # fmt: skip
    journal = tmp_path / ".map.tif.unfinished" / "finished_blocks"
    deadline = time.monotonic() + 60
    while not (journal.is_file() and journal.stat().st_size):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    told = time.monotonic()
    run.send_signal(signal.SIGINT)
    assert run.wait(10) == 130
    assert time.monotonic() - told < 2
    run.communicate()
    assert not (tmp_path / "map.tif").exists()
    assert journal.is_file(), "the same command goes on from its blocks"


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--classes", "tree"), 2, "None of the models has a class 'tree'"),
        (("--bands", "1,2"), 2, "takes 3 bands"),
        (("--sxy", "0"), 2, "SXY"),
        (("--extent", "0", "0", "1", "1"), 3, "does not touch"),
    ],
)
def test_an_error_is_one_sentence_with_its_exit_code(toy_unet, tmp_path, flags, code, words):
    image = write_raster(tmp_path / "image.tif", texture(40, 50))
    done = call("landcover", image, tmp_path / "m.tif", "--models", toy_unet, "--quiet", *flags)
    assert done.returncode == code
    (line,) = [text for text in done.stderr.splitlines() if "error: " in text]
    assert words in line
