# SPDX-License-Identifier: GPL-2.0-or-later
"""Lets a worker process do what an algorithm's parameters describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qgis.core import QgsProcessingFeedback

from ..runners.job_kinds import PlainJob
from ..runners.worker_process import WorkerProcess
from . import settings
from .feedback import FeedbackProgress


def run_in_worker(
    kind: str, values: Mapping[str, Any], feedback: QgsProcessingFeedback
) -> dict[str, Any]:
    """Do a job of `kind` in the engine's environment and return its result's JSON values.

    Raises
    ------
    SegmenterError
        If there is no environment, or the job fails or is cancelled.
    """
    python = settings.environment().require()
    worker = WorkerProcess(python, PlainJob(values), kind, variables=settings.worker_variables())
    result: dict[str, Any] = worker.run(FeedbackProgress(feedback))
    return result
