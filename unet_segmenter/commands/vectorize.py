# SPDX-License-Identifier: GPL-2.0-or-later
"""`vectorize`: polygons of a class raster."""

from __future__ import annotations

import argparse
from typing import Any

from ..engine.vectorize_job import SPECK_PIXELS
from ..runners import in_process
from .terminal import absolute, names, print_json, terminal_progress

HELP = "polygons of a class raster, with class, area, perimeter and confidence"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("input", help="class raster")
    add("output", help="GeoPackage to write (.gpkg)")
    add("--confidence", metavar="RASTER", help="raster of the same grid to average by polygon")
    add(
        "--simplify",
        type=float,
        default=0.0,
        metavar="PX",
        help="leave out points; 1 makes lines of stairs, more makes them rougher (default: none)",
    )
    add(
        "--min-area",
        type=float,
        metavar="M2",
        help="leave out smaller polygons; px without a CRS (default: those of fewer than "
        f"{SPECK_PIXELS} px; 0: none)",
    )
    add("--classes", nargs="+", default=[], help="names or values of classes (default: all)")
    add("--band", type=int, default=1, help="band of the input (default: %(default)s)")
    add("--confidence-band", type=int, default=1, help="band of the confidence")
    add("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Trace and tell what was written."""
    values: dict[str, Any] = {
        "input": absolute(options.input),
        "output": absolute(options.output),
        "confidence": options.confidence and absolute(options.confidence),
        "simplify": options.simplify,
        "min_area": options.min_area,
        "classes": names(options.classes),
        "band": options.band,
        "confidence_band": options.confidence_band,
    }
    with terminal_progress(quiet=options.json or options.quiet, unit="strip") as progress:
        result = in_process.run_values("vectorize", values, progress)
    if options.json:
        print_json(result)
        return 0
    print(f"OUTPUT: {result['outputs']['OUTPUT']}")
    unit = {"m2": "m²", "px": "px"}[result["area_unit"]]
    for one in result["classes"]:
        size = f"{one['polygons']:,} polygons, {one['area']:,.1f} {unit}"
        print(f"{one['name']} ({one['value']}): {size}")
    if result["left_out"]:
        print(f"left out as too small: {result['left_out']:,}")
    return 0
