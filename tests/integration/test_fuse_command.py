# SPDX-License-Identifier: GPL-2.0-or-later
"""`segment`, then `fuse`, on the command line: outputs, numbers, exit codes, memory, kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.toy_cli import call, environment, start
from tests.toy_rasters import TRANSFORM, UTM, read_raster, texture, write_raster
from unet_segmenter import cli
from unet_segmenter.engine.block_journal import ENTRY_BYTES

PEAK = """
import sys
from pathlib import Path
from unet_segmenter.engine.progress import SilentProgress
from unet_segmenter.engine.run_fuse import FuseJob, run_fuse

run_fuse(FuseJob((sys.argv[1],), sys.argv[2]), SilentProgress())
status = Path("/proc/self/status").read_text().splitlines()
print(int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) // 1024)
"""


@pytest.fixture(autouse=True)
def interrupts():
    """Gives Ctrl-C back to the test runner, as a run takes it."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def shares(tmp_path: Path, toy_unet: Path, bright: Path) -> list[str]:
    """Probabilities of two models over one image, as `segment` writes them."""
    image = write_raster(tmp_path / "image.tif", texture(90, 110))
    paths = []
    for model in (toy_unet, bright):
        paths.append(str(tmp_path / f"{model.name}_p.tif"))
        mask = str(tmp_path / f"{model.name}.tif")
        flags = ["--model-file", str(model), "--probability", paths[-1], "--quiet"]
        assert cli.main(["segment", str(image), mask, *flags]) == 0
    return paths


def many_shares(path: Path, times: int, side: int = 512) -> Path:
    """Random probabilities of three classes, `times` squares high."""
    part = np.random.default_rng(1).integers(0, 255, (3, side, 2 * side)).astype(np.uint8)
    profile = {"width": 2 * side, "height": side * times, "count": 3, "dtype": "uint8"}
    tiles = {"tiled": True, "crs": UTM, "transform": TRANSFORM, "nodata": 255}
    with rasterio.open(
        path, "w", driver="GTiff", photometric="minisblack", **profile, **tiles
    ) as r:
        for k in range(times):
            r.write(part, window=rasterio.windows.Window(0, side * k, 2 * side, side))
        r.scales = [1 / 254] * 3
    return path


def test_outputs_and_areas_are_told(shares, tmp_path, capsys) -> None:
    output, page = str(tmp_path / "map.tif"), str(tmp_path / "s.html")
    flags = ["--method", "priority", "--priority", "bright,sky", "--summary", page, "--quiet"]
    assert cli.main(["fuse", *shares, output, *flags]) == 0
    told = capsys.readouterr().out
    assert f"OUTPUT: {output}" in told
    assert f"SUMMARY: {page}" in told
    assert "  bright: " in told
    assert "  claimed by several classes: " in told
    # Both models number their first class 1, so all are numbered anew.
    bright_shares = read_raster(shares[1])[0]
    assert (read_raster(output)[0][bright_shares >= 127] == 4).all()


def test_the_result_is_told_as_json(shares, tmp_path, capsys) -> None:
    flags = ["--unknown-threshold", "0.7", "--json"]
    assert cli.main(["fuse", *shares, str(tmp_path / "map.tif"), *flags]) == 0
    result = json.loads(capsys.readouterr().out)
    classes = read_raster(tmp_path / "map.tif")[0]
    assert result["unknown_share"] == pytest.approx(np.mean(classes == 0))
    assert 0 < result["unknown_share"] < 1
    assert {area["name"]: area["pixels"] for area in result["areas"]}["unknown"] == np.sum(
        classes == 0
    )


def test_the_course_s_sums_are_warned_of(shares, tmp_path, capsys) -> None:
    assert cli.main(["fuse", *shares, str(tmp_path / "map.tif"), "--method", "course_sum"]) == 0
    warned = capsys.readouterr().err
    assert "vegetation + road reads as sky" in warned
    assert "only to reproduce the course's maps" in warned


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--thresholds", "tree=0.3"], 2, "'tree', which no input has"),
        (["--unknown-threshold", "3"], 2, "from 0 to 1"),
        (["--class-names", "a"], 2, "have 4 bands"),
        (["--confidence", "/gone/c.tif"], 6, "There is no folder /gone"),
    ],
)
def test_an_error_is_one_sentence_with_its_exit_code(
    shares, tmp_path, capsys, flags, code, words
) -> None:
    assert cli.main(["fuse", *shares, str(tmp_path / "map.tif"), "--quiet", *flags]) == code
    (line,) = [text for text in capsys.readouterr().err.splitlines() if "error: " in text]
    assert words in line
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_raster_of_four_times_the_rows_takes_no_more_memory(tmp_path) -> None:
    peaks = []
    for times in (16, 64):
        path = many_shares(tmp_path / f"{times}.tif", times)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path), str(tmp_path / "map.tif")],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    print(f"{peaks[0]} MB, {peaks[1]} MB")
    assert peaks[1] <= 1.15 * peaks[0]


def test_a_run_that_was_killed_is_finished_by_the_same_command(tmp_path) -> None:
    source = many_shares(tmp_path / "p.tif", 4)
    flags = ["--block-size", 64, "--quiet", "--json"]
    done = call("fuse", source, tmp_path / "whole.tif", *flags)
    assert done.returncode == 0, done.stderr
    run = start("fuse", source, tmp_path / "map.tif", *flags)
    journal = tmp_path / ".map.tif.unfinished" / "finished_blocks"
    deadline = time.monotonic() + 60
    while not (journal.is_file() and journal.stat().st_size > 20 * ENTRY_BYTES):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert not (tmp_path / "map.tif").exists()
    done = call("fuse", source, tmp_path / "map.tif", *flags)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["resumed_blocks"] >= 20
    assert (tmp_path / "map.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
