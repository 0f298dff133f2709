# SPDX-License-Identifier: GPL-2.0-or-later
"""The worker's own side: what it writes on its pipe, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from unet_segmenter.engine.job import JobResult, JobSpec
from unet_segmenter.runners.protocol import Advance, encode_job
from unet_segmenter.runners.worker import MessageWriter, WorkerProgress

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPTED = Path(__file__).with_name("scripted_worker.py")


@pytest.fixture
def start(tmp_path):
    """Start a worker whose engine behaves as named; it is killed at the end."""
    started = []

    def start_worker(behaviour, arguments=None):
        job_file = tmp_path / "job.json"
        job = JobSpec("in.tif", str(tmp_path / "out"), behaviour)
        job_file.write_text(encode_job("segment", job))
        process = subprocess.Popen(
            [sys.executable, str(SCRIPTED), *([str(job_file)] if arguments is None else arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        started.append(process)
        return process

    yield start_worker
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                stream.close()


def test_standard_output_holds_messages_alone_and_prints_go_to_standard_error(start):
    process = start("succeed")
    messages = [json.loads(line) for line in process.stdout]
    errors = process.stderr.read().decode()
    assert process.wait(10) == 0
    assert messages[0]["type"] == "hello"
    assert [m["type"] for m in messages][-2:] == ["log", "result"]
    assert messages[0]["protocol"] == 1
    assert messages[0]["python"] == sys.version.split()[0]
    result = JobResult.from_json(messages[-1]["result"])
    assert result.areas[0].pixels == 5
    assert errors.count("a print of a child") == 4
    assert errors.count("a native print") == 4


def test_progress_is_throttled_and_its_last_message_always_sent(start):
    process = start("many")
    advances = [m for m in map(json.loads, process.stdout) if m["type"] == "progress"]
    assert advances[-1] == {"type": "progress", "done": 1000, "total": 1000, "message": None}
    assert 1 <= len(advances) < 30


def test_a_new_stage_is_told_at_once_and_the_kept_progress_on_flush():
    read, write = os.pipe()
    now = [0.0]
    progress = WorkerProgress(
        MessageWriter(write, threading.Event()), threading.Event(), clock=lambda: now[0]
    )
    progress.advance(1, 9, "Reading")
    progress.advance(2, 9, "Reading")  # kept
    progress.advance(3, 9, "Writing")
    progress.advance(4, 9, "Writing")  # kept
    now[0] = 0.2
    progress.advance(5, 9, "Writing")
    progress.advance(6, 9, "Writing")
    progress.flush()
    progress.flush()
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert [json.loads(line)["done"] for line in pipe] == [1, 3, 5, 6]


def test_a_broken_pipe_cancels():
    read, write = os.pipe()
    os.close(read)
    cancel = threading.Event()
    MessageWriter(write, cancel).send(Advance(1, 2))
    os.close(write)
    assert cancel.is_set()


@pytest.mark.parametrize("ending", ["line", "end of file", "broken pipe"])
def test_a_run_between_blocks_stops_on(start, tmp_path, ending):
    process = start("polite")
    wait_for(tmp_path / "out")
    started = time.monotonic()
    if ending == "line":
        process.stdin.write(b"can")
        process.stdin.flush()
        time.sleep(0.05)
        process.stdin.write(b"cel\n")
        process.stdin.flush()
    elif ending == "end of file":
        process.stdin.close()
    else:
        process.stdout.close()
    assert process.wait(10) == 130
    assert time.monotonic() - started < 1
    if ending != "broken pipe":
        last = json.loads(process.stdout.read().splitlines()[-1])
        assert last == {
            "type": "error",
            "code": 130,
            "kind": "Cancelled",
            "message": "Stopped between two blocks.",
        }


def test_a_run_that_does_not_look_at_a_cancel_is_ended_within_two_seconds(start, tmp_path):
    process = start("busy")
    wait_for(tmp_path / "out")
    started = time.monotonic()
    process.stdin.close()
    assert process.wait(10) == 130
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("behaviour", "code", "kind", "words"),
    [
        ("refuse", 4, "ModelError", "There is no model 'x'"),
        ("stumble", 1, "SegmenterError", "ZeroDivisionError: a bug"),
        ("lack", 1, "SegmenterError", "more memory than there is"),
    ],
)
def test_an_error_is_told_with_its_kind_and_is_the_exit_code(start, behaviour, code, kind, words):
    process = start(behaviour)
    messages = [json.loads(line) for line in process.stdout]
    assert process.wait(10) == code
    assert (messages[-1]["type"], messages[-1]["code"], messages[-1]["kind"]) == (
        "error",
        code,
        kind,
    )
    assert words in messages[-1]["message"]
    logs = [m["message"] for m in messages if m["type"] == "log"]
    assert any("Traceback" in text for text in logs) == (behaviour == "stumble")


@pytest.mark.parametrize("arguments", [[], ["/no/such/job.json"], ["a", "b"]])
def test_a_wrong_command_line_is_a_job_error(start, arguments):
    process = start("succeed", arguments)
    messages = [json.loads(line) for line in process.stdout]
    assert process.wait(10) == 2
    assert messages[-1]["kind"] == "JobError"


def test_the_module_is_the_worker(tmp_path):
    job_file = tmp_path / "job.json"
    job_file.write_text("{}")
    process = subprocess.run(
        [sys.executable, "-m", "unet_segmenter.runners.worker", str(job_file)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    messages = [json.loads(line) for line in process.stdout.splitlines()]
    assert [m["type"] for m in messages] == ["hello", "error"]
    assert process.returncode == 2


@pytest.mark.parametrize(
    ("name", "stays"), [("mine.json", True), ("unet-segmenter-job-x.json", False)]
)
def test_a_temporary_job_file_is_removed_once_read_and_no_other_is(start, tmp_path, name, stays):
    job_file = tmp_path / name
    job_file.write_text("{}")
    process = start("unused", [str(job_file)])
    process.communicate(timeout=30)
    assert process.returncode == 2
    assert job_file.exists() == stays


def wait_for(path, seconds=10):
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)
    return path.read_text()
