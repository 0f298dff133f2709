# SPDX-License-Identifier: GPL-2.0-or-later
"""The real qgis_process with the plugin, the real worker and the real engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio

from unet_segmenter.engine.job import JobSpec
from unet_segmenter.engine.progress import SilentProgress
from unet_segmenter.engine.rasters.source import RasterSource
from unet_segmenter.runners.worker_process import WorkerProcess

NEEDED = ("QGIS_PROCESS", "QGIS_PLUGINPATH", "QGIS_CUSTOM_CONFIG_PATH", "UNET_SEGMENTER_PYTHON")
RASTERS = (
    "drone_alpha_utm50s.tif",
    "naip_4band_utm14n.tif",
    "landsat_rgb_nodata0_utm18n.tif",
)

pytestmark = pytest.mark.qgis


@pytest.fixture(scope="module")
def program():
    """The qgis_process that works here, and the plugin's private profile."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        pytest.skip(f'{", ".join(missing)} not set: run eval "$(make -s env)" first')
    return os.environ["QGIS_PROCESS"]


@pytest.fixture(scope="module")
def library(toy_unet):
    """A library that holds the toy network."""
    return toy_unet.parent


@pytest.fixture
def qgis(program, library, tmp_path):
    """Call qgis_process; gives exit code, standard output and standard error."""

    def call(*arguments, **variables):
        done = subprocess.run(
            [program, *map(str, arguments)],
            env=environment(library, **variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return call


def environment(library, **variables):
    changed = {
        "QT_QPA_PLATFORM": "offscreen",
        "UNET_SEGMENTER_MODELS": str(library),
        "LC_ALL": "C.UTF-8",
        **variables,
    }
    merged = {**os.environ, **changed}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.fixture
def image(shared_data, tmp_path):
    """A real georeferenced raster, in a folder of its own."""
    return shutil.copy(shared_data / "georef" / RASTERS[0], tmp_path / "image.tif")


def results_of(out):
    """Results in what qgis_process printed."""
    _, _, printed = out.partition("Results")
    return dict(re.findall(r"^([A-Z_]+):\t(.*)$", printed, re.MULTILINE))


def test_the_provider_is_listed_with_all_algorithms(qgis):
    code, out, _ = qgis("list")
    assert code == 0
    listed = set(re.findall(r"unet_segmenter:(\w+)\t", out))
    assert listed == {
        *("segment", "landcover", "fuse", "refine", "majorityfilter", "evaluate", "vectorize"),
        *("preparedataset", "trainmodel", "modelinfo", "checkenvironment", "setupenvironment"),
        "landcoverpolygons",
    }


def test_the_graphical_model_makes_polygons_that_cover_the_map_class_by_class(
    qgis, image, tmp_path
):
    classes, polygons = tmp_path / "map.tif", tmp_path / "polygons.gpkg"
    code, out, err = qgis(
        *("run", "unet_segmenter:landcoverpolygons", "--", f"image={image}", "model=toy_unet"),
        *(f"refine:map={classes}", f"vectorize:polygons={polygons}"),
    )
    assert code == 0, err
    assert "Executed 4 algorithms" in out
    with rasterio.open(classes) as found, rasterio.open(image) as given:
        assert (found.crs, found.transform, found.shape) == (
            given.crs,
            given.transform,
            given.shape,
        )
        values, counts = np.unique(found.read(1), return_counts=True)
    with RasterSource(str(classes)) as source:
        pixel = source.grid.pixel_area()
    mapped = {v: c * pixel for v, c in zip(values.tolist(), counts.tolist()) if v != 255}
    assert set(mapped) & {1, 2, 3}
    meta, _, _, columns = pyogrio.raw.read(polygons, read_geometry=False)
    table = dict(zip(meta["fields"], columns, strict=True))
    drawn = {v: table["area"][table["class"] == v].sum() for v in np.unique(table["class"])}
    # The class 0, unknown, is no polygon.
    assert drawn == pytest.approx({v: area for v, area in mapped.items() if v}, rel=1e-4)
    assert set(table["name"]) <= {"vegetation", "road", "sky"}
    assert ((table["confidence"] >= 0) & (table["confidence"] <= 1)).all()


def test_the_graphical_model_takes_its_defaults_where_nothing_else_is_given(qgis, image, tmp_path):
    code, _, err = qgis(
        *("run", "unet_segmenter:landcoverpolygons", "--", f"image={image}"),
        *(f"refine:map={tmp_path / 'map.tif'}", f"vectorize:polygons={tmp_path / 'p.gpkg'}"),
        UNET_SEGMENTER_MODELS=None,
    )
    assert code == 0, err
    table = (tmp_path / "map.tif.aux.xml").read_text()
    assert "<Category>construction</Category>" in table  # a class of the default model


def test_help_tells_every_parameter(qgis):
    code, out, _ = qgis("help", "unet_segmenter:segment")
    assert code == 0
    for name in (
        *("INPUT", "MODEL", "MODEL_FILE", "CLASSES", "BANDS", "EXTENT", "AOI", "THRESHOLD"),
        *("RUNTIME", "PRECISION", "TTA", "BLOCK_SIZE", "BATCH", "PROBABILITY_TYPE"),
        *("OUTPUT", "PROBABILITY", "CONFIDENCE", "SUMMARY"),
    ):
        # QGIS 3.40 tells a default value first.
        told = rf"^{name}: .+\n(\tDefault value:.*\n)?\t.+\."
        assert re.search(told, out, re.MULTILINE), name
    assert "toy_unet has: vegetation, road, sky." in out


@pytest.mark.parametrize("name", RASTERS)
def test_a_real_raster_becomes_a_mask_on_its_own_grid(qgis, shared_data, tmp_path, name):
    source = shared_data / "georef" / name
    code, out, err = qgis(
        *("run", "unet_segmenter:segment", "--", f"INPUT={source}", "MODEL=toy_unet"),
        *("CLASSES=vegetation", f"OUTPUT={tmp_path}/mask.tif", f"SUMMARY={tmp_path}/s.html"),
        f"PROBABILITY={tmp_path}/p.tif",
    )
    assert code == 0, out + err
    with rasterio.open(source) as image, rasterio.open(tmp_path / "mask.tif") as mask:
        assert (mask.crs, mask.transform, mask.shape) == (image.crs, image.transform, image.shape)
        assert mask.nodata == 255
        assert mask.dtypes == ("uint8",)
    results = results_of(out)
    assert results["OUTPUT"] == f"{tmp_path}/mask.tif"
    assert int(results["PIXELS"]) == mask.width * mask.height
    assert "100 - done" in out
    assert (tmp_path / "s.html").stat().st_size > 1000
    assert (tmp_path / "p.tif").exists()


def test_the_mask_is_the_same_bytes_from_the_command_line_the_worker_and_qgis(
    qgis, program, library, image, tmp_path
):
    python = os.environ["UNET_SEGMENTER_PYTHON"]
    common = {"block_size": 256, "classes": ("vegetation", "road")}
    code, out, err = qgis(
        *("--json", "run", "unet_segmenter:segment", "--", f"INPUT={image}", "MODEL=toy_unet"),
        *("CLASSES=vegetation,road", "BLOCK_SIZE=256", f"OUTPUT={tmp_path}/qgis.tif"),
    )
    assert code == 0, out + err
    results = json.loads(out)["results"]
    assert results["OUTPUT"] == f"{tmp_path}/qgis.tif"
    assert results["RUNTIME_USED"] == "openvino"
    job = JobSpec(str(image), str(tmp_path / "worker.tif"), "toy_unet", **common)
    variables = {"UNET_SEGMENTER_MODELS": str(library)}
    WorkerProcess(python, job, variables=variables).run(SilentProgress())
    subprocess.run(
        [
            *(python, "-m", "unet_segmenter", "segment", image, tmp_path / "cli.tif"),
            *("--model", "toy_unet", "--classes", "vegetation", "road", "--block-size", "256"),
        ],
        env=environment(library),
        check=True,
        capture_output=True,
    )
    masks = [(tmp_path / f"{name}.tif").read_bytes() for name in ("qgis", "worker", "cli")]
    assert masks[0] == masks[1] == masks[2]
    with rasterio.open(tmp_path / "qgis.tif") as mask:
        assert len(set(mask.read(1).ravel())) > 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"INPUT": "/no/such/image.tif"}, "/no/such/image.tif"),
        ({"MODEL": "moon"}, "There is no model 'moon' in the library; it has: .*toy_unet"),
        ({"CLASSES": "trees"}, "no class 'trees'; it has vegetation, road, sky"),
        ({"OUTPUT": "/no/such/folder/mask.tif"}, "There is no folder /no/such/folder"),
        ({"EXTENT": "0,1,0,1"}, "does not touch"),
    ],
)
def test_bad_input_is_one_clear_sentence_and_a_failing_exit_code(
    qgis, image, tmp_path, changes, words
):
    given = {"INPUT": image, "MODEL": "toy_unet", "OUTPUT": f"{tmp_path}/mask.tif", **changes}
    pairs = [f"{name}={value}" for name, value in given.items()]
    code, out, err = qgis("run", "unet_segmenter:segment", "--", *pairs)
    assert code != 0
    assert re.search(words, out + err), out + err
    assert "Traceback" not in out + err
    assert not (tmp_path / "mask.tif").exists()


