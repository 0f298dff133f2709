# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin as QGIS installs it: unpacked from the zip, in a profile of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
import rasterio

from scripts import set_up, stage
from tests.integration.training_samples import write_folders
from tests.toy_rasters import texture, write_raster

pytestmark = pytest.mark.qgis


class Installed:
    """The unpacked plugin in a new profile.

    A version of its own, and a mark that its `training` leaves, tell it from the checkout.
    """

    def __init__(self, folder: Path) -> None:
        self.plugins = folder / "plug ins"
        self.mark = folder / "training was imported"
        self._folder = folder
        self._unpack()
        self._environ = {
            **os.environ,
            **set_up.variables(),
            "QGIS_PLUGINPATH": str(self.plugins),
            "QGIS_CUSTOM_CONFIG_PATH": str(folder / "profile"),
            "LC_ALL": "C.UTF-8",
        }
        self.qgis_process("plugins", "enable", "unet_segmenter")

    def _unpack(self) -> None:
        with zipfile.ZipFile(stage.package(self._folder / "plugin.zip")) as archive:
            archive.extractall(self.plugins)
        metadata = self.plugins / "unet_segmenter" / "metadata.txt"
        text = metadata.read_text(encoding="utf-8")
        metadata.write_text(text.replace(f"version={stage.version()}", "version=9.8.7"))
        training = self.plugins / "unet_segmenter" / "training" / "__init__.py"
        with training.open("a", encoding="utf-8") as file:
            file.write(f"import pathlib\npathlib.Path({str(self.mark)!r}).touch()\n")

    def qgis_process(self, *arguments: str) -> str:
        """Run it, and return what it prints."""
        done = subprocess.run(
            [self._environ["QGIS_PROCESS"], *arguments],
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_the_zip_alone_works_in_a_new_profile(
    installed: Installed, tmp_path: Path, bright: Path
) -> None:
    image = write_raster(tmp_path / "image.tif", texture(70, 90))
    installed.qgis_process(
        *("run", "unet_segmenter:segment", "--", f"INPUT={image}"),
        *(f"MODEL_FILE={bright}", f"OUTPUT={tmp_path / 'mask.tif'}"),
    )
    with rasterio.open(tmp_path / "mask.tif") as mask:
        assert mask.shape == (70, 90)
        assert mask.tags()["UNET_SEGMENTER_VERSION"] == "9.8.7"
        assert set(mask.read(1).ravel()) == {0, 1}
    assert not list(installed.plugins.rglob("*.tif")), "a run writes nothing into the plugin"


def test_the_zip_alone_prepares_a_data_set_and_trains_on_it(
    installed: Installed, tmp_path: Path
) -> None:
    views = write_folders(tmp_path / "views")
    installed.mark.unlink(missing_ok=True)
    installed.qgis_process(
        *("run", "unet_segmenter:preparedataset", "--", "SOURCE=folders", f"FOLDER={views}"),
        *("CLASSES=meadow,road", "SPLIT=random", f"OUTPUT={tmp_path / 'set'}"),
    )
    out = installed.qgis_process(
        *("run", "unet_segmenter:trainmodel", "--", f"DATASET={tmp_path / 'set'}"),
        *("PRESET=unet", "WIDTH=4", "DEPTH=2", "EPOCHS=2", "STEPS=2", "BATCH=2", "SIZE=32"),
        *("NAME=views", f"OUTPUT={tmp_path / 'models'}"),
    )
    assert re.search(r"^MODEL_NAME:\tviews$", out, re.MULTILINE)
    card = json.loads((tmp_path / "models" / "views" / "card.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in card["output"]["classes"]] == ["meadow", "road"]
    assert (tmp_path / "models" / "views" / "model.onnx").is_file()
    assert installed.mark.exists(), "its own training did it, not the checkout's"
