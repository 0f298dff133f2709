# SPDX-License-Identifier: GPL-2.0-or-later
"""A real worker process whose engine writes a constant mask, with QGIS's own GDAL.

It lets the algorithms be tested where there is no engine: everything but the functions that do
the jobs is the product's. The class wanted, or the title of a data set, decides what happens.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from osgeo import gdal

from unet_segmenter.engine.errors import Cancelled, InputError
from unet_segmenter.engine.job import ClassArea, JobResult, JobSpec
from unet_segmenter.engine.progress import Progress
from unet_segmenter.runners import worker
from unet_segmenter.runners.job_kinds import JOB_KINDS, JobKind, PlainJob

gdal.UseExceptions()


def segment(job: JobSpec, progress: Progress) -> JobResult:
    """Write a mask of ones on the input's grid, and the job beside it."""
    progress.log("warning", "The ground sampling distance is a guess.")
    if job.model.endswith("refused"):
        raise InputError(f"{job.input} has no band 7; it has 3.")
    if job.classes == ("slow",):
        Path(job.output + ".pid").write_text(str(os.getpid()))
        for done in range(600):
            if progress.cancelled():
                raise Cancelled("Stopped between two blocks.")
            progress.advance(done, 600, "Predicting")
            time.sleep(0.1)
    source = gdal.Open(job.input)
    pixels = source.RasterXSize * source.RasterYSize
    for name, path in job.outputs().items():
        if name == "SUMMARY":
            Path(path).write_text("<html><body>Summary</body></html>", encoding="utf-8")
            continue
        target = gdal.GetDriverByName("GTiff").Create(
            path, source.RasterXSize, source.RasterYSize, 1, gdal.GDT_Byte
        )
        target.SetGeoTransform(source.GetGeoTransform())
        target.SetProjection(source.GetProjection())
        target.GetRasterBand(1).Fill(1)
        target.FlushCache()
    for done in range(1, 5):
        progress.advance(done, 4, "Predicting")
    told = {**job.to_json(), "environ": {k: v for k, v in os.environ.items() if "UNET" in k}}
    progress.log("info", "job=" + json.dumps(told))
    areas = (
        ClassArea(0, "not vegetation", "#d9d9d9", 0, None),
        ClassArea(1, "vegetation", "#228b22", pixels, None),
    )
    return JobResult(
        {name: str(Path(path).absolute()) for name, path in job.outputs().items()},
        *(4, 0, pixels, 7, 1.2345, areas, "openvino", "f32", job.model, "1.0.0", "00"),
    )


def fuse(job: PlainJob, progress: Progress) -> PlainJob:
    """Write rasters of ones on the grid of what is read first, and fixed numbers."""
    tell_job(job, progress)
    source = gdal.Open((job.values.get("inputs") or [job.values.get("input")])[0])
    names = ("output", "probability", "confidence", "conflict", "entropy", "summary")
    outputs = {name: job.values[name] for name in names if job.values.get(name)}
    for name, path in outputs.items():
        if name == "summary":
            Path(path).write_text("<html></html>", encoding="utf-8")
            continue
        target = gdal.GetDriverByName("GTiff").CreateCopy(path, source)
        target.GetRasterBand(1).Fill(1)
        target.FlushCache()
    areas = [{"value": 1, "name": "grass", "color": "#228b22", "pixels": 2400, "area": 24.0}]
    result = {"unknown_share": 0.25, "conflict_share": 0.125, "pixels": 2400, "nodata_pixels": 7}
    named = {name.upper(): path for name, path in outputs.items()}
    result |= {"runtime": "openvino", "precision": "f32", "changed_share": 0.5}
    return PlainJob({**result, "blocks": 1, "seconds": 0.5, "areas": areas, "outputs": named})


