# SPDX-License-Identifier: GPL-2.0-or-later
"""From the name of a format to its reader: the table that spec, command line and help go by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from unet_segmenter.engine.progress import Progress

from ..errors import DatasetError
from ..prepare_spec import PrepareSpec
from . import Reader
from .aeroscapes import AeroScapes


def open_reader(spec: PrepareSpec, progress: Progress) -> Reader:
    """Return the reader that the spec names.

    Raises
    ------
    DatasetError
        If the source is absent, or does not look as its format says.
    """
    if not spec.source.startswith("/vsi") and not Path(spec.source).exists():
        raise DatasetError(f"{spec.source}: no such file or folder")
    return OPENERS[spec.reader](spec, progress)


def _aeroscapes(spec: PrepareSpec, _progress: Progress) -> Reader:
    return AeroScapes(Path(spec.source))


OPENERS: dict[str, Callable[[PrepareSpec, Progress], Reader]] = {
    "aeroscapes": _aeroscapes,
}
"""Readers by name; the names are `training.prepare_spec.READERS`."""
