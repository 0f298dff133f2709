# SPDX-License-Identifier: GPL-2.0-or-later
"""A real worker whose engine is a script: the job's model names what happens.

`WorkerProcess(..., worker=(this file,))` starts it. All of `worker.main` is the product's;
only the function that runs the job is replaced.
"""

from __future__ import annotations

import atexit
import ctypes
import dataclasses
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

from unet_segmenter.engine.errors import Cancelled, ModelError
from unet_segmenter.engine.job import ClassArea, JobResult, JobSpec
from unet_segmenter.engine.progress import Progress
from unet_segmenter.runners import worker
from unet_segmenter.runners.job_kinds import JOB_KINDS, PlainJob


def _result(job: JobSpec) -> JobResult:
    area = ClassArea(1, "vegetation", "#228b22", 5, None)
    return JobResult(
        {"OUTPUT": job.output}, 4, 0, 9, 1, 0.1, (area,), "openvino", "f32", job.model, "1", "00"
    )


def succeed(job: JobSpec, progress: Progress) -> JobResult:
    """Four blocks, with prints of every kind between the messages."""
    for done in range(1, 5):
        print("a print")
        os.system("echo a print of a child")
        ctypes.CDLL(None).puts(b"a native print")
        ctypes.CDLL(None).fflush(None)
        progress.advance(done, 4, "Predicting")
    progress.log("warning", "The ground sampling distance lies outside.")
    return _result(job)


def many(job: JobSpec, progress: Progress) -> JobResult:
    """A thousand blocks in a moment."""
    for done in range(1, 1001):
        progress.advance(done, 1000)
    return _result(job)


def polite(job: JobSpec, progress: Progress) -> JobResult:
    """Runs until it is cancelled; tells its process id through the output path."""
    Path(job.output).write_text(str(os.getpid()))
    while not progress.cancelled():
        progress.advance(0, 100)
        time.sleep(0.05)
    raise Cancelled("Stopped between two blocks.")


def stuck(job: JobSpec, progress: Progress) -> JobResult:
    """A native call that holds the process, and a child that outlives it."""
    child = subprocess.Popen(["sleep", "60"])
    Path(job.output).write_text(f"{os.getpid()} {child.pid}")
    progress.advance(0, 100)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.PyDLL(None).sleep(60)  # holds the GIL, as some native calls do
    return _result(job)


def busy(job: JobSpec, progress: Progress) -> JobResult:
    """A native call that lets other threads run but does not look at a cancel."""
    Path(job.output).write_text(str(os.getpid()))
    progress.advance(0, 100)
    time.sleep(60)
    return _result(job)


def refuse(job: JobSpec, progress: Progress) -> JobResult:
    """One of the engine's own errors."""
    raise ModelError("There is no model 'x'; the library has: aeroscapes.")


def stumble(job: JobSpec, progress: Progress) -> JobResult:
    """A bug."""
    raise ZeroDivisionError("a bug")


def lack(job: JobSpec, progress: Progress) -> JobResult:
    """A package that is not there."""
    raise MemoryError


def killed(job: JobSpec, progress: Progress) -> JobResult:
    """What the kernel does when memory runs out."""
    print("allocating", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    return _result(job)


def crashed(job: JobSpec, progress: Progress) -> JobResult:
    """What a native library's fault does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return _result(job)


def quits(job: JobSpec, progress: Progress) -> JobResult:
    """A library that ends the process."""
    print("licence server not found", file=sys.stderr, flush=True)
    os._exit(3)


def lingers(job: JobSpec, progress: Progress) -> JobResult:
    """A result, while a thread and a clean-up would keep the process alive."""
    atexit.register(time.sleep, 60)
    threading.Thread(target=time.sleep, args=(60,)).start()
    return _result(job)


def environment(job: JobSpec, progress: Progress) -> JobResult:
    """Tells the environment that it got."""
    for name, value in os.environ.items():
        progress.log("info", f"{name}={value}")
    progress.log("info", f"mode={JOB_FILE_MODE:o}")
    return _result(job)


def train(job: PlainJob, progress: Progress) -> PlainJob:
    """A training that needs a while to end its step and to keep what it has."""
    Path(job.values["note"]).write_text(str(os.getpid()))
    while not progress.cancelled():
        progress.advance(0, 100)
        time.sleep(0.05)
    time.sleep(job.values["seconds"])
    Path(job.values["note"]).write_text("kept")
    raise Cancelled("Stopped after 3 epochs; the best weights are in runs/x.")


BEHAVIOURS = {
    f.__name__: f
    for f in (
        succeed,
        many,
        polite,
        stuck,
        busy,
        refuse,
        stumble,
        lack,
        killed,
        crashed,
        quits,
        lingers,
        environment,
    )
}

if __name__ == "__main__":
    # The worker removes the file as soon as it has read it.
    job_files = [path for path in map(Path, sys.argv[1:]) if path.is_file()]
    JOB_FILE_MODE = stat.S_IMODE(job_files[0].stat().st_mode) if job_files else 0
    # The class of a real training job needs packages; how it is stopped does not.
    JOB_KINDS["train"] = dataclasses.replace(
        JOB_KINDS["train"], spec="runners.job_kinds:PlainJob", modules=()
    )
    runs = {"segment": lambda job, progress: BEHAVIOURS[job.model](job, progress), "train": train}
    worker.run_and_exit(sys.argv[1:], runs=runs)
