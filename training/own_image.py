# SPDX-License-Identifier: GPL-2.0-or-later
"""From one image and the polygons drawn on it to a data set in the run's folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.progress import Progress

from .block_file import BLOCKS, TEST_BLOCKS
from .checkpoint import LAST
from .prepare_spec import PrepareSpec
from .run import read_json, write_json
from .train_spec import TrainSpec

FOLDER = "dataset"
"""Within the run's folder."""
INPUTS = "inputs.json"
FRACTIONS = (0.6, 0.2, 0.2)
"""Of the blocks for training, validation and test."""


def with_dataset(spec: TrainSpec, progress: Progress) -> TrainSpec:
    """Prepare the data set of a spec's image, and return the spec with the data set instead.

    What was prepared before of the same image and polygons stays.

    Raises
    ------
    SegmenterError
        If something cannot be read or does not fit, or the run was begun with something else.
    """
    if not spec.image:
        return spec
    from .prepare import prepare

    folder, run = spec.run_folder / FOLDER, spec.run_folder
    wanted = PrepareSpec(
        source=spec.image, output=str(folder), reader="geo", labels=spec.polygons,
        field=spec.field, areas=spec.areas, samples=spec.samples, bands=spec.bands, chip=0,
        nodata=spec.nodata, crs=spec.crs,
        fractions=FRACTIONS, title=Path(spec.image).stem, license=spec.license,
        citation=spec.citation, overwrite=True,
    )  # fmt: skip
    told = {"inputs": _digest(wanted)}
    before = read_json(run / INPUTS)
    if before != told or not (folder / "dataset.json").is_file():
        if before is not None and any(run.rglob(LAST)):
            raise JobError(
                f"image, polygons or areas are not those with which the run in {run} was begun; "
                "name another output, or remove that folder"
            )
        progress.log("info", f"preparing chips of {spec.image}")
        prepare(wanted, progress)
        write_json(run / INPUTS, told)
        for name in (BLOCKS, TEST_BLOCKS):
            (run / name).unlink(missing_ok=True)
            if (folder / name).is_file():
                shutil.copyfile(folder / name, run / name)
    return replace(
        spec, dataset=str(folder), image="", polygons="", field="", areas="", samples="auto",
        bands=(), nodata=(), crs="",
    )  # fmt: skip


def _digest(spec: PrepareSpec) -> str:
    """Return a hash of what is in the image's and the polygons' files, wherever these lie."""
    from unet_segmenter.engine.vector import read_labelled_polygons, read_polygons

    image = Path(spec.source)
    when = (image.stat().st_size, image.stat().st_mtime_ns) if image.is_file() else ()
    told: list[object] = [str(image.absolute()), when, spec.field, spec.samples, spec.bands]
    told += [spec.nodata, spec.crs]
    for path, field in ((spec.labels, spec.field), (spec.areas, "")):
        if path and Path(path).suffix.lower() not in (".tif", ".tiff"):
            told.append(read_labelled_polygons(path, field) if field else read_polygons(path))
        else:
            told.append(path)
    return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()
