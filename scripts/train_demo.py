# SPDX-License-Identifier: GPL-2.0-or-later
"""Prepare a small real data set, train a small model on it, map with it and evaluate the map.

Run by `make train-demo` with the engine's Python, in under ten minutes on two cores. It does
what a user would: every step is a command of `python -m unet_segmenter`, printed before it runs.

The images are chips of drone orthophotos where a copy lies beside the checkout or NADIR names its
folder. Elsewhere, and with NADIR=none, they are two aerial images of the NEON programme with the
tree crowns that people outlined in them, from the deepforest wheel of `make demo`.
"""

from __future__ import annotations

import csv
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET  # nosec B405 - see `crowns_of`
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import demo, set_up  # noqa: E402
from unet_segmenter.engine.model_library import DEFAULT_MODEL  # noqa: E402

INPUTS = set_up.BUILD / "train-demo"
RESULTS = ROOT / "build" / "train-demo"
NADIR = ROOT.parent / "shared" / "data" / "nadir"

# Share of a frame from which a class is to be seen in it.
WORTH_SEEING = 0.03

# A training ends by its epochs, or early enough to be exported after so many minutes.
MINUTES = "4.5"


@dataclass(frozen=True)
class Course:
    """What one demonstration does: the arguments of each command.

    Parameters
    ----------
    about : str
        A sentence on the images, with their source and licence.
    prepare, train : tuple of str
        Arguments of `preparedataset` and `trainmodel`, without the paths of the results.
    image : Path
        An image that no training saw, to map; where it is none, it is the validation's first.
    reference : tuple of str
        What is true there: arguments of `evaluate`. Where there are none, the model is judged on
        the validation images.
    """

    about: str
    prepare: tuple[str, ...]
    train: tuple[str, ...]
    image: Path | None = None
    reference: tuple[str, ...] = ()


# --- chips seen from above -----------------------------------------------------------------


def seen_from_above(folder: Path) -> Course:
    """Vegetation and buildings in chips of drone orthophotos, split by place."""
    from scripts.aerial.make_data import write_places

    chips = folder / "oam"
    if not (chips / "images").is_dir():
        raise demo.DemoError(f"{folder} does not hold the set oam: there is no {chips / 'images'}.")
    places = write_places("oam", chips, INPUTS / "places.csv")
    table = ROOT / "scripts" / "aerial" / "nadir.csv"
    return Course(
        "Chips of drone orthophotos of Kampala and Banepa (OpenAerialMap, CC BY 4.0; buildings of "
        "OpenStreetMap, ODbL), whose labels leave some questions open; whole places are kept out "
        "of training, to validate on",
        (
            *("folders", str(chips), "--label-table", str(table), "--groups", str(places)),
            *("--classes", "vegetation#4c9a2a", "building#d9572b"),
        ),
        (
            # The model `aerial` knows these chips, so it does not start from it, but with
            # ImageNet's weights, which `make setup` brought.
            *("--start", "none", "--preset", "lite0", "--half"),
            *("--epochs", "16", "--steps", "24", "--batch", "8", "--size", "128"),
            *("--averaging", "0.9", "--minutes", MINUTES),
        ),
    )


def wheel_of(name: str, requirement: Path, what: str) -> Path:
    """Path of a downloaded wheel; each has a folder of its own, so none is taken for another."""
    folder = INPUTS / name
    found = sorted(folder.glob("*.whl"))
    if found:
        return found[0]
    folder.mkdir(parents=True, exist_ok=True)
    return demo.download(folder, requirement, what)


# --- tree crowns ---------------------------------------------------------------------------

TRAINING_TILE = demo.Image(
    "crowns_train",
    "deepforest/data/2019_YELL_2_528000_4978000_image_crop2.png",
    "a9bdb0f4447fdd899d22f567e0e20ba8320c5413b2ad0cd0ac8d9f3b6e0f9767",
    "574 tree crowns in Yellowstone",
    demo.Place("EPSG:32612", 528000, 4978000, 0.1),
)
TEST_TILE = demo.Image(
    "crowns_test",
    "deepforest/data/2019_YELL_2_541000_4977000_image_crop.png",
    "178e58a23cc2642226a364a30f71bd9258ddc1b012c826f12250914a90c7a131",
    "279 tree crowns, 13 km to the east",
    demo.Place("EPSG:32612", 541000, 4977000, 0.1),
)


def tree_crowns() -> Course:
    """Tree crowns in one aerial image, judged in another that lies 13 km away."""
    train, test = (laid_out(tile) for tile in (TRAINING_TILE, TEST_TILE))
    crowns, others = (path.with_suffix(".geojson") for path in (train, test))
    return Course(
        "Two aerial images of Yellowstone, 0.1 m (NEON), with the tree crowns that people outlined "
        "(deepforest, MIT licence); one to train on, one 13 km away to map",
        (
            *("raster", str(train), "--labels", str(crowns), "--field", "kind"),
            *("--classes", "tree crown#228b22", "--chip-size", "256", "--split-block", "512"),
        ),
        (
            *("--preset", "lite0", "--start", DEFAULT_MODEL),
            *("--epochs", "16", "--steps", "16", "--batch", "8", "--size", "192"),
            *("--averaging", "0.9", "--minutes", MINUTES),
        ),
        test,
        (str(others), "--field", "kind"),
    )


