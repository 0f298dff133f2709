# SPDX-License-Identifier: GPL-2.0-or-later
"""What a worker process and its parent say to each other: JSON objects, one a line.

The parent names a job file on the worker's command line. The worker answers with messages:
`Hello` first, then `Advance` and `Log` as they come, and one `Result` or `Failure` at the end.
A line `cancel` on the worker's standard input, or its end, stops the worker.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Optional, Union, get_args, get_type_hints

from ..engine.errors import JobError
from ..engine.progress import Level
from .job_kinds import JOB_KINDS, JsonJob

PROTOCOL_VERSION = 1
CANCEL_LINE = b"cancel\n"
MAX_LINE = 1 << 20  # bytes; a result is a few thousand
_SHOWN_OF_LONG_LINE = 200


@dataclass(frozen=True)
class Hello:
    """The worker's first words: what it is made of."""

    protocol: int
    plugin: str
    python: str
    libraries: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Advance:
    """`done` of `total` blocks are finished."""

    done: int
    total: int
    message: Optional[str] = None


@dataclass(frozen=True)
class Log:
    """One sentence for the user."""

    level: Level
    message: str


@dataclass(frozen=True)
class Result:
    """The run ended well; `result` is what the job's result class reads."""

    result: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """The run failed; `kind` names a class of `engine.errors`."""

    code: int
    kind: str
    message: str


Message = Union[Hello, Advance, Log, Result, Failure]

_TYPES: dict[str, type[Message]] = {
    "hello": Hello,
    "progress": Advance,
    "log": Log,
    "result": Result,
    "error": Failure,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}


def encode(message: Message) -> bytes:
    """The message as one line of JSON, with its end of line.

    JSON escapes line breaks and whatever is not ASCII, so the line arrives in one piece
    whatever the encoding of the pipe.
    """
    content = {"type": _NAMES[type(message)], **dataclasses.asdict(message)}
    return json.dumps(content).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """The message in a line; a line that is none (a library's print) becomes a `Log`."""
    try:
        content = json.loads(line)
        cls = _TYPES[content.pop("type")]
        return _checked(cls(**content))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Log("info", line.decode("utf-8", "replace").strip())


def _checked(message: Message) -> Message:
    """Return the message; raise `TypeError` where a field is of the wrong kind."""
    hints = get_type_hints(type(message))
    for name, hint in hints.items():
        allowed = get_args(hint) or (hint,)
        value = getattr(message, name)
        if name in ("libraries", "result"):
            fits = isinstance(value, dict)
        elif name == "level":
            fits = value in allowed
        else:
            fits = isinstance(value, allowed) and not isinstance(value, bool)
        if not fits:
            raise TypeError(f"{name} is {value!r}")
    return message


class MessageParser:
    """Turns chunks of bytes, cut anywhere, into messages.

    Blank lines are skipped. A line longer than `max_line` bytes is dropped up to its end,
    with a warning that shows its beginning, so that a flood cannot fill the memory.
    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._rest = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[Message]:
        """Messages whose last byte is in this chunk."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        messages: list[Message] = []
        for line in lines:
            if self._skipping:
                self._skipping = False
            elif len(line) > self._max_line:
                messages.append(_too_long(line))
            elif line.strip():
                messages.append(decode(line))
        if self._skipping:
            self._rest = b""
        elif len(self._rest) > self._max_line:
            messages.append(_too_long(self._rest))
            self._skipping, self._rest = True, b""
        return messages

    def close(self) -> list[Message]:
        """Message in a last line that has no end."""
        return self.feed(b"\n") if self._rest else []


def _too_long(line: bytes) -> Log:
    beginning = line[:_SHOWN_OF_LONG_LINE].decode("utf-8", "replace")
    return Log("warning", f"The worker sent a line that is too long to read: {beginning}...")


JOB_FILE_PREFIX = "unet-segmenter-job-"
"""Of the temporary files that hold a job: the worker removes one as soon as it was read."""


def encode_job(kind: str, job: JsonJob) -> str:
    """Content of the job file that the worker's command line names."""
    content = {"protocol": PROTOCOL_VERSION, "kind": kind, "job": job.to_json()}
    return json.dumps(content, indent=1)


def decode_job(text: str) -> tuple[str, Any]:
    """Kind and job in a job file.

    Raises
    ------
    SegmenterError
        If the text is no job file of this protocol, the job is none, or the environment lacks
        what it needs.
    """
    try:
        content = json.loads(text)
        protocol, kind, job = content["protocol"], content["kind"], content["job"]
    except (ValueError, TypeError, KeyError) as error:
        raise JobError(f"The job file cannot be read: {error!r}.") from error
    if protocol != PROTOCOL_VERSION:
        raise JobError(
            f"The job file uses protocol {protocol}, this worker {PROTOCOL_VERSION}: they are of "
            "different versions of the plugin. Restart QGIS."
        )
    if kind not in JOB_KINDS:
        raise JobError(f"The kind of job {kind!r} is unknown; known are {', '.join(JOB_KINDS)}.")
    return kind, JOB_KINDS[kind].read_job(job)
