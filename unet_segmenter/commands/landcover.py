# SPDX-License-Identifier: GPL-2.0-or-later
"""`landcover`: several models over a raster, fused and refined."""

from __future__ import annotations

import argparse

from ..engine.job import PRECISIONS, RUNTIMES
from ..engine.landcover_job import CRF_CHOICES
from ..engine.model_library import DEFAULT_MODEL
from ..engine.refine_job import UNKNOWN
from ..runners import in_process
from .fuse import add_fusion_arguments, fusion_values, tell_fusion
from .refine import CRF_FLAGS, SWITCH_HELP, add_crf_flags
from .terminal import absolute, add_source_flags, names, print_json, terminal_progress

HELP = "several models over a raster, fused and refined into one land-cover map"
_UNKNOWN_TOLD = "; ".join(f"{name}: {text}" for name, text in UNKNOWN.items())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("input", help="raster to map")
    add("output", help="class raster to write (uint8; 0 = unknown, 255 = nodata)")
    add("--models", nargs="+", default=[DEFAULT_MODEL], help="names, folders or files of models")
    add("--classes", nargs="+", default=[], help="classes wanted, whichever model maps them")
    add(
        "--bands",
        nargs="+",
        default=[],
        help="the raster's bands (from 1) in the models' order; or a list a model: 1,2,3 4,3,2",
    )
    add_source_flags(parser)
    add(
        "--extent",
        nargs=4,
        type=float,
        metavar=("XMIN", "YMIN", "XMAX", "YMAX"),
        help="part to map, in the raster's CRS",
    )
    add("--aoi", help="polygon layer; outside of it the map is nodata")
    choices = "; ".join(f"{name}: {text}" for name, text in CRF_CHOICES.items())
    add(
        "--crf", nargs="?", choices=tuple(CRF_CHOICES), const="default", default="models",
        help=f"refine by a dense CRF. {choices} (%(default)s; without a word: %(const)s)",
    )  # fmt: skip
    add("--no-crf", dest="crf", action="store_const", const="no", help="the same as --crf no")
    add_crf_flags(parser)
    add("--unknown", choices=tuple(UNKNOWN), default="keep", help=f"for the CRF; {_UNKNOWN_TOLD}")
    add("--switch-share", type=float, default=0.5, help=SWITCH_HELP)
    add("--majority-radius", type=int, default=0, help="radius in px of the majority filter")
    add("--runtime", choices=RUNTIMES, default="auto", help="what runs the networks")
    add("--precision", choices=PRECISIONS, default="auto", help="arithmetic of the networks")
    add("--tta", action="store_true", help="average over four flips: slower, a little better")
    add("--halo", type=int, help="context in px around a block (default: the models')")
    add_fusion_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Map and tell what was made."""
    same = ("aoi", "crf", *CRF_FLAGS, "unknown", "majority_radius", "switch_share", "runtime",
            "precision", "tta", "halo")  # fmt: skip
    values = {
        "input": absolute(options.input),
        "models": names(options.models),
        "classes": names(options.classes),
        "bands": tuple(options.bands),
        "nodata": tuple(options.nodata),
        "crs": options.crs,
        "extent": tuple(options.extent) if options.extent else None,
        **{name: getattr(options, name) for name in same},
        **fusion_values(options),
    }
    with terminal_progress(quiet=options.json or options.quiet) as progress:
        result = in_process.run_values("landcover", values, progress)
    if options.json:
        print_json(result)
    else:
        tell_fusion(result)
        if result["changes"]:
            print(f"  changed by the refinement: {result['changed_share']:.1%}")
        print(f"models: {', '.join(result['models'])} with {result['runtime']}")
    return 0
