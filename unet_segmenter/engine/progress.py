# SPDX-License-Identifier: GPL-2.0-or-later
"""How the engine tells what it is doing, and learns that it should stop."""

from __future__ import annotations

from typing import Literal, Protocol

Level = Literal["info", "warning", "error"]


class Progress(Protocol):
    """Receives progress and messages; answers whether the user wants to stop.

    The engine calls it from the thread that called `run_job`, never from another.
    """

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """`done` of `total` blocks are finished; `message` names the stage."""

    def log(self, level: Level, message: str) -> None:
        """Tell the user one sentence."""

    def cancelled(self) -> bool:
        """Whether the user asked to stop; polled several times a second."""
        ...


class SilentProgress:
    """A `Progress` that keeps the messages and never cancels."""

    def __init__(self) -> None:
        self.messages: list[tuple[Level, str]] = []

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Ignore the progress."""

    def log(self, level: Level, message: str) -> None:
        """Keep the message in `messages`."""
        self.messages.append((level, message))

    def cancelled(self) -> bool:
        """Never."""
        return False
