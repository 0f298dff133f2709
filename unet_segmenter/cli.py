# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: the names of the Processing algorithms, without QGIS."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType

from .commands import (
    checkenvironment,
    evaluate,
    fuse,
    landcover,
    majorityfilter,
    modelinfo,
    preparedataset,
    refine,
    segment,
    setupenvironment,
    trainmodel,
    vectorize,
)
from .commands.terminal import print_json
from .engine.errors import Cancelled, SegmenterError
from .engine.native_data import forget_other_installations
from .version import plugin_version

# Name, module, and other names that it goes by.
COMMANDS: tuple[tuple[str, ModuleType, tuple[str, ...]], ...] = (
    ("segment", segment, ()),
    ("landcover", landcover, ()),
    ("fuse", fuse, ()),
    ("refine", refine, ()),
    ("evaluate", evaluate, ()),
    ("majorityfilter", majorityfilter, ()),
    ("vectorize", vectorize, ()),
    ("preparedataset", preparedataset, ()),
    ("trainmodel", trainmodel, ()),
    ("modelinfo", modelinfo, ("models",)),
    ("checkenvironment", checkenvironment, ("check",)),
    ("setupenvironment", setupenvironment, ()),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns
    -------
    int
        0, or the `exit_code` of the error: 2 parameter, 3 input, 4 model, 5 environment,
        6 output, 130 cancelled, 1 anything else.
    """
    forget_other_installations()
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except SegmenterError as error:
        _tell_error(error, as_json=options.json)
        if isinstance(error, Cancelled):
            # A native call may still be running in a thread that would be waited for.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(error.exit_code)
        return error.exit_code
    except KeyboardInterrupt:
        return Cancelled.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: told in full, and not hidden
        traceback.print_exc()
        _tell_error(SegmenterError(f"Unexpected error: {error}"), as_json=options.json)
        return SegmenterError.exit_code


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    parser = argparse.ArgumentParser(
        prog="python -m unet_segmenter",
        description="Turns aerial rasters into land-cover maps with U-Nets, and trains them.",
    )
    parser.add_argument("--version", action="version", version=plugin_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module, aliases in COMMANDS:
        command = commands.add_parser(
            name, aliases=list(aliases), parents=[common], help=module.HELP, description=None
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _tell_error(error: SegmenterError, *, as_json: bool) -> None:
    if as_json:
        content = {"kind": type(error).__name__, "code": error.exit_code, "message": str(error)}
        print_json({"error": content})
    print(f"error: {error}", file=sys.stderr)
