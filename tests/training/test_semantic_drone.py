# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from tests.training.small_sets import DRONE_IDS, draw, write_class_list, write_pairs
from training.datasets.semantic_drone import CLASSES, SemanticDrone
from training.errors import DatasetError

KAGGLE = "dataset/semantic_drone_dataset"
LAYOUTS = {
    "official": ("training_set/images", "training_set/gt/semantic/label_images", True),
    "official, low resolution": (
        "training_set/low_res_images",
        "training_set/gt/semantic/low_res_label_images",
        True,
    ),
    "official from inside": ("images", "gt/semantic/label_images", True),
    "Kaggle, ids": (f"{KAGGLE}/original_images", f"{KAGGLE}/label_images_semantic", False),
    "Kaggle, colours": (
        f"{KAGGLE}/original_images",
        "RGB_color_image_masks/RGB_color_image_masks",
        True,
    ),
    "flat": ("images", "labels", True),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_ids(tmp_path, layout):
    images, labels, in_color = LAYOUTS[layout]
    write_pairs(tmp_path / images, tmp_path / labels, in_color=in_color)
    reader = SemanticDrone(tmp_path)
    assert layout.startswith(reader.layout.name)
    assert reader.names() == ["000", "001", "002", "003"]
    for number, name in enumerate(reader.names()):
        assert np.array_equal(reader.labels(name), draw(number)[1])
        assert reader.image(name).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("place", "header", "separator"),
    [
        ("training_set/gt/semantic/class_dict.csv", "name, r, g, b", ", "),
        ("class_dict_seg.csv", " class,  r,  g,  b ", ", "),
        ("class_dict.csv", "name r g b", " "),
    ],
)
def test_a_class_list_that_lies_there_is_read_whatever_its_header(
    tmp_path, place, header, separator
):
    write_pairs(tmp_path / "images", tmp_path / "labels")
    write_class_list(tmp_path / place, header, separator)
    assert SemanticDrone(tmp_path).classes == CLASSES


def test_a_class_list_with_other_colours_wins_over_the_built_in_one(tmp_path):
    write_pairs(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nlawn,1,2,3\n")
    reader = SemanticDrone(tmp_path)
    assert [cls.name for cls in reader.classes] == ["lawn"]
    with pytest.raises(DatasetError, match=r"000\.png: colour"):
        reader.labels("000")


def test_the_built_in_classes_are_the_data_sets():
    assert len(CLASSES) == 24
    assert [CLASSES[i].name for i in DRONE_IDS] == [
        "unlabeled", "grass", "vegetation", "tree", "paved-area",
    ]  # fmt: skip
    assert CLASSES[18].color == "#770b20"


def test_a_folder_without_any_layout_tells_which_ones_there_are(tmp_path):
    with pytest.raises(DatasetError, match=r"no layout.*training_set/images.*labels"):
        SemanticDrone(tmp_path)


def test_an_image_without_mask_is_named(tmp_path):
    write_pairs(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "labels" / "002.png").unlink()
    with pytest.raises(DatasetError, match=r"002\.jpg: has no mask in labels"):
        SemanticDrone(tmp_path).labels("002")
