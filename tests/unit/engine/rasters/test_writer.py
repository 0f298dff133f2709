# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing rasters."""

from __future__ import annotations

from pathlib import Path

import pytest

from unet_segmenter.engine.errors import OutputError
from unet_segmenter.engine.rasters.writer import driver_of


@pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "a.b.tiff"])
def test_a_geotiff_is_made_cloud_optimised(name: str) -> None:
    assert driver_of(Path(name)) == "COG"


def test_a_suffix_without_a_lossless_format_is_refused() -> None:
    with pytest.raises(OutputError, match=r"'\.jpg'.*use \.tif"):
        driver_of(Path("a.jpg"))
