# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of `python -m training`: one module each, listed in `COMMANDS`."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Protocol

COMMANDS = {
    "prepare": "prepare",
    "batch": "batch",
    "train": "train",
    "crossvalidate": "crossvalidate",
    "compare": "compare",
    "evaluate": "evaluate",
    "fusion-table": "fusion_table",
    "export": "export",
    "recut": "recut",
    "convert-encoder": "convert_encoder",
}
"""Module of each command. Modules import what is slow inside functions: help must be quick."""

_INTERVAL_S = 2.0


def natural(text: str) -> int:
    """Return the whole number of an argument; below 0 is refused."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)


class Command(Protocol):
    """What a module of this package has."""

    HELP: str

    @staticmethod
    def add_arguments(parser: ArgumentParser) -> None:
        """Add the command's arguments."""

    @staticmethod
    def run(options: Namespace) -> None:
        """Do it; raise a SegmenterError where it fails."""


class ConsoleProgress:
    """A `Progress` that prints lines: a stage when it begins, and then every few seconds."""

    def __init__(self) -> None:
        self._stage: str | None = None
        self._told = 0.0

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Print how far the stage is."""
        now = time.monotonic()
        # What follows a comma is a detail of the same stage, such as the time left.
        stage = None if message is None else message.partition(",")[0]
        if stage == self._stage and now - self._told < _INTERVAL_S:
            return
        self._stage, self._told = stage, now
        print(f"{message or 'working'}: {done} of {total}", flush=True)

    def log(self, level: str, message: str) -> None:
        """Print a sentence; warnings and errors go to standard error."""
        plain = level == "info"
        text = message if plain else f"{level}: {message}"
        print(text, file=sys.stdout if plain else sys.stderr, flush=True)

    def cancelled(self) -> bool:
        """Never: Ctrl+C raises KeyboardInterrupt."""
        return False
