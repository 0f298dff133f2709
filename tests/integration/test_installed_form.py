# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin as QGIS installs it: unpacked from the zip, in a profile of its own."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
import rasterio

from scripts import set_up, stage
from tests.toy_rasters import texture, write_raster

pytestmark = pytest.mark.qgis


def test_the_zip_alone_works_in_a_new_profile(tmp_path: Path, bright: Path) -> None:
    """The unpacked plugin gets a version of its own, to tell it from the checkout."""
    plugins = tmp_path / "plug ins"
    with zipfile.ZipFile(stage.package(tmp_path / "plugin.zip")) as archive:
        archive.extractall(plugins)
    metadata = plugins / "unet_segmenter" / "metadata.txt"
    text = metadata.read_text(encoding="utf-8")
    metadata.write_text(text.replace(f"version={stage.version()}", "version=9.8.7"))
    environ = {
        **os.environ,
        **set_up.variables(),
        "QGIS_PLUGINPATH": str(plugins),
        "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path / "profile"),
        "LC_ALL": "C.UTF-8",
    }

    def qgis_process(*arguments: str) -> None:
        done = subprocess.run(
            [environ["QGIS_PROCESS"], *arguments],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    image = write_raster(tmp_path / "image.tif", texture(70, 90))
    qgis_process("plugins", "enable", "unet_segmenter")
    qgis_process(
        *("run", "unet_segmenter:segment", "--", f"INPUT={image}"),
        *(f"MODEL_FILE={bright}", f"OUTPUT={tmp_path / 'mask.tif'}"),
    )
    with rasterio.open(tmp_path / "mask.tif") as mask:
        assert mask.shape == (70, 90)
        assert mask.tags()["UNET_SEGMENTER_VERSION"] == "9.8.7"
        assert set(mask.read(1).ravel()) == {0, 1}
    assert not list(plugins.rglob("*.tif")), "a run writes nothing into the plugin's folder"
