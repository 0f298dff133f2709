# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows the engine's progress where QGIS shows an algorithm's."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator

from qgis.core import QgsProcessingFeedback

from ..engine.progress import Level
from .temporary_files import in_words

# QGIS writes each text of the progress into its log, as a line that stays.
SECONDS_BETWEEN_TIMES = 20.0


class FeedbackProgress:
    """The engine's `Progress` on a `QgsProcessingFeedback`."""

    def __init__(
        self, feedback: QgsProcessingFeedback, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._feedback = feedback
        self._clock = clock
        self._shown: str | None = None
        self._shown_at = clock()

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Move the bar; name a new stage, unless it was just logged.

        What follows a comma is taken for details of the same stage, such as the time that is
        left: they are told now and then.
        """
        if message and message != self._shown:
            same_stage = self._shown is not None and _stage(message) == _stage(self._shown)
            if not same_stage or self._clock() - self._shown_at >= SECONDS_BETWEEN_TIMES:
                self._shown, self._shown_at = message, self._clock()
                self._feedback.setProgressText(message)
        if total > 0:
            self._feedback.setProgress(100.0 * done / total)

    def log(self, level: Level, message: str) -> None:
        """Show one sentence; an error that is fatal is raised, not logged."""
        self._shown = message
        if level == "error":
            self._feedback.reportError(in_words(message), False)
        elif level == "warning":
            self._feedback.pushWarning(in_words(message))
        else:
            self._feedback.pushInfo(message)

    def cancelled(self) -> bool:
        """Whether the user pressed Cancel."""
        return bool(self._feedback.isCanceled())


def _stage(message: str) -> str:
    return message.partition(",")[0]


@contextlib.contextmanager
def interrupt_cancels(feedback: QgsProcessingFeedback) -> Iterator[None]:
    """Let Ctrl-C cancel the run, which `qgis_process` by itself does not notice.

    Python takes signals in its main thread alone. QGIS's window runs algorithms in others, and
    has a button for it.
    """
    try:
        before = signal.signal(signal.SIGINT, lambda *_: feedback.cancel())
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)
