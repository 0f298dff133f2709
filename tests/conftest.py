# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of all suites. They run with and without QGIS, so this file imports neither."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the development data; the test is skipped where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the development data is not there ({SHARED_DATA})")
    return SHARED_DATA


@pytest.fixture(scope="session")
def toy_unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: three bands, three classes, theoretical halo 16, divisor 4."""
    from tests.toy_models import write_toy_unet

    return write_toy_unet(tmp_path_factory.mktemp("models") / "toy_unet")


@pytest.fixture(scope="session")
def cut_unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: a network in three parts, three classes, halo 40, divisor 8."""
    from tests.toy_models import write_cut_unet

    return write_cut_unet(tmp_path_factory.mktemp("models") / "cut_unet")


@pytest.fixture(scope="session")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: the class "bright" is sigmoid((mean of the bands - 126.9) / 64)."""
    from tests.toy_models import write_brightness_model

    return write_brightness_model(tmp_path_factory.mktemp("models") / "bright")
