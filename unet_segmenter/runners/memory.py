# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens where memory runs out: smaller blocks, and then one sentence with a remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ..engine.errors import SegmenterError
from ..engine.progress import Progress

# In px: what jobs take where no BLOCK_SIZE is given, and the smallest that is tried.
USUAL_BLOCK, LEAST_BLOCK = 1024, 256


def run_within_memory(
    run: Callable[[Any, Progress], Any], job: Any, progress: Progress, remedy: str
) -> Any:
    """Do a job; where memory runs out, again with blocks of half the size, and again.

    Blocks decide how much is in memory at once, and not what the map shows.

    Parameters
    ----------
    run : callable
        Does the job.
    job : dataclass
        What to do; a field ``block_size`` says that it works in blocks.
    progress : Progress
        Is notified of every further attempt.
    remedy : str
        What to do where the smallest blocks are too large; a sentence without its full stop.

    Raises
    ------
    SegmenterError
        If they are.
    """
    while True:
        try:
            return run(job, progress)
        except MemoryError as error:
            reason = " ".join(str(error).split())[:200]
        except RuntimeError as error:
            if "start new thread" not in str(error):  # so Python says it
                raise
            reason = str(error)
        # Only here is what the failed attempt held free again: its traceback is gone.
        smaller = _with_smaller_blocks(job)
        if smaller is None:
            told = f" ({reason})" if reason else ""
            raise SegmenterError(f"The run needs more memory than there is{told}. {remedy}.")
        job = smaller
        progress.log(
            "warning",
            f"Memory ran out. The run starts again with blocks of {job.block_size} px; a smaller "
            "BLOCK_SIZE from the start saves the time.",
        )


def _with_smaller_blocks(job: Any) -> Any:
    """The job with blocks of half the size; None where they are the smallest, or there are none."""
    if not dataclasses.is_dataclass(job) or isinstance(job, type) or not hasattr(job, "block_size"):
        return None
    size = (job.block_size or USUAL_BLOCK) // 2
    return None if size < LEAST_BLOCK else dataclasses.replace(job, block_size=size)
