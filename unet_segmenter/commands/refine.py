# SPDX-License-Identifier: GPL-2.0-or-later
"""`refine`: a map by the image that it was made from, with a dense CRF."""

from __future__ import annotations

import argparse
from typing import Any

from ..engine.crf_settings import SOLVERS, CrfSettings
from ..engine.refine_job import UNKNOWN
from ..runners import in_process
from .terminal import absolute, add_source_flags, print_json, terminal_progress

HELP = "a map by the image that it was made from, with a dense CRF"

# Field of `CrfSettings`, and flag, here and in `landcover` -> type and help.
CRF_FLAGS: dict[str, tuple[type, str]] = {
    "sxy": (float, "CRF: how far in px pixels of similar colour pull each other"),
    "srgb": (float, "CRF: how similar in colour they must be, in units of 255 for the value range"),
    "compat": (float, "CRF: how strongly they pull"),
    "sxy_gaussian": (float, "CRF: reach in px of the second pull, which ignores colour"),
    "compat_gaussian": (float, "CRF: strength of the second pull"),
    "iterations": (int, "CRF: most steps of the inference"),
    "gt_prob": (float, "CRF: probability that a class is right, where it starts from classes"),
}
SWITCH_HELP = "warn of classes that lose or gain a larger share (default: %(default)s)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("input", help="image")
    add("output", help="class raster to write (uint8; 0 = unknown, 255 = nodata)")
    add("--probability", help="raster of probabilities to refine, a band a class")
    add("--labels", help="class raster to refine; give either it or --probability")
    add("--label-band", type=int, default=1, help="its band (default: %(default)s)")
    add("--bands", nargs="+", type=int, default=[], help="bands of the image (default: all)")
    add_source_flags(parser)
    low_high = ("LOW", "HIGH")
    add("--value-range", nargs=2, type=float, default=[], metavar=low_high,
        help="values of the image that stand for black and white")  # fmt: skip
    add_crf_flags(parser)
    told = "; ".join(f"{name}: {text}" for name, text in UNKNOWN.items())
    add("--unknown", choices=tuple(UNKNOWN), default="fill", help=f"of a class raster: {told}")
    add("--unknown-threshold", type=float, help="of probabilities: below it a pixel is unknown")
    add("--switch-share", type=float, default=0.5, help=SWITCH_HELP)
    add("--align", action="store_true", help="warp a map on another grid to the image's")
    add("--solver", choices=tuple(SOLVERS), default="lattice", help="default: %(default)s")
    add("--block-size", type=int, help="side in px of what a block writes")
    add("--no-resume", action="store_true", help="start anew instead of resuming an old run")
    add("--quiet", action="store_true", help="no progress bar")


def add_crf_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the numbers of the CRF."""
    for name, (kind, text) in CRF_FLAGS.items():
        default = getattr(CrfSettings, name)
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=kind, default=default, help=f"{text} (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Refine and tell what changed."""
    values: dict[str, Any] = {
        "input": absolute(options.input),
        "output": absolute(options.output),
        "probability": options.probability and absolute(options.probability),
        "labels": options.labels and absolute(options.labels),
        "label_band": options.label_band,
        "bands": options.bands,
        "nodata": options.nodata,
        "crs": options.crs,
        "value_range": options.value_range,
        **{name: getattr(options, name) for name in CRF_FLAGS},
        "unknown": options.unknown,
        "unknown_threshold": options.unknown_threshold,
        "switch_share": options.switch_share,
        "align": options.align,
        "solver": options.solver,
        "block_size": options.block_size,
        "resume": not options.no_resume,
    }
    with terminal_progress(quiet=options.json or options.quiet) as progress:
        result = in_process.run_values("refine", values, progress)
    if options.json:
        print_json(result)
        return 0
    print(f"OUTPUT: {result['outputs']['OUTPUT']}")
    for area in result["areas"]:
        print(f"  {area['name']}: {area['before']:,} -> {area['pixels']:,} px "
              f"(lost {area['lost']:,}, gained {area['gained']:,})")  # fmt: skip
    print(f"  changed: {result['changed_share']:.2%}")
    print(f"{result['seconds']:.1f} s")
    return 0
