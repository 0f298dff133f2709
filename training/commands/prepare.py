# SPDX-License-Identifier: GPL-2.0-or-later
"""Prepare a data set: classes, sizes, a split that does not leak, a report."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from ..prepare_spec import READERS, SPLIT_METHODS, PrepareSpec
from . import ConsoleProgress

HELP = "Write a prepared data set: classes, a split that does not leak, pictures, a report."


def add_arguments(parser: ArgumentParser) -> None:
    """Add all that `PrepareSpec` holds; what is not given keeps its default."""

    def add(flag: str, text: str, **how: object) -> None:
        parser.add_argument(flag, help=text, default=SUPPRESS, **how)

    add("source", "folder of the data set, or raster (reader geo)", nargs="?")
    add("output", "folder to write", nargs="?")
    parser.add_argument("--spec", type=Path, help="JSON file of these settings; flags win")
    add("--reader", "format of the source", choices=READERS)
    add("--labels", "folder of masks; polygon layer or class raster (geo)")
    add("--palette", "csv of class names with colours or ids")
    add("--label-table", "csv: value, is, is_not; what is in neither stays open")
    add("--field", "attribute of the polygons that names the class (geo)")
    add("--areas", "polygons that are labelled whole; beyond is ignored (geo)")
    add("--bands", "bands from 1 (geo)", type=int, nargs="+")
    add("--chip", "side of the chips, px (geo)", type=int)
    add("--overlap", "of neighbouring chips, px (geo)", type=int)
    add("--class", "NAME, NAME=MEMBER,MEMBER or a preset; repeat for each class",
        dest="classes", action="append", metavar="CLASS")  # fmt: skip
    add("--ignore", "classes or ids that neither teach nor count", nargs="+")
    add("--only", "file of the names to use")
    add("--scale", "factor of the images' sides", type=float)
    add("--size", "WIDTHxHEIGHT of all images, px", type=_size)
    add("--min-labelled", "share of labelled pixels below which a sample is left out", type=float)
    add("--min-positive", "the same, of pixels of the classes", type=float)
    add("--split", "how samples come to training, validation and test", choices=SPLIT_METHODS)
    add("--fractions", "shares of training, validation and test", type=float, nargs="+")
    add("--list", "train=FILE, validation=FILE or test=FILE; repeat",
        dest="lists", action="append", metavar="SIDE=FILE")  # fmt: skip
    add("--groups", "csv with the columns name and group: what to keep together")
    add("--block", "side of a raster's blocks, px (geo; 4 chips, or fewer)", type=int)
    add("--gap", "px between two sides that are left out (geo)", type=int)
    add("--rim", "px of the frames' edge that training ignores", type=int)
    add("--seed", "of the draws", type=int)
    for name in ("title", "license", "citation"):
        add(f"--{name}", "of the data set")
    add("--gsd", "ground sampling distance of the source, m", type=float)
    add("--overwrite", "replace an earlier prepared data set", action="store_true")


def run(options: Namespace) -> None:
    """Prepare, and print what came of it."""
    from ..dataset_report import balance_table
    from ..prepare import prepare

    dataset = prepare(spec_of(options), ConsoleProgress())
    print(balance_table(dataset))
    leak = dataset.details["split"]["leak"]
    print(f"near-copies across the split: {leak['share']:.1%} of the samples held out")
    print(f"look at {dataset.folder / 'report.html'}")


def spec_of(options: Namespace) -> PrepareSpec:
    """Return the spec that the flags, and the file that they may name, describe."""
    import json

    from unet_segmenter.engine.errors import JobError

    given = {key: value for key, value in vars(options).items() if key not in ("run", "spec")}
    if options.spec is not None:
        try:
            found = json.loads(options.spec.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise JobError(f"{options.spec}: cannot be read as JSON ({error})") from error
        if not isinstance(found, dict):
            raise JobError(f"{options.spec}: is no JSON object")
        given = {**found, **given}
    for name in ("source", "output"):
        if name not in given:
            raise JobError(f"no {name} is given; see python -m training prepare --help")
    return PrepareSpec.from_dict(given)


def _size(text: str) -> tuple[int, int]:
    width, _cross, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ArgumentTypeError(f"{text!r} is no size; write it as 512x512")
    return int(width), int(height)
