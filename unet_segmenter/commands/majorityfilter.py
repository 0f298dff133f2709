# SPDX-License-Identifier: GPL-2.0-or-later
"""`majorityfilter`: a class raster without specks."""

from __future__ import annotations

import argparse
from typing import Any

from ..engine.majority_job import AREA_UNITS, DEFAULT_RADIUS, MAX_RADIUS, METHODS
from ..runners import in_process
from .terminal import absolute, print_json, terminal_progress

HELP = "a class raster smoothed by the vote of neighbours, small areas merged"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("input", help="class raster")
    add("output", help="class raster to write (.tif)")
    add(
        "--radius",
        type=int,
        default=DEFAULT_RADIUS,
        metavar="PX",
        help=f"radius of the disk that votes, 0 to {MAX_RADIUS} px (default: %(default)s)",
    )
    add(
        "--min-area",
        type=float,
        default=0.0,
        metavar="AREA",
        help="merge smaller areas into what they border longest (default: none)",
    )
    add("--area-unit", choices=list(AREA_UNITS), default="px", help="of --min-area (default: px)")
    add(
        "--method",
        choices=list(METHODS),
        default="majority",
        help="; ".join(f"{name}: {text}" for name, text in METHODS.items()),
    )
    add("--band", type=int, default=1, help="band of the input (default: %(default)s)")
    add("--block-size", type=int, metavar="PX", help="smaller blocks need less memory")
    add("--no-resume", action="store_true", help="start anew instead of resuming an old run")
    add("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Smooth and tell what changed."""
    values: dict[str, Any] = {
        "input": absolute(options.input),
        "output": absolute(options.output),
        "radius": options.radius,
        "min_area": options.min_area,
        "area_unit": options.area_unit,
        "method": options.method,
        "band": options.band,
        "block_size": options.block_size,
        "resume": not options.no_resume,
    }
    with terminal_progress(quiet=options.json or options.quiet) as progress:
        result = in_process.run_values("majorityfilter", values, progress)
    if options.json:
        print_json(result)
        return 0
    print(f"OUTPUT: {result['outputs']['OUTPUT']}")
    print(f"changed: {result['changed_share']:.2%}")
    for area in result["areas"]:
        share = area["pixels"] / max(result["pixels"] - result["nodata_pixels"], 1)
        print(f"{area['name']} ({area['value']}): {share:.1%}")
    return 0
