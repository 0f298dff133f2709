# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns the finished blocks of a run into the files that the user asked for.

Everything is made whole in the unfinished run's folder and then renamed, so a file under its
final name is always whole. The rasters hold nothing that changes from run to run (no time, no
path), so equal runs give equal bytes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..version import plugin_version
from .block_flow import stop_if
from .block_store import BlockStore
from .errors import OutputError
from .geometry import PixelWindow
from .job import ClassArea, JobResult, JobSpec
from .legend import ClassLook, attribute_table, colors, legend_of, qml_style
from .model_card import NODATA_VALUE, ModelCard, ModelClass
from .progress import Progress
from .quicklook import draw_quicklook
from .raster import RasterGrid, RasterSource, driver_of, write_raster
from .raw_image import BandImage
from .segment_block import PROBABILITY_STEPS
from .summary import summary_page

_ROWS_AT_ONCE_BYTES = 16 << 20
_QUICKLOOK_SIDE = 1400


@dataclass(frozen=True)
class FinishedMap:
    """What is known of a run when its last block is in."""

    job: JobSpec
    card: ModelCard
    classes: tuple[ModelClass, ...]
    grid: RasterGrid
    region: PixelWindow
    bands: tuple[int, ...]
    runtime: str
    precision: str
    blocks: int
    resumed_blocks: int
    warnings: tuple[str, ...]
    started: float


def quicklook_path(summary: Path) -> Path:
    """Where the quick look of a summary lies."""
    return summary.with_name(f"{summary.stem}_quicklook.png")


def finish(done: FinishedMap, store: BlockStore, progress: Progress, threads: int) -> JobResult:
    """Write all outputs of a run.

    Parameters
    ----------
    done : FinishedMap
        The run.
    store : BlockStore
        Its blocks, all of them finished.
    progress : Progress
        Is told which file is being written.
    threads : int
        Threads for compression.

    Returns
    -------
    JobResult

    Raises
    ------
    OutputError
        If a file cannot be written; the blocks stay for the same command.
    """
    look = legend_of(done.classes)
    counts = _histogram(store, "OUTPUT", 0)
    made: dict[Path, Path] = {}
    for name in store.layers:
        target = Path(done.job.outputs()[name]).absolute()
        stop_if(progress.cancelled)
        progress.advance(done.blocks, done.blocks, f"Writing {target.name}")
        whole = store.folder / name  # under its final name: some formats name files in files
        whole.mkdir(exist_ok=True)
        raster = whole / target.name
        write_raster(_band_image(name, done, store, look, counts), done.grid, raster, threads)
        if name == "OUTPUT":
            _write_sidecars(raster, look)
        made |= {path: target.with_name(path.name) for path in _raster_last(whole, raster)}
    result = _result(done, look, counts)
    if done.job.summary:
        made |= _report(result, done, store, look)
    for source, target in made.items():
        _publish(source, target)
    return result


def _histogram(store: BlockStore, name: str, band: int) -> NDArray[np.int64]:
    """How many pixels of a uint8 band hold each of the 256 values."""
    counts = np.zeros(256, np.int64)
    for rows in _strips(store, name, band):
        counts += np.bincount(rows.ravel(), minlength=256)
    return counts


