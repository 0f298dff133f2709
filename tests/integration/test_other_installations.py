# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands in a shell whose variables name the data files of another GDAL and PROJ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely

from tests.toy_cli import environment
from tests.toy_rasters import TRANSFORM, UTM, texture, write_raster
from unet_segmenter.engine.native_data import VARIABLES, forget_other_installations


def test_variables_of_this_installation_and_settings_stay(tmp_path: Path) -> None:
    own = str(Path(sys.prefix) / "share" / "proj")
    environ = {
        **dict.fromkeys(VARIABLES, str(tmp_path)),
        "PROJ_LIB": own,
        "GDAL_HTTP_TIMEOUT": "30",
        "PROJ_NETWORK": "OFF",
    }
    dropped = forget_other_installations(environ)
    assert set(dropped) == set(VARIABLES) - {"PROJ_LIB"}
    assert environ == {"PROJ_LIB": own, "GDAL_HTTP_TIMEOUT": "30", "PROJ_NETWORK": "OFF"}


def test_the_systems_data_are_not_those_of_a_virtual_environment() -> None:
    environ = {"GDAL_DATA": "/usr/share/gdal", "PROJ_DATA": "/usr/share/proj"}
    assert forget_other_installations(environ) == ["GDAL_DATA", "PROJ_DATA"]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """An image, a map, and polygons of two classes in another coordinate system."""
    write_raster(tmp_path / "image.tif", texture(240, 240))
    columns = np.repeat([1, 2], 120)
    write_raster(tmp_path / "map.tif", np.tile(columns, (240, 1)).astype(np.uint8))
    left, top, size = TRANSFORM.c, TRANSFORM.f, TRANSFORM.a
    boxes = [
        shapely.box(left + n * 120 * size, top - 240 * size, left + (n + 1) * 120 * size, top)
        for n in range(2)
    ]
    pyogrio.raw.write(
        tmp_path / "areas.gpkg", shapely.to_wkb(np.array(boxes)), [np.array(["a", "b"], object)],
        ["kind"], geometry_type="Polygon", crs=UTM,
    )  # fmt: skip
    return tmp_path


COMMANDS = {
    "segment": "segment image.tif out.tif --model {model} --aoi areas.gpkg --quiet --json",
    "landcover": "landcover image.tif out.tif --models {model} --aoi areas.gpkg --quiet --json",
    "evaluate": "evaluate map.tif areas.gpkg --field kind --class-names 1=a 2=b --json",
    "vectorize": "vectorize map.tif out.gpkg --quiet --json",
    "preparedataset": "preparedataset raster image.tif set --labels areas.gpkg --field kind "
    "--chip-size 48 --json",
    "training": "prepare image.tif set --reader geo --labels areas.gpkg --field kind --chip 48",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_work_with_nonsense_in_all_of_them(name: str, inputs: Path, bright: Path) -> None:
    arguments = COMMANDS[name].format(model=bright).split()
    done = subprocess.run(
        [sys.executable, "-m", "training" if name == "training" else "unet_segmenter", *arguments],
        env=environment(**dict.fromkeys(VARIABLES, "/nonsense/of/another")),
        cwd=inputs, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "PROJ" not in done.stderr
    if name == "evaluate":
        assert json.loads(done.stdout)["mean_iou"] == 1.0
