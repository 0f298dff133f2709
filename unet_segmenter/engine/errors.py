# SPDX-License-Identifier: GPL-2.0-or-later
"""One tree of errors, each with the exit code that the command line and the worker return.

A message is written for the person who will read it: what happened, to which file or
parameter, and what to do about it.
"""

from __future__ import annotations


class SegmenterError(Exception):
    """Base of every failure that the user can understand and act on."""

    exit_code = 1


class JobError(SegmenterError):
    """A parameter is missing, out of range, or contradicts another."""

    exit_code = 2


class InputError(SegmenterError):
    """The input raster or the area of interest cannot be used."""

    exit_code = 3


class ModelError(SegmenterError):
    """The model is unknown, damaged, or does not fit the input."""

    exit_code = 4


class RuntimeMissingError(SegmenterError):
    """The engine's Python environment, or a package in it, is absent."""

    exit_code = 5


class OutputError(SegmenterError):
    """The result cannot be written: disk full, folder read-only, file in use."""

    exit_code = 6


class Cancelled(SegmenterError):  # noqa: N818 - the user's wish, not an error
    """The user stopped the run; its finished blocks wait for the same command."""

    exit_code = 130


ERROR_KINDS: dict[str, type[SegmenterError]] = {
    kind.__name__: kind
    for kind in (
        SegmenterError,
        JobError,
        InputError,
        ModelError,
        RuntimeMissingError,
        OutputError,
        Cancelled,
    )
}
