# SPDX-License-Identifier: GPL-2.0-or-later
"""`segment`: one model over a raster."""

from __future__ import annotations

import argparse

from ..engine.job import PRECISIONS, PROBABILITY_TYPES, RUNTIMES, JobResult, JobSpec
from ..engine.model_library import DEFAULT_MODEL
from ..runners import in_process
from .terminal import absolute, add_source_flags, names, print_json, terminal_progress

HELP = "one model over a raster"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("input", help="raster to segment")
    add("output", help="mask to write (uint8; 255 = nodata)")
    add("--model", default=DEFAULT_MODEL, help="name of a model (default: %(default)s)")
    add("--model-file", help="a model's folder or file; wins over --model")
    add("--classes", nargs="+", default=[], help="classes wanted; one gives a binary mask 0/1")
    add("--bands", nargs="+", type=int, help="the raster's bands (from 1) in the model's order")
    add_source_flags(parser)
    add(
        "--extent",
        nargs=4,
        type=float,
        metavar=("XMIN", "YMIN", "XMAX", "YMAX"),
        help="part to segment, in the raster's CRS",
    )
    add("--aoi", help="polygon layer; outside of it the mask is nodata")
    add("--threshold", type=float, help="probability from which a pixel belongs to a class")
    add("--runtime", choices=RUNTIMES, default="auto", help="what runs the network")
    add("--precision", choices=PRECISIONS, default="auto", help="arithmetic of the network")
    add("--tta", action="store_true", help="average over four flips: slower, a little better")
    add("--probability", help="raster of probabilities to write, a band a class")
    add("--probability-type", choices=PROBABILITY_TYPES, default="uint8", help="its data type")
    add("--confidence", help="raster of confidences to write")
    add("--summary", help="HTML report to write, with a quick look beside it")
    add("--block-size", type=int, help="side in px of what a block writes")
    add("--batch", type=int, help="blocks a call of the network")
    add("--halo", type=int, help="context in px around a block (default: the model's)")
    add("--no-resume", action="store_true", help="start anew instead of resuming an old run")
    add("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Segment and tell what was made."""
    job = JobSpec(
        input=absolute(options.input),
        output=absolute(options.output),
        model=options.model_file or options.model,
        classes=names(options.classes),
        bands=tuple(options.bands or ()),
        nodata=tuple(options.nodata),
        crs=options.crs,
        extent=tuple(options.extent) if options.extent else None,
        aoi=options.aoi,
        threshold=options.threshold,
        runtime=options.runtime,
        precision=options.precision,
        tta=options.tta,
        block_size=options.block_size,
        batch=options.batch,
        halo=options.halo,
        probability=options.probability and absolute(options.probability),
        probability_type=options.probability_type,
        confidence=options.confidence and absolute(options.confidence),
        summary=options.summary and absolute(options.summary),
        resume=not options.no_resume,
    )
    with terminal_progress(quiet=options.json or options.quiet) as progress:
        result = in_process.run(job, progress)
    if options.json:
        print_json(result.to_json())
    else:
        _tell_result(result)
    return 0


def _tell_result(result: JobResult) -> None:
    for name, path in result.outputs.items():
        print(f"{name}: {path}")
    covered = max(result.pixels - result.nodata_pixels, 1)
    for area in result.areas:
        print(f"  {area.name}: {area.pixels / covered:.1%} {area.area_text}".rstrip())
    print(f"{result.seconds:.1f} s with {result.runtime} ({result.precision})")
