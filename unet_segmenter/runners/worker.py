# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine's side of a worker process: `python -m unet_segmenter.runners.worker JOB.json`.

Runs one job and tells about it on standard output, in the words of `protocol`. A line
`cancel` on standard input, its end (the parent is gone) or a broken pipe stops the run.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, NoReturn

from ..engine.errors import Cancelled, JobError, SegmenterError
from ..engine.progress import Level, Progress
from ..version import plugin_version
from .job_kinds import JOB_KINDS
from .protocol import (
    CANCEL_LINE,
    JOB_FILE_PREFIX,
    PROTOCOL_VERSION,
    Advance,
    Failure,
    Hello,
    Log,
    Message,
    Result,
    decode_job,
    encode,
)

Run = Callable[[Any, Progress], Any]

# How a job of each kind is run.
RUNS: dict[str, Run] = {name: kind.do for name, kind in JOB_KINDS.items()}

LIBRARIES = ("numpy", "rasterio", "openvino", "onnxruntime", "tensorflow", "keras")
SECONDS_BETWEEN_ADVANCES = 0.1
# A native call cannot be interrupted: a run that does not end by itself is ended so long after
# the time that its kind may take. For most kinds that comes to 1.5 s, and 2 s are promised.
SECONDS_OF_GRACE = 0.5


class MessageWriter:
    """Sends messages down a pipe; a pipe that nobody reads cancels the run."""

    def __init__(self, fd: int, cancel: threading.Event) -> None:
        self._fd = fd
        self._cancel = cancel
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Write the message at once, whole."""
        line = memoryview(encode(message))
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError:
                self._cancel.set()


class WorkerProgress:
    """The engine's `Progress`, told as messages at most ten times a second."""

    def __init__(
        self,
        writer: MessageWriter,
        cancel: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._cancel = cancel
        self._clock = clock
        self._sent_at = -SECONDS_BETWEEN_ADVANCES
        self._stage: str | None = None
        self._waiting: Advance | None = None

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        """Send the progress, or keep it where one went a moment ago.

        The end and a new stage always go.
        """
        self._waiting = Advance(int(done), int(total), message)
        due = self._clock() - self._sent_at >= SECONDS_BETWEEN_ADVANCES
        if due or done >= total or message != self._stage:
            self.flush()

    def flush(self) -> None:
        """Send the progress that was kept."""
        if self._waiting is not None:
            self._writer.send(self._waiting)
            self._sent_at, self._stage = self._clock(), self._waiting.message
            self._waiting = None

    def log(self, level: Level, message: str) -> None:
        """Send one sentence."""
        self._writer.send(Log(level, message))

    def cancelled(self) -> bool:
        """Whether the parent wants the run to stop, or is gone."""
        return self._cancel.is_set()


def main(argv: list[str], runs: dict[str, Run] | None = None) -> int:
    """Run the job in the file that `argv` names.

    Parameters
    ----------
    argv : list of str
        The path of the job file.
    runs : dict, optional
        How to run a job of each kind; `RUNS` unless a test gives its own.

    Returns
    -------
    int
        Exit code: 0, or that of the error.
    """
    cancel = threading.Event()
    finished = threading.Event()
    patience = _Patience()
    with _messages_own_stdout() as fd:
        writer = MessageWriter(fd, cancel)
        writer.send(_hello())
        for target, arguments in (
            (_watch_stdin, (cancel, finished)),
            (_watch_cancel, (cancel, finished, patience)),
        ):
            threading.Thread(target=target, args=arguments, daemon=True).start()
        progress = WorkerProgress(writer, cancel)
        message = _outcome(argv, RUNS if runs is None else runs, progress, patience)
        finished.set()
        writer.send(message)
    return message.code if isinstance(message, Failure) else 0


class _Patience:
    """What is known of the job's kind once its file is read."""

    seconds = JOB_KINDS["segment"].seconds_to_stop
    less_memory = JOB_KINDS["segment"].less_memory


def _outcome(
    argv: list[str], runs: dict[str, Run], progress: WorkerProgress, patience: _Patience
) -> Result | Failure:
    try:
        kind, job = _read_job(argv)
        patience.seconds = JOB_KINDS[kind].seconds_to_stop
        patience.less_memory = JOB_KINDS[kind].less_memory
        result = JOB_KINDS[kind].tell(runs[kind](job, progress))
        progress.flush()
        return Result(result)
    except SegmenterError as error:
        return Failure(error.exit_code, type(error).__name__, str(error))
    except KeyboardInterrupt:
        return _failure(Cancelled("The run was stopped."))
    except MemoryError:
        return _failure(
            SegmenterError(f"The run needs more memory than there is. {patience.less_memory}.")
        )
    except Exception as error:  # noqa: BLE001 - the parent must learn of any failure
        progress.log("error", traceback.format_exc())
        return _failure(
            SegmenterError(f"The engine failed unexpectedly: {type(error).__name__}: {error}")
        )


def _failure(error: SegmenterError) -> Failure:
    return Failure(error.exit_code, type(error).__name__, str(error))


def _read_job(argv: list[str]) -> tuple[str, Any]:
    if len(argv) != 1:
        raise JobError("usage: python -m unet_segmenter.runners.worker JOB.json")
    try:
        path = Path(argv[0])
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"The job file {argv[0]} cannot be read: {error}.") from error
    if path.name.startswith(JOB_FILE_PREFIX):  # who wrote it may not live to remove it
        with contextlib.suppress(OSError):
            path.unlink()
    return decode_job(text)


def _hello() -> Hello:
    return Hello(
        PROTOCOL_VERSION, plugin_version(), platform.python_version(), _versions(LIBRARIES)
    )


def _versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of the packages that are installed; nothing is imported for it."""
    versions = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


@contextlib.contextmanager
def _messages_own_stdout() -> Iterator[int]:
    """Descriptor of the real standard output; what others print goes to standard error.

    Native libraries print to descriptor 1, so Python's `sys.stdout` is not enough.
    """
    sys.stdout.flush()
    messages = os.dup(1)
    os.dup2(2, 1)
    try:
        yield messages
    finally:
        sys.stdout.flush()
        os.dup2(messages, 1)
        os.close(messages)


def _watch_stdin(cancel: threading.Event, finished: threading.Event) -> None:
    """Cancel when the parent says so, and when it is gone."""
    text = b""
    while not finished.is_set():
        try:
            chunk = os.read(0, 1024)
        except OSError:
            chunk = b""
        text = (text + chunk)[-2 * len(CANCEL_LINE) :]
        if not chunk or CANCEL_LINE.strip() in text.split(b"\n")[:-1]:
            cancel.set()
            return


def _watch_cancel(cancel: threading.Event, finished: threading.Event, patience: _Patience) -> None:
    """End the process when a native call keeps the run from honouring a cancel."""
    cancel.wait()
    if not finished.wait(patience.seconds + SECONDS_OF_GRACE):
        os._exit(Cancelled.exit_code)


def run_and_exit(argv: list[str], runs: dict[str, Run] | None = None) -> NoReturn:
    """Run the job and end the process at once.

    Everything is written and told by then. The interpreter would wait for a native call that
    a cancelled run left behind, and a library's clean-up could crash.
    """
    code = main(argv, runs)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run_and_exit(sys.argv[1:])
