# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure the refinement of maps against plain pydensecrf on one core, over the same rasters.

    python scripts/bench_refine.py IMAGE=PROBABILITY [IMAGE=PROBABILITY ...]

Each PROBABILITY is what `segment --probability` wrote of its IMAGE. Told are px/s, how many labels
differ, the share of the pixels that were not inferred, and how many labels differ between blocks
and the whole raster: everywhere, and within 4 px of the edges of blocks. Needs pydensecrf2.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from unet_segmenter.engine import crf_inference, crf_pydensecrf, refine  # noqa: E402
from unet_segmenter.engine.crf_settings import CrfSettings  # noqa: E402
from unet_segmenter.engine.geometry import PixelWindow  # noqa: E402
from unet_segmenter.engine.predictor import available_cores  # noqa: E402
from unet_segmenter.engine.probability_source import ProbabilitySource, told_classes  # noqa: E402
from unet_segmenter.engine.progress import SilentProgress  # noqa: E402
from unet_segmenter.engine.rasters.source import RasterSource  # noqa: E402
from unet_segmenter.engine.run_refine import RefineJob, run_refine  # noqa: E402

_NEAR = 4


def main(arguments: list[str]) -> int:
    """Measure each pair and print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", help="IMAGE=PROBABILITY")
    parser.add_argument("--iterations", type=int, default=CrfSettings.iterations)
    parser.add_argument("--compat", type=float, default=CrfSettings.compat)
    parser.add_argument("--sxy", type=float, default=CrfSettings.sxy)
    parser.add_argument("--srgb", type=float, default=CrfSettings.srgb)
    parser.add_argument("--block-size", type=int, default=256, help="of the comparison with blocks")
    options = parser.parse_args(arguments)
    settings = CrfSettings(
        iterations=options.iterations, compat=options.compat, sxy=options.sxy, srgb=options.srgb
    )
    print(f"{available_cores()} cores, {settings}")
    warm_up()
    for pair in options.pairs:
        image, _, probability = pair.partition("=")
        print(Path(image).name, *measure(image, probability, settings, options.block_size))
    return 0


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Time by the clock, and time of all cores."""

    wall: float
    cpu: float

    def told(self, pixels: int) -> str:
        """Both as speeds."""
        return (
            f"{pixels / self.wall / 1e3:.0f} kpx/s by the clock, "
            f"{pixels / self.cpu / 1e3:.0f} kpx/s of a core's time"
        )


def warm_up() -> None:
    """Compile before the clock runs."""
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    shares = (image / 255).astype(np.float32)
    refine.refine_block(image, shares, np.ones((32, 32), bool), CrfSettings(iterations=2))


def measure(image: str, probability: str, settings: CrfSettings, block_size: int) -> list[str]:
    """What there is to tell of one raster."""
    pixels, unary, valid = read(image, probability)
    features = pixels.astype(np.float32) * valid[..., np.newaxis]
    everything = (features, unary, valid, valid, settings)
    reference, found = timed(crf_pydensecrf.mean_field, *everything)
    expected = found.argmax(-1)[valid]
    own, found = timed(crf_inference.mean_field, *everything)
    lattice = found.argmax(-1)[valid]
    wanted, _ = refine._inferred(unary, valid, settings.halo, None)
    _, whole = run(image, probability, settings, max(valid.shape))
    job, default = run(image, probability, settings, None)
    _, blocks = run(image, probability, settings, block_size)
    values = table_of(probability)[expected]
    beside = near_edges(valid.shape, block_size) & valid
    differ = whole != blocks
    return [
        f"{valid.shape[1]} x {valid.shape[0]} px, {unary.shape[-1]} classes\n",
        f" pydensecrf on one core: {reference.told(valid.size)}\n",
        f" lattice on one core:    {own.told(valid.size)}\n",
        f" refine, all of the job: {job.told(valid.size)}; {reference.cpu / job.cpu:.1f} times",
        f"per core, {reference.wall / job.wall:.1f} times by the clock\n",
        f" not inferred: {1 - wanted[valid].mean():.1%}; changed:",
        f"{(expected != unary.argmax(-1)[valid]).mean():.2%}\n",
        f" differing from pydensecrf: lattice {(lattice != expected).mean():.4%},",
        f"refine {(default[valid] != values).mean():.4%}\n",
        f" blocks of {block_size} px differing from the whole: {differ[valid].mean():.4%},",
        f"within {_NEAR} px of their edges {differ[beside].mean():.4%}",
    ]


def read(image: str, probability: str) -> tuple[Any, Any, Any]:
    """Pixels, unary and valid of a whole raster."""
    with RasterSource(image) as source, RasterSource(probability) as shares:
        window = PixelWindow.of_shape(source.grid.shape)
        pixels, valid = source.read(window, source.data_bands, (0.0, 255.0))
        found, known = ProbabilitySource(shares, tuple(told_classes(shares))).read(window)
    return pixels, refine.unary_from_probabilities(found), valid & known


def table_of(probability: str) -> Any:
    """Value of each class in the map."""
    with RasterSource(probability) as shares:
        return np.array([one.value for one in told_classes(shares).values()])


def run(
    image: str, probability: str, settings: CrfSettings, block_size: int | None
) -> tuple[Seconds, Any]:
    """How long the whole job takes, and the map."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "map.tif"
        job = RefineJob(
            *(image, str(output), probability),
            block_size=block_size,
            **{k: v for k, v in dataclasses.asdict(settings).items() if k != "unknown_threshold"},
        )
        seconds, _ = timed(run_refine, job, SilentProgress())
        with RasterSource(str(output)) as made:
            window = PixelWindow.of_shape(made.grid.shape)
            return seconds, made.read(window, (1,), (0, 255))[0][..., 0]


def near_edges(shape: tuple[int, int], block_size: int) -> Any:
    """True at pixels close to an inner edge of blocks."""
    lines = []
    for side in shape:
        distance = np.arange(side) % block_size
        inner = (distance < _NEAR) & (np.arange(side) >= block_size)
        lines.append(inner | (distance >= block_size - _NEAR))
    return lines[0][:, np.newaxis] | lines[1]


def timed(function: Any, *arguments: Any) -> tuple[Seconds, Any]:
    """How long it takes, and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu), result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
