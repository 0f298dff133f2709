# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the bundled model anew."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import aeroscapes_export, aeroscapes_train

HELP = "Train and export: all that made the bundled model."


def add_arguments(parser: ArgumentParser) -> None:
    """Add data, recipe and output."""
    aeroscapes_train.add_arguments(parser)
    aeroscapes_export.add_output(parser)


def run(options: Namespace) -> None:
    """Train, then export."""
    aeroscapes_train.run(options)
    aeroscapes_export.run(options)
