# SPDX-License-Identifier: GPL-2.0-or-later
"""Every algorithm works for a user without a home, from a plugin that this user cannot change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.toy_rasters import read_raster, texture, write_raster
from unet_segmenter.engine.errors import RuntimeMissingError
from unet_segmenter.runners import environment
from unet_segmenter.runners.environment import State, default_location, find_environment


@pytest.fixture
def homeless(tmp_path: Path, repository: Path) -> Any:
    """Calls the command line of a copy of the plugin, where nothing compiled can be kept."""
    plugin = tmp_path / "plugin"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "unet_segmenter", plugin / "unet_segmenter", ignore=ignored)
    (plugin / "unet_segmenter" / "engine" / "__pycache__").touch()  # no folder can take its place
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "NUMBA_", "HOME"))}
    variables = {**kept, "HOME": "/dev/null/none", "PYTHONPATH": str(plugin)}

    def call(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "unet_segmenter", *map(str, arguments)],
            env={**variables, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    return call


def test_every_command_works(homeless: Any, toy_unet: Path, tmp_path: Path) -> None:
    image = write_raster(tmp_path / "image.tif", texture(70, 80))
    mask, shares, refined, fused = (tmp_path / f"{n}.tif" for n in ("mask", "p", "refined", "f"))
    homeless("segment", image, mask, "--model", toy_unet, "--probability", shares, "--quiet")
    homeless("refine", image, refined, "--probability", shares, "--iterations", 2, "--quiet")
    homeless("landcover", image, tmp_path / "l.tif", "--models", toy_unet, "--crf", "--quiet")
    homeless("fuse", shares, fused, "--quiet")
    homeless("majorityfilter", mask, tmp_path / "smooth.tif", "--min-area", 3, "--quiet")
    homeless("vectorize", mask, tmp_path / "polygons.gpkg", "--quiet")
    homeless("evaluate", mask, refined, "--csv", tmp_path / "scores.csv", "--quiet")
    homeless("modelinfo", toy_unet)
    assert set(np.unique(read_raster(refined))) <= {0, 1, 2, 3}


def test_where_the_environment_would_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(environment.Path, "home", no_home)
    found = find_environment(environ={})
    assert found.state is State.ABSENT
    assert "has no home folder" in found.message
    with pytest.raises(RuntimeMissingError, match="UNET_SEGMENTER_PYTHON"):
        default_location({}, platform="linux")
