# SPDX-License-Identifier: GPL-2.0-or-later
"""Prepare the data sets that the model `aerial` learns from.

    python scripts/aerial/make_data.py NADIR AEROSCAPES OUTPUT

NADIR is a folder of sets seen from above, each with images/ and masks/ whose values nadir.csv
explains, and frames/ without masks; AEROSCAPES is the data set in its official layout. Places are
kept together: a number of naip, a square of map tiles of oam, a stretch of coast of dunes, an hour
of flight of obx, a tile of dubai. What is prepared already stays.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from training.commands import ConsoleProgress  # noqa: E402
from training.prepare import prepare  # noqa: E402
from training.prepare_spec import PrepareSpec  # noqa: E402

AT_SEA = ("110", "115", "116")
"""Sites of AeroScapes where boats lie in water."""
CLASSES = (
    "vegetation#4c9a2a", "tree#0b5d1e", "road#6c7a89", "building#d9572b", "water#2e86c1",
    "bare#d9b382",
)  # fmt: skip


@dataclass(frozen=True)
class NadirSet:
    """A set seen from above: ground sampling distance in m, and the place that a stem names."""

    gsd: float
    place: Callable[[str], str]
    licence: str
    citation: str


def _town_and_number(stem: str) -> str:
    town, _year, number = stem.rsplit("_", 2)
    return f"{town}_{number}"


def _tile_square(stem: str) -> str:
    """The square of 4x4 map tiles of zoom 18 around a tile."""
    city, x, y, zoom = re.fullmatch(r"([a-z]+)_OAM-(\d+)-(\d+)-(\d+).*", stem).groups()
    shift = int(zoom) - 18 + 2
    return f"{city}_{int(x) >> shift}_{int(y) >> shift}"


def _coast(stem: str) -> str:
    row, col = map(int, re.findall(r"\d+", stem)[:2])
    return f"{row // 4864}_{col // 4864}"


def _flight_hour(stem: str) -> str:
    if not stem[:4].isdigit():
        return stem[:24]
    return re.sub(r"\D", "", stem.partition("DSC")[0])[:10]


NAIP_PAPER = (
    "Ventura et al., Individual tree detection in large-scale urban environments using "
    "high-resolution multispectral imagery, Int. J. Applied Earth Observation and Geoinformation "
    "130, 103848, 2024"
)
SETS = {
    "dubai": NadirSet(
        0.4, lambda stem: stem.partition("_")[0], "CC0-1.0",
        "Semantic segmentation of aerial imagery, Humans in the Loop with MBRSC",
    ),
    "naip": NadirSet(0.6, _town_and_number, "CC-BY-4.0", NAIP_PAPER),
    "oam": NadirSet(
        0.15, _tile_square, "CC-BY-4.0 (images), ODbL (labels)",
        "OpenAerialMap contributors; OpenStreetMap contributors; HOT fAIr",
    ),
    "obx": NadirSet(
        0.5, _flight_hour, "public domain (USGS, NOAA)",
        "D. Buscombe, Semantic segmentation with sparse labels, U.S. Geological Survey",
    ),
    "dunes": NadirSet(
        0.5, _coast, "MIT", "D. Buscombe, UNetSegmentation_RGB_DEM, U.S. Geological Survey"
    ),
}  # fmt: skip


def write_places(name: str, source: Path, path: Path) -> Path:
    """Write the place of each image of one of `SETS`, a csv of name and group; return its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "group"))
        stems = sorted(image.stem for image in (source / "images").iterdir())
        writer.writerows((stem, SETS[name].place(stem)) for stem in stems)
    return path


def make_nadir(name: str, source: Path, output: Path) -> None:
    """Prepare one of `SETS`."""
    one = SETS[name]
    groups = write_places(name, source, output.with_suffix(".groups.csv"))
    spec = PrepareSpec(
        str(source), str(output), label_table=str(HERE / "nadir.csv"), classes=CLASSES,
        groups=str(groups), fractions=(0.86, 0.14), gsd=one.gsd, title=name, license=one.licence,
        citation=one.citation,
    )  # fmt: skip
    prepare(spec, ConsoleProgress())


def make_aeroscapes(source: Path, output: Path) -> None:
    """Prepare AeroScapes by its lists, which split by site, without its sites at sea.

    Background is water there, and never elsewhere.
    """
    names = sorted(path.stem for path in (source / "SegmentationClass").glob("*.png"))
    only = output.with_suffix(".names.txt")
    ashore = [f"{name}\n" for name in names if not name.startswith(AT_SEA)]
    only.write_text("".join(ashore), encoding="utf-8")
    spec = PrepareSpec(
        str(source), str(output), reader="aeroscapes", label_table=str(HERE / "aeroscapes.csv"),
        classes=CLASSES, only=str(only), gsd=0.03,
    )  # fmt: skip
    prepare(spec, ConsoleProgress())


def make_frames(source: Path, output: Path) -> None:
    """Prepare drone frames without labels, of which is known only what they do not show."""
    masks = output.with_suffix(".masks")
    masks.mkdir(exist_ok=True)
    for path in sorted(source.glob("*.jpg")):
        with Image.open(path) as image:
            value = 1 if path.name.startswith("caliterra") else 2
            Image.new("L", image.size, value).save(masks / f"{path.stem}.png")
    spec = PrepareSpec(
        str(source), str(output), labels=str(masks), label_table=str(HERE / "frames.csv"),
        classes=("building#d9572b", "water#2e86c1"), split="random", fractions=(0.85, 0.15),
        gsd=0.02, title="frames", license="CC0-1.0",
        citation="D. Baldwin (Caliterra) and others, samples of OpenDroneMap",
    )  # fmt: skip
    prepare(spec, ConsoleProgress())


def main(nadir: str, aeroscapes: str, output: str) -> None:
    """Prepare all sets that are not there yet."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    for name in SETS:
        if not (folder / name / "dataset.json").is_file():
            make_nadir(name, Path(nadir) / name, folder / name)
    if not (folder / "aeroscapes" / "dataset.json").is_file():
        make_aeroscapes(Path(aeroscapes), folder / "aeroscapes")
    if not (folder / "frames" / "dataset.json").is_file():
        make_frames(Path(nadir) / "frames", folder / "frames")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
