# SPDX-License-Identifier: GPL-2.0-or-later
"""`checkenvironment`: is all installed, and how to mend what is not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..runners.environment import verify_environment
from ..runners.reference_solver import reference_message
from ..runners.training_environment import verify_training
from .terminal import print_json

HELP = "is all installed?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""


def run(options: argparse.Namespace) -> int:
    """Tell of this Python whether it can map, and whether it can train."""
    report = verify_environment(Path(sys.executable))
    training = verify_training(Path(sys.executable))
    optional = reference_message(Path(sys.executable))
    if options.json:
        print_json(
            {
                "ready": report.ready,
                "python": sys.executable,
                "message": report.message,
                "training": training.ready,
                "training_message": training.message,
                "optional_message": optional,
            }
        )
    else:
        print(report.message)
        print(f"Training: {training.message}")
        print(f"Optional: {optional}")
    return 0 if report.ready else 5
