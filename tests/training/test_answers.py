# SPDX-License-Identifier: GPL-2.0-or-later
"""Partial labels: codes, tables, and what each loss makes of them."""

import numpy as np
import pytest

from training.answers import (
    NO,
    OPEN,
    YES,
    answer_rows,
    answers_of,
    classes_named,
    code_answers,
    is_plain,
    negative_pixels,
    partial_labels,
    plain_answers,
    positive_pixels,
    read_label_table,
    wholes_of,
)
from training.classes import label_class_map
from training.errors import DatasetError
from training.losses import LOSSES, allowed_channels, none_and_classes, one_vs_rest
from unet_segmenter.engine.errors import JobError

NADIR = """value,is,is_not
0,bare,*
1,vegetation,road;building;water;bare
11,vegetation;tree,road;building;water;bare
12,vegetation,*
2,road,*
3,building,*
4,water,*
249,,building;water;tree
250,,water
251,,vegetation;tree
252,,building
253,,road
254,,vegetation;tree;water
255,,
"""
NAMES = ["bare", "vegetation", "tree", "road", "building", "water"]


@pytest.fixture
def nadir(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(NADIR, encoding="utf-8")
    return read_label_table(path)


def test_plain_masks_answer_every_question_but_at_255():
    table = plain_answers(2)
    assert table[[0, 1, 2, 255, 7]].tolist() == [
        [NO, NO], [YES, NO], [NO, YES], [OPEN, OPEN], [OPEN, OPEN],
    ]  # fmt: skip
    assert is_plain(table)


def test_a_label_table_says_what_each_value_is_and_is_not(nadir):
    assert classes_named(nadir) == NAMES
    rows = answer_rows(nadir, NAMES)
    assert rows[0].tolist() == [YES, NO, NO, NO, NO, NO]
    assert rows[1].tolist() == [NO, YES, OPEN, NO, NO, NO]
    assert rows[11].tolist() == [NO, YES, YES, NO, NO, NO]
    assert rows[254].tolist() == [OPEN, NO, NO, OPEN, OPEN, NO]
    assert rows[255].tolist() == [OPEN] * 6


def test_labels_of_one_class_alone_keep_its_number_and_partial_ones_get_their_own(nadir):
    mapping = label_class_map(nadir)
    assert [mapping.value_of[v] for v in (0, 12, 2, 3, 4, 255)] == [1, 2, 4, 5, 6, 255]
    partial = [mapping.value_of[v] for v in (1, 11, 249, 250, 251, 252, 253, 254)]
    assert sorted(partial) == list(range(7, 15))
    assert mapping.answers[mapping.value_of[254]].tolist() == [OPEN, NO, NO, OPEN, OPEN, NO]


def test_a_subset_of_the_classes_keeps_what_is_said_of_them(nadir):
    mapping = label_class_map(nadir, ["tree#006400", "water"])
    assert mapping.classes[0].color == "#006400"
    assert mapping.answers[mapping.value_of[1]].tolist() == [OPEN, NO]
    assert mapping.value_of[11] == 1
    assert mapping.value_of[2] == 0
    assert mapping.value_of[252] == 255


def test_partial_labels_survive_their_listing():
    codes, table = code_answers([np.int8([YES, OPEN]), np.int8([OPEN, NO])], 2)
    assert codes == [3, 4]
    listed = partial_labels(table, ["a", "b"])
    assert listed == [
        {"value": 3, "is": ["a"], "is_not": []}, {"value": 4, "is": [], "is_not": ["b"]},
    ]  # fmt: skip
    assert np.array_equal(answers_of(listed, ["a", "b"]), table)
    with pytest.raises(ValueError, match="has the value 2"):
        answers_of([{"value": 2, "is": [], "is_not": []}], ["a", "b"])


def test_a_class_whose_labels_are_all_of_another_is_part_of_it(nadir):
    rows = list(answer_rows(nadir, NAMES).values())
    assert wholes_of(rows, NAMES) == {"tree": "vegetation"}
    assert [c.part_of for c in label_class_map(nadir).classes if c.name == "tree"] == ["vegetation"]
    assert [c.part_of for c in label_class_map(nadir, ["tree", "water"]).classes] == [None, None]
    assert wholes_of(plain_answers(3)[:4], ["a", "b", "c"]) == {}


def test_pixels_are_counted_where_the_answer_is_known():
    _codes, table = code_answers([np.int8([YES, OPEN])], 2)
    counts = np.bincount([0, 0, 1, 2, 3, 3, 3, 255], minlength=256)
    assert positive_pixels(counts, table).tolist() == [4, 1]
    assert negative_pixels(counts, table).tolist() == [3, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("value,is\n0,a\n", "columns value, is and is_not"),
        ("value,is,is_not\n300,a,\n", "line 2: '300' is no value"),
        ("value,is,is_not\n1,a,\n1,b,\n", "line 3: the value 1 is listed twice"),
        ("value,is,is_not\n1,a,a\n", "both that it is a and that it is not"),
        ("value,is,is_not\n", "lists no value"),
    ],
)
def test_a_label_table_that_makes_no_sense_is_refused(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_label_table(path)


def test_classes_that_no_value_is_are_refused(nadir):
    with pytest.raises(JobError, match="the label table says nothing of 'snow'"):
        label_class_map(nadir, ["snow"])
    with pytest.raises(DatasetError, match="is not 'snow', but no value is that class"):
        label_class_map({1: (("a",), ("snow",))})


def test_one_vs_rest_targets_leave_open_questions_out():
    _codes, table = code_answers([np.int8([YES, OPEN])], 2)
    targets, valid = one_vs_rest(np.uint8([[[3, 2, 255]]]), table)
    assert np.asarray(targets)[0, 0].tolist() == [[1, 0], [0, 1], [0, 0]]
    assert np.asarray(valid)[0, 0].tolist() == [[1, 0], [1, 1], [0, 0]]


def test_a_softmax_may_be_any_channel_that_a_label_allows():
    _codes, table = code_answers(
        [np.int8([YES, YES]), np.int8([OPEN, NO]), np.int8([YES, OPEN])], 2
    )
    allowed = allowed_channels(table)
    assert allowed[[0, 1, 2, 3, 4, 5, 255]].tolist() == [
        [True, False, False], [False, True, False], [False, False, True],
        [False, True, True], [True, True, False], [False, True, True], [True, True, True],
    ]  # fmt: skip
    _targets, valid = none_and_classes(np.uint8([[[1, 4, 255]]]), table)
    assert np.asarray(valid)[0, 0].tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]


