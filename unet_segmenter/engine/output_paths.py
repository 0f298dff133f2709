# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a job's outputs leave its inputs, and each other, alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import JobError


def check_paths(
    outputs: Mapping[str, str], inputs: Sequence[str | None], what: str = "an input"
) -> None:
    """Refuse outputs that would replace each other, a side file of one, or an input.

    Parameters
    ----------
    outputs : dict
        Path by output name.
    inputs : sequence of str or None
        Paths; None for those not given.
    what : str
        What the error calls an input.

    Raises
    ------
    JobError
        With the path that is in the way.
    """
    # Resolved: a link or ".." on the way must not let a run replace its own input.
    resolved = {path: Path(path).resolve() for path in outputs.values()}
    if len(set(resolved.values())) != len(outputs):
        raise JobError("Two outputs have the same path; give each its own.")
    beside = {p.with_suffix(".qml") for p in resolved.values() if p.suffix != ".qml"}
    beside |= {p.with_name(f"{p.name}.aux.xml") for p in resolved.values()}
    for path, place in resolved.items():
        if place in beside:
            raise JobError(f"{path} is where another output keeps its style or statistics; rename.")
    for given in filter(None, inputs):
        if Path(given).resolve() in resolved.values():
            raise JobError(f"The output {given} is {what}; choose another name.")


def absolute(path: str) -> str:
    """An absolute path for a local file; other sources (/vsis3/, URLs) as they are."""
    return str(Path(path).absolute()) if Path(path).exists() or "/" not in path else path
