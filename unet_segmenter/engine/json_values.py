# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs and their results as plain JSON values: what dataclasses of either kind inherit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from .typed_json import from_json

if TYPE_CHECKING:  # QGIS's own Python may lack it
    from typing_extensions import Self

# Fields that change what is written beside the raster or how, not which pixels result.
_WITHOUT_INFLUENCE = ("summary", "resume")


class JsonValues:
    """A dataclass that can be written as JSON."""

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return, call-overload]


class JsonJob(JsonValues):
    """A dataclass that says what to do, and travels as JSON."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Make a job of what `to_json` gave; lists become tuples.

        Raises
        ------
        JobError
            If a field is unknown, missing, or of another type than its annotation.
        """
        return from_json(cls, content)

    def fingerprint(self) -> str:
        """Short hash of everything in the job that decides which blocks result."""
        content = {k: v for k, v in self.to_json().items() if k not in _WITHOUT_INFLUENCE}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