def _logit(p):
    p = np.asarray(p, np.float64)
    return np.float32(np.log(p / (1 - p)))


# Two classes, three pixels: label 3 is class 1 and leaves class 2 open, 0 is neither, 255 unknown.
PARTIAL = code_answers([np.int8([YES, OPEN])], 2)[1]
LABELS = np.uint8([[[3, 0, 255]]])
P = np.array([[0.8, 0.3], [0.4, 0.1], [0.9, 0.9]])
BY_HAND = {
    # Three answers: class 1 yes at .8, no at .4; class 2 no at .1.
    "bce": -(np.log(0.8) + np.log(0.6) + np.log(0.9)) / 3,
    "weighted-bce": -(np.log(0.8) + np.log(0.6) + np.log(0.9)) / 3,
    "dice": 1 - (2 * 0.8 + 1) / (0.8 + 0.4 + 1 + 1),  # class 2 has no positive: left out
    "tversky": 1 - (0.8 + 1) / (0.8 + 0.3 * 0.4 + 0.7 * 0.2 + 1),
    "course-dice": 1 - (2 * 0.8 + 1) / (0.8 + 0.4 + 0.1 + 1 + 1),
    "focal": -(
        0.25 * 0.2**2 * np.log(0.8) + 0.75 * 0.4**2 * np.log(0.6) + 0.75 * 0.1**2 * np.log(0.9)
    )
    / 3,
}
BY_HAND["dice+bce"] = BY_HAND["dice"] + BY_HAND["bce"]


@pytest.mark.parametrize("name", [name for name, one in LOSSES.items() if one.head == "sigmoid"])
def test_one_vs_rest_losses_count_known_answers_only(name):
    found = float(LOSSES[name](LABELS, _logit(P)[None, None], answers=PARTIAL))
    assert found == pytest.approx(BY_HAND[name], rel=1e-4)


def test_a_softmax_is_asked_for_the_sum_of_the_channels_allowed():
    _codes, table = code_answers([np.int8([YES, YES]), np.int8([NO, OPEN])], 2)
    shares = np.array([[0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.7, 0.1, 0.2]])
    logits = np.float32(np.log(shares))[None, None]
    labels = np.uint8([[[3, 4, 255]]])
    found = float(LOSSES["cross-entropy"](labels, logits, answers=table))
    assert found == pytest.approx(-(np.log(0.5 + 0.3) + np.log(0.1 + 0.3)) / 2, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_a_class_open_everywhere_has_no_gradient(name):
    import tensorflow as tf

    _codes, table = code_answers([np.int8([YES, OPEN]), np.int8([NO, OPEN])], 2)
    labels = np.uint8([[[3, 4, 255, 3]]])
    rng = np.random.default_rng(1)
    softmax = LOSSES[name].head == "softmax"
    logits = tf.Variable(rng.normal(size=(1, 1, 4, 2 + softmax)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = LOSSES[name](labels, logits, answers=table)
    gradient = np.asarray(tape.gradient(loss, logits))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 1e-3
    if softmax:  # of a pixel that leaves everything open nothing is learned
        assert not gradient[0, 0, 2].any()
    else:
        assert not gradient[..., 1].any()
