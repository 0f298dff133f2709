# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns the blocks of a finished run into raster files.

Everything is made whole in the unfinished run's folder and then renamed, so a file under its
final name is always whole. The rasters hold nothing that changes from run to run (no time, no
path), so equal runs give equal bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..version import plugin_version
from .block_flow import stop_if
from .block_store import BlockStore
from .errors import OutputError
from .input_state import check_unchanged
from .job import ClassArea
from .legend import ClassLook, attribute_table, colors, qml_style
from .model_card import NODATA_VALUE
from .progress import Progress
from .rasters.grid import RasterGrid
from .rasters.writer import driver_of, write_raster
from .raw_image import BandImage
from .shares import PROBABILITY_STEPS
from .side_files import is_foreign_style, mark_of, stale_files, style_path, table_path


@dataclass(frozen=True)
class LayerMeaning:
    """What the bands of one output hold.

    Parameters
    ----------
    descriptions : tuple of str
        One a band.
    looks : tuple of ClassLook
        The classes, for a band of class values; empty for numbers.
    is_share : bool
        Whether values are shares 0-1: kept as uint8 they are steps of 1/254.
    """

    descriptions: tuple[str, ...]
    looks: tuple[ClassLook, ...] = ()
    is_share: bool = False


def software_tags(items: Mapping[str, str]) -> dict[str, str]:
    """How a raster was made, for its metadata: our own keys, and the version that wrote it."""
    tags = {f"UNET_SEGMENTER_{key}": value for key, value in items.items()}
    tags["UNET_SEGMENTER_VERSION"] = plugin_version()
    return {"TIFFTAG_SOFTWARE": f"U-Net Segmenter {plugin_version()}", **tags}


def write_layers(
    store: BlockStore,
    targets: Mapping[str, str],
    meanings: Mapping[str, LayerMeaning],
    grid: RasterGrid,
    tags: Mapping[str, str],
    progress: Progress,
    threads: int,
) -> dict[Path, Path]:
    """Write each layer of a store that has a target as a raster in the store's folder.

    Parameters
    ----------
    store : BlockStore
        All of its blocks are finished.
    targets : dict
        Path by layer.
    meanings : dict
        What each layer holds.
    grid : RasterGrid
        Where the store's pixels lie.
    tags : dict
        Metadata of every raster.
    progress : Progress
        Is notified which file is being written.
    threads : int
        Threads for compression.

    Returns
    -------
    dict
        Where each file is to go, by where it is; a raster after its side files. `publish` moves
        them.

    Raises
    ------
    OutputError
        If a file cannot be written; the blocks stay for the same command.
    """
    made: dict[Path, Path] = {}
    for name in (layer for layer in store.layers if layer in targets):
        target, meaning = Path(targets[name]).absolute(), meanings[name]
        stop_if(progress.cancelled)
        progress.advance(len(store.finished), len(store.finished), f"Writing {target.name}")
        whole = store.folder / name  # under its final name: some formats name files in files
        whole.mkdir(exist_ok=True)
        raster = whole / target.name
        write_raster(_band_image(store, name, meaning, tags), grid, raster, threads)
        if meaning.looks:
            _write_sidecars(raster, meaning.looks)
        if meaning.looks and is_foreign_style(target):
            style_path(raster).unlink()
            progress.log(
                "warning",
                f"{style_path(target)} is no style that this plugin wrote for {target.name}, so it "
                "stays as it is. QGIS may show the map by it; load the map's own colours from its "
                "colour table.",
            )
        made |= {path: target.with_name(path.name) for path in _raster_last(whole, raster)}
    stop_if(progress.cancelled)  # a cancel while the last raster was written is no success
    return made


def publish(made: Mapping[Path, Path], inputs: Mapping[str, Sequence[int]]) -> None:
    """Move finished files to their names; side files of earlier ones there go.

    Parameters
    ----------
    made : dict
        Where each file is to go, by where it is.
    inputs : dict
        What `source_state` gave when the run began.

    Raises
    ------
    InputError
        If a file was changed while the run read it.
    OutputError
        If one there cannot be replaced.
    """
    check_unchanged(inputs)
    targets = set(made.values())
    for source, target in made.items():
        for stale in stale_files(target):
            if stale not in targets:
                _remove(stale)
        _move(source, target)


