# SPDX-License-Identifier: GPL-2.0-or-later
"""`fuse`: rasters of probabilities into one class raster."""

from __future__ import annotations

import argparse
from typing import Any

from ..engine.fuse_job import DEFAULT_METHOD, METHODS
from ..engine.job import PROBABILITY_TYPES, ClassArea
from ..runners import in_process
from .terminal import absolute, entries, names, print_json, terminal_progress

HELP = "rasters of probabilities into one class raster"

# Outputs beside the class raster: flag and field of the job -> help.
OPTIONAL_OUTPUTS = {
    "probability": "raster of probabilities that sum to 1 to write, a band a class",
    "confidence": "raster to write: the lead of the best class over the second",
    "conflict": "raster to write: how many classes claim a pixel",
    "entropy": "raster to write: how undecided a pixel is, 0 to 1",
    "summary": "HTML report to write, with a quick look beside it",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("inputs", nargs="+", help="rasters of probabilities, a band a class")
    add("output", help="class raster to write (uint8; 0 = unknown, 255 = nodata)")
    add("--class-names", nargs="+", default=[], help="a name for each band, or value=name")
    add("--align", action="store_true", help="warp inputs on another grid, bilinearly")
    add("--nodata", nargs="+", type=float, default=[], metavar="VALUE",
        help="stored values that are no data, beside the files' own")  # fmt: skip
    add_fusion_arguments(parser)


def add_fusion_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of all commands that fuse."""
    add = parser.add_argument
    told = "; ".join(f"{name}: {text}" for name, text in METHODS.items())
    add("--method", choices=tuple(METHODS), default=DEFAULT_METHOD, help=told)
    add("--priority", nargs="+", default=[], help="class names, the first one first")
    add("--thresholds", nargs="+", default=[], help="one number for all classes, or name=number")
    add(
        "--unknown-threshold", type=float,
        help="below it no class is given (default: the thresholds of the classes; 0: all pixels "
        "get a class)",
    )  # fmt: skip
    for name, text in OPTIONAL_OUTPUTS.items():
        add(f"--{name}", help=text)
    add("--probability-type", choices=PROBABILITY_TYPES, default="uint8", help="its data type")
    add("--block-size", type=int, help="side in px of what a block writes")
    add("--no-resume", action="store_true", help="start anew instead of resuming an old run")
    add("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Fuse and tell what was made."""
    values = {
        "inputs": [absolute(path) for path in options.inputs],
        "class_names": entries(options.class_names),
        "align": options.align,
        "nodata": tuple(options.nodata),
        **fusion_values(options),
    }
    with terminal_progress(quiet=options.json or options.quiet) as progress:
        result = in_process.run_values("fuse", values, progress)
    if options.json:
        print_json(result)
    else:
        tell_fusion(result)
    return 0


def fusion_values(options: argparse.Namespace) -> dict[str, Any]:
    """Fields that all jobs which fuse have."""
    files = {name: getattr(options, name) for name in OPTIONAL_OUTPUTS}
    return {
        "output": absolute(options.output),
        "method": options.method,
        "priority": names(options.priority),
        "thresholds": entries(options.thresholds),
        "unknown_threshold": options.unknown_threshold,
        **{name: path and absolute(path) for name, path in files.items()},
        "probability_type": options.probability_type,
        "block_size": options.block_size,
        "resume": not options.no_resume,
    }


def tell_fusion(result: dict[str, Any]) -> None:
    """Print what a job that fuses made."""
    for name, path in result["outputs"].items():
        print(f"{name}: {path}")
    covered = max(result["pixels"] - result["nodata_pixels"], 1)
    for area in (ClassArea(**content) for content in result["areas"]):
        print(f"  {area.name}: {area.pixels / covered:.1%} {area.area_text}".rstrip())
    print(f"  claimed by several classes: {result['conflict_share']:.1%}")
    print(f"{result['seconds']:.1f} s")
