# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows the engine's progress where QGIS shows an algorithm's."""

from __future__ import annotations

from qgis.core import QgsProcessingFeedback

from ..engine.progress import Level


class FeedbackProgress:
    """The engine's `Progress` on a `QgsProcessingFeedback`."""

    def __init__(self, feedback: QgsProcessingFeedback) -> None:
        self._feedback = feedback
        self._stage: str | None = None

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Move the bar; name a new stage."""
        if message and message != self._stage:
            self._stage = message
            self._feedback.setProgressText(message)
        if total > 0:
            self._feedback.setProgress(100.0 * done / total)

    def log(self, level: Level, message: str) -> None:
        """Show one sentence; an error that is fatal is raised, not logged."""
        if level == "error":
            self._feedback.reportError(message, False)
        elif level == "warning":
            self._feedback.pushWarning(message)
        else:
            self._feedback.pushInfo(message)

    def cancelled(self) -> bool:
        """Whether the user pressed Cancel."""
        return bool(self._feedback.isCanceled())
