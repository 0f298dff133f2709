# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.classes import PRESETS, SourceClass, class_map
from training.datasets.aeroscapes import CLASSES as AEROSCAPES_CLASSES
from training.datasets.aeroscapes import AeroScapes, value_of_id
from training.datasets.semantic_drone import CLASSES as DRONE
from training.errors import DatasetError
from unet_segmenter.engine.errors import JobError

SOURCE = (
    SourceClass(0, "background", "#000000"),
    SourceClass(1, "grass", "#00ff00"),
    SourceClass(2, "tree", "#004400"),
    SourceClass(7, "road", "#888888"),
)


def test_members_become_one_class_and_the_rest_is_none_of_ours():
    mapping = class_map(["vegetation#228b22=grass,tree", "road"], SOURCE)
    assert [(c.value, c.name, c.color) for c in mapping.classes] == [
        (1, "vegetation", "#228b22"),
        (2, "road", "#888888"),
    ]
    labels = np.array([[0, 1, 2, 7]], np.uint8)
    assert mapping.apply(labels, "a.png").tolist() == [[0, 1, 1, 2]]


def test_members_may_be_ids_and_case_does_not_matter():
    assert class_map(["green=2, Grass"], SOURCE).value_of == {0: 0, 1: 1, 2: 1, 7: 0}


def test_ignored_classes_and_ids_become_255():
    mapping = class_map(["tree"], SOURCE, ["background", "255"])
    labels = np.array([[0, 1, 2, 255]], np.uint8)
    assert mapping.apply(labels, "a.png").tolist() == [[255, 0, 1, 255]]


def test_negative_ids_are_ignored_and_large_ones_are_known():
    source = (SourceClass(1000, "crop", "#112233"), SourceClass(3, "rest", "#445566"))
    labels = np.array([[-1, 1000, 3]], np.int32)
    assert class_map(["crop"], source).apply(labels, "a.tif").tolist() == [[255, 1, 0]]


def test_an_unknown_name_is_refused_with_the_nearest_ones():
    with pytest.raises(
        JobError, match=r"no class 'gras'; did you mean 'grass'\? it has background"
    ):
        class_map(["gras"], SOURCE)


@pytest.mark.parametrize(
    ("groups", "ignore", "words"),
    [
        (["a=grass", "b=grass"], [], "'grass' is both in 'b' and in 'a'"),
        (["tree"], ["tree"], "'tree' is both in 'tree' and in 'the ignored classes'"),
        (["a=grass", "a=tree"], [], "'a' is named twice"),
        (["=grass"], [], "is no class; write it as"),
        (["a=grass,,tree"], [], "empty member"),
        ([], [], "no classes are named"),
    ],
)
def test_malformed_maps_are_refused(groups, ignore, words):
    with pytest.raises(JobError, match=words):
        class_map(groups, SOURCE, ignore)


def test_an_unknown_id_is_told_with_file_share_and_what_is_known():
    labels = np.zeros((10, 10), np.uint8)
    labels[0, :5] = 9
    with pytest.raises(DatasetError, match=r"x\.png: unknown id 9 in 5\.00%.*known are 0, 1, 2, 7"):
        class_map(["tree"], SOURCE).apply(labels, "x.png")


def test_masks_of_colours_or_fractions_are_refused():
    mapping = class_map(["tree"], SOURCE)
    with pytest.raises(DatasetError, match=r"x\.png: the mask has 3 bands"):
        mapping.apply(np.zeros((4, 4, 3), np.uint8), "x.png")
    with pytest.raises(DatasetError, match="float32, whole numbers"):
        mapping.apply(np.zeros((4, 4), np.float32), "x.tif")


def test_the_aeroscapes_preset_has_the_values_of_the_shipped_model():
    mapping = class_map(PRESETS["aeroscapes"], AeroScapes.classes)
    assert [(c.value, c.name, c.color) for c in mapping.classes] == [
        (c.value, c.name, c.color) for c in AEROSCAPES_CLASSES
    ]
    ids = np.arange(12, dtype=np.uint8)[None]
    assert np.array_equal(mapping.apply(ids, "a.png"), value_of_id()[ids])


@pytest.mark.parametrize("preset", ["semantic-drone", "semantic-drone-six"])
def test_the_presets_of_semantic_drone_name_classes_that_it_has(preset):
    mapping = class_map(PRESETS[preset], DRONE)
    assert len(mapping.classes) == (3 if preset == "semantic-drone" else 6)
    assert set(mapping.value_of.values()) == set(range(len(mapping.classes) + 1))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, 7]), min_size=1, max_size=40),
    st.sampled_from([np.uint8, np.int32, np.int64, np.uint16]),
)
def test_each_pixel_becomes_the_value_of_its_id_in_any_type(ids, kind):
    mapping = class_map(["a=2,0", "b=road"], SOURCE)
    found = mapping.apply(np.array([ids], kind), "a.png")
    assert found.dtype == np.uint8
    assert found[0].tolist() == [mapping.value_of[i] for i in ids]


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        (
            ["Developed, Open Space", "a=b", "grass #1"],
            ["Developed, Open Space", "a=b", "grass #1"],
        ),
        (['"Developed, Open Space"', '"a=b"', '"grass #1"'], None),
        (['built="Developed, Open Space",grass #1', '"a=b"#00ff00'], ["built", "a=b"]),
        (['"green, dry"#00ff00=grass #1'], ["green, dry"]),
    ],
)
def test_names_with_commas_equals_signs_and_hashes_are_classes(groups, names):
    source = [
        SourceClass(number, name, "#000000")
        for number, name in enumerate(("Developed, Open Space", "a=b", "grass #1"), 1)
    ]
    mapping = class_map(groups, source)
    assert [cls.name for cls in mapping.classes] == (names or [cls.name for cls in source])
    learned = {number for number, value in mapping.value_of.items() if value}
    assert learned == ({3} if len(groups) == 1 else {1, 2, 3})
    colours = [cls.color for cls in mapping.classes if cls.color != "#000000"]
    assert colours == ["#00ff00"] * sum("#00ff00" in group for group in groups)
