# SPDX-License-Identifier: GPL-2.0-or-later
"""`preparedataset`: from labelled images to a data set that can be trained on."""

from __future__ import annotations

import argparse

from ..engine import training_flags
from ..runners import in_process
from .terminal import print_json, terminal_progress

HELP = "labelled images -> a data set to train on, with a split that does not leak"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    training_flags.add_prepare(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Prepare and tell what was made."""
    values = training_flags.prepare_values(options)
    with terminal_progress(quiet=options.json or options.quiet, unit="sample") as progress:
        result = in_process.run_values("prepare", values, progress)
    if options.json:
        print_json(result)
        return 0
    sides = ", ".join(f"{count} {side}" for side, count in result["sides"].items() if count)
    print(f"OUTPUT: {result['folder']}")
    print(f"  {result['samples']} samples: {sides}; split by {result['split']}")
    print(f"  classes: {', '.join(result['classes'])}")
    print(f"  {result['labels']}")
    print(f"REPORT: {result['report']}")
    return 0
