# SPDX-License-Identifier: GPL-2.0-or-later
"""Models by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.toy_models import write_brightness_model, write_toy_unet
from unet_segmenter.engine.errors import ModelError
from unet_segmenter.engine.model_library import ModelLibrary, default_library


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    write_toy_unet(tmp_path / "mine" / "shrubs")
    write_toy_unet(tmp_path / "bundled" / "fields")
    write_brightness_model(tmp_path / "bundled" / "shrubs")
    (tmp_path / "bundled" / "no model").mkdir()
    (tmp_path / "bundled" / "README.md").touch()
    return ModelLibrary((tmp_path / "absent", tmp_path / "mine", tmp_path / "bundled"))


def test_names_are_the_folders_that_hold_a_card(library: ModelLibrary) -> None:
    assert library.names() == ["fields", "shrubs"]


def test_a_name_in_an_earlier_folder_hides_a_later_one(library: ModelLibrary) -> None:
    assert len(library.load("shrubs").classes) == 3


def test_a_model_is_also_found_by_its_path(library: ModelLibrary) -> None:
    folder = library.folders[2] / "shrubs"
    assert [c.name for c in library.load(str(folder)).classes] == ["bright"]


def test_an_unknown_model_is_told_with_those_that_there_are(library: ModelLibrary) -> None:
    with pytest.raises(ModelError) as refused:
        library.load("forests")
    assert "'forests'" in str(refused.value)
    assert "fields, shrubs" in str(refused.value)


def test_an_empty_library_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none"):
        ModelLibrary((tmp_path,)).load("forests")


def test_the_users_folders_come_before_the_bundled_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = [tmp_path / "a", tmp_path / "b"]
    monkeypatch.setenv("UNET_SEGMENTER_MODELS", os.pathsep.join(map(str, named)))
    folders = default_library([tmp_path / "first"]).folders
    assert folders[:3] == (tmp_path / "first", *named)
    assert folders[-1].parts[-2:] == ("resources", "models")
