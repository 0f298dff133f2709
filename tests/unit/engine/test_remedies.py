# SPDX-License-Identifier: GPL-2.0-or-later
"""How the environment is set up, told as it can be done from where the plugin is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from unet_segmenter.engine.remedies import set_up


def test_make_is_told_in_a_checkout_alone(tmp_path: Path, repository: Path) -> None:
    assert "`make setup` in the checkout" in set_up(parent=repository)
    told = set_up(parent=tmp_path, training=True)
    assert "make setup" not in told
    assert "QGIS with WITH_TRAINING" in told
    assert f"`python3 -m unet_segmenter setupenvironment --with-training` in {tmp_path}" in told


def test_the_command_is_one(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unet_segmenter", "setupenvironment", "--with-training", "--help"],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
