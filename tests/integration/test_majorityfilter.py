# SPDX-License-Identifier: GPL-2.0-or-later
"""Smoothing class rasters: equal however they are cut, legends kept, bounded in memory."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from tests.toy_cli import environment
from tests.toy_rasters import TRANSFORM, UTM, read_raster, write_raster
from unet_segmenter import cli
from unet_segmenter.engine import majority, majority_job, output_layers
from unet_segmenter.engine.components import label_components
from unet_segmenter.engine.errors import Cancelled, JobError, OutputError
from unet_segmenter.engine.legend import ClassLook, attribute_table
from unet_segmenter.engine.majority import majority_filter
from unet_segmenter.engine.progress import SilentProgress
from unet_segmenter.engine.rasters.source import RasterSource
from unet_segmenter.engine.run_majority import MajorityFilterJob, run_majority_filter
from unet_segmenter.engine.sieve import sieve

LOOKS = (ClassLook(1, "grass", "#00ff00"), ClassLook(2, "road & path", "#808080"))


def speckled(height: int, width: int, *, seed: int = 1) -> np.ndarray:
    """Patches of three classes with specks, and a corner of nodata."""
    random = np.random.default_rng(seed)
    rows, cols = np.mgrid[0:height, 0:width]
    labels = 1 + (np.sin(rows / 17) + np.cos(cols / 13) > 0.3).astype(np.uint8)
    specks = random.random(labels.shape) < 0.1
    labels[specks] = random.integers(0, 4, int(specks.sum()))
    labels[: height // 4, : width // 5] = 255
    return labels


def write_classes(path: Path, labels: np.ndarray, **profile: object) -> Path:
    write_raster(path, labels, nodata=255, **profile)
    Path(f"{path}.aux.xml").write_text(attribute_table(LOOKS), encoding="utf-8")
    return path


def real_mask(shared_data: Path) -> np.ndarray:
    """Class values of an image of AeroScapes, shape (720, 1280)."""
    with Image.open(shared_data / "aeroscapes/SegmentationClass/000001_013.png") as image:
        return np.array(image)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "classes.tif", speckled(150, 210))


@pytest.mark.parametrize("method", majority_job.METHODS)
@pytest.mark.parametrize("block_size", [64, 1024])
def test_blocks_give_what_one_pass_over_the_whole_gives(
    source: Path, tmp_path: Path, block_size: int, method: str
) -> None:
    output = tmp_path / "smooth.tif"
    job = MajorityFilterJob(
        str(source),
        str(output),
        radius=4,
        min_area=30,
        method=method,
        block_size=block_size,
    )
    result = run_majority_filter(job, SilentProgress())
    labels = speckled(150, 210)
    whole = majority_filter(labels, 4, labels != 255, method=method)
    expected = sieve(np.where(labels == 255, 255, whole).astype(np.uint8), 30)
    assert (read_raster(output)[0] == expected).all()
    assert result.changed_pixels == int((expected != labels).sum()) > 1000
    assert result.changed_share == result.changed_pixels / int((labels != 255).sum())
    assert result.nodata_pixels == int((labels == 255).sum())
    assert (result.blocks > 4) == (block_size == 64)


def test_grid_names_and_colours_of_the_input_are_kept(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "smooth.tif"
    result = run_majority_filter(MajorityFilterJob(str(source), str(output)), SilentProgress())
    with RasterSource(str(output)) as made, RasterSource(str(source)) as given:
        assert made.grid.differences(given.grid) == []
        assert made.class_names(1)[1] == "grass"
        assert made.class_names(1)[2] == "road & path"
    assert output.with_suffix(".qml").is_file()
    assert [area.name for area in result.areas] == ["grass", "road & path"]


def test_the_tables_of_methods_name_the_same_ones() -> None:
    assert list(majority_job.METHODS) == list(majority.METHODS)


def test_the_median_warns(source: Path, tmp_path: Path) -> None:
    progress = SilentProgress()
    job = MajorityFilterJob(str(source), str(tmp_path / "m.tif"), method="median")
    result = run_majority_filter(job, progress)
    assert "hardly occurs" in result.warnings[0]
    assert ("warning", result.warnings[0]) in progress.messages


def test_square_metres_are_pixels_of_the_grid_and_need_a_crs(tmp_path: Path) -> None:
    labels = speckled(60, 70)
    source = write_classes(tmp_path / "classes.tif", labels)
    outputs = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for output, area, unit in zip(outputs, (16, 1), ("px", "m2"), strict=True):
        job = MajorityFilterJob(str(source), str(output), 0, area, unit)
        run_majority_filter(job, SilentProgress())
    assert (read_raster(outputs[0]) == read_raster(outputs[1])).all()
    assert (read_raster(outputs[0])[0] != labels).any()
    plain = write_classes(tmp_path / "plain.tif", labels, crs=None)
    with pytest.raises(JobError, match="no CRS"):
        run_majority_filter(
            MajorityFilterJob(str(plain), str(outputs[0]), 0, 1, "m2"), SilentProgress()
        )


def test_square_metres_are_those_of_the_ground_where_the_map_draws_them_larger(
    tmp_path: Path,
) -> None:
    """A speck of 16 px of 1 m2 in Web Mercator covers 4 m2 at 60 degrees north."""
    labels = np.ones((40, 40), np.uint8)
    labels[10:14, 10:14], labels[20:28, 20:28] = 2, 2
    transform = rasterio.Affine(1, 0, 1669792, 0, -1, 8399737)
    source = write_classes(tmp_path / "c.tif", labels, crs="EPSG:3857", transform=transform)
    job = MajorityFilterJob(str(source), str(tmp_path / "o.tif"), 0, 10, "m2")
    result = run_majority_filter(job, SilentProgress())
    found = read_raster(tmp_path / "o.tif")[0]
    assert (found[10:14, 10:14] == 1).all(), "4 m2 are merged"
    assert (found[20:28, 20:28] == 2).all(), "16 m2 stay"
    assert {area.value: area.area for area in result.areas}[2] == pytest.approx(16.05, rel=1e-3)


def test_a_run_that_is_cancelled_in_the_sieve_goes_on_and_ends_alike(
    source: Path, tmp_path: Path
) -> None:
    class Stopping(SilentProgress):
        stage: str | None = None

        def advance(self, done: int, total: int, message: str | None = None) -> None:
            self.stage = message

        def cancelled(self) -> bool:
            return self.stage == "Merging small areas"

    output = tmp_path / "smooth.tif"
    job = MajorityFilterJob(str(source), str(output), min_area=30, block_size=64)
    with pytest.raises(Cancelled):
        run_majority_filter(job, Stopping())
    assert not output.exists()
    resumed = run_majority_filter(job, SilentProgress())
    assert resumed.resumed_blocks == resumed.blocks > 4
    again = tmp_path / "again.tif"
    fresh = MajorityFilterJob(str(source), str(again), min_area=30)
    run_majority_filter(fresh, SilentProgress())
    assert (read_raster(output) == read_raster(again)).all()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"radius": 101}, "0 to 100 px"),
        ({"method": "mean"}, "majority, median"),
        ({"min_area": -1.0}, "0 or more"),
        ({"area_unit": "acres"}, "px, m2"),
        ({"output": "a.tif"}, "is the input"),
    ],
)
def test_what_no_run_could_honour_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(JobError, match=words):
        MajorityFilterJob(**{"input": "a.tif", "output": "b.tif", **changes})


def test_the_command_tells_what_changed(source: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "smooth.tif"
    flags = ["--radius", "2", "--min-area", "20", "--quiet"]
    assert cli.main(["majorityfilter", str(source), str(output), *flags]) == 0
    printed = capsys.readouterr().out
    assert f"OUTPUT: {output}" in printed
    assert "changed: " in printed
    assert "road & path (2): " in printed
    assert cli.main(["majorityfilter", str(source), str(output), *flags, "--json"]) == 0
    assert 0.05 < json.loads(capsys.readouterr().out)["changed_share"] < 0.15


def test_areas_that_nothing_can_take_up_are_told(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "classes.tif", np.array([[1, 1, 2, 255]], np.uint8))
    job = MajorityFilterJob(str(source), str(tmp_path / "s.tif"), 0, 100)
    progress = SilentProgress()
    result = run_majority_filter(job, progress)
    assert result.too_small_pixels == 3
    words = (
        "3 pixels stay in areas smaller than MIN_AREA: none of these has a larger area beside it "
        "to be merged into."
    )
    assert progress.messages == [("warning", words)]
    assert result.warnings == (words,)


def test_a_disk_that_is_full_when_the_map_is_written_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(output_layers, "_write_sidecars", full)
    source = write_classes(tmp_path / "classes.tif", np.array([[1, 1, 2, 255]], np.uint8))
    with pytest.raises(OutputError, match="No space left on device"):
        run_majority_filter(
            MajorityFilterJob(str(source), str(tmp_path / "s.tif"), 1), SilentProgress()
        )


def test_a_sieved_real_mask_has_no_area_that_is_too_small(
    shared_data: Path, tmp_path: Path
) -> None:
    labels = real_mask(shared_data)
    source = write_classes(tmp_path / "classes.tif", labels)
    output = tmp_path / "smooth.tif"
    job = MajorityFilterJob(str(source), str(output), 2, 400, block_size=256)
    result = run_majority_filter(job, SilentProgress())
    made = read_raster(output)[0]
    pieces, count = label_components(made, made != 255)
    sizes = np.bincount(pieces.ravel())[1:]
    before = label_components(labels, labels != 255)[1]
    print(f"{before} areas, {count} left, {result.changed_share:.2%} of the pixels changed")
    assert sizes.min() >= 400
    assert 1 < count < before
    assert result.too_small_pixels == 0
    assert set(np.unique(made)) <= set(np.unique(labels))


PEAK = """
import sys
from pathlib import Path
from unet_segmenter.engine import components
from unet_segmenter.engine.run_majority import MajorityFilterJob, run_majority_filter
from unet_segmenter.engine.progress import SilentProgress

components._STRIP_PIXELS = 1 << 18  # many strips and blocks, in a short time
job = MajorityFilterJob(sys.argv[1], sys.argv[2], 2, 20.0, block_size=256)
run_majority_filter(job, SilentProgress())
status = Path("/proc/self/status").read_text().splitlines()
print(int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_raster_of_four_times_the_rows_takes_no_more_memory(tmp_path: Path) -> None:
    peaks = []
    part = speckled(512, 1024)
    for times in (3, 12):
        path = tmp_path / f"{times}.tif"
        profile = {"width": 1024, "height": 512 * times, "count": 1, "dtype": "uint8"}
        tiles = {"tiled": True, "crs": UTM, "transform": TRANSFORM, "nodata": 255}
        with rasterio.open(path, "w", driver="GTiff", **profile, **tiles) as raster:
            for k in range(times):
                window = rasterio.windows.Window(0, 512 * k, 1024, 512)
                raster.write(part, 1, window=window)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path), str(tmp_path / "m.tif")],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    print(f"{peaks[0]} MB, {peaks[1]} MB")
    gdal_cache = 17  # the smaller raster does not fill it
    assert peaks[1] <= 1.05 * peaks[0] + gdal_cache
