# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands share: a progress bar, Ctrl-C, paths, and how results are printed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from ..engine.errors import Cancelled
from ..engine.progress import Level

SECONDS_TO_STOP = 1.5


class TerminalProgress:
    """A progress bar on standard error; Ctrl-C asks to stop, twice stops at once."""

    def __init__(
        self, *, quiet: bool, unit: str = "block", seconds_to_stop: float = SECONDS_TO_STOP
    ) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=None, unit=unit, disable=quiet, file=sys.stderr, leave=True)
        self._quiet = quiet
        self._seconds_to_stop = seconds_to_stop
        self._cancelled = False

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Move the bar."""
        if self._bar.total != total:
            # Blocks taken over from an interrupted run say nothing about the speed of this one.
            self._bar.reset(total)
            self._bar.initial = done
            self._bar.n = done
        self._bar.update(done - self._bar.n)
        if message:
            self._bar.set_postfix_str(message)

    def log(self, level: Level, message: str) -> None:
        """Write a line above the bar."""
        if level != "info" or not self._quiet:
            prefix = "" if level == "info" else f"{level}: "
            self._bar.write(f"{prefix}{message}", file=sys.stderr)

    def cancelled(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._cancelled

    def close(self) -> None:
        """Leave the terminal in order."""
        self._bar.close()

    def on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        """Take note of Ctrl-C."""
        if self._cancelled:
            os._exit(Cancelled.exit_code)
        self._cancelled = True
        # A native call cannot be interrupted; nothing under an output's name is ever unfinished.
        last_resort = threading.Timer(self._seconds_to_stop, os._exit, (Cancelled.exit_code,))
        last_resort.daemon = True
        last_resort.start()


class LineProgress:
    """Messages as lines on standard error, for a Python that has no progress bar yet."""

    def __init__(self) -> None:
        self._message: str | None = None

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Print a new stage."""
        if message and message != self._message:
            print(f"[{done}/{total}] {message}", file=sys.stderr)
            self._message = message

    def log(self, level: Level, message: str) -> None:
        """Print a sentence."""
        print(message if level == "info" else f"{level}: {message}", file=sys.stderr)

    def cancelled(self) -> bool:
        """Ctrl-C raises KeyboardInterrupt instead."""
        return False


@contextlib.contextmanager
def terminal_progress(
    *, quiet: bool, unit: str = "block", seconds_to_stop: float = SECONDS_TO_STOP
) -> Iterator[TerminalProgress]:
    """A progress bar that Ctrl-C and an end from outside can stop.

    Parameters
    ----------
    quiet : bool
        Show no bar, and warnings alone.
    unit : str
        What is counted.
    seconds_to_stop : float
        How long the run may take to end by itself.
    """
    progress = TerminalProgress(quiet=quiet, unit=unit, seconds_to_stop=seconds_to_stop)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, progress.on_interrupt)
    try:
        yield progress
    finally:
        progress.close()


def names(parts: Sequence[str]) -> tuple[str, ...]:
    """Names given one by one or separated by commas."""
    split = (name.strip() for part in parts for name in part.split(","))
    return tuple(name for name in split if name)


def absolute(path: str) -> str:
    """An absolute path for a local file; other sources (/vsis3/, URLs) as they are."""
    return str(Path(path).absolute()) if Path(path).exists() or "/" not in path else path


def print_json(content: object) -> None:
    """Print the content as JSON on standard output."""
    print(json.dumps(content, indent=2))
