# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a job in this process, whose Python must have the packages that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .job_kinds import JOB_KINDS

if TYPE_CHECKING:
    from ..engine.job import JobResult, JobSpec
    from ..engine.progress import Progress


def run(job: JobSpec, progress: Progress) -> JobResult:
    """Segment here.

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
    result: JobResult = JOB_KINDS["segment"].do(job, progress)
    return result


def run_values(kind: str, values: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do a job of any kind here, described by its JSON values.

    Parameters
    ----------
    kind : str
        A key of `JOB_KINDS`.
    values : mapping
        The job's specification as plain JSON values.
    progress : Progress
        Told how far it is, in this thread; asked whether to stop.

    Returns
    -------
    dict
        The result as plain JSON values.

    Raises
    ------
    SegmenterError
        If the values describe no such job, or it cannot be done.
    """
    job = JOB_KINDS[kind].read_job(dict(values))
    return JOB_KINDS[kind].tell(JOB_KINDS[kind].do(job, progress))
