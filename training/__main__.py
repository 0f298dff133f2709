# SPDX-License-Identifier: GPL-2.0-or-later
"""python -m training COMMAND; the commands are listed in `training.commands`."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from .commands import COMMANDS


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    from unet_segmenter.engine.errors import SegmenterError
    from unet_segmenter.engine.native_data import forget_other_installations

    forget_other_installations()
    options = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    try:
        options.run(options)
    except SegmenterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Prepare data sets; train, evaluate and export models.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = import_module(f".commands.{module}", __package__)
        added = commands.add_parser(name, help=command.HELP, description=command.HELP)
        command.add_arguments(added)
        added.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
