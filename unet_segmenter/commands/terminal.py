# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands share: a progress bar, Ctrl-C, paths, and how results are printed."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from ..engine import output_paths
from ..engine.errors import Cancelled
from ..engine.name_lists import split_list, split_names
from ..engine.progress import Level
from ..engine.rasters.options import CRS_HELP, NODATA_HELP

SECONDS_TO_STOP = 1.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SECONDS_BETWEEN_LINES = 20.0

absolute = output_paths.absolute


class _Stoppable:
    """Ctrl-C, or an end from outside, asks to stop; a second one stops at once."""

    def __init__(self, seconds_to_stop: float = SECONDS_TO_STOP) -> None:
        self._seconds_to_stop = seconds_to_stop
        self._cancelled = False
        self._last_resort: threading.Timer | None = None

    def cancelled(self) -> bool:
        """Whether the user wants to stop."""
        return self._cancelled

    def on_interrupt(self) -> None:
        """Take note of Ctrl-C; called by the thread that hears it, while others work."""
        if self._cancelled:
            os._exit(Cancelled.exit_code)
        self._cancelled = True
        # A native call cannot be interrupted; nothing under an output's name is ever unfinished.
        self._last_resort = threading.Timer(self._seconds_to_stop, os._exit, (Cancelled.exit_code,))
        self._last_resort.daemon = True
        self._last_resort.start()

    def ended(self) -> None:
        """The run has ended by itself."""
        if self._last_resort is not None:
            self._last_resort.cancel()

    def close(self) -> None:
        """Leave the terminal in order."""


class TerminalProgress(_Stoppable):
    """A progress bar on standard error."""

    def __init__(
        self, *, quiet: bool, unit: str = "block", seconds_to_stop: float = SECONDS_TO_STOP
    ) -> None:
        from tqdm import tqdm

        super().__init__(seconds_to_stop)
        self._bar = tqdm(total=None, unit=unit, disable=quiet, file=sys.stderr, leave=True)
        self._quiet = quiet

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Move the bar."""
        if self._bar.total != total:
            # Blocks taken over from an interrupted run say nothing about the speed of this one.
            self._bar.reset(total)
            self._bar.initial = done
            self._bar.n = done
        if message:
            self._bar.set_postfix_str(message, refresh=False)
        self._bar.update(done - self._bar.n)

    def log(self, level: Level, message: str) -> None:
        """Write a line above the bar."""
        if level != "info" or not self._quiet:
            prefix = "" if level == "info" else f"{level}: "
            self._bar.write(f"{prefix}{message}", file=sys.stderr)

    def close(self) -> None:
        """Leave the terminal in order."""
        self._bar.close()


class LineProgress(_Stoppable):
    """Messages as lines on standard error: for log files, and a Python without progress bars.

    A stage is told when it begins, and how far it is now and then.
    """

    def __init__(self, seconds_to_stop: float = SECONDS_TO_STOP) -> None:
        super().__init__(seconds_to_stop)
        self._stage: str | None = None
        self._told_at = 0.0

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Print a new stage, or how far this one is."""
        stage = (message or "").partition(",")[0]
        now = time.monotonic()
        if message and (stage != self._stage or now - self._told_at >= SECONDS_BETWEEN_LINES):
            print(f"[{done}/{total}] {message}", file=sys.stderr, flush=True)
            self._stage, self._told_at = stage, now

    def log(self, level: Level, message: str) -> None:
        """Print a sentence."""
        line = message if level == "info" else f"{level}: {message}"
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def terminal_progress(
    *, quiet: bool, unit: str = "block", seconds_to_stop: float = SECONDS_TO_STOP
) -> Iterator[TerminalProgress | LineProgress]:
    """A progress bar, or lines where nobody watches, that Ctrl-C and SIGTERM can stop.

    Parameters
    ----------
    quiet : bool
        Show no bar, and warnings alone.
    unit : str
        What is counted.
    seconds_to_stop : float
        How long the run may take to end by itself.
    """
    progress: TerminalProgress | LineProgress
    if quiet or sys.stderr.isatty():
        progress = TerminalProgress(quiet=quiet, unit=unit, seconds_to_stop=seconds_to_stop)
    else:
        progress = LineProgress(seconds_to_stop)
    try:
        with _heard(progress.on_interrupt):
            yield progress
        if progress.cancelled():
            raise Cancelled("The run was cancelled as it ended: the files that it wrote are whole.")
    finally:
        progress.ended()
        progress.close()


@contextlib.contextmanager
def _heard(on_signal: Callable[[], None]) -> Iterator[None]:
    """Call a function in a thread of its own whenever a signal asks to stop.

    Python's own handlers wait for the main thread, which may be in native code for minutes: it
    writes a large file, or waits for a server. A wakeup descriptor is written to at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python takes signals in its main thread alone
        return
    hears, tells = socket.socketpair()
    tells.setblocking(False)

    def listen() -> None:
        while told := hears.recv(16):
            for number in told:
                if number in _SIGNALS:
                    on_signal()

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    descriptor = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        tells.close()
        thread.join()  # it may still be about to tell
        hears.close()


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Declare --nodata and --crs, which every command that maps an image has."""
    add = parser.add_argument
    add("--nodata", nargs="+", type=float, default=[], metavar="VALUE", help=NODATA_HELP)
    add("--crs", help=CRS_HELP)


def names(parts: Sequence[str]) -> tuple[str, ...]:
    """Names given one by one or separated by commas; see `name_lists`."""
    return tuple(name for part in parts for name in split_names(part))


def entries(parts: Sequence[str]) -> tuple[str, ...]:
    """Entries such as name=number, given one by one or separated by commas."""
    return tuple(entry for part in parts for entry in split_list(part))


def print_json(content: object) -> None:
    """Print the content as JSON on standard output."""
    print(json.dumps(content, indent=2))
