# SPDX-License-Identifier: GPL-2.0-or-later
"""An input that is overwritten while a run reads it is refused, and nothing is published."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.toy_jobs import WatchingProgress, segment
from tests.toy_rasters import read_raster, texture, write_raster
from unet_segmenter.engine import evaluate, run_vectorize
from unet_segmenter.engine.errors import InputError
from unet_segmenter.engine.evaluate import EvaluateJob, run_evaluate
from unet_segmenter.engine.run_fuse import FuseJob, run_fuse
from unet_segmenter.engine.run_landcover import LandcoverJob, run_landcover
from unet_segmenter.engine.run_majority import MajorityFilterJob, run_majority_filter
from unet_segmenter.engine.run_refine import RefineJob, run_refine
from unet_segmenter.engine.run_vectorize import VectorizeJob

KINDS = ("segment", "landcover", "fuse", "refine", "majorityfilter", "vectorize", "evaluate")


def place_with(tmp_path: Path, seed: int) -> dict[str, Path]:
    """An image, probabilities and classes on one grid."""
    tmp_path.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    classes = random.integers(0, 3, (64, 64), np.uint8)
    shares = random.random((64, 64, 2), np.float32)
    return {
        "image": write_raster(tmp_path / "in.tif", texture(64, 64, seed=seed)),
        "shares": write_raster(tmp_path / "p.tif", shares),
        "classes": write_raster(tmp_path / "c.tif", classes, nodata=255),
    }


def run(kind: str, place: dict[str, Path], out: Path, model: Path, progress: Any) -> Any:
    image, shares, classes = (str(place[name]) for name in ("image", "shares", "classes"))
    target, small = str(out / "m.tif"), {"block_size": 16}
    runs: dict[str, Callable[[], Any]] = {
        "segment": lambda: segment(image, target, model, progress, **small),
        "landcover": lambda: run_landcover(
            LandcoverJob(image, target, (str(model),), **small), progress
        ),
        "fuse": lambda: run_fuse(FuseJob((shares,), target, **small), progress),
        "refine": lambda: run_refine(RefineJob(image, target, shares, sxy=2, **small), progress),
        "majorityfilter": lambda: run_majority_filter(
            MajorityFilterJob(classes, target, radius=1, **small), progress
        ),
        "vectorize": lambda: run_vectorize.run_vectorize(
            VectorizeJob(classes, str(out / "v.gpkg")), progress
        ),
        "evaluate": lambda: run_evaluate(
            EvaluateJob(classes, classes, csv=str(out / "s.csv")), progress
        ),
    }
    return runs[kind]()


class Overwrites(WatchingProgress):
    """Copies other rasters over the inputs when the first part of the work is done."""

    def __init__(self, place: dict[str, Path], other: dict[str, Path]) -> None:
        super().__init__()
        self._pairs = [(other[name], place[name]) for name in place]

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Overwrite once, in place."""
        if done:
            for source, target in self._pairs:
                shutil.copyfile(source, target)
            self._pairs = []


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_overwritten_in_place_during_a_run_is_refused(
    kind: str, bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "BLOCK_SIZE", 16)
    place, other = place_with(tmp_path / "in", 1), place_with(tmp_path / "other", 2)
    for path in place.values():
        os.utime(path, (1e9, 1e9))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match=r"(in|p|c)\.tif was changed while it was read"):
        run(kind, place, out, bright, Overwrites(place, other))
    assert [p.name for p in out.iterdir() if not p.name.startswith(".")] == []
    # The same command starts anew, and what it gives is of the new input alone.
    run(kind, place, out, bright, WatchingProgress())
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    run(kind, other, fresh, bright, WatchingProgress())
    if (fresh / "m.tif").exists():
        assert np.array_equal(read_raster(out / "m.tif"), read_raster(fresh / "m.tif"))


def test_statistics_that_qgis_writes_beside_the_input_stop_no_run(
    bright: Path, tmp_path: Path
) -> None:
    place = place_with(tmp_path / "in", 1)
    beside = tmp_path / "in" / "in.tif.aux.xml"
    beside.write_text("<PAMDataset/>")

    def touch(done: int) -> None:
        beside.write_text("<PAMDataset><Metadata/></PAMDataset>")

    segment(place["image"], tmp_path / "m.tif", bright, WatchingProgress(touch), block_size=16)
    assert (tmp_path / "m.tif").is_file()


def test_a_data_set_of_a_raster_that_changed_is_not_put_in_place(tmp_path: Path) -> None:
    from training.prepare import prepare
    from training.prepare_spec import PrepareSpec

    place, other = place_with(tmp_path / "in", 1), place_with(tmp_path / "other", 2)
    for path in place.values():
        os.utime(path, (1e9, 1e9))
    spec = PrepareSpec(
        source=str(place["image"]), output=str(tmp_path / "set"), reader="geo",
        labels=str(place["classes"]), chip=32, split="random",
    )  # fmt: skip
    with pytest.raises(InputError, match="was changed while it was read"):
        prepare(spec, Overwrites(place, other))
    assert not (tmp_path / "set").exists()
