# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs that find no memory go back to smaller blocks, and then say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.toy_jobs import WatchingProgress
from tests.toy_rasters import read_raster, texture, write_raster
from unet_segmenter import cli
from unet_segmenter.engine import pipeline, predictor_onnx
from unet_segmenter.engine.errors import ModelError, SegmenterError
from unet_segmenter.engine.job import JobSpec
from unet_segmenter.engine.predictor import run_error
from unet_segmenter.engine.vectorize_job import VectorizeJob
from unet_segmenter.runners.memory import run_within_memory

JOB = JobSpec("in.tif", "out.tif", "toy")
WORDS = (
    "std::bad_alloc",
    "Failed to allocate 905969664 bytes of memory",
    "bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 9",
)


def needing(size: int, tried: list[int | None]) -> Any:
    def run(job: JobSpec, progress: Any) -> str:
        tried.append(job.block_size)
        if (job.block_size or 1024) > size:
            raise MemoryError("Unable to allocate 3 GiB")
        return "done"

    return run


def test_blocks_are_halved_until_they_fit() -> None:
    tried: list[int | None] = []
    progress = WatchingProgress()
    assert run_within_memory(needing(300, tried), JOB, progress, "Close programs") == "done"
    assert tried == [None, 512, 256]
    assert [text.split(";")[0] for text in progress.warnings()] == [
        f"Memory ran out. The run starts again with blocks of {size} px" for size in (512, 256)
    ]


@pytest.mark.parametrize("job", [JOB, VectorizeJob("in.tif", "out.gpkg")])
def test_where_nothing_fits_one_sentence_says_what_to_do(job: Any) -> None:
    def run(job: Any, progress: Any) -> None:
        raise MemoryError

    with pytest.raises(SegmenterError, match=r"^The run needs more memory .* is\. Choose less\.$"):
        run_within_memory(run, job, WatchingProgress(), "Choose less")


def test_a_thread_that_cannot_start_is_lack_of_memory_and_other_errors_are_not() -> None:
    def run(job: Any, progress: Any) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.raises(SegmenterError, match="more memory"):
        run_within_memory(run, JOB, WatchingProgress(), "Close programs")

    def broken(job: Any, progress: Any) -> None:
        raise RuntimeError("out of tea")

    with pytest.raises(RuntimeError, match="out of tea"):
        run_within_memory(broken, JOB, WatchingProgress(), "Close programs")


@pytest.mark.parametrize("words", WORDS)
def test_lack_of_memory_is_not_the_models_fault(words: str) -> None:
    assert isinstance(run_error(Path("m.onnx"), (1, 3, 9, 9), RuntimeError(words)), MemoryError)
    assert isinstance(run_error(Path("m.onnx"), (1, 3, 9, 9), RuntimeError("axis 3")), ModelError)


def test_the_map_is_that_of_a_run_with_smaller_blocks_and_nothing_is_left(
    toy_unet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    source = write_raster(tmp_path / "in.tif", texture(300, 700))
    exact = ["--model", str(toy_unet), "--runtime", "onnxruntime", "--quiet"]
    small = ["segment", str(source), str(tmp_path / "small.tif"), *exact, "--block-size", "256"]
    assert cli.main(small) == 0
    run = predictor_onnx.OnnxPredictor.predict

    def predict(self: Any, images: Any) -> Any:
        if images.shape[2] > 500:
            raise MemoryError("Failed to allocate memory")
        return run(self, images)

    monkeypatch.setattr(predictor_onnx.OnnxPredictor, "predict", predict)
    assert cli.main(["segment", str(source), str(tmp_path / "m.tif"), *exact]) == 0
    told = capsys.readouterr().err
    assert "blocks of 512 px" in told
    assert "Traceback" not in told
    assert (read_raster(tmp_path / "m.tif") == read_raster(tmp_path / "small.tif")).all()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    assert pipeline.DEFAULT_BLOCK_SIZE == 1024
