# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs as plain JSON values, both ways: one reading of them for all kinds of job."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

from .errors import JobError

Job = TypeVar("Job")


def to_json_values(job: Any) -> dict[str, Any]:
    """Return a job, a dataclass, as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(job)))  # type: ignore[no-any-return]


def from_json_values(kind: type[Job], content: dict[str, Any]) -> Job:
    """Make a job of what `to_json_values` gave; lists become tuples.

    Raises
    ------
    JobError
        If a field is unknown, missing, or of the wrong kind.
    """
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(content) - known)
    if unknown:
        raise JobError(f"The job has unknown fields: {', '.join(unknown)}.")
    content = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    try:
        return kind(**content)
    except TypeError as error:
        raise JobError(f"The job is incomplete or malformed: {error}.") from error
