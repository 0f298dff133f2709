# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.training.small_sets import draw, write_folder_set
from training.datasets.folder import FolderSet
from training.errors import DatasetError
from training.palette import ids_of_colors, read_palette


@pytest.mark.parametrize("in_color", [False, True])
def test_masks_of_ids_and_of_colours_are_the_same(tmp_path, in_color):
    reader = FolderSet(write_folder_set(tmp_path, in_color=in_color))
    assert reader.names() == [f"{n:03d}" for n in range(6)]
    assert np.array_equal(reader.labels("004"), draw(4)[1])
    assert [cls.id for cls in reader.classes] == [0, 3, 8, 19, 1]


def test_images_beside_a_mask_folder_of_another_place_are_matched_by_stem(tmp_path):
    write_folder_set(tmp_path / "set")
    (tmp_path / "set" / "masks").rename(tmp_path / "elsewhere")
    reader = FolderSet(tmp_path / "set", masks=tmp_path / "elsewhere")
    assert np.array_equal(reader.labels("001"), draw(1)[1])


def test_a_palette_image_gives_its_indices(tmp_path):
    write_folder_set(tmp_path)
    ids = draw(0)[1]
    mask = Image.fromarray(ids).convert("P")
    mask.putdata(ids.ravel().tolist())
    mask.putpalette(list(range(256)) * 3)
    mask.save(tmp_path / "masks" / "000.png")
    assert np.array_equal(FolderSet(tmp_path).labels("000"), ids)


@pytest.mark.parametrize(
    ("text", "ids", "colors"),
    [
        ("name,r,g,b\na,1,2,3\nb,255,0,16\n", [0, 1], ["#010203", "#ff0010"]),
        ("Class; Red; Green; Blue\na; 1; 2; 3\n", [0], ["#010203"]),
        ("id,name,color\n5,a,#ABCDEF\n", [5], ["#abcdef"]),
        ("value,label\n5,a\n6,b\n", [5, 6], None),
    ],
)
def test_class_lists_are_read_in_all_their_forms(tmp_path, text, ids, colors):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    classes = read_palette(path)
    assert [cls.id for cls in classes] == ids
    assert colors is None or [cls.color for cls in classes] == colors
    assert len({cls.color for cls in classes}) == len(classes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour,meaning\n1,2\n", "must name the columns"),
        ("", "must name the columns"),
        ("name,r,g,b\n", "lists no class"),
        ("name,r,g,b\na,1,2\n", "row 2 has 3 cells"),
        ("name,r,g,b\na,1,2,300\n", "row 2: .*is no colour"),
        ("name,r,g,b\na,1,2,x\n", "row 2: "),
        ("name,r,g,b\na,1,2,3\na,1,2,4\n", "name 'a' is there twice"),
        ("name,r,g,b\na,1,2,3\nb,1,2,3\n", "color '#010203' is there twice"),
    ],
)
def test_malformed_class_lists_are_named(tmp_path, text, words):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=rf"classes\.csv: .*{words}"):
        read_palette(path)


def test_an_unknown_colour_is_told_with_its_share_and_the_number_of_others(tmp_path):
    classes = FolderSet(write_folder_set(tmp_path, in_color=True)).classes
    mask = np.zeros((10, 10, 3), np.uint8)
    mask[0, :8] = (1, 200, 0)
    mask[1, :2] = (2, 200, 0)
    with pytest.raises(
        DatasetError,
        match=r"m\.png: colour \(1, 200, 0\) and 1 other unknown colours in 10\.00% of the pixels",
    ):
        ids_of_colors(mask, classes, tmp_path / "m.png")


def test_alpha_does_not_change_the_ids(tmp_path):
    classes = FolderSet(write_folder_set(tmp_path)).classes
    mask = np.zeros((2, 2, 4), np.uint8)
    mask[0, 0] = (0, 200, 0, 255)
    assert ids_of_colors(mask, classes, tmp_path / "m.png").tolist() == [[3, 0], [0, 0]]
