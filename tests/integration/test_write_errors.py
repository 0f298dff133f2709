# SPDX-License-Identifier: GPL-2.0-or-later
"""A write error in mid-run ends in a sentence, and no raster is closed while it is read."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.toy_jobs import WatchingProgress, segment
from tests.toy_rasters import texture, write_raster
from unet_segmenter.engine import evaluate, run_vectorize
from unet_segmenter.engine.block_store import BlockStore
from unet_segmenter.engine.components import strips_of
from unet_segmenter.engine.errors import OutputError
from unet_segmenter.engine.evaluate import EvaluateJob, run_evaluate
from unet_segmenter.engine.rasters.source import RasterSource
from unet_segmenter.engine.run_fuse import FuseJob, run_fuse
from unet_segmenter.engine.run_landcover import LandcoverJob, run_landcover
from unet_segmenter.engine.run_majority import MajorityFilterJob, run_majority_filter
from unet_segmenter.engine.run_refine import RefineJob, run_refine
from unet_segmenter.engine.run_vectorize import VectorizeJob

RUNS = 20


def no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class ReadsAtClosing:
    """Slows reading down, and counts the rasters that are closed while they are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.active, self.closed_midway = 0, 0
        self._lock = threading.Lock()
        read, leave = RasterSource.read, RasterSource.__exit__

        def slow_read(source: RasterSource, *arguments: Any) -> Any:
            with self._lock:
                self.active += 1
            try:
                time.sleep(0.01)
                return read(source, *arguments)
            finally:
                with self._lock:
                    self.active -= 1

        def watched_exit(source: RasterSource, *exception: Any) -> None:
            self.closed_midway += self.active > 0
            leave(source, *exception)

        monkeypatch.setattr(RasterSource, "read", slow_read)
        monkeypatch.setattr(RasterSource, "__exit__", watched_exit)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with an image, probabilities and classes on one grid."""
    write_raster(tmp_path / "in.tif", texture(160, 160))
    write_raster(tmp_path / "p.tif", np.random.default_rng(1).random((160, 160, 2), np.float32))
    classes = np.random.default_rng(2).integers(0, 3, (160, 160), np.uint8)
    write_raster(tmp_path / "c.tif", classes, nodata=255)
    return tmp_path


def jobs(place: Path, model: Path) -> dict[str, Callable[[], Any]]:
    """A run of many blocks of each kind."""
    image, shares, classes = (str(place / name) for name in ("in.tif", "p.tif", "c.tif"))
    out, small, quiet = str(place / "m.tif"), {"block_size": 16}, WatchingProgress()
    return {
        "segment": lambda: segment(image, out, model, **small),
        "landcover": lambda: run_landcover(LandcoverJob(image, out, (str(model),), **small), quiet),
        "fuse": lambda: run_fuse(FuseJob((shares,), out, **small), quiet),
        "refine": lambda: run_refine(RefineJob(image, out, shares, sxy=2, **small), quiet),
        "majorityfilter": lambda: run_majority_filter(
            MajorityFilterJob(classes, out, radius=1, **small), quiet
        ),
        "vectorize": lambda: run_vectorize.run_vectorize(
            VectorizeJob(classes, str(place / "v.gpkg")), quiet
        ),
        "evaluate": lambda: run_evaluate(EvaluateJob(classes, classes), quiet),
    }


@pytest.mark.parametrize(
    "kind",
    ["segment", "landcover", "fuse", "refine", "majorityfilter", "vectorize", "evaluate"],
)
def test_no_raster_is_closed_while_it_is_read(
    kind: str, place: Path, bright: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BlockStore, "write", no_space)
    monkeypatch.setattr(run_vectorize._Table, "add", no_space)
    monkeypatch.setattr(evaluate.Agreement, "add", no_space)
    monkeypatch.setattr(evaluate, "BLOCK_SIZE", 16)
    monkeypatch.setattr(run_vectorize, "strips_of", lambda h, w: strips_of(h, w, 8))
    reads = ReadsAtClosing(monkeypatch)
    with pytest.raises((OSError, OutputError), match="No space"):
        jobs(place, bright)[kind]()
    assert reads.closed_midway == 0


def test_twenty_full_disks_end_in_a_sentence_and_in_no_crash(place: Path, bright: Path) -> None:
    """In a process of its own: a crash would take the tests with it."""
    code = f"""
import sys
from pathlib import Path
from tests.integration.test_write_errors import no_space
from tests.toy_jobs import segment
from unet_segmenter.engine.block_store import BlockStore
from unet_segmenter.engine.errors import OutputError

write = BlockStore.write
def full_at_three(store, index, *rest):
    no_space() if index == 3 else write(store, index, *rest)
BlockStore.write = full_at_three
told = 0
for run in range({RUNS}):
    try:
        segment({str(place / "in.tif")!r}, {str(place / "m.tif")!r}, {str(bright)!r},
                block_size=16, resume=False)
    except (OSError, OutputError) as error:
        told += "No space" in str(error)
print(told)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(RUNS)), done.stderr
