# SPDX-License-Identifier: GPL-2.0-or-later
"""The parent's side: messages, errors, cancels, and nothing that outlives a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest

from unet_segmenter.engine.errors import (
    Cancelled,
    JobError,
    ModelError,
    RuntimeMissingError,
    SegmenterError,
)
from unet_segmenter.engine.job import JobResult, JobSpec
from unet_segmenter.runners.job_kinds import JOB_KINDS, PlainJob
from unet_segmenter.runners.protocol import encode_job
from unet_segmenter.runners.worker_process import WorkerProcess, describe_exit

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPTED = Path(__file__).with_name("scripted_worker.py")


class Recorder:
    """A `Progress` that keeps everything, in which threads, and cancels when told."""

    def __init__(self, cancel_when=lambda: False):
        self.advances, self.logs, self.threads, self.polls = [], [], set(), []
        self._cancel_when = cancel_when
        self.cancelled_at = None

    def advance(self, done, total, message=None):
        self.threads.add(threading.get_ident())
        self.advances.append((done, total, message))

    def log(self, level, message):
        self.threads.add(threading.get_ident())
        self.logs.append((level, message))

    def cancelled(self):
        self.polls.append(time.monotonic())
        if self.cancelled_at is None and self._cancel_when():
            self.cancelled_at = time.monotonic()
        return self.cancelled_at is not None


@pytest.fixture(autouse=True)
def private_temporary_folder(tmp_path, monkeypatch):
    """Where job files go, so that a test sees what is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def scripted(behaviour, tmp_path, **arguments):
    job = JobSpec("in.tif", str(tmp_path / "out"), behaviour)
    return WorkerProcess(sys.executable, job, worker=(str(SCRIPTED),), **arguments)


def is_alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_text(path):
    return path.exists() and bool(path.read_text())


def test_a_run_gives_the_result_and_tells_its_progress_in_the_calling_thread(tmp_path):
    recorder = Recorder()
    worker = scripted("succeed", tmp_path)
    result = worker.run(recorder)
    assert isinstance(result, JobResult)
    assert result.outputs == {"OUTPUT": str(tmp_path / "out")}
    assert recorder.advances[-1] == (4, 4, "Predicting")
    assert recorder.logs == [("warning", "The ground sampling distance lies outside.")]
    assert recorder.threads == {threading.get_ident()}
    assert worker.hello.protocol == 1
    assert worker.hello.python == sys.version.split()[0]


def test_the_user_is_asked_ten_times_a_second_whether_to_stop(tmp_path):
    recorder = Recorder()
    started = time.monotonic()
    recorder._cancel_when = lambda: time.monotonic() - started > 2
    with pytest.raises(Cancelled):
        scripted("polite", tmp_path).run(recorder)
    gaps = [b - a for a, b in zip(recorder.polls, recorder.polls[1:])]
    assert len(recorder.polls) > 20
    assert sorted(gaps)[int(0.95 * len(gaps))] < 0.11


@pytest.mark.parametrize("behaviour", ["polite", "busy", "stuck"])
def test_a_cancel_ends_the_worker_and_its_children_within_two_seconds(tmp_path, behaviour):
    out = tmp_path / "out"
    recorder = Recorder(cancel_when=lambda: has_text(out))
    with pytest.raises(Cancelled):
        scripted(behaviour, tmp_path).run(recorder)
    assert time.monotonic() - recorder.cancelled_at < 2
    pids = [int(text) for text in out.read_text().split()]
    assert len(pids) == (2 if behaviour == "stuck" else 1)
    wait_until(lambda: not any(map(is_alive, pids)), 1)


def test_a_cancel_while_the_worker_still_starts_is_as_quick(tmp_path):
    script = tmp_path / "slow_start.py"
    script.write_text("import time; time.sleep(60)")
    started = time.monotonic()
    recorder = Recorder(cancel_when=lambda: time.monotonic() - started > 0.2)
    job = JobSpec("in.tif", "out.tif", "m")
    with pytest.raises(Cancelled):
        WorkerProcess(sys.executable, job, worker=(str(script),)).run(recorder)
    assert time.monotonic() - recorder.cancelled_at < 2


