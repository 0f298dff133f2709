# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from training.datasets.aeroscapes import CLASSES, IGNORE, AeroScapes, value_of_id, without_rim
from training.errors import DatasetError


def test_a_sample_is_the_frame_and_our_class_values(small_set):
    image, labels = AeroScapes(small_set).sample("000001_001")
    assert image.shape == (96, 128, 3)
    assert image.dtype == labels.dtype == np.uint8
    assert np.unique(labels).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert (labels[:8, :8] == 0).all(), "a person is none of our classes"


def test_ids_map_to_the_values_of_the_card():
    table = value_of_id()
    assert {name: int(table[i]) for name, i in (("vegetation", 9), ("background", 0))} == {
        "vegetation": 1,
        "background": 2,
    }
    assert table[[8, 7, 10, 11]].tolist() == [3, 4, 5, 6]
    assert (table[1:7] == 0).all()
    assert [cls.value for cls in CLASSES] == [1, 2, 3, 4, 5, 6]


def test_lists_are_read_in_order(small_set):
    assert AeroScapes(small_set).stems("trn") == ["000001_001", "000001_002", "041001_001"]


def test_a_list_with_a_byte_order_mark_is_read_and_one_in_another_code_is_named(small_set):
    path = small_set / "ImageSets" / "trn.txt"
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert AeroScapes(small_set).stems("trn") == text.split()
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(DatasetError, match=r"trn\.txt: is no text in UTF-8"):
        AeroScapes(small_set).stems("trn")


def test_a_missing_mask_is_named(small_set):
    (small_set / "SegmentationClass" / "000001_002.png").unlink()
    with pytest.raises(DatasetError, match=r"000001_002\.png: no such file"):
        AeroScapes(small_set).sample("000001_002")


def test_a_mask_of_another_size_is_named_with_both_sizes(small_set):
    path = small_set / "SegmentationClass" / "000001_001.png"
    Image.fromarray(np.zeros((96, 120), np.uint8)).save(path)
    with pytest.raises(
        DatasetError, match=r"000001_001\.png: the mask is 120x96, its frame 128x96"
    ):
        AeroScapes(small_set).sample("000001_001")


def test_an_unknown_id_is_named_with_its_share(small_set):
    mask = np.zeros((96, 128), np.uint8)
    mask[:48] = 12
    path = small_set / "SegmentationClass" / "000001_001.png"
    Image.fromarray(mask).save(path)
    with pytest.raises(DatasetError, match=r"000001_001\.png: unknown id \[12\] in 50\.00%"):
        AeroScapes(small_set).sample("000001_001")


def test_a_colour_mask_is_refused(small_set):
    path = small_set / "SegmentationClass" / "000001_001.png"
    Image.fromarray(np.zeros((96, 128, 3), np.uint8)).save(path)
    with pytest.raises(DatasetError, match="3 bands"):
        AeroScapes(small_set).sample("000001_001")


def test_a_mask_saved_with_a_palette_keeps_its_ids(small_set):
    path = small_set / "SegmentationClass" / "000001_001.png"
    ids = np.array(Image.open(path))
    mask = Image.fromarray(ids)
    mask.putpalette(list(range(256)) * 3)
    mask.save(path)
    with Image.open(path) as saved:
        assert saved.mode == "P"
    assert np.array_equal(AeroScapes(small_set).labels("000001_001"), ids)


def test_a_file_that_is_no_image_is_named(small_set):
    (small_set / "JPEGImages" / "000001_001.jpg").write_bytes(b"not an image")
    with pytest.raises(DatasetError, match=r"000001_001\.jpg: cannot be read as an image"):
        AeroScapes(small_set).sample("000001_001")


@pytest.mark.parametrize(("name", "words"), [("trn", "empty"), ("test", "no such list")])
def test_an_empty_or_absent_list_is_named(small_set, name, words):
    (small_set / "ImageSets" / "trn.txt").write_text("\n")
    with pytest.raises(DatasetError, match=rf"{name}\.txt: .*{words}"):
        AeroScapes(small_set).stems(name)


def test_the_rim_is_ignored_and_the_rest_is_kept():
    mask = np.full((5, 6), 3, np.uint8)
    _image, found = without_rim(np.zeros((5, 6, 3), np.uint8), mask)
    assert (found[1:-1, 1:-1] == 3).all()
    assert (found == IGNORE).sum() == 30 - 12
    assert (mask == 3).all(), "the input stays as it is"
