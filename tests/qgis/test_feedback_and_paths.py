# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress and Ctrl-C reach Processing; layers reach the engine as GDAL paths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from osgeo import gdal
from qgis.core import QgsProcessingException, QgsRasterLayer

from tests.qgis.samples import write_raster
from unet_segmenter.engine.errors import InputError
from unet_segmenter.processing import temporary_files
from unet_segmenter.processing.base_algorithm import processing_errors
from unet_segmenter.processing.feedback import FeedbackProgress, interrupt_cancels
from unet_segmenter.processing.parameters import raster_path


def test_messages_name_layers_not_the_files_in_which_they_travel(feedback):
    temporary_files.name("/tmp/x/aoi.gpkg", "parcels (AOI)")
    FeedbackProgress(feedback).log("warning", "/tmp/x/aoi.gpkg has no CRS.")
    assert feedback.told == [("warning", "parcels (AOI) has no CRS.")]
    words = r"^The area parcels \(AOI\) is empty"
    with pytest.raises(QgsProcessingException, match=words), processing_errors():
        raise InputError("The area /tmp/x/aoi.gpkg is empty.")


def test_progress_is_in_percent_and_a_stage_is_named_once(feedback):
    progress = FeedbackProgress(feedback)
    progress.advance(1, 4, "Predicting")
    progress.advance(2, 4, "Predicting")
    assert feedback.progress() == 50
    progress.advance(4, 4, "Writing mask.tif")
    assert feedback.progress() == 100
    assert feedback.stages == ["Predicting", "Writing mask.tif"]
    progress.advance(0, 0)
    assert feedback.progress() == 100


def test_a_stage_that_was_just_logged_is_not_named_again(feedback):
    progress = FeedbackProgress(feedback)
    progress.log("info", "Collecting numpy")
    progress.advance(1, 4, "Collecting numpy")
    assert (feedback.told, feedback.stages) == ([("info", "Collecting numpy")], [])
    assert feedback.progress() == 25


def test_the_time_left_is_told_now_and_then_and_a_new_stage_at_once(feedback):
    now = [0.0]
    progress = FeedbackProgress(feedback, clock=lambda: now[0])
    for second in range(50):
        now[0] = float(second)
        progress.advance(second, 100, f"epoch 1 of 2, {100 - second} s left")
    progress.advance(50, 100, "epoch 2 of 2, 50 s left")
    assert feedback.stages == [
        "epoch 1 of 2, 100 s left",
        "epoch 1 of 2, 80 s left",
        "epoch 1 of 2, 60 s left",
        "epoch 2 of 2, 50 s left",
    ]
    assert feedback.progress() == 50


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_message_keeps_its_level(feedback, level):
    FeedbackProgress(feedback).log(level, "One sentence.")
    assert feedback.told == [(level, "One sentence.")]


def test_an_interrupt_cancels_and_the_handler_of_before_comes_back(feedback):
    before = signal.getsignal(signal.SIGINT)
    with interrupt_cancels(feedback):
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 5
        while not feedback.isCanceled() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert FeedbackProgress(feedback).cancelled()
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_interrupts_are_left_alone(feedback):
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def run():
        with interrupt_cancels(feedback):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_file_is_handed_over_by_its_absolute_path(tmp_path, monkeypatch):
    write_raster(tmp_path / "a.tif")
    monkeypatch.chdir(tmp_path)
    assert raster_path(QgsRasterLayer("a.tif"), "INPUT") == str(tmp_path / "a.tif")


def test_a_name_with_a_bar_is_a_name(tmp_path):
    write_raster(tmp_path / "a|b.tif")
    assert raster_path(QgsRasterLayer(str(tmp_path / "a|b.tif")), "INPUT").endswith("/a|b.tif")


def test_a_file_in_an_archive_keeps_gdal_s_prefix(tmp_path):
    write_raster(tmp_path / "a.tif")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.tif", "inside/a.tif")
    path = f"/vsizip/{tmp_path}/a.zip/inside/a.tif"
    found = raster_path(QgsRasterLayer(path), "INPUT")
    assert gdal.Open(found).RasterXSize == 60


def test_a_table_of_a_geopackage_can_be_opened_by_its_path(tmp_path):
    write_raster(tmp_path / "a.tif")
    package = tmp_path / "a.gpkg"
    gdal.Translate(str(package), str(tmp_path / "a.tif"), format="GPKG")
    layer = QgsRasterLayer(f"GPKG:{package}:a")
    assert layer.isValid()
    assert gdal.Open(raster_path(layer, "INPUT")).RasterXSize == 60


def test_open_options_of_qgis_are_taken_off(tmp_path):
    write_raster(tmp_path / "a.tif")
    layer = QgsRasterLayer(f"{tmp_path}/a.tif|option:NUM_THREADS=2")
    assert layer.isValid()
    assert raster_path(layer, "INPUT") == str(tmp_path / "a.tif")


def test_what_is_no_raster_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="INPUT is no raster"):
        raster_path(None, "INPUT")
    with pytest.raises(InputError, match="INPUT is no raster"):
        raster_path(QgsRasterLayer(str(tmp_path / "no.tif")), "INPUT")


def test_importing_the_plugin_imports_no_package_of_the_engine_and_no_widgets():
    repository = Path(__file__).resolve().parents[2]
    code = (
        # What QGIS's own modules import is not ours: from 3.40 on numpy is among it.
        "import sys; import qgis.core, unet_segmenter; before = set(sys.modules); "
        "import unet_segmenter.plugin; "
        "import unet_segmenter.runners.worker_process; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "unet_segmenter.processing.provider" in loaded
    tops = {name.partition(".")[0] for name in loaded}
    assert not tops & {"numpy", "rasterio", "openvino", "onnxruntime", "tensorflow", "pyogrio"}
    assert "unet_segmenter.gui.options" not in loaded
