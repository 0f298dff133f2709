# SPDX-License-Identifier: GPL-2.0-or-later
"""python -m training COMMAND; the commands are listed in `training.commands`."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from unet_segmenter.engine.training_choices import READERS

from .commands import COMMANDS


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    from unet_segmenter.engine.errors import SegmenterError
    from unet_segmenter.engine.native_data import forget_other_installations

    forget_other_installations()
    options = _parser().parse_args(in_today_s_form(sys.argv[1:] if argv is None else argv))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    try:
        options.run(options)
    except SegmenterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def in_today_s_form(argv: list[str]) -> list[str]:
    """Bring `prepare SOURCE OUTPUT --reader R` and `train DATASET --output MODEL` to today's form.

    Today both have the positions of `preparedataset` and `trainmodel`.
    """
    if argv[:1] == ["prepare"] and "--reader" not in argv and len(argv) > 1:
        known = {*READERS, *READERS.values()}
        inserted = [] if argv[1] in known or argv[1].startswith("-") else ["folders"]
        return [argv[0], *inserted, *argv[1:]]
    flag = {"prepare": "--reader", "train": "--output"}.get(argv[0] if argv else "")
    if flag not in argv[:-1]:
        return list(argv)
    place = argv.index(flag)
    value, rest = argv[place + 1], [*argv[:place], *argv[place + 2 :]]
    rest.insert(1 if flag == "--reader" else 2, value)
    return rest


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
