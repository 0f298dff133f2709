# SPDX-License-Identifier: GPL-2.0-or-later
"""`evaluate`: a class raster against a reference raster or polygons."""

from __future__ import annotations

import argparse
from typing import Any

from ..runners import in_process
from .terminal import absolute, entries, print_json, terminal_progress

HELP = "a class raster against a reference raster or polygons"

_TOLD = ("mean_iou", "overall_accuracy", "frequency_weighted_iou", "mcc")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("input", help="class raster to judge")
    add("reference", help="what is true: a class raster, or a layer of polygons")
    add("--field", help="field of the polygons that holds the class, a number or a name")
    add("--band", type=int, default=1, help="band of the input (default: %(default)s)")
    add("--reference-band", type=int, default=1, help="band of a reference raster")
    add("--class-names", nargs="+", default=[], help="names as value=name, such as 1=vegetation")
    add("--aoi", help="polygon layer; only pixels inside count")
    add("--align", action="store_true", help="warp a reference on another grid, by nearest")
    add("--nodata", nargs="+", type=float, default=[], metavar="VALUE",
        help="values of the input that are no class, beside the file's own nodata")  # fmt: skip
    add("--ignore", nargs="+", type=int, default=[], help="reference values that do not count")
    add("--tolerance", type=int, default=2, help="px between boundaries that still meet")
    add("--html", help="report to write")
    add("--csv", help="table to write, a row a class")
    add("--quiet", action="store_true", help="no progress bar")
    add("--numbers", metavar="JSON", help="file of all numbers to write (JSON in Processing)")


def run(options: argparse.Namespace) -> int:
    """Evaluate and tell the scores."""
    values: dict[str, Any] = {
        "input": absolute(options.input),
        "reference": absolute(options.reference),
        "field": options.field,
        "band": options.band,
        "reference_band": options.reference_band,
        "class_names": entries(options.class_names),
        "aoi": options.aoi and absolute(options.aoi),
        "align": options.align,
        "nodata": options.nodata,
        "ignore": options.ignore,
        "tolerance": options.tolerance,
        "html": options.html and absolute(options.html),
        "csv": options.csv and absolute(options.csv),
        "json": options.numbers and absolute(options.numbers),
    }
    with terminal_progress(quiet=options.json or options.quiet) as progress:
        result = in_process.run_values("evaluate", values, progress)
    if options.json:
        print_json(result)
        return 0
    for key in _TOLD:
        if isinstance(result.get(key), (int, float)):
            print(f"{key}: {result[key]:.4f}")
    for key in ("html", "csv", "json"):
        if values[key]:
            print(f"{key.upper()}: {values[key]}")
    return 0
