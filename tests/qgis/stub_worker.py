# SPDX-License-Identifier: GPL-2.0-or-later
"""A real worker process whose engine writes a constant mask, with QGIS's own GDAL.

It lets the algorithms be tested where there is no engine: everything but `run_job` is the
product's. The class wanted decides what happens.
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


if __name__ == "__main__":
    worker.run_and_exit(sys.argv[1:], runs={"segment": segment})
