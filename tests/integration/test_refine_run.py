# SPDX-License-Identifier: GPL-2.0-or-later
"""Refining rasters: equal however they are cut, without seams, legends kept, cancelled at once."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.toy_cli import call
from tests.toy_jobs import WatchingProgress, segment
from tests.toy_rasters import TRANSFORM, read_raster, write_raster
from unet_segmenter import cli
from unet_segmenter.engine import crf_kernels as kernels
from unet_segmenter.engine.errors import Cancelled, InputError, JobError
from unet_segmenter.engine.legend import ClassLook, attribute_table
from unet_segmenter.engine.progress import SilentProgress
from unet_segmenter.engine.rasters.source import RasterSource
from unet_segmenter.engine.refine import refine_block
from unet_segmenter.engine.refine_job import ClassChange, RefineJob, switch_warnings
from unet_segmenter.engine.run_refine import run_refine

HEIGHT, WIDTH = 150, 210
SMALL: dict[str, Any] = {"sxy": 6, "srgb": 8, "compat": 10, "iterations": 5}


def scene() -> tuple[np.ndarray, np.ndarray]:
    """An image of three kinds of patches, and the uint8 steps of noisy probabilities of them."""
    rng = np.random.default_rng(3)
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    truth = (np.sin(rows / 19) + np.cos(cols / 23) > 0.2).astype(int) + (cols > 150)
    image = 30 + truth[..., np.newaxis] * 70 + rng.normal(0, 6, (HEIGHT, WIDTH, 3))
    shares = np.stack([np.roll(truth, 3, 0) == k for k in range(3)], -1) * 0.5
    shares += rng.uniform(0, 0.45, shares.shape)
    return np.clip(image, 0, 255).astype(np.uint8), np.rint(shares * 254).astype(np.uint8)


def write_shares(path: Path, shares: np.ndarray, **profile: Any) -> Path:
    write_raster(path, shares, nodata=255, **profile)
    with rasterio.open(path, "r+") as raster:
        raster.scales = (1 / 254,) * shares.shape[2]
        raster.update_tags(
            UNET_SEGMENTER_CLASSES="4=grass,7=road,9=sky",
            UNET_SEGMENTER_COLORS="grass=#00ff00,road=#808080",
        )
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """Image, probabilities and where to write; a corner of the probabilities is nodata."""
    image, shares = scene()
    shares[:30, :40] = 255
    write_raster(tmp_path / "image.tif", image)
    write_shares(tmp_path / "shares.tif", shares)
    return tuple(str(tmp_path / name) for name in ("image.tif", "shares.tif", "map.tif"))


def job_of(files: tuple[str, str, str], **changes: Any) -> RefineJob:
    return replace(RefineJob(files[0], files[2], files[1], **SMALL), **changes)


def test_blocks_give_the_labels_of_one_pass_over_the_whole(files) -> None:
    job = job_of(files)
    image, shares = read_raster(files[0]), read_raster(files[1])
    valid = shares[0] != 255
    whole = refine_block(
        np.moveaxis(image, 0, -1),
        np.moveaxis(shares, 0, -1).astype(np.float32) / 254 * valid[..., np.newaxis],
        valid,
        job.settings(),
        values=(4, 7, 9),
    )
    before = np.where(valid, np.array([4, 7, 9])[shares.argmax(0)], 255)
    assert run_refine(job, SilentProgress()).blocks == 1
    assert np.array_equal(read_raster(files[2])[0], whole)
    result = run_refine(replace(job, block_size=48), SilentProgress())
    found = read_raster(files[2])[0]
    assert result.blocks > 8
    assert (found == whole).mean() >= 0.999
    assert ((found == 255) == ~valid).all()
    changed = int((found != before).sum())
    assert result.changed_pixels == changed > 1000
    assert result.changed_share == changed / valid.sum()
    assert result.nodata_pixels == (~valid).sum()
    for area in result.areas:
        assert area.before == (before == area.value).sum()
        assert area.pixels == (found == area.value).sum()
        assert area.before - area.lost + area.gained == area.pixels
        assert area.gained == ((found == area.value) & (before != area.value)).sum()


def test_names_colours_and_grid_are_those_of_the_probabilities(files) -> None:
    result = run_refine(job_of(files), SilentProgress())
    with RasterSource(files[2]) as made, RasterSource(files[0]) as image:
        assert made.grid.differences(image.grid) == []
        assert made.class_names(1) == {0: "unknown", 4: "grass", 7: "road", 9: "sky"}
        assert {v: made.class_colors(1)[v] for v in (4, 7)} == {4: "#00ff00", 7: "#808080"}
        assert "sxy=6" in made.tags()["UNET_SEGMENTER_CRF"]
    told = {a.value: a.name for a in result.areas}
    assert told == {0: "unknown", 4: "grass", 7: "road", 9: "sky"}
    assert not list(Path(files[2]).parent.glob(".*")), "no unfinished run is left"


def test_a_class_raster_keeps_its_names_and_its_unsure_pixels_get_a_class(files) -> None:
    labels = read_raster(files[1]).argmax(0).astype(np.uint8) + 1
    labels[60:90, 60:100] = 0
    labels[:20, :20] = 255
    path = Path(files[1]).with_name("labels.tif")
    write_raster(path, labels, nodata=255)
    looks = (ClassLook(1, "grass", "#00ff00"), ClassLook(2, "road", "#808080"))
    Path(f"{path}.aux.xml").write_text(attribute_table(looks), encoding="utf-8")
    job = job_of(files, probability=None, labels=str(path), gt_prob=0.7)
    result = run_refine(job, SilentProgress())
    found = read_raster(files[2])[0]
    assert (found[labels == 255] == 255).all()
    assert not (found == 0).any()
    assert not any("unknown" in warning for warning in result.warnings)
    with RasterSource(files[2]) as made:
        assert made.class_names(1)[1] == "grass"
    run_refine(replace(job, unknown="keep"), SilentProgress())
    kept = read_raster(files[2])[0]
    assert (kept[65:85, 65:95] == 0).mean() > 0.9


def test_an_unknown_threshold_and_a_band_of_the_unknown_give_unknown_pixels(files) -> None:
    run_refine(job_of(files, unknown_threshold=0.7), SilentProgress())
    found = read_raster(files[2])[0]
    assert 0.01 < (found == 0).mean() < 0.95
    shares = np.moveaxis(read_raster(files[1]), 0, -1)[..., :2]
    path = Path(files[1]).with_name("fused.tif")
    write_shares(path, shares)
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(UNET_SEGMENTER_CLASSES="7=road,0=unknown")
    run_refine(job_of(files, probability=str(path)), SilentProgress())
    assert set(np.unique(read_raster(files[2])).tolist()) == {0, 7, 255}


def test_one_band_of_probability_gives_the_class_and_the_rest(files) -> None:
    path = Path(files[1]).with_name("one.tif")
    write_raster(path, read_raster(files[1])[1], nodata=255)
    with rasterio.open(path, "r+") as raster:
        raster.scales = (1 / 254,)
        raster.set_band_description(1, "road")
    result = run_refine(job_of(files, probability=str(path)), SilentProgress())
    assert [(a.value, a.name) for a in result.areas] == [(0, "not road"), (1, "road")]
    assert set(np.unique(read_raster(files[2])).tolist()) == {0, 1, 255}


def test_nodata_of_the_image_is_nodata_of_the_map(files) -> None:
    image = np.moveaxis(read_raster(files[0]), 0, -1).astype(np.float32)
    image[100:, 100:] = np.nan
    write_raster(Path(files[0]), image)
    result = run_refine(job_of(files), SilentProgress())
    found = read_raster(files[2])[0]
    assert (found[100:, 100:] == 255).all()
    assert result.nodata_pixels == (found == 255).sum() == 50 * 110 + 30 * 40


def test_another_grid_is_refused_with_the_remedy_or_aligned(files) -> None:
    shifted = Path(files[1]).with_name("shifted.tif")
    shares = np.moveaxis(read_raster(files[1]), 0, -1)
    write_shares(shifted, shares[10:], transform=TRANSFORM @ rasterio.Affine.translation(0, 10))
    job = job_of(files, probability=str(shifted))
    with pytest.raises(InputError, match=r"differ in .*gdalwarp -r bilinear .*shifted") as error:
        run_refine(job, SilentProgress())
    assert "EPSG:32633" in str(error.value)
    assert not Path(files[2]).exists()
    run_refine(replace(job, align=True), SilentProgress())
    found = read_raster(files[2])[0]
    assert (found[:10] == 255).all()
    assert set(np.unique(found[40:]).tolist()) == {4, 7, 9}


def test_a_run_that_was_cancelled_goes_on_and_ends_alike(files) -> None:
    job = job_of(files, block_size=48)
    with pytest.raises(Cancelled):
        run_refine(job, WatchingProgress(stop_at=4))
    assert not Path(files[2]).exists()
    resumed = run_refine(job, SilentProgress())
    assert 4 <= resumed.resumed_blocks < resumed.blocks
    first = Path(files[2]).read_bytes()
    run_refine(replace(job, resume=False), SilentProgress())
    assert Path(files[2]).read_bytes() == first


def test_a_cancellation_within_a_block_takes_effect_at_once(files, monkeypatch) -> None:
    steps, update = [], kernels.update

    class Impatient(WatchingProgress):
        asked = 0.0

        def cancelled(self) -> bool:
            if len(steps) > 2:
                self.asked = self.asked or time.monotonic()
            return len(steps) > 2

    def restless(*arguments: Any) -> int:
        steps.append(time.monotonic())
        return update(*arguments) + 1  # as if a label changed in each step

    monkeypatch.setattr(kernels, "update", restless)
    progress = Impatient()
    with pytest.raises(Cancelled):
        run_refine(job_of(files, iterations=1000), progress)
    ended = time.monotonic()
    assert ended - progress.asked < 2
    assert not Path(files[2]).exists()
    time.sleep(1)
    assert len(steps) < 1000
    assert steps[-1] < ended + 1, "the thread that inferred has ended, too"


def test_a_class_that_lost_or_gained_much_is_told() -> None:
    changes = (
        ClassChange(1, "grass", "#00ff00", 1000, 1100, 100, 200, None),
        ClassChange(2, "pole", "#ff0000", 100, 10, 90, 0, None),
        ClassChange(3, "sky", "#0000ff", 0, 5, 0, 5, None),
    )
    lost, appeared = switch_warnings(changes, 0.5)
    assert "pole had 100 pixels and lost 90 (90%)" in lost
    assert "sky had 0 pixels and gained 5." in appeared
    assert len(switch_warnings(changes, 0.15)) == 3


def test_where_nothing_speaks_for_a_class_it_stays_unknown(files) -> None:
    shares = np.moveaxis(read_raster(files[1]), 0, -1).copy()
    shares[60:64, 60:64] = 0
    write_shares(Path(files[1]), shares)
    result = run_refine(job_of(files), WatchingProgress())
    labels = read_raster(files[2])[0]
    assert (labels[60:64, 60:64] == 0).all()
    assert (labels == 0).sum() == 16
    unknown = next(change for change in result.areas if change.value == 0)
    assert (unknown.before, unknown.pixels) == (16, 16)


def test_a_label_that_would_speak_against_itself_is_refused(files) -> None:
    labels = (np.arange(400).reshape(20, 20) % 4 + 1).astype(np.uint8)
    write_raster(Path(files[1]), labels)
    job = RefineJob(files[0], files[2], labels=files[1], gt_prob=0.25, align=True)
    with pytest.raises(JobError, match="GT_PROB must be above 1/4"):
        run_refine(job, WatchingProgress())


def test_a_band_of_labels_that_is_not_there_is_told(files) -> None:
    write_raster(Path(files[1]), np.ones((20, 20), np.uint8))
    job = RefineJob(files[0], files[2], labels=files[1], label_band=2)
    with pytest.raises((InputError, JobError), match="band 2"):
        run_refine(job, WatchingProgress())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": "b.tif"}, "either"),
        ({"probability": None}, "either"),
        ({"unknown": "drop"}, "fill, keep"),
        ({"value_range": (5.0, 5.0)}, "lower one first"),
        ({"bands": (0,)}, "count from 1"),
        ({"switch_share": 0.0}, "SWITCH_SHARE"),
        ({"output": "p.tif"}, "is an input"),
        ({"sxy": 0.0}, "SXY"),
    ],
)
def test_jobs_that_make_no_sense_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(JobError, match=words):
        RefineJob(**{"input": "a.tif", "output": "o.tif", "probability": "p.tif", **changes})


def test_a_job_survives_json() -> None:
    job = RefineJob("a.tif", "o.tif", "p.tif", bands=(1, 3), value_range=(0.0, 1.0), sxy=12.5)
    assert RefineJob.from_json(json.loads(json.dumps(job.to_json()))) == job


def test_the_command_line_tells_what_changed(files) -> None:
    flags = ["--sxy", "6", "--srgb", "8", "--compat", "10", "--iterations", "5", "--quiet"]
    done = call("refine", files[0], files[2], "--probability", files[1], *flags)
    assert done.returncode == 0, done.stderr
    assert "road:" in done.stdout
    assert "changed: " in done.stdout
    assert cli.main(["refine", files[0], files[2], "--quiet"]) == 2


@pytest.mark.parametrize("frame", ["aeroscapes", "georef/drone_alpha_utm50s.tif"])
def test_no_seam_is_seen_along_the_edges_of_blocks(frame, shared_data, tmp_path) -> None:
    """Blocks disagree with the whole no more beside their edges than inside."""
    path = shared_data / frame
    if frame == "aeroscapes":
        name = (shared_data / "aeroscapes/ImageSets/val.txt").read_text().split()[0]
        path = shared_data / "aeroscapes/JPEGImages" / f"{name}.jpg"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        image = np.moveaxis(read_raster(path)[:3], 0, -1)[:480, :480]
    source, probability = tmp_path / "image.tif", tmp_path / "shares.tif"
    write_raster(source, image)
    segment(source, tmp_path / "mask.tif", "aeroscapes", probability=probability)
    maps = {}
    for size in (480, 120):
        output = tmp_path / f"{size}.tif"
        job = RefineJob(str(source), str(output), str(probability), iterations=5, block_size=size)
        assert run_refine(job, SilentProgress()).changed_share > 0.005, "much is changed"
        maps[size] = read_raster(output)[0]
    wrong = maps[480] != maps[120]
    near = np.arange(480) % 120
    near = ((near < 4) & (np.arange(480) >= 120)) | ((near >= 116) & (np.arange(480) < 360))
    beside = near[:, np.newaxis] | near
    assert wrong.mean() <= 0.001
    assert wrong[beside].mean() <= 0.001


def test_a_mask_of_one_class_is_refined_with_what_is_not_it(tmp_path: Path) -> None:
    """As `segment` writes for one class; 0 is "not it", named or not."""
    image, _ = scene()
    bright = (image[..., 0] > 80).astype(np.uint8)
    noisy = np.where(np.random.default_rng(0).random(bright.shape) < 0.05, 1 - bright, bright)
    write_raster(tmp_path / "image.tif", image)
    write_raster(tmp_path / "mask.tif", noisy.astype(np.uint8), nodata=255)
    paths = [str(tmp_path / f"{name}.tif") for name in ("image", "map", "mask")]
    job = RefineJob(paths[0], paths[1], labels=paths[2], **SMALL)
    result = run_refine(job, SilentProgress())
    refined = read_raster(paths[1])[0]
    assert (refined == bright).mean() > 0.99 > (noisy == bright).mean()
    assert [(a.value, a.name) for a in result.areas] == [(0, "not class 1"), (1, "class 1")]


def test_probabilities_of_nothing_but_the_unknown_are_refused(tmp_path: Path) -> None:
    image, shares = scene()
    write_raster(tmp_path / "image.tif", image)
    path = write_raster(tmp_path / "p.tif", shares[..., :1], nodata=255)
    with rasterio.open(path, "r+") as raster:
        raster.scales = (1 / 254,)
        raster.set_band_description(1, "unknown")
    job = RefineJob(str(tmp_path / "image.tif"), str(tmp_path / "m.tif"), str(path))
    with pytest.raises(InputError, match="holds no probability of a class"):
        run_refine(job, SilentProgress())
