# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the files that a run reads are still those that it began with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .errors import InputError

# Statistics and overviews, which QGIS may write beside a raster that it shows.
_WITHOUT_PIXELS = (".aux.xml", ".ovr")


def source_state(files: Iterable[Path]) -> dict[str, list[int]]:
    """Size, time of change and inode of the files that a run reads, for its signature."""
    return {str(path): _state(path) for path in files if path.exists()}


def check_unchanged(states: Mapping[str, Sequence[int]]) -> None:
    """Refuse to publish what was made of files that changed meanwhile.

    Parameters
    ----------
    states : mapping
        What `source_state` gave when the run began.

    Raises
    ------
    InputError
        If one was changed, replaced or removed.
    """
    for name, state in states.items():
        path = Path(name)
        if not name.endswith(_WITHOUT_PIXELS) and (not path.exists() or _state(path) != [*state]):
            raise InputError(
                f"{name} was changed while it was read, so the result would mix its old and its "
                "new content; nothing was written. Run the same command again: it starts anew."
            )


def _state(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ino]
