# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows the engine's progress where QGIS shows an algorithm's."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from qgis.core import QgsProcessingFeedback

from ..engine.progress import Level


class FeedbackProgress:
    """The engine's `Progress` on a `QgsProcessingFeedback`."""

    def __init__(self, feedback: QgsProcessingFeedback) -> None:
        self._feedback = feedback
        self._shown: str | None = None

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Move the bar; name a new stage, unless it was just logged."""
        if message and message != self._shown:
            self._shown = message
            self._feedback.setProgressText(message)
        if total > 0:
            self._feedback.setProgress(100.0 * done / total)

    def log(self, level: Level, message: str) -> None:
        """Show one sentence; an error that is fatal is raised, not logged."""
        self._shown = message
        if level == "error":
            self._feedback.reportError(message, False)
        elif level == "warning":
            self._feedback.pushWarning(message)
        else:
            self._feedback.pushInfo(message)

    def cancelled(self) -> bool:
        """Whether the user pressed Cancel."""
        return bool(self._feedback.isCanceled())


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
