# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls the command line as a user does: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


def command(*arguments: Any) -> list[str]:
    """`python -m unet_segmenter` with the arguments as text."""
    return [sys.executable, "-m", "unet_segmenter", *map(str, arguments)]


def environment(**variables: str) -> dict[str, str]:
    """The environment of the calls: the checkout on Python's path."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}


def call(*arguments: Any, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(*arguments),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start(*arguments: Any) -> subprocess.Popen[str]:
    """Start a command, the head of a process group of its own."""
    return subprocess.Popen(
        command(*arguments),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
