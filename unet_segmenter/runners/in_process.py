# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a job in this process, whose Python must have the engine's packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.job import JobResult, JobSpec
    from ..engine.progress import Progress


def run(job: JobSpec, progress: Progress) -> JobResult:
    """Run the job here.

    Parameters
    ----------
    job : JobSpec
        What to do.
    progress : Progress
        Told how far it is, in this thread; asked whether to stop.

    Returns
    -------
    JobResult
        What was made.

    Raises
    ------
    SegmenterError
        If the job cannot be done; `RuntimeMissingError` where a package is absent.
    """
    from ..engine.errors import RuntimeMissingError
    from .environment_check import REMEDY

    try:
        from ..engine.pipeline import run_job
    except ImportError as error:
        raise RuntimeMissingError(f"The engine cannot start: {error}. {REMEDY}") from error
    return run_job(job, progress)
