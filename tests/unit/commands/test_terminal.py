# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C and SIGTERM on the command line, whatever the main thread is doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unet_segmenter.commands.terminal import terminal_progress
from unet_segmenter.engine.errors import Cancelled


def started(repository: Path, code: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=repository, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    return process


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_native_call_of_the_main_thread_delays_no_cancel(
    repository: Path, number: signal.Signals
) -> None:
    """A C compiler is not at hand everywhere: SQLite is asked to count for a minute."""
    code = """
import sqlite3
from unet_segmenter.commands.terminal import terminal_progress
with terminal_progress(quiet=True):
    print("ready", flush=True)
    sqlite3.connect(":memory:").execute(
        "with recursive c(x) as (select 1 union all select x + 1 from c limit 1000000000) "
        "select count(*) from c"
    ).fetchone()
print("success", flush=True)
"""
    process = started(repository, code)
    sent = time.monotonic()
    process.send_signal(number)
    told, _ = process.communicate(timeout=60)
    assert time.monotonic() - sent < 2
    assert process.returncode == Cancelled.exit_code
    assert "success" not in told


def test_a_run_that_was_cancelled_as_it_ended_is_no_success() -> None:
    def run() -> None:
        with terminal_progress(quiet=True):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    with pytest.raises(Cancelled, match="cancelled as it ended"):
        run()
    time.sleep(2)  # the last resort, which would end this very process, was called off


def test_the_handlers_are_as_they_were_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    with terminal_progress(quiet=True) as progress:
        assert not progress.cancelled()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert signal.set_wakeup_fd(descriptor) == descriptor
