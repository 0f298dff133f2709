# SPDX-License-Identifier: GPL-2.0-or-later
"""The progress of one part of a longer task."""

from __future__ import annotations

from unet_segmenter.engine.progress import Level, Progress

WHOLE = 1000


class PartProgress:
    """Shows a part's progress as a share of the whole; a `Progress`.

    Parameters
    ----------
    progress : Progress
        Of the whole.
    place, parts : int
        Which part it is, from 0, of how many.
    name : str
        Told before each message.
    """

    def __init__(self, progress: Progress, place: int, parts: int, name: str) -> None:
        self.progress, self.place, self.parts, self.name = progress, place, parts, name

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """`done` of `total` of this part."""
        share = (self.place + done / max(total, 1)) / self.parts
        told = self.name if message is None else f"{self.name}: {message}"
        self.progress.advance(round(share * WHOLE), WHOLE, told)

    def log(self, level: Level, message: str) -> None:
        """Tell the user one sentence."""
        self.progress.log(level, message)

    def cancelled(self) -> bool:
        """Whether the user asked to stop."""
        return self.progress.cancelled()