def test_without_an_environment_the_remedy_is_told(qgis, image, tmp_path):
    code, out, err = qgis(
        *("run", "unet_segmenter:segment", "--", f"INPUT={image}", "MODEL=toy_unet"),
        f"OUTPUT={tmp_path}/mask.tif",
        UNET_SEGMENTER_PYTHON=None,
        XDG_DATA_HOME=str(tmp_path),
    )
    assert code != 0
    assert "unet_segmenter:setupenvironment" in out + err


def test_an_environment_without_the_packages_is_told_with_the_remedy(qgis, image, tmp_path):
    code, out, err = qgis(
        *("run", "unet_segmenter:segment", "--", f"INPUT={image}", "MODEL=toy_unet"),
        f"OUTPUT={tmp_path}/mask.tif",
        UNET_SEGMENTER_PYTHON="/usr/bin/python3",
    )
    assert code != 0
    assert "unet_segmenter:setupenvironment" in out + err


def test_the_environment_is_ready(qgis):
    code, out, _ = qgis("run", "unet_segmenter:checkenvironment")
    assert code == 0
    assert results_of(out)["READY"] == "true"


def test_a_model_tells_about_itself(qgis, tmp_path):
    code, out, _ = qgis(
        "run", "unet_segmenter:modelinfo", "--", "MODEL=toy_unet", f"OUTPUT={tmp_path}/m.html"
    )
    assert code == 0
    results = results_of(out)
    assert results["CLASSES"] == "vegetation,road,sky"
    assert results["INTACT"] == "true"
    assert "Toy model" in (tmp_path / "m.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ending_qgis_process_ends_the_worker_and_leaves_no_output(
    program, library, tmp_path, number
):
    large = tmp_path / "large.tif"
    profile = {"driver": "GTiff", "width": 20000, "height": 20000, "count": 3, "dtype": "uint8"}
    profile |= {"crs": "EPSG:32632", "tiled": True, "sparse_ok": True}
    profile["transform"] = rasterio.Affine(0.1, 0, 400000, 0, -0.1, 5500000)
    with rasterio.open(large, "w", **profile):
        pass
    process = subprocess.Popen(
        [
            *(program, "run", "unet_segmenter:segment", "--", f"INPUT={large}", "MODEL=toy_unet"),
            *(f"OUTPUT={tmp_path}/mask.tif", "BLOCK_SIZE=512"),
        ],
        env=environment(library),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        worker = wait_for_worker(process)
        time.sleep(2)
        assert process.poll() is None, "it ended before it was told to"
        process.send_signal(number)
        told = time.monotonic()
        assert process.wait(10) != 0
        while is_alive(worker):
            assert time.monotonic() - told < 2
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "mask.tif").exists()


def wait_for_worker(process, seconds=60):
    """Process id of the worker that qgis_process started."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None
        for children in Path(f"/proc/{process.pid}/task").glob("*/children"):
            for child in children.read_text().split():
                command = Path(f"/proc/{child}/cmdline").read_bytes()
                if b"unet_segmenter.runners.worker" in command:
                    return int(child)
        time.sleep(0.05)
    pytest.fail("no worker was started")


def is_alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
