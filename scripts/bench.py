# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure a run from end to end against the bare runtime, and against the loop people write.

    python scripts/bench.py [--side PX] [--rounds N] [--model NAME] [--sweep]

Run by `make bench` in the development environment, which has TensorFlow. The raster is the
demonstration's aerial image, mirrored to the side wanted. The measurements take turns, so that
another load on the machine falls on all of them alike; each line tells the median of the rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import demo, set_up  # noqa: E402
from unet_segmenter.engine.model_library import DEFAULT_MODEL  # noqa: E402

TILE = 512  # px: the side of a tile in the loop people write
SWEPT_BLOCK_SIZES = (512, 1024, 1536, 2048)
SWEPT_PRECISIONS = ("f32", "bf16")
DISTINCT_WINDOWS = 8  # held in memory for the bare runtime, and used in turn


def make_raster(path: Path, side: int) -> None:
    """Write a tiled GeoTIFF of `side` x `side` px, mirrored from the demonstration's image."""
    import numpy as np
    import rasterio

    demo.fetch()
    with rasterio.open(demo.georeferenced(demo.IMAGES[0])) as source:
        image, profile = source.read(), source.profile
    pad = [(0, 0), (0, max(0, side - image.shape[1])), (0, max(0, side - image.shape[2]))]
    large = np.pad(image, pad, mode="symmetric")[:, :side, :side]
    profile.update(width=side, height=side, bigtiff="if_safer")
    with rasterio.open(path, "w", **profile) as target:
        target.write(large)


def end_to_end(raster: Path, output: Path, model: str, *flags: str) -> dict[str, Any]:
    """Segment with the command line in a process of its own.

    Returns
    -------
    dict
        `wall` s with the start of Python, `seconds` of the run itself, `peak` bytes, and the
        runtime and precision used.
    """
    command = [str(set_up.interpreter()), "-m", "unet_segmenter", "segment", str(raster)]
    command += [str(output), "--model", model, "--classes", "vegetation", "--json", "--no-resume"]
    command += flags
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        answer = child.stdout.read() if child.stdout else ""
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    if child.returncode:
        raise SystemExit(f"bench: the run failed: {answer}")
    result = json.loads(answer)
    return {**result, "wall": wall, "peak": usage.ru_maxrss * 1024}


def bare_runtime(raster: Path, model: str, runtime: str, precision: str) -> dict[str, Any]:
    """Run the network alone on the same windows, already in memory, on the same threads.

    Returns
    -------
    dict
        `seconds` for all windows of the raster, their number `windows`, and `read`: px read by
        them for each px written.
    """
    from unet_segmenter.engine.model_library import default_library
    from unet_segmenter.engine.pipeline import DEFAULT_BLOCK_SIZE
    from unet_segmenter.engine.predict import scale
    from unet_segmenter.engine.predictor import PredictorOptions, available_cores, open_predictor
    from unet_segmenter.engine.rasters.source import RasterSource
    from unet_segmenter.engine.tiling import BlockGrid

    card = default_library().load(model)
    with RasterSource(str(raster)) as source:
        shape = source.grid.shape
        blocks = list(BlockGrid.cover(shape, DEFAULT_BLOCK_SIZE, card.halo, card.divisor))
        window = blocks[0].read.shape
        images = [
            scale(*source.read(block.read, (1, 2, 3), card.input.value_range), card.input)[None]
            for block in blocks[:DISTINCT_WINDOWS]
        ]
    options = PredictorOptions(precision, window, 1, available_cores())
    predictor = open_predictor(card, runtime, options)
    predictor.predict(images[0])
    with ThreadPoolExecutor(predictor.concurrency) as threads:
        start = time.monotonic()
        for _ in threads.map(
            lambda index: predictor.predict(images[index % len(images)]).shape, range(len(blocks))
        ):
            pass
        seconds = time.monotonic() - start
    read = len(blocks) * window.height * window.width / (shape.height * shape.width)
    return {"seconds": seconds, "windows": len(blocks), "read": read}


def loop_people_write(raster: Path, output: Path, model: str) -> dict[str, Any]:
    """Read a tile, `model.predict`, write it, next tile: with seams, and no nodata.

    Returns
    -------
    dict
        `seconds` without the import of TensorFlow and the loading of the model.
    """
    import keras
    import numpy as np
    import rasterio
    from rasterio.windows import Window

    from unet_segmenter.engine.model_library import default_library

    card = default_library().load(model)
    network = keras.saving.load_model(card.folder / "model.keras", compile=False)
    mean, stddev = np.float32(card.input.mean), np.float32(card.input.stddev)
    (wanted,) = card.select(("vegetation",))
    network.predict(np.zeros((1, TILE, TILE, 3), np.float32), verbose=0)
    start = time.monotonic()
    with rasterio.open(raster) as source:
        profile = {**source.profile, "count": 1}
        with rasterio.open(output, "w", **profile) as target:
            for row in range(0, source.height, TILE):
                for col in range(0, source.width, TILE):
                    window = Window(col, row, TILE, TILE)
                    tile = source.read(window=window).transpose(1, 2, 0)
                    scores = network.predict(((tile - mean) / stddev)[None], verbose=0)
                    mask = scores[0, ..., wanted.channel] > wanted.threshold
                    target.write(mask.astype("uint8"), 1, window=window)
    return {"seconds": time.monotonic() - start}


