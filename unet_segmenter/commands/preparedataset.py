# SPDX-License-Identifier: GPL-2.0-or-later
"""`preparedataset`: from labelled images to a data set that can be trained on."""

from __future__ import annotations

import argparse
from typing import Any

from ..runners import in_process, spec_texts
from ..runners.training_choices import AUTO, READERS, SPLITS
from .terminal import NODATA_HELP, absolute, names, print_json, terminal_progress

HELP = "labelled images -> a data set to train on, with a split that does not leak"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("source", choices=READERS, metavar="SOURCE", help=f"one of {', '.join(READERS)}")
    add("folder", metavar="FOLDER", help="of the data set; for raster, the image")
    add("output", help="folder to write")
    add("--labels", help="raster: polygons or class raster; folders: folder of masks")
    add("--field", default="", help="field of the polygons that holds the class")
    add("--areas", help="polygons of the areas that are labelled whole")
    add("--bands", nargs="+", type=int, default=[], help="of the raster, from 1")
    add("--nodata", nargs="+", type=float, default=[], metavar="VALUE", help=NODATA_HELP)
    add("--crs", help="CRS of the image, as EPSG:n, where its file has none, or a wrong one")
    add("--palette", help="csv of class names with colours or numbers")
    add("--classes", nargs="+", default=[], help="classes, or groups as green=grass,tree")
    add("--ignore", nargs="+", default=[], help="classes that neither teach nor count")
    add("--only", help="file that lists the names to use, one a line")
    add("--split", choices=(AUTO, *SPLITS), default=AUTO, help="what stays together on one side")
    add("--fractions", default="75/25", help="shares of training/validation[/test]")
    add("--lists", nargs="+", default=[], help="train=FILE validation=FILE test=FILE")
    add("--groups", help="csv with the columns name and group")
    add("--chip-size", type=int, default=512, help="side of a raster's chips, px")
    add("--overlap", type=int, default=0, help="by how much chips overlap, px")
    add("--split-block", type=int, default=0, help="side of a raster's split blocks, px")
    add("--gap", type=int, default=0, help="strip between the sides that is left out, px")
    add("--scale", type=float, default=1.0, help="factor of the images' sides")
    add("--size", default="", help="width x height of all images, as 960x540")
    add("--min-labelled", type=float, default=0.0, help="least labelled share of a sample")
    add("--min-positive", type=float, default=0.0, help="least share of the classes")
    add("--seed", type=int, default=2026, help="of the draws (default: %(default)s)")
    add("--gsd", type=float, help="ground sampling distance of the source, m")
    add("--title", default="", help="of the data set")
    add("--license", default="", help="of its images")
    add("--citation", default="", help="whom to cite")
    add("--overwrite", action="store_true", help="replace an earlier prepared data set")
    add("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Prepare and tell what was made."""
    with terminal_progress(quiet=options.json or options.quiet, unit="sample") as progress:
        result = in_process.run_values("prepare", _values(options), progress)
    if options.json:
        print_json(result)
        return 0
    sides = ", ".join(f"{count} {side}" for side, count in result["sides"].items() if count)
    print(f"OUTPUT: {result['folder']}")
    print(f"  {result['samples']} samples: {sides}; split by {result['split']}")
    print(f"  classes: {', '.join(result['classes'])}")
    print(f"REPORT: {result['report']}")
    return 0


def _values(options: argparse.Namespace) -> dict[str, Any]:
    """The flags in the words of `training.prepare_spec.PrepareSpec`."""

    def path(given: str | None) -> str:
        return absolute(given) if given else ""

    return {
        "reader": READERS[options.source],
        "source": absolute(options.folder),
        "output": absolute(options.output),
        "labels": path(options.labels),
        "field": options.field,
        "areas": path(options.areas),
        "bands": options.bands,
        "nodata": options.nodata,
        "crs": options.crs or "",
        "palette": path(options.palette),
        "classes": [group for text in options.classes for group in spec_texts.class_groups(text)],
        "ignore": list(names(options.ignore)),
        "only": path(options.only),
        "split": "" if options.split == AUTO else options.split,
        "fractions": list(spec_texts.fractions(options.fractions)),
        "lists": options.lists,
        "groups": path(options.groups),
        "chip": options.chip_size,
        "overlap": options.overlap,
        "block": options.split_block,
        "gap": options.gap,
        "scale": options.scale,
        "size": list(spec_texts.size(options.size)),
        "min_labelled": options.min_labelled,
        "min_positive": options.min_positive,
        "seed": options.seed,
        "gsd": options.gsd,
        "title": options.title,
        "license": options.license,
        "citation": options.citation,
        "overwrite": options.overwrite,
    }
