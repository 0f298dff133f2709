# SPDX-License-Identifier: GPL-2.0-or-later
"""Preparing, training and evaluating with the real qgis_process, worker and packages."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.training_samples import draw, truth, write, write_folders, write_polygons

pytestmark = pytest.mark.qgis


@pytest.fixture(scope="module")
def program():
    """The qgis_process that works here."""
    if not os.environ.get("QGIS_PROCESS") or not os.environ.get("UNET_SEGMENTER_PYTHON"):
        pytest.skip('QGIS_PROCESS is not set: run eval "$(make -s env)" first')
    return os.environ["QGIS_PROCESS"]


@pytest.fixture(scope="module")
def qgis(program):
    """Run an algorithm; gives exit code, results, and all that was printed."""

    def run(name, *pairs, **variables):
        done = subprocess.run(
            [program, "run", f"unet_segmenter:{name}", "--", *pairs],
            env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "LC_ALL": "C.UTF-8", **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        printed = done.stdout + done.stderr
        _, _, results = done.stdout.partition("Results")
        return (
            done.returncode,
            dict(re.findall(r"^([A-Z_]+):\t(.*)$", results, re.MULTILINE)),
            printed,
        )

    return run


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("in") / "views")


@pytest.fixture(scope="module")
def dataset(qgis, folders, tmp_path_factory):
    """A data set that `preparedataset` made."""
    output = tmp_path_factory.mktemp("sets") / "views"
    code, results, printed = qgis(
        *("preparedataset", "SOURCE=folders", f"FOLDER={folders}", "SPLIT=random"),
        *("CLASSES=meadow,road", "FRACTIONS=67/33", f"OUTPUT={output}"),
    )
    assert code == 0, printed
    return output, results


def test_folders_become_a_prepared_data_set(dataset):
    output, results = dataset
    assert results["CLASS_NAMES"] == "meadow,road"
    assert (results["SAMPLES"], results["TRAIN"], results["VALIDATION"]) == ("6", "4", "2")
    assert 0 <= float(results["LEAK_SHARE"]) <= 1
    assert json.loads((output / "dataset.json").read_text())["format"] == "unet-segmenter-dataset"
    assert Path(results["SHEET"]).stat().st_size > 1000
    assert "meadow" in Path(results["REPORT"]).read_text(encoding="utf-8")


def test_a_raster_with_polygons_becomes_chips_split_by_blocks(qgis, tmp_path):
    image = write(tmp_path / "image.tif", draw(256, 320))
    labels = write_polygons(tmp_path / "labels.geojson", 256, 320)
    code, results, printed = qgis(
        *("preparedataset", "SOURCE=raster", f"RASTER={image}", f"LABELS={labels}"),
        *("FIELD=kind", "CLASSES=road;meadow", "CHIP_SIZE=64", "SPLIT_BLOCK=64"),
        *("FRACTIONS=50/25/25", f"OUTPUT={tmp_path / 'set'}"),
    )
    assert code == 0, printed
    assert results["CLASS_NAMES"] == "road,meadow"
    assert int(results["SAMPLES"]) == 4 * 5
    assert int(results["TRAIN"]) > int(results["VALIDATION"]) > 0
    assert int(results["TEST"]) > 0
    described = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert described["gsd"] == 0.5002  # on the ground, which UTM draws smaller by 0.9996
    with (tmp_path / "set" / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["px_2"]) for row in rows) == 256 * 192  # meadow: 60 % of the columns


def test_an_error_in_the_data_names_the_file(qgis, tmp_path):
    broken = write_folders(tmp_path / "views")
    (broken / "masks" / "view3.png").unlink()
    code, _, printed = qgis(
        *("preparedataset", "SOURCE=folders", f"FOLDER={broken}", f"OUTPUT={tmp_path / 'set'}")
    )
    assert code != 0
    assert "view3" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "set").exists()


def test_a_map_is_evaluated_against_polygons_and_a_raster(qgis, tmp_path):
    height, width = 60, 90
    true = truth(height, width)
    claimed = true.copy()
    claimed[:, 50:54] = 2  # 4 of 54 columns of meadow are taken for road
    image = write(tmp_path / "map.tif", claimed[None], nodata=255)
    polygons = write_polygons(tmp_path / "truth.geojson", height, width)
    raster = write(tmp_path / "truth.tif", true[None], nodata=255)
    expected = (50 / 54 + 36 / 40) / 2
    for reference in ([f"REFERENCE={polygons}", "FIELD=kind"], [f"REFERENCE={raster}"]):
        page, table = tmp_path / "report.html", tmp_path / "classes.csv"
        code, results, printed = qgis(
            *("evaluate", f"INPUT={image}", *reference, "CLASS_NAMES=1=meadow,2=road"),
            *(f"HTML={page}", f"CSV={table}", f"JSON={tmp_path / 'all.json'}"),
        )
        assert code == 0, printed
        assert float(results["MEAN_IOU"]) == pytest.approx(expected, abs=1e-4)
        assert float(results["OVERALL_ACCURACY"]) == pytest.approx(86 / 90, abs=1e-4)
        assert float(results["PIXELS"]) == true.size
        assert "meadow" in page.read_text(encoding="utf-8")
        with table.open(encoding="utf-8") as file:
            assert {"meadow", "road"} <= {row[key] for row in csv.DictReader(file) for key in row}
        assert json.loads((tmp_path / "all.json").read_text())


def test_grids_that_do_not_fit_are_told_with_the_remedy(qgis, tmp_path):
    image = write(tmp_path / "map.tif", truth(40, 60)[None])
    other = write(tmp_path / "truth.tif", truth(30, 60)[None])
    code, _, printed = qgis("evaluate", f"INPUT={image}", f"REFERENCE={other}")
    assert code != 0
    assert "ALIGN" in printed or "align" in printed
    assert "Traceback" not in printed


TINY = ("PRESET=unet", "WIDTH=4", "DEPTH=2", "STEPS=8", "BATCH=2", "SIZE=32", "SEED=1")


@pytest.fixture(scope="module")
def model(qgis, dataset, tmp_path_factory):
    """A tiny model, in a folder of models."""
    output = tmp_path_factory.mktemp("models")
    code, results, printed = qgis(
        *("trainmodel", f"DATASET={dataset[0]}", *TINY, "EPOCHS=3", "LEARNING_RATE=0.02"),
        *("NAME=views", f"OUTPUT={output}"),
    )
    assert code == 0, printed
    return output / "views", results, printed


def test_a_model_is_trained_with_epochs_in_the_log(model):
    folder, results, printed = model
    assert results["OUTPUT"] == str(folder)
    assert results["MODEL_NAME"] == "views"
    assert 0 <= float(results["MEAN_IOU"]) <= 1
    assert {path.name for path in folder.iterdir()} >= {
        *("card.json", "model.onnx", "model.keras", "trainable.keras"),
    }
    assert Path(results["REPORT"]).is_file()
    assert "Watch it in a browser: " in printed
    for epoch in (1, 2, 3):
        assert re.search(rf"epoch {epoch}/3 .*mean IoU", printed), printed


def test_the_trained_model_maps_and_its_map_is_evaluated(qgis, model, tmp_path):
    folder = model[0]
    image = write(tmp_path / "image.tif", draw(96, 128, seed=9))
    reference = write_polygons(tmp_path / "truth.geojson", 96, 128)
    variables = {"UNET_SEGMENTER_MODELS": str(folder.parent)}
    code, _, printed = qgis(
        *("segment", f"INPUT={image}", "MODEL=views", f"OUTPUT={tmp_path / 'map.tif'}"),
        **variables,
    )
    assert code == 0, printed
    code, results, printed = qgis(
        *("evaluate", f"INPUT={tmp_path / 'map.tif'}", f"REFERENCE={reference}", "FIELD=kind")
    )
    assert code == 0, printed
    assert float(results["MEAN_IOU"]) > 0.5, "two colours are soon told apart"


def test_a_start_from_another_model_is_told(qgis, dataset, model, tmp_path):
    code, _, printed = qgis(
        *("trainmodel", f"DATASET={dataset[0]}", *TINY, "EPOCHS=1", "CLASSES=road"),
        *(f"START_FILE={model[0]}", f"OUTPUT={tmp_path / 'road'}"),
    )
    assert code == 0, printed
    assert re.search(r"layers begin with the weights of .*views", printed), printed


def test_an_interrupt_keeps_the_best_weights_and_the_same_run_goes_on(
    program, qgis, dataset, tmp_path
):
    run = tmp_path / "model.run"
    pairs = [f"DATASET={dataset[0]}", *TINY, "EPOCHS=400", f"OUTPUT={tmp_path / 'model'}"]
    process = subprocess.Popen(
        [program, "run", "unet_segmenter:trainmodel", "--", *pairs],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (run / "best.weights.h5").is_file():
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        told = time.monotonic()
        printed, _ = process.communicate(timeout=30)
        assert time.monotonic() - told < 10
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0
    assert re.search(rf"The best weights so far, .* are kept in {run}/best", printed), printed
    assert not (tmp_path / "model" / "card.json").exists()
    epochs = len((run / "history.csv").read_text().splitlines())
    code, _, printed = qgis("trainmodel", *pairs, "MINUTES=0.02")
    assert code == 0, printed
    resumed = int(re.search(r"resumed after epoch (\d+)", printed)[1])
    assert abs(resumed - epochs) <= 1
    assert (tmp_path / "model" / "card.json").is_file()