def _strips(store: BlockStore, name: str, band: int) -> Iterator[NDArray[np.generic]]:
    height, width = store.shape
    step = max(1, _ROWS_AT_ONCE_BYTES // (width * 8))
    for start in range(0, height, step):
        yield store.read_rows(name, band, start, min(start + step, height))


def _band_image(
    name: str,
    done: FinishedMap,
    store: BlockStore,
    look: tuple[ClassLook, ...],
    counts: NDArray[np.int64],
) -> BandImage:
    layer = store.layers[name]
    is_mask = name == "OUTPUT"
    shares = not is_mask and layer.dtype == "uint8"
    descriptions = {
        "OUTPUT": ("class",),
        "PROBABILITY": tuple(c.name for c in done.classes),
        "CONFIDENCE": ("confidence",),
    }[name]
    scale = 1 / PROBABILITY_STEPS if shares else 1.0
    return BandImage(
        path=store.raw_path(name),
        dtype=layer.dtype,
        descriptions=descriptions,
        nodata=NODATA_VALUE if layer.dtype == "uint8" else float("nan"),
        is_category=is_mask,
        scale=scale,
        colors=colors(look) if is_mask else {},
        statistics=tuple(_statistics(store, name, band) for band in range(layer.bands)),
        tags=_tags(done),
    )


def _statistics(store: BlockStore, name: str, band: int) -> dict[str, str]:
    """Exact statistics of one band as GDAL's metadata items; empty without any data."""
    if store.layers[name].dtype == "uint8":
        counts = _histogram(store, name, band)[:NODATA_VALUE]
        moments = _moments(np.flatnonzero(counts).astype(float), counts[counts > 0])
        parts = [moments] if moments else []
    else:
        rows = (r[~np.isnan(r)].astype(float) for r in _strips(store, name, band))
        parts = [moments for r in rows if (moments := _moments(r, np.ones(r.size, int)))]
    if not parts:
        return {}
    counted, sums, squares, lows, highs = zip(*parts, strict=True)
    count = sum(counted)
    mean = sum(sums) / count
    deviation = max(sum(squares) / count - mean * mean, 0.0) ** 0.5
    share = 100 * count / (store.shape.height * store.shape.width)
    return {
        "STATISTICS_MINIMUM": f"{min(lows):.10g}",
        "STATISTICS_MAXIMUM": f"{max(highs):.10g}",
        "STATISTICS_MEAN": f"{mean:.10g}",
        "STATISTICS_STDDEV": f"{deviation:.10g}",
        "STATISTICS_VALID_PERCENT": f"{share:.4g}",
    }


def _moments(
    values: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[int, float, float, float, float] | None:
    """Number, sum, sum of squares, minimum and maximum of values that occur so often."""
    if not values.size:
        return None
    return (
        int(counts.sum()),
        float(values @ counts),
        float(np.square(values) @ counts),
        float(values.min()),
        float(values.max()),
    )


def _tags(done: FinishedMap) -> dict[str, str]:
    """How the map was made, for the TIFF's metadata."""
    job, card = done.job, done.card
    thresholds = ",".join(
        f"{c.name}={c.threshold if job.threshold is None else job.threshold:g}"
        for c in done.classes
    )
    parameters = {
        "VERSION": plugin_version(),
        "INPUT": Path(job.input).name,
        "BANDS": ",".join(map(str, done.bands)),
        "MODEL": card.name,
        "MODEL_VERSION": card.version,
        "MODEL_SHA256": _model_hash(done),
        "MODEL_LICENSE": card.license,
        "CLASSES": ",".join(f"{c.value}={c.name}" for c in done.classes),
        "THRESHOLDS": thresholds,
        "RUNTIME": done.runtime,
        "PRECISION": done.precision,
        "TTA": str(job.tta).lower(),
        "AREA_OF_INTEREST": str(job.aoi is not None).lower(),
    }
    tags = {f"UNET_SEGMENTER_{key}": value for key, value in parameters.items()}
    return {"TIFFTAG_SOFTWARE": f"U-Net Segmenter {plugin_version()}", **tags}


def _model_hash(done: FinishedMap) -> str:
    formats = "keras" if done.runtime == "tensorflow" else "onnx"
    file = done.card.file(formats)
    return file.sha256 if file else ""


def _write_sidecars(raster: Path, look: tuple[ClassLook, ...]) -> None:
    """A QGIS style and an attribute table beside the mask."""
    raster.with_suffix(".qml").write_text(qml_style(look), encoding="utf-8")
    table = raster.with_name(raster.name + ".aux.xml")
    if driver_of(raster) == "COG":  # other formats keep what they cannot hold in this file
        table.write_text(attribute_table(look), encoding="utf-8")


def _raster_last(folder: Path, raster: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: (path == raster, path.name))


def _result(done: FinishedMap, look: tuple[ClassLook, ...], counts: NDArray[np.int64]) -> JobResult:
    pixel = done.grid.pixel_area()
    areas = tuple(
        ClassArea(
            c.value,
            c.name,
            c.color,
            int(counts[c.value]),
            None if pixel is None else pixel * int(counts[c.value]),
        )
        for c in look
    )
    outputs = {name: Path(path).absolute() for name, path in done.job.outputs().items()}
    if "SUMMARY" in outputs:
        outputs["QUICKLOOK"] = quicklook_path(outputs["SUMMARY"])
    return JobResult(
        outputs={name: str(path) for name, path in outputs.items()},
        blocks=done.blocks,
        resumed_blocks=done.resumed_blocks,
        pixels=done.grid.shape.height * done.grid.shape.width,
        nodata_pixels=int(counts[NODATA_VALUE]),
        seconds=time.monotonic() - done.started,
        areas=areas,
        runtime=done.runtime,
        precision=done.precision,
        model=done.card.name,
        model_version=done.card.version,
        model_sha256=_model_hash(done),
        warnings=done.warnings,
    )


def _report(
    result: JobResult, done: FinishedMap, store: BlockStore, look: tuple[ClassLook, ...]
) -> dict[Path, Path]:
    """The HTML summary and the quick look of image beside mask."""
    summary = Path(str(done.job.summary)).absolute()
    picture = quicklook_path(summary)
    with RasterSource(done.job.input) as source:
        image, valid = source.overview(
            done.bands, _QUICKLOOK_SIDE, done.card.input.value_range, done.region
        )
    mask = store.read_shrunk("OUTPUT", *valid.shape)
    drawing = store.folder / "quicklook.png"
    draw_quicklook(image, valid, mask, look, done.card.input.value_range, drawing)
    page = store.folder / "summary.html"
    page.write_text(summary_page(result, done.job, done.card, done.grid, drawing), "utf-8")
    return {drawing: picture, page: summary}


def _publish(source: Path, target: Path) -> None:
    try:
        if source.stat().st_dev != target.parent.stat().st_dev:
            source = _copied_beside(source, target)
        source.replace(target)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be replaced: {error.strerror}. Close the programs that show it, and "
            "run the same command again: only this step is left."
        ) from error


def _copied_beside(source: Path, target: Path) -> Path:
    """A copy on the target's disk: a file cannot be renamed from one disk to another."""
    copy = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(source, copy)
    except OSError:
        copy.unlink(missing_ok=True)
        raise
    return copy