def refine(job: PlainJob, progress: Progress) -> PlainJob:
    """Write a raster of ones on the grid of the image, and fixed numbers."""
    tell_job(job, progress)
    path = job.values["output"]
    target = gdal.GetDriverByName("GTiff").CreateCopy(path, gdal.Open(job.values["input"]))
    target.GetRasterBand(1).Fill(1)
    target.FlushCache()
    area = {"value": 1, "name": "grass", "color": "#228b22", "pixels": 2400, "area": 24.0}
    areas = [{**area, "before": 2100, "lost": 0, "gained": 300}]
    result = {"changed_share": 0.125, "changed_pixels": 300, "pixels": 2400, "nodata_pixels": 7}
    return PlainJob({**result, "areas": areas, "outputs": {"OUTPUT": path}})


def evaluate(job: PlainJob, progress: Progress) -> PlainJob:
    """Tell fixed scores, and write the files that were asked for."""
    tell_job(job, progress)
    for name in ("html", "csv", "json"):
        if job.values.get(name):
            Path(job.values[name]).write_text(name, encoding="utf-8")
    return PlainJob(SCORES)


def prepare(job: PlainJob, progress: Progress) -> PlainJob:
    """Make the folder with nothing but a report."""
    tell_job(job, progress)
    if job.values["title"] == "slow":
        wait_for_cancel(progress, "preparing was stopped; nothing was written")
    if job.values["title"] == "refused":
        raise InputError(
            "masks/a.png: 3 % of its pixels have the colour #123456, which is no class."
        )
    folder = Path(job.values["output"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text("<html></html>", encoding="utf-8")
    classes = {"classes": [{"value": 1, "name": "grass"}, {"value": 2, "name": "tree"}]}
    (folder / "dataset.json").write_text(json.dumps(classes), encoding="utf-8")
    return PlainJob(
        {
            "folder": str(folder),
            "title": "T",
            "classes": ["grass", "tree"],
            "samples": 4,
            "sides": {"train": 3, "validation": 1, "test": 0},
            "split": "blocks",
            "leak": {"share": 0.25},
            "report": str(folder / "report.html"),
            "sheet": str(folder / "contact_sheet.png"),
        }
    )


def train(job: PlainJob, progress: Progress) -> PlainJob:
    """Two epochs without a network."""
    tell_job(job, progress)
    if job.values["title"] == "slow":
        wait_for_cancel(progress, "stopped after 3 epochs; the best weights are in RUN")
    for epoch in (1, 2):
        progress.log("info", f"epoch {epoch}: mean IoU 0.{epoch}")
        progress.advance(epoch, 2, f"epoch {epoch} of 2, 1 min left")
    folder = Path(job.values["output"])
    folder.mkdir(parents=True, exist_ok=True)
    return PlainJob(
        {
            "model_folder": str(folder),
            "report": str(folder / "report.html"),
            "metrics": {"mean_iou": 0.2},
        }
    )


def wait_for_cancel(progress: Progress, words: str) -> None:
    """Be busy until the user stops it; then say so after a while."""
    while not progress.cancelled():
        progress.advance(1, 100, "Busy")
        time.sleep(0.05)
    time.sleep(0.3)
    raise Cancelled(words)


def tell_job(job: PlainJob, progress: Progress) -> None:
    """Let the test see the job."""
    progress.log("info", "job=" + json.dumps(job.to_json()))


SCORES = {
    "mean_iou": 0.5,
    "overall_accuracy": 0.75,
    "frequency_weighted_iou": 0.625,
    "mcc": 0.25,
    "pixels": 2400,
}

if __name__ == "__main__":
    for name in ("landcover", "fuse", "refine", "evaluate", "prepare", "train"):
        # The real classes of these jobs need packages that QGIS's Python may lack.
        plain = JobKind("runners.job_kinds:PlainJob", "", seconds_to_stop=1.0)
        JOB_KINDS[name] = plain
    runs = {"segment": segment, "landcover": fuse, "fuse": fuse, "refine": refine}
    runs |= {"evaluate": evaluate, "prepare": prepare, "train": train}
    worker.run_and_exit(sys.argv[1:], runs=runs)
