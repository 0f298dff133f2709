# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs jobs in this process, and keeps what the engine told meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from unet_segmenter.engine import pipeline
from unet_segmenter.engine.job import JobResult, JobSpec
from unet_segmenter.engine.predictor import FloatArray, Predictor
from unet_segmenter.engine.progress import Level


@dataclass
class WatchingProgress:
    """Keeps messages and progress; runs `at_block(done)` whenever a block is finished."""

    at_block: Callable[[int], None] = lambda done: None
    stop_at: int | None = None
    messages: list[tuple[Level, str]] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Keep the step."""
        self.steps.append((done, total))
        if message is None:
            self.at_block(done)

    def log(self, level: Level, message: str) -> None:
        """Keep the message."""
        self.messages.append((level, message))

    def cancelled(self) -> bool:
        """Whether `stop_at` blocks are finished."""
        return self.stop_at is not None and bool(self.steps) and self.steps[-1][0] >= self.stop_at

    def warnings(self) -> list[str]:
        """What was told as a warning."""
        return [message for level, message in self.messages if level == "warning"]


def segment(
    source: Path | str,
    output: Path | str,
    model: Path | str,
    progress: WatchingProgress | None = None,
    **options: Any,
) -> JobResult:
    """Run a job with the given options; paths may be `Path`s."""
    settings = {name: str(v) if isinstance(v, Path) else v for name, v in options.items()}
    job = JobSpec(input=str(source), output=str(output), model=str(model), **settings)
    return pipeline.run_job(job, progress or WatchingProgress())


def count_windows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes (N, H, W, C) of all that the network is given from now on."""
    shapes: list[tuple[int, ...]] = []
    opened = pipeline.open_predictor

    def watched(*arguments: Any) -> Predictor:
        predictor = opened(*arguments)
        run = predictor.predict

        def predict(images: FloatArray) -> FloatArray:
            shapes.append(images.shape)
            return run(images)

        predictor.predict = predict  # type: ignore[method-assign]
        return predictor

    monkeypatch.setattr(pipeline, "open_predictor", watched)
    return shapes
