# SPDX-License-Identifier: GPL-2.0-or-later
"""Preparing, training and evaluating with the real qgis_process, worker and packages."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
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
    assert described["gsd"] == 0.5
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