MEASUREMENTS = {"bare": bare_runtime, "loop": loop_people_write}


def in_child(name: str, *arguments: str) -> dict[str, Any]:
    """Measure in a process of its own, so that no library sees another's threads."""
    command = [sys.executable, __file__, "--measure", name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {name} failed:\n{done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def report(rounds: list[dict[str, dict[str, Any]]], side: int) -> str:
    """Lay the measurements out as a table in Markdown."""

    def median(name: str, key: str) -> float:
        return statistics.median(float(r[name][key]) for r in rounds)

    pixels = side * side / 1e6
    run, bare, loop = (median(name, "seconds") for name in ("run", "bare", "loop"))
    first = rounds[0]
    rows = [
        ("end to end", f"{pixels / run:.2f} Mpx/s", f"{run:.1f} s"),
        ("the same with the start of Python", *_speed(pixels, median("run", "wall"))),
        ("bare runtime, same blocks in memory", *_speed(pixels, bare)),
        (f"loop of {TILE} px tiles with `model.predict`", *_speed(pixels, loop)),
        ("end to end / bare runtime", f"{bare / run:.2f}", "aim: 0.90"),
        ("end to end / loop", f"{loop / run:.1f}", ""),
        ("px read for a px written (the halo's price)", f"{first['bare']['read']:.2f}", ""),
        ("peak memory", f"{median('run', 'peak') / 1e6:.0f} MB", "aim: 1500 MB"),
    ]
    head = (
        f"{side} x {side} px, {first['run']['runtime']} {first['run']['precision']}, "
        f"{os.cpu_count()} cores, median of {len(rounds)} rounds\n\n| what | | |\n|---|---|---|\n"
    )
    return head + "\n".join(f"| {name} | {value} | {note} |" for name, value, note in rows)


def _speed(megapixels: float, seconds: float) -> tuple[str, str]:
    return f"{megapixels / seconds:.2f} Mpx/s", f"{seconds:.1f} s"


def sweep(raster: Path, output: Path, model: str, side: int, rounds: int) -> str:
    """Table in Markdown of runs with several block sizes and precisions, which take turns."""
    cases = list(itertools.product(SWEPT_BLOCK_SIZES, SWEPT_PRECISIONS))
    runs: dict[tuple[int, str], list[dict[str, Any]]] = {case: [] for case in cases}
    for number in range(rounds):
        for size, precision in cases:
            told = f"round {number + 1} of {rounds}: blocks of {size} px in {precision} ..."
            print(told, file=sys.stderr, flush=True)
            flags = ("--block-size", str(size), "--precision", precision)
            runs[size, precision].append(end_to_end(raster, output, model, *flags))
    lines = [
        f"{side} x {side} px, {os.cpu_count()} cores, median of {rounds} rounds",
        "",
        "| block size | precision | Mpx/s | peak memory |",
        "|---|---|---|---|",
    ]
    for (size, precision), results in runs.items():
        seconds = statistics.median(result["seconds"] for result in results)
        peak = statistics.median(result["peak"] for result in results)
        speed = side * side / 1e6 / seconds
        lines.append(f"| {size} | {precision} | {speed:.2f} | {peak / 1e6:.0f} MB |")
    return "\n".join(lines)


def main() -> int:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=8192, help="side of the raster in px")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument(
        "--sweep", action="store_true", help="compare block sizes and precisions instead"
    )
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, *arguments = options.measure
        paths = [Path(arguments[0]), *arguments[1:]]
        print(json.dumps(MEASUREMENTS[name](*paths)))  # type: ignore[operator]
        return 0
    with tempfile.TemporaryDirectory(dir=set_up.BUILD) as scratch:
        raster, output = Path(scratch) / "raster.tif", Path(scratch) / "mask.tif"
        make_raster(raster, options.side)
        if options.sweep:
            print(sweep(raster, output, options.model, options.side, options.rounds))
            return 0
        rounds = []
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds} ...", file=sys.stderr, flush=True)
            run = end_to_end(raster, output, options.model)
            bare = in_child("bare", str(raster), options.model, run["runtime"], run["precision"])
            loop = in_child("loop", str(raster), str(output), options.model)
            rounds.append({"run": run, "bare": bare, "loop": loop})
    print(report(rounds, options.side))
    return 0


if __name__ == "__main__":
    sys.exit(main())
