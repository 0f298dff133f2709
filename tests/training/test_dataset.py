# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.training.small_sets import write_folder_set
from training.dataset import Dataset
from training.errors import DatasetError
from training.prepare import prepare
from training.prepare_spec import PrepareSpec
from unet_segmenter.engine.progress import SilentProgress


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    source = write_folder_set(tmp_path / "plain")
    spec = PrepareSpec(str(source), str(tmp_path / "out"), split="random", fractions=(0.5, 0.5))
    return prepare(spec, SilentProgress())


def test_what_is_opened_is_what_was_prepared(dataset):
    again = Dataset.open(dataset.folder)
    assert again == dataset
    assert again.classes[1].rgb == (99, 99, 0)
    assert (again.bands, again.data_type, again.value_range) == (
        ("red", "green", "blue"), "uint8", (0, 255),
    )  # fmt: skip
    assert len(again.split("train")) + len(again.split("validation")) == 6
    assert again.split("test") == ()


def test_the_fingerprint_changes_with_one_pixel_and_not_with_the_place(dataset, tmp_path):
    before = dataset.fingerprint()
    dataset.folder.rename(tmp_path / "moved")
    moved = Dataset.open(tmp_path / "moved")
    assert moved.fingerprint() == before
    path = moved.samples[0].mask
    mask = np.array(Image.open(path))
    mask[0, 0] = (mask[0, 0] + 1) % 3
    Image.fromarray(mask).save(path)
    assert moved.fingerprint() != before


def test_an_unknown_split_is_refused(dataset):
    with pytest.raises(DatasetError, match="'val' is no split; there are train, validation, test"):
        dataset.split("val")


def test_a_folder_that_is_none_is_told(tmp_path):
    with pytest.raises(DatasetError, match="no prepared data set"):
        Dataset.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "format 'other' 1, not 'unet-segmenter-dataset'"),
        ({"format_version": 2}, "2, not"),
        ({"scaling": {}}, r"dataset\.json: damaged"),
        ({"classes": [{"value": 1}]}, r"dataset\.json: damaged"),
    ],
)
def test_a_damaged_or_foreign_description_is_told(dataset, change, words):
    path = dataset.folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DatasetError, match=words):
        Dataset.open(dataset.folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,split\na,train\n", "a column is missing"),
        ("", "lists no sample"),
        ("name,split,group,image,mask,height,width\na,dev,g,i,m,1,1\n", r"unknown split \['dev'\]"),
    ],
)
def test_a_damaged_list_of_samples_is_told(dataset, text, words):
    (dataset.folder / "samples.csv").write_text(text)
    with pytest.raises(DatasetError, match=rf"samples\.csv: .*{words}"):
        Dataset.open(dataset.folder)


def test_files_that_were_changed_after_preparing_are_named(dataset):
    first, second, third = dataset.samples[:3]
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(first.mask)
    with pytest.raises(DatasetError, match=rf"{first.name}\.png: 9x9 where 64x48 was prepared"):
        dataset.read(first)
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(second.image)
    with pytest.raises(DatasetError, match=rf"{second.name}\.jpg: 64x48 with 1 bands where"):
        dataset.read(second)
    third.mask.unlink()
    with pytest.raises(DatasetError, match=rf"{third.name}\.png: no such file"):
        dataset.read(third)