def test_a_cancel_before_the_start_starts_nothing(tmp_path):
    with pytest.raises(Cancelled):
        scripted("polite", tmp_path).run(Recorder(cancel_when=lambda: True))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        ("refuse", ModelError, r"^There is no model 'x'; the library has: aeroscapes\.$"),
        ("stumble", SegmenterError, "ZeroDivisionError: a bug"),
        ("killed", SegmenterError, r"killed \(SIGKILL\): out of memory\?.*allocating"),
        ("crashed", SegmenterError, r"killed \(SIGSEGV\): a native library crashed"),
        ("quits", SegmenterError, "exit code 3 and no result.*licence server not found"),
    ],
)
def test_a_failure_is_raised_as_the_matching_error(tmp_path, behaviour, kind, words):
    with pytest.raises(SegmenterError, match=words) as caught:
        scripted(behaviour, tmp_path).run(Recorder())
    assert type(caught.value) is kind


def test_a_traceback_of_a_bug_reaches_the_log(tmp_path):
    recorder = Recorder()
    with pytest.raises(SegmenterError):
        scripted("stumble", tmp_path).run(recorder)
    assert [level for level, text in recorder.logs if "Traceback" in text] == ["error"]


def test_what_would_keep_the_worker_alive_after_its_result_does_not(tmp_path):
    started = time.monotonic()
    assert scripted("lingers", tmp_path).run(Recorder()).blocks == 4
    assert time.monotonic() - started < 2


def test_a_worker_that_hangs_after_its_result_has_succeeded(tmp_path):
    script = tmp_path / "hangs.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys, time
            sys.path.insert(0, {str(SCRIPTED.parent)!r})
            from scripted_worker import succeed
            from unet_segmenter.runners import worker
            worker.main(sys.argv[1:], runs={{"segment": succeed}})
            time.sleep(60)
            """
        )
    )
    job = JobSpec("in.tif", "out.tif", "m")
    started = time.monotonic()
    result = WorkerProcess(sys.executable, job, worker=(str(script),)).run(Recorder())
    assert result.blocks == 4
    assert time.monotonic() - started < 6


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit('no module named numpy')", "could not start.*no module named numpy"),
        (
            """print('{"type":"hello","protocol":2,"plugin":"9","python":"3","libraries":{}}',
                     flush=True); import time; time.sleep(60)""",
            "protocol 2, this plugin 1.*environment up again",
        ),
    ],
)
def test_a_worker_of_another_making_means_that_the_environment_is_wrong(tmp_path, code, words):
    script = tmp_path / "other.py"
    script.write_text(code)
    job = JobSpec("in.tif", "out.tif", "m")
    with pytest.raises(RuntimeMissingError, match=words):
        WorkerProcess(sys.executable, job, worker=(str(script),)).run(Recorder())


@pytest.mark.parametrize("present", [False, True])
def test_an_interpreter_that_cannot_be_started_is_told_with_the_remedy(tmp_path, present):
    python = tmp_path / "python"
    if present:
        python.write_text("no program")
    job = JobSpec("in.tif", "out.tif", "m")
    with pytest.raises(RuntimeMissingError, match="Set up the environment"):
        WorkerProcess(python, job).run(Recorder())


def test_the_worker_gets_a_scrubbed_environment_and_a_private_job_file(tmp_path):
    recorder = Recorder()
    environ = {**os.environ, "PYTHONHOME": "/nowhere", "PROJ_LIB": "/nowhere", "PYTHONPATH": "/x"}
    worker = scripted("environment", tmp_path, environ=environ, variables={"EXTRA": "1"})
    worker.run(recorder)
    told = {m.split("=", 1)[0]: m.split("=", 1)[1] for _, m in recorder.logs if "=" in m}
    assert told["PYTHONPATH"] == str(REPOSITORY)
    assert told["PYTHONNOUSERSITE"] == "1"
    assert told["EXTRA"] == "1"
    assert not {"PYTHONHOME", "PROJ_LIB"} & set(told)
    assert told["mode"] == "600"


def test_a_failing_listener_ends_the_worker_too(tmp_path):
    class Broken(Recorder):
        def advance(self, done, total, message=None):
            raise ValueError("a bug of the listener")

    with pytest.raises(ValueError, match="a bug of the listener"):
        scripted("stuck", tmp_path).run(Broken())
    pids = [int(text) for text in (tmp_path / "out").read_text().split()]
    wait_until(lambda: not any(map(is_alive, pids)), 1)


def test_a_job_error_of_the_worker_is_a_job_error_here(tmp_path):
    class Malformed:
        def to_json(self):
            return {"nonsense": 1}

    with pytest.raises(JobError, match="unknown key 'nonsense'"):
        WorkerProcess(sys.executable, Malformed()).run(Recorder())


@pytest.mark.parametrize("behaviour", ["polite", "busy"])
def test_killing_the_parent_leaves_no_worker_behind(tmp_path, behaviour):
    out = tmp_path / "out"
    parent = tmp_path / "parent.py"
    parent.write_text(
        textwrap.dedent(
            f"""
            from unet_segmenter.engine.job import JobSpec
            from unet_segmenter.engine.progress import SilentProgress
            from unet_segmenter.runners.worker_process import WorkerProcess
            import sys
            job = JobSpec("in.tif", {str(out)!r}, {behaviour!r})
            WorkerProcess(sys.executable, job, worker=({str(SCRIPTED)!r},)).run(SilentProgress())
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, str(parent)], env=environment)
    wait_until(lambda: has_text(out))
    worker = int(out.read_text())
    assert is_alive(worker)
    process.send_signal(signal.SIGKILL)
    process.wait()
    started = time.monotonic()
    wait_until(lambda: not is_alive(worker))
    assert time.monotonic() - started < 2