def laid_out(tile: demo.Image) -> Path:
    """Path of the tile as a raster; its crowns lie beside it as GeoJSON."""
    raster = INPUTS / f"{tile.name}.tif"
    crowns = raster.with_suffix(".geojson")
    if raster.is_file() and crowns.is_file():
        return raster
    with zipfile.ZipFile(wheel_of("images", demo.REQUIREMENT, "images (20 MB)")) as wheel:
        png = INPUTS / Path(tile.file).name
        png.write_bytes(wheel.read(tile.file))
        boxes = wheel.read(str(Path(tile.file).with_suffix(".xml")))
    assert tile.place is not None
    demo.georeference(png, raster, tile.place)
    crowns.write_text(json.dumps(crowns_of(boxes, tile.place)), encoding="utf-8")
    return raster


def crowns_of(voc: bytes, place: demo.Place) -> dict[str, object]:
    """Tree crowns as GeoJSON: the ellipses in the boxes of a Pascal VOC file.

    Of a box around a crown, seen from above, a fifth is beside it; an ellipse fits the crown.
    All else is ground: a polygon of the whole image comes first, and later polygons count more.
    """
    root = ET.fromstring(voc)  # nosec B314 - of a wheel that is pinned by its hash
    width, height = (int(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))

    def on_the_ground(column: float, row: float) -> list[float]:
        return [place.left + column * place.pixel, place.bottom + (height - row) * place.pixel]

    corners = ((0, 0), (0, height), (width, height), (width, 0), (0, 0))
    features = [_feature("not tree crown", [on_the_ground(*corner) for corner in corners])]
    for box in root.iter("bndbox"):
        left, top, right, bottom = (
            float(box.findtext(name, "0")) for name in ("xmin", "ymin", "xmax", "ymax")
        )
        ring = []
        for step in range(25):
            angle = -2 * math.pi * (step % 24) / 24
            column = (left + right) / 2 + (right - left) / 2 * math.cos(angle)
            row = (top + bottom) / 2 + (bottom - top) / 2 * math.sin(angle)
            ring.append(on_the_ground(column, row))
        features.append(_feature("tree crown", ring))
    code = place.crs.replace("EPSG:", "urn:ogc:def:crs:EPSG::")
    crs = {"type": "name", "properties": {"name": code}}
    return {"type": "FeatureCollection", "crs": crs, "features": features}


def _feature(kind: str, ring: list[list[float]]) -> dict[str, object]:
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "properties": {"kind": kind}, "geometry": geometry}


# --- the steps -----------------------------------------------------------------------------


def chosen() -> Course:
    """The demonstration for the images that are here."""
    named = os.environ.get("NADIR", "")
    if named == "none" or not (named or NADIR.is_dir()):
        return tree_crowns()
    return seen_from_above(Path(named or NADIR).absolute())


def run(*arguments: str, program: str = "unet_segmenter") -> None:
    """Run one command, its progress on the terminal."""
    command = [str(set_up.interpreter()), "-m", program, *arguments]
    print(f"\n$ python -m {program} {shlex.join(arguments)}", flush=True)
    start = time.monotonic()
    code = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        check=False,
    ).returncode
    if code:
        raise demo.DemoError(f"`{arguments[0]}` ended with exit code {code}.")
    print(f"({time.monotonic() - start:.0f} s)", flush=True)


def held_out(dataset: Path) -> Path:
    """Validation image that shows the most classes."""
    with (dataset / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "validation"]

    def shown(row: dict[str, str]) -> int:
        least = WORTH_SEEING * int(row["height"]) * int(row["width"])
        classes = (key for key in row if key.startswith("px_") and key not in ("px_0", "px_ignore"))
        return sum(int(row[key]) >= least for key in classes)

    return dataset / max(rows, key=shown)["image"]


def demonstrate(course: Course, folder: Path) -> list[tuple[str, Path]]:
    """Run all steps and return what there is to look at."""
    dataset, model, image_map = folder / "dataset", folder / "model", folder / "map.tif"
    print(f"{course.about}.", flush=True)
    run("preparedataset", *course.prepare, "--overwrite", str(dataset))
    run("trainmodel", str(dataset), str(model), *course.train)
    image = course.image or held_out(dataset)
    run("segment", str(image), str(image_map), "--model-file", str(model), "--no-resume")
    if course.reference:
        scores = folder / "evaluation.html"
        run("evaluate", str(image_map), *course.reference, "--html", str(scores))
    else:  # masks that leave questions open are no maps to compare with
        scores = folder / "evaluation" / "report.html"
        run(
            "evaluate", str(model), str(dataset), "--output", str(scores.parent),
            program="training",
        )  # fmt: skip
    return [
        ("data set", dataset / "report.html"),
        ("training", folder / "model.run" / "report.html"),
        ("map", image_map),
        ("evaluation", scores),
    ]


def main(arguments: Sequence[str] = ()) -> int:
    """Run the demonstration and say where its reports lie."""
    start = time.monotonic()
    INPUTS.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    try:
        found = demonstrate(chosen(), RESULTS)
    except demo.DemoError as error:
        print(f"train-demo: error: {error}", file=sys.stderr)
        return 1
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} min. Reports:")
    for name, path in found:
        print(f"  {name:11} {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
