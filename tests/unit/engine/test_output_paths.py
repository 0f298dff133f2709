# SPDX-License-Identifier: GPL-2.0-or-later
"""Outputs do not replace each other."""

from __future__ import annotations

import pytest

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.output_paths import check_paths


@pytest.mark.parametrize("name", ["own.qml", "own.tif.aux.xml"])
def test_an_output_is_no_side_file_of_another(name: str) -> None:
    with pytest.raises(JobError, match="where another output keeps its style"):
        check_paths({"OUTPUT": "own.tif", "SUMMARY": name}, ())


def test_outputs_of_other_names_pass() -> None:
    check_paths({"OUTPUT": "own.tif", "SUMMARY": "own.html"}, ("in.tif",))
