# SPDX-License-Identifier: GPL-2.0-or-later
"""Invariant 5: peak memory does not depend on the raster's size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.toy_cli import environment
from tests.toy_rasters import TRANSFORM, UTM, texture, write_raster

LAYOUTS: dict[str, dict[str, Any]] = {
    "tiles": {"tiled": True, "blockxsize": 512, "blockysize": 512},
    "strips": {},
}
# A process of its own, as the high-water mark of memory never falls.
RUN = """
import sys
from pathlib import Path
from unet_segmenter.engine.job import JobSpec
from unet_segmenter.engine.landcover_job import LandcoverJob
from unet_segmenter.engine.pipeline import run_job
from unet_segmenter.engine.progress import SilentProgress
from unet_segmenter.engine.run_landcover import run_landcover

kind, source, output, model, block_size = sys.argv[1:]
common = {
    "input": source,
    "output": output,
    "block_size": int(block_size) or None,
    "probability": output.replace(".tif", "_p.tif"),
}
if kind == "segment":
    result = run_job(JobSpec(model=model, **common), SilentProgress())
else:
    refined = {"crf": "default", "sxy": 5.0, "iterations": 3, "majority_radius": 3}
    job = LandcoverJob(models=tuple(model.split(";")), **refined, **common)
    result = run_landcover(job, SilentProgress())
    assert result.changed_share > 0
status = Path("/proc/self/status").read_text().splitlines()
peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(int(peak) // 1024, result.blocks)
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc"
)


def sparse_raster(path: Path, height: int, width: int, layout: str) -> Path:
    """A raster of zeros that takes no space on disk."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=3,
        dtype="uint8",
        crs=UTM,
        transform=TRANSFORM,
        BIGTIFF="IF_SAFER",
        SPARSE_OK=True,
        **LAYOUTS[layout],
    ):
        pass
    return path


def peak_megabytes(
    source: Path, model: object, block_size: int, kind: str = "segment"
) -> tuple[int, int]:
    """Peak memory of a run in MB, and its number of blocks."""
    output = source.with_name("m.tif")
    done = subprocess.run(
        [sys.executable, "-c", RUN, kind, str(source), str(output), str(model), str(block_size)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for path in source.parent.glob("m*"):
        path.unlink()
    peak, blocks = map(int, done.stdout.split())
    return peak, blocks


def check_peaks(
    small: tuple[int, int],
    large: tuple[int, int],
    layout: str,
    model: Path,
    folder: Path,
    block_size: int,
    allowance: int = 0,
) -> None:
    peaks = []
    for shape in (small, large):
        source = sparse_raster(folder / f"{shape[0]}.tif", *shape, layout)
        peaks.append(peak_megabytes(source, model, block_size))
        source.unlink()
    (small_peak, small_blocks), (large_peak, large_blocks) = peaks
    print(f"{layout}: {small_peak} MB for {small}, {large_peak} MB for {large}")
    assert large_blocks >= 4 * small_blocks
    assert large_peak <= 1.1 * small_peak + allowance, f"{large_peak} against {small_peak} MB"
    assert large_peak < 1500


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_raster_of_four_times_the_pixels_takes_no_more_memory(
    layout: str, bright: Path, tmp_path: Path
) -> None:
    # Of a raster in strips, a row of blocks stays in the cache.
    allowance = 1024 * 16384 * 3 // 10**6 if layout == "strips" else 0
    check_peaks(
        (4096, 4096), (4096, 16384), layout, bright, tmp_path, block_size=0, allowance=allowance
    )


@pytest.mark.slow
def test_fusing_and_refining_in_one_pass_takes_no_more_memory_for_a_longer_raster(
    toy_unet: Path, bright: Path, tmp_path: Path
) -> None:
    tile = texture(1024, 1024)
    peaks = []
    for repeats in (1, 8):
        source = write_raster(
            tmp_path / f"{repeats}.tif", np.tile(tile, (repeats, 1, 1)),
            tiled=True, blockxsize=256, blockysize=256,
        )  # fmt: skip
        peaks.append(peak_megabytes(source, f"{toy_unet};{bright}", 256, "landcover"))
    (small_peak, small_blocks), (large_peak, large_blocks) = peaks
    print(f"landcover: {small_peak} MB for {small_blocks} blocks, {large_peak} for {large_blocks}")
    assert large_blocks == 8 * small_blocks
    assert large_peak <= 1.1 * small_peak, f"{large_peak} against {small_peak} MB"


@pytest.mark.slow
def test_a_raster_of_32k_px_takes_no_more_memory_than_one_of_4k(
    bright: Path, tmp_path: Path
) -> None:
    check_peaks((4096, 4096), (32768, 32768), "tiles", bright, tmp_path, block_size=0)


@pytest.mark.slow
def test_a_raster_of_strips_takes_no_more_memory_than_one_row_of_blocks_besides(
    bright: Path, tmp_path: Path
) -> None:
    """A strip crosses all blocks of a row: the row is kept, or every strip is decoded 32 times."""
    row_of_blocks = 1024 * 32768 * 3 // 10**6
    check_peaks(
        (4096, 4096),
        (32768, 32768),
        "strips",
        bright,
        tmp_path,
        block_size=0,
        allowance=row_of_blocks,
    )