def test_an_exit_is_told_in_words():
    assert describe_exit(-signal.SIGKILL).startswith("was killed (SIGKILL): out of memory?")
    assert describe_exit(-200) == "was killed (signal 200)"
    assert describe_exit(7) == "ended with exit code 7 and no result"


def test_a_training_may_end_its_step_and_says_where_its_best_weights_are(tmp_path):
    note = tmp_path / "note"
    job = PlainJob({"note": str(note), "seconds": 3})
    worker = WorkerProcess(sys.executable, job, "train", worker=(str(SCRIPTED),))
    recorder = Recorder(cancel_when=lambda: has_text(note))
    with pytest.raises(Cancelled, match="the best weights are in runs/x"):
        worker.run(recorder)
    assert time.monotonic() - recorder.cancelled_at > 3
    assert note.read_text() == "kept"


def test_a_training_whose_parent_is_gone_stops_and_keeps_what_it_has(tmp_path):
    note, job_file = tmp_path / "note", tmp_path / "job.json"
    job_file.write_text(encode_job("train", PlainJob({"note": str(note), "seconds": 0.5})))
    process = subprocess.Popen(
        [sys.executable, str(SCRIPTED), str(job_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        wait_until(lambda: has_text(note))
        process.stdin.close()
        assert process.wait(5) == Cancelled.exit_code
    finally:
        process.kill()
        process.wait()
    assert note.read_text() == "kept"


@pytest.mark.parametrize(
    ("kind", "words"),
    [("train", "smaller BATCH or SIZE"), ("prepare", "smaller CHIP_SIZE"), ("segment", "BLOCK_")],
)
def test_a_kill_for_memory_is_told_with_what_the_kind_of_job_can_do(kind, words):
    assert words in describe_exit(-signal.SIGKILL, JOB_KINDS[kind])
