# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the tests inside QGIS: the provider, a raster, a model, a stub of the engine."""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProject,
    QgsSettings,
)

from tests.qgis.samples import write_model, write_polygons, write_raster
from unet_segmenter.plugin import UnetSegmenterPlugin
from unet_segmenter.processing import alg_segment, settings, worker_run
from unet_segmenter.runners.worker_process import WorkerProcess

STUB = Path(__file__).with_name("stub_worker.py")


class Feedback(QgsProcessingFeedback):
    """Keeps what is told; cancels when told to."""

    def __init__(self):
        super().__init__(False)
        self.told, self.stages = [], []

    def pushInfo(self, info):
        self.told.append(("info", info))

    def pushWarning(self, warning):
        self.told.append(("warning", warning))

    def reportError(self, error, fatalError=False):  # noqa: N803 - QGIS names it
        self.told.append(("error", error))

    def setProgressText(self, text):
        self.stages.append(text)

    def job(self):
        """The job that the stub was given."""
        (text,) = [t for _, t in self.told if t.startswith("job=")]
        return json.loads(text[4:])


@pytest.fixture
def feedback():
    return Feedback()


@pytest.fixture
def cancelled_when_busy(feedback):
    """Cancel once the worker told its first stage; gives when that was, in a list."""
    times = []

    def wait_and_cancel():
        deadline = time.monotonic() + 60
        while not feedback.stages and time.monotonic() < deadline:
            time.sleep(0.02)
        times.append(time.monotonic())
        feedback.cancel()

    thread = threading.Thread(target=wait_and_cancel, daemon=True)
    thread.start()
    yield times
    thread.join()


@pytest.fixture
def context(qgis_app):
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    yield context
    # pytest may hold the last context until GDAL is gone
    context.temporaryLayerStore().removeAllMapLayers()


@pytest.fixture(autouse=True)
def clean_settings(qgis_app, monkeypatch):
    """The options are empty, whatever the user of this machine has."""
    for key in (settings.PYTHON_KEY, settings.MODELS_KEY):
        QgsSettings().remove(key)
    monkeypatch.delenv("UNET_SEGMENTER_MODELS", raising=False)
    yield
    for key in (settings.PYTHON_KEY, settings.MODELS_KEY):
        QgsSettings().remove(key)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A library with one model, whose weights are never read: the stub does not open them."""
    library = tmp_path_factory.mktemp("models")
    write_model(library / "toy")
    return library


@pytest.fixture
def library(model_folder):
    """The user named the folder of the toy model in the options."""
    settings.set_models_folder(str(model_folder))
    return model_folder


@pytest.fixture
def provider(qgis_app, library):
    """The provider as QGIS has it after the plugin's start."""
    plugin = UnetSegmenterPlugin(None)
    plugin.initProcessing()
    yield QgsApplication.processingRegistry().providerById("unet_segmenter")
    plugin.unload()


@pytest.fixture
def stub_engine(monkeypatch):
    """The algorithms start the stub worker, in this very Python."""
    monkeypatch.setenv("UNET_SEGMENTER_PYTHON", sys.executable)
    for module in (alg_segment, worker_run):
        monkeypatch.setattr(
            module, "WorkerProcess", functools.partial(WorkerProcess, worker=(str(STUB),))
        )


@pytest.fixture
def run(provider, context, feedback):
    """Run an algorithm as Processing does; gives its results, or None where it fails."""

    def run_algorithm(name, **parameters):
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(
            f"unet_segmenter:{name}"
        )
        ok, message = algorithm.checkParameterValues(parameters, context)
        assert ok, message
        results, success = algorithm.run(parameters, context, feedback)
        return results if success else None

    return run_algorithm


@pytest.fixture
def refusal(provider, context):
    """What `checkParameterValues` says of parameters that it must refuse."""

    def check(name, **parameters):
        ok, message = provider.algorithm(name).create().checkParameterValues(parameters, context)
        assert not ok
        return message

    return check


@pytest.fixture(scope="session")
def polygons(tmp_path_factory):
    """Two polygons in longitude and latitude over the raster, with a field of classes."""
    path = tmp_path_factory.mktemp("polygons") / "labels.gpkg"
    write_polygons(path)
    return str(path)


@pytest.fixture(scope="session")
def raster(tmp_path_factory):
    """An RGB raster of 60 x 40 px of 0.1 m in UTM 17N."""
    path = tmp_path_factory.mktemp("raster") / "image with space.tif"
    write_raster(path)
    return str(path)
