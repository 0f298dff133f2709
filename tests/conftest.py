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
