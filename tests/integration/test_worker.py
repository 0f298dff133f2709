# SPDX-License-Identifier: GPL-2.0-or-later
"""The real engine in a real worker process."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from unet_segmenter.engine.errors import Cancelled, InputError, ModelError, SegmenterError
from unet_segmenter.engine.job import JobSpec
from unet_segmenter.engine.progress import SilentProgress
from unet_segmenter.runners import in_process
from unet_segmenter.runners.worker_process import WorkerProcess

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def image(tmp_path):
    """An RGB raster of 300 x 260 px."""
    return write_image(tmp_path / "image.tif", 300, 260)


@pytest.fixture
def large_image(tmp_path):
    """An RGB raster that keeps the toy network busy for many seconds."""
    return write_image(tmp_path / "large.tif", 2600, 2000)


def write_image(path, width, height):
    profile = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32632",
        "transform": rasterio.Affine(0.1, 0, 400000, 0, -0.1, 5500000),
        "tiled": True,
    }
    random = np.random.default_rng(3)
    tile = random.integers(0, 256, (3, 64, 64), np.uint8)
    pixels = np.tile(tile, (1, height // 64 + 1, width // 64 + 1))[:, :height, :width]
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(pixels)
    return path


def worker(job, python=sys.executable):
    return WorkerProcess(python, job)


def test_a_worker_gives_the_same_bytes_as_this_process(image, toy_unet, tmp_path):
    here = JobSpec(str(image), str(tmp_path / "here.tif"), str(toy_unet), block_size=128)
    there = JobSpec(str(image), str(tmp_path / "there.tif"), str(toy_unet), block_size=128)
    first = in_process.run(here, SilentProgress())
    second = worker(there).run(SilentProgress())
    assert Path(here.output).read_bytes() == Path(there.output).read_bytes()
    assert (first.blocks, first.areas) == (second.blocks, second.areas)
    assert second.blocks > 1
    assert second.runtime == "openvino"


def test_the_hello_tells_the_libraries(image, toy_unet, tmp_path):
    process = worker(JobSpec(str(image), str(tmp_path / "out.tif"), str(toy_unet)))
    process.run(SilentProgress())
    assert process.hello.libraries["openvino"]
    assert process.hello.libraries["rasterio"] == rasterio.__version__


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"input": "/no/such/image.tif"}, InputError, "/no/such/image.tif"),
        ({"model": "moon"}, ModelError, "There is no model 'moon'"),
    ],
)
def test_the_engine_s_errors_arrive_in_their_own_words(
    image, toy_unet, tmp_path, change, kind, words
):
    given = {"input": str(image), "output": str(tmp_path / "out.tif"), "model": str(toy_unet)}
    with pytest.raises(SegmenterError, match=words) as caught:
        worker(JobSpec(**{**given, **change})).run(SilentProgress())
    assert type(caught.value) is kind
    assert not (tmp_path / "out.tif").exists()


def test_a_cancel_in_the_midst_leaves_no_output_and_the_next_run_goes_on(
    large_image, toy_unet, tmp_path
):
    class CancelAfterThreeBlocks(SilentProgress):
        done, since = 0, None

        def advance(self, done, total, message=None):
            self.done = done

        def cancelled(self):
            if self.done >= 3 and self.since is None:
                self.since = time.monotonic()
            return self.since is not None

    progress = CancelAfterThreeBlocks()
    job = JobSpec(str(large_image), str(tmp_path / "out.tif"), str(toy_unet), block_size=256)
    with pytest.raises(Cancelled):
        worker(job).run(progress)
    assert time.monotonic() - progress.since < 2
    assert not (tmp_path / "out.tif").exists()
    result = worker(job).run(SilentProgress())
    assert result.resumed_blocks >= 3
    assert (tmp_path / "out.tif").exists()


def write_area(path, size):
    ring = [[400000, 5500000], [400000 + size, 5500000], [400000, 5500000 - size]]
    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    content = {"type": "FeatureCollection", "crs": crs, "features": [feature]}
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(("size", "goes_on"), [(300, True), (310, False)])
def test_a_run_goes_on_with_the_same_polygons_though_qgis_wrote_them_to_a_new_file(
    large_image, toy_unet, tmp_path, size, goes_on
):
    class CancelAfterThreeBlocks(SilentProgress):
        done = 0

        def advance(self, done, total, message=None):
            self.done = done

        def cancelled(self):
            return self.done >= 3

    job = JobSpec(
        str(large_image),
        str(tmp_path / "out.tif"),
        str(toy_unet),
        block_size=256,
        aoi=write_area(tmp_path / "first.geojson", 300),
    )
    with pytest.raises(Cancelled):
        in_process.run(job, CancelAfterThreeBlocks())
    job = dataclasses.replace(job, aoi=write_area(tmp_path / "second.geojson", size))
    result = in_process.run(job, SilentProgress())
    assert (result.resumed_blocks >= 3) == goes_on


def test_killing_the_parent_ends_a_worker_that_calculates(large_image, toy_unet, tmp_path):
    parent = tmp_path / "parent.py"
    parent.write_text(
        textwrap.dedent(
            f"""
            import sys
            from unet_segmenter.engine.job import JobSpec
            from unet_segmenter.engine.progress import SilentProgress
            from unet_segmenter.runners.worker_process import WorkerProcess
            class Tell(SilentProgress):
                def advance(self, done, total, message=None):
                    print(done, flush=True)
            job = JobSpec({str(large_image)!r}, {str(tmp_path / "out.tif")!r}, {str(toy_unet)!r},
                          block_size=256)
            WorkerProcess(sys.executable, job).run(Tell())
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, str(parent)], env=environment, stdout=subprocess.PIPE, text=True
    )
    while int(process.stdout.readline()) < 2:
        pass
    (child,) = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = time.monotonic()
    while is_alive(child):
        assert time.monotonic() - killed < 2
        time.sleep(0.02)
    assert not (tmp_path / "out.tif").exists()
    assert list(tmp_path.glob("unet-segmenter-*")) == [], "its job file was left"


def children_of(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(part) for part in text.split()]


def is_alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
