# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a job in a worker process, in the engine's own Python, and waits for it.

The worker is started with a scrubbed environment, in its own process group. Its messages are
read by a thread, because they come in chunks and a pipe cannot be polled on Windows; they are
delivered in the calling thread. Whatever ends this run ends the worker with its children.
"""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..engine.errors import ERROR_KINDS, Cancelled, RuntimeMissingError, SegmenterError
from ..engine.job import JobResult
from ..engine.progress import Progress
from .child_environment import scrubbed_environment
from .environment_check import REMEDY
from .job_kinds import JOB_KINDS, JobKind, JsonJob
from .protocol import (
    CANCEL_LINE,
    JOB_FILE_PREFIX,
    PROTOCOL_VERSION,
    Advance,
    Failure,
    Hello,
    Log,
    Message,
    MessageParser,
    Result,
    encode_job,
)

WORKER = ("-m", "unet_segmenter.runners.worker")

SECONDS_BETWEEN_POLLS = 0.05
SECONDS_FOR_A_TERMINATE = 0.4
# After its last message a worker only has to end; some libraries hang in their clean-up.
SECONDS_FOR_AN_END = 2.0
_LAST_LINES = 30
_PACKAGE_PARENT = Path(__file__).resolve().parents[2]

_SIGNAL_ADVICE = {
    "SIGKILL": "out of memory? {less_memory}",
    "SIGSEGV": "a native library crashed. {less_native}",
    "SIGABRT": "a native library gave up. {less_native}",
    "SIGBUS": "the disk may be full, or a file was cut short while it was read",
    "SIGILL": "this processor lacks an instruction that a library uses. {less_native}",
    "SIGTERM": "another program ended it",
}
# Windows tells a crash by its exit code.
_WINDOWS_CRASHES = {
    0xC0000005: "SIGSEGV",
    0xC000001D: "SIGILL",
    0xC0000409: "SIGABRT",
    0xC0000017: "SIGKILL",
}


class WorkerProcess:
    """One run of one job in a worker process.

    Parameters
    ----------
    python : path
        The engine's interpreter.
    job : JobSpec, or a `PlainJob` of another kind
        What to do.
    kind : str
        The kind of the job, a key of `job_kinds.JOB_KINDS`.
    environ : mapping
        The parent's environment; the worker gets a scrubbed copy.
    variables : mapping
        Variables that the worker gets on top of it.
    worker : sequence of str
        What the interpreter runs; the job file's path follows. Tests give their own.
    """

    def __init__(
        self,
        python: str | os.PathLike[str],
        job: JsonJob,
        kind: str = "segment",
        *,
        environ: Mapping[str, str] = os.environ,
        variables: Mapping[str, str] | None = None,
        worker: Sequence[str] = WORKER,
    ) -> None:
        self._python = Path(python)
        self._job = job
        self._kind = kind
        self._environment = worker_environment(environ, variables or {})
        self._worker = tuple(worker)
        self.hello: Hello | None = None

    def run(self, progress: Progress) -> Any:
        """Run the job; return when it ended and the worker is gone.

        Parameters
        ----------
        progress : Progress
            Called in this thread; asked at least every 0.1 s whether to stop.

        Returns
        -------
        JobResult
            Or what the job's kind makes of its result: plain JSON values for most.

        Raises
        ------
        SegmenterError
            The worker's own error, or one that tells how the worker died. `Cancelled` at most
            1 s after the time that the kind may take to stop (1 s for most).
        """
        kind = JOB_KINDS[self._kind]
        if progress.cancelled():
            raise Cancelled("The run was stopped before it began.")
        with _job_file(encode_job(self._kind, self._job)) as path, self._started(path) as process:
            conversation = _Conversation(process, progress, kind)
            try:
                result = conversation.hold()
            finally:
                self.hello = conversation.hello
        return kind.read_result(result)

    @contextlib.contextmanager
    def _started(self, job_file: Path) -> Iterator[subprocess.Popen[bytes]]:
        if not self._python.exists():
            raise RuntimeMissingError(f"There is no Python at {self._python}. {REMEDY}")
        try:
            process = subprocess.Popen(
                [str(self._python), *self._worker, str(job_file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                **_own_group(),
            )
        except OSError as error:
            raise RuntimeMissingError(
                f"{self._python} does not start ({error.strerror or error}). {REMEDY}"
            ) from error
        try:
            yield process
        finally:
            _kill_group(process)
            process.wait()
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]


def run(python: str | os.PathLike[str], job: JsonJob, progress: Progress) -> JobResult:
    """Segment in a worker process; see `WorkerProcess.run`."""
    result: JobResult = WorkerProcess(python, job).run(progress)
    return result


def worker_environment(environ: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Environment of a worker: scrubbed, and able to import this very package."""
    return {
        **scrubbed_environment(environ),
        "PYTHONPATH": str(_PACKAGE_PARENT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONIOENCODING": "utf-8",
        **variables,
    }


class _Conversation:
    """Listens to a worker, forwards the user's wish to stop, and tells how it ended."""

    def __init__(self, process: subprocess.Popen[bytes], progress: Progress, kind: JobKind) -> None:
        self._process = process
        self._progress = progress
        self._kind = kind
        self._inbox: queue.Queue[Message | None] = queue.Queue()
        self._last_lines: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        self.hello: Hello | None = None
        self._end: Result | Failure | None = None
        self._cancelled_at: float | None = None
        self._readers = [
            threading.Thread(target=_read_messages, args=(process.stdout, self._inbox)),
            threading.Thread(target=_read_lines, args=(process.stderr, self._last_lines)),
        ]
        for thread in self._readers:
            thread.daemon = True
            thread.start()

    def hold(self) -> dict[str, Any]:
        """Content of the worker's result; raises what it or its death means."""
        while self._end is None and self._listen():
            self._stop_if_wanted()
        if self._end is None:
            self._wait_for_death()
        elif isinstance(self._end, Result):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(SECONDS_FOR_AN_END)
            if self._cancelled_at is not None:
                raise Cancelled(
                    "The run was cancelled as it ended: the files that it wrote are whole."
                )
            return self._end.result
        raise self._error()

    def _listen(self) -> bool:
        """Take the messages that are there; False when there will be no more."""
        deadline = time.monotonic() + SECONDS_BETWEEN_POLLS
        while True:
            try:
                message = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return True
            if message is None:
                return False
            self._take(message)
            if self._end is not None:
                return True

    def _take(self, message: Message) -> None:
        if isinstance(message, Hello):
            self.hello = message
            if message.protocol != PROTOCOL_VERSION:
                raise RuntimeMissingError(
                    f"The worker uses protocol {message.protocol}, this plugin "
                    f"{PROTOCOL_VERSION}: they are of different versions. Restart QGIS, then set "
                    f"the environment up again. {REMEDY}"
                )
        elif isinstance(message, Advance):
            self._progress.advance(message.done, message.total, message.message)
        elif isinstance(message, Log):
            self._progress.log(message.level, message.message)
        else:
            self._end = message

    def _stop_if_wanted(self) -> None:
        """Ask the worker to stop; then make it, however busy it is."""
        now = time.monotonic()
        if self._cancelled_at is None:
            if self._progress.cancelled():
                self._cancelled_at = now
                self._say(CANCEL_LINE)
            return
        late = now - self._cancelled_at - self._kind.seconds_to_stop
        if late > SECONDS_FOR_A_TERMINATE:
            _kill_group(self._process)
        elif late > 0 and self._process.poll() is None:
            self._process.terminate()

    def _say(self, line: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError):
            stdin.write(line)
            stdin.flush()

    def _wait_for_death(self) -> None:
        """Standard output was closed; the process ends now, or is made to."""
        grace = SECONDS_FOR_A_TERMINATE if self._cancelled_at else SECONDS_FOR_AN_END
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            _kill_group(self._process)
            self._process.wait()
        self._readers[1].join(SECONDS_FOR_A_TERMINATE)  # its last words

    def _error(self) -> SegmenterError:
        if self._cancelled_at is not None:
            told = self._end.message if isinstance(self._end, Failure) else ""
            stopped = isinstance(self._end, Failure) and self._end.kind == Cancelled.__name__
            return Cancelled(told if stopped else "The run was stopped.")
        if isinstance(self._end, Failure):
            return ERROR_KINDS.get(self._end.kind, SegmenterError)(self._end.message)
        words = describe_exit(self._process.returncode, self._kind)
        last = " ".join(self._last_lines).strip()[-600:]
        told = f" Its last words: {last}" if last else ""
        if self.hello is None:
            return RuntimeMissingError(
                f"The engine's worker could not start: it {words}.{told} {REMEDY}"
            )
        return SegmenterError(f"The engine's worker {words}.{told}")


def describe_exit(code: int, kind: JobKind = JOB_KINDS["segment"]) -> str:
    """How a process ended without a last message, in words.

    Parameters
    ----------
    code : int
        `Popen.returncode`: negative for a signal, as POSIX has it.
    kind : JobKind
        Of the job that it did: it knows what to do about memory and native libraries.
    """
    name = _WINDOWS_CRASHES.get(code & 0xFFFFFFFF) if sys.platform == "win32" else None
    if code < 0 and name is None:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
    if name is None:
        return f"ended with exit code {code} and no result"
    advice = _SIGNAL_ADVICE.get(name, "").format(
        less_memory=kind.less_memory, less_native=kind.less_native
    )
    return f"was killed ({name})" + (f": {advice}" if advice else "")


def _own_group() -> dict[str, Any]:
    """Arguments for Popen: a group of its own, and no console window."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the worker and the children it started; no harm where none is left."""
    if sys.platform == "win32":
        if process.poll() is None:
            taskkill = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32/taskkill.exe"
            with contextlib.suppress(OSError):
                subprocess.run(
                    [str(taskkill), "/F", "/T", "/PID", str(process.pid)],
                    capture_output=True,
                    check=False,
                    creationflags=subprocess.CREATE_NO_WINDOW,
                )
            process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _job_file(text: str) -> Iterator[Path]:
    """A file that only this user can read, gone at the end.

    The worker removes it, too: this process may be killed before it can.
    """
    descriptor, name = tempfile.mkstemp(prefix=JOB_FILE_PREFIX, suffix=".json")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield Path(name)
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink()


def _read_messages(stream: IO[bytes], inbox: queue.Queue[Message | None]) -> None:
    """Put the worker's messages into the inbox, then None.

    The thread that reads a pipe closes it: closing it from another would wait for the read.
    """
    parser = MessageParser()
    with contextlib.suppress(OSError, ValueError), stream:
        while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]
            for message in parser.feed(chunk):
                inbox.put(message)
    for message in parser.close():
        inbox.put(message)
    inbox.put(None)


def _read_lines(stream: IO[bytes], lines: collections.deque[str]) -> None:
    """Keep the last lines of what the worker and its libraries print."""
    with contextlib.suppress(OSError, ValueError), stream:
        while line := stream.readline(1000):
            text = line.decode("utf-8", "replace").strip()
            if text:
                lines.append(text)