def histogram(store: BlockStore, name: str, band: int = 0) -> NDArray[np.int64]:
    """How many pixels of a uint8 band hold each of the 256 values."""
    counts = np.zeros(256, np.int64)
    for _, values in store.parts(name, band):
        counts += np.bincount(values.ravel(), minlength=256)
    counts[NODATA_VALUE] += store.shape.height * store.shape.width - counts.sum()
    return counts


def ground_areas(
    store: BlockStore, name: str, counts: NDArray[np.int64], grid: RasterGrid
) -> NDArray[np.float64] | None:
    """Square metres on the ground that each of the 256 values of a uint8 layer covers.

    None without a CRS.

    Parameters
    ----------
    counts : ndarray of int, shape (256,)
        The layer's `histogram`, which is enough where all pixels are of one size.
    """
    metric = grid.metric()
    if metric is None:
        return None
    if metric.is_uniform:
        return counts.astype(np.float64) * float(metric.lattice.mean())
    total = np.zeros(256)
    for window, values in store.parts(name, 0):
        weights = metric.areas(window.row, window.row_stop)
        if weights.shape[1] > 1:
            weights = weights[:, window.col : window.col_stop]
        weights = np.broadcast_to(weights, values.shape)
        total += np.bincount(values.ravel(), weights.ravel(), minlength=256)
    if not store.is_full:
        total[NODATA_VALUE] += metric.total() - total.sum()
    return total


def class_areas(
    looks: tuple[ClassLook, ...],
    counts: NDArray[np.int64],
    areas: NDArray[np.float64] | None,
) -> tuple[ClassArea, ...]:
    """How much of a map each class covers, from its `histogram` and its `ground_areas`."""
    return tuple(
        ClassArea(
            look.value,
            look.name,
            look.color,
            int(counts[look.value]),
            None if areas is None else float(areas[look.value]),
        )
        for look in looks
    )


def _band_image(
    store: BlockStore, name: str, meaning: LayerMeaning, tags: Mapping[str, str]
) -> BandImage:
    layer = store.layers[name]
    in_bytes = layer.dtype == "uint8"
    return BandImage(
        path=store.raw_path(name),
        dtype=layer.dtype,
        descriptions=meaning.descriptions,
        nodata=NODATA_VALUE if in_bytes else float("nan"),
        is_category=bool(meaning.looks),
        scale=1 / PROBABILITY_STEPS if meaning.is_share and in_bytes else 1.0,
        colors=colors(meaning.looks),
        statistics=tuple(_statistics(store, name, band) for band in range(layer.bands)),
        tags=tags,
        windows=None if store.is_full else store.windows(),
    )


def _statistics(store: BlockStore, name: str, band: int) -> dict[str, str]:
    """Exact statistics of one band as GDAL's metadata items; empty without any data."""
    if store.layers[name].dtype == "uint8":
        counts = histogram(store, name, band)[:NODATA_VALUE]
        moments = _moments(np.flatnonzero(counts).astype(float), counts[counts > 0])
        parts = [moments] if moments else []
    else:
        known = (v[~np.isnan(v)].astype(float) for _, v in store.parts(name, band))
        parts = [moments for v in known if (moments := _moments(v, np.ones(v.size, int)))]
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


def _write_sidecars(raster: Path, looks: tuple[ClassLook, ...]) -> None:
    """A QGIS style and an attribute table beside the map."""
    mark = mark_of(raster)
    style_path(raster).write_text(qml_style(looks, mark), encoding="utf-8")
    if driver_of(raster) == "COG":  # other formats keep what they cannot hold in this file
        table_path(raster).write_text(attribute_table(looks, mark), encoding="utf-8")


def _raster_last(folder: Path, raster: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: (path == raster, path.name))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path} describes the raster that is replaced, but cannot be removed: "
            f"{error.strerror}. Remove it, and run the same command again: only this step is left."
        ) from error


def _move(source: Path, target: Path) -> None:
    try:
        _sync(source)
        if source.stat().st_dev != target.parent.stat().st_dev:
            source = _copied_beside(source, target)
        source.replace(target)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be replaced: {error.strerror}. Close the programs that show it, and "
            "run the same command again: only this step is left."
        ) from error


def _sync(path: Path) -> None:
    """Wait until a file is on the disk: after a power cut its name must not be that of less."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _copied_beside(source: Path, target: Path) -> Path:
    """A copy on the target's disk: a file cannot be renamed from one disk to another."""
    copy = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(source, copy)
        _sync(copy)
    except OSError:
        copy.unlink(missing_ok=True)
        raise
    return copy
